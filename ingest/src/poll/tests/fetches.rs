//! What events named is fetched: at least once, and once for what waits together.

use super::vendor::Fault;
use super::*;
use crate::fetch::Wanted;

const MANIFEST: &str = r#"
vendor: greenhouse
webhook:
  signature: {none: {}}
  delivery_id: {field: id}
  event: event
  subjects: {made: {Job: job}}
  fetch: {made: {jobs: job, notes: job}}
api:
  base_url: https://vendor.example/v3
  auth: {oauth2_client_credentials: {token_url: "https://vendor.example/token", expires_at: expires_at}}
  paging: {link_cursor: {param: cursor}}
  lag: 0s
  overlap: 20s
  streams:
    jobs:
      subject: {Job: id}
      window: {param: updated_at, first: "lte|{to}", then: "gt|{from}|lte|{to}", field: updated_at}
      one: {path: "jobs/{id}", row: data.job, params: {expand: all}}
    notes: {per: {job: jobs}, path: "jobs/{job}/notes"}
"#;

fn wanted(stream: &str, id: &str) -> Wanted {
    Wanted { stream: stream.to_owned(), id: id.to_owned(), params: Vec::new() }
}

/// A vendor that knows one job, and a poller that read all lists.
async fn start(ledger: &Arc<Ledger>) -> (Vendor, Arc<Connection>, Poller<Ledger>) {
    let vendor = Vendor::start().await;
    vendor.with(|account| {
        drop(account.broken.insert("jobs/7".into(), Fault::Body("{\"data\":{\"job\":{\"id\": 7, \"t\":\"}\"}}}")))
    });
    let connection = connection_by(MANIFEST, &vendor, "attempts: 2");
    let mut poller = poller(&connection, ledger, &HashMap::new());
    poller.one_round().await;
    ledger.committed.lock().unwrap().clear();
    vendor.take_requests();
    (vendor, connection, poller)
}

fn queue(poller: &Poller<Ledger>) -> Arc<Queue> {
    poller.fetches.as_ref().unwrap().queue.clone()
}

fn fetched(vendor: &Vendor) -> Vec<String> {
    vendor.take_requests().into_iter().filter(|request| request.starts_with("jobs/")).collect()
}

fn offset(ledger: &Ledger) -> Option<String> {
    ledger.cursors().get("acme/@fetch").and_then(|cursor| cursor.next_page.clone())
}

#[tokio::test]
async fn a_row_is_kept_byte_for_byte_with_the_offset_behind_its_request() {
    let ledger = Arc::new(Ledger::default());
    let (vendor, _, mut poller) = start(&ledger).await;
    let note = vendor.put("jobs/7/notes", 1, ago(9));
    queue(&poller).put(41, 0, wanted("jobs", "7"));
    queue(&poller).put(42, 0, wanted("notes", "7"));
    poller.one_round().await;
    assert_eq!(offset(&ledger).as_deref(), Some("43"));
    assert_eq!(ledger.committed.lock().unwrap()[0].len(), 3, "rows and offset together");
    let record = ledger.committed.lock().unwrap()[0][0].clone();
    assert_eq!(
        record.key.as_deref().unwrap(),
        hirewire_schemas::ids::canonical_id("tenant", "acme", "Job", "7").to_string().as_bytes()
    );
    let asked_by = |record: &Record| {
        let header = record.headers.iter().find(|(name, _)| &**name == "hirewire-asked-by");
        header.map(|(_, value)| String::from_utf8_lossy(value).into_owned())
    };
    assert_eq!(asked_by(&record).as_deref(), Some("event"), "so that nobody takes it for what a list has shown");
    let rows = ledger.rows();
    let of = |stream: &str| ("ats.raw.greenhouse.v1".to_owned(), "poll".to_owned(), stream.to_owned());
    let (jobs, notes) = (of("jobs"), of("notes"));
    assert_eq!(
        rows,
        [(jobs.0, jobs.1, jobs.2, "{\"id\": 7, \"t\":\"}\"}".to_owned()), (notes.0, notes.1, notes.2, note),]
    );
    assert_eq!(fetched(&vendor), ["jobs/7?expand=all", "jobs/7/notes?"]);
}

#[tokio::test]
async fn what_fails_is_asked_for_again_and_what_was_done_before_it_is_not() {
    let ledger = Arc::new(Ledger::default());
    let (vendor, connection, mut poller) = start(&ledger).await;
    vendor.with(|account| drop(account.broken.insert("jobs/8".into(), Fault::Status(503, Vec::new()))));
    for (offset, id) in [(5, "7"), (6, "8"), (7, "7")] {
        queue(&poller).put(offset, 0, wanted("jobs", id));
    }
    poller.one_round().await;
    assert_eq!(offset(&ledger).as_deref(), Some("6"), "the request that failed is not passed");
    assert_eq!(ledger.rows().len(), 1);
    vendor.with(|account| drop(account.broken.insert("jobs/8".into(), Fault::Body("{\"data\":{\"job\":{\"id\":8}}}"))));
    vendor.take_requests();
    poller.one_round().await;
    assert_eq!((offset(&ledger).as_deref(), fetched(&vendor).len()), (Some("8"), 1));

    // A restart goes on from there: what the topic shows again is not done again.
    let cursors = HashMap::from([("acme/@fetch".to_owned(), ledger.cursors().remove("acme/@fetch").unwrap())]);
    let mut poller = self::poller(&connection, &ledger, &cursors);
    assert_eq!(queue(&poller).next(), 8);
    for (offset, id) in [(6, "8"), (7, "7"), (8, "7")] {
        queue(&poller).put(offset, 0, wanted("jobs", id));
    }
    poller.one_round().await;
    assert_eq!(fetched(&vendor), ["jobs/7?expand=all"]);
}

#[tokio::test]
async fn what_the_vendor_does_not_know_or_refuses_stops_nothing_and_a_missing_scope_passes_nothing() {
    let ledger = Arc::new(Ledger::default());
    let (vendor, _, mut poller) = start(&ledger).await;
    let status = |id: u64, status| {
        vendor.with(|account| drop(account.broken.insert(format!("jobs/{id}"), Fault::Status(status, Vec::new()))))
    };
    status(404, 404);
    status(400, 400);
    for (offset, id) in [(1, "404"), (2, "400"), (3, ".."), (4, "7")] {
        queue(&poller).put(offset, 0, wanted("jobs", id));
    }
    poller.one_round().await;
    assert_eq!((offset(&ledger).as_deref(), ledger.bodies().len()), (Some("5"), 1));
    status(403, 403);
    queue(&poller).put(5, 0, wanted("jobs", "403"));
    poller.one_round().await;
    assert_eq!((offset(&ledger), queue(&poller).next()), (None, 6), "not committed: it is asked for again");
}

#[tokio::test]
async fn what_was_not_committed_is_fetched_again() {
    let ledger = Arc::new(Ledger::default());
    let (vendor, _, mut poller) = start(&ledger).await;
    ledger.answers.lock().unwrap().push(NotCommitted::Again("a test".to_owned()));
    queue(&poller).put(1, 0, wanted("jobs", "7"));
    poller.one_round().await;
    assert_eq!((ledger.bodies().len(), fetched(&vendor).len()), (1, 2));
}

#[tokio::test]
async fn an_event_does_not_wait_for_the_next_round() {
    let ledger = Arc::new(Ledger::default());
    let (vendor, _, _) = start(&ledger).await;
    let mut slow = Arc::into_inner(connection_by(MANIFEST, &vendor, "")).unwrap();
    slow.poll.as_mut().unwrap().interval = std::time::Duration::from_secs(3600);
    let poller = poller(&Arc::new(slow), &ledger, &HashMap::new());
    let (queue, stop) = (queue(&poller), poller.stop.clone());
    let running = tokio::spawn(poller.run());
    // Until the first round is over.
    while vendor.with(|account| account.requests.is_empty()) {
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    queue.put(1, 0, wanted("jobs", "7"));
    for _ in 0..1000 {
        if offset(&ledger).is_some() {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    assert_eq!(offset(&ledger).as_deref(), Some("2"));
    stop.request();
    running.await.unwrap();
}

#[tokio::test]
async fn many_requests_give_way_to_the_lists_and_none_is_left() {
    let ledger = Arc::new(Ledger::default());
    let (vendor, _, mut poller) = start(&ledger).await;
    let queue = queue(&poller);
    for offset in 0..120 {
        let id = format!("none-{offset}");
        vendor.with(|account| drop(account.broken.insert(format!("jobs/{id}"), Fault::Status(404, Vec::new()))));
        queue.put(offset, 0, wanted("jobs", &id));
    }
    vendor.put("jobs", 1, ago(0));
    tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    poller.turn = std::time::Duration::ZERO;
    poller.one_round().await;
    // A batch before each of the two lists.
    let requests = vendor.take_requests();
    let list = requests.iter().position(|request| request.starts_with("jobs?")).unwrap();
    assert_eq!((list, offset(&ledger).as_deref()), (50, Some("100")));
    tokio::time::timeout(std::time::Duration::from_secs(5), queue.filled()).await.unwrap();
    poller.one_round().await;
    assert_eq!(offset(&ledger).as_deref(), Some("120"));
}
