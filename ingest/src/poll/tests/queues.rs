//! A queue whose events are gone once they were handed out: each is kept at least once, whatever happens in between.

use std::collections::BTreeSet;
use std::time::Duration;

use hirewire_schemas::records::Fetch;

use super::house::{Fault, House};
use super::sessions::user_of;
use super::*;

/// Events that were kept, by their exact text.
fn events(ledger: &Ledger) -> Vec<String> {
    ledger.bodies().into_iter().filter(|body| body.contains("eventId")).collect()
}

fn position(ledger: &Ledger) -> Option<String> {
    ledger.cursors().get("acme/@queue").and_then(|cursor| cursor.next_page.clone())
}

/// A house with a queue, from which nothing was read yet, and so many events in it.
async fn house_with(events: u64) -> (House, Vec<String>) {
    let house = House::open().await;
    house.with(|rooms| rooms.queue = Some(Default::default()));
    let all = (1..=events).map(|number| house.event(number, "Job", number)).collect();
    (house, all)
}

/// As a process that read the queue before.
async fn read_before(house: &House, ledger: &Arc<Ledger>) -> (Arc<Connection>, HashMap<String, Cursor>) {
    let connection = user_of(house, "");
    poller(&connection, ledger, &HashMap::new()).one_round().await;
    let cursors = ledger.cursors();
    ledger.committed.lock().unwrap().clear();
    house.take_requests();
    (connection, cursors)
}

#[tokio::test]
async fn a_queue_is_made_and_its_position_kept_before_the_first_event_is_taken_from_it() {
    let house = House::open().await;
    let ledger = Arc::new(Ledger::default());
    poller(&user_of(&house, ""), &ledger, &HashMap::new()).one_round().await;
    let requests: Vec<String> =
        house.take_requests().into_iter().filter(|request| request.contains("events")).collect();
    assert_eq!(
        requests,
        ["GET /rest/events/acme/last", "PUT /rest/events/acme names=Job,Person", "GET /rest/events/acme"]
    );
    assert_eq!(position(&ledger).as_deref(), Some("0"));
}

#[tokio::test]
async fn events_are_kept_byte_for_byte_with_their_number_and_what_must_be_read_for_them() {
    let (house, _) = house_with(0).await;
    let ledger = Arc::new(Ledger::default());
    let (connection, cursors) = read_before(&house, &ledger).await;
    let all = [house.event(1, "Job", 7), house.event(2, "Person", 5), house.event(3, "Other", 1)];
    let mut poller = poller(&connection, &ledger, &cursors);
    poller.one_round().await;
    assert_eq!(position(&ledger).as_deref(), Some("2"));
    let committed: Vec<Vec<Record>> = ledger.committed.lock().unwrap().clone();
    // The login keeps its token first, alone.
    let committed: Vec<_> = committed.into_iter().filter(|records| records.len() > 1).collect();
    assert_eq!(committed[0].len(), 4, "two events, a request, the number");
    let header = |record: &Record, name: &str| {
        record
            .headers
            .iter()
            .find(|(known, _)| &**known == name)
            .map(|(_, value)| String::from_utf8_lossy(value).into_owned())
    };
    let first = &committed[0][0];
    assert_eq!(header(first, "ce_id").as_deref(), Some("acme/e-1"));
    assert_eq!((header(first, "hirewire-event").as_deref(), header(first, "hirewire-stream")), (Some("Job"), None));
    let key = |record: &str, id: &str| hirewire_schemas::ids::canonical_id("tenant", "acme", record, id).to_string();
    assert_eq!(first.key.as_deref().unwrap(), key("Job", "7").as_bytes());
    assert_eq!(committed[0][1].key.as_deref().unwrap(), key("Candidate", "5").as_bytes());
    let request = &committed[0][2];
    let schema = hirewire_schemas::schema("Fetch").unwrap();
    let fetch: Fetch = decode(schema, request.value.as_ref().unwrap().get(5..).unwrap()).unwrap();
    assert_eq!((fetch.resource.as_str(), fetch.remote_id.as_str()), ("jobs", "7"));
    assert_eq!(request.key.as_deref().unwrap(), b"acme", "it comes back to whoever polls the connection");
    assert_eq!(events(&ledger), all);
}

#[tokio::test]
async fn killed_at_any_commit_the_next_poller_reads_again_what_was_handed_out_and_no_event_is_lost() {
    for moment in [Moment::Before, Moment::After] {
        // Two of the login, and one for each of four batches.
        for commit in 0..6 {
            let (house, _) = house_with(0).await;
            let ledger = Arc::new(Ledger::default());
            let (connection, cursors) = read_before(&house, &ledger).await;
            let all: Vec<String> = (1..=7).map(|number| house.event(number, "Person", number)).collect();
            *ledger.kill.lock().unwrap() = Some((commit, moment));
            let first = tokio::spawn(poller(&connection, &ledger, &cursors).run());
            while !ledger.dying() {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            first.abort();
            *ledger.kill.lock().unwrap() = None;
            let mut left = cursors;
            left.extend(ledger.cursors());
            let mut kept = events(&ledger);
            poller(&connection, &ledger, &left).one_round().await;
            kept.extend(events(&ledger));
            let kept: BTreeSet<String> = kept.into_iter().collect();
            assert_eq!(kept, all.into_iter().collect(), "{moment:?} commit {commit}");
        }
    }
}

#[tokio::test]
async fn an_answer_that_is_lost_on_its_way_is_asked_for_again_by_its_number() {
    let (house, _) = house_with(0).await;
    let ledger = Arc::new(Ledger::default());
    let (connection, cursors) = read_before(&house, &ledger).await;
    let all: Vec<String> = (1..=5).map(|number| house.event(number, "Person", number)).collect();
    house.fault("GET /rest/events/acme", Fault::Status(500));
    house.fault("GET /rest/events/acme", Fault::Lost);
    let mut poller = poller(&connection, &ledger, &cursors);
    // The first fault meets the question for the last number, the second the batch.
    poller.one_round().await;
    assert_eq!(events(&ledger), all, "in their order, each once");
    assert!(house.count("GET /rest/events/acme batch=1") == 0, "the number, not the batch, was lost");
    house.event(6, "Person", 6);
    house.fault("GET /rest/events/acme", Fault::Lost);
    tokio::time::sleep(Duration::from_millis(15)).await;
    poller.one_round().await;
    assert_eq!(events(&ledger).len(), 1);
    assert_eq!(house.count("GET /rest/events/acme batch=4"), 1);
}

#[tokio::test]
async fn what_was_not_committed_is_read_again_before_anything_else() {
    let (house, _) = house_with(0).await;
    let ledger = Arc::new(Ledger::default());
    let (connection, cursors) = read_before(&house, &ledger).await;
    let all: Vec<String> = (1..=4).map(|number| house.event(number, "Person", number)).collect();
    let mut poller = poller(&connection, &ledger, &cursors);
    // The login keeps its token twice first.
    ledger.skip.store(2, std::sync::atomic::Ordering::SeqCst);
    ledger.answers.lock().unwrap().push(NotCommitted::Again("a test".to_owned()));
    poller.one_round().await;
    assert_eq!(events(&ledger), all);
    assert_eq!(house.count("GET /rest/events/acme batch=1"), 1);
}

#[tokio::test]
async fn a_batch_that_the_vendor_does_not_give_again_is_told_and_holds_nothing_up() {
    let (house, _) = house_with(0).await;
    let ledger = Arc::new(Ledger::default());
    let (connection, cursors) = read_before(&house, &ledger).await;
    house.with(|rooms| {
        let queue = rooms.queue.as_mut().unwrap();
        queue.last = 2;
        queue.handed.insert(2, vec!["{\"eventId\":\"e-9\",\"name\":\"Person\",\"id\":9}".to_owned()]);
    });
    let registry = prometheus::Registry::new();
    poller_that_counts(&connection, &ledger, &cursors, &registry).one_round().await;
    assert_eq!((position(&ledger).as_deref(), events(&ledger).len()), (Some("2"), 1));
    let failed = shown(&registry, "poll_failures_total");
    assert!(failed.iter().any(|line| line.contains("poll-queue-gap")), "{failed:?}");
}

#[tokio::test]
async fn a_queue_that_counts_anew_is_told_and_read_from_there() {
    let (house, _) = house_with(4).await;
    let ledger = Arc::new(Ledger::default());
    let (connection, cursors) = read_before(&house, &ledger).await;
    assert_eq!(cursors["acme/@queue"].next_page.as_deref(), Some("2"));
    house.with(|rooms| rooms.queue = None);
    let registry = prometheus::Registry::new();
    poller_that_counts(&connection, &ledger, &cursors, &registry).one_round().await;
    assert!(shown(&registry, "poll_failures_total").iter().any(|line| line.contains("poll-queue-gap")));
    assert_eq!(position(&ledger).as_deref(), Some("0"));
}

#[tokio::test]
async fn a_queue_that_may_not_be_read_stops_no_list() {
    let (house, _) = house_with(1).await;
    house.with(|rooms| rooms.jobs = vec![(1, ago(100).as_millisecond())]);
    house.fault("GET /rest/events/acme/last", Fault::Status(403));
    let ledger = Arc::new(Ledger::default());
    let mut poller = poller(&user_of(&house, ""), &ledger, &HashMap::new());
    poller.one_round().await;
    assert_eq!((position(&ledger), ledger.bodies().len()), (None, 1));
    // It is asked again when its time comes, and once in each interval.
    tokio::time::sleep(Duration::from_millis(15)).await;
    poller.one_round().await;
    assert_eq!(events(&ledger).len(), 1);
}

#[tokio::test]
async fn what_an_event_names_is_read_at_the_first_place_that_holds_a_row() {
    let (house, _) = house_with(0).await;
    let ledger = Arc::new(Ledger::default());
    let (connection, cursors) = read_before(&house, &ledger).await;
    let mut poller = poller(&connection, &ledger, &cursors);
    let queue = poller.fetches.as_ref().unwrap().queue.clone();
    for (offset, id) in [(1, "7"), (2, "8")] {
        let wanted = crate::fetch::Wanted { stream: "jobs".to_owned(), id: id.to_owned(), params: Vec::new() };
        queue.put(offset, 0, wanted);
    }
    poller.one_round().await;
    assert_eq!(ledger.bodies(), ["{\"id\":7,\"t\":\"bare\"}", "{\"id\":8,\"t\":\"inside\"}"]);
}
