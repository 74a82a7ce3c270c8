//! The state machine of one windows partition.
//!
//! After a restart it is given the state records, then the frames from the committed offset on. Frames before
//! `read_through` were applied once already: their marks and late comers are history, but windows that are still
//! open need their differences again.

use super::state::{PROGRESS_KEY, Progress, SeriesState, parse_series_key, series_key};
use super::{Anomaly, Score, SeriesName, StateError};
use crate::measure::{Cell, Kind};
use crate::model::{Model, Point};
use crate::pipeline::{Detector, Millis, Pipeline};
use crate::window::{Frame, closed_end, window_start};
use std::collections::{BTreeMap, BTreeSet};

/// Scores one windows partition.
pub struct Scorer {
    detectors: BTreeMap<String, Scoring>,
    progress: Progress,
    /// Offset of the next frame, when known.
    next: Option<i64>,
    changed: bool,
    counts: Counts,
}

/// What happened to differences that could not be merged, and to scores, since the last [`Scorer::take_counts`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Records whose window was closed already: their partition came back from being idle, or was added.
    pub after_close: u64,
    /// Records of detectors or window lengths that this configuration does not have.
    pub unknown_detector: u64,
    /// Rows written.
    pub scores: u64,
    /// Rows that were anomalies.
    pub anomalies: u64,
}

/// What one closed window gave.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Closed {
    /// One row a series, in the order of their names.
    pub scores: Vec<Score>,
    /// Series whose anomaly began, went on (a new score) or ended (`None`).
    pub anomalies: Vec<(SeriesName, Option<Anomaly>)>,
}

/// What a transaction must write and commit for one windows partition.
#[derive(Debug, Clone, PartialEq)]
pub struct Changes {
    /// Records for the state topic, same partition: key and value.
    pub state: Vec<(String, Vec<u8>)>,
    /// The offset to commit: that of the oldest frame an open window still needs.
    pub offset: i64,
}

struct Scoring {
    detector: Detector,
    kinds: BTreeMap<String, Kind>,
    /// End of the last window that is closed; later differences for it are too late.
    closed: Option<Millis>,
    /// Open windows by their end: the first frame that counts for it, and the cells by series.
    open: BTreeMap<Millis, (i64, BTreeMap<String, Cell>)>,
    series: BTreeMap<String, SeriesState>,
    dirty: BTreeSet<String>,
}

impl Scorer {
    /// A scorer that has seen nothing.
    pub fn new(pipeline: &Pipeline) -> Self {
        let scoring = |detector: &Detector| Scoring {
            kinds: detector.measures.iter().map(|m| (m.to_string(), m.kind())).collect(),
            detector: detector.clone(),
            closed: None,
            open: BTreeMap::new(),
            series: BTreeMap::new(),
            dirty: BTreeSet::new(),
        };
        Self {
            detectors: pipeline.detectors.iter().map(|d| (d.name.clone(), scoring(d))).collect(),
            progress: Progress::default(),
            next: None,
            changed: false,
            counts: Counts::default(),
        }
    }

    /// Takes in one record of the state topic, in the topic's order. Series that are not configured any more are
    /// left alone.
    ///
    /// # Errors
    /// The record cannot be read.
    pub fn restore(&mut self, key: &str, value: Option<&[u8]>) -> Result<(), StateError> {
        let unreadable = |why: String| StateError::Unreadable { key: key.to_owned(), why };
        let Some(value) = value else { return Ok(()) };
        if key == PROGRESS_KEY {
            let progress: Progress = serde_json::from_slice(value).map_err(|e| unreadable(e.to_string()))?;
            if progress.version != 1 {
                return Err(unreadable(format!("format version {}, this outlier reads 1", progress.version)));
            }
            self.next = Some(progress.read_through);
            self.progress = progress;
            for scoring in self.detectors.values_mut() {
                scoring.closed = self.progress.closed.get(&scoring.id()).copied();
            }
            return Ok(());
        }
        let (window, name) = parse_series_key(key).ok_or_else(|| unreadable("an unknown kind of key".into()))?;
        if let Some(scoring) = self.detectors.get_mut(&name.detector)
            && scoring.detector.window == window
            && scoring.kinds.contains_key(&name.series)
        {
            let state = SeriesState::decode(value).map_err(unreadable)?;
            scoring.series.insert(name.series, state);
        }
        Ok(())
    }

    /// Ends the restore: checks that state and the group's committed offset belong together.
    ///
    /// # Errors
    /// One is there without the other.
    pub fn restored(&mut self, committed: Option<i64>) -> Result<(), StateError> {
        match (self.next, committed) {
            (None, None) if self.detectors.values().all(|s| s.series.is_empty()) => Ok(()),
            (_, None) => Err(StateError::StateWithoutOffset),
            (None, Some(offset)) => Err(StateError::OffsetWithoutState(offset)),
            (Some(_), Some(offset)) => {
                self.next = Some(offset);
                Ok(())
            }
        }
    }

    /// Applies the frame at `offset`.
    ///
    /// Call [`Scorer::passed`] with `offset` and then [`Scorer::close`] until it gives `None` first: what a frame
    /// makes due must close before the next frame is merged, or reading the log again would decide otherwise.
    pub fn apply(&mut self, offset: i64, frame: &Frame) {
        debug_assert!(self.due().is_none(), "windows that are due must close before the next frame");
        let read_before = offset < self.progress.read_through;
        for diff in &frame.diffs {
            let known = self
                .detectors
                .get_mut(&diff.detector)
                .filter(|s| s.detector.window == diff.window && s.kinds.contains_key(&diff.series));
            let Some(scoring) = known else {
                self.counts.unknown_detector += if read_before { 0 } else { diff.cell.count };
                continue;
            };
            let end = window_start(diff.start, diff.window).saturating_add(diff.window);
            if scoring.closed.is_some_and(|closed| end <= closed) {
                self.counts.after_close += if read_before { 0 } else { diff.cell.count };
                continue;
            }
            let (_, cells) = scoring.open.entry(end).or_insert_with(|| (offset, BTreeMap::new()));
            cells.entry(diff.series.clone()).or_default().merge(&diff.cell);
        }
        if !read_before {
            for mark in &frame.marks {
                self.progress.watermark.apply(mark);
            }
        }
        self.passed(offset + 1);
    }

    /// Everything before `next` was read, also where the log has gaps (control records, aborted frames).
    pub fn passed(&mut self, next: i64) {
        if next > self.progress.read_through {
            self.progress.read_through = next;
            self.changed = true;
        }
        self.next = Some(next);
    }

    /// Closes the next window that is due; `None` when no window is due.
    ///
    /// Nothing closes while frames before `read_through` are still being read again.
    pub fn close(&mut self) -> Option<Closed> {
        let Some((end, name)) = self.due() else {
            if let Some(time) = self.settled_time() {
                for scoring in self.detectors.values_mut() {
                    self.changed |= scoring.close_through(scoring.due_end(time));
                }
            }
            return None;
        };
        self.changed = true;
        let closed = self.detectors.get_mut(&name)?.close(end);
        self.counts.scores += closed.scores.len() as u64;
        self.counts.anomalies += closed.scores.iter().filter(|s| s.anomaly).count() as u64;
        Some(closed)
    }

    /// True while [`Scorer::close`] has a window to close.
    pub fn due_now(&self) -> bool {
        self.due().is_some()
    }

    /// The watermark, once everything that was read before is read again.
    fn settled_time(&self) -> Option<Millis> {
        self.next.filter(|next| *next >= self.progress.read_through)?;
        self.progress.watermark.time()
    }

    /// End and detector of the next window to close.
    fn due(&self) -> Option<(Millis, String)> {
        let time = self.settled_time()?;
        self.detectors.values().filter_map(|s| Some((s.next_end(time)?, s.detector.name.clone()))).min()
    }

    /// What changed since the last call, for the same transaction as the scores; `None` if nothing did, and then
    /// nothing is to be committed for this partition.
    pub fn take_changes(&mut self) -> Option<Changes> {
        if !std::mem::take(&mut self.changed) {
            return None;
        }
        let mut state = Vec::new();
        for scoring in self.detectors.values_mut() {
            for series in std::mem::take(&mut scoring.dirty) {
                if let Some(known) = scoring.series.get(&series) {
                    let name = SeriesName { detector: scoring.detector.name.clone(), series };
                    state.push((series_key(scoring.detector.window, &name), known.encode()));
                }
            }
        }
        self.progress.version = 1;
        for scoring in self.detectors.values() {
            if let Some(closed) = scoring.closed {
                self.progress.closed.insert(scoring.id(), closed);
            }
        }
        // Plain data: writing it as JSON cannot fail.
        state.push((PROGRESS_KEY.to_owned(), serde_json::to_vec(&self.progress).unwrap_or_default()));
        let open = self.detectors.values().flat_map(|s| s.open.values().map(|(first, _)| *first)).min();
        let offset = open.map_or(self.progress.read_through, |first| first.min(self.progress.read_through));
        Some(Changes { state, offset })
    }

    /// What was counted since the last call.
    pub fn take_counts(&mut self) -> Counts {
        std::mem::take(&mut self.counts)
    }

    /// How far this partition has come.
    pub fn progress(&self) -> &Progress {
        &self.progress
    }
}

impl Scoring {
    fn id(&self) -> String {
        format!("{}/{}", self.detector.name, self.detector.window)
    }

    /// End of the last window that may close at event time `time`.
    fn due_end(&self, time: Millis) -> Millis {
        closed_end(time, self.detector.window, self.detector.lateness)
    }

    /// End of the next window to close, if one is due at event time `time`.
    fn next_end(&self, time: Millis) -> Option<Millis> {
        let with_records = self.open.keys().next().copied();
        // While a known series is not silent for too long, every window closes, with zeros if need be.
        let speaking = self.series.values().any(|s| !s.silent(self.detector.window));
        let following = self.closed.filter(|_| speaking).map(|c| c.saturating_add(self.detector.window));
        let next = [with_records, following].into_iter().flatten().min()?;
        (next <= self.due_end(time)).then_some(next)
    }

    fn close_through(&mut self, end: Millis) -> bool {
        let moved = self.closed.is_none_or(|closed| closed < end);
        if moved {
            self.closed = Some(end);
        }
        moved
    }

    fn close(&mut self, end: Millis) -> Closed {
        let mut cells = self.open.remove(&end).map(|(_, cells)| cells).unwrap_or_default();
        let zeros = self
            .series
            .iter()
            .filter(|(_, state)| !state.silent(self.detector.window))
            .map(|(series, _)| series.clone());
        for series in zeros.collect::<Vec<_>>() {
            cells.entry(series).or_default();
        }
        let mut closed = Closed::default();
        for (series, cell) in cells {
            let score = self.score(end, series, &cell, &mut closed.anomalies);
            closed.scores.push(score);
        }
        self.close_through(end);
        closed
    }

    fn score(
        &mut self,
        end: Millis,
        series: String,
        cell: &Cell,
        anomalies: &mut Vec<(SeriesName, Option<Anomaly>)>,
    ) -> Score {
        let kind = self.kinds.get(&series).copied().unwrap_or(Kind::Count);
        let state = self.series.entry(series.clone()).or_insert_with(|| SeriesState {
            model: Model::new(kind),
            empty: 0,
            anomalous_since: None,
        });
        state.empty = if cell.count == 0 { state.empty.saturating_add(1) } else { 0 };
        let start = end - self.detector.window;
        let value = cell.value(kind);
        let point = Point { start, window: self.detector.window, value, count: cell.count, trusted: !cell.overflow };
        let verdict = state.model.observe(&point);
        let name = SeriesName { detector: self.detector.name.clone(), series: series.clone() };
        let anomaly = !verdict.learning && verdict.score >= self.detector.threshold;
        // After the last zero nothing more is said of the series, so its anomaly must not go on.
        if anomaly && !state.silent(self.detector.window) {
            let since = *state.anomalous_since.get_or_insert(end);
            anomalies.push((name.clone(), Some(Anomaly { name: name.clone(), score: verdict.score, since })));
        } else if state.anomalous_since.take().is_some() {
            anomalies.push((name.clone(), None));
        }
        self.dirty.insert(series);
        Score {
            name,
            window_start: start,
            window_end: end,
            value,
            count: cell.count,
            expected: verdict.expected,
            lower: verdict.lower,
            upper: verdict.upper,
            score: verdict.score,
            anomaly,
            confidence: verdict.confidence,
            learning: verdict.learning,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measure::{Measure, UNIT};
    use crate::testing;
    use crate::window::{Diff, Mark};

    const DAY: Millis = 86_400_000;

    /// In windows of a day the first zero is also the last: the anomaly it is must not stay for ever.
    #[test]
    fn a_series_that_falls_silent_leaves_no_anomaly_behind() {
        let mut pipeline = testing::waf();
        pipeline.detectors.truncate(1);
        let detector = &mut pipeline.detectors[0];
        (detector.window, detector.lateness, detector.measures) = (DAY, 0, vec![Measure::Count]);
        let name = detector.name.clone();
        let mut scorer = Scorer::new(&pipeline);
        let mut closed = Vec::new();
        for day in 0..60 {
            let cell = Cell { count: 5_000, sum: 5_000 * UNIT, overflow: false };
            let diff = Diff { detector: name.clone(), window: DAY, series: "count".into(), start: day * DAY, cell };
            let mark = Mark { partition: 0, partitions: 1, time: Some((day + 1) * DAY), idle: false };
            let diffs = if day < 50 { vec![diff] } else { Vec::new() };
            scorer.apply(day, &Frame { diffs, marks: vec![mark] });
            closed.extend(std::iter::from_fn(|| scorer.close()));
        }
        let scores: Vec<_> = closed.iter().flat_map(|c| &c.scores).collect();
        assert_eq!(scores.len(), 51, "fifty days with records and one zero");
        assert!(scores[50].anomaly);
        let last = closed.iter().flat_map(|c| &c.anomalies).next_back();
        assert!(last.is_none_or(|(_, anomaly)| anomaly.is_none()), "{last:?}");
    }
}
