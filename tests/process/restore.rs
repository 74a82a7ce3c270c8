//! What an instance says while it reads the state of its partitions.

use crate::support::kafka::{flush, send};
use crate::support::opensearch::get;
use crate::support::outlier::Outlier;
use crate::support::pipeline::{Alone, START, WINDOWS};
use crate::support::wait;
use rdkafka::producer::{BaseProducer, Producer};
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(30);

/// A transaction in the state topic that has written to its first `partitions`.
fn hide(pipeline: &Alone, partitions: i32) -> BaseProducer {
    let state = pipeline.topic("state");
    let other: BaseProducer = pipeline.kafka.client().set("transactional.id", &state).create().unwrap();
    other.init_transactions(PATIENCE).unwrap();
    other.begin_transaction().unwrap();
    (0..partitions).for_each(|partition| send(&other, &state, partition, Some(b"never committed"), START));
    flush(&other);
    other
}

/// A transaction in the state topic may hide what belongs to the committed offsets: `/health` says that its end is waited
/// for, then that all is well.
#[test]
fn a_transaction_in_the_state_is_waited_for() {
    let pipeline = Alone::new("hidden", 1, "", "");
    let state = pipeline.topic("state");
    let other = hide(&pipeline, 1);
    // Who is to stop waits no longer.
    let process = pipeline.process();
    let says = |process: &Outlier| {
        let sentence = format!("waiting for the end of a transaction in {state}/0");
        get(&process.telemetry(), "/health").is_some_and(|health| health.contains(&sentence))
    };
    wait("the sentence", PATIENCE, || says(&process));
    assert!(process.stop().success());
    let process = pipeline.process();
    wait("the sentence", PATIENCE, || says(&process));
    assert_eq!(get(&process.telemetry(), "/ready"), None);
    other.abort_transaction(PATIENCE).unwrap();
    wait("the instance", PATIENCE, || get(&process.telemetry(), "/ready").is_some());
    assert!(process.stop().success());
}

/// Who gets partitions and is to stop before they are read lets go of all.
#[test]
fn a_stop_while_partitions_come_is_no_crash() {
    let pipeline = Alone::new("moving", 1, "", "");
    let both = ["one", "rest"].map(|name| Outlier::start(&pipeline.config, name, &["process"]));
    let ready = |process: &Outlier| get(&process.telemetry(), "/ready").is_some();
    wait("both instances", PATIENCE, || both.iter().all(ready));
    let other = hide(&pipeline, WINDOWS);
    let [one, rest] = both;
    assert!(one.stop().success());
    let sentence = format!("waiting for the end of a transaction in {}", pipeline.topic("state"));
    let waits = || get(&rest.telemetry(), "/health").is_some_and(|health| health.contains(&sentence));
    wait("the sentence", PATIENCE, waits);
    assert!(rest.stop().success());
    other.abort_transaction(PATIENCE).unwrap();
}
