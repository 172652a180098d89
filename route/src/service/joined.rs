//! The context store and the follower that keeps it up to date, for as long as a sink joins anything.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use hirewire_kafka::Stop;

use super::{Error, Ground, until_done};
use crate::codec::Decoder;
use crate::context::follow::Follower;
use crate::context::store::Store;
use crate::request::condition::Condition;
use crate::settings::Settings;

pub(super) struct Joined {
    pub(super) store: Arc<Store>,
    decoder: Arc<Decoder>,
    follower: Option<Follower>,
}

impl Joined {
    /// # Errors
    /// When the store's folder cannot be written.
    pub(super) fn open(settings: &Settings, data_dir: &Path, decoder: Arc<Decoder>) -> Result<Self, Error> {
        let folder = data_dir.join("route");
        let path = folder.join("context.sqlite");
        let failed = |source| Error::Store { path: path.clone(), source };
        std::fs::create_dir_all(&folder).map_err(|error| failed(Box::new(error)))?;
        let store = Store::open(&path, kept(settings)).map_err(|error| failed(Box::new(error)))?;
        Ok(Self { store: Arc::new(store), decoder, follower: None })
    }

    /// Follows, if a sink joins anything and nobody does yet, and waits until the store has caught up: a delivery made of
    /// old data would be as wrong as one with a hole. False when the stop came first.
    ///
    /// # Errors
    /// What time does not mend.
    pub(super) async fn follow(&mut self, settings: &Settings, ground: &Ground) -> Result<bool, Error> {
        if self.follower.is_some() || settings.sinks.iter().all(|sink| sink.system.records()) {
            return Ok(true);
        }
        let (deps, component) = (&ground.deps, &ground.component);
        let start = || {
            let (kafka, names, shutdown) = (deps.kafka.clone(), deps.names.clone(), deps.shutdown.clone());
            let (store, decoder) = (Arc::clone(&self.store), Arc::clone(&self.decoder));
            let runtime = tokio::runtime::Handle::current();
            async move {
                let starting = tokio::task::spawn_blocking(move || {
                    Follower::start(&kafka, &names, store, decoder, runtime, &shutdown)
                });
                starting.await.map_err(|error| Stop::retryable("context", error.to_string()))?
            }
        };
        let started = std::time::Instant::now();
        let Some(follower) = until_done(start, component, &deps.shutdown).await? else { return Ok(false) };
        let restoring = ground.metrics.restoring();
        while !follower.caught_up() {
            let records = restoring.read(follower.written());
            component.waiting(format!("the context store to catch up: {records} records so far"));
            tokio::select! {
                () = tokio::time::sleep(Duration::from_millis(20)) => {}
                () = deps.shutdown.requested() => return Ok(false),
            }
        }
        restoring.read(follower.written());
        tracing::info!(millis = started.elapsed().as_millis(), "the context has caught up");
        self.follower = Some(follower);
        Ok(true)
    }

    /// As [`Self::follow`], for other settings: what they need of the past that was not kept is read once more.
    ///
    /// # Errors
    /// What time does not mend.
    pub(super) async fn change(&mut self, settings: &Settings, ground: &Ground) -> Result<bool, Error> {
        let failed = |error: rusqlite::Error| {
            let path = ground.deps.data_dir.join("route").join("context.sqlite");
            Error::Store { path, source: Box::new(error) }
        };
        let kept = kept(settings);
        if self.store.keeps(&kept).map_err(failed)? {
            self.store.keep(kept).map_err(failed)?;
        } else {
            // Its last records are in the store before their positions are forgotten.
            self.end().await;
            self.store.keep(kept).map_err(failed)?;
        }
        self.follow(settings, ground).await
    }

    /// Ends the follower.
    pub(super) async fn end(&mut self) {
        if let Some(follower) = self.follower.take()
            && tokio::task::spawn_blocking(move || drop(follower)).await.is_err()
        {
            tracing::error!("the context's follower panicked");
        }
    }
}

/// The changes that a later request may take back, and those that do.
fn kept(settings: &Settings) -> Vec<Condition> {
    let mut kept = Vec::new();
    for sink in &settings.sinks {
        for cancelling in sink.system.requests() {
            let cancelled = cancelling.cancels.as_deref().and_then(|name| sink.system.request(name));
            kept.extend(cancelled.map(|cancelled| cancelled.when.clone()));
            kept.extend(cancelling.cancels.as_ref().map(|_| cancelling.when.clone()));
        }
    }
    kept
}
