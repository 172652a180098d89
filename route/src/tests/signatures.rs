//! What we sign, as receivers see it that did not come from us: the libraries of Standard Webhooks' authors, those of the folder
//! that `HIREWIRE_TEST_WEBHOOKS` names (`e2e/webhooks/libraries` makes one; they know v1 alone, of v1a the specification has
//! vectors), and ingest, which proves deliveries by the schemes of vendors.

use std::collections::BTreeSet;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;

use bytes::Bytes;
use hirewire_ingest::Connection;
use hirewire_ingest::manifest::Manifest;
use hirewire_ingest::webhook::{Delivery, Verifier};
use hirewire_service::Secret;
use hirewire_yaml::{Node, Problems, Value as Yaml};
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use serde_json::{Value, json};

use super::support::{Answer, Options, Receiver, arrival, change, context, run, until};
use crate::http::signing::standard::Signer;
use crate::http::signing::{Signing, Unsigned};
use crate::settings::read_scheme;
use crate::system::carried;

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const NEXT: &str = "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
const ED25519: &str = "whsk_6Xb/dCcHpPea21PS1N9VY/NZW723CEc77N4rJCubMbc=";

/// A delivery as the receiver takes it, by its secret.
fn delivery(secrets: &[&str], verifies: &str, signed: &str, body: &str, age_secs: i64) -> Value {
    let signer = Signer::new(secrets.iter().map(|secret| Secret::from_value(*secret)).collect());
    let (id, at) = ("3f0b6d1e-6a57-5c1f-9d5b-0b1f6a3a4d11", jiff::Timestamp::now().as_second() - age_secs);
    let signature = signer.sign(id, at, signed.as_bytes()).unwrap();
    let headers = json!({"webhook-id": id, "webhook-timestamp": at.to_string(), "webhook-signature": signature});
    json!({"secret": verifies, "headers": headers, "body": body})
}

/// Which of the cases a library takes.
fn taken(command: &mut Command, cases: &Value) -> Vec<bool> {
    let mut library = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    library.stdin.take().unwrap().write_all(cases.to_string().as_bytes()).unwrap();
    let output = library.wait_with_output().unwrap();
    assert!(output.status.success());
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn the_libraries_of_the_specification_take_what_we_sign_and_nothing_else() {
    let Ok(libraries) = std::env::var("HIREWIRE_TEST_WEBHOOKS") else {
        // Not by a macro: of a test that passes cargo shows nothing that they print.
        writeln!(
            std::io::stderr(),
            "LEFT OUT: the libraries of Standard Webhooks: e2e/webhooks/libraries installs them"
        )
        .unwrap();
        return;
    };
    let body = "{\"type\": \"hire\", \"name\": \"Zoë \\u0000 \u{1f600}\"}";
    let other = body.replace("hire", "fire");
    let whole = |secrets: &[&str], verifies| delivery(secrets, verifies, body, body, 0);
    let cases = [
        (whole(&[SECRET], SECRET), true),
        // A rotation: whoever has either.
        (whole(&[SECRET, NEXT], SECRET), true),
        (whole(&[SECRET, NEXT], NEXT), true),
        // A signature of a kind that they do not know stands before it.
        (whole(&[ED25519, SECRET], SECRET), true),
        (whole(&[SECRET], NEXT), false),
        (whole(&[ED25519], SECRET), false),
        (delivery(&[SECRET], SECRET, body, &other, 0), false),
        (delivery(&[SECRET], SECRET, body, body, 400), false),
        (delivery(&[SECRET], SECRET, body, body, -400), false),
    ];
    let expected: Vec<bool> = cases.iter().map(|(_, taken)| *taken).collect();
    let cases: Value = cases.iter().map(|(case, _)| case.clone()).collect();
    let (libraries, programs) = (Path::new(&libraries), Path::new(env!("CARGO_MANIFEST_DIR")).join("../e2e/webhooks"));
    let mut python = Command::new(libraries.join("venv/bin/python"));
    assert_eq!(taken(python.arg(programs.join("verify.py")), &cases), expected, "Python");
    let mut node = Command::new("node");
    assert_eq!(taken(node.arg(programs.join("verify.mjs")).arg(libraries), &cases), expected, "JavaScript");
}

/// `signature.hmac` of a manifest as a sender needs it: how old a delivery may be is its receiver's to say.
fn of_a_sender(node: &Node) -> Node {
    let value = match &node.value {
        Yaml::Map(entries) => {
            let kept = entries.iter().filter(|(key, _)| key.scalar() != Some("within"));
            Yaml::Map(kept.map(|(key, value)| (key.clone(), of_a_sender(value))).collect())
        }
        other => other.clone(),
    };
    Node { value, ..node.clone() }
}

fn signing(hmac: &Node, secrets: &[&str]) -> Signing {
    let mut problems = Problems::new();
    let secrets = secrets.iter().map(|secret| Secret::from_value(*secret)).collect();
    let scheme = read_scheme(hmac, secrets, &mut problems);
    Signing::Keyed(problems.into_result(scheme).unwrap_or_else(|problems| panic!("{problems}")))
}

/// The same words of data, read by two services that share no code: what a vendor signs, ingest proves and we can sign.
#[test]
fn what_ingest_proves_of_a_vendor_a_sink_can_sign() {
    let url = "https://receiver.example/in".parse().unwrap();
    let mut tried = BTreeSet::new();
    for folder in std::fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("../vendors")).unwrap() {
        let (path, name) =
            folder.map(|f| (f.path().join("manifest.yaml"), f.file_name().into_string().unwrap())).unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        let root = hirewire_yaml::parse("manifest.yaml", &text).unwrap();
        let hmac = root.peek("webhook").and_then(|part| part.peek("signature")?.peek("hmac"));
        // What stands inside a body is not put there by whoever sends it.
        let Some(hmac) = hmac.filter(|hmac| hmac.peek("field").is_none()) else { continue };
        let manifest = Manifest::parse("manifest.yaml", &text).unwrap();
        let (one, several): (&[&str], &[&str]) = (&["first"], &["first", "next", "third", "fourth"]);
        let secrets = if let Some(Yaml::List(_)) = hmac.peek("header").map(|node| &node.value) { several } else { one };
        let signing = signing(&of_a_sender(hmac), secrets);
        // Those that stand beside it at SmartRecruiters.
        let beside = ["event-id", "event-name", "event-version", "link"];
        let mut headers: HeaderMap =
            beside.into_iter().map(|name| (HeaderName::from_static(name), HeaderValue::from_static("x"))).collect();
        let unsigned = Unsigned { key: "k", method: &reqwest::Method::POST, url: &url, body: b"{\"a\": 1}" };
        signing.sign(&unsigned, jiff::Timestamp::now(), &mut headers).unwrap();
        let is_proven = |secret: &str, body: &'static [u8], headers: &HeaderMap| {
            let connection = Connection {
                name: "acme".to_owned(),
                tenant: "acme".to_owned(),
                manifest: Arc::clone(&manifest),
                webhook: None,
                poll: None,
            };
            let delivery = Delivery {
                connection: Arc::new(connection),
                headers: headers.clone(),
                body: Bytes::from_static(body),
                received_at: jiff::Timestamp::now(),
            };
            let scheme = &manifest.webhook.as_ref().unwrap().signature;
            Verifier::new(&[Secret::from_value(secret)]).verify(scheme, delivery).is_ok()
        };
        for secret in secrets {
            assert!(is_proven(secret, b"{\"a\": 1}", &headers), "{name} by {secret}");
        }
        assert!(!is_proven("another", b"{\"a\": 1}", &headers), "{name}");
        assert!(!is_proven(secrets[0], b"{\"a\": 2}", &headers), "{name}");
        tried.insert(name);
    }
    let expected = ["ashby", "calendly", "checkr", "docusign", "greenhouse", "smartrecruiters", "teamtailor"];
    assert!(expected.iter().all(|name| tried.contains(*name)), "{tried:?}");
}

/// A resend has the time and the secret of its own attempt, and the key of the first.
#[tokio::test]
async fn each_attempt_is_signed_anew() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("secret");
    std::fs::write(&file, "old").unwrap();
    let mut problems = Problems::new();
    let text = format!("{{file: {}}}", file.display());
    let secret = Secret::read(&hirewire_yaml::parse("s.yaml", &text).unwrap(), &mut problems).unwrap();
    let text = "{algorithm: sha256, encoding: hex, header: x-sig, signed: {joined: {parts: [method, path, {header: x-at}, body], \
        by: \"\\n\"}}, sent_at: {epoch_ms: {header: x-at}}}";
    let hmac = hirewire_yaml::parse("s.yaml", text).unwrap();
    let scheme = read_scheme(&hmac, vec![secret], &mut problems);
    let signing = Signing::Keyed(problems.into_result(scheme).unwrap_or_else(|problems| panic!("{problems}")));

    let receiver = Receiver::start(|_| Answer::Status(503)).await;
    let context = context();
    context.put_common();
    context.put_application("a");
    let running =
        run(&carried("assessment"), &receiver, &context, Options { signing: Some(signing), ..Options::default() });
    running.assign(&[0]);
    running.record(arrival(0, 0, "a", &change("a", 1, "STAGE")));
    until("an attempt", || !receiver.all().is_empty()).await;
    std::fs::write(&file, "the new one").unwrap();
    let is_by = |secret: &[u8], attempt: &super::support::Received| {
        use hmac::{Hmac, KeyInit, Mac};
        let mut mac = Hmac::<sha2::Sha256>::new_from_slice(secret).unwrap();
        mac.update(format!("POST\n/in\n{}\n", attempt.headers["x-at"]).as_bytes());
        mac.update(&attempt.raw);
        attempt.headers["x-sig"] == hex::encode(mac.finalize().into_bytes())
    };
    until("one by the new secret", || receiver.all().iter().any(|attempt| is_by(b"the new one", attempt))).await;
    receiver.answer(|_| Answer::Status(200));
    until("delivered", || running.commits.head(0) == 1).await;
    let all = receiver.all();
    assert!(is_by(b"old", &all[0]) && all.iter().all(|one| is_by(b"old", one) || is_by(b"the new one", one)));
    assert!(all.iter().all(|one| one.headers["idempotency-key"] == all[0].headers["idempotency-key"]));
    let times: BTreeSet<&str> = all.iter().map(|one| one.headers["x-at"].as_str()).collect();
    assert!(times.len() > 1, "each has its time");
    running.end().await;
}
