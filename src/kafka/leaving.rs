//! Leaving a consumer group, for the contexts of consumers.
//!
//! A rebalance may be queued twice when a consumer is closed. With the first answer librdkafka ends the group; a call that
//! asks something of it at that moment gets no reply and waits for ever. Invariant: a consumer that leaves answers once.

use rdkafka::TopicPartitionList;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use std::sync::atomic::{AtomicBool, Ordering};

/// Whether a consumer leaves its group.
#[derive(Debug, Default)]
pub struct Leaving {
    leaving: AtomicBool,
    answered: AtomicBool,
}

impl Leaving {
    /// Before the consumer is dropped.
    pub fn begin(&self) {
        self.leaving.store(true, Ordering::Relaxed);
    }

    /// True if the consumer leaves: then the rebalance is answered, whatever it is, or needs no answer.
    pub fn answers<C: ConsumerContext>(&self, consumer: &BaseConsumer<C>, partitions: &TopicPartitionList) -> bool {
        if !self.leaving.load(Ordering::Relaxed) {
            return false;
        }
        if !self.answered.swap(true, Ordering::Relaxed) {
            // The client takes every answer of a consumer that leaves for an unassignment of all.
            let _ = consumer.incremental_unassign(partitions);
        }
        true
    }
}
