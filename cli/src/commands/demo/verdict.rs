//! The outcome: what the simulator's judge says of the ledger, the receivers' logs and the analytics tables.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use anyhow::Context;
use hirewire_schemas::ids::canonical_id;
use hirewire_schemas::records::{Provenance, StageChange, StageRef};
use hirewire_sim::Running;
use hirewire_sim::judge::{LedgerEntry, LedgerStage, Summary, judge, webhook_counts};

use super::GREENHOUSE;
use super::folder::Plan;
use super::readback::Readback;
use super::setup::connection;

/// The tenant of the demo's connection.
const TENANT: &str = "acme";

/// A summary with what was found wrong, in words.
pub(super) struct Verdict {
    pub(super) summary: Summary,
    pub(super) findings: Vec<String>,
}

impl Verdict {
    pub(super) fn is_good(&self) -> bool {
        self.summary.is_clean() && self.findings.is_empty()
    }
}

/// Judges what there is now.
pub(super) async fn of(
    plan: &Plan,
    simulator: &Running,
    readback: &mut Readback,
    not_applicable: &BTreeMap<String, String>,
    (folder, postgres): (&Path, Option<&str>),
    elapsed: Duration,
) -> anyhow::Result<Verdict> {
    let ledger: Vec<LedgerEntry> = readback.ledger().await?.iter().map(entry).collect();
    let counts = readback.counts();
    let analytics = match postgres {
        Some(url) => postgres_rows(url).await?,
        None => sqlite_rows(&folder.join("analytics.sqlite"))?,
    };
    let mut evidence = simulator.evidence()?;
    evidence.not_applicable = not_applicable.clone();
    let connection = connection(&plan.vendor);
    let canonical = |entity: &str, remote_id: &str| canonical_id(TENANT, &connection, entity, remote_id).to_string();
    let verdict = judge(&evidence, &ledger, &canonical, &analytics, &counts.undelivered);
    let summary = Summary {
        vendor: (plan.vendor != GREENHOUSE).then(|| plan.vendor.clone()),
        seed: plan.seed,
        applications: u64::try_from(plan.applications)?,
        webhooks: webhook_counts(&evidence.webhooks),
        polled_records: simulator.progress()?.rows_served,
        raw_events: counts.raw_events,
        canonical: counts.canonical,
        stage_changes: verdict.stage_changes,
        deliveries: verdict.deliveries,
        dead_letters: counts.dead_letters.values().sum(),
        dead_letter_codes: counts.dead_letters,
        elapsed_ms: u64::try_from(elapsed.as_millis())?,
    };
    Ok(Verdict { summary, findings: verdict.findings })
}

fn entry(change: &StageChange) -> LedgerEntry {
    LedgerEntry {
        application_id: change.application_id.clone(),
        application_remote_id: change.meta.remote_id.clone(),
        event_id: change.meta.event_id.clone(),
        sequence_no: change.sequence_no,
        supersedes: change.supersedes.clone(),
        change_type: change.change_type.symbol().to_owned(),
        revision: change.revision.symbol().to_owned(),
        from_stage: change.from_stage.as_ref().map(stage),
        to_stage: change.to_stage.as_ref().map(stage),
        from_status: change.from_status.value.symbol().to_owned(),
        to_status: change.to_status.value.symbol().to_owned(),
        from_job_id: change.from_job_id.clone(),
        to_job_id: change.to_job_id.clone(),
        occurred_at_micros: change.occurred_at,
        precision: change.occurred_at_precision.symbol().to_owned(),
        not_before_micros: change.occurred_not_before,
        not_after_micros: change.occurred_not_after,
        first_load_only: first_load_only(change),
    }
}

/// Whether nothing but the first load shows it.
fn first_load_only(change: &StageChange) -> bool {
    if change.evidence.is_empty() {
        return change.meta.provenance == Provenance::Backfill;
    }
    change.evidence.iter().all(|fact| fact.provenance == Provenance::Backfill)
}

fn stage(stage: &StageRef) -> LedgerStage {
    LedgerStage { id: stage.id.clone(), name: stage.name.clone() }
}

/// The event ids of the analytics table, one per row. No file yet is no row yet.
fn sqlite_rows(path: &Path) -> anyhow::Result<Vec<String>> {
    if !path.exists() {
        return Ok(Vec::new());
    }
    let database = rusqlite::Connection::open_with_flags(path, rusqlite::OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    database.busy_timeout(Duration::from_secs(5))?;
    let mut statement = match database.prepare("SELECT event_id FROM stage_change") {
        Ok(statement) => statement,
        // The sink has not made its tables yet.
        Err(rusqlite::Error::SqliteFailure(_, Some(why))) if why.contains("no such table") => return Ok(Vec::new()),
        Err(error) => return Err(error).with_context(|| format!("{} cannot be read", path.display())),
    };
    let rows = statement.query_map([], |row| row.get(0))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

async fn postgres_rows(url: &str) -> anyhow::Result<Vec<String>> {
    let (client, connection) =
        tokio_postgres::connect(url, tokio_postgres::NoTls).await.context("cannot connect to PostgreSQL")?;
    let serving = tokio::spawn(connection);
    let rows = client.query("SELECT event_id::text FROM hirewire.stage_change", &[]).await;
    drop(client);
    serving.await??;
    match rows {
        Ok(rows) => Ok(rows.iter().map(|row| row.get(0)).collect()),
        Err(error) if error.code() == Some(&tokio_postgres::error::SqlState::UNDEFINED_TABLE) => Ok(Vec::new()),
        Err(error) if error.code() == Some(&tokio_postgres::error::SqlState::INVALID_SCHEMA_NAME) => Ok(Vec::new()),
        Err(error) => Err(error).context("the analytics table cannot be read"),
    }
}
