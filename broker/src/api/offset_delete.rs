//! OffsetDelete: forgets a group's positions in some partitions.
//!
//! Invariant: positions of a group that has members stay.

use kafka_protocol::error::ResponseError;
use kafka_protocol::messages::offset_delete_response::{OffsetDeleteResponsePartition, OffsetDeleteResponseTopic};
use kafka_protocol::messages::{OffsetDeleteRequest, OffsetDeleteResponse};

use super::support::code;
use crate::connection::Peer;
use crate::group::Phase;
use crate::topic::TopicPartition;

pub(super) fn handle(peer: &Peer, request: OffsetDeleteRequest) -> OffsetDeleteResponse {
    peer.node.step(|state, _| {
        let checked = match state.groups.get(request.group_id.as_str()) {
            None => Err(ResponseError::GroupIdNotFound),
            Some(group) if group.phase != Phase::Empty => Err(ResponseError::NonEmptyGroup),
            Some(_) => Ok(()),
        };
        if checked.is_err() {
            return OffsetDeleteResponse::default().with_error_code(code(&checked));
        }
        let mut topics = Vec::with_capacity(request.topics.len());
        for topic in request.topics {
            let mut partitions = Vec::with_capacity(topic.partitions.len());
            for wanted in topic.partitions {
                let index = wanted.partition_index;
                let known = state.topics.partition(&topic.name, index).map(|_| ());
                let result = known.and_then(|()| {
                    let partition = TopicPartition::new(&topic.name, index);
                    state.with_group(&request.group_id, |group, _| group.offsets.forget(&partition))
                });
                let response = OffsetDeleteResponsePartition::default().with_partition_index(index);
                partitions.push(response.with_error_code(code(&result)));
            }
            topics.push(OffsetDeleteResponseTopic::default().with_name(topic.name).with_partitions(partitions));
        }
        OffsetDeleteResponse::default().with_topics(topics)
    })
}
