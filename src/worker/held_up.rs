//! Transactions that are aborted again and again: when an operator must see it, and when it is over.
//!
//! One abort is nothing: a broker or a member of the group came or went. Invariant: it is over once every partition has
//! come to where it would have been, or belongs to somebody else; what else is committed meanwhile ends nothing.

use super::stage::Progress;
use crate::time::doubled;
use std::collections::BTreeMap;
use std::time::Duration;

/// From the second abort in a row on there is a rest before the next transaction, each twice as long.
const REST: Duration = Duration::from_millis(50);
const LONGEST_REST: Duration = Duration::from_secs(2);

/// What aborts hold up.
#[derive(Default)]
pub struct HeldUp {
    aborts: u32,
    /// Where each partition would have been.
    until: BTreeMap<i32, i64>,
}

impl HeldUp {
    /// A transaction that would have come so far was aborted: how long to rest, if it was not the first.
    pub fn aborted(&mut self, progress: &[Progress]) -> Option<Duration> {
        self.aborts = self.aborts.saturating_add(1);
        self.until.extend(progress.iter().map(|progress| (progress.partition, progress.offset)));
        let times = self.aborts.checked_sub(2)?;
        Some(doubled(REST, times, LONGEST_REST))
    }

    /// One was committed. True if what an operator saw is over.
    pub fn committed(&mut self, progress: &[Progress]) -> bool {
        for Progress { partition, offset, .. } in progress {
            if self.until.get(partition).is_some_and(|until| offset >= until) {
                self.until.remove(partition);
            }
        }
        self.is_over()
    }

    /// The partition belongs to somebody else. True if what an operator saw is over.
    pub fn released(&mut self, partition: i32) -> bool {
        self.until.remove(&partition);
        self.is_over()
    }

    /// An operator sees it.
    pub fn is_shown(&self) -> bool {
        self.aborts > 1
    }

    fn is_over(&mut self) -> bool {
        self.until.is_empty() && std::mem::take(&mut self.aborts) > 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(partition: i32, offset: i64) -> Vec<Progress> {
        vec![Progress { partition, offset, metadata: String::new() }]
    }

    #[test]
    fn it_is_over_when_all_are_through() {
        let mut held = HeldUp::default();
        assert_eq!(held.aborted(&at(0, 7)), None);
        assert!(!held.committed(&at(1, 9)), "another partition");
        assert_eq!(held.aborted(&at(0, 7)), Some(REST));
        assert!(!held.committed(&at(0, 3)) && held.is_shown(), "marks alone");
        assert_eq!(held.aborted(&at(1, 5)), Some(2 * REST));
        assert!(!held.committed(&at(0, 7)) && held.is_shown());
        assert!(held.released(1) && !held.is_shown());
        // The first abort of the next time is nothing again, and a commit ends it unseen.
        assert_eq!(held.aborted(&at(0, 9)), None);
        assert!(!held.committed(&at(0, 9)));
        assert_eq!(held.aborted(&[]), None);
    }

    #[test]
    fn rests_grow_to_a_limit() {
        let mut held = HeldUp::default();
        let rests: Vec<_> = (0..100).filter_map(|_| held.aborted(&at(0, 1))).collect();
        assert!(rests.is_sorted() && rests[0] == REST && rests[98] == LONGEST_REST);
    }
}
