//! `hirewire route` alone, over a full ledger: how fast one slow sink is served, and what a dead sink costs three others.
//!
//! The ledger is made by normalize before. Each phase has sinks of its own names, and so groups that begin at the beginning. Every
//! receiver checks that of each application number follows number; what comes again is counted.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::routing::post;
use bytes::Bytes;
use clap::Args;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::bodies::{Bodies, application_of};
use crate::drain::drain;
use crate::figures::{self, Times, note, rounded, table};
use crate::follow::until_quiet;
use crate::machine::Machine;
use crate::pace::paced;
use crate::place::{Place, VENDOR};
use crate::process::Process;
use crate::topic::{Sender, count, event, fill, now_secs};
use crate::{Cluster, Common};

#[derive(Args)]
pub(crate) struct RouteArguments {
    #[command(flatten)]
    common: Common,
    #[command(flatten)]
    cluster: Cluster,
    /// Changes in the ledger before route starts.
    #[arg(long, default_value_t = 200_000)]
    events: usize,
    #[arg(long, default_value_t = 10_000)]
    applications: usize,
    /// How long the one receiver of the first phase takes to answer.
    #[arg(long, default_value_t = 50)]
    answer_ms: u64,
    /// Changes a second of the steady part, while one sink is dead and while there is none.
    #[arg(long, default_value_t = 200)]
    rate: u32,
    #[arg(long, default_value_t = 30)]
    paced_seconds: u32,
}

/// The receivers of all sinks, by name.
#[derive(Clone, Default)]
struct Receivers {
    seen: Arc<Mutex<HashMap<String, Seen>>>,
    /// Sinks whose receiver takes a connection and never answers.
    dead: Arc<Mutex<Vec<String>>>,
    answer_after: Duration,
    /// Whether times are noted.
    noting: Arc<AtomicBool>,
}

#[derive(Default)]
struct Seen {
    /// The newest number of each application.
    numbers: HashMap<usize, u64>,
    count: usize,
    again: usize,
    out_of_order: usize,
    arrivals: HashMap<(usize, u64), Instant>,
}

#[derive(Deserialize)]
struct Move {
    application: String,
    number: u64,
}

impl Receivers {
    async fn start(answer_after: Duration) -> anyhow::Result<(Self, String)> {
        let receivers = Self { answer_after, ..Self::default() };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
        let url = format!("http://{}", listener.local_addr()?);
        let router = Router::new().route("/{sink}", post(take)).with_state(receivers.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        Ok((receivers, url))
    }

    fn with<T>(&self, sink: &str, what: impl FnOnce(&mut Seen) -> T) -> T {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        what(seen.entry(sink.to_owned()).or_default())
    }

    fn count(&self, sink: &str) -> usize {
        self.with(sink, |seen| seen.count)
    }

    fn dies(&self, sink: &str) {
        self.dead.lock().unwrap_or_else(PoisonError::into_inner).push(sink.to_owned());
    }

    fn returns(&self) {
        self.dead.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

async fn take(State(receivers): State<Receivers>, Path(sink): Path<String>, body: Bytes) -> StatusCode {
    let now = Instant::now();
    if receivers.dead.lock().unwrap_or_else(PoisonError::into_inner).contains(&sink) {
        std::future::pending::<()>().await;
    }
    let Ok(Move { application, number }) = serde_json::from_slice(&body) else { return StatusCode::BAD_REQUEST };
    let Some(application) = application_of(&application) else { return StatusCode::BAD_REQUEST };
    let noting = receivers.noting.load(Ordering::Relaxed);
    receivers.with(&sink, |seen| {
        let last = seen.numbers.entry(application).or_default();
        match number {
            next if next == *last + 1 => {
                *last = next;
                seen.count += 1;
                if noting {
                    seen.arrivals.insert((application, number), now);
                }
            }
            known if known <= *last => seen.again += 1,
            _ => seen.out_of_order += 1,
        }
    });
    if !receivers.answer_after.is_zero() {
        tokio::time::sleep(receivers.answer_after).await;
    }
    StatusCode::OK
}

/// What a bench's sink is sent: no more than what its receiver checks.
const SYSTEM: &str = "system: bench\nsummary: Every change, by application and number.\nrequests:\n  move:\n    \
    entity: stage-change\n    body: {fields: {application: change.meta.remote_id, number: change.sequence_no}}\n";

/// One phase: these sinks, until they have all changes, then at a steady rate.
#[derive(Serialize)]
struct Phase {
    deliveries: usize,
    /// From ready until the last sink had all of the ledger.
    seconds: f64,
    deliveries_per_second: f64,
    cpu_seconds: f64,
    peak_rss_mb: f64,
    /// From before a raw record is produced until a receiver has what came of it; of all live sinks together.
    steady: Option<Times>,
    again: usize,
    out_of_order: usize,
}

impl RouteArguments {
    pub(crate) async fn run(self) -> anyhow::Result<()> {
        let before = Machine::now()?;
        let place = Place::prepare(&self.common, &self.cluster, &|_| String::new()).await?;
        let base = std::fs::read_to_string(&place.config)?;
        let systems = place.folder.path.join("systems");
        std::fs::create_dir_all(systems.join("bench"))?;
        std::fs::write(systems.join("bench/sink.yaml"), SYSTEM)?;
        let (slow, slow_url) = Receivers::start(Duration::from_millis(self.answer_ms)).await?;
        let (quick, quick_url) = Receivers::start(Duration::ZERO).await?;
        let configure = |sinks: &[&str], url: &str| {
            let sink = |name: &&str| {
                let http = format!("http: {{url: \"{url}/{name}\", allow: {{networks: [\"127.0.0.0/8\"]}}}}");
                format!("  {name}: {{system: bench, {http}}}\n")
            };
            let route = |name: &&str| format!("  {name}: {{sink: {name}, from: beginning}}\n");
            let (sinks, routes): (String, String) =
                (sinks.iter().map(sink).collect(), sinks.iter().map(route).collect());
            let own = format!("sinks:\n{sinks}routes:\n{routes}route: {{sinks_dir: \"{}\"}}\n", systems.display());
            std::fs::write(&place.config, format!("{base}{own}"))
        };

        let (first_at, bodies) = (now_secs()? - 365 * 86_400, Bodies::new()?);
        note(&format!("{} changes go through normalize into the ledger", self.events));
        fill(&place, &bodies, self.events, self.applications, first_at).await?;
        let began = Instant::now();
        let (mut normalize, ready) = place.service("normalize", &["normalize"]).await?;
        let group = place.names.group("normalize");
        drain(&place, &mut normalize, &group, &place.names.raw(VENDOR), began + ready).await?;
        let ledger = count(&place, &place.names.stage_change())?;
        anyhow::ensure!(ledger == self.events, "the ledger has {ledger} changes of {}", self.events);

        let mut turns = self.events;
        let load = Load { arguments: &self, place: &place, bodies: &bodies, first_at };
        note(&format!("one sink, answered after {} ms", self.answer_ms));
        configure(&["one"], &slow_url)?;
        let (one, process) = load.phase(&slow, &["one"], &mut turns, false).await?;
        process.stop().await?;
        note("three sinks");
        configure(&["a1", "a2", "a3"], &quick_url)?;
        let (three, process) = load.phase(&quick, &["a1", "a2", "a3"], &mut turns, true).await?;
        process.stop().await?;
        note("three sinks, and a fourth whose receiver is dead");
        configure(&["b1", "b2", "b3", "dead"], &quick_url)?;
        quick.dies("dead");
        let (beside, process) = load.phase(&quick, &["b1", "b2", "b3"], &mut turns, true).await?;
        let waiting = turns - quick.count("dead");
        let waiting_peak_mb = process.memory()?.peak_mb;
        note("the dead one returns");
        let returned = Instant::now();
        quick.returns();
        until_quiet(turns, || quick.count("dead")).await;
        let caught_up = returned.elapsed().as_secs_f64();
        let (late, out_of_order) = quick.with("dead", |seen| (seen.count, seen.out_of_order));
        process.stop().await?;
        normalize.stop().await?;
        let dead_letters: Vec<usize> = ["one", "a1", "a2", "a3", "b1", "b2", "b3", "dead"]
            .iter()
            .map(|sink| count(&place, &place.names.route_dead_letter(sink)))
            .collect::<Result<_, _>>()?;
        let dead_letters: usize = dead_letters.iter().sum();
        let after = Machine::now()?;

        let throughput = rounded(beside.deliveries_per_second / three.deliveries_per_second);
        let p99 = |phase: &Phase| phase.steady.as_ref().map(|times| times.p99_ms);
        let p99 = p99(&beside).zip(p99(&three)).map(|(beside, three)| rounded(beside / three));
        let head = ["", "deliveries", "seconds", "deliveries/s", "CPU s", "peak MB", "p50 ms", "p99 ms", "again"];
        let mut rows = vec![head.map(str::to_owned).to_vec()];
        for (name, phase) in [("one sink", &one), ("three", &three), ("three, one dead", &beside)] {
            rows.push(row(name, phase));
        }
        let text = format!(
            "route, {} changes of {} applications, {} broker, {} partitions; one sink answers after {} ms, the others at once; then {} changes/s for {} s\n{}\n\
             beside a dead sink: throughput × {throughput}, p99 × {}; it had {waiting} changes to wait for in {waiting_peak_mb:.1} MB at most,\n\
             and caught up {late} in {caught_up:.1} s, {out_of_order} out of order. Dead letters {dead_letters}\n{}\n",
            self.events,
            self.applications,
            place.broker_name(),
            place.partitions,
            self.answer_ms,
            self.rate,
            self.paced_seconds,
            table(&rows),
            p99.map_or("-".to_owned(), |p99| format!("{p99:.2}")),
            figures::about(&before, &after),
        );
        let json = json!({
            "bench": "route", "broker": place.broker_name(), "partitions": place.partitions, "events": self.events,
            "applications": self.applications, "answer_ms": self.answer_ms, "rate": self.rate, "one": one, "three": three,
            "beside_dead": beside, "throughput_ratio": throughput, "p99_ratio": p99, "waiting": waiting,
            "waiting_peak_rss_mb": waiting_peak_mb, "caught_up_seconds": rounded(caught_up), "out_of_order": out_of_order,
            "dead_letters": dead_letters, "before": before, "after": after,
        });
        figures::result(&text, &json);
        place.stop().await?;
        let right = late == turns && out_of_order == 0 && dead_letters == 0;
        let right = right && [one, three, beside].iter().all(|phase| phase.out_of_order == 0 && phase.again == 0);
        anyhow::ensure!(right, "the run was not right, its figures do not count");
        Ok(())
    }
}

/// Where the changes come from.
struct Load<'a> {
    arguments: &'a RouteArguments,
    place: &'a Place,
    bodies: &'a Bodies,
    first_at: i64,
}

impl Load<'_> {
    /// Runs route until `sinks` have everything there is, then, if `steady`, at the steady rate. `turns` counts all changes.
    async fn phase(
        &self,
        receivers: &Receivers,
        sinks: &[&str],
        turns: &mut usize,
        steady: bool,
    ) -> anyhow::Result<(Phase, Process)> {
        let all = |wanted: usize| {
            let least = || sinks.iter().map(|sink| receivers.count(sink)).min().unwrap_or_default();
            let sum = || sinks.iter().map(|sink| receivers.count(sink)).sum();
            async move {
                until_quiet(wanted * sinks.len(), sum).await;
                anyhow::ensure!(least() == wanted, "a sink has {} of {wanted}", least());
                Ok(())
            }
        };
        let began = Instant::now();
        let (process, ready) = self.place.service("route", &["route"]).await?;
        all(*turns).await?;
        let seconds = (began.elapsed() - ready).as_secs_f64();
        let deliveries = *turns * sinks.len();
        let cpu_seconds = process.cpu()?.seconds();
        let steady = if steady {
            receivers.noting.store(true, Ordering::Relaxed);
            let sent = self.steady(turns).await?;
            all(*turns).await?;
            receivers.noting.store(false, Ordering::Relaxed);
            let times = |sink: &&str| {
                receivers.with(sink, |seen| {
                    let arrived =
                        sent.iter().filter_map(|(of, at)| Some(seen.arrivals.get(of)?.saturating_duration_since(*at)));
                    arrived.collect::<Vec<Duration>>()
                })
            };
            Times::of(sinks.iter().flat_map(times).collect())
        } else {
            None
        };
        let sum = |what: fn(&Seen) -> usize| sinks.iter().map(|sink| receivers.with(sink, |seen| what(seen))).sum();
        let phase = Phase {
            deliveries,
            seconds: rounded(seconds),
            deliveries_per_second: (deliveries as f64 / seconds).round(),
            cpu_seconds: rounded(cpu_seconds),
            peak_rss_mb: process.memory()?.peak_mb,
            steady,
            again: sum(|seen| seen.again),
            out_of_order: sum(|seen| seen.out_of_order),
        };
        Ok((phase, process))
    }

    /// More moves of the same applications, one by one: application and number of each that counts, and when it was sent.
    async fn steady(&self, turns: &mut usize) -> anyhow::Result<Vec<((usize, u64), Instant)>> {
        let RouteArguments { applications, rate, paced_seconds, .. } = *self.arguments;
        let (warm_up, events) = (rate as usize, (rate * paced_seconds) as usize);
        let sender = Sender::new(self.place)?;
        let mut sent = Vec::with_capacity(events);
        let first = *turns;
        paced(rate, warm_up + events, |index| {
            let turn = first + index;
            let event = event(turn, applications, self.first_at);
            if index >= warm_up {
                let number = u64::try_from(turn / applications).unwrap_or_default() + 1;
                sent.push(((event.application, number), Instant::now()));
            }
            sender.send(self.bodies, &event, turn)
        })
        .await?;
        *turns += warm_up + events;
        sender.check()?;
        Ok(sent)
    }
}

fn row(name: &str, phase: &Phase) -> Vec<String> {
    let [_, p50, p99, _] = Times::cells(phase.steady.as_ref());
    vec![
        name.to_owned(),
        phase.deliveries.to_string(),
        format!("{:.1}", phase.seconds),
        format!("{:.0}", phase.deliveries_per_second),
        format!("{:.2}", phase.cpu_seconds),
        format!("{:.1}", phase.peak_rss_mb),
        p50,
        p99,
        phase.again.to_string(),
    ]
}
