//! `hirewire topics apply` before any service runs: topics, and at the registry the schemas of their values.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::path::Path;
use std::process::Stdio;

use hirewire_e2e::http::get;
use hirewire_e2e::{Running, free, hirewire};

fn topics(folder: &Path, what: &str, more: &[&str]) -> (bool, String) {
    let mut command = hirewire(&["topics", what, "--config"]).unwrap();
    let output = command.arg(folder.join("hirewire.yaml")).args(more).output().unwrap();
    (output.status.success(), String::from_utf8(output.stdout).unwrap() + &String::from_utf8(output.stderr).unwrap())
}

#[test]
fn schemas_are_registered_before_a_service_runs_with_what_may_become_of_them() {
    let folder = tempfile::tempdir().unwrap();
    let (broker, registry) = (free(), free());
    let mut running = Vec::new();
    for (role, address) in [("broker", broker), ("registry", registry)] {
        let mut command = hirewire(&[role, "--listen", &address.to_string(), "--data"]).unwrap();
        running.push(Running(command.arg(folder.path().join(role)).stderr(Stdio::null()).spawn().unwrap()));
    }
    let config = format!(
        "kafka: {{bootstrap_servers: \"{broker}\", topic_prefix: \"a.\", partitions: 2}}\nregistry: {{url: \"http://{registry}\"}}\n\
         data_dir: .\n"
    );
    std::fs::write(folder.path().join("hirewire.yaml"), config).unwrap();

    let (well, said) = topics(folder.path(), "apply", &[]);
    assert!(well, "{said}");
    let (well, said) = topics(folder.path(), "check", &["--schemas"]);
    assert!(!well && said.contains("a.ats.stage-change.v1-value: missing"), "{said}");
    for _ in 0..2 {
        let (well, said) = topics(folder.path(), "apply", &["--schemas"]);
        assert!(well, "{said}");
    }
    let (well, said) = topics(folder.path(), "check", &["--schemas"]);
    assert!(well && said.contains(" schemas, 0 differences"), "{said}");
    let level = get(registry, "/config/a.ats.stage-change.v1-value").unwrap();
    assert!(level.contains("FULL_TRANSITIVE"), "{level}");
}
