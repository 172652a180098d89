//! One customer's overlay that changes with time: moves after the day have the new categories, what was before keeps its own,
//! and the same records give the same bytes again.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![allow(dead_code, reason = "the cluster has more than these tests need")]

mod cluster;

use std::sync::Arc;

use apache_avro::types::Value;
use cluster::tree::at;
use cluster::{CONNECTION, Cluster, TENANT, fixture, text};
use hirewire_kafka::Inbound;
use hirewire_mapping::Plan;
use hirewire_normalize::Connection;
use hirewire_normalize::step::Source;
use hirewire_schemas::Entity;
use serde_json::{Value as Json, json};

const SKILLS: (u64, &str) = (71_416, "Skills Day");
const LUNCH: (u64, &str) = (71_417, "Team Lunch");
const OFFER: (u64, &str) = (71_418, "Offer");
const APPLICATION: u64 = 265_277;

/// From March on, by the clock in Berlin, a skills day is an interview, and so is lunch, which was nothing before.
const OVERLAY: &str = "\
version: acme.7
tables: {stage_category: {skills day: ASSESSMENT}}
changes:
  - from: 2026-03-01T00:00:00+01:00
    tables: {stage_category: {skills day: INTERVIEW, team lunch: INTERVIEW}}
";

fn plan(overlay: &str) -> Arc<Plan> {
    let read = |name: &str, text: &str| hirewire_yaml::parse(name, text).unwrap();
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../vendors/greenhouse/mapping.yaml");
    let mapping = read("mapping.yaml", &std::fs::read_to_string(path).unwrap());
    let schema_of = |name: &str| hirewire_schemas::schema(name).map(|schema| &schema.avro);
    let plan = Plan::compile(&mapping, Some(&read("overlay.yaml", overlay)), &schema_of);
    Arc::new(plan.unwrap_or_else(|problems| panic!("{problems}")))
}

fn cluster(overlay: &str) -> Cluster {
    let connection = Connection {
        name: CONNECTION.to_owned(),
        tenant: TENANT.to_owned(),
        vendor: "greenhouse".to_owned(),
        plan: plan(overlay),
    };
    Cluster::with(|shared| {
        shared.sources.insert(CONNECTION.to_owned(), Source::from(connection));
    })
}

/// All is received long after the change: when it happened is what counts.
fn received() -> jiff::Timestamp {
    "2026-11-30T12:00:00Z".parse().unwrap()
}

fn moved(cluster: &mut Cluster, application: u64, stage: (u64, &str), time: &str) -> Inbound {
    let mut body: Json = serde_json::from_str(&fixture("webhook__candidate_stage_change.json")).unwrap();
    let row = &mut body["payload"]["application"];
    row["id"] = application.into();
    row["last_activity_at"] = time.into();
    row["applied_at"] = if application == APPLICATION { "2026-02-01T09:00:00Z" } else { "2026-03-01T09:00:00Z" }.into();
    row["current_stage"] = json!({"id": stage.0, "name": stage.1, "interviews": []});
    let subject = application.to_string();
    let delivery = format!("{application}-{time}");
    let subject = ("Application", subject.as_str());
    cluster.input("webhook", "candidate_stage_change", &delivery, subject, &body.to_string(), received())
}

fn row(cluster: &mut Cluster, stream: &str, record: &str, fixture_of: &str, change: impl Fn(&mut Json)) -> Inbound {
    let rows: Json = serde_json::from_str(&fixture(fixture_of)).unwrap();
    let mut row = rows[0].clone();
    change(&mut row);
    let key = row.get("application_id").unwrap_or(&row["id"]).to_string();
    let name = format!("{stream}-{}", row["id"]);
    cluster.input("poll", stream, &name, (record, &key), &row.to_string(), received())
}

/// The stage's own record was written before anything changed.
fn stage(cluster: &mut Cluster, (id, name): (u64, &str)) -> Inbound {
    row(cluster, "job_interview_stages", "Stage", "poll__job_interview_stages.json", |row| {
        (row["id"], row["name"], row["job_id"]) = (id.into(), name.into(), 3485.into());
        row["updated_at"] = "2025-01-01T00:00:00.000Z".into();
    })
}

fn visit(cluster: &mut Cluster, application: u64, id: u64, stage: u64, entered: &str, exited: Option<&str>) -> Inbound {
    row(cluster, "application_stages", "Application", "poll__application_stages.json", |row| {
        row["id"] = id.into();
        row["application_id"] = application.into();
        row["job_interview_stage_id"] = stage.into();
        (row["entered_at"], row["exited_at"]) = (entered.into(), exited.into());
        row["updated_at"] = exited.unwrap_or(entered).into();
        row["current"] = exited.is_none().into();
    })
}

/// Where each event of an application leads from and to: stage, category, and the line that chose it.
fn told(cluster: &Cluster, application: u64) -> Vec<String> {
    let side = |change: &Value, side: &str| {
        if *at(change, side) == Value::Null {
            return "-".to_owned();
        }
        let part = |field: &str| text(change, &format!("{side}.{field}"));
        format!("{} {} {}", part("name"), part("category.value"), part("category.rule"))
    };
    let application = application.to_string();
    let changes = cluster.of(Entity::StageChange);
    let of_it = changes.iter().filter(|change| text(change, "meta.remote_id") == application);
    of_it
        .map(|change| {
            format!("{}: {} → {}", text(change, "revision"), side(change, "from_stage"), side(change, "to_stage"))
        })
        .collect()
}

const SKILLS_BEFORE: &str = "Skills Day ASSESSMENT overlay:acme.7/stage_category/skills day";
const SKILLS_SINCE: &str = "Skills Day INTERVIEW overlay:acme.7@2026-03-01T00:00:00+01:00/stage_category/skills day";
const LUNCH_BEFORE: &str = "Team Lunch UNMAPPED null";
const LUNCH_SINCE: &str = "Team Lunch INTERVIEW overlay:acme.7@2026-03-01T00:00:00+01:00/stage_category/team lunch";
const OFFER_EVER: &str = "Offer OFFER stage_category/*offer*";

fn moves(cluster: &mut Cluster) -> Vec<Inbound> {
    // 22:59 in UTC is the last minute of February in Berlin.
    [
        (SKILLS, "2026-02-10T10:00:00Z"),
        (LUNCH, "2026-02-28T22:59:59Z"),
        (SKILLS, "2026-02-28T23:00:00Z"),
        (LUNCH, "2026-03-02T10:00:00Z"),
        (OFFER, "2026-03-03T10:00:00Z"),
    ]
    .map(|(stage, time)| moved(cluster, APPLICATION, stage, time))
    .into()
}

fn expected() -> Vec<String> {
    vec![
        format!("LIVE: - → {SKILLS_BEFORE}"),
        format!("LIVE: {SKILLS_BEFORE} → {LUNCH_BEFORE}"),
        format!("LIVE: {LUNCH_BEFORE} → {SKILLS_SINCE}"),
        format!("LIVE: {SKILLS_SINCE} → {LUNCH_SINCE}"),
        format!("LIVE: {LUNCH_SINCE} → {OFFER_EVER}"),
    ]
}

#[test]
fn a_move_has_the_category_of_its_own_time_and_the_past_keeps_what_it_had() {
    let mut cluster = cluster(OVERLAY);
    for input in moves(&mut cluster) {
        cluster.send_together(&[input]);
    }
    assert_eq!(told(&cluster, APPLICATION), expected());
    let changes = cluster.of(Entity::StageChange);
    for pair in changes.windows(2) {
        assert_eq!(at(&pair[0], "to_stage"), at(&pair[1], "from_stage"), "the chain is broken");
    }
    assert_eq!(text(&cluster.last(Entity::Application, &APPLICATION.to_string()), "stage.category.value"), "OFFER");
}

#[test]
fn a_stay_keeps_its_category_over_the_day() {
    let mut cluster = cluster(OVERLAY);
    for time in ["2026-02-10T10:00:00Z", "2026-02-20T10:00:00Z", "2026-03-05T10:00:00Z"] {
        let input = moved(&mut cluster, APPLICATION, SKILLS, time);
        cluster.send_together(&[input]);
    }
    assert_eq!(told(&cluster, APPLICATION), [format!("LIVE: - → {SKILLS_BEFORE}")]);
    let application = cluster.last(Entity::Application, &APPLICATION.to_string());
    assert_eq!(text(&application, "stage.category.value"), "ASSESSMENT");
    // A late answer about the past tells of the past.
    let late = moved(&mut cluster, APPLICATION, LUNCH, "2026-02-12T10:00:00Z");
    cluster.send_together(&[late]);
    let told = told(&cluster, APPLICATION);
    let sides: Vec<&str> = told[1..].iter().map(|line| line.split_once(": ").unwrap().1).collect();
    let expected = [format!("{SKILLS_BEFORE} → {LUNCH_BEFORE}"), format!("{LUNCH_BEFORE} → {SKILLS_BEFORE}")];
    assert_eq!(sides, expected);
    let application = cluster.last(Entity::Application, &APPLICATION.to_string());
    assert_eq!(text(&application, "stage.category.value"), "ASSESSMENT");
}

/// With the day a stage may get another name: where somebody was before it is told by the old one, which the table of then knows.
#[test]
fn a_stage_that_is_renamed_with_the_day_is_in_the_past_what_it_was_called_then() {
    let mut cluster = cluster(&OVERLAY.replace("team lunch", "trial day"));
    for (stage, time) in [
        (SKILLS, "2026-02-10T10:00:00Z"),
        ((SKILLS.0, "Trial Day"), "2026-03-02T10:00:00Z"),
        (OFFER, "2026-03-05T10:00:00Z"),
        ((SKILLS.0, "Trial Day"), "2026-03-06T10:00:00Z"),
    ] {
        let input = moved(&mut cluster, APPLICATION, stage, time);
        cluster.send_together(&[input]);
    }
    let trial = SKILLS_SINCE.replace("Skills Day", "Trial Day").replace("skills day", "trial day");
    let expected = [
        format!("LIVE: - → {SKILLS_BEFORE}"),
        format!("LIVE: {SKILLS_BEFORE} → {OFFER_EVER}"),
        format!("LIVE: {OFFER_EVER} → {trial}"),
    ];
    assert_eq!(told(&cluster, APPLICATION), expected);
}

/// Rows name a stage by its id: what its own record says was true when that was written.
#[test]
fn history_that_names_a_stage_by_its_id_has_the_category_of_when_it_was_entered() {
    let mut cluster = cluster(OVERLAY);
    let of_stages = [SKILLS, LUNCH, OFFER].map(|known| stage(&mut cluster, known));
    let (early, late) = (APPLICATION, APPLICATION + 1);
    let rows = [
        visit(&mut cluster, early, 1, SKILLS.0, "2026-02-10T10:00:00Z", Some("2026-02-12T10:00:00Z")),
        visit(&mut cluster, early, 2, LUNCH.0, "2026-02-12T10:00:00Z", Some("2026-03-03T10:00:00Z")),
        visit(&mut cluster, late, 3, SKILLS.0, "2026-03-01T10:00:00Z", Some("2026-03-02T10:00:00Z")),
        visit(&mut cluster, late, 4, LUNCH.0, "2026-03-02T10:00:00Z", Some("2026-03-03T10:00:00Z")),
        moved(&mut cluster, early, OFFER, "2026-03-03T10:00:00Z"),
        moved(&mut cluster, late, OFFER, "2026-03-03T10:00:00Z"),
    ];
    for input in of_stages.into_iter().chain(rows) {
        cluster.send_together(&[input]);
    }
    let leads_to = |application| {
        let told = told(&cluster, application);
        told.iter().map(|line| line.split_once("→ ").unwrap().1.to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(leads_to(early), [SKILLS_BEFORE, LUNCH_BEFORE, OFFER_EVER]);
    assert_eq!(leads_to(late), [SKILLS_SINCE, LUNCH_SINCE, OFFER_EVER]);
}

/// What consumers see: all but the state that normalize keeps for itself.
fn bytes(cluster: &Cluster) -> Vec<String> {
    let published = cluster.published.iter().filter(|record| !record.topic.contains(".internal."));
    published.map(|record| format!("{record:?}")).collect()
}

#[test]
fn the_same_records_give_the_same_bytes_again_also_to_a_new_owner_and_after_an_abort() {
    let run = |overlay: &str, between: &dyn Fn(&mut Cluster)| {
        let mut cluster = cluster(overlay);
        for input in moves(&mut cluster) {
            cluster.send_together(&[input]);
            between(&mut cluster);
        }
        cluster
    };
    let first = run(OVERLAY, &|_| {});
    assert!(bytes(&first).len() > 8);
    assert_eq!(bytes(&run(OVERLAY, &|_| {})), bytes(&first));
    assert_eq!(bytes(&run(OVERLAY, &|cluster| cluster.abort_first = true)), bytes(&first));
    assert_eq!(bytes(&run(OVERLAY, &Cluster::move_to_new_owner)), bytes(&first));
    // Without the change it is another ledger.
    let without = OVERLAY.split("changes:").next().unwrap();
    assert_ne!(told(&run(without, &|_| {}), APPLICATION), expected());
}

/// What was not told yet when the next came is written after it, and is as it would have been.
#[test]
fn what_is_told_in_one_transaction_has_the_categories_of_its_times_too() {
    let mut cluster = cluster(OVERLAY);
    let together = moves(&mut cluster);
    cluster.send_together(&together);
    assert_eq!(told(&cluster, APPLICATION), expected());
}
