//! What the tests share: the folders of `vendors/`, their plans, and JSON laid out for reading.
#![allow(dead_code)]

use std::path::{Path, PathBuf};

use apache_avro::Schema;
use hirewire_mapping::Plan;
use hirewire_mapping::tool::{self, MetaValue, Report, World};

pub(crate) fn schema_of(name: &str) -> Option<&'static Schema> {
    hirewire_schemas::schema(name).map(|schema| &schema.avro)
}

pub(crate) fn id(record: &str, remote_id: &str) -> String {
    hirewire_schemas::ids::canonical_id("acme", "acme-ats", record, remote_id).to_string()
}

/// Keys of records that are keyed by their owner's id.
pub(crate) fn key(record: &str, remote_id: &str, owner: Option<(&str, &str)>) -> String {
    match (record, owner) {
        ("Rejection" | "Eeoc", Some((owner, owner_id))) => id(owner, owner_id),
        _ => id(record, remote_id),
    }
}

/// Every folder of `vendors/` that has a mapping.
pub(crate) fn vendors() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../vendors");
    let mut found: Vec<PathBuf> = std::fs::read_dir(root).unwrap().map(|entry| entry.unwrap().path()).collect();
    found.retain(|path| path.join("mapping.yaml").is_file());
    found.sort();
    assert!(!found.is_empty());
    found
}

pub(crate) fn vendor(name: &str) -> PathBuf {
    vendors().into_iter().find(|path| path.ends_with(name)).unwrap()
}

pub(crate) fn plan_of(vendor: &Path, overlay: Option<&str>) -> Plan {
    let text = std::fs::read_to_string(vendor.join("mapping.yaml")).unwrap();
    let node = hirewire_yaml::parse("mapping.yaml", &text).unwrap();
    let overlay = overlay.map(|text| hirewire_yaml::parse("overlay.yaml", text).unwrap());
    match Plan::compile(&node, overlay.as_ref(), &schema_of) {
        Ok(plan) => plan,
        Err(problems) => panic!("{}:\n{problems}", vendor.display()),
    }
}

/// A fixture's name says what it is: `webhook__<case>.json` or `poll__<stream>[__<case>].json`.
pub(crate) fn map_fixture(plan: &Plan, path: &Path) -> Report {
    let name = path.file_stem().unwrap().to_str().unwrap();
    let (kind, rest) = name.split_once("__").unwrap();
    let stream = rest.split("__").next().unwrap();
    map(plan, &std::fs::read(path).unwrap(), (kind == "poll").then_some(stream))
}

pub(crate) fn map(plan: &Plan, body: &[u8], stream: Option<&str>) -> Report {
    let event = stream.is_none().then(|| tool::text_at(body, "action").unwrap_or_default());
    let meta = [
        ("event_id", MetaValue::Text("EVENT".to_owned())),
        ("tenant_id", MetaValue::Text("acme".to_owned())),
        ("connection_id", MetaValue::Text("acme-ats".to_owned())),
        ("provenance", MetaValue::Symbol(if stream.is_some() { "POLL" } else { "WEBHOOK" }.to_owned())),
    ];
    let world = World { schema_of: &schema_of, id: &id, key: &key, meta: &meta, meta_of: &|_, _, _| None };
    let input = hirewire_mapping::Input {
        body,
        event: event.as_deref(),
        stream,
        received_micros: Some(1_773_000_000_000_000),
        ..hirewire_mapping::Input::default()
    };
    tool::map_file(plan, &input, None, &world)
}

pub(crate) fn fixtures(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let mut found: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    found.retain(|path| path.extension().is_some_and(|extension| extension == "json"));
    found.sort();
    found
}

/// JSON laid out for reading: what fits stays on one line. Keeps the order of the members.
pub(crate) fn pretty(json: &str, indent: usize, out: &mut String) {
    if json.len() + indent <= 150 || !json.starts_with(['{', '[']) {
        out.push_str(json);
        return;
    }
    let (open, close) = (&json[..1], &json[json.len() - 1..]);
    out.push_str(open);
    let parts = members(&json[1..json.len() - 1]);
    for (index, part) in parts.iter().enumerate() {
        out.push('\n');
        out.push_str(&" ".repeat(indent + 2));
        let value = if open == "{" { key_length(part) } else { 0 };
        out.push_str(&part[..value]);
        if value > 0 {
            out.push(' ');
        }
        pretty(&part[value..], indent + 2, out);
        if index + 1 < parts.len() {
            out.push(',');
        }
    }
    out.push('\n');
    out.push_str(&" ".repeat(indent));
    out.push_str(close);
}

fn members(inner: &str) -> Vec<&str> {
    let (mut depth, mut in_text, mut escaped, mut start) = (0, false, false, 0);
    let mut parts = Vec::new();
    for (at, byte) in inner.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_text => escaped = true,
            b'"' => in_text = !in_text,
            _ if in_text => {}
            b'{' | b'[' => depth += 1,
            b'}' | b']' => depth -= 1,
            b',' if depth == 0 => {
                parts.push(&inner[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    parts.push(&inner[start..]);
    parts
}

fn key_length(member: &str) -> usize {
    let mut escaped = false;
    for (at, byte) in member.bytes().enumerate().skip(1) {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => return at + 2,
            _ => {}
        }
    }
    0
}
