//! An open pane: what its groups accumulated so far, bounded.
//!
//! Invariant: beyond `most` groups those with the smallest hashes are kept and the rest is one group, the overflow;
//! which ones does not depend on the order of the differences, for the bound only falls and what fell stays out.

use crate::sketch::hash;
use crate::window::{Cells, group::OVERFLOW};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// The cells of one pane of one detector.
pub(super) struct Pane {
    /// Offset of the first frame that counts for it.
    pub first: i64,
    pub groups: BTreeMap<Arc<str>, Cells>,
    /// The hashes of the groups, once there are too many.
    hashes: Option<BTreeSet<(u64, Arc<str>)>>,
}

/// A group's place in the order in which groups are kept.
pub(super) fn rank(group: &str) -> u64 {
    hash(group.as_bytes())
}

impl Pane {
    pub fn new(first: i64) -> Self {
        Self { first, groups: BTreeMap::new(), hashes: None }
    }

    /// Merges a difference; the records that went to the overflow.
    pub fn merge(&mut self, group: &Arc<str>, cells: &Cells, most: usize) -> u64 {
        if let Some(own) = self.groups.get_mut(group) {
            own.merge(cells);
            return 0;
        }
        let kept = self.groups.len() - usize::from(self.groups.contains_key(OVERFLOW));
        if kept < most || &**group == OVERFLOW {
            self.groups.insert(group.clone(), cells.clone());
            return 0;
        }
        let groups = &self.groups;
        let ranked = || {
            let ranked = groups.keys().filter(|key| &***key != OVERFLOW);
            ranked.map(|key| (rank(key), key.clone())).collect::<BTreeSet<_>>()
        };
        let hashes = self.hashes.get_or_insert_with(ranked);
        let new = (rank(group), group.clone());
        let mut moved = cells.clone();
        if let Some(largest) = hashes.last().filter(|largest| **largest > new).cloned() {
            hashes.remove(&largest);
            hashes.insert(new);
            let evicted = self.groups.remove(&largest.1).unwrap_or_default();
            self.groups.insert(group.clone(), std::mem::replace(&mut moved, evicted));
        }
        let records = moved.records();
        self.overflow(&moved);
        records
    }

    /// Moves a group to the overflow; the records that moved.
    pub fn evict(&mut self, group: &str) -> u64 {
        let Some(cells) = self.groups.remove(group) else { return 0 };
        self.overflow(&cells);
        cells.records()
    }

    fn overflow(&mut self, cells: &Cells) {
        self.groups.entry(Arc::from(OVERFLOW)).or_default().merge(cells);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measure::Cell;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn the_same_groups_are_kept_in_any_order(mut names in prop::collection::vec("[a-e]{1,2}", 0..40), most in 1usize..6, turn in 0usize..40) {
            let filled = |names: &[String]| {
                let mut pane = Pane::new(0);
                for name in names {
                    let cells = Cells { measures: vec![Cell::one(1)], values: Vec::new() };
                    pane.merge(&Arc::from(name.as_str()), &cells, most);
                }
                pane.groups
            };
            let one = filled(&names);
            prop_assert!(one.len() <= most + 1);
            prop_assert_eq!(one.values().map(Cells::records).sum::<u64>(), names.len() as u64);
            if !names.is_empty() {
                let middle = turn % names.len();
                names.rotate_left(middle);
                names.reverse();
            }
            prop_assert_eq!(one, filled(&names));
        }
    }
}
