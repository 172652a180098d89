//! A receiver over a sink in memory, and signed deliveries for it.
#![allow(dead_code, unreachable_pub)]

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{Request, StatusCode};
use hirewire_ingest::manifest::Manifest;
use hirewire_ingest::webhook::{ReceiverLimits, router};
use hirewire_ingest::{Connection, Directory, FetchRequests, Metrics, RawSink, Topics};
use hirewire_kafka::{Record, SendError};
use hirewire_schemas::Names;
use hirewire_yaml::Problems;
use hmac::{Hmac, KeyInit, Mac};
use http_body_util::BodyExt;
use tower::ServiceExt;

pub const SECRET: &str = "a secret for tests";
pub const BODY: &str = r#"{"action":"candidate_stage_change","payload":{"application":{"id":265277,"t":"\u003c"}}}"#;
pub const MAX_BODY: usize = 64 * 1024;
pub const BUDGET: usize = 4 * MAX_BODY;

/// What the sink does with a record.
#[derive(Debug, Clone, Copy, Default)]
pub enum Kept {
    #[default]
    Safely,
    Fails,
    Hangs,
}

/// Everything that was kept.
#[derive(Clone, Default)]
pub struct Inbox {
    behaviour: Kept,
    records: Arc<Mutex<Vec<KeptRecord>>>,
    asked: Arc<AtomicUsize>,
}

/// A record with its headers at hand.
#[derive(Debug)]
pub struct KeptRecord(pub Record);

impl std::ops::Deref for KeptRecord {
    type Target = Record;

    fn deref(&self) -> &Record {
        &self.0
    }
}

impl KeptRecord {
    pub fn header(&self, name: &str) -> Option<&str> {
        let (_, value) = self.0.headers.iter().find(|(header, _)| &**header == name)?;
        std::str::from_utf8(value).ok()
    }
}

impl Inbox {
    pub fn new(behaviour: Kept) -> Self {
        Self { behaviour, ..Self::default() }
    }

    pub fn take(&self) -> Vec<KeptRecord> {
        std::mem::take(&mut *self.records.lock().unwrap())
    }

    pub fn only(&self) -> KeptRecord {
        let mut records = self.take();
        assert_eq!(records.len(), 1);
        records.remove(0)
    }

    pub fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

impl RawSink for Inbox {
    async fn keep(&self, record: Record) -> Result<(), SendError> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        match self.behaviour {
            Kept::Safely => {
                self.records.lock().unwrap().push(KeptRecord(record));
                Ok(())
            }
            Kept::Fails => Err(SendError::Unacknowledged("a test".to_owned())),
            Kept::Hangs => std::future::pending().await,
        }
    }
}

#[derive(Clone)]
pub struct Receiver(pub Router, Arc<Option<tempfile::TempDir>>);

pub struct Answer {
    pub status: StatusCode,
    pub retry_after: Option<String>,
    pub text: String,
}

impl Receiver {
    pub async fn send(&self, request: Request<Body>) -> Answer {
        let response = self.0.clone().oneshot(request).await.unwrap();
        let retry_after = response.headers().get("retry-after").map(|value| value.to_str().unwrap().to_owned());
        let status = response.status();
        let text = response.into_body().collect().await.unwrap().to_bytes();
        Answer { status, retry_after, text: String::from_utf8(text.to_vec()).unwrap() }
    }
}

pub fn manifest() -> Arc<Manifest> {
    Manifest::parse("manifest.yaml", include_str!("../../../vendors/greenhouse/manifest.yaml")).unwrap()
}

pub fn connection(webhook: Option<&str>, poll: Option<&str>) -> Connection {
    let parse = |text| hirewire_yaml::parse("hirewire.yaml", text).unwrap();
    let (webhook, poll) = (webhook.map(parse), poll.map(parse));
    let mut problems = Problems::new();
    let connection = Connection::read(
        "acme-greenhouse",
        "acme",
        &manifest(),
        webhook.as_ref(),
        poll.as_ref(),
        Some(hirewire_ingest::Role::All),
        &mut problems,
    );
    problems.into_result(connection).unwrap()
}

pub fn receiver(inbox: &Inbox) -> Receiver {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("secret");
    std::fs::write(&path, SECRET).unwrap();
    let Receiver(router, _) = receiver_with(inbox, &[&path]);
    Receiver(router, Arc::new(Some(folder)))
}

pub fn receiver_with(inbox: &Inbox, secrets: &[&Path]) -> Receiver {
    let files: Vec<String> = secrets.iter().map(|path| format!("{{file: {}}}", path.display())).collect();
    let directory = Directory::default();
    directory.load([Arc::new(connection(Some(&format!("secrets: [{}]", files.join(", "))), None))]);
    Receiver(route(inbox, directory), Arc::default())
}

/// A receiver of one connection, of whatever vendor.
pub fn receiver_of(inbox: &Inbox, connection: Connection) -> Receiver {
    let directory = Directory::default();
    directory.load([Arc::new(connection)]);
    Receiver(route(inbox, directory), Arc::default())
}

/// The same before the registry answered.
pub fn receiver_without_registry(inbox: &Inbox, connection: Connection) -> Receiver {
    let directory = Directory::default();
    directory.load([Arc::new(connection)]);
    Receiver(
        route_by(inbox, directory, &prometheus::Registry::new(), FetchRequests::new("fetch".into())),
        Arc::default(),
    )
}

/// Before any configuration is loaded.
pub fn unloaded(inbox: &Inbox) -> Receiver {
    Receiver(route(inbox, Directory::default()), Arc::default())
}

/// A receiver, and where it counts.
pub fn receiver_and_metrics(inbox: &Inbox) -> (Receiver, prometheus::Registry) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("secret");
    std::fs::write(&path, SECRET).unwrap();
    let directory = Directory::default();
    directory.load([Arc::new(connection(Some(&format!("secrets: [{{file: {}}}]", path.display())), None))]);
    let metrics = prometheus::Registry::new();
    (Receiver(route_into(inbox, directory, &metrics), Arc::new(Some(folder))), metrics)
}

fn route(inbox: &Inbox, directory: Directory) -> Router {
    route_into(inbox, directory, &prometheus::Registry::new())
}

fn route_into(inbox: &Inbox, directory: Directory, metrics: &prometheus::Registry) -> Router {
    let topic = Topics::new(&Names::default(), []).fetch;
    route_by(inbox, directory, metrics, FetchRequests::ready(topic, 1))
}

fn route_by(inbox: &Inbox, directory: Directory, metrics: &prometheus::Registry, fetches: FetchRequests) -> Router {
    let limits = ReceiverLimits {
        max_body_bytes: MAX_BODY,
        max_in_flight_bytes: BUDGET,
        body_timeout: Duration::from_millis(300),
        keep_timeout: Duration::from_millis(1000),
    };
    let topics = Topics::new(&Names::default(), ["greenhouse", "lever", "smartrecruiters"]);
    let metrics = Metrics::new(metrics).unwrap();
    router(directory, topics, inbox.clone(), &limits, metrics, fetches)
}

pub fn sign(secret: &str, body: &str) -> String {
    let mut mac = <Hmac<sha2::Sha256> as KeyInit>::new_from_slice(secret.as_bytes()).unwrap();
    mac.update(body.as_bytes());
    format!("sha256 {}", hex::encode(mac.finalize().into_bytes()))
}

/// A delivery as the vendor makes it.
pub fn delivery(body: &str) -> Request<Body> {
    Request::post("/v1/webhooks/acme-greenhouse")
        .header("content-type", "application/json")
        .header("greenhouse-event-id", "evt-1")
        .header("signature", sign(SECRET, body))
        .body(Body::from(body.to_owned()))
        .unwrap()
}
