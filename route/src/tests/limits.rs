//! What a sink is asked of in a time: rate, circuit breaker, attempts, held keys, the flood of dead letters.

use std::time::Duration;

use serde_json::json;
use tokio::time::Instant;

use super::support::{Answer, Context, Options, Receiver, Running, arrival, change, context, retry, run, until};
use super::walk::OFTEN;
use crate::deliver::backoff::Retry;
use crate::deliver::gate::Probes;
use crate::deliver::limits::{FloodLimit, RateLimit};
use crate::deliver::outcome::HoldReason;
use crate::deliver::{Limits, OnRefusal};
use crate::system::carried;

/// Probes that do not come while a test lasts.
const NEVER: Probes = Probes { held: Duration::from_secs(600), breaker: Duration::from_secs(600) };

fn limits() -> Limits {
    Limits { retry: retry(), probes: OFTEN, ..Limits::default() }
}

/// A running sink of `assessment`, and one change of each of so many keys, `k0` the first, in partition 0.
async fn running(receiver: &Receiver, keys: i64, options: Options) -> (Running, Context) {
    let context = context();
    context.put_common();
    let running = run(&carried("assessment"), receiver, &context, options);
    running.keep_gate();
    running.assign(&[0]);
    for key in 0..keys {
        let application = format!("k{key}");
        context.put_application(&application);
        running.record(arrival(0, key, &application, &change(&application, 1, "STAGE")));
    }
    (running, context)
}

fn reasons(running: &Running) -> Vec<String> {
    let letters = running.letters.put.lock().unwrap();
    let headers = letters.iter().flat_map(|letter| letter.headers.iter());
    let reasons = headers.filter(|(name, _)| name == "dlq.reason");
    reasons.map(|(_, value)| String::from_utf8(value.to_vec()).unwrap()).collect()
}

#[tokio::test]
async fn a_route_may_hold_a_key_whose_record_is_refused_and_the_others_go_on() {
    let receiver = Receiver::start(|body| match body["application_id"].as_str() {
        Some("k0") => Answer::Status(400),
        _ => Answer::Status(200),
    })
    .await;
    let options = Options { limits: limits(), on_refusal: OnRefusal::Hold, ..Options::default() };
    let (running, _context) = running(&receiver, 10, options).await;
    running.record(arrival(0, 10, "k0", &change("k0", 2, "STAGE")));
    until("the other keys", || receiver.taken().len() == 9).await;
    until("the record to be tried again", || receiver.all().len() >= 12).await;
    assert!(running.letters.put.lock().unwrap().is_empty(), "nothing is a dead letter");
    assert_eq!((running.commits.head(0), running.metric("hirewire_route_keys_held")), (0, 1));
    assert!(receiver.all().iter().all(|received| received.body["stage"]["id"] != "s2"), "its later record waits");

    receiver.answer(|_| Answer::Status(200));
    until("all delivered", || running.commits.head(0) == 11).await;
    let of_key: Vec<String> =
        receiver.taken()[9..].iter().map(|received| received.body["stage"]["id"].to_string()).collect();
    assert_eq!(of_key, ["\"s1\"", "\"s2\""]);
    assert_eq!(running.metric("hirewire_route_keys_held"), 0);
    running.end().await;
}

#[tokio::test]
async fn a_record_is_given_up_after_so_many_attempts() {
    let receiver = Receiver::start(|_| Answer::Status(503)).await;
    let limits = Limits { retry: Retry { attempts: Some(3), ..retry() }, ..limits() };
    let (running, _context) = running(&receiver, 1, Options { limits, ..Options::default() }).await;
    until("given up", || running.commits.head(0) == 1).await;
    assert_eq!((receiver.all().len(), reasons(&running)), (3, vec!["ROUTE_RETRIES_EXHAUSTED".to_owned()]));
    running.end().await;
}

#[tokio::test]
async fn a_sink_is_called_no_more_often_than_its_rate_allows() {
    let receiver = Receiver::start(|_| Answer::Status(200)).await;
    let rate = RateLimit { attempts: 100, per: Duration::from_secs(1) };
    let started = Instant::now();
    let limits = Limits { rate: Some(rate), ..limits() };
    let (running, _context) = running(&receiver, 60, Options { limits, ..Options::default() }).await;
    until("all delivered", || running.commits.head(0) == 60).await;
    // 59 gaps of 10 ms, and the slack.
    assert!(started.elapsed() >= Duration::from_millis(570), "{:?}", started.elapsed());
    running.end().await;
}

#[tokio::test]
async fn the_breaker_opens_when_many_deliveries_fail_and_one_probe_at_a_time_is_made() {
    let receiver = Receiver::start(|_| Answer::Status(500)).await;
    let limits = Limits { breaker: 5, ..limits() };
    let (running, _context) = running(&receiver, 40, Options { limits, ..Options::default() }).await;
    until("the breaker to open", || running.metric("hirewire_route_breaker_open") == 1).await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    let (before, started) = (receiver.all().len(), Instant::now());
    until("probes", || receiver.all().len() >= before + 4).await;
    assert!(started.elapsed() >= Duration::from_millis(120), "one probe in 50 ms: {:?}", started.elapsed());
    assert_eq!(running.deliverer.gate.held(), Some(HoldReason::Failing));
    assert_eq!(running.metric("hirewire_route_sink_held"), 0, "nobody has to mend anything here");

    receiver.answer(|_| Answer::Status(200));
    until("all delivered", || running.commits.head(0) == 40).await;
    assert_eq!((receiver.taken().len(), running.metric("hirewire_route_breaker_open")), (40, 0));
    running.end().await;
}

#[tokio::test]
async fn one_key_that_always_fails_does_not_open_the_breaker() {
    let receiver = Receiver::start(|_| Answer::Status(500)).await;
    let limits = Limits { breaker: 2, ..limits() };
    let (running, _context) = running(&receiver, 1, Options { limits, ..Options::default() }).await;
    until("many failures", || receiver.all().len() >= 10).await;
    assert_eq!(running.deliverer.gate.held(), None);
    receiver.answer(|_| Answer::Status(200));
    until("delivered", || running.commits.head(0) == 1).await;
    running.end().await;
}

#[tokio::test]
async fn a_flood_of_refusals_holds_the_sink_until_one_is_taken() {
    let receiver = Receiver::start(|_| Answer::Status(400)).await;
    let flood = FloodLimit { most: 5, within: Duration::from_secs(600) };
    let limits = Limits { dead_letters: flood, ..limits() };
    let (running, _context) = running(&receiver, 40, Options { limits, ..Options::default() }).await;
    until("held", || running.deliverer.gate.held() == Some(HoldReason::Flood)).await;
    let before = receiver.all().len();
    until("probes that are refused too", || receiver.all().len() >= before + 3).await;
    assert_eq!(running.letters.put.lock().unwrap().len(), 5);
    assert_eq!(running.metric("hirewire_route_sink_held"), 1);

    receiver.answer(|_| Answer::Status(200));
    until("all settled", || running.commits.head(0) == 40).await;
    assert_eq!((receiver.taken().len(), running.letters.put.lock().unwrap().len()), (35, 5), "nothing is lost");
    assert_eq!(running.metric("hirewire_route_sink_held"), 0);
    running.end().await;
}

/// Also what never came to an attempt: bytes that nobody can read.
#[tokio::test]
async fn a_flood_of_unreadable_records_holds_the_sink_and_its_partition() {
    let receiver = Receiver::start(|_| Answer::Status(200)).await;
    let flood = FloodLimit { most: 2, within: Duration::from_secs(600) };
    let limits = Limits { dead_letters: flood, probes: NEVER, ..limits() };
    let (running, context) = running(&receiver, 0, Options { limits, ..Options::default() }).await;
    for offset in 0..6 {
        let mut broken = arrival(0, offset, &format!("b{offset}"), &json!({}));
        broken.value = Some(bytes::Bytes::from_static(b"\0\0\0\0\x07{"));
        running.record(broken);
    }
    until("held", || running.deliverer.gate.held() == Some(HoldReason::Flood)).await;
    context.put_application("good");
    running.record(arrival(0, 6, "good", &change("good", 1, "STAGE")));
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(reasons(&running), ["ROUTE_UNDECODABLE", "ROUTE_UNDECODABLE"]);
    assert!(running.commits.head(0) <= 2 && receiver.all().is_empty(), "what comes after waits");
    running.end().await;
}
