//! What is gone from a list is told, once it was looked for twice; and nothing else is.

use super::shapes::{Shapes, of};
use super::*;

const MANIFEST: &str = r#"
vendor: greenhouse
api:
  base_url: {per_connection: "https://company.vendor.example/v3"}
  auth: {api_key_header: {header: X-Key}}
  paging: {page_number: {param: page, last: complete}}
  rows: rows
  lag: 0s
  overlap: 0s
  streams:
    people: {subject: {Candidate: id}, whole: true}
    gone_people: {subject: {Candidate: id}, sweep: {of: people, every: 1ms}}
"#;

/// The people of these numbers, on two pages.
fn put(shapes: &Shapes, ids: impl IntoIterator<Item = usize>) {
    let rows: Vec<String> = ids.into_iter().map(|id| format!("{{\"id\":{id}}}")).collect();
    let (first, second) = rows.split_at(rows.len() / 2);
    let page = |rows: &[String], last| format!("{{\"rows\":[{}],\"complete\":{last}}}", rows.join(","));
    shapes.put("people", &page(first, false));
    shapes.put("people page 2", &page(second, true));
}

struct Place {
    shapes: Shapes,
    connection: Arc<Connection>,
    ledger: Arc<Ledger>,
    poller: Poller<Ledger>,
}

async fn start(ids: impl IntoIterator<Item = usize>) -> Place {
    let shapes = Shapes::start(MANIFEST, [("x-key", "k3y")]).await;
    put(&shapes, ids);
    let connection = shapes.connection(&format!("base_url: {}/v3", shapes.address));
    let ledger = Arc::new(Ledger::default());
    let poller = poller(&connection, &ledger, &HashMap::new());
    let mut place = Place { shapes, connection, ledger, poller };
    assert!(place.round().await.is_empty());
    place
}

impl Place {
    /// What a round tells to be gone.
    async fn round(&mut self) -> Vec<String> {
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        let before = self.ledger.committed.lock().unwrap().len();
        self.poller.one_round().await;
        let new = Ledger::default();
        new.committed.lock().unwrap().extend(self.ledger.committed.lock().unwrap().iter().skip(before).cloned());
        sorted(of(&new.rows(), "gone_people"))
    }

    /// Another process goes on from what was committed.
    fn restart(&mut self) {
        self.poller = poller(&self.connection, &self.ledger, &self.ledger.cursors());
    }

    fn failing(&self) -> Option<&'static str> {
        self.poller.lanes.last().unwrap().failing
    }

    /// The ids that a restart would find, by their records.
    fn known(&self) -> Vec<Vec<String>> {
        let mut records: Vec<_> =
            self.ledger.cursors().into_iter().filter(|(name, _)| name.contains("/@ids/")).collect();
        records.sort_by(|one, other| one.0.cmp(&other.0));
        records
            .iter()
            .map(|(_, ids)| sorted(ids.sync_token.as_ref().unwrap().split('\n').map(str::to_owned).collect()))
            .collect()
    }
}

#[tokio::test]
async fn what_two_looks_do_not_find_is_told_once_and_is_known_no_more() {
    let mut place = start(1..=4).await;
    assert_eq!(place.known(), [["1", "2"], ["3", "4"]], "with the pages that they came from");
    put(&place.shapes, [1, 3, 4]);
    assert!(place.round().await.is_empty(), "one look is not enough");
    assert_eq!(place.round().await, [r#"{"id":"2"}"#]);
    let record = place.ledger.committed.lock().unwrap().last().unwrap()[0].clone();
    let person = hirewire_schemas::ids::canonical_id("tenant", "acme", "Candidate", "2").to_string();
    assert_eq!(record.key.as_deref(), Some(person.as_bytes()), "behind what was said of the person before");
    assert_eq!(place.known(), [vec!["1"], vec!["3", "4"]]);
    assert!(place.round().await.is_empty() && place.round().await.is_empty());
    // It is there again, and goes again.
    put(&place.shapes, 1..=4);
    place.round().await;
    put(&place.shapes, [1, 3, 4]);
    place.round().await;
    assert_eq!(place.round().await, [r#"{"id":"2"}"#]);
}

#[tokio::test]
async fn what_was_overlooked_once_is_not_gone() {
    let mut place = start(1..=4).await;
    for ids in [vec![1, 3, 4], vec![1, 2, 3, 4], vec![1, 3, 4], vec![1, 2, 4], vec![1, 2, 3]] {
        put(&place.shapes, ids.clone());
        assert!(place.round().await.is_empty(), "{ids:?}");
    }
}

#[tokio::test]
async fn what_went_while_nobody_looked_is_told_after_a_restart() {
    let mut place = start(1..=4).await;
    // Shown by the list between two looks, and by none of these.
    place.poller.lanes.last_mut().unwrap().cursor.as_mut().unwrap().window_to = i64::MAX / 2;
    put(&place.shapes, 1..=5);
    place.round().await;
    put(&place.shapes, [1, 2]);
    place.restart();
    assert!(place.round().await.is_empty());
    place.restart();
    assert!(place.round().await.is_empty(), "what was missed is looked for twice again");
    assert_eq!(place.round().await, [r#"{"id":"3"}"#, r#"{"id":"4"}"#, r#"{"id":"5"}"#]);
    place.restart();
    assert!(place.round().await.is_empty() && place.round().await.is_empty());
}

#[tokio::test]
async fn a_look_that_fails_says_nothing_and_is_gone_on_with() {
    let mut place = start(1..=4).await;
    for (path, body) in [
        ("people page 2", r#"{"rows":[{"id":4}]"#),
        ("people page 2", r#"{"rows":[{"id":4}]}"#),
        ("people page 2", r#"{"rows":[{"name":"x"}],"complete":true}"#),
        ("people", r#"{"rows":[],"complete":"no"}"#),
    ] {
        put(&place.shapes, [1, 2, 4]);
        place.shapes.put(path, body);
        for _ in 0..3 {
            assert!(place.round().await.is_empty(), "{body}");
        }
        assert_eq!(place.failing(), Some("poll-broken-answer"), "{body}");
        put(&place.shapes, 1..=4);
        assert!(place.round().await.is_empty() && place.round().await.is_empty(), "{body}");
    }
    // What is told and not committed is told again.
    put(&place.shapes, [1, 2, 4]);
    place.round().await;
    place.ledger.skip.store(0, std::sync::atomic::Ordering::SeqCst);
    place.ledger.answers.lock().unwrap().push(NotCommitted::Again("a test".to_owned()));
    assert!(place.round().await.is_empty());
    assert_eq!(place.round().await, [r#"{"id":"3"}"#]);
}

#[tokio::test]
async fn when_too_much_is_missing_nothing_is_gone() {
    let mut place = start(1..=40).await;
    put(&place.shapes, 1..=20);
    for _ in 0..3 {
        assert!(place.round().await.is_empty());
    }
    assert_eq!(place.failing(), Some("poll-vanished"));
    // They were hidden; some of them really go.
    put(&place.shapes, 1..=35);
    assert_eq!(place.round().await.len(), 5, "missed for more than two looks");
    assert_eq!(place.failing(), None);
    let more = format!("base_url: {}/v3\ngone_most: 100", place.shapes.address);
    place.connection = place.shapes.connection(&more);
    place.restart();
    put(&place.shapes, 1..=2);
    place.round().await;
    assert_eq!(place.round().await.len(), 33, "somebody says that it may be");
}

#[tokio::test]
async fn records_of_ids_do_not_grow_without_end() {
    let mut place = start(1..=2).await;
    for last in 3..=150 {
        put(&place.shapes, 1..=last);
        place.round().await;
    }
    let known = place.known();
    assert!(known.len() < 80, "{}", known.len());
    let all: Vec<String> = known.into_iter().flatten().collect();
    assert_eq!(all.len(), 150, "each once");
    place.restart();
    put(&place.shapes, 2..=150);
    place.round().await;
    assert_eq!(place.round().await, [r#"{"id":"1"}"#]);
}
