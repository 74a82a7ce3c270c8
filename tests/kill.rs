//! `kill -9` of every service at seeded moments: raw, enriched, rejected and the indices are compared record by record.
//!
//! On the embedded broker and SQLite; with `KAFKA_BOOTSTRAP_SERVERS` on a real Kafka, with `OPENSEARCH_URL` into
//! OpenSearch as well. More kills with `OUTLIER_KILLS=100`, another course with `OUTLIER_SEED=7`.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use rand::prelude::*;
use rand::rngs::StdRng;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use support::kafka::{Kafka, Record, flush, send};
use support::outlier::Outlier;
use support::{Workplace, wait};

/// Services that run at a time, with their configuration and arguments.
struct Fleet {
    services: Vec<(&'static str, PathBuf, Vec<String>, Outlier)>,
    started: u32,
}

impl Fleet {
    fn start(&mut self, name: &'static str, config: &Path, args: &[&str]) {
        self.started += 1;
        let running = Outlier::start(config, &format!("{name}-{}", self.started), args);
        let args = args.iter().map(|&arg| arg.to_owned()).collect();
        self.services.push((name, config.to_owned(), args, running));
    }

    /// SIGKILL to one service, and a new one in its place.
    fn kill_one(&mut self, rng: &mut StdRng) {
        let victim = rng.random_range(0..self.services.len());
        let (name, config, args, running) = self.services.swap_remove(victim);
        println!("kill -9 {name}");
        running.kill();
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        self.start(name, &config, &args);
    }

    fn stop(&mut self, wanted: &str) {
        let (stopped, rest) = std::mem::take(&mut self.services).into_iter().partition(|(name, ..)| *name == wanted);
        self.services = rest;
        for (name, .., running) in stopped {
            assert!(running.stop().success(), "{name} ends well");
        }
    }
}

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

/// A topic's records under the ids that their documents have.
fn by_id(records: &[Record], topic: &str, stage: &str) -> BTreeMap<String, Value> {
    let id = |record: &Record, value: &Value| match stage {
        "raw" => format!("{topic}-{}-{}", record.partition, record.offset),
        "enriched" => {
            let source: Vec<_> = record.header("outlier-source").unwrap().rsplitn(3, '/').collect();
            format!("{}-{}-{}", source[2], source[1], source[0])
        }
        _ => format!("{}/{}/{}", value["detector"], value["series"], value["window_start"]).replace('"', ""),
    };
    let mut found = BTreeMap::new();
    for record in records {
        let value = serde_json::from_str(&record.text()).unwrap_or(Value::Null);
        let id = id(record, &value);
        assert!(found.insert(id.clone(), value).is_none(), "{id} is there twice in {topic}");
    }
    found
}

fn sqlite(path: &Path, table: &str) -> BTreeMap<String, Value> {
    let connection = rusqlite::Connection::open(path).unwrap();
    let mut statement = connection.prepare(&format!("SELECT id, body FROM \"{table}\"")).unwrap();
    let row = |row: &rusqlite::Row<'_>| Ok((row.get::<_, String>(0)?, row.get::<_, Option<Vec<u8>>>(1)?));
    let rows = statement.query_map([], row).unwrap().map(Result::unwrap);
    rows.map(|(id, body)| (id, serde_json::from_slice(&body.unwrap_or_default()).unwrap_or(Value::Null))).collect()
}

/// Documents carry `@timestamp` besides the record's members; records that are no objects are kept as text.
fn same(stage: &str, index: &str, documents: BTreeMap<String, Value>, records: &BTreeMap<String, Value>) {
    let ids = |map: &BTreeMap<String, Value>| map.keys().cloned().collect::<BTreeSet<_>>();
    let (there, wanted) = (ids(&documents), ids(records));
    let missing: Vec<_> = wanted.difference(&there).take(3).collect();
    let extra: Vec<_> = there.difference(&wanted).take(3).collect();
    assert!(missing.is_empty() && extra.is_empty(), "{stage} in {index}: missing {missing:?}, extra {extra:?}");
    for (id, mut document) in documents {
        if let (Value::Object(members), Value::Object(_)) = (&mut document, &records[&id]) {
            members.remove("@timestamp");
            assert_eq!(document, records[&id], "{stage} {id} in {index}");
        }
    }
}

#[test]
fn no_kill_loses_or_doubles_anything() {
    let from_env = |name, default| std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default);
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
    let mut setup = Outlier::start(&local, "setup", &["setup"]);
    wait("the end of setup", Duration::from_secs(60), || setup.ended().is_some_and(|status| status.success()));

    let mut fleet = Fleet { services: Vec::new(), started: 0 };
    // A search gives 10,000 documents at most; so many come in the longest course.
    let rate = (8_000 / (2 * kills + 12)).clamp(20, 250).to_string();
    fleet.start("produce", &local, &["produce", "--rate", &rate, "--rhythm", "flat"]);
    fleet.start("process", &local, &["process"]);
    fleet.start("process", &local, &["process"]);
    fleet.start("sink", &local, &["sink"]);
    if let Some(remote) = &remote {
        fleet.start("sink", remote, &["sink"]);
        fleet.start("sink", remote, &["sink"]);
    }
    let topic = |stage: &str| format!("{}waf.{stage}", place.prefix);
    let producer = kafka.producer();
    for _ in 0..kills {
        for partition in 0..4 {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as i64;
            send(&producer, &topic("raw"), partition, Some(b"not json"), now);
        }
        flush(&producer);
        std::thread::sleep(Duration::from_millis(rng.random_range(300..3_000)));
        fleet.kill_one(&mut rng);
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
    let good: Vec<_> = raw.iter().filter(|record| record.text() != "not json").cloned().collect();
    assert_eq!(kafka.read_all(&enriched).len(), good.len(), "each good record is enriched once");
    assert_eq!(kafka.read_all(&rejected).len(), raw.len() - good.len(), "each bad record is rejected once");
    for stage in ["raw", "enriched", "scores"] {
        let records = by_id(&kafka.read_all(&topic(stage)), &topic(stage), stage);
        let patience = Duration::from_secs(120);
        let table = format!("local-{stage}");
        wait(&format!("{table} in SQLite"), patience, || sqlite(&database, &table).len() >= records.len());
        same(stage, "SQLite", sqlite(&database, &table), &records);
        if let Some(url) = &server {
            let server = url.trim_start_matches("http://").trim_end_matches('/');
            let index = format!("{}remote-{stage}", place.prefix).to_lowercase();
            wait(&format!("{index} in OpenSearch"), patience, || {
                support::opensearch::documents(server, &index) >= records.len() as u64
            });
            assert!(records.len() <= 10_000, "a search gives no more than that");
            same(stage, "OpenSearch", support::opensearch::all(server, &index), &records);
        }
        println!("{stage}: {} records", records.len());
    }
    fleet.stop("sink");
}
