//! Steps of all partitions together, without Kafka: fragments, deletions, look-ups, every documented payload.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![allow(dead_code, reason = "the cluster has more than these tests need")]

mod cluster;

use apache_avro::types::Value;
use cluster::tree::at;
use cluster::{Cluster, fixture, id, text};
use hirewire_schemas::Entity;

const APPLICATION: (&str, &str) = ("Application", "265277");

fn story(cluster: &Cluster) -> Vec<(String, String, String)> {
    let changes = cluster.of(Entity::StageChange);
    changes.iter().map(|c| (text(c, "change_type"), text(c, "from_status.value"), text(c, "to_status.value"))).collect()
}

fn expect(told: &[(&str, &str, &str)]) -> Vec<(String, String, String)> {
    told.iter().map(|t| (t.0.to_owned(), t.1.to_owned(), t.2.to_owned())).collect()
}

#[test]
fn every_fixture_is_mapped_and_what_comes_out_is_what_the_schemas_say() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../vendors/greenhouse/fixtures");
    let mut cluster = Cluster::new();
    let mut count = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let Some((kind, what)) = name.strip_suffix(".json").and_then(|name| name.split_once("__")) else { continue };
        let what = what.split("__").next().unwrap();
        match kind {
            "webhook" => cluster.send("webhook", what, &name, APPLICATION, &fixture(&name)),
            "poll" => {
                let rows: serde_json::Value = serde_json::from_str(&fixture(&name)).unwrap();
                let rows = rows.as_array().cloned().unwrap_or_else(|| vec![rows]);
                for (index, row) in rows.iter().enumerate() {
                    cluster.send("poll", what, &format!("{name}-{index}"), APPLICATION, &row.to_string());
                }
            }
            _ => continue,
        }
        count += 1;
    }
    assert!(count > 40, "{count}");
    let letters = cluster.topic("ats.dlq.normalize.v1");
    let reasons: Vec<_> = letters
        .iter()
        .map(|l| {
            l.headers
                .iter()
                .filter(|h| h.0.contains("dlq") || h.0.contains("message") || h.0.contains("ce_id"))
                .collect::<Vec<_>>()
        })
        .collect();
    assert!(letters.is_empty(), "{reasons:?}");
    let mut seen = Vec::new();
    for entity in Entity::ALL {
        if !cluster.of(entity).is_empty() {
            seen.push(entity);
        }
    }
    for entity in [
        Entity::Application,
        Entity::Candidate,
        Entity::Job,
        Entity::Offer,
        Entity::StageChange,
        Entity::Stage,
        Entity::User,
    ] {
        assert!(seen.contains(&entity), "{entity} in {seen:?}");
    }
}

#[test]
fn an_entity_inside_another_s_payload_is_published_once_in_its_own_partition() {
    let mut cluster = Cluster::new();
    let body = fixture("webhook__candidate_stage_change.json");
    cluster.send("webhook", "candidate_stage_change", "1", APPLICATION, &body);
    let count = cluster.published.len();
    assert!(!cluster.of(Entity::Candidate).is_empty());
    cluster.send("webhook", "candidate_stage_change", "1", APPLICATION, &body);
    assert_eq!(cluster.published.len(), count, "a repetition publishes nothing");
    for record in &cluster.published {
        if *record.topic == *"ats.candidate.v1" || *record.topic == *"ats.application.v1" {
            let key = record.key.as_ref().unwrap();
            assert_eq!(record.partition, Some(hirewire_kafka::partition_for(key, 4)));
        }
    }
}

#[test]
fn a_hire_is_told_and_the_record_says_so() {
    let mut cluster = Cluster::new();
    let body = fixture("webhook__hire_candidate.json");
    cluster.send("webhook", "hire_candidate", "1", ("Application", "46194062"), &body);
    cluster.send("webhook", "hire_candidate", "1", ("Application", "46194062"), &body);
    assert_eq!(story(&cluster), expect(&[("CREATED", "UNKNOWN", "ACTIVE"), ("HIRE", "ACTIVE", "HIRED")]));
    let application = cluster.last(Entity::Application, "46194062");
    assert_eq!(text(&application, "status.value"), "HIRED");
    assert_eq!(text(&application, "meta.op"), "UPSERT");
    let hire = &cluster.of(Entity::StageChange)[1];
    assert_eq!(text(hire, "candidate_id"), id("Candidate", "35897443"));
    assert_eq!(text(hire, "to_job_id"), id("Job", "323753"));
    assert_eq!(text(hire, "revision"), "LIVE");
    assert_eq!(text(hire, "meta.provenance"), "WEBHOOK");
}

#[test]
fn a_deletion_ends_the_ledger_keeps_ids_only_and_nothing_revives_it() {
    let mut cluster = Cluster::new();
    let change = fixture("webhook__candidate_stage_change.json").replace("265277", "46194062");
    let deletion = fixture("webhook__delete_application.json");
    let subject = ("Application", "46194062");
    cluster.send("webhook", "candidate_stage_change", "1", subject, &change);
    cluster.send("webhook", "delete_application", "2", subject, &deletion);
    cluster.send("webhook", "candidate_stage_change", "1", subject, &change);
    assert_eq!(story(&cluster), expect(&[("CREATED", "UNKNOWN", "ACTIVE"), ("DELETED", "ACTIVE", "UNKNOWN")]));
    let application = cluster.last(Entity::Application, "46194062");
    assert_eq!(text(&application, "meta.op"), "DELETE");
    assert_eq!(text(&application, "stage"), "null");
    assert_ne!(text(&application, "candidate_id"), "null");
    assert_ne!(text(&application, "meta.remote_deleted_at"), "null");
}

#[test]
fn a_deletion_without_an_owner_finds_its_holder_and_waits_for_a_late_create() {
    let mut cluster = Cluster::new();
    let rows: serde_json::Value = serde_json::from_str(&fixture("poll__interviews.json")).unwrap();
    let row = rows.as_array().map_or(&rows, |rows| &rows[0]).clone();
    let remote_id = row["id"].to_string();
    let deletion = serde_json::json!({"action": "interview_deleted", "payload": {"id": row["id"]}}).to_string();
    let full = fixture("webhook__interview_deleted.json");
    let deletion = if full.contains("\"interview\"") {
        let mut body: serde_json::Value = serde_json::from_str(&full).unwrap();
        body["payload"]["interview"]["id"] = row["id"].clone();
        body["payload"]["id"] = row["id"].clone();
        body.to_string()
    } else {
        deletion
    };
    let subject = ("Interview", remote_id.as_str());
    cluster.send("poll", "interviews", "1", ("Application", &row["application_id"].to_string()), &row.to_string());
    assert_eq!(text(&cluster.last(Entity::Interview, &remote_id), "meta.op"), "UPSERT");
    cluster.send("webhook", "interview_deleted", "2", subject, &deletion);
    assert_eq!(text(&cluster.last(Entity::Interview, &remote_id), "meta.op"), "DELETE");
    assert_eq!(cluster.of(Entity::Interview).len(), 2);

    let mut cluster = Cluster::new();
    cluster.send("webhook", "interview_deleted", "2", subject, &deletion);
    cluster.send("poll", "interviews", "1", ("Application", &row["application_id"].to_string()), &row.to_string());
    assert!(cluster.of(Entity::Interview).is_empty(), "the deletion is remembered");
    let later = jiff::Timestamp::now() + jiff::SignedDuration::from_hours(25);
    let application = row["application_id"].to_string();
    let again = cluster.input("poll", "interviews", "1", ("Application", &application), &row.to_string(), later);
    cluster.send_together(&[again]);
    assert_eq!(cluster.of(Entity::Interview).len(), 1, "after a day it is forgotten");
}

#[test]
fn an_interviewer_waits_for_the_interview_wherever_it_lives() {
    let row = |id: u64, interview: u64, answer: &str| {
        serde_json::json!({"id": id, "interview_id": interview, "user_id": 7, "email": "panel@example.com",
            "response_status": answer, "scorecard_id": null, "created_at": "2026-01-01T00:00:00Z", "updated_at": "2026-01-01T00:00:00Z"})
        .to_string()
    };
    let rows: serde_json::Value = serde_json::from_str(&fixture("poll__interviews.json")).unwrap();
    let interview = rows.as_array().map_or(&rows, |rows| &rows[0]).clone();
    // Of many interviews some live where their home is, and some elsewhere.
    for number in 1..=16_u64 {
        let mut cluster = Cluster::new();
        let (remote_id, application) = (number.to_string(), (number * 1_000).to_string());
        let mut interview = interview.clone();
        interview["id"] = number.into();
        interview["application_id"] = (number * 1_000).into();
        let subject = ("Interview", remote_id.as_str());
        cluster.send("poll", "interviewers", "1", subject, &row(1, number, "accepted"));
        cluster.send("poll", "interviewers", "2", subject, &row(2, number, "tentative"));
        assert!(cluster.of(Entity::Interview).is_empty());
        cluster.send("poll", "interviews", "3", ("Application", &application), &interview.to_string());
        let answers = |cluster: &Cluster| -> Vec<String> {
            let found = cluster.last(Entity::Interview, &remote_id);
            let Value::Array(panel) = at(&found, "interviewers") else { panic!("{found:?}") };
            panel.iter().map(|member| text(member, "response.value")).collect()
        };
        assert_eq!(answers(&cluster), ["ACCEPTED", "TENTATIVE"], "interview {number}");
        cluster.send("poll", "interviewers", "4", subject, &row(3, number, "declined"));
        assert_eq!(answers(&cluster), ["ACCEPTED", "TENTATIVE", "DECLINED"], "interview {number}");
    }
}

#[test]
fn a_bad_connection_and_a_missing_header_are_dead_letters() {
    let mut cluster = Cluster::new();
    cluster.send("sent-by-nobody", "x", "1", APPLICATION, "{}");
    let letters = cluster.topic("ats.dlq.normalize.v1");
    let reason = |name: &str| {
        letters[0].headers.iter().find(|h| *h.0 == *name).map(|h| String::from_utf8_lossy(&h.1).into_owned())
    };
    assert_eq!(reason("dlq.reason").as_deref(), Some("MISSING_HEADER"));
    assert!(reason("dlq.remedy").is_some());
}

#[test]
fn history_rows_wait_for_the_application_and_then_tell_everything_in_order() {
    let mut cluster = Cluster::new();
    let row = |id: u64, stage: u64, entered: &str, exited: Option<&str>| {
        serde_json::json!({"id": id, "created_at": entered, "updated_at": exited.unwrap_or(entered), "application_id": 265_277,
            "job_interview_stage_id": stage, "entered_at": entered, "exited_at": exited, "days_in_stage": 0, "current": exited.is_none()})
        .to_string()
    };
    let rows = [
        row(3, 30, "2015-02-03T00:00:00.125Z", None),
        row(2, 20, "2015-02-02T00:00:00.125Z", Some("2015-02-03T00:00:00.125Z")),
        row(1, 10, "2015-02-01T00:00:00.125Z", Some("2015-02-02T00:00:00.125Z")),
    ];
    for (n, row) in rows.iter().enumerate() {
        cluster.send("backfill", "application_stages", &format!("r{n}"), APPLICATION, row);
    }
    assert!(cluster.of(Entity::StageChange).is_empty());
    let mut application: serde_json::Value = serde_json::from_str(&fixture("poll__applications.json")).unwrap();
    if let Some(rows) = application.as_array() {
        application = rows[0].clone();
    }
    for (key, value) in [
        ("id", serde_json::json!(265_277)),
        ("stage_id", serde_json::json!(30)),
        ("status", serde_json::json!("in_process")),
        ("rejected_at", serde_json::Value::Null),
        ("created_at", serde_json::json!("2015-02-01T00:00:00.125Z")),
        ("updated_at", serde_json::json!("2015-02-03T00:00:00.125Z")),
        ("prospect", serde_json::json!(false)),
    ] {
        application[key] = value;
    }
    cluster.send("backfill", "applications", "a", APPLICATION, &application.to_string());
    let changes = cluster.of(Entity::StageChange);
    let told: Vec<(String, String)> = changes.iter().map(|c| (text(c, "change_type"), text(c, "revision"))).collect();
    let live = |what: &str| (what.to_owned(), "LIVE".to_owned());
    assert_eq!(told, [live("CREATED"), live("STAGE"), live("STAGE")]);
    assert_eq!(text(&changes[1], "time_in_previous_stage_ms"), "86400000");
    assert_eq!(text(&changes[1], "occurred_at_precision"), "EXACT");
    assert_eq!(text(&changes[1], "inferred"), "false");
    assert_eq!(text(&changes[1], "meta.provenance"), "BACKFILL");
    assert_eq!(text(&changes[2], "to_stage.id"), id("Stage", "30"));
    assert!(matches!(at(&changes[2], "evidence"), apache_avro::types::Value::Array(items) if !items.is_empty()));
}

fn play(cluster: &mut Cluster, name: &str, deliveries: std::ops::Range<usize>) {
    let stage = fixture("webhook__candidate_stage_change.json");
    let at = |stage_id: &str, time: &str| stage.replace("71416", stage_id).replace("2015-02-09T16:38:36Z", time);
    let bodies = [
        ("candidate_stage_change", stage.clone()),
        ("candidate_stage_change", at("71417", "2015-02-10T16:38:36Z")),
        ("candidate_stage_change", at("71416", "2015-02-11T16:38:36Z")),
        ("candidate_stage_change", at("71419", "2015-02-12T16:38:36Z")),
    ];
    for (n, (event, body)) in bodies.iter().enumerate().take(deliveries.end).skip(deliveries.start) {
        let received = "2026-01-01T00:00:00Z".parse().unwrap();
        let input = cluster.input("webhook", event, &format!("{name}{n}"), APPLICATION, body, received);
        cluster.send_together(&[input]);
    }
}

fn published(cluster: &Cluster) -> Vec<(String, Option<Vec<u8>>)> {
    cluster
        .published
        .iter()
        .map(|record| (record.topic.to_string(), record.value.as_ref().map(|value| value.to_vec())))
        .collect()
}

#[test]
fn work_that_is_done_again_after_an_abort_gives_the_same_records() {
    let mut plain = Cluster::new();
    play(&mut plain, "d", 0..4);
    let mut aborting = Cluster::new();
    aborting.abort_first = true;
    play(&mut aborting, "d", 0..4);
    assert!(published(&plain) == published(&aborting));
}

#[test]
fn a_new_owner_goes_on_from_the_state_topic_as_the_old_one_would_have() {
    let mut plain = Cluster::new();
    play(&mut plain, "d", 0..2);
    play(&mut plain, "d", 1..4);
    let mut moved = Cluster::new();
    play(&mut moved, "d", 0..2);
    moved.move_to_new_owner();
    play(&mut moved, "d", 1..4);
    let of =
        |cluster: &Cluster, topic: &str| published(cluster).into_iter().filter(|r| r.0 == topic).collect::<Vec<_>>();
    for topic in ["ats.stage-change.v1", "ats.application.v1"] {
        assert!(of(&plain, topic) == of(&moved, topic), "{topic}");
    }
}

#[test]
fn deleting_a_candidate_deletes_its_applications() {
    let mut cluster = Cluster::new();
    let deletion: serde_json::Value = serde_json::from_str(&fixture("webhook__delete_candidate.json")).unwrap();
    let ids = deletion["payload"]["person"]["deleted_application_ids"].as_array().unwrap().clone();
    assert!(!ids.is_empty());
    let application = ids[0].to_string();
    let body = fixture("webhook__candidate_stage_change.json").replace("265277", &application);
    cluster.send("webhook", "candidate_stage_change", "1", ("Application", &application), &body);
    let person = deletion["payload"]["person"]["id"].to_string();
    cluster.send("webhook", "delete_candidate", "2", ("Candidate", &person), &deletion.to_string());
    let of_it: Vec<String> = cluster
        .of(Entity::StageChange)
        .iter()
        .filter(|c| text(c, "meta.remote_id") == application)
        .map(|c| text(c, "change_type"))
        .collect();
    assert_eq!(of_it, ["CREATED", "DELETED"]);
    assert_eq!(text(&cluster.last(Entity::Application, &application), "meta.op"), "DELETE");
    assert_eq!(text(&cluster.last(Entity::Candidate, &person), "meta.op"), "DELETE");
}

#[test]
fn a_rejection_found_by_a_poll_keeps_the_last_stage() {
    let mut cluster = Cluster::new();
    let stage = fixture("webhook__candidate_stage_change.json");
    cluster.send("webhook", "candidate_stage_change", "1", APPLICATION, &stage);
    let mut application: serde_json::Value = serde_json::from_str(&fixture("poll__applications.json")).unwrap();
    if let Some(rows) = application.as_array() {
        application = rows[0].clone();
    }
    for (key, value) in [
        ("id", serde_json::json!(265_277)),
        ("stage_id", serde_json::Value::Null),
        ("stage_name", serde_json::Value::Null),
        (
            "job_id",
            serde_json::from_str::<serde_json::Value>(&stage).unwrap()["payload"]["application"]["jobs"][0]["id"]
                .clone(),
        ),
        ("status", serde_json::json!("rejected")),
        ("rejected_at", serde_json::json!("2015-02-20T00:00:00.125Z")),
        ("updated_at", serde_json::json!("2015-02-20T00:00:00.125Z")),
    ] {
        application[key] = value;
    }
    cluster.send("poll", "applications", "2", APPLICATION, &application.to_string());
    assert_eq!(story(&cluster), expect(&[("CREATED", "UNKNOWN", "ACTIVE"), ("REJECTION", "ACTIVE", "REJECTED")]));
    assert_eq!(
        text(&cluster.last(Entity::Application, "265277"), "stage.name"),
        "Assessment",
        "rest keeps the last stage"
    );
}

/// An attachment as the list shows it.
fn attachment(cluster: &mut Cluster, candidate: u64, updated_at: &str) {
    let mut rows: serde_json::Value = serde_json::from_str(&fixture("poll__attachments.json")).unwrap();
    rows[0]["candidate_id"] = serde_json::json!(candidate);
    rows[0]["updated_at"] = serde_json::json!(updated_at);
    let subject = ("Candidate", candidate.to_string());
    cluster.send("poll", "attachments", updated_at, (subject.0, &subject.1), &rows[0].to_string());
}

/// Partition, operation and candidate of each published attachment.
fn attachments(cluster: &Cluster) -> Vec<(i32, String, String)> {
    let partitions = cluster.topic("ats.attachment.v1").into_iter().map(|record| record.partition.unwrap());
    let records = cluster.of(Entity::Attachment);
    partitions.zip(&records).map(|(p, r)| (p, text(r, "meta.op"), text(r, "candidate_id"))).collect()
}

#[test]
fn a_record_that_gets_another_owner_is_deleted_in_the_old_partition_and_may_come_back() {
    let of = |n: u64| hirewire_kafka::partition_for(id("Candidate", &n.to_string()).as_bytes(), 4);
    let (old, new) = (1, (2..).find(|n| of(*n) != of(1)).unwrap());
    let upsert = |n: u64| (of(n), "UPSERT".to_owned(), id("Candidate", &n.to_string()));
    let delete = |n: u64| (of(n), "DELETE".to_owned(), id("Candidate", &n.to_string()));
    for abort_first in [false, true] {
        let mut cluster = Cluster::new();
        cluster.abort_first = abort_first;
        attachment(&mut cluster, old, "2026-03-05T10:00:00Z");
        assert_eq!(attachments(&cluster), [upsert(old)]);
        attachment(&mut cluster, new, "2026-03-06T10:00:00Z");
        assert_eq!(attachments(&cluster), [upsert(old), upsert(new), delete(old)]);
        cluster.move_to_new_owner();
        attachment(&mut cluster, old, "2026-03-05T12:00:00Z");
        assert_eq!(attachments(&cluster).len(), 3, "what is older than the move does not bring it back");
        attachment(&mut cluster, new, "2026-03-06T10:00:00Z");
        assert_eq!(attachments(&cluster).len(), 3, "a repetition says nothing");
        attachment(&mut cluster, old, "2026-03-07T10:00:00Z");
        assert_eq!(attachments(&cluster)[3..], [upsert(old), delete(new)]);
        let mut ids: Vec<String> =
            cluster.of(Entity::Attachment).iter().map(|record| text(record, "meta.event_id")).collect();
        ids.sort();
        ids.dedup();
        assert_eq!(ids.len(), 5, "each published version has an id of its own");
    }
}

#[test]
fn of_two_owners_the_one_with_the_newer_knowledge_keeps_the_record() {
    let of = |n: u64| hirewire_kafka::partition_for(id("Candidate", &n.to_string()).as_bytes(), 4);
    let (true_owner, other) = (1, (2..).find(|n| of(*n) != of(1)).unwrap());
    let mut cluster = Cluster::new();
    attachment(&mut cluster, true_owner, "2026-03-05T10:00:00Z");
    attachment(&mut cluster, true_owner, "2026-03-09T10:00:00Z");
    // Its home knows of the first version alone.
    attachment(&mut cluster, other, "2026-03-07T10:00:00Z");
    let last = |n: u64| attachments(&cluster).into_iter().rfind(|a| a.0 == of(n)).unwrap().1;
    assert_eq!((last(true_owner), last(other)), ("UPSERT".to_owned(), "DELETE".to_owned()));
}
