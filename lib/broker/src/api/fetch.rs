//! Fetch: batches of many partitions, waiting for more if there are too few.
//!
//! In: offsets; out: whole batches below the high watermark, or below the last stable offset for readers of committed
//! data, with the aborted transactions that they must skip. A waiting fetch sleeps until an append becomes durable.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use kafka_protocol::ResponseError;
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchRequest};
use kafka_protocol::messages::fetch_response::{
    AbortedTransaction, FetchResponse, FetchableTopicResponse, PartitionData,
};
use kafka_protocol::messages::{ProducerId, TopicName};
use tokio::sync::Notify;
use tokio::time::Instant;
use tracing::error;

use crate::core::Core;
use crate::log::batch::Header;
use crate::log::partition::Partition;
use crate::log::read::{Read, Wanted};

/// An answer is not larger, whatever a client asks for (but for one batch that is).
const MAX_RESPONSE_BYTES: usize = 64 * 1024 * 1024;

/// Epochs of requests that name all they want (KIP-227): the one begins a session, the other has none or ends it.
const FULL_REQUESTS: [i32; 2] = [0, -1];

struct Target {
    topic: TopicName,
    request: FetchPartition,
    partition: Option<Arc<Partition>>,
}

struct Answer {
    data: PartitionData,
    /// Records to be read from disk, not there yet.
    disk: Option<Wanted>,
}

pub(crate) async fn fetch(core: &Arc<Core>, request: FetchRequest) -> FetchResponse {
    if !FULL_REQUESTS.contains(&request.session_epoch) {
        // Sessions are not given out (the answer always has session 0), so nobody can go on with one.
        return FetchResponse::default().with_error_code(ResponseError::FetchSessionIdNotFound.code());
    }
    let committed_only = request.isolation_level == 1;
    let max_bytes = usize::try_from(request.max_bytes).unwrap_or(0).min(MAX_RESPONSE_BYTES);
    let min_bytes = usize::try_from(request.min_bytes).unwrap_or(0);
    let deadline = Instant::now() + Duration::from_millis(u64::try_from(request.max_wait_ms).unwrap_or(0));
    let mut targets = Vec::new();
    for topic in request.topics {
        let known = core.topics.get(topic.topic.as_str());
        for request in topic.partitions {
            let partition = known.as_ref().and_then(|known| known.partition(request.partition)).cloned();
            targets.push(Target { topic: topic.topic.clone(), request, partition });
        }
    }
    let waiter = Arc::new(Notify::new());
    loop {
        // Registered before the read, so that no append between read and wait is missed.
        let waiting = register(&targets, &waiter);
        let answers = read(&targets, committed_only, max_bytes).await;
        let bytes: usize = answers.iter().filter_map(|answer| answer.records.as_ref()).map(Bytes::len).sum();
        let failed = answers.iter().any(|answer| answer.error_code != 0);
        let enough = bytes >= min_bytes || failed || targets.is_empty();
        if enough || tokio::time::timeout_at(deadline, waiter.notified()).await.is_err() {
            drop(waiting);
            return respond(targets, answers);
        }
    }
}

/// Takes its waiter out of all partitions when dropped.
struct Waiting<'a> {
    targets: &'a [Target],
    waiter: &'a Arc<Notify>,
}

fn register<'a>(targets: &'a [Target], waiter: &'a Arc<Notify>) -> Waiting<'a> {
    for partition in targets.iter().filter_map(|target| target.partition.as_ref()) {
        partition.lock().wait(waiter);
    }
    Waiting { targets, waiter }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        for partition in self.targets.iter().filter_map(|target| target.partition.as_ref()) {
            partition.lock().stop_waiting(self.waiter);
        }
    }
}

async fn read(targets: &[Target], committed_only: bool, max_bytes: usize) -> Vec<PartitionData> {
    let mut left = max_bytes;
    let mut nothing_yet = true;
    let mut answers = Vec::with_capacity(targets.len());
    for target in targets {
        let answer = plan(target, committed_only, left, nothing_yet);
        let planned =
            answer.disk.map_or_else(|| answer.data.records.as_ref().map_or(0, Bytes::len), |wanted| wanted.max_bytes);
        nothing_yet &= planned == 0;
        left = left.saturating_sub(planned);
        answers.push(answer);
    }
    let blocking: Vec<(usize, Arc<Partition>, Wanted)> = answers
        .iter()
        .zip(targets)
        .enumerate()
        .filter_map(|(at, (answer, target))| Some((at, target.partition.clone()?, answer.disk?)))
        .collect();
    let mut answers: Vec<PartitionData> = answers.into_iter().map(|answer| answer.data).collect();
    if blocking.is_empty() {
        return answers;
    }
    let read = tokio::task::spawn_blocking(move || {
        let read = |(at, partition, wanted): (usize, Arc<Partition>, Wanted)| (at, partition.read_blocking(wanted));
        blocking.into_iter().map(read).collect::<Vec<_>>()
    });
    for (at, result) in read.await.unwrap_or_default() {
        let Some(data) = answers.get_mut(at) else { continue };
        match result {
            Ok(records) => data.records = Some(records),
            Err(problem) => {
                error!(error = %problem, "a segment cannot be read");
                data.error_code = ResponseError::KafkaStorageError.code();
            }
        }
    }
    for (data, target) in answers.iter_mut().zip(targets) {
        if committed_only && data.error_code == 0 {
            add_aborted(data, target);
        }
    }
    answers
}

fn plan(target: &Target, committed_only: bool, left: usize, nothing_yet: bool) -> Answer {
    let request = &target.request;
    let data = PartitionData::default().with_partition_index(request.partition).with_records(Some(Bytes::new()));
    let refuse = |data: PartitionData, error: ResponseError| Answer {
        data: data.with_error_code(error.code()).with_high_watermark(-1).with_aborted_transactions(None),
        disk: None,
    };
    let Some(partition) = &target.partition else { return refuse(data, ResponseError::UnknownTopicOrPartition) };
    let log = partition.lock();
    if log.deleted {
        return refuse(data, ResponseError::UnknownTopicOrPartition);
    }
    if request.current_leader_epoch > 0 {
        return refuse(data, ResponseError::UnknownLeaderEpoch);
    }
    if request.fetch_offset < log.start || request.fetch_offset > log.end {
        return refuse(data, ResponseError::OffsetOutOfRange);
    }
    let stable = log.last_stable_offset();
    let wanted = Wanted {
        offset: request.fetch_offset,
        below: if committed_only { stable } else { log.high_watermark },
        max_bytes: left.min(usize::try_from(request.partition_max_bytes).unwrap_or(0)),
        at_least_one: nothing_yet,
    };
    let read = partition.plan(&log, wanted);
    let mut data = data
        .with_high_watermark(log.high_watermark)
        .with_last_stable_offset(stable)
        .with_log_start_offset(log.start)
        .with_aborted_transactions(committed_only.then(Vec::new));
    drop(log);
    match read {
        Read::Ready(records) => {
            data.records = Some(records);
            if committed_only {
                add_aborted(&mut data, target);
            }
            Answer { data, disk: None }
        }
        Read::Disk(_) if wanted.max_bytes == 0 && !nothing_yet => Answer { data, disk: None },
        Read::Disk(_) => Answer { data, disk: Some(wanted) },
    }
}

/// The aborted transactions among the records of the answer.
fn add_aborted(data: &mut PartitionData, target: &Target) {
    let end = data.records.as_ref().map_or(0, end_of);
    let Some(partition) = target.partition.as_ref().filter(|_| end > 0) else { return };
    let aborted = partition.lock().aborted_between(target.request.fetch_offset, end);
    let aborted = aborted.iter().map(|aborted| {
        AbortedTransaction::default()
            .with_producer_id(ProducerId(aborted.producer_id))
            .with_first_offset(aborted.first_offset)
    });
    data.aborted_transactions = Some(aborted.collect());
}

/// Offset behind the last of some batches.
fn end_of(records: &Bytes) -> i64 {
    let (mut at, mut end) = (0, 0);
    while let Some(header) = records.get(at..).and_then(|rest| Header::parse(rest).ok()) {
        end = header.last_offset() + 1;
        at += header.size;
    }
    end
}

fn respond(targets: Vec<Target>, answers: Vec<PartitionData>) -> FetchResponse {
    let mut topics: Vec<FetchableTopicResponse> = Vec::new();
    for (target, data) in targets.into_iter().zip(answers) {
        match topics.last_mut() {
            Some(last) if last.topic == target.topic => last.partitions.push(data),
            _ => topics.push(FetchableTopicResponse::default().with_topic(target.topic).with_partitions(vec![data])),
        }
    }
    FetchResponse::default().with_responses(topics)
}
