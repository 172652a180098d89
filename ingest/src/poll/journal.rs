//! What commits rows and the cursor behind them together, and what reads cursors back.

use std::collections::HashMap;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hirewire_kafka::{Inbound, Isolation, Record, Stop, TransactionError, TransactionalWriter, read_table};
use hirewire_registry::{Codec, Subject, frame};
use hirewire_schemas::records::{Cursor, Put};
use hirewire_schemas::{Names, RecordSchema};

use crate::topics::Topics;

/// How long the start waits for a registry that is away before it says so and begins anew.
const REGISTRY_PATIENCE: Duration = Duration::from_secs(60);

/// Why nothing was committed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum NotCommitted {
    /// Another writer took over.
    Fenced,
    /// Try again. The records may be there already; they have the same identity.
    Again(String),
    /// One of the records is too large for its topic, or the topic may not be written.
    Refused(String),
}

/// Commits records, all or none. A trait, for the poller's tests stop it between pages.
pub(super) trait Journal: Send + Sync + 'static {
    fn commit(&self, records: Vec<Record>) -> impl Future<Output = Result<(), NotCommitted>> + Send;
}

impl Journal for TransactionalWriter {
    async fn commit(&self, records: Vec<Record>) -> Result<(), NotCommitted> {
        match self.write(records).await {
            Ok(_) => Ok(()),
            Err(TransactionError::Fenced(_)) => Err(NotCommitted::Fenced),
            Err(TransactionError::Refused(why)) => Err(NotCommitted::Refused(why)),
            Err(
                TransactionError::Aborted(why) | TransactionError::Indefinite(why) | TransactionError::Forbidden(why),
            ) => Err(NotCommitted::Again(why)),
        }
    }
}

/// Cursors as records of the cursor topic: Avro in the registry's framing, keyed `connection/stream`.
#[derive(Clone)]
pub(super) struct CursorCodec {
    topic: Arc<str>,
    schema_id: u32,
}

impl CursorCodec {
    pub(super) fn new(topic: Arc<str>, schema_id: u32) -> Self {
        Self { topic, schema_id }
    }

    /// Registers the cursor's schema.
    pub(super) async fn register(topics: &Topics, codec: &Codec) -> Result<Self, Stop> {
        let subject = Subject {
            name: Names::value_subject(&topics.cursor),
            schema: cursor_schema()?.text.clone(),
            compatibility: None,
        };
        let ids = codec.register(&[subject], REGISTRY_PATIENCE).await;
        let ids = ids.map_err(|error| Stop::retryable("registry-unavailable", error.to_string()))?;
        let id = ids.first().ok_or_else(|| Stop::retryable("registry-unavailable", "no id for the cursor"))?;
        Ok(Self::new(topics.cursor.clone(), *id))
    }

    /// The record that says how far a list was read, for the partition of the lease that reads it.
    pub(super) fn encode(&self, cursor: &Cursor, partition: i32) -> Record {
        let mut value = Vec::with_capacity(128);
        frame(self.schema_id, &mut value);
        cursor.put(&mut value);
        Record {
            topic: self.topic.clone(),
            partition: Some(partition),
            key: Some(key(&cursor.connection_id, &cursor.stream).into()),
            value: Some(value.into()),
            headers: Vec::new(),
            timestamp_ms: None,
        }
    }

    /// The record that takes one of that name away.
    pub(super) fn removal(&self, connection: &str, lane: &str, partition: i32) -> Record {
        Record {
            topic: self.topic.clone(),
            partition: Some(partition),
            key: Some(key(connection, lane).into()),
            value: None,
            headers: Vec::new(),
            timestamp_ms: None,
        }
    }
}

/// The key of a list's cursor.
pub(super) fn key(connection: &str, lane: &str) -> String {
    format!("{connection}/{lane}")
}

fn cursor_schema() -> Result<&'static RecordSchema, Stop> {
    hirewire_schemas::schema("Cursor").ok_or_else(|| Stop::permanent("schema-missing", "no schema Cursor"))
}

/// All cursors of a lease's partition, by key, to the end of now. Call it after the writer was opened: its predecessor
/// can write no more then.
///
/// # Errors
/// When the broker or the registry is away, or a cursor cannot be read: polling from the start would be silent then.
pub(super) async fn read_cursors(
    kafka: &hirewire_kafka::Settings,
    topic: &Arc<str>,
    partition: i32,
    codec: &Codec,
) -> Result<HashMap<String, Cursor>, Stop> {
    let (kafka, name) = (kafka.clone(), topic.clone());
    let newest = tokio::task::spawn_blocking(move || {
        let mut newest: HashMap<Bytes, Option<Bytes>> = HashMap::new();
        let mut keep = |record: Inbound| {
            if let Some(key) = record.key {
                newest.insert(key, record.value);
            }
            Ok(())
        };
        read_table(&kafka, &name, partition, 0, Isolation::Committed, &mut keep)?;
        Ok::<_, Stop>(newest)
    })
    .await
    .map_err(|error| Stop::retryable("worker-panicked", error.to_string()))??;
    let schema = cursor_schema()?;
    let mut cursors = HashMap::new();
    for (key, value) in newest {
        let Some(value) = value else { continue };
        let key = String::from_utf8_lossy(&key).into_owned();
        let cursor: Cursor = codec.decode_into(&value, &schema.avro).await.map_err(|error| {
            let what = format!("cursor {key}: {error}");
            if error.is_retryable() {
                Stop::retryable("registry-unavailable", what)
            } else {
                Stop::permanent("cursor-unreadable", what)
            }
        })?;
        cursors.insert(key, cursor);
    }
    Ok(cursors)
}
