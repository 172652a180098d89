//! Side-by-side measurements of the `hirewire` binary, run as processes. `README.md` has the commands and the figures.
//!
//! Every measurement prints a small table and one line of JSON on standard output; what it is doing on standard error.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used))]

mod bodies;
mod copy;
mod drain;
mod figures;
mod follow;
mod latency;
mod machine;
mod normalize;
mod pace;
mod place;
mod process;
mod receiver;
mod restore;
mod route;
mod startup;
mod topic;
mod traces;
mod transactions;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

/// Measures what `hirewire` needs and how long it takes.
#[derive(Parser)]
#[command(name = "hirewire-bench")]
struct Arguments {
    #[command(subcommand)]
    which: Which,
}

#[derive(Subcommand)]
enum Which {
    /// Signed webhooks in, until the assessment sink has them; every service a process.
    Latency(latency::LatencyArguments),
    /// `hirewire normalize` alone: a full raw topic drained, then a paced stream; beside it a raw copy.
    Normalize(normalize::NormalizeArguments),
    /// `hirewire route` alone: one slow sink, three quick ones, and three beside a dead one.
    Route(route::RouteArguments),
    /// How long normalize and route read their state again when its disk is lost; beside it a raw read.
    Restore(restore::RestoreArguments),
    /// From `hirewire up` on an empty folder to ready, and to the first row delivered.
    Startup(startup::StartupArguments),
    /// What traces cost normalize: none, a collector that takes them, one that is away, one that never answers.
    Traces(traces::TracesArguments),
    /// Transactions of a few records, one after the other; `bench/broker` runs it on both brokers.
    Transactions(transactions::TransactionsArguments),
    /// The raw copy that `normalize` starts as a process of its own.
    #[command(hide = true)]
    Copy(copy::CopyArguments),
}

/// What all measurements have in common.
#[derive(Args, Clone)]
struct Common {
    /// The `hirewire` binary.
    #[arg(long, default_value = "target/release/hirewire")]
    binary: PathBuf,
    /// A folder for everything that is written; a temporary one without it. Must not exist yet, or be empty.
    #[arg(long)]
    data: Option<PathBuf>,
}

/// Where the topics live.
#[derive(Args, Clone)]
struct Cluster {
    /// A running Kafka; without it the embedded broker is started.
    #[arg(long)]
    brokers: Option<String>,
    /// Of every topic.
    #[arg(long, default_value_t = 4)]
    partitions: i32,
    /// The configuration's `normalize:` section, to compare settings, e.g. "{cache_bytes: 67108864}".
    #[arg(long, default_value = "{}")]
    normalize: String,
    /// Most that a consumer fetches ahead.
    #[arg(long, default_value_t = 2048)]
    prefetch_kib: u32,
}

fn main() -> ExitCode {
    let done = tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(anyhow::Error::from).and_then(
        |runtime| {
            runtime.block_on(async {
                match Arguments::parse().which {
                    Which::Latency(arguments) => arguments.run().await,
                    Which::Normalize(arguments) => arguments.run().await,
                    Which::Route(arguments) => arguments.run().await,
                    Which::Restore(arguments) => arguments.run().await,
                    Which::Startup(arguments) => arguments.run().await,
                    Which::Traces(arguments) => arguments.run().await,
                    Which::Transactions(arguments) => arguments.run().await,
                    Which::Copy(arguments) => arguments.run(),
                }
            })
        },
    );
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            figures::note(&format!("hirewire-bench: {error:#}"));
            ExitCode::from(2)
        }
    }
}
