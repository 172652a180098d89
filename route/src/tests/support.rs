//! A source, a decoder, a dead-letter topic and a receiver for tests; none of them knows Kafka.

use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use hirewire_schemas::Entity;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::mpsc;

use crate::context::store::{Seen, Store};
use crate::created::{CreatedKey, Ids, Known};
use crate::dead_letter::{DeadLetter, DeadLetters};
use crate::decode::{Decode, DecodeError};
use crate::deliver::backoff::Retry;
use crate::deliver::{Deliverer, Limits, OnRefusal};
use crate::engine;
use crate::http::guard::Guard;
use crate::http::networks::Network;
use crate::http::{HttpSettings, HttpTransport};
use crate::metrics::Metrics;
use crate::replay::incoming::Replays;
use crate::request::condition::Condition;
use crate::request::told::Secrets;
use crate::route::Route;
use crate::source::{Arrival, Commit, Head, Slot, Source, SourceEvent};
use crate::system::System;
use crate::worker::Worker;

/// Waits until `reached`, at most 30 s.
pub(crate) async fn until(what: &str, mut reached: impl FnMut() -> bool) {
    let started = tokio::time::Instant::now();
    while !reached() {
        assert!(started.elapsed() < Duration::from_secs(30), "not reached in time: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// What this thread logs while the guard lives.
pub(crate) fn capture_log() -> (Log, tracing::subscriber::DefaultGuard) {
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_env_filter("hirewire_route=trace,reqwest=trace,hyper=trace")
        .with_ansi(false)
        .with_writer(move || writer.clone())
        .finish();
    (log, tracing::subscriber::set_default(subscriber))
}

#[derive(Clone, Default)]
pub(crate) struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    pub(crate) fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

impl std::io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

pub(super) fn slot(partition: i32) -> Slot {
    Slot { topic: "ats.stage-change.v1".into(), partition }
}

/// A record whose value is JSON behind five bytes of framing.
pub(crate) fn arrival(partition: i32, offset: i64, key: &str, tree: &Value) -> Arrival {
    let mut value = vec![0, 0, 0, 0, 7];
    value.extend(tree.to_string().into_bytes());
    Arrival {
        slot: slot(partition),
        offset,
        timestamp_ms: 1_700_000_000_000 + offset,
        key: Some(Bytes::from(key.to_owned())),
        value: Some(value.into()),
        headers: vec![("traceparent".to_owned(), Bytes::from_static(TRACE.as_bytes()))],
    }
}

pub(super) const TRACE: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

/// A live stage change that `assessment` makes an order of.
pub(super) fn change(application: &str, sequence_no: i64, kind: &str) -> Value {
    json!({
        "meta": {"event_id": format!("{application}/{sequence_no}"), "observed_at": "2026-02-01T10:00:00Z",
                 "tenant_id": "acme", "provenance": "WEBHOOK"},
        "application_id": application, "candidate_id": "c", "job_id": "j", "sequence_no": sequence_no,
        "change_type": kind, "revision": "LIVE", "occurred_at": "2026-02-01T10:00:00Z",
        "occurred_at_precision": "EXACT", "evidence": [{"provenance": "WEBHOOK"}],
        "from_stage": {"id": format!("s{}", sequence_no - 1)},
        "to_stage": {"id": format!("s{sequence_no}"), "name": "Test",
                     "category": {"value": "ASSESSMENT", "raw": "Test", "rule": "r"}},
    })
}

impl Source for mpsc::UnboundedReceiver<SourceEvent> {
    async fn next(&mut self) -> Option<SourceEvent> {
        self.recv().await
    }
}

/// What was committed, newest last.
#[derive(Clone, Default)]
pub(super) struct Commits(pub(super) Arc<Mutex<Vec<(Slot, i64)>>>);

impl Commits {
    pub(super) fn head(&self, partition: i32) -> i64 {
        let commits = self.0.lock().unwrap();
        commits.iter().rev().find(|(of, _)| *of == slot(partition)).map_or(0, |(_, next)| *next)
    }
}

impl Commit for Commits {
    fn commit(&self, slot: &Slot, head: Head) {
        self.0.lock().unwrap().push((slot.clone(), head.next_offset));
    }
}

pub(super) struct JsonDecoder;

impl Decode for JsonDecoder {
    async fn decode(&self, framed: &[u8]) -> Result<Value, DecodeError> {
        assert!(!framed.ends_with(b"panic"), "a panic on purpose");
        serde_json::from_slice(framed.get(5..).unwrap_or_default())
            .map_err(|_| DecodeError::Undecodable("not JSON".to_owned()))
    }
}

/// Dead letters that were put; `away` makes the topic unavailable.
#[derive(Clone, Default)]
pub(super) struct Letters {
    pub(super) put: Arc<Mutex<Vec<DeadLetter>>>,
    pub(super) away: Arc<Mutex<bool>>,
}

impl DeadLetters for Letters {
    async fn put(&self, letter: DeadLetter) -> Result<(), String> {
        if *self.away.lock().unwrap() {
            return Err("away".to_owned());
        }
        self.put.lock().unwrap().push(letter);
        Ok(())
    }
}

/// Ids that were kept, in the context store at once.
pub(super) struct Kept(Arc<Store>);

impl Ids for Kept {
    async fn reached(&self, _: &Slot, _: &crate::engine::Lease) -> Result<bool, String> {
        Ok(true)
    }

    async fn keep(&self, key: &CreatedKey<'_>, known: &Known, partition: i32) -> Result<(), String> {
        let tree = json!({"id": known.id, "event_id": known.event_id});
        let (id, topic) = (key.to_string(), "created".to_owned());
        let seen = Seen { entity: None, id, tree: Some(tree), topic, partition, next_offset: 0 };
        self.0.put(&[seen]).map_err(|error| error.to_string())
    }
}

/// How a receiver answers one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Answer {
    /// With what was sent, repeated.
    Status(u16),
    /// After a while, in which the attempt is under way.
    Slowly(u16),
    /// A status and a body.
    Says(u16, &'static str),
    /// 429 with `Retry-After: 1`.
    Throttle,
    /// 503 with `Retry-After: 30`.
    Later,
    /// Nothing, until the sender gives up.
    Silence,
    /// The connection is closed without an answer.
    Reset,
    /// 302 to the receiver itself.
    Redirect,
    /// 200, and then a body that comes a byte at a time.
    Drip,
    /// 200, and then a body that never ends.
    Endless,
}

/// One request as a receiver saw it.
#[derive(Debug, Clone)]
pub(super) struct Received {
    /// Method and path.
    pub(super) line: String,
    pub(super) headers: HashMap<String, String>,
    pub(super) raw: Vec<u8>,
    pub(super) body: Value,
    pub(super) answered: Answer,
}

impl Received {
    pub(super) fn application(&self) -> &str {
        self.body["application_id"].as_str().unwrap_or_default()
    }
}

type Script = Box<dyn FnMut(&Value) -> Answer + Send>;

/// An HTTP/1.1 receiver on a port of its own that answers as its script says.
#[derive(Clone)]
pub(super) struct Receiver {
    pub(super) address: SocketAddr,
    pub(super) seen: Arc<Mutex<Vec<Received>>>,
    pub(super) connections: Arc<Mutex<usize>>,
    script: Arc<Mutex<Script>>,
}

impl Receiver {
    pub(super) async fn start(script: impl FnMut(&Value) -> Answer + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let receiver = Self::at(listener.local_addr().unwrap(), script);
        receiver.listen(listener);
        receiver
    }

    /// One that refuses every connection, on a port that stays its own, until the socket listens.
    pub(super) fn refusing() -> (Self, TcpSocket) {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        (Self::at(socket.local_addr().unwrap(), |_| Answer::Reset), socket)
    }

    fn at(address: SocketAddr, script: impl FnMut(&Value) -> Answer + Send + 'static) -> Self {
        let script: Script = Box::new(script);
        let script = Arc::new(Mutex::new(script));
        Self { address, seen: Arc::default(), connections: Arc::default(), script }
    }

    pub(super) fn listen(&self, listener: TcpListener) {
        let serving = self.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                *serving.connections.lock().unwrap() += 1;
                let one = serving.clone();
                tokio::spawn(async move { one.serve(stream).await });
            }
        });
    }

    pub(super) fn answer(&self, script: impl FnMut(&Value) -> Answer + Send + 'static) {
        *self.script.lock().unwrap() = Box::new(script);
    }

    pub(super) fn all(&self) -> Vec<Received> {
        self.seen.lock().unwrap().clone()
    }

    pub(super) fn taken(&self) -> Vec<Received> {
        let taken = |answer| {
            matches!(answer, Answer::Status(200..=299) | Answer::Slowly(200..=299) | Answer::Says(200..=299, _))
        };
        self.all().into_iter().filter(|received| taken(received.answered)).collect()
    }

    async fn serve(&self, mut stream: TcpStream) {
        let mut buffer = Vec::new();
        loop {
            let Some((line, headers, raw)) = read_request(&mut stream, &mut buffer).await else { return };
            let body: Value = serde_json::from_slice(&raw).unwrap_or(Value::Null);
            let answered = (self.script.lock().unwrap())(&body);
            let received = Received { line, headers, raw: raw.clone(), body, answered };
            self.seen.lock().unwrap().push(received);
            let answer = match answered {
                // Receivers like to repeat what they did not like.
                Answer::Status(status) => {
                    let said = String::from_utf8_lossy(&raw);
                    format!("HTTP/1.1 {status} {status}\r\ncontent-length: {}\r\n\r\n{said}", said.len())
                }
                Answer::Says(status, body) => {
                    format!("HTTP/1.1 {status} x\r\ncontent-length: {}\r\n\r\n{body}", body.len())
                }
                Answer::Slowly(status) => {
                    tokio::time::sleep(Duration::from_millis(30)).await;
                    format!("HTTP/1.1 {status} x\r\ncontent-length: 0\r\n\r\n")
                }
                Answer::Throttle => "HTTP/1.1 429 x\r\nretry-after: 1\r\ncontent-length: 0\r\n\r\n".to_owned(),
                Answer::Later => "HTTP/1.1 503 x\r\nretry-after: 30\r\ncontent-length: 0\r\n\r\n".to_owned(),
                Answer::Redirect => {
                    format!("HTTP/1.1 302 x\r\nlocation: http://{}/\r\ncontent-length: 0\r\n\r\n", self.address)
                }
                Answer::Silence => {
                    tokio::time::sleep(Duration::from_secs(60)).await;
                    return;
                }
                Answer::Reset => return,
                Answer::Drip | Answer::Endless => "HTTP/1.1 200 x\r\ncontent-length: 9999999999\r\n\r\n".to_owned(),
            };
            if stream.write_all(answer.as_bytes()).await.is_err() {
                return;
            }
            let (piece, pause) = match answered {
                Answer::Drip => (vec![b'x'; 1], Duration::from_millis(100)),
                Answer::Endless => (vec![b'x'; 65_536], Duration::ZERO),
                _ => continue,
            };
            while stream.write_all(&piece).await.is_ok() {
                tokio::time::sleep(pause).await;
            }
            return;
        }
    }
}

type Parts = (String, HashMap<String, String>, Vec<u8>);

/// Method and path, headers, body.
pub(super) async fn read_request(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> Option<Parts> {
    let head_end = loop {
        if let Some(at) = buffer.windows(4).position(|window| window == b"\r\n\r\n") {
            break at + 4;
        }
        if stream.read_buf(buffer).await.ok()? == 0 {
            return None;
        }
    };
    let head: Vec<u8> = buffer.drain(..head_end).collect();
    let head = String::from_utf8(head).ok()?;
    let line = head.lines().next()?.rsplit_once(' ')?.0.to_owned();
    let headers: HashMap<String, String> = head
        .lines()
        .skip(1)
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
        .collect();
    let length: usize = headers.get("content-length").and_then(|text| text.parse().ok()).unwrap_or(0);
    while buffer.len() < length {
        if stream.read_buf(buffer).await.ok()? == 0 {
            return None;
        }
    }
    Some((line, headers, buffer.drain(..length).collect()))
}

/// A context in which every change finds its parts.
pub(super) struct Context {
    pub(super) store: Arc<Store>,
    _folder: tempfile::TempDir,
}

pub(super) fn context() -> Context {
    let folder = tempfile::tempdir().unwrap();
    let mut problems = hirewire_yaml::Problems::new();
    let kept =
        Condition::read(&hirewire_yaml::parse("c", "{change_type: [HIRE, UNHIRE]}").unwrap(), &[], &mut problems)
            .unwrap();
    let store = Store::open(&folder.path().join("context.sqlite"), vec![kept]).unwrap();
    Context { store: Arc::new(store), _folder: folder }
}

impl Context {
    pub(super) fn put(&self, entity: Entity, id: &str, tree: Value) {
        let seen = Seen {
            entity: Some(entity),
            id: id.to_owned(),
            tree: Some(tree),
            topic: "t".to_owned(),
            partition: 0,
            next_offset: 0,
        };
        self.store.put(&[seen]).unwrap();
    }

    /// Candidate `c` and job `j`, which all changes of tests name.
    pub(super) fn put_common(&self) {
        let coded = |value: &str| json!({"value": value, "raw": null, "rule": "r"});
        self.put(
            Entity::Candidate,
            "c",
            json!({"meta": {"id": "c"}, "name": {"given": "Ada"},
                   "emails": [{"value": "ada@example.com", "type": coded("WORK")}]}),
        );
        self.put(Entity::Job, "j", json!({"meta": {"id": "j"}, "name": "Engineer"}));
    }

    /// The application, and its ledger far ahead.
    pub(super) fn put_application(&self, id: &str) {
        self.put_application_alone(id);
        self.put(Entity::StageChange, id, change(id, 1_000, "STATUS"));
    }

    pub(super) fn put_application_alone(&self, id: &str) {
        self.put(Entity::Application, id, json!({"meta": {"id": id}, "candidate_id": "c", "job_id": "j"}));
    }

    pub(super) fn put_accepted_offer(&self, application: &str) {
        let coded = |value: &str| json!({"value": value, "raw": null, "rule": "r"});
        self.put(
            Entity::Offer,
            &format!("o-{application}"),
            json!({"meta": {"id": "o"}, "application_id": application, "status": coded("ACCEPTED"),
                   "start_date": "2026-03-02"}),
        );
    }
}

pub(super) fn retry() -> Retry {
    Retry {
        first: Duration::from_millis(5),
        longest: Duration::from_millis(20),
        longest_asked: Duration::from_millis(200),
        give_up_after: Duration::from_secs(60),
        attempts: None,
    }
}

/// Everything of one running sink.
pub(super) struct Running {
    pub(super) events: mpsc::UnboundedSender<SourceEvent>,
    pub(super) commits: Commits,
    pub(super) letters: Letters,
    pub(super) deliverer: Arc<Deliverer<HttpTransport>>,
    pub(super) metrics: prometheus::Registry,
    pub(super) engine: tokio::task::JoinHandle<Result<(), hirewire_kafka::Stop>>,
}

pub(super) struct Options {
    pub(super) signer: Option<crate::http::signing::Signer>,
    pub(super) auth: Option<crate::http::Auth>,
    pub(super) timeout: Duration,
    pub(super) requires_within: Duration,
    pub(super) limits: Limits,
    pub(super) on_refusal: OnRefusal,
    pub(super) drain: Duration,
    /// The `settings` of the sink.
    pub(super) told: Value,
    /// Those of them that are secret; `told` shows them.
    pub(super) secrets: Secrets,
    pub(super) batch: Option<crate::http::batch::BatchSettings>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            signer: None,
            auth: None,
            timeout: Duration::from_millis(300),
            requires_within: Duration::from_secs(30),
            limits: Limits { retry: retry(), ..Limits::default() },
            on_refusal: OnRefusal::Skip,
            drain: Duration::from_secs(5),
            told: Value::Null,
            secrets: Secrets::default(),
            batch: None,
        }
    }
}

/// Starts an engine with one route of `system` to `receiver`.
pub(super) fn run(system: &Arc<System>, receiver: &Receiver, context: &Context, options: Options) -> Running {
    let settings = HttpSettings {
        url: format!("http://{}/in", receiver.address).parse().unwrap(),
        guard: Guard::new(vec!["127.0.0.1".to_owned()], vec![Network::parse("127.0.0.0/8").unwrap()]),
        auth: options.auth,
        signer: options.signer,
        ca: None,
        identity: None,
        timeout: options.timeout,
        answer_bytes: 64 * 1024,
        batch: options.batch,
        secrets: options.secrets,
    };
    let name: Arc<str> = system.name.as_str().into();
    let registry = prometheus::Registry::new();
    let metrics = Metrics::register(&registry).unwrap().sink(&name);
    let transport = HttpTransport::new(settings).unwrap();
    let deliverer = Arc::new(Deliverer::new(transport, Arc::clone(&name), options.limits, metrics.clone()));
    let route = Route {
        name: Arc::clone(&name),
        sink: Arc::clone(&name),
        system: Arc::clone(system),
        told: Arc::new(options.told),
        entity: None,
        when: Condition::default(),
        start: Some("2026-01-01T00:00:00Z".parse().unwrap()),
        corrections: false,
        requires_within: options.requires_within,
        on_refusal: options.on_refusal,
    };
    let letters = Letters::default();
    let worker = Worker {
        deliverer: Arc::clone(&deliverer),
        routes: vec![route],
        topics: HashMap::from([
            (slot(0).topic, Entity::StageChange),
            ("ats.application.v1".into(), Entity::Application),
        ]),
        decoder: Arc::new(JsonDecoder),
        context: Arc::clone(&context.store),
        replays: Replays::new(
            "replay".into(),
            Arc::clone(&deliverer.name),
            hirewire_kafka::Settings::local("127.0.0.1:1"),
        ),
        dead_letters: letters.clone(),
        intents: None,
        ids: Kept(Arc::clone(&context.store)),
    };
    let (events, source) = mpsc::unbounded_channel();
    let commits = Commits::default();
    let engine = tokio::spawn(engine::run(
        source,
        Arc::new(worker),
        commits.clone(),
        metrics,
        engine::Options { drain: options.drain, window: 1_000 },
    ));
    Running { events, commits, letters, deliverer, metrics: registry, engine }
}

impl Running {
    pub(super) fn assign(&self, partitions: &[i32]) {
        self.events.send(SourceEvent::Assigned(partitions.iter().map(|p| slot(*p)).collect())).unwrap();
    }

    pub(super) fn record(&self, arrival: Arrival) {
        self.events.send(SourceEvent::Record(arrival)).unwrap();
    }

    /// Frees probes and watches the secrets, as the service does, until the test ends.
    pub(super) fn keep_gate(&self) {
        let kept = Arc::clone(&self.deliverer);
        tokio::spawn(async move { kept.keep_gate(|| kept.sink.fingerprint()).await });
    }

    /// The value of a metric of this sink, of all its series together.
    pub(super) fn metric(&self, name: &str) -> i64 {
        let families = self.metrics.gather();
        let of_name = families.iter().filter(|family| family.name() == name).flat_map(|family| family.get_metric());
        of_name.map(|metric| (metric.get_counter().get_value() + metric.get_gauge().get_value()) as i64).sum()
    }

    pub(super) async fn end(self) {
        drop(self.events);
        self.engine.await.unwrap().unwrap();
    }
}

/// Answers of each key in turn, then 200.
pub(super) fn by_key(mut scripts: HashMap<String, VecDeque<Answer>>) -> impl FnMut(&Value) -> Answer + Send {
    move |body| {
        let key = body["application_id"].as_str().unwrap_or_default();
        scripts.get_mut(key).and_then(VecDeque::pop_front).unwrap_or(Answer::Status(200))
    }
}
