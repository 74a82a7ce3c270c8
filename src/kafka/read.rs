//! Reading partitions to their ends, without a group.

use anyhow::bail;
use rdkafka::TopicPartitionList;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::KafkaError;
use rdkafka::message::BorrowedMessage;
use std::collections::BTreeSet;
use std::time::{Duration, Instant};

/// The broker must give something within this time.
const PATIENCE: Duration = Duration::from_secs(30);

/// Gives every record of the partitions in `starts`, from there to where they end; how many. `doing` is told in the log
/// now and then. The consumer must have `enable.partition.eof`.
///
/// # Errors
/// The broker gives nothing for too long, or those of `each`.
pub fn to_end<C: ConsumerContext>(
    consumer: &BaseConsumer<C>,
    topic: &str,
    starts: &TopicPartitionList,
    doing: &str,
    mut each: impl FnMut(&BorrowedMessage<'_>) -> anyhow::Result<()>,
) -> anyhow::Result<u64> {
    consumer.assign(starts)?;
    let mut unread: BTreeSet<i32> = starts.elements().iter().map(|element| element.partition()).collect();
    let mut records = 0u64;
    let mut heard = Instant::now();
    while !unread.is_empty() {
        match consumer.poll(Duration::from_millis(100)) {
            Some(Ok(message)) => {
                each(&message)?;
                records += 1;
                heard = Instant::now();
                if records.is_multiple_of(100_000) {
                    tracing::info!(topic, records, partitions_left = unread.len(), "{doing}");
                }
            }
            Some(Err(KafkaError::PartitionEOF(partition))) => {
                unread.remove(&partition);
            }
            Some(Err(error)) => tracing::debug!(%error, topic, "{doing}"),
            None => {}
        }
        if heard.elapsed() > PATIENCE {
            bail!("{topic} gave nothing for {} s while {doing}", PATIENCE.as_secs());
        }
    }
    Ok(records)
}
