//! How long mapping takes beside one validating scan of the same bytes and beside what a person writes by hand (`typed`),
//! and how often it allocates, over varied payloads.
//!
//! `cargo run --release -p hirewire-mapping --example speed -- MAPPING PAYLOADS [--key KEY] [--events N] [--passes N]`
//!
//! PAYLOADS is a file or a folder of JSON files, or a `.jsonl` file with a payload a line. KEY is the member that names
//! the event (`action`). Each payload is repeated with other digits, letters and escapes until there are N. Floors and
//! plan take turns in every pass, on one thread, timed by what the thread got of the processor where the system tells it.
//! `--only plan` (or `typed`, `scan`, `serde`) with few passes is for a profiler that counts instructions.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout, clippy::string_slice)]

mod typed;

use std::hint::black_box;
use std::path::{Path, PathBuf};

use hirewire_mapping::{Context, Input, Plan, Scratch, tool};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<std::alloc::System> = &INSTRUMENTED_SYSTEM;

/// Ids of zeros, no look-up known: the cost of both is the caller's.
struct Nobody;

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

struct Payload {
    event: String,
    body: Vec<u8>,
}

struct Settings {
    mapping: PathBuf,
    payloads: PathBuf,
    key: String,
    events: usize,
    passes: usize,
    only: Option<String>,
}

fn settings() -> Settings {
    let mut places = Vec::new();
    let (mut key, mut events, mut passes, mut only) = ("action".to_owned(), 3_000, 41, None);
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--key" => key = arguments.next().expect("--key KEY"),
            "--events" => events = arguments.next().and_then(|n| n.parse().ok()).expect("--events N"),
            "--passes" => passes = arguments.next().and_then(|n| n.parse().ok()).expect("--passes N"),
            "--only" => only = arguments.next(),
            _ => places.push(PathBuf::from(argument)),
        }
    }
    let [mapping, payloads] = <[PathBuf; 2]>::try_from(places).expect("MAPPING PAYLOADS");
    Settings { mapping, payloads, key, events, passes, only }
}

fn main() {
    let settings = settings();
    let text = std::fs::read_to_string(&settings.mapping).unwrap();
    let node = hirewire_yaml::parse("mapping.yaml", &text).unwrap();
    let schema_of = |name: &str| hirewire_schemas::schema(name).map(|schema| &schema.avro);
    let plan = Plan::compile(&node, None, &schema_of).unwrap();
    let payloads = varied(&read(&settings.payloads), &settings.key, settings.events);
    let mut scratch = Scratch::default();
    let (mut bytes, mut facts, mut leaves) = (0, 0, 0);
    for payload in &payloads {
        let mapped = plan.apply(&mut scratch, &payload.input(), &mut Nobody).unwrap();
        bytes += payload.body.len();
        facts += mapped.len();
        let coverage = mapped.coverage();
        leaves += coverage.read + coverage.ignored + coverage.carried;
    }
    let count = payloads.len();
    let mean = |total: usize| total as f64 / count as f64;
    println!(
        "{count} payloads, each of {:.0} bytes, {:.1} leaves, {:.1} facts",
        mean(bytes),
        mean(leaves),
        mean(facts)
    );
    let chosen = |name: &str| settings.only.as_deref().is_none_or(|only| only == name);
    let mut times: [Vec<f64>; 4] = Default::default();
    let (mut allocations, mut by_hand, mut out) = (0, 0, Vec::new());
    // It knows one event.
    let typed = payloads.iter().all(|payload| payload.event == typed::EVENT);
    for _ in 0..settings.passes {
        if chosen("serde") {
            times[0].push(pass(&payloads, |payload| {
                serde_json::from_slice::<serde::de::IgnoredAny>(&payload.body).is_ok()
            }));
        }
        if chosen("scan") {
            times[1].push(pass(&payloads, |payload| tool::is_json(&payload.body)));
        }
        if chosen("plan") {
            let region = Region::new(ALLOCATOR);
            times[2].push(pass(&payloads, |payload| plan.apply(&mut scratch, &payload.input(), &mut Nobody).is_ok()));
            let change = region.change();
            allocations += change.allocations + change.reallocations;
        }
        if typed && chosen("typed") {
            let region = Region::new(ALLOCATOR);
            times[3].push(pass(&payloads, |payload| typed::map(&payload.body, &mut out)));
            let change = region.change();
            by_hand += change.allocations + change.reallocations;
        }
    }
    let [serde, scan, mapping, typed] = times.map(|mut times| {
        times.sort_by(f64::total_cmp);
        [0.5, 0.1, 0.9].map(|part| times.get((times.len() as f64 * part) as usize).copied().unwrap_or(f64::NAN))
    });
    let show = |name: &str, [median, low, high]: [f64; 3]| {
        println!("{name:<34} {median:>8.0} ns/event ({low:.0} to {high:.0})");
    };
    show("floor: serde_json, nothing kept", serde);
    show("floor: own scan, nothing kept", scan);
    show("plan", mapping);
    show("typed by hand, lossy", typed);
    println!("plan / floor: {:.2} (serde_json), {:.2} (own scan)", mapping[0] / serde[0], mapping[0] / scan[0]);
    println!("plan / typed by hand: {:.2}", mapping[0] / typed[0]);
    let each = |allocations: usize| allocations as f64 / (settings.passes * count) as f64;
    println!("allocations per event: {:.4}, typed by hand {:.1}", each(allocations), each(by_hand));
}

impl Payload {
    fn input(&self) -> Input<'_> {
        Input { body: &self.body, event: Some(&self.event), ..Input::default() }
    }
}

/// Nanoseconds per payload. A profiler counts what happens in here.
#[inline(never)]
fn pass(payloads: &[Payload], mut work: impl FnMut(&Payload) -> bool) -> f64 {
    let start = std::time::Instant::now();
    let before = processor_nanos();
    for payload in payloads {
        assert!(black_box(work(black_box(payload))));
    }
    let elapsed = match (before, processor_nanos()) {
        (Some(before), Some(after)) => (after - before) as f64,
        _ => start.elapsed().as_nanos() as f64,
    };
    elapsed / payloads.len() as f64
}

fn processor_nanos() -> Option<u64> {
    std::fs::read_to_string("/proc/thread-self/schedstat").ok()?.split(' ').next()?.parse().ok()
}

fn read(place: &Path) -> Vec<String> {
    if place.extension().is_some_and(|extension| extension == "jsonl") {
        return std::fs::read_to_string(place).unwrap().lines().map(str::to_owned).collect();
    }
    let mut files = vec![place.to_owned()];
    if place.is_dir() {
        files = std::fs::read_dir(place).unwrap().map(|entry| entry.unwrap().path()).collect();
        files.retain(|path| path.extension().is_some_and(|extension| extension == "json"));
        files.sort();
    }
    files.iter().map(|path| std::fs::read_to_string(path).unwrap()).collect()
}

/// What names no event is left out: a row of a stream has no name of its own.
fn varied(texts: &[String], key: &str, count: usize) -> Vec<Payload> {
    let named: Vec<(&String, String)> =
        texts.iter().filter_map(|text| Some((text, tool::text_at(text.as_bytes(), key)?))).collect();
    assert!(!named.is_empty(), "no payload has the member {key}");
    let mut random = fastrand::Rng::with_seed(1);
    (0..count.max(named.len()))
        .map(|index| {
            let (text, event) = &named[index % named.len()];
            Payload { event: event.clone(), body: vary(text, &mut random).into_bytes() }
        })
        .collect()
}

/// The same payload without white space, with other digits in its numbers and times, and other ends of its names.
fn vary(text: &str, random: &mut fastrand::Rng) -> String {
    const ENDS: [&str; 8] = ["", "", "", " é", " \\u00eb", " \\ud83d\\ude00", "\\/x", " \\\"q\\\""];
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(letter) = rest.chars().next() {
        let length = match letter {
            '"' => {
                let mut end = 1;
                while !rest[end..].starts_with('"') {
                    end +=
                        if rest[end..].starts_with('\\') { 2 } else { rest[end..].chars().next().unwrap().len_utf8() };
                }
                let (inner, is_key) = (&rest[1..end], rest[end + 1..].trim_start().starts_with(':'));
                out.push('"');
                if is_key || inner.contains('\\') {
                    out.push_str(inner);
                } else if inner.ends_with('Z') && inner.as_bytes().get(13) == Some(&b':') {
                    out.push_str(&inner[..17]);
                    out.push_str(&format!("{:02}", random.u8(..60)));
                    out.push_str(&inner[19..]);
                } else if inner.starts_with(|letter: char| letter.is_uppercase()) {
                    out.push_str(inner);
                    out.push_str(ENDS[random.usize(..ENDS.len())]);
                } else {
                    out.push_str(inner);
                }
                out.push('"');
                end + 1
            }
            '1'..='9' => {
                let length = rest.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(rest.len());
                (0..length).for_each(|_| out.push(char::from(random.u8(b'1'..=b'9'))));
                length
            }
            letter => {
                if !letter.is_whitespace() {
                    out.push(letter);
                }
                letter.len_utf8()
            }
        };
        rest = &rest[length..];
    }
    out
}
