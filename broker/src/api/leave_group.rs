//! LeaveGroup: members go, one (old versions) or several.
//!
//! Invariant: each member is answered on its own.

use kafka_protocol::error::ResponseError;
use kafka_protocol::messages::leave_group_request::MemberIdentity;
use kafka_protocol::messages::leave_group_response::MemberResponse;
use kafka_protocol::messages::{LeaveGroupRequest, LeaveGroupResponse};

use super::support::code;
use crate::connection::Peer;

/// From this version on a request names several members.
const SEVERAL: i16 = 3;

pub(super) fn handle(peer: &Peer, request: LeaveGroupRequest, version: i16) -> LeaveGroupResponse {
    let leave = |member: &MemberIdentity| {
        peer.node.step(|state, now| {
            if !state.groups.contains_key(request.group_id.as_str()) {
                return Err(ResponseError::UnknownMemberId);
            }
            let instance = member.group_instance_id.as_deref();
            state.with_group(&request.group_id, |group, answers| {
                group.leave(&member.member_id, instance, now.steady, answers)
            })?
        })
    };
    if version < SEVERAL {
        let member = MemberIdentity::default().with_member_id(request.member_id.clone());
        return LeaveGroupResponse::default().with_error_code(code(&leave(&member)));
    }
    let answered = request.members.iter().map(|member| {
        MemberResponse::default()
            .with_member_id(member.member_id.clone())
            .with_group_instance_id(member.group_instance_id.clone())
            .with_error_code(code(&leave(member)))
    });
    LeaveGroupResponse::default().with_members(answered.collect())
}
