//! Sinks that are databases: rows gathered into batches, each written in one transaction with where its records stand.
//!
//! In: [`Delivery`]s with a row, and heads of partitions. Out: [`Attempt`]s, and commits of offsets, after the
//! database's own commit. A row replaces the older one of its key. What comes again after a crash, or from a former owner
//! of its partition, is known by its offset and not written again ([`position`]). One writer per sink; while it commits, the
//! next batch gathers.

mod position;
pub(crate) mod postgres;
pub(crate) mod sqlite;
mod writer;

use std::sync::Arc;

use hirewire_kafka::{Admin, Stop};
use tokio::sync::{mpsc, oneshot};

use crate::deliver::outcome::{Attempt, Fault};
use crate::deliver::{Content, Delivery, Transport};
use crate::heads::{self, Commits};
use crate::row::Row;
use crate::source::Slot;
use writer::{Store, Writer};

/// What a writer has to do.
enum Job {
    /// To whoever waits for it.
    Row(Row, oneshot::Sender<Attempt>),
    Head(heads::Job),
    Begin(Box<Cluster>),
}

/// Whose records they are: another cluster counts by offsets of its own.
struct Cluster {
    id: Arc<str>,
    kafka: hirewire_kafka::Settings,
}

/// The sink's end of the queue to its writer. Each row in it has one of the sink's places, and there are no more heads than
/// records in hand.
pub(crate) struct DatabaseTransport {
    queue: mpsc::UnboundedSender<Job>,
}

impl DatabaseTransport {
    /// Starts the writer; it ends with the transport and its commits.
    pub(crate) fn start(store: impl Store, sink: Arc<str>) -> Self {
        let (queue, jobs) = mpsc::unbounded_channel();
        tokio::spawn(Writer::new(store, sink).run(jobs));
        Self { queue }
    }

    /// Of a consumer that begins now: the writer looks, before it writes, whether the database is of these topics.
    ///
    /// # Errors
    /// When Kafka cannot be asked.
    pub(crate) async fn look(&self, kafka: &hirewire_kafka::Settings) -> Result<(), Stop> {
        let kafka = kafka.clone();
        let asking = tokio::task::spawn_blocking(move || {
            let id = Admin::new(&kafka)?.cluster_id()?.into();
            Ok::<_, Stop>(Box::new(Cluster { id, kafka }))
        });
        let cluster = asking.await.map_err(|error| Stop::retryable("worker-panicked", error.to_string()))??;
        let gone = |_| Stop::retryable("worker-panicked", "the writer of a database is gone: restart the process");
        self.queue.send(Job::Begin(cluster)).map_err(gone)
    }

    /// `commit`: of the consumer that the heads come from.
    pub(crate) fn commits(&self, commit: impl Fn(&Slot, i64) + Send + Sync + 'static) -> Commits {
        let queue = self.queue.clone();
        Commits::new(move |job| queue.send(Job::Head(job)).is_ok(), commit)
    }
}

impl Transport for DatabaseTransport {
    async fn attempt(&self, delivery: &Delivery) -> Attempt {
        let row = match &delivery.content {
            Content::Row(row) => row.clone(),
            // The settings give nothing else to databases.
            Content::Request(_) | Content::Copy(_) => return Attempt::Unstorable,
        };
        let (answer, answered) = oneshot::channel();
        if self.queue.send(Job::Row(row, answer)).is_err() {
            return Attempt::Unreachable(Fault::Store);
        }
        answered.await.unwrap_or(Attempt::Unreachable(Fault::Store))
    }
}
