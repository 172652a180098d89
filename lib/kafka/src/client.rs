//! What all clients share: librdkafka's log lines and errors, told by our logger; where consumers begin and what ends them.

use rdkafka::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::{Offset, TopicPartitionList};

use crate::Stop;
use crate::guard::{Guard, Guarded};

/// For clients that need no callbacks of their own.
#[derive(Default)]
pub(crate) struct Logging {
    pub(crate) guard: Option<Guard>,
}

impl ClientContext for Logging {
    const ENABLE_REFRESH_OAUTH_TOKEN: bool = false;

    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        report(&error, reason);
    }
}

impl rdkafka::consumer::ConsumerContext for Logging {}

impl Guarded for Logging {
    fn guard(&self) -> Option<&Guard> {
        self.guard.as_ref()
    }
}

/// librdkafka repeats a lost connection for each broker and attempt, so its lines are no louder than `info`.
pub(crate) fn log(level: RDKafkaLogLevel, facility: &str, message: &str) {
    match level {
        RDKafkaLogLevel::Emerg | RDKafkaLogLevel::Alert | RDKafkaLogLevel::Critical => {
            tracing::error!(facility, "librdkafka: {message}");
        }
        RDKafkaLogLevel::Error | RDKafkaLogLevel::Warning => tracing::info!(facility, "librdkafka: {message}"),
        RDKafkaLogLevel::Notice | RDKafkaLogLevel::Info | RDKafkaLogLevel::Debug => {
            tracing::debug!(facility, "librdkafka: {message}");
        }
    }
}

/// The only place where a wrong password or a foreign CA is named: a producer sees just a timeout.
pub(crate) fn report(error: &KafkaError, reason: &str) {
    // The end of a table's partition is news, not an error.
    if error.rdkafka_error_code() == Some(RDKafkaErrorCode::PartitionEOF) {
        return;
    }
    tracing::warn!(%error, reason, "Kafka client");
}

/// A partition that was never committed starts at its beginning.
pub(crate) fn start_at_beginning(offsets: &mut TopicPartitionList) -> Result<(), KafkaError> {
    let missing: Vec<(String, i32)> = offsets
        .elements()
        .iter()
        .filter(|element| !matches!(element.offset(), Offset::Offset(_)))
        .map(|element| (element.topic().to_owned(), element.partition()))
        .collect();
    missing.iter().try_for_each(|(topic, partition)| offsets.set_partition_offset(topic, *partition, Offset::Beginning))
}

/// `None`: there is none of this partition.
pub(crate) fn offset_of(offsets: &TopicPartitionList, topic: &str, partition: i32) -> Option<i64> {
    match offsets.find_partition(topic, partition)?.offset() {
        Offset::Offset(offset) => Some(offset),
        _ => None,
    }
}

/// librdkafka goes on by itself after most errors; what it cannot mend stops the member, loudly.
pub(crate) fn on_consumer_error(error: &KafkaError) -> Result<(), Stop> {
    match error.rdkafka_error_code() {
        Some(RDKafkaErrorCode::AutoOffsetReset | RDKafkaErrorCode::OffsetOutOfRange) => Err(Stop::permanent(
            "offset-out-of-range",
            format!(
                "{error}: records that were not processed yet are gone from the topic; find out why (retention, a recreated \
                 topic), then reset the group's offsets on purpose"
            ),
        )),
        Some(RDKafkaErrorCode::UnknownTopicOrPartition | RDKafkaErrorCode::UnknownTopic) => {
            Err(Stop::retryable("topic-missing", format!("{error}: run `hirewire topics apply`")))
        }
        Some(RDKafkaErrorCode::TopicAuthorizationFailed | RDKafkaErrorCode::GroupAuthorizationFailed) => Err(
            Stop::retryable("not-authorized", format!("{error}: give this principal READ on the topic and the group")),
        ),
        _ if matches!(error, KafkaError::MessageConsumptionFatal(_)) => Err(Stop::kafka("consume", error)),
        _ => {
            tracing::debug!(%error, "the consumer goes on after an error");
            Ok(())
        }
    }
}
