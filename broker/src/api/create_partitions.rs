//! CreatePartitions: more partitions for topics.
//!
//! Invariant: a topic's partitions never become fewer.

use kafka_protocol::messages::create_partitions_response::CreatePartitionsTopicResult;
use kafka_protocol::messages::{CreatePartitionsRequest, CreatePartitionsResponse};

use super::support::explained;
use crate::connection::Peer;

pub(super) fn handle(peer: &Peer, request: CreatePartitionsRequest) -> CreatePartitionsResponse {
    let validate_only = request.validate_only;
    let results = request.topics.into_iter().map(|topic| {
        let result = peer.node.step(|state, _| state.topics.grow(&topic.name, topic.count, validate_only));
        let (code, message) = explained(&result);
        CreatePartitionsTopicResult::default().with_name(topic.name).with_error_code(code).with_error_message(message)
    });
    CreatePartitionsResponse::default().with_results(results.collect())
}
