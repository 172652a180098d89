//! The ids that sinks tell of what they have created, for the requests that change it later, and the steps that were done.
//!
//! In: an id, by sink, creating request (or step) and application. Out: the same, after any crash and on any replica. An id is a
//! record of the compacted topic `hirewire.internal.created.v1`, acknowledged before the record that led to it is settled,
//! in the partition of that record: whoever owns the partition finds it there, and what was created once is not created
//! again. The context store follows the topic; [`Ids::reached`] says whether it has followed far enough.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use hirewire_kafka::{Admin, Inbound, Producer, Record, Settings};
use serde_json::{Value, json};

use crate::context::store::Store;
use crate::engine::Lease;
use crate::source::Slot;

/// The internal topic's name, as `Names::internal` takes it.
pub(crate) const TOPIC: &str = "created";
const EVENT_ID: &str = "hirewire-event-id";

/// Of what an id is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct CreatedKey<'a> {
    pub(crate) sink: &'a str,
    /// The name of the creating request, or `request.step`.
    pub(crate) request: &'a str,
    pub(crate) application_id: &'a str,
}

impl fmt::Display for CreatedKey<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.sink, self.request, self.application_id)
    }
}

/// What a sink has told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Known {
    /// Empty: of a step that creates nothing.
    pub(crate) id: String,
    /// Of the record that the creating request was made of.
    pub(crate) event_id: String,
}

/// Where ids are kept.
pub(crate) trait Ids: Send + Sync + 'static {
    /// Whether the context store has all ids that were kept in this partition before it was ours, and our own.
    ///
    /// # Errors
    /// Why it cannot be told now.
    fn reached(&self, slot: &Slot, lease: &Lease) -> impl Future<Output = Result<bool, String>> + Send;

    /// Returns when the id is safe.
    ///
    /// # Errors
    /// Why it is not; it is tried again until it is.
    fn keep(
        &self,
        key: &CreatedKey<'_>,
        known: &Known,
        partition: i32,
    ) -> impl Future<Output = Result<(), String>> + Send;
}

/// A record of the topic as the context store takes it; `None`: nothing is known any more.
pub(crate) fn told(inbound: &Inbound) -> Option<Value> {
    let id = std::str::from_utf8(inbound.value.as_deref()?).ok()?;
    Some(json!({"id": id, "event_id": inbound.header_str(EVENT_ID)?}))
}

/// [`Ids`] in Kafka.
pub(crate) struct CreatedTopic {
    kafka: Settings,
    producer: Producer,
    topic: Arc<str>,
    context: Arc<Store>,
    /// How far the topic must be read.
    ends: Mutex<Ends>,
}

#[derive(Default)]
struct Ends {
    /// What was there when a partition became ours.
    found: HashMap<Slot, (Lease, i64)>,
    /// Behind our own newest record, by partition.
    own: HashMap<i32, i64>,
}

impl CreatedTopic {
    pub(crate) fn new(kafka: Settings, producer: Producer, topic: Arc<str>, context: Arc<Store>) -> Self {
        Self { kafka, producer, topic, context, ends: Mutex::default() }
    }

    /// The end of now. Nobody but the partition's owner writes ids of this sink there, so that it is asked for once in an
    /// ownership.
    async fn end(&self, partition: i32) -> Result<i64, String> {
        let (kafka, topic) = (self.kafka.clone(), Arc::clone(&self.topic));
        let asking = tokio::task::spawn_blocking(move || Admin::new(&kafka)?.watermarks(&topic, partition));
        let (low, high) = asking.await.map_err(|error| error.to_string())?.map_err(|stop| stop.to_string())?;
        Ok(if low == high { 0 } else { high })
    }

    fn known_end(&self, slot: &Slot, lease: &Lease) -> Option<i64> {
        let ends = self.ends.lock().unwrap_or_else(PoisonError::into_inner);
        let (_, found) = ends.found.get(slot).filter(|(of, _)| of.is(lease))?;
        Some(ends.own.get(&slot.partition).map_or(*found, |own| (*own).max(*found)))
    }
}

impl Ids for CreatedTopic {
    async fn reached(&self, slot: &Slot, lease: &Lease) -> Result<bool, String> {
        let end = match self.known_end(slot, lease) {
            Some(end) => end,
            None => {
                let end = self.end(slot.partition).await?;
                let mut ends = self.ends.lock().unwrap_or_else(PoisonError::into_inner);
                ends.found.insert(slot.clone(), (lease.clone(), end));
                end
            }
        };
        let position = self.context.position(&self.topic, slot.partition).map_err(|error| error.to_string())?;
        Ok(position >= end)
    }

    async fn keep(&self, key: &CreatedKey<'_>, known: &Known, partition: i32) -> Result<(), String> {
        let record = Record {
            topic: Arc::clone(&self.topic),
            partition: Some(partition),
            key: Some(Bytes::from(key.to_string())),
            value: Some(Bytes::from(known.id.clone())),
            headers: vec![(EVENT_ID.into(), Bytes::from(known.event_id.clone()))],
            timestamp_ms: None,
        };
        let position = self.producer.send(record).await.map_err(|error| error.to_string())?;
        let mut ends = self.ends.lock().unwrap_or_else(PoisonError::into_inner);
        let own = ends.own.entry(partition).or_default();
        *own = (*own).max(position.offset + 1);
        Ok(())
    }
}
