//! Records that a sink will never take: to `ats.dlq.route.<sink>.v1`, untouched, with why.
//!
//! In: the [`Arrival`] and its [`Failure`]. Out: the headers of the dead letter. Key, value, headers and time stay as
//! they were; added are the ten headers of Kafka Connect's dead letters and our own. None holds anything personal: a
//! code, numbers, names of the configuration.

use bytes::Bytes;

use crate::deliver::Failure;
use crate::source::Arrival;

/// A dead letter on its way.
#[derive(Debug, Clone)]
pub(crate) struct DeadLetter {
    pub(crate) key: Option<Bytes>,
    pub(crate) value: Option<Bytes>,
    pub(crate) headers: Vec<(String, Bytes)>,
    pub(crate) timestamp_ms: i64,
    /// The partition it came from: the dead-letter topic has the same count.
    pub(crate) partition: i32,
}

/// Puts dead letters where they are kept. Returns when they are safe there.
pub(crate) trait DeadLetters: Send + Sync + 'static {
    /// # Errors
    /// Why it is not there; it is tried again until it is.
    fn put(&self, letter: DeadLetter) -> impl Future<Output = Result<(), String>> + Send;
}

impl DeadLetter {
    pub(crate) fn new(arrival: &Arrival, sink: &str, route: &str, failure: &Failure) -> Self {
        let mut headers = arrival.headers.clone();
        let mut add = |name: &str, value: String| headers.push((name.to_owned(), Bytes::from(value)));
        // The names of Kafka Connect (KIP-298), for the tools that know them.
        add("__connect.errors.topic", arrival.slot.topic.to_string());
        add("__connect.errors.partition", arrival.slot.partition.to_string());
        add("__connect.errors.offset", arrival.offset.to_string());
        add("__connect.errors.connector.name", format!("hirewire-route.{sink}"));
        add("__connect.errors.task.id", "0".to_owned());
        add("__connect.errors.stage", "TASK_PUT".to_owned());
        add("__connect.errors.class.name", "hirewire.route".to_owned());
        add("__connect.errors.exception.class.name", failure.code.name().to_owned());
        add("__connect.errors.exception.message", failure.what.clone());
        add("__connect.errors.exception.stacktrace", String::new());
        add("dlq.reason", failure.code.name().to_owned());
        add("dlq.remedy", failure.code.remedy().to_owned());
        add("dlq.attempts", failure.attempts.to_string());
        add("dlq.first_failed_at", failure.first_failed_at.to_string());
        add("dlq.destination", sink.to_owned());
        add("dlq.route", route.to_owned());
        if let Some(schema_id) = schema_id(arrival.value.as_deref()) {
            add("dlq.schema_id", schema_id.to_string());
        }
        if let Some(trace) = arrival.header("traceparent").map(str::to_owned) {
            add("dlq.trace", trace);
        }
        Self {
            key: arrival.key.clone(),
            value: arrival.value.clone(),
            headers,
            timestamp_ms: arrival.timestamp_ms,
            partition: arrival.slot.partition,
        }
    }
}

/// The registry's id in Confluent's framing.
fn schema_id(value: Option<&[u8]>) -> Option<u32> {
    match value? {
        [0, a, b, c, d, ..] => Some(u32::from_be_bytes([*a, *b, *c, *d])),
        _ => None,
    }
}
