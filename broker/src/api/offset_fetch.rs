//! OffsetFetch: a group's committed positions, of one group (old versions) or several.
//!
//! Invariants: with `require_stable`, a position that an open transaction may change is answered with
//! `UNSTABLE_OFFSET_COMMIT`, and the client asks again; a group named twice is answered once.

use kafka_protocol::error::ResponseError;
use kafka_protocol::messages::offset_fetch_response::{
    OffsetFetchResponseGroup, OffsetFetchResponsePartition, OffsetFetchResponsePartitions, OffsetFetchResponseTopic,
    OffsetFetchResponseTopics,
};
use kafka_protocol::messages::{OffsetFetchRequest, OffsetFetchResponse, TopicName};

use super::support::{distinct, text};
use crate::connection::Peer;
use crate::group::Group;
use crate::group::offsets::Committed;
use crate::topic::TopicPartition;

/// From this version on a request names several groups.
const SEVERAL: i16 = 8;

/// A topic and what each of its partitions has.
type Found = (TopicName, Vec<(i32, Result<Option<Committed>, ResponseError>)>);

pub(super) fn handle(peer: &Peer, request: OffsetFetchRequest, version: i16) -> OffsetFetchResponse {
    let stable = request.require_stable;
    peer.node.step(|state, _| {
        if version >= SEVERAL {
            let groups = distinct(request.groups, |wanted| wanted.group_id.clone()).map(|wanted| {
                let topics = wanted.topics.map(|t| t.into_iter().map(|t| (t.name, t.partition_indexes)).collect());
                let found = find(state.groups.get(wanted.group_id.as_str()), topics, stable);
                let topics = found.into_iter().map(describe).collect();
                OffsetFetchResponseGroup::default().with_group_id(wanted.group_id).with_topics(topics)
            });
            return OffsetFetchResponse::default().with_groups(groups.collect());
        }
        let topics = request.topics.map(|t| t.into_iter().map(|t| (t.name, t.partition_indexes)).collect());
        let found = find(state.groups.get(request.group_id.as_str()), topics, stable);
        let topics = found.into_iter().map(|found| describe_old(found, version)).collect();
        OffsetFetchResponse::default().with_topics(topics)
    })
}

/// Looks up the wanted partitions; without a wish, all that the group has.
fn find(group: Option<&Group>, wanted: Option<Vec<(TopicName, Vec<i32>)>>, stable: bool) -> Vec<Found> {
    let wanted = wanted.unwrap_or_else(|| {
        let mut all: Vec<(TopicName, Vec<i32>)> = Vec::new();
        for partition in group.iter().flat_map(|group| group.offsets.partitions()) {
            match all.last_mut() {
                Some((topic, indexes)) if **topic == *partition.topic => indexes.push(partition.partition),
                _ => all.push((TopicName(text(partition.topic.as_str())), vec![partition.partition])),
            }
        }
        all
    });
    let look = |topic: &TopicName, index: i32| {
        let Some(group) = group else { return Ok(None) };
        let partition = TopicPartition::new(topic, index);
        if stable && group.offsets.is_unstable(&partition) {
            return Err(ResponseError::UnstableOffsetCommit);
        }
        Ok(group.offsets.get(&partition).cloned())
    };
    let look_all = |(topic, indexes): (TopicName, Vec<i32>)| {
        let found = indexes.into_iter().map(|index| (index, look(&topic, index))).collect();
        (topic, found)
    };
    wanted.into_iter().map(look_all).collect()
}

fn position(found: Result<Option<Committed>, ResponseError>) -> (i16, Committed) {
    let nothing = || Committed { offset: -1, leader_epoch: -1, metadata: String::new() };
    match found {
        Ok(committed) => (0, committed.unwrap_or_else(nothing)),
        Err(error) => (error.code(), nothing()),
    }
}

fn describe((name, partitions): Found) -> OffsetFetchResponseTopics {
    let partitions = partitions.into_iter().map(|(index, found)| {
        let (code, committed) = position(found);
        OffsetFetchResponsePartitions::default()
            .with_partition_index(index)
            .with_committed_offset(committed.offset)
            .with_committed_leader_epoch(committed.leader_epoch)
            .with_metadata(Some(text(committed.metadata)))
            .with_error_code(code)
    });
    OffsetFetchResponseTopics::default().with_name(name).with_partitions(partitions.collect())
}

fn describe_old((name, partitions): Found, version: i16) -> OffsetFetchResponseTopic {
    let partitions = partitions.into_iter().map(|(index, found)| {
        let (code, committed) = position(found);
        let described = OffsetFetchResponsePartition::default()
            .with_partition_index(index)
            .with_committed_offset(committed.offset)
            .with_metadata(Some(text(committed.metadata)))
            .with_error_code(code);
        if version >= 5 { described.with_committed_leader_epoch(committed.leader_epoch) } else { described }
    });
    OffsetFetchResponseTopic::default().with_name(name).with_partitions(partitions.collect())
}
