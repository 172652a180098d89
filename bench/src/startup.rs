//! From `hirewire up` on an empty folder to ready, and to the first row in the analytics sink.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Context;
use clap::Args;
use rusqlite::{Connection, OpenFlags};
use serde::Serialize;
use serde_json::json;

use crate::Common;
use crate::figures::{self, median, milliseconds, table};
use crate::machine::Machine;
use crate::place::Folder;
use crate::process::Process;

#[derive(Args)]
pub(crate) struct StartupArguments {
    #[command(flatten)]
    common: Common,
    #[arg(long, default_value_t = 5)]
    repetitions: usize,
}

#[derive(Debug, Serialize)]
struct Start {
    /// Until it printed its lines.
    printed_ms: f64,
    /// Until `/readyz` was 200.
    ready_ms: f64,
    /// From the start of the process.
    first_event_ms: f64,
    /// From the webhook's sending.
    webhook_to_row_ms: f64,
    rss_mb: f64,
}

impl StartupArguments {
    pub(crate) async fn run(self) -> anyhow::Result<()> {
        let before = Machine::now()?;
        let folder = Folder::new(&self.common)?;
        let binary = std::path::absolute(&self.common.binary)?;
        let mut starts = Vec::new();
        for repetition in 0..self.repetitions {
            starts.push(start(&binary, &folder.path.join(repetition.to_string())).await?);
        }
        let after = Machine::now()?;
        let middle =
            |of: fn(&Start) -> f64| median(starts.iter().map(of).collect()).context("no repetition was asked for");
        let printed = middle(|start| start.printed_ms)?;
        let ready = middle(|start| start.ready_ms)?;
        let first = middle(|start| start.first_event_ms)?;
        let row = middle(|start| start.webhook_to_row_ms)?;
        let rss = middle(|start| start.rss_mb)?;
        let cells = |values: [f64; 5]| values.map(|value| format!("{value:.0}")).to_vec();
        let mut rows =
            vec![["ms", "printed", "/readyz", "first event", "webhook -> row", "RSS MB"].map(str::to_owned).to_vec()];
        for (index, start) in starts.iter().enumerate() {
            let values =
                [start.printed_ms, start.ready_ms, start.first_event_ms, start.webhook_to_row_ms, start.rss_mb];
            rows.push([vec![(index + 1).to_string()], cells(values)].concat());
        }
        rows.push([vec!["median".to_owned()], cells([printed, ready, first, row, rss])].concat());
        let text = format!("`hirewire up` on an empty folder\n{}{}\n", table(&rows), figures::about(&before, &after));
        let json = json!({
            "bench": "startup", "printed_ms": printed, "ready_ms": ready, "first_event_ms": first, "webhook_to_row_ms": row, "rss_mb": rss,
            "repetitions": starts, "before": before, "after": after,
        });
        figures::result(&text, &json);
        Ok(())
    }
}

async fn start(binary: &Path, data: &Path) -> anyhow::Result<Start> {
    std::fs::create_dir_all(data)?;
    let logs = data.with_extension("logs");
    std::fs::create_dir_all(&logs)?;
    let client = reqwest::Client::builder().no_proxy().build()?;
    let began = Instant::now();
    let mut up = Process::start("up", binary, &["up", "--data", &data.display().to_string()], &logs)?;
    let mut printed = up.line().await?;
    let first_line = began.elapsed();
    while !printed.contains(" tail stage-change") {
        printed += "\n";
        printed += &up.line().await?;
    }
    let after = |mark: &str| {
        let (_, rest) = printed.split_once(mark).with_context(|| format!("`hirewire up` printed no {mark}"))?;
        rest.split(['\'', ' ', '\n']).next().with_context(|| format!("nothing follows {mark}"))
    };
    let signature = after("Signature: sha256 ")?;
    let body = std::fs::read(after("--data-binary @")?)?;
    let url = printed.split_whitespace().find(|word| word.contains("/v1/webhooks/")).context("no webhook address")?;
    let admin = printed.split_whitespace().find_map(|word| word.strip_suffix("/metrics")).context("no admin port")?;
    let ready = tokio::spawn(ready(client.clone(), format!("{admin}/readyz"), began));
    let sent = Instant::now();
    let answer = client
        .post(url)
        .header("Signature", format!("sha256 {signature}"))
        .header("Greenhouse-Event-ID", "sample-1")
        .header("Content-Type", "application/json")
        .body(body)
        .send()
        .await?;
    anyhow::ensure!(answer.status().is_success(), "the sample webhook was answered {}", answer.status());
    let database = data.join("analytics.sqlite");
    while !has_row(&database) {
        up.must_run()?;
        anyhow::ensure!(sent.elapsed() < Duration::from_secs(60), "no row came within 60 s");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    let (first, row) = (began.elapsed(), sent.elapsed());
    let ready = ready.await??;
    let rss_mb = up.memory()?.now_mb;
    up.stop().await?;
    Ok(Start {
        printed_ms: milliseconds(first_line),
        ready_ms: milliseconds(ready),
        first_event_ms: milliseconds(first),
        webhook_to_row_ms: milliseconds(row),
        rss_mb,
    })
}

/// How long after `began` the admin port says that all is ready.
async fn ready(client: reqwest::Client, url: String, began: Instant) -> anyhow::Result<Duration> {
    while !client.get(&url).send().await?.status().is_success() {
        anyhow::ensure!(began.elapsed() < Duration::from_secs(60), "not ready after 60 s");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    Ok(began.elapsed())
}

/// Before the sink has made its tables, every question fails: no row yet.
fn has_row(database: &Path) -> bool {
    let ask = || -> rusqlite::Result<i64> {
        let connection = Connection::open_with_flags(database, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
        connection.query_row("SELECT count(*) FROM stage_change", [], |row| row.get(0))
    };
    ask().is_ok_and(|rows| rows > 0)
}
