//! A deployment of one connection in one process, as tests start it: a configuration in a folder, webhooks, the ledger.
//!
//! What goes wrong ends the test that called.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use hmac::{Hmac, KeyInit, Mac};
use serde_json::Value;

use crate::{Running, free, hirewire, http};

const SECRET: &str = "0123456789abcdef0123456789abcdef";
/// Everything in one process.
pub const UP: [&str; 3] = ["up", "--config", "hirewire.yaml"];
/// Longer than anything takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);

/// A folder with `hirewire.yaml`; every start finds its data and ports again.
pub struct Deployment {
    pub folder: tempfile::TempDir,
    pub webhooks: SocketAddr,
    pub broker: SocketAddr,
    pub registry: SocketAddr,
}

/// An application is in a stage since an instant.
pub struct Moved<'a> {
    pub application: u64,
    pub stage_id: u64,
    pub stage: &'a str,
    pub at: &'a str,
    /// `traceparent` of the vendor's request.
    pub traceparent: Option<&'a str>,
}

/// A change in the ledger: its number and its event's id.
pub type Change = (i64, String);

impl Deployment {
    /// Broker and registry embedded. `sections` are the configuration's sinks, routes and whatever else it is to have.
    #[must_use]
    pub fn lay(sections: &str) -> Self {
        let (broker, registry) = (free(), free());
        let embedded = format!("embedded: {{broker: \"{broker}\", registry: \"{registry}\"}}\n{sections}");
        Self::on(broker, registry, "", &embedded)
    }

    /// On a broker and a registry that are there.
    #[must_use]
    pub fn on(broker: SocketAddr, registry: SocketAddr, prefix: &str, sections: &str) -> Self {
        let kafka = format!("bootstrap_servers: \"{broker}\", partitions: 2, topic_prefix: \"{prefix}\"");
        Self::with(&kafka, broker, registry, sections)
    }

    /// With these keys of the configuration's section `kafka`; `broker` is one of its servers.
    #[must_use]
    pub fn with(kafka: &str, broker: SocketAddr, registry: SocketAddr, sections: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let webhooks = free();
        std::fs::write(folder.path().join("secret"), SECRET).unwrap();
        let text = format!(
            "kafka: {{{kafka}}}\n\
             registry: {{url: \"http://{registry}\"}}\n\
             data_dir: data\n\
             admin: {{listen: \"127.0.0.1:0\"}}\n\
             ingest: {{listen: \"{webhooks}\"}}\n\
             connections: {{acme: {{tenant: acme, vendor: greenhouse, webhook: {{secrets: [{{file: secret}}]}}}}}}\n\
             {sections}"
        );
        std::fs::write(folder.path().join("hirewire.yaml"), text).unwrap();
        Self { folder, webhooks, broker, registry }
    }

    /// Everything in one process, once it takes webhooks.
    #[must_use]
    pub fn up(&self) -> Running {
        self.up_with(&[])
    }

    /// With further arguments.
    #[must_use]
    pub fn up_with(&self, arguments: &[&str]) -> Running {
        let mut command = hirewire(&UP).unwrap();
        command.args(arguments);
        self.up_by(command)
    }

    /// By a command that has [`UP`] as its last words.
    #[must_use]
    pub fn up_by(&self, mut command: Command) -> Running {
        let log = std::fs::File::options().create(true).append(true).open(self.folder.path().join("log")).unwrap();
        command.current_dir(self.folder.path()).stdout(Stdio::piped()).stderr(log);
        let mut up = Running(command.spawn().unwrap());
        let mut line = String::new();
        BufReader::new(up.0.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert!(line.starts_with("webhooks"), "{line}{}", self.log());
        up
    }

    /// Puts another text into the configuration, in the place of one that must be there.
    pub fn rewrite(&self, text: &str, instead: &str) {
        let path = self.folder.path().join("hirewire.yaml");
        let config = std::fs::read_to_string(&path).unwrap();
        assert!(config.contains(text), "{text} is not in\n{config}");
        std::fs::write(path, config.replace(text, instead)).unwrap();
    }

    /// Gives the admin port a fixed address.
    #[must_use]
    pub fn admin(&self) -> SocketAddr {
        let admin = free();
        self.rewrite("127.0.0.1:0", &admin.to_string());
        admin
    }

    #[must_use]
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    /// Sends a signed webhook, which must be answered 200.
    pub fn send(&self, moved: &Moved<'_>) {
        let answer = self.post(moved).unwrap();
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    }

    /// Sends a signed webhook, and gives the answer.
    ///
    /// # Errors
    /// When nobody answers.
    pub fn post(&self, moved: &Moved<'_>) -> std::io::Result<String> {
        self.post_to("acme", moved)
    }

    /// To another connection, which has the same secret.
    ///
    /// # Errors
    /// When nobody answers.
    pub fn post_to(&self, connection: &str, moved: &Moved<'_>) -> std::io::Result<String> {
        let body = body(moved);
        let mut mac = Hmac::<sha2::Sha256>::new_from_slice(SECRET.as_bytes()).unwrap();
        mac.update(body.as_bytes());
        let signature = hex::encode(mac.finalize().into_bytes());
        let trace = moved.traceparent.map(|parent| format!("traceparent: {parent}\r\n")).unwrap_or_default();
        let headers = format!(
            "signature: sha256 {signature}\r\n{trace}greenhouse-event-id: {}-{}-{}\r\n",
            moved.application, moved.stage_id, moved.at
        );
        http::post(self.webhooks, &format!("/v1/webhooks/{connection}"), &headers, body.as_bytes())
    }

    /// Exit code, standard output, standard error.
    #[must_use]
    pub fn run(&self, arguments: &[&str]) -> (i32, String, String) {
        let output = hirewire(arguments).unwrap().current_dir(self.folder.path()).output().unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
    }

    /// The records of a topic, as `hirewire tail` shows them.
    #[must_use]
    pub fn tail(&self, topic: &str) -> Vec<Value> {
        let (code, text, error) = self.run(&["tail", topic, "--config", "hirewire.yaml"]);
        assert_eq!(code, 0, "{error}");
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// Every application's changes, in the order of the topic; their numbers must have no gap.
    #[must_use]
    pub fn ledger(&self) -> BTreeMap<String, Vec<Change>> {
        let mut ledger: BTreeMap<String, Vec<Change>> = BTreeMap::new();
        for record in self.tail("stage-change") {
            let number = record["value"]["sequence_no"].as_i64().unwrap();
            let id = record["value"]["meta"]["event_id"].as_str().unwrap().to_owned();
            ledger.entry(record["key"].as_str().unwrap().to_owned()).or_default().push((number, id));
        }
        for (application, changes) in &ledger {
            let numbers: Vec<i64> = changes.iter().map(|(number, _)| *number).collect();
            assert_eq!(numbers, (1..).take(numbers.len()).collect::<Vec<i64>>(), "{application}");
        }
        ledger
    }

    /// Waits until it is so.
    pub fn until(&self, what: &str, mut reached: impl FnMut() -> bool) {
        let started = Instant::now();
        while !reached() {
            assert!(started.elapsed() < PATIENCE, "not reached in time: {what}\n{}", self.log());
            std::thread::sleep(Duration::from_millis(100));
        }
    }
}

/// A broker and a registry as processes of their own: the Kafka that `HIREWIRE_TEST_BROKERS` names, else an embedded broker.
pub struct Target {
    pub broker: SocketAddr,
    pub registry: SocketAddr,
    processes: Vec<Running>,
}

impl Target {
    /// Their data is kept in `folder`.
    #[must_use]
    pub fn start(folder: &Path) -> Self {
        match std::env::var("HIREWIRE_TEST_BROKERS") {
            Ok(broker) => Self::on(broker.parse().unwrap(), folder),
            Err(_) => {
                let (running, broker) = process("broker", folder);
                let mut target = Self::on(broker, folder);
                target.processes.push(running);
                target
            }
        }
    }

    /// A registry beside this broker.
    #[must_use]
    pub fn on(broker: SocketAddr, folder: &Path) -> Self {
        let (running, registry) = process("registry", folder);
        Self { broker, registry, processes: vec![running] }
    }
}

/// A broker or a registry, and where it listens.
fn process(what: &str, folder: &Path) -> (Running, SocketAddr) {
    let mut command = hirewire(&[what, "--listen", "127.0.0.1:0", "--data"]).unwrap();
    let command = command.arg(folder.join(what)).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut running = Running(command.spawn().unwrap());
    let mut line = String::new();
    BufReader::new(running.0.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let address = line.trim().rsplit([' ', '/']).next().unwrap().parse().unwrap();
    (running, address)
}

/// Greenhouse's own example with other ids: each application is another candidate's.
fn body(moved: &Moved<'_>) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../vendors/greenhouse/fixtures/webhook__candidate_stage_change.json");
    let mut body: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    let application = &mut body["payload"]["application"];
    application["id"] = moved.application.into();
    application["candidate"]["id"] = (1_000_000 + moved.application).into();
    application["last_activity_at"] = moved.at.into();
    application["current_stage"]["id"] = moved.stage_id.into();
    application["current_stage"]["name"] = moved.stage.into();
    body.to_string()
}

/// Says that it is enough when it is dropped, also when a test fails: threads that work until then end, and are not waited for in vain.
pub struct Ends<'a>(pub &'a AtomicBool);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// As the vendor writes it.
#[must_use]
pub fn now() -> String {
    let output = Command::new("date").args(["-u", "+%Y-%m-%dT%H:%M:%SZ"]).output().unwrap();
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// SIGTERM.
pub fn terminate(process: &Running) {
    assert!(Command::new("kill").arg("-TERM").arg(process.0.id().to_string()).status().unwrap().success());
}

/// SIGTERM, and its end.
pub fn stop(mut process: Running) {
    terminate(&process);
    let status = process.0.wait().unwrap();
    assert!(status.success(), "{status}");
}
