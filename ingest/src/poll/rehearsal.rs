//! One list of a connection, or what events named, or the queue of its events: read as in earnest, with what would be
//! committed kept in memory.
//!
//! For the proof of a vendor's folder (`hirewire vendor prove`): the poller, its requests and its cursors are those of
//! the service; only the journal is another, and can end the poller at any commit, as a kill does.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures_core::future::BoxFuture;
use hirewire_kafka::Record;
use hirewire_registry::unframe;
use hirewire_schemas::Names;
use hirewire_schemas::records::{Cursor, decode};
use hirewire_service::{Health, Shutdown};
use jiff::{SignedDuration, Timestamp};
use tokio::sync::Notify;

use super::access::{self, Vault};
use super::client::Client;
use super::fetch::{Fetches, Queue};
use super::journal::{CursorCodec, Journal, NotCommitted, key};
use super::lane::Lane;
use super::poller::{Poller, TURN};
use super::queue;
use super::sweep::Known;
use crate::connection::Connection;
use crate::fetch::{FetchRequests, Wanted};
use crate::metrics::Metrics;
use crate::topics::Topics;
use crate::webhook::Taken;

/// Cursors have a partition of their own, rows do not: so they are told apart.
const PARTITION: i32 = 0;

/// A list that is polled in memory.
pub struct Rehearsal {
    http: Http,
    connection: Arc<Connection>,
    list: String,
    memory: Arc<Memory>,
    poller: Poller<Memory>,
}

/// What requests are sent with; to make it takes longer than a rehearsal.
#[derive(Debug, Clone)]
pub struct Http(reqwest::Client);

impl Http {
    /// `None`: no client can be made.
    #[must_use]
    pub fn new() -> Option<Self> {
        super::client::http().ok().map(Self)
    }
}

/// A row that was committed.
#[derive(Debug, Clone)]
pub struct Kept {
    /// The identity of its raw record.
    pub id: String,
    /// Its exact bytes.
    pub body: Bytes,
    /// The whole of its raw record.
    pub record: Record,
}

/// What events named, read as it is in earnest.
pub struct Errands {
    memory: Arc<Memory>,
    poller: Poller<Memory>,
    queue: Arc<Queue>,
    asked: i64,
}

/// The queue of a connection, read as it is in earnest.
pub struct Letterbox {
    http: Http,
    connection: Arc<Connection>,
    memory: Arc<Memory>,
    poller: Poller<Memory>,
}

/// Where a poller is killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    /// Nothing of the commit is there.
    BeforeCommit,
    /// The commit is there, and the poller does not know.
    AfterCommit,
    /// The commit's cursors are there, and its rows are not. No commit of ours ends so: whoever proves that a kill costs
    /// nothing must see what this one costs.
    CursorsAlone,
}

/// How a round ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Round {
    Over,
    /// The poller was killed. Another one is in its place, which begins at the cursors that were committed.
    Killed,
}

impl Rehearsal {
    /// A poller of the list alone. `None`: the connection is not polled, or has no such list.
    #[must_use]
    pub fn new(http: &Http, connection: &Arc<Connection>, list: &str) -> Option<Self> {
        let memory = Arc::new(Memory::default());
        let poller = poller(http, connection, list, &memory)?;
        Some(Self { http: http.clone(), connection: connection.clone(), list: list.to_owned(), memory, poller })
    }

    /// Reads the list once, as one round of the service does.
    pub fn read(&mut self) -> BoxFuture<'_, Round> {
        Box::pin(async {
            let memory = self.memory.clone();
            let ended = memory.until_killed(Box::pin(self.poller.one_round())).await;
            if ended == Round::Killed {
                self.restart();
            }
            ended
        })
    }

    /// The vendor's clock as an answer for another list tells it: lists are read one after the other.
    pub fn hear(&mut self, vendor_now: Timestamp) {
        self.poller.client.hear(vendor_now, Timestamp::now());
    }

    /// Another poller goes on from what was committed.
    pub fn restart(&mut self) {
        if let Some(poller) = poller(&self.http, &self.connection, &self.list, &self.memory) {
            self.poller = poller;
        }
    }

    /// The poller is killed at the commit after `commits` others.
    pub fn kill_after(&mut self, commits: usize, moment: Moment) {
        self.memory.kill_after(commits, moment);
    }

    /// Rows committed since this was asked last, in their order.
    #[must_use]
    pub fn take(&mut self) -> Vec<Kept> {
        self.memory.with(|state| std::mem::take(&mut state.rows))
    }

    /// What changed at or after this instant will be asked for again, by the cursors that the poller goes on from. `None`:
    /// everything will.
    #[must_use]
    pub fn reached(&self) -> Option<Timestamp> {
        let overlap = self.connection.poll.as_ref().map(|poll| poll.overlap).unwrap_or_default();
        let of_lane = |lane: &Lane| lane.cursor.as_ref().and_then(|cursor| reached(cursor, overlap));
        // A part that was not read yet: everything.
        self.poller.lanes.iter().map(of_lane).collect::<Option<Vec<_>>>()?.into_iter().min()
    }

    /// The tokens that the list's next runs begin with.
    #[must_use]
    pub fn sync_tokens(&self) -> Vec<String> {
        self.poller.lanes.iter().filter_map(|lane| lane.cursor.as_ref()?.sync_token.clone()).collect()
    }

    /// The codes of what failed last, in the parts of the list that fail.
    #[must_use]
    pub fn failing(&self) -> Vec<&'static str> {
        self.poller.lanes.iter().filter_map(|lane| lane.failing).collect()
    }
}

impl Errands {
    /// `None`: the connection is not polled.
    #[must_use]
    pub fn new(http: &Http, connection: &Arc<Connection>) -> Option<Self> {
        let (memory, queue) = (Arc::new(Memory::default()), Arc::new(Queue::new(None)));
        let mut poller = of_lanes(http, connection, Vec::new(), &memory)?;
        poller.fetches = Some(Fetches::new(queue.clone()));
        Some(Self { memory, poller, queue, asked: 0 })
    }

    /// These wait from now on.
    pub fn ask(&mut self, wanted: Vec<Wanted>) {
        for wanted in wanted {
            self.queue.put(self.asked, Timestamp::now().as_second(), wanted);
            self.asked += 1;
        }
    }

    /// Reads what waits, as far as it goes in one round: what was committed of it.
    pub fn read(&mut self) -> BoxFuture<'_, Vec<Kept>> {
        Box::pin(async {
            self.poller.one_fetch().await;
            self.memory.with(|state| std::mem::take(&mut state.rows))
        })
    }

    /// Whether nothing waits any more.
    #[must_use]
    pub fn are_done(&self) -> bool {
        self.queue.is_done()
    }
}

impl Letterbox {
    /// `None`: the connection is not polled, or the vendor has no queue.
    #[must_use]
    pub fn new(http: &Http, connection: &Arc<Connection>) -> Option<Self> {
        connection.manifest.queue.as_ref()?;
        let memory = Arc::new(Memory::default());
        let poller = of_queue(http, connection, &memory)?;
        Some(Self { http: http.clone(), connection: connection.clone(), memory, poller })
    }

    /// Reads what waits, as one round of the service does. Makes the queue, if there is none.
    pub fn read(&mut self) -> BoxFuture<'_, Round> {
        Box::pin(async {
            let memory = self.memory.clone();
            let ended = memory.until_killed(Box::pin(self.poller.one_queue())).await;
            if ended == Round::Killed
                && let Some(poller) = of_queue(&self.http, &self.connection, &self.memory)
            {
                self.poller = poller;
            }
            ended
        })
    }

    /// The poller is killed at the commit after `commits` others.
    pub fn kill_after(&mut self, commits: usize, moment: Moment) {
        self.memory.kill_after(commits, moment);
    }

    /// The code of what failed last, if the queue cannot be read.
    #[must_use]
    pub fn failing(&self) -> Option<&'static str> {
        self.poller.queue.as_ref().and_then(queue::Position::failing)
    }

    /// What was committed since this was asked last, in its order.
    #[must_use]
    pub fn take(&mut self) -> Taken {
        self.memory.with(|state| Taken {
            events: std::mem::take(&mut state.rows).into_iter().map(|kept| kept.record).collect(),
            wanted: std::mem::take(&mut state.wanted),
        })
    }
}

fn of_queue(http: &Http, connection: &Arc<Connection>, memory: &Arc<Memory>) -> Option<Poller<Memory>> {
    let mut poller = of_lanes(http, connection, Vec::new(), memory)?;
    let kept = memory.with(|state| state.cursors.get(&key(&connection.name, queue::LANE)).cloned());
    let requests = FetchRequests::ready(poller.topics.fetch.clone(), 0);
    poller.queue = Some(queue::Position::new(kept.as_ref(), requests));
    Some(poller)
}

fn poller(http: &Http, connection: &Arc<Connection>, list: &str, memory: &Arc<Memory>) -> Option<Poller<Memory>> {
    let cursors = memory.with(|state| state.cursors.clone());
    let mut lanes = Lane::all(connection, connection.manifest.api.as_ref()?, &cursors);
    lanes.retain(|lane| lane.stream_name() == list);
    if lanes.is_empty() {
        return None;
    }
    of_lanes(http, connection, lanes, memory)
}

fn of_lanes(
    http: &Http,
    connection: &Arc<Connection>,
    lanes: Vec<Lane>,
    memory: &Arc<Memory>,
) -> Option<Poller<Memory>> {
    connection.poll.as_ref()?;
    let topics = Topics::new(&Names::default(), [connection.manifest.vendor.as_str()]);
    let metrics = Metrics::new(&prometheus::Registry::new()).ok()?;
    let codec = CursorCodec::new(topics.cursor.clone(), 0);
    let token = memory.with(|state| state.cursors.get(&key(&connection.name, access::LANE)).cloned());
    let api = connection.manifest.api.as_ref()?;
    let known = memory.with(|state| Known::all(connection, api, &state.cursors));
    let vault = Vault::new(memory.clone(), codec.clone(), PARTITION, &connection.name, token.as_ref());
    Some(Poller {
        connection: connection.clone(),
        lanes,
        known,
        client: Client::over(http.0.clone(), vault),
        journal: memory.clone(),
        cursors: codec,
        partition: PARTITION,
        topics,
        metrics: metrics.polled(&connection.name, &connection.manifest.vendor, None),
        health: Health::new().component("rehearsal"),
        stop: Shutdown::new(),
        fetches: None,
        queue: None,
        turn: TURN,
    })
}

/// What was committed.
#[derive(Default)]
struct Memory {
    state: Mutex<State>,
    killed: Notify,
}

#[derive(Default)]
struct State {
    rows: Vec<Kept>,
    /// What events asked for.
    wanted: Vec<Wanted>,
    cursors: HashMap<String, Cursor>,
    /// Commits until the poller is killed.
    kill: Option<(usize, Moment)>,
}

impl Memory {
    fn with<T>(&self, act: impl FnOnce(&mut State) -> T) -> T {
        act(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Until the work is over, or its poller is killed at a commit.
    async fn until_killed(&self, work: impl Future + Unpin) -> Round {
        tokio::select! {
            _ = work => Round::Over,
            () = self.killed.notified() => Round::Killed,
        }
    }

    fn kill_after(&self, commits: usize, moment: Moment) {
        self.with(|state| state.kill = Some((commits, moment)));
    }
}

impl Journal for Memory {
    async fn commit(&self, records: Vec<Record>) -> Result<(), NotCommitted> {
        let killed = self.with(|state| match &mut state.kill {
            Some((0, moment)) => {
                let moment = *moment;
                state.kill = None;
                Some(moment)
            }
            Some((left, _)) => {
                *left -= 1;
                None
            }
            None => None,
        });
        let there = |record: &&Record| match killed {
            Some(Moment::BeforeCommit) => false,
            Some(Moment::CursorsAlone) => record.partition.is_some(),
            Some(Moment::AfterCommit) | None => true,
        };
        self.with(|state| records.iter().filter(there).try_for_each(|record| state.keep(record)))
            .ok_or_else(|| NotCommitted::Refused("a record that cannot be read back".to_owned()))?;
        if killed.is_none() {
            return Ok(());
        }
        self.killed.notify_one();
        std::future::pending().await
    }
}

impl State {
    fn keep(&mut self, record: &Record) -> Option<()> {
        let Some(value) = &record.value else {
            self.cursors.remove(&*String::from_utf8_lossy(record.key.as_ref()?));
            return Some(());
        };
        if record.partition.is_none() {
            // A request to fetch has no headers.
            if record.headers.is_empty() {
                self.wanted.push(Wanted::read(record)?);
                return Some(());
            }
            let (_, id) = record.headers.iter().find(|(name, _)| &**name == "ce_id")?;
            let id = String::from_utf8_lossy(id).into_owned();
            self.rows.push(Kept { id, body: value.clone(), record: record.clone() });
            return Some(());
        }
        let (_, bytes) = unframe(value).ok()?;
        let cursor: Cursor = decode(hirewire_schemas::schema("Cursor")?, bytes).ok()?;
        self.cursors.insert(key(&cursor.connection_id, &cursor.stream), cursor);
        Some(())
    }
}

/// Where the window after this cursor begins; of one that was not read to its end, where it began itself.
fn reached(cursor: &Cursor, overlap: Duration) -> Option<Timestamp> {
    let micros = if cursor.complete { cursor.window_to } else { cursor.window_from? };
    let end = Timestamp::from_microsecond(micros).ok()?;
    if cursor.complete { end.checked_sub(SignedDuration::try_from(overlap).ok()?).ok() } else { Some(end) }
}
