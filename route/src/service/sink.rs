//! One sink as a task: its transport, gate, worker, consumer group and engine.

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use hirewire_kafka::{Committer, GroupConsumer, GroupOptions, Producer, Stop};
use hirewire_schemas::Names;
use hirewire_service::{Component, Shutdown};
use jiff::Timestamp;

use super::{Error, FIRST_PAUSE, LONGEST_PAUSE};
use crate::codec::Decoder;
use crate::context::store::Store;
use crate::created::{self, CreatedTopic};
use crate::database::postgres::PostgresSettings;
use crate::database::{DatabaseTransport, postgres, sqlite};
use crate::deliver::outcome::Attempt;
use crate::deliver::{Deliverer, Delivery, Transport};
use crate::engine;
use crate::files::lines::Lines;
use crate::files::{self, FolderTransport};
use crate::http::HttpTransport;
use crate::kafka::{Commits, DeadLetterTopic, GroupSource};
use crate::metrics::SinkMetrics;
use crate::replay::{self, incoming::Replays};
use crate::settings::{Kind, SinkSettings};
use crate::source::{Commit, Head, Slot};
use crate::topic::{self, TopicTransport};
use crate::worker::Worker;

pub(super) struct SinkTask {
    pub(super) settings: SinkSettings,
    pub(super) starts: Arc<BTreeMap<Arc<str>, Timestamp>>,
    pub(super) drain: Duration,
    pub(super) kafka: hirewire_kafka::Settings,
    pub(super) names: Names,
    pub(super) producer: Producer,
    pub(super) decoder: Arc<Decoder>,
    pub(super) context: Arc<Store>,
    pub(super) metrics: SinkMetrics,
    pub(super) component: Component,
    pub(super) shutdown: Shutdown,
    /// Tells this process's member of the group from others.
    pub(super) member: uuid::Uuid,
}

/// A sink's way out, by its kind.
enum AnyTransport {
    Http(Box<HttpTransport>),
    Topic(Box<TopicTransport>),
    /// And the folder.
    Folder(FolderTransport, PathBuf),
    Postgres(DatabaseTransport, PostgresSettings),
    Sqlite(DatabaseTransport),
}

impl Transport for AnyTransport {
    async fn attempt(&self, delivery: &Delivery) -> Attempt {
        match self {
            Self::Http(transport) => transport.attempt(delivery).await,
            Self::Topic(transport) => transport.attempt(delivery).await,
            Self::Folder(transport, _) => transport.attempt(delivery).await,
            Self::Postgres(transport, _) | Self::Sqlite(transport) => transport.attempt(delivery).await,
        }
    }

    fn stages(&self) -> bool {
        match self {
            Self::Http(_) | Self::Postgres(..) | Self::Sqlite(_) => false,
            Self::Topic(transport) => transport.stages(),
            Self::Folder(transport, _) => transport.stages(),
        }
    }
}

type SinkWorker = Worker<AnyTransport, Decoder, Store, DeadLetterTopic, CreatedTopic>;

impl AnyTransport {
    fn fingerprint(&self) -> u64 {
        match self {
            Self::Http(transport) => transport.fingerprint(),
            Self::Postgres(_, settings) => settings.fingerprint(),
            Self::Topic(_) | Self::Folder(..) | Self::Sqlite(_) => 0,
        }
    }

    fn is_transactional(&self) -> bool {
        matches!(self, Self::Topic(transport) if transport.stages())
    }

    /// What must be seen to before records are taken in.
    ///
    /// # Errors
    /// When the sink cannot take anything now.
    async fn look(&self, kafka: &hirewire_kafka::Settings) -> Result<(), Stop> {
        match self {
            Self::Topic(transport) => transport.look(kafka).await,
            Self::Folder(_, folder) => files::look(folder, kafka).await,
            Self::Http(_) | Self::Postgres(..) | Self::Sqlite(_) => Ok(()),
        }
    }

    /// How offsets are committed, and what is staged with them.
    fn commits(&self, committer: Committer) -> AnyCommits {
        match self {
            Self::Topic(transport) if transport.stages() => AnyCommits::Topic(Box::new(transport.commits(committer))),
            Self::Folder(transport, _) => AnyCommits::Folder(
                transport.commits(move |slot, next| committer.commit(&slot.topic, slot.partition, next)),
            ),
            Self::Topic(_) | Self::Http(_) | Self::Postgres(..) | Self::Sqlite(_) => {
                AnyCommits::Plain(Commits(committer))
            }
        }
    }
}

/// A sink's commits, by its kind.
enum AnyCommits {
    Plain(Commits),
    Topic(Box<topic::Commits>),
    Folder(files::Commits),
}

impl Commit for AnyCommits {
    fn commit(&self, slot: &Slot, head: Head) {
        match self {
            Self::Plain(commits) => commits.commit(slot, head),
            Self::Topic(commits) => commits.commit(slot, head),
            Self::Folder(commits) => commits.commit(slot, head),
        }
    }

    fn release(&self, done: Box<dyn Send>) {
        match self {
            Self::Plain(_) | Self::Topic(_) => drop(done),
            Self::Folder(commits) => commits.release(done),
        }
    }
}

impl SinkTask {
    /// Runs until the stop. A consumer that fails is started again; the gate and the transport stay.
    ///
    /// # Errors
    /// When the sink cannot be set up at all.
    pub(super) async fn run(self) -> Result<(), Error> {
        self.component.waiting("partitions");
        let (name, limits) = (Arc::clone(&self.settings.name), self.settings.limits.clone());
        let deliverer = Arc::new(Deliverer::new(self.transport()?, name, limits, self.metrics.clone()));
        let kept = Arc::clone(&deliverer);
        let keeper = tokio::spawn(async move { kept.keep_gate(|| kept.sink.fingerprint()).await });
        let worker = Arc::new(self.worker(&deliverer));
        let mut pause = FIRST_PAUSE;
        while !self.shutdown.is_requested() {
            let Err(stop) = self.consume(&worker).await else { continue };
            self.component.waiting(stop.to_string());
            tell_restart(&self.settings.name, &stop);
            tokio::select! {
                () = tokio::time::sleep(pause) => pause = (pause * 2).min(LONGEST_PAUSE),
                () = self.shutdown.requested() => {}
            }
        }
        keeper.abort();
        Ok(())
    }

    fn transport(&self) -> Result<AnyTransport, Error> {
        let sink = self.settings.name.to_string();
        match &self.settings.kind {
            Kind::Http(settings) => match HttpTransport::new((**settings).clone()) {
                Ok(transport) => Ok(AnyTransport::Http(Box::new(transport))),
                Err(error) => Err(Error::Sink { sink, source: Box::new(error) }),
            },
            Kind::Topic(settings) => match TopicTransport::new(settings.clone()) {
                Ok(transport) => Ok(AnyTransport::Topic(Box::new(transport))),
                Err(error) => Err(Error::Sink { sink, source: Box::new(error) }),
            },
            Kind::Lines(settings) => {
                let (name, metrics) = (Arc::clone(&self.settings.name), self.metrics.clone());
                match FolderTransport::start(Lines::new(settings.clone()), name, metrics) {
                    Ok(transport) => Ok(AnyTransport::Folder(transport, settings.path.clone())),
                    Err(error) => Err(Error::Sink { sink, source: Box::new(error) }),
                }
            }
            Kind::Postgres(settings) => {
                let (transport, jobs) = DatabaseTransport::new();
                tokio::spawn(postgres::run(settings.clone(), Arc::clone(&self.settings.system), jobs));
                Ok(AnyTransport::Postgres(transport, settings.clone()))
            }
            Kind::Sqlite(path) => {
                let (transport, jobs) = DatabaseTransport::new();
                match sqlite::start(path.clone(), Arc::clone(&self.settings.system), jobs) {
                    Ok(()) => Ok(AnyTransport::Sqlite(transport)),
                    Err(error) => Err(Error::Sink { sink, source: Box::new(error) }),
                }
            }
        }
    }

    fn worker(&self, deliverer: &Arc<Deliverer<AnyTransport>>) -> SinkWorker {
        let entities = self.settings.entities().into_iter();
        Worker {
            deliverer: Arc::clone(deliverer),
            routes: self.settings.routes(&self.starts),
            topics: entities.map(|entity| (Arc::from(self.names.entity(entity)), entity)).collect::<HashMap<_, _>>(),
            decoder: Arc::clone(&self.decoder),
            context: Arc::clone(&self.context),
            replays: Replays::new(
                self.names.internal(replay::TOPIC).into(),
                Arc::clone(&self.settings.name),
                self.kafka.clone(),
            ),
            dead_letters: DeadLetterTopic {
                producer: self.producer.clone(),
                topic: self.names.route_dead_letter(&self.settings.name).into(),
            },
            ids: CreatedTopic::new(
                self.kafka.clone(),
                self.producer.clone(),
                self.names.internal(created::TOPIC).into(),
                Arc::clone(&self.context),
            ),
        }
    }

    async fn consume(&self, worker: &Arc<SinkWorker>) -> Result<(), Stop> {
        let sink = &worker.deliverer.sink;
        sink.look(&self.kafka).await?;
        let group = self.names.group(&format!("route.{}", self.settings.name));
        let options = GroupOptions {
            // One of its own for each process; an older one is ended by the broker after 15 s at the latest.
            transactional_id: sink.is_transactional().then(|| format!("{group}-{}", self.member)),
            group,
            topics: worker.topics.keys().chain([&worker.replays.topic]).map(ToString::to_string).collect(),
            window_records: self.settings.window,
            // The consumer waits a little longer than the engine, which cuts off what is late.
            drain_deadline: self.drain + Duration::from_secs(1),
            lag: self.metrics.lag(),
        };
        let consumer = GroupConsumer::start(&self.kafka, options, self.component.clone(), self.shutdown.clone())?;
        let commits = sink.commits(consumer.committer.clone());
        let source = GroupSource::new(consumer, self.component.clone());
        let options = engine::Options { window: self.settings.window, drain: self.drain };
        engine::run(source, Arc::clone(worker), commits, self.metrics.clone(), options).await
    }
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
