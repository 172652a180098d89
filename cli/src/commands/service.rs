//! `hirewire ingest|normalize|route`: one service, its admin port, until a signal.

use std::net::SocketAddr;
use std::process::ExitCode;

use clap::{Args, ValueEnum};
use tokio::sync::mpsc;

use crate::config::{ConfigFile, Secrets};
use crate::reload;
use crate::stack::Stack;
use crate::vendors::Vendors;

#[derive(Args)]
pub(crate) struct ServiceArguments {
    #[command(flatten)]
    config: ConfigFile,
    /// Where /metrics, /livez and /readyz listen, instead of `admin.listen`.
    #[arg(long, value_name = "IP:PORT")]
    admin: Option<SocketAddr>,
}

#[derive(Args)]
pub(crate) struct IngestArguments {
    #[command(flatten)]
    service: ServiceArguments,
    /// What this process does of ingest.
    #[arg(long, value_enum, default_value = "all")]
    role: Role,
}

#[derive(Clone, Copy, ValueEnum)]
enum Role {
    /// Receives webhooks.
    Webhook,
    /// Polls APIs.
    Poll,
    /// Both.
    All,
}

impl IngestArguments {
    pub(crate) async fn run(self, vendors: &Vendors) -> anyhow::Result<ExitCode> {
        let role = match self.role {
            Role::Webhook => hirewire_ingest::Role::Webhook,
            Role::Poll => hirewire_ingest::Role::Poll,
            Role::All => hirewire_ingest::Role::All,
        };
        let secrets = Secrets { ingest: Some(role), ..Secrets::NONE };
        let config = self.service.config.read(vendors, secrets)?;
        let mut stack = Stack::until_signal()?;
        stack.admin(self.service.admin.unwrap_or(config.admin_listen), &config.data_dir).await?;
        stack.traces(&config)?;
        stack.ingest(&config, role).await?;
        until_stopped(stack).await
    }
}

impl ServiceArguments {
    pub(crate) async fn normalize(self, vendors: &Vendors) -> anyhow::Result<ExitCode> {
        let config = self.config.read(vendors, Secrets::NONE)?;
        let mut stack = Stack::until_signal()?;
        stack.admin(self.admin.unwrap_or(config.admin_listen), &config.data_dir).await?;
        stack.traces(&config)?;
        stack.normalize(&config, vendors);
        until_stopped(stack).await
    }

    /// `sinks`: those of this process; none: all.
    pub(crate) async fn route(self, sinks: &[String], vendors: &Vendors) -> anyhow::Result<ExitCode> {
        let watch = reload::Watch::begin(&self.config, sinks);
        let config = watch.read(vendors)?;
        let mut stack = Stack::until_signal()?;
        stack.admin(self.admin.unwrap_or(config.admin_listen), &config.data_dir).await?;
        stack.traces(&config)?;
        let (sender, reloads) = mpsc::channel(1);
        stack.route(&config, Some(reloads));
        tokio::select! {
            ended = until_stopped(stack) => ended,
            refused = watch.run(vendors, &sender) => match refused? {},
        }
    }
}

/// Runs until a stop is asked for or a part fails, then stops in order.
pub(crate) async fn until_stopped(mut stack: Stack) -> anyhow::Result<ExitCode> {
    let ended = stack.ended().await;
    let stopped = stack.stop().await;
    ended.and(stopped)?;
    Ok(ExitCode::SUCCESS)
}
