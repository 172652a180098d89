//! Why an event did or did not go to each sink: what the routes decide, and what Kafka and the context store know of it.
//!
//! In: an event's id. Out: for each route of each sink a sentence. Reads only; the service may run or not.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use hirewire_kafka::{Admin, Inbound, Isolation, Stop, read_table};
use hirewire_registry::{Access, Codec};
use hirewire_schemas::{Entity, Names};

use crate::codec::Decoder;
use crate::compose::{Composed, compose};
use crate::context::store::Store;
use crate::event::Event;
use crate::replay::{self, Place, fence};
use crate::route::{Decision, Route};
use crate::service::Error;
use crate::settings::{Settings, SinkSettings};
use crate::starts::Starts;

/// Where to look.
pub struct Desk {
    pub kafka: hirewire_kafka::Settings,
    pub names: Names,
    pub registry: Access,
    pub partitions: i32,
    /// The context store of a service on this machine lies below; it may not be there.
    pub data_dir: std::path::PathBuf,
    /// Sinks that are known to be held.
    pub held: BTreeSet<String>,
}

/// What was found of an event.
#[derive(Debug)]
pub struct Explained {
    pub place: Place,
    pub entity: Entity,
    pub key: String,
    pub routes: Vec<Fate>,
}

/// What became of an event at one route of a sink.
#[derive(Debug)]
pub struct Fate {
    pub sink: String,
    pub route: String,
    pub standing: Standing,
    /// The same as a sentence.
    pub what: String,
}

/// How far it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// The route does not want it.
    NotSent,
    Delivered,
    DeadLetter,
    /// It will be sent, or that is not known yet.
    Waits,
}

/// `None`: no topic that a route reads has the event. With `key`, only its records are looked at.
///
/// # Errors
/// When Kafka, the registry or the disk cannot be read.
pub async fn explain(
    settings: &Settings,
    desk: &Desk,
    event_id: &str,
    key: Option<&str>,
) -> Result<Option<Explained>, Error> {
    let codec = Codec::new(&desk.registry)?;
    let decoder = Decoder::new(codec.clone());
    let Some((inbound, event)) = find(settings, desk, &decoder, event_id, key).await? else { return Ok(None) };
    Ok(Some(fates(settings, desk, codec, &inbound, &Arc::new(event)).await?))
}

/// The same of a record of the ledger that somebody has already found. `None`: it is a deletion.
///
/// # Errors
/// When Kafka, the registry or the disk cannot be read.
pub async fn explain_record(settings: &Settings, desk: &Desk, inbound: &Inbound) -> Result<Option<Explained>, Error> {
    let codec = Codec::new(&desk.registry)?;
    let value = inbound.value.clone().unwrap_or_default();
    let event = fence::event(&Decoder::new(codec.clone()), Some(Entity::StageChange), &value).await?;
    let Some(event) = event else { return Ok(None) };
    Ok(Some(fates(settings, desk, codec, inbound, &Arc::new(event)).await?))
}

async fn fates(
    settings: &Settings,
    desk: &Desk,
    codec: Codec,
    inbound: &Inbound,
    event: &Arc<Event>,
) -> Result<Explained, Error> {
    let starts = Starts::new(&desk.kafka, &desk.names, codec, desk.partitions).known().await?;
    let place = Place { topic: inbound.topic.to_string(), partition: inbound.partition, offset: inbound.offset };
    let store = Store::look(&desk.data_dir.join("route").join("context.sqlite"));
    let origin = place.to_string();
    let replays = records(desk, &desk.names.internal(replay::TOPIC), move |inbound| {
        inbound.header_str(replay::ORIGIN) == Some(&origin)
    })
    .await?;
    let mut routes = Vec::new();
    for sink in &settings.sinks {
        let known = known(desk, &sink.name, &place, &replays).await?;
        for route in sink.routes(&starts) {
            let (standing, what) = what_became(sink, &route, event, &known, store.as_ref(), desk);
            routes.push(Fate { sink: sink.name.to_string(), route: route.name.to_string(), standing, what });
        }
    }
    let key = String::from_utf8_lossy(inbound.key.as_deref().unwrap_or_default()).into_owned();
    Ok(Explained { place, entity: event.entity, key, routes })
}

async fn find(
    settings: &Settings,
    desk: &Desk,
    decoder: &Decoder,
    event_id: &str,
    key: Option<&str>,
) -> Result<Option<(Inbound, Event)>, Error> {
    let entities: BTreeSet<Entity> = settings.sinks.iter().flat_map(SinkSettings::entities).collect();
    for entity in entities {
        let (id, wanted) = (event_id.to_owned(), key.map(str::to_owned));
        let topic = desk.names.entity(entity);
        let candidates = records(desk, &topic, move |inbound| {
            let of_key = wanted.as_ref().is_none_or(|key| inbound.key.as_deref() == Some(key.as_bytes()));
            of_key && inbound.value.as_deref().is_some_and(|value| contains(value, id.as_bytes()))
        });
        for inbound in candidates.await? {
            let value = inbound.value.clone().unwrap_or_default();
            let event = fence::event(decoder, Some(entity), &value).await?;
            if let Some(event) = event.filter(|event| event.event_id() == event_id) {
                return Ok(Some((inbound, event)));
            }
        }
    }
    Ok(None)
}

fn contains(value: &[u8], part: &[u8]) -> bool {
    !part.is_empty() && value.windows(part.len()).any(|window| window == part)
}

/// The records of a topic that are wanted; of a topic that is not there, none.
async fn records(
    desk: &Desk,
    topic: &str,
    wanted: impl Fn(&Inbound) -> bool + Send + 'static,
) -> Result<Vec<Inbound>, Stop> {
    let (kafka, topic) = (desk.kafka.clone(), topic.to_owned());
    let reading = tokio::task::spawn_blocking(move || {
        let mut found = Vec::new();
        let partitions = Admin::new(&kafka)?.partitions_of(&topic)?.unwrap_or(0);
        for partition in 0..partitions {
            read_table(&kafka, &topic, partition, 0, Isolation::Committed, &mut |inbound| {
                if wanted(&inbound) {
                    found.push(inbound);
                }
                Ok(())
            })?;
        }
        Ok(found)
    });
    reading.await.map_err(|error| Stop::retryable("table-timeout", error.to_string()))?
}

/// What Kafka knows of the event at one sink.
struct Known {
    /// Everything before it is settled.
    committed: i64,
    offset: i64,
    /// Route, code, time and message of its dead letters, the oldest first.
    letters: Vec<Letter>,
    /// When it was replayed, and whether that is settled.
    replays: Vec<(String, bool)>,
}

struct Letter {
    id: String,
    route: String,
    code: String,
    at: String,
    message: String,
}

/// `replays`: of the event, to whatever sink.
async fn known(desk: &Desk, sink: &Arc<str>, place: &Place, replays: &[Inbound]) -> Result<Known, Stop> {
    let letters = {
        let origin = place.clone();
        records(desk, &desk.names.route_dead_letter(sink), move |inbound| {
            let header = |name: &str| inbound.header_str(name).unwrap_or_default();
            header("__connect.errors.topic") == origin.topic
                && header("__connect.errors.partition") == origin.partition.to_string()
                && header("__connect.errors.offset") == origin.offset.to_string()
        })
        .await?
    };
    let to_this = |inbound: &&Inbound| inbound.header_str(replay::SINK) == Some(&**sink);
    let replays: Vec<&Inbound> = replays.iter().filter(to_this).collect();
    let replay_topic = desk.names.internal(replay::TOPIC);
    let (kafka, group) = (desk.kafka.clone(), desk.names.group(&format!("route.{sink}")));
    let (topic, partitions, replayed) = (place.topic.clone(), desk.partitions, !replays.is_empty());
    let committed = tokio::task::spawn_blocking(move || {
        let admin = Admin::new(&kafka)?;
        let own = admin.committed(&group, &topic, partitions)?;
        let of_replays = if replayed { admin.committed(&group, &replay_topic, partitions)? } else { BTreeMap::new() };
        Ok::<_, Stop>((own, of_replays))
    });
    let (own, of_replays) = committed.await.map_err(|error| Stop::retryable("table-timeout", error.to_string()))??;
    let letter = |inbound: &Inbound| {
        let header = |name: &str| inbound.header_str(name).unwrap_or_default().to_owned();
        Letter {
            id: format!("route.{sink}/{}/{}", inbound.partition, inbound.offset),
            route: header("dlq.route"),
            code: header("dlq.reason"),
            at: header("dlq.first_failed_at"),
            message: header("__connect.errors.exception.message"),
        }
    };
    let settled =
        |inbound: &Inbound| of_replays.get(&inbound.partition).is_some_and(|committed| inbound.offset < *committed);
    Ok(Known {
        committed: own.get(&place.partition).copied().unwrap_or(0),
        offset: place.offset,
        letters: letters.iter().map(letter).collect(),
        replays: replays
            .into_iter()
            .map(|inbound| (inbound.header_str(replay::AT).unwrap_or("?").to_owned(), settled(inbound)))
            .collect(),
    })
}

fn what_became(
    sink: &SinkSettings,
    route: &Route,
    event: &Arc<Event>,
    known: &Known,
    store: Option<&Store>,
    desk: &Desk,
) -> (Standing, String) {
    use Standing::{DeadLetter, Delivered, NotSent, Waits};
    let plan = match route.decide(event) {
        Decision::Skip(_) => return (NotSent, format!("not sent: {}", route.why_not(event))),
        Decision::Send(plan) => Some(plan),
        Decision::Store(_) | Decision::Copy => None,
    };
    // As the worker composes it, from what a service on this machine has joined.
    let context = plan.zip(store).map(|(_, store)| compose(store, route, event));
    let context = match context.transpose() {
        Ok(context) => context,
        Err(error) => return (Waits, format!("it cannot be told: {error}")),
    };
    let own = |letter: &&Letter| letter.route.is_empty() || letter.route == *route.name;
    let letters: Vec<&Letter> = known.letters.iter().filter(own).collect();
    if let Some(last) = letters.last() {
        let letter = format!("dead letter {} since {}: {} ({})", last.id, last.at, last.code, last.message);
        return match known.replays.last() {
            // Each replay that fails adds a dead letter.
            Some((at, true)) if known.replays.len() >= letters.len() => {
                (Delivered, format!("delivered when it was replayed at {at}; before, {letter}"))
            }
            Some((at, false)) => (Waits, format!("waits, replayed at {at}; before, {letter}")),
            _ => (DeadLetter, format!("{letter}: `hirewire dlq show {}`", last.id)),
        };
    }
    if known.offset < known.committed {
        return match context {
            Some(Composed::Needless(skip)) => (NotSent, format!("not sent: {}", skip.reason())),
            _ => (Delivered, format!("delivered: the sink has settled everything before offset {}", known.committed)),
        };
    }
    if desk.held.contains(&*sink.name) {
        return (Waits, "waits: the sink is held (its error in the log has the remedy)".to_owned());
    }
    let what = match context {
        Some(Composed::NotYet(what)) => format!("waits for its context: {what}"),
        Some(Composed::Missing(missing)) => format!("waits for its context: {}", missing.join(", ")),
        Some(Composed::Needless(skip)) => format!("not to be sent: {}", skip.reason()),
        Some(Composed::Ready(_)) | None => format!(
            "not settled yet: it is under way, or waits behind others; the sink has settled everything before offset {}",
            known.committed
        ),
    };
    (Waits, what)
}
