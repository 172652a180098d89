//! Answers of other shapes than a list of rows, and lists that say which page follows by numbers.

use super::shapes::{Shapes, of};
use super::*;
use crate::fetch::Wanted;

const MANIFEST: &str = r#"
vendor: greenhouse
webhook:
  signature: {none: {}}
  delivery_id: {header: id}
  event: {header: event}
  subjects: {made: {Candidate: person}}
  fetch: {made: {visits: {link: self}, calls: {link: self}}}
api:
  base_url: {per_connection: "https://company.vendor.example/v3"}
  auth: {api_key_header: {header: X-Key}}
  paging: {page_number: {param: page, last: complete}}
  rows: rows
  first_page: {limit: 2}
  lag: 0s
  overlap: 20s
  streams:
    users: {subject: {User: id}, whole: true, paged: false, rows: "*", repeats: {bytes_but: [seen]}}
    people: {subject: {Candidate: id}, window: {after: changedAfter, field: changed, format: rfc3339_ms}}
    details: {per: {person: people}, path: "people/{person}", row: data}
    visits: {per: {person: people}, each_in: {job: [main.job, others.job]}, path: "people/{person}/jobs/{job}/visits"}
    calls: {subject: {Interview: id}, listed: false, one: {path: "calls/{id}"}}
    moving: {subject: {Application: id}, whole: true, paged: false, rows: ., one: {path: "moving/{id}"}}
    moving_details: {subject: {Application: id}, per: {application: moving}, path: "moving/{application}", row: ., in_common: [status.id]}
"#;

/// A vendor with two pages of people, of whom one has two jobs.
async fn with_people() -> (Shapes, Arc<Connection>) {
    let shapes = Shapes::start(MANIFEST, [("x-key", "k3y")]).await;
    shapes.put("users", r#"{"1":{"id":1,"seen":"a"},"2":{"id":2,"seen":"b"}}"#);
    let changed = ago(5);
    let jobs = r#""main":{"job":"j1"},"others":[{"job":"j2"},{"job":"j1"}]"#;
    shapes.put("people", &format!(r#"{{"rows":[{{"id":"p1","changed":"{changed}",{jobs}}}],"complete":false}}"#));
    shapes.put(
        "people page 2",
        &format!(r#"{{"rows":[{{"id":"p2","changed":"{changed}","main":null}}],"complete":true}}"#),
    );
    shapes.put("people/p1", r#"{"data":{"id":"p1","text":"} ]"}}"#);
    shapes.put("people/p2", r#"{"data":{"id":"p2"}}"#);
    shapes.put("people/p1/jobs/j1/visits", r#"{"rows":[{"step":"a"},{"step":"b"}],"complete":true}"#);
    shapes.put("moving", "[]");
    shapes.put("people/p1/jobs/j2/visits", r#"{"rows":[{"step":"a"}],"complete":true}"#);
    let connection = shapes.connection(&format!("base_url: {}/v3", shapes.address));
    (shapes, connection)
}

#[tokio::test]
async fn members_details_and_lists_of_several_ids_are_kept_byte_for_byte() {
    let (shapes, connection) = with_people().await;
    let ledger = Arc::new(Ledger::default());
    let mut poller = poller(&connection, &ledger, &HashMap::new());
    poller.one_round().await;
    let records: Vec<Record> = ledger.committed.lock().unwrap().iter().flatten().cloned().collect();
    let rows = ledger.rows();
    assert_eq!(of(&rows, "users"), [r#"{"id":1,"seen":"a"}"#, r#"{"id":2,"seen":"b"}"#]);
    assert_eq!(of(&rows, "people").len(), 2);
    assert_eq!(of(&rows, "details"), [r#"{"id":"p1","text":"} ]"}"#, r#"{"id":"p2"}"#]);
    assert_eq!(of(&rows, "visits"), [r#"{"step":"a"}"#, r#"{"step":"b"}"#, r#"{"step":"a"}"#]);
    assert!(of(&rows, "calls").is_empty());
    let header = |record: &Record, name: &str| {
        let (_, value) = record.headers.iter().find(|(header, _)| &**header == name)?;
        Some(String::from_utf8(value.to_vec()).unwrap())
    };
    let visits: Vec<&Record> =
        records.iter().filter(|record| header(record, "hirewire-stream").as_deref() == Some("visits")).collect();
    let told: Vec<String> = visits.iter().map(|record| header(record, "hirewire-request").unwrap()).collect();
    assert!(told[0].contains("p1") && told[0].contains("j1") && told[2].contains("j2"), "{told:?}");
    let mut ids: Vec<String> = visits.iter().map(|record| header(record, "ce_id").unwrap()).collect();
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), 3, "the same row of two jobs is two rows");

    let asked = shapes.asked();
    assert_eq!(
        asked.iter().filter(|request| request.starts_with("people/p1/jobs/j1/")).count(),
        1,
        "no job twice: {asked:?}"
    );
    assert!(asked.contains(&"users?".to_owned()), "a list without pages is asked for none: {asked:?}");
    assert!(asked.contains(&"people?limit=2".to_owned()), "the first window has no end to name: {asked:?}");
    assert!(asked.contains(&"people?limit=2&page=2".to_owned()), "{asked:?}");
    assert!(asked.contains(&"people/p1?".to_owned()), "{asked:?}");
    assert!(!asked.iter().any(|request| request.starts_with("calls")), "{asked:?}");
}

#[tokio::test]
async fn only_what_changed_is_read_again_and_what_is_new_in_every_answer_is_no_change() {
    let (shapes, connection) = with_people().await;
    let ledger = Arc::new(Ledger::default());
    let mut poller = poller(&connection, &ledger, &HashMap::new());
    poller.one_round().await;
    ledger.rows();
    shapes.asked();
    shapes.put("users", r#"{"1":{"id":1,"seen":"c"},"2":{"id":2,"seen":"b","name":"x"}}"#);
    let changed = Timestamp::now().checked_add(SignedDuration::from_mins(1)).unwrap();
    // Later than the window's end: a filter without one shows it, and that is no fault.
    shapes.put(
        "people page 2",
        &format!(r#"{{"rows":[{{"id":"p2","changed":"{changed}","main":{{"job":"j1"}}}}],"complete":true}}"#),
    );
    shapes.put("people/p2/jobs/j1/visits", r#"{"rows":[],"complete":true}"#);
    tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    let registry = prometheus::Registry::new();
    poller.metrics = Metrics::new(&registry).unwrap().polled("acme", "greenhouse", None);
    poller.one_round().await;
    let rows = ledger.rows();
    assert_eq!(of(&rows, "users"), [r#"{"id":2,"seen":"b","name":"x"}"#]);
    assert_eq!(
        (of(&rows, "people").len(), of(&rows, "details"), of(&rows, "visits").len()),
        (1, vec![r#"{"id":"p2"}"#.to_owned()], 0)
    );
    let outside = shown(&registry, "poll_outside_window_total");
    assert!(outside.is_empty(), "{outside:?}");
    let narrowed = shapes.asked().into_iter().find(|request| request.starts_with("people?")).unwrap();
    // Three digits behind the second, whatever the time.
    let after = narrowed.split("changedAfter=").nth(1).unwrap();
    assert!(after.len() == "2026-01-01T00%3A00%3A00.000Z".len() && after.ends_with('Z'), "{narrowed}");
}

#[tokio::test]
async fn what_is_again_as_it_was_before_is_a_change() {
    let (shapes, connection) = with_people().await;
    let ledger = Arc::new(Ledger::default());
    let mut poller = poller(&connection, &ledger, &HashMap::new());
    poller.one_round().await;
    for name in ["x", "y", "x"] {
        ledger.rows();
        let user = format!(r#"{{"id":1,"seen":"a","name":"{name}"}}"#);
        shapes.put("users", &format!(r#"{{"1":{user},"2":{{"id":2,"seen":"b"}}}}"#));
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        poller.one_round().await;
        assert_eq!(of(&ledger.rows(), "users"), [user]);
    }
}

#[tokio::test]
async fn a_row_that_contradicts_what_was_read_of_it_is_read_again_until_the_two_agree() {
    let (shapes, connection) = with_people().await;
    let ledger = Arc::new(Ledger::default());
    let mut poller = poller(&connection, &ledger, &HashMap::new());
    let row = |id, at| format!(r#"{{"id":{id},"status":{{"id":{at}}}}}"#);
    let details = |at| format!(r#"{{"id":7,"status":{{"id":"{at}"}}}}"#);
    shapes.put("moving", &format!("[{},{}]", row(7, 1), row(8, 1)));
    // It moves between its row and its details.
    shapes.put("moving/7", &details(2));
    shapes.put("moving/8", r#"{"id":8,"status":{"id":"1"}}"#);
    poller.one_round().await;
    assert_eq!(of(&ledger.rows(), "moving_details").len(), 2);
    // And back, before its row is listed again.
    shapes.put("moving/7", &details(1));
    let mut round = async || {
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        poller.one_round().await;
        of(&ledger.rows(), "moving_details")
    };
    assert_eq!(round().await, [details(1)]);
    assert!(round().await.is_empty(), "they agree");
    // It moves on, and back between its row and its details: what is remembered of it is not what it said before.
    shapes.put("moving", &format!("[{},{}]", row(7, 3), row(8, 1)));
    assert_eq!(round().await, [details(1)]);
    shapes.put("moving/7", &details(4));
    shapes.put("moving", &format!("[{},{}]", row(7, 1), row(8, 1)));
    assert_eq!(round().await, [details(4)]);
}

#[tokio::test]
async fn a_row_that_is_as_it_was_is_kept_again_when_an_event_told_something_newer_in_between() {
    let (shapes, connection) = with_people().await;
    let ledger = Arc::new(Ledger::default());
    let mut poller = poller(&connection, &ledger, &HashMap::new());
    let (row, newer) = (r#"{"id":7,"status":{"id":1}}"#, r#"{"id":7,"status":{"id":2}}"#);
    shapes.put("moving", &format!("[{row}]"));
    shapes.put("moving/7", row);
    poller.one_round().await;
    assert_eq!(of(&ledger.rows(), "moving"), [row]);
    shapes.put("moving/7", newer);
    let queue = poller.fetches.as_ref().unwrap().queue.clone();
    let wanted = |stream: &str| Wanted { stream: stream.to_owned(), id: "7".to_owned(), params: Vec::new() };
    queue.put(1, 0, wanted("moving"));
    queue.put(2, 0, wanted("moving_details"));
    poller.one_fetch().await;
    let rows = ledger.rows();
    assert_eq!((of(&rows, "moving"), of(&rows, "moving_details")), (vec![newer.to_owned()], vec![newer.to_owned()]));
    // It moved back, and no event tells it.
    shapes.put("moving/7", row);
    for (again, told) in [(1, "kept again"), (0, "once")] {
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        poller.one_round().await;
        let rows = ledger.rows();
        assert_eq!((of(&rows, "moving").len(), of(&rows, "moving_details").len()), (again, again), "{told}");
        assert!(rows.iter().all(|(_, _, _, body)| body == row), "{rows:?}");
    }
}

#[tokio::test]
async fn a_list_is_not_taken_for_whole_when_its_answer_does_not_say_so() {
    let (shapes, connection) = with_people().await;
    shapes.put("people page 2", r#"{"rows":[{"id":"p2","changed":"2026-01-02T00:00:00.000Z"}]}"#);
    let ledger = Arc::new(Ledger::default());
    let mut poller = poller(&connection, &ledger, &HashMap::new());
    poller.one_round().await;
    assert_eq!(of(&ledger.rows(), "people").len(), 1, "the page that says nothing is not kept");
    assert_eq!(poller.lanes.iter().find(|lane| lane.name == "people").unwrap().failing, Some("poll-broken-answer"));
    shapes.put("people page 2", r#"{"rows":[{"id":"p2","changed":"2026-01-02T00:00:00.000Z"}],"complete":true}"#);
    poller.one_round().await;
    assert_eq!(of(&ledger.rows(), "people").len(), 1, "and asked for again");
}

#[tokio::test]
async fn what_a_link_names_is_fetched_and_a_page_of_details_that_is_none_is_not_kept() {
    let (shapes, connection) = with_people().await;
    shapes.put("calls/9", r#"{"id":"9"}"#);
    let ledger = Arc::new(Ledger::default());
    let mut poller = poller(&connection, &ledger, &HashMap::new());
    poller.one_round().await;
    ledger.rows();
    let queue = poller.fetches.as_ref().unwrap().queue.clone();
    let wanted = |stream: &str, id: &str, params: &[(&str, &str)]| {
        let params = params.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Wanted { stream: stream.to_owned(), id: id.to_owned(), params }
    };
    queue.put(1, 0, wanted("visits", "p1", &[("job", "j2")]));
    queue.put(2, 0, wanted("calls", "9", &[]));
    queue.put(3, 0, wanted("details", "p1", &[]));
    queue.put(4, 0, wanted("details", "gone", &[]));
    poller.one_round().await;
    let rows = ledger.rows();
    assert_eq!(
        (of(&rows, "visits"), of(&rows, "calls")),
        (vec![r#"{"step":"a"}"#.to_owned()], vec![r#"{"id":"9"}"#.to_owned()])
    );
    assert_eq!(of(&rows, "details"), [r#"{"id":"p1","text":"} ]"}"#]);
    shapes.put("people/p1", r#"{"data":[]}"#);
    queue.put(5, 0, wanted("details", "p1", &[]));
    poller.one_round().await;
    assert!(of(&ledger.rows(), "details").is_empty());
}

#[test]
fn a_connection_must_name_the_address_that_only_its_customer_has() {
    let manifest = Manifest::parse("manifest.yaml", MANIFEST).unwrap();
    let node = hirewire_yaml::parse("hirewire.yaml", "api_key: {file: /no/key}").unwrap();
    let mut problems = Problems::new();
    let read = Connection::read("acme", "tenant", &manifest, None, Some(&node), None, &mut problems);
    let shown = problems.into_result(read).unwrap_err().to_string();
    assert!(
        shown.contains("hirewire.yaml:1: `base_url` is missing (this vendor has one for each customer, as https://company.vendor.example/v3)"),
        "{shown}"
    );
}
