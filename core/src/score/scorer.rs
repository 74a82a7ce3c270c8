//! The state machine of one windows partition.
//!
//! After a restart it is given the state records, then the frames from the committed offset on. Frames before
//! `read_through` were applied once already: their marks and late comers are history, but panes that are still
//! open need their differences again. After an aborted transaction it goes back by itself ([`Scorer::rollback`]) and
//! reads from the same offset.
//!
//! Invariant: what a frame does depends on the frames before it alone. So how far the log was read need not be kept
//! while nothing closes: whoever reads it again comes to the same.

use super::group::Group;
use super::scoring::{Merged, Scoring};
use super::state::{PROGRESS_KEY, Progress, VERSION, group_key, parse_group_key};
use super::{Closed, StateError};
use crate::pipeline::{Detector, Millis, Pipeline};
use crate::window::{Frame, LeftOut, window_start};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Scores one windows partition.
pub struct Scorer {
    detectors: BTreeMap<String, Scoring>,
    progress: Progress,
    /// As of the last commit, with the offset that it committed.
    committed: (Progress, Option<i64>),
    /// The offset of the transaction under way.
    offset: Option<i64>,
    /// Offset of the next frame, when known.
    next: Option<i64>,
    /// Something closed since the last commit.
    changed: bool,
    /// Frames were read since the last commit.
    advanced: bool,
    counts: Counts,
}

/// Whether it is a change that frames were read, though nothing closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Position {
    /// It is: how far was read belongs to the next commit.
    Due,
    /// It is not: it goes with the next change.
    MayWait,
}

/// What happened to differences that could not be merged, and to scores, since the last [`Scorer::take_counts`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Records whose pane was closed already: their partition came back from being idle, or was added.
    pub after_close: u64,
    /// Records of detectors, panes or measures that this configuration does not have.
    pub unknown_detector: u64,
    /// Records whose group is beyond `max_series` and part of the overflow.
    pub overflow: u64,
    /// Windows of series judged.
    pub scores: u64,
    /// Those that were anomalies.
    pub anomalies: u64,
    /// Those whose sum is out of the range of its number: they are neither scored nor learned.
    pub sum_overflow: u64,
    /// Those in which new or rare values may be missing.
    pub forgot: u64,
}

/// What a transaction must write and commit for one windows partition.
#[derive(Debug, Clone, PartialEq)]
pub struct Changes {
    /// Records for the state topic, same partition: key and value; no value for what is gone.
    pub state: Vec<(String, Option<Vec<u8>>)>,
    /// The offset to commit: that of the oldest frame an open pane still needs.
    pub offset: i64,
}

impl Scorer {
    /// A scorer of this windows partition that has seen nothing.
    pub fn new(pipeline: &Pipeline, partition: i32) -> Self {
        let scoring = |d| Scoring::new(d, partition, pipeline.windows_partitions);
        Self {
            detectors: pipeline.detectors.iter().map(|d| (d.name.clone(), scoring(d))).collect(),
            progress: Progress::default(),
            committed: (Progress::default(), None),
            offset: None,
            next: None,
            changed: false,
            advanced: false,
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
        if key == PROGRESS_KEY {
            let Some(value) = value else { return Ok(()) };
            let version = serde_json::from_slice::<Version>(value).map_err(|e| unreadable(e.to_string()))?.version;
            if version < VERSION {
                return Err(StateError::Outdated(version));
            }
            if version > VERSION {
                return Err(unreadable(format!("format version {version}, this outlier reads {VERSION}")));
            }
            let progress: Progress = serde_json::from_slice(value).map_err(|e| unreadable(e.to_string()))?;
            self.go_to(progress);
            return Ok(());
        }
        if key.starts_with("series/") {
            return Err(StateError::Outdated(1));
        }
        let (id, name) = parse_group_key(key).ok_or_else(|| unreadable("an unknown kind of key".into()))?;
        if let Some(scoring) = self.detectors.values_mut().find(|scoring| scoring.id == id) {
            let group = value.map(|value| Group::decode(value, &scoring.detector)).transpose().map_err(unreadable)?;
            scoring.put(Arc::from(name), group);
        }
        Ok(())
    }

    /// Ends the restore: checks that state and the group's committed offset belong together.
    ///
    /// # Errors
    /// One is there without the other.
    pub fn restored(&mut self, committed: Option<i64>) -> Result<(), StateError> {
        match (self.next, committed) {
            (None, None) if self.detectors.values().all(|s| s.groups.is_empty()) => {}
            (_, None) => return Err(StateError::StateWithoutOffset),
            (None, Some(offset)) => return Err(StateError::OffsetWithoutState(offset)),
            (Some(_), Some(offset)) => self.next = Some(offset),
        }
        self.committed = (self.progress.clone(), committed);
        Ok(())
    }

    /// The transaction that [`Scorer::take_changes`] was written in is durable; true if it had any: only then is what was
    /// counted here durable, too.
    pub fn commit(&mut self) -> bool {
        self.detectors.values_mut().for_each(Scoring::commit);
        let offset = self.offset.take();
        if offset.is_some() {
            self.committed = (self.progress.clone(), offset);
        }
        offset.is_some()
    }

    /// The transaction under way was aborted: everything is as after the last commit, and frames are to be read again
    /// from the offset that is given; `None` is the beginning.
    pub fn rollback(&mut self) -> Option<i64> {
        self.detectors.values_mut().for_each(Scoring::rollback);
        let (progress, offset) = self.committed.clone();
        self.go_to(progress);
        self.next = offset;
        self.offset = None;
        (self.changed, self.advanced) = (false, false);
        self.counts = Counts::default();
        offset
    }

    fn go_to(&mut self, progress: Progress) {
        self.next = Some(progress.read_through);
        for scoring in self.detectors.values_mut() {
            scoring.closed = progress.closed.get(&scoring.id).copied();
            scoring.closing = progress.closing.get(&scoring.id).cloned();
            scoring.resumed = progress.resumed.contains(&scoring.id);
            scoring.left.go_back(progress.left_out.get(&scoring.id).cloned().unwrap_or_default());
        }
        self.progress = progress;
    }

    /// Applies the frame at `offset`.
    ///
    /// Call [`Scorer::passed`] with `offset` and then [`Scorer::close`] until it gives `None` first: what a frame
    /// makes due must close before the next frame is merged, or reading the log again would decide otherwise.
    pub fn apply(&mut self, offset: i64, frame: &Frame) {
        debug_assert!(self.due().is_none(), "panes that are due must close before the next frame");
        let read_before = offset < self.progress.read_through;
        let mut counts = Counts::default();
        for diff in &frame.diffs {
            let records = diff.cells.records();
            let known = self.detectors.get_mut(&diff.origin.detector);
            match known.filter(|scoring| scoring.layout == diff.origin.layout) {
                None => counts.unknown_detector += records,
                Some(scoring) => match scoring.merge(diff, offset) {
                    Merged::Open(overflow) => counts.overflow += overflow,
                    Merged::Closed => {
                        counts.after_close += records;
                        if !read_before {
                            scoring.omit_next(&LeftOut { after_close: records, ..LeftOut::default() });
                        }
                    }
                },
            }
        }
        for omission in &frame.omissions {
            let known = self.detectors.get_mut(&omission.origin.detector);
            if let Some(scoring) = known.filter(|scoring| scoring.layout == omission.origin.layout) {
                scoring.omit(omission, offset, read_before);
            }
        }
        if !read_before {
            self.counts.unknown_detector += counts.unknown_detector;
            self.counts.after_close += counts.after_close;
            self.counts.overflow += counts.overflow;
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
            self.advanced = true;
        }
        self.next = Some(next);
    }

    /// Closes the next pane that is due, for groups that cost `most` at most, see [`Closed::cost`], and at least for one;
    /// `None` when nothing is due.
    ///
    /// Nothing closes while frames before `read_through` are still being read again.
    pub fn close(&mut self, most: usize) -> Option<Closed> {
        let Some((end, name)) = self.due() else {
            if let Some(time) = self.settled_time() {
                for scoring in self.detectors.values_mut() {
                    self.changed |= scoring.close_through(scoring.due_end(time));
                }
            }
            return None;
        };
        self.close_one(end, &name, most)
    }

    fn close_one(&mut self, end: Millis, name: &str, most: usize) -> Option<Closed> {
        self.changed = true;
        let closed = self.detectors.get_mut(name)?.close(end, most.max(1));
        self.counts.scores += closed.scored;
        self.counts.anomalies += closed.anomalous;
        self.counts.overflow += closed.overflow;
        self.counts.sum_overflow += closed.sum_overflow;
        self.counts.forgot += closed.forgot;
        Some(closed)
    }

    /// True while [`Scorer::close`] has something to close.
    pub fn due_now(&self) -> bool {
        self.due().is_some()
    }

    /// The watermark, once everything that was read before is read again.
    fn settled_time(&self) -> Option<Millis> {
        self.next.filter(|next| *next >= self.progress.read_through)?;
        self.progress.watermark.time()
    }

    /// End and detector of the next pane to close.
    fn due(&self) -> Option<(Millis, String)> {
        let time = self.settled_time()?;
        self.detectors.values().filter_map(|s| Some((s.next_end(time)?, s.detector.name.clone()))).min()
    }

    /// True if there is something to commit.
    pub fn has_changes(&self, position: Position) -> bool {
        self.changed || (position == Position::Due && self.advanced)
    }

    /// What changed since the last commit, for the same transaction as the scores; `None` if nothing did, and then
    /// nothing is to be committed for this partition. [`Scorer::commit`] or [`Scorer::rollback`] must follow.
    pub fn take_changes(&mut self, position: Position) -> Option<Changes> {
        if !self.has_changes(position) {
            return None;
        }
        (self.changed, self.advanced) = (false, false);
        let mut state = Vec::new();
        for scoring in self.detectors.values() {
            for (key, group) in scoring.changed() {
                let value = group.map(|group| encoded(group, &scoring.detector));
                state.push((group_key(&scoring.id, key), value));
            }
        }
        let mut progress = std::mem::take(&mut self.progress);
        self.tell(&mut progress);
        self.progress = progress;
        state.push((PROGRESS_KEY.to_owned(), Some(written(&self.progress))));
        let open = self.detectors.values().filter_map(Scoring::needs).min();
        let offset = open.map_or(self.progress.read_through, |first| first.min(self.progress.read_through));
        self.offset = Some(offset);
        Some(Changes { state, offset })
    }

    /// Everything that is known of the groups, as records for the state topic; without progress.
    pub fn state(&self) -> impl Iterator<Item = (String, Vec<u8>)> + '_ {
        self.detectors.values().flat_map(|scoring| {
            let record =
                |(key, group): (&Arc<str>, &Group)| (group_key(&scoring.id, key), encoded(group, &scoring.detector));
            scoring.groups.iter().map(record)
        })
    }

    /// The progress record with which a scorer that has never read a frame goes on from what this one has learned, at
    /// `offset` of the windows topic: key and value. What is closed here is closed there; panes that are open here
    /// begin anew, and until the first record comes no window is given a zero.
    pub fn handover(&self, offset: i64) -> (String, Vec<u8>) {
        let mut progress = Progress { version: VERSION, read_through: offset, ..Progress::default() };
        self.tell(&mut progress);
        progress.closing.clear();
        progress.resumed = progress.closed.keys().cloned().collect();
        (PROGRESS_KEY.to_owned(), written(&progress))
    }

    /// Closes the next pane that ends at `until` or before and begins with the record at `last` or before, whatever the
    /// watermark is, for groups that cost `most` at most, see [`Closed::cost`]; `None` when there is no more.
    pub fn close_until(&mut self, until: Millis, last: Millis, most: usize) -> Option<Closed> {
        let reached = |scoring: &Scoring| {
            let end = window_start(last, scoring.detector.pane()).saturating_add(scoring.detector.pane());
            until.min(end).saturating_add(scoring.detector.lateness)
        };
        let next = |s: &Scoring| Some((s.next_end(reached(s))?, s.detector.name.clone()));
        match self.detectors.values().filter_map(next).min() {
            Some((end, name)) => self.close_one(end, &name, most),
            None => {
                for scoring in self.detectors.values_mut() {
                    self.changed |= scoring.close_through(scoring.due_end(reached(scoring)));
                }
                None
            }
        }
    }

    /// End of the last closed pane of each detector that has one.
    pub fn closed(&self) -> impl Iterator<Item = (&str, Millis)> {
        self.detectors.values().filter_map(|scoring| Some((scoring.detector.name.as_str(), scoring.closed?)))
    }

    /// Brings a progress record up to date with how far each detector is.
    fn tell(&self, progress: &mut Progress) {
        progress.version = VERSION;
        progress.closing.clear();
        progress.left_out.clear();
        // Who puts a detector back that was taken out: nothing was counted for it meanwhile.
        let configured = |id: &String| self.detectors.values().any(|scoring| scoring.id == *id);
        progress.resumed = progress.closed.keys().filter(|id| !configured(id)).cloned().collect();
        for scoring in self.detectors.values() {
            let id = || scoring.id.clone();
            if let Some(closed) = scoring.closed {
                progress.closed.insert(id(), closed);
            }
            if let Some(closing) = &scoring.closing {
                progress.closing.insert(id(), closing.clone());
            }
            if !scoring.left.kept.is_empty() {
                progress.left_out.insert(id(), scoring.left.kept.clone());
            }
            if scoring.resumed {
                progress.resumed.insert(id());
            }
        }
    }

    /// What was counted since the last call.
    pub fn take_counts(&mut self) -> Counts {
        std::mem::take(&mut self.counts)
    }

    /// The offset of the last commit, or the one that the state was restored for.
    pub fn committed_offset(&self) -> Option<i64> {
        self.committed.1
    }

    /// How far this partition has come.
    pub fn progress(&self) -> &Progress {
        &self.progress
    }

    /// Series known, of all detectors, and those of them that have no score yet.
    pub fn series(&self) -> (u64, u64) {
        self.detectors
            .values()
            .map(Scoring::series)
            .fold((0, 0), |(all, new), (series, learning)| (all + series, new + learning))
    }

    /// How many panes are open, of all detectors: with their groups, what takes memory beside the models.
    pub fn open_panes(&self) -> usize {
        self.detectors.values().map(Scoring::open_panes).sum()
    }

    /// Groups known, of all detectors.
    pub fn groups(&self) -> usize {
        self.detectors.values().map(|scoring| scoring.groups.len()).sum()
    }
}

fn written(progress: &Progress) -> Vec<u8> {
    // Plain data: writing it as JSON cannot fail.
    serde_json::to_vec(progress).unwrap_or_default()
}

fn encoded(group: &Group, detector: &Detector) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(288);
    group.encode(detector, &mut bytes);
    bytes
}

#[derive(serde::Deserialize)]
struct Version {
    version: u8,
}
