//! A vendor that is asked by POST, says its errors under 200 and narrows lists by tokens of its own.

use std::collections::BTreeMap;

use axum::body::{Body, to_bytes};
use axum::extract::Request;
use axum::http::Response;
use serde_json::{Value, json};

use super::serving::{plain, serve};
use super::*;

const MANIFEST: &str = r#"
vendor: greenhouse
api:
  base_url: https://vendor.example
  auth: {basic_api_key: {}}
  send: json_body
  errors: {unless: success, codes: errors, expired: [token_expired], gone: [not_found]}
  paging: {next_token: {param: cursor, next: nextCursor, more: more}}
  rows: results
  first_page: {limit: 2, archived: true, text: "007"}
  sync: {param: syncToken, next: syncToken, version: updatedAt}
  lag: 5m
  overlap: 10m
  streams:
    jobs: {path: job.list, subject: {Job: id}}
    history: {path: job.history, per: {jobId: jobs}}
"#;

/// What the vendor has. A change has a number; a token is the number of the last change that its run knew.
#[derive(Default)]
struct Account {
    rows: BTreeMap<String, (u64, Value)>,
    changes: u64,
    asked: Vec<(String, Value)>,
    /// Answers of the next requests to a path, in the place of the right ones.
    answers: Vec<(&'static str, Value)>,
    /// Tokens and pages below are not known any more.
    oldest_token: u64,
    oldest_page: u64,
    /// Runs that changed nothing give no token.
    silent: bool,
}

#[derive(Clone, Default)]
struct Rpc {
    account: Arc<Mutex<Account>>,
    address: String,
}

impl Rpc {
    async fn start() -> Self {
        serve(|address| Self { address, ..Self::default() }, answer).await
    }

    fn with<T>(&self, change: impl FnOnce(&mut Account) -> T) -> T {
        change(&mut self.account.lock().unwrap())
    }

    fn put(&self, id: &str, title: &str) {
        self.with(|account| {
            account.changes += 1;
            let row = json!({"id": id, "title": title, "updatedAt": format!("t{}", account.changes)});
            account.rows.insert(id.to_owned(), (account.changes, row));
        });
    }

    fn asked(&self) -> Vec<Value> {
        let asked = self.with(|account| std::mem::take(&mut account.asked));
        asked.into_iter().filter(|(path, _)| path == "/job.list").map(|(_, body)| body).collect()
    }

    fn connection(&self) -> Arc<Connection> {
        let folder = tempfile::tempdir().unwrap().keep();
        std::fs::write(folder.join("key"), "k3y").unwrap();
        let text = format!(
            "api_key: {{file: {}/key}}\nbase_url: {}\nretry_first: 1ms\nretry_most: 2ms\nattempts: 2",
            folder.display(),
            self.address
        );
        connection_of(MANIFEST, &text)
    }
}

async fn answer(rpc: Rpc, request: Request) -> Response<Body> {
    let (parts, body) = request.into_parts();
    let path = parts.uri.path().to_owned();
    let proven = parts.headers.get("authorization").is_some_and(|value| value == "Basic azN5Og==");
    let as_json = parts.headers.get("content-type").is_some_and(|value| value == "application/json");
    assert!(proven && as_json && parts.method == "POST" && parts.uri.query().is_none(), "{parts:?}");
    let body: Value = serde_json::from_slice(&to_bytes(body, 100_000).await.unwrap()).unwrap();
    let mut account = rpc.account.lock().unwrap();
    account.asked.push((path.clone(), body.clone()));
    if let Some(at) = account.answers.iter().position(|(to, _)| path == *to) {
        return plain(200, account.answers.remove(at).1.to_string());
    }
    let answer = match path.as_str() {
        "/job.list" => list(&account, &body),
        "/job.history" if body["jobId"] == "gone" => error("not_found"),
        "/job.history" => {
            json!({"success": true, "more": false, "results": [{"id": format!("h-{}", body["jobId"].as_str().unwrap())}]})
        }
        other => panic!("{other}"),
    };
    plain(200, answer.to_string())
}

fn error(code: &str) -> Value {
    json!({"success": false, "errors": [code], "errorInfo": {"message": "a person's name"}})
}

/// A page cursor is: the token, what the run covers, and how many rows were given.
fn list(account: &Account, body: &Value) -> Value {
    let (token, to, skip) = match (body.get("cursor"), body.get("syncToken")) {
        (Some(_), Some(_)) => panic!("the token with a page: {body}"),
        (Some(cursor), None) => {
            let parts: Vec<u64> = cursor.as_str().unwrap().split('.').map(|part| part.parse().unwrap()).collect();
            if parts[1] < account.oldest_page {
                return error("token_expired");
            }
            (parts[0], parts[1], parts[2])
        }
        (None, Some(token)) => {
            let token = token.as_str().unwrap().parse().unwrap();
            if token < account.oldest_token {
                return error("token_expired");
            }
            (token, account.changes, 0)
        }
        (None, None) => (0, account.changes, 0),
    };
    let changed: Vec<&Value> =
        account.rows.values().filter(|(at, _)| *at > token && *at <= to).map(|(_, row)| row).collect();
    let limit = usize::try_from(body["limit"].as_u64().unwrap()).unwrap();
    let rows: Vec<&Value> = changed.iter().skip(usize::try_from(skip).unwrap()).take(limit).copied().collect();
    let given = usize::try_from(skip).unwrap() + rows.len();
    if given < changed.len() {
        return json!({"success": true, "results": rows, "more": true, "nextCursor": format!("{token}.{to}.{given}"), "syncToken": "too early"});
    }
    if account.silent && changed.is_empty() {
        return json!({"success": true, "results": rows, "more": false});
    }
    json!({"success": true, "results": rows, "more": false, "syncToken": to.to_string()})
}

fn titles(ledger: &Ledger) -> Vec<String> {
    let rows = ledger.rows().into_iter().filter(|row| row.2 == "jobs");
    sorted(
        rows.map(|row| serde_json::from_str::<Value>(&row.3).unwrap()["title"].as_str().unwrap().to_owned()).collect(),
    )
}

fn token(ledger: &Ledger) -> Option<String> {
    ledger.cursors().get("acme/jobs").and_then(|cursor| cursor.sync_token.clone())
}

#[tokio::test]
async fn the_first_run_reads_all_and_each_later_one_what_changed_since_its_token() {
    let rpc = Rpc::start().await;
    for id in ["a", "b", "c", "d", "e"] {
        rpc.put(id, id);
    }
    let ledger = Arc::new(Ledger::default());
    let connection = rpc.connection();
    let mut first = poller(&connection, &ledger, &HashMap::new());
    first.one_round().await;
    assert_eq!(
        (token(&ledger).as_deref(), titles(&ledger)),
        (Some("5"), ["a", "b", "c", "d", "e"].map(str::to_owned).to_vec())
    );
    let asked = rpc.asked();
    assert_eq!(asked[0], json!({"archived": true, "limit": 2, "text": "007"}), "numbers and booleans are no texts");
    assert_eq!(asked[1], json!({"archived": true, "limit": 2, "text": "007", "cursor": "0.5.2"}));

    // An old row: nothing but the vendor's own knowledge finds it.
    rpc.put("a", "a2");
    first.one_round().await;
    assert_eq!((token(&ledger).as_deref(), titles(&ledger)), (Some("6"), vec!["a2".to_owned()]));
    // By the list, and by the list of its parents.
    assert!(rpc.asked().iter().all(|body| body["syncToken"] == "5"));

    // A run that tells no token keeps the one it has; and back to bytes that were seen before is a change.
    rpc.with(|account| account.silent = true);
    first.one_round().await;
    rpc.with(|account| {
        account.changes += 1;
        let row = json!({"id": "a", "title": "a2", "updatedAt": "t6"});
        account.rows.insert("a".to_owned(), (account.changes, row));
    });
    first.one_round().await;
    assert_eq!(titles(&ledger), ["a2"]);
    assert_eq!(rpc.asked().iter().filter(|body| body["syncToken"] == "6").count(), 4);
}

#[tokio::test]
async fn a_token_that_is_not_known_any_more_means_all_again_and_no_change_is_missed() {
    let rpc = Rpc::start().await;
    for id in ["a", "b", "c"] {
        rpc.put(id, id);
    }
    let ledger = Arc::new(Ledger::default());
    let connection = rpc.connection();
    poller(&connection, &ledger, &HashMap::new()).one_round().await;
    let cursors = ledger.cursors();
    ledger.rows();
    rpc.put("b", "b2");
    rpc.with(|account| account.oldest_token = 100);
    let mut second = poller(&connection, &ledger, &cursors);
    second.one_round().await;
    assert_eq!((token(&ledger).as_deref(), titles(&ledger)), (Some("4"), ["a", "b2", "c"].map(str::to_owned).to_vec()));
}

#[tokio::test]
async fn killed_in_the_midst_of_a_run_its_token_is_not_lost_though_its_page_is() {
    let rpc = Rpc::start().await;
    rpc.put("a", "a");
    let ledger = Arc::new(Ledger::default());
    let connection = rpc.connection();
    poller(&connection, &ledger, &HashMap::new()).one_round().await;
    let cursors = ledger.cursors();
    ledger.rows();
    for id in ["b", "c", "d", "e"] {
        rpc.put(id, id);
    }
    *ledger.kill.lock().unwrap() = Some((0, Moment::After));
    let mut second = poller(&connection, &ledger, &cursors);
    tokio::select! {
        _ = second.one_round() => {}
        () = async { while !ledger.dying() { tokio::task::yield_now().await } } => {}
    }
    *ledger.kill.lock().unwrap() = None;
    let halfway = ledger.cursors();
    assert_eq!(halfway["acme/jobs"].sync_token.as_deref(), Some("1"), "not the token of the page");
    ledger.rows();
    // The page at which to go on is gone: the run begins anew, by its own token.
    rpc.put("z", "z");
    rpc.with(|account| account.oldest_page = account.changes);
    rpc.asked();
    let mut third = poller(&connection, &ledger, &halfway);
    third.one_round().await;
    assert_eq!(titles(&ledger), ["b", "c", "d", "e", "z"]);
    assert_eq!(rpc.asked()[1]["syncToken"], "1");
}

#[tokio::test]
async fn an_error_under_200_keeps_nothing_and_its_code_alone_is_told() {
    for (answer, label, message) in [
        (error("missing_permission"), "poll-told-error", "the vendor answered 200 with the error missing_permission"),
        (error("a person's name"), "poll-told-error", "the vendor answered 200 with the error that it does not name"),
        (
            json!({"success": false, "results": []}),
            "poll-told-error",
            "the vendor answered 200 with the error that it does not name",
        ),
        (
            json!({"results": []}),
            "poll-broken-answer",
            "the answer is unusable: the answer does not say whether it is one",
        ),
    ] {
        let rpc = Rpc::start().await;
        rpc.put("a", "a");
        rpc.with(|account| account.answers = vec![("/job.list", answer.clone()); 4]);
        let ledger = Arc::new(Ledger::default());
        let connection = rpc.connection();
        let mut poller = poller(&connection, &ledger, &HashMap::new());
        let manifest = connection.manifest.clone();
        let api = manifest.api.as_ref().unwrap();
        let window = super::super::window::next_sync(None, Timestamp::now());
        let question = super::super::question::Question::list(api, &api.streams[0], &[], &window);
        let poll = connection.poll.clone().unwrap();
        let failure = poller.client.page(api, &poll, &question).await.unwrap_err();
        assert_eq!((failure.label(), failure.to_string().as_str()), (label, message));
        // Asked twice more by the round, and once by that of its parents: kept by nobody.
        poller.one_round().await;
        assert_eq!(ledger.cursors().get("acme/jobs"), None);
        assert!(titles(&ledger).is_empty());
        rpc.with(|account| account.answers.clear());
        poller.one_round().await;
        assert_eq!(titles(&ledger), ["a"]);
    }
}

#[tokio::test]
async fn a_list_per_parent_follows_the_parents_token_and_leaves_out_what_is_gone() {
    let rpc = Rpc::start().await;
    for id in ["a", "gone", "c"] {
        rpc.put(id, id);
    }
    let ledger = Arc::new(Ledger::default());
    let connection = rpc.connection();
    let mut poller = poller(&connection, &ledger, &HashMap::new());
    poller.one_round().await;
    let history = |ledger: &Ledger| -> Vec<String> {
        ledger.rows().into_iter().filter(|row| row.2 == "history").map(|row| row.3).collect()
    };
    assert_eq!(history(&ledger), ["{\"id\":\"h-a\"}", "{\"id\":\"h-c\"}"]);
    let parents = rpc.with(|account| account.asked.iter().find(|(path, _)| path == "/job.history").unwrap().1.clone());
    assert_eq!(parents, json!({"archived": true, "limit": 2, "text": "007", "jobId": "a"}));
    // The parent is in a run again with the very bytes it had: its list may have changed.
    rpc.with(|account| {
        account.changes += 1;
        let changes = account.changes;
        account.rows.get_mut("c").unwrap().0 = changes;
    });
    poller.one_round().await;
    assert_eq!(history(&ledger), ["{\"id\":\"h-c\"}"]);
}
