//! What traces cost `hirewire normalize`: the same drain without traces, with a collector that takes them, with one that is away,
//! and with one that never answers, in turn, in one run.
//!
//! Each round has a deployment of its own on fresh data. Medians of the rounds are compared: a machine that does other
//! work meanwhile does it to all four.

use std::time::Instant;

use axum::Router;
use axum::body::Bytes;
use axum::http::StatusCode;
use axum::routing::post;
use clap::Args;
use serde::Serialize;
use serde_json::json;

use crate::bodies::Bodies;
use crate::drain::{Drain, drain};
use crate::figures::{self, median, note, rounded, table};
use crate::machine::Machine;
use crate::place::{Folder, Place, VENDOR};
use crate::topic::{fill, now_secs};
use crate::{Cluster, Common};

#[derive(Args)]
pub(crate) struct TracesArguments {
    #[command(flatten)]
    common: Common,
    #[command(flatten)]
    cluster: Cluster,
    /// Events of each drain.
    #[arg(long, default_value_t = 60_000)]
    events: usize,
    #[arg(long, default_value_t = 10_000)]
    applications: usize,
    /// Drains of each kind.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
}

/// Where traces go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Collector {
    /// There are no traces.
    None,
    Takes,
    /// Nobody listens at its port.
    Away,
    /// It takes connections and never answers.
    Silent,
}

const ALL: [Collector; 4] = [Collector::None, Collector::Takes, Collector::Away, Collector::Silent];

impl TracesArguments {
    pub(crate) async fn run(self) -> anyhow::Result<()> {
        let before = Machine::now()?;
        let folder = Folder::new(&self.common)?;
        let takes = listening(false).await?;
        let silent = listening(true).await?;
        let mut drains: Vec<(Collector, Drain)> = Vec::new();
        for round in 0..self.rounds {
            // Each begins once.
            for turn in 0..ALL.len() {
                let Some(&collector) = ALL.get((round + turn) % ALL.len()) else { continue };
                let endpoint = match collector {
                    Collector::None => None,
                    Collector::Takes => Some(takes.as_str()),
                    Collector::Away => Some("http://127.0.0.1:9"),
                    Collector::Silent => Some(silent.as_str()),
                };
                note(&format!("round {}: {collector:?}", round + 1));
                let data = folder.path.join(format!("{round}-{turn}"));
                let common = Common { data: Some(data.clone()), ..self.common.clone() };
                drains.push((collector, self.drained(&common, endpoint).await?));
                std::fs::remove_dir_all(data)?;
            }
        }
        let after = Machine::now()?;
        let of = |collector: Collector, value: fn(&Drain) -> f64| {
            let own = drains.iter().filter(|(each, _)| *each == collector);
            median(own.map(|(_, drain)| value(drain)).collect()).unwrap_or_default()
        };
        let per_second = |drain: &Drain| drain.events_per_second;
        let per_cpu = |drain: &Drain| drain.events_per_cpu_second;
        let mut rows =
            vec![["collector", "events/s", "of none", "events/CPU s", "of none"].map(str::to_owned).to_vec()];
        let mut medians = Vec::new();
        for collector in ALL {
            let (speed, cpu) = (of(collector, per_second), of(collector, per_cpu));
            let (speed_share, cpu_share) =
                (speed / of(Collector::None, per_second), cpu / of(Collector::None, per_cpu));
            rows.push(vec![
                format!("{collector:?}").to_lowercase(),
                format!("{speed:.0}"),
                format!("{speed_share:.3}"),
                format!("{cpu:.0}"),
                format!("{cpu_share:.3}"),
            ]);
            medians.push(json!({
                "collector": collector, "events_per_second": speed, "speed_share": rounded(speed_share),
                "events_per_cpu_second": cpu, "cpu_share": rounded(cpu_share),
            }));
        }
        let text = format!(
            "traces, medians of {} drains of {} events\n{}\n{}\n",
            self.rounds,
            self.events,
            table(&rows),
            figures::about(&before, &after)
        );
        let json = json!({"bench": "traces", "medians": medians, "drains": drains, "before": before, "after": after});
        figures::result(&text, &json);
        Ok(())
    }

    async fn drained(&self, common: &Common, endpoint: Option<&str>) -> anyhow::Result<Drain> {
        let traces = endpoint.map(|endpoint| format!("traces: {{endpoint: \"{endpoint}\"}}\n")).unwrap_or_default();
        let place = Place::prepare(common, &self.cluster, &|_| traces.clone()).await?;
        fill(&place, &Bodies::new()?, self.events, self.applications, now_secs()? - 365 * 86_400).await?;
        let began = Instant::now();
        let (mut process, ready) = place.service("normalize", &["normalize"]).await?;
        let group = place.names.group("normalize");
        let drained = drain(&place, &mut process, &group, &place.names.raw(VENDOR), began + ready).await?;
        process.stop().await?;
        place.stop().await?;
        Ok(drained)
    }
}

/// A collector in this process.
async fn listening(silent: bool) -> anyhow::Result<String> {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let endpoint = format!("http://{}", listener.local_addr()?);
    let take = move |_spans: Bytes| async move {
        if silent {
            std::future::pending::<()>().await;
        }
        StatusCode::OK
    };
    tokio::spawn(async move { axum::serve(listener, Router::new().route("/v1/traces", post(take))).await });
    Ok(endpoint)
}
