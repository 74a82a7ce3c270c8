//! Heartbeat: a member's sign of life; the answer tells it when to join again.
//!
//! Invariant: a heartbeat never makes a group.

use kafka_protocol::error::ResponseError;
use kafka_protocol::messages::{HeartbeatRequest, HeartbeatResponse};

use super::support::code;
use crate::connection::Peer;

pub(super) fn handle(peer: &Peer, request: HeartbeatRequest) -> HeartbeatResponse {
    let result = peer.node.step(|state, now| {
        let group = state.groups.get_mut(request.group_id.as_str()).ok_or(ResponseError::UnknownMemberId)?;
        group.heartbeat(&request.member_id, request.group_instance_id.as_deref(), request.generation_id, now.steady)
    });
    HeartbeatResponse::default().with_error_code(code(&result))
}
