//! Stage two: frames become scores, anomalies and state.
//!
//! Invariant: scores, anomalies, state and the offset of a windows partition are written in one transaction; a
//! partition's state is what the state topic and the committed offset say, and nothing else.

use crate::config::Guarantee;
use crate::kafka::output::Output;
use crate::kafka::read;
use crate::kafka::topics::bounds;
use crate::telemetry::Telemetry;
use crate::time::now;
use crate::worker::Misfit;
use crate::worker::offsets::PATIENCE;
use crate::worker::stage::{Assigned, Next, Progress, Stage, Tell};
use anyhow::Context;
use outlier_core::pipeline::{Millis, Pipeline, Topics};
use outlier_core::score::{Anomaly, Closed, Counts, Position, Scorer, SeriesName};
use outlier_core::window::Frame;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use rdkafka::Offset;
use rdkafka::consumer::BaseConsumer;
use rdkafka::message::{BorrowedMessage, Message};
use rdkafka::producer::BaseRecord;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// What the groups that one transaction closes may cost: so many of one count each, or 10 MiB of state.
const CLOSES: usize = 10_000;
/// How far the windows topic was read is committed this often while nothing closes: it is read again from where the
/// oldest open pane begins anyway, and a commit of its own for each transaction of the transform costs as much as that.
const POSITION_EVERY: Duration = Duration::from_secs(1);
/// No row is older by its Kafka timestamp, by which topics delete.
const OLDEST: Millis = 86_400_000;

/// The score stage of one pipeline.
pub struct ScoreStage {
    pipeline: Arc<Pipeline>,
    connection: rdkafka::ClientConfig,
    guarantee: Guarantee,
    partitions: BTreeMap<i32, Scorer>,
    /// What the groups cost that were closed in the transaction under way.
    closes: usize,
    /// When how far was read was last part of a commit; `None` makes it part of the next.
    position_at: Option<Instant>,
    metrics: Metrics,
}

struct Metrics {
    scores: Counter,
    anomalies: Counter,
    after_close: Counter,
    unknown_detector: Counter,
    overflow: Counter,
    sum_overflow: Counter,
    forgot: Counter,
    event_time: Gauge,
    groups: Gauge,
    series: Gauge,
    learning: Gauge,
    open_panes: Gauge,
}

impl ScoreStage {
    /// A stage that owns nothing yet. `connection` reads committed records of the state topic.
    pub fn new(
        pipeline: Arc<Pipeline>,
        connection: rdkafka::ClientConfig,
        guarantee: Guarantee,
        telemetry: &Telemetry,
    ) -> Self {
        let record = |outcome| telemetry.metrics.records("score", &pipeline.name, outcome, "");
        let level = |name| telemetry.metrics.gauge("score", &pipeline.name, name);
        let metrics = Metrics {
            scores: record("scores"),
            anomalies: record("anomalies"),
            after_close: record("after_close"),
            unknown_detector: record("unknown_detector"),
            overflow: record("overflow"),
            sum_overflow: record("sum_overflow"),
            forgot: record("forgot"),
            event_time: level("event_time_ms"),
            groups: level("groups"),
            series: level("series"),
            learning: level("series_learning"),
            open_panes: level("open_panes"),
        };
        let component = super::component(&pipeline.name, "score");
        for (cause, counter) in [
            ("after_close", &metrics.after_close),
            ("unknown_detector", &metrics.unknown_detector),
            ("overflow", &metrics.overflow),
            ("sum_overflow", &metrics.sum_overflow),
            ("forgot", &metrics.forgot),
        ] {
            telemetry.health.show_count(&component, cause, counter);
        }
        telemetry.health.show_level(&component, "open_panes", &metrics.open_panes);
        telemetry.health.show_level(&component, "series", &metrics.series);
        telemetry.health.show_level(&component, "series_learning", &metrics.learning);
        Self { connection, guarantee, partitions: BTreeMap::new(), closes: 0, position_at: None, metrics, pipeline }
    }

    /// Whether how far was read is to be committed where nothing else is.
    fn position(&self) -> Position {
        let due = self.position_at.is_none_or(|at| at.elapsed() >= POSITION_EVERY);
        if due { Position::Due } else { Position::MayWait }
    }

    fn show_series(&self) {
        let scorers = self.partitions.values();
        self.metrics.groups.set(scorers.clone().map(Scorer::groups).sum::<usize>() as i64);
        self.metrics.open_panes.set(scorers.clone().map(Scorer::open_panes).sum::<usize>() as i64);
        let all = scorers.map(Scorer::series).fold((0, 0), |all, one| (all.0 + one.0, all.1 + one.1));
        self.metrics.series.set(all.0 as i64);
        self.metrics.learning.set(all.1 as i64);
    }

    /// State that has read further than its topic goes would pass over all that comes, until the topic gets there.
    fn check_ends(&self, scorers: &BTreeMap<i32, Scorer>) -> anyhow::Result<()> {
        let consumer: BaseConsumer = self.connection.create()?;
        let Topics { windows, state, .. } = &self.pipeline.topics;
        let ends = bounds(&consumer, windows, scorers.keys().copied(), Offset::End, PATIENCE)?;
        for (partition, scorer) in scorers {
            let read = scorer.progress().read_through;
            let end = ends.get(partition).with_context(|| format!("{windows}/{partition} has no leader"))?;
            if *end < read {
                return Err(Misfit(format!(
                    "{windows}/{partition} ends at {end}, and the state in {state} has read it up to {read}: it was made \
                     anew. Make {state} anew, too, and delete the group of `process`: what was learned begins again \
                     (`outlier bootstrap` learns it from history)"
                ))
                .into());
            }
        }
        Ok(())
    }

    fn close_due(&mut self, partition: i32, output: &mut Output) -> anyhow::Result<bool> {
        while self.closes < CLOSES {
            let Some(scorer) = self.partitions.get_mut(&partition) else { return Ok(true) };
            let Some(closed) = scorer.close(CLOSES - self.closes) else { return Ok(true) };
            self.closes += closed.cost;
            write_closed(&self.pipeline, &closed, output)?;
        }
        Ok(false)
    }
}

fn write_closed(pipeline: &Pipeline, closed: &Closed, output: &mut Output) -> anyhow::Result<()> {
    let latest = now();
    for score in &closed.scores {
        let key = score.name.key();
        let value = serde_json::to_vec(score)?;
        // A broker refuses timestamps far in the future, and a window may end after the present; what is old by its
        // timestamp is soon deleted, and a window may be of a year ago.
        let time = score.window_end.clamp(latest - OLDEST, latest);
        let record: BaseRecord<'_, [u8], [u8]> = BaseRecord::to(&pipeline.topics.scores);
        output.send(record.key(key.as_bytes()).payload(&value).timestamp(time))?;
    }
    for (name, anomaly) in &closed.anomalies {
        write_anomaly(pipeline, name, anomaly.as_ref(), output)?;
    }
    Ok(())
}

fn write_anomaly(
    pipeline: &Pipeline,
    name: &SeriesName,
    anomaly: Option<&Anomaly>,
    output: &mut Output,
) -> anyhow::Result<()> {
    let key = name.key();
    let value = anomaly.map(serde_json::to_vec).transpose()?;
    let mut record: BaseRecord<'_, [u8], [u8]> = BaseRecord::to(&pipeline.topics.anomalies).key(key.as_bytes());
    if let Some(value) = &value {
        record = record.payload(value);
    }
    output.send(record)
}

impl Stage for ScoreStage {
    fn topic(&self) -> &str {
        &self.pipeline.topics.windows
    }

    fn assign(&mut self, partitions: Vec<Assigned>, _: Millis, tell: Tell<'_>) -> anyhow::Result<Vec<(i32, Offset)>> {
        let mut starts = Vec::with_capacity(partitions.len());
        let mut scorers = BTreeMap::new();
        for Assigned { partition, committed } in &partitions {
            let offset = committed.as_ref().map(|(offset, _)| *offset);
            // After an abort nobody else can have owned it: it went back by itself, without reading its state again.
            match self.partitions.get(partition) {
                Some(scorer) if scorer.committed_offset() == offset => {}
                _ => {
                    scorers.insert(*partition, Scorer::new(&self.pipeline, *partition));
                }
            }
            starts.push((*partition, offset.map_or(Offset::Beginning, Offset::Offset)));
        }
        if !scorers.is_empty() {
            restore(&self.connection, &self.pipeline.topics.state, &mut scorers, tell)?;
        }
        if scorers.values().any(|scorer| scorer.progress().read_through > 0) {
            self.check_ends(&scorers)?;
        }
        for Assigned { partition, committed } in partitions {
            if let Some(scorer) = scorers.get_mut(&partition) {
                let mut offset = committed.map(|(offset, _)| offset);
                // Without transactions a crash may leave state whose offset was never committed; what it has read is
                // passed over.
                if self.guarantee == Guarantee::AtLeastOnce && scorer.progress().read_through > 0 {
                    offset = offset.or(Some(0));
                }
                scorer.restored(offset)?;
            }
        }
        self.partitions.append(&mut scorers);
        self.show_series();
        Ok(starts)
    }

    fn revoke(&mut self, partition: i32) {
        self.partitions.remove(&partition);
        self.show_series();
    }

    fn message(&mut self, message: &BorrowedMessage<'_>, output: &mut Output) -> anyhow::Result<Next> {
        let (partition, offset) = (message.partition(), message.offset());
        if let Some(scorer) = self.partitions.get_mut(&partition) {
            scorer.passed(offset);
        }
        if !self.close_due(partition, output)? {
            return Ok(Next::CommitAndRepeat);
        }
        let bytes = message.payload().unwrap_or_default();
        let frame = Frame::decode(bytes)
            .map_err(|error| Misfit(error.to_string()))
            .with_context(|| format!("cannot read {}/{partition} at offset {offset}", message.topic()))?;
        if let Some(scorer) = self.partitions.get_mut(&partition) {
            scorer.apply(offset, &frame);
        }
        Ok(Next::Message)
    }

    fn at_end(&mut self, _: i32, _: Millis) {}

    fn skip(&mut self, partition: i32, to: i64) -> bool {
        let Some(scorer) = self.partitions.get_mut(&partition) else { return false };
        // Differences to open panes are read again from the log.
        let through = scorer.committed_offset() == Some(scorer.progress().read_through);
        if through {
            scorer.passed(to);
        }
        through
    }

    fn position_is_due(&mut self) {
        self.position_at = None;
    }

    fn wants_commit(&mut self, _: Millis) -> bool {
        let position = self.position();
        self.partitions.values().any(|scorer| scorer.due_now() || scorer.has_changes(position))
    }

    fn finish(&mut self, _: Millis, output: &mut Output) -> anyhow::Result<Vec<Progress>> {
        for partition in self.partitions.keys().copied().collect::<Vec<_>>() {
            self.close_due(partition, output)?;
        }
        let position = self.position();
        if position == Position::Due {
            self.position_at = Some(Instant::now());
        }
        let mut progress = Vec::new();
        for (partition, scorer) in &mut self.partitions {
            let Some(changes) = scorer.take_changes(position) else { continue };
            for (key, value) in &changes.state {
                let record: BaseRecord<'_, [u8], [u8]> = BaseRecord::to(&self.pipeline.topics.state);
                let record = record.partition(*partition).key(key.as_bytes());
                output.send(match value {
                    Some(value) => record.payload(value),
                    None => record,
                })?;
            }
            progress.push(Progress { partition: *partition, offset: changes.offset, metadata: String::new() });
        }
        Ok(progress)
    }

    fn committed(&mut self) {
        self.closes = 0;
        for scorer in self.partitions.values_mut() {
            if !scorer.commit() {
                continue;
            }
            let Counts { after_close, unknown_detector, overflow, scores, anomalies, sum_overflow, forgot } =
                scorer.take_counts();
            self.metrics.sum_overflow.inc_by(sum_overflow);
            self.metrics.forgot.inc_by(forgot);
            self.metrics.scores.inc_by(scores);
            self.metrics.anomalies.inc_by(anomalies);
            self.metrics.after_close.inc_by(after_close);
            self.metrics.unknown_detector.inc_by(unknown_detector);
            self.metrics.overflow.inc_by(overflow);
            if let Some(time) = scorer.progress().watermark.time() {
                self.metrics.event_time.set(time);
            }
        }
        self.show_series();
    }

    fn aborted(&mut self) {
        (self.closes, self.position_at) = (0, None);
        for scorer in self.partitions.values_mut() {
            scorer.rollback();
        }
    }
}

/// Gives every committed record of the scorers' partitions to them, oldest first.
fn restore(
    connection: &rdkafka::ClientConfig,
    topic: &str,
    scorers: &mut BTreeMap<i32, Scorer>,
    tell: Tell<'_>,
) -> anyhow::Result<()> {
    let started = Instant::now();
    let partitions: Vec<i32> = scorers.keys().copied().collect();
    let records = read::committed(connection, topic, &partitions, tell, |partition, key, value| {
        if let Some(scorer) = scorers.get_mut(&partition) {
            scorer.restore(key, value)?;
        }
        Ok(())
    })?;
    tracing::info!(topic, records, took = ?started.elapsed(), "state restored");
    Ok(())
}
