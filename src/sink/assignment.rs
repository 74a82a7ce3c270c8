//! Which partitions are ours, in which turn, and what is done of them.
//!
//! Each time a partition is assigned, its turn has a new number; records of an earlier turn are dropped and their
//! offsets never committed, because somebody else may own the partition by now. Invariants: when a partition is
//! revoked, what is done of it is committed first; when it was lost, nothing is.

use super::batch::{Partition, Position};
use crate::config::Stage;
use crate::kafka::explain::explain;
use crate::kafka::fetching::Fetching;
use crate::kafka::leaving::Leaving;
use rdkafka::Statistics;
use rdkafka::client::ClientContext;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer, ConsumerContext};
use rdkafka::error::KafkaResult;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use rdkafka::types::RDKafkaRespErr;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// A partition of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Owned {
    /// Which turn of owning it this is.
    pub turn: u64,
    /// The offset up to which all is done; `None`: nothing yet.
    pub done: Option<i64>,
    /// The offset that the broker took last.
    pub committed: Option<i64>,
}

/// What is done and not committed.
fn owed(owned: &BTreeMap<Partition, Owned>) -> BTreeMap<Partition, Position> {
    let owed = |(partition, ours): (&Partition, &Owned)| {
        let next = ours.done.filter(|done| ours.committed != Some(*done))?;
        Some((*partition, Position { next, turn: ours.turn }))
    };
    owned.iter().filter_map(owed).collect()
}

/// The consumer's context: keeps book of the assignment.
#[derive(Debug)]
pub struct Assignment {
    topics: Vec<(String, Stage)>,
    owned: Mutex<BTreeMap<Partition, Owned>>,
    /// Held while offsets are committed.
    committing: Mutex<()>,
    /// Grows with each change.
    changes: AtomicU64,
    /// The group gave us partitions, or none, and did not take them away for good.
    member: AtomicBool,
    leaving: Leaving,
    /// What the client does not read.
    pub fetching: Fetching,
}

impl Assignment {
    /// Knows the stage of each topic.
    pub fn new(topics: Vec<(String, Stage)>) -> Self {
        Self {
            topics,
            owned: Mutex::default(),
            committing: Mutex::default(),
            changes: AtomicU64::new(0),
            member: AtomicBool::new(false),
            leaving: Leaving::default(),
            fetching: Fetching::default(),
        }
    }

    /// Before the consumer is dropped, and after all that is done was committed.
    pub fn leave(&self) {
        self.leaving.begin();
    }

    /// Grows with each change of the assignment.
    pub fn changes(&self) -> u64 {
        self.changes.load(Ordering::Acquire)
    }

    /// False before the first assignment and after a loss.
    pub fn member(&self) -> bool {
        self.member.load(Ordering::Acquire)
    }

    /// The turn of each partition of ours.
    pub fn turns(&self) -> BTreeMap<Partition, u64> {
        self.owned().iter().map(|(partition, owned)| (*partition, owned.turn)).collect()
    }

    /// Notes what is done, of partitions that are still in that turn.
    pub fn done(&self, positions: &BTreeMap<Partition, Position>) {
        self.note(positions, |ours, next| ours.done = Some(next));
    }

    fn note(&self, positions: &BTreeMap<Partition, Position>, note: impl Fn(&mut Owned, i64)) {
        let mut owned = self.owned();
        for (partition, position) in positions {
            if let Some(ours) = owned.get_mut(partition).filter(|ours| ours.turn == position.turn) {
                note(ours, position.next);
            }
        }
    }

    /// Commits what is done. Blocks until the broker has answered, and is done by one at a time, so that no commit comes
    /// after a later one or after a partition has gone to somebody else. What was lost is not committed.
    ///
    /// # Errors
    /// The broker does not take it, as for a moment of each rebalance.
    pub fn commit(&self, consumer: &impl Consumer<Self>) -> KafkaResult<()> {
        let _one = self.committing();
        if consumer.assignment_lost() {
            return Ok(());
        }
        let owed = owed(&self.owned());
        self.tell(consumer, &owed)?;
        self.note(&owed, |ours, next| ours.committed = Some(next));
        Ok(())
    }

    fn tell(&self, consumer: &impl Consumer<Self>, positions: &BTreeMap<Partition, Position>) -> KafkaResult<()> {
        if positions.is_empty() {
            return Ok(());
        }
        let mut offsets = TopicPartitionList::with_capacity(positions.len());
        for ((stage, partition), position) in positions {
            if let Some((topic, _)) = self.topics.iter().find(|(_, of)| of == stage) {
                // Fails only for offsets below zero.
                let _ = offsets.add_partition_offset(topic, *partition, Offset::Offset(position.next));
            }
        }
        consumer.commit(&offsets, CommitMode::Sync)
    }

    /// The stage of a topic.
    pub fn stage(&self, topic: &str) -> Option<Stage> {
        self.topics.iter().find(|(name, _)| name == topic).map(|(_, stage)| *stage)
    }

    fn owned(&self) -> MutexGuard<'_, BTreeMap<Partition, Owned>> {
        self.owned.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn committing(&self) -> MutexGuard<'_, ()> {
        self.committing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn assigned(&self, list: &TopicPartitionList) {
        self.member.store(true, Ordering::Release);
        self.fetching.assigned();
        let turn = self.changes.fetch_add(1, Ordering::AcqRel) + 1;
        let partitions = self.partitions(list);
        tracing::info!(partitions = partitions.len(), "sink: partitions assigned");
        self.owned()
            .extend(partitions.into_iter().map(|partition| (partition, Owned { turn, done: None, committed: None })));
    }

    fn revoked(&self, consumer: &BaseConsumer<Self>, list: &TopicPartitionList) {
        let partitions = self.partitions(list);
        tracing::info!(partitions = partitions.len(), "sink: partitions revoked");
        let _one = self.committing();
        let removed = |partition| Some((partition, self.owned().remove(&partition)?));
        let removed: BTreeMap<Partition, Owned> = partitions.into_iter().filter_map(removed).collect();
        self.changes.fetch_add(1, Ordering::AcqRel);
        if consumer.assignment_lost() {
            self.member.store(false, Ordering::Release);
        } else if let Err(error) = self.tell(consumer, &owed(&removed)) {
            tracing::warn!("sink: offsets were not committed, so some is read again: {}", explain(&error));
        }
    }

    fn partitions(&self, list: &TopicPartitionList) -> Vec<Partition> {
        let elements = list.elements();
        elements.iter().filter_map(|element| Some((self.stage(element.topic())?, element.partition()))).collect()
    }
}

impl ClientContext for Assignment {
    fn stats(&self, statistics: Statistics) {
        self.fetching.told(&statistics);
    }
}

impl ConsumerContext for Assignment {
    fn rebalance(&self, consumer: &BaseConsumer<Self>, code: RDKafkaRespErr, list: &mut TopicPartitionList) {
        // What is done was committed before.
        if self.leaving.answers(consumer, list) {
            return;
        }
        let answered = if code == RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS {
            self.assigned(list);
            consumer.incremental_assign(list)
        } else {
            self.revoked(consumer, list);
            consumer.incremental_unassign(list)
        };
        if let Err(error) = answered {
            tracing::warn!("sink: rebalance failed: {}", explain(&error));
        }
    }
}
