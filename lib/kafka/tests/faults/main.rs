//! Faults of the transactional loop. Each test breaks something at a chosen request, and then holds the output against
//! the input: everything once, in order, nothing of what was not committed.
//!
//! The broker is the embedded one, or the one that `HIREWIRE_TEST_BROKERS` names (the test command runs these twice).
#![allow(clippy::unwrap_used, clippy::expect_used, unreachable_pub)]

#[path = "../broker/mod.rs"]
mod broker;
mod crash;
mod gone;
mod proxy;
mod refusals;
mod scene;
mod takeover;
mod timeouts;

use broker::TestBroker;
use proxy::Proxy;
use scene::Scene;

/// A broker behind a proxy.
struct Place {
    broker: TestBroker,
    proxy: Proxy,
}

impl Place {
    async fn start() -> Self {
        let broker = TestBroker::start().await;
        let proxy = Proxy::start(broker.settings.bootstrap_servers()).await;
        Self { broker, proxy }
    }

    async fn scene(&self) -> Scene {
        Scene::new(&self.broker.settings, &self.proxy.address).await
    }
}
