//! Deliveries that go several in one: what the answer says of each decides of each.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};

use super::support::{Answer, Context, Options, Receiver, Running, arrival, change, context, run, until};
use crate::http::batch::BatchSettings;
use crate::system::carried;

fn options(requests: usize, linger: Duration) -> Options {
    Options { batch: Some(BatchSettings { requests, linger, bytes: 1024 * 1024 }), ..Options::default() }
}

fn running(receiver: &Receiver, context: &Context, options: Options) -> Running {
    context.put_common();
    let running = run(&carried("assessment"), receiver, context, options);
    running.assign(&[0]);
    running
}

/// Orders of these applications, in their order; of one that comes again the next one.
fn put(running: &Running, context: &Context, applications: &[&str]) {
    let mut numbers: HashMap<&str, i64> = HashMap::new();
    for (offset, application) in (0..).zip(applications) {
        let number = numbers.entry(application).or_default();
        *number += 1;
        context.put_application(application);
        running.record(arrival(0, offset, application, &change(application, *number, "STAGE")));
    }
}

/// Applications and stages of each request.
fn sent(receiver: &Receiver) -> Vec<Vec<(String, String)>> {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let items = |body: &Value| -> Vec<(String, String)> {
        let items = body.as_array().unwrap().iter();
        items.map(|item| (text(&item["application_id"]), text(&item["stage"]["id"]))).collect()
    };
    receiver.all().iter().map(|received| items(&received.body)).collect()
}

/// 207, with the status of each item as `of` says: the items in another order than they came.
fn each(body: &Value, mut of: impl FnMut(&Value) -> Option<u16>) -> Answer {
    let items = body.as_array().unwrap().iter().rev();
    let told: Vec<Value> =
        items.filter_map(|item| of(item).map(|status| json!({"key": item["key"], "status": status}))).collect();
    Answer::Says(207, Value::Array(told).to_string().leak())
}

#[tokio::test]
async fn a_batch_goes_when_it_is_full_and_when_it_has_lingered() {
    let receiver = Receiver::start(|_| Answer::Status(200)).await;
    let context = context();
    let running = running(&receiver, &context, options(3, Duration::from_millis(100)));
    put(&running, &context, &["a", "b", "c", "d", "e", "f", "g"]);
    until("all", || running.commits.head(0) == 7).await;
    let mut sizes: Vec<usize> = sent(&receiver).iter().map(Vec::len).collect();
    sizes.sort_unstable();
    assert_eq!(sizes, [1, 3, 3]);
    let mut all: Vec<String> = sent(&receiver).into_iter().flatten().map(|(application, _)| application).collect();
    all.sort();
    assert_eq!(all, ["a", "b", "c", "d", "e", "f", "g"], "each once");
    running.end().await;
}

#[tokio::test]
async fn of_an_answer_207_each_item_is_delivered_tried_again_or_a_dead_letter_on_its_own() {
    let tries: Arc<Mutex<HashMap<String, usize>>> = Arc::default();
    let seen = Arc::clone(&tries);
    let receiver = Receiver::start(move |body| {
        each(body, |item| {
            let stage = item["stage"]["id"].as_str().unwrap();
            let name = format!("{}/{stage}", item["application_id"].as_str().unwrap());
            let mut seen = seen.lock().unwrap();
            let tries = seen.entry(name.clone()).or_default();
            *tries += 1;
            match (name.as_str(), *tries) {
                ("slow/s1", 1) => Some(429),
                ("slow/s1", 2) => Some(503),
                // No word of it.
                ("slow/s1", 3) => None,
                ("bad/s1", _) => Some(422),
                _ => Some(200),
            }
        })
    })
    .await;
    let context = context();
    let running = running(&receiver, &context, options(10, Duration::from_millis(30)));
    put(&running, &context, &["good", "slow", "bad", "slow", "bad", "good"]);
    until("all", || running.commits.head(0) == 6).await;
    let all: Vec<String> = sent(&receiver).into_iter().flatten().map(|(one, stage)| format!("{one}/{stage}")).collect();
    let of = |name: &str| all.iter().filter(|one| one.starts_with(name)).map(String::as_str).collect::<Vec<_>>();
    assert_eq!(of("good"), ["good/s1", "good/s2"], "not again for the others' sake");
    assert_eq!(of("slow"), ["slow/s1", "slow/s1", "slow/s1", "slow/s1", "slow/s2"], "the later one of its key waits");
    assert_eq!(of("bad"), ["bad/s1", "bad/s2"]);
    {
        let letters = running.letters.put.lock().unwrap();
        assert_eq!(letters.len(), 1);
        let reason = letters[0].headers.iter().find(|(name, _)| name == "__connect.errors.exception.message").unwrap();
        assert_eq!(&reason.1[..], b"HTTP 422");
    }
    running.end().await;
}

#[tokio::test]
async fn a_batch_that_is_refused_as_a_whole_is_halved_until_it_is_known_whose_fault_it_is() {
    let receiver = Receiver::start(|body| {
        let bad = body.as_array().unwrap().iter().any(|item| item["application_id"] == "bad");
        Answer::Status(if bad { 400 } else { 200 })
    })
    .await;
    let context = context();
    let running = running(&receiver, &context, options(8, Duration::from_millis(300)));
    put(&running, &context, &["a", "b", "c", "bad", "d", "e", "f", "g"]);
    until("all", || running.commits.head(0) == 8).await;
    assert_eq!(running.letters.put.lock().unwrap().len(), 1);
    let taken: Vec<usize> = receiver.taken().iter().map(|one| one.body.as_array().unwrap().len()).collect();
    assert_eq!(taken.iter().sum::<usize>(), 7, "{taken:?}");
    assert_eq!(receiver.all().len(), 7, "8, 4 (with 2, 2 (with 1, 1)), 4");
    running.end().await;
}

#[tokio::test]
async fn an_answer_207_that_nobody_can_read_is_no_delivery() {
    let mut answers = vec![Answer::Says(207, "<multistatus/>"), Answer::Says(207, "[]"), Answer::Reset].into_iter();
    let receiver = Receiver::start(move |body| answers.next().unwrap_or_else(|| each(body, |_| Some(201)))).await;
    let context = context();
    let running = running(&receiver, &context, options(2, Duration::from_millis(300)));
    put(&running, &context, &["a", "b"]);
    until("both", || running.commits.head(0) == 2).await;
    let keys: Vec<String> = receiver.all().iter().map(|one| one.headers["idempotency-key"].clone()).collect();
    assert!(keys.len() >= 4, "{:?}", sent(&receiver));
    assert!(running.letters.put.lock().unwrap().is_empty());
    running.end().await;
}

#[tokio::test]
async fn what_was_given_up_before_its_batch_went_is_not_in_it() {
    let receiver = Receiver::start(|body| each(body, |_| Some(200))).await;
    let context = context();
    let slow = options(10, Duration::from_millis(800));
    let running = running(&receiver, &context, Options { drain: Duration::from_millis(50), ..slow });
    put(&running, &context, &["a", "b"]);
    until("both to wait for others", || running.metric("hirewire_route_keys_under_way") == 2).await;
    // They come into the batch at once.
    tokio::time::sleep(Duration::from_millis(100)).await;
    running.end().await;
    tokio::time::sleep(Duration::from_millis(1_000)).await;
    assert!(receiver.all().is_empty(), "{:?}", sent(&receiver));
}

#[test]
fn mistakes_of_batches_are_refused_with_their_lines() {
    let settings = |batch: &str, system: &str| {
        let text = format!("one:\n  system: {system}\n  http:\n    url: https://x.example\n    batch: {batch}\n");
        let root = hirewire_yaml::parse("hirewire.yaml", &text).unwrap();
        let mut problems = hirewire_yaml::Problems::new();
        let read = crate::Settings::read(Some(&root), None, None, None, &mut problems);
        problems.into_result(read).map(drop).map_err(|problems| problems.to_string())
    };
    assert_eq!(settings("{requests: 100, linger: 20ms, bytes: 100000}", "assessment"), Ok(()));
    for (batch, system, told) in [
        ("{requests: 1}", "assessment", "hirewire.yaml:5: 1 is too small"),
        ("{requests: 9, linger: 3s}", "assessment", "hirewire.yaml:5: `linger` can be at most 2s (write 50ms)"),
        ("{request: 9}", "assessment", "hirewire.yaml:5: `requests` is missing"),
        (
            "{requests: 9}",
            "bamboohr",
            "hirewire.yaml:5: the system \"bamboohr\" does not say how its requests go in a batch",
        ),
    ] {
        let refused = settings(batch, system).unwrap_err();
        assert!(refused.contains(told), "{told}\n{refused}");
    }
}
