//! Another Kafka topic as a sink: a record for each delivery, under the key of the record that it is made of.
//!
//! In: [`Delivery`]s with a request or a copied record. In our own cluster nothing is sent by an attempt: the record and
//! the offset of what it is made of are one transaction (`Commits`), so that readers of committed data see it exactly
//! once. To another cluster an attempt is a send that every in-sync replica acknowledges: at least once, in key order,
//! a resend with the same `idempotency-key`; connections go through the guard.

mod cluster;
mod settings;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use hirewire_kafka::{Admin, Committer, Producer, ProducerOptions, Record, SendError, Stop};

use crate::deliver::outcome::{Attempt, Fault};
use crate::deliver::{Content, Delivery, Transport};
use crate::http::guard::Refusal;
use crate::source::{Commit, Head, Slot};
use cluster::Noted;
pub(crate) use settings::{Format, TopicSettings};

/// The setting of a topic that bounds a batch, and so a record, in bytes.
const MOST_BYTES: &str = "max.message.bytes";
/// What a batch of one record has beside key, value and headers, generously.
const BATCH_BYTES: usize = 128;

/// Without `producer`: our own cluster.
pub(crate) struct TopicTransport {
    settings: TopicSettings,
    producer: Option<Producer>,
    /// The most that a record may have; what is larger would fail its whole transaction, again and again.
    most_bytes: AtomicUsize,
}

impl TopicTransport {
    /// # Errors
    /// When the other cluster's settings are refused or its password cannot be read.
    pub(crate) fn new(settings: TopicSettings) -> Result<Self, Stop> {
        // The delivery's own retries come after those of the producer, which keep its order.
        let options = ProducerOptions { delivery_timeout: Duration::from_secs(30), ..ProducerOptions::default() };
        let producer =
            settings.cluster.as_ref().map(|cluster| Producer::new(&cluster.guarded().with_role("route"), &options));
        Ok(Self { settings, producer: producer.transpose()?, most_bytes: AtomicUsize::new(usize::MAX) })
    }

    /// Looks at the topic of our own cluster before records are taken in.
    ///
    /// # Errors
    /// When it is not there, or the brokers cannot be asked.
    pub(crate) async fn look(&self, own: &hirewire_kafka::Settings) -> Result<(), Stop> {
        if self.producer.is_some() {
            return Ok(());
        }
        partitions(own, &self.settings.topic).await?;
        // Without the right to ask, whatever the brokers take is taken.
        let found = Admin::new(own)?.topic_config(&self.settings.topic, &[MOST_BYTES.to_owned()]).await;
        let most = found.ok().and_then(|config| config.get(MOST_BYTES)?.parse().ok());
        self.most_bytes.store(most.unwrap_or(usize::MAX), Ordering::Relaxed);
        Ok(())
    }

    /// For the transactions of our own cluster.
    pub(crate) fn commits(&self, committer: Committer) -> Commits {
        Commits { settings: self.settings.clone(), committer }
    }
}

impl Transport for TopicTransport {
    async fn attempt(&self, delivery: &Delivery) -> Attempt {
        let Some(record) = self.settings.record(delivery) else { return Attempt::Unstorable };
        let Some(producer) = &self.producer else {
            let fits = bytes_of(&record) <= self.most_bytes.load(Ordering::Relaxed);
            return if fits { Attempt::Stored } else { Attempt::Unstorable };
        };
        match producer.send(record).await {
            Ok(_) => Attempt::Stored,
            Err(SendError::TooLarge { .. }) => Attempt::Unstorable,
            Err(error @ SendError::Refused { .. }) => {
                tracing::warn!(%error, "the topic of a sink refuses us");
                Attempt::StoreRefused
            }
            Err(SendError::NotAllowed) => Attempt::AddressRefused,
            Err(SendError::Overloaded | SendError::Unacknowledged(_)) => Attempt::Unreachable(Fault::Store),
        }
    }

    fn stages(&self) -> bool {
        self.producer.is_none()
    }
}

/// Each head in one transaction with the records that are staged before it.
pub(crate) struct Commits {
    settings: TopicSettings,
    committer: Committer,
}

impl Commit for Commits {
    fn commit(&self, slot: &Slot, head: Head) {
        let records = head.staged.iter().filter_map(|staged| self.settings.record(&staged.delivery)).collect();
        self.committer.commit_with(&slot.topic, slot.partition, head.next_offset, records);
    }
}

impl TopicSettings {
    /// `None`: a row, which the settings give to databases only.
    pub(crate) fn record(&self, delivery: &Delivery) -> Option<Record> {
        let value = match (&delivery.content, self.format) {
            (Content::Request(request), _) => request.body.shown().clone(),
            (Content::Copy(copied), Format::Avro) => copied.framed.clone(),
            (Content::Copy(copied), Format::Json) => Bytes::from(copied.event.tree.to_string()),
            (Content::Row(_), _) => return None,
        };
        let headers =
            [("idempotency-key", delivery.idempotency_key.to_string()), ("traceparent", delivery.trace.to_string())];
        Some(Record {
            topic: Arc::clone(&self.topic),
            // By the key, as in the topic that it comes from.
            partition: None,
            key: delivery.key.clone(),
            value: Some(value),
            headers: headers.into_iter().map(|(name, value)| (name.into(), value.into())).collect(),
            timestamp_ms: None,
        })
    }
}

fn bytes_of(record: &Record) -> usize {
    let of = |bytes: &Option<Bytes>| bytes.as_ref().map_or(0, Bytes::len);
    let headers: usize = record.headers.iter().map(|(name, value)| name.len() + value.len() + 10).sum();
    of(&record.key) + of(&record.value) + headers + BATCH_BYTES
}

/// How many partitions the topic has.
///
/// # Errors
/// When it is not there, or the brokers cannot be asked.
async fn partitions(kafka: &hirewire_kafka::Settings, topic: &Arc<str>) -> Result<i32, Stop> {
    let (kafka, topic) = (kafka.clone(), Arc::clone(topic));
    blocking(move || match Admin::new(&kafka)?.partitions_of(&topic)? {
        Some(partitions) => Ok(partitions),
        None => Err(Stop::retryable("topic-missing", format!("{topic}, the topic of a sink, is not there: create it"))),
    })
    .await
}

async fn blocking<T: Send + 'static>(ask: impl FnOnce() -> Result<T, Stop> + Send + 'static) -> Result<T, Stop> {
    let asking = tokio::task::spawn_blocking(ask);
    asking.await.map_err(|error| Stop::retryable("table-timeout", error.to_string()))?
}

/// Why a sink's topic could not be written to.
pub(crate) enum Unfit {
    /// A broker, and why the guard does not let us there.
    Refused(String, Refusal),
    Stopped(Stop),
}

/// Looks for the topic, and at the brokers of another cluster, and changes nothing.
///
/// # Errors
/// As [`partitions`], or a broker would be refused.
pub(crate) async fn probe(settings: &TopicSettings, own: &hirewire_kafka::Settings) -> Result<String, Unfit> {
    let Some(cluster) = &settings.cluster else { return found(own, &settings.topic).await };
    let refused = |(broker, refusal)| Unfit::Refused(broker, refusal);
    cluster.refused(None).await.map(refused).map_or(Ok(()), Err)?;
    let noted = Noted::default();
    let guarded = cluster.noting(noted.clone());
    // Whom the cluster names the client may want to ask, and wait for in vain.
    let why = |unfit| noted.take().map_or(unfit, refused);
    let said = found(&guarded, &settings.topic).await.map_err(why)?;
    let advertised = blocking(move || Admin::new(&guarded)?.brokers()).await.map_err(Unfit::Stopped).map_err(why)?;
    cluster.refused(Some(&advertised)).await.map(refused).map_or(Ok(said), Err)
}

async fn found(kafka: &hirewire_kafka::Settings, topic: &Arc<str>) -> Result<String, Unfit> {
    let partitions = partitions(kafka, topic).await.map_err(Unfit::Stopped)?;
    Ok(format!("{topic} is there, with {partitions} partitions"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::deliver::{Copied, OnRefusal};
    use crate::event::Event;

    fn delivery(framed: &'static [u8]) -> Delivery {
        let tree = json!({"meta": {"event_id": "e", "observed_at": "2026-01-01T00:00:00Z"}});
        let event = Arc::new(Event::new(hirewire_schemas::Entity::StageChange, tree).unwrap());
        Delivery {
            idempotency_key: uuid::Uuid::nil(),
            key: Some("application".into()),
            trace: hirewire_service::TraceParent::new_root(),
            content: Content::Copy(Copied { event, framed: Bytes::from_static(framed) }),
            on_refusal: OnRefusal::Skip,
        }
    }

    #[tokio::test]
    async fn what_the_topic_does_not_take_is_refused_before_it_fails_a_transaction() {
        let settings = TopicSettings { topic: "out".into(), format: Format::Avro, cluster: None };
        let transport = TopicTransport::new(settings).unwrap();
        assert_eq!(transport.attempt(&delivery(&[0; 4_000])).await, Attempt::Stored, "no limit is known");
        transport.most_bytes.store(1_000, Ordering::Relaxed);
        assert_eq!(transport.attempt(&delivery(&[0; 500])).await, Attempt::Stored);
        assert_eq!(transport.attempt(&delivery(&[0; 1_000])).await, Attempt::Unstorable);
    }
}
