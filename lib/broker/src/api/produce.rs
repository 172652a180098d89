//! Produce: batches into the log, an answer when they are durable.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use kafka_protocol::ResponseError;
use kafka_protocol::messages::produce_response::{PartitionProduceResponse, ProduceResponse, TopicProduceResponse};
use kafka_protocol::messages::{ProduceRequest, TopicName};
use tokio::sync::OwnedSemaphorePermit;

use super::Reply;
use crate::core::{Core, Stored};
use crate::log::batch::Header;
use crate::transactions::{Producer, Status};

type Results = Vec<(TopicName, Vec<(i32, Result<Stored, ResponseError>)>)>;

pub(crate) async fn produce(core: Arc<Core>, request: ProduceRequest) -> Reply {
    let refused = if !matches!(request.acks, -1..=1) {
        Some(ResponseError::InvalidRequiredAcks)
    } else if core.journal.check().is_err() {
        Some(ResponseError::KafkaStorageError)
    } else {
        None
    };
    let transactional_id = request.transactional_id.as_ref().map(|id| id.as_str());
    let mut last = 0;
    let mut results: Results = Vec::with_capacity(request.topic_data.len());
    for topic in &request.topic_data {
        let mut partitions = Vec::with_capacity(topic.partition_data.len());
        for data in &topic.partition_data {
            let result = match (refused, &data.records) {
                (Some(error), _) => Err(error),
                (None, None) => Err(ResponseError::InvalidRecord),
                (None, Some(records)) => {
                    let room = core.room_for(records.len()).await;
                    store(&core, transactional_id, topic.name.as_str(), data.index, records, room)
                }
            };
            if let Ok(stored) = &result {
                last = last.max(stored.lsn);
            }
            partitions.push((data.index, result));
        }
        results.push((topic.name.clone(), partitions));
    }
    if request.acks == 0 {
        return Reply::Nothing;
    }
    let patience = Duration::from_millis(u64::try_from(request.timeout_ms).unwrap_or(0).max(1));
    Reply::Later(Box::pin(async move {
        let durable = tokio::time::timeout(patience, core.journal.durable(last)).await.is_ok();
        response(results, durable).into()
    }))
}

fn store(
    core: &Core,
    transactional_id: Option<&str>,
    topic: &str,
    index: i32,
    records: &Bytes,
    room: Option<OwnedSemaphorePermit>,
) -> Result<Stored, ResponseError> {
    let topic = core.topics.get(topic).ok_or(ResponseError::UnknownTopicOrPartition)?;
    let partition = topic.partition(index).ok_or(ResponseError::UnknownTopicOrPartition)?;
    let transactional = Header::parse(records).ok().filter(Header::is_transactional);
    let Some(header) = transactional else { return core.append(&topic, partition, records, room) };
    let id = transactional_id.ok_or(ResponseError::InvalidTxnState)?;
    let transaction = core.transactions.get(id).ok_or(ResponseError::InvalidProducerIdMapping)?;
    // Held while appending, so that no marker comes between the check and the batch.
    let state = transaction.lock();
    state.check(Producer { id: header.producer_id, epoch: header.producer_epoch }).map_err(|error| match error {
        ResponseError::ProducerFenced => ResponseError::InvalidProducerEpoch,
        other => other,
    })?;
    if state.status != Status::Ongoing || !state.partitions.contains(&(topic.id, index)) {
        return Err(ResponseError::InvalidTxnState);
    }
    core.append(&topic, partition, records, room)
}

fn response(results: Results, durable: bool) -> ProduceResponse {
    let partition = |(index, result): (i32, Result<Stored, ResponseError>)| {
        let response = PartitionProduceResponse::default().with_index(index).with_log_append_time_ms(-1);
        match result {
            Ok(_) if !durable => response.with_error_code(ResponseError::RequestTimedOut.code()).with_base_offset(-1),
            Ok(stored) => response
                .with_base_offset(stored.base_offset)
                .with_log_append_time_ms(stored.append_time_ms)
                .with_log_start_offset(stored.log_start),
            Err(error) => response.with_error_code(error.code()).with_base_offset(-1).with_log_start_offset(-1),
        }
    };
    let topics = results.into_iter().map(|(name, partitions)| {
        let partitions = partitions.into_iter().map(partition).collect();
        TopicProduceResponse::default().with_name(name).with_partition_responses(partitions)
    });
    ProduceResponse::default().with_responses(topics.collect())
}
