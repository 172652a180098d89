//! Signed webhooks over HTTP at a steady rate; how long until the ledger's record can be read, and until the sink has it.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;
use clap::Args;
use hmac::{Hmac, KeyInit, Mac};
use serde_json::json;
use sha2::Sha256;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::bodies::{ASSESSMENT, Bodies, CREATED, Event, MOVED};
use crate::figures::{self, Times, note, table};
use crate::follow::{Ledger, until_quiet};
use crate::machine::Machine;
use crate::pace::paced;
use crate::place::{CONNECTION, Place, VENDOR};
use crate::process::Process;
use crate::receiver::Receiver;
use crate::topic::{count, now_secs};
use crate::{Cluster, Common};

#[derive(Args)]
pub(crate) struct LatencyArguments {
    #[command(flatten)]
    common: Common,
    #[command(flatten)]
    cluster: Cluster,
    /// Webhooks a second.
    #[arg(long, default_value_t = 1000)]
    rate: u32,
    /// How long each of the two parts lasts: first every application is created, then each is moved.
    #[arg(long, default_value_t = 30)]
    seconds: u32,
}

/// How one webhook went.
struct Delivery {
    application: usize,
    sent: Instant,
    answered: Duration,
    status: u16,
}

impl LatencyArguments {
    pub(crate) async fn run(self) -> anyhow::Result<()> {
        let before = Machine::now()?;
        let applications = (self.rate * self.seconds) as usize;
        let (receiver, url) = Receiver::start(applications).await?;
        let place = Place::prepare(&self.common, &self.cluster, &|secrets| sinks(&url, secrets)).await?;
        let (webhook, _) = place.service("ingest", &["ingest", "--role", "webhook"]).await?;
        let (normalize, _) = place.service("normalize", &["normalize"]).await?;
        let (route, _) = place.service("route", &["route"]).await?;
        let ledger = Ledger::follow(&place, applications).await?;
        let sender = Sender::new(&place)?;
        note(&format!("{applications} applications are created, {} a second", self.rate));
        let applied_at = now_secs()?;
        let created = sender.send(self.rate, applications, CREATED, 0, applied_at).await?;
        until_quiet(applications, || ledger.records()).await;
        note(&format!("{applications} applications are moved, {} a second", self.rate));
        let moved = sender.send(self.rate, applications, MOVED, ASSESSMENT, applied_at).await?;
        until_quiet(2 * applications, || ledger.records()).await;
        until_quiet(applications, || receiver.count()).await;
        let after = Machine::now()?;
        let (readable, orders) = (ledger.times(), receiver.arrivals());
        let ledger_records = count(&place, &place.names.stage_change())?;
        let dead = count(&place, &place.names.normalize_dead_letter())?;
        let refused = created.iter().chain(&moved).filter(|delivery| delivery.status != 200).count();
        let doubled = orders.iter().filter(|times| times.len() > 1).count();
        let missing = orders.iter().filter(|times| times.is_empty()).count();
        let nth = |deliveries: &[Delivery], times: &[Vec<Instant>], nth: usize| {
            Times::of(
                deliveries
                    .iter()
                    .filter_map(|delivery| {
                        Some(times.get(delivery.application)?.get(nth)?.saturating_duration_since(delivery.sent))
                    })
                    .collect(),
            )
        };
        let answered =
            |deliveries: &[Delivery]| Times::of(deliveries.iter().map(|delivery| delivery.answered).collect());
        let figures = [
            ("created: sent -> answered 200", answered(&created)),
            ("created: sent -> ledger record read", nth(&created, &readable, 0)),
            ("moved: sent -> answered 200", answered(&moved)),
            ("moved: sent -> ledger record read", nth(&moved, &readable, 1)),
            ("moved: sent -> sink received", nth(&moved, &orders, 0)),
        ];
        let mut rows = vec![["ms", "count", "p50", "p99", "max"].map(str::to_owned).to_vec()];
        rows.extend(figures.iter().map(|(name, times)| {
            let mut row = vec![(*name).to_owned()];
            row.extend(Times::cells(times.as_ref()));
            row
        }));
        let mut processes = vec![["MB", "RSS", "peak", "CPU s"].map(str::to_owned).to_vec()];
        let mut memory = serde_json::Map::new();
        for process in [Some(&webhook), Some(&normalize), Some(&route), Some(&place.registry), place.broker.as_ref()]
            .into_iter()
            .flatten()
        {
            let (found, cpu) = (process.memory()?, process.cpu()?.seconds());
            let cells = [found.now_mb, found.peak_mb, cpu].map(|value| format!("{value:.1}"));
            processes.push([vec![process.name.clone()], cells.to_vec()].concat());
            memory.insert(
                process.name.clone(),
                json!({"rss_mb": found.now_mb, "peak_mb": found.peak_mb, "cpu_seconds": cpu}),
            );
        }
        let text = format!(
            "latency at {} webhooks/s, {} applications, {} broker, {} partitions\n{}\n{}\n\
             ledger records {ledger_records} of {}, webhooks not answered 200: {refused}, orders missing {missing}, doubled {doubled}, dead letters {dead}\n{}\n",
            self.rate,
            applications,
            place.broker_name(),
            place.partitions,
            table(&rows),
            table(&processes),
            2 * applications,
            figures::about(&before, &after),
        );
        let json = json!({
            "bench": "latency", "broker": place.broker_name(), "rate": self.rate, "applications": applications,
            "partitions": place.partitions,
            "created_answered": figures[0].1, "created_readable": figures[1].1, "moved_answered": figures[2].1,
            "moved_readable": figures[3].1, "moved_received": figures[4].1,
            "ledger_records": ledger_records, "refused": refused, "orders_missing": missing, "orders_doubled": doubled,
            "dead_letters": dead, "processes": memory, "before": before, "after": after,
        });
        figures::result(&text, &json);
        for process in [webhook, normalize, route] {
            Process::stop(process).await?;
        }
        drop(ledger);
        place.stop().await?;
        let right = ledger_records == 2 * applications && refused + missing + doubled + dead == 0;
        anyhow::ensure!(right, "the run was not right, its times do not count");
        Ok(())
    }
}

fn sinks(url: &str, secrets: &Path) -> String {
    format!(
        "sinks:\n  assessment:\n    http: {{url: \"{url}\", signing: {{secrets: [{{file: \"{}\"}}]}}, allow: {{networks: [\"127.0.0.0/8\"]}}}}\n\
         routes:\n  assessment: {{sink: assessment, from: now}}\n",
        secrets.join("sink").display()
    )
}

/// The vendor: signs bodies and posts them.
struct Sender {
    client: reqwest::Client,
    url: String,
    secret: String,
    bodies: Arc<Bodies>,
}

/// Most webhooks under way; what waits for a place is late, and counted from when it was due.
const CONNECTIONS: usize = 256;

impl Sender {
    fn new(place: &Place) -> anyhow::Result<Arc<Self>> {
        let client = reqwest::Client::builder()
            .no_proxy()
            .pool_max_idle_per_host(CONNECTIONS)
            .timeout(Duration::from_secs(30))
            .build()?;
        Ok(Arc::new(Self {
            client,
            url: format!("http://{}/v1/webhooks/{CONNECTION}", place.webhooks),
            secret: place.secret.clone(),
            bodies: Arc::new(Bodies::new()?),
        }))
    }

    /// One event of each application, `rate` a second.
    async fn send(
        self: &Arc<Self>,
        rate: u32,
        applications: usize,
        action: &'static str,
        stage: usize,
        applied_at: i64,
    ) -> anyhow::Result<Vec<Delivery>> {
        let places = Arc::new(Semaphore::new(CONNECTIONS));
        let mut posts = JoinSet::new();
        paced(rate, applications, |application| {
            let (sender, places, sent) = (Arc::clone(self), Arc::clone(&places), Instant::now());
            let last_activity_at = now_secs()?;
            let event = Event { action, application, stage, applied_at, last_activity_at };
            posts.spawn(async move {
                let _place = places.acquire_owned().await?;
                let status = sender.post(&event).await?;
                Ok::<_, anyhow::Error>(Delivery { application, sent, answered: sent.elapsed(), status })
            });
            Ok(())
        })
        .await?;
        let mut deliveries = Vec::with_capacity(applications);
        while let Some(done) = posts.join_next().await {
            deliveries.push(done?.with_context(|| format!("a {VENDOR} webhook could not be posted"))?);
        }
        Ok(deliveries)
    }

    async fn post(&self, event: &Event) -> anyhow::Result<u16> {
        let body = self.bodies.body(event)?;
        let mut mac = Hmac::<Sha256>::new_from_slice(self.secret.as_bytes())?;
        mac.update(body.as_bytes());
        let answer = self
            .client
            .post(&self.url)
            .header("Signature", format!("sha256 {}", hex::encode(mac.finalize().into_bytes())))
            .header("Greenhouse-Event-ID", uuid::Uuid::new_v4().simple().to_string())
            .header("Content-Type", "application/json")
            .body(body)
            .send()
            .await?;
        Ok(answer.status().as_u16())
    }
}
