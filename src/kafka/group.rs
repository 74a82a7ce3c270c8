//! A consumer group member that acts on rebalances itself, in its own thread, between two polls.
//!
//! librdkafka's callback only notes what happened; the worker then commits or aborts what is under way and calls
//! assign or unassign. Invariant: the group's metadata for a transaction is the one that came with the last
//! rebalance, never read at commit, where it could already be the next member's.

use super::fetching::{Fetching, Still};
use super::leaving::Leaving;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext, ConsumerGroupMetadata};
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::types::RDKafkaRespErr;
use rdkafka::{ClientConfig, ClientContext, Statistics, TopicPartitionList};
use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

/// What a rebalance asks of the worker.
pub enum Rebalance {
    /// Start to own these partitions: call [`Group::assign`] with the offsets to start from.
    Assign(TopicPartitionList),
    /// Finish what is under way, then call [`Group::unassign`].
    Revoke(TopicPartitionList),
    /// The session is over and others own these already: abort what is under way, then call [`Group::unassign`].
    Lost(TopicPartitionList),
}

/// Notes rebalances for the worker.
#[derive(Default)]
pub struct Notes {
    events: Mutex<VecDeque<(Rebalance, Option<ConsumerGroupMetadata>)>>,
    /// There may be events: spares the lock after each poll.
    noted: AtomicBool,
    leaving: Leaving,
    fetching: Fetching,
}

impl ClientContext for Notes {
    fn stats(&self, statistics: Statistics) {
        self.fetching.told(&statistics);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!(%error, reason, "kafka client");
    }
}

impl ConsumerContext for Notes {
    fn rebalance(&self, consumer: &BaseConsumer<Self>, code: RDKafkaRespErr, partitions: &mut TopicPartitionList) {
        if self.leaving.answers(consumer, partitions) {
            return;
        }
        let event = match code {
            RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS => Rebalance::Assign(partitions.clone()),
            _ if consumer.assignment_lost() => Rebalance::Lost(partitions.clone()),
            _ => Rebalance::Revoke(partitions.clone()),
        };
        let metadata = consumer.group_metadata();
        self.events.lock().unwrap_or_else(PoisonError::into_inner).push_back((event, metadata));
        self.noted.store(true, Ordering::Release);
    }
}

/// A member of a consumer group with the cooperative protocol.
pub struct Group {
    /// To poll.
    pub consumer: BaseConsumer<Notes>,
    /// Revoked partitions that were not let go yet.
    revoked: Mutex<Option<TopicPartitionList>>,
}

impl Group {
    /// Joins the group for one topic.
    ///
    /// # Errors
    /// The configuration is refused by librdkafka.
    pub fn join(config: &ClientConfig, topic: &str) -> KafkaResult<Self> {
        let mut settings = config.clone();
        Fetching::set(&mut settings);
        let consumer: BaseConsumer<Notes> = settings.create_with_context(Notes::default())?;
        consumer.subscribe(&[topic])?;
        Ok(Self { consumer, revoked: Mutex::new(None) })
    }

    /// What happened during the last polls, oldest first, with the group's metadata as of then.
    pub fn next_rebalance(&self) -> Option<(Rebalance, Option<ConsumerGroupMetadata>)> {
        let notes = self.consumer.context();
        if !notes.noted.load(Ordering::Acquire) {
            return None;
        }
        let mut events = notes.events.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(event) = events.pop_front() else {
            notes.noted.store(false, Ordering::Release);
            return None;
        };
        drop(events);
        if let (Rebalance::Revoke(list) | Rebalance::Lost(list), _) = &event {
            *self.revoked.lock().unwrap_or_else(PoisonError::into_inner) = Some(list.clone());
        }
        Some(event)
    }

    /// What the client does not fetch, if it has told anew.
    pub fn still(&self) -> Option<Still> {
        self.consumer.context().fetching.still()
    }

    /// Starts to fetch, from the offsets in the list.
    ///
    /// # Errors
    /// librdkafka refuses the call.
    pub fn assign(&self, partitions: &TopicPartitionList) -> KafkaResult<()> {
        self.consumer.context().fetching.assigned();
        self.consumer.incremental_assign(partitions)
    }

    /// Lets partitions go.
    ///
    /// # Errors
    /// librdkafka refuses the call.
    pub fn unassign(&self, partitions: &TopicPartitionList) -> KafkaResult<()> {
        *self.revoked.lock().unwrap_or_else(PoisonError::into_inner) = None;
        self.consumer.incremental_unassign(partitions)
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // Closing revokes what is assigned; there is no worker any more to act on it.
        self.consumer.context().leaving.begin();
        // librdkafka waits for the answer to a revocation for ever, also while it closes.
        while self.next_rebalance().is_some() {
            if let Some(list) = self.revoked.lock().unwrap_or_else(PoisonError::into_inner).take() {
                let _ = self.consumer.incremental_unassign(&list);
            }
        }
        if let Some(list) = self.revoked.lock().unwrap_or_else(PoisonError::into_inner).take() {
            let _ = self.consumer.incremental_unassign(&list);
        }
    }
}
