//! CreateTopics, DeleteTopics and CreatePartitions.

use std::collections::BTreeMap;
use std::sync::Arc;

use kafka_protocol::ResponseError;
use kafka_protocol::messages::create_partitions_response::{CreatePartitionsResponse, CreatePartitionsTopicResult};
use kafka_protocol::messages::create_topics_request::CreatableTopic;
use kafka_protocol::messages::create_topics_response::{
    CreatableTopicConfigs, CreatableTopicResult, CreateTopicsResponse,
};
use kafka_protocol::messages::delete_topics_response::{DeletableTopicResult, DeleteTopicsResponse};
use kafka_protocol::messages::{
    BrokerId, CreatePartitionsRequest, CreateTopicsRequest, DeleteTopicsRequest, TopicName,
};
use uuid::Uuid;

use super::configs::{SOURCE_DEFAULT, SOURCE_TOPIC};
use super::{durable_if, text};
use crate::core::Core;
use crate::log::checkpoint;
use crate::log::journal::Frame;
use crate::log::op::Op;
use crate::topic_settings::{KNOWN, SettingError, TopicSettings};
use crate::topics::Topic;

/// An error code and what to tell about it.
pub(crate) type Refusal = (ResponseError, String);

pub(crate) fn refuse<T>(error: ResponseError, message: impl Into<String>) -> Result<T, Refusal> {
    Err((error, message.into()))
}

pub(crate) fn storage(core: &Core) -> Result<(), Refusal> {
    core.journal.check().map_err(|problem| (ResponseError::KafkaStorageError, problem.to_string()))
}

pub(crate) fn setting_refusal(problem: &SettingError) -> Refusal {
    (ResponseError::InvalidConfig, problem.to_string())
}

pub(crate) async fn create(core: &Arc<Core>, request: CreateTopicsRequest) -> CreateTopicsResponse {
    let mut results = Vec::with_capacity(request.topics.len());
    for wanted in request.topics {
        let name = wanted.name.clone();
        let created = create_one(core, &wanted, request.validate_only);
        let result = CreatableTopicResult::default().with_name(name).with_error_message(None);
        results.push(match created {
            Ok(topic) => result
                .with_topic_id(topic.id)
                .with_num_partitions(topic.partition_count())
                .with_replication_factor(1)
                .with_configs(Some(shown(&topic.settings))),
            Err((error, message)) => result
                .with_error_code(error.code())
                .with_error_message(Some(text(&message)))
                .with_num_partitions(-1)
                .with_replication_factor(-1),
        });
    }
    durable_if(core, results.iter().any(|result| result.error_code == 0)).await;
    CreateTopicsResponse::default().with_topics(results)
}

/// A topic with defaults, for a client that asked for one that is not there.
pub(crate) async fn create_default(core: &Arc<Core>, name: &str) -> Result<Arc<Topic>, ResponseError> {
    let wanted =
        CreatableTopic::default().with_name(TopicName(text(name))).with_num_partitions(-1).with_replication_factor(-1);
    let topic = match create_one(core, &wanted, false) {
        Err((ResponseError::TopicAlreadyExists, _)) => {
            core.topics.get(name).ok_or(ResponseError::UnknownTopicOrPartition)
        }
        other => other.map_err(|(error, _)| error),
    }?;
    core.journal.durable_now().await;
    Ok(topic)
}

fn shown(settings: &TopicSettings) -> Vec<CreatableTopicConfigs> {
    let entry = |name: &str| {
        let source = if settings.overrides.contains_key(name) { SOURCE_TOPIC } else { SOURCE_DEFAULT };
        CreatableTopicConfigs::default()
            .with_name(text(name))
            .with_value(Some(text(settings.value(name))))
            .with_config_source(source)
    };
    KNOWN.iter().map(|known| entry(known.name)).collect()
}

fn create_one(core: &Core, wanted: &CreatableTopic, validate_only: bool) -> Result<Arc<Topic>, Refusal> {
    storage(core)?;
    let name = wanted.name.as_str();
    check_name(name)?;
    let count = if !wanted.assignments.is_empty() {
        if !matches!((wanted.num_partitions, wanted.replication_factor), (-1, -1)) {
            return refuse(ResponseError::InvalidRequest, "an assignment and a number of partitions or replicas");
        }
        check_assignment(core, wanted)?
    } else if wanted.num_partitions == -1 {
        core.settings.default_partitions
    } else {
        wanted.num_partitions
    };
    if count <= 0 {
        return refuse(ResponseError::InvalidPartitions, "the number of partitions must be larger than 0");
    }
    if !matches!(wanted.replication_factor, -1 | 1) {
        return refuse(ResponseError::InvalidReplicationFactor, "this broker is one node: the replication factor is 1");
    }
    let mut overrides = BTreeMap::new();
    for config in &wanted.configs {
        let Some(value) = &config.value else {
            return refuse(ResponseError::InvalidConfig, format!("no value for {}", config.name));
        };
        overrides.insert(config.name.to_string(), value.to_string());
    }
    let settings = TopicSettings::new(overrides).map_err(|problem| setting_refusal(&problem))?;
    let present: usize = core.topics.all().iter().map(|topic| topic.partitions.len()).sum();
    if present.saturating_add(usize::try_from(count).unwrap_or(usize::MAX)) > core.settings.max_partitions {
        return refuse(
            ResponseError::PolicyViolation,
            format!("more than {} partitions", core.settings.max_partitions),
        );
    }
    core.topics.change(|map| {
        if map.get(name).is_some() {
            return refuse(ResponseError::TopicAlreadyExists, format!("topic {name} already exists"));
        }
        let topic = Arc::new(core.topics.build(Uuid::new_v4(), name.into(), settings, count, None));
        if !validate_only {
            core.journal.submit(Frame::of(&topic.op()));
            map.put(topic.clone());
        }
        Ok(topic)
    })
}

/// An assignment names each partition once, from 0 on, and this node for each. How many partitions it makes.
fn check_assignment(core: &Core, wanted: &CreatableTopic) -> Result<i32, Refusal> {
    let mut indexes: Vec<i32> = wanted.assignments.iter().map(|assigned| assigned.partition_index).collect();
    indexes.sort_unstable();
    let count = i32::try_from(indexes.len()).unwrap_or(i32::MAX);
    let in_a_row = indexes.iter().copied().eq(0..count);
    let here = |assigned: &[BrokerId]| assigned == [BrokerId(core.settings.node_id)];
    if in_a_row && wanted.assignments.iter().all(|assigned| here(&assigned.broker_ids)) {
        return Ok(count);
    }
    refuse(
        ResponseError::InvalidReplicaAssignment,
        format!("partitions from 0 on, each on broker {}", core.settings.node_id),
    )
}

/// Kafka's rule for topic names.
fn check_name(name: &str) -> Result<(), Refusal> {
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    if name.is_empty() || name.len() > 249 || matches!(name, "." | "..") || !name.bytes().all(legal) {
        return refuse(
            ResponseError::InvalidTopicException,
            "a topic's name has 1 to 249 letters, digits, '.', '_' and '-'",
        );
    }
    Ok(())
}

pub(crate) async fn delete(core: &Arc<Core>, request: DeleteTopicsRequest, version: i16) -> DeleteTopicsResponse {
    let by_name = request.topic_names.into_iter().map(|name| (Some(name), Uuid::nil()));
    let by_state = request.topics.into_iter().map(|topic| (topic.name, topic.topic_id));
    let mut responses = Vec::new();
    for (name, id) in by_name.chain(by_state) {
        let found = match &name {
            Some(name) => core.topics.get(name.as_str()).ok_or(ResponseError::UnknownTopicOrPartition),
            None => core.topics.by_id(id).ok_or(ResponseError::UnknownTopicId),
        };
        let result = DeletableTopicResult::default();
        let deleted = found.and_then(|topic| {
            core.journal.check().map_err(|_| ResponseError::KafkaStorageError)?;
            delete_one(core, &topic);
            Ok(topic)
        });
        responses.push(match deleted {
            Ok(topic) => {
                let id = if version >= 6 { topic.id } else { Uuid::nil() };
                result.with_name(Some(TopicName(text(&topic.name)))).with_topic_id(id)
            }
            Err(error) => result.with_name(name).with_topic_id(id).with_error_code(error.code()),
        });
    }
    durable_if(core, responses.iter().any(|result| result.error_code == 0)).await;
    DeleteTopicsResponse::default().with_responses(responses)
}

fn delete_one(core: &Core, topic: &Topic) {
    let removed = core.topics.change(|map| {
        let removed = map.remove(topic.id);
        if removed.is_some() {
            core.journal.submit(Frame::of(&Op::DeleteTopic { id: topic.id }));
        }
        removed
    });
    let Some(topic) = removed else { return };
    for partition in &topic.partitions {
        let mut log = partition.lock();
        log.deleted = true;
        log.wake();
    }
    core.housekeeper.discard(checkpoint::topic_dir(&core.topics, topic.id));
    for group in core.groups.all() {
        let mut state = group.lock();
        let mut frame = Frame::default();
        for (name, partition) in state.offsets.remove_topic(&topic.name) {
            frame.push(&Op::DeleteOffset { group: group.id.clone(), topic: name, partition });
        }
        if !frame.is_empty() {
            state.offsets_changed = core.journal.submit(frame);
        }
    }
}

pub(crate) async fn create_partitions(core: &Arc<Core>, request: CreatePartitionsRequest) -> CreatePartitionsResponse {
    let mut results = Vec::with_capacity(request.topics.len());
    for wanted in request.topics {
        let raised =
            storage(core).and_then(|()| raise(core, wanted.name.as_str(), wanted.count, request.validate_only));
        let result = CreatePartitionsTopicResult::default().with_name(wanted.name);
        results.push(match raised {
            Ok(()) => result,
            Err((error, message)) => result.with_error_code(error.code()).with_error_message(Some(text(&message))),
        });
    }
    durable_if(core, results.iter().any(|result| result.error_code == 0)).await;
    CreatePartitionsResponse::default().with_results(results)
}

fn raise(core: &Core, name: &str, count: i32, validate_only: bool) -> Result<(), Refusal> {
    let limit = i32::try_from(core.settings.max_partitions).unwrap_or(i32::MAX);
    core.topics.change(|map| {
        let Some(old) = map.get(name).cloned() else {
            return refuse(ResponseError::UnknownTopicOrPartition, format!("no topic {name}"));
        };
        if count <= old.partition_count() || count > limit {
            let message = format!("topic {name} has {} partitions: {count} is not possible", old.partition_count());
            return refuse(ResponseError::InvalidPartitions, message);
        }
        if !validate_only {
            let topic = core.topics.build(old.id, old.name.clone(), old.settings.clone(), count, Some(&old));
            core.journal.submit(Frame::of(&topic.op()));
            map.put(Arc::new(topic));
        }
        Ok(())
    })
}
