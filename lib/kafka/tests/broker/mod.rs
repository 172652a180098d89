//! A broker for a test: embedded, or the one that `HIREWIRE_TEST_BROKERS` names.

use std::time::{Duration, Instant};

use hirewire_kafka::Settings;

pub struct TestBroker {
    pub settings: Settings,
    _folder: Option<tempfile::TempDir>,
}

impl TestBroker {
    pub async fn start() -> Self {
        if let Ok(address) = std::env::var("HIREWIRE_TEST_BROKERS") {
            return Self { settings: Settings::local(&address), _folder: None };
        }
        let folder = tempfile::tempdir().unwrap();
        let address = start_embedded(folder.path()).await;
        Self { settings: Settings::local(&address), _folder: Some(folder) }
    }
}

async fn start_embedded(_folder: &std::path::Path) -> String {
    panic!("the embedded broker is not here yet")
}

/// A name that no other test of any run uses.
pub fn fresh(name: &str) -> String {
    format!("test-{name}-{}", uuid::Uuid::new_v4().simple())
}

pub async fn wait_for(what: &str, mut condition: impl FnMut() -> bool) {
    let until = Instant::now() + Duration::from_secs(30);
    while !condition() {
        assert!(Instant::now() < until, "waited 30 s for {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
