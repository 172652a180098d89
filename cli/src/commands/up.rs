//! `hirewire up`: everything in one process, until a signal.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use clap::Args;
use hirewire_ingest::Role;

use crate::commands::service::until_stopped;
use crate::commands::{topics, walk};
use crate::config::{Config, ConfigFile, Secrets};
use crate::out;
use crate::sample::Sample;
use crate::stack::Stack;
use crate::vendors::Vendors;

#[derive(Args)]
pub(crate) struct UpArguments {
    /// The configuration; without it a sample is written into the data folder and used.
    #[arg(long)]
    config: Option<PathBuf>,
    /// Where everything is kept.
    #[arg(long, default_value = "hirewire-data")]
    data: PathBuf,
}

impl UpArguments {
    pub(crate) async fn run(self, vendors: &Vendors) -> anyhow::Result<ExitCode> {
        let (config, sample) = match self.config {
            Some(config) => (ConfigFile { config }.read(vendors, Secrets::ALL)?, None),
            None => {
                let sample = Sample::write(&self.data, vendors)?;
                (ConfigFile { config: sample.config.clone() }.read(vendors, Secrets::ALL)?, Some(sample))
            }
        };
        let config = Arc::new(config);
        let mut stack = Stack::until_signal()?;
        let shutdown = stack.shutdown.clone();
        let started = tokio::select! {
            biased;
            () = shutdown.requested() => None,
            started = start_and_wait(&mut stack, &config, vendors) => match started {
                // What a stop cuts off on the way has not failed.
                Err(_) if shutdown.is_requested() => None,
                started => Some(started?),
            },
        };
        if let Some(listening) = started {
            out::line(&listening.describe(&config));
            if let Some(sample) = sample {
                out::line(&sample.what_next(listening.webhooks, &listening.broker, &listening.registry)?);
            }
        }
        until_stopped(stack).await
    }
}

/// Where the parts listen.
struct Listening {
    broker: String,
    registry: String,
    webhooks: SocketAddr,
    admin: SocketAddr,
}

impl Listening {
    fn describe(&self, config: &Config) -> String {
        let mut lines = Vec::new();
        for connection in &config.connections {
            lines.push(format!("webhooks   http://{}/v1/webhooks/{}", self.webhooks, connection.ingest.name));
        }
        lines.push(format!("Kafka      {}", self.broker));
        lines.push(format!("registry   {}", self.registry));
        lines.push(format!("admin      http://{}/metrics  /livez  /readyz", self.admin));
        lines.push(format!("data       {}", config.data_dir.display()));
        lines.join("\n")
    }
}

async fn start_and_wait(stack: &mut Stack, config: &Arc<Config>, vendors: &Vendors) -> anyhow::Result<Listening> {
    let listening = start(stack, config, vendors).await?;
    stack.wait_until_ready(Duration::from_secs(60)).await?;
    Ok(listening)
}

/// Starts what the configuration says: embedded parts, topics, services.
async fn start(stack: &mut Stack, config: &Arc<Config>, vendors: &Vendors) -> anyhow::Result<Listening> {
    std::fs::create_dir_all(&config.data_dir)
        .with_context(|| format!("cannot create {}", config.data_dir.display()))?;
    if let Some(listen) = config.embedded.broker {
        stack.broker(listen, &config.data_dir, |_| ()).await?;
    }
    if let Some(listen) = config.embedded.registry {
        stack.registry(listen, &config.data_dir, Ok).await?;
    }
    stack.traces(config)?;
    let walks = walk::router(config, vendors, stack.shutdown.clone());
    let admin = stack.admin_with(config.admin_listen, &config.data_dir, walks).await?;
    topics::apply(&config.kafka, &topics::Wanted::of(config, vendors), true).await?;
    let webhooks = stack.ingest(config, Role::All).await?.context("ingest takes no webhooks")?;
    stack.normalize(config, vendors);
    stack.route(config, None);
    Ok(Listening {
        broker: config.kafka.bootstrap_servers().to_owned(),
        registry: config.registry.url().to_owned(),
        webhooks,
        admin,
    })
}
