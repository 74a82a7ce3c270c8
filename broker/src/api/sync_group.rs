//! SyncGroup: the leader brings the assignment, every member waits for its own.
//!
//! Invariant: the wait ends with the group's answer; the lock is not held meanwhile.

use anyhow::{Result, bail};
use kafka_protocol::error::ResponseError;
use kafka_protocol::messages::{SyncGroupRequest, SyncGroupResponse};

use super::support::text;
use crate::connection::Peer;
use crate::group::{Answer, SyncRequest, Synced};

pub(super) async fn handle(peer: &Peer, request: SyncGroupRequest, version: i16) -> Result<SyncGroupResponse> {
    let group = request.group_id.to_string();
    let sync = SyncRequest {
        member_id: request.member_id.to_string(),
        instance: request.group_instance_id.map(|instance| instance.to_string()),
        generation: request.generation_id,
        protocol_type: request.protocol_type.map(|kind| kind.to_string()),
        protocol: request.protocol_name.map(|name| name.to_string()),
        assignments: request.assignments.into_iter().map(|a| (a.member_id.to_string(), a.assignment)).collect(),
    };
    let waiting = peer.node.step(|state, now| {
        state.wait_in_group(&group, |group, ticket, answers| group.sync(sync, ticket, now.steady, answers))
    });
    let synced = match waiting {
        Err(error) => Synced::refused(error),
        Ok(receiver) => match receiver.await {
            Ok(Answer::Sync(synced)) => synced,
            _ => bail!("the group lost a member's sync"),
        },
    };
    Ok(describe(synced, version))
}

fn describe(synced: Synced, version: i16) -> SyncGroupResponse {
    let response = SyncGroupResponse::default()
        .with_error_code(synced.error.as_ref().map_or(0, ResponseError::code))
        .with_assignment(synced.assignment);
    if version < 5 {
        return response;
    }
    response.with_protocol_type(synced.protocol_type.map(text)).with_protocol_name(synced.protocol.map(text))
}
