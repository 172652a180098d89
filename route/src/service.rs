//! The running service: settings and what it needs in, sinks that run until the stop out.
//!
//! Each sink is a task of its own with its own consumer group, engine, gate and writer: what happens to one touches
//! no other. Context and routes' starts are shared and made first. Other settings are taken over while it runs.

mod joined;
mod reload;
mod sink;
mod sinks;
mod transport;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use futures_core::future::BoxFuture;
use hirewire_kafka::{Admin, NewTopic, Producer, ProducerOptions, Stop};
use hirewire_registry::Codec;
use hirewire_schemas::Names;
use hirewire_service::{Component, Health, Shutdown};
use tokio::sync::mpsc;

use crate::codec::Decoder;
use crate::metrics::Metrics;
use crate::settings::Settings;
use crate::starts::Starts;
use crate::write_back::Intents;
use joined::Joined;
pub use reload::Reload;
use reload::Reloader;
use sink::Shared;
use sinks::Sinks;

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
    /// Other settings, as they come; none if nobody sends any.
    pub reloads: Option<mpsc::Receiver<Reload>>,
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
pub fn run(settings: Settings, deps: Deps) -> BoxFuture<'static, Result<(), Error>> {
    Box::pin(until_shutdown(settings, deps))
}

async fn until_shutdown(settings: Settings, mut deps: Deps) -> Result<(), Error> {
    let metrics = Metrics::register(&deps.metrics)?;
    let codec = Codec::new(&deps.registry)?;
    let component = deps.health.component("route");
    component.waiting("Kafka");
    // A dead letter is worth waiting for.
    let options = ProducerOptions { delivery_timeout: Duration::from_secs(30), ..ProducerOptions::default() };
    let producer = Producer::new(&deps.kafka, &options)?;
    let reloads = deps.reloads.take();
    let ground = Ground { deps, codec: codec.clone(), producer: producer.clone(), component, metrics: metrics.clone() };
    let prepare = || Box::pin(ground.prepare(&settings));
    let Some(starts) = until_done(prepare, &ground.component, &ground.deps.shutdown).await? else { return Ok(()) };
    let intents = Arc::new(Intents::new(producer.clone(), codec.clone(), &ground.deps.names));
    let decoder = Arc::new(Decoder::new(codec));
    let mut joined = Joined::open(&settings, &ground.deps.data_dir, Arc::clone(&decoder))?;
    if !joined.follow(&settings, &ground).await? {
        return Ok(());
    }
    let shared = Shared {
        kafka: ground.deps.kafka.clone(),
        names: ground.deps.names.clone(),
        producer,
        decoder,
        context: Arc::clone(&joined.store),
        intents,
    };
    let mut sinks = Sinks::new(shared, metrics.clone(), ground.deps.health.clone());
    let change = sinks.plan(&settings, &starts)?;
    sinks.carry_out(change).await;
    ground.component.ready();
    if settings.sinks.is_empty() {
        tracing::info!("no sink is configured: route has nothing to do");
    }
    let mut reloader = Reloader::new(reloads, starts, metrics);
    loop {
        tokio::select! {
            biased;
            () = ground.deps.shutdown.requested() => break,
            () = sinks.ended() => {}
            settings = reloader.next() => Box::pin(reloader.take_over(settings, &mut sinks, &mut joined, &ground)).await?,
        }
    }
    sinks.stop().await;
    joined.end().await;
    Ok(())
}

/// What everything else stands on.
struct Ground {
    deps: Deps,
    codec: Codec,
    producer: Producer,
    component: Component,
    metrics: Metrics,
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

type StartsByRoute = std::collections::BTreeMap<Arc<str>, jiff::Timestamp>;

impl Ground {
    /// Topics of dead letters and of replays, and routes' starts.
    async fn prepare(&self, settings: &Settings) -> Result<StartsByRoute, Stop> {
        let deps = &self.deps;
        let admin = Arc::new(Admin::new(&deps.kafka)?);
        let sinks = settings.sink_names();
        let sinks: Vec<&str> = sinks.iter().map(String::as_str).collect();
        let topics = hirewire_schemas::topics::table().deployed(&deps.names, &[], &sinks);
        let own = ["route", crate::replay::TOPIC, crate::created::TOPIC].map(|name| deps.names.internal(name));
        // What is there is not asked for again: a principal that may create nothing gets on with topics made by others.
        let existing = {
            let admin = Arc::clone(&admin);
            let looking = tokio::task::spawn_blocking(move || admin.topics());
            looking.await.map_err(|error| Stop::retryable("worker-panicked", error.to_string()))??
        };
        let missing: Vec<NewTopic> = topics
            .into_iter()
            .filter(|(name, _)| {
                own.contains(name) || sinks.iter().any(|sink| *name == deps.names.route_dead_letter(sink))
            })
            .filter(|(name, _)| !existing.contains_key(name))
            .map(|(name, topic)| NewTopic {
                name,
                partitions: deps.partitions,
                replication: -1,
                config: topic.settings().into_iter().map(|(key, value)| (key.to_owned(), value)).collect(),
            })
            .collect();
        admin.create_topics(&missing).await?;
        let starts = Starts::new(&deps.kafka, &deps.names, self.codec.clone(), deps.partitions);
        starts.fix(&self.producer, &from_now(settings)).await
    }
}

/// The routes that act from their first enabling on, and their sinks.
fn from_now(settings: &Settings) -> Vec<(Arc<str>, Arc<str>)> {
    let acting = settings.sinks.iter().filter(|sink| !sink.system.records());
    let of_sink = acting.flat_map(|sink| {
        let fresh = sink.routes.iter().filter(|route| route.from == crate::settings::From::Now);
        fresh.map(|route| (Arc::clone(&route.name), Arc::clone(&sink.name)))
    });
    of_sink.collect()
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
