//! Requests in steps, of a made-up assessment service: in order, each once, resumed at the one that failed.

use std::sync::Arc;

use hirewire_schemas::Entity;
use serde_json::{Value, json};

use super::ground::{Ground, JOB, application_id, now};
use super::support::{Answer, Context, Options, Receiver, Running, arrival, change, context, run, slot, until};
use crate::created;
use crate::source::SourceEvent;
use crate::system::{System, Systems};

const TESTS: &str = r#"
system: tests
summary: A made-up assessment service.
answers:
  - {when: {body.error: closed}, means: forbidden, says: the account is closed}
requests:
  order:
    entity: stage-change
    when: {change_type: HIRE}
    requires: [candidate.name.given]
    steps:
      candidate:
        path: /candidates
        creates: {id: body.id}
        body: {fields: {given: candidate.name.given, key: delivery.key}}
      order:
        path: /candidates/{steps.candidate.id}/orders
        creates: {id: body.order.id}
        answers:
          - {when: {status: 202, body.state: queued}, means: retry, says: the candidate is not ready}
        body: {fields: {package: {const: all}}}
      notice:
        method: PUT
        path: /orders/{steps.order.id}/notice
        body: {fields: {candidate: steps.candidate.id, to: {each: candidate.emails, fields: {mail: value, order: /steps.order.id}}}}
  withdraw:
    entity: stage-change
    when: {change_type: UNHIRE}
    updates: order.candidate
    method: PATCH
    path: /candidates/{created.id}
    body: {fields: {withdrawn: {const: true}}}
"#;

fn folder(from: &str, to: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let own = folder.path().join("tests");
    std::fs::create_dir(&own).unwrap();
    assert!(TESTS.contains(from), "{from}");
    std::fs::write(own.join("sink.yaml"), TESTS.replacen(from, to, 1)).unwrap();
    folder
}

fn tests(from: &str, to: &str) -> Result<Arc<System>, String> {
    let systems = Systems::of_folder(folder(from, to).path()).map_err(|problems| problems.to_string())?;
    Ok(systems.get("tests").unwrap())
}

/// The service as it should be, but for a candidate's order, which is answered so.
fn service(order: Answer) -> impl FnMut(&Value) -> Answer + Send + 'static {
    move |body| match body {
        body if body["given"].is_string() => Answer::Says(201, r#"{"id": "c/1"}"#),
        body if body["package"].is_string() => order,
        _ => Answer::Status(204),
    }
}

const ORDERED: Answer = Answer::Says(201, r#"{"order": {"id": 7}}"#);

fn running(receiver: &Receiver, context: &Context) -> Running {
    running_by(&tests("", "").unwrap(), receiver, context)
}

fn running_by(system: &Arc<System>, receiver: &Receiver, context: &Context) -> Running {
    context.put_common();
    let running = run(system, receiver, context, Options::default());
    running.events.send(SourceEvent::Assigned(vec![slot(0)])).unwrap();
    running
}

fn put(running: &Running, context: &Context, sequence_no: i64, kind: &str) {
    context.put_application("a");
    running.record(arrival(0, sequence_no, "a", &change("a", sequence_no, kind)));
}

async fn settled(running: &Running, next: i64) {
    until("all settled", || running.commits.head(0) == next).await;
}

/// Lines and idempotency keys.
fn sent(receiver: &Receiver) -> (Vec<String>, Vec<String>) {
    receiver.all().into_iter().map(|one| (one.line, one.headers["idempotency-key"].clone())).unzip()
}

const CANDIDATE: &str = "POST /in/candidates";
const ORDER: &str = "POST /in/candidates/c%2F1/orders";
const NOTICE: &str = "PUT /in/orders/7/notice";

#[tokio::test]
async fn steps_come_in_order_each_once_and_name_what_those_before_have_told() {
    let (receiver, context) = (Receiver::start(service(ORDERED)).await, context());
    let running = running(&receiver, &context);
    put(&running, &context, 1, "HIRE");
    put(&running, &context, 2, "UNHIRE");
    settled(&running, 3).await;
    let (lines, keys) = sent(&receiver);
    assert_eq!(lines, [CANDIDATE, ORDER, NOTICE, "PATCH /in/candidates/c%2F1"]);
    assert!((1..keys.len()).all(|at| !keys[..at].contains(&keys[at])), "each step has a key of its own: {keys:?}");
    let bodies: Vec<Value> = receiver.all().into_iter().map(|one| one.body).collect();
    assert_eq!(bodies[2], json!({"candidate": "c/1", "to": [{"mail": "ada@example.com", "order": "7"}]}));
    assert!(!keys.contains(&bodies[0]["key"].as_str().unwrap().to_owned()), "that of the whole is the whole's");

    // A crash before the offset was committed: all of it is done.
    put(&running, &context, 1, "HIRE");
    tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    assert_eq!(receiver.all().len(), 4, "{:?}", sent(&receiver));
    running.end().await;
}

#[tokio::test]
async fn a_delivery_goes_on_at_the_step_that_failed_by_the_same_key() {
    let receiver = Receiver::start(service(Answer::Says(422, r#"{"error": "no such package"}"#))).await;
    let context = context();
    let running = running(&receiver, &context);
    put(&running, &context, 1, "HIRE");
    settled(&running, 2).await;
    let letter = running.letters.put.lock().unwrap()[0].clone();
    let told = |name: &str| {
        let found = letter.headers.iter().find(|(header, _)| header == name).unwrap();
        String::from_utf8(found.1.to_vec()).unwrap()
    };
    assert_eq!(told("__connect.errors.exception.message"), "step order: HTTP 422");
    assert_eq!(told("dlq.reason"), "ROUTE_REJECTED");
    running.end().await;

    // Mended, and sent again: as after a replay, or by the next owner after a crash.
    let mut answers = vec![Answer::Status(503), Answer::Says(202, r#"{"state": "queued"}"#), Answer::Reset].into_iter();
    receiver.answer(move |body| match body["package"].is_string() {
        true => answers.next().unwrap_or(ORDERED),
        false => Answer::Status(204),
    });
    let running = self::running(&receiver, &context);
    put(&running, &context, 1, "HIRE");
    settled(&running, 2).await;
    let (lines, keys) = sent(&receiver);
    assert_eq!(lines, [CANDIDATE, ORDER, ORDER, ORDER, ORDER, ORDER, NOTICE], "what is done is not done again");
    assert!(keys[1..6].iter().all(|key| *key == keys[1]), "each try of a step has its key: {keys:?}");
    running.end().await;
}

#[tokio::test]
async fn a_step_without_the_id_that_it_needs_is_not_made() {
    let in_body = ("/candidates/{steps.candidate.id}/orders\n", "/orders\n");
    let body = ("{fields: {package: {const: all}}}", "{fields: {package: steps.candidate.id}}");
    let all = TESTS.replacen(in_body.0, in_body.1, 1).replacen(body.0, body.1, 1);
    for system in [tests("", "").unwrap(), tests(TESTS, &all).unwrap()] {
        let receiver = Receiver::start(|_| Answer::Says(201, "{}")).await;
        let context = context();
        let running = running_by(&system, &receiver, &context);
        put(&running, &context, 1, "HIRE");
        settled(&running, 2).await;
        assert_eq!(sent(&receiver).0, [CANDIDATE]);
        {
            let letters = running.letters.put.lock().unwrap();
            let headers: Vec<&[u8]> = letters[0].headers.iter().map(|(_, value)| &**value).collect();
            assert!(headers.contains(&b"ROUTE_CONTEXT_MISSING".as_slice()), "{headers:?}");
            let why = b"a step cannot be made, for want of: steps.candidate.id".as_slice();
            assert!(headers.contains(&why), "{headers:?}");
        }
        running.end().await;
    }
}

/// The first owner is killed between two steps; the next one, on an empty disk, goes on at the second.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_next_owner_goes_on_at_the_step_that_a_kill_cut_off() {
    let ground = Ground::lay().await;
    let receiver = Receiver::start(service(Answer::Silence)).await;
    let systems = folder("", "");
    let config = format!(
        "sinks: {{tests: {{http: {{url: 'http://{}/in', allow: {{networks: ['127.0.0.0/8']}}}}}}}}\n\
         routes: {{tests: {{sink: tests}}}}\nroute: {{sinks_dir: {}}}\n",
        receiver.address,
        systems.path().display()
    );
    ground.put(Entity::Job, JOB, JOB, json!({"name": "Engineer"})).await;
    let first = ground.start(&config, &ground.folder.path().join("first")).await;
    ground.put_context(&application_id(0)).await;
    ground.put_change(&application_id(0), 1, "HIRE", now(), "WEBHOOK").await;
    until("the second step to be under way", || receiver.all().len() == 2).await;
    assert_eq!(ground.read_all(&ground.names.internal(created::TOPIC)).len(), 1, "the first one is safe");
    first.task.abort();

    receiver.answer(service(ORDERED));
    let second = ground.start(&config, &ground.folder.path().join("second")).await;
    until("the last step", || sent(&receiver).0.contains(&NOTICE.to_owned())).await;
    let (lines, keys) = sent(&receiver);
    let of =
        |line: &str| lines.iter().zip(&keys).filter(|(one, _)| *one == line).map(|(_, key)| key).collect::<Vec<_>>();
    assert_eq!(of(CANDIDATE).len(), 1, "{lines:?}");
    assert!(of(ORDER).len() >= 2 && of(ORDER).iter().all(|key| *key == of(ORDER)[0]), "{lines:?} {keys:?}");
    second.stop().await;
}

#[test]
fn mistakes_of_steps_are_refused_with_their_lines() {
    for (from, to, line, told) in [
        (
            "/candidates/{steps.candidate.id}/orders",
            "/candidates/{steps.order.id}/orders",
            17,
            "\"steps.order.id\" is told by no step before this one (`steps.candidate.id`)",
        ),
        (
            "{fields: {package: {const: all}}}",
            "{fields: {package: steps.candidate.name}}",
            17,
            "\"steps.candidate.name\" is told by no step before this one (`steps.candidate.id`)",
        ),
        (
            "requires: [candidate.name.given]",
            "requires: [steps.candidate.id]",
            8,
            "\"steps.candidate.id\" is told by no step before this one (a step tells an id by `creates: {id: …}`)",
        ),
        (
            "      notice:",
            "      no.tice:",
            22,
            "\"no.tice\" cannot be the name of a step (use letters, digits, _ and -)",
        ),
        ("method: PUT", "metod: PUT", 23, "unknown key \"metod\" (did you mean \"method\"?)"),
        ("    steps:", "    path: /x\n    steps:", 11, "unknown key \"path\""),
        ("updates: order.candidate", "updates: order.notice", 26, "it updates what is created by \"order.notice\""),
        (
            "    entity: stage-change\n    when: {change_type: HIRE}",
            "    entity: candidate",
            25,
            "what is created of a candidate is not known of a stage-change",
        ),
    ] {
        let refused = tests(from, to).unwrap_err();
        assert!(refused.contains(&format!("/tests/sink.yaml:{line}: {told}")), "{line} {told}\n{refused}");
    }
}
