//! Nothing personal in logs, metrics, dead letters' own headers or idempotency keys, whatever goes wrong.

use std::time::Duration;

use hirewire_schemas::Entity;
use prometheus::{Encoder, TextEncoder};
use serde_json::json;

use super::support::{Answer, Options, Receiver, arrival, capture_log, change, context, run, until};
use crate::system::carried;

/// In every personal value of the candidate.
const CANARY: &str = "Xanthippe";

// One thread, so that the test's subscriber sees everything.
#[tokio::test]
async fn a_canary_is_seen_by_the_receiver_and_nowhere_else() {
    let (log, _guard) = capture_log();
    let receiver = Receiver::start(|body| match body["application_id"].as_str() {
        Some("refused") => Answer::Status(400),
        Some("held") => Answer::Status(401),
        Some("flaky") if fastrand::bool() => Answer::Status(500),
        _ => Answer::Status(200),
    })
    .await;
    let context = context();
    context.put_common();
    context.put(
        Entity::Candidate,
        "c",
        json!({"meta": {"id": "c"}, "name": {"given": CANARY, "family": CANARY},
               "emails": [{"value": format!("{CANARY}@example.com"), "type": {"value": "WORK", "raw": null, "rule": null}}]}),
    );
    let options = Options { requires_within: Duration::from_millis(150), ..Options::default() };
    let running = run(&carried("onboarding"), &receiver, &context, options);
    running.assign(&[0]);
    let hire = |offset, application: &str| {
        context.put_application(application);
        if application != "incomplete" {
            context.put_accepted_offer(application);
        }
        running.record(arrival(0, offset, application, &change(application, 1, "HIRE")));
    };
    hire(0, "refused");
    hire(1, "flaky");
    hire(2, "incomplete");
    let mut broken = arrival(0, 3, "broken", &json!({}));
    broken.value = Some(format!("\0\0\0\0\x07{CANARY}").into());
    running.record(broken);
    until("all of these", || running.commits.head(0) == 4).await;
    hire(4, "held");
    until("three dead letters", || running.letters.put.lock().unwrap().len() == 3).await;
    until("the hold", || running.deliverer.gate.held().is_some()).await;

    assert!(receiver.all().iter().any(|received| received.raw.windows(CANARY.len()).any(|w| w == CANARY.as_bytes())));
    let logged = log.text();
    assert!(logged.contains("dead letters") && logged.contains("held"), "the log saw the test: {logged}");
    assert!(!logged.contains(CANARY), "{logged}");
    for letter in running.letters.put.lock().unwrap().iter() {
        assert!(!format!("{:?}", letter.headers).contains(CANARY));
    }
    for received in receiver.all() {
        assert!(!format!("{:?}", received.headers).contains(CANARY));
    }
    let mut metrics = Vec::new();
    TextEncoder::new().encode(&running.metrics.gather(), &mut metrics).unwrap();
    let metrics = String::from_utf8(metrics).unwrap();
    assert!(metrics.contains("hirewire_route_dead_letters_total") && !metrics.contains(CANARY));
}
