//! The registry alone, with users and TLS, and a deployment that has to know both.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use hirewire_e2e::{Running, free, hirewire};

/// Starts `command` and reads the word after `before` of its first line.
fn started(command: &mut Command, before: &str) -> (Running, String) {
    let mut process = Running(command.stdout(Stdio::piped()).spawn().unwrap());
    let mut line = String::new();
    BufReader::new(process.0.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let address = line.trim().strip_prefix(before).unwrap_or_else(|| panic!("{line}")).to_owned();
    (process, address)
}

fn run(arguments: &[&str], config: &Path) -> Output {
    hirewire(arguments).unwrap().arg("--config").arg(config).output().unwrap()
}

#[test]
fn a_deployment_works_with_a_registry_that_lets_in_users_only() {
    let folder = tempfile::tempdir().unwrap();
    let tls = Path::new(env!("CARGO_MANIFEST_DIR")).join("../lib/registry/tests/tls");
    let certificate = tls.join("certificate.pem");
    for (file, password) in [("right", "svc-secret"), ("wrong", "guessed")] {
        std::fs::write(folder.path().join(file), password).unwrap();
    }
    let data = folder.path().join("data");
    let mut command = hirewire(&["broker", "--listen", "127.0.0.1:0", "--data"]).unwrap();
    let (_broker, brokers) = started(command.arg(&data), "broker on ");
    let mut command = hirewire(&["registry", "--listen", "127.0.0.1:0", "--data"]).unwrap();
    command.arg(&data).arg("--user").arg(format!("svc={}", folder.path().join("right").display()));
    command.arg("--tls-certificate").arg(&certificate).arg("--tls-key").arg(tls.join("key.pem"));
    let (_registry, registry) = started(&mut command, "registry on ");
    assert!(registry.starts_with("https://"), "{registry}");

    let config = |password: &str| {
        let admin = free();
        let path = folder.path().join(format!("{password}.yaml"));
        let text = format!(
            "kafka: {{bootstrap_servers: \"{brokers}\", partitions: 1}}\n\
             registry:\n  url: \"{registry}\"\n  tls: {{ca_file: \"{}\"}}\n  \
             basic_auth: {{username: svc, password: {{file: {password}}}}}\n\
             admin: {{listen: \"{admin}\"}}\nnormalize: {{registry_wait: 2s}}\n",
            certificate.display()
        );
        std::fs::write(&path, text).unwrap();
        path
    };
    let right = config("right");
    let applied = run(&["topics", "apply"], &right);
    assert!(applied.status.success(), "{applied:?}");

    let refused = run(&["normalize"], &config("wrong"));
    assert!(!refused.status.success());
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(said.contains("Unauthorized"), "{said}");
    assert!(!said.contains("guessed"), "{said}");

    let mut command = hirewire(&["normalize", "--config"]).unwrap();
    let _normalize = Running(command.arg(&right).stderr(Stdio::null()).spawn().unwrap());
    let until = Instant::now() + Duration::from_secs(60);
    while !run(&["health"], &right).status.success() {
        assert!(Instant::now() < until, "normalize is not ready");
        std::thread::sleep(Duration::from_millis(100));
    }
    let read = run(&["tail", "stage-change"], &right);
    assert!(read.status.success(), "{read:?}");
}
