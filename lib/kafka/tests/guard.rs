//! Connections of a client behind a judge, seen at the socket.

#![allow(clippy::unwrap_used, clippy::expect_used, unreachable_pub)]

mod broker;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use broker::{TestBroker, fresh, wait_for};
use hirewire_kafka::{Admin, Judge, NewTopic, Producer, ProducerOptions, Record, SendError, Settings};
use tokio::net::TcpListener;

/// Counts who connects.
struct Trap {
    port: u16,
    count: Arc<AtomicUsize>,
}

impl Trap {
    async fn set() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (port, count) = (listener.local_addr().unwrap().port(), Arc::new(AtomicUsize::new(0)));
        let counted = Arc::clone(&count);
        tokio::spawn(async move {
            while listener.accept().await.is_ok() {
                counted.fetch_add(1, Ordering::SeqCst);
            }
        });
        Self { port, count }
    }

    fn count(&self) -> usize {
        self.count.load(Ordering::SeqCst)
    }
}

fn options() -> ProducerOptions {
    ProducerOptions { delivery_timeout: std::time::Duration::from_secs(30), ..ProducerOptions::default() }
}

fn record(topic: &str) -> Record {
    Record { topic: topic.into(), value: Some("x".into()), ..Record::default() }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_that_is_refused_is_never_connected_to_and_the_send_says_so() {
    let trap = Trap::set().await;
    let named = format!("127.0.0.1:{}", trap.port);
    let asked = Arc::new(Mutex::new(BTreeMap::new()));
    let seen = Arc::clone(&asked);
    let judge = Judge::new(move |broker, address| {
        seen.lock().unwrap().insert(broker.to_owned(), address);
        false
    });
    let settings = Settings::local(&format!("{named},localhost:{}", trap.port)).guarded(judge);
    let producer = Producer::new(&settings, &options()).unwrap();
    let began = Instant::now();
    let sent = producer.send(record("any")).await;
    assert!(matches!(sent, Err(SendError::NotAllowed)), "{sent:?}");
    assert!(began.elapsed() < options().delivery_timeout, "said without waiting for the delivery's end");
    wait_for("both to be tried", || asked.lock().unwrap().len() == 2).await;
    assert_eq!(asked.lock().unwrap().get(&named), Some(&IpAddr::from([127, 0, 0, 1])));
    assert_eq!(trap.count(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_that_the_cluster_advertises_is_judged_too() {
    let trap = Trap::set().await;
    let folder = tempfile::tempdir().unwrap();
    let mut cluster = hirewire_broker::Settings::new(folder.path());
    cluster.advertised_host = Some("localhost".to_owned());
    cluster.advertised_port = Some(trap.port);
    cluster.auto_create_topics = true;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let named = listener.local_addr().unwrap().to_string();
    tokio::spawn(hirewire_broker::Broker::open(cluster).unwrap().run(listener, std::future::pending::<()>()));

    let only = named.clone();
    let settings = Settings::local(&named).guarded(Judge::new(move |broker, _| broker == only));
    let sent = Producer::new(&settings, &options()).unwrap().send(record("any")).await;
    assert!(matches!(sent, Err(SendError::NotAllowed)), "{sent:?}");
    let asking = settings.clone();
    let brokers = tokio::task::spawn_blocking(move || Admin::new(&asking).unwrap().brokers()).await.unwrap();
    assert_eq!(brokers.unwrap(), [format!("localhost:{}", trap.port)]);
    assert_eq!(trap.count(), 0);

    // The trap is one: who may go there does.
    let settings = settings.guarded(Judge::new(|_, _| true));
    let producer = Producer::new(&settings, &options()).unwrap();
    let sending = tokio::spawn(async move { producer.send(record("any")).await });
    wait_for("the advertised broker to be connected to", || trap.count() > 0).await;
    sending.abort();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_judge_lets_through_is_written() {
    let broker = TestBroker::start().await;
    let topic = fresh("guard");
    let settings = broker.settings.guarded(Judge::new(|_, _| true));
    let new = NewTopic { name: topic.clone(), partitions: 1, replication: 1, config: BTreeMap::default() };
    assert_eq!(Admin::new(&settings).unwrap().create_topics(&[new]).await.unwrap(), [&*topic]);
    let producer = Producer::new(&settings, &options()).unwrap();
    assert_eq!(producer.send(record(&topic)).await.unwrap().offset, 0);
}
