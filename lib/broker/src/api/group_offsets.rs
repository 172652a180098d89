//! OffsetCommit, OffsetFetch and OffsetDelete.

use std::sync::Arc;
use std::time::Instant;

use kafka_protocol::ResponseError;
use kafka_protocol::messages::offset_commit_response::{
    OffsetCommitResponse, OffsetCommitResponsePartition, OffsetCommitResponseTopic,
};
use kafka_protocol::messages::offset_delete_response::{
    OffsetDeleteResponse, OffsetDeleteResponsePartition, OffsetDeleteResponseTopic,
};
use kafka_protocol::messages::offset_fetch_response::{
    OffsetFetchResponse, OffsetFetchResponseGroup, OffsetFetchResponsePartition, OffsetFetchResponsePartitions,
    OffsetFetchResponseTopic, OffsetFetchResponseTopics,
};
use kafka_protocol::messages::{OffsetCommitRequest, OffsetDeleteRequest, OffsetFetchRequest, TopicName};
use kafka_protocol::protocol::StrBytes;

use super::{code, text};
use crate::core::Core;
use crate::groups::GroupState;
use crate::groups::membership::Phase;
use crate::log::journal::{Frame, Lsn};
use crate::log::op::{CommittedOffset, Op};
use crate::sync::now_ms;

/// Kafka's `offset.metadata.max.bytes`.
const MAX_METADATA_BYTES: usize = 4096;

/// What names a member in a commit.
pub(crate) struct Committer<'a> {
    pub(crate) generation: i32,
    pub(crate) member_id: &'a str,
    pub(crate) instance: Option<&'a str>,
}

impl Committer<'_> {
    /// That this committer may commit for the group now.
    fn check(&self, state: &mut GroupState) -> Result<(), ResponseError> {
        if state.deleted {
            return Err(ResponseError::CoordinatorNotAvailable);
        }
        let membership = &mut state.membership;
        if self.generation < 0 && self.member_id.is_empty() && membership.phase == Phase::Empty {
            return Ok(());
        }
        membership.check_member(self.member_id, self.instance)?;
        if self.generation != membership.generation {
            return Err(ResponseError::IllegalGeneration);
        }
        if membership.phase == Phase::CompletingRebalance {
            return Err(ResponseError::RebalanceInProgress);
        }
        // A commit shows that the member lives; that it must join again, the heartbeat tells.
        membership.heartbeat(self.member_id, self.instance, self.generation, Instant::now()).ok();
        Ok(())
    }

    /// As [`Self::check`], for commits inside a transaction: there a rebalance is no hindrance (KIP-447).
    pub(crate) fn check_transactional(&self, state: &GroupState) -> Result<(), ResponseError> {
        if state.deleted {
            return Err(ResponseError::CoordinatorNotAvailable);
        }
        if self.generation < 0 && self.member_id.is_empty() && self.instance.is_none() {
            return Ok(());
        }
        state.membership.check_member(self.member_id, self.instance)?;
        if self.generation != state.membership.generation {
            return Err(ResponseError::IllegalGeneration);
        }
        Ok(())
    }
}

/// The offset to keep, or why not.
pub(crate) fn accept(
    core: &Core,
    topic: &TopicName,
    partition: i32,
    offset: i64,
    leader_epoch: i32,
    metadata: Option<&StrBytes>,
) -> Result<CommittedOffset, ResponseError> {
    if core.topics.partition(topic.as_str(), partition).is_none() {
        return Err(ResponseError::UnknownTopicOrPartition);
    }
    let metadata = metadata.map(ToString::to_string).unwrap_or_default();
    if metadata.len() > MAX_METADATA_BYTES {
        return Err(ResponseError::OffsetMetadataTooLarge);
    }
    Ok(CommittedOffset { offset, leader_epoch, metadata, committed_ms: now_ms() })
}

pub(crate) async fn commit(core: &Arc<Core>, request: OffsetCommitRequest) -> OffsetCommitResponse {
    let mut results = Vec::new();
    let mut last = 0;
    {
        let committer = Committer {
            generation: request.generation_id_or_member_epoch,
            member_id: request.member_id.as_str(),
            instance: request.group_instance_id.as_ref().map(StrBytes::as_str),
        };
        let group = group_for_commit(core, request.group_id.as_str(), committer.generation);
        let mut locked = group.as_ref().map(|group| group.lock()).map_err(|error| *error);
        let allowed = match &mut locked {
            Ok(state) => committer.check(state),
            Err(error) => Err(*error),
        };
        let mut frame = Frame::default();
        for topic in &request.topics {
            for wanted in &topic.partitions {
                let index = wanted.partition_index;
                let accepted = allowed.and_then(|()| {
                    let (offset, epoch) = (wanted.committed_offset, wanted.committed_leader_epoch);
                    accept(core, &topic.name, index, offset, epoch, wanted.committed_metadata.as_ref())
                });
                results.push(code(&accepted));
                if let (Ok(committed), Ok(state)) = (accepted, &mut locked) {
                    let (group, topic) = (request.group_id.to_string(), topic.name.to_string());
                    state.offsets.put((topic.clone(), index), committed.clone());
                    frame.push(&Op::PutOffset { group, topic, partition: index, committed });
                }
            }
        }
        if !frame.is_empty() {
            last = core.journal.submit(frame);
            if let Ok(state) = &mut locked {
                state.offsets_changed = last;
            }
        }
    }
    core.journal.durable(last).await;
    let mut results = results.into_iter();
    let topics = request.topics.into_iter().map(|topic| {
        let partitions = topic.partitions.iter().map(|wanted| {
            OffsetCommitResponsePartition::default()
                .with_partition_index(wanted.partition_index)
                .with_error_code(results.next().unwrap_or(0))
        });
        let partitions = partitions.collect();
        OffsetCommitResponseTopic::default().with_name(topic.name).with_partitions(partitions)
    });
    OffsetCommitResponse::default().with_topics(topics.collect())
}

fn group_for_commit(core: &Core, id: &str, generation: i32) -> Result<Arc<crate::groups::Group>, ResponseError> {
    core.journal.check().map_err(|_| ResponseError::CoordinatorNotAvailable)?;
    match core.groups.get(id) {
        Some(group) => Ok(group),
        None if generation >= 0 => Err(ResponseError::IllegalGeneration),
        None => core.groups.get_or_create(id).ok_or(ResponseError::GroupMaxSizeReached),
    }
}

struct Found {
    topic: String,
    partition: i32,
    /// `None`: nothing committed.
    committed: Option<CommittedOffset>,
    error: Option<ResponseError>,
}

pub(crate) async fn fetch(core: &Arc<Core>, request: OffsetFetchRequest, version: i16) -> OffsetFetchResponse {
    let stable = request.require_stable;
    // What is told must not be undone by a crash: a reader would start behind records that were never processed.
    if version >= 8 {
        let mut groups = Vec::with_capacity(request.groups.len());
        let mut last = 0;
        for wanted in request.groups {
            let asked = wanted.topics.map(|topics| {
                topics.into_iter().map(|topic| (topic.name.to_string(), topic.partition_indexes)).collect()
            });
            let (found, lsn) = look_up(core, wanted.group_id.as_str(), asked, stable);
            last = last.max(lsn);
            groups.push(OffsetFetchResponseGroup::default().with_group_id(wanted.group_id).with_topics(batched(found)));
        }
        core.journal.durable(last).await;
        return OffsetFetchResponse::default().with_groups(groups);
    }
    let asked = request
        .topics
        .map(|topics| topics.into_iter().map(|topic| (topic.name.to_string(), topic.partition_indexes)).collect());
    let (found, lsn) = look_up(core, request.group_id.as_str(), asked, stable);
    core.journal.durable(lsn).await;
    OffsetFetchResponse::default().with_topics(single(found, version))
}

/// What a group has committed, and the change that must be durable before anybody is told.
fn look_up(core: &Core, id: &str, asked: Option<Vec<(String, Vec<i32>)>>, stable: bool) -> (Vec<Found>, Lsn) {
    let group = core.groups.get(id);
    let state = group.as_ref().map(|group| group.lock());
    let find = |topic: String, partition: i32| {
        let offsets = state.as_ref().map(|state| &state.offsets);
        let unstable = stable && offsets.is_some_and(|offsets| offsets.has_pending(&topic, partition));
        let committed = offsets.filter(|_| !unstable).and_then(|offsets| offsets.get(&topic, partition)).cloned();
        Found { topic, partition, committed, error: unstable.then_some(ResponseError::UnstableOffsetCommit) }
    };
    // A group that is gone was perhaps deleted just now.
    let lsn = state.as_ref().map_or_else(|| core.journal.submitted(), |state| state.offsets_changed);
    let found = match asked {
        Some(topics) => topics
            .into_iter()
            .flat_map(|(topic, partitions)| partitions.into_iter().map(move |partition| (topic.clone(), partition)))
            .map(|(topic, partition)| find(topic, partition))
            .collect(),
        None => {
            let places = state.iter().flat_map(|state| state.offsets.all().map(|(place, _)| place.clone()));
            places.map(|(topic, partition)| find(topic, partition)).collect()
        }
    };
    (found, lsn)
}

fn single(found: Vec<Found>, version: i16) -> Vec<OffsetFetchResponseTopic> {
    let mut topics: Vec<OffsetFetchResponseTopic> = Vec::new();
    for found in found {
        let committed = found.committed.as_ref();
        let partition = OffsetFetchResponsePartition::default()
            .with_partition_index(found.partition)
            .with_committed_offset(committed.map_or(-1, |committed| committed.offset))
            .with_committed_leader_epoch(if version >= 5 { committed.map_or(-1, |it| it.leader_epoch) } else { -1 })
            .with_metadata(Some(text(committed.map_or("", |committed| &committed.metadata))))
            .with_error_code(found.error.map_or(0, |error| error.code()));
        match topics.last_mut() {
            Some(last) if last.name.as_str() == found.topic => last.partitions.push(partition),
            _ => topics.push(
                OffsetFetchResponseTopic::default()
                    .with_name(TopicName(text(&found.topic)))
                    .with_partitions(vec![partition]),
            ),
        }
    }
    topics
}

fn batched(found: Vec<Found>) -> Vec<OffsetFetchResponseTopics> {
    let mut topics: Vec<OffsetFetchResponseTopics> = Vec::new();
    for found in found {
        let committed = found.committed.as_ref();
        let partition = OffsetFetchResponsePartitions::default()
            .with_partition_index(found.partition)
            .with_committed_offset(committed.map_or(-1, |committed| committed.offset))
            .with_committed_leader_epoch(committed.map_or(-1, |committed| committed.leader_epoch))
            .with_metadata(Some(text(committed.map_or("", |committed| &committed.metadata))))
            .with_error_code(found.error.map_or(0, |error| error.code()));
        match topics.last_mut() {
            Some(last) if last.name.as_str() == found.topic => last.partitions.push(partition),
            _ => topics.push(
                OffsetFetchResponseTopics::default()
                    .with_name(TopicName(text(&found.topic)))
                    .with_partitions(vec![partition]),
            ),
        }
    }
    topics
}

pub(crate) async fn delete(core: &Arc<Core>, request: OffsetDeleteRequest) -> OffsetDeleteResponse {
    let Some(group) = core.groups.get(request.group_id.as_str()) else {
        return OffsetDeleteResponse::default().with_error_code(ResponseError::GroupIdNotFound.code());
    };
    if core.journal.check().is_err() {
        return OffsetDeleteResponse::default().with_error_code(ResponseError::CoordinatorNotAvailable.code());
    }
    let (topics, lsn) = {
        let mut state = group.lock();
        let in_use = !state.membership.is_idle();
        let mut frame = Frame::default();
        let mut topics = Vec::with_capacity(request.topics.len());
        for topic in request.topics {
            let mut partitions = Vec::with_capacity(topic.partitions.len());
            for wanted in &topic.partitions {
                let place = (topic.name.to_string(), wanted.partition_index);
                // Kafka looks whether the members subscribe to this very topic; here any member protects all offsets.
                let error = if in_use { ResponseError::GroupSubscribedToTopic.code() } else { 0 };
                if !in_use && state.offsets.remove(&place) {
                    let (topic, partition) = place;
                    frame.push(&Op::DeleteOffset { group: group.id.clone(), topic, partition });
                }
                partitions.push(
                    OffsetDeleteResponsePartition::default()
                        .with_partition_index(wanted.partition_index)
                        .with_error_code(error),
                );
            }
            topics.push(OffsetDeleteResponseTopic::default().with_name(topic.name).with_partitions(partitions));
        }
        let lsn = if frame.is_empty() { 0 } else { core.journal.submit(frame) };
        state.offsets_changed = state.offsets_changed.max(lsn);
        (topics, lsn)
    };
    core.journal.durable(lsn).await;
    OffsetDeleteResponse::default().with_topics(topics)
}
