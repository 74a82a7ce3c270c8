//! ListGroups: all groups, or those in some states or of some types.
//!
//! Invariant: an empty filter lets everything through.

use kafka_protocol::messages::list_groups_response::ListedGroup;
use kafka_protocol::messages::{GroupId, ListGroupsRequest, ListGroupsResponse};
use kafka_protocol::protocol::StrBytes;

use super::support::text;
use crate::connection::Peer;

/// The only kind of group here.
const TYPE: &str = "classic";

pub(super) fn handle(peer: &Peer, request: ListGroupsRequest, version: i16) -> ListGroupsResponse {
    let passes =
        |filter: &[StrBytes], value: &str| filter.is_empty() || filter.iter().any(|f| f.eq_ignore_ascii_case(value));
    let groups = peer.node.step(|state, _| {
        let wanted = state.groups.iter().filter(|(_, group)| {
            passes(&request.states_filter, group.phase.name()) && passes(&request.types_filter, TYPE)
        });
        let listed = wanted.map(|(name, group)| {
            let mut listed = ListedGroup::default()
                .with_group_id(GroupId(text(name.as_str())))
                .with_protocol_type(text(group.protocol_type.clone().unwrap_or_default()));
            if version >= 4 {
                listed = listed.with_group_state(text(group.phase.name()));
            }
            if version >= 5 {
                listed = listed.with_group_type(text(TYPE));
            }
            listed
        });
        listed.collect()
    });
    ListGroupsResponse::default().with_groups(groups)
}
