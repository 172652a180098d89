//! A bug that one record sets off costs that record only.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![allow(dead_code, reason = "the cluster has more than these tests need")]

mod cluster;

use std::sync::Arc;

use cluster::{CONNECTION, Cluster, TENANT, fixture, header, id, text};
use hirewire_kafka::{Record, partition_for};
use hirewire_normalize::ledger::{Cause, Ledger, Provenance, Snapshot, Source, Status};
use hirewire_normalize::reconcile::{EntityState, Ids, put_state_record};
use hirewire_schemas::Entity;

fn without_letters(cluster: &Cluster) -> Vec<(String, Option<Vec<u8>>)> {
    let others = cluster.published.iter().filter(|record| *record.topic != *"ats.dlq.normalize.v1");
    others.map(|record| (record.topic.to_string(), record.value.as_ref().map(|value| value.to_vec()))).collect()
}

/// Deletions of applications panic, for the catalog does not know what is kept of them.
fn broken() -> Cluster {
    Cluster::with(|shared| {
        let catalog = Arc::get_mut(&mut shared.catalog).unwrap();
        catalog.info_mut(catalog.application).kept_on_delete.clear();
    })
}

#[test]
fn a_record_that_panics_is_a_dead_letter_and_leaves_no_trace_in_what_its_neighbours_make() {
    let subject = ("Candidate", "265772");
    let here = |record: &str, n: u64| partition_for(id(record, &n.to_string()).as_bytes(), 4);
    let application = (1..).find(|n| here("Application", *n) == here("Candidate", 265_772)).unwrap();
    // The candidate is deleted before the application's turn comes.
    let mut deletion: serde_json::Value = serde_json::from_str(&fixture("webhook__delete_candidate.json")).unwrap();
    deletion["payload"]["person"]["id"] = serde_json::json!(265_772);
    deletion["payload"]["person"]["deleted_application_ids"] = serde_json::json!([application]);
    let deletion = deletion.to_string();
    let body = fixture("webhook__candidate_stage_change.json");
    let now = "2026-01-01T00:00:00Z".parse().unwrap();
    let play = |deletions: &[&str]| {
        let mut cluster = broken();
        let hooks = [body.clone(), body.replace("Giuseppe", "Giuseppa")].map(|body| {
            let mut hook = cluster.input("webhook", "candidate_stage_change", "hook", subject, &body, now);
            // Where a record stands is told in what is made of it.
            hook.offset = 7;
            hook
        });
        let bad = deletions.iter().map(|n| cluster.input("webhook", "delete_candidate", n, subject, &deletion, now));
        let inputs: Vec<_> = [hooks[0].clone()].into_iter().chain(bad).chain([hooks[1].clone()]).collect();
        cluster.send_together(&inputs);
        cluster
    };
    let (plain, poisoned) = (play(&[]), play(&["1", "2"]));
    assert_eq!(text(&plain.last(Entity::Candidate, "265772"), "name.given"), "Giuseppa");
    assert!(without_letters(&plain) == without_letters(&poisoned));
    let letters = poisoned.topic("ats.dlq.normalize.v1");
    assert_eq!(letters.len(), 2);
    assert_eq!(header(letters[0], "dlq.reason"), "PANICKED");
    assert!(!header(letters[0], "dlq.remedy").is_empty());
    let message = header(letters[0], "__connect.errors.exception.message");
    assert!(message.starts_with("a bug of ours at normalize/src/") && !message.contains("index"), "{message}");
    assert_eq!(letters[0].value.as_deref(), Some(deletion.as_bytes()));
}

/// An application whose stored history is such that the end of a transaction overflows.
fn cursed(cluster: &mut Cluster, remote_id: &str) {
    let key: [u8; 36] = id("Application", remote_id).into_bytes().try_into().unwrap();
    let catalog = &cluster.shared.catalog;
    let info = catalog.info(catalog.application);
    let mut state = EntityState::new(info.schema.fields.len(), "greenhouse");
    let mut ledger = Ledger::default();
    let source = Source { provenance: Provenance::Poll, topic: ledger.topic("t"), partition: 0, offset: 0, seen_at: 0 };
    ledger.facts.add_snapshot(Snapshot {
        at: i64::MAX,
        width: 1000,
        stage: None,
        status: Some(Status::Active),
        job: None,
        since: None,
        change: None,
        cause: Cause::Unknown,
        observed: false,
        source,
    });
    state.ledger = Some(Box::new(ledger));
    let mut value = catalog.state.frame.to_vec();
    let ids = Ids { id: &key, tenant: TENANT, connection: CONNECTION, remote_id };
    put_state_record(&mut value, info.record, ids, &state, &mut Vec::new());
    cluster.published.push(Record {
        topic: Arc::clone(&catalog.state.topic),
        partition: Some(partition_for(&key, 4)),
        key: Some(bytes::Bytes::copy_from_slice(&key)),
        value: Some(value.into()),
        ..Record::default()
    });
    cluster.move_to_new_owner();
}

#[test]
#[cfg_attr(not(debug_assertions), ignore = "arithmetic is checked in debug builds only")]
fn a_panic_at_the_end_of_a_transaction_finds_its_record_too() {
    let mut cluster = Cluster::new();
    let body = fixture("webhook__candidate_stage_change.json");
    let now = "2026-01-01T00:00:00Z".parse().unwrap();
    let same = |n: usize| partition_for(id("Application", &n.to_string()).as_bytes(), 4);
    let ids: Vec<usize> = (500_000..).filter(|n| same(*n) == same(500_000)).take(3).collect();
    cursed(&mut cluster, &ids[1].to_string());
    let inputs: Vec<_> = ids
        .iter()
        .map(|n| {
            let body = body.replace("265277", &n.to_string());
            let delivery = n.to_string();
            cluster.input("webhook", "candidate_stage_change", &delivery, ("Application", &delivery), &body, now)
        })
        .collect();
    cluster.send_together(&inputs);
    let letters = cluster.topic("ats.dlq.normalize.v1");
    assert_eq!(letters.len(), 1);
    assert_eq!(header(letters[0], "dlq.reason"), "PANICKED");
    assert_eq!(letters[0].value, inputs[1].value);
    let mut told: Vec<String> = cluster.of(Entity::StageChange).iter().map(|c| text(c, "meta.remote_id")).collect();
    told.sort();
    assert_eq!(told, [ids[0].to_string(), ids[2].to_string()]);
}
