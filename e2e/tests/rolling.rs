//! Every service is restarted one replica after the other, under load: nothing is lost, doubled or out of order, no webhook is refused,
//! and the longest pause of an application's events is printed.
//!
//! For the night (`ci/nightly`), on the Kafka that `HIREWIRE_TEST_BROKERS` names, else on an embedded broker of its own.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use hirewire_e2e::deployment::{Deployment, Ends, Moved, Target, stop};
use hirewire_e2e::{Running, free, hirewire};
use serde_json::Value;

const APPLICATIONS: u64 = 24;
/// Every service is restarted so often.
const ROUNDS: usize = 2;
const PATIENCE: Duration = Duration::from_secs(120);
/// Each twice: the second replica of each service has a configuration of its own, with other ports and caches.
const SERVICES: [&[&str]; 3] = [&["ingest", "--role", "webhook"], &["normalize"], &["route"]];

/// A sink's receiver: what it was sent, and when.
#[derive(Clone, Default)]
struct Received(Arc<Mutex<Vec<Delivery>>>);

struct Delivery {
    application: String,
    idempotency_key: String,
    stage: Value,
    at: Instant,
    again: bool,
}

impl Received {
    fn start(&self) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (address, received) = (listener.local_addr().unwrap(), self.clone());
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let received = received.clone();
                std::thread::spawn(move || while received.take(stream.as_ref().unwrap()).is_some() {});
            }
        });
        address
    }

    fn take(&self, mut stream: &TcpStream) -> Option<()> {
        let mut reader = BufReader::new(stream);
        let (mut key, mut length) = (String::new(), 0);
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line).ok()? == 0 {
                return None;
            }
            let line = line.trim().to_ascii_lowercase();
            if line.is_empty() {
                break;
            }
            if let Some(value) = line.strip_prefix("idempotency-key: ") {
                key = value.to_owned();
            }
            if let Some(value) = line.strip_prefix("content-length: ") {
                length = value.parse().unwrap();
            }
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body).ok()?;
        let body: Value = serde_json::from_slice(&body).unwrap();
        let application = body["application_remote_id"].as_str().unwrap().to_owned();
        let (stage, at) = (body["stage"]["id"].clone(), Instant::now());
        let mut seen = self.0.lock().unwrap();
        // A receiver knows a repetition by its key: what was under way at a stop may come once more.
        let again = seen.iter().any(|delivery| delivery.idempotency_key == key);
        seen.push(Delivery { application, idempotency_key: key, stage, at, again });
        drop(seen);
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").ok()
    }
}

/// Gives each connection to the first replica that takes it, turn by turn.
fn balance(replicas: [SocketAddr; 2]) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for (turn, client) in listener.incoming().enumerate() {
            let client = client.unwrap();
            let Some(replica) = (0..2).find_map(|next| TcpStream::connect(replicas[(turn + next) % 2]).ok()) else {
                continue;
            };
            for (from, to) in [(&client, &replica), (&replica, &client)] {
                let (mut from, mut to) = (from.try_clone().unwrap(), to.try_clone().unwrap());
                std::thread::spawn(move || {
                    std::io::copy(&mut from, &mut to).ok();
                    to.shutdown(std::net::Shutdown::Write).ok();
                });
            }
        }
    });
    address
}

/// One replica of a service.
struct Replica<'a> {
    arguments: &'static [&'static str],
    folder: &'a Path,
    admin: SocketAddr,
    running: Option<Running>,
}

impl<'a> Replica<'a> {
    fn start(arguments: &'static [&'static str], folder: &'a Path) -> Self {
        let mut replica = Self { arguments, folder, admin: free(), running: None };
        replica.spawn();
        replica
    }

    fn spawn(&mut self) {
        let log = std::fs::File::options().create(true).append(true).open(self.folder.join("log")).unwrap();
        let mut command = hirewire(self.arguments).unwrap();
        let admin = self.admin.to_string();
        command.args(["--config", "hirewire.yaml", "--admin", &admin]).current_dir(self.folder);
        self.running = Some(Running(command.stdout(Stdio::null()).stderr(log).spawn().unwrap()));
    }

    fn wait_until_ready(&self) {
        let until = Instant::now() + PATIENCE;
        let ready = || {
            let mut stream = TcpStream::connect(self.admin).ok()?;
            write!(stream, "GET /readyz HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").ok()?;
            let mut answer = String::new();
            stream.read_to_string(&mut answer).ok()?;
            answer.starts_with("HTTP/1.1 200").then_some(())
        };
        while ready().is_none() {
            assert!(Instant::now() < until, "{:?} is not ready", self.arguments);
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// SIGTERM, which it must obey with exit code 0, and the next one in its place.
    fn restart(&mut self) {
        stop(self.running.take().unwrap());
        self.spawn();
        self.wait_until_ready();
    }
}

/// Sends moves of all applications in turn until it is told to stop; gives when the moves of each were acknowledged.
fn load(deployment: &Deployment, enough: &AtomicBool) -> BTreeMap<u64, Vec<Instant>> {
    let mut sent: BTreeMap<u64, Vec<Instant>> = BTreeMap::new();
    for number in 1.. {
        for application in 1..=APPLICATIONS {
            if enough.load(Ordering::SeqCst) {
                return sent;
            }
            let at = format!("2026-02-09T{:02}:{:02}:{:02}Z", number / 3600, number / 60 % 60, number % 60);
            deployment.send(&Moved {
                application,
                stage_id: 100 + number,
                stage: "Assessment",
                at: &at,
                traceparent: None,
            });
            sent.entry(application).or_default().push(Instant::now());
        }
    }
    unreachable!()
}

#[test]
#[ignore = "minutes: for ci/nightly"]
fn rolling_restarts_under_load_lose_double_and_reorder_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let (target, received) = (Target::start(folder.path()), Received::default());
    let prefix = format!("rolling-{}-", SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_micros());
    let sections = format!(
        "sinks: {{exams: {{system: assessment, http: {{url: \"http://{}/\", allow: {{networks: [\"127.0.0.0/8\"]}}}}}}}}\n\
         routes: {{exams: {{sink: exams, from: beginning}}}}\n",
        received.start()
    );
    let mut deployments = [(), ()].map(|()| Deployment::on(target.broker, target.registry, &prefix, &sections));
    let (code, _, error) = deployments[0].run(&["topics", "apply", "--config", "hirewire.yaml"]);
    assert_eq!(code, 0, "{error}");
    let balanced = balance([deployments[0].webhooks, deployments[1].webhooks]);
    deployments[0].webhooks = balanced;
    let folders = [deployments[0].folder.path(), deployments[1].folder.path()];
    let mut replicas: Vec<Replica<'_>> =
        SERVICES.iter().flat_map(|service| folders.map(|folder| Replica::start(service, folder))).collect();
    replicas.iter().for_each(Replica::wait_until_ready);

    let enough = AtomicBool::new(false);
    let sent = std::thread::scope(|scope| {
        let sending = scope.spawn(|| load(&deployments[0], &enough));
        let ends = Ends(&enough);
        for _ in 0..ROUNDS {
            for replica in &mut replicas {
                replica.restart();
            }
        }
        drop(ends);
        sending.join().unwrap()
    });
    let moves: usize = sent.values().map(Vec::len).sum();
    let new = |received: &Received| received.0.lock().unwrap().iter().filter(|delivery| !delivery.again).count();
    deployments[0].until("every delivery", || new(&received) >= moves);
    replicas.into_iter().for_each(|mut replica| stop(replica.running.take().unwrap()));
    judge(&deployments[0], &sent, &received.0.lock().unwrap());
}

fn judge(deployment: &Deployment, sent: &BTreeMap<u64, Vec<Instant>>, received: &[Delivery]) {
    // The ledger: every move, each once, in the order in which they were made. When it was and the stage that it led to.
    let mut moves: BTreeMap<String, Vec<(String, Value)>> = BTreeMap::new();
    for record in deployment.tail("stage-change") {
        let value = &record["value"];
        if value["to_stage"]["id"] != value["from_stage"]["id"] {
            let (application, stage) = (value["meta"]["remote_id"].as_str().unwrap(), value["to_stage"]["id"].clone());
            moves.entry(application.to_owned()).or_default().push((value["occurred_at"].to_string(), stage));
        }
    }
    assert_eq!(deployment.ledger().len(), sent.len(), "numbered without gaps, and no other application");
    let (mut slowest, mut longest) = (Duration::ZERO, Duration::ZERO);
    for (application, sent) in sent {
        let application = application.to_string();
        assert_eq!(moves[&application].len(), sent.len(), "application {application}");
        assert!(moves[&application].is_sorted_by(|one, next| one.0 < next.0), "application {application}: {moves:?}");
        // The receiver: the same, in the same order.
        let own = received.iter().filter(|delivery| delivery.application == application && !delivery.again);
        let own: Vec<&Delivery> = own.collect();
        let delivered: Vec<&Value> = own.iter().map(|delivery| &delivery.stage).collect();
        let led: Vec<&Value> = moves[&application].iter().map(|(_, stage)| stage).collect();
        assert_eq!(delivered, led, "application {application}");
        let ways = own.iter().zip(sent).map(|(delivery, sent)| delivery.at.saturating_duration_since(*sent));
        slowest = slowest.max(ways.max().unwrap());
        longest = longest.max(own.windows(2).map(|pair| pair[1].at - pair[0].at).max().unwrap_or_default());
    }
    let again = received.iter().filter(|delivery| delivery.again).count();
    let count = received.len() - again;
    let told = format!(
        "{count} moves of {APPLICATIONS} applications through {} restarts: 0 lost, 0 doubled, 0 out of order, 0 webhooks refused, {again} deliveries repeated under their key",
        2 * SERVICES.len() * ROUNDS
    );
    println!(
        "{told}; longest pause of an application's events {longest:.1?}, longest way of an event from its webhook to the sink {slowest:.1?}"
    );
}
