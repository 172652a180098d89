//! Ids of what a sink has created: told once, found again, named by later requests.

use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use super::answers::{folder, running};
use super::support::{Answer, Context, Options, Receiver, Running, arrival, change, context, run, until};
use crate::source::{Arrival, Slot};
use crate::system::Systems;

/// A receiver that gives ids to whom it creates, or says 409 and finds them.
async fn receiver(conflicts: bool, finds: &'static str) -> Receiver {
    Receiver::start(move |body| match body {
        Value::Null => Answer::Says(200, finds),
        body if body["application_id"].is_string() && conflicts => Answer::Says(409, r#"{"scimType": "uniqueness"}"#),
        body if body["application_id"].is_string() => Answer::Says(201, r#"{"id": "p/1"}"#),
        _ => Answer::Status(204),
    })
    .await
}

fn lines(receiver: &Receiver) -> Vec<String> {
    receiver.all().into_iter().map(|received| received.line).collect()
}

fn application(number: i64) -> Arrival {
    let tree = json!({"meta": {"id": "a", "event_id": format!("a-{number}"), "observed_at": "2026-02-01T10:00:00Z",
        "provenance": "WEBHOOK"}, "candidate_id": "c", "job_id": "j", "status": {"value": "HIRED", "raw": null, "rule": "r"}});
    let slot = Slot { topic: "ats.application.v1".into(), partition: 0 };
    Arrival { slot, ..arrival(0, number, "a", &tree) }
}

/// The changes of application `a`, numbered from 1; the offset is the number.
fn put(running: &Running, context: &Context, sequence_no: i64, kind: &str) {
    context.put_application("a");
    running.record(arrival(0, sequence_no, "a", &change("a", sequence_no, kind)));
}

async fn settled(running: &Running, what: &'static str, next: i64) {
    until(what, || running.commits.head(0) == next).await;
}

#[tokio::test]
async fn what_a_sink_has_created_is_changed_by_its_id_and_never_created_twice() {
    let (receiver, context) = (receiver(false, "{}").await, context());
    let running = running(&receiver, &context, Options::default());
    // Nothing was created yet: what comes of the hire will be of the newest data.
    running.record(application(1));
    put(&running, &context, 1, "HIRE");
    running.record(application(2));
    put(&running, &context, 2, "UNHIRE");
    put(&running, &context, 3, "HIRE");
    settled(&running, "all of them", 4).await;
    // The escaped id: it is the receiver's, and stays within its segment.
    let person = "/in/people/p%2F1";
    let expected =
        ["POST /in/people".to_owned(), format!("PATCH {person}"), format!("PATCH {person}"), format!("PUT {person}")];
    assert_eq!(lines(&receiver), expected);
    assert_eq!(running.metric("hirewire_route_skipped_total"), 1, "an update of nothing is counted");
    running.end().await;

    // A crash before the offset was committed: the first hire comes again.
    let running = super::answers::running(&receiver, &context, Options::default());
    put(&running, &context, 1, "HIRE");
    settled(&running, "the hire that comes again", 2).await;
    assert_eq!(lines(&receiver), expected, "nothing is sent of what is done");
    running.end().await;
}

#[tokio::test]
async fn what_was_there_already_is_found_by_our_own_key() {
    let (receiver, context) = (receiver(true, r#"{"found": [{"id": 42}]}"#).await, context());
    let running = running(&receiver, &context, Options::default());
    put(&running, &context, 1, "HIRE");
    put(&running, &context, 2, "UNHIRE");
    settled(&running, "both", 3).await;
    assert_eq!(lines(&receiver), ["POST /in/people", "GET /in/people?filter=key%20eq%20a", "PATCH /in/people/42"]);
    assert!(!receiver.all()[1].headers.contains_key("content-type"));
    running.end().await;
}

#[tokio::test]
async fn somebody_elses_is_no_creation_of_ours() {
    let (receiver, context) = (receiver(true, r#"{"found": []}"#).await, context());
    let running = running(&receiver, &context, Options::default());
    put(&running, &context, 1, "HIRE");
    put(&running, &context, 2, "UNHIRE");
    settled(&running, "both", 3).await;
    assert_eq!(lines(&receiver), ["POST /in/people", "GET /in/people?filter=key%20eq%20a"]);
    assert_eq!(running.letters.put.lock().unwrap().len(), 1, "a person must look at the conflict");
    running.end().await;
}

/// The search for what was there is retried like anything else: until then nothing is settled.
#[tokio::test]
async fn a_search_that_fails_is_made_again() {
    let searches = Arc::new(Mutex::new(0));
    let seen = Arc::clone(&searches);
    let receiver = Receiver::start(move |body| match body {
        Value::Null => {
            *seen.lock().unwrap() += 1;
            if *seen.lock().unwrap() < 3 {
                Answer::Status(503)
            } else {
                Answer::Says(200, r#"{"found": [{"id": "x"}]}"#)
            }
        }
        _ => Answer::Says(409, "{}"),
    })
    .await;
    let context = context();
    let running = running(&receiver, &context, Options::default());
    put(&running, &context, 1, "HIRE");
    settled(&running, "found at last", 2).await;
    assert_eq!(*searches.lock().unwrap(), 3);
    assert!(running.letters.put.lock().unwrap().is_empty());
    running.end().await;
}

#[tokio::test]
async fn what_was_created_may_be_deleted_without_a_body() {
    let patch = "method: PATCH\n    path: /people/{created.id}\n    body: {fields: {active: {const: false}}}";
    let without = |method: &str| folder(patch, &format!("method: {method}\n    path: /people/{{created.id}}"));
    let refused = Systems::of_folder(without("PUT").path()).unwrap_err().to_string();
    assert!(refused.contains("`body` is missing"), "{refused}");
    let system = Systems::of_folder(without("DELETE").path()).unwrap().get("directory").unwrap();
    let receiver = Receiver::start(|body| match body {
        Value::Null => Answer::Status(204),
        _ => Answer::Says(201, r#"{"id": "7"}"#),
    })
    .await;
    let context = context();
    context.put_common();
    let options = Options { told: json!({"domain": "example.com"}), ..Options::default() };
    let running = run(&system, &receiver, &context, options);
    running.assign(&[0]);
    put(&running, &context, 1, "HIRE");
    put(&running, &context, 2, "UNHIRE");
    settled(&running, "both", 3).await;
    assert_eq!(lines(&receiver), ["POST /in/people", "DELETE /in/people/7"]);
    let last = receiver.all().pop().unwrap();
    assert!(last.raw.is_empty() && !last.headers.contains_key("content-type"), "{last:?}");
    assert!(last.headers.contains_key("idempotency-key"));
    running.end().await;
}
