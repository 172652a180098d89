//! The service on a broker and a registry: the embedded ones, or the Kafka that `HIREWIRE_TEST_BROKERS` names.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::time::Duration;

use hirewire_kafka::{Admin, NewTopic};
use hirewire_registry::Access;
use hirewire_schemas::Entity;
use serde_json::json;
use tokio::time::Instant;

use crate::dead_letter::{DeadLetter, DeadLetters as _};
use crate::kafka::DeadLetterTopic;
use crate::replay::fence::{Asked, Fence};

use super::ground::{Ground, JOB, PARTITIONS, application_id, now, origin};
use super::support::{Answer, Received, Receiver, until, while_more_come};

fn config(receivers: &[(&str, &Receiver)], database: &Path) -> String {
    let allow = "allow: {networks: ['127.0.0.0/8']}";
    let mut text = "sinks:\n".to_owned();
    for (name, receiver) in receivers {
        text += &format!(
            "  {name}: {{http: {{url: 'http://{}/{name}', {allow}}}, retry: {{first: 10ms}}}}\n",
            receiver.address
        );
    }
    text += &format!(
        "  analytics: {{sqlite: {{path: {}}}}}\nroutes:\n  analytics: {{sink: analytics}}\n",
        database.display()
    );
    for (name, _) in receivers {
        text += &format!("  {name}: {{sink: {name}, from: now}}\n");
    }
    text
}

/// The bodies' types per application, in order of arrival.
fn types(taken: &[Received]) -> HashMap<String, Vec<String>> {
    let mut types: HashMap<String, Vec<String>> = HashMap::new();
    for received in taken {
        types
            .entry(received.application().to_owned())
            .or_default()
            .push(received.body["type"].as_str().unwrap().to_owned());
    }
    types
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dead_letter_from_before_the_clock_was_set_back_is_kept_and_dated_now() {
    const TOMORROW_US: i64 = 86_400_000_000;
    let ground = Ground::lay().await;
    let topic = ground.names.route_dead_letter("assessment");
    let wanted = NewTopic { name: topic.clone(), partitions: PARTITIONS, replication: 1, config: BTreeMap::new() };
    Admin::new(&ground.kafka).unwrap().create_topics(&[wanted]).await.unwrap();
    let letters = DeadLetterTopic { producer: ground.producer.clone(), topic: topic.as_str().into() };
    let dated = |timestamp_ms| DeadLetter { key: None, value: None, headers: Vec::new(), timestamp_ms, partition: 0 };
    let (before_ms, skewed_ms) = (now() / 1000, now() / 1000 + 5_000);
    letters.put(dated((now() + TOMORROW_US) / 1000)).await.unwrap();
    letters.put(dated(skewed_ms)).await.unwrap();
    let kept: Vec<i64> = ground.read_all(&topic).iter().map(|letter| letter.timestamp_ms).collect();
    assert!((before_ms..=now() / 1000).contains(&kept[0]), "{kept:?}");
    assert_eq!(kept[1..], [skewed_ms], "what any two clocks differ by is left as it is");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_happens_from_now_on_reaches_every_sink_once_and_in_order() {
    const APPLICATIONS: usize = 20;
    drop(
        tracing_subscriber::fmt()
            .with_env_filter(tracing_subscriber::EnvFilter::from_default_env())
            .with_test_writer()
            .try_init(),
    );
    let ground = Ground::lay().await;
    let (onboarding, payroll) =
        (Receiver::start(|_| Answer::Status(200)).await, Receiver::start(|_| Answer::Status(201)).await);
    let refused = application_id(7);
    let refusing = refused.clone();
    let assessment =
        Receiver::start(
            move |body| {
                if body["application_id"] == refusing { Answer::Status(400) } else { Answer::Status(200) }
            },
        )
        .await;
    let database = ground.folder.path().join("analytics.sqlite");
    let receivers = [("onboarding", &onboarding), ("payroll", &payroll), ("assessment", &assessment)];
    let config = config(&receivers, &database);
    let data = ground.folder.path().join("data");

    ground.put(Entity::Job, JOB, JOB, json!({"name": "Engineer"})).await;
    let old = application_id(900);
    ground.put_context(&old).await;
    ground.put_change(&old, 1, "HIRE", 1_500_000_000_000_000, "WEBHOOK").await;
    ground.put_change(&old, 2, "HIRE", now() + 60_000_000, "BACKFILL").await;

    let service = ground.start(&config, &data).await;
    for number in 0..APPLICATIONS {
        let application = application_id(number);
        ground.put_change(&application, 1, "CREATED", now(), "POLL").await;
        ground.put_change(&application, 2, "STAGE", now(), "WEBHOOK").await;
        ground.put_change(&application, 3, "HIRE", now(), "WEBHOOK").await;
        ground.put_change(&application, 4, "UNHIRE", now(), "WEBHOOK").await;
        // The context comes after the change: it is waited for.
        ground.put_context(&application).await;
    }
    // An undone hire that was never sent has nothing to take back.
    ground.put_change(&old, 3, "UNHIRE", now(), "WEBHOOK").await;
    until("the receivers to have all", || {
        tracing::debug!(
            a = onboarding.all().len(),
            b = payroll.all().len(),
            c = assessment.all().len(),
            d = service.counter("hirewire_route_deliveries_total", "analytics")
        );
        onboarding.all().len() >= 2 * APPLICATIONS
            && payroll.all().len() >= 2 * APPLICATIONS
            && assessment.all().len() >= APPLICATIONS
            // Changes, and a row for each application.
            && service.counter("hirewire_route_deliveries_total", "analytics") >= 5 * APPLICATIONS as u64 + 4
    })
    .await;
    until("the dead letter", || service.counter("hirewire_route_dead_letters_total", "assessment") == 1).await;
    service.stop().await;

    for (receiver, expected) in [(&onboarding, ["hire", "hire_cancelled"]), (&payroll, ["pay", "pay_cancelled"])] {
        let types = types(&receiver.taken());
        assert_eq!(types.len(), APPLICATIONS);
        assert!(types.values().all(|types| *types == expected), "{types:?}");
    }
    assert_eq!(payroll.taken()[0].body["compensation"][0]["amount"], "85000.5");
    assert_eq!(assessment.taken().len(), APPLICATIONS - 1);
    let letters = ground.read_all(&ground.names.route_dead_letter("assessment"));
    assert_eq!(letters.len(), 1);
    assert_eq!(letters[0].key.as_deref(), Some(refused.as_bytes()));
    assert_eq!(letters[0].header_str("dlq.reason"), Some("ROUTE_REJECTED"));
    let rows = |sql: &str| {
        let connection = rusqlite::Connection::open(&database).unwrap();
        connection.query_row(sql, [], |row| row.get::<_, i64>(0)).unwrap()
    };
    assert_eq!(rows("SELECT count(*) FROM stage_change"), 4 * APPLICATIONS as i64 + 3);
    assert_eq!(rows("SELECT count(*) FROM application"), APPLICATIONS as i64 + 1);

    // A restart sends nothing again, keeps the routes' starts, and goes on.
    let starts = ground.read_all(&ground.names.internal("route"));
    assert_eq!(starts.len(), 3);
    let before = onboarding.all().len();
    let service = ground.start(&config, &data).await;
    let application = application_id(500);
    ground.put_context(&application).await;
    ground.put_change(&application, 1, "HIRE", now(), "WEBHOOK").await;
    until("the new hire", || onboarding.all().len() > before).await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(onboarding.all().len(), before + 1);
    service.stop().await;
    assert_eq!(ground.read_all(&ground.names.internal("route")).len(), 3);
}

/// How long a receiver is dead: for the shortest time that shows anything, or so many seconds as
/// `HIREWIRE_TEST_DEAD_SECONDS` says.
fn dead_for() -> Duration {
    let secs = std::env::var("HIREWIRE_TEST_DEAD_SECONDS").map_or(0, |secs| secs.parse().unwrap());
    Duration::from_secs(secs)
}

/// FAULTS R3. One receiver of four refuses connections, so that its gate shuts, then takes them and says nothing: round for
/// round the others get everything meanwhile, through gates of their own and though its window is full, and it gets
/// everything, in order and once, after it has come back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dead_receiver_harms_no_other_and_catches_up_in_order() {
    /// Applications of a round; in each they move, are hired, and are not hired after all.
    const ROUND: usize = 12;
    /// The rounds of the same applications, then come others.
    const TURNS: usize = 10;
    let ground = Ground::lay().await;
    let (onboarding, assessment) =
        (Receiver::start(|_| Answer::Status(200)).await, Receiver::start(|_| Answer::Status(200)).await);
    let (dead, socket) = Receiver::refusing();
    let mut socket = Some(socket);
    let database = ground.folder.path().join("analytics.sqlite");
    let config = config(&[("onboarding", &onboarding), ("assessment", &assessment), ("payroll", &dead)], &database);
    // The dead one is asked often, so that the test is short; no record is given up.
    let config = config.replace("/payroll', allow", "/payroll', timeout: 2s, allow").replace(
        "retry: {first: 10ms}",
        "retry: {first: 10ms, longest: 300ms}, breaker: {failures: 3, probe: 100ms}, window: 5",
    );
    let service = ground.start(&config, &ground.folder.path().join("data")).await;
    ground.put(Entity::Job, JOB, JOB, json!({"name": "Engineer"})).await;
    let put = async |round: usize| {
        for number in 0..ROUND {
            let application = application_id(round / TURNS * ROUND + number);
            let turn = (round % TURNS) as i64;
            if turn == 0 {
                ground.put_context(&application).await;
            }
            for (sequence_no, kind) in (3 * turn + 1..).zip(["STAGE", "HIRE", "UNHIRE"]) {
                ground.put_change(&application, sequence_no, kind, now(), "WEBHOOK").await;
            }
        }
    };
    let stored = || service.counter("hirewire_route_deliveries_total", "analytics") as usize;
    let shut = |sink| service.counter("hirewire_route_breaker_open", sink) == 1;
    let mut rounds = 0;
    for is_silent in [false, true] {
        if is_silent {
            dead.answer(|_| Answer::Silence);
            dead.listen(socket.take().unwrap().listen(1024).unwrap());
            until("the dead one to be tried", || !dead.all().is_empty()).await;
        }
        let began = Instant::now();
        loop {
            put(rounds).await;
            rounds += 1;
            let changes = rounds * ROUND;
            until("the other sinks to have everything", || {
                onboarding.count_taken() >= 2 * changes
                    && assessment.count_taken() >= changes
                    // Three changes, and once each application itself.
                    && stored() >= 3 * changes + rounds.div_ceil(TURNS) * ROUND
            })
            .await;
            if began.elapsed() >= dead_for() / 2 {
                break;
            }
            // A round a second is load enough for as long as it takes.
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        until("its gate to be shut", || shut("payroll")).await;
        assert!(!shut("onboarding") && !shut("assessment") && !shut("analytics"));
        assert_eq!(dead.count_taken(), 0, "it is dead");
        assert!(
            service.counter("hirewire_route_window_full_total", "payroll") > 0,
            "more waits than it may have in hand"
        );
    }

    dead.answer(|_| Answer::Status(200));
    let changes = rounds * ROUND;
    while_more_come("the dead one's deliveries", 2 * changes, || dead.count_taken()).await;
    service.stop().await;
    for (receiver, hire, cancelled) in [(&onboarding, "hire", "hire_cancelled"), (&dead, "pay", "pay_cancelled")] {
        let taken = receiver.taken();
        assert_eq!(taken.len(), 2 * changes);
        let mut of_one: HashMap<&str, Vec<&Received>> = HashMap::new();
        taken.iter().for_each(|received| of_one.entry(received.application()).or_default().push(received));
        assert_eq!(of_one.len(), rounds.div_ceil(TURNS) * ROUND);
        for of_one in of_one.values() {
            let mut last = jiff::Timestamp::MIN;
            for pair in of_one.chunks(2) {
                let [first, second] = pair else { panic!("a hire that was not cancelled") };
                let types = (&first.body["type"], &second.body["type"]);
                assert_eq!(types, (&json!(hire), &json!(cancelled)));
                assert_eq!(second.body["cancels"], first.body["key"], "each takes back the hire before it");
                let at: jiff::Timestamp = second.body["cancelled_at"].as_str().unwrap().parse().unwrap();
                assert!(at > last, "in the order of the changes");
                last = at;
            }
        }
    }
    assert_eq!(assessment.count_taken(), changes);
    assert_eq!(stored_changes(&database), 3 * changes as i64);
    assert!(ground.read_all(&ground.names.route_dead_letter("payroll")).is_empty(), "nothing was given up");
}

fn stored_changes(database: &Path) -> i64 {
    let connection = rusqlite::Connection::open(database).unwrap();
    connection.query_row("SELECT count(*) FROM stage_change", [], |row| row.get(0)).unwrap()
}

/// Two replicas that enable a route at the same moment write twice: the first record counts for ever, and compaction
/// must not take it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_starts_of_a_route_the_first_counts_and_is_written_again() {
    let ground = Ground::lay().await;
    let starts = crate::starts::Starts::new(&ground.kafka, &ground.names, ground.codec.clone(), PARTITIONS);
    let route = [("hires".into(), "onboarding".into())];
    let at = |text: &str| text.parse::<jiff::Timestamp>().unwrap();
    for from in ["2026-01-01T00:00:00Z", "2026-01-01T00:00:07Z"] {
        let value = starts.encode("hires", "onboarding", at(from)).await.unwrap();
        starts.write(&ground.producer, "hires", value).await.unwrap();
    }
    for _ in 0..2 {
        let fixed = starts.fix(&ground.producer, &route).await.unwrap();
        assert_eq!(fixed.values().copied().collect::<Vec<_>>(), [at("2026-01-01T00:00:00Z")]);
        let all = ground.read_all(&ground.names.internal("route"));
        assert_eq!(all.len(), 3, "the first one was written again, once");
        assert_eq!(all[0].value, all[2].value);
    }
}

/// A second replica joins, the first one leaves, then the second one is cut off in the middle: order holds, nothing is
/// lost, and only the cut-off may cause a resend, with the same key.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replicas_that_come_go_and_break_keep_the_order_and_lose_nothing() {
    const APPLICATIONS: usize = 24;
    let ground = Ground::lay().await;
    let mut dice = fastrand::Rng::with_seed(3);
    let receiver = Receiver::start(move |_| match dice.u8(..10) {
        0 => Answer::Status(500),
        1 => Answer::Reset,
        _ => Answer::Status(200),
    })
    .await;
    let database = ground.folder.path().join("analytics.sqlite");
    let config = config(&[("assessment", &receiver)], &database);
    let data = |name: &str| ground.folder.path().join(name);
    ground.put(Entity::Job, JOB, JOB, json!({"name": "Engineer"})).await;
    for number in 0..APPLICATIONS {
        ground.put_context(&application_id(number)).await;
    }
    let mut sequence_no = 0;
    let mut round = async |ground: &Ground, count: i64| {
        for _ in 0..count {
            sequence_no += 1;
            for number in 0..APPLICATIONS {
                ground.put_change(&application_id(number), sequence_no, "STAGE", now(), "WEBHOOK").await;
            }
        }
        sequence_no * APPLICATIONS as i64
    };
    let distinct = |receiver: &Receiver| {
        let keys: std::collections::HashSet<String> =
            receiver.taken().iter().map(|received| received.headers["idempotency-key"].clone()).collect();
        i64::try_from(keys.len()).unwrap()
    };

    let first = ground.start(&config, &data("first")).await;
    round(&ground, 5).await;
    let second = ground.start(&config, &data("second")).await;
    round(&ground, 10).await;
    first.stop().await;
    let sent = round(&ground, 5).await;
    until("all rounds of the orderly part", || distinct(&receiver) == sent).await;
    // What was delivered beyond the committed head is sent again by the next owner, with its key: once for each of the two
    // changes at the most.
    let mut times: HashMap<String, usize> = HashMap::new();
    for received in receiver.taken() {
        *times.entry(received.headers["idempotency-key"].clone()).or_default() += 1;
    }
    assert!(times.values().all(|times| *times <= 3), "{times:?}");

    let sent = round(&ground, 10).await;
    until("a part of the next rounds", || distinct(&receiver) > sent - 9 * APPLICATIONS as i64).await;
    second.task.abort();
    let third = ground.start(&config, &data("third")).await;
    until("all rounds", || distinct(&receiver) == sent).await;

    let mut last: HashMap<String, i64> = HashMap::new();
    let mut seen: HashMap<String, String> = HashMap::new();
    for received in receiver.taken() {
        let stage: i64 = received.body["stage"]["id"].as_str().unwrap().rsplit('-').next().unwrap().parse().unwrap();
        let key = received.headers["idempotency-key"].clone();
        let what = format!("{} {stage}", received.application());
        assert_eq!(*seen.entry(key.clone()).or_insert(what.clone()), what, "one key, one event");
        let last = last.entry(received.application().to_owned()).or_default();
        if stage > *last {
            assert_eq!(stage, *last + 1, "an event overtook another of its key");
            *last = stage;
        }
    }
    third.stop().await;
}

/// FAULTS R7. Two dead letters of one application come back in their order; one that has something newer does not, also
/// when the newer one came after `hirewire dlq replay` had looked. Nothing of it reaches another sink.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dead_letter_comes_back_to_its_sink_alone_and_never_past_what_is_newer() {
    let ground = Ground::lay().await;
    let (refused, overtaken) = (application_id(1), application_id(2));
    let receiver = Receiver::start(|_| Answer::Status(400)).await;
    let other = Receiver::start(|_| Answer::Status(200)).await;
    let database = ground.folder.path().join("analytics.sqlite");
    let config = config(&[("assessment", &receiver), ("onboarding", &other)], &database);
    ground.put(Entity::Job, JOB, JOB, json!({"name": "Engineer"})).await;
    let service = ground.start(&config, &ground.folder.path().join("data")).await;
    for application in [&refused, &overtaken] {
        ground.put_context(application).await;
    }
    for (application, sequence_no) in [(&refused, 1), (&refused, 2), (&overtaken, 1)] {
        ground.put_change(application, sequence_no, "STAGE", now(), "WEBHOOK").await;
    }
    let dead = || service.counter("hirewire_route_dead_letters_total", "assessment");
    until("the dead letters", || dead() == 3).await;
    receiver.answer(|_| Answer::Status(200));
    ground.put_change(&overtaken, 2, "STAGE", now(), "WEBHOOK").await;
    until("the newer one", || receiver.taken().len() == 1).await;
    // Four changes and two applications.
    let stored = 6;
    until("analytics to have all", || service.counter("hirewire_route_deliveries_total", "analytics") == stored).await;

    let topic = ground.names.route_dead_letter("assessment");
    let letters = || {
        let mut letters = ground.read_all(&topic);
        letters.sort_by_key(|letter| (letter.key.clone(), letter.offset));
        letters
    };
    let header = |letter: &hirewire_kafka::Inbound, name: &str| letter.header_str(name).unwrap().to_owned();
    let first = letters();
    let asked: Vec<Asked> = first
        .iter()
        .map(|letter| Asked {
            sink: "assessment".into(),
            route: header(letter, "dlq.route"),
            origin: origin(letter),
            key: letter.key.clone(),
        })
        .collect();
    let open = asked.iter().map(|asked| (asked.sink.clone(), asked.origin.clone())).collect();
    let fence = Fence::new(
        &Ground::settings(&config),
        &ground.kafka,
        &ground.names,
        &Access::plain(&ground.place.registry_url),
        PARTITIONS,
    )
    .await;
    let checked = fence.unwrap().check(&asked, &open).await.unwrap();
    let forbidden: Vec<bool> = checked.iter().map(|checked| checked.newer.is_some()).collect();
    assert_eq!(forbidden, [false, false, true]);

    let send = async |letter: &hirewire_kafka::Inbound, checked_to: i64, even_if_newer: bool| {
        ground.replay("assessment", letter, checked_to, even_if_newer).await;
    };
    for (letter, checked) in first.iter().zip(&checked).take(2) {
        send(letter, checked.checked_to, false).await;
    }
    // As if it had been looked at before the newer one came.
    send(&first[2], origin(&first[2]).offset + 1, false).await;
    until("the two to arrive, and the third in the dead letters again", || receiver.taken().len() == 3 && dead() == 4)
        .await;
    let keys = |answer: Answer, application: &str| -> Vec<String> {
        let all = receiver.all().into_iter().filter(|one| one.answered == answer && one.application() == application);
        all.map(|one| one.headers["idempotency-key"].clone()).collect()
    };
    assert_eq!(keys(Answer::Status(200), &refused), keys(Answer::Status(400), &refused), "in order, with their keys");
    let again = letters().pop().unwrap();
    assert_eq!(again.header_str("dlq.reason"), Some("ROUTE_NOT_REPLAYED"));
    assert_eq!(origin(&again), origin(&first[2]), "it says where the record came from, not where the replay stood");
    assert_eq!(again.value, first[2].value);

    send(&again, 0, true).await;
    until("what a person wants all the same", || receiver.taken().len() == 4).await;
    assert!(other.all().is_empty());
    assert_eq!(service.counter("hirewire_route_deliveries_total", "analytics"), stored, "no other sink takes it");
    service.stop().await;
}
