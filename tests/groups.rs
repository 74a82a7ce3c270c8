//! Groups, long windows and reasons through the real `process`, and `state inspect` over what it learned.
//!
//! On the embedded broker, or on the real Kafka of `KAFKA_BOOTSTRAP_SERVERS`.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use serde_json::Value;
use std::time::Duration;
use support::kafka::{flush, send};
use support::outlier::Outlier;
use support::pipeline::{Alone, PARTITIONS, START};
use support::wait;

/// They take the place of the preset's.
const DETECTORS: &str = r#"
[[pipeline.detectors]]
name = "action"
measures = ["sum(B_action)"]
[[pipeline.detectors]]
name = "by-country"
measures = ["count", "ratio(B_action)"]
by = ["httpRequest.country"]
window = "10s"
lateness = "0s"
[[pipeline.detectors]]
name = "hour"
measures = ["count", "distinct(httpRequest.country)"]
window = "10m"
hop = "2m"
lateness = "0s"
"#;

#[test]
fn groups_long_windows_and_reasons_come_out() {
    let windows = "window = \"10s\"\nlateness = \"0s\"";
    let pipeline = Alone::new("groups", PARTITIONS, "idle_timeout = \"10m\"", windows);
    let Alone { kafka, raw, config, .. } = &pipeline;
    let text = std::fs::read_to_string(config).unwrap();
    std::fs::write(config, format!("{text}\n{DETECTORS}")).unwrap();

    // An hour of windows of ten seconds, forty records each; in the last minute XX floods in and is blocked.
    let producer = kafka.producer();
    for window in 0..360i64 {
        let flood = if window >= 354 { 200 } else { 0 };
        for i in 0..40 + flood {
            let (country, action) = match i {
                40.. => ("XX", "BLOCK"),
                i => (["US", "UK", "IN", "US"][i as usize % 4], if i == 7 { "BLOCK" } else { "ALLOW" }),
            };
            let time = START + window * 10_000 + i * 40;
            let record = format!(
                r#"{{"timestamp":{time},"action":"{action}","httpSourceName":"ALB","httpStatus":200,"httpRequest":{{"country":"{country}","httpMethod":"GET"}}}}"#
            );
            send(&producer, raw, (i % 4) as i32, Some(record.as_bytes()), time);
        }
    }
    let last = START + 3_600_000;
    for partition in 0..PARTITIONS {
        let record = format!(r#"{{"timestamp":{last},"action":"ALLOW"}}"#);
        send(&producer, raw, partition, Some(record.as_bytes()), last);
    }
    flush(&producer);
    let process = pipeline.process();
    let mut rows: Vec<Value> = Vec::new();
    let of = |rows: &[Value], detector: &str, series: &str| -> Vec<Value> {
        let wanted = |row: &&Value| row["detector"] == detector && row["series"] == series;
        let mut rows: Vec<Value> = rows.iter().filter(wanted).cloned().collect();
        rows.sort_by_key(|row| row["window_end"].as_i64());
        rows
    };
    wait("the last windows", Duration::from_secs(120), || {
        let records = pipeline.read("scores");
        rows = records.iter().map(|record| serde_json::from_str(&record.text()).unwrap()).collect();
        ["by-country", "hour", "action"]
            .iter()
            .all(|detector| rows.iter().any(|row| row["detector"] == *detector && row["window_end"] == last))
    });
    // Each country is a series of its own.
    let us = of(&rows, "by-country", "count{httpRequest.country=US}");
    assert_eq!((us.len(), &us[10]["value"], &us[10]["by"]["httpRequest.country"]), (360, &20.0.into(), &"US".into()));
    let xx = of(&rows, "by-country", "count{httpRequest.country=XX}");
    assert_eq!(xx.iter().map(|row| row["value"].as_f64().unwrap()).collect::<Vec<_>>(), [200.0; 6]);
    // Ten minutes every two minutes, from panes of a minute; the first windows began before the first record.
    let hour = of(&rows, "hour", "count");
    let counts: Vec<f64> = hour.iter().map(|row| row["value"].as_f64().unwrap()).collect();
    assert_eq!(hour.len(), 30);
    assert_eq!(counts[..5], [480.0, 960.0, 1440.0, 1920.0, 2400.0]);
    assert!(counts[5..29].iter().all(|count| *count == 2400.0), "{counts:?}");
    assert_eq!(counts[29], 2400.0 + 1200.0);
    assert_eq!(of(&rows, "hour", "distinct(httpRequest.country)")[29]["value"], 4.0);
    // The flood is an anomaly, and says what it is made of.
    let blocked = of(&rows, "action", "sum(B_action)");
    let first = blocked.iter().find(|row| row["anomaly"] == true).expect("an anomaly");
    assert_eq!(first["window_start"], START + 3_540_000);
    assert_eq!((&first["why"][0]["field"], &first["why"][0]["value"]), (&"httpRequest.country".into(), &"XX".into()));
    let contributions: f64 = first["why"].as_array().unwrap().iter().map(|r| r["contribution"].as_f64().unwrap()).sum();
    assert!((contributions - 100.0).abs() < 1e-6);
    assert!(process.stop().success());

    // What was learned can be looked at.
    let args = ["state", "inspect", "--detector", "by-country", "--series", "count{httpRequest.country=US}"];
    assert!(Outlier::run_to_end(config, "inspect", &args).success());
    let text = std::fs::read_to_string(pipeline.place.dir.join("inspect.log")).unwrap();
    assert!(text.contains("by-country · count{httpRequest.country=US}\n  360 windows of 10 s learned"), "{text}");
    assert!(text.contains("next window: 20") && text.contains(" normal, confidence "), "{text}");
}
