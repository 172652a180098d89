//! How long state is read again when its disk is lost: normalize's states and route's context, beside a raw read of the same
//! topics in the same run.
//!
//! Filled by normalize itself. Then each service starts once with what it kept, and once with an empty folder.

use std::time::Instant;

use clap::Args;
use hirewire_schemas::Entity;
use serde::Serialize;
use serde_json::json;

use crate::bodies::Bodies;
use crate::drain::drain;
use crate::figures::{self, note, rounded, table};
use crate::machine::Machine;
use crate::place::{Place, VENDOR};
use crate::topic::{count, fill, now_secs, read};
use crate::{Cluster, Common};

/// The topics that route joins.
const CONTEXT: [Entity; 10] = [
    Entity::StageChange,
    Entity::Application,
    Entity::Candidate,
    Entity::Job,
    Entity::Opening,
    Entity::Offer,
    Entity::User,
    Entity::Attachment,
    Entity::Department,
    Entity::Office,
];

#[derive(Args)]
pub(crate) struct RestoreArguments {
    #[command(flatten)]
    common: Common,
    #[command(flatten)]
    cluster: Cluster,
    #[arg(long, default_value_t = 100_000)]
    applications: usize,
    /// Changes of each application.
    #[arg(long, default_value_t = 4)]
    changes: usize,
}

/// One service, started twice.
#[derive(Serialize)]
struct Restored {
    service: &'static str,
    /// Of the topics that it is read from.
    records: usize,
    mebibytes: f64,
    raw_read_seconds: f64,
    /// Start to ready, with what was kept.
    kept_seconds: f64,
    /// Start to ready, with an empty folder.
    lost_seconds: f64,
    lost_cpu_seconds: f64,
    peak_mb: f64,
    /// What the loss costs, for a million applications with as many changes.
    seconds_per_million: f64,
    /// What the loss costs, in raw reads.
    raw_reads: f64,
}

impl RestoreArguments {
    pub(crate) async fn run(self) -> anyhow::Result<()> {
        let before = Machine::now()?;
        // A sink for route to serve. It acts from now on, so that nothing of the past is sent.
        let sinks = |secrets: &std::path::Path| {
            format!(
                "sinks: {{nobody: {{system: onboarding, http: {{url: \"https://hires.example.com/\", \
                 signing: {{secrets: [{{file: \"{}\"}}]}}}}}}}}\nroutes: {{nobody: {{sink: nobody, from: now}}}}\n",
                secrets.join("sink").display()
            )
        };
        let place = Place::prepare(&self.common, &self.cluster, &sinks).await?;
        let events = self.applications * self.changes;
        note(&format!("{events} events of {} applications", self.applications));
        let raw = place.names.raw(VENDOR);
        fill(&place, &Bodies::new()?, events, self.applications, now_secs()? - 365 * 86_400).await?;
        let (mut normalize, _) = place.service("normalize", &["normalize"]).await?;
        drain(&place, &mut normalize, &place.names.group("normalize"), &raw, Instant::now()).await?;
        normalize.stop().await?;
        let ledger = count(&place, &place.names.stage_change())?;

        let states = vec![place.names.internal("state")];
        let context = CONTEXT.map(|entity| place.names.entity(entity)).to_vec();
        let restored =
            [self.restored(&place, "normalize", &states).await?, self.restored(&place, "route", &context).await?];
        let after = Machine::now()?;
        let head =
            ["", "records", "MiB", "raw read s", "kept s", "lost s", "CPU s", "peak MB", "s/million", "raw reads"];
        let mut rows = vec![head.map(str::to_owned).to_vec()];
        rows.extend(restored.iter().map(row));
        let text = format!(
            "restore, {} applications with {} changes each, {} broker, {} partitions\n{}\n{}\n",
            self.applications,
            self.changes,
            place.broker_name(),
            place.partitions,
            table(&rows),
            figures::about(&before, &after),
        );
        let json = json!({
            "bench": "restore", "broker": place.broker_name(), "partitions": place.partitions,
            "applications": self.applications, "changes": self.changes, "restored": restored,
            "before": before, "after": after,
        });
        figures::result(&text, &json);
        place.stop().await?;
        anyhow::ensure!(ledger == events, "the run was not right, its figures do not count");
        Ok(())
    }

    async fn restored(&self, place: &Place, service: &'static str, topics: &[String]) -> anyhow::Result<Restored> {
        note(&format!("{service} starts with what it kept, and with nothing"));
        // Its first start makes what the second one keeps.
        place.service(service, &[service]).await?.0.stop().await?;
        let (process, kept) = place.service(service, &[service]).await?;
        process.stop().await?;
        std::fs::remove_dir_all(place.folder.path.join("state").join(service))?;
        let (process, lost) = place.service(service, &[service]).await?;
        let (cpu, memory) = (process.cpu()?.seconds(), process.memory()?);
        process.stop().await?;
        let began = Instant::now();
        let (records, bytes) = read(place, topics)?;
        let raw = began.elapsed();
        let cost = lost.saturating_sub(kept).as_secs_f64();
        Ok(Restored {
            service,
            records,
            mebibytes: rounded(bytes as f64 / 1_048_576.0),
            raw_read_seconds: rounded(raw.as_secs_f64()),
            kept_seconds: rounded(kept.as_secs_f64()),
            lost_seconds: rounded(lost.as_secs_f64()),
            lost_cpu_seconds: rounded(cpu),
            peak_mb: memory.peak_mb,
            seconds_per_million: rounded(cost * 1e6 / self.applications as f64),
            raw_reads: rounded(cost / raw.as_secs_f64()),
        })
    }
}

fn row(restored: &Restored) -> Vec<String> {
    vec![
        restored.service.to_owned(),
        restored.records.to_string(),
        format!("{:.0}", restored.mebibytes),
        format!("{:.1}", restored.raw_read_seconds),
        format!("{:.1}", restored.kept_seconds),
        format!("{:.1}", restored.lost_seconds),
        format!("{:.1}", restored.lost_cpu_seconds),
        format!("{:.0}", restored.peak_mb),
        format!("{:.0}", restored.seconds_per_million),
        format!("{:.1}", restored.raw_reads),
    ]
}
