//! Raw records in, canonical records and ledger out, on a broker: the embedded one, or the one that `HIREWIRE_TEST_BROKERS` names.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod stack;

use stack::{Stack, text};

const STAGE_CHANGE: &str = include_str!("../../vendors/greenhouse/fixtures/webhook__candidate_stage_change.json");

fn at_stage(id: u64, name: &str, time: &str) -> String {
    STAGE_CHANGE
        .replace("\"id\": 71416", &format!("\"id\": {id}"))
        .replace(
            "\"name\": \"Assessment\",\n        \"interviews\"",
            &format!("\"name\": \"{name}\",\n        \"interviews\""),
        )
        .replace("2015-02-09T16:38:36Z", time)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_webhook_becomes_an_application_and_ledger_events_once_however_often_it_is_sent() {
    let stack = Stack::start().await;
    let normalize = stack.normalize("a");
    let subject = ("Application", "265277");
    stack.send("webhook", "candidate_stage_change", "1", subject, STAGE_CHANGE).await;
    stack.send("webhook", "candidate_stage_change", "1", subject, STAGE_CHANGE).await;
    let next = at_stage(71417, "Onsite", "2015-02-10T10:00:00Z");
    stack.send("webhook", "candidate_stage_change", "2", subject, &next).await;
    let changes = stack.records(stack.names.stage_change(), 2).await;
    let told: Vec<(String, String, String, String)> = changes
        .iter()
        .map(|c| (text(c, "change_type"), text(c, "to_stage.name"), text(c, "revision"), text(c, "sequence_no")))
        .collect();
    let expected = [("CREATED", "Assessment", "LIVE", "1"), ("STAGE", "Onsite", "LIVE", "2")];
    let expected: Vec<_> =
        expected.iter().map(|e| (e.0.to_owned(), e.1.to_owned(), e.2.to_owned(), e.3.to_owned())).collect();
    assert_eq!(told, expected);
    assert_eq!(text(&changes[1], "from_stage.name"), "Assessment");
    assert_eq!(text(&changes[1], "previous_event_id"), text(&changes[0], "meta.event_id"));
    let applications = stack.records(stack.names.entity(hirewire_schemas::Entity::Application), 1).await;
    assert_eq!(text(applications.last().unwrap(), "stage.name"), "Onsite");
    assert_eq!(text(applications.last().unwrap(), "meta.remote_id"), "265277");
    let candidates = stack.records(stack.names.entity(hirewire_schemas::Entity::Candidate), 1).await;
    assert_eq!(text(&candidates[0], "meta.remote_id"), "265772");
    normalize.stop().await;

    // Another process without the local store goes on where this one ended.
    let normalize = stack.normalize("b");
    stack.send("webhook", "candidate_stage_change", "2", subject, &next).await;
    stack
        .send("webhook", "candidate_stage_change", "3", subject, &at_stage(71418, "Offer", "2015-02-11T10:00:00Z"))
        .await;
    let changes = stack.records(stack.names.stage_change(), 3).await;
    assert_eq!(changes.len(), 3);
    assert_eq!(text(&changes[2], "from_stage.name"), "Onsite");
    assert_eq!(text(&changes[2], "sequence_no"), "3");
    normalize.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_mapped_becomes_a_dead_letter_and_the_stream_goes_on() {
    let stack = Stack::start().await;
    let normalize = stack.normalize("a");
    let subject = ("Application", "265277");
    stack
        .send(
            "webhook",
            "candidate_stage_change",
            "1",
            subject,
            "{\"action\": \"candidate_stage_change\", \"payload\": {",
        )
        .await;
    stack.send("webhook", "candidate_stage_change", "2", subject, STAGE_CHANGE).await;
    stack.send("webhook", "ping", "3", subject, "{\"action\":\"ping\"}").await;
    stack.records(stack.names.stage_change(), 1).await;
    let letters = stack.read(stack.names.normalize_dead_letter()).await;
    assert_eq!(letters.len(), 1);
    assert_eq!(letters[0].header_str("dlq.reason"), Some("INVALID_JSON"));
    assert!(letters[0].header_str("dlq.remedy").is_some());
    assert_eq!(letters[0].value.as_deref(), Some(&b"{\"action\": \"candidate_stage_change\", \"payload\": {"[..]));
    normalize.stop().await;
}

/// A broker refuses what is dated an hour ahead of its clock.
#[tokio::test(flavor = "multi_thread")]
async fn what_came_before_the_clock_was_set_back_is_forwarded_and_told_at_once() {
    let stack = Stack::start().await;
    let tomorrow = Some(jiff::Timestamp::now().as_millisecond() + 86_400_000);
    let subject = ("Application", "265277");
    stack.send_dated(tomorrow, "webhook", "candidate_stage_change", "1", subject, "{").await;
    stack.send_dated(tomorrow, "webhook", "candidate_stage_change", "2", subject, STAGE_CHANGE).await;
    let normalize = stack.normalize("a");
    stack.records(stack.names.stage_change(), 1).await;
    // They live in a partition of their own, most of them in another one.
    stack.records(stack.names.entity(hirewire_schemas::Entity::Job), 1).await;
    stack.records(stack.names.entity(hirewire_schemas::Entity::User), 2).await;
    assert!(!stack.read(stack.names.internal("fragment")).await.is_empty());
    assert_eq!(stack.read(stack.names.normalize_dead_letter()).await.len(), 1);
    normalize.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_of_another_cluster_is_thrown_away_and_its_state_is_not_believed() {
    let folder = tempfile::tempdir().unwrap();
    let store = folder.path().to_str().unwrap();
    let subject = ("Application", "265277");
    for _ in 0..2 {
        let stack = Stack::start().await;
        let normalize = stack.normalize(store);
        stack.send("webhook", "candidate_stage_change", "1", subject, STAGE_CHANGE).await;
        let changes = stack.records(stack.names.stage_change(), 1).await;
        assert_eq!(text(&changes[0], "sequence_no"), "1");
        normalize.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_state_record_stops_the_service_and_nothing_begins_anew() {
    let stack = Stack::start().await;
    let key = stack.put_state(b"\0\0\0\0\x07 no state of this release").await;
    let ended = tokio::time::timeout(std::time::Duration::from_secs(30), stack.normalize("a").ended()).await;
    let error = ended.expect("normalize works on as if nothing were damaged").unwrap_err();
    assert!(error.to_string().starts_with("state-unreadable: "), "{error}");
    assert!(!error.to_string().contains(&key), "{error}");
}
