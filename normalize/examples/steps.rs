//! What normalize's own work costs, without Kafka: steps of all partitions in one thread, fragments go round, records are
//! counted and dropped. `cargo run --release -p hirewire-normalize --example steps -- [events] [applications]`
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout, clippy::panic)]

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use hirewire_kafka::{Inbound, Outbox, Step, partition_for};
use hirewire_mapping::Plan;
use hirewire_normalize::Connection;
use hirewire_normalize::catalog::Catalog;
use hirewire_normalize::guard::Guilty;
use hirewire_normalize::issue::Issues;
use hirewire_normalize::lookups::Lookups;
use hirewire_normalize::metrics::Metrics;
use hirewire_normalize::step::{NormalizeStep, Shared, Source};
use hirewire_normalize::store::Store;
use hirewire_schemas::{Names, ids};

const PARTITIONS: i32 = 4;
const CONNECTION: &str = "acme-greenhouse";
/// Inputs of one transaction of one partition.
const BATCH: usize = 500;

fn main() {
    let mut arguments = std::env::args().skip(1).map(|text| text.parse::<usize>().unwrap());
    let events = arguments.next().unwrap_or(100_000);
    let applications = arguments.next().unwrap_or(10_000);
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mapping = std::fs::read_to_string(root.join("vendors/greenhouse/mapping.yaml")).unwrap();
    let fixture = root.join("vendors/greenhouse/fixtures/webhook__candidate_stage_change.json");
    let body: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(fixture).unwrap()).unwrap();
    let body = body.to_string();
    let schema_of = |name: &str| hirewire_schemas::schema(name).map(|schema| &schema.avro);
    let plan = Plan::compile(&hirewire_yaml::parse("mapping.yaml", &mapping).unwrap(), None, &schema_of);
    let plan = Arc::new(plan.unwrap_or_else(|problems| panic!("{problems}")));
    let connection =
        Connection { name: CONNECTION.to_owned(), tenant: "acme".to_owned(), vendor: "greenhouse".to_owned(), plan };
    let dir = tempfile::tempdir().unwrap();
    let shared = Arc::new(Shared {
        catalog: Arc::new(Catalog::new(&Names::new(""), &|_| Some(7)).unwrap()),
        sources: HashMap::from([(CONNECTION.to_owned(), Source::from(connection))]),
        lookups: Arc::new(Lookups::default()),
        metrics: Metrics::register(&prometheus::Registry::new()).unwrap(),
        partitions: PARTITIONS,
        lookup_wait: Duration::ZERO,
        cache_bytes: 16 << 20,
        store_dir: dir.path().to_owned(),
        restricted: Vec::new(),
        issues: Issues::default(),
        guilty: Guilty::default(),
    });
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
                waiting[usize::try_from(record.partition.unwrap()).unwrap()].push(Inbound {
                    topic: Arc::clone(&record.topic),
                    partition: record.partition.unwrap(),
                    offset: 0,
                    timestamp_ms: record.timestamp_ms.unwrap_or_default(),
                    key: record.key.clone(),
                    value: record.value.clone(),
                    headers: record.headers.iter().map(|(name, value)| (name.to_string(), value.clone())).collect(),
                });
            }
        }
    };
    for event in 0..events {
        let (application, round) = (event % applications, event / applications);
        let (id, stage, job) = (70_000_000 + application, round % 7, application % 50);
        let at = jiff::Timestamp::from_second(1_700_000_000 + i64::try_from(event).unwrap()).unwrap();
        let body = body
            .replace("265277", &id.to_string())
            .replace("265772", &(80_000_000 + application).to_string())
            .replace("71416,\"interviews\"", &format!("{},\"interviews\"", 71416 + stage + job * 10))
            .replace("\"id\":71416", &format!("\"id\":{}", 71416 + stage + job * 10))
            .replace("3485", &(3485 + job).to_string())
            .replace("2015-02-09T16:38:36Z", &at.to_string());
        let key = ids::canonical_id("acme", CONNECTION, "Application", &id.to_string()).to_string();
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
