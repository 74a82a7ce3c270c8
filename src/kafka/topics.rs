//! Facts about topics.

use anyhow::Context;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::{ClientContext, Offset, TopicPartitionList};
use std::collections::BTreeMap;
use std::time::Duration;

/// How many partitions a topic has.
///
/// # Errors
/// No broker answers, or the topic does not exist.
pub fn partition_count<C: ClientContext + ConsumerContext>(
    consumer: &BaseConsumer<C>,
    topic: &str,
) -> anyhow::Result<i32> {
    let metadata = consumer
        .fetch_metadata(Some(topic), Duration::from_secs(10))
        .map_err(|error| anyhow::anyhow!(super::explain::explain(&error)))
        .with_context(|| format!("cannot look up topic {topic}"))?;
    let found = metadata.topics().first().filter(|t| !t.partitions().is_empty());
    match found {
        Some(found) => Ok(found.partitions().len() as i32),
        None => {
            let error = KafkaError::Subscription("the topic does not exist".into());
            let remedy = "run `outlier setup` (with --dry-run it prints the topics and rights needed)";
            Err(error).with_context(|| format!("topic {topic} does not exist: {remedy}"))
        }
    }
}

/// True if a broker answers within `patience` that a topic is there and each of its partitions has a leader. Blocks. What the
/// client knows of the leaders is new then.
pub fn is_led<C: ConsumerContext>(consumer: &impl Consumer<C>, topic: &str, patience: Duration) -> bool {
    look_up(consumer, topic, patience).is_ok_and(|led| led)
}

/// The same, with the reason.
///
/// # Errors
/// No broker answers, or the topic is not there or may not be looked up.
pub fn look_up<C: ConsumerContext>(consumer: &impl Consumer<C>, topic: &str, patience: Duration) -> KafkaResult<bool> {
    let found = consumer.fetch_metadata(Some(topic), patience)?;
    if let Some(error) = found.topics().iter().find_map(|topic| topic.error()) {
        return Err(KafkaError::MetadataFetch(error.into()));
    }
    Ok(found.topics().iter().all(|topic| {
        let partitions = topic.partitions();
        !partitions.is_empty() && partitions.iter().all(|partition| partition.leader() >= 0)
    }))
}

/// Where partitions of a topic begin or end, asked for in one request: a reader of committed records is told the last
/// stable offset. Those that the broker does not know are left out.
///
/// # Errors
/// No broker answers within `patience`.
pub fn bounds<C: ClientContext + ConsumerContext>(
    consumer: &BaseConsumer<C>,
    topic: &str,
    partitions: impl Iterator<Item = i32>,
    beginning_or_end: Offset,
    patience: Duration,
) -> KafkaResult<BTreeMap<i32, i64>> {
    let mut list = TopicPartitionList::new();
    partitions.for_each(|partition| {
        list.add_partition(topic, partition);
    });
    let found = all_bounds(consumer, list, beginning_or_end, patience)?;
    let known = found.elements().into_iter().filter(|element| element.error().is_ok());
    Ok(known.filter_map(|found| Some((found.partition(), found.offset().to_raw().filter(|end| *end >= 0)?))).collect())
}

/// The same of partitions of any topics, as the brokers answer it. Those without a leader are not in it, or have the offset
/// that they are asked by.
///
/// # Errors
/// No broker answers within `patience`.
pub fn all_bounds<C: ConsumerContext>(
    consumer: &impl Consumer<C>,
    mut partitions: TopicPartitionList,
    beginning_or_end: Offset,
    patience: Duration,
) -> KafkaResult<TopicPartitionList> {
    // The client asks for none in no case.
    if partitions.count() == 0 {
        return Ok(partitions);
    }
    // It stands for a time.
    partitions.set_all_offsets(beginning_or_end)?;
    match consumer.offsets_for_times(partitions, patience) {
        // None of them has a leader.
        Err(error) if error.rdkafka_error_code() == Some(RDKafkaErrorCode::UnknownPartition) => {
            Ok(TopicPartitionList::new())
        }
        found => found,
    }
}
