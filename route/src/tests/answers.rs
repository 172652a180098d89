//! Answers that say more than their status, of a made-up directory of people.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use serde_json::json;

use super::support::{Answer, Context, Options, Receiver, Running, arrival, change, context, run, slot, until};
use super::walk::OFTEN;
use crate::deliver::outcome::HoldReason;
use crate::source::{Slot, SourceEvent};
use crate::system::{System, Systems, carried};

const DIRECTORY: &str = r#"
system: directory
summary: A made-up directory of people.
settings: {domain: of whom the people are}
answers:
  - {when: {status: 200, body.ok: true}, means: delivered, says: taken}
  - {when: {body.error: busy}, means: retry, says: it is busy}
  - {when: {body.error: no_token}, means: unauthorized, says: the token is not known}
  - {when: {body.ok: false}, means: refused, says: it does not take the person}
  - {when: {status: 200}, means: retry, says: the answer cannot be read}
requests:
  rehire:
    entity: stage-change
    when: {change_type: HIRE}
    updates: create
    method: PUT
    path: /people/{created.id}
    body: {fields: {active: {const: true}}}
  create:
    entity: stage-change
    when: {change_type: HIRE}
    creates:
      id: body.id
      find: {on: [409], path: /people, query: {filter: {join: [{const: key eq}, change.application_id]}}, id: 'body.found[0].id'}
    path: /people
    headers: {accept: application/json, content-type: application/scim+json}
    body: {fields: {application_id: change.application_id, domain: settings.domain}}
  leave:
    entity: stage-change
    when: {change_type: UNHIRE}
    updates: create
    method: PATCH
    path: /people/{created.id}
    body: {fields: {active: {const: false}}}
  update:
    entity: application
    when: {status: HIRED}
    updates: create
    method: PATCH
    path: /people/{created.id}
    body: {fields: {given: candidate.name.given}}
"#;

/// The folder of the directory, with something else in the place of a text.
pub(super) fn folder(from: &str, to: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let own = folder.path().join("directory");
    std::fs::create_dir(&own).unwrap();
    assert!(DIRECTORY.contains(from), "{from}");
    std::fs::write(own.join("sink.yaml"), DIRECTORY.replacen(from, to, 1)).unwrap();
    folder
}

fn directory(from: &str, to: &str) -> Result<Arc<System>, String> {
    let systems = Systems::of_folder(folder(from, to).path()).map_err(|problems| problems.to_string())?;
    Ok(systems.get("directory").unwrap())
}

/// A running sink of the directory that owns partition 0 of both topics.
pub(super) fn running(receiver: &Receiver, context: &Context, options: Options) -> Running {
    context.put_common();
    let options = Options { told: json!({"domain": "example.com"}), ..options };
    let running = run(&directory("", "").unwrap(), receiver, context, options);
    let applications = Slot { topic: "ats.application.v1".into(), partition: 0 };
    running.events.send(SourceEvent::Assigned(vec![slot(0), applications])).unwrap();
    running
}

fn reasons(running: &Running) -> Vec<String> {
    let letters = running.letters.put.lock().unwrap();
    let headers = letters.iter().flat_map(|letter| letter.headers.iter());
    let wanted = headers.filter(|(name, _)| name == "dlq.reason" || name == "__connect.errors.exception.message");
    wanted.map(|(_, value)| String::from_utf8(value.to_vec()).unwrap()).collect()
}

#[tokio::test]
async fn an_answer_200_that_says_no_is_no_delivery() {
    let mut answers = vec![
        Answer::Says(200, r#"{"ok": false, "error": "busy"}"#),
        Answer::Says(200, r#"{"ok": tr"#),
        Answer::Says(200, ""),
        Answer::Drip,
        Answer::Endless,
    ]
    .into_iter();
    let receiver = Receiver::start(move |body| match body["application_id"].as_str() {
        Some("refused") => Answer::Says(200, r#"{"ok": false, "error": "Ada is not welcome"}"#),
        _ => answers.next().unwrap_or(Answer::Says(200, r#"{"ok": true, "id": 7}"#)),
    })
    .await;
    let context = context();
    let running = running(&receiver, &context, Options::default());
    for (offset, application) in (0..).zip(["slow", "refused"]) {
        context.put_application(application);
        running.record(arrival(0, offset, application, &change(application, 1, "HIRE")));
    }
    until("both settled", || running.commits.head(0) == 2).await;
    assert_eq!(receiver.all().len(), 7, "five that were no delivery, and each record's end");
    assert_eq!(reasons(&running), ["HTTP 200: it does not take the person", "ROUTE_REJECTED"]);
    let sent = receiver.all().pop().unwrap();
    assert_eq!(
        (sent.headers["accept"].as_str(), sent.headers["content-type"].as_str()),
        ("application/json", "application/scim+json")
    );
    assert_eq!((sent.line.as_str(), &sent.body["domain"]), ("POST /in/people", &json!("example.com")));
    running.end().await;
}

/// Whether the status decides or the body: the sender does not wait for its end, nor hold what comes.
#[tokio::test]
async fn of_an_answer_without_an_end_no_more_is_read_than_the_bound() {
    // The bound of tests is 64 KiB; the rest is what the sockets between the two may hold.
    const READ: usize = 4 << 20;
    let context = context();
    context.put_application("a");
    let mut answers = vec![Answer::Endless].into_iter();
    let by_body =
        Receiver::start(move |_| answers.next().unwrap_or(Answer::Says(200, r#"{"ok": true, "id": 7}"#))).await;
    let by_status = Receiver::start(|_| Answer::Endless).await;
    let patient = || Options { timeout: Duration::from_secs(60), ..Options::default() };
    let rules = running(&by_body, &context, patient());
    let none = run(&carried("assessment"), &by_status, &context, patient());
    none.assign(&[0]);
    rules.record(arrival(0, 0, "a", &change("a", 1, "HIRE")));
    none.record(arrival(0, 0, "a", &change("a", 1, "STAGE")));
    until("both delivered", || rules.commits.head(0) == 1 && none.commits.head(0) == 1).await;
    assert_eq!(
        (by_body.all().len(), by_status.all().len()),
        (2, 1),
        "what is too long says nothing; a status says all"
    );
    for (what, receiver) in [("by its body", &by_body), ("by its status", &by_status)] {
        let poured = receiver.poured.load(Ordering::Relaxed);
        assert!(poured < READ, "{what}: {poured} bytes were taken");
    }
    rules.end().await;
    none.end().await;
}

#[tokio::test]
async fn an_answer_200_that_refuses_our_token_holds_the_sink() {
    let receiver = Receiver::start(|_| Answer::Says(200, r#"{"ok": false, "error": "no_token"}"#)).await;
    let context = context();
    let mut options = Options::default();
    options.limits.probes = OFTEN;
    let running = running(&receiver, &context, options);
    running.keep_gate();
    context.put_application("a");
    running.record(arrival(0, 0, "a", &change("a", 1, "HIRE")));
    until("held", || running.deliverer.gate.held() == Some(HoldReason::Unauthorized)).await;
    assert!(running.letters.put.lock().unwrap().is_empty(), "nothing is lost");
    receiver.answer(|_| Answer::Says(200, r#"{"ok": true, "id": "x"}"#));
    until("delivered", || running.commits.head(0) == 1).await;
    tokio::time::sleep(Duration::from_millis(1)).await;
    running.end().await;
}

#[test]
fn mistakes_of_a_system_are_refused_with_their_lines() {
    for (from, to, told) in [
        (
            "settings.domain",
            "settings.domian",
            "\"settings.domian\" is none of the system's `settings` (did you mean \"domain\"?)",
        ),
        (
            "updates: create\n    method: PUT",
            "method: PUT",
            "\"created.id\" is known to a request that updates another",
        ),
        (
            "updates: create\n    method: PUT",
            "updates: leave\n    method: PUT",
            "it updates what is created by \"leave\", which is no such request",
        ),
        ("accept: application/json", "authorization: x", "the header `authorization` is set elsewhere"),
        (
            "entity: application\n    when: {status: HIRED}",
            "entity: candidate",
            "what is created of a stage-change is not known of a candidate",
        ),
        ("means: retry, says: it is busy", "means: busy", "\"busy\" is not known here"),
    ] {
        let refused = directory(from, to).unwrap_err();
        assert!(refused.contains(told) && refused.contains("/directory/sink.yaml:"), "{refused}");
    }
}
