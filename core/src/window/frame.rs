//! One message of the windows topic: differences to panes, then progress marks.
//!
//! Invariant: within a transaction all differences for a partition come before its marks, so a mark never
//! closes a pane that the same transaction still adds to. Format version 4: a table of detectors (name, pane length
//! and layout), differences that point into it, marks, what was left out; integers as in [`super::varint`]. Version 3
//! has values without room, version 2 ends with the marks.

use super::left::Omission;
use super::varint::{Damaged, Reader, put_signed, put_text, put_unsigned};
use crate::measure::Cell;
use crate::pipeline::{Detector, Millis};
use crate::sketch::Values;
use std::collections::BTreeMap;
use std::sync::Arc;

const VERSION: u8 = 4;
/// Earlier versions are read from here on.
const WITHOUT_OMISSIONS: u8 = 2;

/// What a difference belongs to, and what its cells mean.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Origin {
    /// Name of the detector.
    pub detector: String,
    /// Length of its panes.
    pub pane: Millis,
    /// See [`Detector::layout`].
    pub layout: u64,
}

impl From<&Detector> for Origin {
    fn from(detector: &Detector) -> Self {
        Self { detector: detector.name.clone(), pane: detector.pane(), layout: detector.layout() }
    }
}

/// What one or more records add to one pane of one group.
#[derive(Debug, Clone, PartialEq)]
pub struct Diff {
    /// The detector.
    pub origin: Arc<Origin>,
    /// Key of the group; empty for a detector without `by`.
    pub group: String,
    /// Start of the pane.
    pub start: Millis,
    /// What to merge.
    pub cells: Cells,
}

/// What a group accumulates: in one pane, or in panes merged.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Cells {
    /// One for each measure of the detector.
    pub measures: Vec<Cell>,
    /// For each of [`Detector::weights`] and each explained field, in this order, how often each value came.
    pub values: Vec<Values>,
}

impl Cells {
    /// Merges cells of the same layout.
    pub fn merge(&mut self, other: &Cells) {
        if self.measures.len() < other.measures.len() {
            self.measures.resize(other.measures.len(), Cell::default());
        }
        for (own, other) in self.measures.iter_mut().zip(&other.measures) {
            own.merge(other);
        }
        for (i, other) in other.values.iter().enumerate() {
            match self.values.get_mut(i) {
                Some(own) => own.merge(other),
                None => self.values.push(other.clone()),
            }
        }
    }

    /// Those of `measures` measures of which they have some: the `i`th is the one at `places[i]`. Without the values.
    pub(crate) fn moved(self, places: &[Option<usize>], measures: usize) -> Self {
        let mut moved = Self { measures: vec![Cell::default(); measures], values: Vec::new() };
        for (cell, place) in self.measures.into_iter().zip(places) {
            if let Some(own) = place.and_then(|place| moved.measures.get_mut(place)) {
                *own = cell;
            }
        }
        moved
    }

    /// Bytes that they are encoded to, about.
    pub(crate) fn size(&self) -> usize {
        let values: usize = self.values.iter().map(Values::size).sum();
        self.measures.iter().map(Cell::size).sum::<usize>() + values
    }

    /// The most records that a measure counted.
    pub fn records(&self) -> u64 {
        self.measures.iter().map(|cell| cell.count).max().unwrap_or(0)
    }

    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        put_unsigned(out, self.measures.len() as u128);
        self.measures.iter().for_each(|cell| cell.encode(out));
        put_unsigned(out, self.values.len() as u128);
        self.values.iter().for_each(|values| values.encode(out));
    }

    pub(crate) fn decode(reader: &mut Reader<'_>) -> Result<Self, Damaged> {
        let measures = (0..reader.length()?).map(|_| Cell::decode(reader)).collect::<Result<_, _>>()?;
        let values = (0..reader.length()?).map(|_| Values::decode(reader)).collect::<Result<_, _>>()?;
        Ok(Self { measures, values })
    }
}

/// How far one source partition has come, said by its owner.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mark {
    /// The source partition.
    pub partition: i32,
    /// How many source partitions its owner knows of.
    pub partitions: i32,
    /// Its stream time: the largest event time read; `None` while it never held a record.
    pub time: Option<Millis>,
    /// Its owner read it to the end and nothing came for the idle timeout.
    pub idle: bool,
}

/// A message of the windows topic.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Frame {
    /// To be merged first.
    pub diffs: Vec<Diff>,
    /// To be applied after the differences.
    pub marks: Vec<Mark>,
    /// Records that are in no difference; to be counted before the marks are applied.
    pub omissions: Vec<Omission>,
}

/// Why bytes are not a frame.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// Written by another version of outlier.
    #[error("the frame has format version {0}, this outlier reads version {VERSION}: run one version on all instances")]
    Version(u8),
    /// Not written by outlier, or damaged.
    #[error("not a frame of outlier: {0}")]
    Damaged(#[from] Damaged),
}

impl Frame {
    /// The frame as one or more messages of at most `limit` bytes, unless a single difference is larger; marks are in the
    /// last.
    pub fn encode(&self, limit: usize) -> Vec<Vec<u8>> {
        let mut marks = Vec::new();
        put_unsigned(&mut marks, self.marks.len() as u128);
        for mark in &self.marks {
            put_unsigned(&mut marks, mark.partition.max(0) as u128);
            put_unsigned(&mut marks, mark.partitions.max(0) as u128);
            marks.push(u8::from(mark.time.is_some()));
            if let Some(time) = mark.time {
                put_signed(&mut marks, i128::from(time));
            }
            marks.push(u8::from(mark.idle));
        }
        let mut messages = Vec::new();
        let mut part = Part::default();
        for diff in &self.diffs {
            let before = part.diffs.len();
            part.push(diff);
            if part.count > 1 && part.size() + marks.len() > limit {
                let last = part.diffs.split_off(before);
                part.count -= 1;
                messages.push(part.message(NONE));
                part = Part::default();
                part.push_written(diff, &last);
            }
        }
        for omission in &self.omissions {
            let before = part.omissions.len();
            part.omit(omission);
            if part.count + part.omitted > 1 && part.size() + marks.len() > limit {
                let last = part.omissions.split_off(before);
                part.omitted -= 1;
                messages.push(part.message(NONE));
                part = Part { omissions: last, omitted: 1, ..Part::default() };
            }
        }
        messages.push(part.message(&marks));
        messages
    }

    /// Reads one message.
    ///
    /// # Errors
    /// Another version, or bytes that are no frame.
    pub fn decode(bytes: &[u8]) -> Result<Frame, FrameError> {
        let mut reader = Reader(bytes);
        let version = reader.byte()?;
        if !(WITHOUT_OMISSIONS..=VERSION).contains(&version) {
            return Err(FrameError::Version(version));
        }
        let origins = (0..reader.length()?)
            .map(|_| {
                let (detector, pane) = (reader.text()?.to_owned(), reader.millis()?);
                Ok(Arc::new(Origin { detector, pane, layout: reader.number()? }))
            })
            .collect::<Result<Vec<_>, Damaged>>()?;
        let diffs = (0..reader.length()?)
            .map(|_| {
                let index: usize = reader.number()?;
                Ok(Diff {
                    origin: origins.get(index).ok_or(Damaged)?.clone(),
                    group: reader.text()?.to_owned(),
                    start: reader.millis()?,
                    cells: Cells::decode(&mut reader)?,
                })
            })
            .collect::<Result<Vec<_>, Damaged>>()?;
        let marks = (0..reader.length()?)
            .map(|_| {
                Ok(Mark {
                    partition: reader.number()?,
                    partitions: reader.number()?,
                    time: reader.flag()?.then(|| reader.millis()).transpose()?,
                    idle: reader.flag()?,
                })
            })
            .collect::<Result<Vec<_>, Damaged>>()?;
        let omissions = match version {
            WITHOUT_OMISSIONS => Vec::new(),
            _ => (0..reader.length()?).map(|_| Omission::decode(&mut reader)).collect::<Result<_, _>>()?,
        };
        reader.end()?;
        Ok(Frame { diffs, marks, omissions })
    }
}

/// No marks.
const NONE: &[u8] = &[0];

/// A message that is being written: its table, its differences and its omissions.
#[derive(Default)]
struct Part {
    origins: BTreeMap<Arc<Origin>, usize>,
    table: Vec<u8>,
    diffs: Vec<u8>,
    count: usize,
    omissions: Vec<u8>,
    omitted: usize,
}

impl Part {
    fn push(&mut self, diff: &Diff) {
        self.count += 1;
        let index = self.origin(diff);
        put_unsigned(&mut self.diffs, index as u128);
        put_text(&mut self.diffs, &diff.group);
        put_signed(&mut self.diffs, i128::from(diff.start));
        diff.cells.encode(&mut self.diffs);
    }

    /// A difference that another part had written, whose index is written anew.
    fn push_written(&mut self, diff: &Diff, written: &[u8]) {
        self.count += 1;
        let index = self.origin(diff);
        put_unsigned(&mut self.diffs, index as u128);
        let mut rest = Reader(written);
        // It was just written.
        let _ = rest.unsigned();
        self.diffs.extend_from_slice(rest.0);
    }

    fn omit(&mut self, omission: &Omission) {
        self.omitted += 1;
        omission.encode(&mut self.omissions);
    }

    fn origin(&mut self, diff: &Diff) -> usize {
        if let Some(index) = self.origins.get(&diff.origin) {
            return *index;
        }
        let index = self.origins.len();
        self.origins.insert(diff.origin.clone(), index);
        put_text(&mut self.table, &diff.origin.detector);
        put_signed(&mut self.table, i128::from(diff.origin.pane));
        put_unsigned(&mut self.table, u128::from(diff.origin.layout));
        index
    }

    /// With the version and the lengths, of up to four bytes each.
    fn size(&self) -> usize {
        self.table.len() + self.diffs.len() + self.omissions.len() + 13
    }

    fn message(&self, marks: &[u8]) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.size() + marks.len());
        out.push(VERSION);
        put_unsigned(&mut out, self.origins.len() as u128);
        out.extend_from_slice(&self.table);
        put_unsigned(&mut out, self.count as u128);
        out.extend_from_slice(&self.diffs);
        out.extend_from_slice(marks);
        put_unsigned(&mut out, self.omitted as u128);
        out.extend_from_slice(&self.omissions);
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::window::LeftOut;
    use proptest::prelude::*;

    fn diff() -> impl Strategy<Value = Diff> {
        let cell = (any::<u64>(), any::<i128>(), any::<i64>());
        ("[ab]", 1i64..3, "[a-zé]{0,5}", any::<i64>(), prop::collection::vec(cell, 0..3)).prop_map(
            |(detector, pane, group, start, cells)| {
                let cell = |(count, sum, wraps)| Cell { count, sum, wraps, sketch: None };
                let mut values = Values::new(3);
                values.add(&group, 2);
                Diff {
                    origin: Arc::new(Origin { detector, pane, layout: pane as u64 * 77 }),
                    group,
                    start,
                    cells: Cells { measures: cells.into_iter().map(cell).collect(), values: vec![values] },
                }
            },
        )
    }

    fn mark() -> impl Strategy<Value = Mark> {
        (0..i32::MAX, 0..i32::MAX, any::<Option<i64>>(), any::<bool>())
            .prop_map(|(partition, partitions, time, idle)| Mark { partition, partitions, time, idle })
    }

    fn omission() -> impl Strategy<Value = Omission> {
        ("[ab]", any::<i64>(), any::<u64>(), any::<u64>()).prop_map(|(detector, start, late, skewed)| Omission {
            origin: Arc::new(Origin { detector, pane: 60_000, layout: 7 }),
            start,
            left_out: LeftOut { late, skewed, after_close: 0 },
        })
    }

    proptest! {
        #[test]
        fn chunks_hold_the_frame_in_order(
            diffs in prop::collection::vec(diff(), 0..20),
            marks in prop::collection::vec(mark(), 0..4),
            omissions in prop::collection::vec(omission(), 0..40),
            limit in 0usize..2000,
        ) {
            let frame = Frame { diffs, marks, omissions };
            let mut joined = Frame::default();
            let messages = frame.encode(limit);
            for (i, message) in messages.iter().enumerate() {
                let part = Frame::decode(message).unwrap();
                let last = i + 1 == messages.len();
                prop_assert!(last || part.marks.is_empty());
                prop_assert!(message.len() <= limit || part.diffs.len() + part.omissions.len() <= 1);
                joined.diffs.extend(part.diffs);
                joined.marks.extend(part.marks);
                joined.omissions.extend(part.omissions);
            }
            prop_assert_eq!(joined, frame);
        }

        #[test]
        fn any_bytes_are_read_or_refused(mut bytes in prop::collection::vec(any::<u8>(), 0..60)) {
            let _ = Frame::decode(&bytes);
            bytes.insert(0, VERSION);
            let _ = Frame::decode(&bytes);
        }
    }

    #[test]
    fn another_version_says_so() {
        assert_eq!(Frame::decode(&[9]), Err(FrameError::Version(9)));
        assert_eq!(Frame::decode(&[1]), Err(FrameError::Version(1)));
    }

    #[test]
    fn frames_of_version_2_are_read() {
        let frame =
            Frame { marks: vec![Mark { partition: 1, partitions: 2, time: Some(5), idle: false }], ..Frame::default() };
        let mut bytes = frame.encode(1_000).remove(0);
        // No omissions, and no number of them.
        assert_eq!(bytes.pop(), Some(0));
        bytes[0] = 2;
        assert_eq!(Frame::decode(&bytes), Ok(frame));
    }
}
