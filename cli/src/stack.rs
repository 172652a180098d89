//! What runs in this process: broker and registry below, services above, stopped in the opposite order.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use anyhow::Context;
use axum::Router;
use hirewire_ingest::Role;
use hirewire_registry::Registry;
use hirewire_registry::server::Server;
use hirewire_service::spans::Exporter;
use hirewire_service::{Component, Health, Metrics, Shutdown, admin, process};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::config::Config;
use crate::vendors::Vendors;

/// A part that ended, and how.
type Ended = (&'static str, anyhow::Result<()>);

/// Everything that was started in this process.
#[derive(Default)]
pub(crate) struct Stack {
    pub(crate) metrics: Metrics,
    pub(crate) health: Health,
    /// Asked for by a signal, by the demo when it is over, or by a service that failed.
    pub(crate) shutdown: Shutdown,
    /// Not ready from the admin port's opening until every part is started: most parts come later, and speak for themselves then.
    starting: Option<Component>,
    /// Broker, registry and admin port outlive the services.
    below: Shutdown,
    services: JoinSet<Ended>,
    engines: JoinSet<Ended>,
}

/// How long services may drain before the process ends anyway.
const DRAIN_LIMIT: Duration = Duration::from_secs(25);

impl Stack {
    /// One that SIGTERM and SIGINT stop, from now on: also while it starts, and as the first process of a container,
    /// which is deaf to signals that it does not listen to.
    pub(crate) fn until_signal() -> anyhow::Result<Self> {
        process::warn_of_few_descriptors();
        let stack = Self::default();
        stack.shutdown.on_signal()?;
        Ok(stack)
    }

    /// Starts the embedded broker. Returns the address that clients connect to.
    pub(crate) async fn broker(
        &mut self,
        listen: SocketAddr,
        data_dir: &Path,
        set: impl FnOnce(&mut hirewire_broker::Settings),
    ) -> anyhow::Result<SocketAddr> {
        let mut settings = hirewire_broker::Settings::new(data_dir.join("broker"));
        settings.metrics = self.metrics.clone();
        set(&mut settings);
        let listener = bind(listen, "the embedded broker").await?;
        let address = listener.local_addr()?;
        let broker = tokio::task::block_in_place(|| hirewire_broker::Broker::open(settings))?;
        let below = self.below.clone();
        self.engines.spawn(async move {
            let stopped = async move { below.requested().await };
            ("broker", broker.run(listener, stopped).await.map_err(anyhow::Error::from))
        });
        Ok(address)
    }

    /// Starts the embedded registry. Returns its address.
    pub(crate) async fn registry(
        &mut self,
        listen: SocketAddr,
        data_dir: &Path,
        set: impl FnOnce(Server) -> anyhow::Result<Server>,
    ) -> anyhow::Result<SocketAddr> {
        let listener = bind(listen, "the embedded registry").await?;
        let address = listener.local_addr()?;
        let folder = data_dir.join("registry");
        let registry = tokio::task::block_in_place(|| Registry::open(&folder))?;
        let metrics = hirewire_registry::Metrics::register(&self.metrics)?;
        let server = set(Server::new(registry).metrics(metrics))?;
        let below = self.below.clone();
        self.engines.spawn(async move {
            let stopped = async move { below.requested().await };
            ("registry", server.run(listener, stopped).await.map_err(anyhow::Error::from))
        });
        Ok(address)
    }

    /// Starts the way of traces to their collector, if the configuration names one.
    pub(crate) fn traces(&mut self, config: &Config) -> anyhow::Result<()> {
        let Some(traces) = &config.traces else { return Ok(()) };
        let exporter = Exporter::start(traces, &self.metrics, env!("CARGO_PKG_VERSION"))?;
        // Services end before it, so that their last spans are sent.
        let below = self.below.clone();
        self.engines.spawn(async move {
            exporter.run(below).await;
            ("traces", Ok(()))
        });
        Ok(())
    }

    /// Starts the admin port. Returns its address.
    pub(crate) async fn admin(&mut self, listen: SocketAddr, data_dir: &Path) -> anyhow::Result<SocketAddr> {
        self.admin_with(listen, data_dir, Router::new()).await
    }

    /// Starts the admin port, with more than every process has on it.
    pub(crate) async fn admin_with(
        &mut self,
        listen: SocketAddr,
        data_dir: &Path,
        beside: Router,
    ) -> anyhow::Result<SocketAddr> {
        process::register(&self.metrics, env!("CARGO_PKG_VERSION"), data_dir)?;
        let starting = self.health.component("start");
        starting.waiting("parts that are not started yet");
        self.starting = Some(starting);
        let listener = bind(listen, "the admin port").await?;
        let address = listener.local_addr()?;
        tracing::info!(%address, "the admin port is open");
        let (metrics, health, below) = (self.metrics.clone(), self.health.clone(), self.below.clone());
        self.engines.spawn(async move {
            ("admin", admin::serve(listener, metrics, health, beside, below).await.map_err(anyhow::Error::from))
        });
        Ok(address)
    }

    /// Starts ingest. Returns where webhooks are taken, if this role takes them.
    pub(crate) async fn ingest(&mut self, config: &Config, role: Role) -> anyhow::Result<Option<SocketAddr>> {
        let listener = match role {
            Role::Poll => None,
            Role::Webhook | Role::All => Some(bind(config.ingest.listen, "ingest").await?),
        };
        let address = listener.as_ref().map(TcpListener::local_addr).transpose()?;
        let deps = hirewire_ingest::Deps {
            kafka: config.kafka.with_role("ingest"),
            names: config.names.clone(),
            registry: config.registry.clone(),
            metrics: self.metrics.clone(),
            health: self.health.clone(),
            shutdown: self.shutdown.clone(),
        };
        self.awaits(match role {
            Role::Webhook => &["ingest webhook"],
            Role::Poll => &["ingest poll"],
            Role::All => &["ingest webhook", "ingest poll"],
        });
        let settings = config.ingest.clone();
        let connections = config.connections.iter().map(|connection| connection.ingest.clone()).collect();
        self.services.spawn(async move {
            (
                "ingest",
                hirewire_ingest::run(settings, role, listener, connections, deps).await.map_err(anyhow::Error::from),
            )
        });
        Ok(address)
    }

    /// Starts normalize.
    pub(crate) fn normalize(&mut self, config: &Config, vendors: &Vendors) {
        let connections = config.connections.iter().map(|connection| hirewire_normalize::Connection {
            name: connection.ingest.name.clone(),
            tenant: connection.ingest.tenant.clone(),
            vendor: connection.vendor.clone(),
            plan: connection.plan.clone(),
        });
        let deps = hirewire_normalize::Deps {
            kafka: config.kafka.with_role("normalize"),
            names: config.names.clone(),
            registry: config.registry.clone(),
            data_dir: config.data_dir.clone(),
            partitions: config.partitions,
            vendors: vendors.names(),
            connections: connections.collect(),
            metrics: self.metrics.clone(),
            health: self.health.clone(),
            shutdown: self.shutdown.clone(),
        };
        self.awaits(&["normalize"]);
        let settings = config.normalize.clone();
        self.services.spawn(async move {
            ("normalize", hirewire_normalize::run(settings, deps).await.map_err(anyhow::Error::from))
        });
    }

    /// Starts route; other settings may come while it runs.
    pub(crate) fn route(&mut self, config: &Config, reloads: Option<mpsc::Receiver<hirewire_route::Reload>>) {
        let deps = hirewire_route::Deps {
            kafka: config.kafka.with_role("route"),
            names: config.names.clone(),
            registry: config.registry.clone(),
            data_dir: config.data_dir.clone(),
            partitions: config.partitions,
            metrics: self.metrics.clone(),
            health: self.health.clone(),
            reloads,
            shutdown: self.shutdown.clone(),
        };
        self.awaits(&["route"]);
        let settings = config.route.clone();
        self.services
            .spawn(async move { ("route", hirewire_route::run(settings, deps).await.map_err(anyhow::Error::from)) });
    }

    /// Names parts before they start: until they speak for themselves the process is not ready.
    fn awaits(&self, parts: &[&str]) {
        for part in parts {
            let _registered = self.health.component(part);
        }
    }

    /// Every part that this process is to have was started.
    pub(crate) fn started(&mut self) {
        if let Some(starting) = self.starting.take() {
            starting.ready();
        }
    }

    /// Waits until every part, all of which were started, says that it is ready.
    pub(crate) async fn wait_until_ready(&mut self, limit: Duration) -> anyhow::Result<()> {
        self.started();
        let health = self.health.clone();
        let ready = async {
            while !health.waiting().is_empty() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::select! {
            () = ready => Ok(()),
            ended = self.ended() => ended.and_then(|()| anyhow::bail!("stopped before everything was ready")),
            () = tokio::time::sleep(limit) => anyhow::bail!(
                "not ready after {} s; waiting for:\n{}",
                limit.as_secs(),
                self.health.waiting().join("\n")
            ),
        }
    }

    /// The metrics of this process now.
    pub(crate) fn metrics_text(&self) -> anyhow::Result<String> {
        Ok(admin::metrics_text(&self.metrics)?)
    }

    /// Returns when a stop was requested or a part ended by itself, with its reason.
    pub(crate) async fn ended(&mut self) -> anyhow::Result<()> {
        self.started();
        let (name, result) = tokio::select! {
            () = self.shutdown.requested() => return Ok(()),
            Some(ended) = self.services.join_next() => ended.context("a service panicked")?,
            Some(ended) = self.engines.join_next() => ended.context("the broker, registry or admin port panicked")?,
        };
        if self.shutdown.is_requested() {
            return result.with_context(|| format!("{name} stopped"));
        }
        match result {
            Ok(()) => anyhow::bail!("{name} ended although nobody asked it to"),
            Err(error) => Err(error.context(format!("{name} stopped"))),
        }
    }

    /// Stops services, then what they stand on.
    pub(crate) async fn stop(mut self) -> anyhow::Result<()> {
        self.shutdown.request();
        let services = join_all(&mut self.services, &self.shutdown).await;
        self.below.request();
        let engines = join_all(&mut self.engines, &self.shutdown).await;
        services.and(engines)
    }
}

async fn join_all(parts: &mut JoinSet<Ended>, shutdown: &Shutdown) -> anyhow::Result<()> {
    let mut result = Ok(());
    let all = async {
        while let Some(ended) = parts.join_next().await {
            match ended {
                Ok((_, Ok(()))) => {}
                Ok((name, Err(error))) => result = Err(error.context(format!("{name} stopped"))),
                Err(panic) => result = Err(anyhow::Error::from(panic)),
            }
        }
    };
    let drained = tokio::select! {
        drained = tokio::time::timeout(DRAIN_LIMIT, all) => drained.is_ok(),
        () = shutdown.at_once() => {
            parts.abort_all();
            anyhow::bail!("a second signal ended it before it had drained: what was under way is done again at the next start");
        }
    };
    if !drained {
        parts.abort_all();
        anyhow::bail!("not everything stopped within {} s", DRAIN_LIMIT.as_secs());
    }
    result
}

pub(crate) async fn bind(listen: SocketAddr, who: &str) -> anyhow::Result<TcpListener> {
    TcpListener::bind(listen).await.with_context(|| {
        format!("{who} cannot listen on {listen}: stop what listens there, or choose another address (port 0 takes a free one)")
    })
}
