//! Where a proven delivery is kept before it is acknowledged. A trait, for the router's tests stop the broker.

use std::future::Future;

use hirewire_kafka::{Producer, Record, SendError};

/// Keeps records durably.
pub trait RawSink: Send + Sync + 'static {
    /// Returns `Ok` only after the record is on all in-sync replicas.
    fn keep(&self, record: Record) -> impl Future<Output = Result<(), SendError>> + Send;
}

impl RawSink for Producer {
    async fn keep(&self, record: Record) -> Result<(), SendError> {
        self.send(record).await.map(|_| ())
    }
}
