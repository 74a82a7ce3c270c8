//! JoinGroup: a member joins, and waits until the others have.
//!
//! Invariant: the wait ends with the group's answer; the lock is not held meanwhile.

use anyhow::{Result, bail};
use kafka_protocol::error::ResponseError;
use kafka_protocol::messages::join_group_response::JoinGroupResponseMember;
use kafka_protocol::messages::{JoinGroupRequest, JoinGroupResponse};

use super::support::text;
use crate::connection::Peer;
use crate::group::{Answer, JoinRequest, Joined};
use crate::wire::header::Call;
use bytes::Bytes;

/// The longest session a member may ask for: 30 minutes.
const MAX_SESSION_MS: i32 = 1_800_000;
/// From this version on a member gets its id first and joins with it (KIP-394).
const TWO_STEPS: i16 = 4;
const SKIP_ASSIGNMENT: i16 = 9;

pub(super) async fn handle(peer: &Peer, call: &Call, request: JoinGroupRequest) -> Result<JoinGroupResponse> {
    let version = call.version;
    let member_id = request.member_id.to_string();
    if request.group_id.is_empty() {
        return Ok(describe(Joined::refused(ResponseError::InvalidGroupId, &member_id), version));
    }
    let least = i32::try_from(peer.node.config.min_session_timeout.as_millis()).unwrap_or(i32::MAX);
    if !(least..=MAX_SESSION_MS.max(least)).contains(&request.session_timeout_ms) {
        return Ok(describe(Joined::refused(ResponseError::InvalidSessionTimeout, &member_id), version));
    }
    let group = request.group_id.to_string();
    let waiting = peer.node.step(|state, now| {
        let prefix = request.group_instance_id.as_ref().map_or(call.client_id.as_str(), |instance| instance);
        let fresh_id = format!("{prefix}-{}", state.random_id().hyphenated());
        let join = request_of(peer, call, request, fresh_id);
        state.wait_in_group(&group, |group, ticket, answers| group.join(join, ticket, now.steady, answers))
    });
    let joined = match waiting {
        Err(error) => Joined::refused(error, &member_id),
        Ok(receiver) => match receiver.await {
            Ok(Answer::Join(joined)) => joined,
            _ => bail!("the group lost a member's join"),
        },
    };
    Ok(describe(joined, version))
}

fn request_of(peer: &Peer, call: &Call, request: JoinGroupRequest, fresh_id: String) -> JoinRequest {
    let rebalance_ms = if call.version >= 1 { request.rebalance_timeout_ms.max(0) } else { request.session_timeout_ms };
    JoinRequest {
        member_id: request.member_id.to_string(),
        fresh_id,
        two_steps: call.version >= TWO_STEPS,
        can_skip: call.version >= SKIP_ASSIGNMENT,
        instance: request.group_instance_id.map(|instance| instance.to_string()),
        client_id: call.client_id.clone(),
        client_host: format!("/{}", peer.peer.ip().to_canonical()),
        session_ms: request.session_timeout_ms,
        rebalance_ms,
        protocol_type: request.protocol_type.to_string(),
        protocols: request
            .protocols
            .into_iter()
            // Slices of the request would keep all of it alive.
            .map(|p| (p.name.to_string(), Bytes::copy_from_slice(&p.metadata)))
            .collect(),
    }
}

fn describe(joined: Joined, version: i16) -> JoinGroupResponse {
    let members = joined.members.into_iter().map(|(id, instance, metadata)| {
        let member = JoinGroupResponseMember::default().with_member_id(text(id)).with_metadata(metadata);
        if version >= 5 { member.with_group_instance_id(instance.map(text)) } else { member }
    });
    let protocol = joined.protocol.map(text);
    let response = JoinGroupResponse::default()
        .with_error_code(joined.error.map_or(0, |error| error.code()))
        .with_generation_id(joined.generation)
        // Null only since version 7.
        .with_protocol_name(if version >= 7 { protocol } else { Some(protocol.unwrap_or_default()) })
        .with_leader(text(joined.leader))
        .with_member_id(text(joined.member_id))
        .with_members(members.collect());
    let response = if version >= 7 { response.with_protocol_type(joined.protocol_type.map(text)) } else { response };
    if version >= SKIP_ASSIGNMENT { response.with_skip_assignment(joined.skip_assignment) } else { response }
}
