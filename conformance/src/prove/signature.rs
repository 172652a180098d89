//! Is what the vendor signed believed, and nothing else? Signed by `api.yaml`, sent over HTTP, received by ingest.

use hirewire_sim::WebhookRules;
use hirewire_sim::vendor::{Delivery, Message, Tamper, greeting, sign};

use super::desk::{Desk, NEW, OLD, now_ms};
use super::{Answers, Clause, Kit, NO_WEBHOOKS, Proof};
use crate::fixture::Kind;
use crate::folder::Folder;

const MINUTE_MS: i64 = 60_000;
const LONG_MS: i64 = 30 * 24 * 60 * MINUTE_MS;

/// In the order of the fixtures' names.
pub(super) async fn prove(kit: &Kit, folder: &Folder, proof: &mut Proof) {
    let Some(rules) = kit.rules.webhook.as_ref().filter(|_| kit.manifest.webhook.is_some()) else {
        return proof.leave_out(Clause::Signature, NO_WEBHOOKS);
    };
    let desk = match Desk::open(kit).await {
        Ok(desk) => desk,
        Err(why) => {
            let mut answers = Answers::default();
            answers.ask(Some(why));
            return proof.take(Clause::Signature, "deliveries", answers);
        }
    };
    let asker = Asker { desk: &desk, rules };
    let events = folder.payloads().into_iter().filter(|fixture| fixture.kind == Kind::Webhook);
    for (serial, fixture) in (0..).zip(events) {
        let body = std::fs::read(&fixture.path).ok().and_then(|body| serde_json::from_slice(&body).ok());
        let Some(body) = body else { continue };
        let mut answers = Answers::default();
        let message = Message { event: fixture.case().to_owned(), body, link: None, id: None };
        let signer = Signer { rules, message: &message };
        if serial == 0 {
            answers.ask(asker.greet().await);
            asker.all(&signer, &mut answers).await;
        } else {
            let right = signer.signed(OLD, 0, Tamper::None);
            answers.ask(asker.ask("kit", right, true, "a delivery that is right").await);
        }
        proof.take(Clause::Signature, &fixture.name, answers);
    }
}

/// Signs one event as the vendor does.
struct Signer<'a> {
    rules: &'a WebhookRules,
    message: &'a Message,
}

impl Signer<'_> {
    fn signed(&self, secret: &str, ago_ms: i64, tamper: Tamper) -> Delivery {
        sign(self.rules, self.message, secret.as_bytes(), now_ms() - ago_ms, tamper)
    }
}

/// Asks at the desk.
struct Asker<'a> {
    desk: &'a Desk,
    rules: &'a WebhookRules,
}

impl Asker<'_> {
    async fn all(&self, signer: &Signer<'_>, answers: &mut Answers) {
        let hex = signer.rules.signature.encoding == hirewire_sim::Encoding::HexLower;
        let cases = [
            ("kit", OLD, Tamper::None, true, "a delivery that is right, signed with the older secret"),
            ("kit", NEW, Tamper::None, true, "a delivery that is right, signed with the newer secret"),
            ("new", OLD, Tamper::None, false, "a delivery signed with a secret that is not used any more"),
            ("kit", "another", Tamper::None, false, "a delivery signed with another secret"),
            ("kit", OLD, Tamper::Altered, false, "a delivery that was altered"),
            ("kit", OLD, Tamper::HashCutOff, false, "a delivery whose hash is cut off"),
            ("kit", OLD, Tamper::OtherCase, hex, "a delivery whose hash is written in the other case"),
            ("kit", OLD, Tamper::Unsigned, false, "a delivery without a hash"),
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
            answers.ask(self.ask("kit", delivery, taken, what).await);
        }
    }

    /// The vendor asks whether somebody listens, if it does. Nothing of it is kept.
    async fn greet(&self) -> Option<String> {
        let heard = self.desk.greet(&greeting(self.rules)?).await;
        let wrong = "the vendor asked whether somebody listens, and its word did not come back with 200";
        (!heard).then(|| wrong.to_owned())
    }

    /// Sends a delivery. What is wrong, if it is not kept byte for byte where it should be, or is where not.
    async fn ask(&self, connection: &str, delivery: Delivery, taken: bool, what: &str) -> Option<String> {
        let (status, kept) = match self.desk.bring(connection, &delivery).await {
            Ok(answer) => answer,
            Err(why) => return Some(format!("{what}: {why}")),
        };
        let bodies: Vec<_> = kept.events.iter().filter_map(|event| event.value.as_ref()).collect();
        match (taken, status, bodies.as_slice()) {
            (true, status, [body]) if self.rules.success.is(status) && **body == delivery.body => None,
            (false, 401, []) => None,
            (true, ..) => Some(format!("{what} is answered {status}, and should be kept")),
            (false, ..) => Some(format!("{what} is answered {status}, and should be refused with 401")),
        }
    }
}
