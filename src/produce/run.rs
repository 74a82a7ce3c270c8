//! The two loops: mock logs and replayed logs, each at its pace into a sink.
//!
//! ```text
//! history (as fast as possible) ─► live (each record when its time comes) ─► end: count, duration, stop
//! ```
//!
//! Invariants: a record waits for its moment, so the rate does not drift; history and live records are one stream;
//! a stop ends every wait.

use super::clock::Clock;
use super::control::{Control, Progress};
use super::generator::{Enforced, Field, Generator};
use super::replay::{Batch, Shift};
use super::sink::{Outgoing, Sink};
use outlier_core::pipeline::Millis;
use outlier_core::record::Probe;
use prometheus_client::metrics::counter::Counter;
use std::time::Duration;
use tokio::sync::mpsc::{Receiver, error::TryRecvError};
use tokio_util::sync::CancellationToken;

/// Other tasks get a turn after so many records.
const TURN: u64 = 64;

/// The progress is told after so many records.
const TOLD: u64 = 256;

/// A replay that was late makes up for this much; milliseconds. What is beyond, as after a pause of its input, would
/// come as one burst.
const MADE_UP: Millis = 100;

/// A live run that cannot keep up ends this long after its time; milliseconds.
const OVERTIME: Millis = 1000;

/// What both loops need.
pub(super) struct Run<'a> {
    pub sink: &'a mut Sink,
    pub clock: Clock,
    pub control: &'a Control,
    pub stop: &'a CancellationToken,
    /// Finds the Kafka key.
    pub key: Option<Probe>,
    pub count: Option<u64>,
    pub duration: Option<Duration>,
    pub progress: Progress,
}

/// What mock logs need beside their generator.
pub(super) struct Mock {
    /// The history begins here; not after now without one.
    pub start: Millis,
    /// There are no live records.
    pub history_only: bool,
    /// An enforced anomaly, and how long after the first record that it counts from.
    pub anomaly: Option<Planned>,
}

/// An anomaly whose moment is not known yet.
#[derive(Debug, Clone)]
pub(super) struct Planned {
    pub field: Field,
    pub value: Option<String>,
    pub after: Duration,
    pub lasts: Option<Duration>,
    /// It counts from the first record, not from the first live one.
    pub from_start: bool,
}

/// What a replay needs beside its lines.
pub(super) struct Replay {
    /// Event times are moved.
    pub shift: Option<Shift>,
    /// Records a second at most.
    pub rate: Option<f64>,
    /// Counts lines that were too long.
    pub too_long: Counter,
}

/// What a replay could not do.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Left {
    pub too_long: u64,
    pub unmoved: u64,
}

impl Run<'_> {
    fn is_over(&self) -> bool {
        self.stop.is_cancelled() || self.count.is_some_and(|count| self.progress.records >= count)
    }

    /// Waits until it is `at`, while the sink does what is due. False when the run is to stop.
    async fn wait(&mut self, at: Millis) -> anyhow::Result<bool> {
        loop {
            let now = self.clock.now();
            if now >= at {
                return Ok(!self.stop.is_cancelled());
            }
            self.sink.rest(now).await?;
            let next = self.sink.due().map_or(at, |due| due.min(at));
            tokio::select! {
                biased;
                () = self.stop.cancelled() => return Ok(false),
                () = self.clock.until(next) => {}
            }
        }
    }

    async fn hand_on(&mut self, at: Millis, stamped: bool, bytes: &[u8]) -> anyhow::Result<()> {
        let key = self.key.as_mut().and_then(|key| key.find(bytes)).map(|found| found.text);
        self.sink.send(Outgoing { at, stamped, key, bytes }, self.stop).await?;
        self.progress.records += 1;
        self.progress.reached = at;
        if self.progress.records.is_multiple_of(TOLD) || self.progress.live {
            self.control.report(self.progress);
        }
        if self.progress.records.is_multiple_of(TURN) {
            tokio::task::yield_now().await;
        }
        Ok(())
    }

    /// Mock logs until the end.
    ///
    /// # Errors
    /// The sink cannot go on.
    pub async fn mock(&mut self, generator: &mut Generator, mock: &Mock) -> anyhow::Result<()> {
        let goal = self.clock.now();
        self.progress = Progress { from: mock.start, reached: mock.start, until: goal, ..Progress::default() };
        let mut end = if mock.history_only { goal } else { Millis::MAX };
        let mut planned = mock.anomaly.clone();
        if let Some(anomaly) = planned.take_if(|planned| planned.from_start) {
            generator.enforce(&anomaly.at(mock.start));
        }
        while !self.is_over() {
            let at = generator.next_at();
            if at >= end {
                break;
            }
            if at >= goal && !self.progress.live {
                let now = self.clock.now();
                end = self.duration.map_or(end, |duration| now.saturating_add(millis(duration)));
                if let Some(anomaly) = planned.take() {
                    generator.enforce(&anomaly.at(now));
                }
                self.progress.live = true;
                self.control.report(self.progress);
                continue;
            }
            if self.progress.live && (!self.wait(at).await? || self.clock.now() >= end.saturating_add(OVERTIME)) {
                break;
            }
            for (field, trigger) in self.control.take() {
                let until = at.saturating_add(millis(trigger.lasts));
                generator.enforce(&Enforced { field, value: trigger.value, from: at, until });
            }
            let record = generator.next_record();
            self.hand_on(record.event_time, true, record.bytes).await?;
        }
        Ok(())
    }

    /// Replayed lines until the end.
    ///
    /// # Errors
    /// An input cannot be read on, or the sink cannot go on.
    pub async fn replay(
        &mut self,
        lines: &mut Receiver<anyhow::Result<Batch>>,
        replay: &mut Replay,
    ) -> anyhow::Result<Left> {
        let Replay { shift, rate, too_long } = replay;
        let begun = self.clock.now();
        self.progress.live = true;
        let end = self.duration.map_or(Millis::MAX, |duration| begun.saturating_add(millis(duration)));
        let mut left = Left::default();
        // When the next record is due by the rate, in milliseconds since the beginning.
        let mut slot = 0.0_f64;
        while let Some(batch) = self.next_batch(lines, end).await? {
            left.too_long += batch.too_long;
            too_long.inc_by(batch.too_long);
            for line in batch.lines() {
                let now = self.clock.now();
                if self.is_over() || now >= end {
                    return Ok(left);
                }
                let mut due = now;
                if let Some(rate) = *rate {
                    slot = slot.max((now - begun - MADE_UP) as f64);
                    due = begun.saturating_add(slot as Millis);
                    slot += 1000.0 / rate;
                }
                let mut bytes = line;
                if let Some(shift) = shift.as_mut() {
                    match shift.apply(line, now) {
                        Some((at, moved)) => {
                            due = due.max(at);
                            bytes = moved;
                        }
                        None => left.unmoved += 1,
                    }
                }
                if due > now && (!self.wait(due.min(end)).await? || due >= end) {
                    return Ok(left);
                }
                self.hand_on(due.max(now), false, bytes).await?;
            }
        }
        Ok(left)
    }

    /// The next lines; `None` when there are no more or the run is to end.
    async fn next_batch(
        &mut self,
        lines: &mut Receiver<anyhow::Result<Batch>>,
        end: Millis,
    ) -> anyhow::Result<Option<Batch>> {
        match lines.try_recv() {
            Ok(batch) => return batch.map(Some),
            Err(TryRecvError::Disconnected) => return Ok(None),
            Err(TryRecvError::Empty) => {}
        }
        loop {
            let now = self.clock.now();
            if now >= end || self.is_over() {
                return Ok(None);
            }
            self.sink.rest(now).await?;
            let next = self.sink.due().map_or(end, |due| due.min(end));
            tokio::select! {
                biased;
                () = self.stop.cancelled() => return Ok(None),
                batch = lines.recv() => return batch.transpose(),
                () = self.clock.until(next) => {}
            }
        }
    }
}

impl Planned {
    fn at(self, start: Millis) -> Enforced {
        let from = start.saturating_add(millis(self.after));
        let until = self.lasts.map_or(Millis::MAX, |lasts| from.saturating_add(millis(lasts)));
        Enforced { field: self.field, value: self.value, from, until }
    }
}

pub(super) fn millis(span: Duration) -> Millis {
    Millis::try_from(span.as_millis()).unwrap_or(Millis::MAX)
}
