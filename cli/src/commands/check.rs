//! `hirewire check`: is the configuration right, and with --connect: does the broker keep its promises, and does its clock agree with ours.

use std::process::ExitCode;

use clap::Args;

use crate::commands::clock;
use crate::config::{ConfigFile, Secrets};
use crate::out;
use crate::vendors::Vendors;

#[derive(Args)]
pub(crate) struct CheckArguments {
    #[command(flatten)]
    config: ConfigFile,
    /// Also ask the broker whether it keeps the promises that exactly-once is built on, and what time it has.
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
        let checked = hirewire_kafka::self_check(&config.kafka, &topic).await?;
        for promise in &checked.broken {
            out::line(&format!("broker: {promise}"));
        }
        if checked.broken.is_empty() {
            out::line("broker: aborted records hidden, zombies fenced, open transactions held back");
        }
        let ahead_secs = checked.clock_ahead_ms / 1_000;
        out::line(&format!("broker: its clock {}", clock::compared(ahead_secs)));
        let well = checked.broken.is_empty() && ahead_secs.abs() <= clock::FAILS_SECS;
        Ok(if well { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}
