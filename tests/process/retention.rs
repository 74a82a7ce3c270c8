//! Topics whose retention has deleted what was read, down to the end of a transaction that no reader sees.

use crate::support::kafka::{flush, send};
use crate::support::opensearch::get;
use crate::support::outlier::Outlier;
use crate::support::pipeline::{Alone, START, WINDOWS, dense};
use crate::support::{read, wait};
use rand::prelude::*;
use rand::rngs::StdRng;
use rdkafka::producer::{BaseProducer, Producer};
use serde_json::Value;
use std::time::Duration;

fn transactions(pipeline: &Alone) -> BaseProducer {
    let producer: BaseProducer = pipeline.kafka.client().set("transactional.id", &pipeline.raw).create().unwrap();
    producer.init_transactions(Duration::from_secs(30)).unwrap();
    producer
}

/// Logs of a time, with a text, in one transaction.
fn write(pipeline: &Alone, producer: &BaseProducer, logs: &[(i64, &str)]) {
    producer.begin_transaction().unwrap();
    for (time, text) in logs {
        let log = format!(r#"{{"timestamp":{time},"action":"ALLOW","text":"{text}"}}"#);
        send(producer, &pipeline.raw, 0, Some(log.as_bytes()), *time);
    }
    flush(producer);
    producer.commit_transaction(Duration::from_secs(30)).unwrap();
}

/// Rounds of logs, of the raw topic or of all that a stage has read, deleted between them. Where an open window needs
/// what is gone, going on would lose it: an operator decides.
fn check(name: &'static str, windows: &str, open: bool) {
    let pipeline = Alone::new(name, 1, "idle_timeout = \"1s\"", windows);
    let kafka = &pipeline.kafka;
    let producer = transactions(&pipeline);
    let mut all = 0;
    for round in 0..3i64 {
        let start = START + round * 600_000;
        let logs: Vec<_> = (0..150).step_by(5).map(|second| (start + second * 1_000, "")).collect();
        write(&pipeline, &producer, &logs);
        all += logs.len();
        let process = pipeline.process();
        wait("the records", Duration::from_secs(60), || pipeline.read("enriched").len() == all);
        // The clock ends the windows of an idle topic, but for the last one of a minute.
        let end = start + if open { 120_000 } else { 146_000 };
        wait("the scores", Duration::from_secs(60), || {
            let scores = pipeline.read("scores");
            let rows = scores.iter().map(|score| serde_json::from_str::<Value>(&score.text()).unwrap());
            rows.filter(|row| row["window_end"].as_i64() >= Some(end)).count() > 0
                && get(&process.telemetry(), "/ready").is_some()
        });
        let log = read(&process.log);
        let found_back = |stage: &str| {
            let topic = format!("topic=\"{}\"", pipeline.topic(stage));
            log.lines().any(|line| line.contains(&topic) && line.contains("going on behind it"))
        };
        assert_eq!([found_back("raw"), found_back("windows")], [round > 0, round > 0 && !open], "{log}");
        assert!(process.stop().success());
        kafka.empty(&pipeline.raw, 1);
        if !open {
            kafka.empty(&pipeline.topic("windows"), WINDOWS);
        }
    }
    if open {
        kafka.empty(&pipeline.topic("windows"), WINDOWS);
        assert!(!Outlier::run_to_end(&pipeline.config, "process", &["process"]).success());
    }
}

/// A pipeline that was quiet for longer than its topics are kept goes on after a restart.
#[test]
fn a_quiet_week_ends_nothing() {
    check("quiet", "window = \"1s\"\nlateness = \"0s\"", false);
}

#[test]
fn what_an_open_window_needs_is_missed() {
    check("open", "", true);
}

/// Going on behind what is deleted is not committed yet when an abort leads back before it.
#[test]
fn an_abort_finds_the_way_again() {
    let pipeline = Alone::new("again", 1, "", "");
    let (kafka, enriched) = (&pipeline.kafka, pipeline.topic("enriched"));
    let producer = transactions(&pipeline);
    write(&pipeline, &producer, &[(START, "")]);
    let process = pipeline.process();
    wait("the first record", Duration::from_secs(60), || pipeline.read("enriched").len() == 1);
    assert!(process.stop().success());
    kafka.empty(&pipeline.raw, 1);
    kafka.set(&enriched, "max.message.bytes", "600");
    let large = dense(&mut StdRng::seed_from_u64(7), 900);
    write(&pipeline, &producer, &[(START + 1_000, &large)]);
    let process = pipeline.process();
    wait("refusals", Duration::from_secs(60), || {
        get(&process.telemetry(), "/health").is_some_and(|health| health.contains("raise max.message.bytes"))
    });
    kafka.set(&enriched, "max.message.bytes", "4300000");
    wait("the record", Duration::from_secs(60), || pipeline.read("enriched").len() == 2);
    assert!(process.stop().success());
}
