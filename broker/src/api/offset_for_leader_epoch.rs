//! OffsetForLeaderEpoch: where an epoch of the leader ended; a client checks its position by it.
//!
//! Invariant: there is one epoch, and it ends at the end of the log.

use kafka_protocol::messages::offset_for_leader_epoch_response::{EpochEndOffset, OffsetForLeaderTopicResult};
use kafka_protocol::messages::{OffsetForLeaderEpochRequest, OffsetForLeaderEpochResponse};

use super::support::{LEADER_EPOCH, check_epoch};
use crate::connection::Peer;

pub(super) fn handle(peer: &Peer, request: OffsetForLeaderEpochRequest) -> OffsetForLeaderEpochResponse {
    let topics = request.topics.into_iter().map(|topic| {
        let partitions = topic.partitions.iter().map(|wanted| {
            let found = peer.node.step(|state, _| {
                let log = &state.topics.partition(&topic.topic, wanted.partition)?.log;
                check_epoch(wanted.current_leader_epoch)?;
                Ok::<_, kafka_protocol::error::ResponseError>(log.end())
            });
            let answer = EpochEndOffset::default().with_partition(wanted.partition);
            match found {
                Err(error) => answer.with_error_code(error.code()),
                Ok(end) if wanted.leader_epoch == LEADER_EPOCH => {
                    answer.with_leader_epoch(LEADER_EPOCH).with_end_offset(end)
                }
                Ok(_) => answer.with_leader_epoch(-1).with_end_offset(-1),
            }
        });
        let partitions = partitions.collect();
        OffsetForLeaderTopicResult::default().with_topic(topic.topic.clone()).with_partitions(partitions)
    });
    OffsetForLeaderEpochResponse::default().with_topics(topics.collect())
}
