//! A configuration mistake is refused at start, with file, line, what is wrong and what to do; all mistakes at once.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use hirewire_e2e::hirewire;

const WRONG: &str = r#"kafka: {bootstrap_servers: localhost, topic_prefix: "a b"}
registry: {urll: "http://127.0.0.1:8081"}
admin: {listen: everywhere}
ingest: {max_body_bytes: many}
normalize: {comit_interval: 20ms}
connections:
  acme:
    tenant: acme
    vendor: greenhose
  bad name: {tenant: acme, vendor: greenhouse}
  third: {tenant: acme, vendor: greenhouse, webhook: {secrets: [hunter2]}}
sinks:
  payroll: {http: {url: "https://pay.example.com/in", timeout: fast}}
routes:
  pay: {sink: payrol}
unknown: 1
"#;

#[test]
fn every_mistake_is_told_at_once_with_its_line_and_no_secret_is_repeated() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("hirewire.yaml");
    std::fs::write(&file, WRONG).unwrap();
    let output = hirewire(&["check", "--config"]).unwrap().arg(&file).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(!text.contains("hunter2"), "{text}");
    for (line, word) in [
        (1, "list of brokers"),
        (1, "topic"),
        (2, "urll"),
        (3, "everywhere"),
        (4, "many"),
        (5, "comit_interval"),
        (9, "greenhose"),
        (10, "bad name"),
        (11, "secret"),
        (13, "fast"),
        (15, "payrol"),
        (16, "unknown"),
    ] {
        let place = format!("hirewire.yaml:{line}: ");
        let told = text.lines().any(|said| said.contains(&place) && said.contains(word));
        assert!(told, "nothing about {word} in line {line}:\n{text}");
    }
}

#[test]
fn a_missing_secret_is_named_before_anything_starts() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("hirewire.yaml");
    std::fs::write(
        &file,
        "kafka: {bootstrap_servers: \"127.0.0.1:1\"}\nregistry: {url: \"http://127.0.0.1:1\"}\nconnections:\n  acme: {tenant: acme, vendor: greenhouse, \
         webhook: {secrets: [{file: /nowhere/secret}]}}\n",
    )
    .unwrap();
    let output = hirewire(&["ingest", "--admin", "127.0.0.1:0", "--config"]).unwrap().arg(&file).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(text.contains("hirewire.yaml:4") && text.contains("/nowhere/secret"), "{text}");
}
