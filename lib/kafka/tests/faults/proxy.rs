//! A proxy between clients and the broker that knows Kafka's framing: it can hold, cut or refuse chosen requests of a
//! chosen client, and remembers what passed. The broker's address is replaced in answers, so that clients stay here.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use bytes::{BufMut, Bytes, BytesMut};
use kafka_protocol::messages::add_partitions_to_txn_response::{
    AddPartitionsToTxnPartitionResult, AddPartitionsToTxnTopicResult,
};
use kafka_protocol::messages::offset_commit_response::{OffsetCommitResponsePartition, OffsetCommitResponseTopic};
use kafka_protocol::messages::produce_response::{PartitionProduceResponse, TopicProduceResponse};
use kafka_protocol::messages::txn_offset_commit_response::{
    TxnOffsetCommitResponsePartition, TxnOffsetCommitResponseTopic,
};
use kafka_protocol::messages::{
    AddOffsetsToTxnResponse, AddPartitionsToTxnResponse, ApiKey, EndTxnResponse, InitProducerIdResponse,
    OffsetCommitResponse, ProduceResponse, ProducerId, RequestHeader, RequestKind, ResponseHeader, ResponseKind,
    TxnOffsetCommitResponse,
};
use kafka_protocol::protocol::{Decodable, Encodable, StrBytes};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// What happens to a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// It waits here for [`Rule::release`], also when its client has gone.
    HoldRequest,
    /// The broker answers; the answer waits here.
    HoldAnswer,
    /// The connection is closed; the broker never sees the request.
    CutRequest,
    /// The broker answers; the connection is closed instead.
    CutAnswer,
    /// The proxy answers with this code; the broker never sees the request.
    Refuse(i16),
}

/// A fault for some requests of one client: after `skip` of them, `times`.
pub struct Rule {
    client: String,
    api: ApiKey,
    fault: Fault,
    left: Mutex<(usize, usize)>,
    state: watch::Sender<State>,
}

#[derive(Debug, Default, Clone, Copy)]
struct State {
    met: usize,
    released: bool,
    answered: Option<i16>,
}

impl Rule {
    fn takes(&self, client: &str, api: ApiKey) -> bool {
        if self.client != client || self.api != api {
            return false;
        }
        let mut left = self.left.lock().unwrap();
        match *left {
            (0, 0) => false,
            (0, times) => {
                left.1 = times - 1;
                true
            }
            (skip, _) => {
                left.0 = skip - 1;
                false
            }
        }
    }

    /// Waits until the fault has struck.
    pub async fn met(&self) {
        self.state.subscribe().wait_for(|state| state.met > 0).await.unwrap();
    }

    pub fn times_met(&self) -> usize {
        self.state.borrow().met
    }

    pub fn release(&self) {
        self.state.send_modify(|state| state.released = true);
    }

    /// The code with which the broker answered what was held.
    pub async fn answered(&self) -> i16 {
        self.state.subscribe().wait_for(|state| state.answered.is_some()).await.unwrap().answered.unwrap()
    }

    async fn pass(&self) {
        self.state.send_modify(|state| state.met += 1);
        self.state.subscribe().wait_for(|state| state.released).await.unwrap();
    }
}

/// A request that came by, and the broker's code when its answer did.
#[derive(Debug, Clone)]
pub struct Seen {
    pub client: String,
    pub api: ApiKey,
    pub answered: Option<i16>,
}

pub struct Proxy {
    pub address: String,
    shared: Arc<Shared>,
}

struct Shared {
    upstream: String,
    port: i32,
    rules: Mutex<Vec<Arc<Rule>>>,
    seen: Mutex<Vec<Seen>>,
}

/// A request whose answer is awaited.
struct Pending {
    api: ApiKey,
    version: i16,
    seen: usize,
    rule: Option<Arc<Rule>>,
}

type Waiting = Arc<Mutex<HashMap<i32, Pending>>>;
type Client = Arc<tokio::sync::Mutex<OwnedWriteHalf>>;

impl Proxy {
    pub async fn start(upstream: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            upstream: upstream.to_owned(),
            port: i32::from(address.port()),
            rules: Mutex::default(),
            seen: Mutex::default(),
        });
        let connections = Arc::clone(&shared);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let Ok(broker) = TcpStream::connect(&connections.upstream).await else { continue };
                client.set_nodelay(true).unwrap();
                broker.set_nodelay(true).unwrap();
                let (from_client, to_client) = client.into_split();
                let (from_broker, to_broker) = broker.into_split();
                let (waiting, to_client) = (Waiting::default(), Arc::new(tokio::sync::Mutex::new(to_client)));
                tokio::spawn(answers(Arc::clone(&connections), from_broker, Arc::clone(&to_client), waiting.clone()));
                tokio::spawn(requests(Arc::clone(&connections), from_client, to_broker, to_client, waiting));
            }
        });
        Self { address: address.to_string(), shared }
    }

    /// The next request of this kind, after `skip` others.
    pub fn fault(&self, client: &str, api: ApiKey, skip: usize, fault: Fault) -> Arc<Rule> {
        self.faults(client, api, skip, 1, fault)
    }

    pub fn faults(&self, client: &str, api: ApiKey, skip: usize, times: usize, fault: Fault) -> Arc<Rule> {
        let rule = Arc::new(Rule {
            client: client.to_owned(),
            api,
            fault,
            left: Mutex::new((skip, times)),
            state: watch::Sender::default(),
        });
        self.shared.rules.lock().unwrap().push(Arc::clone(&rule));
        rule
    }

    /// What this client sent so far, of this kind.
    pub fn seen(&self, client: &str, api: ApiKey) -> Vec<Seen> {
        let seen = self.shared.seen.lock().unwrap();
        seen.iter().filter(|seen| seen.client == client && seen.api == api).cloned().collect()
    }
}

async fn frame(from: &mut OwnedReadHalf) -> Option<Bytes> {
    let size = from.read_i32().await.ok()?;
    let mut bytes = vec![0; usize::try_from(size).unwrap()];
    from.read_exact(&mut bytes).await.ok()?;
    Some(Bytes::from(bytes))
}

async fn send(to: &mut OwnedWriteHalf, frame: &[u8]) {
    let mut bytes = BytesMut::with_capacity(frame.len() + 4);
    bytes.put_i32(i32::try_from(frame.len()).unwrap());
    bytes.put_slice(frame);
    // Who has gone needs no answer.
    to.write_all(&bytes).await.ok();
}

async fn requests(
    shared: Arc<Shared>,
    mut client: OwnedReadHalf,
    mut broker: OwnedWriteHalf,
    to_client: Client,
    waiting: Waiting,
) {
    while let Some(frame) = frame(&mut client).await {
        let api = ApiKey::try_from(i16::from_be_bytes([frame[0], frame[1]])).unwrap();
        let version = i16::from_be_bytes([frame[2], frame[3]]);
        let mut body = frame.clone();
        let header = RequestHeader::decode(&mut body, api.request_header_version(version)).unwrap();
        let name = header.client_id.map(|id| id.to_string()).unwrap_or_default();
        let rule = shared.rules.lock().unwrap().iter().find(|rule| rule.takes(&name, api)).cloned();
        let seen = {
            let mut seen = shared.seen.lock().unwrap();
            seen.push(Seen { client: name, api, answered: None });
            seen.len() - 1
        };
        match rule.as_ref().map(|rule| (rule, rule.fault)) {
            None | Some((_, Fault::HoldAnswer | Fault::CutAnswer)) => {}
            Some((rule, Fault::HoldRequest)) => rule.pass().await,
            Some((rule, Fault::CutRequest)) => {
                rule.state.send_modify(|state| state.met += 1);
                to_client.lock().await.shutdown().await.ok();
                return;
            }
            Some((rule, Fault::Refuse(code))) => {
                let request = RequestKind::decode(api, &mut body, version).unwrap();
                let answer = encode(api, version, header.correlation_id, &refusal(request, code));
                send(&mut *to_client.lock().await, &answer).await;
                rule.state.send_modify(|state| state.met += 1);
                continue;
            }
        }
        waiting.lock().unwrap().insert(header.correlation_id, Pending { api, version, seen, rule });
        send(&mut broker, &frame).await;
    }
    // What was held for a client that has gone is still the broker's to answer.
    while !waiting.lock().unwrap().is_empty() {
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
}

async fn answers(shared: Arc<Shared>, mut broker: OwnedReadHalf, client: Client, waiting: Waiting) {
    while let Some(mut frame) = frame(&mut broker).await {
        let correlation_id = i32::from_be_bytes([frame[0], frame[1], frame[2], frame[3]]);
        let Some(pending) = waiting.lock().unwrap().remove(&correlation_id) else { continue };
        if let Some(mut answer) = decode(&pending, frame.clone()) {
            let code = look(&mut answer, shared.port);
            shared.seen.lock().unwrap()[pending.seen].answered = Some(code);
            if let Some(rule) = &pending.rule {
                rule.state.send_modify(|state| state.answered = Some(code));
            }
            frame = encode(pending.api, pending.version, correlation_id, &answer).freeze();
        }
        match pending.rule.as_ref().map(|rule| (rule, rule.fault)) {
            Some((rule, Fault::HoldAnswer)) => rule.pass().await,
            Some((rule, Fault::CutAnswer)) => {
                rule.state.send_modify(|state| state.met += 1);
                client.lock().await.shutdown().await.ok();
                continue;
            }
            None | Some((_, Fault::HoldRequest | Fault::CutRequest | Fault::Refuse(_))) => {}
        }
        send(&mut *client.lock().await, &frame).await;
    }
}

/// The answers that are looked into.
fn decode(pending: &Pending, mut frame: Bytes) -> Option<ResponseKind> {
    match pending.api {
        ApiKey::Metadata
        | ApiKey::FindCoordinator
        | ApiKey::Produce
        | ApiKey::InitProducerId
        | ApiKey::AddPartitionsToTxn
        | ApiKey::AddOffsetsToTxn
        | ApiKey::TxnOffsetCommit
        | ApiKey::EndTxn => {
            ResponseHeader::decode(&mut frame, pending.api.response_header_version(pending.version)).unwrap();
            Some(ResponseKind::decode(pending.api, &mut frame, pending.version).unwrap())
        }
        _ => None,
    }
}

/// Puts the proxy's address in place of the broker's; tells the first error code.
fn look(answer: &mut ResponseKind, port: i32) -> i16 {
    let host = StrBytes::from_static_str("127.0.0.1");
    match answer {
        ResponseKind::Metadata(metadata) => {
            for broker in &mut metadata.brokers {
                (broker.host, broker.port) = (host.clone(), port);
            }
            0
        }
        ResponseKind::FindCoordinator(found) => {
            (found.host, found.port) = (host.clone(), port);
            for coordinator in &mut found.coordinators {
                (coordinator.host, coordinator.port) = (host.clone(), port);
            }
            found.error_code
        }
        ResponseKind::Produce(produced) => produced.responses[0].partition_responses[0].error_code,
        ResponseKind::InitProducerId(init) => init.error_code,
        ResponseKind::AddPartitionsToTxn(added) => {
            added.results_by_topic_v3_and_below[0].results_by_partition[0].partition_error_code
        }
        ResponseKind::AddOffsetsToTxn(added) => added.error_code,
        ResponseKind::TxnOffsetCommit(committed) => committed.topics[0].partitions[0].error_code,
        ResponseKind::EndTxn(ended) => ended.error_code,
        _ => 0,
    }
}

fn refusal(request: RequestKind, code: i16) -> ResponseKind {
    match request {
        RequestKind::Produce(request) => {
            let topics = request.topic_data.into_iter().map(|topic| {
                let partitions = topic.partition_data.iter().map(|partition| {
                    PartitionProduceResponse::default()
                        .with_index(partition.index)
                        .with_error_code(code)
                        .with_base_offset(-1)
                });
                let partitions = partitions.collect();
                TopicProduceResponse::default().with_name(topic.name).with_partition_responses(partitions)
            });
            ProduceResponse::default().with_responses(topics.collect()).into()
        }
        RequestKind::InitProducerId(_) => InitProducerIdResponse::default()
            .with_error_code(code)
            .with_producer_id(ProducerId(-1))
            .with_producer_epoch(-1)
            .into(),
        RequestKind::AddPartitionsToTxn(request) => {
            let topics = request.v3_and_below_topics.into_iter().map(|topic| {
                let partitions = topic.partitions.iter().map(|index| {
                    AddPartitionsToTxnPartitionResult::default()
                        .with_partition_index(*index)
                        .with_partition_error_code(code)
                });
                let partitions = partitions.collect();
                AddPartitionsToTxnTopicResult::default().with_name(topic.name).with_results_by_partition(partitions)
            });
            AddPartitionsToTxnResponse::default().with_results_by_topic_v3_and_below(topics.collect()).into()
        }
        RequestKind::AddOffsetsToTxn(_) => AddOffsetsToTxnResponse::default().with_error_code(code).into(),
        RequestKind::TxnOffsetCommit(request) => {
            let topics = request.topics.into_iter().map(|topic| {
                let partitions = topic.partitions.iter().map(|partition| {
                    TxnOffsetCommitResponsePartition::default()
                        .with_partition_index(partition.partition_index)
                        .with_error_code(code)
                });
                let partitions = partitions.collect();
                TxnOffsetCommitResponseTopic::default().with_name(topic.name).with_partitions(partitions)
            });
            TxnOffsetCommitResponse::default().with_topics(topics.collect()).into()
        }
        RequestKind::OffsetCommit(request) => {
            let topics = request.topics.into_iter().map(|topic| {
                let partitions = topic.partitions.iter().map(|partition| {
                    OffsetCommitResponsePartition::default()
                        .with_partition_index(partition.partition_index)
                        .with_error_code(code)
                });
                let partitions = partitions.collect();
                OffsetCommitResponseTopic::default().with_name(topic.name).with_partitions(partitions)
            });
            OffsetCommitResponse::default().with_topics(topics.collect()).into()
        }
        RequestKind::EndTxn(_) => EndTxnResponse::default().with_error_code(code).into(),
        other => panic!("no refusal is known for {other:?}"),
    }
}

fn encode(api: ApiKey, version: i16, correlation_id: i32, answer: &ResponseKind) -> BytesMut {
    let mut bytes = BytesMut::new();
    ResponseHeader::default()
        .with_correlation_id(correlation_id)
        .encode(&mut bytes, api.response_header_version(version))
        .unwrap();
    answer.encode(&mut bytes, version).unwrap();
    bytes
}
