//! A broker for a test: embedded, or the one that `HIREWIRE_TEST_BROKERS` names.

use std::time::{Duration, Instant};

use hirewire_kafka::Settings;
use hirewire_service::Shutdown;

pub struct TestBroker {
    pub settings: Settings,
    shutdown: Shutdown,
}

impl TestBroker {
    pub async fn start() -> Self {
        let shutdown = Shutdown::new();
        if let Ok(address) = std::env::var("HIREWIRE_TEST_BROKERS") {
            return Self { settings: Settings::local(&address), shutdown };
        }
        let folder = tempfile::tempdir().unwrap();
        let broker = hirewire_broker::Broker::open(hirewire_broker::Settings::new(folder.path())).unwrap();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let stopped = shutdown.clone();
        tokio::spawn(async move {
            let ended = broker.run(listener, async move { stopped.requested().await }).await;
            drop(folder);
            ended
        });
        Self { settings: Settings::local(&address), shutdown }
    }
}

impl Drop for TestBroker {
    fn drop(&mut self) {
        self.shutdown.request();
    }
}

/// A name that no other test of any run uses.
pub fn fresh(name: &str) -> String {
    format!("test-{name}-{}", uuid::Uuid::new_v4().simple())
}

/// Long, for another test may have killed the Kafka that both use: until it is back it takes its session's time and more.
pub async fn wait_for(what: &str, mut condition: impl FnMut() -> bool) {
    let until = Instant::now() + Duration::from_secs(120);
    while !condition() {
        assert!(Instant::now() < until, "waited 120 s for {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
