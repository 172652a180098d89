//! The webhook's router over a sink in memory, for the proof of a vendor's folder (`hirewire vendor prove`).

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use bytes::Bytes;
use hirewire_kafka::{Record, SendError};
use hirewire_schemas::Names;

use super::{ReceiverLimits, router};
use crate::connection::{Connection, Directory};
use crate::fetch::{FetchRequests, Wanted};
use crate::metrics::Metrics;
use crate::sink::RawSink;
use crate::topics::Topics;

const MEBIBYTE: usize = 1024 * 1024;
const PATIENCE: Duration = Duration::from_secs(30);

/// The deliveries that were kept, and what they asked for.
#[derive(Clone, Default)]
pub struct Inbox(Arc<Mutex<Taken>>);

/// Events that were kept, delivered or read from a queue.
#[derive(Default)]
pub struct Taken {
    /// Raw records, in their order.
    pub events: Vec<Record>,
    /// What is to be read because they only named it.
    pub wanted: Vec<Wanted>,
}

impl Inbox {
    /// Bodies of those kept since this was asked last, in their order.
    #[must_use]
    pub fn take(&self) -> Vec<Bytes> {
        self.take_all().events.into_iter().filter_map(|event| event.value).collect()
    }

    /// All that came since this was asked last.
    #[must_use]
    pub fn take_all(&self) -> Taken {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl RawSink for Inbox {
    async fn keep(&self, record: Record) -> Result<(), SendError> {
        let mut taken = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // A request to fetch has no headers.
        if record.headers.is_empty() {
            taken.wanted.extend(Wanted::read(&record));
        } else {
            taken.events.push(record);
        }
        Ok(())
    }
}

/// Receives for these connections, at `/v1/webhooks/<connection>`.
///
/// # Errors
/// When metrics cannot be defined.
pub fn rehearsal(connections: Vec<Arc<Connection>>) -> prometheus::Result<(Router, Inbox)> {
    let topics =
        Topics::new(&Names::default(), connections.iter().map(|connection| connection.manifest.vendor.as_str()));
    let limits = ReceiverLimits {
        max_body_bytes: MEBIBYTE,
        max_in_flight_bytes: 16 * MEBIBYTE,
        body_timeout: PATIENCE,
        keep_timeout: PATIENCE,
    };
    let metrics = Metrics::new(&prometheus::Registry::new())?;
    let fetches = FetchRequests::ready(topics.fetch.clone(), 0);
    let directory = Directory::default();
    directory.load(connections);
    let inbox = Inbox::default();
    Ok((router(directory, topics, inbox.clone(), &limits, metrics, fetches), inbox))
}
