//! An answer that was on its way while the application moved.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![allow(dead_code, reason = "the cluster has more than these tests need")]

mod cluster;

use bytes::Bytes;
use cluster::{Cluster, PARTITIONS, connection, text};
use hirewire_kafka::{Inbound, partition_for};
use hirewire_normalize::step::Source;
use hirewire_schemas::{Entity, Names, ids};
use serde_json::json;

const SMARTRECRUITERS: &str = "acme-smartrecruiters";
const PERSON: &str = "p-1";
const JOB: &str = "j-1";

/// An answer to a question of that time.
fn answer(cluster: &mut Cluster, stream: &str, row: &str, [asked, received]: [&str; 2], body: &str) -> Inbound {
    let at = |time: &str| format!("2026-03-01T10:00:{time}Z");
    let subject = ("Candidate", PERSON);
    let mut input = cluster.input("poll", stream, row, subject, body, at(received).parse().unwrap());
    let key = ids::canonical_id("acme", SMARTRECRUITERS, subject.0, subject.1).to_string();
    input.topic = Names::new("").raw("smartrecruiters").into();
    input.partition = partition_for(key.as_bytes(), PARTITIONS);
    input.key = Some(Bytes::from(key));
    for (name, value) in &mut input.headers {
        if name == "hirewire-connection" {
            *value = Bytes::from_static(SMARTRECRUITERS.as_bytes());
        }
    }
    let request = json!({"candidate_id": PERSON, "job_id": JOB}).to_string();
    input.headers.push(("hirewire-request".to_owned(), request.into()));
    input.headers.push(("hirewire-asked-at".to_owned(), at(asked).into()));
    input
}

/// What the details say, which have no clock of their own; and a row of the history, which has.
fn details(sub_status: &str) -> String {
    let job = json!({"job": {"id": JOB, "title": "T"}, "status": "IN_REVIEW", "subStatus": sub_status});
    json!({"id": PERSON, "firstName": "A", "lastName": "B", "primaryAssignment": job}).to_string()
}

fn row(sub_status: &str, time: &str) -> String {
    json!({"changedOn": format!("2026-03-01T10:00:{time}Z"), "status": "IN_REVIEW", "subStatus": sub_status})
        .to_string()
}

#[test]
fn what_an_answer_on_its_way_said_is_no_move_back() {
    for crossed_first in [true, false] {
        let mut cluster = Cluster::with(|shared| {
            let source = Source::from(connection("acme", SMARTRECRUITERS, "smartrecruiters"));
            shared.sources.insert(SMARTRECRUITERS.to_owned(), source);
        });
        let began = [
            answer(&mut cluster, "status_history", "1", ["01.000", "01.100"], &row("Screen", "00.000")),
            answer(&mut cluster, "candidate_details", "1", ["01.200", "01.300"], &details("Screen")),
        ];
        // Asked before the move, of 05.000, and received after it.
        let crossed = answer(&mut cluster, "candidate_details", "2", ["04.900", "05.200"], &details("Screen"));
        let moved = answer(&mut cluster, "status_history", "2", ["05.100", "05.150"], &row("Test", "05.000"));
        let last = answer(&mut cluster, "candidate_details", "3", ["06.000", "06.100"], &details("Test"));
        let rest = if crossed_first { [crossed, moved, last] } else { [moved, crossed, last] };
        for input in began.into_iter().chain(rest) {
            cluster.send_together(&[input]);
        }
        let told: Vec<_> = cluster
            .of(Entity::StageChange)
            .iter()
            .map(|change| {
                (text(change, "change_type"), text(change, "to_stage.name"), text(change, "occurred_at_precision"))
            })
            .collect();
        let told: Vec<_> = told.iter().map(|(change, stage, how)| (&**change, &**stage, &**how)).collect();
        assert_eq!(
            told,
            [("CREATED", "Screen", "EXACT"), ("STAGE", "Test", "EXACT")],
            "the crossed answer first: {crossed_first}"
        );
    }
}
