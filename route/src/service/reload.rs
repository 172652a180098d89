//! Other settings while the service runs: validated first, taken over as a whole, the old ones kept on an error.

use std::time::Duration;

use hirewire_kafka::Stop;
use tokio::sync::mpsc;

use super::joined::Joined;
use super::sinks::Sinks;
use super::{Error, Ground, StartsByRoute, from_now};
use crate::metrics::{Metrics, Reloaded};
use crate::settings::Settings;

/// Checked settings, or why there are none: all mistakes as one text.
pub type Reload = Result<Settings, String>;

/// How long settings wait that could not be taken over because Kafka or the registry was away.
const AGAIN: Duration = Duration::from_secs(5);

pub(super) struct Reloader {
    reloads: Option<mpsc::Receiver<Reload>>,
    /// Checked settings that wait for better times.
    waiting: Option<Settings>,
    /// Of all routes that were ever enabled in this process.
    starts: StartsByRoute,
    metrics: Metrics,
}

impl Reloader {
    pub(super) fn new(reloads: Option<mpsc::Receiver<Reload>>, starts: StartsByRoute, metrics: Metrics) -> Self {
        Self { reloads, waiting: None, starts, metrics }
    }

    /// The next checked settings to take over. May be dropped at any time.
    pub(super) async fn next(&mut self) -> Settings {
        loop {
            let reload = tokio::select! {
                reload = newest(&mut self.reloads) => reload,
                () = tokio::time::sleep(AGAIN), if self.waiting.is_some() => match self.waiting.take() {
                    Some(settings) => return settings,
                    None => continue,
                },
            };
            match reload {
                Ok(settings) => return settings,
                Err(mistakes) => {
                    self.waiting = None;
                    self.refused(&mistakes);
                }
            }
        }
    }

    /// # Errors
    /// When the service can go on neither with these settings nor with the old ones.
    pub(super) async fn take_over(
        &mut self,
        settings: Settings,
        sinks: &mut Sinks,
        joined: &mut Joined,
        ground: &Ground,
    ) -> Result<(), Error> {
        self.waiting = None;
        let change = match self.prepare(&settings, sinks, ground).await {
            Ok(()) => sinks.plan(&settings, &self.starts),
            Err(stop) if stop.retryable => {
                self.refused(&format!("{stop}; it is tried again"));
                self.waiting = Some(settings);
                return Ok(());
            }
            Err(stop) => Err(stop.into()),
        };
        let change = match change {
            Ok(change) => change,
            Err(error) => {
                self.refused(&whole(&error));
                return Ok(());
            }
        };
        if !change.is_empty() && joined.change(&settings, ground).await? {
            sinks.carry_out(change).await;
            ground.component.ready();
            self.metrics.reloaded(Reloaded::Applied);
            tracing::info!(sinks = settings.sinks.len(), "the configuration was taken over");
        } else {
            self.metrics.reloaded(Reloaded::Unchanged);
            tracing::info!("the configuration says of sinks and routes what is in use already");
        }
        Ok(())
    }

    /// Topics and starts of what is new; they are there for ever.
    async fn prepare(&mut self, settings: &Settings, sinks: &Sinks, ground: &Ground) -> Result<(), Stop> {
        let known = from_now(settings).iter().all(|(route, _)| self.starts.contains_key(route));
        if !known || !sinks.have_all(settings) {
            self.starts.extend(ground.prepare(settings).await?);
        }
        Ok(())
    }

    fn refused(&self, mistakes: &str) {
        self.metrics.reloaded(Reloaded::Refused);
        tracing::error!(
            code = "SETTINGS_REFUSED",
            mistakes,
            "the new configuration is refused, and route goes on with the old one: mend it; it is read again when it changes"
        );
    }
}

/// An error with its sources.
fn whole(error: &Error) -> String {
    let sources = std::iter::successors(std::error::Error::source(error), |error| error.source());
    sources.fold(error.to_string(), |whole, source| format!("{whole}: {source}"))
}

/// Of those that have come the last; when no more can come, never.
async fn newest(reloads: &mut Option<mpsc::Receiver<Reload>>) -> Reload {
    if let Some(receiver) = reloads {
        if let Some(mut reload) = receiver.recv().await {
            while let Ok(newer) = receiver.try_recv() {
                reload = newer;
            }
            return reload;
        }
        *reloads = None;
    }
    std::future::pending().await
}
