//! Sinks that are databases: rows gathered into batches, each written in one transaction.
//!
//! In: [`Delivery`]s with a row. Out: [`Attempt`]s, after the commit. A row replaces the older one of its key, so a
//! row that comes again changes nothing. One writer per sink; while it commits, the next batch gathers.

pub(crate) mod postgres;
pub(crate) mod sqlite;
mod writer;

use std::time::Duration;

use tokio::sync::{mpsc, oneshot};

use crate::deliver::outcome::{Attempt, Fault};
use crate::deliver::{Content, Delivery, Transport};
use crate::row::Row;

/// Rows of one transaction.
const BATCH_ROWS: usize = 500;
/// How long a batch may take before it counts as failed.
const BATCH_TIMEOUT: Duration = Duration::from_secs(30);

/// A row and who waits for it.
pub(crate) struct Job {
    pub(crate) row: Row,
    pub(crate) answer: oneshot::Sender<Attempt>,
}

/// The sink's end of the queue to its writer.
pub(crate) struct DatabaseTransport {
    queue: mpsc::Sender<Job>,
}

impl DatabaseTransport {
    pub(crate) fn new() -> (Self, mpsc::Receiver<Job>) {
        let (queue, jobs) = mpsc::channel(2 * BATCH_ROWS);
        (Self { queue }, jobs)
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
        if self.queue.send(Job { row, answer }).await.is_err() {
            return Attempt::Unreachable(Fault::Store);
        }
        answered.await.unwrap_or(Attempt::Unreachable(Fault::Store))
    }
}
