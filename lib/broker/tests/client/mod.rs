//! A client of one connection that outlives its broker's restarts, with the few requests that tests of what lasts are made of.
//!
//! In: what to do; out: the answer, the broker's error code, or nothing where it is not known whether it was done.

#![allow(dead_code, unreachable_pub)]

use std::fmt;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use kafka_protocol::messages::*;
use kafka_protocol::records::*;

use crate::wire::{Wire, text};

/// Longer than any request of a history may take: a broker that is silent so long is as good as away.
const SILENCE: Duration = Duration::from_millis(1500);

/// What records hold: a number that no other has.
pub type Value = u64;

/// A partition of a topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place(pub &'static str, pub i32);

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.0, self.1)
    }
}

pub struct Client {
    address: SocketAddr,
    deadline: Instant,
    wire: Option<Wire>,
}

/// What became of a request: done, refused by this code, or nobody knows.
pub type Answer<T> = Option<Result<T, i16>>;

pub struct Batch {
    pub producer: (i64, i16),
    pub sequence: i32,
    pub values: Vec<Value>,
    pub padding: usize,
}

/// What a fetch of committed data shows.
pub struct Fetched {
    pub found: Vec<(i64, Value)>,
    pub next: i64,
    pub high_watermark: i64,
    pub stable: i64,
}

fn judged<T>(code: i16, value: T) -> Answer<T> {
    Some(if code == 0 { Ok(value) } else { Err(code) })
}

pub fn topic(place: Place) -> TopicName {
    TopicName(text(place.0))
}

impl Client {
    /// It gives up at the deadline, whatever is still to be done.
    pub fn new(address: SocketAddr, deadline: Instant) -> Self {
        Self { address, deadline, wire: None }
    }

    pub fn is_late(&self) -> bool {
        Instant::now() >= self.deadline
    }

    fn ask(&mut self, api: ApiKey, version: i16, request: &RequestKind) -> Option<ResponseKind> {
        while self.wire.is_none() {
            if self.is_late() {
                return None;
            }
            self.wire = Wire::try_connect(self.address, SILENCE).ok();
            if self.wire.is_none() {
                std::thread::sleep(Duration::from_millis(5));
            }
        }
        let answer = self.wire.as_mut()?.try_ask(api, version, request);
        if answer.is_none() {
            self.wire = None;
        }
        answer
    }

    /// The id and epoch for a transactional id, or of a producer without one.
    pub fn init(&mut self, id: Option<&str>, timeout: Duration) -> Answer<(i64, i16)> {
        let request = InitProducerIdRequest::default()
            .with_transactional_id(id.map(|id| TransactionalId(text(id))))
            .with_transaction_timeout_ms(i32::try_from(timeout.as_millis()).unwrap())
            .with_producer_id(ProducerId(-1))
            .with_producer_epoch(-1);
        let answer = self.ask(ApiKey::InitProducerId, 4, &request.into())?;
        let ResponseKind::InitProducerId(answer) = answer else { panic!("{answer:?}") };
        judged(answer.error_code, (answer.producer_id.0, answer.producer_epoch))
    }

    /// Where the batch begins.
    pub fn send(&mut self, id: Option<&str>, place: Place, batch: &Batch) -> Answer<i64> {
        let data = produce_request::PartitionProduceData::default()
            .with_index(place.1)
            .with_records(Some(encode(batch, id.is_some())));
        let data = produce_request::TopicProduceData::default().with_name(topic(place)).with_partition_data(vec![data]);
        let request = ProduceRequest::default()
            .with_acks(-1)
            .with_timeout_ms(1000)
            .with_transactional_id(id.map(|id| TransactionalId(text(id))))
            .with_topic_data(vec![data]);
        let answer = self.ask(ApiKey::Produce, 9, &request.into())?;
        let ResponseKind::Produce(answer) = answer else { panic!("{answer:?}") };
        let partition = &answer.responses[0].partition_responses[0];
        // Timed out: it may become durable yet.
        if partition.error_code == 7 { None } else { judged(partition.error_code, partition.base_offset) }
    }

    pub fn add_partitions(&mut self, id: &str, producer: (i64, i16), places: &[Place]) -> Answer<()> {
        let topics = places.iter().map(|place| {
            add_partitions_to_txn_request::AddPartitionsToTxnTopic::default()
                .with_name(topic(*place))
                .with_partitions(vec![place.1])
        });
        let request = AddPartitionsToTxnRequest::default()
            .with_v3_and_below_transactional_id(TransactionalId(text(id)))
            .with_v3_and_below_producer_id(ProducerId(producer.0))
            .with_v3_and_below_producer_epoch(producer.1)
            .with_v3_and_below_topics(topics.collect());
        let answer = self.ask(ApiKey::AddPartitionsToTxn, 3, &request.into())?;
        let ResponseKind::AddPartitionsToTxn(answer) = answer else { panic!("{answer:?}") };
        let results = answer.results_by_topic_v3_and_below.iter().flat_map(|topic| &topic.results_by_partition);
        judged(results.map(|result| result.partition_error_code).find(|code| *code != 0).unwrap_or(0), ())
    }

    pub fn send_offsets(
        &mut self,
        id: &str,
        producer: (i64, i16),
        group: &str,
        place: Place,
        offset: i64,
    ) -> Answer<()> {
        let request = AddOffsetsToTxnRequest::default()
            .with_transactional_id(TransactionalId(text(id)))
            .with_producer_id(ProducerId(producer.0))
            .with_producer_epoch(producer.1)
            .with_group_id(GroupId(text(group)));
        let answer = self.ask(ApiKey::AddOffsetsToTxn, 3, &request.into())?;
        let ResponseKind::AddOffsetsToTxn(answer) = answer else { panic!("{answer:?}") };
        if answer.error_code != 0 {
            return judged(answer.error_code, ());
        }
        let partition = txn_offset_commit_request::TxnOffsetCommitRequestPartition::default()
            .with_partition_index(place.1)
            .with_committed_offset(offset);
        let topics = txn_offset_commit_request::TxnOffsetCommitRequestTopic::default()
            .with_name(topic(place))
            .with_partitions(vec![partition]);
        let request = TxnOffsetCommitRequest::default()
            .with_transactional_id(TransactionalId(text(id)))
            .with_group_id(GroupId(text(group)))
            .with_producer_id(ProducerId(producer.0))
            .with_producer_epoch(producer.1)
            .with_topics(vec![topics]);
        let answer = self.ask(ApiKey::TxnOffsetCommit, 3, &request.into())?;
        let ResponseKind::TxnOffsetCommit(answer) = answer else { panic!("{answer:?}") };
        judged(answer.topics[0].partitions[0].error_code, ())
    }

    pub fn end(&mut self, id: &str, producer: (i64, i16), commit: bool) -> Answer<()> {
        let request = EndTxnRequest::default()
            .with_transactional_id(TransactionalId(text(id)))
            .with_producer_id(ProducerId(producer.0))
            .with_producer_epoch(producer.1)
            .with_committed(commit);
        let answer = self.ask(ApiKey::EndTxn, 3, &request.into())?;
        let ResponseKind::EndTxn(answer) = answer else { panic!("{answer:?}") };
        judged(answer.error_code, ())
    }

    /// Committed data from a position on, as a client library would give it to its user.
    pub fn fetch(&mut self, place: Place, position: i64, max_bytes: i32, wait: Duration) -> Answer<Fetched> {
        let partition = fetch_request::FetchPartition::default()
            .with_partition(place.1)
            .with_fetch_offset(position)
            .with_partition_max_bytes(max_bytes);
        let topics = fetch_request::FetchTopic::default().with_topic(topic(place)).with_partitions(vec![partition]);
        let request = FetchRequest::default()
            .with_max_wait_ms(i32::try_from(wait.as_millis()).unwrap())
            .with_min_bytes(1)
            .with_max_bytes(max_bytes)
            .with_isolation_level(1)
            .with_session_epoch(-1)
            .with_topics(vec![topics]);
        let answer = self.ask(ApiKey::Fetch, 12, &request.into())?;
        let ResponseKind::Fetch(answer) = answer else { panic!("{answer:?}") };
        let partition = &answer.responses[0].partitions[0];
        if partition.error_code != 0 {
            return Some(Err(partition.error_code));
        }
        let (found, next) = committed(partition, position);
        let (high_watermark, stable) = (partition.high_watermark, partition.last_stable_offset);
        Some(Ok(Fetched { found, next, high_watermark, stable }))
    }

    /// What a group has committed; -1 for nothing.
    pub fn committed(&mut self, group: &str, place: Place) -> Answer<i64> {
        let topics = offset_fetch_request::OffsetFetchRequestTopic::default()
            .with_name(topic(place))
            .with_partition_indexes(vec![place.1]);
        let request = OffsetFetchRequest::default()
            .with_group_id(GroupId(text(group)))
            .with_topics(Some(vec![topics]))
            .with_require_stable(true);
        let answer = self.ask(ApiKey::OffsetFetch, 7, &request.into())?;
        let ResponseKind::OffsetFetch(answer) = answer else { panic!("{answer:?}") };
        let partition = &answer.topics[0].partitions[0];
        judged(partition.error_code, partition.committed_offset)
    }

    pub fn commit(&mut self, group: &str, member: &str, generation: i32, place: Place, offset: i64) -> Answer<()> {
        let partition = offset_commit_request::OffsetCommitRequestPartition::default()
            .with_partition_index(place.1)
            .with_committed_offset(offset);
        let topics = offset_commit_request::OffsetCommitRequestTopic::default()
            .with_name(topic(place))
            .with_partitions(vec![partition]);
        let request = OffsetCommitRequest::default()
            .with_group_id(GroupId(text(group)))
            .with_generation_id_or_member_epoch(generation)
            .with_member_id(text(member))
            .with_topics(vec![topics]);
        let answer = self.ask(ApiKey::OffsetCommit, 8, &request.into())?;
        let ResponseKind::OffsetCommit(answer) = answer else { panic!("{answer:?}") };
        judged(answer.topics[0].partitions[0].error_code, ())
    }

    /// The answer to a join; it holds the member's new id also where that is an error.
    pub fn join(&mut self, group: &str, member: &str) -> Option<JoinGroupResponse> {
        let protocol = join_group_request::JoinGroupRequestProtocol::default().with_name(text("own"));
        let request = JoinGroupRequest::default()
            .with_group_id(GroupId(text(group)))
            .with_session_timeout_ms(500)
            .with_rebalance_timeout_ms(200)
            .with_member_id(text(member))
            .with_protocol_type(text("consumer"))
            .with_protocols(vec![protocol]);
        let answer = self.ask(ApiKey::JoinGroup, 7, &request.into())?;
        let ResponseKind::JoinGroup(answer) = answer else { panic!("{answer:?}") };
        Some(answer)
    }

    /// The member's share, in the words of the leader that gave it.
    pub fn sync(
        &mut self,
        group: &str,
        member: &str,
        generation: i32,
        shares: Vec<(String, Vec<u8>)>,
    ) -> Answer<Bytes> {
        let shares = shares.into_iter().map(|(member, share)| {
            sync_group_request::SyncGroupRequestAssignment::default()
                .with_member_id(text(&member))
                .with_assignment(share.into())
        });
        let request = SyncGroupRequest::default()
            .with_group_id(GroupId(text(group)))
            .with_member_id(text(member))
            .with_generation_id(generation)
            .with_protocol_type(Some(text("consumer")))
            .with_protocol_name(Some(text("own")))
            .with_assignments(shares.collect());
        let answer = self.ask(ApiKey::SyncGroup, 5, &request.into())?;
        let ResponseKind::SyncGroup(answer) = answer else { panic!("{answer:?}") };
        judged(answer.error_code, answer.assignment)
    }

    pub fn heartbeat(&mut self, group: &str, member: &str, generation: i32) -> Answer<()> {
        let request = HeartbeatRequest::default()
            .with_group_id(GroupId(text(group)))
            .with_member_id(text(member))
            .with_generation_id(generation);
        let answer = self.ask(ApiKey::Heartbeat, 4, &request.into())?;
        let ResponseKind::Heartbeat(answer) = answer else { panic!("{answer:?}") };
        judged(answer.error_code, ())
    }

    pub fn leave(&mut self, group: &str, member: &str) -> Answer<()> {
        let member = leave_group_request::MemberIdentity::default().with_member_id(text(member));
        let request = LeaveGroupRequest::default().with_group_id(GroupId(text(group))).with_members(vec![member]);
        let answer = self.ask(ApiKey::LeaveGroup, 4, &request.into())?;
        let ResponseKind::LeaveGroup(answer) = answer else { panic!("{answer:?}") };
        judged(answer.members[0].error_code, ())
    }
}

fn encode(batch: &Batch, transactional: bool) -> Bytes {
    let records: Vec<Record> = (0i32..)
        .zip(&batch.values)
        .map(|(at, value)| Record {
            transactional,
            control: false,
            delete_horizon: false,
            partition_leader_epoch: 0,
            producer_id: batch.producer.0,
            producer_epoch: batch.producer.1,
            timestamp_type: TimestampType::Creation,
            offset: i64::from(at),
            sequence: batch.sequence + at,
            timestamp: crate::running::now_ms(),
            key: None,
            value: Some([value.to_be_bytes().as_slice(), &vec![0; batch.padding]].concat().into()),
            headers: kafka_protocol::indexmap::IndexMap::new(),
        })
        .collect();
    let mut bytes = BytesMut::new();
    let options = RecordEncodeOptions { version: 2, compression: Compression::None };
    RecordBatchEncoder::encode(&mut bytes, &records, &options).unwrap();
    bytes.freeze()
}

/// The records of an answer that a reader of committed data gives to its user, by the rules of Kafka's consumer.
fn committed(partition: &fetch_response::PartitionData, position: i64) -> (Vec<(i64, Value)>, i64) {
    let mut bytes = partition.records.clone().unwrap_or_default();
    let sets = RecordBatchDecoder::decode_all(&mut bytes).unwrap();
    let mut aborted: Vec<(i64, i64)> = partition
        .aborted_transactions
        .iter()
        .flatten()
        .map(|aborted| (aborted.first_offset, aborted.producer_id.0))
        .collect();
    aborted.sort_unstable_by(|one, other| other.cmp(one));
    let mut skipped = std::collections::HashSet::new();
    let (mut found, mut next) = (Vec::new(), position);
    for record in sets.into_iter().flat_map(|set| set.records) {
        while let Some((_, producer)) = aborted.pop_if(|(first, _)| *first <= record.offset) {
            skipped.insert(producer);
        }
        next = next.max(record.offset + 1);
        if record.control {
            // A marker's key is its version and then what it does: 0 aborts.
            if record.key.as_ref().is_some_and(|key| key[2..4] == [0, 0]) {
                skipped.remove(&record.producer_id);
            }
        } else if record.offset >= position && !(record.transactional && skipped.contains(&record.producer_id)) {
            let value = record.value.unwrap();
            found.push((record.offset, Value::from_be_bytes(value[..8].try_into().unwrap())));
        }
    }
    (found, next)
}
