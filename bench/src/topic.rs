//! Raw records as ingest writes them, put into the raw topic without ingest; and what the topics hold afterwards.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::Context;
use bytes::Bytes;
use hirewire_kafka::{Admin, Isolation, Producer, ProducerOptions, Record, SendError, read_table};
use hirewire_service::TraceParent;
use jiff::Timestamp;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::bodies::{Bodies, CREATED, Event, MOVED, STAGES};
use crate::follow::application_key;
use crate::place::{CONNECTION, Place, TENANT, VENDOR};

/// Event number `index` when `applications` take turns: each is created, then moves through the stages for ever.
pub(crate) fn event(index: usize, applications: usize, first_at: i64) -> Event {
    let (application, round) = (index % applications, index / applications);
    Event {
        action: if round == 0 { CREATED } else { MOVED },
        application,
        stage: round % STAGES.len(),
        applied_at: first_at,
        last_activity_at: first_at + i64::try_from(round).unwrap_or_default() * 60,
    }
}

/// The record that ingest makes of a webhook: the same key, headers and bytes (`ingest/src/envelope.rs`).
fn raw_record(topic: &Arc<str>, bodies: &Bodies, event: &Event, delivery: usize) -> anyhow::Result<Record> {
    let delivery = format!("{delivery:08}-bench");
    let headers = [
        ("ce_specversion", "1.0".to_owned()),
        ("ce_id", format!("{CONNECTION}/{delivery}")),
        ("ce_source", format!("/{TENANT}/{CONNECTION}")),
        ("ce_type", format!("hirewire.raw.webhook.{}", event.action)),
        ("ce_time", Timestamp::now().to_string()),
        ("content-type", "application/json".to_owned()),
        ("traceparent", TraceParent::new_root().to_string()),
        ("hirewire-tenant", TENANT.to_owned()),
        ("hirewire-connection", CONNECTION.to_owned()),
        ("hirewire-vendor", VENDOR.to_owned()),
        ("hirewire-origin", "webhook".to_owned()),
        ("hirewire-event", event.action.to_owned()),
        ("hirewire-header-greenhouse-event-id", delivery),
    ];
    Ok(Record {
        topic: Arc::clone(topic),
        partition: None,
        key: Some(Bytes::copy_from_slice(&application_key(event.application))),
        value: Some(bodies.body(event)?.into()),
        headers: headers.into_iter().map(|(name, value)| (Arc::from(name), Bytes::from(value))).collect(),
        timestamp_ms: None,
    })
}

/// Unix seconds.
pub(crate) fn now_secs() -> anyhow::Result<i64> {
    Ok(i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs())?)
}

/// Writes `events` events. Returns the mean size of a value in bytes.
pub(crate) async fn fill(
    place: &Place,
    bodies: &Bodies,
    events: usize,
    applications: usize,
    first_at: i64,
) -> anyhow::Result<usize> {
    let options = ProducerOptions {
        max_in_flight: 8192,
        delivery_timeout: Duration::from_secs(60),
        linger: Duration::from_millis(5),
    };
    let producer = Producer::new(&place.kafka, &options)?;
    let topic: Arc<str> = place.names.raw(VENDOR).into();
    // Below the number of applications: an application's next event is sent only when its last one is safe.
    let places = Arc::new(Semaphore::new(4096.min(applications.div_ceil(2))));
    let mut sending = JoinSet::new();
    let mut bytes = 0;
    for index in 0..events {
        let held = Arc::clone(&places).acquire_owned().await?;
        let record = raw_record(&topic, bodies, &event(index, applications, first_at), index)?;
        bytes += record.value.as_ref().map_or(0, Bytes::len);
        let producer = producer.clone();
        sending.spawn(async move {
            let sent = producer.send(record).await;
            drop(held);
            sent
        });
        while let Some(sent) = sending.try_join_next() {
            sent?.context("the raw topic cannot be filled")?;
        }
    }
    while let Some(sent) = sending.join_next().await {
        sent?.context("the raw topic cannot be filled")?;
    }
    Ok(bytes / events.max(1))
}

/// Writes events one by one, at the caller's pace: what the brokers do not take is told at the end.
pub(crate) struct Sender {
    producer: Producer,
    topic: Arc<str>,
    failed: Arc<Mutex<Option<SendError>>>,
}

impl Sender {
    pub(crate) fn new(place: &Place) -> anyhow::Result<Self> {
        let options =
            ProducerOptions { max_in_flight: 8192, delivery_timeout: Duration::from_secs(60), linger: Duration::ZERO };
        let producer = Producer::new(&place.kafka, &options)?;
        Ok(Self { producer, topic: place.names.raw(VENDOR).into(), failed: Arc::default() })
    }

    /// Sends event number `index` and waits for nothing.
    pub(crate) fn send(&self, bodies: &Bodies, event: &Event, index: usize) -> anyhow::Result<()> {
        let record = raw_record(&self.topic, bodies, event, index)?;
        let (producer, failed) = (self.producer.clone(), Arc::clone(&self.failed));
        tokio::spawn(async move {
            if let Err(error) = producer.send(record).await {
                failed.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
            }
        });
        Ok(())
    }

    /// The first failure so far.
    pub(crate) fn check(&self) -> anyhow::Result<()> {
        match self.failed.lock().unwrap_or_else(PoisonError::into_inner).take() {
            None => Ok(()),
            Some(error) => Err(error).context("the raw topic does not take records"),
        }
    }
}

/// The ends of all partitions.
pub(crate) fn ends(place: &Place, topic: &str) -> anyhow::Result<Vec<i64>> {
    let admin = Admin::new(&place.kafka)?;
    tokio::task::block_in_place(|| {
        (0..place.partitions).map(|partition| Ok(admin.watermarks(topic, partition)?.1)).collect()
    })
}

/// Reads topics to their ends: committed records, and bytes of their values.
pub(crate) fn read(place: &Place, topics: &[String]) -> anyhow::Result<(usize, usize)> {
    let (mut records, mut bytes) = (0, 0);
    tokio::task::block_in_place(|| {
        for (topic, partition) in topics.iter().flat_map(|topic| (0..place.partitions).map(move |each| (topic, each))) {
            read_table(&place.kafka, topic, partition, 0, Isolation::Committed, &mut |inbound| {
                records += 1;
                bytes += inbound.value.as_ref().map_or(0, Bytes::len);
                Ok(())
            })?;
        }
        Ok((records, bytes))
    })
}

/// Committed records of a topic.
pub(crate) fn count(place: &Place, topic: &str) -> anyhow::Result<usize> {
    Ok(read(place, &[topic.to_owned()])?.0)
}
