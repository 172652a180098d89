//! Keeps the context store up to date: the compacted topics, whole and as they come.
//!
//! In: records of the followed topics. Out: batches in the [`Store`]. A thread of its own decodes and writes, so that
//! neither the consumer nor a delivery waits for the disk.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::Duration;

use hirewire_kafka::{Inbound, Isolation, Settings, Stop, TableFollower};
use hirewire_schemas::{Entity, Names};
use hirewire_service::Shutdown;
use tokio::runtime::Handle;

use super::store::{Seen, Store};
use crate::created;
use crate::decode::{Decode, DecodeError};

/// What a request's parts are made of.
pub(crate) const FOLLOWED: [Entity; 10] = [
    Entity::StageChange,
    Entity::Application,
    Entity::Candidate,
    Entity::Job,
    Entity::Opening,
    Entity::Offer,
    Entity::User,
    Entity::Attachment,
    Entity::Department,
    Entity::Office,
];

const BATCH: usize = 500;
const QUEUE: usize = 2_000;
const PAUSE: Duration = Duration::from_millis(500);

/// The running follower; dropping it stops it, when what it has read is written.
pub(crate) struct Follower {
    table: Option<TableFollower>,
    writer: Option<std::thread::JoinHandle<()>>,
    read: Arc<AtomicU64>,
    written: Arc<AtomicU64>,
}

impl Follower {
    /// # Errors
    /// When the topics are not there or a thread cannot be made.
    pub(crate) fn start<D: Decode>(
        settings: &Settings,
        names: &Names,
        store: Arc<Store>,
        decoder: Arc<D>,
        runtime: Handle,
        shutdown: &Shutdown,
    ) -> Result<Self, Stop> {
        let mut topics: Vec<String> = FOLLOWED.iter().map(|entity| names.entity(*entity)).collect();
        let entities: HashMap<String, Entity> = topics.iter().cloned().zip(FOLLOWED).collect();
        let created = names.internal(created::TOPIC);
        topics.push(created.clone());
        let unreadable = |error: rusqlite::Error| Stop::retryable("context-store", error.to_string());
        let from = store.positions().map_err(unreadable)?;
        let (read, written) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
        let (queue, queued) = sync_channel::<Inbound>(QUEUE);
        let writer = Writer {
            store,
            decoder,
            entities,
            created,
            runtime,
            written: Arc::clone(&written),
            shutdown: shutdown.clone(),
        };
        let writer = std::thread::Builder::new()
            .name("context-writer".to_owned())
            .spawn(move || writer.run(&queued))
            .map_err(|error| Stop::retryable("no-thread", error.to_string()))?;
        let counter = Arc::clone(&read);
        let table =
            TableFollower::start(settings, &topics, from, Isolation::Committed, shutdown.clone(), move |inbound| {
                counter.fetch_add(1, Ordering::AcqRel);
                put(&queue, inbound);
            })?;
        Ok(Self { table: Some(table), writer: Some(writer), read, written })
    }

    /// Records that are in the store since the start.
    pub(crate) fn written(&self) -> u64 {
        self.written.load(Ordering::Acquire)
    }

    /// Whether everything that was there at the start is in the store.
    pub(crate) fn caught_up(&self) -> bool {
        self.table.as_ref().is_some_and(TableFollower::caught_up)
            && self.written.load(Ordering::Acquire) >= self.read.load(Ordering::Acquire)
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        // With it goes the queue's sender, and so the writer ends when the queue is empty.
        drop(self.table.take());
        if let Some(writer) = self.writer.take()
            && writer.join().is_err()
        {
            tracing::error!("the context's writer panicked");
        }
    }
}

/// Waits for room. A writer that is gone means that the process stops.
fn put(queue: &SyncSender<Inbound>, inbound: Inbound) {
    drop(queue.send(inbound));
}

struct Writer<D> {
    store: Arc<Store>,
    decoder: Arc<D>,
    entities: HashMap<String, Entity>,
    /// The topic of what sinks have told of what they created.
    created: String,
    runtime: Handle,
    written: Arc<AtomicU64>,
    shutdown: Shutdown,
}

impl<D: Decode> Writer<D> {
    fn run(&self, queued: &Receiver<Inbound>) {
        loop {
            let mut batch = match queued.recv_timeout(Duration::from_millis(200)) {
                Ok(first) => vec![first],
                Err(RecvTimeoutError::Timeout) if !self.shutdown.is_requested() => continue,
                Err(_) => return,
            };
            batch.extend(queued.try_iter().take(BATCH - 1));
            let count = u64::try_from(batch.len()).unwrap_or(u64::MAX);
            let seen: Vec<Seen> = batch.into_iter().filter_map(|inbound| self.decode(inbound)).collect();
            while let Err(error) = self.store.put(&seen) {
                tracing::warn!(%error, "the context store does not take records: deliveries that need them wait");
                if self.shutdown.is_requested() {
                    return;
                }
                std::thread::sleep(PAUSE);
            }
            self.written.fetch_add(count, Ordering::AcqRel);
        }
    }

    /// `None`: bytes that are no record of their schema. Whoever requires it will wait for a better one, visibly.
    fn decode(&self, inbound: Inbound) -> Option<Seen> {
        let entity = self.entities.get(&*inbound.topic).copied();
        let tree = match &inbound.value {
            _ if *inbound.topic == *self.created => created::told(&inbound),
            None => None,
            Some(value) => Some(loop {
                match self.runtime.block_on(self.decoder.decode(value)) {
                    Ok(tree) => break tree,
                    Err(DecodeError::Undecodable(why)) => {
                        tracing::warn!(
                            topic = %inbound.topic, partition = inbound.partition, offset = inbound.offset, why,
                            "a record cannot be joined to deliveries"
                        );
                        return None;
                    }
                    Err(error) => {
                        tracing::warn!(%error, "the context waits for the schema registry");
                        if self.shutdown.is_requested() {
                            return None;
                        }
                        std::thread::sleep(PAUSE);
                    }
                }
            }),
        };
        Some(Seen {
            entity,
            id: String::from_utf8_lossy(inbound.key.as_deref().unwrap_or_default()).into_owned(),
            tree,
            topic: inbound.topic.to_string(),
            partition: inbound.partition,
            next_offset: inbound.offset + 1,
        })
    }
}
