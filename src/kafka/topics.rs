//! Facts about topics.

use anyhow::Context;
use rdkafka::ClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::KafkaError;
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
