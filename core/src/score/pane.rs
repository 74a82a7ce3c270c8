//! An open pane: what its groups accumulated so far, bounded.
//!
//! Invariant: beyond `most` groups those with the smallest hashes are kept and the rest is one group, the overflow;
//! which ones does not depend on the order of the differences, for the bound only falls and what fell stays out.
//!
//! Differences of many groups come in any order, and a search in an ordered map reads each key on its way from
//! memory: groups are hashed, and sorted when the pane closes.

use crate::sketch::hash;
use crate::window::{Cells, group::OVERFLOW};
use foldhash::fast::RandomState;
use indexmap::IndexMap;
use std::collections::BTreeSet;
use std::sync::Arc;

/// The cells of one pane of one detector.
pub(super) struct Pane {
    /// Offset of the first frame that counts for it.
    pub first: i64,
    pub groups: IndexMap<Arc<str>, Cells, RandomState>,
    /// The groups are in the order of their keys.
    sorted: bool,
    /// The hashes of the groups, once there are too many.
    hashes: Option<BTreeSet<(u64, Arc<str>)>>,
}

/// A group's place in the order in which groups are kept.
pub(super) fn rank(group: &str) -> u64 {
    hash(group.as_bytes())
}

impl Pane {
    pub fn new(first: i64) -> Self {
        Self { first, groups: IndexMap::default(), sorted: false, hashes: None }
    }

    /// Merges a difference; the records that went to the overflow. `key` gives the group's key if it is new here.
    pub fn merge(&mut self, group: &str, key: impl FnOnce() -> Arc<str>, cells: &Cells, most: usize) -> u64 {
        if let Some(own) = self.groups.get_mut(group) {
            own.merge(cells);
            return 0;
        }
        self.sorted = false;
        let kept = self.groups.len() - usize::from(self.groups.contains_key(OVERFLOW));
        if kept < most || group == OVERFLOW {
            self.groups.insert(key(), cells.clone());
            return 0;
        }
        let groups = &self.groups;
        let ranked = || {
            let ranked = groups.keys().filter(|key| &***key != OVERFLOW);
            ranked.map(|key| (rank(key), key.clone())).collect::<BTreeSet<_>>()
        };
        let hashes = self.hashes.get_or_insert_with(ranked);
        let new = (rank(group), key());
        let mut moved = cells.clone();
        if let Some(largest) = hashes.last().filter(|largest| **largest > new).cloned() {
            hashes.remove(&largest);
            hashes.insert(new.clone());
            let evicted = self.groups.swap_remove(&largest.1).unwrap_or_default();
            self.groups.insert(new.1, std::mem::replace(&mut moved, evicted));
        }
        let records = moved.records();
        self.overflow(&moved);
        records
    }

    /// Moves a group to the overflow; the records that moved.
    pub fn evict(&mut self, group: &str) -> u64 {
        let Some(cells) = self.groups.swap_remove(group) else { return 0 };
        self.sorted = false;
        self.overflow(&cells);
        cells.records()
    }

    fn overflow(&mut self, cells: &Cells) {
        self.groups.entry(Arc::from(OVERFLOW)).or_default().merge(cells);
    }

    /// The keys after this one, in their order.
    pub fn after(&mut self, key: Option<&str>) -> impl Iterator<Item = &Arc<str>> {
        if !std::mem::replace(&mut self.sorted, true) {
            self.groups.sort_unstable_keys();
        }
        let first = key.map_or(0, |key| self.groups.partition_point(|own, _| **own <= *key));
        self.groups.keys().skip(first)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measure::Cell;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    proptest! {
        #[test]
        fn the_same_groups_are_kept_in_any_order(mut names in prop::collection::vec("[a-e]{1,2}", 0..40), most in 1usize..6, turn in 0usize..40) {
            let filled = |names: &[String]| {
                let mut pane = Pane::new(0);
                for name in names {
                    let cells = Cells { measures: vec![Cell::one(1)], values: Vec::new() };
                    pane.merge(name, || Arc::from(name.as_str()), &cells, most);
                }
                let (all, groups) = (pane.after(None).cloned().collect::<Vec<_>>(), pane.groups.clone());
                assert!(all.is_sorted() && all.iter().eq(groups.keys()));
                for (i, key) in all.iter().enumerate() {
                    assert!(pane.after(Some(key)).eq(&all[i + 1..]));
                }
                groups.into_iter().collect::<BTreeMap<_, _>>()
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
