//! What could not be processed goes to a dead-letter topic: exact bytes, where it came from, a code and what to do.
//!
//! Headers are those of Kafka Connect's dead letters and our own; none holds anything of a person.

use std::sync::Arc;

use bytes::Bytes;
use hirewire_kafka::{Inbound, Record};
use hirewire_mapping::{Reject, RejectCode};

/// Why a record could not be processed: a closed list, each with a page in `docs/errors.md`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Code {
    /// A header that ingest always writes is missing or unreadable.
    MissingHeader,
    /// The record has no value.
    Empty,
    /// The configuration has no such connection.
    UnknownConnection,
    /// A statement from another partition cannot be read.
    DamagedFragment,
    /// A record that the schemas do not have.
    UnknownRecord,
    /// It names an order, and the tenant has no record that it could be of.
    UnknownOrder,
    /// Our own code panicked on it.
    Panicked,
    Mapping(RejectCode),
}

impl Code {
    pub fn all() -> impl Iterator<Item = Self> {
        let own = [
            Self::MissingHeader,
            Self::Empty,
            Self::UnknownConnection,
            Self::DamagedFragment,
            Self::UnknownRecord,
            Self::UnknownOrder,
            Self::Panicked,
        ];
        own.into_iter().chain(RejectCode::ALL.map(Self::Mapping))
    }

    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::MissingHeader => "MISSING_HEADER",
            Self::Empty => "EMPTY",
            Self::UnknownConnection => "UNKNOWN_CONNECTION",
            Self::DamagedFragment => "DAMAGED_FRAGMENT",
            Self::UnknownRecord => "UNKNOWN_RECORD",
            Self::UnknownOrder => "UNKNOWN_ORDER",
            Self::Panicked => "PANICKED",
            Self::Mapping(code) => code.as_str(),
        }
    }

    /// What a person can do.
    #[must_use]
    pub fn remedy(self) -> &'static str {
        match self {
            Self::MissingHeader => {
                "Only ingest writes to raw topics: find who else did, or bring ingest and normalize to one release; then `hirewire dlq replay`."
            }
            Self::Empty => "Only ingest writes to raw topics, and never an empty record: find who else did.",
            Self::UnknownConnection => {
                "Add the connection to the configuration of normalize (it must be the same for all services), then `hirewire dlq replay`."
            }
            Self::DamagedFragment => "Bring all normalize processes to one release, then `hirewire dlq replay`.",
            Self::UnknownRecord => "Bring the mapping and the schemas to one release, then `hirewire dlq replay`.",
            Self::UnknownOrder => {
                "Is the connection that received it of the tenant that ordered, and is the application's own connection configured? With that mended, `hirewire dlq replay`."
            }
            Self::Panicked => {
                "A bug of ours: report the place that the message names; with a release that has it mended, `hirewire dlq replay`."
            }
            Self::Mapping(code) => match code {
                RejectCode::InvalidUtf8 | RejectCode::InvalidJson | RejectCode::InvalidXml => {
                    "The source sent a damaged body: ask it to send it again, or wait for the next poll, which brings the same facts."
                }
                RejectCode::TooDeep | RejectCode::DuplicateKey => {
                    "The body is not what the source documents: report it to the source; the next poll brings the same facts."
                }
                RejectCode::Uncorrelated => {
                    "It names no order of ours. Was it ordered by hand, or does the system not send back what the order carried (the README of its folder says where)? With that mended, `hirewire dlq replay`."
                }
                RejectCode::UnexpectedType
                | RejectCode::RequiredMissing
                | RejectCode::UnreadableValue
                | RejectCode::OutOfRange => {
                    "The source changed the shape of this field: correct the mapping at the named rule, then `hirewire dlq replay`."
                }
            },
        }
    }
}

/// A dead letter of one input.
pub struct Letter<'a> {
    pub code: Code,
    /// What was wrong, without any value of the payload.
    pub what: String,
    pub reject: Option<&'a Reject>,
}

impl Letter<'_> {
    #[must_use]
    pub fn record(&self, topic: Arc<str>, input: &Inbound) -> Record {
        let failed_at = jiff::Timestamp::now();
        let mut headers: Vec<(Arc<str>, Bytes)> =
            input.headers.iter().map(|(name, value)| (name.as_str().into(), value.clone())).collect();
        let mut add = |name: &str, value: String| headers.push((name.into(), Bytes::from(value)));
        add("__connect.errors.topic", input.topic.to_string());
        add("__connect.errors.partition", input.partition.to_string());
        add("__connect.errors.offset", input.offset.to_string());
        add("__connect.errors.connector.name", "hirewire-normalize".to_owned());
        add("__connect.errors.task.id", input.partition.to_string());
        add("__connect.errors.stage", "VALUE_CONVERTER".to_owned());
        add("__connect.errors.class.name", "hirewire.normalize".to_owned());
        add("__connect.errors.exception.class.name", self.code.name().to_owned());
        add("__connect.errors.exception.message", self.what.clone());
        add("__connect.errors.exception.stacktrace", String::new());
        add("dlq.reason", self.code.name().to_owned());
        add("dlq.remedy", self.code.remedy().to_owned());
        // What is done with a record depends on nothing but the record: one attempt tells all.
        add("dlq.attempts", "1".to_owned());
        add("dlq.first_failed_at", failed_at.to_string());
        add("dlq.destination", "normalize".to_owned());
        if let Some(trace) = input.header_str("traceparent") {
            add("dlq.trace", trace.to_owned());
        }
        if let Some(reject) = self.reject {
            add("dlq.rule", reject.rule.clone());
            add("dlq.target", reject.target.clone());
            add("dlq.source", reject.source.clone());
        }
        Record {
            topic,
            partition: Some(input.partition),
            key: input.key.clone(),
            value: input.value.clone(),
            headers,
            timestamp_ms: Some(input.timestamp_ms),
        }
    }
}
