//! Requests to read what a thin event only named: the webhook role writes them, the poll role acts on them.
//!
//! They stand in a topic of their own, keyed by the connection, so that the member that polls a connection finds its
//! requests in the partition of its lease.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use hirewire_kafka::Record;
use hirewire_registry::{Codec, Subject, frame, unframe};
use hirewire_schemas::Names;
use hirewire_schemas::records::{Fetch, NameValue, Put, decode};
use hirewire_service::Shutdown;
use jiff::Timestamp;

use crate::connection::Connection;

const PATIENCE: Duration = Duration::from_secs(30);
const LOOK_AGAIN_AFTER: Duration = Duration::from_secs(2);

/// What is to be read: a list of the manifest, and the id of a row, or of the parent whose list it is.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Wanted {
    pub(crate) stream: String,
    pub(crate) id: String,
    /// Further ids that the list's path needs.
    pub(crate) params: Vec<(String, String)>,
}

impl Wanted {
    /// The list that it is a row of, or whose rows are asked for.
    #[must_use]
    pub fn list(&self) -> &str {
        &self.stream
    }

    /// What a request asks for; `None`: the record is none.
    pub(crate) fn read(record: &Record) -> Option<Self> {
        let (_, bytes) = unframe(record.value.as_ref()?).ok()?;
        decode::<Fetch>(hirewire_schemas::schema("Fetch")?, bytes).ok().map(Self::of)
    }

    /// As it was asked for.
    pub(crate) fn of(fetch: Fetch) -> Self {
        let params = fetch.params.into_iter().map(|pair| (pair.name, pair.value)).collect();
        Self { stream: fetch.resource, id: fetch.remote_id, params }
    }
}

/// Makes requests. They cannot be made before the registry knew their schema once.
#[derive(Debug, Clone)]
pub struct FetchRequests {
    topic: Arc<str>,
    schema_id: Arc<OnceLock<u32>>,
}

impl FetchRequests {
    /// Not ready yet.
    #[must_use]
    pub fn new(topic: Arc<str>) -> Self {
        Self { topic, schema_id: Arc::default() }
    }

    /// Ready, with a schema that is registered as `schema_id`.
    #[must_use]
    pub fn ready(topic: Arc<str>, schema_id: u32) -> Self {
        Self { topic, schema_id: Arc::new(OnceLock::from(schema_id)) }
    }

    /// Registers the schema, for as long as that takes.
    pub(crate) async fn register(&self, codec: &Codec, shutdown: &Shutdown) {
        let Some(schema) = hirewire_schemas::schema("Fetch") else { return };
        let subject =
            Subject { name: Names::value_subject(&self.topic), schema: schema.text.clone(), compatibility: None };
        while self.schema_id.get().is_none() && !shutdown.is_requested() {
            let subjects = std::slice::from_ref(&subject);
            match tokio::select! { ids = codec.register(subjects, PATIENCE) => ids, () = shutdown.requested() => return }
            {
                Ok(ids) => {
                    if let Some(id) = ids.first() {
                        self.schema_id.get_or_init(|| *id);
                    }
                }
                Err(error) => {
                    tracing::warn!(%error, "events that must be fetched are answered 503 until the registry knows their schema")
                }
            }
            if self.schema_id.get().is_none() {
                tokio::select! { () = tokio::time::sleep(LOOK_AGAIN_AFTER) => {} () = shutdown.requested() => return }
            }
        }
    }

    /// The record of a request; `None` before the registry answered.
    pub(crate) fn record(&self, connection: &Connection, wanted: &Wanted, at: Timestamp) -> Option<Record> {
        let pair = |(name, value): &(String, String)| NameValue { name: name.clone(), value: value.clone() };
        let fetch = Fetch {
            tenant_id: connection.tenant.clone(),
            connection_id: connection.name.clone(),
            source_system: connection.manifest.vendor.clone(),
            resource: wanted.stream.clone(),
            remote_id: wanted.id.clone(),
            url: None,
            params: wanted.params.iter().map(pair).collect(),
            cause: None,
            requested_at: Some(at.as_microsecond()),
            attempts: None,
        };
        let mut value = Vec::with_capacity(128);
        frame(*self.schema_id.get()?, &mut value);
        fetch.put(&mut value);
        Some(Record {
            topic: self.topic.clone(),
            partition: None,
            key: Some(connection.name.clone().into()),
            value: Some(value.into()),
            headers: Vec::new(),
            timestamp_ms: None,
        })
    }
}
