//! Schemas to map to, of a trade that has nothing to do with what the library is used for; and ids that are the same for
//! the same record.
#![allow(dead_code)]

use std::sync::LazyLock;

use apache_avro::Schema;
use hirewire_mapping::{Context, Plan};
use hirewire_yaml::Problems;
use serde_json::{Value as Json, json};

/// The envelope that every target begins with.
fn meta() -> Json {
    let text = json!(["null", "string"]);
    let custom = json!({"type": "record", "name": "CustomField", "fields": [
        {"name": "name", "type": "string"}, {"name": "path", "type": "string"},
        {"name": "type", "type": text, "default": null}, {"name": "value", "type": text, "default": null}]});
    json!({"type": "record", "name": "Meta", "fields": [
        {"name": "op", "type": {"type": "enum", "name": "Op", "symbols": ["UPSERT", "DELETE"]}},
        {"name": "id", "type": "string"},
        {"name": "remote_id", "type": "string"},
        {"name": "remote_url", "type": text, "default": null},
        {"name": "mapping_version", "type": "string"},
        {"name": "absent_fields", "type": {"type": "array", "items": "string"}, "default": []},
        {"name": "custom_fields", "type": {"type": "array", "items": custom}, "default": []}]})
}

fn text(name: &str) -> Json {
    json!({"name": name, "type": ["null", "string"], "default": null})
}

fn instant(name: &str) -> Json {
    json!({"name": name, "type": ["null", {"type": "long", "logicalType": "timestamp-micros"}], "default": null})
}

fn optional(name: &str, of: &Json) -> Json {
    json!({"name": name, "type": ["null", of], "default": null})
}

fn list(name: &str, of: &Json) -> Json {
    json!({"name": name, "type": {"type": "array", "items": of}, "default": []})
}

/// A coded value: `Coded<name>` with the enum `<name>`.
fn coded(field: &str, name: &str, symbols: &[&str]) -> Json {
    let symbols: Vec<&str> = ["UNKNOWN", "UNMAPPED"].iter().chain(symbols).copied().collect();
    json!({"name": field, "default": {"value": "UNKNOWN", "raw": null, "rule": null},
        "type": {"type": "record", "name": format!("Coded{name}"), "fields": [
            {"name": "value", "type": {"type": "enum", "name": name, "symbols": symbols}},
            text("raw"), text("rule")]}})
}

fn record(name: &str, fields: &[Json]) -> Json {
    json!({"type": "record", "name": name, "fields": fields})
}

fn target(name: &str, fields: &[Json]) -> (String, Schema) {
    let fields: Vec<Json> = std::iter::once(json!({"name": "meta", "type": meta()})).chain(fields.to_vec()).collect();
    (name.to_owned(), Schema::parse(&record(name, &fields)).unwrap())
}

static SCHEMAS: LazyLock<Vec<(String, Schema)>> = LazyLock::new(|| {
    let station = record("StationRef", &[text("id"), text("name")]);
    let sender = record("SenderRef", &[text("id"), text("name"), text("type")]);
    let note = record("Note", &[text("title"), text("note")]);
    let decimal = json!({"type": "bytes", "logicalType": "decimal", "precision": 38, "scale": 6});
    let charge = record("Charge", &[optional("amount", &decimal), text("currency")]);
    vec![
        target(
            "Parcel",
            &[
                text("depot_id"),
                text("route_id"),
                coded("kind", "ParcelKind", &["ORDINARY", "EXPRESS", "FRAGILE"]),
                coded("status", "ParcelStatus", &["ACTIVE", "DELIVERED", "RETURNED"]),
                optional("station", &station),
                instant("sent_at"),
                optional("sender", &sender),
                list("notes", &note),
                list("invoice_ids", &json!("string")),
            ],
        ),
        target("Depot", &[text("name"), coded("status", "DepotStatus", &["OPEN", "CLOSED"])]),
        target(
            "Invoice",
            &[json!({"name": "version", "type": ["null", "int"], "default": null}), list("charges", &charge)],
        ),
        target("Station", &[text("name")]),
        target("Sender", &[text("name")]),
    ]
});

pub(crate) fn schema_of(name: &str) -> Option<&'static Schema> {
    SCHEMAS.iter().find(|(known, _)| known == name).map(|(_, schema)| schema)
}

/// Compiles the text of a mapping, `m.yaml`, and of an overlay, `o.yaml`.
pub(crate) fn compile(mapping: &str, overlay: Option<&str>) -> Result<Plan, Problems> {
    let mapping = hirewire_yaml::parse("m.yaml", mapping)?;
    let overlay = overlay.map(|text| hirewire_yaml::parse("o.yaml", text)).transpose()?;
    Plan::compile(&mapping, overlay.as_ref(), &schema_of)
}

/// Knows no record and gives ids of zeros.
pub(crate) struct Nobody;

impl Context for Nobody {
    fn id(&mut self, _: &str, _: &str) -> [u8; 36] {
        [b'0'; 36]
    }
    fn foreign_id(&mut self, _: &str, _: &str, _: &str) -> [u8; 36] {
        [b'0'; 36]
    }
    fn lookup(&mut self, _: &str, _: &str, _: usize, _: &mut Vec<u8>) -> bool {
        false
    }
}

/// The position of a field in its record.
pub(crate) fn field_index(record: &str, field: &str) -> usize {
    let Some(Schema::Record(schema)) = schema_of(record) else { panic!("no record {record}") };
    schema.fields.iter().position(|known| known.name == field).unwrap()
}

pub(crate) fn id(connection: Option<&str>, record: &str, remote_id: &str) -> String {
    let parts = connection.into_iter().chain([record, remote_id]);
    format!("{:0>36}", parts.collect::<Vec<_>>().join("-"))
}

pub(crate) fn key(record: &str, remote_id: &str, _: Option<(&str, &str)>) -> String {
    id(None, record, remote_id)
}
