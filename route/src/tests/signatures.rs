//! What we sign, as receivers see it that use the libraries of Standard Webhooks' authors: those of the folder that
//! `HIREWIRE_TEST_WEBHOOKS` names (`e2e/webhooks/libraries` makes one). They know v1 alone; of v1a the specification has vectors.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use hirewire_service::Secret;
use serde_json::{Value, json};

use crate::http::signing::Signer;

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
