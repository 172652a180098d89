//! A group member that commits when the caller says so.
//!
//! Records come in order per partition, at most `window_records` of a partition and `window_bytes` of all beyond what was
//! committed; then the partition is paused until commits make room. On a revoke the caller drains, commits its finished
//! head and drops [`Done`]; those commits are made before the partition is given back.
//!
//! With a `transactional_id` a head is committed in one transaction with the records that came of it: both are there or
//! neither is. A transaction that fails ends the member; the next one begins at what is committed.

mod transactions;
mod window;

use std::collections::BTreeMap;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, SyncSender, channel, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use hirewire_service::{Component, Shutdown};
use rdkafka::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer, ConsumerContext};
use rdkafka::error::KafkaError;
use rdkafka::message::Message;
use rdkafka::types::RDKafkaRespErr;
use rdkafka::{Offset, Statistics, TopicPartitionList};
use tokio::sync::mpsc;

use crate::client::{on_consumer_error, start_at_beginning};
use crate::lag::{self, Lag};
use crate::metrics::GroupMetrics;
use crate::{Inbound, Record, Settings, Stop, client};
use transactions::Transactions;
use window::Windows;

/// Of one partition in one answer of the broker; a batch of records that is larger comes whole.
const FETCH_BYTES: usize = 256 * 1024;

/// What a [`GroupConsumer`] needs to know.
#[derive(Debug, Clone)]
pub struct GroupOptions {
    pub group: String,
    pub topics: Vec<String>,
    /// Most records of one partition that were handed out and not committed.
    pub window_records: usize,
    /// Most bytes of all partitions together, each of which has an equal share and one record in any case.
    pub window_bytes: usize,
    /// How long the caller may take to drain when partitions are revoked. Below the session timeout of 10 s.
    pub drain_deadline: Duration,
    /// Heads are committed in transactions of this id, of this member alone. `None`: plain commits, without records.
    pub transactional_id: Option<String>,
    pub lag: GroupMetrics,
}

/// What the caller hears, in order.
#[derive(Debug)]
pub enum GroupEvent {
    /// These partitions are ours now; their records follow.
    Assigned(Vec<(Arc<str>, i32)>),
    Record(Inbound),
    /// So much of this partition is in hand that no more of it comes until some is committed.
    Full(Arc<str>, i32),
    /// Finish or give up what is in hand of all partitions, commit heads, then drop `done`. No more records of them come.
    Revoked(Done),
    /// Nothing more comes.
    Failed(Stop),
}

/// Dropping it says that the caller has drained.
#[derive(Debug)]
pub struct Done(#[allow(dead_code, reason = "held for its drop")] SyncSender<()>);

impl Done {
    pub(crate) fn new(held: SyncSender<()>) -> Self {
        Self(held)
    }
}

/// Commits heads. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Committer {
    requests: Sender<Request>,
}

/// A head, and what came of the records between it and the head before.
#[derive(Debug)]
struct Request {
    topic: Arc<str>,
    partition: i32,
    next: i64,
    records: Vec<Record>,
}

impl Committer {
    /// Everything before `next_offset` is finished. Returns at once; the commit follows within milliseconds, and
    /// before a revoke ends.
    pub fn commit(&self, topic: &Arc<str>, partition: i32, next_offset: i64) {
        self.commit_with(topic, partition, next_offset, Vec::new());
    }

    /// As [`Self::commit`], and `records` become visible with it. For a member with a `transactional_id`.
    pub fn commit_with(&self, topic: &Arc<str>, partition: i32, next_offset: i64, records: Vec<Record>) {
        let request = Request { topic: topic.clone(), partition, next: next_offset, records };
        // A closed consumer takes no commits: the records come again to the next owner.
        let _closed = self.requests.send(request).is_err();
    }
}

/// The running member: its events and its committer.
pub struct GroupConsumer {
    pub events: mpsc::UnboundedReceiver<GroupEvent>,
    pub committer: Committer,
    thread: std::thread::JoinHandle<()>,
}

struct Member {
    events: mpsc::UnboundedSender<GroupEvent>,
    requests: Mutex<Receiver<Request>>,
    commits: Mutex<Commits>,
    topics: Vec<Arc<str>>,
    windows: Mutex<Windows>,
    options: GroupOptions,
    lag: Lag,
}

/// How heads are committed.
enum Commits {
    Plain,
    InTransactions(Transactions),
    /// Not at all: a transaction failed, and what came of records since is not there.
    Ended,
}

/// What was asked to be committed: the newest head of each partition, all records, and partitions that have room again.
struct Asked {
    offsets: TopicPartitionList,
    records: Vec<Record>,
    resumed: TopicPartitionList,
}

impl ClientContext for Member {
    const ENABLE_REFRESH_OAUTH_TOKEN: bool = false;

    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        client::log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        client::report(&error, reason);
    }

    fn stats(&self, statistics: Statistics) {
        self.lag.observe(&statistics);
    }
}

impl ConsumerContext for Member {
    fn rebalance(&self, consumer: &BaseConsumer<Self>, error: RDKafkaRespErr, partitions: &mut TopicPartitionList) {
        let done = match error {
            RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS => {
                self.assign(consumer, partitions).map_err(|error| Stop::kafka("rebalance", &error))
            }
            _ => self.revoke(consumer),
        };
        if let Err(stop) = done {
            let _gone = self.events.send(GroupEvent::Failed(stop)).is_err();
        }
    }
}

impl Member {
    fn assign(&self, consumer: &BaseConsumer<Self>, assigned: &TopicPartitionList) -> Result<(), KafkaError> {
        let mut offsets = consumer.committed_offsets(assigned.clone(), Duration::from_secs(30))?;
        start_at_beginning(&mut offsets)?;
        self.lag.assigned(&offsets);
        consumer.assign(&offsets)?;
        let elements = assigned.elements();
        let owned = elements.iter().filter_map(|element| Some((self.topic(element.topic())?, element.partition())));
        let owned: Vec<(Arc<str>, i32)> = owned.collect();
        let (records, bytes) = (self.options.window_records, self.options.window_bytes);
        *self.windows.lock().unwrap_or_else(PoisonError::into_inner) = Windows::new(&owned, records, bytes);
        tracing::info!(group = %self.options.group, partitions = owned.len(), "assigned");
        let _gone = self.events.send(GroupEvent::Assigned(owned)).is_err();
        Ok(())
    }

    fn revoke(&self, consumer: &BaseConsumer<Self>) -> Result<(), Stop> {
        tracing::info!(group = %self.options.group, lost = consumer.assignment_lost(), "revoked");
        let drained = self.drain(consumer);
        *self.windows.lock().unwrap_or_else(PoisonError::into_inner) = Windows::default();
        self.lag.revoked();
        let unassigned = consumer.unassign().map_err(|error| Stop::kafka("rebalance", &error));
        drained.and(unassigned)
    }

    /// Waits for the caller to drain, and commits its last heads.
    fn drain(&self, consumer: &BaseConsumer<Self>) -> Result<(), Stop> {
        let (done, drained) = sync_channel(1);
        if self.events.send(GroupEvent::Revoked(Done::new(done))).is_ok() {
            let until = Instant::now() + self.options.drain_deadline;
            loop {
                self.serve_commits(consumer, CommitMode::Sync)?;
                match drained.recv_timeout(Duration::from_millis(2)) {
                    Err(RecvTimeoutError::Disconnected) => break,
                    _ if Instant::now() > until => {
                        tracing::warn!(group = %self.options.group, "not drained in time: what is in hand will be done again by the next owner");
                        break;
                    }
                    _ => {}
                }
            }
        }
        self.serve_commits(consumer, CommitMode::Sync)?;
        // All heads once more: a commit on the way when the group began to rebalance may have been refused without
        // anybody hearing of it. Of a transaction one hears.
        if self.options.transactional_id.is_none() {
            commit(consumer, &self.heads(), CommitMode::Sync);
        }
        Ok(())
    }

    fn topic(&self, name: &str) -> Option<Arc<str>> {
        self.topics.iter().find(|topic| &***topic == name).cloned()
    }

    /// Makes the queued commits and resumes partitions that have room again.
    fn serve_commits(&self, consumer: &BaseConsumer<Self>, mode: CommitMode) -> Result<(), Stop> {
        let asked = self.take_requests();
        let mut commits = self.commits.lock().unwrap_or_else(PoisonError::into_inner);
        match &mut *commits {
            Commits::Plain => commit(consumer, &asked.offsets, mode),
            Commits::InTransactions(transactions) => {
                if let Err(stop) = transactions.commit(consumer, &asked.offsets, &asked.records) {
                    *commits = Commits::Ended;
                    return Err(stop);
                }
            }
            Commits::Ended => {}
        }
        if asked.resumed.count() > 0
            && let Err(error) = consumer.resume(&asked.resumed)
        {
            tracing::warn!(%error, "a partition could not be resumed");
        }
        Ok(())
    }

    /// Whether there is a reason to look for queued commits now, or never again.
    fn commits_are_due(&self) -> bool {
        match &*self.commits.lock().unwrap_or_else(PoisonError::into_inner) {
            Commits::Plain => true,
            Commits::InTransactions(transactions) => transactions.are_due(),
            Commits::Ended => false,
        }
    }

    fn has_ended(&self) -> bool {
        matches!(*self.commits.lock().unwrap_or_else(PoisonError::into_inner), Commits::Ended)
    }

    fn take_requests(&self) -> Asked {
        let mut heads: BTreeMap<(Arc<str>, i32), (i64, Vec<Record>)> = BTreeMap::new();
        for request in self.requests.lock().unwrap_or_else(PoisonError::into_inner).try_iter() {
            let (head, records) = heads.entry((request.topic, request.partition)).or_default();
            *head = request.next.max(*head);
            records.extend(request.records);
        }
        let mut windows = self.windows.lock().unwrap_or_else(PoisonError::into_inner);
        let (offsets, resumed) = (TopicPartitionList::new(), TopicPartitionList::new());
        let mut asked = Asked { offsets, records: Vec::new(), resumed };
        for (key, (next, records)) in heads {
            // A head of a partition that is no longer ours is the next owner's business.
            let Some(committed) = windows.commit(&key, next) else { continue };
            self.lag.done(&key.0, key.1, next, committed.timestamp_ms);
            if committed.has_room {
                asked.resumed.add_partition(&key.0, key.1);
            }
            add_head(&mut asked.offsets, &key, next);
            asked.records.extend(records);
        }
        asked
    }

    /// The newest head of each partition, whether its commit was heard of or not.
    fn heads(&self) -> TopicPartitionList {
        let mut offsets = TopicPartitionList::new();
        for (key, head) in self.windows.lock().unwrap_or_else(PoisonError::into_inner).heads() {
            add_head(&mut offsets, key, head);
        }
        offsets
    }

    /// Hands a record out and pauses its partition when the window is full.
    fn hand_out(&self, consumer: &BaseConsumer<Self>, record: Inbound) {
        let key = (record.topic.clone(), record.partition);
        let taken = self.windows.lock().unwrap_or_else(PoisonError::into_inner).hand_out(&record);
        let Some(is_full) = taken else { return };
        self.lag.handed_out(&key.0, key.1, record.offset + 1);
        let _gone = self.events.send(GroupEvent::Record(record)).is_err();
        if is_full {
            let _gone = self.events.send(GroupEvent::Full(key.0.clone(), key.1)).is_err();
            let mut paused = TopicPartitionList::new();
            paused.add_partition(&key.0, key.1);
            if let Err(error) = consumer.pause(&paused) {
                tracing::warn!(%error, "a partition could not be paused");
            }
        }
    }
}

fn add_head(offsets: &mut TopicPartitionList, (topic, partition): &(Arc<str>, i32), next: i64) {
    if offsets.add_partition_offset(topic, *partition, Offset::Offset(next)).is_err() {
        tracing::error!(%topic, partition, next, "an offset that cannot be committed");
    }
}

fn commit(consumer: &BaseConsumer<Member>, offsets: &TopicPartitionList, mode: CommitMode) {
    if offsets.count() > 0
        && let Err(error) = consumer.commit(offsets, mode)
    {
        tracing::warn!(%error, "a commit failed; the records may be done again, with the same keys");
    }
}

impl GroupConsumer {
    /// Joins the group, on a thread of its own.
    ///
    /// # Errors
    /// When the settings are refused. What happens later comes as [`GroupEvent::Failed`].
    pub fn start(
        settings: &Settings,
        options: GroupOptions,
        component: Component,
        shutdown: Shutdown,
    ) -> Result<Self, Stop> {
        let (events, received) = mpsc::unbounded_channel();
        let (requests, queued) = channel();
        let mut config = settings.consumer(&options.group)?;
        config.set("partition.assignment.strategy", "range");
        // What was fetched of a partition is thrown away when it is paused, and fetched again when it goes on.
        config.set("fetch.message.max.bytes", FETCH_BYTES.to_string());
        config.set("statistics.interval.ms", lag::INTERVAL.as_millis().to_string());
        let topics: Vec<Arc<str>> = options.topics.iter().map(|topic| Arc::from(topic.as_str())).collect();
        let member = Member {
            events: events.clone(),
            requests: Mutex::new(queued),
            topics: topics.clone(),
            windows: Mutex::default(),
            lag: Lag::new(&options.group, &topics, options.lag.clone()),
            commits: Mutex::new(Commits::Plain),
            options,
        };
        let consumer: BaseConsumer<Member> =
            config.create_with_context(member).map_err(|error| Stop::kafka("create a consumer", &error))?;
        let names: Vec<&str> = topics.iter().map(|topic| &**topic).collect();
        consumer.subscribe(&names).map_err(|error| Stop::kafka("subscribe", &error))?;
        let settings = settings.clone();
        let thread = std::thread::Builder::new()
            .name("group-consumer".to_owned())
            .spawn(move || {
                let served = open(&settings, &consumer).and_then(|()| pump(&consumer, &component, &shutdown));
                if let Err(stop) = served {
                    let _gone = events.send(GroupEvent::Failed(stop)).is_err();
                    return;
                }
                // Leaving: the caller drains as on any revoke.
                if let Err(stop) = consumer.context().revoke(&consumer) {
                    tracing::warn!(code = stop.code, what = stop.what, "the last commit at the close failed");
                }
                consumer.unsubscribe();
            })
            .map_err(|error| Stop::retryable("no-thread", error.to_string()))?;
        Ok(Self { events: received, committer: Committer { requests }, thread })
    }

    /// Waits for the member to have left its group; to be called after the events ended.
    pub fn join(self) {
        if self.thread.join().is_err() {
            tracing::error!("the consumer's thread panicked");
        }
    }
}

/// The producer, before the first poll and so before committed offsets are asked for: it ends what a transaction that
/// failed left open.
fn open(settings: &Settings, consumer: &BaseConsumer<Member>) -> Result<(), Stop> {
    let member = consumer.context();
    let Some(id) = &member.options.transactional_id else { return Ok(()) };
    let transactions = Transactions::open(settings, id)?;
    *member.commits.lock().unwrap_or_else(PoisonError::into_inner) = Commits::InTransactions(transactions);
    Ok(())
}

fn pump(consumer: &BaseConsumer<Member>, component: &Component, shutdown: &Shutdown) -> Result<(), Stop> {
    let member = consumer.context();
    while !shutdown.is_requested() && !member.events.is_closed() && !member.has_ended() {
        if member.commits_are_due() {
            member.serve_commits(consumer, CommitMode::Async)?;
        }
        let polled = consumer.poll(Duration::from_millis(5));
        component.progress(Duration::from_secs(60));
        match polled {
            None => {}
            Some(Ok(message)) => {
                if let Some(topic) = member.topic(message.topic()) {
                    member.hand_out(consumer, Inbound::copy(&message, &topic));
                }
            }
            Some(Err(error)) => on_consumer_error(&error)?,
        }
    }
    Ok(())
}
