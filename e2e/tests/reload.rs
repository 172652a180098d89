//! `hirewire route` reads its configuration again when the file changes and on SIGHUP, and keeps the old one on a mistake.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::io::{BufRead, BufReader, Lines};
use std::path::Path;
use std::process::{ChildStderr, Command, Stdio};

use hirewire_e2e::{Running, free, hirewire, http};

/// The log of a process, up to a line that has all of these.
fn until(log: &mut Lines<BufReader<ChildStderr>>, wanted: &[&str]) -> String {
    let mut seen = String::new();
    for line in log.by_ref() {
        let line = line.unwrap();
        if wanted.iter().all(|text| line.contains(text)) {
            return line;
        }
        seen.push_str(&line);
        seen.push('\n');
    }
    panic!("it ended before it said {wanted:?}:\n{seen}")
}

#[test]
fn a_running_route_takes_over_what_is_right_and_keeps_what_it_had_on_a_mistake() {
    let folder = tempfile::tempdir().unwrap();
    let (broker, registry) = (free(), free());
    let common = format!(
        "kafka: {{bootstrap_servers: \"{broker}\", partitions: 4}}\nregistry: {{url: \"http://{registry}\"}}\n\
         admin: {{listen: \"127.0.0.1:0\"}}\ningest: {{listen: \"127.0.0.1:0\"}}\n"
    );
    let up = folder.path().join("up.yaml");
    std::fs::write(
        &up,
        format!("{common}data_dir: up\nembedded: {{broker: \"{broker}\", registry: \"{registry}\"}}\n"),
    )
    .unwrap();
    let start = |arguments: &[&str], file: &Path, output: Stdio| {
        let mut command = hirewire(arguments).unwrap();
        let command = command.arg("--config").arg(file).stdout(output).stderr(Stdio::piped());
        Running(command.spawn().unwrap())
    };
    let mut ground = start(&["up"], &up, Stdio::piped());
    let ready = BufReader::new(ground.0.stdout.take().unwrap()).lines().map(Result::unwrap);
    assert!(ready.into_iter().any(|line| line.starts_with("admin")), "it ended before it was ready");

    let file = folder.path().join("hirewire.yaml");
    let write = |more: &str| std::fs::write(&file, format!("{common}data_dir: route\n{more}")).unwrap();
    write("");
    let admin = free();
    let mut route = start(&["route", "--admin", &admin.to_string()], &file, Stdio::null());
    let metric = |name: &str| {
        let answer = http::get(admin, "/metrics").unwrap();
        let line = answer.lines().find_map(|line| line.strip_prefix(name));
        line.unwrap_or_else(|| panic!("no {name}")).trim().to_owned()
    };
    let mut log = BufReader::new(route.0.stderr.take().unwrap()).lines();
    until(&mut log, &["no sink is configured"]);

    let sinks = "sinks: {assessment: {http: {url: 'https://assessment.example.com/in'}}}\nroutes: {orders: {sink: assessment}}\n";
    write(sinks);
    until(&mut log, &["the configuration was taken over"]);
    write(&sinks.replace("sink: assessment", "sink: asessment"));
    let refused = ["SETTINGS_REFUSED", "there is no sink", "did you mean"];
    assert!(until(&mut log, &refused).contains("hirewire.yaml:7"), "it names the line");
    assert_eq!(metric("hirewire_route_settings_refused"), "1");
    let hangup = Command::new("kill").arg("-HUP").arg(route.0.id().to_string()).status().unwrap();
    assert!(hangup.success());
    until(&mut log, &["SIGHUP"]);
    until(&mut log, &refused);
    write(&format!("# as before\n{sinks}"));
    until(&mut log, &["what is in use already"]);
    assert_eq!(metric("hirewire_route_settings_refused"), "0");
    drop(route);

    // A process for a part of the sinks: of the others not even the secrets need be there.
    let payroll = "payroll: {http: {url: 'https://pay.example.com', auth: {bearer: {file: not-there}}}}";
    write(&sinks.replace("sinks: {", &format!("sinks: {{{payroll}, ")));
    let admin = free();
    let arguments = ["route", "--sinks", "assessment", "--admin", &admin.to_string()];
    let mut part = start(&arguments, &file, Stdio::null());
    let mut log = BufReader::new(part.0.stderr.take().unwrap()).lines();
    until(&mut log, &["assigned", "hirewire-route.assessment"]);
    let metrics = http::get(admin, "/metrics").unwrap();
    assert!(metrics.contains("sink=\"assessment\"") && !metrics.contains("sink=\"payroll\""), "{metrics}");
    write("");
    until(&mut log, &["SETTINGS_REFUSED", "--sinks", "there is no sink", "assessment"]);
}
