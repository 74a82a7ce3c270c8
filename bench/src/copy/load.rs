//! WAF records, raw or enriched: of varied values and lengths, with event times of a busy service.

use super::PARTITIONS;
use anyhow::Context;
use outlier_core::record::{Anomalies, Scratch, Transform};
use outlier_core::testing;
use rdkafka::ClientConfig;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Different texts that the load repeats; each has a client of its own.
const TEXTS: usize = 20_000;
/// How many clients there are.
pub const CLIENTS: u64 = TEXTS as u64;
/// Where the digits of the event time are in a text of [`testing::record`].
const TIME: std::ops::Range<usize> = 13..27;

/// Makes records.
pub struct Load {
    texts: Vec<Vec<u8>>,
    /// Makes enriched ones of them.
    enrich: Option<(Transform, Box<Scratch>)>,
}

impl Load {
    /// Prepares raw records.
    pub fn new() -> Self {
        Self { texts: (0..TEXTS).map(|n| testing::record(n).into_bytes()).collect(), enrich: None }
    }

    /// Prepares what `outlier process` makes of them.
    fn enriched() -> Self {
        Self { enrich: Some((Transform::new(&testing::waf()), Box::default())), ..Self::new() }
    }

    /// The one or the other.
    pub fn of(enriched: bool) -> Self {
        if enriched { Self::enriched() } else { Self::new() }
    }

    /// Mean length of a record in bytes.
    pub fn mean_bytes(&mut self) -> usize {
        let now = now_ms();
        (0..TEXTS).map(|n| self.record(n, now).len()).sum::<usize>() / TEXTS
    }

    /// The `n`th record, with this event time in milliseconds.
    pub fn record(&mut self, n: usize, time: i64) -> &[u8] {
        let text = &mut self.texts[n % TEXTS];
        // Ten digits, a point, three digits: the same length until the year 2286.
        let digits = format!("{}.{:03}", time / 1000, time % 1000);
        text[TIME].copy_from_slice(digits.as_bytes());
        match &mut self.enrich {
            None => text.as_slice(),
            Some((transform, scratch)) => {
                match transform.apply(Some(text.as_slice()), -1, &Anomalies::default(), scratch) {
                    Ok(enriched) => enriched.bytes,
                    Err(reject) => unreachable!("a record of our own is refused: {reject}"),
                }
            }
        }
    }

    /// Fills an empty topic; enriched records name their place in it as their source.
    pub fn prefill(&mut self, servers: &str, topic: &str, course: Course) -> anyhow::Result<()> {
        let producer = producer(servers, 20)?;
        for n in 0..course.records {
            let Place { time, partition, offset } = course.place(n);
            let source = self.enrich.is_some().then(|| format!("{topic}/{partition}/{offset}"));
            let mut record = BaseRecord::to(topic).partition(partition).payload(self.record(n, time)).timestamp(time);
            if let Some(source) = &source {
                let header = Header { key: "outlier-source", value: Some(source) };
                record = record.headers(OwnedHeaders::new().insert(header));
            }
            send(&producer, record)?;
        }
        producer.flush(Duration::from_secs(60)).context("the broker does not take the records")
    }
}

/// What a topic is filled with.
#[derive(Debug, Clone, Copy)]
pub struct Course {
    /// Event time of the first record, epoch milliseconds.
    pub start: i64,
    /// Records to each second of event time.
    pub per_second: usize,
    /// How many records.
    pub records: usize,
}

/// Where and when a record is.
#[derive(Debug, Clone, Copy)]
pub struct Place {
    /// Its time, epoch milliseconds.
    pub time: i64,
    /// Its partition.
    pub partition: i32,
    /// Its offset.
    pub offset: usize,
}

impl Course {
    /// Ends a minute ago.
    pub fn new(records: usize, per_second: usize) -> Self {
        Self { start: now_ms() - (records / per_second) as i64 * 1_000 - 60_000, per_second, records }
    }

    /// Of the `n`th record.
    pub fn place(&self, n: usize) -> Place {
        // Runs of a partition, as a producer's batches are.
        const RUN: usize = 512;
        let (run, partitions) = (n / RUN, PARTITIONS as usize);
        Place {
            time: self.start + (n * 1_000 / self.per_second) as i64,
            partition: (run % partitions) as i32,
            offset: run / partitions * RUN + n % RUN,
        }
    }
}

/// Sends a record, and waits while the queue is full.
pub fn send(producer: &BaseProducer, mut record: BaseRecord<'_, [u8], [u8]>) -> anyhow::Result<()> {
    while let Err((error, back)) = producer.send(record) {
        let full = matches!(error, KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull));
        anyhow::ensure!(full, "cannot produce: {error}");
        record = back;
        std::thread::sleep(Duration::from_millis(1));
        producer.poll(Duration::ZERO);
    }
    Ok(())
}

/// A producer that batches for `linger_ms`.
pub fn producer(servers: &str, linger_ms: u64) -> anyhow::Result<BaseProducer> {
    Ok(ClientConfig::new()
        .set("bootstrap.servers", servers)
        .set("compression.codec", "lz4")
        .set("linger.ms", linger_ms.to_string())
        .set("batch.size", "1000000")
        .set("queue.buffering.max.messages", "200000")
        .set("queue.buffering.max.kbytes", "65536")
        .set("delivery.report.only.error", "true")
        .set("enable.idempotence", "true")
        .create()?)
}

/// The wall clock in milliseconds.
pub fn now_ms() -> i64 {
    now_us() / 1000
}

/// The wall clock in microseconds.
pub fn now_us() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_micros() as i64)
}
