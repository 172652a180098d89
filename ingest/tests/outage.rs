//! Webhooks over HTTP while the broker goes away and comes back: a 200 is a promise.
#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "support/broker.rs"]
mod broker;
#[path = "support/member.rs"]
mod member;
mod support;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use broker::TestBroker;
use hirewire_ingest::Role;
use member::Member;
use support::{SECRET, sign};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

const DELIVERIES: usize = 10_000;
const SENDERS: usize = 40;

#[tokio::test(flavor = "multi_thread")]
async fn of_ten_thousand_deliveries_each_200_is_in_the_raw_topic_and_all_else_was_503_in_time() {
    let mut broker = TestBroker::start().await;
    if !broker.can_stop() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("secret"), SECRET).unwrap();
    let connection =
        support::connection(Some(&format!("secrets: [{{file: {}/secret}}]", folder.path().display())), None);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/v1/webhooks/acme-greenhouse", listener.local_addr().unwrap());
    let service = Member::start_as(&broker, &Arc::new(connection), Role::Webhook, Some(listener));

    let done = Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let mut senders = JoinSet::new();
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    for sender in 0..SENDERS {
        let (client, url, done) = (client.clone(), url.clone(), done.clone());
        senders.spawn(async move {
            let mut kept = Vec::new();
            for number in (sender..DELIVERIES).step_by(SENDERS) {
                let body =
                    format!("{{\"action\":\"hire_candidate\",\"payload\":{{\"application\":{{\"id\":{number}}}}}}}");
                let started = Instant::now();
                let request = client.post(&url).header("signature", sign(SECRET, &body)).body(body.clone());
                let answer = request.send().await.unwrap();
                assert!(started.elapsed() < Duration::from_secs(10), "{:?}", started.elapsed());
                match answer.status().as_u16() {
                    200 => kept.push(body),
                    503 => assert!(answer.headers().contains_key("retry-after")),
                    other => panic!("{other}"),
                }
                done.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            }
            kept
        });
    }
    let sent = |share: usize| {
        let done = done.clone();
        async move {
            while done.load(std::sync::atomic::Ordering::Relaxed) < DELIVERIES * share / 100 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        }
    };
    sent(30).await;
    tokio::task::block_in_place(|| broker.stop());
    // Some of each kind: while the broker is away, an answer takes as long as we wait for an acknowledgement.
    let before = done.load(std::sync::atomic::Ordering::Relaxed);
    while done.load(std::sync::atomic::Ordering::Relaxed) < (before + 2 * SENDERS).min(DELIVERIES) {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    tokio::task::block_in_place(|| broker.start_again());
    let mut kept = BTreeSet::new();
    while let Some(bodies) = senders.join_next().await {
        kept.extend(bodies.unwrap());
    }
    service.stop().await;
    let records = broker.read(broker.names.raw("greenhouse")).await;
    let there: BTreeSet<String> =
        records.iter().map(|record| String::from_utf8(record.value.clone().unwrap().to_vec()).unwrap()).collect();
    let lost: Vec<&String> = kept.difference(&there).collect();
    assert!(lost.is_empty(), "{} answered 200 and not there: {lost:?}", lost.len());
    assert!(kept.len() < DELIVERIES && kept.len() > DELIVERIES / 2, "{} kept", kept.len());
}
