//! Outcomes that nobody knows: a commit without an answer, a connection that breaks, a producer that hangs.

use std::sync::Arc;
use std::time::Duration;

use hirewire_kafka::{Producer, ProducerOptions, Settings};
use kafka_protocol::messages::ApiKey;

use crate::Place;
use crate::broker::wait_for;
use crate::proxy::Fault;
use crate::scene::{Event, Gate, TRANSACTION_RECORDS, record};

/// T1: the commit waits on its way until its producer is given up, and arrives in the midst of the next transaction.
#[tokio::test(flavor = "multi_thread")]
async fn a_commit_that_arrives_late_commits_nothing() {
    let place = Place::start().await;
    let scene = place.scene().await.impatient();
    scene.feed(0..30).await;
    let mut role = scene.role("late");
    let client = role.client.clone();
    // The second transaction is 10..20; the gate is in its repetition, for its first run has passed the number by then.
    let commit = place.proxy.fault(&client, ApiKey::EndTxn, 1, Fault::HoldRequest);
    let repetition = Gate::after(Event::Aborted, Event::Process("15".to_owned()));
    role.gates = vec![repetition.clone()];
    let member = scene.member(role);
    commit.met().await;
    repetition.reached().await;
    commit.release();
    assert_ne!(commit.answered().await, 0, "the broker took a commit of a producer that was replaced");
    repetition.open();
    scene.until_last("29").await;
    assert_eq!(member.count("producers_replaced_total"), 1);
    assert!(member.stops.lock().unwrap().is_empty(), "{:?}", member.stops);
    scene.all_once(vec![member], 30).await;
}

/// T1: the commit was made, its answer never comes.
#[tokio::test(flavor = "multi_thread")]
async fn a_commit_whose_answer_is_lost_is_not_made_again() {
    let place = Place::start().await;
    let scene = place.scene().await.impatient();
    scene.feed(0..30).await;
    let role = scene.role("unanswered");
    let commit = place.proxy.fault(&role.client, ApiKey::EndTxn, 1, Fault::HoldAnswer);
    let member = scene.member(role);
    assert_eq!(commit.answered().await, 0);
    scene.until_last("29").await;
    assert_eq!(member.count("producers_replaced_total"), 1);
    let processed = member.processed();
    assert_eq!(processed.len(), 30, "committed work was done again: {processed:?}");
    scene.all_once(vec![member], 30).await;
}

/// K1: the connection breaks at each kind of request, before the broker sees it and after it has done it.
#[tokio::test(flavor = "multi_thread")]
async fn a_broken_connection_neither_loses_nor_doubles() {
    let place = Arc::new(Place::start().await);
    let mut running = tokio::task::JoinSet::new();
    for api in [
        ApiKey::InitProducerId,
        ApiKey::AddPartitionsToTxn,
        ApiKey::Produce,
        ApiKey::AddOffsetsToTxn,
        ApiKey::TxnOffsetCommit,
        ApiKey::EndTxn,
    ] {
        for fault in [Fault::CutRequest, Fault::CutAnswer] {
            let place = Arc::clone(&place);
            running.spawn(async move {
                let scene = place.scene().await;
                scene.feed(0..30).await;
                let role = scene.role("cut");
                let skip = usize::from(api != ApiKey::InitProducerId);
                let cut = place.proxy.fault(&role.client, api, skip, fault);
                let member = scene.member(role);
                scene.until_last("29").await;
                assert_eq!(cut.times_met(), 1, "{api:?} {fault:?}");
                assert!(member.stops.lock().unwrap().is_empty(), "{api:?} {fault:?}: {:?}", member.stops);
                scene.all_once(vec![member], 30).await;
            });
        }
    }
    running.join_all().await;
}

/// K1, outside of transactions.
#[tokio::test(flavor = "multi_thread")]
async fn a_record_whose_acknowledgement_is_lost_is_there_once() {
    let place = Place::start().await;
    let scene = place.scene().await;
    let settings = Settings::local(&place.proxy.address).with_client_id(&scene.name);
    let cut = place.proxy.faults(&scene.name, ApiKey::Produce, 1, 2, Fault::CutAnswer);
    let options = ProducerOptions { delivery_timeout: Duration::from_secs(20), ..Default::default() };
    let producer = Producer::new(&settings, &options).unwrap();
    for number in 0..5 {
        producer.send(record(&scene.output, &number.to_string())).await.unwrap();
    }
    assert_eq!(cut.times_met(), 2);
    assert_eq!(scene.visible().await, ["0", "1", "2", "3", "4"]);
}

/// T6: readers of committed records go on while the producer still hangs in its transaction.
#[tokio::test(flavor = "multi_thread")]
async fn a_producer_that_hangs_holds_readers_no_longer_than_its_timeout() {
    let place = Place::start().await;
    let scene = place.scene().await.impatient();
    scene.feed(0..TRANSACTION_RECORDS).await;
    let mut role = scene.role("hanging");
    let client = role.client.clone();
    let hang = Gate::at(Event::Process("5".to_owned()));
    role.gates = vec![hang.clone()];
    let member = scene.member(role);
    hang.reached().await;
    let produced = || place.proxy.seen(&client, ApiKey::Produce).iter().any(|seen| seen.answered == Some(0));
    wait_for("records of the open transaction", produced).await;
    scene.write("after").await;
    assert!(scene.written().await.contains(&"0".to_owned()));
    let read = tokio::time::timeout(Duration::from_secs(30), scene.visible()).await;
    assert_eq!(read.expect("a reader waits as long as the producer hangs"), ["after"]);
    hang.open();
    scene.until_last("9").await;
    // Kafka took the transaction from its producer, which must not think that it still has it; nobody took the partition, and
    // the member stays in its group.
    assert_eq!(member.count("producers_replaced_total"), 1);
    assert_eq!(member.end().await, []);
    let expected: Vec<String> = std::iter::once("after".to_owned()).chain((0..10).map(|n| n.to_string())).collect();
    assert_eq!(scene.visible().await, expected);
}
