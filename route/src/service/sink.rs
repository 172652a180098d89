//! One sink as a task: its consumer group and engine, and the worker that other settings put another one in place of.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hirewire_kafka::{GroupConsumer, GroupOptions, Producer, Stop};
use hirewire_schemas::Names;
use hirewire_service::{Component, Shutdown};
use jiff::Timestamp;
use tokio::task::AbortHandle;

use super::transport::AnyTransport;
use super::{Error, FIRST_PAUSE, LONGEST_PAUSE};
use crate::codec::Decoder;
use crate::context::store::Store;
use crate::created::{self, CreatedTopic};
use crate::deliver::Deliverer;
use crate::engine::{self, Swap};
use crate::kafka::{DeadLetterTopic, GroupSource};
use crate::metrics::SinkMetrics;
use crate::replay::{self, incoming::Replays};
use crate::settings::SinkSettings;
use crate::worker::Worker;
use crate::write_back::Intents;

type SinkWorker = Worker<AnyTransport, Decoder, Store, DeadLetterTopic, CreatedTopic>;

/// What all sinks of the process share.
pub(super) struct Shared {
    pub(super) kafka: hirewire_kafka::Settings,
    pub(super) names: Names,
    pub(super) producer: Producer,
    pub(super) decoder: Arc<Decoder>,
    pub(super) context: Arc<Store>,
    pub(super) intents: Arc<Intents>,
}

/// How a sink consumes: another shape needs another consumer.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Shape {
    topics: BTreeSet<Arc<str>>,
    window: usize,
    window_bytes: usize,
    drain: Duration,
}

/// Settings of which everything was made that can fail.
pub(super) struct Ready {
    pub(super) name: Arc<str>,
    said: String,
    shape: Shape,
    may_take_heads: bool,
    metrics: SinkMetrics,
    worker: Arc<SinkWorker>,
}

impl Ready {
    /// # Errors
    /// When the sink cannot be set up at all.
    pub(super) fn new(
        settings: &SinkSettings,
        drain: Duration,
        starts: &BTreeMap<Arc<str>, Timestamp>,
        metrics: SinkMetrics,
        shared: &Shared,
    ) -> Result<Self, Error> {
        let transport = AnyTransport::new(settings, &metrics)?;
        let (name, limits) = (Arc::clone(&settings.name), settings.limits.clone());
        let deliverer = Arc::new(Deliverer::new(transport, name, limits, metrics.clone()));
        let worker = worker(settings, starts, deliverer, shared);
        let topics = worker.topics.keys().chain([&worker.replays.topic]).map(Arc::clone).collect();
        Ok(Self {
            name: Arc::clone(&settings.name),
            said: settings.said.clone(),
            may_take_heads: settings.kind.may_take_heads(),
            shape: Shape { topics, window: settings.window, window_bytes: settings.window_bytes, drain },
            metrics,
            worker: Arc::new(worker),
        })
    }
}

fn worker(
    settings: &SinkSettings,
    starts: &BTreeMap<Arc<str>, Timestamp>,
    deliverer: Arc<Deliverer<AnyTransport>>,
    shared: &Shared,
) -> SinkWorker {
    let (names, kafka, producer) = (&shared.names, &shared.kafka, &shared.producer);
    let entities = settings.entities().into_iter();
    Worker {
        deliverer,
        routes: settings.routes(starts),
        topics: entities.map(|entity| (Arc::from(names.entity(entity)), entity)).collect::<HashMap<_, _>>(),
        decoder: Arc::clone(&shared.decoder),
        context: Arc::clone(&shared.context),
        replays: Replays::new(names.internal(replay::TOPIC).into(), Arc::clone(&settings.name), kafka.clone()),
        dead_letters: DeadLetterTopic {
            producer: producer.clone(),
            topic: names.route_dead_letter(&settings.name).into(),
        },
        ids: CreatedTopic::new(
            kafka.clone(),
            producer.clone(),
            names.internal(created::TOPIC).into(),
            Arc::clone(&shared.context),
        ),
        intents: settings.system.writes_back().then(|| Arc::clone(&shared.intents)),
    }
}

/// What changes while a sink runs.
struct Current {
    said: String,
    shape: Shape,
    /// Ends the consumer of now.
    consumption: Shutdown,
    /// Of the worker's gate.
    keeper: AbortHandle,
}

/// A running sink.
pub(super) struct Sink {
    name: Arc<str>,
    group: String,
    /// Tells this process's member of the group from others.
    member: uuid::Uuid,
    /// Whether its way out goes with one consumer: it is never swapped.
    pub(super) may_take_heads: bool,
    kafka: hirewire_kafka::Settings,
    pub(super) metrics: SinkMetrics,
    component: Component,
    worker: Arc<Swap<SinkWorker>>,
    current: Mutex<Current>,
    stop: Shutdown,
}

impl Sink {
    pub(super) fn new(ready: Ready, component: Component, shared: &Shared) -> Self {
        let current = Current {
            said: ready.said,
            shape: ready.shape,
            consumption: Shutdown::new(),
            keeper: keep_gate(&ready.worker),
        };
        Self {
            group: shared.names.group(&format!("route.{}", ready.name)),
            name: ready.name,
            member: uuid::Uuid::new_v4(),
            may_take_heads: ready.may_take_heads,
            kafka: shared.kafka.clone(),
            metrics: ready.metrics,
            component,
            worker: Arc::new(Swap::new(ready.worker)),
            current: Mutex::new(current),
            stop: Shutdown::new(),
        }
    }

    /// Whether it runs by these settings already.
    pub(super) fn is_by(&self, settings: &SinkSettings, drain: Duration) -> bool {
        let current = self.current();
        current.said == settings.said && current.shape.drain == drain
    }

    /// Whatever begins from now on is by these settings; what is under way ends by the old ones.
    pub(super) fn install(&self, ready: Ready) {
        let mut current = self.current();
        self.worker.current().deliverer.retire();
        current.keeper.abort();
        current.keeper = keep_gate(&ready.worker);
        self.worker.replace(ready.worker);
        current.said = ready.said;
        if current.shape != ready.shape {
            current.shape = ready.shape;
            current.consumption.request();
        }
    }

    pub(super) fn stop(&self) {
        self.stop.request();
        self.current().consumption.request();
    }

    /// Runs until it is stopped. A consumer that fails is started again; the gate and the transport stay.
    pub(super) async fn run(&self) {
        self.component.waiting("partitions");
        let mut pause = FIRST_PAUSE;
        while !self.stop.is_requested() {
            let Err(stop) = self.consume().await else { continue };
            self.component.waiting(stop.to_string());
            tell_restart(&self.name, &stop);
            tokio::select! {
                () = tokio::time::sleep(pause) => pause = (pause * 2).min(LONGEST_PAUSE),
                () = self.stop.requested() => {}
            }
        }
        self.current().keeper.abort();
        self.component.ended();
    }

    async fn consume(&self) -> Result<(), Stop> {
        let (shape, consumption) = self.begin();
        let worker = self.worker.current();
        let sink = &worker.deliverer.sink;
        sink.look(&self.kafka).await?;
        let options = GroupOptions {
            // One of its own for each process; an older one is ended by the broker after 15 s at the latest.
            transactional_id: sink.is_transactional().then(|| format!("{}-{}", self.group, self.member)),
            group: self.group.clone(),
            topics: shape.topics.iter().map(ToString::to_string).collect(),
            window_records: shape.window,
            window_bytes: shape.window_bytes,
            // The consumer waits a little longer than the engine, which cuts off what is late.
            drain_deadline: shape.drain + Duration::from_secs(1),
            lag: self.metrics.lag(),
        };
        let consumer = GroupConsumer::start(&self.kafka, options, self.component.clone(), consumption)?;
        let commits = sink.commits(consumer.committer.clone());
        let source = GroupSource::new(consumer, self.component.clone());
        let options = engine::Options { drain: shape.drain };
        engine::run(source, Arc::clone(&self.worker), commits, self.metrics.clone(), options).await
    }

    /// Of a consumer that begins now: how, and what ends it.
    fn begin(&self) -> (Shape, Shutdown) {
        let mut current = self.current();
        current.consumption = Shutdown::new();
        if self.stop.is_requested() {
            current.consumption.request();
        }
        (current.shape.clone(), current.consumption.clone())
    }

    fn current(&self) -> std::sync::MutexGuard<'_, Current> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn keep_gate(worker: &SinkWorker) -> AbortHandle {
    let kept = Arc::clone(&worker.deliverer);
    tokio::spawn(async move { kept.keep_gate(|| kept.sink.fingerprint()).await }).abort_handle()
}

fn tell_restart(sink: &str, stop: &Stop) {
    tracing::warn!(sink, code = stop.code, what = stop.what, "the sink's consumer is started again");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::support::capture_log;

    #[test]
    fn a_restart_is_logged_with_its_code() {
        let (log, _guard) = capture_log();
        tell_restart("payroll", &Stop::retryable("kafka-unavailable", "no broker"));
        let line = log.text();
        assert!(line.contains("code=\"kafka-unavailable\" what=\"no broker\""), "{line}");
    }
}
