//! Reads a scores topic: two days back, then as it grows.
//!
//! Invariant: at most [`MAX_HISTORY`] rows are read before the live ones, at least [`MIN_HISTORY`] when there are so
//! many: rows that carry old event times (a replay) are shown as well.

use super::super::history::RETENTION;
use super::{ANSWER, Feed, LOOK, Reader, ask, endure};
use crate::telemetry::health::State;
use crate::time::now;
use outlier_core::score::Score;
use prometheus_client::metrics::counter::Counter;
use rdkafka::consumer::Consumer;
use rdkafka::error::KafkaError;
use rdkafka::message::{BorrowedMessage, Message};
use rdkafka::{Offset, TopicPartitionList};
use std::collections::BTreeSet;
use std::sync::Arc;
use tokio::time::{MissedTickBehavior, interval};

/// The most rows of a topic that are read back.
const MAX_HISTORY: i64 = 1_000_000;
/// Rows of a topic that are read back whatever their time.
const MIN_HISTORY: i64 = 20_000;

struct Ledger {
    read: Counter,
    shown: Counter,
    malformed: Counter,
    unknown: Counter,
}

/// Reads until the topic has other partitions.
pub(super) async fn session(feed: &Feed) -> anyhow::Result<()> {
    let reader = feed.connect("8192")?;
    let partitions = feed.partitions(&reader).await?;
    let start = start(feed, &reader, partitions).await?;
    ask(&reader, move |reader| reader.assign(&start)).await?;
    let mut behind: BTreeSet<i32> = (0..partitions).collect();
    if !behind.is_empty() {
        feed.set(State::Starting { reason: "reading the last two days of scores".to_owned() });
    }
    let ledger = ledger(feed);
    let mut look = interval(LOOK);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let message = tokio::select! {
            _ = look.tick() => match feed.look(&reader, partitions, behind.is_empty()).await {
                true => return Ok(()),
                false => continue,
            },
            message = reader.recv() => message,
        };
        match message {
            Ok(message) => row(feed, &ledger, &message, behind.is_empty()),
            Err(KafkaError::PartitionEOF(partition)) => {
                if behind.remove(&partition) && behind.is_empty() {
                    feed.set(State::Ready);
                    feed.hub.resync();
                }
            }
            Err(error) => {
                endure(&error)?;
                look.reset_immediately();
            }
        }
    }
}

fn row(feed: &Feed, ledger: &Ledger, message: &BorrowedMessage<'_>, live: bool) {
    ledger.read.inc();
    match serde_json::from_slice::<Score>(message.payload().unwrap_or_default()) {
        Ok(score) if feed.hub.score(feed.index, &score, live) => ledger.shown.inc(),
        Ok(_) => ledger.unknown.inc(),
        Err(_) => ledger.malformed.inc(),
    };
    if live {
        feed.set(State::Ready);
    }
}

fn ledger(feed: &Feed) -> Ledger {
    let count = |outcome, reason| feed.hub.telemetry.metrics.records("serve", &feed.pipeline().name, outcome, reason);
    Ledger {
        read: count("in", ""),
        shown: count("out", ""),
        malformed: count("rejected", "malformed"),
        unknown: count("rejected", "unknown-series"),
    }
}

/// Where reading starts in each partition.
async fn start(feed: &Feed, reader: &Arc<Reader>, partitions: i32) -> anyhow::Result<TopicPartitionList> {
    let topic = feed.topic.clone();
    ask(reader, move |reader| {
        let mut times = TopicPartitionList::new();
        for partition in 0..partitions {
            times.add_partition_offset(&topic, partition, Offset::Offset(now() - RETENTION))?;
        }
        let times = reader.offsets_for_times(times, ANSWER)?;
        let mut start = TopicPartitionList::new();
        for partition in 0..partitions {
            let (low, high) = reader.fetch_watermarks(&topic, partition, ANSWER)?;
            let by_time = match times.find_partition(&topic, partition).map(|found| found.offset()) {
                Some(Offset::Offset(offset)) => offset,
                _ => high,
            };
            let offset = first(low, high, by_time, i64::from(partitions));
            start.add_partition_offset(&topic, partition, Offset::Offset(offset))?;
        }
        Ok(start)
    })
    .await
}

/// The first offset of a partition to read: that of the time, within the bounds.
fn first(low: i64, high: i64, by_time: i64, partitions: i64) -> i64 {
    let (most, least) = (high - MAX_HISTORY / partitions.max(1), high - MIN_HISTORY / partitions.max(1));
    by_time.min(least).max(most).clamp(low.min(high), high)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn history_is_bounded_in_time_and_rows() {
        let cases = [
            // low, high, by_time, partitions: first
            (0, 0, 0, 8, 0),
            (0, 1_000, 900, 8, 0),
            (0, 10_000, 10_000, 1, 0),
            (500, 10_000, 2_000, 8, 2_000),
            (500, 10_000, 9_900, 8, 7_500),
            (0, 9_000_000, 10, 1, 8_000_000),
            (0, 9_000_000, 8_900_000, 1, 8_900_000),
            (70, 100, 0, 8, 70),
        ];
        for (low, high, by_time, partitions, expected) in cases {
            assert_eq!(first(low, high, by_time, partitions), expected, "{low} {high} {by_time} {partitions}");
        }
    }
}
