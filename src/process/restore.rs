//! Reads partitions of the state topic: back into their scorers, or for people to look at.
//!
//! Order matters: the caller has the group's committed offsets, which no open transaction holds back; then the high
//! watermarks are asked; then the last stable offsets must reach them, so that nothing of the same transactions can
//! still be hidden; then the partitions are read to their ends.

use crate::kafka::read::to_end;
use anyhow::{Context, bail};
use outlier_core::score::Scorer;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::Message;
use rdkafka::{ClientConfig, Offset, TopicPartitionList};
use std::collections::BTreeMap;
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
    let started = Instant::now();
    let partitions: Vec<i32> = scorers.keys().copied().collect();
    let records = read(connection, topic, &partitions, |partition, key, value| {
        if let Some(scorer) = scorers.get_mut(&partition) {
            scorer.restore(key, value)?;
        }
        Ok(())
    })?;
    tracing::info!(topic, records, took = ?started.elapsed(), "state restored");
    Ok(())
}

/// Reads every committed record of these partitions of a state topic, oldest first: partition, key and value; how many.
///
/// # Errors
/// The broker does not answer, or those of `each`.
pub fn read(
    connection: &ClientConfig,
    topic: &str,
    partitions: &[i32],
    mut each: impl FnMut(i32, &str, Option<&[u8]>) -> anyhow::Result<()>,
) -> anyhow::Result<u64> {
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
    to_end(&consumer, topic, &list, "restoring state", |message| {
        let key = String::from_utf8_lossy(message.key().unwrap_or_default());
        each(message.partition(), &key, message.payload())
    })
}
