//! The topic table: `topics.yaml` in, rows out; with a deployment's vendors and sinks, the topics to create.

use std::sync::OnceLock;

use hirewire_yaml::{Map, Node, Problems, parse};

use crate::acls::Service;
use crate::schema::topics_source;
use crate::{Entity, Names, schema};

/// Whose id decides the partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PartitionBy {
    /// The record's key.
    Key,
    /// The application that the record belongs to, whatever its key.
    Application,
    /// The candidate that the record belongs to, whatever its key.
    Candidate,
    /// The entity (or connection) that owns the record.
    Owner,
    /// The partition number of the record it came from.
    Input,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cleanup {
    Compact,
    Delete,
}

/// What a topic may hold of persons.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Personal {
    None,
    Pii,
    /// Equal-opportunity answers: own principal, own ACL.
    Eeo,
}

/// One row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Topic {
    /// Without the deployment's prefix; may hold `{vendor}` or `{sink}`.
    pub name: String,
    /// Name of the value's record; `None`: bytes as they came.
    pub record: Option<String>,
    pub key: String,
    pub partition_by: PartitionBy,
    pub cleanup: Cleanup,
    /// `None`: forever.
    pub retention_ms: Option<u64>,
    pub personal: Personal,
    /// Compatibility level of the value's subject.
    pub compatibility: Option<String>,
    pub lookup: bool,
    pub max_bytes: Option<u64>,
    /// The services that write it.
    pub writers: Vec<Service>,
    /// The services that read it.
    pub readers: Vec<Service>,
}

impl Topic {
    /// The entity whose canonical topic this is.
    #[must_use]
    pub fn entity(&self) -> Option<Entity> {
        self.record.as_deref().and_then(Entity::from_record)
    }

    /// Whether a record has its application's id for a key, and not its own.
    #[must_use]
    pub fn is_keyed_by_application(&self) -> bool {
        self.partition_by == PartitionBy::Key && self.key == "id of the application"
    }

    /// Kafka's topic settings.
    #[must_use]
    pub fn settings(&self) -> Vec<(&'static str, String)> {
        let cleanup = match self.cleanup {
            Cleanup::Compact => "compact",
            Cleanup::Delete => "delete",
        };
        let retention = self.retention_ms.map_or_else(|| "-1".to_owned(), |ms| ms.to_string());
        let mut settings = vec![("cleanup.policy", cleanup.to_owned()), ("retention.ms", retention)];
        settings.extend(self.max_bytes.map(|bytes| ("max.message.bytes", bytes.to_string())));
        settings
    }
}

/// The whole table.
#[derive(Debug)]
pub struct Table {
    pub topics: Vec<Topic>,
    /// Partitions of every topic on a cluster, unless the deployment sets another number.
    pub partitions_cluster: i32,
    /// The same on the embedded broker.
    pub partitions_embedded: i32,
}

impl Table {
    /// Reads a table; every mistake is reported.
    ///
    /// # Errors
    /// All mistakes, each with its line.
    pub fn read(file: &str, text: &str) -> Result<Self, Problems> {
        let root = parse(file, text)?;
        let mut problems = Problems::new();
        let table = read_table(&root, &mut problems);
        problems.into_result(table)
    }

    #[must_use]
    pub fn of(&self, entity: Entity) -> Option<&Topic> {
        self.topics.iter().find(|topic| topic.entity() == Some(entity))
    }

    /// The topics of a deployment: full names, with rows of `{vendor}` and `{sink}` once for each.
    #[must_use]
    pub fn deployed<'a>(&'a self, names: &Names, vendors: &[&str], sinks: &[&str]) -> Vec<(String, &'a Topic)> {
        let mut all = Vec::new();
        for topic in &self.topics {
            let slots = [("{vendor}", vendors), ("{sink}", sinks)];
            match slots.iter().find(|(slot, _)| topic.name.contains(slot)) {
                Some((slot, words)) => {
                    all.extend(words.iter().map(|word| (names.full(&topic.name.replace(slot, word)), topic)));
                }
                None => all.push((names.full(&topic.name), topic)),
            }
        }
        all
    }
}

/// The table in use.
#[must_use]
pub fn table() -> &'static Table {
    static TABLE: OnceLock<Table> = OnceLock::new();
    TABLE.get_or_init(|| {
        let (file, text) = topics_source();
        match Table::read(file, text) {
            Ok(table) => table,
            // `use_dir` has read it before; the binary's own is read by a test.
            Err(problems) => panic!("the topic table is broken: {problems}"),
        }
    })
}

fn read_table(root: &Node, problems: &mut Problems) -> Option<Table> {
    let mut map = root.map(problems)?;
    let partitions = map.require("partitions", problems).and_then(|node| {
        let mut map = node.map(problems)?;
        let cluster = read_count(&mut map, "cluster", problems);
        let embedded = read_count(&mut map, "embedded", problems);
        map.finish(problems);
        Some((cluster?, embedded?))
    });
    let rows = map.require("topics", problems).and_then(|node| node.list(problems));
    let topics = rows.unwrap_or_default().iter().filter_map(|row| read_topic(row, problems)).collect();
    map.finish(problems);
    let (partitions_cluster, partitions_embedded) = partitions?;
    Some(Table { topics, partitions_cluster, partitions_embedded })
}

fn read_count(map: &mut Map<'_>, key: &'static str, problems: &mut Problems) -> Option<i32> {
    let node = map.require(key, problems)?;
    let count = i32::try_from(node.whole(1, problems)?).ok();
    if count.is_none() {
        problems.add(node, "more partitions than Kafka can have", "a number below 10000");
    }
    count
}

fn read_topic(row: &Node, problems: &mut Problems) -> Option<Topic> {
    let mut map = row.map(problems)?;
    let name = map.require("name", problems).and_then(|node| node.text(problems));
    let record = match map.get("record") {
        None => None,
        Some(node) => {
            let record = node.text(problems)?;
            if schema(record).is_none() {
                problems.add(node, format!("no schema file defines the record {record}"), "add it under avro/");
            }
            Some(record.to_owned())
        }
    };
    let key = map.require("key", problems).and_then(|node| node.text(problems));
    let partition_by = map.require("partition_by", problems).and_then(|node| {
        use PartitionBy::{Application, Candidate, Input, Key, Owner};
        let known =
            [("self", Key), ("application", Application), ("candidate", Candidate), ("owner", Owner), ("input", Input)];
        node.choice(&known, problems)
    });
    let cleanup = map
        .require("cleanup", problems)
        .and_then(|node| node.choice(&[("compact", Cleanup::Compact), ("delete", Cleanup::Delete)], problems));
    let retention = map.require("retention", problems).and_then(|node| read_retention(node, problems));
    let personal = map.require("personal", problems).and_then(|node| {
        node.choice(&[("none", Personal::None), ("pii", Personal::Pii), ("eeo", Personal::Eeo)], problems)
    });
    let compatibility = match (&record, map.get("compatibility")) {
        (_, Some(node)) => node.text(problems).map(str::to_owned),
        (None, None) => None,
        (Some(_), None) => {
            problems.add(row, "a topic with a record needs `compatibility`", "e.g. FULL_TRANSITIVE");
            None
        }
    };
    let lookup = map.get("lookup").and_then(|node| node.boolean(problems)).unwrap_or(false);
    let max_bytes = map.get("max_bytes").and_then(|node| node.whole(1, problems));
    let writers = read_services(map.get("write"), problems);
    let readers = read_services(map.get("read"), problems);
    map.finish(problems);
    Some(Topic {
        name: name?.to_owned(),
        record,
        key: key?.to_owned(),
        partition_by: partition_by?,
        cleanup: cleanup?,
        retention_ms: retention?,
        personal: personal?,
        compatibility,
        lookup,
        max_bytes,
        writers: writers?,
        readers: readers?,
    })
}

/// A list of services; no list is nobody.
fn read_services(node: Option<&Node>, problems: &mut Problems) -> Option<Vec<Service>> {
    let Some(node) = node else { return Some(Vec::new()) };
    let known = Service::ALL.map(|service| (service.word(), service));
    node.list(problems)?.iter().map(|word| word.choice(&known, problems)).collect()
}

/// Outer `None`: not readable. Inner `None`: forever.
fn read_retention(node: &Node, problems: &mut Problems) -> Option<Option<u64>> {
    let text = node.text(problems)?;
    if text == "forever" {
        return Some(None);
    }
    let days = text.strip_suffix('d').and_then(|days| days.parse::<u64>().ok()).filter(|days| *days > 0);
    if days.is_none() {
        problems.add(node, format!("\"{text}\" is no retention"), "`forever`, or days: 28d");
    }
    days.map(|days| Some(days.saturating_mul(86_400_000)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_entity_has_its_topic() {
        let names = Names::new("");
        for entity in Entity::ALL {
            let topic = table().of(entity).unwrap();
            assert_eq!(topic.name, names.entity(entity));
            assert_eq!(topic.compatibility.as_deref(), Some("FULL_TRANSITIVE"));
        }
    }

    #[test]
    fn names_agree_with_the_table() {
        let names = Names::new("t1-");
        let deployed: Vec<_> = table()
            .deployed(&names, &["greenhouse", "lever"], &["payroll"])
            .into_iter()
            .map(|(name, _)| name)
            .collect();
        let mut expected: Vec<_> = Entity::ALL.into_iter().map(|entity| names.entity(entity)).collect();
        for vendor in ["greenhouse", "lever"] {
            expected.extend([names.raw(vendor), names.raw_restricted(vendor)]);
        }
        expected.extend([names.normalize_dead_letter(), names.normalize_restricted_dead_letter()]);
        expected.push(names.route_dead_letter("payroll"));
        for name in ["state", "fragment", "fetch", "leases", "cursor", "write-back", "replay", "route", "created"] {
            expected.push(names.internal(name));
        }
        for name in &expected {
            assert!(deployed.contains(name), "{name} is not in the table");
        }
        assert_eq!(deployed.len(), expected.len());
    }

    #[test]
    fn a_wrong_row_is_refused_with_its_line() {
        let text = "partitions: {cluster: 0, embedded: 4}\ntopics:\n  - {name: a.v1, record: Jbo, key: id, partition_by: sefl, \
                    cleanup: compact, retention: 3w, personal: none, compatibility: FULL_TRANSITIVE, lokup: true, write: [normalise]}\n";
        let problems = Table::read("topics.yaml", text).unwrap_err().to_string();
        for expected in [
            "0 is too small",
            "the record Jbo",
            "did you mean \"self\"",
            "\"3w\" is no retention",
            "\"lokup\"",
            "did you mean \"normalize\"",
        ] {
            assert!(problems.contains(expected), "{expected} not in {problems}");
        }
    }
}
