//! Where deliveries are received: by a connection with an old secret and a new one, and by one with the new one alone.

use std::time::{SystemTime, UNIX_EPOCH};

use hirewire_ingest::webhook::{Inbox, Taken, rehearsal};
use hirewire_sim::vendor::{Courier, Delivery};
use std::sync::Arc;
use tokio::net::TcpListener;

use super::Kit;

pub(super) const OLD: &str = "the-secret-of-before";
pub(super) const NEW: &str = "the-secret-of-now";

pub(super) struct Desk {
    url: String,
    courier: Courier,
    inbox: Inbox,
    serving: tokio::task::JoinHandle<()>,
}

impl Drop for Desk {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl Desk {
    pub(super) async fn open(kit: &Kit) -> Result<Self, String> {
        let connections = [kit.receiving("kit", &[NEW, OLD]), kit.receiving("new", &[NEW])];
        let (router, inbox) =
            rehearsal(connections.map(Arc::new).into()).map_err(|error| format!("no receiver: {error}"))?;
        let courier = Courier::new().map_err(|error| format!("no client: {error}"))?;
        let listener = TcpListener::bind("127.0.0.1:0").await.map_err(|error| format!("cannot listen: {error}"))?;
        let address = listener.local_addr().map_err(|error| format!("cannot listen: {error}"))?;
        let serving = tokio::spawn(async move { axum::serve(listener, router).await.unwrap_or_default() });
        Ok(Self { url: format!("http://{address}/v1/webhooks"), courier, inbox, serving })
    }

    /// Sends a delivery: the status of the answer, and what was kept.
    pub(super) async fn bring(&self, connection: &str, delivery: &Delivery) -> Result<(u16, Taken), String> {
        let answer = self.courier.deliver(&format!("{}/{connection}", self.url), delivery).await;
        let status = answer.map_err(|error| format!("no answer: {error}"))?;
        Ok((status, self.inbox.take_all()))
    }

    /// Asks whether somebody listens: whether the word came back, and nothing was kept.
    pub(super) async fn greet(&self, greeting: &Delivery) -> bool {
        let heard = self.courier.greet(&format!("{}/kit", self.url), greeting).await.unwrap_or(false);
        heard && self.inbox.take().is_empty()
    }
}

/// In milliseconds since 1970.
pub(super) fn now_ms() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
    i64::try_from(now).unwrap_or(i64::MAX)
}
