//! One sink that runs: an engine with one route to a receiver, fed by the test.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use hirewire_schemas::Entity;
use serde_json::Value;
use tokio::sync::mpsc;

use super::{Commits, Context, JsonDecoder, Kept, Letters, Receiver, slot};
use crate::deliver::backoff::Retry;
use crate::deliver::{Deliverer, Limits, OnRefusal};
use crate::engine;
use crate::http::guard::Guard;
use crate::http::networks::Network;
use crate::http::{HttpSettings, HttpTransport};
use crate::metrics::Metrics;
use crate::replay::incoming::Replays;
use crate::request::condition::Condition;
use crate::request::told::Secrets;
use crate::route::Route;
use crate::source::{Arrival, SourceEvent};
use crate::system::System;
use crate::worker::Worker;

pub(crate) fn retry() -> Retry {
    Retry {
        first: Duration::from_millis(5),
        longest: Duration::from_millis(20),
        longest_asked: Duration::from_millis(200),
        give_up_after: Duration::from_secs(60),
        attempts: None,
    }
}

/// Everything of one running sink.
pub(crate) struct Running {
    pub(crate) events: mpsc::UnboundedSender<SourceEvent>,
    pub(crate) commits: Commits,
    pub(crate) letters: Letters,
    pub(crate) decoder: JsonDecoder,
    pub(crate) deliverer: Arc<Deliverer<HttpTransport>>,
    pub(crate) metrics: prometheus::Registry,
    pub(crate) engine: tokio::task::JoinHandle<Result<(), hirewire_kafka::Stop>>,
}

pub(crate) struct Options {
    pub(crate) signing: Option<crate::http::signing::Signing>,
    pub(crate) auth: Option<crate::http::Auth>,
    pub(crate) timeout: Duration,
    pub(crate) requires_within: Duration,
    pub(crate) limits: Limits,
    pub(crate) on_refusal: OnRefusal,
    pub(crate) drain: Duration,
    /// The `settings` of the sink.
    pub(crate) told: Value,
    /// Those of them that are secret; `told` shows them.
    pub(crate) secrets: Secrets,
    pub(crate) batch: Option<crate::http::batch::BatchSettings>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            signing: None,
            auth: None,
            timeout: Duration::from_millis(300),
            requires_within: Duration::from_secs(30),
            limits: Limits { retry: retry(), ..Limits::default() },
            on_refusal: OnRefusal::Skip,
            drain: Duration::from_secs(5),
            told: Value::Null,
            secrets: Secrets::default(),
            batch: None,
        }
    }
}

/// Starts an engine with one route of `system` to `receiver`.
pub(crate) fn run(system: &Arc<System>, receiver: &Receiver, context: &Context, options: Options) -> Running {
    let settings = HttpSettings {
        url: format!("http://{}/in", receiver.address).parse().unwrap(),
        guard: Guard::new(vec!["127.0.0.1".to_owned()], vec![Network::parse("127.0.0.0/8").unwrap()]),
        auth: options.auth,
        signing: options.signing,
        ca: None,
        identity: None,
        timeout: options.timeout,
        answer_bytes: 64 * 1024,
        batch: options.batch,
        secrets: options.secrets,
    };
    let name: Arc<str> = system.name.as_str().into();
    let registry = prometheus::Registry::new();
    let metrics = Metrics::register(&registry).unwrap().sink(&name);
    let transport = HttpTransport::new(settings).unwrap();
    let deliverer = Arc::new(Deliverer::new(transport, Arc::clone(&name), options.limits, metrics.clone()));
    let route = Route {
        name: Arc::clone(&name),
        sink: Arc::clone(&name),
        system: Arc::clone(system),
        told: Arc::new(options.told),
        entity: None,
        when: Condition::default(),
        start: Some("2026-01-01T00:00:00Z".parse().unwrap()),
        corrections: false,
        requires_within: options.requires_within,
        on_refusal: options.on_refusal,
    };
    let (letters, decoder) = (Letters::default(), JsonDecoder::default());
    let worker = Worker {
        deliverer: Arc::clone(&deliverer),
        routes: vec![route],
        topics: HashMap::from([
            (slot(0).topic, Entity::StageChange),
            ("ats.application.v1".into(), Entity::Application),
        ]),
        decoder: Arc::new(decoder.clone()),
        context: Arc::clone(&context.store),
        replays: Replays::new(
            "replay".into(),
            Arc::clone(&deliverer.name),
            hirewire_kafka::Settings::local("127.0.0.1:1"),
        ),
        dead_letters: letters.clone(),
        intents: None,
        ids: Kept(Arc::clone(&context.store)),
    };
    let (events, source) = mpsc::unbounded_channel();
    let commits = Commits::default();
    let engine = tokio::spawn(engine::run(
        source,
        Arc::new(worker),
        commits.clone(),
        metrics,
        engine::Options { drain: options.drain },
    ));
    Running { events, commits, letters, decoder, deliverer, metrics: registry, engine }
}

impl Running {
    pub(crate) fn assign(&self, partitions: &[i32]) {
        self.events.send(SourceEvent::Assigned(partitions.iter().map(|p| slot(*p)).collect())).unwrap();
    }

    pub(crate) fn record(&self, arrival: Arrival) {
        self.events.send(SourceEvent::Record(arrival)).unwrap();
    }

    /// Frees probes and watches the secrets, as the service does, until the test ends.
    pub(crate) fn keep_gate(&self) {
        let kept = Arc::clone(&self.deliverer);
        tokio::spawn(async move { kept.keep_gate(|| kept.sink.fingerprint()).await });
    }

    /// The value of a metric of this sink, of all its series together.
    pub(crate) fn metric(&self, name: &str) -> i64 {
        let families = self.metrics.gather();
        let of_name = families.iter().filter(|family| family.name() == name).flat_map(|family| family.get_metric());
        of_name.map(|metric| (metric.get_counter().get_value() + metric.get_gauge().get_value()) as i64).sum()
    }

    pub(crate) async fn end(self) {
        drop(self.events);
        self.engine.await.unwrap().unwrap();
    }
}
