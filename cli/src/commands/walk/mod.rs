//! `hirewire walk CONNECTION`: one signed webhook through a deployment that runs, seen at every step.
//!
//! The webhook is Greenhouse's own example of a move, with ids that nobody has: a made-up application of the connection's
//! tenant. It is answered, becomes a change in the ledger, and is settled by every sink; the way of each is printed.

mod served;

use std::collections::BTreeSet;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use clap::Args;
use hirewire_kafka::{Admin, Inbound, TableFollower, partition_for};
use hirewire_route::explain::{Standing, explain_record};
use hirewire_schemas::ids;
use hirewire_service::Shutdown;
use hirewire_service::settings::parse_duration;
use jiff::Timestamp;
use serde_json::Value;
use tokio::sync::mpsc;
use uuid::Uuid;

pub(crate) use served::router;

use super::route::desk;
use crate::config::{Config, ConfigFile, Secrets};
use crate::out;
use crate::sample::{EXAMPLE, VENDOR, signature};
use crate::vendors::Vendors;

/// Between two looks at what the sinks have settled.
const PAUSE: Duration = Duration::from_millis(500);

#[derive(Args)]
pub(crate) struct WalkArguments {
    /// A connection of the configuration: Greenhouse, with `webhook`. Give it a tenant of its own; the made-up application
    /// goes wherever routes send this tenant's.
    connection: String,
    #[command(flatten)]
    config: ConfigFile,
    /// Where webhooks are taken; `ingest.listen` if left out.
    #[arg(long, value_name = "URL")]
    webhooks: Option<String>,
    /// The admin port of a `hirewire up` that walks it itself, for whoever does not reach its broker; `embedded.walk` of its
    /// configuration names the connection. No configuration is read here.
    #[arg(long, value_name = "URL", conflicts_with = "webhooks")]
    through: Option<String>,
    /// How long it may take.
    #[arg(long, default_value = "60s", value_parser = duration)]
    within: Duration,
}

fn duration(text: &str) -> Result<Duration, String> {
    parse_duration(text).ok_or_else(|| "a number and a unit, for example 90s".to_owned())
}

impl WalkArguments {
    /// Exit code 1: it did not arrive in time, or became a dead letter.
    pub(crate) async fn run(self, vendors: &Vendors) -> anyhow::Result<ExitCode> {
        let arrived = if let Some(admin) = &self.through {
            served::ask(admin, &self.connection, self.within).await?
        } else {
            let config = self.config.read(vendors, Secrets::NONE)?;
            let trial = Trial::new(&self.connection, &config, vendors)?;
            walk(&config, trial, self.webhooks.as_deref(), self.within, &mut out::line).await?
        };
        Ok(if arrived { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}

/// Follows the trial to its end, and says each step; whether it arrived.
async fn walk(
    config: &Config,
    trial: Trial,
    webhooks: Option<&str>,
    within: Duration,
    say: &mut (dyn FnMut(&str) + Send),
) -> anyhow::Result<bool> {
    let until = Instant::now() + within;
    let ledger = Ledger::open(config, trial.application_key).await?;
    let base = webhooks.map_or_else(|| format!("http://{}", config.ingest.listen), str::to_owned);
    trial.send(&format!("{}/v1/webhooks/{}", base.trim_end_matches('/'), trial.connection)).await?;
    say(&format!("webhook: answered 200, application {}", trial.application_key));
    let changes = ledger.changes(until).await?;
    if changes.is_empty() {
        say("ledger: no stage change in time: look at `hirewire doctor`, and at dead letters by `hirewire dlq list`");
    }
    let mut arrived = !changes.is_empty();
    for change in &changes {
        say(&format!("ledger: {}/{}/{}", change.topic, change.partition, change.offset));
        arrived &= sinks(config, change, until, say).await?;
    }
    Ok(arrived)
}

/// A made-up application.
struct Trial {
    connection: String,
    application_key: Uuid,
    /// Of the delivery.
    id: String,
    body: String,
    signature: String,
}

impl Trial {
    fn new(name: &str, config: &Config, vendors: &Vendors) -> anyhow::Result<Self> {
        let connection = config.connections.iter().find(|connection| connection.ingest.name == name);
        let connection = connection.with_context(|| format!("there is no connection {name} in the configuration"))?;
        ensure!(
            connection.vendor == VENDOR,
            "the connection {name} is not of the vendor {VENDOR}, whose example is sent"
        );
        let inlet = connection.ingest.webhook.as_ref();
        let inlet = inlet.with_context(|| format!("the connection {name} takes no webhooks: give it `webhook`"))?;
        let now = Timestamp::now();
        // Microseconds: nobody at the vendor has such a number, and no two trials have the same.
        let id = now.as_microsecond();
        let (_, example) = vendors.read(VENDOR, EXAMPLE)?;
        let body = made_up(&example, id, now)?;
        let signature = signature(&inlet.first_secret()?, body.as_bytes())?;
        let application_key = ids::canonical_id(&connection.ingest.tenant, name, "Application", &id.to_string());
        Ok(Self { connection: name.to_owned(), application_key, id: format!("walk-{id}"), body, signature })
    }

    async fn send(&self, url: &str) -> anyhow::Result<()> {
        let client = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(10)).build()?;
        let request = client.post(url).header("Signature", format!("sha256 {}", self.signature));
        let request = request.header("Greenhouse-Event-ID", &self.id).header("Content-Type", "application/json");
        let answer = request.body(self.body.clone()).send().await.with_context(|| format!("{url} does not answer"))?;
        let status = answer.status().as_u16();
        match status {
            200 => Ok(()),
            401 => bail!("{url} answered 401: its secret is another than the one of this configuration"),
            404 => bail!("{url} answered 404: whoever listens there does not have this connection"),
            status => bail!("{url} answered {status}: docs/runbooks/HirewireWebhooksRefused.md"),
        }
    }
}

/// The example with another application and candidate, moved now.
fn made_up(example: &str, id: i64, now: Timestamp) -> anyhow::Result<String> {
    let mut body: Value = serde_json::from_str(example)?;
    let application = body.pointer_mut("/payload/application").context("the example has no application")?;
    application["id"] = id.into();
    application["applied_at"] = now.to_string().into();
    application["last_activity_at"] = now.to_string().into();
    application["candidate"]["id"] = id.into();
    Ok(body.to_string())
}

/// The partition of the application's changes, from now on.
struct Ledger {
    changes: mpsc::UnboundedReceiver<Inbound>,
    shutdown: Shutdown,
    follower: TableFollower,
}

impl Ledger {
    async fn open(config: &Config, application: Uuid) -> anyhow::Result<Self> {
        let (kafka, topic) = (config.kafka.with_role("walk"), config.names.stage_change());
        let partition = partition_for(&ids::key(application), config.partitions);
        let (found, changes) = mpsc::unbounded_channel();
        let shutdown = Shutdown::new();
        let stop = shutdown.clone();
        let follower = tokio::task::spawn_blocking(move || {
            let (_, end) = Admin::new(&kafka)?.watermarks(&topic, partition)?;
            let wanted = application.to_string();
            TableFollower::start_partition(&kafka, &topic, partition, end, stop, move |inbound| {
                if inbound.key.as_deref() == Some(wanted.as_bytes()) {
                    let _gone = found.send(inbound).is_err();
                }
            })
        })
        .await??;
        Ok(Self { changes, shutdown, follower })
    }

    /// What the webhook became: that the application is there, and that it moved. Both are one transaction.
    async fn changes(mut self, until: Instant) -> anyhow::Result<Vec<Inbound>> {
        let mut changes = Vec::new();
        let mut wait = until;
        while let Ok(Some(change)) = tokio::time::timeout_at(wait.into(), self.changes.recv()).await {
            changes.push(change);
            wait = Instant::now() + PAUSE;
        }
        self.shutdown.request();
        tokio::task::spawn_blocking(move || drop(self.follower)).await?;
        Ok(changes)
    }
}

/// Waits until every route of every sink has settled the change; whether it arrived, or is not for them.
async fn sinks(
    config: &Config,
    change: &Inbound,
    until: Instant,
    say: &mut (dyn FnMut(&str) + Send),
) -> anyhow::Result<bool> {
    let desk = desk(config, "walk", BTreeSet::new());
    loop {
        let found = explain_record(&config.route, &desk, change).await?.context("the change is no stage change")?;
        let waits = found.routes.iter().any(|fate| fate.standing == Standing::Waits);
        if waits && Instant::now() < until {
            tokio::time::sleep(PAUSE).await;
            continue;
        }
        for fate in &found.routes {
            say(&format!("  sink {}, route {}: {}", fate.sink, fate.route, fate.what));
        }
        return Ok(found.routes.iter().all(|fate| matches!(fate.standing, Standing::Delivered | Standing::NotSent)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trial_is_another_application_of_another_candidate_moved_now() {
        let (_, example) = Vendors::open(None).unwrap().read(VENDOR, EXAMPLE).unwrap();
        let now = Timestamp::from_second(1_800_000_000).unwrap();
        let body: Value = serde_json::from_str(&made_up(&example, 77, now).unwrap()).unwrap();
        let application = &body["payload"]["application"];
        assert_eq!((&application["id"], &application["candidate"]["id"]), (&77.into(), &77.into()));
        assert_eq!(application["applied_at"], "2027-01-15T08:00:00Z");
        assert_eq!(application["last_activity_at"], "2027-01-15T08:00:00Z");
        assert_eq!(body["action"], "candidate_stage_change");
    }
}
