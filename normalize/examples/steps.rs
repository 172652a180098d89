//! What normalize's own work costs, without Kafka: steps of all partitions in one thread, fragments go round, records are
//! counted and dropped. `cargo run --release -p hirewire-normalize --example steps -- [events] [applications]`
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout, clippy::panic)]
#![allow(dead_code, reason = "the cluster of the tests has more than is measured")]

#[path = "../tests/cluster/mod.rs"]
mod cluster;

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use cluster::{CONNECTION, PARTITIONS, fixture, id, inbound};
use hirewire_kafka::{Inbound, Outbox, Step, partition_for};
use hirewire_normalize::step::{NormalizeStep, Shared};
use hirewire_normalize::store::Store;
use hirewire_schemas::Names;

/// Inputs of one transaction of one partition.
const BATCH: usize = 500;

fn main() {
    let mut arguments = std::env::args().skip(1).map(|text| text.parse::<usize>().unwrap());
    let events = arguments.next().unwrap_or(100_000);
    let applications = arguments.next().unwrap_or(10_000);
    let body: serde_json::Value = serde_json::from_str(&fixture("webhook__candidate_stage_change.json")).unwrap();
    let body = body.to_string();
    let dir = tempfile::tempdir().unwrap();
    let shared = Arc::new(Shared { cache_bytes: 16 << 20, restricted: Vec::new(), ..cluster::shared(dir.path()) });
    let mut steps: Vec<NormalizeStep> = (0..PARTITIONS)
        .map(|p| {
            let store = Store::open(&dir.path().join(format!("{p}")), shared.cache_bytes).unwrap();
            NormalizeStep::with_store(p, Arc::clone(&shared), store)
        })
        .collect();
    let raw: Arc<str> = Names::new("").raw("greenhouse").into();
    let mut waiting: Vec<Vec<Inbound>> = vec![Vec::new(); usize::try_from(PARTITIONS).unwrap()];
    let (mut spent, mut records, mut bytes, mut states) = (Duration::ZERO, 0, 0, 0);
    let fragments = Arc::clone(&shared.catalog.fragment.topic);
    let state = Arc::clone(&shared.catalog.state.topic);
    let mut run = |waiting: &mut Vec<Vec<Inbound>>, p: usize| {
        let inputs = std::mem::take(&mut waiting[p]);
        let mut out = Outbox::default();
        let began = Instant::now();
        for input in &inputs {
            steps[p].process(input, &mut out).unwrap();
        }
        steps[p].before_commit(&mut out).unwrap();
        steps[p].committed().unwrap();
        spent += began.elapsed();
        for record in out.records() {
            records += 1;
            bytes += record.value.as_ref().map_or(0, Bytes::len);
            if record.topic == state {
                states += record.value.as_ref().map_or(0, Bytes::len);
            }
            if record.topic == fragments {
                let input = inbound(record.clone(), 0);
                waiting[usize::try_from(input.partition).unwrap()].push(input);
            }
        }
    };
    for event in 0..events {
        let (application, round) = (event % applications, event / applications);
        let (number, stage, job) = (70_000_000 + application, round % 7, application % 50);
        let at = jiff::Timestamp::from_second(1_700_000_000 + i64::try_from(event).unwrap()).unwrap();
        let body = body
            .replace("265277", &number.to_string())
            .replace("265772", &(80_000_000 + application).to_string())
            .replace("71416,\"interviews\"", &format!("{},\"interviews\"", 71416 + stage + job * 10))
            .replace("\"id\":71416", &format!("\"id\":{}", 71416 + stage + job * 10))
            .replace("3485", &(3485 + job).to_string())
            .replace("2015-02-09T16:38:36Z", &at.to_string());
        let key = id("Application", &number.to_string());
        let partition = partition_for(key.as_bytes(), PARTITIONS);
        let headers = [
            ("ce_specversion", "1.0".to_owned()),
            ("ce_id", format!("{CONNECTION}/{event}")),
            ("ce_source", format!("/connections/{CONNECTION}")),
            ("ce_type", "greenhouse.candidate_stage_change".to_owned()),
            ("ce_time", at.to_string()),
            ("hirewire-tenant", "acme".to_owned()),
            ("hirewire-connection", CONNECTION.to_owned()),
            ("hirewire-vendor", "greenhouse".to_owned()),
            ("hirewire-origin", "webhook".to_owned()),
            ("hirewire-event", "candidate_stage_change".to_owned()),
            ("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01".to_owned()),
        ];
        let p = usize::try_from(partition).unwrap();
        waiting[p].push(Inbound {
            topic: Arc::clone(&raw),
            partition,
            offset: i64::try_from(event).unwrap(),
            timestamp_ms: at.as_millisecond(),
            key: Some(Bytes::from(key)),
            value: Some(Bytes::from(body)),
            headers: headers.into_iter().map(|(name, value)| (name.to_owned(), Bytes::from(value))).collect(),
        });
        if waiting[p].len() >= BATCH {
            run(&mut waiting, p);
        }
    }
    while let Some(p) = (0..waiting.len()).find(|p| !waiting[*p].is_empty()) {
        run(&mut waiting, p);
    }
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let peak = status.lines().find(|line| line.starts_with("VmHWM")).unwrap_or_default();
    println!(
        "{:.1} us an event, {records} records, {} bytes out an event, {} of them state, {peak}",
        spent.as_secs_f64() * 1e6 / events as f64,
        bytes / events,
        states / events
    );
}
