//! What a group has committed for the partitions of a topic, and whether the topic still has it.

use super::stage::Assigned;
use crate::kafka::group::Group;
use crate::kafka::topics::bounds;
use anyhow::Context;
use rdkafka::consumer::Consumer;
use rdkafka::topic_partition_list::TopicPartitionListElem;
use rdkafka::{Offset, TopicPartitionList};
use std::collections::BTreeMap;
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

/// A place to go on at that the topic does not reach to.
pub struct Outside {
    /// The partition.
    pub partition: i32,
    /// What is committed, or the place that reading has come to.
    pub committed: i64,
    /// Nothing is committed yet: reading was to begin there.
    pub fresh: bool,
    /// Where the partition begins.
    pub start: i64,
    /// Where it ends for a reader of committed records.
    pub end: i64,
}

/// Those of these partitions, each with the place that reading has come to, whose committed offset, or that place where nothing
/// is committed, is outside of the topic.
///
/// # Errors
/// No broker answers, or a partition has no leader that knows where it begins, as while one is elected: what became of it is
/// not known.
pub fn outside(group: &Group, topic: &str, read: &BTreeMap<i32, Offset>) -> anyhow::Result<Vec<Outside>> {
    let partitions: Vec<i32> = read.keys().copied().collect();
    let bounds = |which| bounds(&group.consumer, topic, partitions.iter().copied(), which, PATIENCE);
    let (starts, ends) = (bounds(Offset::Beginning)?, bounds(Offset::End)?);
    let mut outside = Vec::new();
    for Assigned { partition, committed } in committed(group, topic, &partitions)? {
        let start = starts.get(&partition).with_context(|| format!("{topic}/{partition} has no leader"))?;
        let end = ends.get(&partition).copied().unwrap_or(i64::MAX);
        let (committed, fresh) = match (committed, read.get(&partition)) {
            (Some((committed, _)), _) => (committed, false),
            (None, Some(Offset::Offset(next))) => (*next, true),
            (None, _) => continue,
        };
        if !(*start..=end).contains(&committed) {
            outside.push(Outside { partition, committed, fresh, start: *start, end });
        }
    }
    Ok(outside)
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

#[cfg(test)]
mod tests {
    use super::*;
    use rdkafka::ClientConfig;
    use rdkafka::consumer::{BaseConsumer, CommitMode};
    use rdkafka::mocking::MockCluster;

    #[test]
    fn a_partition_without_a_leader_is_not_taken_for_well() {
        let cluster = MockCluster::new(1).unwrap();
        cluster.create_topic("t", 2, 1).unwrap();
        let mut settings = ClientConfig::new();
        settings.set("bootstrap.servers", cluster.bootstrap_servers()).set("group.id", "g");
        let committer: BaseConsumer = settings.create().unwrap();
        let mut list = TopicPartitionList::new();
        list.add_partition_offset("t", 0, Offset::Offset(7)).unwrap();
        committer.commit(&list, CommitMode::Sync).unwrap();
        let group = Group::join(&settings, "t").unwrap();
        let read = BTreeMap::from([(0, Offset::Beginning), (1, Offset::Beginning)]);
        let found = outside(&group, "t", &read).unwrap();
        let found: Vec<_> = found.iter().map(|o| (o.partition, o.committed, o.start, o.end)).collect();
        assert_eq!(found, [(0, 7, 0, 0)]);
        let begun = BTreeMap::from([(1, Offset::Offset(3))]);
        let found = outside(&group, "t", &begun).unwrap();
        assert_eq!(found.iter().map(|o| (o.partition, o.committed, o.fresh)).collect::<Vec<_>>(), [(1, 3, true)]);
        cluster.partition_leader("t", 1, None).unwrap();
        // Its own look at the topic may be old.
        group.consumer.fetch_metadata(Some("t"), PATIENCE).unwrap();
        let error = outside(&group, "t", &read).err().unwrap().to_string();
        assert_eq!(error, "t/1 has no leader");
    }
}
