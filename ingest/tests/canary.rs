//! A person's data and the secrets never leave the body: not in logs, answers, metrics, keys or headers.
#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "support/listen_in.rs"]
mod listen_in;
mod support;

use listen_in::Logs;
use prometheus::{Encoder, TextEncoder};
use support::{Inbox, Kept, SECRET, delivery, receiver_and_metrics, sign};

const CANARIES: [&str; 4] = ["Cañary", "canary@person.example", "+49 170 0000", SECRET];

fn clean(what: &str, text: &str) {
    for canary in CANARIES {
        assert!(!text.contains(canary), "{canary} in {what}: {text}");
    }
}

#[tokio::test]
async fn nothing_of_a_body_or_a_secret_reaches_logs_answers_metrics_keys_or_headers() {
    let (logs, _guard) = Logs::start();
    let person = r#"{"first_name":"Cañary","email":"canary@person.example","phone":"+49 170 0000"}"#;
    let bodies = [
        format!(r#"{{"action":"hire_candidate","payload":{{"application":{{"id":1,"candidate":{person}}}}}}}"#),
        format!(r#"{{"action":"update_candidate","payload":{{"candidate":{person}}}}}"#),
        format!(r#"{{"action":{person},"payload":{{"application":{{"id":{person}}}}}}}"#),
        format!("action=x&person={person}"),
        format!(r#"{{"action":"hire_candidate","payload":{{"application":{{"id":1,"candidate":{person}"#),
    ];
    for kept in [Kept::Safely, Kept::Fails, Kept::Hangs] {
        let inbox = Inbox::new(kept);
        let (receiver, metrics) = receiver_and_metrics(&inbox);
        for body in &bodies {
            for signature in [sign(SECRET, body), sign("other", body), format!("sha256 {person}")] {
                let mut request = delivery(body);
                request.headers_mut().insert("signature", signature.parse().unwrap());
                request.headers_mut().insert("authorization", "Basic canary@person.example".parse().unwrap());
                request.headers_mut().insert("x-person", "canary@person.example".parse().unwrap());
                clean("an answer", &receiver.send(request).await.text);
            }
        }
        for record in inbox.take() {
            clean("a key", &String::from_utf8_lossy(record.key.as_ref().unwrap()));
            record.headers.iter().for_each(|(name, value)| clean(name, &String::from_utf8_lossy(value)));
        }
        let mut text = Vec::new();
        TextEncoder::new().encode(&metrics.gather(), &mut text).unwrap();
        clean("the metrics", &String::from_utf8(text).unwrap());
    }
    assert!(logs.text().contains("answered 401"), "the test hears the logs: {}", logs.text());
    clean("the logs", &logs.text());
}
