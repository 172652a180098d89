//! A replay as a sink takes it: the record as it once was, and what is asked of it.
//!
//! In: an [`Arrival`] of any of the sink's topics. Out: [`Taken`]. The record of a replay stands again where it came
//! from (topic, offset, headers), so that everything after this treats it like any other, its dead letter too.

use std::collections::HashSet;
use std::sync::Arc;

use bytes::Bytes;
use hirewire_kafka::Stop;
use hirewire_schemas::Entity;
use tokio::sync::Semaphore;

use super::fence::{self, keeps_order, scan};
use super::{Order, SINK, is_added};
use crate::decode::Decode;
use crate::route::Route;
use crate::source::{Arrival, Slot};

pub(crate) struct Replays {
    pub(crate) topic: Arc<str>,
    sink: Arc<str>,
    kafka: hirewire_kafka::Settings,
    /// Each look reads Kafka with a client of its own.
    looks: Semaphore,
}

pub(crate) enum Taken {
    /// No replay.
    Plain(Arc<Arrival>),
    /// Another sink's, or a mark.
    Foreign,
    Again(Arc<Arrival>, Order),
    /// Its headers are not what `hirewire dlq replay` writes.
    Unreadable(Arc<Arrival>),
}

const LOOKS: usize = 4;

impl Replays {
    pub(crate) fn new(topic: Arc<str>, sink: Arc<str>, kafka: hirewire_kafka::Settings) -> Self {
        Self { topic, sink, kafka, looks: Semaphore::new(LOOKS) }
    }

    pub(crate) fn take(&self, arrival: Arc<Arrival>) -> Taken {
        if arrival.slot.topic != self.topic {
            return Taken::Plain(arrival);
        }
        if arrival.header(SINK) != Some(&*self.sink) {
            return Taken::Foreign;
        }
        match Order::read(|name| arrival.header(name)) {
            Some(order) => Taken::Again(Arc::new(restored(&arrival, &order)), order),
            None => Taken::Unreadable(arrival),
        }
    }

    /// The newest record of the key since `hirewire dlq replay` looked that one whose route keeps order must not follow; of an
    /// order that is not `even_if_newer`.
    ///
    /// # Errors
    /// When Kafka or the registry cannot be read now.
    pub(crate) async fn newer_than<D: Decode>(
        &self,
        order: &Order,
        route: &Route,
        key: Option<&Bytes>,
        entity: Option<Entity>,
        decoder: &D,
    ) -> Result<Option<i64>, Stop> {
        let Some(key) = key else { return Ok(None) };
        let _permit = self.looks.acquire().await;
        let origin = &order.origin;
        let from = order.checked_to.max(origin.offset + 1);
        let found = scan(&self.kafka, &origin.topic, origin.partition, from, HashSet::from([key.clone()])).await?;
        let mut newest = None;
        for found in found.1 {
            let newer = fence::event(decoder, entity, &found.value).await?;
            if newer.is_some_and(|newer| keeps_order(route, &newer)) {
                newest = Some(found.offset);
            }
        }
        Ok(newest)
    }
}

fn restored(arrival: &Arrival, order: &Order) -> Arrival {
    let mut headers = arrival.headers.clone();
    headers.retain(|(name, _)| !is_added(name));
    Arrival {
        slot: Slot { topic: order.origin.topic.as_str().into(), partition: order.origin.partition },
        offset: order.origin.offset,
        headers,
        ..arrival.clone()
    }
}
