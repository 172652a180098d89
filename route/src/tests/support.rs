//! A source, a decoder, a dead-letter topic and a context for tests; none of them knows Kafka.

mod receiver;
mod running;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use hirewire_schemas::Entity;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::mpsc;

use crate::context::store::{Seen, Store};
use crate::created::{CreatedKey, Ids, Known};
use crate::dead_letter::{DeadLetter, DeadLetters};
use crate::decode::{Decode, DecodeError};
use crate::request::condition::Condition;
use crate::source::{Arrival, Commit, Head, Slot, Source, SourceEvent};
pub(super) use receiver::{Answer, Received, Receiver, by_key, read_request};
pub(super) use running::{Options, Running, retry, run};

/// Waits until `reached`, at most 30 s.
pub(crate) async fn until(what: &str, mut reached: impl FnMut() -> bool) {
    let started = tokio::time::Instant::now();
    while !reached() {
        assert!(started.elapsed() < Duration::from_secs(30), "not reached in time: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Waits until there are `wanted`, for as long as more of them come.
pub(crate) async fn while_more_come(what: &str, wanted: usize, count: impl Fn() -> usize) {
    let (mut most, mut since) = (0, tokio::time::Instant::now());
    loop {
        let now = count();
        if now >= wanted {
            return;
        }
        if now > most {
            (most, since) = (now, tokio::time::Instant::now());
        }
        assert!(since.elapsed() < Duration::from_secs(60), "no more of {what} come: {now} of {wanted}");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

/// Counts connections to a port, on every local address of both families.
pub(crate) struct Trap {
    pub(crate) port: u16,
    connections: Arc<AtomicUsize>,
}

impl Trap {
    pub(crate) async fn set() -> Self {
        let listener = TcpListener::bind("0.0.0.0:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let connections = Arc::new(AtomicUsize::new(0));
        let mut listeners = vec![listener];
        listeners.extend(TcpListener::bind(("::1", port)).await.ok());
        for listener in listeners {
            let counter = Arc::clone(&connections);
            tokio::spawn(async move {
                while listener.accept().await.is_ok() {
                    counter.fetch_add(1, Ordering::SeqCst);
                }
            });
        }
        Self { port, connections }
    }

    pub(crate) fn count(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
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

pub(crate) fn slot(partition: i32) -> Slot {
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

/// What was committed, newest last, and how often it was pressed for it.
#[derive(Clone, Default)]
pub(super) struct Commits(pub(super) Arc<Mutex<Vec<(Slot, i64)>>>, pub(super) Arc<AtomicUsize>);

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

    fn press(&self) {
        self.1.fetch_add(1, Ordering::Relaxed);
    }
}

/// Counts what it decodes.
#[derive(Clone, Default)]
pub(super) struct JsonDecoder(pub(super) Arc<AtomicUsize>);

impl Decode for JsonDecoder {
    async fn decode(&self, framed: &[u8]) -> Result<Value, DecodeError> {
        self.0.fetch_add(1, Ordering::Relaxed);
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
