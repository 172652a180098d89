//! A vendor that fails: nothing skipped, nothing kept twice, and no cursor past what was not read.

use std::time::{Duration, Instant};

use super::super::probe::{Probed, probe};
use super::vendor::Fault;
use super::*;

async fn vendor_with(rows: u64) -> (Vendor, Vec<String>) {
    let vendor = Vendor::start().await;
    let all = (1..=rows).map(|id| vendor.put("jobs", id, ago(1000))).collect();
    (vendor, all)
}

fn status(status: u16) -> Fault {
    Fault::Status(status, Vec::new())
}

#[tokio::test]
async fn passing_faults_of_any_page_skip_nothing_and_double_nothing() {
    let faults = || {
        [
            status(429),
            status(500),
            status(503),
            Fault::CutBody,
            Fault::CutConnection,
            Fault::Body("{\"errors\":[]}"),
            Fault::Body("<html>"),
        ]
    };
    for page in 0..3 {
        for fault in faults() {
            let (vendor, all) = vendor_with(8).await;
            vendor.fault(std::iter::repeat_n(Fault::None, page).chain([fault.clone(), fault.clone()]));
            let ledger = Arc::new(Ledger::default());
            let connection = connection(&vendor, "");
            poller(&connection, &ledger, &HashMap::new()).one_round().await;
            assert_eq!(sorted(ledger.bodies()), sorted(all), "{fault:?} on page {page}");
        }
    }
}

#[tokio::test]
async fn retry_after_is_waited_for() {
    let (vendor, all) = vendor_with(2).await;
    let soon = |seconds: i64| Timestamp::from_second(Timestamp::now().as_second() + seconds).unwrap();
    vendor.fault([
        Fault::Status(429, vec![("retry-after", "0.3".into())]),
        Fault::Status(503, vec![("retry-after", "0.3".into())]),
        Fault::Status(429, vec![("x-ratelimit-reset", soon(1).as_second().to_string())]),
    ]);
    let ledger = Arc::new(Ledger::default());
    let connection = connection(&vendor, "");
    let started = Instant::now();
    poller(&connection, &ledger, &HashMap::new()).one_round().await;
    assert!(started.elapsed() >= Duration::from_millis(600));
    assert_eq!(sorted(ledger.bodies()), sorted(all));
}

#[tokio::test]
async fn a_limit_that_is_spent_is_waited_for_before_it_is_exceeded() {
    let (vendor, all) = vendor_with(8).await;
    let reset = Timestamp::now().as_second() + 2;
    vendor.with(|account| {
        account.headers = vec![("x-ratelimit-remaining", "0".into()), ("x-ratelimit-reset", reset.to_string())];
    });
    let ledger = Arc::new(Ledger::default());
    let connection = connection(&vendor, "");
    poller(&connection, &ledger, &HashMap::new()).one_round().await;
    assert!(Timestamp::now().as_second() >= reset - 1, "the Date header has whole seconds only");
    assert_eq!(sorted(ledger.bodies()), sorted(all));
}

#[tokio::test]
async fn a_token_that_ends_between_pages_is_replaced_once_and_the_page_asked_again() {
    let (vendor, all) = vendor_with(8).await;
    let ledger = Arc::new(Ledger::default());
    let connection = connection(&vendor, "");
    let mut poller = poller(&connection, &ledger, &HashMap::new());
    // Another client of the account takes a token: ours, taken first, is good no more.
    let watcher = vendor.clone();
    let revoke = tokio::spawn(async move {
        while watcher.with(|account| account.requests.len()) < 2 {
            tokio::task::yield_now().await;
        }
        watcher.with(|account| account.good_token = Some(99));
    });
    poller.one_round().await;
    revoke.await.unwrap();
    assert_eq!(sorted(ledger.bodies()), sorted(all));
    assert_eq!(vendor.with(|account| account.tokens), 2);
}

#[tokio::test]
async fn a_token_is_renewed_before_its_end() {
    let (vendor, _) = vendor_with(1).await;
    vendor.with(|account| account.token_life = SignedDuration::from_secs(-2));
    let ledger = Arc::new(Ledger::default());
    let connection = connection(&vendor, "");
    poller(&connection, &ledger, &HashMap::new()).one_round().await;
    assert_eq!(vendor.with(|account| account.tokens), 4, "one for each list");
}

#[tokio::test]
async fn revoked_credentials_move_no_cursor_cause_no_storm_and_heal() {
    let (vendor, all) = vendor_with(4).await;
    vendor.with(|account| account.good_token = None);
    let ledger = Arc::new(Ledger::default());
    let connection = connection(&vendor, "");
    let registry = prometheus::Registry::new();
    let mut poller = poller_that_counts(&connection, &ledger, &HashMap::new(), &registry);
    for _ in 0..3 {
        assert!(poller.one_round().await);
    }
    assert!(ledger.committed.lock().unwrap().is_empty());
    let failures = shown(&registry, "poll_failures_total");
    assert_eq!(
        failures,
        ["reason=poll-credentials,vendor=greenhouse} 3"],
        "one for each round: the other lists are not tried"
    );
    assert_eq!(shown(&registry, "poll_failing_lists"), ["connection=acme} 1"]);
    assert_eq!(shown(&registry, "poll_list_failing"), ["connection=acme,reason=poll-credentials,stream=jobs} 1"]);
    vendor.with(|account| account.good_token = Some(0));
    poller.one_round().await;
    assert_eq!(sorted(ledger.bodies()), sorted(all));
    assert_eq!(shown(&registry, "poll_failing_lists"), ["connection=acme} 0"]);
    assert_eq!(shown(&registry, "poll_list_failing"), [""; 0]);
}

#[tokio::test]
async fn a_list_that_fails_for_long_is_left_and_the_others_go_on() {
    for fault in [status(403), status(404), status(500), Fault::CutBody, status(302)] {
        let (vendor, all) = vendor_with(4).await;
        let other = vendor.put("files", 1, ago(100));
        vendor.with(|account| drop(account.broken.insert("jobs".into(), fault.clone())));
        let ledger = Arc::new(Ledger::default());
        let connection = connection(&vendor, "attempts: 2");
        let mut poller = poller(&connection, &ledger, &HashMap::new());
        poller.one_round().await;
        assert!(!ledger.cursors().contains_key("acme/jobs"), "{fault:?}");
        assert_eq!(ledger.bodies(), [other], "{fault:?}");
        vendor.with(|account| account.broken.clear());
        poller.one_round().await;
        assert_eq!(sorted(ledger.bodies()), sorted(all), "{fault:?}");
    }
}

#[tokio::test]
async fn pages_that_go_round_stop_the_list_where_it_is_until_they_do_not() {
    let (vendor, all) = vendor_with(8).await;
    vendor.fault([Fault::None, Fault::Circle, Fault::None, Fault::None, Fault::None]);
    let ledger = Arc::new(Ledger::default());
    let connection = connection(&vendor, "");
    let mut poller = poller(&connection, &ledger, &HashMap::new());
    poller.one_round().await;
    let cursor = &ledger.cursors()["acme/jobs"];
    assert!(!cursor.complete && cursor.next_page.is_some(), "{cursor:?}");
    let mut kept = ledger.bodies();
    assert_eq!(kept.len(), 3, "the page before the circle");
    poller.one_round().await;
    kept.extend(ledger.bodies());
    assert_eq!(sorted(kept), sorted(all));
}

#[tokio::test]
async fn a_page_that_the_vendor_forgot_begins_the_window_again() {
    let (vendor, all) = vendor_with(8).await;
    let ledger = Arc::new(Ledger::default());
    let connection = connection(&vendor, "");
    let mut poller = poller(&connection, &ledger, &HashMap::new());
    vendor.fault([Fault::None, Fault::None, status(403)]);
    poller.one_round().await;
    assert!(ledger.cursors()["acme/jobs"].next_page.is_some());
    vendor.with(|account| account.generation += 1);
    poller.one_round().await;
    let kept: std::collections::BTreeSet<String> = ledger.bodies().into_iter().collect();
    assert_eq!(kept.into_iter().collect::<Vec<_>>(), sorted(all));
}

#[tokio::test]
async fn a_broker_that_does_not_commit_moves_nothing_and_is_asked_again() {
    let vendor = Vendor::start().await;
    // Within the overlap: what is marked as kept too early would be left out the second time.
    let all: Vec<String> = (1..=4).map(|id| vendor.put("jobs", id, ago(5))).collect();
    let ledger = Arc::new(Ledger::default());
    *ledger.answers.lock().unwrap() = vec![NotCommitted::Again("a test".into()); 2];
    let connection = connection(&vendor, "");
    poller(&connection, &ledger, &HashMap::new()).one_round().await;
    assert_eq!(sorted(ledger.bodies()), sorted(all));
}

#[tokio::test]
async fn a_poller_that_was_fenced_stops_and_one_whose_page_is_refused_leaves_the_list() {
    let (vendor, _) = vendor_with(4).await;
    let ledger = Arc::new(Ledger::default());
    let connection = connection(&vendor, "");
    *ledger.answers.lock().unwrap() = vec![NotCommitted::Fenced];
    assert!(!poller(&connection, &ledger, &HashMap::new()).one_round().await);
    assert!(ledger.bodies().is_empty());
    *ledger.answers.lock().unwrap() = vec![NotCommitted::Refused("too large".into())];
    assert!(poller(&connection, &ledger, &HashMap::new()).one_round().await);
    assert!(!ledger.cursors().contains_key("acme/jobs"));
}

#[tokio::test]
async fn run_ends_at_once_when_it_is_told_to_stop_whatever_it_waits_for() {
    let (vendor, _) = vendor_with(4).await;
    vendor.fault([Fault::Status(429, vec![("retry-after", "600".into())])]);
    let ledger = Arc::new(Ledger::default());
    let connection = connection(&vendor, "");
    let poller = poller(&connection, &ledger, &HashMap::new());
    let stop = poller.stop.clone();
    let running = tokio::spawn(poller.run());
    while vendor.with(|account| account.requests.is_empty()) {
        tokio::task::yield_now().await;
    }
    stop.request();
    tokio::time::timeout(Duration::from_secs(5), running).await.unwrap().unwrap();
}

/// What `hirewire doctor` asks.
#[tokio::test]
async fn a_probe_asks_for_one_page_keeps_nothing_and_tells_by_its_code_why_it_got_none() {
    let (vendor, _) = vendor_with(4).await;
    let connection = connection(&vendor, "");
    let Some(Probed::Answered { list, clock_ahead_secs }) = probe(&connection).await else { panic!("no answer") };
    assert_eq!(list, "jobs");
    assert!(clock_ahead_secs.is_none_or(|ahead| ahead.abs() <= 2), "{clock_ahead_secs:?}");
    vendor.with(|account| account.good_token = None);
    let Some(Probed::Failed { code, .. }) = probe(&connection).await else { panic!("an answer") };
    assert_eq!(code, "poll-credentials");
}
