//! Records into the raw topic.
//!
//! Invariants: nothing is queued beyond librdkafka's own bounds; a full queue is waited for, and every delivery wakes
//! the waiter; each record ends as delivered or as failed, and failures are logged with their remedy.

use super::{Outgoing, Tally};
use crate::config;
use crate::kafka::{client, explain};
use crate::produce::SERVICE;
use crate::telemetry::Telemetry;
use crate::telemetry::health::State;
use anyhow::{Context, bail};
use prometheus_client::metrics::counter::Counter;
use rdkafka::ClientContext;
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use rdkafka::message::DeliveryResult;
use rdkafka::producer::{BaseRecord, Producer, ProducerContext, ThreadedProducer};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// So long a broker and the topic are waited for at the start.
const PATIENCE: Duration = Duration::from_secs(30);

/// A full queue is looked at again after this long without a report.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// The producer of one topic.
pub(in crate::produce) struct Kafka {
    producer: Arc<ThreadedProducer<Reports>>,
    reports: Reports,
    topic: String,
    partitions: i32,
    next: i32,
    /// Records that were queued or refused; each is reported once.
    handed: u64,
}

/// Shared with librdkafka's thread, which reports deliveries and errors here.
#[derive(Clone)]
struct Reports(Arc<Inner>);

struct Inner {
    delivered: AtomicU64,
    failed: AtomicU64,
    /// Each report leaves a permit here.
    room: Notify,
    /// No broker answers.
    down: AtomicBool,
    /// The last thing that librdkafka complained of, for messages.
    complaint: Mutex<Option<String>>,
    topic: String,
    out: Counter,
    lost: Counter,
    telemetry: Telemetry,
}

impl Inner {
    fn fail(&self, error: &KafkaError) {
        self.lost.inc();
        // The first one tells what is wrong; the rest are counted.
        if self.failed.fetch_add(1, Ordering::AcqRel) == 0 {
            let topic = &self.topic;
            tracing::error!(
                "a record was not written to {topic}: {}; further ones are counted",
                explain::explain(error)
            );
        }
    }
}

impl ClientContext for Reports {
    fn error(&self, error: KafkaError, reason: &str) {
        let told = format!("{reason}: {}", explain::explain(&error));
        if error.rdkafka_error_code() == Some(Code::AllBrokersDown) {
            self.0.down.store(true, Ordering::Relaxed);
            self.0.telemetry.health.set(SERVICE, State::Waiting { reason: told });
        } else {
            tracing::debug!("{told}");
            *self.0.complaint.lock().unwrap_or_else(PoisonError::into_inner) = Some(told);
        }
    }
}

impl ProducerContext for Reports {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        match result {
            Ok(_) => {
                self.0.delivered.fetch_add(1, Ordering::AcqRel);
                self.0.out.inc();
                if self.0.down.swap(false, Ordering::Relaxed) {
                    self.0.telemetry.health.set(SERVICE, State::Ready);
                }
            }
            Err((error, _)) => self.0.fail(error),
        }
        self.0.room.notify_one();
    }
}

impl Kafka {
    /// Connects to the broker and looks the topic up; `None` when `stop` came first.
    ///
    /// # Errors
    /// No broker answers or there is no such topic, after half a minute.
    pub async fn connect(
        kafka: &config::Kafka,
        topic: &str,
        pipeline: &str,
        telemetry: &Telemetry,
        stop: &CancellationToken,
    ) -> anyhow::Result<Option<Self>> {
        let counter = |outcome, reason| telemetry.metrics.records(SERVICE, pipeline, outcome, reason);
        let reports = Reports(Arc::new(Inner {
            delivered: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            room: Notify::new(),
            down: AtomicBool::new(false),
            complaint: Mutex::new(None),
            topic: topic.to_owned(),
            out: counter("out", ""),
            lost: counter("failed", "kafka"),
            telemetry: telemetry.clone(),
        }));
        let producer: ThreadedProducer<Reports> = client::producer(kafka)
            .create_with_context(reports.clone())
            .context("the Kafka client cannot be made: check [kafka.properties]")?;
        let producer = Arc::new(producer);
        let begun = Instant::now();
        let partitions = loop {
            let told = match look_up(&producer, topic).await? {
                Ok(partitions) => break partitions,
                Err(told) => told,
            };
            let complaint = reports.0.complaint.lock().unwrap_or_else(PoisonError::into_inner).take();
            let told = complaint.map_or(told.clone(), |complaint| format!("{told} ({complaint})"));
            if begun.elapsed() >= PATIENCE {
                bail!("the topic {topic} at {} cannot be written: {told}", kafka.bootstrap_servers);
            }
            telemetry.health.set(SERVICE, State::Starting { reason: told });
            tokio::select! {
                () = stop.cancelled() => return Ok(None),
                () = tokio::time::sleep(Duration::from_secs(1)) => {}
            }
        };
        Ok(Some(Self { producer, reports, topic: topic.to_owned(), partitions, next: 0, handed: 0 }))
    }

    /// Queues a record: by its key, else for the partitions in turn.
    pub async fn send(&mut self, record: Outgoing<'_>, stop: &CancellationToken) -> anyhow::Result<()> {
        let mut message = BaseRecord::<[u8], [u8]>::to(&self.topic).payload(record.bytes);
        message = match record.key {
            Some(key) => message.key(key),
            None => message.partition(self.next),
        };
        if record.stamped {
            message = message.timestamp(record.at);
        }
        loop {
            let (error, back) = match self.producer.send(message) {
                Ok(()) => break,
                Err(refused) => refused,
            };
            match error.rdkafka_error_code() {
                Some(Code::QueueFull) => {
                    let waited = tokio::select! {
                        waited = tokio::time::timeout(LOOK_AGAIN, self.reports.0.room.notified()) => waited,
                        // It was never queued: the run ends just before this record.
                        () = stop.cancelled() => return Ok(()),
                    };
                    if waited.is_err() && self.producer.in_flight_count() == 0 {
                        bail!("a record of {} bytes is larger than queue.buffering.max.kbytes", record.bytes.len());
                    }
                    message = back;
                }
                Some(Code::Fatal) => bail!("the producer cannot go on: {}", explain::explain(&error)),
                _ => {
                    self.reports.0.fail(&error);
                    break;
                }
            }
        }
        self.handed += 1;
        self.next = (self.next + 1) % self.partitions;
        Ok(())
    }

    /// Waits until everything is delivered or has failed, this long at most.
    pub async fn finish(self, deadline: Duration) -> Tally {
        let end = Instant::now() + deadline;
        let inner = &self.reports.0;
        let reported = || inner.delivered.load(Ordering::Acquire) + inner.failed.load(Ordering::Acquire);
        // A report counts first and leaves a permit then: none is missed between the look and the wait.
        while reported() < self.handed {
            if tokio::time::timeout_at(end, inner.room.notified()).await.is_err() {
                break;
            }
        }
        let left = self.handed.saturating_sub(reported());
        if left > 0 {
            tracing::error!("{left} records were not delivered to {} within {deadline:?}", self.topic);
            inner.lost.inc_by(left);
        }
        Tally { written: inner.delivered.load(Ordering::Acquire), failed: inner.failed.load(Ordering::Acquire) + left }
    }
}

/// The number of the topic's partitions, or what keeps it from being known.
async fn look_up(producer: &Arc<ThreadedProducer<Reports>>, topic: &str) -> anyhow::Result<Result<i32, String>> {
    let (producer, topic) = (Arc::clone(producer), topic.to_owned());
    let looked = tokio::task::spawn_blocking(move || {
        let metadata = producer.client().fetch_metadata(Some(&topic), Duration::from_secs(5));
        let metadata = metadata.map_err(|error| explain::explain(&error))?;
        let found = metadata.topics().iter().find(|found| found.name() == topic);
        match found.map(|found| (found.error(), found.partitions().len())) {
            Some((Some(error), _)) => Err(explain::explain(&KafkaError::MetadataFetch(error.into()))),
            Some((None, partitions)) if partitions > 0 => Ok(i32::try_from(partitions).unwrap_or(i32::MAX)),
            _ => Err("the topic has no partition yet".to_owned()),
        }
    });
    Ok(looked.await?)
}
