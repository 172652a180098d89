//! Consume, transform, produce in transactions: one worker thread per partition *number* over all inputs.
//!
//! [`run_partitioned`] owns the consumer and nothing else: it hands records to workers (`worker.rs`) and follows the
//! group. Partition p of every input belongs to one worker, one [`Step`], one `transactional.id`.
//! - Assigned: a worker's producer fences its predecessor first, only then are committed offsets asked for.
//! - Revoked: workers drain (commit what they did), then the partitions are given back.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};
use std::time::{Duration, Instant};

use hirewire_service::{Component, Shutdown};
use rdkafka::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::KafkaError;
use rdkafka::message::Message;
use rdkafka::types::RDKafkaRespErr;
use rdkafka::{Offset, Statistics, TopicPartitionList};

use crate::client::{self, on_consumer_error, start_at_beginning};
use crate::hidden::Hidden;
use crate::lag::{self, Lag};
use crate::metrics::PartitionedMetrics;
use crate::restoring::Restoring;
use crate::worker::Worker;
use crate::{Inbound, Settings, Step, Stop};

/// What [`run_partitioned`] needs to know.
#[derive(Clone)]
pub struct PartitionedOptions {
    pub group: String,
    /// Topics of the same partition count. Their records are taken in the order of their times. What is unread of one
    /// of them when a partition is taken over is waited for before those that stand behind it here.
    pub inputs: Vec<String>,
    /// The one of the inputs that each member of the group reads, whatever its version: who is given partition p of it works on p,
    /// with what it was given of the others. It and the inputs behind it hold what was made from those in front of it.
    pub anchor: String,
    /// `<prefix>-<p>` is the transactional id of partition number p.
    pub transactional_prefix: String,
    /// Most time from the begin of a transaction to its commit.
    pub commit_interval: Duration,
    /// Most input records of a transaction.
    pub commit_max_records: usize,
    /// How long workers may take to commit what they began when partitions are revoked.
    pub drain_deadline: Duration,
}

pub(crate) type MakeStep = Box<dyn Fn(i32) -> Result<Box<dyn Step>, Stop> + Send + Sync>;
pub(crate) type PartitionedConsumer = BaseConsumer<Members>;

/// The consumer's callbacks: they run inside `poll`, on the thread of [`run_partitioned`].
pub(crate) struct Members {
    settings: Settings,
    options: PartitionedOptions,
    inputs: Vec<Arc<str>>,
    hidden: Arc<Hidden>,
    metrics: PartitionedMetrics,
    make_step: MakeStep,
    consumer: OnceLock<Weak<PartitionedConsumer>>,
    workers: Mutex<BTreeMap<i32, Running>>,
    failure: Mutex<Option<Stop>>,
    component: Component,
    lag: Arc<Lag>,
}

/// A worker as the consumer's thread sees it.
struct Running {
    inbox: SyncSender<ToWorker>,
    thread: std::thread::JoinHandle<Result<(), Stop>>,
    given_back: Arc<AtomicBool>,
    /// Whether it waits for unread records of an input, and wants to be told how far the consumer is.
    waits: Arc<AtomicBool>,
}

/// What a worker is told.
pub(crate) enum ToWorker {
    Record(Inbound),
    /// All before this offset of an input was handed over, or is never handed over, as the marks of transactions.
    Passed(Arc<str>, i64),
    /// Commit what was begun and end.
    Drain,
    /// The partition is somebody else's already: abort and end.
    Abandon,
}

/// How often workers that wait for unread records are told how far the consumer is.
const TELL_EVERY: Duration = Duration::from_millis(100);
/// Records that wait for a worker; beyond it the consumer stops reading.
const INBOX_RECORDS: usize = 512;

impl ClientContext for Members {
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

impl ConsumerContext for Members {
    fn rebalance(&self, consumer: &BaseConsumer<Self>, error: RDKafkaRespErr, partitions: &mut TopicPartitionList) {
        let done = match error {
            RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS => self.assign(consumer, partitions),
            _ => self.revoke(consumer),
        };
        if let Err(stop) = done {
            self.failure.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(stop);
        }
    }
}

impl Members {
    fn assign(&self, consumer: &BaseConsumer<Self>, assigned: &TopicPartitionList) -> Result<(), Stop> {
        let shares = self.shares(consumer, assigned)?;
        tracing::info!(group = %self.options.group, partitions = ?shares.keys(), "assigned");
        let mut owned = TopicPartitionList::new();
        for (p, topics) in &shares {
            for topic in topics {
                owned.add_partition(topic, *p);
            }
        }
        if shares.is_empty() {
            self.component.ready();
            return consumer.assign(&owned).map_err(|error| Stop::kafka("assign", &error));
        }
        self.start_workers(shares)?;
        let mut offsets = consumer
            .committed_offsets(owned, Duration::from_secs(30))
            .map_err(|error| Stop::kafka("read committed offsets", &error))?;
        start_at_beginning(&mut offsets).map_err(|error| Stop::kafka("set a start offset", &error))?;
        self.lag.assigned(&offsets);
        consumer.assign(&offsets).map_err(|error| Stop::kafka("assign", &error))
    }

    /// The partition numbers that are this member's to work on, each with the inputs that it has of them. Members of different
    /// versions read different inputs; what nobody has who also has the anchor's partition waits until they are one version again.
    fn shares(
        &self,
        consumer: &BaseConsumer<Self>,
        assigned: &TopicPartitionList,
    ) -> Result<BTreeMap<i32, Vec<Arc<str>>>, Stop> {
        let mut shares: BTreeMap<i32, Vec<Arc<str>>> = BTreeMap::new();
        for topic in &self.inputs {
            for element in assigned.elements_for_topic(topic) {
                shares.entry(element.partition()).or_default().push(topic.clone());
            }
        }
        let torn: Vec<i32> =
            shares.iter().filter(|(_, topics)| topics.len() != self.inputs.len()).map(|(p, _)| *p).collect();
        if torn.is_empty() {
            return Ok(shares);
        }
        self.check_counts(consumer)?;
        tracing::warn!(
            group = %self.options.group,
            partitions = ?torn,
            "members of this group read different topics, as while another version is rolled out: what only some read waits"
        );
        shares.retain(|_, topics| topics.iter().any(|topic| **topic == *self.options.anchor));
        Ok(shares)
    }

    /// With other counts of partitions the group cannot give all inputs' partition p to one member.
    fn check_counts(&self, consumer: &BaseConsumer<Self>) -> Result<(), Stop> {
        let mut counts = BTreeMap::new();
        for topic in &self.inputs {
            let metadata = consumer
                .fetch_metadata(Some(topic), Duration::from_secs(30))
                .map_err(|error| Stop::kafka("read an input's partitions", &error))?;
            let count = metadata.topics().first().map_or(0, |topic| topic.partitions().len());
            counts.entry(count).or_insert_with(Vec::new).push(&**topic);
        }
        if counts.len() <= 1 {
            return Ok(());
        }
        Err(Stop::permanent(
            "torn-assignment",
            format!("the inputs' counts of partitions differ: {counts:?}; give all of them the same"),
        ))
    }

    fn start_workers(&self, shares: BTreeMap<i32, Vec<Arc<str>>>) -> Result<(), Stop> {
        let count = shares.len();
        let (fenced, all_fenced) = sync_channel(count);
        let restoring = Restoring::begin(count, self.metrics.restoring.clone(), self.component.clone());
        for (p, inputs) in shares {
            let (inbox, outbox) = sync_channel(INBOX_RECORDS);
            let given_back = Arc::new(AtomicBool::new(false));
            let waits = Arc::new(AtomicBool::new(false));
            let worker = Worker {
                partition: p,
                anchor: inputs.iter().position(|topic| **topic == *self.options.anchor).unwrap_or(inputs.len()),
                inputs,
                hidden: self.hidden.clone(),
                settings: self.settings.clone(),
                transactional_id: format!("{}-{p}", self.options.transactional_prefix),
                commit_interval: self.options.commit_interval,
                commit_max_records: self.options.commit_max_records,
                group: self.options.group.clone(),
                consumer: self.consumer.get().cloned().unwrap_or_default(),
                metrics: self.metrics.clone(),
                step: (self.make_step)(p)?,
                restoring: restoring.clone(),
                given_back: given_back.clone(),
                waits: waits.clone(),
                lag: self.lag.clone(),
            };
            let fenced = fenced.clone();
            let thread = std::thread::Builder::new()
                .name(format!("partition-{p}"))
                .spawn(move || worker.run(outbox, &fenced))
                .map_err(|error| Stop::retryable("no-thread", error.to_string()))?;
            self.workers
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .insert(p, Running { inbox, thread, given_back, waits });
        }
        drop(fenced);
        wait_for_fences(&all_fenced, count)
    }

    fn revoke(&self, consumer: &BaseConsumer<Self>) -> Result<(), Stop> {
        let lost = consumer.assignment_lost();
        tracing::info!(group = %self.options.group, lost, "revoked");
        self.lag.revoked();
        let ended = self.end_workers(if lost { || ToWorker::Abandon } else { || ToWorker::Drain });
        let released = consumer.unassign().map_err(|error| Stop::kafka("unassign", &error));
        ended.and(released)
    }

    fn end_workers(&self, how: impl Fn() -> ToWorker) -> Result<(), Stop> {
        self.metrics.restoring.set(0);
        let workers = std::mem::take(&mut *self.workers.lock().unwrap_or_else(PoisonError::into_inner));
        let until = Instant::now() + self.options.drain_deadline;
        for running in workers.values() {
            deliver(&running.inbox, how(), until);
        }
        let mut result = Ok(());
        for (p, running) in workers {
            // Closing the inbox ends a worker that the message did not reach.
            drop(running.inbox);
            while !running.thread.is_finished() && Instant::now() < until {
                std::thread::sleep(Duration::from_millis(1));
            }
            if !running.thread.is_finished() {
                // It ends at the next look at this flag, or the next owner's producer fences it.
                running.given_back.store(true, Ordering::Release);
                tracing::warn!(partition = p, "a worker did not drain in time and is left to be fenced");
                continue;
            }
            match running.thread.join() {
                Ok(Ok(())) => {}
                Ok(Err(stop)) => result = Err(stop),
                Err(_) => {
                    result = Err(Stop::retryable("worker-panicked", format!("the worker of partition {p} panicked")))
                }
            }
        }
        result
    }

    /// A worker that ended by itself, with its reason.
    fn ended_worker(&self) -> Option<Result<(), Stop>> {
        let mut workers = self.workers.lock().unwrap_or_else(PoisonError::into_inner);
        let p = *workers.iter().find(|(_, running)| running.thread.is_finished())?.0;
        let running = workers.remove(&p)?;
        Some(running.thread.join().unwrap_or_else(|_| {
            Err(Stop::retryable("worker-panicked", format!("the worker of partition {p} panicked")))
        }))
    }

    /// Why the worker that takes nothing more ended. Its thread may still be closing its producer.
    fn reason_of_end(&self) -> Stop {
        let until = Instant::now() + Duration::from_secs(30);
        loop {
            match self.ended_worker() {
                Some(Err(stop)) => return stop,
                None if Instant::now() < until => {
                    self.component.progress(Duration::from_secs(60));
                    std::thread::sleep(Duration::from_millis(1));
                }
                Some(Ok(())) | None => {
                    return Stop::retryable("worker-ended", "a worker ended without a reason");
                }
            }
        }
    }

    /// Tells workers that wait how far their inputs were read. On the thread that hands records over, after it did.
    fn tell_positions(&self, consumer: &PartitionedConsumer) {
        let workers = self.workers.lock().unwrap_or_else(PoisonError::into_inner);
        let waiting: BTreeMap<i32, SyncSender<ToWorker>> = workers
            .iter()
            .filter(|(_, running)| running.waits.load(Ordering::Acquire))
            .map(|(p, running)| (*p, running.inbox.clone()))
            .collect();
        drop(workers);
        if waiting.is_empty() {
            return;
        }
        let Ok(positions) = consumer.position() else { return };
        for element in positions.elements() {
            let topic = self.inputs.iter().find(|topic| ***topic == *element.topic());
            if let (Offset::Offset(offset), Some(topic), Some(inbox)) =
                (element.offset(), topic, waiting.get(&element.partition()))
            {
                // Who has no place for it is told the next time.
                let _full = inbox.try_send(ToWorker::Passed(topic.clone(), offset)).is_err();
            }
        }
    }

    /// The inbox of p's worker. A clone, so that no lock is held while the inbox is full.
    fn inbox(&self, p: i32) -> Option<SyncSender<ToWorker>> {
        self.workers.lock().unwrap_or_else(PoisonError::into_inner).get(&p).map(|running| running.inbox.clone())
    }
}

/// Waits until all workers said that their predecessors are fenced.
fn wait_for_fences(fenced: &Receiver<Result<(), Stop>>, count: usize) -> Result<(), Stop> {
    let until = Instant::now() + Duration::from_secs(60);
    for _ in 0..count {
        match fenced.recv_timeout(until.saturating_duration_since(Instant::now())) {
            Ok(result) => result?,
            Err(_) => {
                return Err(Stop::retryable("fence-timeout", "a worker could not fence its predecessor within 60 s"));
            }
        }
    }
    Ok(())
}

fn deliver(inbox: &SyncSender<ToWorker>, mut message: ToWorker, until: Instant) -> bool {
    loop {
        match inbox.try_send(message) {
            Ok(()) => return true,
            Err(TrySendError::Disconnected(_)) => return false,
            Err(TrySendError::Full(back)) if Instant::now() < until => {
                message = back;
                std::thread::sleep(Duration::from_millis(1));
            }
            Err(TrySendError::Full(_)) => return false,
        }
    }
}

/// Runs until shutdown or until something stops the work. Blocks: give it a thread of its own.
///
/// # Errors
/// [`Stop`]; when retryable, running again is right.
pub fn run_partitioned(
    settings: &Settings,
    options: PartitionedOptions,
    metrics: PartitionedMetrics,
    component: Component,
    shutdown: &Shutdown,
    make_step: impl Fn(i32) -> Result<Box<dyn Step>, Stop> + Send + Sync + 'static,
) -> Result<(), Stop> {
    let mut config = settings.consumer(&options.group)?;
    config.set("partition.assignment.strategy", "range");
    config.set("statistics.interval.ms", lag::INTERVAL.as_millis().to_string());
    let inputs: Vec<Arc<str>> = options.inputs.iter().map(|topic| Arc::from(topic.as_str())).collect();
    let members = Members {
        hidden: Arc::new(Hidden::new(settings)?),
        lag: Arc::new(Lag::new(&options.group, &inputs, metrics.lag.clone())),
        settings: settings.clone(),
        options,
        inputs: inputs.clone(),
        metrics,
        make_step: Box::new(make_step),
        consumer: OnceLock::new(),
        workers: Mutex::default(),
        failure: Mutex::default(),
        component,
    };
    let consumer: PartitionedConsumer =
        config.create_with_context(members).map_err(|error| Stop::kafka("create a consumer", &error))?;
    let consumer = Arc::new(consumer);
    let members = Arc::clone(consumer.context());
    if members.consumer.set(Arc::downgrade(&consumer)).is_err() {
        return Err(Stop::permanent("consumer-set-twice", "a consumer was set up twice"));
    }
    let topics: Vec<&str> = inputs.iter().map(|topic| &**topic).collect();
    consumer.subscribe(&topics).map_err(|error| Stop::kafka("subscribe", &error))?;
    members.component.waiting("partitions to be assigned");
    let result = pump(&consumer, &members, &inputs, shutdown);
    let drained = members.end_workers(|| ToWorker::Drain);
    consumer.unsubscribe();
    drop(consumer);
    result.and(drained)
}

/// Hands records to workers until shutdown or a failure.
fn pump(
    consumer: &PartitionedConsumer,
    members: &Members,
    inputs: &[Arc<str>],
    shutdown: &Shutdown,
) -> Result<(), Stop> {
    let mut told = Instant::now();
    while !shutdown.is_requested() {
        let polled = consumer.poll(TELL_EVERY);
        members.component.progress(Duration::from_secs(60));
        if let Some(stop) = members.failure.lock().unwrap_or_else(PoisonError::into_inner).take() {
            return Err(stop);
        }
        match polled {
            None => {
                members.ended_worker().transpose()?;
            }
            Some(Ok(message)) => {
                let Some(topic) = inputs.iter().find(|topic| ***topic == *message.topic()) else { continue };
                let Some(inbox) = members.inbox(message.partition()) else { continue };
                members.lag.handed_out(topic, message.partition(), message.offset() + 1);
                hand_over(members, &inbox, Inbound::copy(&message, topic), shutdown)?;
            }
            Some(Err(error)) => on_consumer_error(&error)?,
        }
        if told.elapsed() >= TELL_EVERY {
            members.tell_positions(consumer);
            told = Instant::now();
        }
    }
    Ok(())
}

/// Waits for a place in a full inbox: records of one partition hold the others of this member only while its worker
/// is slower than the broker, and never a shutdown.
fn hand_over(
    members: &Members,
    inbox: &SyncSender<ToWorker>,
    record: Inbound,
    shutdown: &Shutdown,
) -> Result<(), Stop> {
    let mut message = ToWorker::Record(record);
    loop {
        match inbox.try_send(message) {
            Ok(()) => return Ok(()),
            Err(TrySendError::Disconnected(_)) => return Err(members.reason_of_end()),
            Err(TrySendError::Full(_)) if shutdown.is_requested() => return Ok(()),
            Err(TrySendError::Full(back)) => {
                message = back;
                members.component.progress(Duration::from_secs(60));
                std::thread::sleep(Duration::from_millis(1));
            }
        }
    }
}
