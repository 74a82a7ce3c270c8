//! Each fault by itself, and all of them mixed.

use crate::course::Course;
use crate::records::Records;
use crate::support::from_env;
use crate::support::kafka::Kafka;
use crate::support::proxy::Fault;
use crate::{SERVER, support};
use futures::stream::{self, StreamExt};
use std::time::Duration;

/// Courses side by side.
const AT_ONCE: usize = 6;

async fn matrix(server: Option<&str>) {
    let _turn = SERVER.lock().await;
    let (first, seeds): (u64, u64) = (from_env("OUTLIER_SEED", 1), from_env("OUTLIER_FAULT_SEEDS", 2));
    let stall = Duration::from_secs(from_env("OUTLIER_FAULT_STALL", 3));
    let kafka = Kafka::start();
    let records = Records::produce(&kafka, 40).await;
    let mut kinds: Vec<Vec<Fault>> = Fault::ALL.iter().map(|fault| vec![*fault]).collect();
    kinds.push(Fault::ALL.to_vec());
    let courses = (first..first + seeds).flat_map(|seed| kinds.iter().map(move |faults| (seed, faults.clone())));
    let run = async |(seed, faults)| {
        let course = Course { kafka: &kafka, records: &records, server, faults, seed, stall };
        let (what, done) = (course.name(), course.run().await);
        println!("{what}: {done:?}");
        assert!(done.values().sum::<usize>() > 0, "{what}: there are faults");
        done
    };
    let done: Vec<_> = stream::iter(courses).map(run).buffer_unordered(AT_ONCE).collect().await;
    let count = |fault: &Fault| done.iter().filter_map(|done| done.get(fault)).sum::<usize>();
    let all: Vec<_> = Fault::ALL.iter().map(|fault| (fault, count(fault))).collect();
    println!("{} courses of {} records: {all:?}", done.len(), records.expected.all());
}

#[tokio::test(flavor = "multi_thread")]
async fn no_fault_of_the_way_to_an_index_in_memory_loses_or_doubles_a_record() {
    matrix(None).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_fault_of_the_way_to_opensearch_loses_or_doubles_a_record() {
    let Some(server) = support::opensearch() else { return };
    matrix(Some(&server)).await;
}
