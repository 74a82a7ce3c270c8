//! AddPartitionsToTxn: a producer announces the partitions that its transaction will write.
//!
//! Invariant: all partitions are added or none.

use kafka_protocol::error::ResponseError;
use kafka_protocol::messages::add_partitions_to_txn_response::{
    AddPartitionsToTxnPartitionResult, AddPartitionsToTxnTopicResult,
};
use kafka_protocol::messages::{AddPartitionsToTxnRequest, AddPartitionsToTxnResponse};

use super::support::{fenced_for, producer};
use crate::connection::Peer;
use crate::topic::TopicPartition;

pub(super) fn handle(peer: &Peer, request: AddPartitionsToTxnRequest, version: i16) -> AddPartitionsToTxnResponse {
    let topics = request.v3_and_below_topics;
    let named = topics.iter().flat_map(|t| t.partitions.iter().map(|p| TopicPartition::new(&t.name, *p)));
    let all: Vec<TopicPartition> = named.collect();
    let owner = producer(request.v3_and_below_producer_id.0, request.v3_and_below_producer_epoch);
    let (result, known) = peer.node.step(|state, now| {
        let exists = |p: &TopicPartition| state.topics.partition(&p.topic, p.partition).is_ok();
        let known: Vec<bool> = all.iter().map(exists).collect();
        if known.contains(&false) {
            return (Err(ResponseError::OperationNotAttempted), known);
        }
        let id = request.v3_and_below_transactional_id.as_str();
        let added = state.transactions.add_partitions(id, owner, all.iter().cloned(), now.steady);
        (added.map(|deadline| state.arm(deadline)), known)
    });
    let mut known = known.into_iter();
    let results = topics.into_iter().map(|topic| {
        let partitions = topic.partitions.iter().map(|index| {
            let error = match known.next() {
                Some(false) => Some(ResponseError::UnknownTopicOrPartition),
                _ => result.err().map(|error| fenced_for(error, version, 2)),
            };
            AddPartitionsToTxnPartitionResult::default()
                .with_partition_index(*index)
                .with_partition_error_code(error.map_or(0, |error| error.code()))
        });
        let partitions = partitions.collect();
        AddPartitionsToTxnTopicResult::default().with_name(topic.name).with_results_by_partition(partitions)
    });
    AddPartitionsToTxnResponse::default().with_results_by_topic_v3_and_below(results.collect())
}
