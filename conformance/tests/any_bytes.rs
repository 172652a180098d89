//! Bytes that no vendor and nobody who maps one would write: good ones, changed at random, for every vendor's payloads, mapping,
//! overlay and manifest. Each is taken or refused; nothing panics, and what is refused says why. `FUZZ_INPUTS` says how many
//! payloads (20,000 by default; of files, which take longer, a fortieth), `FUZZ_SEED` where the random numbers begin.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::time::{Duration, Instant};

use fastrand::Rng;
use hirewire_conformance::{Folder, Rules, vendors_in};
use hirewire_ingest::manifest::Manifest;
use hirewire_mapping::{Context, Input, Plan, Scratch};
use hirewire_schemas::avro_schema;

/// What is put in beside single bytes: depth, keys that stand twice, a surrogate alone, a number without end, NUL, no UTF-8.
const PIECES: [&[u8]; 18] = [
    b"[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[",
    b"\"id\":1,\"id\":2,",
    b"\\ud800",
    b"\\u0000",
    b"1e999999999",
    b"-99999999999999999999999999999999999999999999999999999999999999999999",
    b"\xff\xfe",
    b"\xed\xa0\x80",
    b"\x00",
    b"null",
    b"true",
    b"\"\"",
    b"{}",
    b"[]",
    b"2026-02-30T25:61:61+99:99",
    b"<![CDATA[",
    b"&#x110000;",
    b"\xef\xbb\xbf",
];

struct World;

impl Context for World {
    fn id(&mut self, _: &str, remote_id: &str) -> [u8; 36] {
        [b'0' + u8::try_from(remote_id.len() % 10).unwrap(); 36]
    }

    fn foreign_id(&mut self, connection: &str, record: &str, _: &str) -> [u8; 36] {
        self.id(record, connection)
    }

    fn lookup(&mut self, record: &str, remote_id: &str, field: usize, out: &mut Vec<u8>) -> bool {
        out.extend_from_slice(&hirewire_schemas::schema(record).unwrap().fields[field].default_bytes);
        remote_id.len().is_multiple_of(2)
    }
}

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |number| number.parse().unwrap())
}

fn mutate(bytes: &mut Vec<u8>, random: &mut Rng) {
    for _ in 0..random.usize(1..5) {
        let at = random.usize(..=bytes.len());
        let to = (at + random.usize(..40)).min(bytes.len());
        match random.u8(..7) {
            0 => drop(bytes.drain(at..to)),
            1 if at < bytes.len() => bytes[at] = random.u8(..),
            2 => bytes.insert(at, b"{}[]:,.\"\\$*'& -0<>/\n"[random.usize(..20)]),
            3 if random.u8(..8) == 0 => bytes.truncate(at),
            4 => drop(bytes.splice(at..at, bytes[at..to].to_vec())),
            _ => drop(bytes.splice(at..at, PIECES[random.usize(..PIECES.len())].iter().copied())),
        }
    }
}

/// Gives so many changed inputs to `read`, which says whether it took one.
fn feed(what: &str, inputs: u64, seeds: &[Vec<u8>], mut read: impl FnMut(usize, &[u8]) -> bool) {
    let (seed, started) = (number("FUZZ_SEED", 1), Instant::now());
    let (mut taken, mut slowest) = (0_u64, Duration::ZERO);
    for at in 0..inputs {
        let mut random = Rng::with_seed(seed.wrapping_add(at));
        let chosen = random.usize(..seeds.len());
        let mut bytes = seeds[chosen].clone();
        mutate(&mut bytes, &mut random);
        let begun = Instant::now();
        let outcome = catch_unwind(AssertUnwindSafe(|| read(chosen, &bytes)));
        slowest = slowest.max(begun.elapsed());
        let again = format!("{what}, again: FUZZ_INPUTS=1 FUZZ_SEED={}", seed.wrapping_add(at));
        let Ok(is_taken) = outcome else { panic!("{again}: a panic at {}", String::from_utf8_lossy(&bytes)) };
        taken += u64::from(is_taken);
    }
    let seconds = started.elapsed().as_secs_f64();
    eprintln!("{what}: {inputs} inputs in {seconds:.0} s, {taken} taken, the slowest {slowest:?}");
    assert!(taken > 0 || inputs < 100, "{what}: everything was refused");
    assert!(taken < inputs || inputs < 100, "{what}: nothing was refused");
}

fn folders() -> Vec<Folder> {
    let found = vendors_in(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../vendors")).unwrap();
    found.iter().map(|path| Folder::new(path)).collect()
}

/// An overlay whose words hold from a day on.
fn dated(text: &str) -> String {
    let words = text.split_once("tables:").map_or("", |(_, words)| words);
    let words: String = words.lines().map(|line| format!("    {line}\n")).collect();
    format!("version: \"1\"\nchanges:\n  - from: 2026-09-01\n    tables:{words}")
}

/// A payload of a vendor, and how it came.
struct Case {
    rules: usize,
    event: Option<String>,
    stream: Option<String>,
    params: Vec<(String, String)>,
}

#[test]
fn a_payload_of_any_bytes_is_mapped_or_a_dead_letter() {
    let (mut all, mut cases, mut seeds): (Vec<Rules>, Vec<Case>, Vec<Vec<u8>>) = Default::default();
    for folder in folders() {
        let rules = folder.rules(None).unwrap();
        for fixture in folder.payloads() {
            let body = std::fs::read(&fixture.path).unwrap();
            for payload in fixture.payloads(&rules, &body).unwrap() {
                let (stream, params) = (fixture.stream().map(str::to_owned), fixture.params(&rules));
                let event = fixture.event(&rules, &body);
                cases.push(Case { rules: all.len(), event, stream, params });
                seeds.push(payload.into_owned());
            }
        }
        all.push(rules);
    }
    let mut scratch = Scratch::default();
    feed("payloads", number("FUZZ_INPUTS", 20_000), &seeds, |chosen, body| {
        let case = &cases[chosen];
        let (event, stream) = (case.event.as_deref(), case.stream.as_deref());
        let input = Input { body, event, stream, params: &case.params, received_micros: Some(1), ..Input::default() };
        match all[case.rules].plan.apply(&mut scratch, &input, &mut World) {
            Ok(mapped) => mapped.facts().count() == mapped.len(),
            Err(reject) => reject.to_string().is_empty(),
        }
    });
}

#[test]
fn a_mapping_or_manifest_of_any_bytes_is_compiled_or_refused_with_a_reason() {
    let texts = |file: &str| -> Vec<Vec<u8>> {
        folders().iter().map(|folder| std::fs::read(folder.path().join(file)).unwrap()).collect()
    };
    let inputs = number("FUZZ_INPUTS", 20_000).div_ceil(40);
    let told = |problems: &hirewire_yaml::Problems| {
        let mut all = problems.iter();
        assert!(
            !problems.is_empty() && all.all(|problem| !problem.what.is_empty() && problem.file == "m.yaml"),
            "{problems}"
        );
    };
    feed("mappings", inputs, &texts("mapping.yaml"), |_, bytes| {
        let Ok(text) = std::str::from_utf8(bytes) else { return false };
        let plan = hirewire_yaml::parse("m.yaml", text).and_then(|node| Plan::compile(&node, None, &avro_schema));
        plan.inspect_err(told).is_ok()
    });
    // Each with its vendor's mapping, and with what holds from a day on.
    let overlays: Vec<(hirewire_yaml::Node, Vec<u8>)> = folders()
        .iter()
        .filter_map(|folder| {
            let mapping = std::fs::read_to_string(folder.path().join("mapping.yaml")).unwrap();
            let text = std::fs::read_to_string(folder.path().join("overlay.example.yaml")).ok()?;
            let text = if text.contains("changes:") { text } else { dated(&text) };
            Some((hirewire_yaml::parse("m.yaml", &mapping).unwrap(), text.into_bytes()))
        })
        .collect();
    let seeds: Vec<Vec<u8>> = overlays.iter().map(|(_, text)| text.clone()).collect();
    feed("overlays", inputs, &seeds, |chosen, bytes| {
        let Ok(text) = std::str::from_utf8(bytes) else { return false };
        let plan = hirewire_yaml::parse("m.yaml", text)
            .and_then(|node| Plan::compile(&overlays[chosen].0, Some(&node), &avro_schema));
        plan.inspect_err(told).is_ok()
    });
    feed("manifests", inputs, &texts("manifest.yaml"), |_, bytes| {
        let Ok(text) = std::str::from_utf8(bytes) else { return false };
        Manifest::parse("m.yaml", text).inspect_err(told).is_ok()
    });
}
