//! One request to stop, seen by every loop of the process; and a second one, for who will not wait for the drain.

use std::sync::Arc;

use tokio::sync::watch;

/// Cheap to clone; all clones see the same request.
#[derive(Clone, Debug)]
pub struct Shutdown {
    requested: Arc<watch::Sender<bool>>,
    at_once: Arc<watch::Sender<bool>>,
}

impl Default for Shutdown {
    fn default() -> Self {
        Self::new()
    }
}

impl Shutdown {
    #[must_use]
    pub fn new() -> Self {
        Self { requested: Arc::new(watch::Sender::new(false)), at_once: Arc::new(watch::Sender::new(false)) }
    }

    /// Asks everything to stop. More than once is the same as once.
    pub fn request(&self) {
        self.requested.send_replace(true);
    }

    #[must_use]
    pub fn is_requested(&self) -> bool {
        *self.requested.borrow()
    }

    /// Returns when a stop was requested.
    pub async fn requested(&self) {
        told(&self.requested).await;
    }

    /// Returns when nothing under way is to be waited for.
    pub async fn at_once(&self) {
        told(&self.at_once).await;
    }

    /// Requests the stop on the first SIGTERM or SIGINT, and an end at once on the second.
    ///
    /// # Errors
    /// When the process may not install signal handlers.
    pub fn on_signal(&self) -> std::io::Result<()> {
        use tokio::signal::unix::{SignalKind, signal};
        let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
        let shutdown = self.clone();
        tokio::spawn(async move {
            tokio::select! {
                _ = terminate.recv() => tracing::info!("SIGTERM: stopping"),
                _ = interrupt.recv() => tracing::info!("SIGINT: stopping"),
            }
            shutdown.request();
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            shutdown.at_once.send_replace(true);
        });
        Ok(())
    }
}

async fn told(sender: &watch::Sender<bool>) {
    // An error means that the sender is gone, which whoever waits prevents.
    if sender.subscribe().wait_for(|told| *told).await.is_err() {
        std::future::pending::<()>().await;
    }
}
