//! Reading partitions to their ends, without a group.

use anyhow::{Context, bail};
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::KafkaError;
use rdkafka::message::{BorrowedMessage, Message};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};
use std::collections::BTreeSet;
use std::time::{Duration, Instant};

/// The broker must give something within this time.
const PATIENCE: Duration = Duration::from_secs(30);
/// An open transaction ends or times out within this time.
const SETTLE: Duration = Duration::from_secs(30);

/// What takes longer is told, and again after so long.
const TELL_EVERY: Duration = Duration::from_secs(1);

/// Tells the log how far reading is, as a part of what is done.
pub fn logged(doing: &'static str) -> impl FnMut(String) -> anyhow::Result<()> {
    move |progress| {
        tracing::info!("{doing}: {progress}");
        Ok(())
    }
}

/// Gives every record of the partitions in `starts`, from there to where they end; how many. `tell` is told each
/// second how far it is, and may end it. The consumer must have `enable.partition.eof`.
///
/// # Errors
/// The broker gives nothing for too long, or those of `tell` and `each`.
pub fn to_end<C: ConsumerContext>(
    consumer: &BaseConsumer<C>,
    topic: &str,
    starts: &TopicPartitionList,
    mut tell: impl FnMut(String) -> anyhow::Result<()>,
    mut each: impl FnMut(&BorrowedMessage<'_>) -> anyhow::Result<()>,
) -> anyhow::Result<u64> {
    consumer.assign(starts)?;
    let mut unread: BTreeSet<i32> = starts.elements().iter().map(|element| element.partition()).collect();
    let mut records = 0u64;
    let (mut heard, mut told) = (Instant::now(), Instant::now());
    while !unread.is_empty() {
        let polled = consumer.poll(Duration::from_millis(100));
        let now = Instant::now();
        match polled {
            Some(Ok(message)) => {
                each(&message)?;
                records += 1;
                heard = now;
            }
            Some(Err(KafkaError::PartitionEOF(partition))) => {
                unread.remove(&partition);
            }
            Some(Err(error)) => tracing::debug!(%error, topic, "reading"),
            None => {}
        }
        if now - told >= TELL_EVERY {
            told = now;
            tell(format!("{records} records of {topic}, {} partitions not at their end", unread.len()))?;
        }
        if now - heard > PATIENCE {
            bail!("{topic} gave nothing for {} s while it was read", PATIENCE.as_secs());
        }
    }
    Ok(records)
}

/// Reads every committed record of these partitions of a compacted topic, oldest first: partition, key and value; how many.
///
/// Order matters: the caller has the group's committed offsets, which no open transaction holds back; then transactions
/// are waited for, so that nothing of the same ones can still be hidden; then the partitions are read to their ends.
///
/// # Errors
/// The broker does not answer, or those of `tell` and `each`.
pub fn committed(
    connection: &ClientConfig,
    topic: &str,
    partitions: &[i32],
    mut tell: impl FnMut(String) -> anyhow::Result<()>,
    mut each: impl FnMut(i32, &str, Option<&[u8]>) -> anyhow::Result<()>,
) -> anyhow::Result<u64> {
    let consumer: BaseConsumer = connection.create()?;
    let starts = settled(&consumer, connection, topic, partitions, &mut tell)?;
    to_end(&consumer, topic, &starts, tell, |message| {
        let key = String::from_utf8_lossy(message.key().unwrap_or_default());
        each(message.partition(), &key, message.payload())
    })
}

/// The beginnings of these partitions, as soon as no open transaction hides any record that is in them now: the high
/// watermarks are asked, then the last stable offsets must reach them.
///
/// # Errors
/// The broker does not answer, a transaction stays open for too long, or those of `tell`.
pub fn settled(
    consumer: &BaseConsumer,
    connection: &ClientConfig,
    topic: &str,
    partitions: &[i32],
    mut tell: impl FnMut(String) -> anyhow::Result<()>,
) -> anyhow::Result<TopicPartitionList> {
    let started = Instant::now();
    let uncommitted: BaseConsumer = connection.clone().set("isolation.level", "read_uncommitted").create()?;
    let end = |consumer: &BaseConsumer, partition: i32| {
        let watermarks = consumer.fetch_watermarks(topic, partition, PATIENCE);
        watermarks.map(|(_, high)| high).with_context(|| format!("cannot look up the end of {topic}/{partition}"))
    };
    let mut starts = TopicPartitionList::new();
    for &partition in partitions {
        let high = end(&uncommitted, partition)?;
        let mut told = Instant::now();
        while end(consumer, partition)? < high {
            if told.elapsed() >= TELL_EVERY {
                told = Instant::now();
                tell(format!("waiting for the end of a transaction in {topic}/{partition}"))?;
            }
            if started.elapsed() > SETTLE {
                bail!("a transaction holds {topic}/{partition} back for more than {} s", SETTLE.as_secs());
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        starts.add_partition_offset(topic, partition, Offset::Beginning)?;
    }
    Ok(starts)
}
