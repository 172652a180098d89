//! DescribeGroups, ListGroups and DeleteGroups.

use std::sync::Arc;

use kafka_protocol::ResponseError;
use kafka_protocol::messages::delete_groups_response::{DeletableGroupResult, DeleteGroupsResponse};
use kafka_protocol::messages::describe_groups_response::{
    DescribeGroupsResponse, DescribedGroup, DescribedGroupMember,
};
use kafka_protocol::messages::list_groups_response::{ListGroupsResponse, ListedGroup};
use kafka_protocol::messages::{DeleteGroupsRequest, DescribeGroupsRequest, GroupId, ListGroupsRequest};

use super::{code, durable_if, text};
use crate::core::Core;
use crate::groups::Group;
use crate::groups::membership::Phase;
use crate::log::journal::Frame;
use crate::log::op::Op;

pub(crate) fn describe(core: &Core, request: DescribeGroupsRequest, version: i16) -> DescribeGroupsResponse {
    let groups = request.groups.into_iter().map(|id| match core.groups.get(id.as_str()) {
        Some(group) => describe_one(id, &group),
        None if version >= 6 => DescribedGroup::default()
            .with_error_message(Some(text("there is no such group")))
            .with_group_id(id)
            .with_error_code(ResponseError::GroupIdNotFound.code())
            .with_group_state(text("Dead")),
        None => DescribedGroup::default().with_error_message(None).with_group_id(id).with_group_state(text("Dead")),
    });
    DescribeGroupsResponse::default().with_groups(groups.collect())
}

fn describe_one(id: GroupId, group: &Group) -> DescribedGroup {
    let state = group.lock();
    let membership = &state.membership;
    let stable = membership.phase == Phase::Stable;
    let members = membership.members.iter().map(|(id, member)| {
        let described = DescribedGroupMember::default()
            .with_member_id(text(id))
            .with_group_instance_id(member.instance_id.as_deref().map(text))
            .with_client_id(text(&member.client_id))
            .with_client_host(text(&member.client_host));
        if !stable {
            return described;
        }
        described
            .with_member_metadata(member.metadata(&membership.protocol))
            .with_member_assignment(member.assignment.clone())
    });
    DescribedGroup::default()
        .with_error_message(None)
        .with_group_id(id)
        .with_group_state(text(membership.phase.name()))
        .with_protocol_type(text(&membership.protocol_type))
        .with_protocol_data(text(if stable { &membership.protocol } else { "" }))
        .with_members(members.collect())
}

pub(crate) fn list(core: &Core, request: &ListGroupsRequest, version: i16) -> ListGroupsResponse {
    let wanted = |filter: &[kafka_protocol::protocol::StrBytes], value: &str| {
        filter.is_empty() || filter.iter().any(|name| name.eq_ignore_ascii_case(value))
    };
    let mut groups = Vec::new();
    for group in core.groups.all() {
        let state = group.lock();
        let phase = state.membership.phase.name();
        if !wanted(&request.states_filter, phase) || !wanted(&request.types_filter, "classic") {
            continue;
        }
        let listed = ListedGroup::default()
            .with_group_id(GroupId(text(&group.id)))
            .with_protocol_type(text(&state.membership.protocol_type));
        let listed = if version >= 4 { listed.with_group_state(text(phase)) } else { listed };
        groups.push(if version >= 5 { listed.with_group_type(text("classic")) } else { listed });
    }
    ListGroupsResponse::default().with_groups(groups)
}

pub(crate) async fn delete(core: &Arc<Core>, request: DeleteGroupsRequest) -> DeleteGroupsResponse {
    let results = request.groups_names.into_iter().map(|id| {
        let deleted = delete_one(core, id.as_str());
        DeletableGroupResult::default().with_group_id(id).with_error_code(code(&deleted))
    });
    let results: Vec<DeletableGroupResult> = results.collect();
    durable_if(core, results.iter().any(|result| result.error_code == 0)).await;
    DeleteGroupsResponse::default().with_results(results)
}

fn delete_one(core: &Core, id: &str) -> Result<(), ResponseError> {
    core.journal.check().map_err(|_| ResponseError::CoordinatorNotAvailable)?;
    let group = core.groups.get(id).ok_or(ResponseError::GroupIdNotFound)?;
    let mut state = group.lock();
    if state.deleted {
        return Err(ResponseError::GroupIdNotFound);
    }
    if !state.membership.is_idle() {
        return Err(ResponseError::NonEmptyGroup);
    }
    state.deleted = true;
    core.journal.submit(Frame::of(&Op::DeleteGroup { group: id.to_owned() }));
    core.groups.forget(id);
    Ok(())
}
