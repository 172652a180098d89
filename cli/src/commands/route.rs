//! `hirewire route`: the service; with `test` or `explain`, what a route does with an event; with `docs`, what systems take.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use clap::{Args, Subcommand};
use hirewire_route::explain::{Desk, explain};
use hirewire_route::reference::pages;
use hirewire_route::rehearse::{Exchange, Outcome, rehearse};

use super::service::ServiceArguments;
use crate::config::{Config, ConfigFile, Secrets};
use crate::out;
use crate::vendors::Vendors;

#[derive(Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct RouteArguments {
    #[command(subcommand)]
    command: Option<RouteCommand>,
    #[command(flatten)]
    service: ServiceArguments,
    /// Delivers to these sinks of the configuration alone; other processes deliver to the others.
    #[arg(long, value_name = "NAME,…", value_delimiter = ',')]
    sinks: Vec<String>,
}

#[derive(Subcommand)]
enum RouteCommand {
    /// Runs a sink's routes on a fixture and prints the exact requests, records or rows; sends nothing.
    Test(TestArguments),
    /// Says for each sink why an event did or did not go there.
    Explain(ExplainArguments),
    /// Prints the reference pages of systems, made of their folders; with --out, writes them.
    Docs(DocsArguments),
}

#[derive(Args)]
struct DocsArguments {
    /// A folder of systems, as `route.sinks_dir` [default: those of the binary].
    folder: Option<PathBuf>,
    /// A folder that gets a page for each system, `<system>.md`, and `README.md`, which leads to them.
    #[arg(long)]
    out: Option<PathBuf>,
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
            None => self.service.route(&self.sinks, vendors).await,
            Some(RouteCommand::Test(arguments)) => arguments.run(vendors),
            Some(RouteCommand::Explain(arguments)) => arguments.run(vendors).await,
            Some(RouteCommand::Docs(arguments)) => arguments.run(),
        }
    }
}

impl DocsArguments {
    fn run(self) -> anyhow::Result<ExitCode> {
        for page in pages(self.folder.as_deref())? {
            let Some(out) = &self.out else {
                out::line(page.text.trim_end());
                continue;
            };
            let path = out.join(&page.file);
            let written = std::fs::create_dir_all(out).and_then(|()| std::fs::write(&path, page.text));
            written.with_context(|| format!("{} cannot be written", path.display()))?;
        }
        Ok(ExitCode::SUCCESS)
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
                Outcome::Requests(exchanges) => {
                    for Exchange { step, method, url, headers, body } in exchanges {
                        let step = step.map_or_else(String::new, |step| format!(", step {step}"));
                        out::line(&format!("route {}{step}:\n{method} {url}", done.route));
                        headers.iter().for_each(|(name, value)| out::line(&format!("{name}: {value}")));
                        let body = match body.as_str() {
                            Some(text) => text.to_owned(),
                            None => serde_json::to_string_pretty(&body)?,
                        };
                        out::line(&format!("\n{body}\n"));
                    }
                    sent = true;
                }
                Outcome::Record { topic, key, headers, value } => {
                    out::line(&format!("route {}: a record of {topic}, key {key}", done.route));
                    headers.iter().for_each(|(name, value)| out::line(&format!("{name}: {value}")));
                    out::line(&format!("\n{}\n", serde_json::to_string_pretty(&value)?));
                    sent = true;
                }
                Outcome::Mail(mail) => {
                    out::line(&format!("route {}: a mail\n{mail}\n", done.route));
                    sent = true;
                }
                Outcome::Line { folder, value } => {
                    out::line(&format!("route {}: a line of {folder}\n{value}\n", done.route));
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

/// Why an event did or did not go to each sink.
#[derive(Args)]
struct ExplainArguments {
    /// The event: `meta.event_id` of a record.
    event_id: String,
    /// Looks at records of this key alone: the application's id, where the event is a stage change.
    #[arg(long)]
    key: Option<String>,
    /// The admin port of a running route, asked for which sinks are held; `admin.listen` if left out.
    #[arg(long, value_name = "IP:PORT")]
    admin: Option<SocketAddr>,
    #[command(flatten)]
    config: ConfigFile,
}

impl ExplainArguments {
    /// Exit code 1: there is no such event.
    async fn run(self, vendors: &Vendors) -> anyhow::Result<ExitCode> {
        let config = self.config.read(vendors, Secrets::NONE)?;
        let held = held(self.admin.unwrap_or(config.admin_listen)).await;
        let desk = desk(&config, "explain", held.clone().unwrap_or_default());
        let Some(found) = explain(&config.route, &desk, &self.event_id, self.key.as_deref()).await? else {
            out::line(&format!("no topic that a route reads has the event {}", self.event_id));
            return Ok(ExitCode::FAILURE);
        };
        out::line(&format!("{} of key {}, at {}", found.entity.kebab(), found.key, found.place));
        for fate in found.routes {
            out::line(&format!("sink {}, route {}: {}", fate.sink, fate.route, fate.what));
        }
        if held.is_none() {
            out::line("(no route answers at the admin port: whether a sink is held is not known; --admin IP:PORT)");
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// Where to look for what became of an event.
pub(super) fn desk(config: &Config, role: &str, held: BTreeSet<String>) -> Desk {
    Desk {
        kafka: config.kafka.with_role(role),
        names: config.names.clone(),
        registry: config.registry.clone(),
        partitions: config.partitions,
        data_dir: config.data_dir.clone(),
        held,
    }
}

/// Which sinks a running route holds; `None` when nobody answers.
async fn held(admin: SocketAddr) -> Option<BTreeSet<String>> {
    let client = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(2)).build().ok()?;
    let answer = client.get(format!("http://{admin}/metrics")).send().await.ok()?;
    let text = answer.text().await.ok()?;
    let held = text.lines().filter_map(|line| {
        let (labels, value) = line.strip_prefix("hirewire_route_sink_held{")?.split_once('}')?;
        let sink = labels.split("sink=\"").nth(1)?.split('"').next()?;
        (value.trim() != "0").then(|| sink.to_owned())
    });
    text.contains("hirewire_route_sink_held").then(|| held.collect())
}
