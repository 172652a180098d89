//! The poller against a vendor with faults, and a journal that can be stopped between commits.

mod canary;
mod certificates;
mod details;
mod faults;
mod fetches;
mod house;
mod kill;
mod parents;
mod queues;
mod refreshing;
mod requests;
mod rpc;
mod serving;
mod sessions;
mod shapes;
mod soap;
mod soap_vendor;
mod sweeps;
mod tokens;
mod vendor;
mod windows;

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use hirewire_kafka::Record;
use hirewire_schemas::Names;
use hirewire_schemas::records::{Cursor, decode};
use hirewire_service::{Health, Shutdown};
use hirewire_yaml::Problems;
use jiff::{SignedDuration, Timestamp};

use super::access::{self, Vault};
use super::client::Client;
use super::fetch::{self, Fetches, Queue};
use super::journal::{CursorCodec, Journal, NotCommitted, key};
use super::lane::Lane;
use super::poller::Poller;
use super::queue;
use super::sweep::Known;
use crate::connection::Connection;
use crate::fetch::FetchRequests;
use crate::manifest::Manifest;
use crate::metrics::Metrics;
use crate::topics::Topics;
use vendor::Vendor;

const MANIFEST: &str = r#"
vendor: greenhouse
api:
  base_url: https://vendor.example/v3
  auth: {oauth2_client_credentials: {token_url: "https://vendor.example/token", expires_at: expires_at}}
  paging: {link_cursor: {param: cursor}}
  rate_limit: {remaining: X-RateLimit-Remaining, reset_epoch: X-RateLimit-Reset}
  first_page: {per_page: 500}
  window: {param: updated_at, first: "lte|{to}", then: "gt|{from}|lte|{to}", field: updated_at}
  lag: 0s
  overlap: 20s
  streams:
    jobs: {subject: {Job: id}}
    posts: {subject: {JobPosting: id}, each: {active: [true, false]}, params: {all: true}}
    files: {subject: {Job: job_id}, repeats: version, restricted: true}
"#;

const PARTITION: i32 = 3;

/// Everything committed, by transaction.
#[derive(Default)]
struct Ledger {
    committed: Mutex<Vec<Vec<Record>>>,
    /// What the next commits meet, behind those that are skipped.
    answers: Mutex<Vec<NotCommitted>>,
    skip: std::sync::atomic::AtomicUsize,
    /// Commits until the poller is stopped for good: before the commit, or after it.
    kill: Mutex<Option<(usize, Moment)>>,
    dying: std::sync::atomic::AtomicBool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Moment {
    Before,
    After,
}

impl Journal for Ledger {
    async fn commit(&self, records: Vec<Record>) -> Result<(), NotCommitted> {
        let skip = |left: usize| left.checked_sub(1);
        let skipped =
            self.skip.try_update(std::sync::atomic::Ordering::SeqCst, std::sync::atomic::Ordering::SeqCst, skip);
        if skipped.is_err()
            && let Some(answer) = self.answers.lock().unwrap().pop()
        {
            return Err(answer);
        }
        let killed = match &mut *self.kill.lock().unwrap() {
            Some((0, moment)) => Some(*moment),
            Some((left, _)) => {
                *left -= 1;
                None
            }
            None => None,
        };
        if killed != Some(Moment::Before) {
            self.committed.lock().unwrap().push(records);
        }
        self.dying.store(killed.is_some(), std::sync::atomic::Ordering::SeqCst);
        // Never learns what became of it, as a killed process does not.
        if killed.is_some() { std::future::pending().await } else { Ok(()) }
    }
}

impl Ledger {
    fn dying(&self) -> bool {
        self.dying.load(std::sync::atomic::Ordering::SeqCst)
    }

    /// All rows committed so far and not asked for before, as topic, origin, stream (or event) and exact text, in order.
    fn rows(&self) -> Vec<(String, String, String, String)> {
        let transactions = std::mem::take(&mut *self.committed.lock().unwrap());
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        let header = |record: &Record, name: &str| {
            record.headers.iter().find(|(header, _)| &**header == name).map(|(_, value)| text(value))
        };
        let rows = transactions.iter().flatten().filter(|record| !record.headers.is_empty());
        rows.map(|record| {
            let origin = header(record, "hirewire-origin").unwrap();
            let stream = header(record, "hirewire-stream").or(header(record, "hirewire-event")).unwrap();
            (record.topic.to_string(), origin, stream, text(record.value.as_deref().unwrap()))
        })
        .collect()
    }

    fn bodies(&self) -> Vec<String> {
        self.rows().into_iter().map(|(_, _, _, body)| body).collect()
    }

    /// The cursors as a restart finds them.
    fn cursors(&self) -> HashMap<String, Cursor> {
        let transactions = self.committed.lock().unwrap();
        let schema = hirewire_schemas::schema("Cursor").unwrap();
        let records = transactions.iter().flatten().filter(|record| record.partition == Some(PARTITION));
        let mut cursors = HashMap::new();
        for record in records {
            let name = String::from_utf8(record.key.as_ref().unwrap().to_vec()).unwrap();
            let Some(value) = &record.value else {
                cursors.remove(&name);
                continue;
            };
            let cursor: Cursor = decode(schema, value.get(5..).unwrap()).unwrap();
            assert_eq!(name, key(&cursor.connection_id, &cursor.stream));
            cursors.insert(name, cursor);
        }
        cursors
    }
}

fn connection(vendor: &Vendor, more: &str) -> Arc<Connection> {
    connection_by(MANIFEST, vendor, more)
}

fn connection_by(manifest: &str, vendor: &Vendor, more: &str) -> Arc<Connection> {
    let folder = tempfile::tempdir().unwrap().keep();
    std::fs::write(folder.join("id"), "client").unwrap();
    std::fs::write(folder.join("secret"), "password").unwrap();
    let text = format!(
        "client_id: {{file: {0}/id}}\nclient_secret: {{file: {0}/secret}}\nbase_url: {1}/v3\ntoken_url: {1}/token\n\
         interval: 10ms\nretry_first: 1ms\nretry_most: 5ms\n{more}",
        folder.display(),
        vendor.address
    );
    connection_of(manifest, &text)
}

/// What polls by these settings.
fn connection_of(manifest: &str, settings: &str) -> Arc<Connection> {
    let manifest = Manifest::parse("manifest.yaml", manifest).unwrap();
    let node = hirewire_yaml::parse("hirewire.yaml", settings).unwrap();
    let mut problems = Problems::new();
    let role = Some(crate::Role::Poll);
    let connection = Connection::read("acme", "tenant", &manifest, None, Some(&node), role, &mut problems);
    Arc::new(problems.into_result(connection).unwrap())
}

fn poller(connection: &Arc<Connection>, ledger: &Arc<Ledger>, cursors: &HashMap<String, Cursor>) -> Poller<Ledger> {
    poller_that_counts(connection, ledger, cursors, &prometheus::Registry::new())
}

/// What `/metrics` would show of `name`, a line for each series.
fn shown(registry: &prometheus::Registry, name: &str) -> Vec<String> {
    let text = prometheus::TextEncoder::new().encode_to_string(&registry.gather()).unwrap();
    let series = text.lines().filter_map(|line| line.strip_prefix(&format!("hirewire_ingest_{name}{{")));
    series.map(|line| line.replace("\"", "")).collect()
}

fn poller_that_counts(
    connection: &Arc<Connection>,
    ledger: &Arc<Ledger>,
    cursors: &HashMap<String, Cursor>,
    registry: &prometheus::Registry,
) -> Poller<Ledger> {
    let topics = Topics::new(&Names::default(), [connection.manifest.vendor.as_str()]);
    let codec = CursorCodec::new(topics.cursor.clone(), 1);
    let token = cursors.get(&key(&connection.name, access::LANE));
    let vault = Vault::new(ledger.clone(), codec.clone(), PARTITION, &connection.name, token);
    Poller {
        connection: connection.clone(),
        lanes: Lane::all(connection, connection.manifest.api.as_ref().unwrap(), cursors),
        known: Known::all(connection, connection.manifest.api.as_ref().unwrap(), cursors),
        client: Client::new(connection.poll.as_ref().unwrap(), vault).unwrap(),
        journal: ledger.clone(),
        cursors: codec,
        partition: PARTITION,
        topics,
        metrics: Metrics::new(registry).unwrap().polled(
            &connection.name,
            &connection.manifest.vendor,
            connection.manifest.ends(),
        ),
        health: Health::new().component("poll"),
        stop: Shutdown::new(),
        fetches: connection.fetches().then(|| {
            let queue = Arc::new(Queue::new(cursors.get(&key("acme", fetch::LANE))));
            Fetches::new(queue)
        }),
        queue: connection.manifest.queue.is_some().then(|| {
            let requests = FetchRequests::ready("hirewire.internal.fetch.v1".into(), 0);
            queue::Position::new(cursors.get(&key("acme", queue::LANE)), requests)
        }),
        turn: super::poller::TURN,
    }
}

fn ago(seconds: i64) -> Timestamp {
    let millis = Timestamp::now().as_millisecond() - seconds * 1000;
    Timestamp::from_millisecond(millis).unwrap()
}

fn sorted(mut texts: Vec<String>) -> Vec<String> {
    texts.sort();
    texts
}

fn hours(hours: i64) -> SignedDuration {
    SignedDuration::from_hours(hours)
}
