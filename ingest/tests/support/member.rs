//! A process of ingest, as far as the broker can tell.
#![allow(dead_code, unreachable_pub)]

use std::sync::Arc;

use hirewire_ingest::{Connection, Deps, Role, Settings, run};
use hirewire_service::{Health, Shutdown};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use super::broker::TestBroker;

/// It, until it is stopped.
pub struct Member {
    shutdown: Shutdown,
    pub health: Health,
    pub metrics: prometheus::Registry,
    task: JoinHandle<Result<(), hirewire_ingest::Error>>,
}

impl Member {
    pub fn start(broker: &TestBroker, connection: &Arc<Connection>) -> Self {
        Self::start_as(broker, connection, Role::Poll, None)
    }

    /// With a `listener` for webhooks, in a role that takes them.
    pub fn start_as(
        broker: &TestBroker,
        connection: &Arc<Connection>,
        role: Role,
        listener: Option<TcpListener>,
    ) -> Self {
        let (shutdown, health, metrics) = (Shutdown::new(), Health::new(), prometheus::Registry::new());
        let deps = Deps {
            kafka: broker.settings(),
            names: broker.names.clone(),
            registry: hirewire_registry::Access::plain(&broker.registry_url),
            metrics: metrics.clone(),
            health: health.clone(),
            shutdown: shutdown.clone(),
        };
        let task = tokio::spawn(run(Settings::default(), role, listener, vec![connection.clone()], deps));
        Self { shutdown, health, metrics, task }
    }

    /// After it has done what it had begun.
    pub async fn stop(self) {
        self.shutdown.request();
        self.task.await.unwrap().unwrap();
    }
}
