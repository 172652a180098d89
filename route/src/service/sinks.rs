//! All sinks of the process, and what other settings change of them.
//!
//! In: checked settings. Out: running sinks. A change is made ready as a whole, which may fail, and then carried out,
//! which may not: sinks that say the same go on untouched, of others the worker is swapped, new ones start, and those that
//! are gone drain and end.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use hirewire_service::Health;
use tokio::task::{JoinError, JoinSet};

use super::sink::{Ready, Shared, Sink};
use super::{Error, StartsByRoute};
use crate::metrics::Metrics;
use crate::settings::{Settings, SinkSettings};

pub(super) struct Sinks {
    running: BTreeMap<Arc<str>, Arc<Sink>>,
    tasks: JoinSet<Arc<str>>,
    shared: Shared,
    metrics: Metrics,
    health: Health,
}

/// What is to be done, all of which can be.
pub(super) struct Change {
    ready: Vec<Ready>,
    gone: Vec<Arc<str>>,
    /// Begun when those that are gone have ended: of two ways into one store only one may be open.
    anew: Vec<SinkSettings>,
    drain: Duration,
    starts: StartsByRoute,
}

impl Change {
    pub(super) fn is_empty(&self) -> bool {
        self.ready.is_empty() && self.gone.is_empty()
    }
}

impl Sinks {
    pub(super) fn new(shared: Shared, metrics: Metrics, health: Health) -> Self {
        Self { running: BTreeMap::new(), tasks: JoinSet::new(), shared, metrics, health }
    }

    /// Whether all sinks of the settings run, by whatever settings.
    pub(super) fn have_all(&self, settings: &Settings) -> bool {
        settings.sinks.iter().all(|sink| self.running.contains_key(&sink.name))
    }

    /// What makes the sinks those of the settings. Changes nothing yet.
    ///
    /// # Errors
    /// When a sink cannot be set up.
    pub(super) fn plan(&self, settings: &Settings, starts: &StartsByRoute) -> Result<Change, Error> {
        let (drain, starts) = (settings.drain, starts.clone());
        let mut change = Change { ready: Vec::new(), gone: Vec::new(), anew: Vec::new(), drain, starts };
        for sink in &settings.sinks {
            let running = self.running.get(&sink.name);
            if running.is_some_and(|running| running.is_by(sink, settings.drain)) {
                continue;
            }
            let metrics = match running {
                Some(running) if running.may_take_heads || sink.kind.may_take_heads() => {
                    change.gone.push(Arc::clone(&sink.name));
                    change.anew.push(sink.clone());
                    continue;
                }
                Some(running) => running.metrics.clone(),
                None => self.metrics.sink(&sink.name),
            };
            change.ready.push(Ready::new(sink, drain, &change.starts, metrics, &self.shared)?);
        }
        let stays = |name: &Arc<str>| settings.sinks.iter().any(|sink| sink.name == *name);
        change.gone.extend(self.running.keys().filter(|name| !stays(name)).map(Arc::clone));
        Ok(change)
    }

    /// Returns when all sinks run by the new settings, but for attempts that are under way, and those that are gone have
    /// ended.
    pub(super) async fn carry_out(&mut self, change: Change) {
        let mut gone: Vec<Arc<str>> = change.gone;
        gone.iter().filter_map(|name| self.running.remove(name)).for_each(|sink| sink.stop());
        for ready in change.ready {
            match self.running.get(&ready.name) {
                Some(running) => running.install(ready),
                None => self.start(ready),
            }
        }
        while !gone.is_empty()
            && let Some(ended) = self.tasks.join_next().await
        {
            gone.retain(|name| !ended.as_ref().is_ok_and(|ended| ended == name));
            tell_end(ended);
        }
        for sink in change.anew {
            let metrics = self.metrics.sink(&sink.name);
            match Ready::new(&sink, change.drain, &change.starts, metrics, &self.shared) {
                Ok(ready) => self.start(ready),
                Err(error) => {
                    tracing::error!(sink = %sink.name, %error, "the sink does not start: mend it or restart the process")
                }
            }
        }
    }

    fn start(&mut self, ready: Ready) {
        let name = Arc::clone(&ready.name);
        let component = self.health.component(&format!("route.{name}"));
        let sink = Arc::new(Sink::new(ready, component, &self.shared));
        self.running.insert(Arc::clone(&name), Arc::clone(&sink));
        self.tasks.spawn(async move {
            Box::pin(sink.run()).await;
            name
        });
    }

    /// Returns when a sink ended that nobody asked to: it panicked. Never while there is none.
    pub(super) async fn ended(&mut self) {
        match self.tasks.join_next().await {
            Some(ended) => tell_end(ended),
            None => std::future::pending().await,
        }
    }

    /// Drains all of them.
    pub(super) async fn stop(mut self) {
        self.running.values().for_each(|sink| sink.stop());
        while let Some(ended) = self.tasks.join_next().await {
            tell_end(ended);
        }
    }
}

fn tell_end(ended: Result<Arc<str>, JoinError>) {
    if let Err(error) = ended {
        tracing::error!(%error, "a sink's task panicked: restart the process");
    }
}
