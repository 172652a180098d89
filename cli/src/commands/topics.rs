//! `hirewire topics apply|check`: the topics of a deployment and the schemas of their values, from the one table in
//! `schemas/topics.yaml`.

use std::collections::BTreeMap;
use std::fmt;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::{Args, Subcommand};
use hirewire_kafka::{Admin, NewTopic, Settings};
use hirewire_registry::{Codec, Standing, Subject};
use hirewire_schemas::acls::{self, Resource};
use hirewire_schemas::{Names, topics};

use crate::config::{Config, ConfigFile, Secrets};
use crate::out;
use crate::vendors::Vendors;

#[derive(Subcommand)]
pub(crate) enum TopicsCommand {
    /// Creates what is missing, mends settings, and refuses to change a partition count.
    Apply(TopicsArguments),
    /// Compares and changes nothing; exit code 1 when something differs.
    Check(TopicsArguments),
    /// Prints the access rules that the services, and whoever operates them, need on a Kafka with an authorizer, as arguments of Kafka's `kafka-acls.sh`.
    Acls(AclsArguments),
}

#[derive(Args)]
pub(crate) struct TopicsArguments {
    #[command(flatten)]
    config: ConfigFile,
    /// The schemas of the topics' values too, at the schema registry. Each service registers its own when it starts, for
    /// who may not do so later, or has readers that start before.
    #[arg(long)]
    schemas: bool,
}

#[derive(Args)]
pub(crate) struct AclsArguments {
    #[command(flatten)]
    config: ConfigFile,
    /// The principal of each service; `{service}` stands for webhook, poll, normalize, route, and operator: whoever runs doctor, dlq, topics.
    #[arg(long, default_value = "User:hirewire-{service}")]
    principal: String,
}

impl TopicsCommand {
    pub(crate) async fn run(self, vendors: &Vendors) -> anyhow::Result<ExitCode> {
        let (arguments, change) = match self {
            Self::Apply(arguments) => (arguments, true),
            Self::Check(arguments) => (arguments, false),
            Self::Acls(arguments) => return arguments.run(vendors),
        };
        let config = arguments.config.read(vendors, Secrets::NONE)?;
        let wanted = Wanted::of(&config, vendors);
        let differences = apply(&config.kafka, &wanted, change).await?;
        for difference in &differences {
            out::line(&difference.to_string());
        }
        out::line(&format!("{} topics, {} differences", wanted.topics().len(), differences.len()));
        let differing =
            if arguments.schemas { schemas(&Codec::new(&config.registry)?, &wanted, change).await? } else { 0 };
        Ok(if change || (differences.is_empty() && differing == 0) { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}

impl AclsArguments {
    fn run(self, vendors: &Vendors) -> anyhow::Result<ExitCode> {
        let config = self.config.read(vendors, Secrets::NONE)?;
        let (wanted, others) = (Wanted::of(&config, vendors), config.route.topics_of_others());
        for rule in
            acls::rules(topics::table(), &wanted.names, &refs(&wanted.vendors), &refs(&wanted.sinks), &refs(&others))
        {
            let resource = match rule.resource {
                Resource::Topic(name) => format!("--topic {name}"),
                Resource::Topics(prefix) => format!("--resource-pattern-type prefixed --topic {prefix}"),
                Resource::Group(name) => format!("--group {name}"),
                Resource::TransactionalIds(prefix) => {
                    format!("--resource-pattern-type prefixed --transactional-id {prefix}")
                }
            };
            let (principal, operation) =
                (self.principal.replace("{service}", rule.service.word()), rule.operation.word());
            out::line(&format!("--add --allow-principal {principal} --operation {operation} {resource}"));
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn refs(texts: &[String]) -> Vec<&str> {
    texts.iter().map(String::as_str).collect()
}

/// Which topics a deployment has.
pub(crate) struct Wanted {
    pub(crate) names: Names,
    pub(crate) vendors: Vec<String>,
    pub(crate) sinks: Vec<String>,
    pub(crate) partitions: i32,
    /// −1: the broker's default.
    pub(crate) replication: i32,
}

impl Wanted {
    pub(crate) fn of(config: &Config, vendors: &Vendors) -> Self {
        Self {
            names: config.names.clone(),
            vendors: vendors.names(),
            sinks: config.route.sink_names(),
            partitions: config.partitions,
            replication: config.replication,
        }
    }

    /// What is registered for the topics of canonical records and for our own.
    pub(crate) fn subjects(&self) -> Vec<Subject> {
        let rows = topics::table().topics.iter();
        rows.filter_map(|topic| {
            let record = topic.record.as_deref().and_then(hirewire_schemas::schema)?;
            Some(Subject {
                name: Names::value_subject(&self.names.full(&topic.name)),
                schema: record.text.clone(),
                compatibility: topic.compatibility.clone(),
            })
        })
        .collect()
    }

    pub(crate) fn topics(&self) -> Vec<NewTopic> {
        topics::table()
            .deployed(&self.names, &refs(&self.vendors), &refs(&self.sinks))
            .into_iter()
            .map(|(name, topic)| NewTopic {
                name,
                partitions: self.partitions,
                replication: self.replication,
                config: topic.settings().into_iter().map(|(key, value)| (key.to_owned(), value)).collect(),
            })
            .collect()
    }
}

/// How long a registry that is away is waited for.
const REGISTRY_PATIENCE: Duration = Duration::from_secs(60);

/// Compares and, with `change`, registers. Returns how many were not registered.
async fn schemas(codec: &Codec, wanted: &Wanted, change: bool) -> anyhow::Result<usize> {
    let subjects = wanted.subjects();
    let mut differing = 0;
    if change {
        codec.register(&subjects, REGISTRY_PATIENCE).await?;
    } else {
        for Subject { name, schema, .. } in &subjects {
            let what = match codec.look(name, schema).await? {
                Standing::Registered => continue,
                Standing::Absent => "missing",
                Standing::Compatible => "an earlier version is registered",
                Standing::Incompatible => "what is registered does not fit: docs/errors.md, schema-incompatible",
            };
            out::line(&format!("{name}: {what}"));
            differing += 1;
        }
    }
    out::line(&format!("{} schemas, {differing} differences", subjects.len()));
    Ok(differing)
}

/// Compares and, with `change`, creates and mends. Returns what differed.
pub(crate) async fn apply(kafka: &Settings, wanted: &Wanted, change: bool) -> anyhow::Result<Vec<Difference>> {
    let admin = Arc::new(Admin::new(kafka)?);
    let existing = existing(&admin).await?;
    let mut differences = Vec::new();
    let mut missing = Vec::new();
    for topic in wanted.topics() {
        let Some(what) = what_differs(&admin, &existing, &topic).await? else { continue };
        let found = Difference { topic: topic.name.clone(), what };
        match found.what {
            What::Partitions { .. } => anyhow::bail!("{found}"),
            What::Settings(_) if change => admin.set_topic_config(&topic.name, &topic.config).await?,
            What::Missing => missing.push(topic),
            What::Settings(_) | What::Hidden(_) => {}
        }
        differences.push(found);
    }
    if change {
        create(&admin, &missing).await?;
    }
    Ok(differences)
}

/// Creates topics; they can be used then.
pub(crate) async fn create(admin: &Arc<Admin>, missing: &[NewTopic]) -> anyhow::Result<()> {
    if missing.is_empty() {
        return Ok(());
    }
    admin.create_topics(missing).await?;
    wait_until_known(admin, missing).await
}

/// A topic that is not as it must be.
pub(crate) struct Difference {
    pub(crate) topic: String,
    pub(crate) what: What,
}

pub(crate) enum What {
    Missing,
    Partitions {
        has: i32,
        wanted: i32,
    },
    /// Which, and what each should be.
    Settings(String),
    /// A broker does not show it to a principal without the right to see it; or only its settings, and why.
    Hidden(Option<String>),
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.topic, self.what)
    }
}

impl fmt::Display for What {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing => f.write_str("missing"),
            Self::Partitions { has, wanted } => write!(
                f,
                "has {has} partitions, this deployment has {wanted}: all topics must have the same count, and it can never change, because equal ids \
                 would then stand in different partitions. Set `kafka.partitions: {has}`, or use another topic_prefix.",
            ),
            Self::Settings(wrong) => f.write_str(wrong),
            Self::Hidden(None) => f.write_str("hidden from this principal"),
            Self::Hidden(Some(why)) => write!(f, "its settings are hidden from this principal: {why}"),
        }
    }
}

/// Compares and changes nothing: each topic that differs, or whose settings are hidden. One that is hidden itself looks as if
/// it were missing.
pub(crate) async fn differences(
    admin: &Arc<Admin>,
    existing: &BTreeMap<String, i32>,
    wanted: &Wanted,
) -> Vec<Difference> {
    let mut differences = Vec::new();
    for topic in wanted.topics() {
        let what = what_differs(admin, existing, &topic).await;
        let what = what.unwrap_or_else(|error| Some(What::Hidden(Some(format!("{error:#}")))));
        differences.extend(what.map(|what| Difference { topic: topic.name, what }));
    }
    differences
}

/// `None`: nothing. An error: its settings cannot be seen.
async fn what_differs(
    admin: &Admin,
    existing: &BTreeMap<String, i32>,
    topic: &NewTopic,
) -> anyhow::Result<Option<What>> {
    Ok(match existing.get(&topic.name) {
        None => Some(What::Missing),
        Some(&has) if has != topic.partitions => Some(What::Partitions { has, wanted: topic.partitions }),
        Some(_) => settings_of(admin, topic).await?.map(What::Settings),
    })
}

/// Topics with their partition counts. On a thread of its own: a Kafka that is away is waited for, and a stop meanwhile
/// is obeyed.
pub(crate) async fn existing(admin: &Arc<Admin>) -> anyhow::Result<BTreeMap<String, i32>> {
    let admin = Arc::clone(admin);
    Ok(tokio::task::spawn_blocking(move || admin.topics()).await??)
}

/// Kafka answers a creation before its brokers know the topic; a busy controller takes its time for a thousand partitions.
const CREATION: Duration = Duration::from_secs(120);

async fn wait_until_known(admin: &Arc<Admin>, created: &[NewTopic]) -> anyhow::Result<()> {
    let until = Instant::now() + CREATION;
    while Instant::now() < until {
        let known = existing(admin).await?;
        if created.iter().all(|topic| known.get(&topic.name) == Some(&topic.partitions)) {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    anyhow::bail!(
        "the brokers do not know all of the created topics after {} s: look at the Kafka controller's log, then run the same again",
        CREATION.as_secs()
    )
}

async fn settings_of(admin: &Admin, topic: &NewTopic) -> anyhow::Result<Option<String>> {
    let names: Vec<String> = topic.config.keys().cloned().collect();
    let found: BTreeMap<String, String> = admin.topic_config(&topic.name, &names).await?;
    let wrong: Vec<String> = topic
        .config
        .iter()
        .filter(|(key, value)| found.get(*key) != Some(*value))
        .map(|(key, value)| format!("{key} is {}, should be {value}", found.get(key).map_or("unset", String::as_str)))
        .collect();
    Ok((!wrong.is_empty()).then(|| wrong.join(", ")))
}
