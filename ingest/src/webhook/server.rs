//! The HTTP/1.1 server for webhooks: bounds on connections, on headers and on the time they take.
//!
//! A listener and a router in; returns when shutdown is requested and everybody who had connected is answered: behind a plain
//! TCP balancer nobody is refused then. Its own loop, for `axum::serve` has no bound on connections, header size or header time.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hirewire_service::Shutdown;
use hirewire_service::process::FEW_DESCRIPTORS;
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;

/// Pause after `accept` fails, as it does when file descriptors run out.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// After a stop the kernel's queue of connections counts as empty when none comes for so long.
const QUEUE_IS_EMPTY: Duration = Duration::from_millis(1);
/// And is left to itself after so long.
const QUEUE_DEADLINE: Duration = Duration::from_secs(1);
/// So long after a stop the first request of a connection may begin.
const FIRST_REQUEST: Duration = Duration::from_secs(1);

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
    // Whom the kernel has let connect would be cut off by closing the listener; whoever comes later is refused at once by it.
    let queue = async {
        while let Ok((stream, place)) = tokio::time::timeout(QUEUE_IS_EMPTY, accept(&listener, &places)).await {
            connections.spawn(one(http.clone(), stream, router.clone(), shutdown.clone(), place));
        }
    };
    let _left = tokio::time::timeout(QUEUE_DEADLINE, queue).await.is_err();
    drop(listener);
    let drained = async { while connections.join_next().await.is_some() {} };
    if tokio::time::timeout(limits.drain_timeout, drained).await.is_err() {
        tracing::warn!(open = connections.len(), "requests were still under way at the end of the drain time");
    }
}

async fn accept(listener: &TcpListener, places: &Arc<Semaphore>) -> (TcpStream, OwnedSemaphorePermit) {
    let mut told = false;
    loop {
        // A place first: who finds none waits in the kernel's queue and costs no memory here.
        let Ok(place) = places.clone().acquire_owned().await else { return std::future::pending().await };
        match listener.accept().await {
            Ok((stream, SocketAddr::V4(_) | SocketAddr::V6(_))) => return (stream, place),
            Err(error) => {
                if !std::mem::replace(&mut told, true) {
                    tracing::warn!(%error, remedy = FEW_DESCRIPTORS, "a connection could not be accepted");
                }
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
    let (begun, router) = (Notify::new(), TowerToHyperService::new(router));
    let service = service_fn(|request| {
        begun.notify_one();
        router.call(request)
    });
    let connection = http.serve_connection(TokioIo::new(stream), service);
    tokio::pin!(connection);
    let stop = async {
        shutdown.requested().await;
        // Who has just connected and not asked yet is answered too.
        let _silent = tokio::time::timeout(FIRST_REQUEST, begun.notified()).await.is_err();
    };
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = stop => {
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
