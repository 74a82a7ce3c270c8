//! FindCoordinator: this broker, for every group and every transactional id.
//!
//! Invariant: one answer for each key asked for.

use kafka_protocol::error::ResponseError;
use kafka_protocol::messages::find_coordinator_response::Coordinator;
use kafka_protocol::messages::{FindCoordinatorRequest, FindCoordinatorResponse};

use super::support::{BROKER, host, port};
use crate::connection::Peer;

pub(super) fn handle(peer: &Peer, request: FindCoordinatorRequest, version: i16) -> FindCoordinatorResponse {
    // 0 asks for a group's, 1 for a transactional id's.
    let known = matches!(request.key_type, 0 | 1);
    let error = if known { 0 } else { ResponseError::InvalidRequest.code() };
    if version < 4 {
        return FindCoordinatorResponse::default()
            .with_error_code(error)
            .with_node_id(BROKER)
            .with_host(host(peer))
            .with_port(port(peer));
    }
    let coordinators = request.coordinator_keys.into_iter().map(|key| {
        Coordinator::default()
            .with_key(key)
            .with_node_id(BROKER)
            .with_host(host(peer))
            .with_port(port(peer))
            .with_error_code(error)
    });
    FindCoordinatorResponse::default().with_coordinators(coordinators.collect())
}
