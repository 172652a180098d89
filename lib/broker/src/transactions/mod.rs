//! The transaction coordinator: producer ids, epochs, and the end of transactions.
//!
//! In: requests of transactional producers; out: changes of state as journal frames, with the number to wait for.
//! A transaction ends in **one** frame: its markers in all partitions, its offsets in all groups and its new status are
//! durable together or not at all, so nothing is left to roll forward. Lock order: transaction, partitions (sorted), groups.

mod end;
pub(crate) mod init;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use kafka_protocol::ResponseError;
use tokio::sync::Notify;
use uuid::Uuid;

use crate::core::Core;
use crate::log::journal::{Frame, Lsn};
use crate::log::op::{Op, TransactionEntry};
use crate::sync::{lock, now_ms};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Status {
    Empty,
    Ongoing,
    Committed,
    Aborted,
}

impl Status {
    /// Kafka's name of the state.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Status::Empty => "Empty",
            Status::Ongoing => "Ongoing",
            Status::Committed => "CompleteCommit",
            Status::Aborted => "CompleteAbort",
        }
    }

    fn code(self) -> u8 {
        match self {
            Status::Empty => 0,
            Status::Ongoing => 1,
            Status::Committed => 2,
            Status::Aborted => 3,
        }
    }

    fn from_code(code: u8) -> Self {
        match code {
            1 => Status::Ongoing,
            2 => Status::Committed,
            3 => Status::Aborted,
            _ => Status::Empty,
        }
    }
}

pub(crate) const NO_EPOCH: i16 = -1;

/// A producer as it names itself in a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Producer {
    pub(crate) id: i64,
    pub(crate) epoch: i16,
}

#[derive(Debug, Clone)]
pub(crate) struct TransactionState {
    pub(crate) producer: Producer,
    /// The epoch before the last bump, for a producer that repeats its request.
    last_epoch: i16,
    pub(crate) timeout: Duration,
    pub(crate) status: Status,
    pub(crate) started_ms: i64,
    /// The same moment, by a clock that nobody sets.
    started: Instant,
    pub(crate) updated_ms: i64,
    pub(crate) partitions: BTreeSet<(Uuid, i32)>,
    pub(crate) groups: BTreeSet<String>,
    /// Taken out of the map: who still holds it must ask for it again.
    deleted: bool,
}

pub(crate) struct Transaction {
    pub(crate) id: String,
    state: Mutex<TransactionState>,
}

impl Transaction {
    pub(crate) fn lock(&self) -> MutexGuard<'_, TransactionState> {
        lock(&self.state)
    }
}

impl TransactionState {
    fn new(producer: Producer, timeout: Duration) -> Self {
        Self {
            producer,
            last_epoch: NO_EPOCH,
            timeout,
            status: Status::Empty,
            started_ms: 0,
            started: Instant::now(),
            updated_ms: now_ms(),
            partitions: BTreeSet::new(),
            groups: BTreeSet::new(),
            deleted: false,
        }
    }

    /// That a request comes from the producer that holds this id now.
    pub(crate) fn check(&self, producer: Producer) -> Result<(), ResponseError> {
        if self.deleted || self.producer.id != producer.id {
            return Err(ResponseError::InvalidProducerIdMapping);
        }
        if self.producer.epoch != producer.epoch {
            return Err(ResponseError::ProducerFenced);
        }
        Ok(())
    }

    /// How long the transaction may still be open; `None`: none is.
    pub(crate) fn left(&self) -> Option<Duration> {
        (self.status == Status::Ongoing).then(|| self.timeout.saturating_sub(self.started.elapsed()))
    }

    fn op(&self, id: &str) -> Op {
        Op::PutTransaction(TransactionEntry {
            id: id.to_owned(),
            producer_id: self.producer.id,
            epoch: self.producer.epoch,
            last_epoch: self.last_epoch,
            timeout_ms: i32::try_from(self.timeout.as_millis()).unwrap_or(i32::MAX),
            status: self.status.code(),
            started_ms: self.started_ms,
            updated_ms: self.updated_ms,
            partitions: self.partitions.iter().copied().collect(),
            groups: self.groups.iter().cloned().collect(),
        })
    }
}

#[derive(Default)]
pub(crate) struct Transactions {
    map: Mutex<BTreeMap<String, Arc<Transaction>>>,
    /// A transaction began: the next deadline may have changed.
    pub(crate) began: Notify,
}

impl Transactions {
    pub(crate) fn get(&self, id: &str) -> Option<Arc<Transaction>> {
        lock(&self.map).get(id).cloned()
    }

    pub(crate) fn all(&self) -> Vec<Arc<Transaction>> {
        lock(&self.map).values().cloned().collect()
    }

    pub(crate) fn remove(&self, id: &str) {
        lock(&self.map).remove(id);
    }

    /// In recovery.
    pub(crate) fn restore(&self, entry: TransactionEntry) {
        let age = Duration::from_millis(u64::try_from(now_ms().saturating_sub(entry.started_ms)).unwrap_or(0));
        let now = Instant::now();
        let state = TransactionState {
            producer: Producer { id: entry.producer_id, epoch: entry.epoch },
            last_epoch: entry.last_epoch,
            timeout: Duration::from_millis(u64::try_from(entry.timeout_ms).unwrap_or(0)),
            status: Status::from_code(entry.status),
            started_ms: entry.started_ms,
            started: now.checked_sub(age).unwrap_or(now),
            updated_ms: entry.updated_ms,
            partitions: entry.partitions.into_iter().collect(),
            groups: entry.groups.into_iter().collect(),
            deleted: false,
        };
        let transaction = Transaction { id: entry.id.clone(), state: Mutex::new(state) };
        lock(&self.map).insert(entry.id, Arc::new(transaction));
    }

    /// The entries that make the transactions again.
    pub(crate) fn ops(&self) -> Vec<Op> {
        let all = self.all();
        all.iter()
            .map(|transaction| (transaction.lock().clone(), &transaction.id))
            .filter(|(state, _)| !state.deleted)
            .map(|(state, id)| state.op(id))
            .collect()
    }

    /// Forgets ids that had no transaction since `before_ms`.
    pub(crate) fn expire(&self, core: &Core, before_ms: i64) {
        for transaction in self.all() {
            let mut state = transaction.lock();
            if state.status != Status::Ongoing && state.updated_ms < before_ms && !state.deleted {
                state.deleted = true;
                self.remove(&transaction.id);
                core.journal.submit(Frame::of(&Op::DeleteTransaction { id: transaction.id.clone() }));
            }
        }
    }
}

impl Core {
    /// Adds partitions to a producer's transaction, beginning it if none is open.
    pub(crate) fn add_partitions(
        &self,
        id: &str,
        producer: Producer,
        partitions: &[(Uuid, i32)],
    ) -> Result<Lsn, ResponseError> {
        self.extend_transaction(id, producer, |state| state.partitions.extend(partitions.iter().copied()))
    }

    /// Adds a group, whose offsets will be committed with the transaction.
    pub(crate) fn add_group(&self, id: &str, producer: Producer, group: &str) -> Result<Lsn, ResponseError> {
        self.extend_transaction(id, producer, |state| {
            state.groups.insert(group.to_owned());
        })
    }

    fn extend_transaction(
        &self,
        id: &str,
        producer: Producer,
        extend: impl FnOnce(&mut TransactionState),
    ) -> Result<Lsn, ResponseError> {
        let transaction = self.transactions.get(id).ok_or(ResponseError::InvalidProducerIdMapping)?;
        let mut state = transaction.lock();
        state.check(producer)?;
        let before = state.partitions.len() + state.groups.len();
        let begins = state.status != Status::Ongoing;
        if begins {
            state.status = Status::Ongoing;
            (state.started_ms, state.started) = (now_ms(), Instant::now());
        }
        extend(&mut state);
        if !begins && state.partitions.len() + state.groups.len() == before {
            return Ok(self.journal.submitted());
        }
        state.updated_ms = now_ms();
        let lsn = self.journal.submit(Frame::of(&state.op(id)));
        drop(state);
        if begins {
            self.transactions.began.notify_one();
        }
        Ok(lsn)
    }
}
