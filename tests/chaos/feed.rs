//! The raw records of a course: out of order, late, bad, in partitions that pause.

use crate::support::kafka::{Kafka, flush, send};
use crate::support::pipeline::{PARTITIONS, START, log_record};
use rand::prelude::*;
use rand::rngs::StdRng;
use rdkafka::producer::BaseProducer;
use std::time::Duration;

/// Of a hundred records, this many are bad, and as many a minute late.
const PERCENT: f64 = 0.02;
/// From the last record of a course to the ones that close every window before them, in ms.
const JUMP: i64 = 600_000;

/// When all that comes is blocked and from one country, in ms from the start: anomalies with reasons.
const ATTACK: std::ops::Range<i64> = 240_000..260_000;

/// Feeds the raw topic. What it sends depends on the seed alone.
pub struct Feed {
    producer: BaseProducer,
    raw: String,
    rng: StdRng,
    /// Event time of the newest record, in epoch ms.
    time: i64,
    /// Partitions that get records now.
    active: Vec<i32>,
    /// Records sent that are good, and that are bad.
    pub sent: (usize, usize),
}

impl Feed {
    pub fn new(kafka: &Kafka, raw: &str, seed: u64) -> Self {
        let rng = StdRng::seed_from_u64(seed);
        let (raw, active) = (raw.to_owned(), (0..PARTITIONS).collect());
        Self { producer: kafka.producer(), raw, rng, time: START, active, sent: (0, 0) }
    }

    /// Sends records to some partitions, mostly to all.
    pub fn some(&mut self, records: usize) {
        self.active = (0..PARTITIONS).collect();
        if self.rng.random_bool(0.3) {
            self.active.shuffle(&mut self.rng);
            self.active.truncate(self.rng.random_range(1..PARTITIONS as usize));
        }
        for _ in 0..records {
            self.one();
        }
        self.producer.poll(Duration::ZERO);
    }

    /// One last record in each partition closes every window before it. Answers its event time.
    pub fn last(&mut self) -> i64 {
        let time = self.time + JUMP;
        for partition in 0..PARTITIONS {
            let value = log_record(&mut self.rng, time);
            send(&self.producer, &self.raw, partition, Some(value.as_bytes()), time);
            self.sent.0 += 1;
        }
        flush(&self.producer);
        time
    }

    /// Nothing comes for so many ms of event time. Answers the event time of the newest record.
    pub fn rest(&mut self, ms: i64) -> i64 {
        flush(&self.producer);
        let last = self.time;
        self.time += ms;
        last
    }

    fn one(&mut self) {
        let rng = &mut self.rng;
        self.time += rng.random_range(0..120);
        let partition = *self.active.choose(rng).unwrap();
        let late = if rng.random_bool(PERCENT) { 60_000 } else { 1_500 };
        let event = self.time - rng.random_range(0..late);
        let bad = rng.random_bool(PERCENT);
        let value = match log_record(rng, event) {
            _ if bad => "not json".to_owned(),
            log if ATTACK.contains(&(event - START)) => {
                ["US", "UK"].iter().fold(log.replace("ALLOW", "BLOCK"), |log, country| log.replace(country, "XX"))
            }
            log => log,
        };
        send(&self.producer, &self.raw, partition, Some(value.as_bytes()), self.time);
        *if bad { &mut self.sent.1 } else { &mut self.sent.0 } += 1;
    }
}
