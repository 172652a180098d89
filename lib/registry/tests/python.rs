//! confluent-kafka (Python) as a judge. It installs the package into a folder of its own, hence not by default:
//! `cargo test -p hirewire-registry --test python -- --ignored`.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::path::{Path, PathBuf};
use std::process::Output;

use support::Server;
use tokio::process::Command;

async fn run(command: &mut Command) -> Output {
    let output = command.output().await.unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {error}");
    output
}

async fn python() -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("registry-python");
    let python = folder.join("bin/python");
    if !folder.join("ready").exists() {
        run(Command::new("python3").args(["-m", "venv"]).arg(&folder)).await;
        let package = "confluent-kafka[avro,schemaregistry]==2.16.1";
        run(Command::new(&python).args(["-m", "pip", "install", "--quiet", package])).await;
        std::fs::write(folder.join("ready"), "").unwrap();
    }
    python
}

#[tokio::test]
#[ignore = "installs a Python package"]
async fn confluents_python_client_works_unchanged() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(&dir).await;
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/python/confluent.py");
    let output = run(Command::new(python().await).arg(script).arg(&server.url)).await;
    assert_eq!(output.stdout, b"ok\n");
}
