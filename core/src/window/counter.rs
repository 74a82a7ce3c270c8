//! Stage one's window side: counts the records of one transaction and says how far its partitions have come.
//!
//! ```text
//! assign ──► add … add ──► take ──► (commit) ──► add …
//!    ▲                       │
//!    └── (abort, restart: with what the committed offset's metadata says)
//! ```
//!
//! Invariants: nothing is kept beyond one transaction but the stream times, and those are in the transaction's
//! offset metadata; a partition is called idle only by its owner, at its end, after the idle timeout; marks are
//! sent when they can change something: a new owner, an idle change, or a crossed window end plus lateness.

use super::{Diff, Frame, Mark, SourceTime, closed_end, partition_of, window_start};
use crate::measure::{Cell, Measure, Operand, UNIT};
use crate::pipeline::{Detector, Millis, Pipeline};
use std::collections::BTreeMap;

/// The most that one look at the clock moves stream time on; milliseconds.
const STALL: Millis = 1_000;

/// Counts for one pipeline over the source partitions that one worker owns.
pub struct Counter {
    detectors: Vec<Counting>,
    windows_partitions: i32,
    idle_timeout: Millis,
    sources: BTreeMap<i32, Source>,
    counts: Counts,
}

/// What was counted since the last [`Counter::take`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Records times detectors that came after their window had closed.
    pub late: u64,
}

/// What a transaction has to write, besides the enriched records.
pub struct Outgoing {
    /// For each windows partition, the frame to append; partitions with nothing to say are absent.
    pub frames: BTreeMap<i32, Frame>,
    /// For each owned source partition whose stream time changed or must be said again, its offset metadata.
    pub times: BTreeMap<i32, SourceTime>,
    /// What was counted on the way.
    pub counts: Counts,
}

struct Counting {
    detector: Detector,
    labels: Vec<(String, i32)>,
    open: Vec<(Millis, Vec<Cell>)>,
}

struct Source {
    time: SourceTime,
    /// What the last mark said; `None` until this owner announced the partition.
    marked: Option<(SourceTime, i32)>,
    /// Wall clock since when the partition is read to its end; `None` while there is more to read.
    quiet_since: Option<Millis>,
    /// Where the partition ended when it was asked for the first time in this quiet spell.
    end: Option<i64>,
    /// It ended there still when it was asked again.
    sure: bool,
    /// Wall clock up to which an idle partition's stream time was moved on.
    moved_at: Millis,
    /// Changed since the last `take`.
    touched: bool,
}

impl Counter {
    /// A counter that owns no partition yet. `idle_timeout` is wall-clock milliseconds.
    pub fn new(pipeline: &Pipeline, idle_timeout: Millis) -> Self {
        let counting = |detector: &Detector| Counting {
            labels: detector
                .measures
                .iter()
                .map(|measure| {
                    let label = measure.to_string();
                    let partition = partition_of(&detector.name, &label, pipeline.windows_partitions);
                    (label, partition)
                })
                .collect(),
            detector: detector.clone(),
            open: Vec::new(),
        };
        Self {
            detectors: pipeline.detectors.iter().map(counting).collect(),
            windows_partitions: pipeline.windows_partitions,
            idle_timeout,
            sources: BTreeMap::new(),
            counts: Counts::default(),
        }
    }

    /// Starts to own a source partition, or starts it again after an abort; `time` is what its committed
    /// offset's metadata says, `now` the wall clock.
    ///
    /// An idle partition is taken for active until this owner has seen its end for the idle timeout.
    pub fn assign(&mut self, partition: i32, time: SourceTime, now: Millis) {
        let time = SourceTime { idle: false, ..time };
        let source =
            Source { time, marked: None, quiet_since: None, end: None, sure: false, moved_at: now, touched: false };
        self.sources.insert(partition, source);
    }

    /// Stops to own a source partition.
    pub fn revoke(&mut self, partition: i32) {
        self.sources.remove(&partition);
    }

    /// Forgets what was counted since the last `take`; after an abort, before `assign`.
    pub fn discard(&mut self) {
        self.counts = Counts::default();
        self.detectors.iter_mut().for_each(|counting| counting.open.clear());
    }

    /// A record of `partition` was read that is not counted (it was rejected): the partition has more to read.
    pub fn touch(&mut self, partition: i32) {
        if let Some(source) = self.sources.get_mut(&partition) {
            source.wake();
        }
    }

    /// Counts one record. `flags` are in the order of the pipeline's flag names; `number` gives the fixed-point
    /// value of a numeric operand, if the record has one.
    pub fn add(
        &mut self,
        partition: i32,
        event_time: Millis,
        flags: &[bool],
        number: impl Fn(&Operand) -> Option<i128>,
    ) {
        let Some(source) = self.sources.get_mut(&partition) else { return };
        source.wake();
        let stream_time = source.time.time.unwrap_or(Millis::MIN);
        for counting in &mut self.detectors {
            let Detector { window, lateness, measures, .. } = &counting.detector;
            if event_time < stream_time && closed_end(stream_time, *window, *lateness) > event_time {
                self.counts.late += 1;
                continue;
            }
            let cells = cells_at(&mut counting.open, event_time, *window, measures.len());
            for (cell, measure) in cells.iter_mut().zip(measures) {
                let amount = match measure {
                    Measure::Count => Some(UNIT),
                    Measure::Sum(Operand::Flag(index, _)) | Measure::Ratio(Operand::Flag(index, _)) => {
                        flags.get(*index).map(|set| if *set { UNIT } else { 0 })
                    }
                    Measure::Sum(operand) | Measure::Ratio(operand) => number(operand),
                };
                if let Some(amount) = amount {
                    cell.merge(&Cell::one(amount));
                }
            }
        }
        source.time.time = Some(stream_time.max(event_time));
    }

    /// `partition` was read to its last stable offset at wall clock `now`.
    pub fn at_end(&mut self, partition: i32, now: Millis) {
        if let Some(source) = self.sources.get_mut(&partition) {
            source.quiet_since.get_or_insert(now);
        }
    }

    /// Partitions whose end must be asked for now, half-way through the idle timeout and at its end: what was read to
    /// the end once may have grown since, and a worker that was held up has not seen it. Answer with
    /// [`Counter::sure`].
    pub fn unsure(&self, now: Millis) -> Vec<i32> {
        let asks = |source: &Source| {
            let Some(since) = source.quiet_since else { return false };
            let quiet = now.saturating_sub(since);
            let first = source.end.is_none() && quiet >= self.idle_timeout / 2;
            !source.sure && (first || quiet >= self.idle_timeout)
        };
        self.sources.iter().filter(|(_, source)| asks(source)).map(|(partition, _)| *partition).collect()
    }

    /// The last stable offset of `partition` at wall clock `now`; `None` if the broker did not say. The quiet spell
    /// begins anew when it has moved.
    pub fn sure(&mut self, partition: i32, end: Option<i64>, now: Millis) {
        let Some(source) = self.sources.get_mut(&partition) else { return };
        match (source.end, end) {
            // Half of the timeout lies between the two questions, also when the first one came late.
            (None, Some(end)) => {
                source.end = Some(end);
                source.quiet_since = Some(now.saturating_sub(self.idle_timeout / 2));
            }
            (Some(before), Some(end)) if before == end => source.sure = true,
            _ => (source.quiet_since, source.end) = (Some(now), None),
        }
    }

    /// Lets the wall clock decide: who is idle, and how far idle stream time has moved. Call before `take`.
    pub fn tick(&mut self, now: Millis) {
        for source in self.sources.values_mut() {
            let quiet = source.quiet_since.is_some_and(|since| now.saturating_sub(since) >= self.idle_timeout);
            if quiet && source.sure && !source.time.idle {
                source.time.idle = true;
                source.touched = true;
                source.moved_at = now;
            }
        }
        // Stream time moves by the clock only while nothing this worker owns has a time of its own to tell.
        let all_idle = self.sources.values().all(|source| source.time.idle && source.quiet_since.is_some());
        for source in self.sources.values_mut() {
            // A worker that was held up does not know what came meanwhile.
            let passed = now.saturating_sub(source.moved_at).clamp(0, STALL);
            source.moved_at = now;
            if let (true, Some(time)) = (all_idle, source.time.time.as_mut()) {
                *time = time.saturating_add(passed);
            }
        }
    }

    /// True when [`Counter::take`] would have something to write even without new records.
    pub fn has_news(&self, partitions: i32) -> bool {
        self.detectors.iter().any(|counting| !counting.open.is_empty())
            || self.sources.values().any(|source| source.touched || self.mark_due(source, partitions))
    }

    /// What this transaction must write; `partitions` is the number of source partitions now.
    pub fn take(&mut self, partitions: i32) -> Outgoing {
        let mut frames: BTreeMap<i32, Frame> = BTreeMap::new();
        for counting in &mut self.detectors {
            for (start, cells) in counting.open.drain(..) {
                for (cell, (label, partition)) in cells.into_iter().zip(&counting.labels) {
                    if cell != Cell::default() {
                        frames.entry(*partition).or_default().diffs.push(Diff {
                            detector: counting.detector.name.clone(),
                            window: counting.detector.window,
                            series: label.clone(),
                            start,
                            cell,
                        });
                    }
                }
            }
        }
        let due: Vec<i32> =
            self.sources.iter().filter(|(_, s)| self.mark_due(s, partitions)).map(|(p, _)| *p).collect();
        let mut times = BTreeMap::new();
        for (&partition, source) in &mut self.sources {
            let due = due.contains(&partition);
            if due {
                let SourceTime { time, idle } = source.time;
                let mark = Mark { partition, partitions, time, idle };
                for windows_partition in 0..self.windows_partitions {
                    frames.entry(windows_partition).or_default().marks.push(mark);
                }
                source.marked = Some((source.time, partitions));
            }
            if due || source.touched {
                times.insert(partition, source.time);
                source.touched = false;
            }
        }
        Outgoing { frames, times, counts: std::mem::take(&mut self.counts) }
    }

    fn mark_due(&self, source: &Source, partitions: i32) -> bool {
        // A partition that neither held a record nor is idle has nothing to say yet.
        if source.time == SourceTime::default() {
            return false;
        }
        let Some((marked, marked_partitions)) = source.marked else { return true };
        let crossed = || {
            let ends = |time: Option<Millis>| {
                let end = move |c: &Counting| time.map(|t| closed_end(t, c.detector.window, c.detector.lateness));
                self.detectors.iter().map(end)
            };
            marked.time != source.time.time && ends(marked.time).ne(ends(source.time.time))
        };
        marked.idle != source.time.idle || marked_partitions != partitions || crossed()
    }
}

impl Source {
    fn wake(&mut self) {
        self.time.idle = false;
        self.quiet_since = None;
        self.end = None;
        self.sure = false;
        self.touched = true;
    }
}

/// The cells of the window that holds `time`; records mostly fall into the window used last.
fn cells_at(open: &mut Vec<(Millis, Vec<Cell>)>, time: Millis, window: Millis, measures: usize) -> &mut [Cell] {
    let holds = |start: Millis| time >= start && time.saturating_sub(start) < window;
    let index = match open.iter().rposition(|(start, _)| holds(*start)) {
        Some(index) => index,
        None => {
            open.push((window_start(time, window), vec![Cell::default(); measures]));
            open.len() - 1
        }
    };
    &mut open[index].1
}
