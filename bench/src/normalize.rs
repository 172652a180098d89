//! `hirewire normalize` alone: idle, draining a full raw topic, and at a steady rate; beside it a raw copy of the same topic.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use clap::Args;
use hirewire_kafka::{Admin, NewTopic};
use serde_json::json;

use crate::bodies::Bodies;
use crate::drain::{Drain, drain};
use crate::figures::{self, Times, milliseconds, note, rounded, table};
use crate::follow::{Ledger, until_quiet};
use crate::machine::Machine;
use crate::pace::paced;
use crate::place::{Place, VENDOR};
use crate::process::Process;
use crate::topic::{Sender, count, event, fill, now_secs};
use crate::{Cluster, Common};

#[derive(Args)]
pub(crate) struct NormalizeArguments {
    #[command(flatten)]
    common: Common,
    #[command(flatten)]
    cluster: Cluster,
    /// Events that are drained.
    #[arg(long, default_value_t = 200_000)]
    events: usize,
    #[arg(long, default_value_t = 10_000)]
    applications: usize,
    /// Events a second of the steady part.
    #[arg(long, default_value_t = 1000)]
    rate: u32,
    /// How long the steady part lasts; 0: none.
    #[arg(long, default_value_t = 20)]
    paced_seconds: u32,
    /// Leaves the copy out.
    #[arg(long)]
    no_copy: bool,
}

impl NormalizeArguments {
    pub(crate) async fn run(self) -> anyhow::Result<()> {
        let before = Machine::now()?;
        let place = Place::prepare(&self.common, &self.cluster, &|_| String::new()).await?;
        let raw = place.names.raw(VENDOR);

        note("normalize starts on empty topics");
        let (idle, start) = place.service("normalize", &["normalize"]).await?;
        tokio::time::sleep(Duration::from_secs(3)).await;
        let idle_memory = idle.memory()?;
        let idle_cpu = idle.cpu()?.seconds();
        idle.stop().await?;

        let first_at = now_secs()? - 365 * 86_400;
        let bodies = Bodies::new()?;
        note(&format!("{} events go into {raw}", self.events));
        let bytes = fill(&place, &bodies, self.events, self.applications, first_at).await?;

        let began = Instant::now();
        let (mut process, ready) = place.service("normalize", &["normalize"]).await?;
        note(&format!("normalize (pid {}) drains them", process.pid));
        let drained = drain(&place, &mut process, &place.names.group("normalize"), &raw, began + ready).await?;
        let ledger_records = count(&place, &place.names.stage_change())?;
        let steady = self.steady(&place, &bodies, first_at).await?;
        let steady_memory = process.memory()?;
        process.stop().await?;
        let dead = count(&place, &place.names.normalize_dead_letter())?;

        let copied = if self.no_copy { None } else { Some(copy(&place, &raw).await?) };
        let after = Machine::now()?;

        let mut rows = vec![
            ["", "events", "seconds", "events/s", "CPU s", "events/CPU s", "peak MB", "broker CPU s"]
                .map(str::to_owned)
                .to_vec(),
        ];
        rows.push(row("normalize", &drained));
        rows.extend(copied.iter().map(|copied| row("raw copy", copied)));
        let share = copied.as_ref().map(|copied| rounded(drained.events_per_cpu_second / copied.events_per_cpu_second));
        let mut times = vec![["ms", "count", "p50", "p99", "max"].map(str::to_owned).to_vec()];
        times
            .push([vec!["produced -> ledger record read".to_owned()], Times::cells(steady.as_ref()).to_vec()].concat());
        let text = format!(
            "normalize, {bytes} bytes an event, {} applications, {} broker, {} partitions\n{}\nnormalize / copy per CPU second: {}\n\n\
             at {} events/s\n{}\nRSS idle {:.1} MB, after the steady part {:.1} MB, peak {:.1} MB; start to ready {:.0} ms, {idle_cpu:.2} CPU s\n\
             ledger records of the drain {ledger_records} of {}, dead letters {dead}\n{}\n",
            self.applications,
            place.broker_name(),
            place.partitions,
            table(&rows),
            share.map_or("-".to_owned(), |share| format!("{share:.2}")),
            self.rate,
            table(&times),
            idle_memory.now_mb,
            steady_memory.now_mb,
            steady_memory.peak_mb,
            milliseconds(start),
            self.events,
            figures::about(&before, &after),
        );
        let json = json!({
            "bench": "normalize", "broker": place.broker_name(), "partitions": place.partitions, "event_bytes": bytes,
            "applications": self.applications, "drain": drained, "copy": copied, "normalize_per_copy": share,
            "rate": self.rate, "steady": steady, "idle_rss_mb": idle_memory.now_mb,
            "steady_rss_mb": steady_memory.now_mb, "peak_rss_mb": steady_memory.peak_mb, "start_ms": milliseconds(start),
            "start_cpu_seconds": idle_cpu, "ledger_records": ledger_records, "dead_letters": dead,
            "before": before, "after": after,
        });
        figures::result(&text, &json);
        place.stop().await?;
        anyhow::ensure!(ledger_records == self.events && dead == 0, "the run was not right, its figures do not count");
        Ok(())
    }

    /// More events of the same applications, one by one.
    async fn steady(&self, place: &Place, bodies: &Bodies, first_at: i64) -> anyhow::Result<Option<Times>> {
        let warm_up = self.rate as usize;
        let events = (self.rate * self.paced_seconds) as usize;
        if events == 0 {
            return Ok(None);
        }
        note(&format!("{} events a second for {} s", self.rate, self.paced_seconds));
        let ledger = Ledger::follow(place, self.applications).await?;
        let sender = Sender::new(place)?;
        let mut sent: Vec<(usize, Instant)> = Vec::with_capacity(warm_up + events);
        paced(self.rate, warm_up + events, |index| {
            // The rounds go on where the drained ones ended, so that each event is a move.
            let index = self.events.next_multiple_of(self.applications) + index;
            let event = event(index, self.applications, first_at);
            sent.push((event.application, Instant::now()));
            sender.send(bodies, &event, index)
        })
        .await?;
        until_quiet(warm_up + events, || ledger.records()).await;
        sender.check()?;
        let read = ledger.times();
        let mut turn = vec![0; self.applications];
        let mut times = Vec::with_capacity(events);
        for (index, (application, sent)) in sent.into_iter().enumerate() {
            let (Some(turn), Some(read)) = (turn.get_mut(application), read.get(application)) else { continue };
            // In the first second this program's own clients find their brokers.
            if index >= warm_up {
                times.extend(read.get(*turn).map(|read| read.saturating_duration_since(sent)));
            }
            *turn += 1;
        }
        anyhow::ensure!(times.len() == events, "{} of {events} ledger records came", times.len());
        Ok(Times::of(times))
    }
}

/// The same topic through the same loop, copied only.
async fn copy(place: &Place, raw: &str) -> anyhow::Result<Drain> {
    let output = place.names.full("bench.copy.v1");
    let topic =
        NewTopic { name: output.clone(), partitions: place.partitions, replication: -1, config: BTreeMap::new() };
    Admin::new(&place.kafka)?.create_topics(&[topic]).await?;
    // A Kafka answers before all of it knows the topic.
    tokio::time::sleep(Duration::from_secs(1)).await;
    let group = place.names.group("bench-copy");
    let program = std::env::current_exe()?;
    let arguments =
        ["copy", "--brokers", place.kafka.bootstrap_servers(), "--input", raw, "--output", &output, "--group", &group];
    let mut process = Process::start("copy", &program, &arguments, &place.folder.path)?;
    process.line().await?;
    note(&format!("a raw copy (pid {}) drains them", process.pid));
    let copied = drain(place, &mut process, &group, raw, Instant::now()).await?;
    process.stop().await?;
    Ok(copied)
}

fn row(name: &str, drain: &Drain) -> Vec<String> {
    vec![
        name.to_owned(),
        drain.events.to_string(),
        format!("{:.1}", drain.seconds),
        format!("{:.0}", drain.events_per_second),
        format!("{:.2}", drain.cpu_seconds),
        format!("{:.0}", drain.events_per_cpu_second),
        format!("{:.1}", drain.peak_rss_mb),
        drain.broker_cpu_seconds.map_or("-".to_owned(), |cpu| format!("{cpu:.2}")),
    ]
}
