//! Stage one: raw records become enriched or rejected ones, and differences to windows.
//!
//! Invariant: `in = enriched + rejected`, each counted by itself, so that the numbers would show a loss; a record's
//! enriched form keeps its key, headers, order and Kafka timestamp and says in the header `outlier-source` where it
//! came from.

use super::align::Aligning;
use super::anomalies::AnomalyTail;
use super::source::Source;
use crate::kafka::output::Output;
use crate::kafka::topics::{bounds, known_ends, partition_count};
use crate::telemetry::Telemetry;
use crate::time::now;
use crate::worker::Misfit;
use crate::worker::stage::{Assigned, Next, Progress, Stage, Tell};
use anyhow::Context;
use outlier_core::pipeline::{Millis, Pipeline};
use outlier_core::record::{Reject, Scratch, Transform};
use outlier_core::window::{Counter, Observed, SourceTime};
use prometheus_client::metrics::counter::Counter as Metric;
use prometheus_client::metrics::gauge::Gauge;
use rdkafka::Offset;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::{BorrowedMessage, Header, Message, OwnedHeaders};
use rdkafka::producer::BaseRecord;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Largest message of the windows topic.
const FRAME_BYTES: usize = 900_000;
/// Bytes that are kept of the key of a record whose key and headers are too large.
const KEPT_KEY: usize = 16 << 10;
/// How long the broker may take to say where a partition ends.
const ASK: Duration = Duration::from_secs(2);
/// From so many unread records on, the log says that it is catching up.
const BEHIND: i64 = 100_000;
/// How often the number of partitions is looked up.
const LOOK_UP: Duration = Duration::from_secs(30);

/// The transform stage of one pipeline.
pub struct TransformStage {
    pipeline: Arc<Pipeline>,
    /// For looking up topics and their ends.
    reader: Arc<BaseConsumer>,
    transform: Transform,
    scratch: Scratch,
    counter: Counter,
    aligning: Aligning,
    anomalies: AnomalyTail,
    /// Next offset of each owned partition.
    positions: BTreeMap<i32, i64>,
    /// Where they ended when that was looked up.
    ends: BTreeMap<i32, i64>,
    raw_partitions: i32,
    enriched_partitions: i32,
    looked_up: Option<Instant>,
    source: Source,
    pending: Ledger,
    metrics: Metrics,
}

/// What the transaction under way will have done.
#[derive(Default)]
struct Ledger {
    read: u64,
    enriched: u64,
    rejected: BTreeMap<&'static str, u64>,
    late: u64,
    hashed: u64,
    no_numbers: u64,
}

struct Metrics {
    read: Metric,
    enriched: Metric,
    late: Metric,
    hashed: Metric,
    no_numbers: Metric,
    rejected: BTreeMap<&'static str, Metric>,
    /// Records of the owned partitions that are not read yet.
    lag: Gauge,
    waiting: Gauge,
}

impl Metrics {
    fn new(pipeline: &str, telemetry: &Telemetry) -> Self {
        let record = |outcome, reason| telemetry.metrics.records("process", pipeline, outcome, reason);
        Self {
            read: record("in", ""),
            enriched: record("out", ""),
            late: record("late", ""),
            hashed: record("hashed_key", ""),
            no_numbers: record("no_number", ""),
            rejected: Reject::CODES.iter().map(|code| (*code, record("rejected", code))).collect(),
            lag: telemetry.metrics.gauge("process", pipeline, "lag_records"),
            waiting: telemetry.metrics.gauge("process", pipeline, "waiting_partitions"),
        }
    }

    /// What was done is durable.
    fn count(&self, done: Ledger) {
        self.read.inc_by(done.read);
        self.enriched.inc_by(done.enriched);
        self.late.inc_by(done.late);
        self.hashed.inc_by(done.hashed);
        self.no_numbers.inc_by(done.no_numbers);
        for (code, count) in done.rejected {
            if let Some(metric) = self.rejected.get(code) {
                metric.inc_by(count);
            }
        }
    }
}

impl TransformStage {
    /// A stage that owns nothing yet. `connection` is for looking up topics, `group` has the group's name.
    ///
    /// # Errors
    /// The client configuration is refused.
    pub fn new(
        pipeline: Arc<Pipeline>,
        connection: rdkafka::ClientConfig,
        group: &rdkafka::ClientConfig,
        [idle_timeout, align]: [Duration; 2],
        telemetry: &Telemetry,
    ) -> anyhow::Result<Self> {
        let component = super::component(&pipeline.name, "transform");
        let metrics = Metrics::new(&pipeline.name, telemetry);
        let causes = [("late", &metrics.late), ("hashed_key", &metrics.hashed), ("no_number", &metrics.no_numbers)];
        let rejected = metrics.rejected.iter().map(|(code, metric)| (*code, metric));
        for (cause, counter) in causes.into_iter().chain(rejected) {
            telemetry.health.show_count(&component, cause, counter);
        }
        telemetry.health.show_level(&component, "lag_records", &metrics.lag);
        telemetry.health.show_level(&component, "waiting_partitions", &metrics.waiting);
        let reader: Arc<BaseConsumer> = Arc::new(connection.create()?);
        let align = align.as_millis() as Millis;
        Ok(Self {
            transform: Transform::new(&pipeline),
            scratch: Scratch::default(),
            counter: Counter::new(&pipeline, idle_timeout.as_millis() as Millis),
            aligning: Aligning::watch(group, reader.clone(), &pipeline.topics.raw, align)?,
            anomalies: AnomalyTail::new(&connection, &pipeline)?,
            positions: BTreeMap::new(),
            ends: BTreeMap::new(),
            raw_partitions: 0,
            enriched_partitions: 0,
            looked_up: None,
            source: Source::new(),
            pending: Ledger::default(),
            metrics,
            pipeline,
            reader,
        })
    }

    /// Looks up how many partitions there are, now and then: more may be added while running. False: it is not time.
    fn look_up(&mut self) -> anyhow::Result<bool> {
        if self.looked_up.is_some_and(|at| at.elapsed() < LOOK_UP) {
            return Ok(false);
        }
        let consumer = self.reader.as_ref();
        self.raw_partitions = partition_count(consumer, &self.pipeline.topics.raw)?;
        self.enriched_partitions = partition_count(consumer, &self.pipeline.topics.enriched)?;
        let windows = partition_count(consumer, &self.pipeline.topics.windows)?;
        if windows != self.pipeline.windows_partitions {
            anyhow::bail!(Misfit(format!(
                "topic {} has {windows} partitions, the configuration says {}: set windows_partitions = {windows}, or delete \
                 the topics {} and {} and run `outlier setup`",
                self.pipeline.topics.windows,
                self.pipeline.windows_partitions,
                self.pipeline.topics.windows,
                self.pipeline.topics.state,
            )));
        }
        self.aligning.set_partitions(self.raw_partitions);
        self.looked_up = Some(Instant::now());
        Ok(true)
    }

    /// Looks up where the owned partitions end: a fresh group begins with the oldest record there is.
    fn look_at_lag(&mut self) {
        let topic = &self.pipeline.topics.raw;
        // A broker that does not answer is noticed elsewhere.
        let owned = self.positions.keys().copied();
        let Ok(ends) = bounds(self.reader.as_ref(), topic, owned, Offset::End, ASK) else { return };
        self.ends = ends;
        self.show_lag();
        let lag = self.metrics.lag.get();
        if lag > BEHIND {
            tracing::info!(topic, lag, "catching up: so many records are not read yet");
        }
    }

    fn show_lag(&self) {
        let lag = |(partition, position): (&i32, &i64)| {
            self.ends.get(partition).map_or(0, |end| end.saturating_sub(*position).max(0))
        };
        self.metrics.lag.set(self.positions.iter().map(lag).sum());
    }

    /// Asks the broker whether quiet partitions are really at their ends, before they are called idle.
    fn look_at_ends(&mut self, now: Millis) {
        let unsure = self.counter.unsure(now);
        if unsure.is_empty() {
            return;
        }
        // A broker that does not answer is noticed elsewhere.
        let ends = known_ends(self.reader.as_ref(), &self.pipeline.topics.raw, &unsure, ASK).unwrap_or_default();
        unsure.iter().for_each(|partition| self.counter.sure(*partition, ends.get(partition).copied(), now));
    }

    fn enriched(&self, message: &BorrowedMessage<'_>, bytes: &[u8], output: &mut Output) -> anyhow::Result<()> {
        let headers = kept_headers(message, 1).insert(header("outlier-source", self.source.as_str()));
        let mut record = BaseRecord::to(&self.pipeline.topics.enriched)
            .partition(message.partition() % self.enriched_partitions.max(1))
            .headers(headers)
            .payload(bytes);
        record.key = message.key();
        output.send(with_time(record, message))
    }

    fn reject(&mut self, message: &BorrowedMessage<'_>, reject: &Reject, output: &mut Output) -> anyhow::Result<()> {
        let code = reject.code();
        let reason = reject.to_string();
        let told = |headers: OwnedHeaders| {
            headers
                .insert(header("outlier-reason", code))
                .insert(header("outlier-detail", &reason))
                .insert(header("outlier-service", "process"))
                .insert(header("outlier-source", self.source.as_str()))
        };
        // A record far beyond the limit came in compressed; its copy would not pass, so its beginning is kept.
        let payload = message.payload();
        let most = 2 * self.pipeline.max_record_bytes;
        let cut = payload.filter(|payload| payload.len() > most).map(|payload| &payload[..most]);
        let size = payload.map_or(0, <[u8]>::len).to_string();
        let whole = || header("outlier-original-bytes", &size);
        let rejected = |headers: OwnedHeaders, key: Option<&[u8]>, output: &mut Output| {
            let mut record = BaseRecord::to(&self.pipeline.topics.rejected).headers(headers);
            (record.key, record.payload) = (key, cut.or(payload));
            output.send(with_time(record, message))
        };
        let headers = told(kept_headers(message, 6));
        let headers = if cut.is_some() { headers.insert(whole()) } else { headers };
        match rejected(headers, message.key(), output) {
            Err(error) if Output::is_too_large(&error) => {
                let key = message.key().map(|key| key.get(..KEPT_KEY).unwrap_or(key));
                rejected(told(OwnedHeaders::new_with_capacity(5)).insert(whole()), key, output)?;
            }
            sent => sent?,
        }
        *self.pending.rejected.entry(code).or_default() += 1;
        Ok(())
    }
}

impl Stage for TransformStage {
    fn topic(&self) -> &str {
        &self.pipeline.topics.raw
    }

    fn assign(&mut self, partitions: Vec<Assigned>, now: Millis, _: Tell<'_>) -> anyhow::Result<Vec<(i32, Offset)>> {
        self.looked_up = None;
        self.look_up()?;
        let mut starts = Vec::with_capacity(partitions.len());
        for Assigned { partition, committed } in partitions {
            let (offset, time) = match committed {
                Some((offset, metadata)) if !metadata.is_empty() => {
                    let time =
                        metadata.parse().map_err(|e: outlier_core::window::BadSourceTime| Misfit(e.to_string()))?;
                    (offset, time)
                }
                // An offset that an operator set by hand has no stream time: the next record gives one.
                Some((offset, _)) => (offset, SourceTime::default()),
                None => {
                    let topic = &self.pipeline.topics.raw;
                    let watermarks = self.reader.fetch_watermarks(topic, partition, Duration::from_secs(30));
                    (
                        watermarks.with_context(|| format!("cannot look up the start of {topic}/{partition}"))?.0,
                        SourceTime::default(),
                    )
                }
            };
            self.counter.assign(partition, time, now);
            self.positions.insert(partition, offset);
            starts.push((partition, Offset::Offset(offset)));
        }
        self.look_at_lag();
        Ok(starts)
    }

    fn revoke(&mut self, partition: i32) {
        self.counter.revoke(partition);
        self.positions.remove(&partition);
        self.show_lag();
    }

    fn message(&mut self, message: &BorrowedMessage<'_>, output: &mut Output) -> anyhow::Result<Next> {
        let partition = message.partition();
        self.pending.read += 1;
        self.source.set(&self.pipeline.topics.raw, partition, message.offset());
        // Of a record that says none, the time of sending is over: or its event time could be any.
        let time = message.timestamp().to_millis().filter(|time| *time >= 0).unwrap_or_else(now);
        let mut scratch = std::mem::take(&mut self.scratch);
        let rejected = match self.transform.apply(message.payload(), time, self.anomalies.current(), &mut scratch) {
            Ok(enriched) => match self.enriched(message, enriched.bytes, output) {
                Err(error) if Output::is_too_large(&error) => Some(Reject::TooLargeAround),
                sent => {
                    sent?;
                    let observed = Observed { flags: enriched.flags, numbers: enriched.numbers, texts: enriched.texts };
                    self.counter.add(partition, enriched.event_time, &observed);
                    self.pending.enriched += 1;
                    self.pending.no_numbers += enriched.no_numbers as u64;
                    None
                }
            },
            Err(reject) => Some(reject),
        };
        if let Some(reject) = rejected {
            self.reject(message, &reject, output)?;
            self.counter.reject(partition, &reject);
            self.counter.passed(partition, message.offset() + 1);
        }
        self.scratch = scratch;
        self.positions.insert(partition, message.offset() + 1);
        Ok(Next::Message)
    }

    fn skip(&mut self, partition: i32, to: i64) -> bool {
        self.positions.insert(partition, to);
        self.counter.passed(partition, to);
        true
    }

    fn at_end(&mut self, partition: i32, now: Millis) {
        self.counter.at_end(partition, now);
    }

    fn waiting(&mut self, wait: &BTreeSet<i32>) -> BTreeSet<i32> {
        let waiting = self.counter.waiting(self.aligning.limit(), wait);
        self.metrics.waiting.set(waiting.len() as i64);
        waiting
    }

    fn wants_commit(&mut self, now: Millis) -> bool {
        self.anomalies.poll();
        self.look_at_ends(now);
        self.counter.tick(now);
        self.counter.has_news(self.raw_partitions)
    }

    fn finish(&mut self, now: Millis, output: &mut Output) -> anyhow::Result<Vec<Progress>> {
        self.anomalies.poll();
        if !self.positions.is_empty() && self.look_up()? {
            self.look_at_lag();
        }
        self.counter.tick(now);
        let outgoing = self.counter.take(self.raw_partitions);
        for (partition, frame) in &outgoing.frames {
            for bytes in frame.encode(FRAME_BYTES) {
                let record: BaseRecord<'_, [u8], [u8]> = BaseRecord::to(&self.pipeline.topics.windows);
                output.send(record.partition(*partition).payload(&bytes))?;
            }
        }
        self.pending.late += outgoing.counts.late;
        self.pending.hashed += outgoing.counts.hashed;
        let progress = |(partition, time): (i32, SourceTime)| {
            let offset = *self.positions.get(&partition)?;
            Some(Progress { partition, offset, metadata: time.to_string() })
        };
        Ok(outgoing.times.into_iter().filter_map(progress).collect())
    }

    fn committed(&mut self) {
        self.metrics.count(std::mem::take(&mut self.pending));
        self.show_lag();
    }

    fn aborted(&mut self) {
        self.pending = Ledger::default();
        self.counter.discard();
    }
}

fn header<'a>(key: &'a str, value: &'a str) -> Header<'a, &'a str> {
    Header { key, value: Some(value) }
}

/// The record's own headers, with room for more.
fn kept_headers(message: &BorrowedMessage<'_>, room: usize) -> OwnedHeaders {
    // Copied by the client as they are: their names need not be UTF-8.
    message.headers().map_or_else(|| OwnedHeaders::new_with_capacity(room), |headers| headers.detach())
}

fn with_time<'a>(mut record: BaseRecord<'a, [u8], [u8]>, message: &BorrowedMessage<'_>) -> BaseRecord<'a, [u8], [u8]> {
    if let Some(time) = message.timestamp().to_millis() {
        record = record.timestamp(time);
    }
    record
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_that_is_lost_shows() {
        let metrics = Metrics::new("waf", &Telemetry::default());
        for (enriched, syntax, lost) in [(2, 1, 0), (1, 0, 1)] {
            let before = metrics.read.get() - metrics.enriched.get() - metrics.rejected["syntax"].get();
            let rejected = BTreeMap::from([("syntax", syntax)]);
            metrics.count(Ledger { read: enriched + syntax + lost, enriched, rejected, ..Ledger::default() });
            let after = metrics.read.get() - metrics.enriched.get() - metrics.rejected["syntax"].get();
            assert_eq!(after - before, lost);
        }
    }
}
