//! The poller is killed at every commit, before it and after it, and another goes on from what was committed.

use std::time::Duration;

use super::*;

const ROWS: u64 = 11;
const PAGES: usize = 4;

#[tokio::test]
async fn killed_at_any_commit_the_next_poller_goes_on_and_nothing_is_lost_or_kept_twice() {
    for moment in [Moment::Before, Moment::After] {
        for commit in 0..PAGES + 3 {
            let vendor = Vendor::start().await;
            let all: Vec<String> = (1..=ROWS).map(|id| vendor.put("jobs", id, ago(1000))).collect();
            let ledger = Arc::new(Ledger { kill: Mutex::new(Some((commit, moment))), ..Ledger::default() });
            let connection = connection(&vendor, "");
            let first = tokio::spawn(poller(&connection, &ledger, &HashMap::new()).run());
            while !killed(&ledger) {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            first.abort();
            *ledger.kill.lock().unwrap() = None;
            let cursors = ledger.cursors();
            let mut kept = ledger.bodies();
            poller(&connection, &ledger, &cursors).one_round().await;
            kept.extend(ledger.bodies());
            assert_eq!(sorted(kept), sorted(all), "{moment:?} commit {commit}");
        }
    }
}

#[tokio::test]
async fn the_first_run_goes_on_as_first_run_with_the_end_that_it_had() {
    let vendor = Vendor::start().await;
    (1..=ROWS).for_each(|id| drop(vendor.put("jobs", id, ago(1000))));
    let ledger = Arc::new(Ledger { kill: Mutex::new(Some((1, Moment::After))), ..Ledger::default() });
    let connection = connection(&vendor, "");
    let first = tokio::spawn(poller(&connection, &ledger, &HashMap::new()).run());
    while !killed(&ledger) {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    first.abort();
    *ledger.kill.lock().unwrap() = None;
    let before = ledger.cursors();
    ledger.rows();
    // Changed after the window's end: not of this window, so of the next.
    let changed = vendor.put("jobs", 2, ago(0));
    tokio::time::sleep(Duration::from_millis(5)).await;
    let mut second = poller(&connection, &ledger, &before);
    second.one_round().await;
    let cursor = &ledger.cursors()["acme/jobs"];
    assert_eq!((cursor.window_to, cursor.complete), (before["acme/jobs"].window_to, true));
    assert!(ledger.rows().iter().all(|row| row.1 == "backfill" && row.3 != changed));
    second.one_round().await;
    assert_eq!(ledger.bodies(), [changed]);
}

/// Whether the commit that kills has been asked for.
fn killed(ledger: &Ledger) -> bool {
    matches!(*ledger.kill.lock().unwrap(), Some((0, _))) && ledger.dying()
}
