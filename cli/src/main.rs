//! The hirewire binary: one subcommand per service, the demo, and the tools.
//!
//! Exit codes: 0 done, 1 done and something is wrong (a check failed, a count is not zero), 2 could not be done.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used))]

mod backup;
mod commands;
mod config;
mod out;
mod reload;
mod sample;
mod stack;
mod vendors;

use std::process::ExitCode;

use clap::{Parser, ValueEnum};
use hirewire_service::telemetry;

use commands::Command;

/// Records are decoded on one thread and let go on another, many small values each: the C library's allocator spends much of
/// the time of a busy route on that.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Events of applicant tracking systems as a Kafka stream, with a gap-free ledger of every stage change.
#[derive(Parser)]
#[command(name = "hirewire", version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
    /// What is logged to standard error, in RUST_LOG's form.
    #[arg(long, global = true, env = "HIREWIRE_LOG")]
    log: Option<String>,
    /// How log lines look. Without it: for people at a terminal, JSON elsewhere.
    #[arg(long, global = true, value_enum, env = "HIREWIRE_LOG_FORMAT")]
    log_format: Option<LogFormat>,
    /// A folder that is used instead of the vendors carried in the binary.
    #[arg(long, global = true, env = "HIREWIRE_VENDORS_DIR")]
    vendors_dir: Option<std::path::PathBuf>,
    /// A folder that is used instead of the schemas carried in the binary.
    #[arg(long, global = true, env = "HIREWIRE_SCHEMAS_DIR")]
    schemas_dir: Option<std::path::PathBuf>,
}

#[derive(Clone, Copy, ValueEnum)]
enum LogFormat {
    /// For people.
    Human,
    /// One JSON object a line.
    Json,
}

impl LogFormat {
    fn format(self) -> telemetry::Format {
        match self {
            Self::Human => telemetry::Format::Human,
            Self::Json => telemetry::Format::Json,
        }
    }
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let filter = arguments.log.unwrap_or_else(|| arguments.command.default_log().to_owned());
    telemetry::init(&filter, arguments.log_format.map(LogFormat::format));
    match run(arguments.command, arguments.vendors_dir, arguments.schemas_dir) {
        Ok(code) => code,
        Err(error) => {
            out::error_line(&format!("hirewire: {error:#}"));
            ExitCode::from(2)
        }
    }
}

fn run(
    command: Command,
    vendors_dir: Option<std::path::PathBuf>,
    schemas_dir: Option<std::path::PathBuf>,
) -> anyhow::Result<ExitCode> {
    if let Some(folder) = schemas_dir {
        hirewire_schemas::use_dir(&folder)?;
    }
    let vendors = vendors::Vendors::open(vendors_dir)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let result = runtime.block_on(command.run(vendors));
    // Threads of Kafka clients that wait for a broker that is gone do not hold the process.
    runtime.shutdown_timeout(std::time::Duration::from_secs(2));
    result
}
