//! The transactional loop, group consumer, tables, writer and leases on a broker: the embedded one, or the one that
//! `HIREWIRE_TEST_BROKERS` names (the test command runs these twice).
#![allow(clippy::unwrap_used, clippy::expect_used, unreachable_pub)]

mod broker;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use broker::{TestBroker, fresh, wait_for};
use bytes::Bytes;
use hirewire_kafka::{
    Admin, GroupConsumer, GroupEvent, GroupMetrics, GroupOptions, Inbound, Isolation, LeaseEvent, Leases, NewTopic,
    Outbox, PartitionedMetrics, PartitionedOptions, Producer, ProducerOptions, Record, Settings, Step, Stop,
    TableFollower, TransactionalWriter, read_table, run_partitioned, self_check,
};
use hirewire_service::{Health, Shutdown};

async fn topics(settings: &Settings, names: &[&str], partitions: i32) {
    let fresh: Vec<NewTopic> = names
        .iter()
        .map(|name| NewTopic { name: (*name).to_owned(), partitions, replication: 1, config: BTreeMap::new() })
        .collect();
    Admin::new(settings).unwrap().create_topics(&fresh).await.unwrap();
}

fn record(topic: &str, partition: i32, value: &str) -> Record {
    Record {
        topic: Arc::from(topic),
        partition: Some(partition),
        key: Some(Bytes::from_static(b"key")),
        value: Some(Bytes::copy_from_slice(value.as_bytes())),
        headers: vec![(Arc::from("twice"), Bytes::from_static(b"1")), (Arc::from("twice"), Bytes::from_static(b"2"))],
        timestamp_ms: None,
    }
}

fn text(inbound: &Inbound) -> String {
    String::from_utf8(inbound.value.as_deref().unwrap_or_default().to_vec()).unwrap()
}

fn read_all(settings: &Settings, topic: &str, partitions: i32) -> Vec<String> {
    let mut values = Vec::new();
    for partition in 0..partitions {
        read_table(settings, topic, partition, 0, Isolation::Committed, &mut |inbound| {
            values.push(text(&inbound));
            Ok(())
        })
        .unwrap();
    }
    values
}

#[tokio::test(flavor = "multi_thread")]
async fn the_broker_keeps_the_promises_that_exactly_once_is_built_on() {
    let broker = TestBroker::start().await;
    let checked = self_check(&broker.settings, &fresh("self-check")).await.unwrap();
    assert_eq!(checked.broken, Vec::<String>::new());
    // The record says that it is of 1970; the broker, on this machine, knows better.
    assert!(checked.clock_ahead_ms.abs() < 60_000, "{checked:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sent_record_is_there_with_its_headers_in_order() {
    let broker = TestBroker::start().await;
    let topic = fresh("sent");
    topics(&broker.settings, &[&topic], 1).await;
    let producer = Producer::new(
        &broker.settings,
        &ProducerOptions { delivery_timeout: Duration::from_secs(20), ..Default::default() },
    )
    .unwrap();
    let position = producer.send(record(&topic, 0, "x")).await.unwrap();
    let settings = broker.settings.clone();
    let found = tokio::task::spawn_blocking(move || {
        let mut found = Vec::new();
        read_table(&settings, &topic, 0, 0, Isolation::Committed, &mut |inbound| {
            found.push(inbound);
            Ok(())
        })
        .unwrap();
        found
    })
    .await
    .unwrap();
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].position(), position);
    let headers: Vec<_> = found[0].headers.iter().map(|(name, value)| (name.as_str(), value.as_ref())).collect();
    assert_eq!(headers, [("twice", b"1".as_slice()), ("twice", b"2".as_slice())]);
}

/// Copies; stops with an error once, in the middle, to see the same work done again by the next worker.
struct Copy {
    out: Arc<str>,
    fail_at: Arc<Mutex<Option<String>>>,
    seen: usize,
}

impl Step for Copy {
    fn restore(&mut self, _: &Settings) -> Result<(), Stop> {
        Ok(())
    }
    fn process(&mut self, input: &Inbound, out: &mut Outbox) -> Result<(), Stop> {
        let mut fail = self.fail_at.lock().unwrap();
        if fail.as_deref() == Some(&text(input)) {
            *fail = None;
            return Err(Stop::retryable("test", "asked to fail"));
        }
        self.seen += 1;
        out.send(record(&self.out, input.partition, &text(input)));
        Ok(())
    }
    fn before_commit(&mut self, _: &mut Outbox) -> Result<(), Stop> {
        Ok(())
    }
    fn committed(&mut self) -> Result<(), Stop> {
        Ok(())
    }
    fn aborted(&mut self) -> Result<(), Stop> {
        Ok(())
    }
}

fn member(
    settings: &Settings,
    name: &str,
    inputs: &[&str],
    out: &str,
    fail_at: Option<&str>,
) -> (Shutdown, std::thread::JoinHandle<()>) {
    let shutdown = Shutdown::new();
    let (stop, settings, out) = (shutdown.clone(), settings.clone(), Arc::<str>::from(out));
    let options = PartitionedOptions {
        group: name.to_owned(),
        inputs: inputs.iter().map(|topic| (*topic).to_owned()).collect(),
        anchor: inputs[0].to_owned(),
        transactional_prefix: name.to_owned(),
        commit_interval: Duration::from_millis(10),
        commit_max_records: 50,
        drain_deadline: Duration::from_secs(5),
    };
    let fail_at = Arc::new(Mutex::new(fail_at.map(str::to_owned)));
    let thread = std::thread::spawn(move || {
        while !stop.is_requested() {
            let (out, fail_at) = (out.clone(), fail_at.clone());
            let metrics = PartitionedMetrics::register("test", &prometheus::Registry::new()).unwrap();
            let result = run_partitioned(
                &settings,
                options.clone(),
                metrics,
                Health::new().component("copy"),
                &stop,
                move |_| Ok(Box::new(Copy { out: out.clone(), fail_at: fail_at.clone(), seen: 0 })),
            );
            if let Err(stop) = result {
                assert!(stop.retryable, "{stop}");
            }
        }
    });
    (shutdown, thread)
}

#[tokio::test(flavor = "multi_thread")]
async fn every_input_is_copied_once_while_members_fail_join_and_leave() {
    const EACH: usize = 600;
    let broker = TestBroker::start().await;
    let (one, two, out, name) = (fresh("in-one"), fresh("in-two"), fresh("out"), fresh("copy"));
    topics(&broker.settings, &[&one, &two, &out], 4).await;
    let producer = Producer::new(
        &broker.settings,
        &ProducerOptions { delivery_timeout: Duration::from_secs(20), ..Default::default() },
    )
    .unwrap();

    let first = member(&broker.settings, &name, &[&one, &two], &out, Some("in-one 100"));
    let mut second = None;
    let mut expected = Vec::new();
    for index in 0..EACH {
        for (label, topic) in [("in-one", &one), ("in-two", &two)] {
            let value = format!("{label} {index}");
            producer.send(record(topic, i32::try_from(index % 4).unwrap(), &value)).await.unwrap();
            expected.push(value);
        }
        if index == EACH / 4 {
            second = Some(member(&broker.settings, &name, &[&one, &two], &out, None));
        }
        if index == EACH * 3 / 4 {
            first.0.request();
        }
    }
    let settings = broker.settings.clone();
    let (all, last) = tokio::task::spawn_blocking(move || {
        let until = Instant::now() + Duration::from_secs(60);
        let mut found = read_all(&settings, &out, 4);
        while found.len() < 2 * EACH && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(100));
            found = read_all(&settings, &out, 4);
        }
        let last = found.clone();
        (found, last)
    })
    .await
    .unwrap();
    let (shutdown, thread) = second.unwrap();
    shutdown.request();
    tokio::task::spawn_blocking(move || {
        thread.join().unwrap();
        first.1.join().unwrap();
    })
    .await
    .unwrap();

    let unique: BTreeSet<&String> = all.iter().collect();
    assert_eq!(all.len(), unique.len(), "something was copied twice");
    assert_eq!(unique, expected.iter().collect(), "something is missing");
    for label in ["in-one", "in-two"] {
        for p in 0..4 {
            let order: Vec<usize> = last
                .iter()
                .filter_map(|value| value.strip_prefix(label)?.trim().parse().ok())
                .filter(|index: &usize| index % 4 == p)
                .collect();
            assert!(order.is_sorted(), "{label} partition {p} out of order");
        }
    }
}

/// As while a version that reads one topic more is rolled out.
#[tokio::test(flavor = "multi_thread")]
async fn members_that_read_different_inputs_work_side_by_side_and_what_only_one_reads_waits() {
    const EACH: usize = 40;
    let broker = TestBroker::start().await;
    let (common, added, out, name) = (fresh("in-common"), fresh("in-added"), fresh("out"), fresh("versions"));
    topics(&broker.settings, &[&common, &added, &out], 2).await;
    let options = ProducerOptions { delivery_timeout: Duration::from_secs(20), ..Default::default() };
    let producer = Producer::new(&broker.settings, &options).unwrap();
    let send = async |topic: &str, label: &str| {
        for index in 0..EACH {
            let partition = i32::try_from(index % 2).unwrap();
            producer.send(record(topic, partition, &format!("{label} {index}"))).await.unwrap();
        }
    };
    let out_of = async |label: &str, enough: usize| {
        let until = Instant::now() + Duration::from_secs(60);
        loop {
            let (settings, out) = (broker.settings.clone(), out.clone());
            let mut found = tokio::task::spawn_blocking(move || read_all(&settings, &out, 2)).await.unwrap();
            found.retain(|value| value.starts_with(label));
            if found.len() >= enough || Instant::now() > until {
                break found.len();
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let old = member(&broker.settings, &name, &[&common], &out, None);
    send(&common, "before").await;
    assert_eq!(out_of("before", EACH).await, EACH);
    let new = member(&broker.settings, &name, &[&common, &added], &out, None);
    send(&added, "added").await;
    send(&common, "beside").await;
    assert_eq!(out_of("beside", EACH).await, EACH, "both work on what both read");
    // All of it as soon as the new one has all partitions; before that, not what is the other's.
    old.0.request();
    assert_eq!(out_of("added", EACH).await, EACH);
    assert_eq!(out_of("before", EACH).await, EACH, "nothing twice");
    new.0.request();
    tokio::task::spawn_blocking(move || [old.1, new.1].map(|thread| thread.join().unwrap())).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_consumer_hands_out_its_window_and_goes_on_after_commits() {
    let broker = TestBroker::start().await;
    let (topic, group) = (fresh("window"), fresh("window-group"));
    topics(&broker.settings, &[&topic], 1).await;
    let producer = Producer::new(
        &broker.settings,
        &ProducerOptions { delivery_timeout: Duration::from_secs(20), ..Default::default() },
    )
    .unwrap();
    for index in 0..40 {
        producer.send(record(&topic, 0, &index.to_string())).await.unwrap();
    }
    let options = || GroupOptions {
        group: group.clone(),
        topics: vec![topic.clone()],
        window_records: 10,
        window_bytes: 1 << 20,
        drain_deadline: Duration::from_secs(5),
        transactional_id: None,
        lag: GroupMetrics::register("test", &prometheus::Registry::new()).unwrap(),
    };
    let take = |consumer: GroupConsumer, shutdown: Shutdown, count: usize| async move {
        let mut consumer = consumer;
        let mut values = Vec::new();
        while let Some(event) = consumer.events.recv().await {
            match event {
                GroupEvent::Record(inbound) => {
                    values.push(text(&inbound));
                    consumer.committer.commit(&inbound.topic, inbound.partition, inbound.offset + 1);
                    if values.len() == count {
                        shutdown.request();
                    }
                }
                GroupEvent::Revoked(done) => drop(done),
                GroupEvent::Assigned(_) | GroupEvent::Full(..) => {}
                GroupEvent::Failed(stop) => panic!("{stop}"),
            }
        }
        values
    };
    let shutdown = Shutdown::new();
    let first =
        GroupConsumer::start(&broker.settings, options(), Health::new().component("one"), shutdown.clone()).unwrap();
    let first = take(first, shutdown, 25).await;
    let shutdown = Shutdown::new();
    let second =
        GroupConsumer::start(&broker.settings, options(), Health::new().component("two"), shutdown.clone()).unwrap();
    let second = take(second, shutdown, 40 - first.len()).await;
    let all: Vec<String> = first.into_iter().chain(second).collect();
    assert_eq!(all, (0..40).map(|index| index.to_string()).collect::<Vec<_>>());
}

/// What a member wrote with its heads, and where its group stands.
async fn copied(settings: &Settings, out: &str, group: &str, topic: &str) -> (Vec<String>, Option<i64>) {
    let (settings, out) = (settings.clone(), out.to_owned());
    let (group, topic) = (group.to_owned(), topic.to_owned());
    let looking = tokio::task::spawn_blocking(move || {
        let committed = Admin::new(&settings).unwrap().committed(&group, &topic, 1).unwrap();
        (read_all(&settings, &out, 1), committed.get(&0).copied())
    });
    looking.await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn heads_and_what_came_of_their_records_are_committed_together_or_not_at_all() {
    let broker = TestBroker::start().await;
    let (topic, out, group) = (fresh("copied"), fresh("copies"), fresh("copy-group"));
    topics(&broker.settings, &[&topic, &out], 1).await;
    let producer = Producer::new(
        &broker.settings,
        &ProducerOptions { delivery_timeout: Duration::from_secs(20), ..Default::default() },
    )
    .unwrap();
    for index in 0..10 {
        producer.send(record(&topic, 0, &index.to_string())).await.unwrap();
    }
    let id = fresh("copy-id");
    // Takes records until it has `count`, with each of them what `copies` makes of it; the reason, if it failed.
    let member = async |count: usize, copies: &dyn Fn(&str) -> Vec<Record>| {
        let options = GroupOptions {
            group: group.clone(),
            topics: vec![topic.clone()],
            window_records: 100,
            window_bytes: 1 << 20,
            drain_deadline: Duration::from_secs(5),
            transactional_id: Some(id.clone()),
            lag: GroupMetrics::register("test", &prometheus::Registry::new()).unwrap(),
        };
        let shutdown = Shutdown::new();
        let component = Health::new().component("copy");
        let mut member = GroupConsumer::start(&broker.settings, options, component, shutdown.clone()).unwrap();
        let mut taken = 0;
        while let Some(event) = member.events.recv().await {
            match event {
                GroupEvent::Record(inbound) if taken < count => {
                    taken += 1;
                    let next = inbound.offset + 1;
                    member.committer.commit_with(&inbound.topic, 0, next, copies(&text(&inbound)));
                    if taken == count && count < 6 {
                        shutdown.request();
                    }
                }
                GroupEvent::Failed(stop) => return Some((stop.code, stop.retryable)),
                GroupEvent::Record(_) | GroupEvent::Revoked(_) | GroupEvent::Assigned(_) | GroupEvent::Full(..) => {}
            }
        }
        None
    };
    let whole = |value: &str| vec![record(&out, 0, value)];
    assert_eq!(member(5, &whole).await, None);
    let first: Vec<String> = (0..5).map(|index| index.to_string()).collect();
    assert_eq!(copied(&broker.settings, &out, &group, &topic).await, (first.clone(), Some(5)));

    // The second record of it is larger than the producer takes: the first one must not be seen either.
    let broken = |value: &str| vec![record(&out, 0, value), record(&out, 0, &"x".repeat(17_000_000))];
    assert_eq!(member(6, &broken).await, Some(("record-refused", true)));
    assert_eq!(copied(&broker.settings, &out, &group, &topic).await, (first, Some(5)));

    assert_eq!(member(5, &whole).await, None);
    let all = (0..10).map(|index| index.to_string()).collect();
    assert_eq!(copied(&broker.settings, &out, &group, &topic).await, (all, Some(10)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_writer_commits_all_or_none_and_a_newer_one_fences_it() {
    let broker = TestBroker::start().await;
    let (topic, id) = (fresh("writer"), fresh("writer-id"));
    topics(&broker.settings, &[&topic], 1).await;
    let old = TransactionalWriter::new(&broker.settings, &id).await.unwrap();
    let positions = old.write(vec![record(&topic, 0, "a"), record(&topic, 0, "b")]).await.unwrap();
    assert_eq!(positions.iter().map(|position| position.offset).collect::<Vec<_>>(), [0, 1]);
    let new = TransactionalWriter::new(&broker.settings, &id).await.unwrap();
    assert!(old.write(vec![record(&topic, 0, "zombie")]).await.is_err());
    assert!(old.is_fenced());
    new.write(vec![record(&topic, 0, "c")]).await.unwrap();
    let settings = broker.settings.clone();
    let found = tokio::task::spawn_blocking(move || read_all(&settings, &topic, 1)).await.unwrap();
    assert_eq!(found, ["a", "b", "c"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_is_read_whole_and_followed() {
    let broker = TestBroker::start().await;
    let topic = fresh("table");
    topics(&broker.settings, &[&topic], 2).await;
    let producer = Producer::new(
        &broker.settings,
        &ProducerOptions { delivery_timeout: Duration::from_secs(20), ..Default::default() },
    )
    .unwrap();
    for index in 0..10 {
        producer.send(record(&topic, index % 2, &index.to_string())).await.unwrap();
    }
    let seen = Arc::new(Mutex::new(BTreeSet::new()));
    let inserted = Arc::clone(&seen);
    let (settings, name) = (broker.settings.clone(), topic.clone());
    let follower = tokio::task::spawn_blocking(move || {
        TableFollower::start(
            &settings,
            &[name],
            BTreeMap::new(),
            Isolation::Committed,
            Shutdown::new(),
            move |inbound| {
                inserted.lock().unwrap().insert(text(&inbound));
            },
        )
        .unwrap()
    })
    .await
    .unwrap();
    wait_for("the table to be caught up", || follower.caught_up()).await;
    assert_eq!(seen.lock().unwrap().len(), 10);
    producer.send(record(&topic, 1, "later")).await.unwrap();
    wait_for("the later record", || seen.lock().unwrap().contains("later")).await;
    tokio::task::spawn_blocking(move || drop(follower)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lease_moves_when_its_holder_leaves() {
    let broker = TestBroker::start().await;
    let (topic, group) = (fresh("leases"), fresh("leases-group"));
    topics(&broker.settings, &[&topic], 1).await;
    let leaving = Shutdown::new();
    let mut first = Leases::start(&broker.settings, &group, &topic, leaving.clone()).unwrap();
    let LeaseEvent::Gained(owned) = first.events.recv().await.unwrap() else { panic!() };
    assert_eq!(owned, BTreeSet::from([0]));
    let staying = Shutdown::new();
    let mut second = Leases::start(&broker.settings, &group, &topic, staying.clone()).unwrap();
    leaving.request();
    tokio::spawn(async move { while first.events.recv().await.is_some() {} });
    loop {
        match second.events.recv().await.unwrap() {
            LeaseEvent::Gained(owned) if owned.contains(&0) => break,
            LeaseEvent::Gained(_) => {}
            LeaseEvent::Lost(done) => drop(done),
            LeaseEvent::Failed(stop) => panic!("{stop}"),
        }
    }
    staying.request();
}
