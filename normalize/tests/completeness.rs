//! Which changes came both ways, by deliveries and by polling, and which by one alone: with Greenhouse's real mapping.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![allow(dead_code, reason = "the cluster has more than these tests need")]

mod cluster;

use std::time::Duration;

use bytes::Bytes;
use cluster::{Cluster, fixture};
use prometheus::core::Collector;

const APPLICATION: (&str, &str) = ("Application", "265277");
const STAGE: u64 = 71416;
const LONG: Duration = Duration::from_secs(3600);

fn watched(within: Duration) -> Cluster {
    Cluster::with(|shared| shared.confirm_within = within)
}

/// As the vendor's own example, in another stage.
fn event(stage: u64, at: &str) -> String {
    let body = fixture("webhook__candidate_stage_change.json");
    body.replace("\"id\": 71416", &format!("\"id\": {stage}")).replace("2015-02-09T16:38:36Z", at)
}

/// The same application in its list.
fn row(stage: u64, at: &str) -> String {
    let rows: serde_json::Value = serde_json::from_str(&fixture("poll__applications.json")).unwrap();
    let mut row = rows[0].clone();
    row["id"] = 265_277.into();
    row["stage_id"] = stage.into();
    row["last_activity_at"] = at.into();
    row.to_string()
}

/// By word; nothing, where nothing was counted.
fn counted(cluster: &Cluster) -> Vec<(String, u64)> {
    let families = cluster.shared.metrics.completeness.collect();
    let metrics = families.iter().flat_map(|family| family.get_metric());
    let mut all: Vec<(String, u64)> = metrics
        .map(|metric| {
            let by = metric.get_label().iter().find(|label| label.name() == "by").unwrap();
            (by.value().to_owned(), format!("{:.0}", metric.get_counter().get_value()).parse().unwrap())
        })
        .filter(|(_, count)| *count > 0)
        .collect();
    all.sort();
    all
}

fn told(by: &str, count: u64) -> Vec<(String, u64)> {
    vec![(by.to_owned(), count)]
}

fn deliver(cluster: &mut Cluster, number: &str, stage: u64, at: &str) {
    cluster.send("webhook", "candidate_stage_change", number, APPLICATION, &event(stage, at));
}

fn poll(cluster: &mut Cluster, number: &str, stage: u64, at: &str) {
    cluster.send("poll", "applications", number, APPLICATION, &row(stage, at));
}

const FIRST: &str = "2026-02-09T16:38:36Z";
const SECOND: &str = "2026-02-09T17:00:00Z";

#[test]
fn what_a_delivery_told_and_the_list_showed_was_told_both_ways_whoever_came_first_and_however_often() {
    let mut cluster = watched(LONG);
    cluster.abort_first = true;
    deliver(&mut cluster, "1", STAGE, FIRST);
    assert_eq!(counted(&cluster), [], "there is time");
    poll(&mut cluster, "2", STAGE, FIRST);
    poll(&mut cluster, "3", STAGE, FIRST);
    assert_eq!(counted(&cluster), told("both", 1), "its creation");
    poll(&mut cluster, "4", STAGE + 1, SECOND);
    deliver(&mut cluster, "5", STAGE + 1, SECOND);
    deliver(&mut cluster, "5", STAGE + 1, SECOND);
    assert_eq!(counted(&cluster), told("both", 2));
}

#[test]
fn what_one_way_alone_told_is_counted_so() {
    let mut cluster = watched(Duration::ZERO);
    deliver(&mut cluster, "1", STAGE, FIRST);
    assert_eq!(counted(&cluster), told("webhook", 1));
    let mut cluster = watched(Duration::ZERO);
    poll(&mut cluster, "1", STAGE, FIRST);
    assert_eq!(counted(&cluster), told("poll", 1));
    poll(&mut cluster, "2", STAGE, SECOND);
    assert_eq!(counted(&cluster), told("poll", 1), "nothing moved");
}

#[test]
fn a_list_that_shows_what_was_before_confirms_nothing() {
    let mut cluster = watched(LONG);
    deliver(&mut cluster, "1", STAGE, FIRST);
    poll(&mut cluster, "2", STAGE, FIRST);
    deliver(&mut cluster, "3", STAGE + 1, SECOND);
    poll(&mut cluster, "4", STAGE, FIRST);
    assert_eq!(counted(&cluster), told("both", 1));
    poll(&mut cluster, "5", STAGE + 1, SECOND);
    assert_eq!(counted(&cluster), told("both", 2));
}

/// A row that was read because an event named it, in the partition of `subject`.
fn fetched(cluster: &mut Cluster, number: &str, subject: (&str, &str)) {
    let row = row(STAGE, FIRST);
    let mut read = cluster.input("poll", "applications", number, subject, &row, jiff::Timestamp::now());
    read.headers.push(("hirewire-asked-by".to_owned(), Bytes::from_static(b"event")));
    cluster.send_together(&[read]);
}

/// Vendors whose events only name what changed.
#[test]
fn what_was_read_because_an_event_named_it_is_told_by_the_event() {
    let mut cluster = watched(LONG);
    fetched(&mut cluster, "1", APPLICATION);
    poll(&mut cluster, "2", STAGE, FIRST);
    assert_eq!(counted(&cluster), told("both", 1));
}

/// What a row says of an application that lives in another partition goes there as a fragment.
#[test]
fn how_it_came_is_known_in_the_partition_that_it_is_forwarded_to() {
    let partition = |record: &str, remote_id: &str| {
        hirewire_kafka::partition_for(cluster::id(record, remote_id).as_bytes(), cluster::PARTITIONS)
    };
    let home = partition(APPLICATION.0, APPLICATION.1);
    let elsewhere = (1..).map(|id: u32| id.to_string()).find(|id| partition("Candidate", id) != home).unwrap();
    let mut cluster = watched(LONG);
    fetched(&mut cluster, "1", ("Candidate", &elsewhere));
    assert!(cluster.forwarded > 0);
    poll(&mut cluster, "2", STAGE, FIRST);
    assert_eq!(counted(&cluster), told("both", 1));
}

#[test]
fn a_first_load_is_no_change_that_a_delivery_should_have_told_and_confirms_what_one_has() {
    let load = |cluster: &mut Cluster| cluster.send("backfill", "applications", "1", APPLICATION, &row(STAGE, FIRST));
    let mut cluster = watched(Duration::ZERO);
    load(&mut cluster);
    assert_eq!(counted(&cluster), []);
    let mut cluster = watched(LONG);
    deliver(&mut cluster, "1", STAGE, FIRST);
    load(&mut cluster);
    assert_eq!(counted(&cluster), told("both", 1));
}

#[test]
fn what_waits_is_forgotten_with_the_partition() {
    let mut cluster = watched(LONG);
    deliver(&mut cluster, "1", STAGE, FIRST);
    cluster.move_to_new_owner();
    poll(&mut cluster, "2", STAGE, FIRST);
    assert_eq!(counted(&cluster), []);
}
