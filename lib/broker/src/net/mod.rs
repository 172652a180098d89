//! The listener and its connections.
//!
//! In: a bound listener; out: tasks, one per connection, that end when the peer does or when the broker closes.

pub(crate) mod authentication;
pub(crate) mod connection;
mod errors;
mod scram;
mod shape;
pub(crate) mod tls;
pub(crate) mod versions;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tracing::{debug, warn};

use crate::core::Core;

/// A client that has not shaken hands by then is let go.
const TLS_PATIENCE: Duration = Duration::from_secs(10);

/// Accepts until told to close; returns when all connections have ended.
pub(crate) async fn serve(core: Arc<Core>, listener: TcpListener, mut closing: watch::Receiver<bool>) {
    let limit = Arc::new(Semaphore::new(core.settings.max_connections));
    let (ended, mut all_ended) = tokio::sync::mpsc::channel::<()>(1);
    let mut told = false;
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = closing.wait_for(|closing| *closing) => break,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => {
                told = false;
                accepted
            }
            Err(problem) => {
                if !std::mem::replace(&mut told, true) {
                    let remedy =
                        "mostly too many files are open: raise the limit (`ulimit -n`, `LimitNOFILE` of systemd)";
                    warn!(error = %problem, remedy, "a connection could not be accepted");
                }
                // Some will close.
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
            open(&core, stream, peer, closing).await;
            core.metrics.connections.dec();
            drop((place, ended));
        });
    }
    drop(ended);
    // Ends when the last connection has dropped its sender.
    all_ended.recv().await;
}

async fn open(core: &Arc<Core>, stream: TcpStream, peer: SocketAddr, mut closing: watch::Receiver<bool>) {
    // Small answers must not wait for more to come; a failure shows at the first write.
    stream.set_nodelay(true).ok();
    let Some(acceptor) = &core.tls else {
        let (reader, writer) = stream.into_split();
        return connection::serve(core.clone(), reader, writer, peer, closing).await;
    };
    let shaken = tokio::select! {
        shaken = tokio::time::timeout(TLS_PATIENCE, acceptor.accept(stream)) => shaken,
        _ = closing.wait_for(|closing| *closing) => return,
    };
    match shaken {
        Ok(Ok(stream)) => {
            let (reader, writer) = tokio::io::split(stream);
            connection::serve(core.clone(), reader, writer, peer, closing).await;
        }
        Ok(Err(problem)) => debug!(%peer, error = %problem, "no TLS connection"),
        Err(_) => debug!(%peer, "no TLS connection: the client is too slow"),
    }
}
