//! EndTxn: commits or aborts a producer's transaction.
//!
//! Invariant: when this answers, every marker is written and every offset settled.

use kafka_protocol::messages::{EndTxnRequest, EndTxnResponse};

use super::support::{code, fenced_for, producer};
use crate::connection::Peer;

pub(super) fn handle(peer: &Peer, request: EndTxnRequest, version: i16) -> EndTxnResponse {
    let owner = producer(request.producer_id.0, request.producer_epoch);
    let result = peer.node.step(|state, now| {
        let ended = state.transactions.end(&request.transactional_id, owner, request.committed, now.steady)?;
        if let Some(completion) = ended {
            state.finish(completion, now);
        }
        Ok(())
    });
    let result = result.map_err(|error| fenced_for(error, version, 2));
    EndTxnResponse::default().with_error_code(code(&result))
}
