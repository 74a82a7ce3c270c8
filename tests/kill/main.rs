//! `kill -9` of services at seeded moments: raw, enriched, rejected and the indices are compared record by record.
//!
//! On the embedded broker and SQLite; with `KAFKA_BOOTSTRAP_SERVERS` on a real Kafka, with `OPENSEARCH_URL` into
//! OpenSearch as well. More kills with `OUTLIER_KILLS=100`, another course with `OUTLIER_SEED=7`.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod compare;
mod fleet;
#[path = "../support/mod.rs"]
mod support;

use compare::{by_id, rows, same, sqlite};
use fleet::Fleet;
use rand::prelude::*;
use rand::rngs::StdRng;
use rdkafka::producer::{BaseProducer, BaseRecord};
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use support::kafka::{Kafka, Record, flush, send};
use support::outlier::Outlier;
use support::{Workplace, from_env, score_row, wait};

/// The pipeline's topics are shared; `name` keeps the groups and indices of the configurations apart.
fn configuration(kafka: &Kafka, place: &Workplace, name: &str, index: &str) -> PathBuf {
    let (bootstrap, prefix) = (&kafka.bootstrap, &place.prefix);
    let stages = ["raw", "enriched", "windows", "scores", "state", "anomalies", "alerts", "rejected"];
    let topics: String = stages.iter().map(|stage| format!("{stage} = \"{prefix}waf.{stage}\"\n")).collect();
    let text = format!(
        r#"
[kafka]
bootstrap_servers = "{bootstrap}"
topic_prefix = "{prefix}"
replication_factor = 1
[process]
idle_timeout = "2s"
[telemetry]
listen = "127.0.0.1:0"
{index}
[[pipeline]]
preset = "waf"
name = "{name}"
window = "1s"
lateness = "1s"
[pipeline.topics]
{topics}
"#
    );
    place.file(&format!("{name}.toml"), &text)
}

#[test]
fn no_kill_loses_or_doubles_anything() {
    course(Course { sinks: [1, 2], rate: 250, kill: |fleet, rng| fleet.kill_any(rng) });
}

#[test]
fn no_rolling_kill_of_three_sinks_loses_or_doubles_anything() {
    course(Course { sinks: [3, 3], rate: 1_000, kill: |fleet, _| fleet.kill_oldest("sink") });
}

/// The courses take turns, so that each has the machine.
static TURN: Mutex<()> = Mutex::new(());

struct Course {
    /// Sinks of the group that writes to SQLite, and of the one that writes to OpenSearch.
    sinks: [usize; 2],
    /// Records produced a second.
    rate: u64,
    /// Kills a service and starts another in its place.
    kill: fn(&mut Fleet, &mut StdRng),
}

/// Anomalies of a series that `process` does not write, as its own learn for longer than a course takes. Each is over
/// before the next begins.
struct Incidents {
    scores: String,
    /// Start of the first window; epoch milliseconds.
    base: i64,
}

impl Incidents {
    /// Of a window, milliseconds.
    const LENGTH: i64 = 1_000;

    fn new(scores: &str) -> Self {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as i64;
        Self { scores: scores.to_owned(), base: now - now % Self::LENGTH }
    }

    fn begin(&self, producer: &BaseProducer, incident: u64) {
        self.rows(producer, 5 * incident as i64, &[95.0]);
    }

    fn end(&self, producer: &BaseProducer, incident: u64) {
        self.rows(producer, 5 * incident as i64 + 1, &[1.0, 1.0, 1.0]);
    }

    fn rows(&self, producer: &BaseProducer, from: i64, scores: &[f64]) {
        for (window, score) in (from..).zip(scores) {
            let start = self.base + window * Self::LENGTH;
            let value = score_row("sum(seeded)", start, Self::LENGTH, *score).to_string();
            producer.send(BaseRecord::to(&self.scores).key("action/sum(seeded)").payload(&value)).unwrap();
        }
        flush(producer);
    }
}

fn course(course: Course) {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let (seed, kills): (u64, u64) = (from_env("OUTLIER_SEED", 1), from_env("OUTLIER_KILLS", 8));
    println!("seed {seed}, {kills} kills");
    let mut rng = StdRng::seed_from_u64(seed);
    let kafka = Kafka::start();
    let place = Workplace::new("fleet");
    let database = place.dir.join("index.sqlite");
    let local =
        configuration(&kafka, &place, "local", &format!("[sink]\nindex = \"sqlite\"\n[sqlite]\npath = {database:?}"));
    let server = support::opensearch();
    let remote = server.as_ref().map(|url| {
        let index = format!("[opensearch]\nurls = [{url:?}]\nindex_prefix = \"{}\"\nreplicas = 0", place.prefix);
        configuration(&kafka, &place, "remote", &index)
    });
    assert!(Outlier::run_to_end(&local, "setup", &["setup"]).success());
    if let Some(remote) = &remote {
        assert!(Outlier::run_to_end(remote, "setup-remote", &["setup", "--only-index"]).success());
    }

    let mut fleet = Fleet::default();
    fleet.start("produce", &local, &["produce", "--rate", &course.rate.to_string(), "--rhythm", "flat"]);
    for service in ["process", "process", "alert", "alert"] {
        fleet.start(service, &local, &[service]);
    }
    // Those of both groups in turn.
    for i in 0..course.sinks[0].max(course.sinks[1]) {
        if i < course.sinks[0] {
            fleet.start("sink", &local, &["sink"]);
        }
        if let Some(remote) = remote.as_ref().filter(|_| i < course.sinks[1]) {
            fleet.start("sink", remote, &["sink"]);
        }
    }
    let topic = |stage: &str| format!("{}waf.{stage}", place.prefix);
    let producer = kafka.producer();
    let incidents = Incidents::new(&topic("scores"));
    for kill in 0..kills {
        incidents.begin(&producer, kill);
        for partition in 0..4 {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as i64;
            send(&producer, &topic("raw"), partition, Some(b"not json"), now);
        }
        flush(&producer);
        std::thread::sleep(Duration::from_millis(rng.random_range(300..3_000)));
        (course.kill)(&mut fleet, &mut rng);
        incidents.end(&producer, kill);
    }
    // Whatever the last kill hit gets the time to come back before the producer ends.
    std::thread::sleep(Duration::from_secs(2));
    fleet.stop("produce");

    let raw = kafka.read_all(&topic("raw"));
    let (enriched, rejected) = (topic("enriched"), topic("rejected"));
    wait("every record behind process", Duration::from_secs(120), || {
        kafka.read_all(&enriched).len() + kafka.read_all(&rejected).len() >= raw.len()
    });
    // The last windows close by the clock, and after them zeros follow: whatever is there at the end must be indexed.
    let count = || kafka.read_all(&topic("scores")).len();
    let before = count();
    wait("scores of windows closed by the clock", Duration::from_secs(60), || count() > before);
    fleet.stop("process");
    wait("the end of every alert", Duration::from_secs(60), || {
        let resolved = |record: &&Record| record.text().contains(r#""state":"resolved""#);
        kafka.read_all(&topic("alerts")).iter().filter(resolved).count() >= kills as usize
    });
    fleet.stop("alert");
    let good: Vec<_> = raw.iter().filter(|record| record.text() != "not json").cloned().collect();
    assert_eq!(kafka.read_all(&enriched).len(), good.len(), "each good record is enriched once");
    assert_eq!(kafka.read_all(&rejected).len(), raw.len() - good.len(), "each bad record is rejected once");
    for stage in ["raw", "enriched", "scores", "alerts"] {
        let records = by_id(&kafka.read_all(&topic(stage)), &topic(stage), stage);
        assert!(!records.is_empty(), "{stage} has records to compare");
        let patience = Duration::from_secs(120);
        let table = format!("local-{stage}");
        wait(&format!("{table} in SQLite"), patience, || rows(&database, &table) >= records.len());
        same(stage, "SQLite", sqlite(&database, &table), &records);
        if let Some(url) = &server {
            let server = support::opensearch::address(url);
            let index = format!("{}remote-{stage}", place.prefix).to_lowercase();
            wait(&format!("{index} in OpenSearch"), patience, || {
                support::opensearch::documents(server, &index) >= records.len() as u64
            });
            same(stage, "OpenSearch", support::opensearch::all(server, &index), &records);
        }
        println!("{stage}: {} records", records.len());
    }
    fleet.stop("sink");
}
