//! RudderStack's test: every key of every sink has its own prescribed answers, and what the receivers saw is judged.
//!
//! Of each event a receiver first answers what is prescribed before the end (500, 429, silence, a reset), then for
//! ever the end, 200 or 400. On the embedded broker, or on the Kafka that `HIREWIRE_TEST_BROKERS` names; undisturbed,
//! and with replicas that come, go and are killed.

use hirewire_schemas::Entity;
use serde_json::{Value, json};
use std::collections::{HashMap, HashSet, VecDeque};

use super::ground::{Ground, JOB, Service, application_id, now};
use super::process::Process;
use super::support::{Answer, Received, Receiver, while_more_come};

const SINKS: usize = 4;
const KEYS: usize = 50;
const EVENTS: i64 = 40;
const OK: Answer = Answer::Status(200);
const REFUSED: Answer = Answer::Status(400);

/// An event of a key, the key's first one being 1.
type Event = (String, i64);

/// What comes before the end, and the end.
#[derive(Clone)]
struct Prescribed {
    before: VecDeque<Answer>,
    end: Answer,
}

fn prescribe(seed: u64) -> HashMap<Event, Prescribed> {
    let mut dice = fastrand::Rng::with_seed(seed);
    let mut prescribed = HashMap::new();
    for key in 0..KEYS {
        // Silence costs the most time: one for each key.
        let silent = dice.i64(1..=EVENTS);
        for number in 1..=EVENTS {
            let mut before = VecDeque::new();
            while dice.u8(..3) == 0 {
                before.push_back([Answer::Status(500), Answer::Throttle, Answer::Reset][dice.usize(..3)]);
            }
            if number == silent {
                before.push_back(Answer::Silence);
            }
            let end = if dice.u8(..8) == 0 { REFUSED } else { OK };
            prescribed.insert((application_id(key), number), Prescribed { before, end });
        }
    }
    prescribed
}

fn number_of(body: &Value) -> i64 {
    body["stage"]["id"].as_str().unwrap_or_default().rsplit('-').next().and_then(|text| text.parse().ok()).unwrap_or(0)
}

fn event_of(body: &Value) -> Event {
    (body["application_id"].as_str().unwrap_or_default().to_owned(), number_of(body))
}

async fn receiver(mut prescribed: HashMap<Event, Prescribed>) -> Receiver {
    Receiver::start(move |body| {
        let of_event = prescribed.get_mut(&event_of(body)).expect("an event that was put");
        of_event.before.pop_front().unwrap_or(of_event.end)
    })
    .await
}

fn is_end(answer: Answer) -> bool {
    answer == OK || answer == REFUSED
}

/// The events that have come to their end.
fn ended(receivers: &[Receiver]) -> usize {
    let of_one = |receiver: &Receiver| {
        let seen = receiver.seen.lock().unwrap();
        let ends = seen.iter().filter(|received| is_end(received.answered));
        ends.map(|received| event_of(&received.body)).collect::<HashSet<_>>().len()
    };
    receivers.iter().map(of_one).sum()
}

/// What is wrong with what one receiver saw. `disturbances`: how often an owner of a key's partition went away, each
/// of which may send again what was not committed; never in another order, never under another key.
fn faults(seen: &[Received], disturbances: usize) -> Vec<String> {
    let mut faults = Vec::new();
    let mut last_ended: HashMap<String, i64> = HashMap::new();
    let mut rewinds: HashMap<String, usize> = HashMap::new();
    let mut keys: HashMap<String, Event> = HashMap::new();
    let mut keys_of: HashMap<Event, String> = HashMap::new();
    for received in seen {
        let event = event_of(&received.body);
        let (application, number) = event.clone();
        let key = received.headers["idempotency-key"].clone();
        if *keys.entry(key.clone()).or_insert(event.clone()) != event
            || *keys_of.entry(event).or_insert(key.clone()) != key
        {
            faults.push(format!("{application} {number} came under another idempotency key"));
        }
        let last = last_ended.entry(application.clone()).or_default();
        if number <= *last {
            *rewinds.entry(application).or_default() += 1;
            *last = number - 1;
        } else if number > *last + 1 {
            faults.push(format!("{application} {number} came after {last}"));
        }
        if is_end(received.answered) {
            *last = number;
        }
    }
    for (application, rewinds) in rewinds {
        if rewinds > disturbances {
            faults.push(format!("{application} was sent again {rewinds} times after a final answer"));
        }
    }
    faults
}

/// Each refusal in the dead letters once; with `repeats`, so often as the receiver gave it at the most.
fn check_letters(
    ground: &Ground,
    sink: &str,
    seen: &[Received],
    prescribed: &HashMap<Event, Prescribed>,
    repeats: bool,
) {
    let mut expected: HashMap<String, usize> = HashMap::new();
    for ((application, _), _) in prescribed.iter().filter(|(_, prescribed)| prescribed.end == REFUSED) {
        *expected.entry(application.clone()).or_default() += 1;
    }
    let mut refused: HashMap<String, usize> = HashMap::new();
    for received in seen.iter().filter(|received| received.answered == REFUSED) {
        *refused.entry(received.application().to_owned()).or_default() += 1;
    }
    let mut letters: HashMap<String, Vec<String>> = HashMap::new();
    for letter in ground.read_all(&ground.names.route_dead_letter(sink)) {
        assert_eq!(letter.header_str("dlq.reason"), Some("ROUTE_REJECTED"));
        let key = String::from_utf8(letter.key.as_deref().unwrap().to_vec()).unwrap();
        let offset = letter.header_str("__connect.errors.offset").unwrap().to_owned();
        letters.entry(key).or_default().push(offset);
    }
    assert_eq!(letters.len(), expected.len(), "{sink}: keys with dead letters");
    for (application, count) in &expected {
        let of_key = &letters[application];
        assert_eq!(of_key.iter().collect::<HashSet<_>>().len(), *count, "{sink}: dead letters of {application}");
        let most = if repeats { refused[application] } else { *count };
        assert!(of_key.len() <= most, "{sink}: {application} has {} dead letters of {count} records", of_key.len());
    }
}

fn config(receivers: &[Receiver]) -> String {
    let (mut sinks, mut routes) = ("sinks:\n".to_owned(), "routes:\n".to_owned());
    for (number, receiver) in receivers.iter().enumerate() {
        sinks += &format!(
            "  s{number}: {{system: assessment, retry: {{first: 5ms, longest: 50ms, longest_asked: 100ms}}, \
             http: {{url: 'http://{}/in', timeout: 10s, allow: {{networks: ['127.0.0.0/8']}}}}}}\n",
            receiver.address
        );
        routes += &format!("  s{number}: {{sink: s{number}}}\n");
    }
    sinks + &routes
}

async fn put(ground: &Ground, numbers: std::ops::RangeInclusive<i64>) {
    for number in numbers {
        for key in 0..KEYS {
            ground.put_change(&application_id(key), number, "STAGE", now(), "WEBHOOK").await;
        }
    }
}

async fn until_ended(receivers: &[Receiver], wanted: usize) {
    while_more_come("the ends", wanted, || ended(receivers)).await;
}

const ALL: usize = SINKS * KEYS * EVENTS as usize;

struct Stage {
    ground: Ground,
    prescribed: Vec<HashMap<Event, Prescribed>>,
    receivers: Vec<Receiver>,
    config: String,
}

impl Stage {
    async fn set() -> Self {
        let ground = Ground::lay().await;
        let prescribed: Vec<_> = (0..SINKS as u64).map(prescribe).collect();
        let mut receivers = Vec::new();
        for of_sink in &prescribed {
            receivers.push(receiver(of_sink.clone()).await);
        }
        ground.put(Entity::Job, JOB, JOB, json!({"name": "Engineer"})).await;
        for key in 0..KEYS {
            ground.put_context(&application_id(key)).await;
        }
        let config = config(&receivers);
        Self { ground, prescribed, receivers, config }
    }

    async fn start(&self, name: &str) -> Service {
        self.ground.start(&self.config, &self.ground.folder.path().join(name)).await
    }

    fn judge(&self, disturbances: usize) {
        for (number, (receiver, prescribed)) in self.receivers.iter().zip(&self.prescribed).enumerate() {
            let seen = receiver.all();
            let faults = faults(&seen, disturbances);
            assert!(faults.is_empty(), "s{number}: {faults:#?}");
            check_letters(&self.ground, &format!("s{number}"), &seen, prescribed, disturbances > 0);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn four_sinks_with_prescribed_answers_see_order_no_double_and_each_refusal_once() {
    let stage = Stage::set().await;
    let service = stage.start("one").await;
    put(&stage.ground, 1..=EVENTS).await;
    until_ended(&stage.receivers, ALL).await;
    service.stop().await;
    stage.judge(0);
}

/// A replica joins as a process of its own, the first one leaves, the process is killed, a third one goes on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn prescribed_answers_hold_through_rebalances_and_a_kill() {
    let stage = Stage::set().await;
    let first = stage.start("first").await;
    put(&stage.ground, 1..=10).await;
    let mut killed = Process::start(&stage.ground, &stage.config).await;
    put(&stage.ground, 11..=15).await;
    first.stop().await;
    let kill = async {
        until_ended(&stage.receivers, ALL * 9 / 20).await;
        killed.kill();
        assert!(ended(&stage.receivers) < ALL, "killed with work in hand");
        stage.start("third").await
    };
    let ((), third) = tokio::join!(put(&stage.ground, 16..=EVENTS), kill);
    until_ended(&stage.receivers, ALL).await;
    third.stop().await;
    // The process joins, the first one leaves, the process is killed, and the third one may join before it is missed.
    stage.judge(4);
}
