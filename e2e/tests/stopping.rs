//! Who is asked to stop stops, by itself and with exit code 0.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::io::{BufRead, BufReader};
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
