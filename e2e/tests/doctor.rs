//! `hirewire doctor` against a system that runs, then with one thing after the other broken.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::Stdio;

use hirewire_e2e::{Running, free, hirewire};
use hirewire_kafka::{Admin, Settings};
use serde_json::Value;

/// What the doctor says of a file, and its exit code.
fn asked(folder: &Path, file: &str, more: &[&str]) -> (i32, Value) {
    let mut command = hirewire(&["doctor", "--json", "--config"]).unwrap();
    let output = command.arg(folder.join(file)).args(more).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let said =
        serde_json::from_str(&text).unwrap_or_else(|_| panic!("{text} {}", String::from_utf8_lossy(&output.stderr)));
    (output.status.code().unwrap(), said)
}

/// Findings of a state, as `area subject: what -> remedy`.
fn of(said: &Value, state: &str) -> Vec<String> {
    let findings = said["findings"].as_array().unwrap().iter().filter(|finding| finding["state"] == state);
    let text = |finding: &Value, key: &str| finding[key].as_str().unwrap().to_owned();
    let line =
        |f: &Value| format!("{} {}: {} -> {}", text(f, "area"), text(f, "subject"), text(f, "what"), text(f, "remedy"));
    findings.map(line).collect()
}

fn has(lines: &[String], words: &[&str]) -> bool {
    lines.iter().any(|line| words.iter().all(|word| line.contains(word)))
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_well_is_well_and_each_thing_that_breaks_is_found_with_its_remedy() {
    let folder = tempfile::tempdir().unwrap();
    let (broker, registry) = (free(), free());
    let whole = format!(
        "embedded: {{broker: \"{broker}\", registry: \"{registry}\"}}\nkafka: {{bootstrap_servers: \"{broker}\", partitions: 4}}\n\
         registry: {{url: \"http://{registry}\"}}\ndata_dir: .\nadmin: {{listen: \"127.0.0.1:0\"}}\ningest: {{listen: \"127.0.0.1:0\"}}\n\
         connections: {{acme: {{tenant: acme, vendor: greenhouse, webhook: {{secrets: [{{file: secret}}]}}}}}}\n\
         sinks: {{analytics: {{sqlite: {{path: analytics.sqlite}}}}}}\nroutes: {{a: {{sink: analytics, from: beginning}}}}\n"
    );
    std::fs::write(folder.path().join("secret"), "something").unwrap();
    std::fs::write(folder.path().join("hirewire.yaml"), &whole).unwrap();
    let mut command = hirewire(&["up", "--config"]).unwrap();
    let command = command.arg(folder.path().join("hirewire.yaml")).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut up = Running(command.spawn().unwrap());
    let mut lines = BufReader::new(up.0.stdout.take().unwrap()).lines().map(Result::unwrap);
    assert!(lines.any(|line| line.starts_with("admin ")), "it ended before it was ready");

    let (code, said) = asked(folder.path(), "hirewire.yaml", &[]);
    assert_eq!((code, of(&said, "failed")), (0, vec![]), "{said:#}");
    let well = of(&said, "ok");
    for words in [
        &["configuration", "1 connections, 1 sinks"][..],
        &["kafka", "brokers answer"],
        &["topics", "as they must be"],
        &["access", "topics can be read"],
        &["access", "transactions can be opened"],
        &["dead letters", "none in"],
        &["registry", "answers"],
        &["schemas", "are registered"],
        &["clock", "agrees"],
        &["sinks analytics"],
    ] {
        assert!(has(&well, words), "{words:?} is not among {well:#?}");
    }
    assert!(well.iter().chain(&of(&said, "failed")).any(|line| line.starts_with("disk ")), "{well:#?}");

    // A topic less, and one with another setting.
    let kafka = Settings::local(&broker.to_string());
    let admin = Admin::new(&kafka).unwrap();
    admin.delete_topics(&["ats.job.v1".to_owned()]).await.unwrap();
    let other = [("cleanup.policy".to_owned(), "compact".to_owned())].into();
    admin.set_topic_config("ats.issue.v1", &other).await.unwrap();
    let (code, said) = asked(folder.path(), "hirewire.yaml", &["--inside"]);
    let failed = of(&said, "failed");
    assert_eq!(code, 1);
    assert!(has(&failed, &["topics ats.job.v1: missing", "hirewire topics apply"]), "{failed:#?}");
    assert!(has(&failed, &["topics ats.issue.v1", "cleanup.policy is compact, should be delete"]), "{failed:#?}");
    assert_eq!(failed.len(), 2, "and nothing else: {failed:#?}");
    assert!(has(&of(&said, "skipped"), &["sinks", "--inside"]));

    // Another count of partitions, which nothing mends; a registry that is away; a secret that is gone.
    let wrong = whole
        .replace("partitions: 4", "partitions: 5")
        .replace(&format!("http://{registry}"), &format!("http://{}", free()));
    std::fs::write(folder.path().join("wrong.yaml"), wrong.replace("file: secret", "file: gone")).unwrap();
    let (code, said) = asked(folder.path(), "wrong.yaml", &["--inside"]);
    let failed = of(&said, "failed");
    assert_eq!(code, 1);
    assert!(has(&failed, &["configuration", "wrong.yaml:7", "gone"]), "{failed:#?}");
    assert!(has(&failed, &["topics ats.candidate.v1", "has 4 partitions", "can never change"]), "{failed:#?}");
    assert!(!has(&failed, &["has 4 partitions", "topics apply"]), "that would not mend it: {failed:#?}");
    assert!(has(&failed, &["registry http://127.0.0.1:"]), "{failed:#?}");
    assert!(has(&of(&said, "skipped"), &["schemas", "the registry does not answer"]));

    // A receiver that is away, a topic and a folder that are not there.
    let sinks = format!(
        "sinks: {{analytics: {{sqlite: {{path: nowhere/a.sqlite}}}}, payroll: {{http: {{url: \"http://{}/in\", \
         allow: {{networks: [127.0.0.0/8]}}}}}}, hires: {{system: onboarding, kafka: {{topic: hr.hires}}}}}}",
        free()
    );
    let analytics = "sinks: {analytics: {sqlite: {path: analytics.sqlite}}}";
    assert!(whole.contains(analytics));
    std::fs::write(folder.path().join("sinks.yaml"), whole.replace(analytics, &sinks)).unwrap();
    let (code, said) = asked(folder.path(), "sinks.yaml", &[]);
    let failed = of(&said, "failed");
    assert_eq!(code, 1);
    assert!(has(&failed, &["sinks payroll", "cannot be reached"]), "{failed:#?}");
    assert!(has(&failed, &["sinks analytics", "nowhere is not there", "the sink's `path`"]), "{failed:#?}");
    assert!(
        has(&failed, &["sinks hires", "hr.hires, the topic of a sink, is not there", "topic-missing"]),
        "{failed:#?}"
    );

    // No TLS is spoken there: the reason is told, not a timeout.
    let tls = whole.replace("partitions: 4", "partitions: 4, tls: {}");
    std::fs::write(folder.path().join("tls.yaml"), tls).unwrap();
    let (code, said) = asked(folder.path(), "tls.yaml", &["--inside"]);
    let failed = of(&said, "failed");
    assert_eq!(code, 1);
    assert!(has(&failed, &["kafka", "do not let us in", "SSL", "kafka.tls"]), "{failed:#?}");
    assert_eq!(of(&said, "skipped").iter().filter(|line| line.contains("do not let us in")).count(), 4, "{said:#}");
}
