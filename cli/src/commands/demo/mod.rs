//! `hirewire demo`: a company's hiring history, played through the whole pipeline and judged.
//!
//! The simulator knows what truly happened; the ledger and the receivers' logs are held against it by code that
//! shares nothing with the services.

mod folder;
mod processes;
mod readback;
mod report;
mod run;
mod setup;
mod sinks;
mod verdict;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, ValueEnum};

use crate::vendors::Vendors;

/// The vendor whose words the simulator has by itself.
const GREENHOUSE: &str = "greenhouse";

#[derive(Args)]
pub(crate) struct DemoArguments {
    /// Whose API and webhooks the company uses: one of `vendors/` whose `api.yaml` has a section `story`, or greenhouse.
    #[arg(long, default_value = GREENHOUSE)]
    vendor: String,
    /// Applications that are played.
    #[arg(long, default_value_t = 300)]
    applications: usize,
    /// Applications whose history lies in the years before the start.
    #[arg(long, default_value_t = 0)]
    past_applications: usize,
    /// Decides everything that happens.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Keeps the data in this folder. Default: a temporary one.
    #[arg(long)]
    data: Option<PathBuf>,
    /// Goes on with an interrupted demo in --data; shows a finished one again.
    #[arg(long, requires = "data")]
    resume: bool,
    /// Plays on this Kafka instead of the embedded broker; needs --registry.
    #[arg(long, value_name = "HOST:PORT", requires = "registry")]
    brokers: Option<String>,
    /// The schema registry beside --brokers.
    #[arg(long, value_name = "URL", requires = "brokers")]
    registry: Option<String>,
    /// Analytics goes into this PostgreSQL instead of a SQLite file.
    #[arg(long, value_name = "URL")]
    postgres: Option<String>,
    /// Which webhooks and answers go wrong.
    #[arg(long, value_enum, default_value = "fair")]
    faults: Faults,
    /// Each service in a process of its own.
    #[arg(long)]
    processes: bool,
    /// With --processes: so many times a random service is killed (SIGKILL) and started again.
    #[arg(long, default_value_t = 0, requires = "processes")]
    kills: u32,
    /// The outcome as one JSON object in the last line.
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Faults {
    /// Nothing goes wrong.
    None,
    /// Webhooks are dropped, doubled, late and permuted, answers fail; what is lost is still told by a later list or history row.
    Fair,
    /// As fair, and more is dropped than anything tells later; counted as unobservable.
    Unfair,
}

impl DemoArguments {
    pub(crate) async fn run(self, vendors: &Vendors) -> anyhow::Result<ExitCode> {
        run::run(self, vendors).await
    }
}
