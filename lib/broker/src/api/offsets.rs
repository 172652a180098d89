//! ListOffsets, OffsetForLeaderEpoch and DeleteRecords: where logs begin, end, and what was written when.

use std::sync::Arc;

use kafka_protocol::ResponseError;
use kafka_protocol::messages::delete_records_response::{
    DeleteRecordsPartitionResult, DeleteRecordsResponse, DeleteRecordsTopicResult,
};
use kafka_protocol::messages::list_offsets_response::{
    ListOffsetsPartitionResponse, ListOffsetsResponse, ListOffsetsTopicResponse,
};
use kafka_protocol::messages::offset_for_leader_epoch_response::{
    EpochEndOffset, OffsetForLeaderEpochResponse, OffsetForLeaderTopicResult,
};
use kafka_protocol::messages::{DeleteRecordsRequest, ListOffsetsRequest, OffsetForLeaderEpochRequest, TopicName};
use tracing::error;

use super::code;
use crate::core::Core;
use crate::log::housekeeping::advance_start;
use crate::log::partition::Partition;
use crate::log::records;

const LATEST: i64 = -1;
const EARLIEST: i64 = -2;
const MAX_TIMESTAMP: i64 = -3;
/// On this machine, and in tiered storage, of which there is none.
const EARLIEST_LOCAL: i64 = -4;
const LATEST_TIERED: i64 = -5;

/// All partitions here have had one leader, in this epoch.
pub(crate) const LEADER_EPOCH: i32 = 0;

pub(crate) async fn list(core: &Arc<Core>, request: ListOffsetsRequest, version: i16) -> ListOffsetsResponse {
    let committed_only = request.isolation_level == 1;
    let mut topics = Vec::with_capacity(request.topics.len());
    for topic in request.topics {
        let mut partitions = Vec::with_capacity(topic.partitions.len());
        for wanted in topic.partitions {
            let index = wanted.partition_index;
            let found = match find(core, &topic.name, index, wanted.current_leader_epoch) {
                Ok(partition) => look_up(partition, wanted.timestamp, committed_only).await,
                Err(error) => Err(error),
            };
            let response = ListOffsetsPartitionResponse::default()
                .with_partition_index(index)
                .with_error_code(code(&found))
                .with_timestamp(-1)
                .with_offset(-1);
            partitions.push(match found {
                Ok((offset, timestamp)) => {
                    let epoch = if version >= 4 && offset >= 0 { LEADER_EPOCH } else { -1 };
                    response.with_offset(offset).with_timestamp(timestamp).with_leader_epoch(epoch)
                }
                Err(_) => response,
            });
        }
        topics.push(ListOffsetsTopicResponse::default().with_name(topic.name).with_partitions(partitions));
    }
    ListOffsetsResponse::default().with_topics(topics)
}

fn find(core: &Core, topic: &TopicName, index: i32, epoch: i32) -> Result<Arc<Partition>, ResponseError> {
    if epoch > LEADER_EPOCH {
        return Err(ResponseError::UnknownLeaderEpoch);
    }
    core.topics.partition(topic.as_str(), index).ok_or(ResponseError::UnknownTopicOrPartition)
}

/// Offset and timestamp for a question; offset -1 if no record is that young.
async fn look_up(partition: Arc<Partition>, time: i64, committed_only: bool) -> Result<(i64, i64), ResponseError> {
    let (start, end, youngest) = {
        let log = partition.lock();
        let end = if committed_only { log.last_stable_offset() } else { log.high_watermark };
        (log.start, end, log.segments.iter().map(|segment| segment.max_timestamp).max().unwrap_or(-1))
    };
    let time = match time {
        LATEST => return Ok((end, -1)),
        EARLIEST | EARLIEST_LOCAL => return Ok((start, -1)),
        LATEST_TIERED => return Ok((-1, -1)),
        MAX_TIMESTAMP if youngest < 0 => return Ok((-1, -1)),
        MAX_TIMESTAMP => youngest,
        time if time < 0 => return Err(ResponseError::InvalidRequest),
        time => time,
    };
    let searched = tokio::task::spawn_blocking(move || partition.batches_since(time, end)).await;
    match searched {
        Ok(Ok(batch)) => Ok(batch
            .and_then(|batch| records::first_since(&batch, time))
            .map_or((-1, -1), |(offset, time)| (offset.max(start), time))),
        Ok(Err(problem)) => {
            error!(error = %problem, "a segment cannot be read");
            Err(ResponseError::KafkaStorageError)
        }
        Err(_) => Err(ResponseError::UnknownServerError),
    }
}

pub(crate) fn for_leader_epoch(core: &Core, request: OffsetForLeaderEpochRequest) -> OffsetForLeaderEpochResponse {
    let topics = request.topics.into_iter().map(|topic| {
        let partitions = topic.partitions.iter().map(|wanted| {
            let found = find(core, &topic.topic, wanted.partition, wanted.current_leader_epoch);
            let response = EpochEndOffset::default().with_partition(wanted.partition).with_error_code(code(&found));
            match found {
                Ok(partition) if wanted.leader_epoch == LEADER_EPOCH => {
                    response.with_leader_epoch(LEADER_EPOCH).with_end_offset(partition.lock().high_watermark)
                }
                _ => response.with_leader_epoch(-1).with_end_offset(-1),
            }
        });
        let partitions = partitions.collect();
        OffsetForLeaderTopicResult::default().with_topic(topic.topic.clone()).with_partitions(partitions)
    });
    OffsetForLeaderEpochResponse::default().with_topics(topics.collect())
}

pub(crate) async fn delete_records(core: &Arc<Core>, request: DeleteRecordsRequest) -> DeleteRecordsResponse {
    let mut topics = Vec::with_capacity(request.topics.len());
    let mut last = 0;
    for topic in request.topics {
        let mut partitions = Vec::with_capacity(topic.partitions.len());
        for wanted in topic.partitions {
            let deleted = find(core, &topic.name, wanted.partition_index, -1).and_then(|partition| {
                core.journal.check().map_err(|_| ResponseError::KafkaStorageError)?;
                let mut log = partition.lock();
                let offset = if wanted.offset == -1 { log.high_watermark } else { wanted.offset };
                if offset < 0 || offset > log.high_watermark {
                    return Err(ResponseError::OffsetOutOfRange);
                }
                if offset > log.start {
                    last = last.max(advance_start(core, &core.housekeeper, &partition, &mut log, offset));
                }
                Ok(log.start)
            });
            partitions.push(
                DeleteRecordsPartitionResult::default()
                    .with_partition_index(wanted.partition_index)
                    .with_error_code(code(&deleted))
                    .with_low_watermark(deleted.unwrap_or(-1)),
            );
        }
        topics.push(DeleteRecordsTopicResult::default().with_name(topic.name).with_partitions(partitions));
    }
    core.journal.durable(last).await;
    DeleteRecordsResponse::default().with_topics(topics)
}
