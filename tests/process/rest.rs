//! Input that is bad but valid: what it does is bounded and counted, and the rest of the stream is what it would have
//! been without.

use crate::support::kafka::{Kafka, flush, send};
use crate::support::opensearch::get;
use crate::support::outlier::Outlier;
use crate::support::pipeline::{self, PARTITIONS, START, WINDOWS, topic};
use crate::support::{Workplace, wait};
use serde_json::Value;
use std::collections::BTreeSet;
use std::time::Duration;

/// Distinct values of a field in one window.
const DISTINCT: usize = 20_000;
/// Groups that a windows partition keeps.
const KEPT: usize = 20;
const DAY: i64 = 86_400_000;
/// Closes every window before it.
const LAST: i64 = START + 600_000;
/// They take the place of the preset's.
const DETECTORS: &str = r#"
[[pipeline.detectors]]
name = "action"
measures = ["count", "sum(B_action)"]
explain = ["httpRequest.country"]
[[pipeline.detectors]]
name = "bytes"
measures = ["count", "sum(bytes)", "mean(bytes)", "p95(bytes)"]
[[pipeline.detectors]]
name = "by-key"
measures = ["count"]
by = ["key"]
max_series = 20
"#;

/// A record with a number as it is written, and a group.
struct Log<'a> {
    time: i64,
    bytes: &'a str,
    key: &'a str,
}

impl Log<'_> {
    fn text(&self) -> String {
        let Self { time, bytes, key } = self;
        let bytes = if bytes.is_empty() { String::new() } else { format!(r#","bytes":{bytes}"#) };
        format!(r#"{{"timestamp":{time},"action":"BLOCK","key":"{key}"{bytes},"httpRequest":{{"country":"US"}}}}"#)
    }
}

/// What is the same in both topics: ten minutes of records in all partitions but the last.
fn usual(mut each: impl FnMut(i32, Log<'_>)) {
    for i in 0..3_000i64 {
        each((i % i64::from(PARTITIONS - 1)) as i32, Log { time: START + i * 200, bytes: "12.5", key: "usual" });
    }
}

/// The rows of a detector, sorted.
fn rows(kafka: &Kafka, place: &Workplace, name: &str) -> Vec<Value> {
    let records = kafka.read_all(&topic(place, name, "scores"));
    let mut rows: Vec<Value> = records.iter().map(|record| serde_json::from_str(&record.text()).unwrap()).collect();
    rows.sort_by_key(|row| (row["window_end"].as_i64(), row["series"].to_string()));
    rows
}

#[test]
fn the_rest_of_the_stream_is_unaffected() {
    let kafka = Kafka::start();
    let place = Workplace::new("rest");
    let started = ["plain", "bad"].map(|name| {
        let raw = topic(&place, name, "raw");
        kafka.create(&[(raw.clone(), PARTITIONS)]);
        pipeline::create(&kafka, &place, name);
        let process = "idle_timeout = \"10m\"\nalign = \"0s\"";
        let windows = "window = \"10s\"\nlateness = \"2s\"";
        let config = pipeline::configuration(&kafka, &place, [name; 2], &raw, process, windows);
        let text = std::fs::read_to_string(&config).unwrap();
        std::fs::write(&config, format!("{text}\n{DETECTORS}")).unwrap();
        let producer: rdkafka::producer::BaseProducer =
            kafka.client().set("message.max.bytes", "2000000").create().unwrap();
        let feed = |partition: i32, log: Log<'_>| {
            send(&producer, &raw, partition, Some(log.text().as_bytes()), log.time);
        };
        let bad = name == "bad";
        // Not numbers: the record counts, its number does not. JSON knows no NaN, so a bare one is no record at all.
        let time = START + 600;
        for bytes in [r#""NaN""#, r#""-inf""#, r#""Infinity""#, "1e999", "-1e999", "null", "[1]", "true"] {
            feed(0, Log { time, bytes: if bad { bytes } else { "" }, key: "usual" });
        }
        // Negative numbers are numbers.
        feed(0, Log { time, bytes: "-1000000", key: "usual" });
        // A series key of nearly one MB, and very many of them.
        let long = "x".repeat(1_000_000);
        feed(1, Log { time, bytes: "", key: if bad { &long } else { "long" } });
        for i in 0..DISTINCT {
            let key = if bad { format!("key-{i}") } else { "many".to_owned() };
            feed(2, Log { time, bytes: "", key: &key });
        }
        // The last partition's clock is a day ahead, that of its producer too.
        for i in 0..100 {
            let ahead = if bad { DAY } else { 600_000 };
            feed(PARTITIONS - 1, Log { time: START + ahead + i, bytes: "7", key: "usual" });
        }
        usual(feed);
        (0..PARTITIONS - 1).for_each(|partition| feed(partition, Log { time: LAST, bytes: "", key: "usual" }));
        if bad {
            send(&producer, &raw, 0, Some(format!(r#"{{"timestamp":{LAST},"bytes":NaN}}"#).as_bytes()), LAST);
        }
        flush(&producer);
        Outlier::start(&config, name, &["process"])
    });
    let end = LAST - 10_000;
    for name in ["plain", "bad"] {
        wait("the last scores", Duration::from_secs(120), || {
            let last = |row: &Value| row["window_end"] == end && row["series"] == "p95(bytes)";
            rows(&kafka, &place, name).iter().any(last)
        });
    }
    let of = |name: &str, detectors: &[&str]| -> Vec<Value> {
        let wanted = |row: &Value| {
            let detector = row["detector"].as_str().unwrap();
            detectors.contains(&detector) && row["window_end"].as_i64() <= Some(end)
        };
        rows(&kafka, &place, name).into_iter().filter(wanted).collect()
    };
    let [plain, bad] = ["plain", "bad"].map(|name| of(name, &["action", "bytes"]));
    assert_eq!(plain.len(), 59 * 6);
    assert_eq!(bad, plain);
    // 50 records of 12.5 and the negative one.
    let sum = bad.iter().find(|row| row["series"] == "sum(bytes)").unwrap();
    assert_eq!(sum["value"], 50.0 * 12.5 - 1_000_000.0);
    // The groups are bounded, in number and in length, and no record is missing in them.
    let groups = of("bad", &["by-key"]);
    let names: BTreeSet<&str> = groups.iter().map(|row| row["series"].as_str().unwrap()).collect();
    assert!(names.len() > KEPT && names.len() <= (KEPT + 1) * WINDOWS as usize, "{}", names.len());
    assert!(names.iter().all(|name| name.len() < 200), "{names:?}");
    let count = |rows: &[Value]| -> i64 { rows.iter().map(|row| row["count"].as_i64().unwrap()).sum() };
    assert_eq!(count(&groups), count(&of("plain", &["by-key"])));
    let metrics = get(&started[1].telemetry(), "/metrics").unwrap();
    let counted = |service: &str, outcome: &str| -> usize {
        let labels = format!(r#"outlier_records_total{{service="{service}",pipeline="bad",outcome="{outcome}","#);
        let lines = metrics.lines().filter(|line| line.starts_with(&labels));
        lines.map(|line| line.rsplit(' ').next().unwrap().parse::<usize>().unwrap()).sum()
    };
    assert_eq!(counted("process", "hashed_key"), 1);
    assert!(counted("score", "overflow") >= DISTINCT - KEPT * WINDOWS as usize);
    assert_eq!((counted("process", "rejected"), counted("process", "late")), (1, 0));
    // What is a day ahead waits for the day to come.
    assert!(rows(&kafka, &place, "bad").iter().all(|row| row["window_end"].as_i64() <= Some(LAST)));
    for process in started {
        assert!(process.stop().success());
    }
}
