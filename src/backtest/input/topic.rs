//! The partitions of a topic as sources: what is there when the run begins, committed records only.
//!
//! Each partition has a queue of its own, so that the one that is furthest behind can be read next. Invariants: offsets
//! are never committed and no group is joined; the end is fixed at the start, whatever is written meanwhile.

use super::{Item, Next, Source};
use crate::config::Config;
use crate::kafka::{client, explain, topics};
use anyhow::{Context, bail};
use indicatif::ProgressBar;
use outlier_core::pipeline::Millis;
use rdkafka::consumer::base_consumer::PartitionQueue;
use rdkafka::consumer::{BaseConsumer, Consumer, DefaultConsumerContext};
use rdkafka::error::KafkaError;
use rdkafka::message::Message;
use rdkafka::{Offset, TopicPartitionList};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A broker must give something within this time.
const PATIENCE: Duration = Duration::from_secs(30);
/// One look for a message.
const LOOK: Duration = Duration::from_millis(50);
/// The most messages handed on in one go.
const AT_ONCE: usize = 500;
/// The least a partition's queue may hold; KiB.
const LEAST_QUEUE: usize = 256;

/// Which part of a topic.
#[derive(Debug, Clone)]
pub struct Range<'a> {
    /// The topic.
    pub topic: &'a str,
    /// Kafka timestamp of the first record, at least.
    pub from: Option<Millis>,
    /// Kafka timestamp of the first record that does not belong to it, at least.
    pub to: Option<Millis>,
}

struct Partition {
    consumer: Arc<BaseConsumer>,
    queue: PartitionQueue<DefaultConsumerContext>,
    name: String,
    /// Next offset, as far as is known.
    next: i64,
    /// The first offset that is not read.
    end: i64,
    bar: ProgressBar,
}

/// The topic's partitions as sources, and how many offsets they span. Blocks.
///
/// # Errors
/// No broker answers, or the topic is not there.
pub fn open(config: &Config, range: &Range<'_>, bar: &ProgressBar) -> anyhow::Result<(Vec<Box<dyn Source>>, u64)> {
    let mut settings = client::reader(&config.kafka);
    let finder: BaseConsumer = settings.create().context("the Kafka client's configuration is refused")?;
    let topic = range.topic;
    let count = match topics::partition_count(&finder, topic) {
        Ok(count) => count,
        // Only a connection of its own says why.
        Err(error) => match explain::diagnose(&config.kafka) {
            Some(why) => bail!("{why}"),
            None => return Err(error),
        },
    };
    let spans = spans(&finder, range, count)?;
    drop(finder);
    if !config.kafka.properties.contains_key("queued.max.messages.kbytes") {
        // With queues of their own, each partition has this much.
        let each = config.process.consumer_queue_bytes / 1024 / count.max(1) as usize;
        settings.set("queued.max.messages.kbytes", each.max(LEAST_QUEUE).to_string());
    }
    let consumer: Arc<BaseConsumer> = Arc::new(settings.create()?);
    let mut list = TopicPartitionList::new();
    for (partition, (begin, _)) in spans.iter().enumerate() {
        list.add_partition_offset(topic, partition as i32, Offset::Offset(*begin))?;
    }
    consumer.assign(&list)?;
    let mut sources: Vec<Box<dyn Source>> = Vec::with_capacity(spans.len());
    for (partition, (begin, end)) in spans.iter().enumerate() {
        let name = format!("{topic}/{partition}");
        let queue = consumer.split_partition_queue(topic, partition as i32);
        let queue = queue.with_context(|| format!("{name} has no queue in the client"))?;
        let (consumer, bar) = (consumer.clone(), bar.clone());
        sources.push(Box::new(Partition { consumer, queue, name, next: *begin, end: *end, bar }));
    }
    Ok((sources, spans.iter().map(|(begin, end)| end.saturating_sub(*begin).max(0) as u64).sum()))
}

/// For each partition its first offset of the range, and the first one behind it.
fn spans(consumer: &BaseConsumer, range: &Range<'_>, count: i32) -> anyhow::Result<Vec<(i64, i64)>> {
    let topic = range.topic;
    let looked_up = |error: KafkaError| anyhow::anyhow!(explain::explain(&error));
    let mut spans = Vec::with_capacity(count as usize);
    for partition in 0..count {
        // A reader of committed records is told the last stable offset.
        let (low, high) = consumer
            .fetch_watermarks(topic, partition, PATIENCE)
            .map_err(looked_up)
            .with_context(|| format!("cannot look up where {topic}/{partition} begins and ends"))?;
        spans.push((low, high));
    }
    let at = |time: Millis| -> anyhow::Result<Vec<Option<i64>>> {
        let mut list = TopicPartitionList::new();
        for partition in 0..count {
            list.add_partition_offset(topic, partition, Offset::Offset(time))?;
        }
        let found = consumer
            .offsets_for_times(list, PATIENCE)
            .map_err(looked_up)
            .with_context(|| format!("cannot look up the offsets of a time in {topic}"))?;
        let offset = |partition| match found.find_partition(topic, partition).map(|element| element.offset()) {
            Some(Offset::Offset(offset)) => Some(offset),
            // There is no record at this time or later.
            _ => None,
        };
        Ok((0..count).map(offset).collect())
    };
    if let Some(from) = range.from {
        for ((begin, end), found) in spans.iter_mut().zip(at(from)?) {
            *begin = found.unwrap_or(*end);
        }
    }
    if let Some(to) = range.to {
        for ((_, end), found) in spans.iter_mut().zip(at(to)?) {
            *end = found.map_or(*end, |found| found.min(*end));
        }
    }
    Ok(spans)
}

impl Source for Partition {
    fn advance(&mut self, each: &mut dyn FnMut(Item<'_>)) -> anyhow::Result<Next> {
        if self.next >= self.end {
            return Ok(Next::End);
        }
        let started = Instant::now();
        let (before, mut given) = (self.next, 0);
        let mut next = Next::More;
        while given < AT_ONCE && next == Next::More {
            let polled = self.queue.poll(if given == 0 { LOOK } else { Duration::ZERO });
            match polled {
                Some(Ok(message)) if message.offset() >= self.end => next = Next::End,
                Some(Ok(message)) => {
                    each(Item::Record(message.payload(), message.timestamp().to_millis().unwrap_or(-1)));
                    self.next = message.offset() + 1;
                    given += 1;
                    if self.next >= self.end {
                        next = Next::End;
                    }
                }
                // What is left up to the end are no records: markers of transactions.
                Some(Err(KafkaError::PartitionEOF(_))) => next = Next::End,
                Some(Err(error)) => tracing::warn!("{}: {}", self.name, explain::explain(&error)),
                None if given > 0 => break,
                None => {
                    // Events of the client come by its own queue.
                    if let Some(Err(error)) = self.consumer.poll(Duration::ZERO) {
                        tracing::warn!("{}", explain::explain(&error));
                    }
                    let (name, next) = (&self.name, self.next);
                    if started.elapsed() > PATIENCE {
                        bail!(
                            "the broker gives nothing of {name} from offset {next} on: check that it runs, and try again"
                        );
                    }
                }
            }
        }
        if next == Next::End {
            self.next = self.end;
        }
        self.bar.inc((self.next - before).max(0) as u64);
        Ok(next)
    }

    fn name(&self) -> String {
        self.name.clone()
    }

    fn is_scarce(&self) -> bool {
        false
    }
}
