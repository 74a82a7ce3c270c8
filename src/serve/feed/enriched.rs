//! Samples an enriched topic for the live tail.
//!
//! Invariant: at most [`RATE`] records a second go to browsers, whatever the topic's rate. When a second's share is
//! spent, nothing is fetched until the second is over; then reading jumps to the topic's end. So a fast topic costs the
//! broker next to nothing.

use super::{Feed, LOOK, Reader, ask, endure};
use crate::telemetry::health::State;
use crate::time::now;
use rdkafka::consumer::Consumer;
use rdkafka::error::KafkaError;
use rdkafka::message::Message;
use rdkafka::{Offset, TopicPartitionList};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, MissedTickBehavior, interval};

/// Records a second, of all pipelines.
const RATE: usize = 20;
const SECOND: Duration = Duration::from_secs(1);

/// Reads until the topic has other partitions.
pub(super) async fn session(feed: &Feed) -> anyhow::Result<()> {
    let share = (RATE / feed.config.pipelines.len().max(1)).max(1);
    let reader = feed.connect("512")?;
    let partitions = feed.partitions(&reader).await?;
    jump(feed, &reader, partitions).await?;
    let mut ready = false;
    let mut look = interval(LOOK);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut second, mut shown) = (Instant::now(), 0);
    loop {
        let message = tokio::select! {
            _ = look.tick() => match feed.look(&reader, partitions, ready).await {
                true => return Ok(()),
                false => continue,
            },
            message = reader.recv() => message,
        };
        match message {
            Ok(message) => {
                let time = message.timestamp().to_millis().unwrap_or_else(now);
                feed.hub.record(feed.index, message.payload().unwrap_or_default(), time);
            }
            Err(KafkaError::PartitionEOF(_)) => {
                ready = true;
                feed.set(State::Ready);
                continue;
            }
            Err(error) => {
                endure(&error)?;
                look.reset_immediately();
                continue;
            }
        }
        if second.elapsed() >= SECOND {
            (second, shown) = (Instant::now(), 0);
        }
        shown += 1;
        if shown >= share {
            ask(&reader, |reader| reader.unassign()).await?;
            tokio::time::sleep_until(second + SECOND).await;
            jump(feed, &reader, partitions).await?;
            (second, shown) = (Instant::now(), 0);
        }
    }
}

/// Reads on from the end of every partition.
async fn jump(feed: &Feed, reader: &Arc<Reader>, partitions: i32) -> anyhow::Result<()> {
    let topic = feed.topic.clone();
    ask(reader, move |reader| {
        let mut ends = TopicPartitionList::new();
        for partition in 0..partitions {
            ends.add_partition_offset(&topic, partition, Offset::End)?;
        }
        reader.assign(&ends)
    })
    .await
}
