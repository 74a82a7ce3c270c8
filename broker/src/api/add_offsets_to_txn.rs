//! AddOffsetsToTxn: a producer announces the group whose offsets its transaction will commit.
//!
//! Invariant: offsets are accepted in a transaction only for a group announced here.

use kafka_protocol::error::ResponseError;
use kafka_protocol::messages::{AddOffsetsToTxnRequest, AddOffsetsToTxnResponse};

use super::support::{code, fenced_for, producer};
use crate::connection::Peer;

pub(super) fn handle(peer: &Peer, request: AddOffsetsToTxnRequest, version: i16) -> AddOffsetsToTxnResponse {
    let owner = producer(request.producer_id.0, request.producer_epoch);
    let result = if request.group_id.is_empty() {
        Err(ResponseError::InvalidGroupId)
    } else {
        peer.node.step(|state, now| {
            let added = state.transactions.add_group(&request.transactional_id, owner, &request.group_id, now.steady);
            added.map(|deadline| state.arm(deadline))
        })
    };
    let result = result.map_err(|error| fenced_for(error, version, 2));
    AddOffsetsToTxnResponse::default().with_error_code(code(&result))
}
