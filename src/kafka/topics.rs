//! Facts about topics.

use anyhow::Context;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::{ClientContext, Offset, TopicPartitionList};
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

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

/// The partitions of a topic that have no leader. Blocks. What the client knows of the others' leaders is new then.
///
/// # Errors
/// No broker answers within `patience`, or the topic is not there or may not be looked up.
pub fn leaderless<C: ConsumerContext>(
    consumer: &impl Consumer<C>,
    topic: &str,
    patience: Duration,
) -> KafkaResult<BTreeSet<i32>> {
    let found = consumer.fetch_metadata(Some(topic), patience)?;
    let Some(topic) = found.topics().first().filter(|topic| topic.error().is_some() || !topic.partitions().is_empty())
    else {
        return Err(KafkaError::MetadataFetch(RDKafkaErrorCode::UnknownTopicOrPartition));
    };
    if let Some(error) = topic.error() {
        return Err(KafkaError::MetadataFetch(error.into()));
    }
    Ok(topic.partitions().iter().filter(|partition| partition.leader() < 0).map(|partition| partition.id()).collect())
}

/// Where partitions of a topic begin or end, asked for in one request: a reader of committed records is told the last
/// stable offset. Those without a leader are left out.
///
/// # Errors
/// No broker answers within `patience`, or one does not tell it of a partition.
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

/// Where those of a topic's partitions end whose leaders know it now: others may be at an election.
///
/// # Errors
/// No broker answers within `patience`, or the ends may not be known.
pub fn known_ends<C: ClientContext + ConsumerContext>(
    consumer: &BaseConsumer<C>,
    topic: &str,
    partitions: &[i32],
    patience: Duration,
) -> KafkaResult<BTreeMap<i32, i64>> {
    let until = Instant::now() + patience;
    let ask = |these: &[i32]| {
        let left = until.saturating_duration_since(Instant::now());
        bounds(consumer, topic, these.iter().copied(), Offset::End, left)
    };
    match ask(partitions) {
        // What is refused for one partition, the client takes for the answer to all.
        Err(error) if passes(&error) => {
            let mut found = BTreeMap::new();
            for partition in partitions {
                match ask(&[*partition]) {
                    Err(error) if !passes(&error) => return Err(error),
                    one => found.extend(one.unwrap_or_default()),
                }
            }
            Ok(found)
        }
        asked => asked,
    }
}

/// A leader is being elected, or was a moment ago.
fn passes(error: &KafkaError) -> bool {
    use RDKafkaErrorCode as Code;
    matches!(
        error.rdkafka_error_code(),
        Some(
            Code::LeaderNotAvailable
                | Code::NotLeaderForPartition
                | Code::OffsetNotAvailable
                | Code::ReplicaNotAvailable
                | Code::KafkaStorageError
                | Code::FencedLeaderEpoch
                | Code::UnknownLeaderEpoch
                | Code::UnknownTopicOrPartition
                | Code::UnknownPartition
        )
    )
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
    // The client refuses an empty list.
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
