//! What can go wrong, by what the caller must do about it.

use rdkafka::error::{KafkaError, RDKafkaErrorCode};

/// A record was not published, or nobody knows whether it was.
#[derive(Debug, Clone, thiserror::Error)]
pub enum SendError {
    /// The bounded number of records in flight is reached and did not fall in time.
    #[error("too many records wait for the broker; try again later")]
    Overloaded,
    /// No acknowledgement. The record may or may not be there: send it again, with the same identity.
    #[error("no acknowledgement from Kafka: {0}")]
    Unacknowledged(String),
    /// A broker is where the client's [`Judge`](crate::Judge) lets nobody connect. The record waits there for a while yet.
    #[error("a broker's host or address is not allowed")]
    NotAllowed,
    /// Larger than the topic takes.
    #[error("the record is larger than {topic} takes; raise its max.message.bytes or refuse such records earlier")]
    TooLarge { topic: String },
    /// The broker will never take this record.
    #[error("Kafka refuses the record for {topic}: {reason}")]
    Refused { topic: String, reason: String },
}

impl SendError {
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Overloaded | Self::Unacknowledged(_) | Self::NotAllowed => true,
            Self::TooLarge { .. } | Self::Refused { .. } => false,
        }
    }

    pub(crate) fn of(topic: &str, error: &KafkaError) -> Self {
        if matches!(
            error.rdkafka_error_code(),
            Some(RDKafkaErrorCode::MessageSizeTooLarge | RDKafkaErrorCode::InvalidMessageSize)
        ) {
            return Self::TooLarge { topic: topic.to_owned() };
        }
        let refused = matches!(
            error.rdkafka_error_code(),
            Some(
                RDKafkaErrorCode::TopicAuthorizationFailed
                    | RDKafkaErrorCode::ClusterAuthorizationFailed
                    | RDKafkaErrorCode::PolicyViolation
                    | RDKafkaErrorCode::InvalidRecord
            )
        );
        if refused {
            Self::Refused { topic: topic.to_owned(), reason: error.to_string() }
        } else if matches!(error.rdkafka_error_code(), Some(RDKafkaErrorCode::QueueFull)) {
            Self::Overloaded
        } else {
            Self::Unacknowledged(error.to_string())
        }
    }
}

/// Why work on a partition, or of the whole member, cannot go on.
#[derive(Debug, thiserror::Error)]
#[error("{code}: {what}")]
pub struct Stop {
    /// A short name from a closed list, with a page in `docs/errors.md`.
    pub code: &'static str,
    /// What failed, on what; never a record's content.
    pub what: String,
    /// Whether a fresh start may help without a person doing something first.
    pub retryable: bool,
}

impl Stop {
    /// From a step's `before_commit`: not an end, but "abort, and give me the same inputs again".
    pub const WORK_AGAIN: &str = "work-again";

    /// A restart may help.
    pub fn retryable(code: &'static str, what: impl Into<String>) -> Self {
        Self { code, what: what.into(), retryable: true }
    }

    /// Somebody must act.
    pub fn permanent(code: &'static str, what: impl Into<String>) -> Self {
        Self { code, what: what.into(), retryable: false }
    }

    pub(crate) fn kafka(doing: &str, error: &KafkaError) -> Self {
        Self::retryable("kafka-unavailable", format!("{doing}: {error}"))
    }
}
