//! The listener and its connections.
//!
//! In: a bound listener; out: tasks, one per connection, that end when the peer does or when the broker closes.

mod connection;
mod shape;
pub(crate) mod versions;

use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};
use tracing::warn;

use crate::core::Core;

/// Accepts until told to close; returns when all connections have ended.
pub(crate) async fn serve(core: Arc<Core>, listener: TcpListener, mut closing: watch::Receiver<bool>) {
    let limit = Arc::new(Semaphore::new(core.settings.max_connections));
    let (ended, mut all_ended) = tokio::sync::mpsc::channel::<()>(1);
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = closing.wait_for(|closing| *closing) => break,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(problem) => {
                warn!(error = %problem, "a connection could not be accepted");
                // Mostly too many open files: some will close.
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            }
        };
        let Ok(place) = limit.clone().try_acquire_owned() else {
            core.metrics.refused_connections.inc();
            continue;
        };
        let (core, closing, ended) = (core.clone(), closing.clone(), ended.clone());
        tokio::spawn(async move {
            core.metrics.connections.inc();
            connection::serve(core.clone(), stream, peer, closing).await;
            core.metrics.connections.dec();
            drop((place, ended));
        });
    }
    drop(ended);
    // Ends when the last connection has dropped its sender.
    all_ended.recv().await;
}
