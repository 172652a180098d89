//! `hirewire registry`: the embedded schema registry alone.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use crate::commands::service::until_stopped;
use crate::out;
use crate::stack::Stack;

#[derive(Args)]
pub(crate) struct RegistryArguments {
    /// Where registry clients connect.
    #[arg(long, default_value = "127.0.0.1:8081")]
    listen: SocketAddr,
    /// Where everything is kept.
    #[arg(long, default_value = "hirewire-data")]
    data: PathBuf,
    /// Where /metrics, /livez and /readyz listen; none without it.
    #[arg(long)]
    admin: Option<SocketAddr>,
}

impl RegistryArguments {
    pub(crate) async fn run(self) -> anyhow::Result<ExitCode> {
        let mut stack = Stack::until_signal()?;
        let address = stack.registry(self.listen, &self.data).await?;
        if let Some(admin) = self.admin {
            stack.admin(admin, &self.data).await?;
        }
        out::line(&format!("registry on http://{address}"));
        until_stopped(stack).await
    }
}
