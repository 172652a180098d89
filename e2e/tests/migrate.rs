//! `hirewire migrate`: an embedded deployment moves to another broker and goes on there. On a second embedded broker, or on the Kafka that
//! `HIREWIRE_TEST_BROKERS` names.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use hirewire_e2e::deployment::{Deployment, Moved, Target, stop};
use hirewire_e2e::http::Receiver;
use hirewire_e2e::{free, http};
use serde_json::Value;

const STAGES: [(&str, u64, &str); 2] =
    [("Assessment", 71, "2026-02-11T16:00:00Z"), ("Onsite", 72, "2026-02-12T16:00:00Z")];

/// Two sinks: one takes everything, one refuses everything.
fn sections(refuser: SocketAddr) -> String {
    format!(
        "sinks:\n  analytics: {{sqlite: {{path: analytics.sqlite}}}}\n  \
         exams: {{system: assessment, http: {{url: \"http://{refuser}/\", allow: {{networks: [\"127.0.0.0/8\"]}}}}}}\n\
         routes:\n  analytics: {{sink: analytics, from: beginning}}\n  exams: {{sink: exams, from: beginning}}\n"
    )
}

/// Old to new, as a reader of the file takes it: topic and partition → (old, new, records).
fn table(path: &Path) -> BTreeMap<(String, i64), Vec<[i64; 3]>> {
    let text = std::fs::read_to_string(path).unwrap();
    let mut table: BTreeMap<_, Vec<[i64; 3]>> = BTreeMap::new();
    for line in text.lines().skip(1) {
        let fields: Vec<&str> = line.split(',').collect();
        let number = |at: usize| fields[at].parse::<i64>().unwrap();
        table.entry((fields[0].to_owned(), number(1))).or_default().push([number(2), number(3), number(4)]);
    }
    table
}

fn resolve(runs: &[[i64; 3]], old: i64) -> Option<i64> {
    runs.iter().find(|[from, _, records]| (*from..from + records).contains(&old)).map(|[from, new, _]| new + old - from)
}

/// The records of a topic by partition, in their order.
fn by_partition(deployment: &Deployment, topic: &str) -> BTreeMap<i64, Vec<Value>> {
    let mut records: BTreeMap<i64, Vec<Value>> = BTreeMap::new();
    for record in deployment.tail(topic) {
        records.entry(record["partition"].as_i64().unwrap()).or_default().push(record);
    }
    records
}

fn get(address: SocketAddr, path: &str) -> Value {
    let answer = http::get(address, path).unwrap();
    serde_json::from_str(answer.split_once("\r\n\r\n").unwrap().1).unwrap()
}

/// Every version of every subject.
fn versions(registry: SocketAddr) -> BTreeMap<String, Value> {
    let subjects = get(registry, "/subjects");
    let subjects = subjects.as_array().unwrap().iter().map(|subject| subject.as_str().unwrap().to_owned());
    let latest = |subject: &str| get(registry, &format!("/subjects/{subject}/versions/latest"));
    subjects.map(|subject| (subject.clone(), latest(&subject))).collect()
}

fn delivered(folder: &Path) -> BTreeSet<String> {
    let Ok(database) = rusqlite::Connection::open(folder.join("analytics.sqlite")) else { return BTreeSet::new() };
    let Ok(mut rows) = database.prepare("SELECT event_id FROM stage_change") else { return BTreeSet::new() };
    rows.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect()
}

const TOPICS: [&str; 6] = [
    "ats.raw.greenhouse.v1",
    "ats.stage-change.v1",
    "ats.application.v1",
    "ats.candidate.v1",
    "hirewire.internal.state.v1",
    "ats.dlq.route.exams.v1",
];

#[test]
fn an_embedded_deployment_goes_on_at_another_broker() {
    let prefix = format!("moved-{}-", SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_micros());
    let refuser = Receiver::start();
    refuser.answer(400);
    let refuser = refuser.address;
    let (broker, registry) = (free(), free());
    let embedded = format!("embedded: {{broker: \"{broker}\", registry: \"{registry}\"}}\n{}", sections(refuser));
    let old = Deployment::on(broker, registry, &prefix, &embedded);
    let up = old.up();
    for (stage, stage_id, at) in STAGES {
        for application in 1..=20 {
            old.send(&Moved { application, stage_id, stage, at, traceparent: None });
        }
    }
    let events = || old.ledger().values().map(Vec::len).sum::<usize>();
    old.until("all changes and their deliveries", || events() >= 40 && delivered(old.folder.path()).len() == events());
    let open = |deployment: &Deployment| {
        let (code, told, error) = deployment.run(&["dlq", "list", "--sink", "exams", "--json"]);
        assert_eq!(code, 0, "{error}");
        told.lines().count()
    };
    old.until("the dead letters", || open(&old) == 20);
    let first = old.tail(&format!("{prefix}ats.dlq.route.exams.v1"))[0]["key"].as_str().unwrap().to_owned();
    let (code, _, error) = old.run(&["dlq", "purge", "--sink", "exams", "--key", &first, "--yes"]);
    assert_eq!((code, open(&old)), (0, 19), "{error}");
    let ledger = old.ledger();
    let before: Vec<_> = TOPICS.iter().map(|topic| by_partition(&old, &format!("{prefix}{topic}"))).collect();
    let schemas = versions(registry);
    stop(up);

    let folder = tempfile::tempdir().unwrap();
    let target = Target::start(folder.path());
    let new = Deployment::on(target.broker, target.registry, &prefix, &sections(refuser));
    let data = old.folder.path().join("data");
    let migrate = ["migrate", "--data", data.to_str().unwrap(), "--to", "hirewire.yaml", "--table", "table.csv"];
    let (code, told, error) = new.run(&migrate);
    assert_eq!(code, 0, "{told}{error}");
    assert!(told.lines().last().unwrap().starts_with("checked   "), "{told}");

    assert_eq!(versions(target.registry), schemas);
    let table = table(&new.folder.path().join("table.csv"));
    for (topic, before) in TOPICS.iter().zip(&before) {
        let topic = format!("{prefix}{topic}");
        let after = by_partition(&new, &topic);
        assert_eq!(after.keys().collect::<Vec<_>>(), before.keys().collect::<Vec<_>>(), "{topic}");
        for (partition, before) in before {
            same_records(&topic, *partition, before, &after[partition], &table[&(topic.clone(), *partition)]);
        }
    }
    refs_are_resolved(&new, &prefix, &before[0], &table);
    assert_eq!(open(&new), 19, "what was purged is still purged");

    // It goes on: nothing is told or delivered again, and what is new is.
    let up = new.up();
    new.send(&Moved { application: 1, stage_id: 73, stage: "Offer", at: "2026-02-20T16:00:00Z", traceparent: None });
    let count = |ledger: &BTreeMap<String, Vec<_>>| ledger.values().map(Vec::len).sum::<usize>();
    new.until("the next change", || count(&new.ledger()) > count(&ledger));
    new.until("its delivery", || !delivered(new.folder.path()).is_empty());
    let now = new.ledger();
    let told: Vec<_> = now.iter().filter(|(application, changes)| ledger.get(*application) != Some(*changes)).collect();
    assert_eq!((told.len(), count(&now)), (1, count(&ledger) + 1), "{told:?}");
    let last = told[0].1.last().unwrap().1.clone();
    assert_eq!(delivered(new.folder.path()), BTreeSet::from([last.clone()]));
    // A new raw record stands behind every old place, so that no reference has two meanings.
    let refs = new
        .tail("stage-change")
        .into_iter()
        .find(|change| change["value"]["meta"]["event_id"] == last.as_str())
        .unwrap();
    let latest = refs["value"]["meta"]["raw_refs"].as_array().unwrap().last().unwrap().clone();
    let place = (latest["topic"].as_str().unwrap().to_owned(), latest["partition"].as_i64().unwrap());
    assert!(latest["offset"].as_i64().unwrap() >= table[&place].last().unwrap()[0], "{latest}");
    stop(up);

    let (code, _, error) =
        new.run(&["migrate", "--data", data.to_str().unwrap(), "--to", "hirewire.yaml", "--table", "again.csv"]);
    assert!(code == 2 && error.contains("remembers: give the new configuration a new data_dir"), "{error}");
    std::fs::rename(new.folder.path().join("data"), new.folder.path().join("used")).unwrap();
    let (code, _, error) =
        new.run(&["migrate", "--data", data.to_str().unwrap(), "--to", "hirewire.yaml", "--table", "again.csv"]);
    assert!(code == 2 && error.contains("the new Kafka has records in"), "{error}");
    assert!(!new.folder.path().join("again.csv").exists());
}

/// The same records in the same order, each where the table says, with its old place.
fn same_records(topic: &str, partition: i64, before: &[Value], after: &[Value], table: &[[i64; 3]]) {
    assert_eq!(before.len(), after.len(), "{topic} {partition}");
    for (old, new) in before.iter().zip(after) {
        for part in ["key", "value", "timestamp_ms"] {
            assert_eq!(old[part], new[part], "{topic} {partition}");
        }
        let offset = old["offset"].as_i64().unwrap();
        assert_eq!(new["headers"]["hirewire-migrated-from"], format!("{topic}/{partition}/{offset}"));
        assert_eq!(resolve(table, offset), new["offset"].as_i64(), "{topic} {partition} {offset}");
    }
}

/// Every `raw_refs` of the ledger and of the applications leads to the bytes that it led to before.
fn refs_are_resolved(
    new: &Deployment,
    prefix: &str,
    raw_before: &BTreeMap<i64, Vec<Value>>,
    table: &BTreeMap<(String, i64), Vec<[i64; 3]>>,
) {
    let raw = by_partition(new, &format!("{prefix}ats.raw.greenhouse.v1"));
    let at = |records: &BTreeMap<i64, Vec<Value>>, partition: i64, offset: i64| {
        records[&partition].iter().find(|record| record["offset"] == offset).unwrap()["value"].clone()
    };
    let mut seen = 0;
    for record in new.tail("stage-change").into_iter().chain(new.tail("application")) {
        for place in record["value"]["meta"]["raw_refs"].as_array().unwrap() {
            let (partition, old) = (place["partition"].as_i64().unwrap(), place["offset"].as_i64().unwrap());
            let topic = place["topic"].as_str().unwrap().to_owned();
            let moved = resolve(&table[&(topic, partition)], old).unwrap();
            assert_eq!(at(&raw, partition, moved), at(raw_before, partition, old));
            seen += 1;
        }
    }
    assert!(seen >= 40, "{seen}");
}
