//! The Rust records are the `.avsc` records: what one writes the other reads, whole.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use apache_avro::reader::datum::GenericDatumReader;
use apache_avro::types::Value;
use apache_avro::writer::datum::GenericDatumWriter;
use hirewire_schemas::records::*;
use hirewire_schemas::{Entity, schema};
use serde::Serialize;
use serde::de::DeserializeOwned;

fn meta(full: bool) -> Meta {
    let text = |text: &str| full.then(|| text.to_owned());
    Meta {
        event_id: "e".into(),
        tenant_id: "t".into(),
        connection_id: "c".into(),
        source_system: "s".into(),
        source_api_version: text("v3"),
        op: Operation::Erase,
        id: "i".into(),
        remote_id: "r".into(),
        remote_url: text("u"),
        remote_created_at: full.then_some(1),
        remote_updated_at: full.then_some(-2),
        remote_deleted_at: full.then_some(i64::MAX),
        observed_at: 1_700_000_000_000_000,
        ingested_at: i64::MIN,
        provenance: Provenance::Manual,
        raw_refs: if full { vec![RawRef { topic: "x".into(), partition: 3, offset: 1 << 40 }; 2] } else { vec![] },
        mapping_version: "7".into(),
        custom_fields: if full {
            vec![CustomField { name: "n".into(), path: "a.b[]".into(), r#type: text("short_text"), value: text("ü") }]
        } else {
            vec![]
        },
        absent_fields: if full { vec!["a".into(), "b".into()] } else { vec![] },
        unreadable_fields: vec![],
    }
}

fn change(full: bool) -> StageChange {
    let text = |text: &str| full.then(|| text.to_owned());
    let stage = StageRef {
        id: text("i"),
        name: text("n"),
        category: Coded { value: StageCategory::Archived, raw: text("raw"), rule: text("rule") },
    };
    StageChange {
        meta: meta(full),
        application_id: "a".into(),
        candidate_id: text("c"),
        job_id: text("j"),
        change_type: ChangeType::Deleted,
        from_stage: full.then(|| stage.clone()),
        to_stage: full.then_some(stage),
        from_status: Coded::of(ApplicationStatus::Active),
        to_status: Coded { value: ApplicationStatus::OnHold, raw: text("x"), rule: text("y") },
        from_job_id: text("f"),
        to_job_id: text("t"),
        reasons: if full {
            vec![ReasonRef { id: text("i"), name: text("n"), r#type: Coded::of(ReasonType::Other) }]
        } else {
            vec![]
        },
        occurred_at: full.then_some(5),
        occurred_at_precision: OccurredAtPrecision::Observed,
        occurred_not_before: full.then_some(6),
        occurred_not_after: full.then_some(7),
        time_in_previous_stage_ms: full.then_some(8),
        actor: full.then(|| Actor { kind: Coded::of(ActorKind::Integration), id: text("i"), name: text("n") }),
        cause: ChangeCause::WriteBack,
        revision: Revision::Correction,
        sequence_no: 9,
        previous_event_id: text("p"),
        evidence: if full {
            vec![Evidence { provenance: Provenance::Poll, raw_ref: meta(true).raw_refs.pop(), seen_at: Some(1) }]
        } else {
            vec![]
        },
        inferred: full.then_some(true),
        supersedes: if full { vec!["s".into()] } else { vec![] },
    }
}

/// Writes it, reads it with apache-avro to the last byte, and back into the struct.
fn hold_against_schema<T: Put + Get + Serialize + DeserializeOwned + PartialEq + std::fmt::Debug>(
    record: &str,
    value: &T,
) {
    let schema = schema(record).unwrap();
    let mut bytes = Vec::new();
    value.put(&mut bytes);
    let mut rest = bytes.as_slice();
    let read = GenericDatumReader::builder(&schema.avro).build().unwrap().read_value(&mut rest).unwrap();
    assert!(rest.is_empty(), "{record}: the struct has more than the schema");
    let Value::Record(fields) = &read else { panic!("{record} is no record") };
    let json = serde_json::to_value(value).unwrap();
    for (name, _) in fields {
        assert!(json.get(name).is_some(), "{record}.{name} is not in the struct");
    }
    let writer = GenericDatumWriter::builder(&schema.avro).build().unwrap();
    assert_eq!(writer.write_value_to_vec(read).unwrap(), bytes, "{record}");
    assert_eq!(&decode::<T>(schema, &bytes).unwrap(), value, "{record}");
    let mut rest = bytes.as_slice();
    assert_eq!(T::get(&mut rest).as_ref(), Some(value), "{record}");
    assert!(rest.is_empty(), "{record}");
    for len in 0..bytes.len() {
        assert!(T::get(&mut &bytes[..len]).is_none(), "{record} cut off at {len}");
    }
}

#[test]
fn the_ledger_and_its_envelope_are_as_in_their_schemas() {
    hold_against_schema("StageChange", &change(true));
    hold_against_schema("StageChange", &change(false));
}

#[test]
fn the_internal_records_are_as_in_their_schemas() {
    let blob = || Blob(vec![0, 255, 7]);
    let text = || "x".to_owned();
    hold_against_schema(
        "State",
        &State {
            format: 1,
            entity: text(),
            id: text(),
            tenant_id: text(),
            connection_id: text(),
            remote_id: text(),
            body: blob(),
        },
    );
    hold_against_schema(
        "Fragment",
        &Fragment {
            tenant_id: text(),
            connection_id: text(),
            entity: text(),
            remote_id: text(),
            id: text(),
            body: blob(),
            hash: blob(),
        },
    );
    hold_against_schema(
        "Lease",
        &Lease {
            tenant_id: text(),
            connection_id: text(),
            source_system: text(),
            enabled: true,
            config_fingerprint: Some(text()),
            updated_at: Some(1),
        },
    );
    hold_against_schema(
        "Cursor",
        &Cursor {
            connection_id: text(),
            stream: text(),
            phase: text(),
            window_from: Some(1),
            window_to: 2,
            next_page: Some(text()),
            complete: true,
            rows: 3,
            written_at: 4,
            sync_token: Some(text()),
        },
    );
    hold_against_schema(
        "Fetch",
        &Fetch {
            tenant_id: text(),
            connection_id: text(),
            source_system: text(),
            resource: text(),
            remote_id: text(),
            url: Some(text()),
            params: vec![NameValue { name: text(), value: text() }],
            cause: Some(RawRef { topic: text(), partition: 1, offset: 2 }),
            requested_at: Some(3),
            attempts: Some(4),
        },
    );
    hold_against_schema(
        "WriteBack",
        &WriteBack {
            tenant_id: text(),
            connection_id: text(),
            application_id: text(),
            route: text(),
            idempotency_key: text(),
            action: text(),
            to_stage_id: Some(text()),
            to_status: Some(text()),
            cause_event_id: Some(text()),
            intended_at: 1,
            expires_at: Some(2),
        },
    );
    hold_against_schema("RouteStart", &RouteStart { route: text(), sink: text(), from: 1, enabled_at: 2 });
}

#[test]
fn the_enums_have_the_symbols_of_their_schemas() {
    let symbols = |name: &str| {
        let record = schema("StageChange").unwrap();
        let json: serde_json::Value = serde_json::from_str(&record.text).unwrap();
        find_enum(&json, name).unwrap_or_else(|| panic!("no enum {name}"))
    };
    macro_rules! check {
        ($($type:ident)*) => {$(
            let ours: Vec<_> = $type::ALL.iter().map(|symbol| symbol.symbol().to_owned()).collect();
            assert_eq!(ours, symbols(stringify!($type)), stringify!($type));
        )*};
    }
    check!(Operation Provenance ChangeType OccurredAtPrecision ChangeCause Revision StageCategory ApplicationStatus ActorKind ReasonType);
}

fn find_enum(json: &serde_json::Value, name: &str) -> Option<Vec<String>> {
    match json {
        serde_json::Value::Object(map) if map.get("name").is_some_and(|n| n == name) && map.contains_key("symbols") => {
            Some(map["symbols"].as_array()?.iter().filter_map(|s| s.as_str().map(str::to_owned)).collect())
        }
        serde_json::Value::Object(map) => map.values().find_map(|value| find_enum(value, name)),
        serde_json::Value::Array(items) => items.iter().find_map(|value| find_enum(value, name)),
        _ => None,
    }
}

#[test]
fn an_application_is_read_from_the_whole_record() {
    let schema = Entity::Application.schema();
    let mut bytes = Vec::new();
    meta(true).put(&mut bytes);
    for field in &schema.fields[1..] {
        if field.name == "hired_at" {
            Some(77_i64).put(&mut bytes);
        } else {
            bytes.extend_from_slice(&field.default_bytes);
        }
    }
    let read: Application = decode(schema, &bytes).unwrap();
    assert_eq!(read.meta, meta(true));
    assert_eq!(read.hired_at, Some(77));
    assert_eq!(read.status, Coded::default());
}
