//! What is read, in which window, and how it is kept.

use super::*;

#[tokio::test]
async fn the_first_round_reads_all_in_exact_bytes_and_the_next_only_what_changed() {
    let vendor = Vendor::start().await;
    let all: Vec<String> = (1..=10).map(|id| vendor.put("jobs", id, ago(1_000_000 - id as i64))).collect();
    let ledger = Arc::new(Ledger::default());
    let connection = connection(&vendor, "");
    let mut poller = poller(&connection, &ledger, &HashMap::new());
    assert!(poller.one_round().await);
    let rows = ledger.rows();
    assert_eq!(sorted(rows.iter().map(|row| row.3.clone()).collect()), sorted(all));
    assert!(rows.iter().all(|row| (row.0.as_str(), row.1.as_str()) == ("ats.raw.greenhouse.v1", "backfill")));

    let changed = vendor.put("jobs", 4, ago(0));
    tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    poller.one_round().await;
    assert_eq!(ledger.rows(), [("ats.raw.greenhouse.v1".into(), "poll".into(), "jobs".into(), changed)]);
}

#[tokio::test]
async fn the_first_request_has_the_window_and_each_later_one_the_cursor_alone() {
    let vendor = Vendor::start().await;
    (1..=7).for_each(|id| drop(vendor.put("posts", id, ago(100))));
    let ledger = Arc::new(Ledger::default());
    let connection = connection(&vendor, "");
    poller(&connection, &ledger, &HashMap::new()).one_round().await;
    let requests: Vec<String> = vendor.take_requests().into_iter().filter(|r| r.starts_with("posts")).collect();
    assert_eq!(requests.len(), 6, "two lists of three pages: {requests:?}");
    assert!(requests[0].starts_with("posts?per_page=500&all=true&active=true&updated_at=lte%7C20"), "{}", requests[0]);
    assert!(requests[1].starts_with("posts?cursor=") && !requests[1].contains('&'), "{}", requests[1]);
    assert!(requests[3].contains("active=false"));
}

#[tokio::test]
async fn parameters_ride_along_and_a_restricted_list_has_its_own_topic() {
    let vendor = Vendor::start().await;
    vendor.put("posts", 1, ago(100));
    vendor.put("files", 1, ago(100));
    let ledger = Arc::new(Ledger::default());
    let connection = connection(&vendor, "");
    poller(&connection, &ledger, &HashMap::new()).one_round().await;
    let committed = std::mem::take(&mut *ledger.committed.lock().unwrap());
    let rows: Vec<&Record> = committed.iter().flatten().filter(|record| record.partition.is_none()).collect();
    let header = |record: &Record, name: &str| {
        let found = record.headers.iter().find(|(header, _)| &**header == name);
        found.map(|(_, value)| String::from_utf8(value.to_vec()).unwrap())
    };
    assert_eq!(header(rows[0], "hirewire-request").unwrap(), r#"{"active":"true","all":"true"}"#);
    assert!(header(rows[0], "ce_id").unwrap().starts_with("acme/posts/1/20"));
    assert_eq!(header(rows[0], "ce_type").unwrap(), "hirewire.raw.backfill.posts");
    let file = rows.iter().find(|record| header(record, "hirewire-stream").as_deref() == Some("files")).unwrap();
    assert_eq!(&*file.topic, "ats.raw-restricted.greenhouse.v1");
    assert_eq!(header(file, "hirewire-request"), None);
    let parent = hirewire_schemas::ids::canonical_id("tenant", "acme", "Job", "7").to_string();
    assert_eq!(file.key.as_deref().unwrap(), parent.as_bytes(), "the parent is the subject");
}

#[tokio::test]
async fn a_row_that_shows_up_late_is_found_by_the_overlap_and_no_row_is_kept_twice() {
    let vendor = Vendor::start().await;
    vendor.put("jobs", 1, ago(5));
    vendor.put("jobs", 2, ago(10));
    let ledger = Arc::new(Ledger::default());
    let connection = connection(&vendor, "");
    let mut poller = poller(&connection, &ledger, &HashMap::new());
    poller.one_round().await;
    assert_eq!(ledger.bodies().len(), 2);
    // Written 8 s ago, visible only now.
    let late = vendor.put("jobs", 3, ago(8));
    for expected in [vec![late], vec![], vec![]] {
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        poller.one_round().await;
        assert_eq!(ledger.bodies(), expected);
    }
}

#[tokio::test]
async fn a_row_with_a_new_url_and_the_same_version_is_a_repetition_where_the_manifest_says_so() {
    let vendor = Vendor::start().await;
    vendor.put("files", 1, ago(5));
    vendor.put("jobs", 1, ago(5));
    let ledger = Arc::new(Ledger::default());
    let connection = connection(&vendor, "");
    let mut poller = poller(&connection, &ledger, &HashMap::new());
    poller.one_round().await;
    ledger.rows();
    vendor
        .with(|account| account.lists.values_mut().flatten().for_each(|row| row.body = row.body.replace(": 7", ": 8")));
    tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    poller.one_round().await;
    let streams: Vec<String> = ledger.rows().into_iter().map(|row| row.2).collect();
    assert_eq!(streams, ["jobs"], "other bytes are another row, but for files");
}

#[tokio::test]
async fn rows_with_one_and_the_same_time_over_many_pages_are_all_read() {
    let vendor = Vendor::start().await;
    let tie = ago(50);
    let all: Vec<String> = (1..=20).map(|id| vendor.put("jobs", id, tie)).collect();
    let ledger = Arc::new(Ledger::default());
    let connection = connection(&vendor, "");
    poller(&connection, &ledger, &HashMap::new()).one_round().await;
    assert_eq!(sorted(ledger.bodies()), sorted(all));
}

#[tokio::test]
async fn a_list_that_ignores_its_window_loses_nothing_repeats_nothing_and_is_counted() {
    let vendor = Vendor::start().await;
    vendor.with(|account| account.unfiltered.push("jobs".into()));
    vendor.put("jobs", 1, ago(1000));
    vendor.put("jobs", 2, ago(1000));
    let ledger = Arc::new(Ledger::default());
    let connection = connection(&vendor, "");
    let registry = prometheus::Registry::new();
    let mut poller = poller_that_counts(&connection, &ledger, &HashMap::new(), &registry);
    poller.one_round().await;
    assert_eq!(ledger.bodies().len(), 2);
    let round = async |poller: &mut Poller<Ledger>| {
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        poller.one_round().await;
        ledger.bodies().len()
    };
    assert_eq!(round(&mut poller).await, 2, "outside the window: kept, for nobody knows that it was read before");
    assert_eq!(round(&mut poller).await, 0, "from then on it is known");
    // Changed within a window that was read already: only a list that ignores its filter still shows it.
    vendor.put("jobs", 1, ago(500));
    assert_eq!(round(&mut poller).await, 1);
    assert_eq!(round(&mut poller).await, 0);
    assert_eq!(shown(&registry, "poll_outside_window_total"), ["stream=jobs,vendor=greenhouse} 8"]);
}

#[tokio::test]
async fn metrics_tell_when_a_list_was_read_how_new_it_is_and_when_the_vendor_takes_it_away() {
    let vendor = Vendor::start().await;
    vendor.with(|account| account.headers.push(("sunset", "Sun, 31 Jan 2027 00:00:00 GMT".to_owned())));
    let newest = ago(50);
    vendor.put("jobs", 1, newest);
    vendor.put("jobs", 2, ago(1000));
    let ledger = Arc::new(Ledger::default());
    let connection = connection(&vendor, "");
    let registry = prometheus::Registry::new();
    let mut poller = poller_that_counts(&connection, &ledger, &HashMap::new(), &registry);
    let before = Timestamp::now().as_second();
    poller.one_round().await;
    let seconds = |name: &str, labels: &str| -> i64 {
        let found = shown(&registry, name);
        let value = found.iter().find_map(|line| line.strip_prefix(labels)?.strip_prefix("} "));
        value.unwrap_or_else(|| panic!("no {name}{{{labels}}} in {found:?}")).parse().unwrap()
    };
    let jobs = "connection=acme,stream=jobs";
    assert!(seconds("poll_list_read_seconds", jobs) >= before);
    assert!(seconds("poll_read_seconds", "connection=acme") >= before);
    assert_eq!(seconds("poll_list_newest_seconds", jobs), newest.as_second());
    assert_eq!(seconds("poll_newest_seconds", "connection=acme"), newest.as_second());
    assert_eq!(seconds("poll_sunset_seconds", "stream=jobs,vendor=greenhouse"), 1_801_353_600);
    let settled = shown(&registry, "poll_list_settled_seconds");
    assert!(settled.iter().any(|line| line.starts_with("connection=acme,stream=posts?active=true} ")), "{settled:?}");
    // Taken back by the vendor, and an older row is no newer one.
    vendor.with(|account| account.headers.clear());
    vendor.put("jobs", 3, ago(900));
    tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    poller.one_round().await;
    assert_eq!(seconds("poll_list_newest_seconds", jobs), newest.as_second());
    assert_eq!(shown(&registry, "poll_sunset_seconds"), [""; 0]);
    // Another process polls now: what this one knew of the present misleads nobody.
    drop(poller);
    for gone in ["poll_settled_seconds", "poll_list_settled_seconds", "poll_failing_lists", "poll_backing_off"] {
        assert_eq!(shown(&registry, gone), [""; 0], "{gone}");
    }
    assert!(!shown(&registry, "poll_records_total").is_empty(), "counters stay");
}

#[tokio::test]
async fn a_vendor_whose_clock_is_behind_is_asked_by_its_own_clock() {
    let vendor = Vendor::start().await;
    vendor.with(|account| account.clock = -hours(2));
    let ledger = Arc::new(Ledger::default());
    let connection = connection(&vendor, "");
    let mut poller = poller(&connection, &ledger, &HashMap::new());
    vendor.put("files", 1, ago(2 * 3600 + 60));
    poller.one_round().await;
    let cursors = ledger.cursors();
    // The very first list was asked for before the vendor's clock was known.
    for list in ["acme/jobs", "acme/posts?active=true", "acme/files"] {
        let end = Timestamp::from_microsecond(cursors[list].window_to).unwrap();
        assert!(end < ago(2 * 3600 - 5), "{list} {end}");
    }
    assert_eq!(ledger.bodies().len(), 1);
}

#[tokio::test]
async fn an_empty_window_moves_on_without_a_write_each_round() {
    let vendor = Vendor::start().await;
    let ledger = Arc::new(Ledger::default());
    let connection = connection(&vendor, "");
    let mut poller = poller(&connection, &ledger, &HashMap::new());
    poller.one_round().await;
    assert_eq!(ledger.committed.lock().unwrap().len(), 4, "the first run ends with a cursor for each list");
    for _ in 0..5 {
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        poller.one_round().await;
    }
    assert_eq!(ledger.committed.lock().unwrap().len(), 4 + 4, "the first of the rounds after it, once for each list");
}
