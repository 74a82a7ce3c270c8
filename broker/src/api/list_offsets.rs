//! ListOffsets: the first, the last, or the first offset at a time.
//!
//! By time the log finds the batch; the record inside it is searched outside of the lock, on a thread for blocking
//! work, because it may have to be decompressed; one at a time, so that many searches take no more memory than one.
//!
//! Invariant: no offset at or beyond what the isolation level shows is ever returned by time.

use std::sync::Arc;

use anyhow::Result;
use bytes::Bytes;
use kafka_protocol::error::ResponseError;
use kafka_protocol::messages::list_offsets_request::ListOffsetsPartition;
use kafka_protocol::messages::list_offsets_response::{ListOffsetsPartitionResponse, ListOffsetsTopicResponse};
use kafka_protocol::messages::{ListOffsetsRequest, ListOffsetsResponse};

use super::support::{LEADER_EPOCH, check_epoch};
use crate::clock::Millis;
use crate::connection::Peer;
use crate::log::search::{self, Found};
use crate::log::{Isolation, PartitionLog};

const LATEST: i64 = -1;
const EARLIEST: i64 = -2;
const MAX_TIMESTAMP: i64 = -3;

/// Where the answer is.
enum Place {
    Known(Option<Found>),
    /// In this batch, at this time or later, if it is below the end.
    Within {
        batch: Bytes,
        at: Millis,
        end: i64,
    },
}

pub(super) async fn handle(peer: &Peer, request: ListOffsetsRequest, version: i16) -> Result<ListOffsetsResponse> {
    let isolation = Isolation::from(request.isolation_level);
    let mut topics = Vec::with_capacity(request.topics.len());
    for topic in request.topics {
        let mut partitions = Vec::with_capacity(topic.partitions.len());
        for wanted in &topic.partitions {
            let place = peer.node.step(|state, _| {
                let partition = state.topics.partition(&topic.name, wanted.partition_index)?;
                check_epoch(wanted.current_leader_epoch)?;
                Ok(locate(&partition.log, wanted, isolation))
            });
            let found = match place {
                Ok(Place::Known(found)) => Ok(found),
                Ok(Place::Within { batch, at, end }) => {
                    let turn = Arc::clone(&peer.node.searches).acquire_owned().await?;
                    let search = move || {
                        // Ends with the search, even when nobody waits for it any more.
                        let _turn = turn;
                        search::first_at_or_after(&batch, at).filter(|found| found.offset < end)
                    };
                    Ok(tokio::task::spawn_blocking(search).await?)
                }
                Err(error) => Err(error),
            };
            partitions.push(describe(wanted.partition_index, found, version));
        }
        topics.push(ListOffsetsTopicResponse::default().with_name(topic.name).with_partitions(partitions));
    }
    Ok(ListOffsetsResponse::default().with_topics(topics))
}

fn locate(log: &PartitionLog, wanted: &ListOffsetsPartition, isolation: Isolation) -> Place {
    let end = log.visible_end(isolation);
    let edge = |offset| Place::Known(Some(Found { timestamp: -1, offset }));
    let within = |batch: Option<(Millis, Bytes)>| match batch {
        Some((at, batch)) => Place::Within { batch, at, end },
        None => Place::Known(None),
    };
    match wanted.timestamp {
        LATEST => edge(end),
        EARLIEST => edge(log.start()),
        MAX_TIMESTAMP => within(log.latest_batch()),
        at => within(log.batch_at_or_after(at).map(|batch| (at, batch))),
    }
}

fn describe(index: i32, found: Result<Option<Found>, ResponseError>, version: i16) -> ListOffsetsPartitionResponse {
    let response =
        ListOffsetsPartitionResponse::default().with_partition_index(index).with_timestamp(-1).with_offset(-1);
    match found {
        Err(error) => response.with_error_code(error.code()),
        Ok(None) => response,
        Ok(Some(found)) => {
            let response = response.with_timestamp(found.timestamp).with_offset(found.offset);
            if version >= 4 { response.with_leader_epoch(LEADER_EPOCH) } else { response }
        }
    }
}
