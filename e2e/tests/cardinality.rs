//! How many series a process shows that has a thousand tenants, and that applications, however many, are none.
//!
//! `HIREWIRE_TEST_APPLICATIONS` says how many; the nightly run has a hundred thousand. What polling adds to each connection is
//! counted by `a_thousand_accounts_in_every_trouble_are_less_than_twenty_thousand_series`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};

use hirewire_e2e::deployment::{Deployment, Moved, stop};
use hirewire_e2e::http;

const TENANTS: u64 = 1_000;
/// Of a process: issues of a Prometheus begin with more.
const GOAL: usize = 20_000;
const SENDERS: u64 = 16;

/// All series of a process.
fn scrape(admin: SocketAddr) -> BTreeMap<String, f64> {
    let answer = http::get(admin, "/metrics").unwrap();
    let lines = answer.lines().skip_while(|line| !line.is_empty()).filter(|line| !line.starts_with('#'));
    let series = lines.filter_map(|line| line.rsplit_once(' '));
    series.map(|(name, value)| (name.to_owned(), value.parse().unwrap())).collect()
}

fn sum(series: &BTreeMap<String, f64>, metric: &str) -> f64 {
    series.iter().filter(|(name, _)| name.split('{').next() == Some(metric)).map(|(_, value)| value).sum()
}

/// One webhook for each application; every tenant in its turn.
fn send(deployment: &Deployment, applications: std::ops::Range<u64>) {
    let next = AtomicU64::new(applications.start);
    std::thread::scope(|scope| {
        for _ in 0..SENDERS {
            scope.spawn(|| {
                loop {
                    let application = next.fetch_add(1, Ordering::Relaxed);
                    if application >= applications.end {
                        return;
                    }
                    let at = "2026-02-09T16:00:00Z";
                    let moved = Moved { application, stage_id: 7, stage: "Assessment", at, traceparent: None };
                    let answer = deployment.post_to(&format!("account-{}", application % TENANTS), &moved).unwrap();
                    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
                }
            });
        }
    });
}

#[test]
fn a_thousand_tenants_are_less_than_twenty_thousand_series_and_applications_are_none() {
    let applications = std::env::var("HIREWIRE_TEST_APPLICATIONS").map_or(4_000, |text| text.parse().unwrap());
    let mut connections = String::new();
    for tenant in 0..TENANTS {
        let webhook = "webhook: {secrets: [{file: secret}]}";
        write!(connections, "\n  account-{tenant}: {{tenant: tenant-{tenant}, vendor: greenhouse, {webhook}}}")
            .unwrap();
    }
    let deployment = Deployment::lay(
        "sinks: {all: {system: analytics, sqlite: {path: analytics.sqlite}}}\nroutes: {all: {sink: all, from: beginning}}\n",
    );
    let admin = deployment.admin();
    deployment.rewrite(
        "connections: {acme: {tenant: acme, vendor: greenhouse, webhook: {secrets: [{file: secret}]}}}",
        &format!("connections:{connections}"),
    );
    let up = deployment.up();
    let processed = |applications: u64| {
        let name = "hirewire_normalize_events_total";
        deployment.until("normalize has read them", || sum(&scrape(admin), name) >= applications as f64);
        // Every sink has a series for each of its words from then on.
        let name = "hirewire_route_deliveries_total";
        deployment.until("the sink has them", || sum(&scrape(admin), name) >= applications as f64);
        scrape(admin)
    };

    send(&deployment, 0..TENANTS);
    let of_tenants = processed(TENANTS);
    let kept = |series: &BTreeMap<String, f64>| {
        let of_connection = |name: &&String| name.starts_with("hirewire_ingest_webhooks_total{connection=\"account-");
        series.keys().filter(of_connection).count()
    };
    assert_eq!(kept(&of_tenants), 1_000, "each tenant is told of");
    assert!(of_tenants.len() < GOAL, "{} series of {TENANTS} tenants", of_tenants.len());

    send(&deployment, TENANTS..applications);
    let of_applications = processed(applications);
    let new: Vec<&String> = of_applications.keys().filter(|name| !of_tenants.contains_key(*name)).collect();
    assert!(new.len() < 50, "{} series came with {applications} applications: {new:#?}", new.len());
    eprintln!("{} series of {TENANTS} tenants and {applications} applications", of_applications.len());
    stop(up);
}
