//! A result comes back, moves its application at the source, and the source's own event of it is known to be ours: the whole
//! way through all services, with a kill between intent and request.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use hirewire_e2e::deployment::{Deployment, Moved, now, stop};
use hirewire_e2e::http::Receiver;
use hirewire_e2e::{free, http};
use serde_json::Value;

const SECRET: &str = "0123456789abcdef0123456789abcdef";

/// The result of a test that was ordered for the application.
fn result(deployment: &Deployment, application: u64) {
    let body = format!(
        "{{\"id\":\"c{application}\",\"test\":\"t1\",\"status\":7,\"score\":92.0,\"invite_metadata\":{{\"hirewire_application\":\
         \"acme/{application}\"}}}}"
    );
    let headers = format!("authorization: Bearer {SECRET}\r\n");
    let answer = http::post(deployment.webhooks, "/v1/webhooks/acme-tests", &headers, body.as_bytes()).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}

/// Of each change: the stage it leads to, and its cause.
fn changes(deployment: &Deployment) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let records = deployment.tail("stage-change");
    let changes = records.iter().map(|record| &record["value"]);
    changes.map(|change| (text(&change["to_stage"]["name"]), text(&change["cause"]))).collect()
}

#[test]
fn a_result_moves_its_application_once_and_what_comes_of_it_is_known_to_be_ours() {
    let address = free();
    let sections = format!(
        "sinks:\n  passed:\n    system: greenhouse-moves\n    settings: {{stage: \"71417\"}}\n    retry: {{first: 50ms, longest: 500ms}}\n    \
         http: {{url: \"http://{address}\", allow: {{networks: [\"127.0.0.0/8\"]}}}}\nroutes: {{passed: {{sink: passed}}}}\n"
    );
    let deployment = Deployment::lay(&sections);
    let second = "connections: {acme-tests: {tenant: acme, vendor: hackerrank, webhook: {secrets: [{file: secret}]}}, ";
    deployment.rewrite("connections: {", second);

    let mut up = deployment.up();
    let at = now();
    let first = Moved { application: 7, stage_id: 71416, stage: "Test", at: &at, traceparent: None };
    deployment.send(&first);
    deployment.until("the application to be known", || changes(&deployment).len() == 1);
    // An application that nobody knows is a dead letter, and moves nothing.
    result(&deployment, 8);
    result(&deployment, 7);
    deployment.until("the intent", || !deployment.tail("hirewire.internal.write-back.v1").is_empty());
    up.0.kill().unwrap();
    up.0.wait().unwrap();

    // Nobody listened yet: this is the first that the source can hear.
    let source = Receiver::at(address);
    let up = deployment.up();
    deployment.until("the move", || !source.requests().is_empty());
    let at = now();
    deployment.send(&Moved { application: 7, stage_id: 71417, stage: "Onsite", at: &at, traceparent: None });
    deployment.until("the echo", || changes(&deployment).len() >= 2);
    let own = |stage: &str, cause: &str| (stage.to_owned(), cause.to_owned());
    assert_eq!(changes(&deployment), [own("Test", "UNKNOWN"), own("Onsite", "WRITE_BACK")]);
    let (_, letters, error) = deployment.run(&["dlq", "list", "--config", "hirewire.yaml"]);
    assert!(letters.contains("UNKNOWN_ORDER"), "{letters}{error}");
    stop(up);
    let taken: Vec<(String, Value)> =
        source.requests().iter().map(|request| (request.path().to_owned(), request.json())).collect();
    assert_eq!(taken, [("/v3/applications/7/move".to_owned(), serde_json::json!({"to_stage_id": "71417"}))]);
}
