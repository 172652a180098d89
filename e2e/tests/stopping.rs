//! Who is asked to stop stops, by itself and with exit code 0.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::io::{BufRead, BufReader};
use std::net::{TcpListener, TcpStream};
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
    let told = Command::new("kill").arg("-TERM").arg(simulator.0.id().to_string()).status().unwrap();
    assert!(told.success());
    assert_eq!(simulator.0.wait().unwrap().code(), Some(0));
}

#[test]
fn up_stops_on_sigterm_while_it_waits_for_kafka() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("hirewire.yaml");
    let admin = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let text = format!(
        "kafka: {{bootstrap_servers: \"127.0.0.1:1\"}}\nregistry: {{url: \"http://127.0.0.1:1\"}}\nadmin: {{listen: \"{admin}\"}}\n"
    );
    std::fs::write(&file, text).unwrap();
    let mut command = hirewire(&["up", "--config"]).unwrap();
    let mut up = Running(command.arg(&file).stderr(Stdio::null()).spawn().unwrap());
    while TcpStream::connect(admin).is_err() {
        assert_eq!(up.0.try_wait().unwrap(), None, "it ended by itself");
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    let told = Command::new("kill").arg("-TERM").arg(up.0.id().to_string()).status().unwrap();
    assert!(told.success());
    assert_eq!(up.0.wait().unwrap().code(), Some(0));
}
