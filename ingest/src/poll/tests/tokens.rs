//! A vendor of another shape: an API key as the user of HTTP Basic, rows inside an object, pages by a token in the body
//! that stands there percent-encoded, and windows by two parameters in milliseconds.

use std::collections::BTreeMap;

use axum::body::Body;
use axum::extract::Request;
use axum::http::Response;
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;

use super::serving::{plain, serve};
use super::*;

const SHAPE: &str = r#"
vendor: greenhouse
api:
  base_url: https://vendor.example/v1
  auth: {basic_api_key: {}}
  paging: {next_token: {param: offset, next: next, more: hasNext, encoded: true}}
  rows: data
  first_page: {limit: 2}
  window: {from: updated_at_start, to: updated_at_end, field: updatedAt, format: epoch_ms}
  lag: 0s
  overlap: 20s
  streams:
    stages: {subject: {Stage: id}, whole: true}
    opportunities: {subject: {Application: id}, params: {expand: applications}}
    deleted:
      path: opportunities/deleted
      subject: {Application: id}
      window: {from: deleted_at_start, to: deleted_at_end, field: deletedAt, format: epoch_ms}
"#;

/// Id and time of change in milliseconds.
type Rows = Vec<(u64, i64)>;

#[derive(Clone, Default)]
struct Account {
    address: String,
    lists: Arc<Mutex<BTreeMap<&'static str, Rows>>>,
    requests: Arc<Mutex<Vec<String>>>,
    /// Says that a page follows and leaves out which, this many times.
    forgetful: Arc<Mutex<u32>>,
}

impl Account {
    async fn start() -> Self {
        serve(|address| Self { address, ..Self::default() }, answer).await
    }

    fn put(&self, list: &'static str, id: u64, changed: Timestamp) {
        let mut lists = self.lists.lock().unwrap();
        let rows = lists.entry(list).or_default();
        rows.retain(|row| row.0 != id);
        rows.push((id, changed.as_millisecond()));
    }

    fn take_requests(&self) -> Vec<String> {
        std::mem::take(&mut *self.requests.lock().unwrap())
    }

    fn poller(&self, key: &str, ledger: &Arc<Ledger>) -> Poller<Ledger> {
        let file = tempfile::NamedTempFile::new().unwrap().into_temp_path().keep().unwrap();
        std::fs::write(&file, key).unwrap();
        let text = format!(
            "api_key: {{file: {}}}\nbase_url: {}/v1\ninterval: 10ms\nretry_first: 1ms\nretry_most: 5ms\nattempts: 2\n",
            file.display(),
            self.address
        );
        poller(&connection_of(SHAPE, &text), ledger, &HashMap::new())
    }
}

async fn answer(account: Account, request: Request) -> Response<Body> {
    let query = request.uri().query().unwrap_or_default();
    let list = request.uri().path().trim_start_matches("/v1/").to_owned();
    account.requests.lock().unwrap().push(format!("{list}?{query}"));
    // The key is the user, and there is no password.
    let expected = format!("Basic {}", BASE64.encode("the-key:"));
    if request.headers().get("authorization").is_none_or(|value| *value != expected) {
        return plain(401, "{\"code\":\"Unauthorized\"}");
    }
    let url = reqwest::Url::parse(&format!("http://x/?{query}")).unwrap();
    let params: BTreeMap<String, String> = url.query_pairs().into_owned().collect();
    let (from, to) = if list.ends_with("deleted") {
        ("deleted_at_start", "deleted_at_end")
    } else {
        ("updated_at_start", "updated_at_end")
    };
    let end = |name: &str, default: i64| params.get(name).map_or(default, |text| text.parse().unwrap());
    let (from, to) = (end(from, 0), end(to, i64::MAX));
    let limit: usize = params["limit"].parse().unwrap();
    // A token is `[<first row>,"~&"]`, which has to come back as it was meant.
    let start: usize = match params.get("offset") {
        None => 0,
        Some(token) => match token.strip_prefix('[').and_then(|rest| rest.strip_suffix(",\"~&\"]")) {
            Some(first) => first.parse().unwrap(),
            None => return plain(400, "{\"code\":\"BadParameters\"}"),
        },
    };
    let field = if list.ends_with("deleted") { "deletedAt" } else { "updatedAt" };
    let lists = account.lists.lock().unwrap();
    let mut rows: Rows = lists.get(list.as_str()).cloned().unwrap_or_default();
    rows.retain(|(_, at)| (from..=to).contains(at));
    let more = rows.len() > start + limit;
    let page: Vec<String> = rows
        .iter()
        .skip(start)
        .take(limit)
        .map(|(id, at)| format!("{{ \"id\" : \"o-{id}\",\"{field}\":{at}}}"))
        .collect();
    let mut forgetful = account.forgetful.lock().unwrap();
    let next = if more && *forgetful > 0 {
        *forgetful -= 1;
        String::new()
    } else if more {
        format!("\"next\":\"%5B{}%2C%22~%26%22%5D\",", start + limit)
    } else {
        String::new()
    };
    plain(200, format!("{{\"data\":[{}],{next}\"hasNext\":{more}}}", page.join(", ")))
}

#[tokio::test]
async fn pages_by_a_token_are_read_to_the_last_with_the_window_in_each_request() {
    let account = Account::start().await;
    (1..=5).for_each(|id| account.put("opportunities", id, ago(1000 - id as i64)));
    account.put("stages", 1, ago(5000));
    account.put("opportunities/deleted", 9, ago(500));
    let ledger = Arc::new(Ledger::default());
    let mut poller = account.poller("the-key", &ledger);
    assert!(poller.one_round().await);
    let rows = ledger.rows();
    let of = |stream: &str| rows.iter().filter(|row| row.2 == stream).map(|row| row.3.clone()).collect::<Vec<_>>();
    assert_eq!(of("opportunities").len(), 5, "{rows:?}");
    assert!(of("opportunities")[0].starts_with("{ \"id\" : \"o-1\",\"updatedAt\":"), "exact bytes: {rows:?}");
    assert_eq!((of("stages").len(), of("deleted").len()), (1, 1));

    let requests = account.take_requests();
    let lists: Vec<&String> = requests.iter().filter(|request| request.starts_with("opportunities?")).collect();
    assert_eq!(lists.len(), 3, "{requests:?}");
    for request in &lists {
        let begin = "opportunities?limit=2&expand=applications&updated_at_end=1";
        assert!(request.starts_with(begin) && !request.contains("updated_at_start"), "{request}");
    }
    assert!(lists[2].contains("&offset=%5B4%2C%22%7E%26%22%5D"), "decoded and encoded again: {}", lists[2]);
    assert!(requests.iter().any(|request| request.starts_with("opportunities/deleted?limit=2&deleted_at_end=")));
    assert!(requests.contains(&"stages?limit=2".to_owned()), "a whole list has no window: {requests:?}");

    // What changes later is found by the second window, which has both ends.
    account.put("opportunities", 3, ago(0));
    tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    poller.one_round().await;
    let again = ledger.rows();
    assert_eq!(again.iter().filter(|row| row.2 == "opportunities").count(), 1, "{again:?}");
    let requests = account.take_requests();
    let request = requests.iter().find(|request| request.starts_with("opportunities?")).unwrap();
    let start = request.split("updated_at_start=").nth(1).unwrap().split('&').next().unwrap();
    let start: i64 = start.parse().unwrap();
    assert!((ago(60).as_millisecond()..=ago(19).as_millisecond()).contains(&start), "{request}");
    assert!(request.contains("&updated_at_end="), "{request}");
}

#[tokio::test]
async fn a_page_that_follows_and_is_not_named_ends_no_list() {
    let account = Account::start().await;
    (1..=3).for_each(|id| account.put("opportunities", id, ago(100)));
    *account.forgetful.lock().unwrap() = 2;
    let ledger = Arc::new(Ledger::default());
    let mut poller = account.poller("the-key", &ledger);
    assert!(poller.one_round().await);
    let rows = ledger.rows();
    assert!(rows.iter().all(|row| row.2 != "opportunities"), "a page that cannot be trusted is not kept: {rows:?}");
    assert!(poller.one_round().await);
    assert_eq!(ledger.rows().iter().filter(|row| row.2 == "opportunities").count(), 3, "and nothing was passed over");
}

#[tokio::test]
async fn a_key_that_is_refused_keeps_nothing_and_is_asked_once() {
    let account = Account::start().await;
    account.put("opportunities", 1, ago(100));
    let ledger = Arc::new(Ledger::default());
    let mut poller = account.poller("another-key", &ledger);
    assert!(poller.one_round().await);
    assert!(ledger.rows().is_empty());
    assert_eq!(account.take_requests().len(), 1, "another try gives the same, and the other lists have the same key");
}
