//! The headers of a raw record: CloudEvents' (<https://github.com/cloudevents/spec>, Kafka binding, binary mode),
//! W3C's `traceparent`, and ours.
//!
//! What happened in, headers out. Never a value of a body: ids only.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use hirewire_kafka::Record;
use hirewire_service::TraceParent;
use jiff::Timestamp;

use crate::connection::Connection;

/// How a raw record came to us.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Origin {
    /// An event: delivered, or read from the vendor's queue.
    Webhook,
    Poll,
    /// Polled by its id, because an event named it.
    Fetch,
    /// Polled by the first run of a stream, which reads all that was before it.
    Backfill,
}

impl Origin {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Webhook => "webhook",
            Self::Poll | Self::Fetch => "poll",
            Self::Backfill => "backfill",
        }
    }
}

/// As spans have it.
pub(crate) fn system_time(at: Timestamp) -> SystemTime {
    UNIX_EPOCH + Duration::from_micros(u64::try_from(at.as_microsecond()).unwrap_or(0))
}

/// What a raw record is, without its bytes.
pub(crate) struct Envelope<'a> {
    pub(crate) connection: &'a Connection,
    pub(crate) origin: Origin,
    /// The vendor's event, or the stream. `None`: the delivery does not say.
    pub(crate) kind: Option<&'a str>,
    /// The same again for the same fact of the same delivery.
    pub(crate) id: String,
    /// When it was asked for: what an answer says was true at some instant between that and its receipt.
    pub(crate) asked_at: Option<Timestamp>,
    pub(crate) received_at: Timestamp,
    pub(crate) content_type: &'a str,
    pub(crate) trace: TraceParent,
    /// Stream and path parameters that the row itself does not hold.
    pub(crate) request: &'a [(String, String)],
    /// Delivery headers that ride along, in lower case.
    pub(crate) kept: Vec<(String, Bytes)>,
}

impl Envelope<'_> {
    /// The record for `topic`, with the subject's canonical id as key and the exact bytes as value.
    pub(crate) fn seal(self, topic: Arc<str>, key: String, value: Bytes) -> Record {
        let kind = self.kind.unwrap_or("unknown");
        let mut headers: Vec<(Arc<str>, Bytes)> = Vec::with_capacity(16 + self.kept.len());
        let mut put = |name: &str, value: String| headers.push((Arc::from(name), Bytes::from(value)));
        put("ce_specversion", "1.0".to_owned());
        put("ce_id", self.id);
        put("ce_source", format!("/{}/{}", self.connection.tenant, self.connection.name));
        put("ce_type", format!("hirewire.raw.{}.{kind}", self.origin.as_str()));
        put("ce_time", self.received_at.to_string());
        if let Some(asked_at) = self.asked_at {
            put("hirewire-asked-at", asked_at.to_string());
        }
        put("content-type", self.content_type.to_owned());
        put("traceparent", self.trace.to_string());
        put("hirewire-tenant", self.connection.tenant.clone());
        put("hirewire-connection", self.connection.name.clone());
        put("hirewire-vendor", self.connection.manifest.vendor.clone());
        put("hirewire-origin", self.origin.as_str().to_owned());
        if self.origin == Origin::Fetch {
            put("hirewire-asked-by", "event".to_owned());
        }
        if let Some(kind) = self.kind {
            let name = if self.origin == Origin::Webhook { "hirewire-event" } else { "hirewire-stream" };
            put(name, kind.to_owned());
        }
        if !self.request.is_empty() {
            let object: serde_json::Map<String, serde_json::Value> =
                self.request.iter().map(|(name, value)| (name.clone(), value.clone().into())).collect();
            put("hirewire-request", serde_json::Value::Object(object).to_string());
        }
        for (name, value) in self.kept {
            headers.push((format!("hirewire-header-{name}").into(), value));
        }
        Record { topic, partition: None, key: Some(key.into()), value: Some(value), headers, timestamp_ms: None }
    }
}
