//! `hirewire dlq list|show|replay|purge`: what could not be processed or delivered, why, and once more.

mod letters;
mod purge;
mod replay;
mod selection;

use std::process::ExitCode;

use clap::{Args, Subcommand};
use hirewire_kafka::{Admin, Inbound, Isolation, Record, Settings, TransactionalWriter, read_table};
use hirewire_registry::Codec;
use hirewire_schemas::Names;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::config::{Config, ConfigFile, Secrets};
use crate::out;
use crate::vendors::Vendors;
use letters::{Letter, State};
use selection::{Choice, Selection};

#[derive(Subcommand)]
pub(crate) enum DlqCommand {
    /// Lists dead letters, the open ones unless --done is given.
    List(ListArguments),
    /// Shows one dead letter: reason, remedy, origin and headers; of its key and value only sizes and digests.
    Show(ShowArguments),
    /// Sends dead letters again: normalize's to the raw topic, a sink's to that sink alone.
    Replay(replay::ReplayArguments),
    /// Closes dead letters for good, and deletes them as far as none that stays stands before them.
    Purge(purge::PurgeArguments),
}

#[derive(Args)]
pub(crate) struct ListArguments {
    #[command(flatten)]
    config: ConfigFile,
    #[command(flatten)]
    selection: Selection,
    /// One JSON object a line instead of a table.
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
pub(crate) struct ShowArguments {
    /// As `list` shows it: normalize/3/17, route.payroll/0/5.
    id: String,
    #[command(flatten)]
    config: ConfigFile,
    /// Shows the value too, which holds personal data.
    #[arg(long)]
    value: bool,
}

impl DlqCommand {
    pub(crate) async fn run(self, vendors: &Vendors) -> anyhow::Result<ExitCode> {
        match self {
            Self::List(arguments) => arguments.run(vendors).await,
            Self::Show(arguments) => arguments.run(vendors).await,
            Self::Replay(arguments) => arguments.run(vendors).await,
            Self::Purge(arguments) => arguments.run(vendors).await,
        }
    }
}

/// A deployment's dead letters, and where marks on them are kept.
struct Desk {
    config: Config,
    kafka: Settings,
    /// Which topics there are.
    topics: Vec<String>,
}

impl Desk {
    async fn open(file: &ConfigFile, vendors: &Vendors) -> anyhow::Result<Self> {
        let config = file.read(vendors, Secrets::NONE)?;
        let kafka = config.kafka.with_role("dlq");
        let admin = Admin::new(&kafka)?;
        let topics = tokio::task::spawn_blocking(move || admin.topics()).await??;
        Ok(Self { config, kafka, topics: topics.into_keys().collect() })
    }

    fn names(&self) -> &Names {
        &self.config.names
    }

    fn replay_topic(&self) -> String {
        self.names().internal(hirewire_route::replay::TOPIC)
    }

    /// Opens the one writer of marks; another `dlq replay` or `purge` that still runs is stopped by it.
    async fn writer(&self) -> anyhow::Result<TransactionalWriter> {
        let topic = self.replay_topic();
        anyhow::ensure!(self.topics.contains(&topic), "{topic} does not exist: run `hirewire topics apply`");
        Ok(TransactionalWriter::new(&self.kafka, &self.names().group("dlq")).await?)
    }

    /// All dead letters of these topics, with what was done with them.
    async fn letters(&self, choice: &Choice) -> anyhow::Result<Vec<Letter>> {
        let marks = match self.topics.contains(&self.replay_topic()) {
            true => {
                letters::marks(self.read(&self.replay_topic(), |inbound| Some(letters::Mark::read(&inbound))).await?)
            }
            false => letters::Marks::default(),
        };
        let mut all = Vec::new();
        for topic in self.topics.iter().filter(|topic| choice.may_be_in(topic, self.names())) {
            let names = self.names().clone();
            all.extend(self.read(topic, move |inbound| Letter::read(&inbound, &names)).await?);
        }
        for letter in &mut all {
            letter.state = marks.state(letter);
        }
        all.sort_by(|left, right| left.place.cmp(&right.place));
        Ok(all)
    }

    /// A topic's records, each made into something smaller. Partitions are read side by side, and come in their order.
    async fn read<T: Send + 'static>(
        &self,
        topic: &str,
        take: impl Fn(Inbound) -> Option<T> + Clone + Send + 'static,
    ) -> anyhow::Result<Vec<T>> {
        let readings: Vec<_> = (0..self.config.partitions)
            .map(|partition| {
                let (kafka, topic, take) = (self.kafka.clone(), topic.to_owned(), take.clone());
                tokio::task::spawn_blocking(move || {
                    let mut taken = Vec::new();
                    read_table(&kafka, &topic, partition, 0, Isolation::Committed, &mut |inbound| {
                        taken.extend(take(inbound));
                        Ok(())
                    })?;
                    Ok::<_, hirewire_kafka::Stop>(taken)
                })
            })
            .collect();
        let mut all = Vec::new();
        for reading in readings {
            all.extend(reading.await??);
        }
        Ok(all)
    }

    /// Writes all or nothing.
    async fn write(writer: &TransactionalWriter, records: Vec<Record>) -> anyhow::Result<()> {
        match writer.write(records).await {
            Ok(_) => Ok(()),
            Err(error) => Err(anyhow::Error::from(error).context(
                "stopped: what was sent before is marked, so the same command goes on where this one ended. If another \
                 `dlq replay` or `dlq purge` was started meanwhile, it took over",
            )),
        }
    }
}

impl ListArguments {
    async fn run(self, vendors: &Vendors) -> anyhow::Result<ExitCode> {
        let desk = Desk::open(&self.config, vendors).await?;
        let choice = self.selection.choice()?;
        let letters = desk.letters(&choice).await?;
        let chosen: Vec<&Letter> = letters.iter().filter(|letter| choice.takes(letter)).collect();
        if self.json {
            chosen.iter().for_each(|letter| out::line(&letter.json(desk.names()).to_string()));
            return Ok(ExitCode::SUCCESS);
        }
        let head = ["ID", "CODE", "FAILED AT", "CONNECTION OR ROUTE", "KEY", "STATE"].map(str::to_owned);
        let rows: Vec<[String; 6]> = chosen.iter().map(|letter| letter.row(desk.names())).collect();
        if !rows.is_empty() {
            table(&head, &rows);
        }
        out::line(&format!("{} dead letters", rows.len()));
        Ok(ExitCode::SUCCESS)
    }
}

fn table(head: &[String; 6], rows: &[[String; 6]]) {
    let width = |column: usize| {
        let cells = rows.iter().chain([head]).filter_map(|row| row.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    for row in [head].into_iter().chain(rows) {
        let cells = row.iter().enumerate().map(|(column, cell)| format!("{cell:<0$}", width(column)));
        out::line(cells.collect::<Vec<_>>().join("  ").trim_end());
    }
}

impl ShowArguments {
    async fn run(self, vendors: &Vendors) -> anyhow::Result<ExitCode> {
        let desk = Desk::open(&self.config, vendors).await?;
        let choice = Choice::one(&self.id)?;
        let letters = desk.letters(&choice).await?;
        let letter = letters.iter().find(|letter| letter.id(desk.names()) == self.id);
        let letter =
            letter.ok_or_else(|| anyhow::anyhow!("there is no dead letter {}: `hirewire dlq list --done`", self.id))?;
        let (place, wanted) = (letter.place.clone(), letter.place.offset);
        let record = desk.read(&letter.place.topic, move |inbound| {
            (inbound.partition == place.partition && inbound.offset == wanted).then_some(inbound)
        });
        let record = record.await?.pop().ok_or_else(|| anyhow::anyhow!("{} is gone", self.id))?;
        let mut shown = letter.json(desk.names());
        let headers: serde_json::Map<String, Value> =
            record.headers.iter().map(|(name, value)| (name.clone(), json!(String::from_utf8_lossy(value)))).collect();
        shown["headers"] = Value::Object(headers);
        shown["remedy"] = json!(record.header_str("dlq.remedy"));
        shown["message"] = json!(record.header_str("__connect.errors.exception.message"));
        shown["value"] = match (&record.value, self.value) {
            (None, _) => Value::Null,
            (Some(bytes), true) => super::tail::value_of(bytes, &Codec::new(&desk.config.registry)?).await?,
            (Some(bytes), false) => json!({"bytes": bytes.len(), "sha256": hex::encode(Sha256::digest(bytes)),
                "hidden": "it holds personal data: --value shows it"}),
        };
        out::line(&serde_json::to_string_pretty(&shown)?);
        Ok(ExitCode::SUCCESS)
    }
}

/// Says in a word whether it is open.
fn shown_state(state: &State) -> String {
    match state {
        State::Open => "open".to_owned(),
        State::Done { what, at } => format!("{what} {at}"),
    }
}
