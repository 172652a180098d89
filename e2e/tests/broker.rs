//! The broker alone, with users: who connects and who does not.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::io::{BufRead, BufReader};
use std::process::Stdio;

use hirewire_e2e::{Running, hirewire};

#[test]
fn a_broker_that_others_can_reach_has_users_and_lets_in_nobody_else() {
    let folder = tempfile::tempdir().unwrap();
    let password = folder.path().join("password");
    std::fs::write(&password, "right\n").unwrap();
    let data = folder.path().join("data");
    let mut command = hirewire(&["broker", "--listen", "0.0.0.0:0", "--data"]).unwrap();
    let open = command.arg(&data).output().unwrap();
    assert!(!open.status.success(), "without users it does not start");
    assert!(String::from_utf8_lossy(&open.stderr).contains("--user"), "{open:?}");

    let mut command = hirewire(&["broker", "--listen", "127.0.0.1:0", "--data"]).unwrap();
    let command = command.arg(&data).arg("--user").arg(format!("svc={}", password.display()));
    let mut broker = Running(command.stdout(Stdio::piped()).spawn().unwrap());
    let mut line = String::new();
    BufReader::new(broker.0.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let address = line.trim().strip_prefix("broker on ").unwrap().to_owned();

    for (word, let_in) in [("right", true), ("wrong", false)] {
        let file = folder.path().join(format!("{word}.yaml"));
        let sasl = "sasl: {mechanism: SCRAM-SHA-512, username: svc, password: {env: THE_PASSWORD}}";
        let text = format!(
            "kafka:\n  bootstrap_servers: \"{address}\"\n  {sasl}\nregistry: {{url: \"http://127.0.0.1:1\"}}\n"
        );
        std::fs::write(&file, text).unwrap();
        let mut command = hirewire(&["check", "--connect", "--config"]).unwrap();
        let checked = command.arg(&file).env("THE_PASSWORD", word).output().unwrap();
        assert_eq!(checked.status.success(), let_in, "{word}: {}", String::from_utf8_lossy(&checked.stderr));
    }
}
