//! Topics: names, configuration, partitions, and retention over all partitions of a topic.
//!
//! The node keeps them; Produce and Fetch go through a topic to a partition's log. Pure but for the wake-up handles
//! of waiting readers, which it only rings.
//!
//! Invariants: partitions are numbered 0..n and only ever added; readers waiting on a partition are rung after every
//! change they could see; the number of partitions of a broker is bounded.

pub(crate) mod config;
pub(crate) mod known;
pub(crate) mod name;
pub(crate) mod waiters;

use std::collections::BTreeMap;

use kafka_protocol::error::ResponseError;
use uuid::Uuid;

use crate::clock::Millis;
use crate::log::marker::Marker;
use crate::log::{Batch, PartitionLog};
use config::TopicConfig;
use waiters::Waiters;

/// Partitions that one broker holds at most.
const MAX_PARTITIONS: usize = 20_000;

/// A partition by its topic's name and its number.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct TopicPartition {
    pub(crate) topic: String,
    pub(crate) partition: i32,
}

impl TopicPartition {
    pub(crate) fn new(topic: &str, partition: i32) -> Self {
        Self { topic: topic.to_owned(), partition }
    }
}

/// A log and the readers waiting for it.
#[derive(Debug, Default)]
pub(crate) struct Partition {
    pub(crate) log: PartitionLog,
    pub(crate) waiters: Waiters,
}

/// One topic.
#[derive(Debug)]
pub(crate) struct Topic {
    pub(crate) id: Uuid,
    pub(crate) config: TopicConfig,
    partitions: Vec<Partition>,
    arrivals: u64,
    bytes: u64,
}

impl Topic {
    /// The number of partitions; they are numbered from 0.
    pub(crate) fn partition_count(&self) -> i32 {
        i32::try_from(self.partitions.len()).unwrap_or(i32::MAX)
    }

    pub(crate) fn partition(&self, number: i32) -> Result<&Partition, ResponseError> {
        let found = usize::try_from(number).ok().and_then(|n| self.partitions.get(n));
        found.ok_or(ResponseError::UnknownTopicOrPartition)
    }

    pub(crate) fn partition_mut(&mut self, number: i32) -> Result<&mut Partition, ResponseError> {
        let found = usize::try_from(number).ok().and_then(|n| self.partitions.get_mut(n));
        found.ok_or(ResponseError::UnknownTopicOrPartition)
    }

    /// Appends a checked batch; returns its base offset and the log's start.
    ///
    /// # Errors
    /// Unknown partition, or the log's refusal.
    pub(crate) fn append(
        &mut self,
        number: i32,
        batch: Batch,
        default_bytes: u64,
        now: Millis,
    ) -> Result<(i64, i64), ResponseError> {
        let arrival = self.arrivals;
        let partition = self.partition_mut(number)?;
        let before = partition.log.bytes();
        let base_offset = partition.log.append(batch, arrival, now)?;
        let grown = partition.log.bytes() - before;
        partition.waiters.ring();
        self.arrivals += 1;
        self.bytes += grown;
        self.retain(number, default_bytes);
        Ok((base_offset, self.partition(number)?.log.start()))
    }

    /// Ends a transaction in one partition. A partition that is gone has nothing to end.
    pub(crate) fn append_marker(&mut self, number: i32, marker: Marker, now: Millis) -> Result<(), ResponseError> {
        let arrival = self.arrivals;
        let partition = self.partition_mut(number)?;
        let before = partition.log.bytes();
        partition.log.append_marker(marker, arrival, now)?;
        let grown = partition.log.bytes() - before;
        partition.waiters.ring();
        self.arrivals += 1;
        self.bytes += grown;
        Ok(())
    }

    /// Moves a partition's start (DeleteRecords).
    pub(crate) fn delete_before(&mut self, number: i32, offset: i64) -> Result<i64, ResponseError> {
        let partition = self.partition_mut(number)?;
        let before = partition.log.bytes();
        let start = partition.log.delete_before(offset)?;
        let freed = before - partition.log.bytes();
        self.bytes -= freed;
        Ok(start)
    }

    /// Removes the oldest batches beyond the bounds: `retention.bytes` for the partition as in Kafka, and the broker's
    /// own bound for the whole topic, in the order of arrival. A topic that is only compacted keeps everything.
    fn retain(&mut self, appended_to: i32, topic_bytes: u64) {
        if !self.config.deletes {
            return;
        }
        if let (Some(bound), Ok(index)) = (self.config.retention_bytes, usize::try_from(appended_to)) {
            while self.partitions[index].log.bytes() > bound && self.remove_oldest_of(index) {}
        }
        while self.bytes > topic_bytes {
            let oldest = |(index, p): (usize, &Partition)| Some((p.log.oldest_removable()?, index));
            let Some((_, index)) = self.partitions.iter().enumerate().filter_map(oldest).min() else {
                break;
            };
            self.remove_oldest_of(index);
        }
    }

    fn remove_oldest_of(&mut self, index: usize) -> bool {
        let log = &mut self.partitions[index].log;
        if log.oldest_removable().is_none() {
            return false;
        }
        let before = log.bytes();
        log.remove_oldest();
        self.bytes -= before - log.bytes();
        true
    }

    fn ring_all(&mut self) {
        self.partitions.iter_mut().for_each(|p| p.waiters.ring());
    }
}

/// All topics by name.
#[derive(Debug, Default)]
pub(crate) struct Topics {
    by_name: BTreeMap<String, Topic>,
    partitions: usize,
}

impl Topics {
    pub(crate) fn get(&self, name: &str) -> Result<&Topic, ResponseError> {
        self.by_name.get(name).ok_or(ResponseError::UnknownTopicOrPartition)
    }

    pub(crate) fn get_mut(&mut self, name: &str) -> Result<&mut Topic, ResponseError> {
        self.by_name.get_mut(name).ok_or(ResponseError::UnknownTopicOrPartition)
    }

    pub(crate) fn partition(&self, name: &str, number: i32) -> Result<&Partition, ResponseError> {
        self.get(name)?.partition(number)
    }

    pub(crate) fn partition_mut(&mut self, name: &str, number: i32) -> Result<&mut Partition, ResponseError> {
        self.get_mut(name)?.partition_mut(number)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &Topic)> {
        self.by_name.iter().map(|(name, topic)| (name.as_str(), topic))
    }

    /// The name of the topic with this id.
    pub(crate) fn name_of(&self, id: Uuid) -> Option<&str> {
        self.iter().find(|(_, topic)| topic.id == id).map(|(name, _)| name)
    }

    /// Checks a creation without doing it.
    ///
    /// # Errors
    /// Bad name, taken name, or a number of partitions out of bounds, with a text for the operator.
    pub(crate) fn check_new(&self, name: &str, partitions: i32) -> Result<(), (ResponseError, String)> {
        name::check(name).map_err(|text| (ResponseError::InvalidTopicException, text))?;
        if self.by_name.contains_key(name) {
            return Err((ResponseError::TopicAlreadyExists, format!("Topic '{name}' already exists.")));
        }
        if let Some(other) = self.by_name.keys().find(|other| name::collides(name, other)) {
            let text = format!("Topic '{name}' collides with existing topic: {other}");
            return Err((ResponseError::InvalidTopicException, text));
        }
        self.check_room(partitions)
    }

    fn check_room(&self, more: i32) -> Result<(), (ResponseError, String)> {
        let Some(more) = usize::try_from(more).ok().filter(|more| *more > 0) else {
            let text = "Number of partitions must be larger than 0.".to_owned();
            return Err((ResponseError::InvalidPartitions, text));
        };
        if self.partitions + more > MAX_PARTITIONS {
            let text = format!("The embedded broker holds at most {MAX_PARTITIONS} partitions.");
            return Err((ResponseError::InvalidPartitions, text));
        }
        Ok(())
    }

    /// Creates a topic that [`Topics::check_new`] allowed.
    pub(crate) fn create(&mut self, name: &str, id: Uuid, partitions: i32, config: TopicConfig) {
        let count = usize::try_from(partitions).unwrap_or(0);
        let partitions = (0..count).map(|_| Partition::default()).collect();
        self.partitions += count;
        self.by_name.insert(name.to_owned(), Topic { id, config, partitions, arrivals: 0, bytes: 0 });
    }

    /// Raises a topic's number of partitions to `count`; with `validate_only` only checks.
    ///
    /// # Errors
    /// Unknown topic, or a count that is not larger than now.
    pub(crate) fn grow(&mut self, name: &str, count: i32, validate_only: bool) -> Result<(), (ResponseError, String)> {
        let unknown = |e| (e, "This server does not host this topic-partition.".to_owned());
        let now = self.get(name).map_err(unknown)?.partition_count();
        if count <= now {
            let text = format!("The topic {name} currently has {now} partition(s); {count} would not be an increase.");
            return Err((ResponseError::InvalidPartitions, text));
        }
        self.check_room(count - now)?;
        if !validate_only {
            let topic = self.get_mut(name).map_err(unknown)?;
            topic.partitions.resize_with(usize::try_from(count).unwrap_or(0), Partition::default);
            self.partitions += usize::try_from(count - now).unwrap_or(0);
        }
        Ok(())
    }

    /// Deletes a topic and everything in it; waiting readers are rung and learn of it.
    ///
    /// # Errors
    /// Unknown topic.
    pub(crate) fn delete(&mut self, name: &str) -> Result<(), ResponseError> {
        let mut topic = self.by_name.remove(name).ok_or(ResponseError::UnknownTopicOrPartition)?;
        topic.ring_all();
        self.partitions -= topic.partitions.len();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::Isolation;
    use crate::log::marker::tests::data_batch;

    fn check_retention(overrides: &[(&str, &str)], topic_bytes_in_batches: u64, expected_starts: [i64; 2]) {
        let one = data_batch(-1, -1, -1, 1, false).bytes.len() as u64;
        let pairs = overrides.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        let mut topics = Topics::default();
        topics.create("t", Uuid::nil(), 2, TopicConfig::new(pairs).unwrap());
        let topic = topics.get_mut("t").unwrap();
        // Partition 0 gets three batches for each one of partition 1.
        for partition in [0, 0, 0, 1, 0, 0, 0, 1] {
            topic.append(partition, data_batch(-1, -1, -1, 1, false), one * topic_bytes_in_batches, 0).unwrap();
        }
        let starts = [0, 1].map(|n| topic.partition(n).unwrap().log.start());
        assert_eq!(starts, expected_starts, "{topic_bytes_in_batches}");
        let kept: u64 = [0, 1].map(|n| topic.partition(n).unwrap().log.bytes()).iter().sum();
        assert_eq!(topic.bytes, kept);
        let end = topic.partition(0).unwrap().log.visible_end(Isolation::ReadUncommitted);
        assert_eq!(end, 6, "retention never touches the end");
    }

    #[test]
    fn retention_removes_what_arrived_first() {
        check_retention(&[], 100, [0, 0]);
        check_retention(&[], 4, [3, 1]);
        check_retention(&[], 1, [5, 1]);
        check_retention(&[("retention.bytes", "0")], 100, [5, 1]);
        check_retention(&[("cleanup.policy", "compact")], 1, [0, 0]);
    }

    #[test]
    fn the_number_of_partitions_is_bounded() {
        let mut topics = Topics::default();
        let bound = i32::try_from(MAX_PARTITIONS).unwrap();
        assert!(topics.check_new("a", bound + 1).is_err());
        topics.create("a", Uuid::nil(), bound, TopicConfig::default());
        assert!(topics.check_new("b", 1).is_err());
        assert!(topics.grow("a", bound + 1, false).is_err());
        topics.delete("a").unwrap();
        assert!(topics.check_new("b", 1).is_ok());
    }
}
