//! The rules of the canonical model, held against every schema.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::BTreeMap;

use apache_avro::reader::datum::GenericDatumReader;
use apache_avro::types::Value as Avro;
use hirewire_schemas::records::{Meta, Operation, Provenance, Put};
use hirewire_schemas::topics::{Personal, table};
use hirewire_schemas::{Entity, schema, schemas};
use serde_json::{Map, Value};

/// Every named type that some record uses, by name, and every field with the record it stands in.
struct Everything {
    types: BTreeMap<String, Map<String, Value>>,
    fields: Vec<(String, Map<String, Value>)>,
}

fn everything() -> Everything {
    let mut all = Everything { types: BTreeMap::new(), fields: Vec::new() };
    for schema in schemas() {
        walk(&serde_json::from_str(&schema.text).unwrap(), &mut all);
    }
    all
}

fn walk(json: &Value, all: &mut Everything) {
    match json {
        Value::Array(branches) => branches.iter().for_each(|branch| walk(branch, all)),
        Value::Object(map) => {
            if let Some(name) = map.get("name").and_then(Value::as_str)
                && all.types.insert(name.to_owned(), map.clone()).is_none()
            {
                for field in map.get("fields").and_then(Value::as_array).into_iter().flatten() {
                    all.fields.push((name.to_owned(), field.as_object().unwrap().clone()));
                }
            }
            for field in map.get("fields").and_then(Value::as_array).into_iter().flatten() {
                walk(&field["type"], all);
            }
            for key in ["type", "items"] {
                if let Some(inner) = map.get(key).filter(|inner| inner.is_object() || inner.is_array()) {
                    walk(inner, all);
                }
            }
        }
        _ => {}
    }
}

fn is(map: &Map<String, Value>, key: &str, value: &str) -> bool {
    map.get(key).and_then(Value::as_str) == Some(value)
}

fn symbols(name: &str) -> Vec<String> {
    let all = everything();
    let found = all.types.get(name).unwrap_or_else(|| panic!("no enum {name}"));
    found["symbols"].as_array().unwrap().iter().map(|symbol| symbol.as_str().unwrap().to_owned()).collect()
}

/// Enums that we set ourselves; all others are fed by vendors and keep their origin.
const OWN_ENUMS: [&str; 7] =
    ["Operation", "Provenance", "ChangeType", "OccurredAtPrecision", "ChangeCause", "Revision", "IssueSeverity"];

#[test]
fn every_type_and_field_says_what_it_is() {
    let all = everything();
    for (name, named) in &all.types {
        let doc = named.get("doc").and_then(Value::as_str).unwrap_or_default();
        assert!(doc.ends_with('.'), "{name} has no doc that ends as a sentence");
    }
    for (record, field) in &all.fields {
        let doc = field.get("doc").and_then(Value::as_str).unwrap_or_default();
        assert!(doc.len() > 2 && doc.ends_with('.'), "{record}.{} has no doc", field["name"]);
    }
}

#[test]
fn every_enum_has_unknown_then_unmapped_and_a_default() {
    let all = everything();
    let enums: Vec<_> = all.types.iter().filter(|(_, named)| is(named, "type", "enum")).collect();
    assert!(enums.len() > 40);
    for (name, named) in enums {
        let symbols = named["symbols"].as_array().unwrap();
        assert_eq!(symbols[..2], ["UNKNOWN", "UNMAPPED"], "{name}");
        assert_eq!(named["default"], "UNKNOWN", "{name}");
        for symbol in symbols {
            let symbol = symbol.as_str().unwrap();
            assert!(
                symbol.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_'),
                "{name}.{symbol}"
            );
        }
    }
}

#[test]
fn a_coded_value_keeps_its_origin() {
    let all = everything();
    for (name, named) in all.types.iter().filter(|(_, named)| is(named, "type", "enum")) {
        let user = all.fields.iter().find(|(_, field)| {
            let kind = &field["type"];
            kind == &Value::from(format!("ats.{name}")) || kind.get("name") == Some(&Value::from(name.as_str()))
        });
        let (record, field) = user.unwrap_or_else(|| panic!("{name} is used nowhere"));
        if OWN_ENUMS.contains(&name.as_str()) {
            continue;
        }
        assert_eq!((record, &field["name"]), (&format!("Coded{name}"), &Value::from("value")), "{name} is not coded");
        let fields: Vec<_> =
            all.types[record]["fields"].as_array().unwrap().iter().map(|f| f["name"].clone()).collect();
        assert_eq!(fields, ["value", "raw", "rule"], "{record}");
        assert!(named.contains_key("default"));
    }
}

#[test]
fn what_may_be_absent_is_null_first() {
    for (record, field) in &everything().fields {
        if let Some(branches) = field["type"].as_array() {
            assert_eq!(branches.len(), 2, "{record}.{}", field["name"]);
            assert_eq!(branches[0], "null", "{record}.{}", field["name"]);
            assert_eq!(field.get("default"), Some(&Value::Null), "{record}.{}", field["name"]);
        }
        if field["type"].get("items").is_some() {
            assert_eq!(field.get("default"), Some(&Value::Array(vec![])), "{record}.{}", field["name"]);
        }
    }
}

#[test]
fn names_types_and_units_follow_one_pattern() {
    for (record, field) in &everything().fields {
        let name = field["name"].as_str().unwrap();
        assert!(name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_'), "{record}.{name}");
        let text = field["type"].to_string();
        assert!(!text.contains("\"float\"") && !text.contains("\"double\""), "{record}.{name} is inexact");
        if name.ends_with("_at") {
            assert!(text.contains("timestamp-micros"), "{record}.{name} is an instant");
        }
        if name.ends_with("_date") {
            assert!(text.contains("\"date\""), "{record}.{name} is a date");
        }
        if name.ends_with("_id") || name == "id" {
            assert!(text.contains("\"string\""), "{record}.{name} is an id");
        }
        if name == "amount" {
            assert!(text.contains("\"decimal\""), "{record}.{name} is money");
        }
    }
    let compensation = everything().types["Compensation"]["fields"].to_string();
    assert!(compensation.contains("\"currency\""));
}

#[test]
fn every_published_record_begins_with_the_envelope_and_has_defaults_after_it() {
    for entity in Entity::ALL {
        let schema = entity.schema();
        assert_eq!(schema.namespace, "ats");
        assert_eq!(schema.fields[0].name, "meta");
        let needed: Vec<_> = schema.fields[1..].iter().filter(|field| field.default_bytes.is_empty()).collect();
        let needed: Vec<_> = needed.iter().map(|field| field.name.as_str()).collect();
        match entity {
            Entity::StageChange => assert_eq!(needed, ["application_id", "sequence_no"]),
            Entity::Issue => assert_eq!(needed, ["code"]),
            _ => assert!(needed.is_empty(), "{entity}: {needed:?} have no default"),
        }
    }
}

#[test]
fn default_bytes_are_what_avro_reads_as_the_default() {
    let meta = Meta {
        event_id: String::new(),
        tenant_id: String::new(),
        connection_id: String::new(),
        source_system: String::new(),
        source_api_version: None,
        op: Operation::Upsert,
        id: String::new(),
        remote_id: String::new(),
        remote_url: None,
        remote_created_at: None,
        remote_updated_at: None,
        remote_deleted_at: None,
        observed_at: 0,
        ingested_at: 0,
        provenance: Provenance::Poll,
        raw_refs: vec![],
        mapping_version: String::new(),
        custom_fields: vec![],
        absent_fields: vec![],
        unreadable_fields: vec![],
    };
    let mut meta_bytes = Vec::new();
    meta.put(&mut meta_bytes);
    for entity in Entity::ALL {
        let schema = entity.schema();
        let mut bytes = meta_bytes.clone();
        for field in &schema.fields[1..] {
            let needed: &[u8] = if field.default_bytes.is_empty() { &[0] } else { &[] };
            bytes.extend_from_slice(&field.default_bytes);
            bytes.extend_from_slice(needed);
        }
        let mut rest = bytes.as_slice();
        let read = GenericDatumReader::builder(&schema.avro).build().unwrap().read_value(&mut rest).unwrap();
        assert!(rest.is_empty(), "{entity}");
        let Avro::Record(fields) = read else { panic!("{entity} is no record") };
        for (name, value) in fields.into_iter().skip(1) {
            let unknown = |value: &Avro| matches!(value, Avro::Enum(0, symbol) if symbol == "UNKNOWN");
            let null = |value: &Avro| matches!(value, Avro::Union(0, null) if **null == Avro::Null);
            let is_default = match &value {
                Avro::Array(items) => items.is_empty(),
                Avro::Record(coded) => unknown(&coded[0].1) && null(&coded[1].1) && null(&coded[2].1),
                Avro::String(text) => text.is_empty(),
                other => unknown(other) || null(other) || *other == Avro::Long(0),
            };
            assert!(is_default, "{entity}.{name}: {value:?}");
        }
    }
}

#[test]
fn every_field_of_a_personal_topic_is_decided_on() {
    for topic in &table().topics {
        let Some(entity) = topic.entity() else { continue };
        let record: Value = serde_json::from_str(&entity.schema().text).unwrap();
        let mut tagged = false;
        for field in &record["fields"].as_array().unwrap()[1..] {
            let tags = field.get("confluent:tags").and_then(Value::as_array);
            let allowed = match topic.personal {
                Personal::None => "",
                Personal::Pii => "PII",
                Personal::Eeo => "EEO",
            };
            match tags {
                Some(tags) => {
                    assert_eq!(tags, &[Value::from(allowed)], "{entity}.{} in a topic without", field["name"]);
                    tagged = true;
                }
                None if topic.personal == Personal::None => {}
                None => assert_eq!(
                    field.get("hirewire:pii").and_then(Value::as_str),
                    Some("none"),
                    "{entity}.{}: decide: \"confluent:tags\": [\"PII\"], or \"hirewire:pii\": \"none\"",
                    field["name"]
                ),
            }
        }
        // The ledger's only personal field stands deeper: the actor's name.
        if entity != Entity::StageChange {
            assert_eq!(tagged, topic.personal != Personal::None, "{entity}: the topic's class and its tags disagree");
        }
    }
}

#[test]
fn what_says_something_of_a_person_is_tagged() {
    let tags = |record: &str, field: &str| {
        let schema = schema(record).unwrap();
        schema.fields[schema.field_index(field).unwrap()].tags.clone()
    };
    for field in ["name", "emails", "phones", "links", "addresses", "education", "experience", "current_company"] {
        assert_eq!(tags("Candidate", field), ["PII"], "{field}");
    }
    for (record, field) in [("Activity", "body"), ("Attachment", "file_name"), ("Rejection", "note"), ("User", "email")]
    {
        assert_eq!(tags(record, field), ["PII"], "{record}.{field}");
    }
    for field in ["race", "gender", "veteran", "disability"] {
        assert_eq!(tags("Eeoc", field), ["EEO"], "{field}");
    }
    let eeoc = &Entity::Eeoc.schema().fields;
    assert!(eeoc.iter().all(|field| !field.name.contains("candidate") && !field.name.contains("name")));
}

#[test]
fn the_symbols_are_those_of_the_model() {
    let model: [(&str, &str); 20] = [
        ("Operation", "UPSERT DELETE ERASE"),
        ("Provenance", "WEBHOOK POLL BACKFILL HISTORY_ENDPOINT DIFF WRITE_BACK MANUAL"),
        ("ChangeType", "CREATED STAGE STATUS REJECTION UNREJECTION HIRE UNHIRE WITHDRAWAL JOB_TRANSFER REOPEN DELETED"),
        ("OccurredAtPrecision", "EXACT BOUNDED OBSERVED"),
        ("ChangeCause", "USER_ACTION BULK_ACTION AUTOMATION IMPORT JOB_CLOSE MERGE WRITE_BACK"),
        ("Revision", "LIVE CORRECTION"),
        ("ActorKind", "USER CANDIDATE SYSTEM API INTEGRATION"),
        (
            "StageCategory",
            "LEAD SOURCED APPLIED SHORTLIST REVIEW SCREEN ASSESSMENT INTERVIEW REFERENCE_CHECK BACKGROUND_CHECK OFFER \
             OFFER_ACCEPTED ONBOARDING HIRED REJECTED WITHDRAWN ARCHIVED",
        ),
        ("JobStatus", "DRAFT PENDING_APPROVAL APPROVED OPEN ON_HOLD FILLED CLOSED CANCELLED ARCHIVED DELETED"),
        ("Workplace", "ON_SITE HYBRID REMOTE"),
        ("WorkTime", "FULL_TIME PART_TIME SHIFTS CASUAL"),
        (
            "ContractType",
            "PERMANENT FIXED_TERM TEMPORARY SEASONAL CONTRACTOR FREELANCE INTERNSHIP APPRENTICESHIP VOLUNTEER",
        ),
        ("HiringRole", "HIRING_MANAGER RECRUITER COORDINATOR SOURCER INTERVIEWER ADMIN FOLLOWER"),
        ("OpeningStatus", "OPEN FILLED CLOSED ON_HOLD"),
        ("ApplicationKind", "APPLICATION PROSPECT REFERRAL INTERNAL AGENCY_SUBMISSION TALENT_POOL"),
        ("ApplicationStatus", "ACTIVE HIRED REJECTED WITHDRAWN CONVERTED ARCHIVED ON_HOLD"),
        (
            "InterviewStatus",
            "NEEDS_SCHEDULING REQUESTED SCHEDULED AWAITING_FEEDBACK COMPLETED CANCELLED SKIPPED NO_SHOW",
        ),
        ("Recommendation", "STRONG_NO NO NO_DECISION YES STRONG_YES"),
        (
            "OfferStatus",
            "DRAFT APPROVAL_PENDING APPROVAL_REJECTED APPROVED SENT OPENED NEGOTIATING ACCEPTED SIGNED DECLINED RESCINDED \
             EXPIRED SUPERSEDED CANCELLED",
        ),
        ("EnvelopeStatus", "CREATED SENT DELIVERED VIEWED SIGNED COMPLETED DECLINED VOIDED EXPIRED"),
    ];
    for (name, expected) in model {
        assert_eq!(symbols(name)[2..].join(" "), expected, "{name}");
    }
}
