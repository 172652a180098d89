//! Rows that a vendor gives as XML, and a report of the same in JSON, become one ledger.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![allow(dead_code, reason = "the cluster has more than these tests need")]

mod cluster;

use apache_avro::types::Value;
use cluster::tree::at;
use cluster::{Cluster, connection, fixture_of, id, text};
use hirewire_mapping::xml;
use hirewire_normalize::step::Source;
use hirewire_schemas::Entity;
use jiff::Timestamp;
use serde_json::Value as Json;

const PERSON: (&str, &str) = ("Candidate", "cf1ced2ceea88194f85fca1056270c01");
const APPLICATION: &str = "cf1ced2ceea88194f85fca1056270a01";
const CONNECTION: &str = "acme-greenhouse";

fn cluster() -> Cluster {
    Cluster::with(|shared| {
        shared.sources.insert(CONNECTION.to_owned(), Source::from(connection("acme", CONNECTION, "workday")));
    })
}

/// The row of a fixture as ingest keeps it.
fn row() -> String {
    let page =
        xml::split(fixture_of("workday", "poll__Get_Candidates.xml").as_bytes(), &["Response_Data", "Candidate"], &[]);
    String::from_utf8(page.unwrap().rows.remove(0)).unwrap()
}

fn told(cluster: &Cluster) -> Vec<String> {
    let line = |change: &_| {
        let field = |path: &str| match at(change, path.split('.').next().unwrap()) {
            Value::Null => String::new(),
            _ => text(change, path),
        };
        format!(
            "{} {} {}>{} {} {}",
            field("revision"),
            field("change_type"),
            field("from_stage.name"),
            field("to_stage.name"),
            field("to_status.value"),
            Timestamp::from_microsecond(field("occurred_at").parse().unwrap()).unwrap()
        )
    };
    cluster.of(Entity::StageChange).iter().map(line).collect()
}

/// A row of an answer that is of this moment, however late it came.
fn poll(cluster: &mut Cluster, as_of: &str, body: &str) {
    let mut input = cluster.input("poll", "Get_Candidates", as_of, PERSON, body, Timestamp::now());
    input.headers.push(("hirewire-request".to_owned(), format!("{{\"as_of\":\"{as_of}\"}}").into()));
    cluster.send_together(&[input]);
}

#[test]
fn a_person_s_rows_become_the_ledger_of_their_application_and_a_report_corrects_it() {
    let mut cluster = cluster();
    poll(&mut cluster, "2020-10-07T00:00:00Z", &row());
    poll(&mut cluster, "2020-10-08T00:00:00Z", &row());
    // It moved while the answer came, which is of a moment before.
    poll(&mut cluster, "2020-10-09T18:59:59Z", &row());
    let offer = row()
        .replace("Descriptor=\"Panel Interview\"", "Descriptor=\"Make Offer\"")
        .replace("f1b2c3d4e5f60718293a4b5c6d7e8f02", "f1b2c3d4e5f60718293a4b5c6d7e8f05")
        .replace(">INTERVIEW<", ">OFFER<")
        .replace("2020-10-06T01:48:50.263-07:00", "2020-10-09T12:00:00.000-07:00");
    poll(&mut cluster, "2020-10-09T20:00:00Z", &offer);
    let status = "<wd:Status_Timestamp>2020-10-09T12:00:00.000-07:00</wd:Status_Timestamp>";
    let withdrawn = offer.replace(
        status,
        "<wd:Disposition_Reference wd:Descriptor=\"Candidate Withdrew\"><wd:ID wd:type=\"WID\">d1</wd:ID></wd:Disposition_Reference>\
         <wd:Status_Timestamp>2020-10-10T09:00:00.000-07:00</wd:Status_Timestamp>",
    );
    assert_ne!(withdrawn, offer);
    poll(&mut cluster, "2020-10-11T00:00:00Z", &withdrawn);
    let live = [
        "LIVE CREATED >Panel Interview ACTIVE 2020-10-06T06:12:04.117Z",
        "LIVE STAGE Panel Interview>Make Offer ACTIVE 2020-10-09T19:00:00Z",
        "LIVE WITHDRAWAL Make Offer>Make Offer WITHDRAWN 2020-10-10T16:00:00Z",
    ];
    assert_eq!(told(&cluster), live);
    let application = cluster.last(Entity::Application, APPLICATION);
    assert_eq!(text(&application, "candidate_id"), id(PERSON.0, PERSON.1));
    assert_eq!(text(&application, "status.value"), "WITHDRAWN");

    // What the operations do not tell: where it was before anybody looked.
    let report: Json = serde_json::from_str(&fixture_of("workday", "poll__Application_History.json")).unwrap();
    for row in report["Report_Entry"].as_array().unwrap() {
        let delivery = row["Event_WID"].as_str().unwrap();
        cluster.send("poll", "Application_History", delivery, ("Application", APPLICATION), &row.to_string());
    }
    let learnt = [
        "CORRECTION CREATED >Review ACTIVE 2020-10-06T06:12:04.117Z",
        "CORRECTION STAGE Review>Panel Interview ACTIVE 2020-10-06T08:48:50.263Z",
    ];
    assert_eq!(told(&cluster), [&live[..], &learnt[..]].concat());
}
