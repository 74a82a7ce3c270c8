//! Stage one's window side: counts the records of one transaction and says how far its partitions have come.
//!
//! ```text
//! assign ──► add … add ──► take ──► (commit) ──► add …
//!    ▲                       │
//!    └── (abort, restart: with what the committed offset's metadata says)
//! ```
//!
//! Invariants: nothing is kept beyond one transaction but the stream times, and those are in the transaction's
//! offset metadata; a partition is called idle only by its owner, with no good record left unread, after the idle
//! timeout; no mark tells of a time that the wall clock has not reached; marks are sent when they can change something: a
//! new owner, an idle change, or a crossed window end plus lateness.

use super::quiet::Quiet;
use super::tally::{Observed, Tally};
use super::{Frame, LeftOut, Limit, Mark, Omission, SourceTime, closed_end, window_start};
use crate::pipeline::{Millis, Pipeline};
use crate::record::Reject;
use std::collections::{BTreeMap, BTreeSet};

/// The most that one look at the clock moves stream time on; milliseconds.
const STALL: Millis = 1_000;

/// Counts for one pipeline over the source partitions that one worker owns.
pub struct Counter {
    /// Pane and lateness of each detector.
    panes: Vec<(Millis, Millis)>,
    /// What was left out, by detector and start of the pane that was current.
    omitted: BTreeMap<(usize, Millis), LeftOut>,
    tally: Tally,
    late: Vec<bool>,
    windows_partitions: i32,
    idle_timeout: Millis,
    sources: BTreeMap<i32, Source>,
    /// The wall clock of the last [`Counter::tick`].
    now: Millis,
    counts: Counts,
}

/// What was counted since the last [`Counter::take`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Records times detectors that came after their window had closed.
    pub late: u64,
    /// Records times detectors whose group has so long a key that its hash is used.
    pub hashed: u64,
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

struct Source {
    time: SourceTime,
    /// What the last mark said; `None` until this owner announced the partition.
    marked: Option<(SourceTime, i32)>,
    quiet: Quiet,
    /// Wall clock of the last tick: an idle partition's stream time was moved on up to it.
    moved_at: Millis,
    /// Changed since the last `take`.
    touched: bool,
}

impl Counter {
    /// A counter that owns no partition yet. `idle_timeout` is wall-clock milliseconds.
    pub fn new(pipeline: &Pipeline, idle_timeout: Millis) -> Self {
        Self {
            panes: pipeline.detectors.iter().map(|d| (d.pane(), d.lateness)).collect(),
            omitted: BTreeMap::new(),
            tally: Tally::new(pipeline),
            late: Vec::new(),
            windows_partitions: pipeline.windows_partitions,
            idle_timeout,
            sources: BTreeMap::new(),
            now: Millis::MAX,
            counts: Counts::default(),
        }
    }

    /// Starts to own a source partition, or starts it again after an abort; `time` is what its committed
    /// offset's metadata says, `now` the wall clock.
    ///
    /// An idle partition is taken for active until this owner has seen its end for the idle timeout.
    pub fn assign(&mut self, partition: i32, time: SourceTime, now: Millis) {
        let time = SourceTime { idle: false, ..time };
        let source = Source { time, marked: None, quiet: Quiet::default(), moved_at: now, touched: false };
        self.sources.insert(partition, source);
    }

    /// Stops to own a source partition.
    pub fn revoke(&mut self, partition: i32) {
        self.sources.remove(&partition);
    }

    /// Forgets what was counted since the last `take`; after an abort, before `assign`.
    pub fn discard(&mut self) {
        self.counts = Counts::default();
        self.omitted.clear();
        self.tally.clear();
    }

    /// A record of `partition` was read and rejected: it has no time, so an idle partition stays idle. The window of one
    /// that is too far ahead has not begun, so the current one tells of it.
    pub fn reject(&mut self, partition: i32, reject: &Reject) {
        let Some(source) = self.sources.get_mut(&partition) else { return };
        source.touched = true;
        source.quiet.rejected(source.moved_at);
        let (Reject::Skewed { .. }, Some(time)) = (reject, source.time.time) else { return };
        for (index, (pane, _)) in self.panes.iter().enumerate() {
            self.omitted.entry((index, window_start(time, *pane))).or_default().skewed += 1;
        }
    }

    /// `partition` was read up to the offset `next`, where the last record was rejected or is not there any more.
    pub fn passed(&mut self, partition: i32, next: i64) {
        if let Some(source) = self.sources.get_mut(&partition) {
            source.touched = true;
            source.quiet.passed(next);
        }
    }

    /// Counts one record.
    pub fn add(&mut self, partition: i32, event_time: Millis, observed: &Observed<'_>) {
        let Some(source) = self.sources.get_mut(&partition) else { return };
        source.quiet = Quiet::default();
        (source.time.idle, source.touched) = (false, true);
        let stream_time = source.time.time.unwrap_or(Millis::MIN);
        source.time.time = Some(stream_time.max(event_time));
        if self.panes.is_empty() {
            return;
        }
        self.late.clear();
        if event_time < stream_time {
            let late = |(pane, lateness): &(Millis, Millis)| closed_end(stream_time, *pane, *lateness) > event_time;
            self.late.extend(self.panes.iter().map(late));
            let count = self.late.iter().filter(|late| **late).count();
            self.counts.late += count as u64;
            for (index, _) in self.late.iter().enumerate().filter(|(_, late)| **late) {
                let start = window_start(stream_time, self.panes[index].0);
                self.omitted.entry((index, start)).or_default().late += 1;
            }
            match count {
                0 => self.late.clear(),
                all if all == self.panes.len() => return,
                _ => {}
            }
        }
        self.tally.add(event_time, &self.late, observed);
    }

    /// `partition` was read to its last stable offset at wall clock `now`.
    pub fn at_end(&mut self, partition: i32, now: Millis) {
        if let Some(source) = self.sources.get_mut(&partition) {
            source.quiet.read_to_end(now);
        }
    }

    /// Partitions whose end must be asked for now: what was read to the end once may have grown since, and a worker that
    /// was held up has not seen it. Answer with [`Counter::sure`].
    pub fn unsure(&self, now: Millis) -> Vec<i32> {
        let asks = |source: &Source| source.quiet.asks(now, self.idle_timeout);
        self.sources.iter().filter(|(_, source)| asks(source)).map(|(partition, _)| *partition).collect()
    }

    /// The last stable offset of `partition` at wall clock `now`; `None` if the broker did not say.
    pub fn sure(&mut self, partition: i32, end: Option<i64>, now: Millis) {
        if let Some(source) = self.sources.get_mut(&partition) {
            source.quiet.told(end, now, self.idle_timeout);
        }
    }

    /// The source partitions that must not be read on for now, given those that `wait` already.
    ///
    /// A partition that was read to its end never waits: it would be taken for idle although records came.
    pub fn waiting(&self, limit: Option<Limit>, wait: &BTreeSet<i32>) -> BTreeSet<i32> {
        let Some(limit) = limit else { return BTreeSet::new() };
        let waits = |(partition, source): (&i32, &Source)| {
            let reads = !source.quiet.at_end() && !source.time.idle;
            let time = source.time.time.filter(|_| reads)?;
            limit.holds(*partition, time, wait.contains(partition)).then_some(*partition)
        };
        self.sources.iter().filter_map(waits).collect()
    }

    /// Lets the wall clock decide: who is idle, and how far idle stream time has moved. Call before `take`.
    pub fn tick(&mut self, now: Millis) {
        self.now = now;
        for source in self.sources.values_mut() {
            let Source { time, quiet, .. } = source;
            let idle = quiet.lasts(now, self.idle_timeout) && (time.idle || quiet.settled(self.idle_timeout));
            if idle != time.idle {
                time.idle = idle;
                source.touched = true;
                source.moved_at = now;
            }
        }
        // Stream time moves by the clock only while nothing this worker owns has a time of its own to tell.
        let all_idle = self.sources.values().all(|source| source.time.idle && source.quiet.caught_up());
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
        !self.tally.is_empty()
            || !self.omitted.is_empty()
            || self.sources.values().any(|source| source.touched || self.mark_due(source, partitions))
    }

    /// What this transaction must write; `partitions` is the number of source partitions now.
    pub fn take(&mut self, partitions: i32) -> Outgoing {
        let mut frames: BTreeMap<i32, Frame> = BTreeMap::new();
        let (diffs, hashed) = self.tally.take();
        self.counts.hashed += hashed;
        for (partition, diffs) in diffs {
            frames.insert(partition, Frame { diffs, ..Frame::default() });
        }
        for ((index, start), left_out) in std::mem::take(&mut self.omitted) {
            let omission = Omission { origin: self.tally.origin(index), start, left_out };
            // Whatever its group would be: every row of the window tells of it.
            for partition in 0..self.windows_partitions {
                frames.entry(partition).or_default().omissions.push(omission.clone());
            }
        }
        let due: Vec<i32> =
            self.sources.iter().filter(|(_, s)| self.mark_due(s, partitions)).map(|(p, _)| *p).collect();
        let mut times = BTreeMap::new();
        for (&partition, source) in &mut self.sources {
            let due = due.contains(&partition);
            if due {
                let SourceTime { time, idle } = source.time.told(self.now);
                let mark = Mark { partition, partitions, time, idle };
                for windows_partition in 0..self.windows_partitions {
                    frames.entry(windows_partition).or_default().marks.push(mark);
                }
                source.marked = Some((SourceTime { time, idle }, partitions));
            }
            if due || source.touched {
                times.insert(partition, source.time);
                source.touched = false;
            }
        }
        Outgoing { frames, times, counts: std::mem::take(&mut self.counts) }
    }

    fn mark_due(&self, source: &Source, partitions: i32) -> bool {
        // A partition that neither held a record nor was idle has nothing to say yet.
        let Some((marked, marked_partitions)) = source.marked else { return source.time != SourceTime::default() };
        let told = source.time.told(self.now);
        let crossed = || {
            let ends = |time: Option<Millis>| {
                let end = move |(pane, lateness): &(Millis, Millis)| time.map(|t| closed_end(t, *pane, *lateness));
                self.panes.iter().map(end)
            };
            marked.time != told.time && ends(marked.time).ne(ends(told.time))
        };
        marked.idle != source.time.idle || marked_partitions != partitions || crossed()
    }
}

#[cfg(test)]
mod tests;
