//! JoinGroup, SyncGroup, Heartbeat and LeaveGroup: the wire form of the group protocol.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use kafka_protocol::ResponseError;
use kafka_protocol::messages::join_group_response::{JoinGroupResponse, JoinGroupResponseMember};
use kafka_protocol::messages::leave_group_response::{LeaveGroupResponse, MemberResponse};
use kafka_protocol::messages::{
    HeartbeatRequest, HeartbeatResponse, JoinGroupRequest, LeaveGroupRequest, SyncGroupRequest, SyncGroupResponse,
};
use kafka_protocol::protocol::StrBytes;
use tokio::sync::oneshot;

use super::{Client, code, text};
use crate::core::Core;
use crate::groups::Group;
use crate::groups::messages::{Join, JoinAnswer, Joined, Sync, SyncAnswer};

fn owned(value: Option<&StrBytes>) -> Option<String> {
    value.map(ToString::to_string)
}

pub(crate) async fn join(
    core: &Arc<Core>,
    client: Client,
    request: JoinGroupRequest,
    version: i16,
) -> JoinGroupResponse {
    let member_id = request.member_id.to_string();
    let answer = match begin_join(core, client, request, version) {
        Ok(answer) => answer.await.unwrap_or(Err((ResponseError::UnknownMemberId, member_id))),
        Err(error) => Err((error, member_id)),
    };
    let response = JoinGroupResponse::default();
    match answer {
        Ok(joined) => fill(response, joined, version),
        Err((error, member_id)) => {
            let no_protocol = (version < 7).then(StrBytes::new);
            response
                .with_error_code(error.code())
                .with_generation_id(-1)
                .with_protocol_name(no_protocol)
                .with_member_id(text(&member_id))
        }
    }
}

fn begin_join(
    core: &Core,
    client: Client,
    request: JoinGroupRequest,
    version: i16,
) -> Result<oneshot::Receiver<JoinAnswer>, ResponseError> {
    if request.group_id.is_empty() {
        return Err(ResponseError::InvalidGroupId);
    }
    let ms = |value: i32| Duration::from_millis(u64::try_from(value).unwrap_or(0));
    let session_timeout = ms(request.session_timeout_ms);
    if !(core.settings.min_session_timeout..=core.settings.max_session_timeout).contains(&session_timeout) {
        return Err(ResponseError::InvalidSessionTimeout);
    }
    let existing = core.groups.get(request.group_id.as_str());
    let group = match existing {
        Some(group) => group,
        None if request.member_id.is_empty() => {
            core.groups.get_or_create(request.group_id.as_str()).ok_or(ResponseError::GroupMaxSizeReached)?
        }
        None => return Err(ResponseError::UnknownMemberId),
    };
    let join = Join {
        member_id: request.member_id.to_string(),
        id_required: version >= 4 && request.group_instance_id.is_none(),
        instance_id: owned(request.group_instance_id.as_ref()),
        client_id: client.id,
        client_host: client.host,
        session_timeout,
        rebalance_timeout: if version >= 1 { ms(request.rebalance_timeout_ms) } else { session_timeout },
        protocol_type: request.protocol_type.to_string(),
        // Copied, so that a group does not keep the memory of whole requests.
        protocols: request
            .protocols
            .iter()
            .map(|protocol| (protocol.name.to_string(), Bytes::copy_from_slice(&protocol.metadata)))
            .collect(),
        may_skip: version >= 9,
    };
    let (sender, receiver) = oneshot::channel();
    {
        let mut state = group.lock();
        if state.deleted {
            return Err(ResponseError::CoordinatorNotAvailable);
        }
        state.membership.join(join, sender, Instant::now());
    }
    group.drive();
    Ok(receiver)
}

fn fill(response: JoinGroupResponse, joined: Joined, version: i16) -> JoinGroupResponse {
    let members = joined.members.into_iter().map(|(id, instance, metadata)| {
        let member = JoinGroupResponseMember::default().with_member_id(text(&id)).with_metadata(metadata);
        if version >= 5 { member.with_group_instance_id(instance.as_deref().map(text)) } else { member }
    });
    response
        .with_generation_id(joined.generation)
        .with_protocol_type(Some(text(&joined.protocol_type)))
        .with_protocol_name(Some(text(&joined.protocol)))
        .with_leader(text(&joined.leader))
        .with_skip_assignment(joined.skip_assignment)
        .with_member_id(text(&joined.member_id))
        .with_members(members.collect())
}

pub(crate) async fn sync(core: &Arc<Core>, request: SyncGroupRequest, version: i16) -> SyncGroupResponse {
    let answer = match begin_sync(core, request) {
        Ok(answer) => answer.await.unwrap_or(Err(ResponseError::UnknownMemberId)),
        Err(error) => Err(error),
    };
    let response = SyncGroupResponse::default().with_error_code(code(&answer));
    let Ok(synced) = answer else { return response };
    let response = response.with_assignment(synced.assignment);
    if version < 5 {
        return response;
    }
    response.with_protocol_type(Some(text(&synced.protocol_type))).with_protocol_name(Some(text(&synced.protocol)))
}

fn begin_sync(core: &Core, request: SyncGroupRequest) -> Result<oneshot::Receiver<SyncAnswer>, ResponseError> {
    let group = member_group(core, request.group_id.as_str())?;
    let sync = Sync {
        member_id: request.member_id.to_string(),
        instance_id: owned(request.group_instance_id.as_ref()),
        generation: request.generation_id,
        protocol_type: owned(request.protocol_type.as_ref()),
        protocol: owned(request.protocol_name.as_ref()),
        assignments: request
            .assignments
            .iter()
            .map(|entry| (entry.member_id.to_string(), Bytes::copy_from_slice(&entry.assignment)))
            .collect(),
    };
    let (sender, receiver) = oneshot::channel();
    group.lock().membership.sync(sync, sender, Instant::now());
    group.drive();
    Ok(receiver)
}

/// The group of a request that only a member can send.
fn member_group(core: &Core, id: &str) -> Result<Arc<Group>, ResponseError> {
    if id.is_empty() {
        return Err(ResponseError::InvalidGroupId);
    }
    core.groups.get(id).ok_or(ResponseError::UnknownMemberId)
}

pub(crate) fn heartbeat(core: &Core, request: &HeartbeatRequest) -> HeartbeatResponse {
    let result = member_group(core, request.group_id.as_str()).and_then(|group| {
        let instance = request.group_instance_id.as_ref().map(StrBytes::as_str);
        let mut state = group.lock();
        state.membership.heartbeat(request.member_id.as_str(), instance, request.generation_id, Instant::now())
    });
    HeartbeatResponse::default().with_error_code(code(&result))
}

pub(crate) fn leave(core: &Core, request: LeaveGroupRequest, version: i16) -> LeaveGroupResponse {
    let leave_one = |member_id: &str, instance: Option<&str>| {
        let group = member_group(core, request.group_id.as_str())?;
        let result = group.lock().membership.leave(member_id, instance, Instant::now());
        group.drive();
        result
    };
    if version < 3 {
        let result = leave_one(request.member_id.as_str(), None);
        return LeaveGroupResponse::default().with_error_code(code(&result));
    }
    let members = request.members.iter().map(|member| {
        let result = leave_one(member.member_id.as_str(), member.group_instance_id.as_ref().map(StrBytes::as_str));
        MemberResponse::default()
            .with_member_id(member.member_id.clone())
            .with_group_instance_id(member.group_instance_id.clone())
            .with_error_code(code(&result))
    });
    LeaveGroupResponse::default().with_members(members.collect())
}
