//! InitProducerId: a producer gets its id and epoch; a transactional one takes over from the one before it.
//!
//! Invariant: when this answers, the transaction that the predecessor left open is aborted in every partition.

use kafka_protocol::messages::{InitProducerIdRequest, InitProducerIdResponse};

use super::support::{code, producer};
use crate::connection::Peer;

pub(super) fn handle(peer: &Peer, request: InitProducerIdRequest) -> InitProducerIdResponse {
    let held = producer(request.producer_id.0, request.producer_epoch);
    // -1 says that the producer holds none yet. Before version 3 the decoder leaves these values as well.
    let expected = (held.producer_id >= 0 && held.epoch >= 0).then_some(held);
    let result = peer.node.step(|state, now| {
        let id = request.transactional_id.as_ref().map(|id| id.as_str());
        let (current, completion) =
            state.transactions.init(id, request.transaction_timeout_ms, expected, now.steady)?;
        if let Some(completion) = completion {
            state.finish(completion, now);
        }
        Ok(current)
    });
    let response = InitProducerIdResponse::default().with_error_code(code(&result));
    match result {
        Ok(current) => response.with_producer_id(current.producer_id.into()).with_producer_epoch(current.epoch),
        Err(_) => response.with_producer_id((-1).into()).with_producer_epoch(-1),
    }
}
