//! Who is asked to stop stops, by itself and with exit code 0.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::io::{BufRead, BufReader, Read};
use std::net::TcpListener;
use std::process::Stdio;
use std::time::Duration;

use hirewire_e2e::deployment::{Deployment, Moved, terminate};
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

/// Whoever does not wait for the drain asks twice.
#[test]
fn a_second_signal_ends_it_before_it_has_drained() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let receiver = silent.local_addr().unwrap();
    let deployment = Deployment::lay(&format!(
        "sinks: {{exams: {{system: assessment, http: {{url: \"http://{receiver}/\", timeout: 60s, allow: {{networks: [\"127.0.0.0/8\"]}}}}}}}}\n\
         routes: {{exams: {{sink: exams, from: beginning}}}}\nroute: {{drain: 8s}}\n"
    ));
    let mut up = deployment.up();
    let at = "2026-02-09T16:00:00Z";
    deployment.send(&Moved { application: 1, stage_id: 7, stage: "Assessment", at, traceparent: None });
    // The request came, and is never answered.
    let _request = silent.accept().unwrap();
    terminate(&up);
    deployment.until("the stop", || deployment.log().contains("SIGTERM: stopping"));
    std::thread::sleep(Duration::from_millis(500));
    assert!(up.0.try_wait().unwrap().is_none(), "it waits for the answer: {}", deployment.log());
    terminate(&up);
    let status = up.0.wait().unwrap();
    assert_eq!(status.code(), Some(2), "{status}: {}", deployment.log());
    assert!(deployment.log().contains("a second signal ended it"), "{}", deployment.log());
}

/// What it says meanwhile is read, so that it never waits for a full pipe.
fn assert_stops(process: &mut Running, mut output: impl Read) {
    terminate(process);
    let mut said = String::new();
    output.read_to_string(&mut said).unwrap();
    let status = process.0.wait().unwrap();
    assert_eq!(status.code(), Some(0), "{status}: {said}");
}
