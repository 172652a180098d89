//! From a record to a receiver: order, retries, dead letters, hold, revocation, context.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use hirewire_schemas::Entity;
use hirewire_service::Secret;
use serde_json::{Value, json};

use super::support::{Answer, Options, Receiver, TRACE, arrival, by_key, change, context, retry, run, slot, until};
use crate::deliver::Limits;
use crate::deliver::backoff::Retry;
use crate::deliver::gate::Probes;
use crate::deliver::outcome::Code;
use crate::http::signing::Signing;
use crate::http::signing::standard::Signer;
use crate::source::SourceEvent;
use crate::system::carried;

pub(super) const OFTEN: Probes = Probes { held: Duration::from_millis(50), breaker: Duration::from_millis(50) };

/// RudderStack's test in small: 50 keys × 40 events over 10 partitions, with prescribed answers per key.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn prescribed_answers_cost_no_order_no_double_send_and_one_dead_letter_each() {
    const KEYS: usize = 50;
    const EVENTS: i64 = 40;
    let pool = [
        Answer::Status(200),
        Answer::Status(200),
        Answer::Status(200),
        Answer::Status(500),
        Answer::Throttle,
        Answer::Status(400),
        Answer::Reset,
    ];
    let mut dice = fastrand::Rng::with_seed(7);
    let mut script = || {
        let mut answers: VecDeque<Answer> = (0..EVENTS).map(|_| pool[dice.usize(0..pool.len())]).collect();
        // Silence costs the most time: one for each key.
        let silent = dice.usize(..answers.len());
        answers[silent] = Answer::Silence;
        answers
    };
    let scripts: HashMap<String, VecDeque<Answer>> = (0..KEYS).map(|key| (format!("a{key}"), script())).collect();
    let refusals: usize = scripts.values().flatten().filter(|answer| **answer == Answer::Status(400)).count();
    let receiver = Receiver::start(by_key(scripts)).await;
    let context = context();
    context.put_common();
    // A receiver on a busy machine must not answer after the sender has given up: it would count as answered.
    let patient = Options { timeout: Duration::from_secs(5), ..Options::default() };
    let running = run(&carried("assessment"), &receiver, &context, patient);
    running.assign(&(0..10).collect::<Vec<_>>());
    let mut offsets = [0_i64; 10];
    for sequence_no in 1..=EVENTS {
        for key in 0..KEYS {
            let application = format!("a{key}");
            if sequence_no == 1 {
                context.put_application(&application);
            }
            let partition = key % 10;
            let offset = offsets[partition];
            offsets[partition] += 1;
            let partition = i32::try_from(partition).unwrap();
            running.record(arrival(partition, offset, &application, &change(&application, sequence_no, "STAGE")));
        }
    }
    until("all heads committed", || (0..10).all(|p| running.commits.head(p) == offsets[usize::try_from(p).unwrap()]))
        .await;

    let mut last_done: HashMap<String, i64> = HashMap::new();
    let mut ended: HashMap<String, Answer> = HashMap::new();
    for received in receiver.all() {
        let application = received.application().to_owned();
        let stage = received.body["stage"]["id"].as_str().unwrap().trim_start_matches('s').parse::<i64>().unwrap();
        let last = last_done.entry(application).or_default();
        assert!(stage > *last || (stage == *last + 1), "an event came after a later one of its key");
        assert_eq!(stage, *last + 1, "an event overtook one that was not settled");
        let id = received.headers["idempotency-key"].clone();
        assert!(!ended.contains_key(&id), "a send after a final answer");
        if matches!(received.answered, Answer::Status(200 | 400)) {
            *last = stage;
            ended.insert(id, received.answered);
        }
    }
    assert_eq!(ended.len(), KEYS * usize::try_from(EVENTS).unwrap());
    let letters = running.letters.put.lock().unwrap().clone();
    assert_eq!(letters.len(), refusals, "each 400 is one dead letter");
    running.end().await;
}

#[tokio::test]
async fn a_dead_letter_is_untouched_and_says_why() {
    let receiver = Receiver::start(|_| Answer::Status(422)).await;
    let context = context();
    context.put_common();
    context.put_application("a");
    let running = run(&carried("assessment"), &receiver, &context, Options::default());
    *running.letters.away.lock().unwrap() = true;
    running.assign(&[3]);
    let original = arrival(3, 5, "a", &change("a", 1, "STAGE"));
    running.record(original.clone());
    until("one attempt", || receiver.all().len() == 1).await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(running.commits.head(3), 0, "while the dead-letter topic is away the partition waits");
    *running.letters.away.lock().unwrap() = false;
    until("commit", || running.commits.head(3) == 6).await;
    assert_eq!(receiver.all().len(), 1, "a refusal is not sent again");

    let letters = running.letters.put.lock().unwrap().clone();
    let [letter] = letters.as_slice() else { panic!("{letters:?}") };
    assert_eq!((&letter.key, &letter.value), (&original.key, &original.value));
    assert_eq!((letter.timestamp_ms, letter.partition), (original.timestamp_ms, 3));
    assert!(letter.headers.starts_with(&original.headers));
    let header = |name: &str| {
        let found = letter.headers.iter().find(|(header, _)| header == name).unwrap_or_else(|| panic!("{name}"));
        String::from_utf8(found.1.to_vec()).unwrap()
    };
    assert_eq!(header("__connect.errors.topic"), "ats.stage-change.v1");
    assert_eq!(header("__connect.errors.partition"), "3");
    assert_eq!(header("__connect.errors.offset"), "5");
    assert_eq!(header("__connect.errors.exception.message"), "HTTP 422");
    assert_eq!(header("dlq.reason"), Code::Rejected.name());
    assert_eq!(header("dlq.remedy"), Code::Rejected.remedy());
    assert_eq!(header("dlq.attempts"), "1");
    assert_eq!(header("dlq.destination"), "assessment");
    assert_eq!(header("dlq.schema_id"), "7");
    assert_eq!(letter.headers.iter().filter(|(name, _)| name.starts_with("__connect.errors.")).count(), 10);
    running.end().await;
}

#[tokio::test]
async fn undecodable_bytes_and_records_without_identity_are_dead_letters_and_the_key_goes_on() {
    let receiver = Receiver::start(|_| Answer::Status(200)).await;
    let context = context();
    context.put_common();
    context.put_application("a");
    let running = run(&carried("assessment"), &receiver, &context, Options::default());
    running.assign(&[0]);
    let mut broken = arrival(0, 0, "a", &json!({}));
    broken.value = Some(bytes::Bytes::from_static(b"\0\0\0\0\x07{"));
    running.record(broken);
    running.record(arrival(0, 1, "a", &json!({"meta": {}})));
    let mut panicking = arrival(0, 2, "a", &json!({}));
    panicking.value = Some(bytes::Bytes::from_static(b"\0\0\0\0\x07panic"));
    running.record(panicking);
    running.record(arrival(0, 3, "a", &change("a", 1, "STAGE")));
    until("all settled", || running.commits.head(0) == 4).await;
    let reasons: Vec<String> = running
        .letters
        .put
        .lock()
        .unwrap()
        .iter()
        .map(|letter| {
            let (_, value) = letter.headers.iter().find(|(name, _)| name == "dlq.reason").unwrap();
            String::from_utf8(value.to_vec()).unwrap()
        })
        .collect();
    assert_eq!(reasons, ["ROUTE_UNDECODABLE", "ROUTE_MALFORMED", "ROUTE_PANICKED"]);
    assert_eq!(receiver.taken().len(), 1);
    running.end().await;
}

#[tokio::test]
async fn a_sink_is_held_on_401_and_goes_on_when_its_secret_file_changes() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("token");
    std::fs::write(&path, "old").unwrap();
    let mut problems = hirewire_yaml::Problems::new();
    let node = hirewire_yaml::parse("s", &format!("{{file: {}}}", path.display())).unwrap();
    let token = Secret::read(&node, &mut problems).unwrap();
    let receiver = Receiver::start(|_| Answer::Status(401)).await;
    let context = context();
    context.put_common();
    let options = Options { auth: Some(crate::http::Auth::Bearer(token)), ..Options::default() };
    let running = run(&carried("assessment"), &receiver, &context, options);
    running.keep_gate();
    tokio::time::sleep(Duration::from_millis(20)).await;
    running.assign(&[0]);
    for offset in 0..6 {
        let application = format!("a{}", offset % 3);
        context.put_application(&application);
        running.record(arrival(0, offset, &application, &change(&application, offset / 3 + 1, "STAGE")));
    }
    until("held", || running.deliverer.gate.held().is_some()).await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    let before = receiver.all().len();
    assert!(before <= 3, "a held sink gets at most what was under way");
    assert!(running.letters.put.lock().unwrap().is_empty(), "nothing is lost");
    assert_eq!(running.commits.head(0), 0);

    receiver.answer(|_| Answer::Status(200));
    tokio::time::sleep(Duration::from_millis(1200)).await;
    assert_eq!(receiver.all().len(), before, "nothing changed, so nothing is sent");
    std::fs::write(&path, "the new one").unwrap();
    until("all delivered", || running.commits.head(0) == 6).await;
    assert_eq!(receiver.taken().len(), 6);
    assert!(receiver.taken().iter().all(|received| received.headers["authorization"] == "Bearer the new one"));
    running.end().await;
}

#[tokio::test]
async fn a_held_sink_goes_on_when_a_probe_gets_through() {
    let receiver = Receiver::start(|_| Answer::Status(403)).await;
    let context = context();
    context.put_common();
    context.put_application("a");
    let limits = Limits { retry: retry(), probes: OFTEN, ..Limits::default() };
    let running = run(&carried("assessment"), &receiver, &context, Options { limits, ..Options::default() });
    running.keep_gate();
    running.assign(&[0]);
    for offset in 0..4 {
        running.record(arrival(0, offset, "a", &change("a", offset + 1, "STAGE")));
    }
    until("probes", || receiver.all().len() >= 3).await;
    assert_eq!(running.commits.head(0), 0);
    receiver.answer(|_| Answer::Status(200));
    until("all delivered", || running.commits.head(0) == 4).await;
    running.end().await;
}

#[tokio::test]
async fn a_revocation_waits_for_the_attempt_under_way_and_starts_no_other() {
    let receiver = Receiver::start(|body| match body["application_id"].as_str() {
        Some("slow") => Answer::Silence,
        Some("failing") => Answer::Later,
        _ => Answer::Status(200),
    })
    .await;
    let context = context();
    context.put_common();
    let patient = Retry { longest_asked: Duration::from_secs(60), ..retry() };
    let limits = Limits { retry: patient, ..Limits::default() };
    // On a busy machine the slow attempt must still be under way when the partition is taken.
    let options = Options { timeout: Duration::from_secs(2), limits, ..Options::default() };
    let running = run(&carried("assessment"), &receiver, &context, options);
    running.assign(&[0, 1]);
    for (offset, application) in (0..).zip(["fine", "slow", "failing", "fine"]) {
        context.put_application(application);
        running.record(arrival(0, offset, application, &change(application, offset + 1, "STAGE")));
    }
    until("first commit, the slow one under way and the failing one in its back-off", || {
        let all = receiver.all();
        let came = |name: &str| all.iter().any(|received| received.application() == name);
        running.commits.head(0) == 1 && came("slow") && came("failing")
    })
    .await;
    let (done, mut revoked) = tokio::sync::oneshot::channel::<()>();
    running.events.send(SourceEvent::Revoked { slots: vec![slot(0)], done: Box::new(done) }).unwrap();
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert!(revoked.try_recv().is_err_and(|error| error == tokio::sync::oneshot::error::TryRecvError::Empty));
    let drained = tokio::time::timeout(Duration::from_secs(20), revoked).await;
    assert!(drained.expect("a back-off is not waited for").is_err(), "dropped, not sent");
    let sent = receiver.all().len();
    context.put_application("other");
    running.record(arrival(0, 9, "other", &change("other", 1, "STAGE")));
    running.record(arrival(1, 0, "other", &change("other", 2, "STAGE")));
    until("the partition that is still ours goes on", || running.commits.head(1) == 1).await;
    assert_eq!(receiver.all().len(), sent + 1, "nothing of the revoked partition was started");
    assert_eq!(running.commits.head(0), 1, "only the contiguous finished head");
    running.end().await;
}

#[tokio::test]
async fn a_hire_waits_for_its_offer_and_its_undoing_names_its_key() {
    let receiver = Receiver::start(|_| Answer::Status(200)).await;
    let context = context();
    context.put_common();
    context.put_application_alone("a");
    let signer = Signer::new(vec![Secret::from_value("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")]);
    let options = Options { signing: Some(Signing::Standard(signer.clone())), ..Options::default() };
    let running = run(&carried("onboarding"), &receiver, &context, options);
    running.assign(&[0]);
    let changes = [change("a", 1, "STAGE"), change("a", 2, "HIRE"), change("a", 3, "UNHIRE"), change("a", 4, "STAGE")];
    for (offset, change) in (0..).zip(&changes) {
        running.record(arrival(0, offset, "a", change));
    }
    let read = |change: &Value| context.put(Entity::StageChange, "a", change.clone());
    read(&changes[0]);
    read(&changes[1]);
    tokio::time::sleep(Duration::from_millis(150)).await;
    assert_eq!(receiver.all().len(), 0, "no hire goes out with a hole");
    assert_eq!(running.commits.head(0), 1);
    context.put_accepted_offer("a");
    until("the hire", || running.commits.head(0) == 2).await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(receiver.all().len(), 1, "its undoing waits until the ledger was read so far");
    read(&changes[2]);
    until("all settled", || running.commits.head(0) == 4).await;
    let all = receiver.all();
    let [hire, undone] = all.as_slice() else { panic!("{all:?}") };
    assert_eq!(hire.body["type"], "hire");
    assert_eq!(hire.body["start_date"], "2026-03-02");
    assert_eq!(undone.body["type"], "hire_cancelled");
    assert_eq!(undone.body["cancels"], hire.body["key"]);
    assert_eq!(hire.body["key"].as_str(), hire.headers.get("webhook-id").map(String::as_str));
    assert_eq!(hire.headers["traceparent"].get(3..35), TRACE.get(3..35), "one trace from webhook to sink");
    let at: i64 = hire.headers["webhook-timestamp"].parse().unwrap();
    assert_eq!(hire.headers["webhook-signature"], signer.sign(&hire.headers["webhook-id"], at, &hire.raw).unwrap());
    running.end().await;
}

#[tokio::test]
async fn what_never_comes_is_a_dead_letter_that_names_no_person() {
    let receiver = Receiver::start(|_| Answer::Status(200)).await;
    let context = context();
    context.put_common();
    context.put_application("a");
    let options = Options { requires_within: Duration::from_millis(50), ..Options::default() };
    let running = run(&carried("onboarding"), &receiver, &context, options);
    running.assign(&[0]);
    running.record(arrival(0, 0, "a", &change("a", 1, "HIRE")));
    until("settled", || running.commits.head(0) == 1).await;
    let letters = running.letters.put.lock().unwrap().clone();
    let text = format!("{:?}", letters[0].headers);
    assert!(text.contains("ROUTE_CONTEXT_MISSING") && text.contains("offer.accepted"), "{text}");
    assert!(!text.contains("Ada") && !text.contains("example.com"));
    running.end().await;
}

#[tokio::test]
async fn a_redirect_is_a_failure_and_never_followed() {
    let receiver = Receiver::start(|_| Answer::Redirect).await;
    let context = context();
    context.put_common();
    context.put_application("a");
    let running = run(&carried("assessment"), &receiver, &context, Options::default());
    running.assign(&[0]);
    running.record(arrival(0, 0, "a", &change("a", 1, "STAGE")));
    until("retries", || receiver.all().len() >= 2).await;
    assert!(receiver.all().iter().all(|received| received.body != Value::Null), "only the request itself came");
    receiver.answer(|_| Answer::Status(204));
    until("delivered", || running.commits.head(0) == 1).await;
    running.end().await;
}

#[tokio::test]
async fn a_status_decides_however_slow_or_long_the_rest_of_the_answer_is() {
    for answer in [Answer::Drip, Answer::Endless] {
        let receiver = Receiver::start(move |_| answer).await;
        let context = context();
        context.put_common();
        context.put_application("a");
        let running = run(&carried("assessment"), &receiver, &context, Options::default());
        running.assign(&[0]);
        let started = std::time::Instant::now();
        running.record(arrival(0, 0, "a", &change("a", 1, "STAGE")));
        until("delivered", || running.commits.head(0) == 1).await;
        assert!(started.elapsed() < Duration::from_secs(3));
        tokio::time::sleep(Duration::from_millis(100)).await;
        assert_eq!(receiver.all().len(), 1, "no send after a 2xx");
        running.end().await;
    }
}

#[tokio::test]
async fn a_resend_after_a_crash_carries_the_same_key() {
    let receiver = Receiver::start(|_| Answer::Status(200)).await;
    let context = context();
    context.put_common();
    context.put_application("a");
    for _ in 0..2 {
        let running = run(&carried("assessment"), &receiver, &context, Options::default());
        running.assign(&[0]);
        running.record(arrival(0, 0, "a", &change("a", 1, "STAGE")));
        until("delivered", || running.commits.head(0) == 1).await;
        running.end().await;
    }
    let keys: Vec<String> = receiver.all().iter().map(|received| received.headers["idempotency-key"].clone()).collect();
    assert_eq!(keys.len(), 2);
    assert_eq!(keys[0], keys[1]);
}
