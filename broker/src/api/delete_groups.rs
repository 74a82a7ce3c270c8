//! DeleteGroups: forgets groups and their offsets.
//!
//! Invariant: a group with members is never deleted.

use kafka_protocol::error::ResponseError;
use kafka_protocol::messages::delete_groups_response::DeletableGroupResult;
use kafka_protocol::messages::{DeleteGroupsRequest, DeleteGroupsResponse};

use super::support::code;
use crate::connection::Peer;
use crate::group::Phase;

pub(super) fn handle(peer: &Peer, request: DeleteGroupsRequest) -> DeleteGroupsResponse {
    let results = request.groups_names.into_iter().map(|id| {
        let result = peer.node.step(|state, _| match state.groups.get(id.as_str()) {
            None => Err(ResponseError::GroupIdNotFound),
            Some(group) if group.phase != Phase::Empty => Err(ResponseError::NonEmptyGroup),
            Some(_) => {
                state.groups.remove(id.as_str());
                Ok(())
            }
        });
        DeletableGroupResult::default().with_group_id(id).with_error_code(code(&result))
    });
    DeleteGroupsResponse::default().with_results(results.collect())
}
