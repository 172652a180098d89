//! How long mapping takes beside one validating scan of the same bytes, and how often it allocates.
//!
//! `cargo run --release -p hirewire-mapping --example speed -- vendors/greenhouse`
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
    let vendor = std::env::args().nth(1).unwrap_or_else(|| "vendors/greenhouse".to_owned());
    let vendor = Path::new(&vendor);
    let text = std::fs::read_to_string(vendor.join("mapping.yaml")).unwrap();
    let node = hirewire_yaml::parse("mapping.yaml", &text).unwrap();
    let schema_of = |name: &str| hirewire_schemas::schema(name).map(|schema| &schema.avro);
    let plan = Plan::compile(&node, None, &schema_of).unwrap();
    for name in ["webhook__candidate_stage_change", "webhook__hire_candidate", "webhook__offer_created"] {
        let path = vendor.join("fixtures").join(name).with_extension("json");
        let Ok(body) = std::fs::read(path) else { continue };
        // As a source sends it: without the spaces of the documentation.
        let body = serde_json::from_slice::<serde_json::Value>(&body).unwrap().to_string().into_bytes();
        measure(name, &plan, &body);
    }
}

fn measure(name: &str, plan: &Plan, body: &[u8]) {
    let event = tool::text_at(body, "action");
    let input = Input { body, event: event.as_deref(), ..Input::default() };
    let mut scratch = Scratch::default();
    let facts = plan.apply(&mut scratch, &input, &mut Nobody).unwrap().len();
    let scan = per_round(|| {
        black_box(serde_json::from_slice::<serde::de::IgnoredAny>(black_box(body)).is_ok());
    });
    let mapping = per_round(|| {
        black_box(plan.apply(&mut scratch, black_box(&input), &mut Nobody).is_ok());
    });
    println!("{name}: {} bytes, {facts} facts: scan {scan} ns, mapping {mapping} ns", body.len());
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
