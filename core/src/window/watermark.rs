//! How far event time has come on the score side, from the marks of all source partitions.
//!
//! Invariant: there is no watermark before every source partition 0..n-1, for the largest n seen, was heard of.
//! An idle partition does not hold the others back; when all are idle the largest stream time counts.

use super::{Mark, SourceTime};
use crate::pipeline::Millis;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The last mark of each source partition.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Watermark {
    partitions: i32,
    sources: BTreeMap<i32, (Option<Millis>, bool)>,
}

impl Watermark {
    /// Takes in a mark. Stream times never go back.
    pub fn apply(&mut self, mark: &Mark) {
        self.partitions = self.partitions.max(mark.partitions).max(mark.partition.saturating_add(1));
        let (time, idle) = self.sources.entry(mark.partition).or_default();
        *time = (*time).max(mark.time);
        *idle = mark.idle;
    }

    /// Event time up to which every source partition has been counted; `None` while that is not known.
    pub fn time(&self) -> Option<Millis> {
        let heard = (0..self.partitions).all(|p| self.sources.contains_key(&p));
        if !heard {
            return None;
        }
        let mut active = self.sources.values().filter(|(_, idle)| !idle).peekable();
        if active.peek().is_none() {
            return self.sources.values().filter_map(|(time, _)| *time).max();
        }
        // An active partition without a stream time holds everything.
        active.map(|(time, _)| *time).min().flatten()
    }

    /// The source partitions heard of, with their stream times.
    pub fn sources(&self) -> impl Iterator<Item = (i32, SourceTime)> + '_ {
        self.sources.iter().map(|(p, (time, idle))| (*p, SourceTime { time: *time, idle: *idle }))
    }

    /// Source partitions of which no mark was seen.
    pub fn unheard(&self) -> impl Iterator<Item = i32> + '_ {
        (0..self.partitions).filter(|p| !self.sources.contains_key(p))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_slowest_active_partition_decides() {
        // Marks as (partition, of how many, time, idle), then the watermark expected.
        type Case<'a> = (&'a [(i32, i32, Option<i64>, bool)], Option<i64>);
        let cases: [Case; 9] = [
            (&[], None),
            (&[(0, 2, Some(5), false)], None),
            (&[(0, 2, Some(5), false), (1, 2, Some(3), false)], Some(3)),
            (&[(0, 2, Some(5), false), (1, 2, Some(3), true)], Some(5)),
            (&[(0, 2, Some(5), true), (1, 2, Some(3), true)], Some(5)),
            (&[(0, 2, Some(5), false), (1, 2, None, true)], Some(5)),
            (&[(0, 2, Some(5), false), (1, 2, None, false)], None),
            (&[(0, 1, Some(5), false), (0, 1, Some(4), false)], Some(5)),
            (&[(0, 1, Some(5), false), (0, 3, Some(6), false)], None),
        ];
        for (marks, expected) in cases {
            let mut watermark = Watermark::default();
            for &(partition, partitions, time, idle) in marks {
                watermark.apply(&Mark { partition, partitions, time, idle });
            }
            assert_eq!(watermark.time(), expected, "{marks:?}");
        }
    }
}
