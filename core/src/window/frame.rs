//! One message of the windows topic: differences to windows, then progress marks.
//!
//! Invariant: within a transaction all differences for a partition come before its marks, so a mark never
//! closes a window that the same transaction still adds to. Format version 1: a table of detectors (name and
//! window length), differences that point into it, marks; integers as in [`super::varint`].

use super::varint::{Damaged, Reader, put_signed, put_text, put_unsigned};
use crate::measure::Cell;
use crate::pipeline::Millis;
use std::collections::BTreeMap;

const VERSION: u8 = 1;

/// What one or more records add to one window of one series.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diff {
    /// Name of the detector.
    pub detector: String,
    /// Length of its windows.
    pub window: Millis,
    /// The series within the detector: the measure's text, `sum(B_action)`.
    pub series: String,
    /// Start of the window.
    pub start: Millis,
    /// What to merge.
    pub cell: Cell,
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
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Frame {
    /// To be merged first.
    pub diffs: Vec<Diff>,
    /// To be applied after the differences.
    pub marks: Vec<Mark>,
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
    /// The frame as one or more messages of about `limit` bytes at most; marks are in the last.
    pub fn encode(&self, limit: usize) -> Vec<Vec<u8>> {
        // 64 bytes cover a difference's integers, 24 a mark.
        let marks = self.marks.len() * 24;
        let mut messages = Vec::new();
        let (mut first, mut size) = (0, marks);
        for (i, diff) in self.diffs.iter().enumerate() {
            let cost = 64 + diff.detector.len() + diff.series.len();
            if i > first && size + cost > limit {
                messages.push(encode(&self.diffs[first..i], &[]));
                (first, size) = (i, marks);
            }
            size += cost;
        }
        messages.push(encode(&self.diffs[first..], &self.marks));
        messages
    }

    /// Reads one message.
    ///
    /// # Errors
    /// Another version, or bytes that are no frame.
    pub fn decode(bytes: &[u8]) -> Result<Frame, FrameError> {
        let mut reader = Reader(bytes);
        match reader.byte()? {
            VERSION => {}
            other => return Err(FrameError::Version(other)),
        }
        let detectors = (0..reader.length()?)
            .map(|_| Ok((reader.text()?, reader.millis()?)))
            .collect::<Result<Vec<_>, Damaged>>()?;
        let diffs = (0..reader.length()?)
            .map(|_| {
                let index: usize = reader.number()?;
                let (detector, window) = *detectors.get(index).ok_or(Damaged)?;
                Ok(Diff {
                    detector: detector.to_owned(),
                    window,
                    series: reader.text()?.to_owned(),
                    start: reader.millis()?,
                    cell: Cell { count: reader.number()?, sum: reader.signed()?, overflow: reader.flag()? },
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
        reader.end()?;
        Ok(Frame { diffs, marks })
    }
}

fn encode(diffs: &[Diff], marks: &[Mark]) -> Vec<u8> {
    let mut detectors = BTreeMap::new();
    for diff in diffs {
        detectors.insert((diff.detector.as_str(), diff.window), 0);
    }
    let mut out = vec![VERSION];
    put_unsigned(&mut out, detectors.len() as u128);
    for (index, ((name, window), slot)) in detectors.iter_mut().enumerate() {
        *slot = index;
        put_text(&mut out, name);
        put_signed(&mut out, i128::from(*window));
    }
    put_unsigned(&mut out, diffs.len() as u128);
    for diff in diffs {
        let index = detectors[&(diff.detector.as_str(), diff.window)];
        put_unsigned(&mut out, index as u128);
        put_text(&mut out, &diff.series);
        put_signed(&mut out, i128::from(diff.start));
        put_unsigned(&mut out, u128::from(diff.cell.count));
        put_signed(&mut out, diff.cell.sum);
        out.push(u8::from(diff.cell.overflow));
    }
    put_unsigned(&mut out, marks.len() as u128);
    for mark in marks {
        put_unsigned(&mut out, mark.partition.max(0) as u128);
        put_unsigned(&mut out, mark.partitions.max(0) as u128);
        out.push(u8::from(mark.time.is_some()));
        if let Some(time) = mark.time {
            put_signed(&mut out, i128::from(time));
        }
        out.push(u8::from(mark.idle));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn diff() -> impl Strategy<Value = Diff> {
        let cell = (any::<u64>(), any::<i128>(), any::<bool>());
        ("[ab]", 1i64..3, "[a-zé]{0,5}", any::<i64>(), cell).prop_map(
            |(detector, window, series, start, (count, sum, overflow))| Diff {
                detector,
                window,
                series,
                start,
                cell: Cell { count, sum, overflow },
            },
        )
    }

    fn mark() -> impl Strategy<Value = Mark> {
        (0..i32::MAX, 0..i32::MAX, any::<Option<i64>>(), any::<bool>())
            .prop_map(|(partition, partitions, time, idle)| Mark { partition, partitions, time, idle })
    }

    proptest! {
        #[test]
        fn chunks_hold_the_frame_in_order(diffs in prop::collection::vec(diff(), 0..20), marks in prop::collection::vec(mark(), 0..4), limit in 0usize..2000) {
            let frame = Frame { diffs, marks };
            let mut joined = Frame::default();
            let messages = frame.encode(limit);
            for (i, message) in messages.iter().enumerate() {
                let part = Frame::decode(message).unwrap();
                prop_assert!(part.marks.is_empty() || i + 1 == messages.len());
                prop_assert!(message.len() <= limit || part.diffs.len() <= 1);
                joined.diffs.extend(part.diffs);
                joined.marks.extend(part.marks);
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
    }
}
