//! What all databases do alike: gather, write in one transaction, find the row that the database cannot take, answer.
//!
//! A head alone is not worth a transaction: it goes with the next rows, or after a moment. While the database does not take
//! what waits, nothing is committed to Kafka, and heads are tried again with the next rows, or after a while.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, oneshot};

use super::{Cluster, Job};
use crate::deliver::outcome::{Attempt, Fault};
use crate::heads::{Heads, beyond};
use crate::row::{Row, TablePlan};
use crate::source::Slot;

/// Rows of one transaction.
const BATCH_ROWS: usize = 500;
/// How long a head waits for rows to go with.
const HEADS_AFTER: Duration = Duration::from_millis(100);
/// How soon heads are tried again that the database did not take.
const HEADS_AGAIN: Duration = Duration::from_secs(2);

/// Why a batch was not written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum WriteError {
    /// A row in it can never be stored.
    Data,
    /// The database refuses us.
    Refused,
    /// Another try may succeed.
    Away,
}

impl WriteError {
    pub(super) fn attempt(self) -> Attempt {
        match self {
            Self::Data => Attempt::Unstorable,
            Self::Refused => Attempt::StoreRefused,
            Self::Away => Attempt::Unreachable(Fault::Store),
        }
    }
}

/// Whose positions they are.
#[derive(Debug, Clone)]
pub(crate) struct Owner {
    pub(super) sink: Arc<str>,
    /// The id of the Kafka cluster.
    pub(super) cluster: Arc<str>,
}

/// What is written in one transaction.
#[derive(Debug)]
pub(crate) struct Batch {
    pub(super) owner: Owner,
    pub(super) rows: Vec<Row>,
    /// Everything before the offset is finished.
    pub(super) heads: Vec<(Slot, i64)>,
}

/// A database.
pub(crate) trait Store: Send + 'static {
    /// Connects, and makes its tables what they should be.
    ///
    /// # Errors
    /// When that fails; it may be called again.
    fn open(&mut self) -> impl Future<Output = Result<(), WriteError>> + Send;

    fn is_open(&self) -> bool;

    /// How far each partition is in.
    ///
    /// # Errors
    /// When they cannot be read.
    fn positions(&mut self, owner: &Owner) -> impl Future<Output = Result<Vec<(Slot, i64)>, WriteError>> + Send;

    /// Writes in one transaction the rows that are not in yet, and that they are. Which those are.
    ///
    /// # Errors
    /// Why nothing of it was written; after anything but [`WriteError::Data`] it is not open any more.
    fn write(&mut self, batch: &Arc<Batch>) -> impl Future<Output = Result<Vec<bool>, WriteError>> + Send;
}

pub(super) struct Writer<S> {
    store: S,
    owner: Owner,
    /// Of the consumer; unknown until there is one.
    kafka: Option<hirewire_kafka::Settings>,
    /// Whether the positions are those of the topics of now.
    is_checked: bool,
    rows: Vec<(Row, oneshot::Sender<Attempt>)>,
    heads: Heads,
    /// When heads may be tried again without rows.
    heads_again: Instant,
    /// Of which it was told that they have rows which are in already.
    told: HashSet<Slot>,
}

impl<S: Store> Writer<S> {
    pub(super) fn new(store: S, sink: Arc<str>) -> Self {
        Self {
            store,
            owner: Owner { sink, cluster: "".into() },
            kafka: None,
            is_checked: false,
            rows: Vec::new(),
            heads: Heads::default(),
            heads_again: Instant::now(),
            told: HashSet::new(),
        }
    }

    /// Writes until the queue is closed.
    pub(super) async fn run(mut self, mut jobs: mpsc::UnboundedReceiver<Job>) {
        while self.gather(&mut jobs).await {
            let rows = std::mem::take(&mut self.rows);
            self.flush(rows).await;
        }
    }

    /// Returns when something is to be written; false when the queue is closed.
    async fn gather(&mut self, jobs: &mut mpsc::UnboundedReceiver<Job>) -> bool {
        loop {
            while self.rows.len() < BATCH_ROWS
                && let Ok(job) = jobs.try_recv()
            {
                self.take(job);
            }
            let patience = self.patience();
            if !self.rows.is_empty() || patience.is_some_and(|patience| patience.is_zero()) {
                return true;
            }
            let job = match patience {
                Some(patience) => tokio::time::timeout(patience, jobs.recv()).await,
                None => Ok(jobs.recv().await),
            };
            match job {
                Ok(Some(job)) => self.take(job),
                Ok(None) => return false,
                Err(_elapsed) => {}
            }
        }
    }

    fn take(&mut self, job: Job) {
        match job {
            Job::Row(row, answer) => self.rows.push((row, answer)),
            Job::Head(head) => {
                self.heads.take(head);
                if self.heads.is_empty() {
                    // Nothing is in the way of a partition that goes.
                    std::mem::take(&mut self.heads).commit();
                }
            }
            Job::Begin(cluster) => {
                let Cluster { id, kafka } = *cluster;
                (self.owner.cluster, self.kafka, self.is_checked) = (id, Some(kafka), false);
                self.told.clear();
            }
        }
    }

    /// How long heads still wait for rows; `None`: there are none.
    fn patience(&self) -> Option<Duration> {
        let age = self.heads.age()?;
        let is_urgent = self.heads.is_pressed() || self.heads.is_released();
        let rest = if is_urgent { Duration::ZERO } else { HEADS_AFTER.saturating_sub(age) };
        Some(rest.max(self.heads_again.saturating_duration_since(Instant::now())))
    }

    /// Writes the rows and all heads. If one of the rows is at fault, each goes alone.
    async fn flush(&mut self, rows: Vec<(Row, oneshot::Sender<Attempt>)>) {
        let (rows, answers): (Vec<_>, Vec<_>) = rows.into_iter().unzip();
        let heads = self.heads.next().map(|(slot, next)| (slot.clone(), next)).collect();
        let batch = Arc::new(Batch { owner: self.owner.clone(), rows, heads });
        match self.write(&batch).await {
            Ok(is_new) => {
                for (answer, is_new) in answers.into_iter().zip(&is_new) {
                    tell(answer, if *is_new { Attempt::Stored } else { Attempt::Known });
                }
                std::mem::take(&mut self.heads).commit();
                self.tell_known(&batch, &is_new);
            }
            Err(WriteError::Data) if answers.len() > 1 => {
                for row in batch.rows.iter().cloned().zip(answers) {
                    Box::pin(self.flush(vec![row])).await;
                }
            }
            Err(error) => {
                self.heads_again = Instant::now() + HEADS_AGAIN;
                answers.into_iter().for_each(|answer| tell(answer, error.attempt()));
            }
        }
    }

    async fn write(&mut self, batch: &Arc<Batch>) -> Result<Vec<bool>, WriteError> {
        if !self.store.is_open() {
            self.store.open().await?;
            self.is_checked = false;
        }
        if !self.is_checked {
            self.check().await?;
            self.is_checked = true;
        }
        self.store.write(batch).await
    }

    /// Whether the positions are those of the topics that are there now.
    async fn check(&mut self) -> Result<(), WriteError> {
        let Some(kafka) = self.kafka.clone() else { return Ok(()) };
        let known = self.store.positions(&self.owner).await?;
        let asking =
            tokio::task::spawn_blocking(move || beyond(&kafka, known.iter().map(|(slot, next)| (slot, *next))));
        match asking.await {
            Ok(Ok(None)) => Ok(()),
            Ok(Ok(Some(place))) => {
                tracing::error!(
                    sink = %self.owner.sink, code = "offset-out-of-range", place,
                    "the database stands behind the topic's end: the topic was made anew; delete the sink's rows of sink_position"
                );
                Err(WriteError::Refused)
            }
            Ok(Err(stop)) => {
                let (code, what) = (stop.code, stop.what);
                tracing::warn!(sink = %self.owner.sink, code, what, "nothing is written before Kafka was asked for its topics");
                Err(WriteError::Away)
            }
            Err(_panicked) => Err(WriteError::Away),
        }
    }

    /// Once for each partition and consumer: a crash leaves a few, a group that was set back all.
    fn tell_known(&mut self, batch: &Batch, is_new: &[bool]) {
        for (row, _) in batch.rows.iter().zip(is_new).filter(|(_, is_new)| !**is_new) {
            let slot = &row.origin.slot;
            if self.told.insert(slot.clone()) {
                tracing::warn!(
                    sink = %self.owner.sink, topic = %slot.topic, partition = slot.partition, offset = row.origin.offset,
                    "rows that the database has already are not written again; if they should be, delete the sink's rows of \
                     sink_position"
                );
            }
        }
    }
}

/// Who gave up waiting has gone with its partition: nobody to tell.
fn tell(answer: oneshot::Sender<Attempt>, attempt: Attempt) {
    drop(answer.send(attempt));
}

/// The rows of one table in a batch. Of two rows with one key the later stays.
pub(super) struct Group<'a> {
    pub(super) plan: &'a TablePlan,
    pub(super) rows: Vec<&'a Row>,
}

/// Of the batch's rows those that are new.
pub(super) fn groups<'a>(batch: &'a Batch, is_new: &[bool]) -> Vec<Group<'a>> {
    let mut groups: Vec<Group<'_>> = Vec::new();
    let mut places: HashMap<(&str, Option<&str>), usize> = HashMap::new();
    for (row, _) in batch.rows.iter().zip(is_new).filter(|(_, is_new)| **is_new) {
        let table = row.plan.table.as_str();
        let index = groups.iter().position(|group| group.plan.table == table).unwrap_or_else(|| {
            groups.push(Group { plan: &row.plan, rows: Vec::new() });
            groups.len() - 1
        });
        let Some(group) = groups.get_mut(index) else { continue };
        let place = *places.entry((table, row.key())).or_insert(group.rows.len());
        match group.rows.get_mut(place) {
            Some(older) => *older = row,
            None => group.rows.push(row),
        }
    }
    groups
}

/// `a, b, c` and `b = excluded.b, c = excluded.c` of a table whose key is `a`.
pub(super) fn column_lists(plan: &TablePlan) -> (String, String) {
    let columns = plan.columns.join(", ");
    let others = plan.columns.iter().filter(|column| **column != plan.key);
    let updates: Vec<String> = others.map(|column| format!("{column} = excluded.{column}")).collect();
    (columns, updates.join(", "))
}
