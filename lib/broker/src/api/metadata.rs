//! Metadata, DescribeCluster and FindCoordinator: who leads what. It is always this one node.

use std::sync::Arc;

use kafka_protocol::ResponseError;
use kafka_protocol::messages::describe_cluster_response::{DescribeClusterBroker, DescribeClusterResponse};
use kafka_protocol::messages::find_coordinator_response::{Coordinator, FindCoordinatorResponse};
use kafka_protocol::messages::metadata_response::{
    MetadataResponse, MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
};
use kafka_protocol::messages::{BrokerId, DescribeClusterRequest, FindCoordinatorRequest, MetadataRequest, TopicName};
use uuid::Uuid;

use super::offsets::LEADER_EPOCH;
use super::{text, topics};
use crate::core::Core;
use crate::topics::Topic;

pub(crate) async fn metadata(core: &Arc<Core>, request: MetadataRequest, version: i16) -> MetadataResponse {
    let node = BrokerId(core.settings.node_id);
    // Version 0 has no null: an empty list asks for all.
    let asked = request.topics.filter(|topics| version > 0 || !topics.is_empty());
    let topics = match asked {
        None => core.topics.all().iter().map(|topic| describe(core, topic)).collect(),
        Some(asked) => {
            let mut topics = Vec::with_capacity(asked.len());
            for wanted in asked {
                // Who asks by id leaves the name out; Kafka's own admin client sends an empty one.
                let name = wanted.name.filter(|_| wanted.topic_id.is_nil());
                let found = match &name {
                    Some(name) => core.topics.get(name.as_str()),
                    None => core.topics.by_id(wanted.topic_id),
                };
                let create = core.settings.auto_create_topics && (request.allow_auto_topic_creation || version < 4);
                let found = match (found, &name) {
                    (None, Some(name)) if create => topics::create_default(core, name.as_str()).await,
                    (found, Some(_)) => found.ok_or(ResponseError::UnknownTopicOrPartition),
                    (found, None) => found.ok_or(ResponseError::UnknownTopicId),
                };
                topics.push(match found {
                    Ok(topic) => describe(core, &topic),
                    Err(error) => unknown(name, wanted.topic_id, error, version),
                });
            }
            topics
        }
    };
    let (host, port) = core.endpoint();
    MetadataResponse::default()
        .with_brokers(vec![
            MetadataResponseBroker::default().with_node_id(node).with_host(text(host)).with_port(i32::from(port)),
        ])
        .with_cluster_id(Some(text(&core.cluster_id)))
        .with_controller_id(node)
        .with_topics(topics)
}

fn describe(core: &Core, topic: &Topic) -> MetadataResponseTopic {
    let node = BrokerId(core.settings.node_id);
    let partitions = (0..topic.partition_count()).map(|index| {
        MetadataResponsePartition::default()
            .with_partition_index(index)
            .with_leader_id(node)
            .with_leader_epoch(LEADER_EPOCH)
            .with_replica_nodes(vec![node])
            .with_isr_nodes(vec![node])
    });
    MetadataResponseTopic::default()
        .with_name(Some(TopicName(text(&topic.name))))
        .with_topic_id(topic.id)
        .with_partitions(partitions.collect())
}

fn unknown(name: Option<TopicName>, id: Uuid, error: ResponseError, version: i16) -> MetadataResponseTopic {
    let name = name.or_else(|| (version < 12).then(TopicName::default));
    MetadataResponseTopic::default().with_name(name).with_topic_id(id).with_error_code(error.code())
}

pub(crate) fn describe_cluster(core: &Core, _request: &DescribeClusterRequest) -> DescribeClusterResponse {
    let node = BrokerId(core.settings.node_id);
    let (host, port) = core.endpoint();
    DescribeClusterResponse::default().with_cluster_id(text(&core.cluster_id)).with_controller_id(node).with_brokers(
        vec![DescribeClusterBroker::default().with_broker_id(node).with_host(text(host)).with_port(i32::from(port))],
    )
}

pub(crate) fn find_coordinator(core: &Core, request: FindCoordinatorRequest, version: i16) -> FindCoordinatorResponse {
    let node = BrokerId(core.settings.node_id);
    let (host, port) = core.endpoint();
    let known = matches!(request.key_type, 0 | 1);
    let error = if known { 0 } else { ResponseError::InvalidRequest.code() };
    if version < 4 {
        let response =
            FindCoordinatorResponse::default().with_error_code(error).with_error_message(None).with_node_id(node);
        return response.with_host(text(host)).with_port(i32::from(port));
    }
    let coordinators = request.coordinator_keys.into_iter().map(|key| {
        Coordinator::default()
            .with_key(key)
            .with_error_code(error)
            .with_error_message(None)
            .with_node_id(node)
            .with_host(text(host))
            .with_port(i32::from(port))
    });
    FindCoordinatorResponse::default().with_coordinators(coordinators.collect())
}
