//! OffsetCommit: a group's positions, outside of transactions.
//!
//! Invariant: only the group's current generation commits, or anybody when it has no members.

use kafka_protocol::error::ResponseError;
use kafka_protocol::messages::offset_commit_response::{OffsetCommitResponsePartition, OffsetCommitResponseTopic};
use kafka_protocol::messages::{OffsetCommitRequest, OffsetCommitResponse};

use crate::clock::Millis;
use crate::connection::Peer;
use crate::group::offsets::{Committed, MAX_METADATA_BYTES};
use crate::node::State;
use crate::topic::TopicPartition;

pub(super) fn handle(peer: &Peer, request: OffsetCommitRequest) -> OffsetCommitResponse {
    peer.node.step(|state, now| {
        let checked = check(state, &request, now.steady);
        let mut topics = Vec::with_capacity(request.topics.len());
        for topic in request.topics {
            let mut partitions = Vec::with_capacity(topic.partitions.len());
            for wanted in topic.partitions {
                let index = wanted.partition_index;
                let position = Committed {
                    offset: wanted.committed_offset,
                    leader_epoch: wanted.committed_leader_epoch,
                    metadata: wanted.committed_metadata.map(|m| m.to_string()).unwrap_or_default(),
                };
                let result = checked.and_then(|()| {
                    let partition = check_position(state, &topic.name, index, &position)?;
                    state.with_group(&request.group_id, |group, _| group.offsets.commit(partition, position))
                });
                let code = result.err().map_or(0, |error| error.code());
                partitions
                    .push(OffsetCommitResponsePartition::default().with_partition_index(index).with_error_code(code));
            }
            topics.push(OffsetCommitResponseTopic::default().with_name(topic.name).with_partitions(partitions));
        }
        OffsetCommitResponse::default().with_topics(topics)
    })
}

fn check(state: &mut State, request: &OffsetCommitRequest, now: Millis) -> Result<(), ResponseError> {
    if request.group_id.is_empty() {
        return Err(ResponseError::InvalidGroupId);
    }
    let generation = request.generation_id_or_member_epoch;
    let Some(group) = state.groups.get_mut(request.group_id.as_str()) else {
        // Without a group only a client that is no member may commit.
        return if generation < 0 { Ok(()) } else { Err(ResponseError::IllegalGeneration) };
    };
    group.check_commit(generation, &request.member_id, request.group_instance_id.as_deref(), false)?;
    group.seen(&request.member_id, now);
    Ok(())
}

/// Checks that the partition exists and the metadata is not too long.
///
/// # Errors
/// What is wrong with the position.
pub(super) fn check_position(
    state: &State,
    topic: &str,
    index: i32,
    position: &Committed,
) -> Result<TopicPartition, ResponseError> {
    state.topics.partition(topic, index)?;
    if position.metadata.len() > MAX_METADATA_BYTES {
        return Err(ResponseError::OffsetMetadataTooLarge);
    }
    Ok(TopicPartition::new(topic, index))
}
