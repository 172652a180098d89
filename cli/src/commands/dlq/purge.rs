//! `hirewire dlq purge`: closes dead letters for good.
//!
//! Kafka deletes only from the front of a partition: what is purged is marked, and deleted as far as everything before it is
//! purged too. The rest goes with the topic's retention, and is not listed any more.

use std::collections::{BTreeMap, HashSet};
use std::io::{BufRead, IsTerminal};
use std::process::ExitCode;

use clap::Args;
use hirewire_kafka::Admin;
use hirewire_route::replay::Place;

use super::Desk;
use super::letters::{Letter, PURGED, is_purged};
use super::selection::Chosen;
use crate::config::ConfigFile;
use crate::out;
use crate::vendors::Vendors;

/// Marks in one transaction.
const CHUNK: usize = 500;

#[derive(Args)]
pub(crate) struct PurgeArguments {
    #[command(flatten)]
    config: ConfigFile,
    #[command(flatten)]
    chosen: Chosen,
    /// Does not ask.
    #[arg(long)]
    yes: bool,
}

impl PurgeArguments {
    pub(super) async fn run(self, vendors: &Vendors) -> anyhow::Result<ExitCode> {
        self.chosen.check()?;
        let desk = Desk::open(&self.config, vendors).await?;
        let choice = self.chosen.selection.choice()?;
        let letters = desk.letters(&choice).await?;
        let chosen: Vec<&Letter> =
            letters.iter().filter(|letter| choice.takes(letter) && !is_purged(&letter.state)).collect();
        for letter in &chosen {
            out::line(&format!("{} {}", letter.id(desk.names()), letter.code));
        }
        if chosen.is_empty() {
            out::line("0 dead letters to purge");
            return Ok(ExitCode::SUCCESS);
        }
        anyhow::ensure!(self.yes || confirmed(chosen.len()), "nothing was purged: confirm with --yes");
        let writer = desk.writer().await?;
        let topic = desk.replay_topic();
        for chunk in chosen.chunks(CHUNK) {
            Desk::write(&writer, chunk.iter().map(|letter| letter.mark(&topic, PURGED)).collect()).await?;
        }
        let gone: HashSet<&Place> = chosen.iter().map(|letter| &letter.place).collect();
        let heads = heads(&letters, |letter| is_purged(&letter.state) || gone.contains(&letter.place));
        let admin = Admin::new(&desk.kafka)?;
        for (topic, before) in &heads {
            admin.delete_records(topic, before).await?;
        }
        let deleted = |letter: &&&Letter| {
            let before = heads.get(&letter.place.topic).and_then(|heads| heads.get(&letter.place.partition));
            before.is_some_and(|before| letter.place.offset < *before)
        };
        let deleted = chosen.iter().filter(deleted).count();
        let left = chosen.len() - deleted;
        let rest = match left {
            0 => String::new(),
            _ => format!("; {left} stay in their topic, unlisted, until its retention ends: others stand before them"),
        };
        out::line(&format!("{} purged, {deleted} of them deleted{rest}", chosen.len()));
        Ok(ExitCode::SUCCESS)
    }
}

/// By topic and partition, the offset before which nothing stays. `letters`: all of these topics, in order.
fn heads(letters: &[Letter], goes: impl Fn(&Letter) -> bool) -> BTreeMap<String, BTreeMap<i32, i64>> {
    let mut heads: BTreeMap<String, BTreeMap<i32, i64>> = BTreeMap::new();
    let mut closed: HashSet<(&str, i32)> = HashSet::new();
    for letter in letters {
        let Place { topic, partition, offset } = &letter.place;
        if !goes(letter) {
            closed.insert((topic, *partition));
        } else if !closed.contains(&(topic.as_str(), *partition)) {
            heads.entry(topic.clone()).or_default().insert(*partition, offset + 1);
        }
    }
    heads
}

fn confirmed(count: usize) -> bool {
    if !std::io::stdin().is_terminal() {
        return false;
    }
    out::error_line(&format!("{count} dead letters will be closed for good. Go on? Write yes."));
    let mut answer = String::new();
    std::io::stdin().lock().read_line(&mut answer).is_ok() && answer.trim() == "yes"
}
