//! A broker and a registry for a test: embedded, or the broker that `HIREWIRE_TEST_BROKERS` names (a node of
//! `e2e/kafka/kafka.sh`; `HIREWIRE_TEST_KAFKA_DIR` is its folder, for tests that stop it).
#![allow(dead_code, unreachable_pub)]

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use hirewire_broker::Broker;
use hirewire_kafka::{Admin, Inbound, Isolation, NewTopic, Settings, read_table};
use hirewire_registry::{Registry, server};
use hirewire_schemas::Names;
use tokio::net::TcpListener;
use tokio::sync::oneshot;

pub const PARTITIONS: i32 = 3;

pub struct TestBroker {
    pub address: String,
    pub registry_url: String,
    pub names: Names,
    /// Ends before its folder goes.
    node: Node,
    folder: tempfile::TempDir,
}

enum Node {
    /// `None`: stopped.
    Embedded(Option<Embedded>),
    /// The node's folder, if it may be stopped.
    Kafka(Option<PathBuf>),
}

impl TestBroker {
    /// With the topics that ingest writes to, under names that no other test has.
    pub async fn start() -> Self {
        hirewire_service::telemetry::init("error", None);
        let folder = tempfile::tempdir().unwrap();
        let (address, node) = match std::env::var("HIREWIRE_TEST_BROKERS") {
            Ok(address) => (address, Node::Kafka(std::env::var_os("HIREWIRE_TEST_KAFKA_DIR").map(PathBuf::from))),
            Err(_) => {
                let embedded = Embedded::start(folder.path(), 0);
                (embedded.address.to_string(), Node::Embedded(Some(embedded)))
            }
        };
        let registry_url = registry(folder.path()).await;
        let names = Names::new(&format!("test-{}-", uuid::Uuid::new_v4().simple()));
        let broker = Self { address, registry_url, names, folder, node };
        let topic = |name: String, cleanup: &str| NewTopic {
            name,
            partitions: PARTITIONS,
            replication: 1,
            config: BTreeMap::from([("cleanup.policy".to_owned(), cleanup.to_owned())]),
        };
        let topics = [
            topic(broker.names.raw("greenhouse"), "delete"),
            topic(broker.names.raw_restricted("greenhouse"), "delete"),
            topic(broker.names.raw("workday"), "delete"),
            topic(broker.names.raw_restricted("workday"), "delete"),
            topic(broker.names.internal("leases"), "compact"),
            topic(broker.names.internal("cursor"), "compact"),
            topic(broker.names.internal("fetch"), "delete"),
        ];
        Admin::new(&broker.settings()).unwrap().create_topics(&topics).await.unwrap();
        broker
    }

    pub fn settings(&self) -> Settings {
        Settings::local(&self.address)
    }

    /// Everything that a reader of committed records sees in `topic`.
    pub async fn read(&self, topic: String) -> Vec<Inbound> {
        let settings = self.settings();
        let read = move || {
            let mut all = Vec::new();
            for partition in 0..PARTITIONS {
                let mut keep = |record| {
                    all.push(record);
                    Ok(())
                };
                read_table(&settings, &topic, partition, 0, Isolation::Committed, &mut keep).unwrap();
            }
            all
        };
        tokio::task::spawn_blocking(read).await.unwrap()
    }

    /// Whether [`Self::stop`] works here.
    pub fn can_stop(&self) -> bool {
        !matches!(self.node, Node::Kafka(None))
    }

    pub fn stop(&mut self) {
        match &mut self.node {
            Node::Embedded(embedded) => drop(embedded.take()),
            Node::Kafka(folder) => kafka(&["stop".as_ref(), folder.as_ref().unwrap()]),
        }
    }

    pub fn start_again(&mut self) {
        let port = self.address.rsplit_once(':').unwrap().1;
        match &mut self.node {
            Node::Embedded(embedded) => *embedded = Some(Embedded::start(self.folder.path(), port.parse().unwrap())),
            Node::Kafka(folder) => kafka(&["start".as_ref(), folder.as_ref().unwrap(), port.as_ref()]),
        }
    }
}

fn kafka(arguments: &[&Path]) {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../e2e/kafka/kafka.sh");
    assert!(Command::new(script).args(arguments).status().unwrap().success(), "{arguments:?}");
}

/// An embedded broker on a runtime of its own: stopping it must not need the test's.
struct Embedded {
    address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Embedded {
    fn start(folder: &Path, port: u16) -> Self {
        let (stop, stopped) = oneshot::channel::<()>();
        let (opened, address) = std::sync::mpsc::channel();
        let folder = folder.join("broker");
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
            runtime.block_on(async {
                let listener = TcpListener::bind(("127.0.0.1", port)).await.unwrap();
                let settings = hirewire_broker::Settings::new(folder);
                let broker = tokio::task::spawn_blocking(|| Broker::open(settings).unwrap()).await.unwrap();
                opened.send(listener.local_addr().unwrap()).unwrap();
                let stopped = async move { drop(stopped.await) };
                broker.run(listener, stopped).await.unwrap();
            });
        });
        Self { address: address.recv().unwrap(), stop: Some(stop), thread: Some(thread) }
    }
}

impl Drop for Embedded {
    fn drop(&mut self) {
        drop(self.stop.take());
        self.thread.take().unwrap().join().unwrap();
    }
}

async fn registry(folder: &Path) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let registry = Registry::open(&folder.join("registry")).unwrap();
    tokio::spawn(server::serve(listener, registry, std::future::pending()));
    format!("http://{address}")
}

/// Waits for a condition, never for a time.
pub async fn wait_for(what: &str, mut condition: impl AsyncFnMut() -> bool) {
    let until = Instant::now() + Duration::from_secs(60);
    while !condition().await {
        assert!(Instant::now() < until, "waited 60 s for {what}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
