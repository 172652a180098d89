//! How long mapping takes beside one validating scan of the same bytes, and how often it allocates.
//!
//! `cargo run --release -p hirewire-mapping --example speed -- FOLDER [KEY_OF_EVENT]`: a folder with a mapping.yaml and fixtures
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout)]

use std::hint::black_box;
use std::path::Path;
use std::time::Instant;

use hirewire_mapping::{Context, Input, Plan, Scratch, tool};

/// Ids of zeros, no look-up known: the cost of both is the caller's.
struct Nobody;

impl Context for Nobody {
    fn id(&mut self, _: &str, _: &str) -> [u8; 36] {
        [b'0'; 36]
    }
    fn lookup(&mut self, _: &str, _: &str, _: usize, _: &mut Vec<u8>) -> bool {
        false
    }
}

fn main() {
    let mut arguments = std::env::args().skip(1);
    let folder = arguments.next().unwrap();
    let event = arguments.next().unwrap_or_else(|| "action".to_owned());
    let folder = Path::new(&folder);
    let text = std::fs::read_to_string(folder.join("mapping.yaml")).unwrap();
    let node = hirewire_yaml::parse("mapping.yaml", &text).unwrap();
    let schema_of = |name: &str| hirewire_schemas::schema(name).map(|schema| &schema.avro);
    let plan = Plan::compile(&node, None, &schema_of).unwrap();
    let mut fixtures: Vec<_> =
        std::fs::read_dir(folder.join("fixtures")).unwrap().map(|entry| entry.unwrap().path()).collect();
    fixtures.sort();
    for path in fixtures {
        let Ok(body) = std::fs::read(&path) else { continue };
        let Some(event) = tool::text_at(&body, &event) else { continue };
        // As a source sends it: without the spaces of the documentation.
        let body = serde_json::from_slice::<serde_json::Value>(&body).unwrap().to_string().into_bytes();
        measure(&event, &plan, &body);
    }
}

fn measure(event: &str, plan: &Plan, body: &[u8]) {
    let input = Input { body, event: Some(event), ..Input::default() };
    let mut scratch = Scratch::default();
    let facts = plan.apply(&mut scratch, &input, &mut Nobody).unwrap().len();
    let scan = per_round(|| {
        black_box(serde_json::from_slice::<serde::de::IgnoredAny>(black_box(body)).is_ok());
    });
    let mapping = per_round(|| {
        black_box(plan.apply(&mut scratch, black_box(&input), &mut Nobody).is_ok());
    });
    println!("{event}: {} bytes, {facts} facts: scan {scan} ns, mapping {mapping} ns", body.len());
}

/// The fastest of several runs, in nanoseconds a round.
fn per_round(mut work: impl FnMut()) -> u128 {
    let rounds: u32 = std::env::var("ROUNDS").ok().and_then(|rounds| rounds.parse().ok()).unwrap_or(20_000);
    let mut best = u128::MAX;
    for _ in 0..5 {
        let start = Instant::now();
        (0..rounds).for_each(|_| work());
        best = best.min(start.elapsed().as_nanos() / u128::from(rounds));
    }
    best
}
