//! Fetch: batches out of logs, waiting for them when there are none yet.
//!
//! The response is put together from slices of the log; only its frame is encoded. A reader that has to wait leaves
//! its handle with its partitions in the same step in which it found them empty, so that no append is missed.
//!
//! Invariants: a fetch answers as soon as it has `min_bytes` or an error, at the latest after `max_wait_ms`; it never
//! polls; with read_committed it returns nothing at or beyond the last stable offset.

use std::sync::Arc;

use anyhow::Result;
use bytes::{BufMut, BytesMut};
use kafka_protocol::error::ResponseError;
use kafka_protocol::messages::FetchRequest;
use kafka_protocol::messages::fetch_request::FetchPartition;
use kafka_protocol::messages::fetch_response::{AbortedTransaction, PartitionData};
use kafka_protocol::protocol::Encodable;
use tokio::sync::Notify;

use super::support::check_epoch;
use crate::connection::Peer;
use crate::log::partition::Slice;
use crate::log::{Isolation, PartitionLog};
use crate::node::State;
use crate::wire::frame::Frame;

/// The longest wait a client may ask for.
const MAX_WAIT_MS: i32 = 300_000;
/// The most bytes of one response, whatever the client allows.
const MAX_BYTES: usize = 100 << 20;
/// From this version on lengths are compact and structures end with tagged fields.
const FLEXIBLE: i16 = 12;

/// What one partition has to say.
struct Part {
    data: PartitionData,
    slice: Slice,
}

/// Everything one look at the logs found: topics in the request's order, with their partitions.
struct Look {
    topics: Vec<Vec<Part>>,
    bytes: usize,
    failed: bool,
}

pub(super) async fn handle(peer: &Peer, request: FetchRequest, version: i16, frame: &mut Frame) -> Result<()> {
    if request.session_epoch > 0 {
        // Sessions are never opened here, so that none can be continued.
        let mut bytes = opening(ResponseError::FetchSessionIdNotFound.code(), 0, version);
        if version >= FLEXIBLE {
            bytes.put_u8(0);
        }
        frame.push(bytes.freeze());
        return Ok(());
    }
    let deadline = peer.node.clock.now().steady + i64::from(request.max_wait_ms.clamp(0, MAX_WAIT_MS));
    let deadline = peer.node.clock.instant(deadline);
    let enough = size(request.min_bytes).min(size(request.max_bytes));
    let reader = Arc::new(Notify::new());
    let mut in_time = request.max_wait_ms > 0;
    let look = loop {
        let look = peer.node.step(|state, _| {
            let look = look(state, &request);
            if !look.failed && look.bytes < enough && in_time {
                wait(state, &request, &reader);
            }
            look
        });
        if look.failed || look.bytes >= enough || !in_time {
            break look;
        }
        in_time = tokio::time::timeout_at(deadline, reader.notified()).await.is_ok();
    };
    encode(&request, look, version, frame)
}

fn size(bytes: i32) -> usize {
    usize::try_from(bytes).unwrap_or(0).min(MAX_BYTES)
}

fn look(state: &State, request: &FetchRequest) -> Look {
    let isolation = Isolation::from(request.isolation_level);
    let mut found = Look { topics: Vec::with_capacity(request.topics.len()), bytes: 0, failed: false };
    for topic in &request.topics {
        let mut parts = Vec::with_capacity(topic.partitions.len());
        for wanted in &topic.partitions {
            let log = state.topics.partition(&topic.topic, wanted.partition).map(|partition| &partition.log);
            let room = size(request.max_bytes).saturating_sub(found.bytes);
            let part = read(log, wanted, isolation, room, found.bytes == 0);
            found.bytes += part.slice.bytes;
            found.failed |= part.data.error_code != 0;
            parts.push(part);
        }
        found.topics.push(parts);
    }
    found
}

fn read(
    log: Result<&PartitionLog, ResponseError>,
    wanted: &FetchPartition,
    isolation: Isolation,
    room: usize,
    at_least_one: bool,
) -> Part {
    let data = PartitionData::default()
        .with_partition_index(wanted.partition)
        .with_high_watermark(-1)
        .with_last_stable_offset(-1)
        .with_log_start_offset(-1);
    let failed = |data: PartitionData, error: ResponseError| Part {
        data: data.with_error_code(error.code()),
        slice: Slice::default(),
    };
    let log = match log.and_then(|log| check_epoch(wanted.current_leader_epoch).map(|()| log)) {
        Ok(log) => log,
        Err(error) => return failed(data, error),
    };
    let data = data
        .with_high_watermark(log.end())
        .with_last_stable_offset(log.last_stable())
        .with_log_start_offset(log.start());
    match log.read(wanted.fetch_offset, size(wanted.partition_max_bytes).min(room), isolation, at_least_one) {
        Err(error) => failed(data, error),
        Ok(slice) => {
            let aborted = slice.aborted.iter().map(|a| {
                AbortedTransaction::default().with_producer_id(a.producer_id.into()).with_first_offset(a.first_offset)
            });
            let aborted = (isolation == Isolation::ReadCommitted).then(|| aborted.collect());
            Part { data: data.with_aborted_transactions(aborted), slice }
        }
    }
}

fn wait(state: &mut State, request: &FetchRequest, reader: &Arc<Notify>) {
    for topic in &request.topics {
        for wanted in &topic.partitions {
            if let Ok(partition) = state.topics.partition_mut(&topic.topic, wanted.partition) {
                partition.waiters.add(reader);
            }
        }
    }
}

/// The response up to the first topic.
fn opening(error: i16, topics: usize, version: i16) -> BytesMut {
    let mut bytes = BytesMut::new();
    bytes.put_i32(0);
    if version >= 7 {
        bytes.put_i16(error);
        bytes.put_i32(0);
    }
    put_count(&mut bytes, topics, version);
    bytes
}

fn encode(request: &FetchRequest, look: Look, version: i16, frame: &mut Frame) -> Result<()> {
    let mut bytes = opening(0, look.topics.len(), version);
    for (topic, parts) in request.topics.iter().zip(look.topics) {
        let name = topic.topic.as_bytes();
        if version >= FLEXIBLE {
            put_unsigned_varint(&mut bytes, name.len() + 1);
        } else {
            bytes.put_u16(u16::try_from(name.len())?);
        }
        bytes.put_slice(name);
        put_count(&mut bytes, parts.len(), version);
        for part in parts {
            part.data.encode(&mut bytes, version)?;
            // The encoder ended with null records (and no tagged fields): the slices take their place.
            let tail = if version >= FLEXIBLE { 2 } else { 4 };
            bytes.truncate(bytes.len() - tail);
            if version >= FLEXIBLE {
                put_unsigned_varint(&mut bytes, part.slice.bytes + 1);
            } else {
                bytes.put_i32(i32::try_from(part.slice.bytes)?);
            }
            frame.push(bytes.split().freeze());
            part.slice.batches.into_iter().for_each(|batch| frame.push(batch));
            if version >= FLEXIBLE {
                bytes.put_u8(0);
            }
        }
        if version >= FLEXIBLE {
            bytes.put_u8(0);
        }
    }
    if version >= FLEXIBLE {
        bytes.put_u8(0);
    }
    frame.push(bytes.freeze());
    Ok(())
}

fn put_count(bytes: &mut BytesMut, count: usize, version: i16) {
    if version >= FLEXIBLE {
        put_unsigned_varint(bytes, count + 1);
    } else {
        bytes.put_i32(i32::try_from(count).unwrap_or(i32::MAX));
    }
}

fn put_unsigned_varint(bytes: &mut BytesMut, mut value: usize) {
    while value >= 0x80 {
        bytes.put_u8((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    bytes.put_u8(value as u8);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::marker::Marker;
    use crate::log::marker::tests::data_batch;
    use bytes::Buf;
    use kafka_protocol::messages::fetch_request::FetchTopic;
    use kafka_protocol::messages::{FetchResponse, TopicName};
    use kafka_protocol::protocol::{Decodable, StrBytes};

    /// The hand-made frame reads as the typed response in every version.
    #[test]
    fn the_frame_is_the_protocols() {
        let mut log = PartitionLog::default();
        for sequence in 0..3 {
            log.append(data_batch(7, 0, sequence, 1, true), 0, 0).unwrap();
        }
        log.append_marker(Marker { producer_id: 7, epoch: 0, commit: false }, 0, 0).unwrap();
        let name = TopicName(StrBytes::from_static_str("topic"));
        let request = FetchRequest::default().with_topics(vec![FetchTopic::default().with_topic(name.clone())]);
        for version in 4..=12 {
            let wanted = |offset| FetchPartition::default().with_fetch_offset(offset).with_partition_max_bytes(1 << 20);
            let part = |offset| read(Ok(&log), &wanted(offset), Isolation::ReadCommitted, 1 << 20, true);
            let parts = vec![part(0), part(3), part(4), part(9)];
            let mut frame = Frame::default();
            encode(&request, Look { topics: vec![parts], bytes: 0, failed: false }, version, &mut frame).unwrap();
            let mut bytes = frame.copy_to_bytes(frame.remaining());
            let response = FetchResponse::decode(&mut bytes, version).unwrap();
            assert!(!bytes.has_remaining(), "version {version}");
            let topic = &response.responses[0];
            assert_eq!(topic.topic, name);
            let sizes: Vec<_> = topic.partitions.iter().map(|p| p.records.as_ref().map_or(0, |r| r.len())).collect();
            let (all, marker) = (sizes[0], sizes[1]);
            assert_eq!(sizes, [all, marker, 0, 0]);
            assert!(marker > 0 && all > 3 * marker / 2);
            let aborted = |i: usize| topic.partitions[i].aborted_transactions.as_ref().map_or(0, Vec::len);
            assert_eq!([aborted(0), aborted(1), aborted(2)], [1, 1, 0]);
            assert_eq!(topic.partitions[3].error_code, ResponseError::OffsetOutOfRange.code());
            let mut opened = opening(0, 0, version);
            if version >= FLEXIBLE {
                opened.put_u8(0);
            }
            assert!(FetchResponse::decode(&mut opened.freeze(), version).unwrap().responses.is_empty());
        }
    }
}
