//! DescribeProducers, DescribeTransactions, ListTransactions and DescribeLogDirs: what an operator asks when something hangs.

use std::collections::BTreeMap;
use std::path::absolute;

use kafka_protocol::ResponseError;
use kafka_protocol::messages::describe_log_dirs_response::{
    DescribeLogDirsPartition, DescribeLogDirsResponse, DescribeLogDirsResult, DescribeLogDirsTopic,
};
use kafka_protocol::messages::describe_producers_response::{
    DescribeProducersResponse, PartitionResponse, ProducerState, TopicResponse,
};
use kafka_protocol::messages::describe_transactions_response::{
    DescribeTransactionsResponse, TopicData, TransactionState as Described,
};
use kafka_protocol::messages::list_transactions_response::{ListTransactionsResponse, TransactionState as Listed};
use kafka_protocol::messages::{
    DescribeLogDirsRequest, DescribeProducersRequest, DescribeTransactionsRequest, ListTransactionsRequest, ProducerId,
    TopicName, TransactionalId,
};

use super::{code, text};
use crate::core::Core;
use crate::log::partition::Partition;
use crate::sync::now_ms;
use crate::transactions::{Status, TransactionState};

/// The states that Kafka knows, whether this broker uses them or not.
const STATES: [&str; 8] = [
    "Empty",
    "Ongoing",
    "PrepareCommit",
    "PrepareAbort",
    "CompleteCommit",
    "CompleteAbort",
    "Dead",
    "PrepareEpochFence",
];

pub(crate) fn producers(core: &Core, request: DescribeProducersRequest) -> DescribeProducersResponse {
    let topics = request.topics.into_iter().map(|topic| {
        let partitions = topic.partition_indexes.iter().map(|index| {
            let found = core.topics.partition(topic.name.as_str(), *index);
            let found = found.ok_or(ResponseError::UnknownTopicOrPartition);
            PartitionResponse::default()
                .with_partition_index(*index)
                .with_error_code(code(&found))
                .with_error_message(None)
                .with_active_producers(found.map(|partition| active(&partition)).unwrap_or_default())
        });
        let partitions = partitions.collect();
        TopicResponse::default().with_name(topic.name.clone()).with_partitions(partitions)
    });
    DescribeProducersResponse::default().with_topics(topics.collect())
}

fn active(partition: &Partition) -> Vec<ProducerState> {
    let log = partition.lock();
    let shown = log.producers.all().map(|(id, state)| {
        ProducerState::default()
            .with_producer_id(ProducerId(id))
            .with_producer_epoch(i32::from(state.epoch))
            .with_last_sequence(state.last_sequence())
            .with_last_timestamp(state.last_ms)
            // One coordinator for ever.
            .with_coordinator_epoch(0)
            .with_current_txn_start_offset(state.open_since.unwrap_or(-1))
    });
    shown.collect()
}

pub(crate) fn transactions(core: &Core, request: DescribeTransactionsRequest) -> DescribeTransactionsResponse {
    let states = request.transactional_ids.into_iter().map(|id| match core.transactions.get(id.as_str()) {
        Some(transaction) => describe(core, id, &transaction.lock()),
        None => Described::default()
            .with_transactional_id(id)
            .with_error_code(ResponseError::TransactionalIdNotFound.code()),
    });
    DescribeTransactionsResponse::default().with_transaction_states(states.collect())
}

fn describe(core: &Core, id: TransactionalId, state: &TransactionState) -> Described {
    let mut topics: BTreeMap<String, Vec<i32>> = BTreeMap::new();
    for (topic, index) in &state.partitions {
        if let Some(topic) = core.topics.by_id(*topic) {
            topics.entry(topic.name.to_string()).or_default().push(*index);
        }
    }
    let topics = topics.into_iter().map(|(topic, partitions)| {
        TopicData::default().with_topic(TopicName(text(&topic))).with_partitions(partitions)
    });
    Described::default()
        .with_transactional_id(id)
        .with_transaction_state(text(state.status.name()))
        .with_transaction_timeout_ms(i32::try_from(state.timeout.as_millis()).unwrap_or(i32::MAX))
        .with_transaction_start_time_ms(if state.status == Status::Ongoing { state.started_ms } else { -1 })
        .with_producer_id(ProducerId(state.producer.id))
        .with_producer_epoch(state.producer.epoch)
        .with_topics(topics.collect())
}

pub(crate) fn list_transactions(
    core: &Core,
    request: &ListTransactionsRequest,
    version: i16,
) -> ListTransactionsResponse {
    let now = now_ms();
    let wanted = |state: &TransactionState| {
        let by_state = request.state_filters.is_empty()
            || request.state_filters.iter().any(|name| name.as_str() == state.status.name());
        let by_producer = request.producer_id_filters.is_empty()
            || request.producer_id_filters.iter().any(|id| id.0 == state.producer.id);
        let long_enough = version < 1
            || request.duration_filter < 0
            || (state.status == Status::Ongoing && now.saturating_sub(state.started_ms) > request.duration_filter);
        by_state && by_producer && long_enough
    };
    let mut listed = Vec::new();
    for transaction in core.transactions.all() {
        let state = transaction.lock();
        if wanted(&state) {
            listed.push(
                Listed::default()
                    .with_transactional_id(TransactionalId(text(&transaction.id)))
                    .with_producer_id(ProducerId(state.producer.id))
                    .with_transaction_state(text(state.status.name())),
            );
        }
    }
    let unknown = request.state_filters.iter().filter(|name| !STATES.contains(&name.as_str())).cloned();
    ListTransactionsResponse::default().with_unknown_state_filters(unknown.collect()).with_transaction_states(listed)
}

/// The one directory and what lies in it.
pub(crate) fn log_dirs(core: &Core, request: DescribeLogDirsRequest, version: i16) -> DescribeLogDirsResponse {
    let all = request.topics.is_none();
    let asked: BTreeMap<String, Vec<i32>> = request
        .topics
        .unwrap_or_default()
        .into_iter()
        .map(|topic| (topic.topic.to_string(), topic.partitions))
        .collect();
    let mut topics = Vec::new();
    for topic in core.topics.all() {
        let partitions: Vec<_> = topic
            .partitions
            .iter()
            .filter(|partition| all || asked.get(&*topic.name).is_some_and(|asked| asked.contains(&partition.index)))
            .map(|partition| {
                let bytes = i64::try_from(partition.lock().bytes()).unwrap_or(i64::MAX);
                DescribeLogDirsPartition::default().with_partition_index(partition.index).with_partition_size(bytes)
            })
            .collect();
        if !partitions.is_empty() {
            topics.push(
                DescribeLogDirsTopic::default().with_name(TopicName(text(&topic.name))).with_partitions(partitions),
            );
        }
    }
    let dir = absolute(&core.settings.data_dir).unwrap_or_else(|_| core.settings.data_dir.clone());
    let result = DescribeLogDirsResult::default().with_log_dir(text(&dir.display().to_string())).with_topics(topics);
    // How large the disk is, this broker does not ask.
    let result = if version >= 4 { result.with_total_bytes(-1).with_usable_bytes(-1) } else { result };
    DescribeLogDirsResponse::default().with_results(vec![result])
}
