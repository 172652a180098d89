//! What a machine has too little of, and a wall clock that jumps: the whole system in one process, under load, before a receiver and a
//! folder of files.
//!
//! On Linux: limits are set and lifted by util-linux's `prlimit`.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader};
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use hirewire_e2e::clock::WallClock;
use hirewire_e2e::deployment::{Change, Deployment, UP, terminate};
use hirewire_e2e::http::{Receiver, post};
use hirewire_e2e::load::{APPLICATIONS, Sent, deliveries};
use hirewire_e2e::{Running, binary, hirewire};
use serde_json::Value;

const SIGABRT: i32 = 6;

/// One sink whose receiver is told of each move, and one whose files begin anew with nearly each write.
struct Scene {
    deployment: Deployment,
    receiver: Receiver,
    sent: Sent,
}

impl Scene {
    fn lay() -> Self {
        let receiver = Receiver::start();
        let sections = format!(
            "sinks:\n  exams: {{system: assessment, http: {{url: \"http://{}/\", allow: {{networks: [\"127.0.0.0/8\"]}}}}}}\n  \
             lake: {{system: stream, file: {{path: lake, rotate_bytes: 1024}}}}\n\
             routes: {{exams: {{sink: exams, from: beginning}}, lake: {{sink: lake, entity: stage-change}}}}\n",
            receiver.address
        );
        Self { deployment: Deployment::lay(&sections), receiver, sent: Sent::default() }
    }

    /// Each application moves once more.
    fn round(&mut self) {
        (1..=APPLICATIONS).for_each(|application| self.sent.next(&self.deployment, application));
    }

    fn wait_for_deliveries(&self) {
        self.deployment.until("every delivery", || deliveries(&self.receiver).len() >= self.sent.count());
    }

    /// Webhooks come while `work` is done.
    fn under_load<T>(&mut self, work: impl FnOnce(&Deployment, &Receiver) -> T) -> T {
        let Self { deployment, receiver, sent } = self;
        sent.during(deployment, || work(deployment, receiver))
    }

    /// What was acknowledged is in the ledger, at the receiver and in the files: all of it, once and in order.
    fn judge(&self) {
        self.wait_for_deliveries();
        let ledger = self.deployment.ledger();
        let changes = |ledger: &BTreeMap<String, Vec<Change>>| ledger.values().map(Vec::len).sum::<usize>();
        self.deployment.until("every line", || changes(&self.lake()) >= changes(&ledger));
        assert_eq!(self.lake(), ledger);
        self.sent.judge(&self.deployment, &self.receiver);
    }

    /// Every application's changes, in the order of the files.
    fn lake(&self) -> BTreeMap<String, Vec<Change>> {
        let entries = std::fs::read_dir(self.deployment.folder.path().join("lake"));
        let mut files: Vec<PathBuf> =
            entries.into_iter().flatten().map(|entry| entry.unwrap().path()).filter(|path| path.is_file()).collect();
        files.retain(|path| path.to_str().unwrap().contains(".jsonl"));
        files.sort();
        let mut lake: BTreeMap<String, Vec<Change>> = BTreeMap::new();
        // A file gets another name when it is finished.
        for line in files.iter().filter_map(|path| std::fs::read_to_string(path).ok()).collect::<String>().lines() {
            let Ok(record) = serde_json::from_str::<Value>(line) else { continue };
            let text = |value: &Value| value.as_str().unwrap().to_owned();
            let change = (record["sequence_no"].as_i64().unwrap(), text(&record["meta"]["event_id"]));
            lake.entry(text(&record["application_id"])).or_default().push(change);
        }
        lake
    }
}

/// Under limits from the start.
fn limited(limit: &str) -> Command {
    let mut command = Command::new("prlimit");
    command.arg(limit).arg(binary().unwrap()).args(UP);
    command
}

/// Sets a limit of a running process.
fn limit(process: &Running, what: &str, most: &str) {
    let pid = process.0.id().to_string();
    let set = Command::new("prlimit").args(["--pid", &pid, &format!("--{what}={most}:")]).status().unwrap();
    assert!(set.success(), "{what}: {most}");
}

/// The lowest number that no descriptor of it has.
fn free_descriptor(process: &Running) -> usize {
    let open = std::fs::read_dir(format!("/proc/{}/fd", process.0.id())).unwrap();
    let numbers: BTreeSet<usize> =
        open.map(|entry| entry.unwrap().file_name().to_str().unwrap().parse().unwrap()).collect();
    (0..).find(|number| !numbers.contains(number)).unwrap()
}

/// A line of `/proc/PID/status`, in kB.
fn kilobytes(process: &Running, name: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", process.0.id())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).unwrap();
    line.trim().strip_suffix(" kB").unwrap().parse().unwrap()
}

#[test]
fn few_descriptors_are_told_at_the_start_with_what_to_do() {
    let scene = Scene::lay();
    let mut command = limited("--nofile=64:");
    command.current_dir(scene.deployment.folder.path()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut up = Running(command.spawn().unwrap());
    let mut line = String::new();
    BufReader::new(up.0.stderr.take().unwrap()).read_line(&mut line).unwrap();
    assert!(line.contains("few files may be open") && line.contains("64") && line.contains("ulimit -n"), "{line}");
}

/// One descriptor is left to all who open files and connections.
#[test]
fn without_descriptors_what_needs_one_waits_and_goes_on_when_there_are_again() {
    let mut scene = Scene::lay();
    let mut up = scene.deployment.up();
    scene.round();
    scene.wait_for_deliveries();
    scene.under_load(|deployment, _| {
        limit(&up, "nofile", &(free_descriptor(&up) + 1).to_string());
        deployment.until("the files to wait", || deployment.log().contains("SINK_STORE_REFUSED"));
        limit(&up, "nofile", "4096");
        deployment.until("the files to go on", || deployment.log().contains("takes files again"));
    });
    scene.round();
    scene.judge();
    assert!(up.0.try_wait().unwrap().is_none(), "it is the process of before");
    let log = scene.deployment.log();
    let told = log.lines().find(|line| line.contains("SINK_STORE_REFUSED")).unwrap();
    assert!(told.contains("Too many open files") && told.contains("ulimit -n"), "{told}");
}

#[test]
fn a_process_that_is_refused_memory_ends_and_the_next_one_goes_on() {
    let mut scene = Scene::lay();
    // Less than its allocator would reserve at once: so it asks for each piece.
    let up = scene.deployment.up_by(limited("--data=900000000:"));
    scene.round();
    scene.wait_for_deliveries();
    let held = kilobytes(&up, "VmData") * 1024;
    let _next = scene.under_load(|deployment, receiver| {
        let mut up = up;
        limit(&up, "data", &(held + (1 << 20)).to_string());
        let large = vec![b' '; 8 << 20];
        deployment.until("the end", || {
            // Whatever it still says to this.
            let _said = post(deployment.webhooks, "/v1/webhooks/acme", "", &large).is_ok();
            up.0.try_wait().unwrap().is_some()
        });
        let status = up.0.wait().unwrap();
        assert_eq!(status.signal(), Some(SIGABRT), "{status}");
        assert!(deployment.log().contains("memory allocation of"), "{}", deployment.log());
        let next = deployment.up();
        let before = deliveries(receiver).len();
        deployment.until("deliveries", || deliveries(receiver).len() >= before + 200);
        next
    });
    scene.judge();
}

#[test]
fn a_wall_clock_that_jumps_loses_nothing_and_holds_up_no_wait() {
    const HOUR: i64 = 60 * 60;
    let clock = WallClock::make();
    let mut scene = Scene::lay();
    let start = |scene: &Scene| {
        let mut command = hirewire(&UP).unwrap();
        clock.give_to(&mut command);
        scene.deployment.up_by(command)
    };
    let mut up = start(&scene);
    scene.round();
    scene.wait_for_deliveries();
    scene.under_load(|deployment, receiver| {
        for ahead in [1, 0, -1, 0, 24, 0, -24] {
            clock.set(ahead * HOUR);
            let before = deliveries(receiver).len();
            deployment.until("deliveries after a jump", || deliveries(receiver).len() >= before + 200);
        }
    });
    scene.wait_for_deliveries();

    // What waits for nothing but its time goes on: a retry, everything at the end.
    scene.receiver.answer(503);
    scene.round();
    let refused = |receiver: &Receiver| receiver.requests().iter().any(|request| request.answered == 503);
    scene.deployment.until("a retry to be waited for", || refused(&scene.receiver));
    clock.set(-48 * HOUR);
    scene.receiver.answer(200);
    scene.judge();
    clock.set(-72 * HOUR);
    terminate(&up);
    scene.deployment.until("the end", || up.0.try_wait().unwrap().is_some());
    let log = scene.deployment.log();
    assert!(up.0.wait().unwrap().success() && !log.contains("panicked"), "{log}");

    // In what is yesterday to its data it starts, and goes on.
    let _up = start(&scene);
    scene.round();
    scene.judge();
}
