//! `hirewire dlq replay`: chosen dead letters in, the records that send them again out, each marked with it.
//!
//! Normalize's go to the topic, partition and time that they came from, byte for byte, with the mark in one transaction.
//! A sink's go to the replay topic, which is the mark too. One transactional id serves all runs: a second run stops the first.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::process::ExitCode;
use std::time::Duration;

use bytes::Bytes;
use clap::Args;
use hirewire_kafka::{Inbound, Isolation, Record, TransactionalWriter, read_table};
use hirewire_route::replay::fence::{Asked, Fence};
use hirewire_route::replay::{Order, Place, is_added};
use tokio::sync::mpsc;

use super::letters::{Letter, State};
use super::selection::Chosen;
use super::{Desk, shown_state};
use crate::config::ConfigFile;
use crate::out;
use crate::vendors::Vendors;

const REPLAYED: &str = "replayed";

#[derive(Args)]
pub(crate) struct ReplayArguments {
    #[command(flatten)]
    config: ConfigFile,
    #[command(flatten)]
    chosen: Chosen,
    /// Says what would be sent, and sends nothing.
    #[arg(long)]
    dry_run: bool,
    /// Most records in a second.
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    rate: u32,
    /// Also those that were replayed before.
    #[arg(long)]
    again: bool,
    /// Also a sink's whose route has something newer of the same key. The receiver sees the older one last.
    #[arg(long)]
    even_if_newer: bool,
}

/// Where a dead letter goes.
#[derive(Debug, Clone)]
enum Way {
    /// Back to where it came from.
    Back(Place),
    Sink(Order),
}

impl ReplayArguments {
    pub(super) async fn run(self, vendors: &Vendors) -> anyhow::Result<ExitCode> {
        self.chosen.check()?;
        let desk = Desk::open(&self.config, vendors).await?;
        let choice = self.chosen.selection.choice()?;
        // Opened before the marks are read: whoever replayed meanwhile has ended, and is seen.
        let writer = if self.dry_run { None } else { Some(desk.writer().await?) };
        let letters = desk.letters(&choice).await?;
        let mut wanted = Vec::new();
        for letter in letters.iter().filter(|letter| choice.means(letter)) {
            match &letter.state {
                State::Open => wanted.push(letter),
                State::Done { what, .. } if what == REPLAYED && self.again => wanted.push(letter),
                done @ State::Done { .. } => {
                    out::line(&format!("{}: {}, left alone", letter.id(desk.names()), shown_state(done)));
                }
            }
        }
        let (ways, refused) = ways(&desk, &letters, &wanted, self.even_if_newer).await?;
        for letter in &wanted {
            let (id, code) = (letter.id(desk.names()), &letter.code);
            match (ways.get(&letter.place), refused.get(&letter.place)) {
                (Some(Way::Back(origin)), _) => out::line(&format!("{id} {code}: to {}", origin.topic)),
                (Some(Way::Sink(order)), _) => out::line(&format!("{id} {code}: to the sink {}", order.sink)),
                (None, why) => out::line(&format!("{id} {code}: not sent: {}", why.map_or("", String::as_str))),
            }
        }
        let sent = match &writer {
            Some(writer) => send(&desk, writer, &wanted, &ways, self.rate).await?,
            None => 0,
        };
        let would = if self.dry_run { format!("{} would be sent", ways.len()) } else { format!("{sent} sent again") };
        out::line(&format!("{would}, {} not sent", refused.len()));
        Ok(if refused.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}

type Ways = HashMap<Place, Way>;

/// Where each one goes, or why it goes nowhere.
async fn ways(
    desk: &Desk,
    all: &[Letter],
    wanted: &[&Letter],
    even_if_newer: bool,
) -> anyhow::Result<(Ways, HashMap<Place, String>)> {
    let (mut ways, mut refused) = (Ways::new(), HashMap::new());
    let raw = ["ats.raw.", "ats.raw-restricted.", "hirewire.internal.fragment.", "hirewire.internal.write-back."]
        .map(|front| desk.names().full(front));
    let mut of_sinks: Vec<(&Letter, Asked)> = Vec::new();
    for letter in wanted {
        let mut refuse = |why: String| drop(refused.insert(letter.place.clone(), why));
        match (&letter.origin, &letter.sink) {
            (None, _) => {
                refuse("it does not say where it came from (__connect.errors.topic, .partition, .offset)".to_owned())
            }
            (Some(origin), _) if !desk.topics.contains(&origin.topic) => {
                refuse(format!("{} does not exist", origin.topic))
            }
            (Some(origin), None) if raw.iter().any(|front| origin.topic.starts_with(front)) => {
                ways.insert(letter.place.clone(), Way::Back(origin.clone()));
            }
            (Some(origin), None) => refuse(format!("normalize does not read {}", origin.topic)),
            (Some(origin), Some(sink)) => {
                let route = letter.route.clone().unwrap_or_default();
                of_sinks.push((
                    letter,
                    Asked { sink: sink.clone(), route, origin: origin.clone(), key: letter.key.clone() },
                ));
            }
        }
    }
    if of_sinks.is_empty() {
        return Ok((ways, refused));
    }
    let config = &desk.config;
    let fence = Fence::new(&config.route, &desk.kafka, &config.names, &config.registry, config.partitions).await?;
    let (known, unknown): (Vec<_>, Vec<_>) =
        of_sinks.into_iter().partition(|(_, asked)| fence.knows(&asked.sink, &asked.route));
    for (letter, asked) in unknown {
        refused.insert(
            letter.place.clone(),
            format!("the configuration has no sink {} with a route {}", asked.sink, asked.route),
        );
    }
    // What is open was not sent, what is sent again with these comes in its order.
    let mine: HashSet<&Place> = wanted.iter().map(|letter| &letter.place).collect();
    let undelivered = all.iter().filter(|letter| letter.state == State::Open || mine.contains(&letter.place));
    let undelivered: HashSet<(String, Place)> =
        undelivered.filter_map(|letter| Some((letter.sink.clone()?, letter.origin.clone()?))).collect();
    let asked: Vec<Asked> = known.iter().map(|(_, asked)| asked.clone()).collect();
    let checked = fence.check(&asked, &undelivered).await?;
    for ((letter, asked), checked) in known.into_iter().zip(checked) {
        match checked.newer {
            Some(offset) if !even_if_newer => {
                let why = format!(
                    "the record at offset {offset} of {} is newer and was sent; --even-if-newer sends it",
                    asked.origin.topic
                );
                refused.insert(letter.place.clone(), why);
            }
            _ => {
                let Asked { sink, route, origin, .. } = asked;
                let order = Order { origin, sink, route, checked_to: checked.checked_to, even_if_newer };
                ways.insert(letter.place.clone(), Way::Sink(order));
            }
        }
    }
    Ok((ways, refused))
}

/// Records of a transaction together.
const CHUNK_BYTES: usize = 8 * 1024 * 1024;

/// One partition after another, in order.
async fn send(
    desk: &Desk,
    writer: &TransactionalWriter,
    wanted: &[&Letter],
    ways: &Ways,
    rate: u32,
) -> anyhow::Result<usize> {
    let mut partitions: BTreeMap<(&str, i32), Vec<&Letter>> = BTreeMap::new();
    for letter in wanted.iter().filter(|letter| ways.contains_key(&letter.place)) {
        partitions.entry((&letter.place.topic, letter.place.partition)).or_default().push(letter);
    }
    let mut sent = 0;
    for ((topic, partition), letters) in partitions {
        let first = letters.iter().map(|letter| letter.place.offset).min().unwrap_or_default();
        let offsets: HashSet<i64> = letters.iter().map(|letter| letter.place.offset).collect();
        let (to_us, mut records) = mpsc::channel::<Inbound>(16);
        let (kafka, topic) = (desk.kafka.clone(), topic.to_owned());
        let reading = tokio::task::spawn_blocking(move || {
            read_table(&kafka, &topic, partition, first, Isolation::Committed, &mut |inbound| {
                if offsets.contains(&inbound.offset) {
                    drop(to_us.blocking_send(inbound));
                }
                Ok(())
            })
        });
        let by_offset: HashMap<i64, &Letter> = letters.iter().map(|letter| (letter.place.offset, *letter)).collect();
        let mut chunk = Chunk::default();
        while let Some(inbound) = records.recv().await {
            let Some((letter, way)) =
                by_offset.get(&inbound.offset).and_then(|letter| Some((letter, ways.get(&letter.place)?)))
            else {
                continue;
            };
            chunk.add(inbound, letter, way, &desk.replay_topic());
            if chunk.letters >= usize::try_from(rate)? || chunk.bytes >= CHUNK_BYTES {
                sent += chunk.write(writer, rate).await?;
            }
        }
        reading.await??;
        sent += chunk.write(writer, rate).await?;
    }
    Ok(sent)
}

#[derive(Default)]
struct Chunk {
    records: Vec<Record>,
    letters: usize,
    bytes: usize,
}

impl Chunk {
    fn add(&mut self, inbound: Inbound, letter: &Letter, way: &Way, replay_topic: &str) {
        self.letters += 1;
        self.bytes += inbound.value.as_ref().map_or(0, Bytes::len);
        let mut mark = letter.mark(replay_topic, REPLAYED);
        let own = inbound.headers.into_iter().filter(|(name, _)| !is_added(name));
        let own = own.map(|(name, value)| (name.into(), value));
        match way {
            Way::Back(origin) => {
                self.records.push(Record {
                    topic: origin.topic.as_str().into(),
                    partition: Some(origin.partition),
                    key: inbound.key,
                    value: inbound.value,
                    headers: own.collect(),
                    timestamp_ms: Some(inbound.timestamp_ms),
                });
            }
            Way::Sink(order) => {
                let asked = order.headers().into_iter().map(|(name, value)| (name.into(), Bytes::from(value)));
                mark.headers = own.chain(mark.headers).chain(asked).collect();
                (mark.value, mark.timestamp_ms) = (inbound.value, Some(inbound.timestamp_ms));
            }
        }
        self.records.push(mark);
    }

    /// Writes what there is, and waits as long as so much may take.
    async fn write(&mut self, writer: &TransactionalWriter, rate: u32) -> anyhow::Result<usize> {
        let Self { records, letters, .. } = std::mem::take(self);
        if records.is_empty() {
            return Ok(0);
        }
        Desk::write(writer, records).await?;
        tokio::time::sleep(Duration::from_secs(1) * u32::try_from(letters)? / rate).await;
        Ok(letters)
    }
}
