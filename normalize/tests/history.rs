//! What a history alone tells, where a status is a stage: who was rejected and taken back before anybody looked.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![allow(dead_code, reason = "the cluster has more than these tests need")]

mod cluster;

use apache_avro::types::Value;
use cluster::tree::at;
use cluster::{Cluster, connection, fixture_of, text};
use hirewire_normalize::step::Source;
use hirewire_schemas::Entity;

const BULLHORN: &str = "acme-bullhorn";
const APPLICATION: (&str, &str) = ("Application", "5010");
const ROWS: [(&str, u64); 4] = [
    ("New Lead", 1_771_136_000_000),
    ("Client Rejected", 1_771_222_400_000),
    // Told again, it did not happen again.
    ("Client Rejected", 1_771_240_000_000),
    ("Interview Scheduled", 1_771_308_800_000),
];

fn told(cluster: &Cluster) -> Vec<String> {
    let line = |change: &_| {
        let at: i64 = text(change, "occurred_at").parse().unwrap();
        format!("{} {} {}", text(change, "change_type"), text(change, "to_status.value"), at / 1000)
    };
    cluster.of(Entity::StageChange).iter().map(line).collect()
}

fn list(value: &Value) -> Vec<String> {
    let Value::Array(items) = value else { panic!("{value:?}") };
    items.iter().map(|item| if let Value::String(text) = item { text.clone() } else { panic!("{item:?}") }).collect()
}

fn history(cluster: &mut Cluster, rows: impl Iterator<Item = usize>) {
    for row in rows {
        let (status, at) = ROWS[row];
        let body = serde_json::json!({
            "id": 70_000 + row, "status": status, "dateAdded": at, "transactionID": null,
            "modifyingUser": {"id": 42}, "jobSubmission": {"id": 5010},
        });
        cluster.read(BULLHORN, "submission_history", &format!("history-{row}"), APPLICATION, &body.to_string());
    }
}

/// As it is now; something else of it changed last.
fn submission(cluster: &mut Cluster) {
    let answer: serde_json::Value = serde_json::from_str(&fixture_of("bullhorn", "poll__submissions.json")).unwrap();
    let mut row = answer["data"][0].clone();
    row["status"] = ROWS[3].0.into();
    row["dateLastModified"] = 1_771_999_999_000_u64.into();
    cluster.read(BULLHORN, "submissions", "submission", APPLICATION, &row.to_string());
}

fn cluster() -> Cluster {
    Cluster::with(|shared| {
        shared.sources.insert(BULLHORN.to_owned(), Source::from(connection("acme", BULLHORN, "bullhorn")));
    })
}

const LEDGER: [&str; 5] = [
    "CREATED ACTIVE 1771136000000",
    "STAGE ACTIVE 1771222400000",
    "REJECTION REJECTED 1771222400000",
    "UNREJECTION ACTIVE 1771308800000",
    "STAGE ACTIVE 1771308800000",
];

#[test]
fn rows_say_what_an_application_was_and_publish_nothing_before_it_was_seen() {
    let mut cluster = cluster();
    history(&mut cluster, 0..4);
    assert_eq!(told(&cluster), [""; 0]);
    submission(&mut cluster);
    assert_eq!(told(&cluster), LEDGER);
}

#[test]
fn rows_that_come_late_in_any_order_tell_the_same() {
    let mut cluster = cluster();
    submission(&mut cluster);
    history(&mut cluster, [2, 3, 0, 1].into_iter());
    let changes = cluster.of(Entity::StageChange);
    let replaced: Vec<String> = changes.iter().flat_map(|change| list(at(change, "supersedes"))).collect();
    let effective = changes.iter().filter(|change| !replaced.contains(&text(change, "meta.event_id")));
    let mut effective: Vec<_> =
        effective.map(|change| (text(change, "occurred_at"), text(change, "change_type"))).collect();
    effective.sort_by(|one, other| one.0.cmp(&other.0));
    let kinds: Vec<_> = effective.iter().map(|(_, kind)| kind.as_str()).collect();
    assert_eq!(kinds, ["CREATED", "STAGE", "REJECTION", "UNREJECTION", "STAGE"], "{:?}", told(&cluster));
}
