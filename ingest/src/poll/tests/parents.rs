//! Lists per parent: whose are read, when again, and what a failure or a kill leaves.

use std::time::Duration;

use super::vendor::Fault;
use super::*;

/// With `window` in the place of the right one.
fn manifest(window: &str) -> String {
    format!(
        r#"
vendor: greenhouse
api:
  base_url: https://vendor.example/v3
  auth: {{oauth2_client_credentials: {{token_url: "https://vendor.example/token", expires_at: expires_at}}}}
  paging: {{link_cursor: {{param: cursor}}}}
  first_page: {{per_page: 500}}
  window: {window}
  lag: 0s
  overlap: 20s
  streams:
    jobs: {{subject: {{Job: id}}}}
    offers: {{per: {{job: jobs}}, path: "jobs/{{job}}/offers", params: {{all: true}}, tell: {{when: updated_at, none: nothing}}}}
    notes: {{per: {{job_id: jobs}}, restricted: true, subject: {{Activity: id}}}}
"#
    )
}

const BY_CHANGE: &str = r#"{param: updated_at, first: "lte|{to}", then: "gt|{from}|lte|{to}", field: updated_at}"#;
/// The classic mistake.
const BY_CREATION: &str = r#"{param: created_at, first: "lte|{to}", then: "gt|{from}|lte|{to}", field: updated_at}"#;

fn start(vendor: &Vendor) -> Arc<Connection> {
    connection_by(&manifest(BY_CHANGE), vendor, "")
}

/// The rows of a list that were kept, in order.
fn of<'a>(rows: &'a [(String, String, String, String)], stream: &str) -> Vec<&'a str> {
    rows.iter().filter(|row| row.2 == stream).map(|row| row.3.as_str()).collect()
}

fn requests_to(vendor: &Vendor, front: &str) -> Vec<String> {
    vendor.take_requests().into_iter().filter(|request| request.starts_with(front)).collect()
}

async fn pass_a_moment() {
    tokio::time::sleep(Duration::from_millis(5)).await;
}

#[tokio::test]
async fn each_parent_s_list_is_read_and_again_only_when_the_parent_changed() {
    let vendor = Vendor::start().await;
    for job in 1..=4 {
        vendor.put("jobs", job, ago(500));
    }
    // Two pages of the first, nothing of the others but one.
    let mut all: Vec<String> = (1..=5).map(|id| vendor.put("jobs/1/offers", id, ago(500))).collect();
    all.push(vendor.put("jobs/3/offers", 9, ago(500)));
    let ledger = Arc::new(Ledger::default());
    let mut poller = poller(&start(&vendor), &ledger, &HashMap::new());
    poller.one_round().await;
    let rows = ledger.rows();
    assert_eq!(sorted(of(&rows, "offers").into_iter().map(str::to_owned).collect()), sorted(all));
    assert!(of(&rows, "jobs").len() == 4 && rows.iter().all(|row| row.1 == "backfill"));
    let asked = requests_to(&vendor, "jobs/");
    assert_eq!(asked.len(), 5, "{asked:?}");
    assert!(asked.iter().any(|request| request == "jobs/4/offers?per_page=500&all=true"), "{asked:?}");

    // Nothing changed: the parents are listed, and no list of theirs is asked for.
    pass_a_moment().await;
    poller.one_round().await;
    assert_eq!((ledger.rows().len(), requests_to(&vendor, "jobs/").len()), (0, 0));

    let offer = vendor.put("jobs/2/offers", 10, ago(0));
    vendor.put("jobs", 2, ago(0));
    pass_a_moment().await;
    poller.one_round().await;
    let rows = ledger.rows();
    assert_eq!(of(&rows, "offers"), [offer]);
    assert!(rows.iter().all(|row| row.1 == "poll"));
    assert_eq!(requests_to(&vendor, "jobs/").len(), 1);
}

/// What tells a right cursor from a wrong one: an old parent that changes.
#[tokio::test]
async fn a_cursor_by_the_time_of_creation_loses_the_lists_of_old_parents_and_the_right_one_does_not() {
    for (window, found) in [(BY_CHANGE, 1), (BY_CREATION, 0)] {
        let vendor = Vendor::start().await;
        vendor.put("jobs", 1, ago(1_000_000));
        let ledger = Arc::new(Ledger::default());
        let mut poller = poller(&connection_by(&manifest(window), &vendor, ""), &ledger, &HashMap::new());
        poller.one_round().await;
        ledger.rows();
        vendor.put("jobs/1/offers", 7, ago(0));
        vendor.put("jobs", 1, ago(0));
        for _ in 0..3 {
            pass_a_moment().await;
            poller.one_round().await;
        }
        assert_eq!(of(&ledger.rows(), "offers").len(), found, "{window}");
    }
}

#[tokio::test]
async fn a_row_is_keyed_by_what_its_parent_belongs_to_and_tells_whose_it_is() {
    let vendor = Vendor::start().await;
    let changed = ago(500);
    vendor.put("jobs", 3, changed);
    vendor.put("jobs/3/offers", 8, ago(500));
    vendor.put("notes", 5, ago(500));
    let ledger = Arc::new(Ledger::default());
    poller(&start(&vendor), &ledger, &HashMap::new()).one_round().await;
    let committed = std::mem::take(&mut *ledger.committed.lock().unwrap());
    let rows: Vec<&Record> = committed.iter().flatten().filter(|record| record.partition.is_none()).collect();
    let header = |record: &Record, name: &str| {
        let found = record.headers.iter().find(|(header, _)| &**header == name);
        found.map(|(_, value)| String::from_utf8(value.to_vec()).unwrap()).unwrap_or_default()
    };
    let named = |stream: &str| *rows.iter().find(|record| header(record, "hirewire-stream") == stream).unwrap();
    let key = |record: &str, id: &str| hirewire_schemas::ids::canonical_id("tenant", "acme", record, id).to_string();
    let offer = named("offers");
    assert_eq!(header(offer, "hirewire-request"), format!("{{\"all\":\"true\",\"job\":\"3\",\"when\":\"{changed}\"}}"));
    assert_eq!(offer.key.as_deref().unwrap(), key("Job", "3").as_bytes());
    assert!(header(offer, "ce_id").starts_with("acme/offers/3.8/"), "{}", header(offer, "ce_id"));
    // Without a place in the path the id is a parameter; a subject of its own is looked for in the row.
    let note = named("notes");
    assert_eq!(header(note, "hirewire-request"), r#"{"job_id":"3"}"#);
    assert_eq!(
        (&*note.topic, note.key.as_deref().unwrap()),
        ("ats.raw-restricted.greenhouse.v1", key("Activity", "5").as_bytes())
    );
    assert_eq!(requests_to(&vendor, "notes"), ["notes?per_page=500&job_id=3"]);
}

#[tokio::test]
async fn a_failure_in_the_midst_of_a_page_keeps_what_was_read_and_begins_no_parent_anew() {
    let vendor = Vendor::start().await;
    for job in 1..=3 {
        vendor.put("jobs", job, ago(500));
        vendor.put(&format!("jobs/{job}/offers"), job, ago(500));
    }
    // Read in the order 3, 2, 1.
    vendor.with(|account| drop(account.broken.insert("jobs/2/offers".into(), Fault::Status(500, Vec::new()))));
    let ledger = Arc::new(Ledger::default());
    let mut poller = poller(&start(&vendor), &ledger, &HashMap::new());
    poller.one_round().await;
    assert_eq!(of(&ledger.rows(), "offers").len(), 1, "of the parent before");
    assert_eq!(requests_to(&vendor, "jobs/3/").len(), 1, "kept at the first failure, and not asked for again");
    assert!(!ledger.cursors().contains_key("acme/offers"), "the cursor does not pass what was not read");
    vendor.with(|account| account.broken.clear());
    vendor.take_requests();
    poller.one_round().await;
    assert_eq!(of(&ledger.rows(), "offers").len(), 2);
    assert_eq!(requests_to(&vendor, "jobs/3/").len(), 0);
}

#[tokio::test]
async fn a_parent_that_is_gone_is_left_out_and_a_path_that_no_parent_knows_is_a_failure() {
    let vendor = Vendor::start().await;
    for job in 1..=3 {
        vendor.put("jobs", job, ago(500));
        vendor.put(&format!("jobs/{job}/offers"), job, ago(500));
    }
    let gone = |job: u64| {
        vendor.with(|account| drop(account.broken.insert(format!("jobs/{job}/offers"), Fault::Status(404, Vec::new()))))
    };
    gone(2);
    let ledger = Arc::new(Ledger::default());
    let mut first = poller(&start(&vendor), &ledger, &HashMap::new());
    first.one_round().await;
    assert!(ledger.cursors().contains_key("acme/offers"));
    assert_eq!(of(&ledger.rows(), "offers").len(), 2);

    gone(1);
    gone(3);
    let ledger = Arc::new(Ledger::default());
    poller(&start(&vendor), &ledger, &HashMap::new()).one_round().await;
    assert!(!ledger.cursors().contains_key("acme/offers"), "nothing was read: the cursor stays");
}

#[tokio::test]
async fn a_long_first_read_gives_way_to_other_lists_and_goes_on_in_the_next_round() {
    let vendor = Vendor::start().await;
    for job in 1..=5 {
        vendor.put("jobs", job, ago(500));
        vendor.put(&format!("jobs/{job}/offers"), job, ago(500));
    }
    let ledger = Arc::new(Ledger::default());
    let mut poller = poller(&start(&vendor), &ledger, &HashMap::new());
    poller.turn = Duration::ZERO;
    let mut kept = 0;
    for round in 1..=5 {
        poller.one_round().await;
        let now = of(&ledger.rows(), "offers").len();
        assert_eq!(now, 1, "round {round}: one parent at least, and not more than its turn");
        kept += now;
    }
    assert_eq!((kept, requests_to(&vendor, "jobs/").len()), (5, 5));
}

#[tokio::test]
async fn killed_at_any_commit_no_row_is_missed() {
    for moment in [Moment::Before, Moment::After] {
        for at in 0..6 {
            let vendor = Vendor::start().await;
            for job in 1..=7 {
                vendor.put("jobs", job, ago(500));
                vendor.put(&format!("jobs/{job}/offers"), job, ago(500));
            }
            let ledger = Arc::new(Ledger::default());
            *ledger.kill.lock().unwrap() = Some((at, moment));
            let connection = start(&vendor);
            let mut first = poller(&connection, &ledger, &HashMap::new());
            tokio::select! {
                _ = first.one_round() => {}
                () = async { while !ledger.dying() { tokio::task::yield_now().await } } => {}
            }
            *ledger.kill.lock().unwrap() = None;
            let cursors = ledger.cursors();
            poller(&connection, &ledger, &cursors).one_round().await;
            let rows = ledger.rows();
            let mut offers = of(&rows, "offers");
            offers.sort_unstable();
            offers.dedup();
            assert_eq!(offers.len(), 7, "{moment:?} commit {at}");
        }
    }
}
