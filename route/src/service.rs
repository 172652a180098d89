//! The running service: settings and what it needs in, sinks that run until the stop out.
//!
//! Each sink is a task of its own with its own consumer group, engine, gate and writer: what happens to one touches
//! no other. Context and routes' starts are shared and made first.

mod sink;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use hirewire_kafka::{Admin, NewTopic, Producer, ProducerOptions, Stop};
use hirewire_registry::Codec;
use hirewire_schemas::Names;
use hirewire_service::{Component, Health, Shutdown};
use tokio::task::JoinSet;

use crate::codec::Decoder;
use crate::context::follow::Follower;
use crate::context::store::Store;
use crate::metrics::Metrics;
use crate::request::condition::Condition;
use crate::settings::Settings;
use crate::starts::Starts;
use crate::system::Takes;
use sink::SinkTask;

/// What the process gives to the service.
pub struct Deps {
    pub kafka: hirewire_kafka::Settings,
    pub names: Names,
    pub registry: hirewire_registry::Access,
    /// The context store lies in a folder of its own below.
    pub data_dir: PathBuf,
    /// Of every topic.
    pub partitions: i32,
    pub metrics: prometheus::Registry,
    pub health: Health,
    pub shutdown: Shutdown,
}

/// Why the service cannot run at all.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("a metric is registered twice")]
    Metrics(#[from] prometheus::Error),
    #[error("the schema registry's address cannot be used")]
    Registry(#[from] hirewire_registry::CodecError),
    #[error("the context store {path} cannot be made; mend its folder or `data_dir`")]
    Store { path: PathBuf, source: Box<dyn std::error::Error + Send + Sync> },
    #[error(transparent)]
    Kafka(#[from] Stop),
    #[error("the sink {sink} cannot be set up")]
    Sink { sink: String, source: Box<dyn std::error::Error + Send + Sync> },
}

const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// Runs all sinks until the stop is requested; then drains and commits.
///
/// # Errors
/// What only a change of the configuration or of the environment can mend. What time mends is waited for.
pub async fn run(settings: Settings, deps: Deps) -> Result<(), Error> {
    let metrics = Metrics::register(&deps.metrics)?;
    let codec = Codec::new(&deps.registry)?;
    let decoder = Arc::new(Decoder::new(codec.clone()));
    let component = deps.health.component("route");
    component.waiting("Kafka");
    // A dead letter is worth waiting for.
    let options = ProducerOptions { delivery_timeout: Duration::from_secs(30), ..ProducerOptions::default() };
    let producer = Producer::new(&deps.kafka, &options)?;
    let prepare = || Box::pin(prepare(&settings, &deps, &codec, &producer));
    let Some(starts) = until_done(prepare, &component, &deps.shutdown).await? else { return Ok(()) };
    let context = start_context(&settings, &deps, &decoder, &component).await?;
    let Some((store, follower)) = context else { return Ok(()) };

    let mut sinks = JoinSet::new();
    for sink in settings.sinks {
        let task = SinkTask {
            starts: starts.clone(),
            drain: settings.drain,
            kafka: deps.kafka.clone(),
            names: deps.names.clone(),
            producer: producer.clone(),
            decoder: Arc::clone(&decoder),
            context: Arc::clone(&store),
            metrics: metrics.sink(&sink.name),
            component: deps.health.component(&format!("route.{}", sink.name)),
            shutdown: deps.shutdown.clone(),
            member: uuid::Uuid::new_v4(),
            settings: sink,
        };
        sinks.spawn(Box::pin(task.run()));
    }
    component.ready();
    if sinks.is_empty() {
        tracing::info!("no sink is configured: route has nothing to do");
        deps.shutdown.requested().await;
    }
    let mut outcome = Ok(());
    while let Some(ended) = sinks.join_next().await {
        match ended {
            Ok(Ok(())) => {}
            Ok(Err(error)) => outcome = Err(error),
            Err(error) => tracing::error!(%error, "a sink's task panicked: restart the process"),
        }
    }
    drop(follower);
    outcome
}

/// Tries until it succeeds; `None` when the stop came first.
async fn until_done<T, F, Fut>(mut work: F, component: &Component, shutdown: &Shutdown) -> Result<Option<T>, Error>
where
    F: FnMut() -> Fut,
    Fut: Future<Output = Result<T, Stop>>,
{
    let mut pause = FIRST_PAUSE;
    loop {
        let stop = tokio::select! {
            done = work() => match done {
                Ok(done) => return Ok(Some(done)),
                Err(stop) => stop,
            },
            () = shutdown.requested() => return Ok(None),
        };
        if !stop.retryable {
            return Err(stop.into());
        }
        component.waiting(stop.to_string());
        tracing::warn!(code = stop.code, what = stop.what, "route cannot begin yet and tries again");
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = shutdown.requested() => return Ok(None),
        }
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

type StartsByRoute = Arc<std::collections::BTreeMap<Arc<str>, jiff::Timestamp>>;

/// Topics of dead letters and of replays, and routes' starts.
async fn prepare(settings: &Settings, deps: &Deps, codec: &Codec, producer: &Producer) -> Result<StartsByRoute, Stop> {
    let admin = Admin::new(&deps.kafka)?;
    let sinks = settings.sink_names();
    let sinks: Vec<&str> = sinks.iter().map(String::as_str).collect();
    let topics = hirewire_schemas::topics::table().deployed(&deps.names, &[], &sinks);
    let own = ["route", crate::replay::TOPIC, crate::created::TOPIC].map(|name| deps.names.internal(name));
    let wanted: Vec<NewTopic> = topics
        .into_iter()
        .filter(|(name, _)| own.contains(name) || sinks.iter().any(|sink| *name == deps.names.route_dead_letter(sink)))
        .map(|(name, topic)| NewTopic {
            name,
            partitions: deps.partitions,
            replication: -1,
            config: topic.settings().into_iter().map(|(key, value)| (key.to_owned(), value)).collect(),
        })
        .collect();
    admin.create_topics(&wanted).await?;
    let starts = Starts::new(&deps.kafka, &deps.names, codec.clone(), deps.partitions);
    let from_now: Vec<_> = settings
        .sinks
        .iter()
        .filter(|sink| !sink.system.records())
        .flat_map(|sink| {
            let fresh = sink.routes.iter().filter(|route| route.from == crate::settings::From::Now);
            fresh.map(|route| (Arc::clone(&route.name), Arc::clone(&sink.name)))
        })
        .collect();
    starts.fix(producer, &from_now).await.map(Arc::new)
}

type Context = (Arc<Store>, Option<Follower>);

/// The context store, and its follower if a sink joins anything. Waits until it has caught up: a delivery made of old
/// data would be as wrong as one with a hole.
async fn start_context(
    settings: &Settings,
    deps: &Deps,
    decoder: &Arc<Decoder>,
    component: &Component,
) -> Result<Option<Context>, Error> {
    let folder = deps.data_dir.join("route");
    let path = folder.join("context.sqlite");
    let failed = |source| Error::Store { path: path.clone(), source };
    std::fs::create_dir_all(&folder).map_err(|error| failed(Box::new(error)))?;
    let store = Store::open(&path, kept(settings)).map_err(|error| failed(Box::new(error)))?;
    let store = Arc::new(store);
    if settings.sinks.iter().all(|sink| sink.system.records()) {
        return Ok(Some((store, None)));
    }
    let start = || {
        let (kafka, names, shutdown) = (deps.kafka.clone(), deps.names.clone(), deps.shutdown.clone());
        let (store, decoder) = (Arc::clone(&store), Arc::clone(decoder));
        let runtime = tokio::runtime::Handle::current();
        async move {
            let starting = tokio::task::spawn_blocking(move || {
                Follower::start(&kafka, &names, store, decoder, runtime, &shutdown)
            });
            starting.await.map_err(|error| Stop::retryable("context", error.to_string()))?
        }
    };
    let started = std::time::Instant::now();
    let Some(follower) = until_done(start, component, &deps.shutdown).await? else { return Ok(None) };
    component.waiting("the context store to catch up");
    while !follower.caught_up() {
        tokio::select! {
            () = tokio::time::sleep(Duration::from_millis(20)) => {}
            () = deps.shutdown.requested() => return Ok(None),
        }
    }
    tracing::info!(millis = started.elapsed().as_millis(), "the context has caught up");
    Ok(Some((store, Some(follower))))
}

/// The changes that a later request may take back, and those that do.
fn kept(settings: &Settings) -> Vec<Condition> {
    let mut kept = Vec::new();
    for sink in &settings.sinks {
        if let Takes::WhatActs(requests) = &sink.system.takes {
            for cancelling in requests {
                let cancelled = cancelling.cancels.as_deref().and_then(|name| sink.system.request(name));
                kept.extend(cancelled.map(|cancelled| cancelled.when.clone()));
                kept.extend(cancelling.cancels.as_ref().map(|_| cancelling.when.clone()));
            }
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::support::capture_log;

    #[tokio::test]
    async fn another_try_is_logged_with_the_code_of_what_failed() {
        let (log, _guard) = capture_log();
        let health = Health::new();
        let mut tries = 0;
        let work = || {
            tries += 1;
            std::future::ready(if tries > 1 { Ok(tries) } else { Err(Stop::retryable("topic-missing", "t")) })
        };
        let done = until_done(work, &health.component("route"), &Shutdown::new()).await.unwrap();
        assert_eq!(done, Some(2));
        assert!(log.text().contains("code=\"topic-missing\" what=\"t\""), "{}", log.text());
    }
}
