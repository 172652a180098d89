//! The subcommands. Each file is one, with its arguments and what it prints.

mod backup;
mod broker;
mod check;
mod clock;
mod demo;
mod dlq;
mod doctor;
mod health;
mod map;
mod migrate;
mod registry;
mod restore;
mod route;
mod service;
mod sim;
mod tail;
mod topics;
mod up;
mod vendor;
mod walk;

use std::process::ExitCode;

use clap::Subcommand;

use crate::vendors::Vendors;

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Plays the hiring history of a company through the whole pipeline and checks the outcome.
    Demo(demo::DemoArguments),
    /// Starts everything in one process and stays.
    Up(up::UpArguments),
    /// Receives webhooks and polls APIs.
    Ingest(service::IngestArguments),
    /// Maps raw events to canonical topics and keeps the ledger of stage changes.
    Normalize(service::ServiceArguments),
    /// Delivers stage changes to sinks; `route test` shows what would be sent, `route explain` why an event was or was not, `route docs` what systems take.
    Route(route::RouteArguments),
    /// The embedded broker alone.
    Broker(broker::BrokerArguments),
    /// The embedded schema registry alone.
    Registry(registry::RegistryArguments),
    /// Copies embedded data to another folder, also while it is in use.
    Backup(backup::BackupArguments),
    /// Makes a new data folder of a backup; with --verify only reads it.
    Restore(restore::RestoreArguments),
    /// Moves an embedded deployment to a Kafka: records in their order, registry ids, positions of groups.
    Migrate(migrate::MigrateArguments),
    /// Creates and checks the topics of a deployment.
    #[command(subcommand)]
    Topics(topics::TopicsCommand),
    /// Checks a configuration; with --connect also the broker.
    Check(check::CheckArguments),
    /// Says what is wrong with a deployment, and what to do.
    Doctor(doctor::DoctorArguments),
    /// Sends a signed webhook through a deployment that runs, and waits for the ledger and every sink.
    Walk(walk::WalkArguments),
    /// Asks a running process whether it is ready.
    Health(health::HealthArguments),
    /// Maps one vendor file to canonical records.
    Map(map::MapArguments),
    /// Prints a topic's records as JSON lines.
    Tail(tail::TailArguments),
    /// Lists, shows, replays and purges what could not be processed or delivered.
    #[command(subcommand)]
    Dlq(dlq::DlqCommand),
    /// Checks and tests the folder of a vendor.
    #[command(subcommand)]
    Vendor(vendor::VendorCommand),
    /// An offline simulator of a vendor.
    #[command(subcommand)]
    Sim(sim::SimCommand),
}

impl Command {
    /// What is logged when nobody says otherwise: tools are quiet, services are not.
    pub(crate) fn default_log(&self) -> &'static str {
        match self {
            Self::Ingest(_) | Self::Normalize(_) | Self::Broker(_) | Self::Registry(_) | Self::Up(_) | Self::Sim(_) => {
                "info"
            }
            Self::Route(arguments) if arguments.is_service() => "info",
            Self::Route(_) => "error",
            // It brings about what is logged, and says itself what is wrong.
            Self::Vendor(vendor::VendorCommand::Prove(_)) => "off",
            Self::Demo(_)
            | Self::Backup(_)
            | Self::Restore(_)
            | Self::Migrate(_)
            | Self::Topics(_)
            | Self::Check(_)
            | Self::Doctor(_)
            | Self::Health(_)
            | Self::Map(_)
            | Self::Tail(_)
            | Self::Dlq(_)
            | Self::Walk(_)
            | Self::Vendor(_) => "error",
        }
    }

    pub(crate) async fn run(self, vendors: Vendors) -> anyhow::Result<ExitCode> {
        match self {
            Self::Demo(arguments) => arguments.run(&vendors).await,
            Self::Up(arguments) => arguments.run(&vendors).await,
            Self::Ingest(arguments) => arguments.run(&vendors).await,
            Self::Normalize(arguments) => arguments.normalize(&vendors).await,
            Self::Route(arguments) => arguments.run(&vendors).await,
            Self::Broker(arguments) => arguments.run().await,
            Self::Registry(arguments) => arguments.run().await,
            Self::Backup(arguments) => tokio::task::block_in_place(|| arguments.run()),
            Self::Restore(arguments) => tokio::task::block_in_place(|| arguments.run()),
            Self::Migrate(arguments) => Box::pin(arguments.run(&vendors)).await,
            Self::Topics(command) => command.run(&vendors).await,
            Self::Check(arguments) => arguments.run(&vendors).await,
            Self::Doctor(arguments) => Box::pin(arguments.run(&vendors)).await,
            Self::Walk(arguments) => Box::pin(arguments.run(&vendors)).await,
            Self::Health(arguments) => arguments.run(&vendors).await,
            Self::Map(arguments) => arguments.run(&vendors),
            Self::Tail(arguments) => arguments.run(&vendors).await,
            Self::Dlq(command) => command.run(&vendors).await,
            Self::Vendor(command) => command.run(&vendors).await,
            Self::Sim(command) => command.run(&vendors).await,
        }
    }
}
