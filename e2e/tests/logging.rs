//! What a process logs, how it looks, and that it is changed while it runs.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Command, Stdio};

use hirewire_e2e::deployment::{Deployment, Moved, stop};
use hirewire_e2e::{Running, binary, hirewire, http};
use serde_json::Value;

/// What each process logs that has an admin port.
const OPEN: &str = "the admin port is open";

/// The arguments of a process that logs it, and asks for a way of logging if one is given.
fn arguments<'a>(data: &'a str, format: Option<&'a str>) -> Vec<&'a str> {
    let own = ["registry", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--data", data];
    own.into_iter().chain(format.into_iter().flat_map(|format| ["--log-format", format])).collect()
}

/// The first line in `text` that tells of the admin port.
fn told(text: impl Read) -> String {
    let mut lines = BufReader::new(text).lines().map(Result::unwrap);
    lines.find(|line| line.contains(OPEN)).expect("a line of the admin port")
}

/// Whether it is a line for people; else it must be the object that programs read.
fn is_human(line: &str) -> bool {
    let Ok(object) = serde_json::from_str::<Value>(line) else {
        assert!(line.contains("INFO"), "{line}");
        return true;
    };
    assert_eq!((&object["level"], &object["message"]), (&"INFO".into(), &OPEN.into()), "{line}");
    assert!(object["timestamp"].is_string() && object["address"].is_string(), "{line}");
    false
}

#[test]
fn log_lines_look_as_it_is_set_and_are_json_where_nobody_looks() {
    let folder = tempfile::tempdir().unwrap();
    for (asked, variable, human) in [
        (None, None, false),
        (Some("human"), None, true),
        (None, Some("human"), true),
        (Some("json"), Some("human"), false),
        (Some("human"), Some("json"), true),
    ] {
        let mut command = hirewire(&arguments(folder.path().to_str().unwrap(), asked)).unwrap();
        command.envs(variable.map(|format| ("HIREWIRE_LOG_FORMAT", format)));
        command.stdout(Stdio::null()).stderr(Stdio::piped());
        let mut running = Running(command.spawn().unwrap());
        let line = told(running.0.stderr.take().unwrap());
        assert_eq!(is_human(&line), human, "{asked:?} {variable:?}: {line}");
        assert!(!line.contains('\u{1b}'), "colours where nobody looks: {line}");
    }
    let refused = hirewire(&["registry", "--log-format", "text"]).unwrap().output().unwrap();
    let error = String::from_utf8(refused.stderr).unwrap();
    assert!(refused.status.code() == Some(2) && error.contains("human, json"), "{error}");
}

/// `script` of util-linux, which Debian always has, gives a process a terminal, and tells what it shows.
#[cfg(target_os = "linux")]
#[test]
fn log_lines_are_for_people_at_a_terminal_unless_json_is_asked_for() {
    for (asked, human) in [(None, true), (Some("json"), false), (Some("human"), true)] {
        let folder = tempfile::tempdir().unwrap();
        let arguments = arguments(folder.path().to_str().unwrap(), asked).join(" ");
        let command_line = format!("{} {arguments}", binary().unwrap().display());
        let mut command = Command::new("script");
        command.args(["--quiet", "--flush", "--command", &command_line, "/dev/null"]);
        command.env_remove("RUST_LOG").env_remove("HIREWIRE_LOG_FORMAT");
        // An end of input would be typed into the terminal.
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut running = Running(command.spawn().unwrap());
        let mut shown = running.0.stdout.take().unwrap();
        let line = told(&mut shown);
        // Ctrl-C at its terminal: to end `script` would leave it running.
        running.0.stdin.take().unwrap().write_all(b"\x03").unwrap();
        std::io::copy(&mut shown, &mut std::io::sink()).unwrap();
        assert!(running.0.wait().unwrap().success());
        assert_eq!(is_human(line.trim_end()), human, "{asked:?}: {line}");
        assert_eq!(line.contains('\u{1b}'), human, "colours are for people: {line:?}");
    }
}

/// Levels of the lines so far; each line is an object.
fn levels(deployment: &Deployment) -> Vec<String> {
    let lines = deployment.log();
    // The last one may not be written to its end yet.
    let whole = lines.split_inclusive('\n').filter(|line| line.ends_with('\n'));
    let line = |line: &str| serde_json::from_str::<Value>(line).unwrap_or_else(|error| panic!("{error}: {line}"));
    whole.map(|text| line(text)["level"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn the_filter_of_the_log_is_changed_while_the_process_runs() {
    let deployment = Deployment::lay(
        "sinks: {all: {system: analytics, sqlite: {path: analytics.sqlite}}}\nroutes: {all: {sink: all, from: beginning}}\n",
    );
    let admin = deployment.admin();
    let up = deployment.up();
    let debug = || levels(&deployment).iter().filter(|level| *level == "DEBUG").count();
    let send = |application| {
        let at = "2026-02-09T16:00:00Z";
        deployment.send(&Moved { application, stage_id: 7, stage: "Assessment", at, traceparent: None });
        let delivered = format!("hirewire_route_deliveries_total{{sink=\"all\"}} {}", 2 * application);
        deployment.until("its delivery", || http::get(admin, "/metrics").unwrap().contains(&delivered));
    };
    send(1);
    assert_eq!(debug(), 0);

    let answer = http::put(admin, "/log", "warn,hirewire_route=debug").unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    send(2);
    deployment.until("lines of debug", || debug() > 0);

    for wrong in ["", "hirewire_route=loud"] {
        let answer = http::put(admin, "/log", wrong).unwrap();
        assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
    }
    let answer = http::put(admin, "/log", "info").unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    let before = debug();
    send(3);
    assert_eq!(debug(), before, "{}", deployment.log());
    stop(up);
}
