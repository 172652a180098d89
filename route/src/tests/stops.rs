//! Members that come and go under load, in order: what was finished is not done again by the next owner.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use hirewire_schemas::Entity;
use serde_json::json;

use super::ground::{Ground, JOB, Service, application_id, now};
use super::support::{Answer, Options, Receiver, arrival, change, context, retry, run, slot, until};
use crate::deliver::Limits;
use crate::deliver::backoff::Retry;
use crate::source::SourceEvent;
use crate::system::carried;

/// Two applications of one partition: 20 changes of `a`, and one of `b` that is quicker.
#[tokio::test]
async fn at_a_revocation_what_stands_before_something_sent_is_ended_and_committed() {
    const CHANGES: i64 = 20;
    let receiver = Receiver::start(|body| match body["application_id"] == "a" {
        true => Answer::Slowly(200),
        false => Answer::Status(200),
    })
    .await;
    let context = context();
    context.put_common();
    let running = run(
        &carried("assessment"),
        &receiver,
        &context,
        Options { drain: Duration::from_secs(20), ..Options::default() },
    );
    running.assign(&[0]);
    ["a", "b", "c"].iter().for_each(|application| context.put_application(application));
    for offset in 0..CHANGES {
        running.record(arrival(0, offset, "a", &change("a", offset + 1, "STAGE")));
    }
    running.record(arrival(0, CHANGES, "b", &change("b", 1, "STAGE")));
    until("b", || receiver.all().iter().any(|one| one.application() == "b")).await;
    let (done, revoked) = tokio::sync::oneshot::channel::<()>();
    running.events.send(SourceEvent::Revoked { slots: vec![slot(0)], done: Box::new(done) }).unwrap();
    running.record(arrival(0, CHANGES + 1, "c", &change("c", 1, "STAGE")));
    assert!(tokio::time::timeout(Duration::from_secs(15), revoked).await.unwrap().is_err(), "dropped, not sent");
    assert_eq!(running.commits.head(0), CHANGES + 1);
    assert_eq!(receiver.all().len() as i64, CHANGES + 1, "each once, and nothing that came later");
    running.end().await;
}

/// What fails is left to the next owner, and with it what stands behind it of its application.
#[tokio::test]
async fn at_a_revocation_nothing_overtakes_a_change_that_is_given_up() {
    let receiver = Receiver::start(|body| match body["application_id"] == "a" {
        true => Answer::Later,
        false => Answer::Status(200),
    })
    .await;
    let context = context();
    context.put_common();
    let patient = Retry { longest_asked: Duration::from_secs(60), ..retry() };
    let options = Options { limits: Limits { retry: patient, ..Limits::default() }, ..Options::default() };
    let running = run(&carried("assessment"), &receiver, &context, options);
    running.assign(&[0]);
    ["a", "b"].iter().for_each(|application| context.put_application(application));
    running.record(arrival(0, 0, "a", &change("a", 1, "STAGE")));
    running.record(arrival(0, 1, "a", &change("a", 2, "STAGE")));
    running.record(arrival(0, 2, "b", &change("b", 1, "STAGE")));
    until("both", || receiver.all().len() == 2).await;
    receiver.answer(|_| Answer::Status(200));
    let (done, revoked) = tokio::sync::oneshot::channel::<()>();
    running.events.send(SourceEvent::Revoked { slots: vec![slot(0)], done: Box::new(done) }).unwrap();
    assert!(
        tokio::time::timeout(Duration::from_secs(2), revoked).await.unwrap().is_err(),
        "a back-off is not waited for"
    );
    assert_eq!((running.commits.head(0), receiver.all().len()), (0, 2));
    running.end().await;
}

/// Each member is stopped while the one that follows it joins, so that the group rebalances meanwhile.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_while_the_group_rebalances_repeats_nothing() {
    const APPLICATIONS: usize = 12;
    const ROUNDS: u64 = 4;
    let ground = Arc::new(Ground::lay().await);
    let receiver = Receiver::start(|_| Answer::Status(200)).await;
    let config = format!(
        "sinks: {{assessment: {{http: {{url: 'http://{}/in', allow: {{networks: ['127.0.0.0/8']}}}}}}}}\n\
         routes: {{assessment: {{sink: assessment, from: beginning}}}}\n",
        receiver.address
    );
    ground.put(Entity::Job, JOB, JOB, json!({"name": "Engineer"})).await;
    for number in 0..APPLICATIONS {
        ground.put_context(&application_id(number)).await;
    }
    let folder = |round: u64| ground.folder.path().join(format!("data-{round}"));
    let mut service = ground.start(&config, &folder(0)).await;
    let enough = Arc::new(AtomicBool::new(false));
    let load = tokio::spawn({
        let (ground, enough) = (Arc::clone(&ground), Arc::clone(&enough));
        async move {
            let mut sequence_no = 0;
            while !enough.load(Ordering::SeqCst) {
                sequence_no += 1;
                for number in 0..APPLICATIONS {
                    ground.put_change(&application_id(number), sequence_no, "STAGE", now(), "WEBHOOK").await;
                }
                // Always something under way, and never more than the members can take.
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            sequence_no
        }
    });
    for round in 1..=ROUNDS {
        let (place, config, data) = (ground.place.clone(), config.clone(), folder(round));
        let next = tokio::spawn(async move { Service::start(&place, &config, &data).await });
        tokio::time::sleep(Duration::from_millis(60 * round)).await;
        service.stop().await;
        service = next.await.unwrap();
    }
    enough.store(true, Ordering::SeqCst);
    let moves = load.await.unwrap() as usize * APPLICATIONS;
    let keys = || {
        let mut keys: HashMap<String, usize> = HashMap::new();
        receiver.all().iter().for_each(|one| *keys.entry(one.headers["idempotency-key"].clone()).or_default() += 1);
        keys
    };
    until("all of them", || keys().len() == moves).await;
    service.stop().await;
    let again = keys().values().filter(|times| **times > 1).count();
    assert_eq!(again, 0, "of {moves} deliveries");
}
