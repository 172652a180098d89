//! The HTTP/1.1 server for webhooks: bounds on connections, on headers and on the time they take.
//!
//! A listener and a router in; returns when shutdown is requested and the requests under way are answered. Its own
//! loop, for `axum::serve` has no bound on connections, header size or header time.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hirewire_service::Shutdown;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;

/// Pause after `accept` fails, as it does when file descriptors run out.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Bounds of the server.
#[derive(Debug, Clone)]
pub struct ServerLimits {
    pub max_connections: usize,
    /// Of all headers of a request together; more is answered 431.
    pub max_header_bytes: usize,
    /// For the headers to arrive, and for the next request on a kept connection to begin.
    pub header_timeout: Duration,
    /// For requests under way when shutdown is requested.
    pub drain_timeout: Duration,
}

/// Serves until shutdown.
pub async fn serve(listener: TcpListener, router: Router, limits: &ServerLimits, shutdown: Shutdown) {
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new())
        .header_read_timeout(limits.header_timeout)
        .max_buf_size(limits.max_header_bytes.max(8192));
    let places = Arc::new(Semaphore::new(limits.max_connections));
    let mut connections = JoinSet::new();
    loop {
        let (stream, place) = tokio::select! {
            accepted = accept(&listener, &places) => accepted,
            () = shutdown.requested() => break,
        };
        while connections.try_join_next().is_some() {}
        connections.spawn(one(http.clone(), stream, router.clone(), shutdown.clone(), place));
    }
    let drained = async { while connections.join_next().await.is_some() {} };
    if tokio::time::timeout(limits.drain_timeout, drained).await.is_err() {
        tracing::warn!(open = connections.len(), "requests were still under way at the end of the drain time");
    }
}

async fn accept(listener: &TcpListener, places: &Arc<Semaphore>) -> (TcpStream, OwnedSemaphorePermit) {
    loop {
        // A place first: who finds none waits in the kernel's queue and costs no memory here.
        let Ok(place) = places.clone().acquire_owned().await else { return std::future::pending().await };
        match listener.accept().await {
            Ok((stream, SocketAddr::V4(_) | SocketAddr::V6(_))) => return (stream, place),
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn one(
    http: http1::Builder,
    stream: TcpStream,
    router: Router,
    shutdown: Shutdown,
    place: OwnedSemaphorePermit,
) -> Result<(), Infallible> {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "TCP_NODELAY could not be set");
    }
    let connection = http.serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    tokio::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = shutdown.requested() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection ended early");
    }
    drop(place);
    Ok(())
}
