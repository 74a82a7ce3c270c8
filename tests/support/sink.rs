//! A sink in the test's own process, and its ledger.

use outlier::config::Config;
use outlier::index::{Document, Index, Outcome, Request, Unavailable};
use outlier::telemetry::Telemetry;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::{ClientConfig, TopicPartitionList};
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// A started sink of the pipeline `p`.
pub struct Running {
    pub telemetry: Telemetry,
    stop: CancellationToken,
    task: tokio::task::JoinHandle<anyhow::Result<()>>,
}

impl Running {
    /// Starts it without the setup.
    pub fn start(config: &Config) -> Self {
        let (telemetry, stop) = (Telemetry::default(), CancellationToken::new());
        let options = outlier::sink::Options { setup: false };
        let run = outlier::sink::run_with(Arc::new(config.clone()), options, telemetry.clone(), stop.clone());
        Self { telemetry, stop, task: tokio::spawn(run) }
    }

    /// Stops it; the ledger of [`outcomes`].
    pub async fn stop(self) -> (u64, u64, u64, u64) {
        self.stop.cancel();
        self.task.await.unwrap().unwrap();
        outcomes(&self.telemetry, "p")
    }
}

/// Records read, indexed, already there and rejected.
pub fn outcomes(telemetry: &Telemetry, pipeline: &str) -> (u64, u64, u64, u64) {
    let text = telemetry.metrics.text();
    let of = |outcome: &str| {
        let lines = text.lines().filter(|line| {
            line.contains(&format!("outcome=\"{outcome}\"")) && line.contains(&format!("pipeline=\"{pipeline}\""))
        });
        lines.filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok()).sum()
    };
    (of("in"), of("out"), of("already_there"), of("rejected"))
}

/// The offsets that the group of a sink has committed are the ends of what it reads.
pub fn check_offsets(servers: &str, config: &Config, what: &str) {
    const PATIENCE: Duration = Duration::from_secs(30);
    let pipeline = &config.pipelines[0];
    let group = outlier::sink::worker::group(config, pipeline);
    let consumer: BaseConsumer =
        ClientConfig::new().set("bootstrap.servers", servers).set("group.id", &group).create().unwrap();
    let mut list = TopicPartitionList::new();
    for stage in &config.sink.what {
        let topic = stage.topic(pipeline);
        for partition in consumer.fetch_metadata(Some(topic), PATIENCE).unwrap().topics()[0].partitions() {
            list.add_partition(topic, partition.id());
        }
    }
    for element in consumer.committed_offsets(list, PATIENCE).unwrap().elements() {
        let (topic, partition) = (element.topic(), element.partition());
        let (_, end) = consumer.fetch_watermarks(topic, partition, PATIENCE).unwrap();
        let offset = element.offset().to_raw().unwrap_or(-1).max(0);
        assert_eq!(offset, end, "{what}: {topic}/{partition} is committed to its end");
    }
}

/// Topics of a pipeline that are named `NAME.<stage>`.
pub fn topics_toml(name: &str) -> String {
    let stages = ["raw", "enriched", "windows", "scores", "state", "anomalies", "alerts", "rejected"];
    let lines: Vec<String> = stages.iter().map(|stage| format!("{stage} = \"{name}.{stage}\"")).collect();
    format!("[pipeline.topics]\n{}\n", lines.join("\n"))
}

/// Writes documents of the pipeline `p`; what cannot be part of a request is rejected, as by the sink.
pub async fn write(index: &dyn Index, documents: &[Document<'_>]) -> Result<Vec<Outcome>, Unavailable> {
    let mut request = Request::new("p".into());
    let added: Vec<Result<(), String>> = documents.iter().map(|d| index.add(&mut request, d)).collect();
    let mut written = index.write(&request).await?.into_iter();
    let outcome = |added: Result<(), String>| added.map_or_else(Outcome::Reject, |()| written.next().unwrap());
    Ok(added.into_iter().map(outcome).collect())
}
