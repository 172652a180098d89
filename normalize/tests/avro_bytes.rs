//! What the plan writes is what apache-avro would write, for every fixture and for mutated payloads; and however a
//! payload is mutated, nothing panics, no leaf goes uncounted, and the same input gives the same facts.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::string_slice)]

use std::path::Path;

use apache_avro::Schema;
use apache_avro::reader::datum::GenericDatumReader;
use apache_avro::writer::datum::GenericDatumWriter;
use hirewire_conformance::{Folder, Rules, vendors_in};
use hirewire_mapping::{Context, Fact, Input, Mapped, Scratch, Slice};
use serde_json::Value as Json;

/// Knows every second look-up.
struct World;

impl Context for World {
    fn id(&mut self, record: &str, remote_id: &str) -> [u8; 36] {
        self.foreign_id("acme-ats", record, remote_id)
    }

    fn foreign_id(&mut self, connection: &str, record: &str, remote_id: &str) -> [u8; 36] {
        hirewire_schemas::ids::canonical_id("acme", connection, record, remote_id)
            .to_string()
            .into_bytes()
            .try_into()
            .unwrap()
    }

    fn lookup(&mut self, record: &str, remote_id: &str, field: usize, out: &mut Vec<u8>) -> bool {
        let schema = hirewire_schemas::schema(record).unwrap();
        out.extend_from_slice(&schema.fields[field].default_bytes);
        remote_id.len().is_multiple_of(2)
    }
}

/// The record with an empty envelope: every field of `meta` is one zero byte when it is empty.
fn record_bytes(fact: &Fact<'_>) -> Vec<u8> {
    let schema = hirewire_schemas::schema(fact.record).unwrap();
    let Schema::Record(record) = &schema.avro else { panic!() };
    let Schema::Record(meta) = &record.fields[0].schema else { panic!() };
    let mut out = Vec::new();
    for field in &meta.fields {
        match (field.name.as_str(), fact.custom_fields) {
            ("custom_fields", Some(customs)) => out.extend_from_slice(customs),
            _ => out.push(0),
        }
    }
    for (index, field) in schema.fields.iter().enumerate().skip(1) {
        match (fact.field(index), fact.element) {
            (Slice::Bytes(bytes), _) => out.extend_from_slice(bytes),
            (_, Some(element)) if element.field == index && !element.delete => {
                out.push(2);
                out.extend_from_slice(element.bytes);
                out.push(0);
            }
            _ => out.extend_from_slice(&field.default_bytes),
        }
    }
    out
}

fn agrees_with_apache_avro(fact: &Fact<'_>) {
    let schema = &hirewire_schemas::schema(fact.record).unwrap().avro;
    let bytes = record_bytes(fact);
    let mut rest = bytes.as_slice();
    let value = GenericDatumReader::builder(schema).build().unwrap().read_value(&mut rest).unwrap();
    assert!(rest.is_empty(), "{}: bytes are left over", fact.rule);
    let mut again = Vec::new();
    GenericDatumWriter::builder(schema).build().unwrap().write_value(&mut again, value).unwrap();
    assert_eq!(again, bytes, "{}", fact.rule);
}

/// All that a payload gives, comparable.
fn told(mapped: &Mapped<'_>) -> Vec<(String, String, Vec<u8>)> {
    mapped.facts().map(|fact| (fact.rule.to_owned(), fact.remote_id.to_owned(), record_bytes(&fact))).collect()
}

fn leaves(value: &Json) -> usize {
    match value {
        Json::Array(items) if !items.is_empty() => items.iter().map(leaves).sum(),
        Json::Object(members) if !members.is_empty() => members.values().map(leaves).sum(),
        _ => 1,
    }
}

/// A payload, and what says how it came.
struct Case {
    event: Option<String>,
    stream: Option<String>,
    params: Vec<(String, String)>,
    value: Json,
}

impl Case {
    fn input<'a>(&'a self, body: &'a [u8]) -> Input<'a> {
        let (event, stream) = (self.event.as_deref(), self.stream.as_deref());
        Input { body, event, stream, params: &self.params, ..Input::default() }
    }
}

fn inputs() -> Vec<(Rules, Vec<Case>)> {
    let mut all = Vec::new();
    for vendor in vendors_in(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../vendors")).unwrap() {
        let folder = Folder::new(&vendor);
        let rules = folder.rules(None).unwrap();
        let mut cases = Vec::new();
        for fixture in folder.payloads() {
            let body = std::fs::read(&fixture.path).unwrap();
            for payload in fixture.payloads(&rules, &body).unwrap() {
                let mut buffer = String::new();
                let value = serde_json::from_slice(rules.plan.as_json(&payload, &mut buffer).unwrap()).unwrap();
                let (stream, params) = (fixture.stream().map(str::to_owned), fixture.params(&rules));
                cases.push(Case { event: fixture.event(&rules, &body), stream, params, value });
            }
        }
        all.push((rules, cases));
    }
    all
}

#[test]
fn every_fixture_is_written_as_apache_avro_writes_it() {
    let mut scratch = Scratch::default();
    let mut facts = 0;
    for (rules, cases) in inputs() {
        for case in cases {
            let body = case.value.to_string().into_bytes();
            let mapped = rules.plan.apply(&mut scratch, &case.input(&body), &mut World).unwrap();
            mapped.facts().for_each(|fact| agrees_with_apache_avro(&fact));
            facts += mapped.len();
        }
    }
    assert!(facts > 150, "{facts}");
}

#[test]
fn however_a_payload_is_mutated_what_is_accepted_is_whole_and_counted() {
    let mut random = fastrand::Rng::with_seed(7);
    let mut scratch = Scratch::default();
    let (mut accepted, mut rejected) = (0_u32, 0_u32);
    for (rules, cases) in inputs() {
        for case in cases {
            for _ in 0..40 {
                let mut value = case.value.clone();
                for _ in 0..random.usize(1..4) {
                    mutate(&mut value, &mut random);
                }
                let body = value.to_string().into_bytes();
                let input = case.input(&body);
                let Ok(mapped) = rules.plan.apply(&mut scratch, &input, &mut World) else {
                    rejected += 1;
                    continue;
                };
                // Of what only names something that is read in its place nothing is made, and nothing counted.
                if !mapped.known() {
                    continue;
                }
                accepted += 1;
                let coverage = mapped.coverage();
                let counted = coverage.read + coverage.ignored + coverage.carried + coverage.unread;
                assert_eq!(counted, leaves(&value), "{value}");
                mapped.facts().for_each(|fact| agrees_with_apache_avro(&fact));
                let first = told(&mapped);
                let again = rules.plan.apply(&mut scratch, &input, &mut World).unwrap();
                assert_eq!(told(&again), first);
            }
        }
    }
    assert!(accepted > 1_000 && rejected > 100, "{accepted} {rejected}");
}

/// For other libraries (`e2e/avro/check`): records of varied payloads, each behind its length in four bytes, big end first,
/// in `<record>.bin` of the folder `HIREWIRE_AVRO_OUT`, with the schema in `<record>.avsc`. `HIREWIRE_AVRO_COUNT` of them.
#[test]
#[ignore = "writes files for e2e/avro/check"]
fn records_for_other_libraries_to_read() {
    let out = std::path::PathBuf::from(std::env::var("HIREWIRE_AVRO_OUT").expect("HIREWIRE_AVRO_OUT"));
    let count: usize = std::env::var("HIREWIRE_AVRO_COUNT").map_or(2_000, |count| count.parse().unwrap());
    let mut random = fastrand::Rng::with_seed(11);
    let (mut scratch, inputs) = (Scratch::default(), inputs());
    let mut files: std::collections::BTreeMap<String, Vec<u8>> = std::collections::BTreeMap::new();
    let mut written = 0;
    while written < count {
        for (rules, case) in inputs.iter().flat_map(|(rules, cases)| cases.iter().map(move |case| (rules, case))) {
            let mut value = case.value.clone();
            (0..random.usize(0..4)).for_each(|_| mutate(&mut value, &mut random));
            let body = value.to_string().into_bytes();
            let Ok(mapped) = rules.plan.apply(&mut scratch, &case.input(&body), &mut World) else { continue };
            for fact in mapped.facts() {
                agrees_with_apache_avro(&fact);
                let bytes = record_bytes(&fact);
                let file = files.entry(fact.record.to_owned()).or_default();
                file.extend_from_slice(&u32::try_from(bytes.len()).unwrap().to_be_bytes());
                file.extend_from_slice(&bytes);
                written += 1;
            }
        }
    }
    for (record, bytes) in files {
        std::fs::write(out.join(format!("{record}.bin")), bytes).unwrap();
        std::fs::write(out.join(format!("{record}.avsc")), &*hirewire_schemas::schema(&record).unwrap().text).unwrap();
    }
}

/// Changes one place of the tree: another scalar, another shape, a missing or an added member.
fn mutate(value: &mut Json, random: &mut fastrand::Rng) {
    match value {
        Json::Object(members) if !members.is_empty() && random.u8(..10) > 0 => {
            let key = members.keys().nth(random.usize(..members.len())).unwrap().clone();
            match random.u8(..12) {
                0 => {
                    members.remove(&key);
                }
                1 => {
                    members.insert("new \"key\" é".to_owned(), scalar(random));
                }
                _ => mutate(members.get_mut(&key).unwrap(), random),
            }
        }
        Json::Array(items) if !items.is_empty() && random.u8(..10) > 0 => {
            let index = random.usize(..items.len());
            match random.u8(..8) {
                0 => items.push(scalar(random)),
                1 => {
                    items.remove(index);
                }
                _ => mutate(&mut items[index], random),
            }
        }
        other => *other = scalar(random),
    }
}

fn scalar(random: &mut fastrand::Rng) -> Json {
    const TEXTS: [&str; 12] = [
        "",
        " ",
        "text",
        "2015-02-09T16:38:36Z",
        "2015-02-09",
        "09/30/2015",
        "12345",
        "é😀\u{0}\n\"\\",
        "true",
        "active",
        "99999999999999999999",
        "80000.50",
    ];
    match random.u8(..9) {
        0 => Json::Null,
        1 => Json::Bool(random.bool()),
        2 => Json::from(random.i64(..)),
        3 => Json::from(random.i32(0..100)),
        4 => Json::from(1.5),
        5 => Json::Array(vec![Json::from(1)]),
        6 => serde_json::json!({"id": 1, "name": "x"}),
        _ => Json::from(TEXTS[random.usize(..TEXTS.len())]),
    }
}
