//! Two that want the same partition: hijack of a transactional id, rebalances within a transaction, and the order of
//! fencing, restoring and reading offsets.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use hirewire_kafka::{GroupConsumer, GroupEvent, GroupMetrics, GroupOptions, Record};
use hirewire_service::{Health, Shutdown};
use kafka_protocol::messages::ApiKey;
use rdkafka::ClientConfig;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};

use crate::Place;
use crate::broker::wait_for;
use crate::proxy::Fault;
use crate::scene::{Event, Gate, record, text};

/// T2: another deployment uses the same transactional ids. The older one ends, and nothing of it appears afterwards.
#[tokio::test(flavor = "multi_thread")]
async fn the_older_of_two_with_one_transactional_id_ends_as_fenced() {
    let place = Place::start().await;
    for within_a_transaction in [true, false] {
        let scene = place.scene().await.patient();
        scene.feed(0..30).await;
        let (mut old, mut new) = (scene.role("old"), scene.role("new"));
        let client = old.client.clone();
        (old.restarts, old.label) = (false, "old ".to_owned());
        // It still hands over records when the answer to the first of them has come.
        old.pace = Duration::from_millis(5);
        (new.group, new.label) = (format!("{}-other", scene.name), "new ".to_owned());
        let gate = Gate::at(Event::Process("25".to_owned()));
        if within_a_transaction {
            old.gates = vec![gate.clone()];
        }
        let old = scene.member(old);
        let before = if within_a_transaction {
            gate.reached().await;
            wait_for("its records", || place.proxy.seen(&client, ApiKey::Produce).len() >= 3).await;
            20
        } else {
            scene.until_last("old 29").await;
            30
        };
        let new = scene.member(new);
        scene.until_last("new 29").await;
        gate.open();
        scene.feed(30..40).await;
        assert_eq!(old.ended().await, [("fenced".to_owned(), true)]);
        scene.until_last("new 39").await;
        new.end().await;
        let seen = scene.visible().await;
        let of_old: Vec<_> = seen.iter().filter(|value| value.starts_with("old")).cloned().collect();
        assert_eq!(of_old, (0..before).map(|n| format!("old {n}")).collect::<Vec<_>>(), "records of a zombie");
        assert_eq!(seen.len(), before + 40);
    }
}

/// T5: the partition is taken away while its worker stands between its last record and its offsets. The group already
/// counts this member to the next generation, the next owner has not fenced anybody yet: only the worker itself can know.
#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_lost_its_partition_sends_no_offsets() {
    let place = Place::start().await;
    let scene = place.scene().await;
    scene.feed(0..30).await;
    // The assignor gives the only partition to the first member by name.
    let (mut first, second) = (scene.role("b"), scene.role("a"));
    let client = first.client.clone();
    let gate = Gate::after(Event::Process("19".to_owned()), Event::BeforeCommit);
    (first.gates, first.drain_deadline) = (vec![gate.clone()], Duration::from_millis(300));
    let fence = place.proxy.fault(&second.client, ApiKey::InitProducerId, 0, Fault::HoldRequest);
    let first = scene.member(first);
    gate.reached().await;
    let sent = place.proxy.seen(&client, ApiKey::TxnOffsetCommit).len();
    let second = scene.member(second);
    fence.met().await;
    gate.open();
    wait_for("the worker to give up", || first.happened(&Event::Aborted)).await;
    assert_eq!(place.proxy.seen(&client, ApiKey::TxnOffsetCommit).len(), sent, "offsets of a revoked partition");
    fence.release();
    scene.all_once(vec![first, second], 30).await;
}

/// Its new producer was asked for while the partition was its own, and is there when another member has it. What it began now would
/// hide from readers what the other one writes, until Kafka ended it.
#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_lost_its_partition_while_it_replaced_its_producer_begins_nothing() {
    let place = Place::start().await;
    let scene = place.scene().await.impatient();
    scene.feed(0..20).await;
    // The assignor gives the only partition to the first member by name.
    let (mut first, mut second) = (scene.role("b"), scene.role("a"));
    let client = first.client.clone();
    let gate = Gate::at(Event::Process("15".to_owned()));
    (first.drain_deadline, second.gates) = (Duration::from_millis(300), vec![gate.clone()]);
    let commit = place.proxy.faults(&client, ApiKey::EndTxn, 1, usize::MAX, Fault::HoldRequest);
    let first = scene.member(first);
    commit.met().await;
    let replacement = place.proxy.faults(&client, ApiKey::InitProducerId, 0, usize::MAX, Fault::HoldRequest);
    replacement.met().await;
    let second = scene.member(second);
    gate.reached().await;
    // Each step that lives holds them.
    let holders = Arc::strong_count(&first.events);
    replacement.release();
    wait_for("the worker to end", || Arc::strong_count(&first.events) < holders).await;
    assert_eq!(first.processed().len(), 20, "it began anew");
    gate.open();
    commit.release();
    scene.feed(20..30).await;
    scene.all_once(vec![first, second], 30).await;
}

/// K6: a step takes longer than the group waits for a member to ask for more, and what is handed out waits for it. The member
/// is given up, and what it did since is nobody's; when the step is done at last, it is a new member.
#[tokio::test(flavor = "multi_thread")]
async fn a_step_that_is_slower_than_its_group_waits_loses_its_partition_and_nothing_else() {
    /// More than a worker's inbox holds.
    const MANY: usize = 700;
    let place = Place::start().await;
    let scene = place.scene().await.hurried();
    scene.feed(0..MANY).await;
    let mut slow = scene.role("slow");
    let gate = Gate::at(Event::Process("5".to_owned()));
    slow.gates = vec![gate.clone()];
    let slow = scene.member(slow);
    gate.reached().await;
    let other = scene.member(scene.role("other"));
    scene.until_last(&(MANY - 1).to_string()).await;
    assert!(!slow.happened(&Event::Aborted), "it is still at its record");
    gate.open();
    wait_for("it to give up what it did", || slow.happened(&Event::Aborted)).await;
    scene.feed(MANY..MANY + 20).await;
    scene.all_once(vec![slow, other], MANY + 20).await;
}

/// On a revoke the open transaction is committed first: no work is done twice.
#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_worker_commits_what_it_did() {
    let place = Place::start().await;
    let scene = place.scene().await;
    scene.feed(0..15).await;
    let (mut first, second) = (scene.role("b"), scene.role("a"));
    let gate = Gate::at(Event::Process("14".to_owned()));
    first.gates = vec![gate.clone()];
    let first = scene.member(first);
    gate.reached().await;
    let second = scene.member(second);
    wait_for("the revoke", || first.count("rebalances_total") == 2).await;
    gate.open();
    scene.until_last("14").await;
    scene.feed(15..30).await;
    scene.until_last("29").await;
    let mut processed = first.processed();
    assert!(!first.happened(&Event::Aborted));
    processed.extend(second.processed());
    assert_eq!(processed, (0..30).map(|n| n.to_string()).collect::<Vec<_>>(), "work was done twice");
    scene.all_once(vec![first, second], 30).await;
}

/// State is read, and offsets are asked for, only when nobody else can write any more.
#[tokio::test(flavor = "multi_thread")]
async fn restoring_waits_for_the_fence() {
    let place = Place::start().await;
    let scene = place.scene().await;
    scene.feed(0..10).await;
    let role = scene.role("restoring");
    let client = role.client.clone();
    let fence = place.proxy.fault(&client, ApiKey::InitProducerId, 0, Fault::HoldRequest);
    let member = scene.member(role);
    fence.met().await;
    assert!(!member.happened(&Event::Restore), "state was read before the predecessor was fenced");
    assert!(place.proxy.seen(&client, ApiKey::OffsetFetch).is_empty(), "offsets were read before the fence");
    fence.release();
    scene.all_once(vec![member], 10).await;
}

/// Two inputs have a backlog: the broker sends all of the small one before most of the large one, whose records are older.
#[tokio::test(flavor = "multi_thread")]
async fn a_backlog_in_two_inputs_is_read_in_the_order_of_time() {
    const RECORDS: i64 = 60;
    let place = Place::start().await;
    let scene = place.scene().await;
    let second = scene.another_input().await;
    let mut member = scene.role("member");
    member.inputs = vec![scene.input.clone(), second.clone()];
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let start_ms = i64::try_from(since_epoch.as_millis()).unwrap() - 2 * RECORDS;
    // Three megabytes: a fetch brings one of each partition.
    let large =
        |number| Record { timestamp_ms: Some(start_ms + number), ..record(&scene.input, &format!("{number:050000}")) };
    // Younger than the first half of the large ones, older than the second.
    let small = Record { timestamp_ms: Some(start_ms + RECORDS / 2), ..record(&second, &RECORDS.to_string()) };
    scene.send((0..RECORDS).map(large).chain([small]).collect()).await;
    let member = scene.member(member);
    wait_for("all of them", || member.processed().len() > usize::try_from(RECORDS).unwrap()).await;
    let processed: Vec<i64> = member.processed().iter().map(|value| value.parse().unwrap()).collect();
    let expected: Vec<i64> = (0..=RECORDS / 2).chain([RECORDS]).chain(RECORDS / 2 + 1..RECORDS).collect();
    assert_eq!(processed, expected);
    member.end().await;
}

/// A producer died with an open transaction: what others write behind it is hidden, what was made of something younger is not.
#[tokio::test(flavor = "multi_thread")]
async fn what_an_open_transaction_hides_goes_before_what_was_made_of_something_younger() {
    let place = Place::start().await;
    let scene = place.scene().await;
    let made = scene.another_input().await;
    let mut member = scene.role("member");
    (member.inputs, member.anchor) = (vec![scene.input.clone(), made.clone()], 1);
    let member = scene.member(member);
    scene.feed(0..1).await;
    scene.until_last("0").await;
    let dead = dead_producer(&scene.input, place.broker.settings.bootstrap_servers());
    scene.feed(1..2).await;
    scene.send(vec![record(&made, "2")]).await;
    // Longer than a record takes that nothing holds, and than an answer to what is hidden is kept.
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(member.processed(), ["0"]);
    dead.abort_transaction(Duration::from_secs(20)).unwrap();
    scene.until_last("2").await;
    assert_eq!(member.processed(), ["0", "1", "2"]);
    member.end().await;
}

/// It has written one record, and will never commit it.
fn dead_producer(topic: &str, brokers: &str) -> BaseProducer {
    let patience = Duration::from_secs(20);
    let producer: BaseProducer = ClientConfig::new()
        .set("bootstrap.servers", brokers)
        .set("transactional.id", format!("dead-of-{topic}"))
        .create()
        .unwrap();
    producer.init_transactions(patience).unwrap();
    producer.begin_transaction().unwrap();
    producer.send(BaseRecord::<(), _>::to(topic).payload("never").partition(0)).unwrap();
    producer.flush(patience).unwrap();
    producer
}

/// A member of a plain group leaves in good order, but the broker had refused its last commit, which nobody waited for.
#[tokio::test(flavor = "multi_thread")]
async fn a_leaving_member_commits_all_heads_once_more() {
    const REFUSED: i16 = 30; // GROUP_AUTHORIZATION_FAILED: librdkafka does not try it again
    let place = Place::start().await;
    let scene = place.scene().await;
    scene.feed(0..20).await;
    let group = format!("{}-plain", scene.name);
    let take = async |client: &str, all: usize| {
        let role = scene.role(client);
        let (settings, shutdown) = (scene.settings(&role), Shutdown::new());
        let options = GroupOptions {
            group: group.clone(),
            topics: scene.options(&role).inputs,
            window_records: 100,
            window_bytes: 1 << 20,
            drain_deadline: Duration::from_secs(5),
            transactional_id: None,
            lag: GroupMetrics::register("test", &prometheus::Registry::new()).unwrap(),
        };
        place.proxy.faults(&role.client, ApiKey::OffsetCommit, 0, 1, Fault::Refuse(REFUSED));
        let mut member =
            GroupConsumer::start(&settings, options, Health::new().component("member"), shutdown.clone()).unwrap();
        let mut taken = Vec::new();
        while let Some(event) = member.events.recv().await {
            match event {
                GroupEvent::Record(record) => {
                    taken.push(text(&record));
                    if taken.len() == all {
                        member.committer.commit(&record.topic, record.partition, record.offset + 1);
                        wait_for("the refusal", || !place.proxy.seen(&role.client, ApiKey::OffsetCommit).is_empty())
                            .await;
                        shutdown.request();
                    }
                }
                GroupEvent::Revoked(done) => drop(done),
                GroupEvent::Assigned(_) | GroupEvent::Full(..) => {}
                GroupEvent::Failed(stop) => panic!("{stop}"),
            }
        }
        member.join();
        taken
    };
    assert_eq!(take("first", 20).await.len(), 20);
    scene.feed(20..21).await;
    assert_eq!(take("second", 1).await, ["20"], "what was finished came again");
}
