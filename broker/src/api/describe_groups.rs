//! DescribeGroups: a group's state and members.
//!
//! Invariants: a group that does not exist is described as dead, as Kafka does up to version 5; a group named twice is
//! described once.

use kafka_protocol::messages::describe_groups_response::{DescribedGroup, DescribedGroupMember};
use kafka_protocol::messages::{DescribeGroupsRequest, DescribeGroupsResponse, GroupId};

use super::support::{distinct, text};
use crate::connection::Peer;
use crate::group::Group;

pub(super) fn handle(peer: &Peer, request: DescribeGroupsRequest) -> DescribeGroupsResponse {
    let groups = peer.node.step(|state, _| {
        let describe_one = |id: GroupId| {
            let described = state.groups.get(id.as_str()).map(describe);
            let dead = || DescribedGroup::default().with_group_state(text("Dead"));
            described.unwrap_or_else(dead).with_group_id(id)
        };
        distinct(request.groups, GroupId::clone).map(describe_one).collect()
    });
    DescribeGroupsResponse::default().with_groups(groups)
}

fn describe(group: &Group) -> DescribedGroup {
    let members = group.members.iter().map(|(id, member)| {
        DescribedGroupMember::default()
            .with_member_id(text(id.as_str()))
            .with_group_instance_id(member.instance.clone().map(text))
            .with_client_id(text(member.client_id.as_str()))
            .with_client_host(text(member.client_host.as_str()))
            .with_member_metadata(group.metadata(member))
            .with_member_assignment(member.assignment.clone())
    });
    DescribedGroup::default()
        .with_group_state(text(group.phase.name()))
        .with_protocol_type(text(group.protocol_type.clone().unwrap_or_default()))
        .with_protocol_data(text(group.protocol.clone().unwrap_or_default()))
        .with_members(members.collect())
}
