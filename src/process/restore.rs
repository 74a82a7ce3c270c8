//! Reads partitions of the state topic: back into their scorers, or for people to look at.
//!
//! Order matters: the caller has the group's committed offsets, which no open transaction holds back; then the high
//! watermarks are asked; then the last stable offsets must reach them, so that nothing of the same transactions can
//! still be hidden; then the partitions are read to their ends.

use anyhow::{Context, bail};
use outlier_core::score::Scorer;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::Message;
use rdkafka::{ClientConfig, Offset, TopicPartitionList};
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

/// An open transaction ends or times out within this time.
const SETTLE: Duration = Duration::from_secs(30);
/// The broker must give something within this time.
const PATIENCE: Duration = Duration::from_secs(30);

/// Gives every committed record of the scorers' partitions to them, oldest first.
///
/// # Errors
/// The broker does not answer, or a record cannot be read.
pub fn restore(connection: &ClientConfig, topic: &str, scorers: &mut BTreeMap<i32, Scorer>) -> anyhow::Result<()> {
    let partitions: Vec<i32> = scorers.keys().copied().collect();
    read(connection, topic, &partitions, |partition, key, value| {
        if let Some(scorer) = scorers.get_mut(&partition) {
            scorer.restore(key, value)?;
        }
        Ok(())
    })
}

/// Reads every committed record of these partitions of a state topic, oldest first: partition, key and value.
///
/// # Errors
/// The broker does not answer, or those of `each`.
pub fn read(
    connection: &ClientConfig,
    topic: &str,
    partitions: &[i32],
    mut each: impl FnMut(i32, &str, Option<&[u8]>) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let started = Instant::now();
    let consumer: BaseConsumer = connection.create()?;
    let uncommitted: BaseConsumer = connection.clone().set("isolation.level", "read_uncommitted").create()?;
    let end = |consumer: &BaseConsumer, partition: i32| {
        let watermarks = consumer.fetch_watermarks(topic, partition, PATIENCE);
        watermarks.map(|(_, high)| high).with_context(|| format!("cannot look up the end of {topic}/{partition}"))
    };
    let mut list = TopicPartitionList::new();
    for &partition in partitions {
        let high = end(&uncommitted, partition)?;
        while end(&consumer, partition)? < high {
            if started.elapsed() > SETTLE {
                bail!("a transaction holds {topic}/{partition} back for more than {} s", SETTLE.as_secs());
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        list.add_partition_offset(topic, partition, Offset::Beginning)?;
    }
    consumer.assign(&list)?;
    let mut unread: BTreeSet<i32> = partitions.iter().copied().collect();
    let mut records = 0u64;
    let mut heard = Instant::now();
    while !unread.is_empty() {
        match consumer.poll(Duration::from_millis(100)) {
            Some(Ok(message)) => {
                let key = String::from_utf8_lossy(message.key().unwrap_or_default());
                each(message.partition(), &key, message.payload())?;
                records += 1;
                heard = Instant::now();
                if records.is_multiple_of(100_000) {
                    tracing::info!(topic, records, partitions_left = unread.len(), "restoring state");
                }
            }
            Some(Err(KafkaError::PartitionEOF(partition))) => {
                unread.remove(&partition);
            }
            Some(Err(error)) => tracing::debug!(%error, topic, "restoring state"),
            None => {}
        }
        if heard.elapsed() > PATIENCE {
            bail!("{topic} gave nothing for {} s while restoring state", PATIENCE.as_secs());
        }
    }
    tracing::debug!(topic, records, took = ?started.elapsed(), "state restored");
    Ok(())
}
