//! Requests with fixed headers and a key behind a word, links in bodies, and limits that name the seconds left.

use std::time::Duration;

use super::shapes::{Shapes, of};
use super::*;

const MANIFEST: &str = r#"
vendor: greenhouse
api:
  base_url: {per_connection: "https://company.vendor.example/v3"}
  headers: {X-Api-Version: "20210218", Accept: application/vnd.api+json}
  auth: {api_key_header: {header: Authorization, before: "Token token="}}
  paging: {next_link: {next: links.next, param: "page[number]"}}
  rows: data
  rate_limit: {remaining: X-Left, reset_after: X-Reset}
  first_page: {"page[size]": 2}
  lag: 0s
  overlap: 20s
  streams:
    people: {subject: {Candidate: id}, whole: true, params: {sort: -changed}}
"#;

const DEMANDS: [(&str, &str); 3] =
    [("x-api-version", "20210218"), ("accept", "application/vnd.api+json"), ("authorization", "Token token=k3y")];

/// Its next page, by a link that leads elsewhere and asks for more than the page.
const FIRST: &str = r#"{"data":[{"id":"p1"},{"id":"p2"}],
    "links":{"next":"https://elsewhere.example/v9/stolen?page%5Bnumber%5D=2&page%5Bsize%5D=1000&sort=name"}}"#;

async fn vendor() -> (Shapes, Arc<Connection>) {
    let shapes = Shapes::start(MANIFEST, DEMANDS).await;
    shapes.put("people", FIRST);
    let connection = shapes.connection(&format!("base_url: {}/v3", shapes.address));
    (shapes, connection)
}

#[tokio::test]
async fn each_request_has_the_fixed_headers_and_the_next_page_is_asked_for_at_the_connection_s_own_address() {
    let (shapes, connection) = vendor().await;
    shapes.put("people page 2", r#"{"data":[{"id":"p3"}],"links":{"next":null}}"#);
    let ledger = Arc::new(Ledger::default());
    let mut poller = poller(&connection, &ledger, &HashMap::new());
    poller.one_round().await;
    assert_eq!(of(&ledger.rows(), "people"), [r#"{"id":"p1"}"#, r#"{"id":"p2"}"#, r#"{"id":"p3"}"#]);
    let first = "people?page%5Bsize%5D=2&sort=-changed";
    assert_eq!(shapes.asked(), [first.to_owned(), format!("{first}&page%5Bnumber%5D=2")]);
}

#[tokio::test]
async fn a_list_is_not_taken_for_whole_when_its_link_names_no_page() {
    let (shapes, connection) = vendor().await;
    shapes.put("people page 2", r#"{"data":[{"id":"p3"}],"links":{"next":{"href":"/v3/people?page[number]=3"}}}"#);
    let ledger = Arc::new(Ledger::default());
    let mut poller = poller(&connection, &ledger, &HashMap::new());
    poller.one_round().await;
    assert_eq!(of(&ledger.rows(), "people").len(), 2, "the page whose link says nothing is not kept");
    assert_eq!(poller.lanes[0].failing, Some("poll-broken-answer"));
}

#[tokio::test]
async fn a_spent_limit_is_waited_for_by_the_seconds_that_are_left() {
    let (shapes, connection) = vendor().await;
    for (left, waits) in [("1", false), ("0", true)] {
        let mut poller = poller(&connection, &Arc::new(Ledger::default()), &HashMap::new());
        let limit = [("x-left", left), ("x-reset", "600")];
        shapes.put_with("people", limit, r#"{"data":[{"id":"p1"}],"links":{}}"#);
        poller.one_round().await;
        assert_eq!(poller.client.limit_wait() > Duration::from_secs(60), waits, "{left} left");
    }
}
