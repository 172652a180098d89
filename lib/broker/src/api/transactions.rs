//! InitProducerId, AddPartitionsToTxn, AddOffsetsToTxn, TxnOffsetCommit and EndTxn.

use std::sync::Arc;
use std::time::Duration;

use kafka_protocol::ResponseError;
use kafka_protocol::messages::add_partitions_to_txn_response::{
    AddPartitionsToTxnPartitionResult, AddPartitionsToTxnResponse, AddPartitionsToTxnTopicResult,
};
use kafka_protocol::messages::txn_offset_commit_response::{
    TxnOffsetCommitResponse, TxnOffsetCommitResponsePartition, TxnOffsetCommitResponseTopic,
};
use kafka_protocol::messages::{
    AddOffsetsToTxnRequest, AddOffsetsToTxnResponse, AddPartitionsToTxnRequest, EndTxnRequest, EndTxnResponse,
    InitProducerIdRequest, InitProducerIdResponse, ProducerId, TxnOffsetCommitRequest,
};
use kafka_protocol::protocol::StrBytes;

use super::code;
use super::group_offsets::{Committer, accept};
use crate::core::Core;
use crate::log::journal::{Frame, Lsn};
use crate::log::op::Op;
use crate::transactions::{Producer, Status};

/// Clients of old versions do not know `PRODUCER_FENCED`.
fn known_to(error: ResponseError, version: i16, since: i16) -> ResponseError {
    match error {
        ResponseError::ProducerFenced if version < since => ResponseError::InvalidProducerEpoch,
        other => other,
    }
}

/// Waits for what succeeded; no change is taken while the disk refuses.
async fn settle(core: &Core, result: Result<Lsn, ResponseError>) -> Result<(), ResponseError> {
    core.journal.durable(result?).await;
    Ok(())
}

fn writable(core: &Core) -> Result<(), ResponseError> {
    core.journal.check().map_err(|_| ResponseError::CoordinatorNotAvailable)
}

pub(crate) async fn init(core: &Arc<Core>, request: InitProducerIdRequest, version: i16) -> InitProducerIdResponse {
    let known = Producer { id: request.producer_id.0, epoch: request.producer_epoch };
    let known = Some(known).filter(|known| version >= 3 && known.id >= 0);
    let begun = writable(core).and_then(|()| match &request.transactional_id {
        None => {
            let (id, lsn) = core.new_producer_id();
            Ok((Producer { id, epoch: 0 }, lsn))
        }
        Some(id) if id.is_empty() => Err(ResponseError::InvalidRequest),
        Some(id) => {
            let timeout = Duration::from_millis(u64::try_from(request.transaction_timeout_ms).unwrap_or(0));
            core.init_transactional(id.as_str(), timeout, known)
        }
    });
    let response = InitProducerIdResponse::default();
    match begun {
        Ok((producer, lsn)) => {
            core.journal.durable(lsn).await;
            response.with_producer_id(ProducerId(producer.id)).with_producer_epoch(producer.epoch)
        }
        Err(error) => response
            .with_error_code(known_to(error, version, 4).code())
            .with_producer_id(ProducerId(-1))
            .with_producer_epoch(-1),
    }
}

pub(crate) async fn add_partitions(
    core: &Arc<Core>,
    request: AddPartitionsToTxnRequest,
    version: i16,
) -> AddPartitionsToTxnResponse {
    let producer = Producer { id: request.v3_and_below_producer_id.0, epoch: request.v3_and_below_producer_epoch };
    let mut places = Vec::new();
    let mut all_known = true;
    for topic in &request.v3_and_below_topics {
        let known = core.topics.get(topic.name.as_str());
        for index in &topic.partitions {
            match known.as_ref().filter(|known| known.partition(*index).is_some()) {
                Some(known) => places.push(Some((known.id, *index))),
                None => {
                    all_known = false;
                    places.push(None);
                }
            }
        }
    }
    let added = if all_known {
        let partitions: Vec<_> = places.iter().flatten().copied().collect();
        let id = request.v3_and_below_transactional_id.as_str();
        let added = writable(core).and_then(|()| core.add_partitions(id, producer, &partitions));
        settle(core, added).await
    } else {
        // All or none, as Kafka does.
        Err(ResponseError::OperationNotAttempted)
    };
    let error = added.err().map_or(0, |error| known_to(error, version, 2).code());
    let mut places = places.into_iter();
    let topics = request.v3_and_below_topics.into_iter().map(|topic| {
        let partitions = topic.partitions.iter().map(|index| {
            let known = places.next().flatten().is_some();
            let error = if known { error } else { ResponseError::UnknownTopicOrPartition.code() };
            AddPartitionsToTxnPartitionResult::default().with_partition_index(*index).with_partition_error_code(error)
        });
        let partitions = partitions.collect();
        AddPartitionsToTxnTopicResult::default().with_name(topic.name).with_results_by_partition(partitions)
    });
    AddPartitionsToTxnResponse::default().with_results_by_topic_v3_and_below(topics.collect())
}

pub(crate) async fn add_offsets(
    core: &Arc<Core>,
    request: AddOffsetsToTxnRequest,
    version: i16,
) -> AddOffsetsToTxnResponse {
    let producer = Producer { id: request.producer_id.0, epoch: request.producer_epoch };
    let added = writable(core).and_then(|()| {
        core.groups.get_or_create(request.group_id.as_str()).ok_or(ResponseError::GroupMaxSizeReached)?;
        core.add_group(request.transactional_id.as_str(), producer, request.group_id.as_str())
    });
    let added = settle(core, added).await.map_err(|error| known_to(error, version, 2));
    AddOffsetsToTxnResponse::default().with_error_code(code(&added))
}

pub(crate) async fn commit_offsets(
    core: &Arc<Core>,
    request: TxnOffsetCommitRequest,
    version: i16,
) -> TxnOffsetCommitResponse {
    let stored = writable(core).and_then(|()| store_offsets(core, &request));
    let (results, failed) = match stored {
        Ok((results, lsn)) => {
            core.journal.durable(lsn).await;
            (results, 0)
        }
        Err(error) => (Vec::new(), known_to(error, version, 3).code()),
    };
    let mut results = results.into_iter();
    let topics = request.topics.into_iter().map(|topic| {
        let partitions = topic.partitions.iter().map(|wanted| {
            TxnOffsetCommitResponsePartition::default()
                .with_partition_index(wanted.partition_index)
                .with_error_code(results.next().unwrap_or(failed))
        });
        let partitions = partitions.collect();
        TxnOffsetCommitResponseTopic::default().with_name(topic.name).with_partitions(partitions)
    });
    TxnOffsetCommitResponse::default().with_topics(topics.collect())
}

fn store_offsets(core: &Core, request: &TxnOffsetCommitRequest) -> Result<(Vec<i16>, Lsn), ResponseError> {
    let producer = Producer { id: request.producer_id.0, epoch: request.producer_epoch };
    let transaction =
        core.transactions.get(request.transactional_id.as_str()).ok_or(ResponseError::InvalidProducerIdMapping)?;
    // Held until the offsets are in, so that the transaction cannot end in between.
    let state = transaction.lock();
    state.check(producer)?;
    if state.status != Status::Ongoing || !state.groups.contains(request.group_id.as_str()) {
        return Err(ResponseError::InvalidTxnState);
    }
    let group = core.groups.get(request.group_id.as_str()).ok_or(ResponseError::GroupIdNotFound)?;
    let mut group_state = group.lock();
    let committer = Committer {
        generation: request.generation_id,
        member_id: request.member_id.as_str(),
        instance: request.group_instance_id.as_ref().map(StrBytes::as_str),
    };
    committer.check_transactional(&group_state)?;
    let mut frame = Frame::default();
    let mut results = Vec::new();
    for topic in &request.topics {
        for wanted in &topic.partitions {
            let index = wanted.partition_index;
            let (offset, epoch) = (wanted.committed_offset, wanted.committed_leader_epoch);
            let accepted = accept(core, &topic.name, index, offset, epoch, wanted.committed_metadata.as_ref());
            results.push(code(&accepted));
            let Ok(committed) = accepted else { continue };
            let place = (topic.name.to_string(), index);
            group_state.offsets.put_pending(producer.id, place.clone(), committed.clone());
            let (topic, partition) = place;
            frame.push(&Op::PutPending {
                group: group.id.clone(),
                producer_id: producer.id,
                topic,
                partition,
                committed,
            });
        }
    }
    let lsn = if frame.is_empty() { core.journal.submitted() } else { core.journal.submit(frame) };
    group_state.offsets_changed = lsn;
    Ok((results, lsn))
}

pub(crate) async fn end(core: &Arc<Core>, request: EndTxnRequest, version: i16) -> EndTxnResponse {
    let producer = Producer { id: request.producer_id.0, epoch: request.producer_epoch };
    let ended = writable(core)
        .and_then(|()| core.end_transaction(request.transactional_id.as_str(), producer, request.committed));
    let ended = settle(core, ended).await.map_err(|error| known_to(error, version, 2));
    EndTxnResponse::default().with_error_code(code(&ended))
}
