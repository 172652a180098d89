//! `hirewire sim greenhouse`: the offline vendor alone, to point a deployment at.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Subcommand};
use hirewire_service::Shutdown;
use hirewire_sim::{Scenario, SimSettings, Simulator};

use crate::out;
use crate::vendors::Vendors;

#[derive(Subcommand)]
pub(crate) enum SimCommand {
    /// Greenhouse: token endpoint, Harvest v3 lists, signed webhooks; and the receiving systems.
    Greenhouse(GreenhouseArguments),
}

#[derive(Args)]
pub(crate) struct GreenhouseArguments {
    /// Where its history is kept; a second start goes on with it.
    #[arg(long, default_value = "hirewire-sim")]
    data: PathBuf,
    #[arg(long, default_value_t = 300)]
    applications: usize,
    /// Applications whose history lies in the years before the start.
    #[arg(long, default_value_t = 0)]
    past_applications: usize,
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Where the vendor's API listens.
    #[arg(long, default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    /// Where the receiving systems listen.
    #[arg(long, default_value = "127.0.0.1:0")]
    receivers: SocketAddr,
    /// Where webhooks go; without it the vendor waits.
    #[arg(long)]
    webhook_url: Option<String>,
}

impl SimCommand {
    pub(crate) async fn run(self, _vendors: &Vendors) -> anyhow::Result<ExitCode> {
        let Self::Greenhouse(arguments) = self;
        let mut settings = SimSettings::local(arguments.data, arguments.seed, arguments.applications);
        settings.scenario = Scenario { past_applications: arguments.past_applications, ..settings.scenario };
        settings.api_listen = arguments.listen;
        settings.receivers_listen = arguments.receivers;
        settings.webhook_url = arguments.webhook_url;
        // Also on SIGTERM: as the first process of a container it would otherwise be deaf to it.
        let shutdown = Shutdown::new();
        shutdown.on_signal()?;
        let running = Simulator::start(settings).await?;
        out::line(&format!("API             {}", running.access.api_url));
        out::line(&format!("token           {}", running.access.token_url));
        out::line(&format!("client id       {}", running.access.client_id));
        out::line(&format!("client secret   {}", running.access.client_secret));
        out::line(&format!("webhook secret  {}", running.webhook_secret));
        for receiver in &running.receivers {
            out::line(&format!("{:<15} {}  {}", receiver.name, receiver.url, receiver.secret));
        }
        running.play()?;
        let mut told = 0;
        loop {
            tokio::select! {
                () = shutdown.requested() => break,
                () = tokio::time::sleep(Duration::from_secs(1)) => {}
            }
            let progress = running.progress()?;
            if progress.played != told {
                told = progress.played;
                tracing::info!(
                    played = progress.played,
                    total = progress.total,
                    outstanding = progress.outstanding,
                    "playing"
                );
            }
        }
        tokio::task::block_in_place(|| running.stop());
        Ok(ExitCode::SUCCESS)
    }
}
