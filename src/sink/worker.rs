//! One pipeline's consumer: reads, collects, sends, commits.
//!
//! What is read is checked and written into the request at once, in one task: a pipeline's sink reads as fast as one core
//! does that, more than 200,000 records a second.
//!
//! How large a batch is, and how many may be on the way, the index's answers say ([`super::pace`]). A full batch waits
//! until there is room; meanwhile nothing is read. After [`PATIENCE`] the
//! partitions are paused, so that the consumer can go on polling and stays in its group however long the index takes.
//!
//! Invariant: batches are settled side by side and committed in the order in which they were read.

mod anew;

use super::assignment::Assignment;
use super::batch::{Batch, Partition, Position, Source};
use super::commits::Commits;
use super::delivery::{Abandoned, Delivery};
use super::document::{Origin, SOURCE_HEADER, Times, identify};
use super::headers;
use super::in_flight::{InFlight, Join};
use super::pace::{Pace, Step};
use super::reading::{Astray, Reading};
use super::rejects::Rejects;
use super::suspects::Suspects;
use crate::config::{Config, Sink, Stage};
use crate::index::{Document, Index};
use crate::kafka::broken::{Broken, CHECK, Remedy};
use crate::kafka::client;
use crate::kafka::explain::explain;
use crate::kafka::fetching::Fetching;
use crate::telemetry::Telemetry;
use crate::telemetry::health::State;
use anyhow::Context;
use bytes::Bytes;
use futures::FutureExt;
use futures::stream::StreamExt;
use outlier_core::pipeline::Pipeline;
use prometheus_client::metrics::counter::Counter;
use rdkafka::TopicPartitionList;
use rdkafka::consumer::{Consumer, StreamConsumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use rdkafka::message::{BorrowedMessage, Message};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::task::{JoinError, JoinHandle};
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

/// How long a full batch waits before the partitions are paused. Pausing throws away what was fetched ahead.
pub const PATIENCE: Duration = Duration::from_secs(5);

/// Records taken without looking at anything else.
const GREED: usize = 256;

type Settled = Result<BTreeMap<Partition, Position>, Abandoned>;

impl Join for Settled {
    /// The positions of both are those of the later one, where it has some.
    fn join(&mut self, later: Self) -> Option<Self> {
        match (self, later) {
            (Ok(positions), Ok(later)) => positions.extend(later),
            (_, later) => return Some(later),
        }
        None
    }
}

/// Reads one pipeline's topics.
pub struct Worker {
    consumer: Arc<StreamConsumer<Assignment>>,
    delivery: Arc<Delivery>,
    pipeline: Arc<str>,
    topics: Vec<(Arc<str>, Stage)>,
    limits: Sink,
    drain: Duration,
    telemetry: Telemetry,
    /// Offsets that were deleted before they were read.
    lost: Counter,
    /// Cancelled with the service; from then on deliveries do not wait.
    stop: CancellationToken,
}

impl Worker {
    /// Prepares the consumer and joins its group `<prefix><pipeline>.sink`.
    ///
    /// # Errors
    /// A librdkafka property is wrong.
    pub fn new(
        config: &Config,
        pipeline: &Pipeline,
        index: Arc<dyn Index>,
        telemetry: Telemetry,
    ) -> anyhow::Result<Self> {
        let topics: Vec<(Arc<str>, Stage)> = config.sink.what.iter().map(|s| (s.topic(pipeline).into(), *s)).collect();
        let known = topics.iter().map(|(name, stage)| (name.to_string(), *stage)).collect();
        let mut settings = client::consumer(&config.kafka, &group(config, pipeline));
        // What is to be read and is not there is no reason to go on elsewhere in silence.
        settings.set("auto.offset.reset", "error");
        Fetching::set(&mut settings);
        let consumer: StreamConsumer<Assignment> =
            settings.create_with_context(Assignment::new(known)).context("check [kafka.properties]")?;
        let names: Vec<&str> = topics.iter().map(|(name, _)| &**name).collect();
        consumer.subscribe(&names).context("the topics cannot be subscribed to")?;
        let stop = CancellationToken::new();
        let lost = telemetry.metrics.records("sink", &pipeline.name, "lost", "retention");
        let delivery = Delivery {
            index,
            rejects: Rejects::new(config, pipeline).context("check [kafka.properties]")?,
            telemetry: telemetry.clone(),
            pipeline: pipeline.name.clone(),
            pace: Mutex::new(Pace::new(config.sink.bulk_bytes, config.sink.bulk_requests)),
            stop: stop.clone(),
            taken: Mutex::default(),
            suspects: Suspects::default(),
            waiting: Mutex::default(),
        };
        let worker = Self {
            consumer: Arc::new(consumer),
            delivery: Arc::new(delivery),
            pipeline: pipeline.name.as_str().into(),
            topics,
            limits: config.sink.clone(),
            drain: config.telemetry.shutdown_deadline.mul_f64(0.7),
            telemetry,
            lost,
            stop,
        };
        worker.telemetry.health.show_count(&worker.component(), "lost", &worker.lost);
        Ok(worker)
    }

    /// Works until `stop`, then settles what it holds, commits and leaves the group.
    ///
    /// # Errors
    /// A delivery was cut off, or the consumer cannot go on at all.
    pub async fn run(self, stop: CancellationToken) -> anyhow::Result<()> {
        let waiting = format!(
            "waiting for partitions of {}",
            self.topics.iter().map(|(t, _)| &**t).collect::<Vec<_>>().join(", ")
        );
        self.telemetry.health.set(&self.component(), State::Starting { reason: waiting });
        let mut on_the_way: InFlight<Settled> = InFlight::new();
        let mut reading = Reading::new(Arc::clone(&self.pipeline));
        let mut commits = Commits::new(Arc::clone(&self.consumer));
        let mut cut_off = None;
        let stopped = stop.cancelled();
        tokio::pin!(stopped);
        {
            let mut stream = self.consumer.stream();
            loop {
                if reading.fatal.is_some() {
                    break;
                }
                self.look_at_assignment(&mut reading);
                self.look_at_fetching(&mut reading);
                if let Some(astray) = reading.astray.take_if(|astray| astray.at <= Instant::now()) {
                    self.find_back(&mut reading, astray.only).await;
                }
                match reading.broken.remedy() {
                    Some(Remedy::Ask) => self.ask_broker(&mut reading).await,
                    Some(Remedy::Anew) => self.find_back(&mut reading, None).await,
                    None => {}
                }
                let now = Instant::now();
                let due = reading.since.map(|since| since + self.limits.flush_interval);
                let Step { bytes, requests } = self.delivery.step();
                let full = reading.filling.full(bytes, self.limits.bulk_records);
                let room = on_the_way.room(requests);
                if room && (full || due.is_some_and(|due| due <= now)) {
                    on_the_way.push(self.send(&mut reading, full));
                    continue;
                }
                let idle = on_the_way.is_empty();
                if commits.due(idle).is_some_and(|due| due <= now) {
                    commits.begin();
                }
                self.pace(&mut reading, full, now);
                let read = !full || reading.paused;
                let wake = match (room, due, reading.full_since) {
                    (true, Some(due), _) => due,
                    (false, _, Some(since)) if !reading.paused => since + PATIENCE,
                    _ => now + CHECK,
                };
                let broken = reading.broken.due().map(Instant::from_std);
                let others = [reading.astray.as_ref().map(|astray| astray.at), broken, commits.due(idle)];
                let wake = others.into_iter().flatten().fold(wake, Instant::min);
                tokio::select! {
                    biased;
                    () = &mut stopped => break,
                    settled = on_the_way.next(), if !idle => match done(settled) {
                        Ok(positions) => commits.note(&positions),
                        Err(error) => {
                            cut_off = Some(error);
                            break;
                        }
                    },
                    () = commits.ended(), if commits.is_running() => {}
                    message = stream.next(), if read => {
                        self.take(&mut reading, message);
                        for _ in 0..GREED {
                            if reading.filling.full(bytes, self.limits.bulk_records) || self.consumer.context().changes() != reading.changes {
                                break;
                            }
                            match stream.next().now_or_never() {
                                Some(message) => self.take(&mut reading, message),
                                None => break,
                            }
                        }
                    }
                    () = sleep_until(wake) => {}
                }
            }
        }
        let mut fatal = reading
            .fatal
            .take()
            .map(|error| anyhow::Error::new(error).context("the sink's consumer failed for good; start it again"));
        if cut_off.is_some() {
            // What was read later must not be committed.
            (reading.filling, on_the_way) = (Batch::new(Arc::clone(&self.pipeline)), InFlight::new());
            fatal = cut_off;
        }
        let finished = self.finish(reading, on_the_way, commits).await;
        fatal.map_or(finished, Err)
    }

    /// The health component of what the worker reads from.
    fn component(&self) -> String {
        format!("sink.{}.kafka", self.pipeline)
    }

    /// Drops what was read of partitions that are not ours any more.
    fn look_at_assignment(&self, reading: &mut Reading) {
        let assignment = self.consumer.context();
        if assignment.changes() == reading.changes {
            return;
        }
        reading.changes = assignment.changes();
        reading.turns = assignment.turns();
        let turns = &reading.turns;
        reading.filling.retain(|partition, turn| turns.get(&partition) == Some(&turn));
        if reading.filling.positions.is_empty() {
            reading.since = None;
        }
        // New partitions are not paused, those that stay are: all begin alike, and are paused again if need be.
        self.all_partitions(|consumer, all| consumer.resume(all));
        reading.paused = false;
        reading.broken.reassigned();
        if reading.broken == Broken::No && assignment.member() {
            self.well(reading);
        }
        self.telemetry.metrics.gauge("sink", &self.pipeline, "partitions").set(reading.turns.len() as i64);
    }

    fn send(&self, reading: &mut Reading, full: bool) -> JoinHandle<Settled> {
        let next = if full { reading.filling.successor() } else { Batch::new(Arc::clone(&self.pipeline)) };
        let batch = std::mem::replace(&mut reading.filling, next);
        reading.since = None;
        let delivery = Arc::clone(&self.delivery);
        tokio::spawn(async move { delivery.settle(batch, full).await })
    }

    /// Pauses and resumes the partitions.
    fn pace(&self, reading: &mut Reading, full: bool, now: Instant) {
        if !full {
            reading.full_since = None;
            if std::mem::take(&mut reading.paused) {
                self.all_partitions(|consumer, all| consumer.resume(all));
            }
            return;
        }
        let since = *reading.full_since.get_or_insert(now);
        if !reading.paused && now >= since + PATIENCE {
            self.all_partitions(|consumer, all| consumer.pause(all));
            reading.paused = true;
        }
    }

    fn all_partitions(&self, act: impl Fn(&StreamConsumer<Assignment>, &TopicPartitionList) -> Result<(), KafkaError>) {
        if let Err(error) = self.consumer.assignment().and_then(|all| act(&self.consumer, &all)) {
            tracing::warn!("sink: partitions cannot be paused or resumed: {}", explain(&error));
        }
    }

    fn take(&self, reading: &mut Reading, message: Option<Result<BorrowedMessage<'_>, KafkaError>>) {
        match message {
            Some(Ok(message)) => self.add(reading, &message),
            Some(Err(KafkaError::PartitionEOF(_))) | None => {}
            Some(Err(error)) => {
                match error.rdkafka_error_code() {
                    Some(Code::Fatal) => return reading.fatal = Some(error),
                    Some(Code::AutoOffsetReset) => {
                        return reading.astray = Some(Astray { at: Instant::now(), only: None });
                    }
                    _ => {}
                }
                self.trouble(reading, &error);
            }
        }
    }

    fn add(&self, reading: &mut Reading, message: &BorrowedMessage<'_>) {
        let name = message.topic();
        let Some((topic, stage)) = self.topics.iter().find(|(topic, _)| **topic == *name) else {
            return;
        };
        let partition = (*stage, message.partition());
        // The poll that gave this record may have changed the assignment before it.
        self.look_at_assignment(reading);
        let Some(turn) = reading.turns.get(&partition).copied() else {
            return;
        };
        let source = Source {
            stage: *stage,
            topic: Arc::clone(topic),
            partition: message.partition(),
            offset: message.offset(),
            timestamp_ms: message.timestamp().to_millis().unwrap_or(0),
            key: message.key().map(Bytes::copy_from_slice),
        };
        let header = match stage {
            Stage::Enriched => message.headers().and_then(|all| headers::last(all, SOURCE_HEADER)),
            Stage::Raw | Stage::Scores | Stage::Alerts => None,
        };
        let origin = Origin {
            topic,
            partition: source.partition,
            offset: source.offset,
            timestamp_ms: source.timestamp_ms,
            source: header,
        };
        let body = message.payload();
        let Reading { filling, id, .. } = reading;
        match identify(*stage, origin, body, id) {
            Ok(Times { timestamp_ms, period_ms }) => {
                let body = body.map(Cow::Borrowed);
                let document = Document { stage: *stage, id: id.as_str().into(), timestamp_ms, period_ms, body };
                filling.push(turn, source, document, &*self.delivery.index);
            }
            Err(unfit) => filling.reject(turn, source, body, None, unfit),
        }
        reading.since.get_or_insert_with(Instant::now);
    }

    /// Settles what is held, as long as the deadline allows, commits it and leaves the group.
    async fn finish(
        self,
        mut reading: Reading,
        mut on_the_way: InFlight<Settled>,
        mut commits: Commits,
    ) -> anyhow::Result<()> {
        self.telemetry.health.set(&self.component(), State::Starting { reason: "stopping".to_owned() });
        self.stop.cancel();
        if !reading.filling.positions.is_empty() {
            on_the_way.push(self.send(&mut reading, false));
        }
        let drained = timeout(self.drain, async {
            while !on_the_way.is_empty() {
                let settled = on_the_way.next().await;
                let given_up = settled.iter().any(|settled| matches!(settled, Ok(Err(Abandoned))));
                commits.note(&done(settled)?);
                // What was read later must not be committed either.
                if given_up {
                    break;
                }
            }
            anyhow::Ok(())
        });
        let drained = drained.await;
        commits.ended().await;
        let consumer = self.consumer;
        let left = tokio::task::spawn_blocking(move || {
            commits.leave();
            drop(consumer);
        });
        left.await.context("the consumer could not be closed")?;
        match drained {
            Ok(result) => result,
            Err(_) => {
                tracing::warn!("sink: stopped before all was indexed; the rest is read again after the next start");
                Ok(())
            }
        }
    }
}

/// Up to where all is done.
fn done(settled: Vec<Result<Settled, JoinError>>) -> anyhow::Result<BTreeMap<Partition, Position>> {
    let mut done = BTreeMap::new();
    for settled in settled {
        // After what was given up comes nothing that may be committed: the worker stops.
        let Ok(positions) = settled.context("a delivery to the index was cut off")? else { break };
        done.extend(positions);
    }
    Ok(done)
}

/// The consumer group of a pipeline's sink.
pub fn group(config: &Config, pipeline: &Pipeline) -> String {
    format!("{}{}.sink", config.kafka.topic_prefix, pipeline.name)
}
