//! Who is asked to stop stops, by itself and with exit code 0.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::io::{BufRead, BufReader, Read};
use std::process::{Command, Stdio};

use hirewire_e2e::{Running, hirewire};

#[test]
fn the_simulator_stops_on_sigterm_as_the_first_process_of_a_container_must() {
    let folder = tempfile::tempdir().unwrap();
    let mut command = hirewire(&["sim", "greenhouse", "--applications", "40", "--data"]).unwrap();
    let mut simulator = Running(command.arg(folder.path()).stdout(Stdio::piped()).spawn().unwrap());
    let mut line = String::new();
    let mut output = BufReader::new(simulator.0.stdout.take().unwrap());
    output.read_line(&mut line).unwrap();
    assert!(line.starts_with("API"), "{line}");
    assert_stops(&mut simulator, output);
}

#[test]
fn up_stops_on_sigterm_while_it_waits_for_kafka() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("hirewire.yaml");
    let text = "kafka: {bootstrap_servers: \"127.0.0.1:1\"}\nregistry: {url: \"http://127.0.0.1:1\"}\nadmin: {listen: \"127.0.0.1:0\"}\n";
    std::fs::write(&file, text).unwrap();
    let mut command = hirewire(&["up", "--config"]).unwrap();
    let mut up = Running(command.arg(&file).stderr(Stdio::piped()).spawn().unwrap());
    let mut log = BufReader::new(up.0.stderr.take().unwrap());
    let mut line = String::new();
    while !line.contains("the admin port is open") {
        line.clear();
        assert_ne!(log.read_line(&mut line).unwrap(), 0, "it ended by itself: {:?}", up.0.wait());
    }
    assert_stops(&mut up, log);
}

/// What it says meanwhile is read, so that it never waits for a full pipe.
fn assert_stops(process: &mut Running, mut output: impl Read) {
    let told = Command::new("kill").arg("-TERM").arg(process.0.id().to_string()).status().unwrap();
    assert!(told.success());
    let mut said = String::new();
    output.read_to_string(&mut said).unwrap();
    let status = process.0.wait().unwrap();
    assert_eq!(status.code(), Some(0), "{status}: {said}");
}
