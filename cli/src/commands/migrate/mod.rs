//! `hirewire migrate`: an embedded deployment moves to a Kafka of its own, with all that it knows.
//!
//! In: the data folder, on which nothing runs, and the configuration of the new deployment; out: topics, records in their order, registry ids
//! and group positions there, and the table of old and new positions. What was written is read again and compared before it is called done.

mod copy;
mod rewrite;
mod table;

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, ensure};
use clap::Args;
use hirewire_broker::GroupPosition;
use hirewire_kafka::{Admin, NewTopic, Record, Settings, TransactionalWriter};
use hirewire_registry::{Codec, Registry};
use hirewire_route::replay::Place;

use crate::backup::{BROKER, REGISTRY};
use crate::commands::topics::{self, Wanted};
use crate::config::{Config, ConfigFile, Secrets};
use crate::out;
use crate::stack::Stack;
use crate::vendors::Vendors;
use rewrite::{Tells, rewrite};
use table::{Moves, Table};

#[derive(Args)]
pub(crate) struct MigrateArguments {
    /// The data folder of the embedded deployment. Nothing may run on it.
    #[arg(long, default_value = "hirewire-data")]
    data: PathBuf,
    /// The configuration of the new deployment, with its Kafka and its registry.
    #[arg(long, value_name = "CONFIG")]
    to: PathBuf,
    /// Where the table of old and new positions is written; not there yet.
    #[arg(long, value_name = "FILE", default_value = "hirewire-migrated.csv")]
    table: PathBuf,
}

/// What of a topic is the same on the new side, where the table of topics does not say it.
const KEPT_SETTINGS: [&str; 4] = ["cleanup.policy", "retention.ms", "retention.bytes", "max.message.bytes"];
/// Records of one transaction that only takes offsets.
const PADDING: i64 = 10_000;

impl MigrateArguments {
    pub(crate) async fn run(self, vendors: &Vendors) -> anyhow::Result<ExitCode> {
        let config = ConfigFile { config: self.to.clone() }.read(vendors, Secrets::NONE)?;
        ensure!(!self.table.exists(), "{} is there already: name another file with --table", self.table.display());
        for cache in ["normalize", "route"].map(|service| config.data_dir.join(service)) {
            ensure!(
                !cache.exists(),
                "{} is what a service of another cluster remembers: give the new configuration a new data_dir",
                cache.display()
            );
        }
        let mut stack = Stack::until_signal()?;
        let shutdown = stack.shutdown.clone();
        let moved = tokio::select! {
            () = shutdown.requested() => Err(anyhow::anyhow!("stopped before all was moved: delete the topics on the new Kafka, and begin again")),
            moved = Box::pin(self.migrate(&mut stack, &config, vendors)) => moved,
        };
        let stopped = stack.stop().await;
        moved.and(stopped)?;
        Ok(ExitCode::SUCCESS)
    }

    async fn migrate(&self, stack: &mut Stack, config: &Config, vendors: &Vendors) -> anyhow::Result<()> {
        // Both hold their folders: nobody else writes there meanwhile.
        let registry = self.data.join(REGISTRY);
        let registry =
            registry.exists().then(|| tokio::task::block_in_place(|| Registry::open(&registry))).transpose()?;
        let quiet =
            |settings: &mut hirewire_broker::Settings| settings.housekeeping_interval = Duration::from_secs(24 * 3600);
        let positions =
            tokio::task::block_in_place(|| hirewire_broker::inspect(&self.data.join(BROKER), |_, _| ()))?.positions;
        let broker = stack.broker(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), &self.data, quiet).await?;
        let old = Arc::new(Admin::new(&Settings::local(&broker.to_string()))?);
        let new = Arc::new(Admin::new(&config.kafka)?);
        let topics = topics::existing(&old).await?;
        refuse_what_does_not_fit(config, &topics)?;
        refuse_taken(&new, &topics).await?;
        // Without one of its own the old deployment's is another, which stays.
        let versions = match &registry {
            Some(registry) => hirewire_registry::import(registry, &config.registry).await?,
            None => 0,
        };
        out::line(&format!("registry  {versions} versions, each with its id"));
        topics::apply(&config.kafka, &Wanted::of(config, vendors), true).await?;
        create_others(&old, &new, config.replication, &topics).await?;

        let source = Settings::local(&broker.to_string());
        let (table, sums) = copy_all(&source, config, topics).await?;
        table.write(&self.table)?;
        out::line(&format!("table     {}", self.table.display()));
        let groups = move_groups(&new, &table, &positions).await?;
        let records = check_all(&config.kafka, &table, &sums).await?;
        out::line(&format!(
            "checked   {records} records as they were sent, {groups} groups where they stood, {versions} schemas under their ids"
        ));
        Ok(())
    }
}

fn refuse_what_does_not_fit(config: &Config, topics: &BTreeMap<String, i32>) -> anyhow::Result<()> {
    let state = config.names.internal("state");
    let count = topics.get(&state).with_context(|| {
        format!("the old broker has no topic {state}: `kafka.topic_prefix` must be that of the old deployment")
    })?;
    ensure!(
        *count == config.partitions,
        "the old topics have {count} partitions, the new configuration {}: equal ids would stand in other partitions. Set `kafka.partitions: {count}`",
        config.partitions
    );
    Ok(())
}

/// Nothing is mixed with what is there already.
async fn refuse_taken(new: &Arc<Admin>, topics: &BTreeMap<String, i32>) -> anyhow::Result<()> {
    for (topic, count) in topics::existing(new).await? {
        if !topics.contains_key(&topic) {
            continue;
        }
        for partition in 0..count {
            let (low, high) = watermarks(new, &topic, partition).await?;
            ensure!(
                low == high && high == 0,
                "the new Kafka has records in {topic}: a migration goes into topics that are not there yet or never had any. Delete the deployment's topics there, or use another cluster"
            );
        }
    }
    Ok(())
}

async fn watermarks(admin: &Arc<Admin>, topic: &str, partition: i32) -> anyhow::Result<(i64, i64)> {
    let (admin, topic) = (Arc::clone(admin), topic.to_owned());
    Ok(tokio::task::spawn_blocking(move || admin.watermarks(&topic, partition)).await??)
}

/// Topics that the configuration does not name: of sinks that are gone, or of other programs.
async fn create_others(
    old: &Arc<Admin>,
    new: &Arc<Admin>,
    replication: i32,
    topics: &BTreeMap<String, i32>,
) -> anyhow::Result<()> {
    let known = topics::existing(new).await?;
    let names = KEPT_SETTINGS.map(str::to_owned);
    let mut missing = Vec::new();
    for (name, partitions) in topics.iter().filter(|(name, _)| !known.contains_key(*name)) {
        let config = old.topic_config(name, &names).await?;
        missing.push(NewTopic { name: name.clone(), partitions: *partitions, replication, config });
    }
    topics::create(new, &missing).await
}

type Sums = BTreeMap<(String, i32), [u8; 32]>;

/// Topics whose records tell of others come after those.
async fn copy_all(source: &Settings, config: &Config, topics: BTreeMap<String, i32>) -> anyhow::Result<(Table, Sums)> {
    let names = &config.names;
    let codec = Codec::new(&config.registry)?;
    let writer = TransactionalWriter::new(&config.kafka.with_role("migrate"), &names.group("migrate")).await?;
    let (mut table, mut sums) = (Table::default(), Sums::new());
    let mut topics: Vec<(Tells, String, i32)> =
        topics.into_iter().map(|(topic, count)| (Tells::of(&topic, names), topic, count)).collect();
    topics.sort();
    for (tells, topic, count) in topics {
        let mut records = 0;
        for partition in 0..count {
            let change = |record| rewrite(record, tells, &table, names, &codec);
            let (mut moves, sum) = copy::copy(source, &writer, &topic, partition, change).await?;
            let is_raw = ["ats.raw.", "ats.raw-restricted."].iter().any(|front| topic.starts_with(&names.full(front)));
            if is_raw {
                pad(&writer, &topic, partition, &mut moves).await?;
            }
            records += moves.records();
            table.insert(&topic, partition, moves);
            sums.insert((topic.clone(), partition), sum);
        }
        out::line(&format!("topic     {topic}: {records} records in {count} partitions"));
    }
    Ok((table, sums))
}

/// New records must not stand where an old one stood: `raw_refs` below the old end are old ones, all others new.
async fn pad(writer: &TransactionalWriter, topic: &str, partition: i32, moves: &mut Moves) -> anyhow::Result<()> {
    loop {
        // Behind a transaction's last record stands its end. The broker is not asked: it shows that end a moment later.
        let next = if moves.new_end == 0 { 0 } else { moves.new_end + 1 };
        let missing = moves.old_end - next;
        if missing <= 0 {
            return Ok(());
        }
        let nothing = Record {
            topic: topic.into(),
            partition: Some(partition),
            key: Some("padding".into()),
            ..Record::default()
        };
        let count = usize::try_from((missing - 1).clamp(1, PADDING))?;
        let taken =
            writer.pad(vec![nothing; count]).await.context("the new Kafka did not take the padding of a raw topic")?;
        moves.new_end = taken.last().context("the new Kafka told no place of the padding")?.offset + 1;
    }
}

/// Sets each group where it stood, and asks. Gives their number.
async fn move_groups(new: &Arc<Admin>, table: &Table, positions: &[GroupPosition]) -> anyhow::Result<usize> {
    let mut groups: BTreeMap<&str, BTreeMap<(String, i32), i64>> = BTreeMap::new();
    for at in positions {
        let place = Place { topic: at.topic.clone(), partition: at.partition, offset: at.offset };
        // Of a topic that is gone nothing is read any more.
        if let Some(offset) = table.position(&place) {
            groups.entry(&at.group).or_default().insert((at.topic.clone(), at.partition), offset);
        }
    }
    let count = groups.len();
    for (group, offsets) in groups {
        let (admin, name) = (Arc::clone(new), group.to_owned());
        let committed = tokio::task::spawn_blocking(move || {
            admin.commit(&name, &offsets)?;
            for ((topic, partition), offset) in &offsets {
                let found = admin.committed(&name, topic, partition + 1)?;
                ensure!(
                    found.get(partition) == Some(offset),
                    "group {name} should stand at {offset} of {topic} partition {partition} on the new Kafka, and stands at {found:?}"
                );
            }
            Ok(offsets.len())
        });
        let positions = committed.await??;
        out::line(&format!("group     {group}: {positions} positions"));
    }
    Ok(count)
}

/// Reads everything again. Gives the number of records.
async fn check_all(kafka: &Settings, table: &Table, sums: &Sums) -> anyhow::Result<i64> {
    let mut records = 0;
    for (topic, partition, moves) in table.partitions() {
        let sum = sums.get(&(topic.to_owned(), partition)).context("a partition was moved without a sum")?;
        copy::check(kafka, topic, partition, moves, *sum).await?;
        records += Moves::records(moves);
    }
    Ok(records)
}
