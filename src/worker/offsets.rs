//! What a group has committed for the partitions of a topic, and whether the topic still has it.

use super::stage::Assigned;
use crate::kafka::group::Group;
use crate::kafka::topics::bounds;
use anyhow::Context;
use rdkafka::consumer::Consumer;
use rdkafka::topic_partition_list::TopicPartitionListElem;
use rdkafka::{Offset, TopicPartitionList};
use std::time::Duration;

/// How long offsets may be held back by another member's transaction, and how long a broker may take.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// So many offsets before a topic's start may have been ends of transactions; more were records that nobody read.
pub const TRANSACTION_ENDS: i64 = 16;

/// The group's committed offsets, once no transaction holds them back any more.
pub fn committed(group: &Group, topic: &str, partitions: &[i32]) -> anyhow::Result<Vec<Assigned>> {
    let mut list = TopicPartitionList::with_capacity(partitions.len());
    for partition in partitions {
        list.add_partition(topic, *partition);
    }
    let list = group.consumer.committed_offsets(list, PATIENCE).context("cannot read the committed offsets")?;
    let read = |element: &TopicPartitionListElem<'_>| {
        element
            .error()
            .with_context(|| format!("cannot read the committed offset of {topic}/{}", element.partition()))?;
        let committed = match element.offset() {
            Offset::Offset(offset) => Some((offset, metadata_of(element)?)),
            _ => None,
        };
        Ok(Assigned { partition: element.partition(), committed })
    };
    list.elements().iter().map(read).collect()
}

/// A committed offset that the topic does not reach to.
pub struct Outside {
    /// The partition.
    pub partition: i32,
    /// What is committed.
    pub committed: i64,
    /// Where the partition begins.
    pub start: i64,
    /// Where it ends for a reader of committed records.
    pub end: i64,
}

/// Those of these partitions whose committed offset is outside of the topic.
pub fn outside(group: &Group, topic: &str, partitions: &[i32]) -> anyhow::Result<Vec<Outside>> {
    let bounds = |which| bounds(&group.consumer, topic, partitions.iter().copied(), which, PATIENCE);
    let (starts, ends) = (bounds(Offset::Beginning)?, bounds(Offset::End)?);
    let of = |assigned: Assigned| {
        let partition = assigned.partition;
        let (committed, start) = (assigned.committed?.0, *starts.get(&partition)?);
        let end = ends.get(&partition).copied().unwrap_or(i64::MAX);
        (!(start..=end).contains(&committed)).then_some(Outside { partition, committed, start, end })
    };
    Ok(committed(group, topic, partitions)?.into_iter().filter_map(of).collect())
}

/// The element's metadata. The client panics on bytes that are not UTF-8, which only another program can have written.
pub fn metadata_of(element: &TopicPartitionListElem<'_>) -> anyhow::Result<String> {
    let read = std::panic::AssertUnwindSafe(|| element.metadata().to_owned());
    std::panic::catch_unwind(read).map_err(|_| {
        let partition = element.partition();
        super::Misfit(format!("the committed offset of partition {partition} carries metadata of another program"))
            .into()
    })
}
