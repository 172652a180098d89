//! One demo from start to verdict.

use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::net::SocketAddr;
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use hirewire_ingest::Role;
use hirewire_kafka::Admin;
use hirewire_registry::Codec;
use hirewire_schemas::topics::table;
use hirewire_service::{Shutdown, free_address};
use hirewire_sim::{Running, Scenario, SimSettings, Simulator};

use super::folder::{Folder, Outcome, Plan};
use super::processes::Processes;
use super::readback::Readback;
use super::setup::{self, Account, Place};
use super::{DemoArguments, Faults, GREENHOUSE, report, sinks, verdict};
use crate::commands::topics::{self, Wanted};
use crate::config::{Config, ConfigFile, Secrets};
use crate::out;
use crate::stack::Stack;
use crate::vendors::Vendors;

pub(super) async fn run(arguments: DemoArguments, vendors: &Vendors) -> anyhow::Result<ExitCode> {
    let folder = match &arguments.data {
        Some(path) => Folder::kept(path)?,
        None => Folder::temporary()?,
    };
    if let (true, Some(outcome)) = (arguments.resume, folder.outcome()) {
        return report::print(&outcome, arguments.json);
    }
    let plan = plan(&arguments, &folder)?;
    let outcome = play(&arguments, &plan, &folder, vendors).await?;
    folder.finish(&outcome)?;
    report::print(&outcome, arguments.json)
}

/// The plan of the folder, if it is to be gone on with, else a new one.
fn plan(arguments: &DemoArguments, folder: &Folder) -> anyhow::Result<Plan> {
    if let Some(plan) = folder.plan() {
        anyhow::ensure!(
            arguments.resume,
            "{} holds a demo already: go on with it by --resume, or choose another folder",
            folder.path().display()
        );
        return Ok(plan);
    }
    let foreign = arguments.brokers.is_some();
    let plan = Plan {
        vendor: arguments.vendor.clone(),
        seed: arguments.seed,
        applications: arguments.applications,
        past_applications: arguments.past_applications,
        topic_prefix: if foreign { format!("hirewire-demo-{}.", short_id()) } else { String::new() },
        started_ms: now_ms()?,
    };
    folder.begin(&plan)?;
    Ok(plan)
}

/// Eight random hexadecimal digits.
fn short_id() -> String {
    uuid::Uuid::new_v4().simple().to_string().chars().take(8).collect()
}

fn now_ms() -> anyhow::Result<i64> {
    Ok(i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis())?)
}

async fn play(arguments: &DemoArguments, plan: &Plan, folder: &Folder, vendors: &Vendors) -> anyhow::Result<Outcome> {
    let interrupt = Shutdown::new();
    interrupt.on_signal()?;
    let simulator = simulator(arguments, plan, folder.path(), vendors).await?;
    let mut stack = Stack::default();
    let (brokers, registry) = match (&arguments.brokers, &arguments.registry) {
        (Some(brokers), Some(registry)) => (brokers.clone(), registry.clone()),
        _ => {
            let any = SocketAddr::from(([127, 0, 0, 1], 0));
            let broker = stack.broker(any, folder.path(), |_| ()).await?;
            let registry = stack.registry(any, folder.path(), Ok).await?;
            (broker.to_string(), format!("http://{registry}"))
        }
    };
    let place = Place {
        brokers: &brokers,
        registry: registry.trim_end_matches('/'),
        prefix: &plan.topic_prefix,
        // Few: a demo on somebody's Kafka shall not make a thousand partitions there.
        partitions: table().partitions_embedded,
        webhooks: free_address()?,
        postgres: arguments.postgres.as_deref(),
    };
    let account = Account::of(&plan.vendor, vendors)?;
    let config_file = setup::write(folder.path(), &place, &account, &simulator, &BTreeMap::new())?;
    let read = || ConfigFile { config: config_file.clone() }.read(vendors, Secrets::ALL);
    let not_applicable = sinks::not_applicable(&read()?);
    setup::write(folder.path(), &place, &account, &simulator, &not_applicable)?;
    let config = read()?;
    let mut demo = Demo {
        plan,
        simulator,
        stack,
        processes: None,
        config: &config,
        arguments,
        last_line: Instant::now(),
        folder: folder.path(),
        not_applicable,
    };
    let played = tokio::select! {
        played = demo.play(&config_file, vendors) => played,
        () = interrupt.requested() => Err(anyhow::anyhow!("interrupted; a demo in a folder (--data DIR) goes on with --resume")),
    };
    let ended = demo.end().await;
    // What failed in a folder may be gone on with.
    let removed = if !plan.topic_prefix.is_empty() && (played.is_ok() || arguments.data.is_none()) {
        remove(&config, &plan.topic_prefix).await
    } else {
        Ok(())
    };
    let outcome = played?;
    ended?;
    if let Err(error) = removed {
        out::error_line(&format!(
            "topics, groups and subjects that begin with {} could not all be removed from {brokers}: {error:#}",
            plan.topic_prefix
        ));
    }
    Ok(outcome)
}

async fn simulator(
    arguments: &DemoArguments,
    plan: &Plan,
    folder: &Path,
    vendors: &Vendors,
) -> anyhow::Result<Running> {
    let mut scenario = Scenario::new(plan.seed, plan.applications);
    scenario.past_applications = plan.past_applications;
    scenario.faults = match arguments.faults {
        Faults::None => hirewire_sim::Faults::none(),
        Faults::Fair => hirewire_sim::Faults::fair(),
        Faults::Unfair => hirewire_sim::Faults::unfair(),
    };
    let mut settings = SimSettings::local(folder.join("simulator"), plan.seed, plan.applications);
    settings.scenario = scenario;
    if plan.vendor != GREENHOUSE {
        settings.vendor = Some(vendors.on_disk(&plan.vendor, &folder.join("vendors"))?);
    }
    Ok(Simulator::start(settings).await?)
}

/// A demo that plays.
struct Demo<'a> {
    plan: &'a Plan,
    simulator: Running,
    stack: Stack,
    processes: Option<Processes>,
    config: &'a Config,
    arguments: &'a DemoArguments,
    last_line: Instant,
    folder: &'a Path,
    /// Sinks that the vendor cannot feed, and why.
    not_applicable: BTreeMap<String, String>,
}

/// After a faultless verdict nothing may change for this long: a late double would still show.
const CALM: Duration = Duration::from_secs(6);
/// The services may take this long to start.
const START: Duration = Duration::from_secs(120);
/// A verdict with faults is final when nothing moved for this long. A Kafka on a busy machine can pause for half of it.
const PATIENCE: Duration = Duration::from_secs(60);

impl Demo<'_> {
    /// Makes the topics, starts the services, lets the company live, and watches until the verdict is final.
    async fn play(&mut self, config_file: &Path, vendors: &Vendors) -> anyhow::Result<Outcome> {
        let config = self.config;
        topics::apply(&config.kafka, &Wanted::of(config, vendors), true).await?;
        let (sinks, vendor_names) = (config.route.sink_names(), vendors.names());
        let mut readback =
            Readback::start(&config.kafka, &config.names, &vendor_names, &sinks, &config.registry).await?;
        let played = self.live(&mut readback, config_file, vendors).await;
        readback.stop().await?;
        played
    }

    /// The same, with somebody who reads what comes out.
    async fn live(
        &mut self,
        readback: &mut Readback,
        config_file: &Path,
        vendors: &Vendors,
    ) -> anyhow::Result<Outcome> {
        let (config, arguments) = (self.config, self.arguments);
        if arguments.processes {
            let processes = Processes::start(config_file, self.plan.seed, arguments.kills)?;
            self.processes.insert(processes).wait_until_ready(START).await?;
        } else {
            self.stack.admin(config.admin_listen, &config.data_dir).await?;
            self.stack.ingest(config, Role::All).await?;
            self.stack.normalize(config, vendors);
            self.stack.route(config, None);
            self.stack.wait_until_ready(START).await?;
        }
        let webhooks = format!("http://{}/v1/webhooks/{}", config.ingest.listen, setup::connection(&self.plan.vendor));
        self.simulator.set_webhook_url(&webhooks);
        self.wait_for_first_load().await?;
        self.simulator.play()?;
        self.watch(readback).await
    }

    /// The company's day begins when its account was read once: what the first load alone tells moves no sink.
    async fn wait_for_first_load(&mut self) -> anyhow::Result<()> {
        let mut last_rows = 0;
        let mut still_since = Instant::now();
        loop {
            let listed = self.simulator.polled_until();
            let unread: Vec<String> =
                self.simulator.lists_that_tell().into_iter().filter(|list| !listed.contains_key(list)).collect();
            if unread.is_empty() {
                return Ok(());
            }
            let rows = self.simulator.progress()?.rows_served;
            if rows != last_rows {
                (last_rows, still_since) = (rows, Instant::now());
            }
            anyhow::ensure!(
                still_since.elapsed() < PATIENCE,
                "the account was not read: no list was asked for in {} s, and {} never was; the log says what ingest waits for",
                PATIENCE.as_secs(),
                unread.join(", ")
            );
            tokio::select! {
                ended = self.stack.ended() => ended?,
                () = tokio::time::sleep(Duration::from_millis(50)) => {}
            }
            if let Some(processes) = &mut self.processes {
                processes.tend().await?;
            }
        }
    }

    /// Until everything was played and delivered, or nothing moves any more.
    async fn watch(&mut self, readback: &mut Readback) -> anyhow::Result<Outcome> {
        let mut last_state = (0, 0);
        let mut still_since = Instant::now();
        let mut good_since: Option<Instant> = None;
        loop {
            tokio::select! {
                ended = self.stack.ended() => ended?,
                () = tokio::time::sleep(Duration::from_millis(250)) => {}
            }
            if let Some(processes) = &mut self.processes {
                processes.tend().await?;
            }
            anyhow::ensure!(!self.simulator.failed(), "the simulator can no longer write its file");
            self.show_progress(readback)?;
            let killed_all = self.processes.as_ref().is_none_or(Processes::all_killed);
            if !self.simulator.finished()? || !killed_all {
                still_since = Instant::now();
                continue;
            }
            let elapsed = Duration::from_millis(u64::try_from(now_ms()? - self.plan.started_ms)?);
            let postgres = self.arguments.postgres.as_deref();
            let (without, kept) = (&self.not_applicable, (self.folder, postgres));
            let verdict = verdict::of(self.plan, &self.simulator, readback, without, kept, elapsed).await?;
            let state = (readback.counts().records, self.simulator.received()?.len());
            if state != last_state {
                (last_state, still_since) = (state, Instant::now());
            }
            let good = verdict.is_good() && self.simulator.polled_past_the_end(&self.simulator.lists_that_tell());
            let calm = if good { good_since.get_or_insert_with(Instant::now).elapsed() > CALM } else { false };
            if !good {
                good_since = None;
            }
            if calm || (!good && still_since.elapsed() > PATIENCE) {
                return Ok(Outcome { summary: verdict.summary, findings: verdict.findings, kept: self.kept() });
            }
        }
    }

    /// What analytics went into, and where to look at it.
    fn kept(&self) -> String {
        let into = match &self.arguments.postgres {
            Some(_) => "analytics went into PostgreSQL, schema hirewire".to_owned(),
            None => "analytics went into a SQLite file (no --postgres was given)".to_owned(),
        };
        match &self.arguments.data {
            Some(_) => format!("{into}\ndata is kept in {}", self.folder.display()),
            None => format!("{into}\nthe data was temporary: --data DIR keeps it"),
        }
    }

    fn show_progress(&mut self, readback: &Readback) -> anyhow::Result<()> {
        let terminal = std::io::stderr().is_terminal();
        if self.last_line.elapsed() < Duration::from_secs(if terminal { 1 } else { 5 }) {
            return Ok(());
        }
        self.last_line = Instant::now();
        let progress = self.simulator.progress()?;
        let counts = readback.counts();
        out::error_line(&format!(
            "played {}/{}  webhooks acknowledged {} (open {})  rows polled {}  raw events {}  delivered {}",
            progress.played,
            progress.total,
            progress.acknowledged,
            progress.outstanding,
            progress.rows_served,
            counts.raw_events,
            self.simulator.received()?.len(),
        ));
        Ok(())
    }

    /// Stops everything.
    async fn end(self) -> anyhow::Result<()> {
        if self.arguments.data.is_some() {
            std::fs::write(self.folder.join("metrics.prom"), self.stack.metrics_text()?)?;
        }
        if let Some(processes) = self.processes {
            processes.stop().await?;
        }
        let simulator = self.simulator;
        tokio::task::spawn_blocking(move || simulator.stop()).await?;
        self.stack.stop().await
    }
}

/// Topics, groups and subjects with our prefix; nothing else.
async fn remove(config: &Config, prefix: &str) -> anyhow::Result<()> {
    let admin = Admin::new(&config.kafka)?;
    let (topics, groups) = tokio::task::block_in_place(|| anyhow::Ok((admin.topics()?, admin.groups()?)))?;
    let ours = |name: &String| name.starts_with(prefix);
    admin.delete_topics(&topics.into_keys().filter(ours).collect::<Vec<_>>()).await?;
    admin.delete_groups(&groups.into_iter().filter(ours).collect::<Vec<_>>()).await?;
    Codec::new(&config.registry)?.delete_subjects(prefix).await?;
    Ok(())
}
