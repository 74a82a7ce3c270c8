//! The transactions in one partition's log: which are open, and which were aborted.
//!
//! Gives the last stable offset and the list of aborted transactions that read_committed readers need.
//!
//! Invariants: the last stable offset is the first offset of the oldest open transaction, or the end of the log;
//! `aborted` is ordered by the offset of the abort marker.

use std::collections::BTreeMap;

/// An aborted transaction: a reader drops the producer's records from `first_offset` until the marker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Aborted {
    pub(crate) producer_id: i64,
    pub(crate) first_offset: i64,
    pub(crate) marker_offset: i64,
}

/// Open and aborted transactions of one partition.
#[derive(Debug, Default)]
pub(crate) struct TransactionIndex {
    /// First offset → producer.
    open: BTreeMap<i64, i64>,
    aborted: Vec<Aborted>,
}

impl TransactionIndex {
    pub(crate) fn opened(&mut self, producer_id: i64, first_offset: i64) {
        self.open.insert(first_offset, producer_id);
    }

    pub(crate) fn completed(&mut self, producer_id: i64, first_offset: i64, marker_offset: i64, commit: bool) {
        self.open.remove(&first_offset);
        if !commit {
            self.aborted.push(Aborted { producer_id, first_offset, marker_offset });
        }
    }

    /// The first offset that is not decided yet.
    pub(crate) fn first_open(&self) -> Option<i64> {
        self.open.keys().next().copied()
    }

    /// The aborted transactions that touch the offsets `from..to`.
    pub(crate) fn aborted_between(&self, from: i64, to: i64) -> Vec<Aborted> {
        let begin = self.aborted.partition_point(|a| a.marker_offset < from);
        self.aborted[begin..].iter().filter(|a| a.first_offset < to).copied().collect()
    }

    /// Forgets aborted transactions that lie wholly below the log's start.
    pub(crate) fn truncate_before(&mut self, log_start: i64) {
        let gone = self.aborted.partition_point(|a| a.marker_offset < log_start);
        self.aborted.drain(..gone);
    }
}
