//! Reads a partition of the state topic back into a scorer.
//!
//! Order matters: the caller has the group's committed offset, which no open transaction holds back; then the high
//! watermark is asked; then the last stable offset must reach it, so that nothing of the same transactions can still
//! be hidden; then the partition is read to its end.

use anyhow::{Context, bail};
use outlier_core::score::Scorer;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::Message;
use rdkafka::{ClientConfig, Offset, TopicPartitionList};
use std::time::{Duration, Instant};

/// An open transaction ends or times out within this time.
const SETTLE: Duration = Duration::from_secs(30);
/// The broker must give something within this time.
const PATIENCE: Duration = Duration::from_secs(30);

/// Gives every committed record of the partition to the scorer, oldest first.
///
/// # Errors
/// The broker does not answer, or a record cannot be read.
pub fn restore(connection: &ClientConfig, topic: &str, partition: i32, scorer: &mut Scorer) -> anyhow::Result<()> {
    let started = Instant::now();
    let consumer: BaseConsumer = connection.create()?;
    let uncommitted: BaseConsumer = connection.clone().set("isolation.level", "read_uncommitted").create()?;
    let end = |consumer: &BaseConsumer| {
        let watermarks = consumer.fetch_watermarks(topic, partition, PATIENCE);
        watermarks.map(|(_, high)| high).with_context(|| format!("cannot look up the end of {topic}/{partition}"))
    };
    let high = end(&uncommitted)?;
    while end(&consumer)? < high {
        if started.elapsed() > SETTLE {
            bail!("a transaction holds {topic}/{partition} back for more than {} s", SETTLE.as_secs());
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    let mut list = TopicPartitionList::new();
    list.add_partition_offset(topic, partition, Offset::Beginning)?;
    consumer.assign(&list)?;
    let mut records = 0u64;
    let mut heard = Instant::now();
    loop {
        match consumer.poll(Duration::from_millis(100)) {
            Some(Ok(message)) => {
                let key = String::from_utf8_lossy(message.key().unwrap_or_default());
                scorer.restore(&key, message.payload())?;
                records += 1;
                heard = Instant::now();
                if records.is_multiple_of(100_000) {
                    tracing::info!(topic, partition, records, offset = message.offset(), high, "restoring state");
                }
            }
            Some(Err(KafkaError::PartitionEOF(_))) => break,
            Some(Err(error)) => tracing::debug!(%error, topic, partition, "restoring state"),
            None => {}
        }
        if heard.elapsed() > PATIENCE {
            bail!("{topic}/{partition} gave nothing for {} s while restoring state", PATIENCE.as_secs());
        }
    }
    tracing::debug!(topic, partition, records, took = ?started.elapsed(), "state restored");
    Ok(())
}
