//! TxnOffsetCommit: a group's positions that become valid with a transaction (KIP-447).
//!
//! Invariant: positions of an old generation, an old epoch or a transaction that does not name the group are refused.

use kafka_protocol::error::ResponseError;
use kafka_protocol::messages::txn_offset_commit_response::{
    TxnOffsetCommitResponsePartition, TxnOffsetCommitResponseTopic,
};
use kafka_protocol::messages::{TxnOffsetCommitRequest, TxnOffsetCommitResponse};

use super::offset_commit::check_position;
use super::support::producer;
use crate::connection::Peer;
use crate::group::offsets::Committed;
use crate::node::State;

pub(super) fn handle(peer: &Peer, request: TxnOffsetCommitRequest) -> TxnOffsetCommitResponse {
    peer.node.step(|state, _| {
        let checked = check(state, &request);
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
                let producer_id = request.producer_id.0;
                let result = checked.and_then(|()| {
                    let partition = check_position(state, &topic.name, index, &position)?;
                    state.with_group(&request.group_id, |group, _| {
                        group.offsets.commit_later(producer_id, partition, position);
                    })
                });
                let code = result.err().map_or(0, |error| error.code());
                let response = TxnOffsetCommitResponsePartition::default().with_partition_index(index);
                partitions.push(response.with_error_code(code));
            }
            topics.push(TxnOffsetCommitResponseTopic::default().with_name(topic.name).with_partitions(partitions));
        }
        TxnOffsetCommitResponse::default().with_topics(topics)
    })
}

fn check(state: &State, request: &TxnOffsetCommitRequest) -> Result<(), ResponseError> {
    if request.group_id.is_empty() {
        return Err(ResponseError::InvalidGroupId);
    }
    match state.groups.get(request.group_id.as_str()) {
        None if request.generation_id >= 0 => return Err(ResponseError::IllegalGeneration),
        None => {}
        Some(group) => {
            let instance = request.group_instance_id.as_deref();
            group.check_commit(request.generation_id, &request.member_id, instance, true)?;
        }
    }
    let owner = producer(request.producer_id.0, request.producer_epoch);
    state.transactions.check_offsets(owner, &request.group_id)
}
