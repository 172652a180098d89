//! Schemas that nobody would write: good ones, changed at random. No panic, and no more memory than their text has a right to.
//! `FUZZ_INPUTS` says how many (20,000 by default), `FUZZ_SEED` where the random numbers begin.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use fastrand::Rng;
use hirewire_registry::{Level, check_texts, fuzz};
use serde_json::{Value, json};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<std::alloc::System> = &INSTRUMENTED_SYSTEM;

const MIB: usize = 1024 * 1024;

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |number| number.parse().unwrap())
}

const CORPUS: [&str; 12] = [
    r#""string""#,
    r#"["null", "int", {"type": "array", "items": "long"}]"#,
    r#"{"type": "map", "values": {"type": "map", "values": "bytes"}}"#,
    r#"{"type": "enum", "name": "E", "symbols": ["A", "B", "C"], "default": "B", "aliases": ["Old"]}"#,
    r#"{"type": "fixed", "name": "F", "namespace": "a.b", "size": 16}"#,
    r#"{"type": "fixed", "name": "D", "size": 12, "logicalType": "decimal", "precision": 20, "scale": 4}"#,
    r#"{"type": "bytes", "logicalType": "decimal", "precision": 9, "scale": 2}"#,
    r#"{"type": "record", "name": "R", "namespace": "n", "doc": "d", "fields": [
        {"name": "id", "type": {"type": "string", "logicalType": "uuid"}},
        {"name": "at", "type": {"type": "long", "logicalType": "timestamp-micros"}, "aliases": ["when"]},
        {"name": "day", "type": ["null", {"type": "int", "logicalType": "date"}], "default": null},
        {"name": "kind", "type": {"type": "enum", "name": "Kind", "symbols": ["X", "Y"]}, "default": "X"}]}"#,
    r#"{"type": "record", "name": "Node", "fields": [
        {"name": "next", "type": ["null", "Node"], "default": null},
        {"name": "children", "type": {"type": "array", "items": "Node"}, "default": []}]}"#,
    r#"{"type": "record", "name": "a.Outer", "fields": [
        {"name": "one", "type": {"type": "record", "name": "Inner", "fields": [{"name": "x", "type": "double"}]}},
        {"name": "two", "type": "Inner"}, {"name": "three", "type": "a.Inner"},
        {"name": "more", "type": {"type": "map", "values": "Inner"}, "default": {}}]}"#,
    r#"[{"type": "record", "name": "A", "fields": [{"name": "f", "type": "boolean"}]},
        {"type": "record", "name": "B", "fields": [{"name": "a", "type": "A"}, {"name": "c", "type": "A"}]}]"#,
    r#"{"type": "record", "name": "Uses", "fields": [{"name": "r", "type": "n.R"}, {"name": "e", "type": ["E", "null"]}]}"#,
];

/// Paths to all values in a JSON text.
fn places(value: &Value, path: &str, all: &mut Vec<String>) {
    all.push(path.to_owned());
    match value {
        Value::Array(items) => {
            items.iter().enumerate().for_each(|(at, item)| places(item, &format!("{path}/{at}"), all));
        }
        Value::Object(map) => {
            for (key, item) in map {
                places(item, &format!("{path}/{}", key.replace('~', "~0").replace('/', "~1")), all);
            }
        }
        _ => {}
    }
}

fn any_value(rng: &mut Rng, corpus: &[Value]) -> Value {
    let whole = rng.choice(corpus).unwrap();
    let mut all = Vec::new();
    places(whole, "", &mut all);
    whole.pointer(rng.choice(&all).unwrap()).unwrap().clone()
}

fn mutate(rng: &mut Rng, schema: &mut Value, corpus: &[Value]) {
    for _ in 0..1 << rng.u8(..3) {
        let mut all = Vec::new();
        places(schema, "", &mut all);
        let other = any_value(rng, corpus);
        let Some(place) = schema.pointer_mut(rng.choice(&all).unwrap()) else { continue };
        match (rng.u8(..9), place) {
            (0 | 1, place) => *place = other,
            (2, Value::Array(items)) if !items.is_empty() => {
                let item = items[rng.usize(..items.len())].clone();
                items.insert(rng.usize(..=items.len()), item);
            }
            (3, Value::Array(items)) if !items.is_empty() => drop(items.remove(rng.usize(..items.len()))),
            (4, Value::Object(map)) if !map.is_empty() => {
                let key = map.keys().nth(rng.usize(..map.len())).unwrap().clone();
                map.remove(&key);
            }
            (5, Value::Object(map)) => {
                let keys =
                    ["type", "name", "namespace", "aliases", "size", "precision", "default", "items", "logicalType"];
                map.insert(keys[rng.usize(..keys.len())].to_owned(), other);
            }
            (6, place) => {
                for _ in 0..rng.u8(1..40) {
                    *place = if rng.bool() { json!({"type": "array", "items": place}) } else { json!([place, "null"]) };
                }
            }
            (7, Value::Number(number)) => {
                let extremes = [0, 1, -1, i64::from(i32::MAX), i64::MAX, i64::MIN];
                *number = extremes[rng.usize(..extremes.len())].into();
            }
            (8, Value::String(text)) => {
                let words = ["", "int", "n.R", "Node", ".", "a..b", "é", "record", "A", "\u{0}", "uuid", "decimal"];
                *text = words[rng.usize(..words.len())].to_owned();
            }
            _ => {}
        }
    }
}

/// One test at a time: the allocator counts for all threads.
static ALONE: Mutex<()> = Mutex::new(());

#[test]
fn no_schema_ends_the_registry_or_fills_its_memory() {
    let _alone = ALONE.lock();
    let corpus: Vec<Value> = CORPUS.iter().map(|text| serde_json::from_str(text).unwrap()).collect();
    let references = [CORPUS[7].to_owned(), CORPUS[3].to_owned()];
    for text in CORPUS {
        assert!(fuzz::schema(text, &references[..if text.contains("n.R") { 2 } else { 0 }], text), "{text}");
    }
    let (inputs, seed) = (number("FUZZ_INPUTS", 20_000), number("FUZZ_SEED", 1));
    let (mut taken, mut most, started) = (0u64, 0, Instant::now());
    for at in 0..inputs {
        let mut rng = Rng::with_seed(seed.wrapping_add(at));
        let mut schema = rng.choice(&corpus).unwrap().clone();
        mutate(&mut rng, &mut schema, &corpus);
        let mut text = schema.to_string();
        if rng.u8(..8) == 0 {
            // No JSON any more, mostly.
            let at = (0..=text.len()).rev().find(|at| text.is_char_boundary(*at) && rng.u8(..20) == 0);
            text.insert_str(at.unwrap_or(0), ["{", "\"", "[", "\u{fffd}", "1e999"][rng.usize(..5)]);
        }
        let references = if rng.bool() { &references[..] } else { &[] };
        let earlier = CORPUS[rng.usize(..CORPUS.len())];
        let (region, begun) = (Region::new(ALLOCATOR), Instant::now());
        let outcome = catch_unwind(AssertUnwindSafe(|| fuzz::schema(&text, references, earlier)));
        let allocated = region.change().bytes_allocated;
        let again = format!("again: FUZZ_INPUTS=1 FUZZ_SEED={}", seed.wrapping_add(at));
        let Ok(is_taken) = outcome else { panic!("{again}: a panic at {text}") };
        assert!(allocated <= MIB + 4096 * text.len(), "{again}: {allocated} bytes allocated for {text}");
        assert!(begun.elapsed() < Duration::from_secs(10), "{again}: took {:?}: {text}", begun.elapsed());
        taken += u64::from(is_taken);
        most = most.max(allocated);
    }
    let rate = inputs as f64 / started.elapsed().as_secs_f64();
    eprintln!("schemas: {inputs} inputs, {taken} taken, {rate:.0} a second, at most {most} bytes allocated for one");
    assert!(inputs < 1000 || taken > inputs / 100, "only {taken} of {inputs} were taken");
}

/// A union of records, each of which has the one before it as a field.
fn chain(records: usize) -> String {
    let record = |at: usize| {
        let kind = if at == 0 { "int".to_owned() } else { format!("r{}", at - 1) };
        format!(r#"{{"type":"record","name":"r{at}","fields":[{{"name":"f","type":"{kind}"}}]}}"#)
    };
    format!("[{}]", (0..records).map(record).collect::<Vec<_>>().join(","))
}

#[test]
fn a_chain_of_types_is_refused_before_it_takes_all_of_the_stack() {
    let _alone = ALONE.lock();
    assert_eq!(check_texts(Level::None, &chain(100), &[]), Ok(Vec::new()));
    let refused = check_texts(Level::None, &chain(20_000), &[]).unwrap_err();
    assert!(refused.contains("too deeply"), "{refused}");
}

#[test]
fn a_size_that_is_no_number_is_refused_wherever_it_stands_in_a_type() {
    let field = |more: &str| format!(r#"{{"type":"record","name":"R","fields":[{{"name":"f","type":"int"{more}}}]}}"#);
    let refused = check_texts(Level::Full, &field(r#","size":["A"]"#), &[field("")]).unwrap_err();
    assert!(refused.contains("`size`"), "{refused}");
    assert_eq!(check_texts(Level::Full, &field(r#","size":7"#), &[field("")]), Ok(Vec::new()));
}

#[test]
fn attributes_of_another_kind_than_avro_gives_them_end_nothing() {
    let _alone = ALONE.lock();
    for more in
        [r#""symbols":3"#, r#""order":7"#, r#""order":["a"]"#, r#""precision":"x""#, r#""scale":{}"#, r#""size":1.5"#]
    {
        let field = format!(r#"{{"type":"record","name":"R","fields":[{{"name":"f","type":"int",{more}}}]}}"#);
        let kind =
            format!(r#"{{"type":"record","name":"R","fields":[{{"name":"f","type":{{"type":"int",{more}}}}}]}}"#);
        for text in [field, kind] {
            // Taken or refused: both are answers.
            let _answer = check_texts(Level::Full, &text, std::slice::from_ref(&text));
        }
    }
}
