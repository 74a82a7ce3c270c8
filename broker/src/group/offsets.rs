//! A group's committed offsets, and those that wait for a transaction to end.
//!
//! OffsetCommit and TxnOffsetCommit write, OffsetFetch reads, the transaction coordinator settles.
//!
//! Invariants: a pending offset is seen by nobody until its transaction commits, and never after an abort; a
//! transaction that commits late does not overwrite a commit made after its own.

use std::collections::{BTreeMap, HashMap};

use crate::topic::TopicPartition;

/// The longest metadata of a committed offset in bytes.
pub(crate) const MAX_METADATA_BYTES: usize = 4_096;

/// A committed position.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Committed {
    pub(crate) offset: i64,
    pub(crate) leader_epoch: i32,
    pub(crate) metadata: String,
}

/// The offsets of one group.
#[derive(Debug, Default)]
pub(crate) struct Offsets {
    committed: BTreeMap<TopicPartition, (u64, Committed)>,
    /// Producer → what its open transaction will commit.
    pending: HashMap<i64, BTreeMap<TopicPartition, (u64, Committed)>>,
    commits: u64,
}

impl Offsets {
    /// Commits at once.
    pub(crate) fn commit(&mut self, partition: TopicPartition, position: Committed) {
        self.commits += 1;
        self.committed.insert(partition, (self.commits, position));
    }

    /// Commits when the producer's transaction does.
    pub(crate) fn commit_later(&mut self, producer_id: i64, partition: TopicPartition, position: Committed) {
        self.commits += 1;
        self.pending.entry(producer_id).or_default().insert(partition, (self.commits, position));
    }

    /// Ends the producer's transaction.
    pub(crate) fn settle(&mut self, producer_id: i64, commit: bool) {
        let pending = self.pending.remove(&producer_id).unwrap_or_default();
        for (partition, (order, position)) in pending.into_iter().filter(|_| commit) {
            let newer = self.committed.get(&partition).is_some_and(|(existing, _)| *existing > order);
            if !newer {
                self.committed.insert(partition, (order, position));
            }
        }
    }

    pub(crate) fn get(&self, partition: &TopicPartition) -> Option<&Committed> {
        self.committed.get(partition).map(|(_, position)| position)
    }

    /// True while an open transaction may change the partition's offset.
    pub(crate) fn is_unstable(&self, partition: &TopicPartition) -> bool {
        self.pending.values().any(|offsets| offsets.contains_key(partition))
    }

    /// Every partition with a committed or pending offset, in order.
    pub(crate) fn partitions(&self) -> impl Iterator<Item = &TopicPartition> {
        let pending = self.pending.values().flat_map(BTreeMap::keys);
        let all: std::collections::BTreeSet<_> = self.committed.keys().chain(pending).collect();
        all.into_iter()
    }

    /// Forgets what was committed for a partition.
    pub(crate) fn forget(&mut self, partition: &TopicPartition) {
        self.committed.remove(partition);
    }

    /// Forgets a deleted topic.
    pub(crate) fn forget_topic(&mut self, topic: &str) {
        self.committed.retain(|partition, _| partition.topic != topic);
        self.pending.values_mut().for_each(|offsets| offsets.retain(|partition, _| partition.topic != topic));
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.committed.is_empty() && self.pending.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(offset: i64) -> Committed {
        Committed { offset, leader_epoch: -1, metadata: String::new() }
    }

    #[test]
    fn pending_offsets_wait_for_their_transaction() {
        let partition = TopicPartition::new("t", 0);
        let offset = |offsets: &Offsets| offsets.get(&partition).map(|c| c.offset);
        let mut offsets = Offsets::default();
        offsets.commit_later(1, partition.clone(), at(5));
        assert!(offsets.is_unstable(&partition) && offset(&offsets).is_none());
        offsets.settle(1, false);
        assert!(!offsets.is_unstable(&partition) && offset(&offsets).is_none());
        offsets.commit_later(1, partition.clone(), at(5));
        offsets.settle(1, true);
        assert_eq!(offset(&offsets), Some(5));
        offsets.commit_later(1, partition.clone(), at(6));
        offsets.commit(partition.clone(), at(7));
        offsets.settle(1, true);
        assert_eq!(offset(&offsets), Some(7), "a later commit stands");
    }
}
