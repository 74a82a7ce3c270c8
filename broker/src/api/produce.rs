//! Produce: record batches into logs.
//!
//! Batches are checked and copied out of the request before the lock is taken, then appended in one step.
//!
//! Invariants: each partition is answered on its own; a batch that is acknowledged is in the log, and a transactional
//! one is in an open transaction of its producer's current epoch.

use anyhow::{Result, bail};
use kafka_protocol::error::ResponseError;
use kafka_protocol::messages::produce_request::PartitionProduceData;
use kafka_protocol::messages::produce_response::{PartitionProduceResponse, TopicProduceResponse};
use kafka_protocol::messages::{ProduceRequest, ProduceResponse};

use super::support::producer;
use crate::clock::Millis;
use crate::connection::Peer;
use crate::log::Batch;
use crate::node::State;
use crate::topic::TopicPartition;

/// Appends; `None` when the client wants no acknowledgement.
///
/// # Errors
/// A failure that the client does not want to hear of: only the end of the connection can tell it.
pub(super) async fn handle(peer: &Peer, request: ProduceRequest) -> Result<Option<ProduceResponse>> {
    let acks = request.acks;
    let mut failed = None;
    let mut responses = Vec::with_capacity(request.topic_data.len());
    for topic in request.topic_data {
        let mut partitions = Vec::with_capacity(topic.partition_data.len());
        for data in topic.partition_data {
            let index = data.index;
            let result = if (-1..=1).contains(&acks) {
                append(peer, &topic.name, data)
            } else {
                Err(ResponseError::InvalidRequiredAcks)
            };
            let response = PartitionProduceResponse::default().with_index(index).with_log_append_time_ms(-1);
            partitions.push(match result {
                Ok((base_offset, start)) => response.with_base_offset(base_offset).with_log_start_offset(start),
                Err(error) => {
                    failed = Some(error);
                    response.with_error_code(error.code()).with_base_offset(-1).with_log_start_offset(-1)
                }
            });
        }
        responses.push(TopicProduceResponse::default().with_name(topic.name).with_partition_responses(partitions));
        // A large request shares the thread with other connections.
        tokio::task::yield_now().await;
    }
    match (acks, failed) {
        (0, Some(error)) => bail!("a batch sent without acknowledgement was refused: {error}"),
        (0, None) => Ok(None),
        _ => Ok(Some(ProduceResponse::default().with_responses(responses))),
    }
}

fn append(peer: &Peer, topic: &str, data: PartitionProduceData) -> Result<(i64, i64), ResponseError> {
    let partition = TopicPartition::new(topic, data.index);
    let bounds = peer.node.step(|state, _| -> Result<_, ResponseError> {
        let topic = state.topics.get(&partition.topic)?;
        topic.partition(partition.partition)?;
        Ok(topic.config.bounds)
    })?;
    let records = data.records.unwrap_or_default();
    let batch = Batch::check(&records, &bounds, peer.node.clock.now().wall)?;
    let retention_bytes = peer.node.config.retention_bytes;
    peer.node.step(|state, now| append_checked(state, &partition, batch, retention_bytes, now.wall))
}

fn append_checked(
    state: &mut State,
    partition: &TopicPartition,
    batch: Batch,
    retention_bytes: u64,
    now: Millis,
) -> Result<(i64, i64), ResponseError> {
    let header = batch.header;
    if header.is_transactional() {
        let producer = producer(header.producer_id, header.producer_epoch);
        state.transactions.check_batch(producer, partition)?;
    }
    state.topics.get_mut(&partition.topic)?.append(partition.partition, batch, retention_bytes, now)
}
