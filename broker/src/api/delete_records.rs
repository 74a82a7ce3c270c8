//! DeleteRecords: moves the start of logs.
//!
//! Invariant: never beyond the last stable offset.

use kafka_protocol::error::ResponseError;
use kafka_protocol::messages::delete_records_response::{DeleteRecordsPartitionResult, DeleteRecordsTopicResult};
use kafka_protocol::messages::{DeleteRecordsRequest, DeleteRecordsResponse};

use crate::connection::Peer;

pub(super) fn handle(peer: &Peer, request: DeleteRecordsRequest) -> DeleteRecordsResponse {
    let topics = request.topics.into_iter().map(|topic| {
        let partitions = topic.partitions.iter().map(|wanted| {
            let result = peer.node.step(|state, _| {
                let found = state.topics.get_mut(&topic.name)?;
                if !found.config.deletes {
                    return Err(ResponseError::PolicyViolation);
                }
                found.delete_before(wanted.partition_index, wanted.offset)
            });
            let response = DeleteRecordsPartitionResult::default().with_partition_index(wanted.partition_index);
            match result {
                Ok(start) => response.with_low_watermark(start),
                Err(error) => response.with_low_watermark(-1).with_error_code(error.code()),
            }
        });
        let partitions = partitions.collect();
        DeleteRecordsTopicResult::default().with_name(topic.name.clone()).with_partitions(partitions)
    });
    DeleteRecordsResponse::default().with_topics(topics.collect())
}
