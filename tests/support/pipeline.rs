//! A `waf` pipeline of ten series: several groups can run it over one raw topic.

use super::Workplace;
use super::kafka::{Kafka, Record};
use super::outlier::Outlier;
use rand::prelude::*;
use rand::rngs::StdRng;
use std::path::PathBuf;

/// Of the raw and the enriched topic.
pub const PARTITIONS: i32 = 4;
/// Series that the pipeline scores in each window.
pub const SERIES: usize = 10;
/// Partitions of the windows and state topics.
pub const WINDOWS: i32 = 3;
/// Detectors in the place of the preset's: sums with reasons; groups; overlapping windows of several panes; sketches; a bound
/// that is reached, so that groups move to the overflow; both models. Every series has a window that ends each ten seconds.
pub const BROAD: &str = r#"
[[pipeline.detectors]]
name = "action"
measures = ["sum(K_action)", "sum(B_action)"]
window = "2s"
[[pipeline.detectors]]
name = "place"
measures = ["count", "ratio(B_action)", "distinct(httpStatus)"]
by = ["httpRequest.country"]
window = "30s"
hop = "10s"
[[pipeline.detectors]]
name = "bounded"
measures = ["count", "silence"]
by = ["httpStatus", "httpRequest.country"]
window = "20s"
hop = "10s"
max_series = 1
[[pipeline.detectors]]
name = "slow"
measures = ["mean(httpStatus)", "p95(httpStatus)", "new(httpRequest.country)", "rare(httpStatus)"]
window = "1m"
hop = "10s"
model = "compact"
"#;
/// Rows that end with a window: of `action`, of three places, of a group and the rest in each windows partition, and of
/// `slow`.
pub const BROAD_ROWS: usize = 2 + 3 * 3 + 2 * 2 * WINDOWS as usize + 4;
/// A whole hour, so that windows are easy to count.
pub const START: i64 = 1_795_392_000_000;

/// The name of a pipeline's topic.
pub fn topic(place: &Workplace, name: &str, stage: &str) -> String {
    format!("{}{name}.{stage}", place.prefix)
}

/// Creates every topic of a pipeline but the raw one.
pub fn create(kafka: &Kafka, place: &Workplace, name: &str) {
    let stages = [
        ("enriched", PARTITIONS),
        ("windows", WINDOWS),
        ("scores", 2),
        ("state", WINDOWS),
        ("anomalies", 1),
        ("alerts", 2),
        ("rejected", 2),
    ];
    kafka.create(&stages.map(|(stage, n)| (topic(place, name, stage), n)));
}

/// Writes a configuration of a pipeline to `FILE.toml`. `process` has lines of that table, `windows` the pipeline's
/// window and lateness.
pub fn configuration(
    kafka: &Kafka,
    place: &Workplace,
    [file, name]: [&str; 2],
    raw: &str,
    process: &str,
    windows: &str,
) -> PathBuf {
    let (bootstrap, prefix) = (&kafka.bootstrap, &place.prefix);
    let text = format!(
        r#"
[kafka]
bootstrap_servers = "{bootstrap}"
topic_prefix = "{prefix}"
[process]
data_dir = "{name}-data"
{process}
[telemetry]
listen = "127.0.0.1:0"
[[pipeline]]
preset = "waf"
name = "{name}"
{windows}
windows_partitions = {WINDOWS}
[pipeline.topics]
raw = "{raw}"
"#
    );
    place.file(&format!("{file}.toml"), &text)
}

/// One pipeline with a broker and a workplace of its own.
pub struct Alone {
    pub kafka: Kafka,
    pub place: Workplace,
    pub name: &'static str,
    pub raw: String,
    pub config: PathBuf,
}

impl Alone {
    /// With its topics and its configuration, see [`configuration`].
    pub fn new(name: &'static str, raw_partitions: i32, process: &str, windows: &str) -> Self {
        let (kafka, place) = (Kafka::start(), Workplace::new(name));
        let raw = topic(&place, name, "raw");
        kafka.create(&[(raw.clone(), raw_partitions)]);
        create(&kafka, &place, name);
        let config = configuration(&kafka, &place, [name; 2], &raw, process, windows);
        Self { kafka, place, name, raw, config }
    }

    pub fn topic(&self, stage: &str) -> String {
        topic(&self.place, self.name, stage)
    }

    /// Every record of a stage.
    pub fn read(&self, stage: &str) -> Vec<Record> {
        self.kafka.read_all(&self.topic(stage))
    }

    pub fn process(&self) -> Outlier {
        Outlier::start(&self.config, "process", &["process"])
    }
}

/// Letters that no compression makes much fewer.
pub fn dense(rng: &mut StdRng, letters: usize) -> String {
    (0..letters).map(|_| char::from(rng.random_range(b'a'..=b'z'))).collect()
}

/// A log with the event time `time` in epoch ms.
pub fn log_record(rng: &mut StdRng, time: i64) -> String {
    let action = if rng.random_bool(0.1) { "BLOCK" } else { "ALLOW" };
    let status = [200, 202, 404, 502].choose(rng).unwrap();
    let country = ["US", "UK", "XX"].choose(rng).unwrap();
    format!(
        r#"{{"timestamp":{time},"action":"{action}","httpSourceName":"ALB","httpStatus":{status},"httpRequest":{{"country":"{country}","httpMethod":"GET"}}}}"#
    )
}
