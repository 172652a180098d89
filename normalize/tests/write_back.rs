//! What route changes at a source comes back as the source's own event: it is known to be ours, whenever its intent is read.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![allow(dead_code, reason = "the cluster has more than these tests need")]

mod cluster;

use bytes::Bytes;
use cluster::{Cluster, PARTITIONS, fixture, id, text};
use hirewire_kafka::{Inbound, partition_for};
use hirewire_schemas::records::{Put, WriteBack};
use hirewire_schemas::{Entity, Names};

const APPLICATION: (&str, &str) = ("Application", "265277");
const HOUR: i64 = 3_600_000_000;

fn micros(at: &str) -> i64 {
    at.parse::<jiff::Timestamp>().unwrap().as_microsecond()
}

fn at_stage(number: u64, name: &str, time: &str) -> String {
    fixture("webhook__candidate_stage_change.json")
        .replace("\"id\": 71416", &format!("\"id\": {number}"))
        .replace(
            "\"name\": \"Assessment\",\n        \"interviews\"",
            &format!("\"name\": \"{name}\",\n        \"interviews\""),
        )
        .replace("2015-02-09T16:38:36Z", time)
}

fn webhook(cluster: &mut Cluster, number: u64, name: &str, time: &str) {
    let body = at_stage(number, name, time);
    cluster.send("webhook", "candidate_stage_change", &format!("{number}-{time}"), APPLICATION, &body);
}

/// An intent of a move to a stage, as route writes it.
fn intent(delivery: &str, stage: Option<u64>, status: Option<&str>, at: &str, lasts: i64) -> Inbound {
    let application = id(APPLICATION.0, APPLICATION.1);
    let record = WriteBack {
        tenant_id: "acme".to_owned(),
        connection_id: "acme-greenhouse".to_owned(),
        application_id: application.clone(),
        route: "results".to_owned(),
        idempotency_key: delivery.to_owned(),
        action: "move".to_owned(),
        to_stage_id: stage.map(|number| id("Stage", &number.to_string())),
        to_status: status.map(str::to_owned),
        cause_event_id: None,
        intended_at: micros(at),
        expires_at: Some(micros(at) + lasts),
    };
    let mut value = vec![0, 0, 0, 0, 7];
    record.put(&mut value);
    Inbound {
        topic: Names::new("").internal("write-back").into(),
        partition: partition_for(application.as_bytes(), PARTITIONS),
        offset: 0,
        timestamp_ms: micros(at) / 1000,
        key: Some(Bytes::from(application)),
        value: Some(value.into()),
        headers: Vec::new(),
    }
}

/// Of each event: number, revision, stage it leads to, cause, and how many it supersedes.
fn told(cluster: &Cluster) -> Vec<String> {
    let fields = ["sequence_no", "revision", "to_stage.name", "cause", "supersedes"];
    let changes = cluster.of(Entity::StageChange);
    changes.iter().map(|change| fields.map(|field| text(change, field)).join(" ")).collect()
}

fn begun() -> Cluster {
    let mut cluster = Cluster::new();
    webhook(&mut cluster, 71416, "Assessment", "2015-02-09T16:38:36Z");
    cluster
}

const BEGAN: &str = "1 LIVE Assessment UNKNOWN 0";

#[test]
fn the_change_that_our_own_write_caused_is_known_to_be_ours_and_the_next_one_is_not() {
    for abort_first in [false, true] {
        let mut cluster = begun();
        cluster.abort_first = abort_first;
        cluster.send_together(&[intent("d1", Some(71417), None, "2015-02-10T10:00:00Z", HOUR)]);
        // A crash between intent and sending: it is written again.
        cluster.send_together(&[intent("d1", Some(71417), None, "2015-02-10T10:00:30Z", HOUR)]);
        assert_eq!(told(&cluster), [BEGAN], "an intent alone tells nothing");
        cluster.move_to_new_owner();
        webhook(&mut cluster, 71417, "Onsite", "2015-02-10T10:00:31Z");
        webhook(&mut cluster, 71418, "Offer", "2015-02-10T10:05:00Z");
        // Back to the same stage within the intent's time, and this time it was a person.
        webhook(&mut cluster, 71417, "Onsite", "2015-02-10T10:06:00Z");
        let expected = [BEGAN, "2 LIVE Onsite WRITE_BACK 0", "3 LIVE Offer UNKNOWN 0", "4 LIVE Onsite UNKNOWN 0"];
        assert_eq!(told(&cluster), expected);
    }
}

#[test]
fn an_intent_explains_what_leads_where_it_intends_to_in_its_time_and_nothing_else() {
    for (stage, status, at, why) in [
        (Some(71419), None, "2015-02-10T10:00:00Z", "another stage"),
        (Some(71417), None, "2015-02-10T10:10:00Z", "the move was long before"),
        (Some(71417), None, "2015-02-10T08:00:00Z", "the intent had ended"),
        (Some(71417), Some("REJECTED"), "2015-02-10T10:00:00Z", "and another status"),
        (None, None, "2015-02-10T10:00:00Z", "a note changes no stage"),
    ] {
        let mut cluster = begun();
        cluster.send_together(&[intent("d1", stage, status, at, HOUR)]);
        webhook(&mut cluster, 71417, "Onsite", "2015-02-10T10:00:31Z");
        assert_eq!(told(&cluster), [BEGAN, "2 LIVE Onsite UNKNOWN 0"], "{why}");
    }
    let mut cluster = begun();
    cluster.send_together(&[intent("d1", None, Some("HIRED"), "2000-01-01T00:00:00Z", 100 * 365 * 24 * HOUR)]);
    let hire = fixture("webhook__hire_candidate.json").replace("46194062", "265277");
    cluster.send("webhook", "hire_candidate", "h", APPLICATION, &hire);
    let causes: Vec<_> =
        cluster.of(Entity::StageChange).iter().map(|c| (text(c, "change_type"), text(c, "cause"))).collect();
    assert!(causes.contains(&("HIRE".to_owned(), "WRITE_BACK".to_owned())), "a status: {causes:?}");
    assert_eq!(causes.iter().filter(|(_, cause)| cause == "WRITE_BACK").count(), 1);
}

#[test]
fn an_intent_that_is_read_late_corrects_the_cause_and_moves_nothing() {
    let mut cluster = begun();
    webhook(&mut cluster, 71417, "Onsite", "2015-02-10T10:00:31Z");
    webhook(&mut cluster, 71418, "Offer", "2015-02-10T10:05:00Z");
    cluster.send_together(&[intent("d1", Some(71417), None, "2015-02-10T10:00:00Z", HOUR)]);
    let expected = [BEGAN, "2 LIVE Onsite UNKNOWN 0", "3 LIVE Offer UNKNOWN 0", "4 CORRECTION Onsite WRITE_BACK 1"];
    assert_eq!(told(&cluster), expected);
    let correction = &cluster.of(Entity::StageChange)[3];
    let (first, second) = (&cluster.of(Entity::StageChange)[0], &cluster.of(Entity::StageChange)[1]);
    assert_eq!(text(correction, "previous_event_id"), text(first, "meta.event_id"));
    assert_eq!(text(correction, "from_stage.name"), "Assessment");
    assert_eq!(text(correction, "occurred_at"), text(second, "occurred_at"));
    assert_eq!(text(&cluster.last(Entity::Application, APPLICATION.1), "stage.name"), "Offer");
    // The same facts again, and the intent again, tell nothing.
    webhook(&mut cluster, 71417, "Onsite", "2015-02-10T10:00:31Z");
    cluster.send_together(&[intent("d1", Some(71417), None, "2015-02-10T10:00:00Z", HOUR)]);
    cluster.move_to_new_owner();
    cluster.send_together(&[intent("d1", Some(71417), None, "2015-02-10T10:00:00Z", HOUR)]);
    assert_eq!(told(&cluster).len(), 4);
    // What comes after it goes on from the last event.
    webhook(&mut cluster, 71419, "Reference", "2015-02-10T11:00:00Z");
    assert_eq!(told(&cluster)[4], "5 LIVE Reference UNKNOWN 0");
}

#[test]
fn what_cannot_be_read_is_a_dead_letter_and_what_nobody_knows_is_nothing() {
    let mut cluster = begun();
    let mut damaged = intent("d1", Some(71417), None, "2015-02-10T10:00:00Z", HOUR);
    damaged.value = Some(Bytes::from_static(b"\0\0\0\0\x07\x02"));
    cluster.send_together(&[damaged]);
    assert_eq!(cluster.topic("ats.dlq.normalize.v1").len() + cluster.topic("ats.dlq.normalize-restricted.v1").len(), 1);
    let count = cluster.published.len();
    let mut cluster_of_nobody = Cluster::new();
    cluster_of_nobody.send_together(&[intent("d1", Some(71417), None, "2015-02-10T10:00:00Z", HOUR)]);
    assert!(cluster_of_nobody.published.is_empty());
    assert_eq!(cluster.published.len(), count);
}
