//! A secret among the settings of a system: in the body that is sent, and nowhere else.

use std::path::Path;
use std::sync::Arc;

use serde_json::{Value, json};

use super::ground::Ground;
use super::support::{Answer, Context, Options, Receiver, Running, arrival, capture_log, change, context, run, until};
use super::walk::OFTEN;
use crate::deliver::outcome::HoldReason;
use crate::rehearse::rehearse;
use crate::request::told::{SHOWN, Secrets};
use crate::settings::{Kind, Settings};
use crate::system::{System, Systems};

const TESTS: &str = r#"
system: tests
summary: Orders tests, and says by which token their results come.
settings: {queue: which queue, token: {secret: the token of the results}}
requests:
  order:
    entity: stage-change
    path: /orders/{settings.queue}
    body: {fields: {application_id: change.application_id, proof: {join: [{const: Bearer}, settings.token]}}}
"#;

const FIRST: &str = "first \"token\" of the results";
const SECOND: &str = "second-token-of-the-results";

/// The folder of systems that has it.
fn folder(text: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("tests")).unwrap();
    std::fs::write(folder.path().join("tests/sink.yaml"), text).unwrap();
    folder
}

fn system(text: &str) -> Result<Arc<System>, String> {
    let systems = Systems::of_folder(folder(text).path()).map_err(|problems| problems.to_string())?;
    Ok(systems.get("tests").unwrap())
}

/// A sink of the system; `how` it is reached, and what its `token` is.
fn settings(text: &str, how: &str, token: &str) -> Result<Settings, String> {
    let folder = folder(text);
    let config = format!(
        "route: {{sinks_dir: {}}}\nsinks: {{tests: {{{how}, settings: {{queue: q, token: {token}}}}}}}\nroutes: {{r: {{sink: tests}}}}\n",
        folder.path().display()
    );
    Ground::read(&config)
}

const HTTP: &str = "http: {url: 'https://x.example'}";

/// What the configuration makes of a secret's file.
fn secrets(file: &Path) -> Secrets {
    let settings = settings(TESTS, HTTP, &format!("{{file: {}}}", file.display())).unwrap();
    let [sink] = settings.sinks.as_slice() else { panic!("one sink") };
    assert_eq!(*sink.told, json!({"queue": "q", "token": SHOWN}));
    let shown = format!("{:?}", rehearse(&settings, "tests", &json!({"tree": {"change": change("a", 1, "STAGE")}})));
    assert!(shown.contains("Bearer ***") && !shown.contains("of the results"), "{shown}");
    let Kind::Http(http) = &sink.kind else { panic!("not HTTP") };
    http.secrets.clone()
}

/// The proofs of what was received.
fn proofs(receiver: &Receiver) -> Vec<Value> {
    receiver.all().into_iter().map(|received| received.body["proof"].clone()).collect()
}

fn start(receiver: &Receiver, context: &Context, file: &Path) -> Running {
    context.put_application("a");
    let mut options =
        Options { told: json!({"queue": "q", "token": SHOWN}), secrets: secrets(file), ..Options::default() };
    options.limits.probes = OFTEN;
    let running = run(&system(TESTS).unwrap(), receiver, context, options);
    running.keep_gate();
    running.assign(&[0]);
    running
}

#[tokio::test]
async fn a_secret_that_a_sink_was_told_is_in_the_body_and_nothing_shows_it() {
    let (log, _guard) = capture_log();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("token");
    std::fs::write(&file, FIRST).unwrap();
    // The receiver repeats what it was sent, as some like to.
    let mut statuses = [500, 400].into_iter();
    let receiver = Receiver::start(move |_| Answer::Status(statuses.next().unwrap_or(200))).await;
    let context = context();
    let running = start(&receiver, &context, &file);
    running.record(arrival(0, 0, "a", &change("a", 1, "STAGE")));
    until("the dead letter", || running.commits.head(0) == 1).await;
    let first = json!(format!("Bearer {FIRST}"));
    assert_eq!(proofs(&receiver), [first.clone(), first.clone()]);
    let letters = running.letters.put.lock().unwrap().clone();
    assert_eq!(letters.len(), 1);
    for shown in [log.text(), format!("{letters:?}")] {
        assert!(!shown.contains("of the results") && !shown.contains("of-the-results"), "{shown}");
    }

    // A new token counts from the next attempt on.
    std::fs::write(&file, SECOND).unwrap();
    running.record(arrival(0, 1, "a", &change("a", 2, "STAGE")));
    until("the second", || running.commits.head(0) == 2).await;
    assert_eq!(proofs(&receiver).pop(), Some(json!(format!("Bearer {SECOND}"))));

    // Without it nothing is sent, and nothing lost.
    std::fs::remove_file(&file).unwrap();
    running.record(arrival(0, 2, "a", &change("a", 3, "STAGE")));
    until("held", || running.deliverer.gate.held() == Some(HoldReason::SecretMissing)).await;
    assert_eq!(receiver.all().len(), 3);
    std::fs::write(&file, FIRST).unwrap();
    until("the third", || running.commits.head(0) == 3).await;
    assert_eq!(proofs(&receiver).pop(), Some(first));
    assert!(!log.text().contains("of the results"), "{}", log.text());
    running.end().await;
}

#[test]
fn a_secret_stands_in_bodies_alone() {
    for (from, to, told) in [
        ("/orders/{settings.queue}", "/orders/{settings.token}", "\"settings.token\" is a secret, and URLs are shown"),
        (
            "    body:",
            "    query: {t: settings.token}\n    body:",
            "\"settings.token\" is a secret, and URLs are shown",
        ),
        ("{secret: the token", "{secrt: the token", "secrt"),
        ("requests:", "batch: {items: body, status: status}\nrequests:", "holds a secret"),
    ] {
        assert!(TESTS.contains(from), "{from}");
        let refused = system(&TESTS.replacen(from, to, 1)).unwrap_err();
        assert!(refused.contains(told) && refused.contains("/tests/sink.yaml:"), "{refused}");
    }
    let without_a_path = TESTS.replacen("    path: /orders/{settings.queue}\n", "", 1);
    for (how, token, told) in [
        (HTTP, "a-token", "a secret written into the settings (write {file: PATH} or {env: NAME})"),
        (HTTP, "{file: /no/such/file}", "secret file /no/such/file cannot be read"),
        ("kafka: {topic: orders}", "{env: PATH}", "has requests that only HTTP can carry"),
        ("file: {path: orders}", "{env: PATH}", "has requests that only HTTP can carry"),
    ] {
        let refused = settings(&without_a_path, how, token).err().unwrap();
        assert!(refused.contains(told) && refused.contains("hirewire.yaml:2:"), "{refused}");
    }
}
