//! What keeps normalize right when things go wrong around it: each of these defences, switched off, turns a test here red.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![allow(dead_code, reason = "the cluster has more than these tests need")]

mod cluster;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use cluster::{Cluster, fixture, header, id, text};
use hirewire_kafka::Inbound;
use hirewire_schemas::{Entity, Names};

const APPLICATION: (&str, &str) = ("Application", "265277");

fn values(cluster: &Cluster) -> Vec<Option<Bytes>> {
    cluster.published.iter().map(|record| record.value.clone()).collect()
}

#[test]
fn what_an_aborted_transaction_held_is_forgotten_to_the_last_field() {
    let body = fixture("webhook__candidate_stage_change.json");
    let lost = body.replace("71416", "71417").replace("2015-02-09T16:38:36Z", "2015-02-10T16:38:36Z");
    let now: jiff::Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
    let play = |lose: bool| {
        let mut cluster = Cluster::new();
        let mut input = |body: &str| {
            let mut input = cluster.input("webhook", "candidate_stage_change", "1", APPLICATION, body, now);
            input.offset = 7;
            input
        };
        let (gone, kept) = (input(&lost), input(&body));
        if lose {
            cluster.lose(&[gone]);
        }
        cluster.send_together(&[kept]);
        cluster
    };
    assert!(values(&play(true)) == values(&play(false)));
}

#[test]
fn an_issue_that_was_told_in_an_aborted_transaction_is_told_again() {
    let body =
        fixture("webhook__candidate_stage_change.json").replace("\"status\": \"active\"", "\"status\": \"asleep\"");
    let mut cluster = Cluster::new();
    cluster.abort_first = true;
    cluster.send("webhook", "candidate_stage_change", "1", APPLICATION, &body);
    let issues = |cluster: &Cluster| {
        cluster.of(Entity::Issue).iter().filter(|issue| text(issue, "target").ends_with("status")).count()
    };
    assert_eq!(issues(&cluster), 1, "{:?}", cluster.of(Entity::Issue));
    cluster.send("webhook", "candidate_stage_change", "2", APPLICATION, &body);
    assert_eq!(issues(&cluster), 1);
}

#[test]
fn a_statement_for_another_partition_is_sent_once() {
    let body = fixture("webhook__candidate_stage_change.json");
    let mut cluster = Cluster::new();
    cluster.send("webhook", "candidate_stage_change", "1", APPLICATION, &body);
    let sent = cluster.forwarded;
    assert!(sent > 3, "{sent}");
    cluster.send("webhook", "candidate_stage_change", "2", APPLICATION, &body);
    assert_eq!(cluster.forwarded, sent);
}

fn stage_row() -> String {
    serde_json::json!({"id": 1, "created_at": "2015-02-01T00:00:00.125Z", "updated_at": "2015-02-01T00:00:00.125Z",
        "application_id": 265_277, "job_interview_stage_id": 71_417, "entered_at": "2015-02-01T00:00:00.125Z",
        "exited_at": null, "days_in_stage": 0, "current": true})
    .to_string()
}

#[test]
fn a_look_up_that_is_late_is_waited_for_and_its_name_goes_out() {
    let mut cluster = Cluster::with(|shared| shared.lookup_wait = Duration::from_secs(60));
    let shared = Arc::clone(&cluster.shared);
    let events = shared.metrics.events.with_label_values(&["greenhouse", "poll"]);
    let stage: [u8; 36] = id("Stage", "71417").into_bytes().try_into().unwrap();
    let late = std::thread::spawn(move || {
        while events.get() == 0 {
            std::thread::yield_now();
        }
        // If the row is mapped only after this, the test shows less, and is still right.
        std::thread::sleep(Duration::from_millis(100));
        let schema = hirewire_schemas::schema("Stage").unwrap();
        let name = schema.field_index("name").unwrap();
        let fields = schema.fields.iter().enumerate().map(|(index, field)| {
            if index == name { Bytes::from_static(b"\x02\x0cOnsite") } else { field.default_bytes.clone().into() }
        });
        shared.lookups.put(stage, Some(fields.collect()));
    });
    cluster.send("poll", "application_stages", "1", APPLICATION, &stage_row());
    late.join().unwrap();
    let missing = cluster.shared.metrics.missing_lookups.with_label_values(&["Stage"]);
    assert_eq!(missing.get(), 0);
    let state = cluster.topic("hirewire.internal.state.v1").last().unwrap().value.clone().unwrap();
    assert!(String::from_utf8_lossy(&state).contains("Onsite"));
}

#[test]
fn a_look_up_that_never_comes_is_counted_and_the_record_goes_out_with_the_id() {
    let mut cluster = Cluster::new();
    cluster.send("poll", "application_stages", "1", APPLICATION, &stage_row());
    assert_eq!(cluster.shared.metrics.missing_lookups.with_label_values(&["Stage"]).get(), 1);
    cluster.send("poll", "application_stages", "2", APPLICATION, &stage_row().replace("\"id\":1", "\"id\":2"));
    assert_eq!(cluster.shared.metrics.missing_lookups.with_label_values(&["Stage"]).get(), 1, "not again so soon");
    let state = cluster.topic("hirewire.internal.state.v1")[0].value.clone().unwrap();
    assert!(String::from_utf8_lossy(&state).contains(&id("Stage", "71417")));
}

#[test]
fn what_came_by_a_restricted_topic_or_a_fragment_is_a_restricted_dead_letter() {
    let mut cluster = Cluster::new();
    let now = "2026-01-01T00:00:00Z".parse().unwrap();
    let mut restricted = cluster.input("poll", "eeoc", "1", APPLICATION, "{", now);
    restricted.topic = Names::new("").raw_restricted("greenhouse").into();
    let plain = cluster.input("poll", "eeoc", "2", APPLICATION, "{", now);
    let fragment = Inbound {
        topic: Arc::clone(&cluster.shared.catalog.fragment.topic),
        value: Some(Bytes::from_static(b"no fragment")),
        ..plain.clone()
    };
    cluster.send_together(&[restricted, plain, fragment]);
    let reasons = |topic: &str| cluster.topic(topic).into_iter().map(|r| header(r, "dlq.reason")).collect::<Vec<_>>();
    assert_eq!(reasons("ats.dlq.normalize-restricted.v1"), ["INVALID_JSON", "DAMAGED_FRAGMENT"]);
    assert_eq!(reasons("ats.dlq.normalize.v1"), ["INVALID_JSON"]);
}

/// Seen in its second stage; then, in one transaction, the history that it began in the first, and moves back and forth.
#[test]
fn a_move_is_told_live_whatever_is_read_with_it() {
    let body = fixture("webhook__candidate_stage_change.json");
    let now: jiff::Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
    let seen = |stage: u64, at: &str| {
        body.replace("\"id\": 71416", &format!("\"id\": {stage}")).replace("2015-02-09T16:38:36Z", at)
    };
    let row = |id: u64, stage: u64, entered: &str, exited: Option<&str>| {
        serde_json::json!({"id": id, "created_at": entered, "updated_at": exited.unwrap_or(entered), "application_id": 265_277,
            "job_interview_stage_id": stage, "entered_at": entered, "exited_at": exited, "days_in_stage": 0, "current": exited.is_none()})
        .to_string()
    };
    let (first, second) = (71_415, 71_416);
    let mut cluster = Cluster::new();
    cluster.send("webhook", "candidate_stage_change", "1", APPLICATION, &seen(second, "2015-02-09T16:38:36Z"));
    let mut input = |origin: &str, what: &str, delivery: &str, body: &str| {
        cluster.input(origin, what, delivery, APPLICATION, body, now)
    };
    let began = "2015-02-09T12:00:00.000Z";
    let together = [
        input("webhook", "candidate_stage_change", "2", &seen(first, "2015-02-10T10:00:00Z")),
        input("webhook", "candidate_stage_change", "3", &seen(second, "2015-02-11T10:00:00Z")),
        input("poll", "application_stages", "4", &row(1, first, began, Some("2015-02-09T16:38:36.000Z"))),
        input(
            "poll",
            "application_stages",
            "5",
            &row(2, second, "2015-02-09T16:38:36.000Z", Some("2015-02-10T10:00:00.000Z")),
        ),
    ];
    cluster.send_together(&together);
    let changes = cluster.of(Entity::StageChange);
    let live = changes.iter().filter(|change| text(change, "revision") == "LIVE");
    let live: Vec<String> = live.map(|change| text(change, "to_stage.id")).collect();
    assert_eq!(live, [second, first, second].map(|stage| id("Stage", &stage.to_string())), "{changes:?}");
    let numbers = changes.iter().map(|change| text(change, "sequence_no"));
    assert!(numbers.eq((1..=changes.len()).map(|number| number.to_string())));
}
