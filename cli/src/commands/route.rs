//! `hirewire route`: the service; with `test` or `explain`, what a route does with an event.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use clap::{Args, Subcommand};
use hirewire_route::rehearse::{Outcome, rehearse};

use super::service::ServiceArguments;
use crate::config::{ConfigFile, Secrets};
use crate::out;
use crate::vendors::Vendors;

#[derive(Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct RouteArguments {
    #[command(subcommand)]
    command: Option<RouteCommand>,
    #[command(flatten)]
    service: ServiceArguments,
}

#[derive(Subcommand)]
enum RouteCommand {
    /// Runs a sink's routes on a fixture and prints the exact requests (or rows); sends nothing.
    Test(TestArguments),
}

#[derive(Args)]
struct TestArguments {
    /// The sink's name in the configuration.
    sink: String,
    /// A file as in route/sinks/<system>/fixtures: a change, and what is joined to it.
    fixture: PathBuf,
    #[command(flatten)]
    config: ConfigFile,
}

impl RouteArguments {
    pub(crate) fn is_service(&self) -> bool {
        self.command.is_none()
    }

    pub(crate) async fn run(self, vendors: &Vendors) -> anyhow::Result<ExitCode> {
        match self.command {
            None => self.service.route(vendors).await,
            Some(RouteCommand::Test(arguments)) => arguments.run(vendors),
        }
    }
}

impl TestArguments {
    /// Exit code 1: nothing would be sent.
    fn run(self, vendors: &Vendors) -> anyhow::Result<ExitCode> {
        let config = self.config.read(vendors, Secrets::NONE)?;
        let path = self.fixture.display();
        let text = std::fs::read_to_string(&self.fixture).with_context(|| format!("{path} cannot be read"))?;
        let fixture = serde_json::from_str(&text).with_context(|| format!("{path} is no JSON"))?;
        let mut sent = false;
        for done in rehearse(&config.route, &self.sink, &fixture)? {
            match done.outcome {
                Outcome::Request { method, url, headers, body } => {
                    out::line(&format!("route {}:\n{method} {url}", done.route));
                    headers.iter().for_each(|(name, value)| out::line(&format!("{name}: {value}")));
                    out::line(&format!("\n{}\n", serde_json::to_string_pretty(&body)?));
                    sent = true;
                }
                Outcome::Row { table, values } => {
                    out::line(&format!("route {}: a row of {table}", done.route));
                    out::line(&format!("{}\n", serde_json::to_string_pretty(&values)?));
                    sent = true;
                }
                Outcome::NotSent(why) => out::line(&format!("route {}: not sent: {why}\n", done.route)),
            }
        }
        Ok(if sent { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}
