//! `hirewire check`: is the configuration right, and with --connect: does the broker keep its promises.

use std::process::ExitCode;

use clap::Args;

use crate::config::{ConfigFile, Secrets};
use crate::out;
use crate::vendors::Vendors;

#[derive(Args)]
pub(crate) struct CheckArguments {
    #[command(flatten)]
    config: ConfigFile,
    /// Also ask the broker whether it keeps the promises that exactly-once is built on.
    #[arg(long)]
    connect: bool,
}

impl CheckArguments {
    pub(crate) async fn run(self, vendors: &Vendors) -> anyhow::Result<ExitCode> {
        let config = self.config.read(vendors, Secrets::ALL)?;
        out::line(&format!(
            "{}: {} connections, {} sinks",
            self.config.config.display(),
            config.connections.len(),
            config.route.sink_names().len()
        ));
        if !self.connect {
            return Ok(ExitCode::SUCCESS);
        }
        let topic = config.names.full(&format!("hirewire.internal.self-check-{}.v1", uuid::Uuid::new_v4().simple()));
        let broken = hirewire_kafka::self_check(&config.kafka, &topic).await?;
        for promise in &broken {
            out::line(&format!("broker: {promise}"));
        }
        if broken.is_empty() {
            out::line("broker: aborted records hidden, zombies fenced, open transactions held back");
        }
        Ok(if broken.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}
