//! Whether a dead letter may still be sent: not when its route has something newer of the same key.
//!
//! In: dead letters of sinks. Out: for each, up to where was looked and the newest record that forbids it. What counts
//! as newer is what the route would have sent; a record that is itself an open dead letter was not sent and does not
//! count. A table to which each record adds a row of its own has no order to keep.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use bytes::Bytes;
use hirewire_kafka::{Isolation, Stop, read_table};
use hirewire_registry::{Access, Codec};
use hirewire_schemas::topics::{Cleanup, table};
use hirewire_schemas::{Entity, Names};

use super::Place;
use crate::codec::Decoder;
use crate::decode::{Decode, DecodeError};
use crate::event::Event;
use crate::route::{Decision, Route};
use crate::service::Error;
use crate::settings::Settings;
use crate::starts::Starts;

/// A dead letter that is to be sent again.
#[derive(Debug, Clone)]
pub struct Asked {
    pub sink: String,
    /// Empty: all routes of the sink.
    pub route: String,
    pub origin: Place,
    pub key: Option<Bytes>,
}

/// What was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fenced {
    /// Everything before this offset of the topic that it came from was looked at.
    pub checked_to: i64,
    /// The offset of the newest record that must not be overtaken.
    pub newer: Option<i64>,
}

/// A record of one of the keys that were looked for.
#[derive(Debug, Clone)]
pub(super) struct Found {
    pub(super) key: Bytes,
    pub(super) offset: i64,
    pub(super) value: Bytes,
}

/// A partition's end, and what was found before it.
type Looked = (i64, Vec<(Found, Option<Event>)>);

/// All sinks' routes, and what is needed to read what they read.
pub struct Fence {
    kafka: hirewire_kafka::Settings,
    routes: BTreeMap<String, Vec<Route>>,
    topics: HashMap<String, Entity>,
    decoder: Decoder,
}

impl Fence {
    /// # Errors
    /// When Kafka or the registry is away.
    pub async fn new(
        settings: &Settings,
        kafka: &hirewire_kafka::Settings,
        names: &Names,
        registry: &Access,
        partitions: i32,
    ) -> Result<Self, Error> {
        let codec = Codec::new(registry)?;
        let starts = Starts::new(kafka, names, codec.clone(), partitions).known().await?;
        let routes = settings.sinks.iter().map(|sink| (sink.name.to_string(), sink.routes(&starts))).collect();
        let topics = Entity::ALL.into_iter().map(|entity| (names.entity(entity), entity)).collect();
        Ok(Self { kafka: kafka.clone(), routes, topics, decoder: Decoder::new(codec) })
    }

    /// Whether the sink, and its route, are there to take a record.
    #[must_use]
    pub fn knows(&self, sink: &str, route: &str) -> bool {
        let routes = self.routes.get(sink);
        routes.is_some_and(|routes| route.is_empty() || routes.iter().any(|known| &*known.name == route))
    }

    /// One answer for each, in order. Reads each partition once, from the oldest of its dead letters on.
    /// `undelivered`: the origins, by sink, of dead letters that are open or to be sent with these.
    ///
    /// # Errors
    /// When Kafka or the registry is away.
    pub async fn check(&self, letters: &[Asked], undelivered: &HashSet<(String, Place)>) -> Result<Vec<Fenced>, Stop> {
        let mut places: BTreeMap<(String, i32), (i64, HashSet<Bytes>)> = BTreeMap::new();
        for letter in letters {
            let origin = &letter.origin;
            let place = places.entry((origin.topic.clone(), origin.partition)).or_insert((i64::MAX, HashSet::new()));
            place.0 = place.0.min(origin.offset + 1);
            place.1.extend(letter.key.clone());
        }
        let mut looked: HashMap<(String, i32), Looked> = HashMap::new();
        for ((topic, partition), (from, keys)) in places {
            let (end, found) = scan(&self.kafka, &topic, partition, from, keys).await?;
            let mut events = Vec::new();
            for found in found {
                let event = event(&self.decoder, self.topics.get(&topic).copied(), &found.value).await?;
                events.push((found, event));
            }
            looked.insert((topic, partition), (end, events));
        }
        let answer = |letter: &Asked| {
            let origin = &letter.origin;
            let (end, found) = looked.get(&(origin.topic.clone(), origin.partition))?;
            let routes = self.routes.get(&letter.sink).map(Vec::as_slice).unwrap_or_default();
            let forbids = |(found, event): &&(Found, Option<Event>)| {
                let place = Place { offset: found.offset, ..origin.clone() };
                found.offset > origin.offset
                    && Some(&found.key) == letter.key.as_ref()
                    && !undelivered.contains(&(letter.sink.clone(), place))
                    && event.as_ref().is_some_and(|event| {
                        let mut own = routes.iter().filter(|route| is_for(&letter.route, route));
                        own.any(|route| keeps_order(route, event))
                    })
            };
            let newer = found.iter().filter(forbids).map(|(found, _)| found.offset).max();
            Some(Fenced { checked_to: *end, newer })
        };
        Ok(letters.iter().map(|letter| answer(letter).unwrap_or(Fenced { checked_to: 0, newer: None })).collect())
    }
}

pub(super) fn is_for(name: &str, route: &Route) -> bool {
    name.is_empty() || *route.name == *name
}

/// Whether the route does something with the record that an older one may not follow.
pub(crate) fn keeps_order(route: &Route, event: &Event) -> bool {
    match route.decide(event) {
        Decision::Skip(_) => false,
        Decision::Send(_) | Decision::Copy => true,
        Decision::Store(stored) => table().of(stored.entity).is_none_or(|topic| topic.cleanup == Cleanup::Compact),
    }
}

/// `None`: nothing that a route could have sent.
pub(crate) async fn event<D: Decode>(decoder: &D, entity: Option<Entity>, value: &[u8]) -> Result<Option<Event>, Stop> {
    let Some(entity) = entity else { return Ok(None) };
    match decoder.decode(value).await {
        Ok(tree) => Ok(Event::new(entity, tree).ok()),
        Err(DecodeError::Undecodable(_)) => Ok(None),
        Err(error @ (DecodeError::Unavailable(_) | DecodeError::UnknownSchema(_))) => {
            Err(Stop::retryable("registry-unavailable", error.to_string()))
        }
    }
}

/// The records of these keys from an offset on, and the offset after the last that was looked at.
pub(super) async fn scan(
    kafka: &hirewire_kafka::Settings,
    topic: &str,
    partition: i32,
    from: i64,
    keys: HashSet<Bytes>,
) -> Result<(i64, Vec<Found>), Stop> {
    let (kafka, topic) = (kafka.clone(), Arc::<str>::from(topic));
    let reading = tokio::task::spawn_blocking(move || {
        let mut found = Vec::new();
        let end = read_table(&kafka, &topic, partition, from, Isolation::Committed, &mut |inbound| {
            if let (Some(key), Some(value)) = (inbound.key, inbound.value)
                && keys.contains(&key)
            {
                found.push(Found { key, offset: inbound.offset, value });
            }
            Ok(())
        })?;
        Ok((end, found))
    });
    reading.await.map_err(|error| Stop::retryable("table-timeout", error.to_string()))?
}
