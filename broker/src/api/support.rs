//! Small pieces that many APIs share: the broker's own identity, error codes, strings.
//!
//! Invariant: a client is given the address by which it reached the broker.

use std::collections::HashSet;
use std::hash::Hash;

use kafka_protocol::error::ResponseError;
use kafka_protocol::messages::BrokerId;
use kafka_protocol::protocol::StrBytes;

use crate::connection::Peer;
use crate::txn::ProducerEpoch;

/// The only broker's id.
pub(super) const BROKER: BrokerId = BrokerId(1);
/// The epoch of every leader: there is no other one to take over.
pub(super) const LEADER_EPOCH: i32 = 0;

pub(super) fn host(peer: &Peer) -> StrBytes {
    text(peer.local.ip().to_canonical().to_string())
}

pub(super) fn port(peer: &Peer) -> i32 {
    i32::from(peer.local.port())
}

pub(super) fn text(string: impl Into<String>) -> StrBytes {
    StrBytes::from_string(string.into())
}

/// 0 for success.
pub(super) fn code<T>(result: &Result<T, ResponseError>) -> i16 {
    result.as_ref().err().map_or(0, ResponseError::code)
}

/// Code and text of a result whose error explains itself.
pub(super) fn explained<T>(result: &Result<T, (ResponseError, String)>) -> (i16, Option<StrBytes>) {
    match result {
        Ok(_) => (0, None),
        Err((error, explanation)) => (error.code(), Some(text(explanation.as_str()))),
    }
}

/// Checks the leader's epoch as the client knows it; -1 is unknown.
///
/// # Errors
/// An epoch that is not the current one.
pub(super) fn check_epoch(epoch: i32) -> Result<(), ResponseError> {
    match epoch {
        -1 | LEADER_EPOCH => Ok(()),
        older if older < LEADER_EPOCH => Err(ResponseError::FencedLeaderEpoch),
        _ => Err(ResponseError::UnknownLeaderEpoch),
    }
}

/// Old clients know no `PRODUCER_FENCED`.
pub(super) fn fenced_for(error: ResponseError, version: i16, knows_from: i16) -> ResponseError {
    match error {
        ResponseError::ProducerFenced if version < knows_from => ResponseError::InvalidProducerEpoch,
        other => other,
    }
}

/// The items whose key did not come before: an answer can be so much larger than the name that asks for it that who
/// names it again gets it once.
pub(super) fn distinct<T, K: Eq + Hash>(items: Vec<T>, key: impl Fn(&T) -> K) -> impl Iterator<Item = T> {
    let mut seen = HashSet::new();
    items.into_iter().filter(move |item| seen.insert(key(item)))
}

pub(super) fn producer(producer_id: i64, epoch: i16) -> ProducerEpoch {
    ProducerEpoch { producer_id, epoch }
}
