//! The transaction coordinator: who owns a transactional id, and what its open transaction has touched.
//!
//! InitProducerId, AddPartitionsToTxn, AddOffsetsToTxn and EndTxn come here, and every transactional batch is checked
//! here before the log sees it. Pure: completing a transaction is returned as a [`Completion`] for the node to write.
//!
//! ```text
//!            init            add partition / offsets            end (commit | abort)
//!   (none) ────────► Empty ──────────────────────────► Ongoing ──────────────────────► Committed | Aborted
//!                      ▲                                  │ timeout, or init by another: epoch + 1, abort      │
//!                      └── init: epoch + 1 ───────────────┴───────────────────────── add ◄────────────────────┘
//! ```
//!
//! Invariants: only the latest epoch of an id can add, commit or produce; a batch is accepted only within an open
//! transaction that names its partition, so nothing of a fenced producer is acknowledged and then lost; a transaction
//! is completed in one step with all its partitions and groups.

mod fencing;

use std::collections::{BTreeSet, HashMap};

use kafka_protocol::error::ResponseError;

use crate::clock::Millis;
use crate::topic::TopicPartition;

/// The longest transaction timeout a producer may ask for: 15 minutes.
const MAX_TIMEOUT_MS: i32 = 900_000;
/// Transactional ids remembered.
const MAX_IDS: usize = 10_000;

/// A producer and its epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ProducerEpoch {
    pub(crate) producer_id: i64,
    pub(crate) epoch: i16,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Empty,
    Ongoing,
    Committed,
    Aborted,
}

#[derive(Debug)]
struct Transaction {
    current: ProducerEpoch,
    /// What the producer had before its last own bump: a repeated request is answered again (KIP-360).
    previous: Option<ProducerEpoch>,
    timeout_ms: i32,
    phase: Phase,
    partitions: BTreeSet<TopicPartition>,
    groups: BTreeSet<String>,
    started: Millis,
    touched: Millis,
}

impl Transaction {
    fn deadline(&self) -> Option<Millis> {
        (self.phase == Phase::Ongoing).then(|| self.started.saturating_add(i64::from(self.timeout_ms)))
    }

    fn begin(&mut self, now: Millis) {
        if self.phase != Phase::Ongoing {
            self.phase = Phase::Ongoing;
            self.started = now;
        }
        self.touched = now;
    }

    fn complete(&mut self, commit: bool, now: Millis) -> Completion {
        self.phase = if commit { Phase::Committed } else { Phase::Aborted };
        self.touched = now;
        Completion {
            producer: self.current,
            commit,
            partitions: std::mem::take(&mut self.partitions),
            groups: std::mem::take(&mut self.groups),
        }
    }
}

/// A transaction that ended: the node writes its markers and settles its offsets.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Completion {
    pub(crate) producer: ProducerEpoch,
    pub(crate) commit: bool,
    pub(crate) partitions: BTreeSet<TopicPartition>,
    pub(crate) groups: BTreeSet<String>,
}

/// All transactional ids.
#[derive(Debug, Default)]
pub(crate) struct Transactions {
    by_id: HashMap<String, Transaction>,
    id_of: HashMap<i64, String>,
    producers: i64,
}

impl Transactions {
    fn new_producer_id(&mut self) -> i64 {
        self.producers += 1;
        self.producers - 1
    }

    /// The transaction of an id, when the caller is its current producer.
    fn owned(&mut self, id: &str, producer: ProducerEpoch) -> Result<&mut Transaction, ResponseError> {
        let found = self.by_id.get_mut(id).ok_or(ResponseError::InvalidProducerIdMapping)?;
        if found.current.producer_id != producer.producer_id {
            return Err(ResponseError::InvalidProducerIdMapping);
        }
        if found.current.epoch != producer.epoch {
            return Err(ResponseError::ProducerFenced);
        }
        Ok(found)
    }

    /// Adds partitions to the producer's transaction, opening it if needed. Returns when it times out.
    ///
    /// # Errors
    /// Not the current producer.
    pub(crate) fn add_partitions(
        &mut self,
        id: &str,
        producer: ProducerEpoch,
        partitions: impl Iterator<Item = TopicPartition>,
        now: Millis,
    ) -> Result<Option<Millis>, ResponseError> {
        let transaction = self.owned(id, producer)?;
        transaction.begin(now);
        transaction.partitions.extend(partitions);
        Ok(transaction.deadline())
    }

    /// Adds a group whose offsets the transaction will commit. Returns when it times out.
    ///
    /// # Errors
    /// Not the current producer.
    pub(crate) fn add_group(
        &mut self,
        id: &str,
        producer: ProducerEpoch,
        group: &str,
        now: Millis,
    ) -> Result<Option<Millis>, ResponseError> {
        let transaction = self.owned(id, producer)?;
        transaction.begin(now);
        transaction.groups.insert(group.to_owned());
        Ok(transaction.deadline())
    }

    /// Commits or aborts. `None`: it was so ended before, and the answer is the same.
    ///
    /// # Errors
    /// Not the current producer, or nothing to end.
    pub(crate) fn end(
        &mut self,
        id: &str,
        producer: ProducerEpoch,
        commit: bool,
        now: Millis,
    ) -> Result<Option<Completion>, ResponseError> {
        let transaction = self.owned(id, producer)?;
        match (transaction.phase, commit) {
            (Phase::Ongoing, _) => Ok(Some(transaction.complete(commit, now))),
            (Phase::Committed, true) | (Phase::Aborted, false) => Ok(None),
            _ => Err(ResponseError::InvalidTxnState),
        }
    }

    /// Checks a transactional batch: its producer is current and its transaction names the partition.
    ///
    /// # Errors
    /// An old epoch, an unknown producer, or a partition that was not added.
    pub(crate) fn check_batch(&self, producer: ProducerEpoch, partition: &TopicPartition) -> Result<(), ResponseError> {
        let transaction = self.current(producer)?;
        if transaction.phase == Phase::Ongoing && transaction.partitions.contains(partition) {
            Ok(())
        } else {
            Err(ResponseError::InvalidTxnState)
        }
    }

    /// Checks offsets committed in a transaction: its producer is current and its transaction names the group.
    ///
    /// # Errors
    /// An old epoch, an unknown producer, or a group that was not added.
    pub(crate) fn check_offsets(&self, producer: ProducerEpoch, group: &str) -> Result<(), ResponseError> {
        let transaction = self.current(producer)?;
        if transaction.phase == Phase::Ongoing && transaction.groups.contains(group) {
            Ok(())
        } else {
            Err(ResponseError::InvalidTxnState)
        }
    }

    fn current(&self, producer: ProducerEpoch) -> Result<&Transaction, ResponseError> {
        let id = self.id_of.get(&producer.producer_id).ok_or(ResponseError::InvalidProducerIdMapping)?;
        let transaction = self.by_id.get(id).ok_or(ResponseError::InvalidProducerIdMapping)?;
        if transaction.current.epoch != producer.epoch {
            return Err(ResponseError::InvalidProducerEpoch);
        }
        Ok(transaction)
    }

    /// When the next open transaction times out.
    pub(crate) fn next_deadline(&self) -> Option<Millis> {
        self.by_id.values().filter_map(Transaction::deadline).min()
    }
}

#[cfg(test)]
mod tests;
