//! What a process logs, and that it is changed while it runs.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use hirewire_e2e::deployment::{Deployment, Moved, stop};
use hirewire_e2e::http;
use serde_json::Value;

/// Levels of the lines so far; each line is an object.
fn levels(deployment: &Deployment) -> Vec<String> {
    let lines = deployment.log();
    // The last one may not be written to its end yet.
    let whole = lines.split_inclusive('\n').filter(|line| line.ends_with('\n'));
    let line = |line: &str| serde_json::from_str::<Value>(line).unwrap_or_else(|error| panic!("{error}: {line}"));
    whole.map(|text| line(text)["level"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn the_filter_of_the_log_is_changed_while_the_process_runs() {
    let deployment = Deployment::lay(
        "sinks: {all: {system: analytics, sqlite: {path: analytics.sqlite}}}\nroutes: {all: {sink: all, from: beginning}}\n",
    );
    let admin = deployment.admin();
    let up = deployment.up();
    let debug = || levels(&deployment).iter().filter(|level| *level == "DEBUG").count();
    let send = |application| {
        let at = "2026-02-09T16:00:00Z";
        deployment.send(&Moved { application, stage_id: 7, stage: "Assessment", at, traceparent: None });
        let delivered = format!("hirewire_route_deliveries_total{{sink=\"all\"}} {}", 2 * application);
        deployment.until("its delivery", || http::get(admin, "/metrics").unwrap().contains(&delivered));
    };
    send(1);
    assert_eq!(debug(), 0);

    let answer = http::put(admin, "/log", "warn,hirewire_route=debug").unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    send(2);
    deployment.until("lines of debug", || debug() > 0);

    for wrong in ["", "hirewire_route=loud"] {
        let answer = http::put(admin, "/log", wrong).unwrap();
        assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
    }
    let answer = http::put(admin, "/log", "info").unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    let before = debug();
    send(3);
    assert_eq!(debug(), before, "{}", deployment.log());
    stop(up);
}
