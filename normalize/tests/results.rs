//! Results of what was ordered elsewhere: each finds the application it was ordered for, or is kept where people see it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![allow(dead_code, reason = "the cluster has more than these tests need")]

mod cluster;

use cluster::{Cluster, PARTITIONS, connection, fixture, fixture_of, header, id, text};
use hirewire_kafka::partition_for;
use hirewire_normalize::step::Source;
use hirewire_schemas::{Entity, ids};
use serde_json::Value as Json;

const APPLICATION: (&str, &str) = ("Application", "265277");
const ENVELOPE: (&str, &str) = ("SignatureEnvelope", "0d5c1f7e-6a0c-4a53-9d0e-3b8f6c2d7a11");
const CHECK: (&str, &str) = ("BackgroundCheck", "e44aa283528e6fde7d542194");
const LETTERS: [&str; 2] = ["ats.dlq.normalize.v1", "ats.dlq.normalize-restricted.v1"];

/// Connections of two tenants, and one application of the first.
fn cluster() -> Cluster {
    let mut cluster = Cluster::with(|shared| {
        for (tenant, name, vendor) in [
            ("acme", "acme-docusign", "docusign"),
            ("umbrella", "umbrella-docusign", "docusign"),
            ("acme", "acme-checkr", "checkr"),
            ("acme", "acme-hackerrank", "hackerrank"),
            ("acme", "acme-calendly", "calendly"),
        ] {
            shared.sources.insert(name.to_owned(), Source::from(connection(tenant, name, vendor)));
        }
    });
    let body = fixture("webhook__candidate_stage_change.json");
    cluster.send("webhook", "candidate_stage_change", "1", APPLICATION, &body);
    cluster
}

/// The codes of all dead letters.
fn letters(cluster: &Cluster) -> Vec<String> {
    LETTERS.iter().flat_map(|topic| cluster.topic(topic)).map(|letter| header(letter, "dlq.reason")).collect()
}

fn issues(cluster: &Cluster) -> Vec<String> {
    cluster.of(Entity::Issue).iter().map(|issue| text(issue, "code")).filter(|code| code != "UNMAPPED_VALUE").collect()
}

/// Sends a fixture of Checkr's as ingest keys it.
fn check(cluster: &mut Cluster, name: &str) {
    let body = fixture_of("checkr", name);
    let event: Json = serde_json::from_str(&body).unwrap();
    let (kind, delivery) = (event["type"].as_str().unwrap(), event["id"].as_str().unwrap());
    cluster.deliver("acme-checkr", kind, delivery, CHECK, &body);
}

/// Each record of the entity is in the partition of the application, with its id.
fn rides_with_the_application(cluster: &Cluster, entity: Entity) {
    let application = id(APPLICATION.0, APPLICATION.1);
    assert_eq!(text(cluster.of(entity).last().unwrap(), "application_id"), application);
    let home = partition_for(application.as_bytes(), PARTITIONS);
    let topic = hirewire_schemas::Names::new("").entity(entity);
    assert!(cluster.topic(&topic).iter().all(|record| record.partition == Some(home)));
}

#[test]
fn a_result_that_brings_back_what_the_order_carried_finds_its_application() {
    let mut cluster = cluster();
    for (name, event) in [("sent", "envelope-sent"), ("completed", "envelope-completed"), ("sent", "envelope-sent")] {
        let body = fixture_of("docusign", &format!("webhook__{name}.json"));
        cluster.deliver("acme-docusign", event, name, ENVELOPE, &body);
    }
    let envelope = cluster.last(Entity::SignatureEnvelope, ENVELOPE.1);
    assert_eq!(text(&envelope, "status.value"), "COMPLETED", "what was sent late and is older changes nothing");
    assert_eq!(text(&envelope, "offer_id"), id("Offer", "9876"));
    assert_eq!(text(&envelope, "meta.connection_id"), "acme-docusign");
    assert_ne!(text(&envelope, "completed_at"), "null");
    rides_with_the_application(&cluster, Entity::SignatureEnvelope);

    let body = fixture_of("hackerrank", "webhook__completed.json");
    cluster.deliver("acme-hackerrank", "result", "1", ("AssessmentResult", "c1"), &body);
    let result = cluster.last(Entity::AssessmentResult, "c1");
    let order = ids::canonical_id("acme", "acme-hackerrank", "AssessmentOrder", "c1").to_string();
    assert_eq!(text(&result, "order_id"), order);
    assert_eq!(text(&cluster.last(Entity::AssessmentOrder, "c1"), "meta.id"), order);
    rides_with_the_application(&cluster, Entity::AssessmentResult);
    rides_with_the_application(&cluster, Entity::AssessmentOrder);

    let body = fixture_of("calendly", "webhook__created.json");
    let uri = "https://api.calendly.com/scheduled_events/AAAAAAAAAAAAAAAA/invitees/AAAAAAAAAAAAAAAA";
    cluster.deliver("acme-calendly", "invitee.created", "1", ("Interview", uri), &body);
    rides_with_the_application(&cluster, Entity::Interview);
    // What was booked by no link of ours is nobody's.
    let otherwise = body.replace("\"hirewire\"", "null").replace("invitees/AAAA", "invitees/BBBB");
    cluster.deliver("acme-calendly", "invitee.created", "2", ("Interview", "x"), &otherwise);
    assert_eq!(cluster.of(Entity::Interview).len(), 1);
    assert!(letters(&cluster).is_empty(), "{:?}", letters(&cluster));
    assert!(issues(&cluster).is_empty());
}

#[test]
fn a_result_for_an_application_that_the_tenant_does_not_have_is_a_dead_letter_and_no_record() {
    let mut cluster = cluster();
    let body = fixture_of("docusign", "webhook__completed.json");
    // The application exists, and belongs to another tenant than the one that received this.
    cluster.deliver("umbrella-docusign", "envelope-completed", "1", ENVELOPE, &body);
    assert_eq!(letters(&cluster), ["UNKNOWN_ORDER"]);
    let unheard_of = body.replace("acme-greenhouse/265277", "acme-greenhouse/7");
    cluster.deliver("acme-docusign", "envelope-completed", "2", ENVELOPE, &unheard_of);
    let elsewhere = body.replace("acme-greenhouse/265277", "acme-lever/265277");
    cluster.deliver("acme-docusign", "envelope-completed", "3", ENVELOPE, &elsewhere);
    assert_eq!(letters(&cluster), ["UNKNOWN_ORDER"; 3]);
    assert!(cluster.of(Entity::SignatureEnvelope).is_empty());
    // What is right goes on.
    cluster.deliver("acme-docusign", "envelope-completed", "4", ENVELOPE, &body);
    rides_with_the_application(&cluster, Entity::SignatureEnvelope);
    assert_eq!(letters(&cluster).len(), 3);
}

#[test]
fn what_names_no_order_is_a_dead_letter_with_its_exact_bytes() {
    let mut cluster = cluster();
    let body = fixture_of("docusign", "invalid/webhook__sent_by_hand__UNCORRELATED.json");
    cluster.deliver("acme-docusign", "envelope-completed", "1", ENVELOPE, &body);
    assert_eq!(letters(&cluster), ["UNCORRELATED"]);
    let letter = cluster.topic(LETTERS[0])[0];
    assert_eq!(letter.value.as_deref(), Some(body.as_bytes()));
    assert!(header(letter, "dlq.remedy").contains("order"));
    assert!(cluster.of(Entity::SignatureEnvelope).is_empty());
}

#[test]
fn a_report_waits_until_the_candidate_has_named_the_application() {
    for abort_first in [false, true] {
        let mut cluster = cluster();
        cluster.abort_first = abort_first;
        check(&mut cluster, "webhook__invitation.json");
        check(&mut cluster, "webhook__report_completed.json");
        check(&mut cluster, "webhook__report_completed.json");
        assert!(cluster.of(Entity::BackgroundCheck).is_empty(), "nobody knows whose it is");
        assert_eq!(issues(&cluster), ["AWAITS_ORDER"], "people see that something waits, once");
        assert!(letters(&cluster).is_empty());
        // What waits is state: another process has it too.
        cluster.move_to_new_owner();
        check(&mut cluster, "webhook__candidate.json");
        let known = cluster.last(Entity::BackgroundCheck, CHECK.1);
        assert_eq!(text(&known, "status.value"), "COMPLETED");
        assert_eq!(text(&known, "result.value"), "CLEAR");
        assert_ne!(text(&known, "ordered_at"), "null");
        rides_with_the_application(&cluster, Entity::BackgroundCheck);
        // From now on nothing waits.
        check(&mut cluster, "webhook__report_post_adverse_action.json");
        let known = cluster.last(Entity::BackgroundCheck, CHECK.1);
        assert_eq!(text(&known, "adjudication.value"), "ADVERSE_ACTION");
        assert_eq!(issues(&cluster).len(), 1);
    }
}

#[test]
fn in_whatever_order_the_events_of_a_check_come_its_record_is_the_same() {
    let names = [
        "webhook__candidate.json",
        "webhook__invitation.json",
        "webhook__invitation_completed.json",
        "webhook__report_suspended.json",
        "webhook__report_completed.json",
    ];
    let mut ends = Vec::new();
    for first in 0..names.len() {
        for step in [1, 2, 3, 4] {
            let mut cluster = cluster();
            for index in 0..names.len() {
                check(&mut cluster, names[(first + index * step) % names.len()]);
            }
            let end = cluster.last(Entity::BackgroundCheck, CHECK.1);
            let told = ["status.value", "result.value", "package", "application_id", "ordered_at", "completed_at"];
            ends.push(told.map(|field| text(&end, field)));
            rides_with_the_application(&cluster, Entity::BackgroundCheck);
        }
    }
    assert!(ends.iter().all(|end| *end == ends[0]), "{ends:?}");
    assert_eq!(ends[0][..2], ["COMPLETED", "CLEAR"]);
}

#[test]
fn what_waits_for_one_order_is_bounded_and_the_rest_is_kept_as_dead_letters() {
    let mut cluster = cluster();
    let body = fixture_of("checkr", "webhook__report_completed.json");
    for delivery in 0..70 {
        // Each says something else.
        let body = body.replace("driver_plus", &format!("package-{delivery}"));
        cluster.deliver("acme-checkr", "report.completed", &delivery.to_string(), CHECK, &body);
    }
    assert_eq!(letters(&cluster), ["UNKNOWN_ORDER"; 6]);
    check(&mut cluster, "webhook__candidate.json");
    rides_with_the_application(&cluster, Entity::BackgroundCheck);
}
