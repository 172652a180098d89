//! The analytics sink against real databases: a SQLite file, and a PostgreSQL server that the test starts.

use std::sync::Arc;
use std::time::Duration;

use hirewire_schemas::Entity;
use hirewire_service::TraceParent;
use serde_json::{Value, json};

use super::postgres_server::Server;
use super::support::slot;
use crate::database::DatabaseTransport;
use crate::database::postgres::{Postgres, PostgresSettings};
use crate::database::sqlite::Sqlite;
use crate::deliver::outcome::Attempt;
use crate::deliver::{Content, Delivery, Transport};
use crate::event::Event;
use crate::source::Origin;
use crate::system::{System, Takes, carried};

pub(super) const A: &str = "0b8f5b2e-6a53-5d5c-9d7e-2f4c1d8f0a01";
const JOB: &str = "1b8f5b2e-6a53-5d5c-9d7e-2f4c1d8f0a02";

pub(crate) fn id(number: i64) -> String {
    format!("00000000-0000-5000-8000-{number:012}")
}

fn coded(value: &str) -> Value {
    json!({"value": value, "raw": null, "rule": null})
}

/// The `number`-th move of the application, from stage `from` to stage `to`, at minute `minute`.
pub(crate) fn change(
    number: i64,
    kind: &str,
    from: Option<i64>,
    to: Option<i64>,
    minute: i64,
    supersedes: &[i64],
) -> Event {
    let stage = |number: Option<i64>| {
        number.map(|n| json!({"id": id(100 + n), "name": format!("Stage {n}"), "category": coded("INTERVIEW")}))
    };
    let at = format!("2026-02-01T10:{minute:02}:00.5Z");
    let status = if kind == "HIRE" { "HIRED" } else { "ACTIVE" };
    let tree = json!({
        "meta": {"event_id": id(number), "tenant_id": "acme", "connection_id": "acme-greenhouse", "source_system": "greenhouse",
                 "remote_id": "265277", "provenance": "WEBHOOK", "observed_at": at, "ingested_at": at},
        "application_id": A, "candidate_id": null, "job_id": JOB, "sequence_no": number, "change_type": kind,
        "revision": if supersedes.is_empty() { "LIVE" } else { "CORRECTION" },
        "from_stage": stage(from), "to_stage": stage(to), "from_status": coded("ACTIVE"), "to_status": coded(status),
        "reasons": [{"id": null, "name": "Said \"yes\"", "type": coded("UNKNOWN")}], "occurred_at": at,
        "occurred_at_precision": "EXACT", "time_in_previous_stage_ms": 60_000, "cause": "USER_ACTION",
        "actor": {"kind": coded("USER")}, "inferred": true, "supersedes": supersedes.iter().map(|n| id(*n)).collect::<Vec<_>>(),
    });
    Event::new(Entity::StageChange, tree).unwrap()
}

pub(super) fn application(status: &str, stage: i64) -> Event {
    let tree = json!({
        "meta": {"id": A, "event_id": id(900 + stage), "tenant_id": "acme", "connection_id": "acme-greenhouse", "op": "UPSERT",
                 "observed_at": "2026-02-01T11:00:00Z", "ingested_at": "2026-02-01T11:00:00Z"},
        "job_id": JOB, "status": coded(status), "stage": {"id": id(100 + stage), "name": "S", "category": coded("INTERVIEW")},
        "applied_at": "2026-02-01T09:00:00Z", "reject_reasons": [],
    });
    Event::new(Entity::Application, tree).unwrap()
}

/// Of the record with that offset.
pub(super) fn delivery(system: &Arc<System>, event: &Event, offset: i64) -> Delivery {
    let Takes::Everything(tables) = &system.takes else { panic!("analytics records") };
    let table = tables.iter().find(|table| table.entity == event.entity).unwrap();
    Delivery {
        idempotency_key: uuid::Uuid::nil(),
        key: None,
        trace: TraceParent::new_root(),
        content: Content::Row(table.row(event, &Origin { slot: slot(0), offset })),
        on_refusal: crate::deliver::OnRefusal::Skip,
    }
}

/// A→B, then A→C which late history teaches to have been A→B→C… and the hire.
fn history() -> Vec<Event> {
    vec![
        change(1, "CREATED", None, Some(1), 0, &[]),
        change(2, "STAGE", Some(1), Some(3), 20, &[]),
        change(3, "STAGE", Some(1), Some(2), 10, &[2]),
        change(4, "STAGE", Some(2), Some(3), 20, &[2]),
        change(5, "HIRE", Some(3), Some(3), 50, &[]),
        application("ACTIVE", 1),
        application("HIRED", 3),
    ]
}

/// Each event is the record with its number in the list as offset.
async fn store(transport: &DatabaseTransport, system: &Arc<System>, events: &[Event], expected: Attempt) {
    for (event, offset) in events.iter().zip(0..) {
        assert_eq!(transport.attempt(&delivery(system, event, offset)).await, expected);
    }
}

#[tokio::test]
async fn sqlite_holds_the_ledger_and_its_views() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("analytics.sqlite");
    let system = carried("analytics");
    // The second time it is already migrated, and all of it comes again.
    for expected in [Attempt::Stored, Attempt::Known] {
        let transport = DatabaseTransport::start(Sqlite::new(path.clone(), Arc::clone(&system)), "s".into());
        store(&transport, &system, &history(), expected).await;
        let mut impossible = history().remove(0);
        impossible.tree["sequence_no"] = Value::Null;
        assert_eq!(transport.attempt(&delivery(&system, &impossible, 20)).await, Attempt::Unstorable);
    }
    let connection = rusqlite::Connection::open(&path).unwrap();
    let rows = |sql: &str| {
        let mut query = connection.prepare(sql).unwrap();
        let columns = query.column_count();
        let rows = query.query_map([], |row| {
            let cells = (0..columns).map(|index| match row.get::<_, rusqlite::types::Value>(index).unwrap() {
                rusqlite::types::Value::Null => "-".to_owned(),
                rusqlite::types::Value::Integer(number) => number.to_string(),
                rusqlite::types::Value::Real(number) => number.to_string(),
                rusqlite::types::Value::Text(text) => text,
                rusqlite::types::Value::Blob(_) => panic!("a blob"),
            });
            Ok(cells.collect::<Vec<_>>().join(" "))
        });
        rows.unwrap().collect::<Result<Vec<_>, _>>().unwrap()
    };
    assert_eq!(rows("SELECT count(*) FROM stage_change"), ["5"]);
    assert_eq!(rows("SELECT status, stage_id FROM application"), [format!("HIRED {}", id(103))]);
    let effective = "SELECT sequence_no FROM effective_change ORDER BY julianday(happened_at), sequence_no";
    assert_eq!(rows(effective), ["1", "3", "4", "5"]);
    let visits = "SELECT stage_name, duration_ms FROM stage_visit ORDER BY julianday(entered_at)";
    assert_eq!(rows(visits), ["Stage 1 600000", "Stage 2 600000", "Stage 3 1800000"]);
    assert_eq!(rows("SELECT stage_name, reached, hired FROM funnel WHERE stage_name = 'Stage 2'"), ["Stage 2 1 1"]);
    let spent = "SELECT stage_name, visits, average_ms FROM time_in_stage ORDER BY stage_name";
    assert_eq!(rows(spent), ["Stage 1 1 600000", "Stage 2 1 600000", "Stage 3 1 1800000"]);
}

pub(super) fn postgres_settings(text: &str) -> PostgresSettings {
    let mut problems = hirewire_yaml::Problems::new();
    let node = hirewire_yaml::parse("s.yaml", text).unwrap();
    let settings = PostgresSettings::read(&node, &mut problems);
    problems.into_result(settings).unwrap_or_else(|problems| panic!("{problems}"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgresql_holds_the_ledger_with_its_types_and_views() {
    let Some(mut server) = Server::start() else { return };
    let system = carried("analytics");
    let url = server.url();
    let settings = postgres_settings(&format!("{{url: '{url}', allow: {{networks: ['127.0.0.0/8']}}}}"));
    let start = |settings| DatabaseTransport::start(Postgres::new(settings, Arc::clone(&system)), "s".into());
    let transport = start(settings);
    store(&transport, &system, &history(), Attempt::Stored).await;

    let client = server.client().await;
    let rows = async |sql: &str| {
        let wrapped = format!("SELECT row_to_json(r)::text FROM ({sql}) AS r");
        let rows = client.query(&wrapped, &[]).await.unwrap();
        rows.iter().map(|row| serde_json::from_str(&row.get::<_, String>(0)).unwrap()).collect::<Vec<Value>>()
    };
    let types =
        "SELECT pg_typeof(event_id)::text AS a, pg_typeof(occurred_at)::text AS b, pg_typeof(supersedes)::text AS c,
                 pg_typeof(reasons)::text AS d, pg_typeof(sequence_no)::text AS e, reasons[1] AS f, occurred_at AS g
                 FROM stage_change WHERE sequence_no = 3";
    let expected = json!({"a": "uuid", "b": "timestamp with time zone", "c": "uuid[]", "d": "text[]", "e": "bigint",
        "f": "Said \"yes\"", "g": "2026-02-01T10:10:00.5+00:00"});
    assert_eq!(rows(types).await, [expected]);
    assert_eq!(rows("SELECT count(*) AS n FROM stage_change").await, [json!({"n": 5})]);
    assert_eq!(rows("SELECT status FROM application").await, [json!({"status": "HIRED"})]);
    let effective = "SELECT array_agg(sequence_no ORDER BY happened_at, sequence_no) AS n FROM effective_change";
    assert_eq!(rows(effective).await, [json!({"n": [1, 3, 4, 5]})]);
    let visits = "SELECT array_agg(duration_ms ORDER BY entered_at) AS n FROM stage_visit";
    assert_eq!(rows(visits).await, [json!({"n": [600_000, 600_000, 1_800_000]})]);
    let funnel = "SELECT reached, hired, active FROM funnel WHERE stage_name = 'Stage 2'";
    assert_eq!(rows(funnel).await, [json!({"reached": 1, "hired": 1, "active": 0})]);
    let spent = "SELECT median_ms, average_ms, visits FROM time_in_stage WHERE stage_name = 'Stage 3'";
    assert_eq!(rows(spent).await, [json!({"median_ms": 1_800_000, "average_ms": 1_800_000, "visits": 1})]);

    // One row that can never be stored does not take the others of its batch with it.
    let mut impossible = change(7, "STAGE", Some(3), Some(2), 55, &[]);
    impossible.tree["job_id"] = json!("not a uuid");
    let (bad, good) =
        (delivery(&system, &impossible, 7), delivery(&system, &change(6, "STAGE", Some(3), Some(2), 54, &[]), 8));
    let (bad, good) = tokio::join!(transport.attempt(&bad), transport.attempt(&good));
    assert_eq!((bad, good), (Attempt::Unstorable, Attempt::Stored));

    // A server that restarts is waited for by retries; the connection is made anew.
    server.stop();
    let event = change(8, "STAGE", Some(2), Some(1), 56, &[]);
    assert!(matches!(transport.attempt(&delivery(&system, &event, 9)).await, Attempt::Unreachable(_)));
    server.start_again();
    let mut attempt = transport.attempt(&delivery(&system, &event, 9)).await;
    for _ in 0..50 {
        if attempt == Attempt::Stored {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
        attempt = transport.attempt(&delivery(&system, &event, 9)).await;
    }
    assert_eq!(attempt, Attempt::Stored);

    // TLS to an authority that is named, and to none else.
    let ca = server.certificate();
    let tls = format!("url: '{}', allow: {{networks: ['127.0.0.0/8']}}", server.tls_url());
    for (text, stored) in [(format!("{{{tls}, ca: {}}}", ca.display()), true), (format!("{{{tls}}}"), false)] {
        let transport = start(postgres_settings(&text));
        let attempt = transport.attempt(&delivery(&system, &event, 9)).await;
        assert_eq!(attempt == Attempt::Known, stored, "{attempt:?}");
    }

    // Without its network allowed, a local address is not connected to.
    let settings = postgres_settings(&format!("{{url: '{url}'}}"));
    let transport = start(settings);
    assert_eq!(transport.attempt(&delivery(&system, &event, 9)).await, Attempt::StoreRefused);
}
