//! Is what the vendor signed believed, and nothing else? Signed by `api.yaml`, sent over HTTP, received by ingest.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use hirewire_ingest::webhook::{Inbox, rehearsal};
use hirewire_sim::WebhookRules;
use hirewire_sim::vendor::{Courier, Delivery, Tamper, sign};
use tokio::net::TcpListener;

use super::{Answers, Clause, Kit, Proof};
use crate::fixture::Kind;
use crate::folder::Folder;

const OLD: &str = "the-secret-of-before";
const NEW: &str = "the-secret-of-now";
const MINUTE_MS: i64 = 60_000;
const LONG_MS: i64 = 30 * 24 * 60 * MINUTE_MS;

/// In the order of the fixtures' names.
pub(super) async fn prove(kit: &Kit, folder: &Folder, proof: &mut Proof) {
    let Some(rules) = kit.rules.webhook.as_ref().filter(|_| kit.manifest.webhook.is_some()) else { return };
    let desk = match Desk::open(kit).await {
        Ok(desk) => desk,
        Err(why) => {
            let mut answers = Answers::default();
            answers.ask(Some(why));
            return proof.take(Clause::Signature, "deliveries", answers);
        }
    };
    let events = folder.payloads().into_iter().filter(|fixture| fixture.kind == Kind::Webhook);
    for (serial, fixture) in (0..).zip(events) {
        let event = std::fs::read(&fixture.path).ok().and_then(|body| serde_json::from_slice(&body).ok());
        let Some(event) = event else { continue };
        let mut answers = Answers::default();
        let signer = Signer { rules, event: &event };
        if serial == 0 {
            desk.all(&signer, &mut answers).await;
        } else {
            let right = signer.signed(OLD, 0, Tamper::None);
            answers.ask(desk.ask("both", right, true, "a delivery that is right").await);
        }
        proof.take(Clause::Signature, &fixture.name, answers);
    }
}

/// Signs one event as the vendor does.
struct Signer<'a> {
    rules: &'a WebhookRules,
    event: &'a serde_json::Value,
}

impl Signer<'_> {
    fn signed(&self, secret: &str, ago_ms: i64, tamper: Tamper) -> Delivery {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
        let sent = i64::try_from(now).unwrap_or(i64::MAX) - ago_ms;
        sign(self.rules, self.event, secret.as_bytes(), sent, tamper)
    }
}

/// Where deliveries are received: by a connection with the old secret and the new one, and by one with the new one.
struct Desk {
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
    async fn open(kit: &Kit) -> Result<Self, String> {
        let connections = [kit.receiving("both", &[NEW, OLD]), kit.receiving("new", &[NEW])];
        let (router, inbox) =
            rehearsal(connections.map(Arc::new).into()).map_err(|error| format!("no receiver: {error}"))?;
        let courier = Courier::new().map_err(|error| format!("no client: {error}"))?;
        let listener = TcpListener::bind("127.0.0.1:0").await.map_err(|error| format!("cannot listen: {error}"))?;
        let address = listener.local_addr().map_err(|error| format!("cannot listen: {error}"))?;
        let serving = tokio::spawn(async move { axum::serve(listener, router).await.unwrap_or_default() });
        Ok(Self { url: format!("http://{address}/v1/webhooks"), courier, inbox, serving })
    }

    async fn all(&self, signer: &Signer<'_>, answers: &mut Answers) {
        let hex = signer.rules.signature.encoding == hirewire_sim::Encoding::HexLower;
        let cases = [
            ("both", OLD, Tamper::None, true, "a delivery that is right, signed with the older secret"),
            ("both", NEW, Tamper::None, true, "a delivery that is right, signed with the newer secret"),
            ("new", OLD, Tamper::None, false, "a delivery signed with a secret that is not used any more"),
            ("both", "another", Tamper::None, false, "a delivery signed with another secret"),
            ("both", OLD, Tamper::Altered, false, "a delivery that was altered"),
            ("both", OLD, Tamper::HashCutOff, false, "a delivery whose hash is cut off"),
            ("both", OLD, Tamper::OtherCase, hex, "a delivery whose hash is written in the other case"),
            ("both", OLD, Tamper::Unsigned, false, "a delivery without a hash"),
        ];
        for (connection, secret, tamper, taken, what) in cases {
            let delivery = signer.signed(secret, 0, tamper);
            answers.ask(self.ask(connection, delivery, taken, what).await);
        }
        if signer.rules.signature.sent_at.is_none() {
            return;
        }
        let minutes: u64 = signer.rules.retry_after_minutes.iter().sum();
        let last_retry = i64::try_from(minutes).unwrap_or(0) * MINUTE_MS;
        for (ago, taken, what) in [
            (last_retry, true, "the last retry of a delivery"),
            (LONG_MS, false, "a delivery that was signed a month ago"),
            (-LONG_MS, false, "a delivery that was signed in a month"),
        ] {
            let delivery = signer.signed(OLD, ago, Tamper::None);
            answers.ask(self.ask("both", delivery, taken, what).await);
        }
    }

    /// Sends a delivery. What is wrong, if it is not kept byte for byte where it should be, or is where not.
    async fn ask(&self, connection: &str, delivery: Delivery, taken: bool, what: &str) -> Option<String> {
        let status = match self.courier.deliver(&format!("{}/{connection}", self.url), &delivery).await {
            Ok(status) => status,
            Err(error) => return Some(format!("{what}: no answer: {error}")),
        };
        let kept = self.inbox.take();
        match (taken, status, kept.as_slice()) {
            (true, 200, [body]) if *body == delivery.body => None,
            (false, 401, []) => None,
            (true, ..) => Some(format!("{what} is answered {status}, and should be kept")),
            (false, ..) => Some(format!("{what} is answered {status}, and should be refused with 401")),
        }
    }
}
