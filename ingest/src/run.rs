//! The service: starts what the role asks for and returns when shutdown is requested.

use std::sync::Arc;

use futures_core::future::BoxFuture;
use hirewire_kafka::{Producer, ProducerOptions, Stop};
use hirewire_registry::Codec;
use tokio::net::TcpListener;

use crate::connection::{Connection, Directory};
use crate::fetch::FetchRequests;
use crate::manifest::Signature;
use crate::metrics::Metrics;
use crate::poll;
use crate::process::{Deps, Role};
use crate::settings::Settings;
use crate::topics::Topics;
use crate::webhook;

/// The service cannot start, or cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("ingest cannot listen on {address}; choose another `ingest.listen` or stop what listens there")]
    Listen { address: std::net::SocketAddr, source: std::io::Error },
    #[error("ingest's metrics cannot be registered")]
    Metrics(#[from] prometheus::Error),
    #[error(transparent)]
    Kafka(#[from] Stop),
}

/// Runs until shutdown. `listener` takes the place of `settings.listen`, for a caller that wants to know the port.
///
/// # Errors
/// When the address is taken, or Kafka's settings are refused.
pub fn run(
    settings: Settings,
    role: Role,
    listener: Option<TcpListener>,
    connections: Vec<Arc<Connection>>,
    deps: Deps,
) -> BoxFuture<'static, Result<(), Error>> {
    Box::pin(until_shutdown(settings, role, listener, connections, deps))
}

async fn until_shutdown(
    settings: Settings,
    role: Role,
    listener: Option<TcpListener>,
    connections: Vec<Arc<Connection>>,
    deps: Deps,
) -> Result<(), Error> {
    let metrics = Metrics::new(&deps.metrics)?;
    let topics = Topics::new(&deps.names, connections.iter().map(|connection| connection.manifest.vendor.as_str()));
    let received = async {
        match role {
            Role::Webhook | Role::All => {
                receive(&settings, listener, &connections, &deps, topics.clone(), metrics.clone()).await
            }
            Role::Poll => Ok(()),
        }
    };
    let polled = async {
        match role {
            Role::Poll | Role::All => {
                poll::run(connections.clone(), topics.clone(), metrics.clone(), &deps).await.map_err(Error::Kafka)
            }
            Role::Webhook => Ok(()),
        }
    };
    // One that fails ends the process; one that returns leaves the other to its work.
    tokio::try_join!(received, polled).map(|_| ())
}

async fn receive(
    settings: &Settings,
    listener: Option<TcpListener>,
    connections: &[Arc<Connection>],
    deps: &Deps,
    topics: Topics,
    metrics: Metrics,
) -> Result<(), Error> {
    let health = deps.health.component("ingest webhook");
    for connection in connections {
        let rules = connection.webhook.as_ref().and_then(|inlet| inlet.webhook());
        if rules.is_some_and(|rules| matches!(rules.signature, Signature::None)) {
            tracing::warn!(connection = connection.name, "webhooks are taken unsigned: the vendor signs none");
        }
        if rules.is_some() {
            metrics.webhooks_begin(&connection.name);
        }
    }
    let listener = match listener {
        Some(listener) => listener,
        None => TcpListener::bind(settings.listen)
            .await
            .map_err(|source| Error::Listen { address: settings.listen, source })?,
    };
    let options = ProducerOptions { delivery_timeout: settings.receiver.keep_timeout, ..ProducerOptions::default() };
    let producer = Producer::new(&deps.kafka, &options)?;
    let directory = Directory::default();
    directory.load(connections.iter().cloned());
    let fetches = FetchRequests::new(topics.fetch.clone());
    if connections.iter().any(|connection| connection.inlet_fetches()) {
        let codec = Codec::new(&deps.registry).map_err(|error| Stop::permanent("registry-url", error.to_string()))?;
        let (fetches, shutdown) = (fetches.clone(), deps.shutdown.clone());
        tokio::spawn(async move { fetches.register(&codec, &shutdown).await });
    }
    let router = webhook::router(directory, topics, producer.clone(), &settings.receiver, metrics, fetches);
    if let Ok(address) = listener.local_addr() {
        tracing::info!(%address, "webhooks are received at /v1/webhooks/<connection>");
    }
    health.ready();
    webhook::serve(listener, router, &settings.server, deps.shutdown.clone()).await;
    let keep = settings.receiver.keep_timeout;
    // Blocks until what was sent is acknowledged; everything that was answered 200 already is.
    if tokio::task::spawn_blocking(move || producer.flush(keep)).await.is_err() {
        tracing::error!("the producer's flush panicked");
    }
    Ok(())
}
