//! What a person asks when something does not work: are the brokers there, may we read, where do groups stand.
//!
//! Settings in, answers out; nothing is written, no group is joined. All calls block: run them off the async threads.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::KafkaError;
use rdkafka::types::RDKafkaRespErr;
use rdkafka::{ClientContext, Offset, TopicPartitionList};

use crate::admin::committed;
use crate::client;
use crate::{Settings, Stop};

/// One call to a broker that may be away.
const CALL: Duration = Duration::from_secs(2);

/// Keeps what librdkafka tells nobody else: a wrong password and a foreign authority are just timeouts to the caller.
#[derive(Default)]
struct Reasons {
    last: Mutex<Option<String>>,
}

impl Reasons {
    fn last(&self) -> Option<String> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl ClientContext for Reasons {
    const ENABLE_REFRESH_OAUTH_TOKEN: bool = false;

    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        client::log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        // That all are down is said last, and of no use where a reason was told.
        let general = matches!(error.rdkafka_error_code(), Some(rdkafka::error::RDKafkaErrorCode::AllBrokersDown));
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if !general || last.is_none() {
            *last = Some(reason.to_owned());
        }
    }
}

impl ConsumerContext for Reasons {}

/// Asks one cluster.
pub struct Probe {
    consumer: BaseConsumer<Reasons>,
}

impl Probe {
    /// Connects. `group` names the one that [`Probe::committed`] does not ask for; it is never joined.
    ///
    /// # Errors
    /// No broker answers within `patience`: why, as far as the client knows.
    pub fn connect(settings: &Settings, group: &str, patience: Duration) -> Result<(Self, usize), Stop> {
        let mut config = settings.consumer(group)?;
        config.set("enable.partition.eof", "true");
        let consumer: BaseConsumer<Reasons> =
            config.create_with_context(Reasons::default()).map_err(|error| Stop::kafka("create a consumer", &error))?;
        let until = Instant::now() + patience;
        loop {
            match consumer.client().fetch_metadata(None, CALL.min(patience)) {
                Ok(metadata) => {
                    let brokers = metadata.brokers().len();
                    return Ok((Self { consumer }, brokers));
                }
                Err(error) => {
                    // Errors are told while polling only.
                    for _ in 0..100 {
                        if consumer.poll(Duration::from_millis(50)).is_none() {
                            break;
                        }
                    }
                    if Instant::now() > until {
                        let why = consumer.context().last().unwrap_or_else(|| error.to_string());
                        return Err(Stop::retryable("kafka-unavailable", why));
                    }
                }
            }
        }
    }

    /// Whether the brokers do not even tell this principal if there is such a topic.
    ///
    /// # Errors
    /// No broker answers.
    pub fn is_hidden(&self, topic: &str) -> Result<bool, Stop> {
        let metadata = self.consumer.client().fetch_metadata(Some(topic), CALL * 5);
        let metadata = metadata.map_err(|error| Stop::kafka(&format!("look for {topic}"), &error))?;
        let refused = RDKafkaRespErr::RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED;
        Ok(metadata.topics().iter().any(|topic| topic.error() == Some(refused)))
    }

    /// Tries to read the end of the first partition of a topic.
    ///
    /// # Errors
    /// Kafka's reason: no right to it, no such topic; or no answer within `patience`.
    pub fn read(&self, topic: &str, patience: Duration) -> Result<(), Stop> {
        let refused = |what: String| Stop::permanent("not-authorized", format!("read {topic}: {what}"));
        let mut wanted = TopicPartitionList::new();
        wanted
            .add_partition_offset(topic, 0, Offset::End)
            .and_then(|()| self.consumer.assign(&wanted))
            .map_err(|error| Stop::kafka(&format!("read {topic}"), &error))?;
        let until = Instant::now() + patience;
        while Instant::now() < until {
            match self.consumer.poll(Duration::from_millis(100)) {
                Some(Ok(_) | Err(KafkaError::PartitionEOF(_))) => return Ok(()),
                Some(Err(error)) if is_final(&error) => return Err(refused(error.to_string())),
                Some(Err(_)) | None => {}
            }
        }
        Err(Stop::retryable("kafka-unavailable", format!("read {topic}: no answer in {} s", patience.as_secs())))
    }

    /// Where another group stands, of the partitions it has committed for.
    ///
    /// # Errors
    /// The broker is away, or does not let us see the group.
    pub fn committed(
        settings: &Settings,
        group: &str,
        topics: &BTreeMap<String, i32>,
    ) -> Result<BTreeMap<(String, i32), i64>, Stop> {
        let consumer: BaseConsumer<Reasons> = settings
            .consumer(group)?
            .create_with_context(Reasons::default())
            .map_err(|error| Stop::kafka("create a consumer", &error))?;
        committed(&consumer, group, topics, CALL * 5)
    }
}

/// Whether waiting is of no use. That we may not see our own group is none of it: nobody joins it.
fn is_final(error: &KafkaError) -> bool {
    use rdkafka::error::RDKafkaErrorCode as Code;
    matches!(
        error.rdkafka_error_code(),
        Some(
            Code::TopicAuthorizationFailed
                | Code::ClusterAuthorizationFailed
                | Code::UnknownTopicOrPartition
                | Code::UnknownTopic
                | Code::UnknownPartition
        )
    )
}
