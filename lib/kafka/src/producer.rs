//! A producer whose `send` returns when the record is safe: [`Record`] in, [`Position`] out.
//!
//! Idempotent, `acks=all`, bounded in flight.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use rdkafka::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::KafkaError;
use rdkafka::message::Message;
use rdkafka::producer::{BaseRecord, DeliveryResult, Producer as _, ProducerContext, ThreadedProducer};
use tokio::sync::{Semaphore, oneshot};
use tokio::time::timeout;

use crate::guard::{Guard, Guarded};
use crate::record::{not_ahead, owned_headers};
use crate::{Position, Record, SendError, Settings, Stop, client, guard};

/// How long a record may still be acknowledged when a connection was refused.
const OTHERS: Duration = Duration::from_secs(1);

/// Bounds of a [`Producer`].
#[derive(Debug, Clone)]
pub struct ProducerOptions {
    /// Most records that wait for an acknowledgement.
    pub max_in_flight: usize,
    /// How long a record may wait for a place and then for its acknowledgement.
    pub delivery_timeout: Duration,
    /// How long records are gathered into a batch.
    pub linger: Duration,
}

impl Default for ProducerOptions {
    fn default() -> Self {
        Self { max_in_flight: 4096, delivery_timeout: Duration::from_millis(1500), linger: Duration::from_millis(1) }
    }
}

/// Cheap to clone; all clones share the bound.
#[derive(Clone)]
pub struct Producer {
    inner: Arc<ThreadedProducer<Deliveries>>,
    places: Arc<Semaphore>,
    timeout: Duration,
}

type Answer = oneshot::Sender<Result<Position, SendError>>;

struct Deliveries {
    guard: Option<Guard>,
}

impl ClientContext for Deliveries {
    const ENABLE_REFRESH_OAUTH_TOKEN: bool = false;

    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        client::log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        client::report(&error, reason);
    }
}

impl Guarded for Deliveries {
    fn guard(&self) -> Option<&Guard> {
        self.guard.as_ref()
    }
}

impl ProducerContext for Deliveries {
    type DeliveryOpaque = Box<Answer>;

    fn delivery(&self, result: &DeliveryResult<'_>, answer: Box<Answer>) {
        let result = match result {
            Ok(message) => Ok(Position { partition: message.partition(), offset: message.offset() }),
            Err((error, message)) => Err(SendError::of(message.topic(), error)),
        };
        // The caller may have gone; the record is where it is.
        let _gone = answer.send(result).is_err();
    }
}

impl Producer {
    /// Does not connect yet: the first send does.
    ///
    /// # Errors
    /// When the settings are refused by librdkafka or a secret cannot be read.
    pub fn new(settings: &Settings, options: &ProducerOptions) -> Result<Self, Stop> {
        let mut config = settings.producer()?;
        config
            .set("message.timeout.ms", options.delivery_timeout.as_millis().to_string())
            .set("request.timeout.ms", options.delivery_timeout.as_millis().clamp(500, 5000).to_string())
            .set("linger.ms", options.linger.as_millis().to_string());
        let inner: ThreadedProducer<Deliveries> = config
            .create_with_context(Deliveries { guard: settings.guard() })
            .map_err(|error| Stop::kafka("create a producer", &error))?;
        guard::start(inner.client(), settings)?;
        Ok(Self {
            inner: Arc::new(inner),
            places: Arc::new(Semaphore::new(options.max_in_flight)),
            timeout: options.delivery_timeout,
        })
    }

    /// Publishes one record; returns when all in-sync replicas have it.
    ///
    /// # Errors
    /// [`SendError`]: when retryable, the record may still have arrived.
    pub async fn send(&self, record: Record) -> Result<Position, SendError> {
        let place = timeout(self.timeout, self.places.acquire()).await;
        let Ok(Ok(_place)) = place else { return Err(SendError::Overloaded) };
        let refusals = self.inner.client().context().guard().map(Guard::refusals);
        let (answer, answered) = oneshot::channel();
        let mut outgoing = BaseRecord::with_opaque_to(&record.topic, Box::new(answer));
        outgoing.partition = record.partition;
        outgoing.timestamp = record.timestamp_ms.map(not_ahead);
        outgoing.headers = owned_headers(&record.headers);
        outgoing.key = record.key.as_deref();
        outgoing.payload = record.value.as_deref();
        self.inner.send(outgoing).map_err(|(error, _)| SendError::of(&record.topic, &error))?;
        let acknowledged = async {
            answered.await.unwrap_or_else(|_| Err(SendError::Unacknowledged("the producer was closed".to_owned())))
        };
        let Some(mut refusals) = refusals else { return acknowledged.await };
        let mut acknowledged = pin!(acknowledged);
        tokio::select! {
            biased;
            result = &mut acknowledged => result,
            // The broker of this record may be another one, or have another address.
            _ = refusals.changed() => timeout(OTHERS, acknowledged).await.unwrap_or(Err(SendError::NotAllowed)),
        }
    }

    /// Waits until everything sent so far is acknowledged or has failed.
    pub fn flush(&self, timeout: Duration) {
        if let Err(error) = self.inner.flush(timeout) {
            tracing::warn!(%error, "records were still in flight when the producer was closed");
        }
    }
}
