//! `hirewire broker`: the embedded broker alone.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use crate::commands::service::until_stopped;
use crate::out;
use crate::stack::Stack;

#[derive(Args)]
pub(crate) struct BrokerArguments {
    /// Where Kafka clients connect.
    #[arg(long, default_value = "127.0.0.1:9092")]
    listen: SocketAddr,
    /// Where everything is kept.
    #[arg(long, default_value = "hirewire-data")]
    data: PathBuf,
    /// Where /metrics, /livez and /readyz listen; none without it.
    #[arg(long)]
    admin: Option<SocketAddr>,
}

impl BrokerArguments {
    pub(crate) async fn run(self) -> anyhow::Result<ExitCode> {
        let mut stack = Stack::until_signal()?;
        let address = stack.broker(self.listen, &self.data).await?;
        if let Some(admin) = self.admin {
            stack.admin(admin).await?;
        }
        out::line(&format!("broker on {address}"));
        until_stopped(stack).await
    }
}
