//! `hirewire dlq` as its users run it: a mapping that is mended, a receiver that is mended, each dead letter sent once.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use hirewire_e2e::{Running, free, hirewire};
use hmac::{Hmac, KeyInit, Mac};
use serde_json::Value;

/// A receiver that answers what it is told to, and remembers idempotency key, body and answer.
struct Receiver {
    address: SocketAddr,
    status: Arc<AtomicU16>,
    seen: Arc<Mutex<Vec<(String, Value, u16)>>>,
}

impl Receiver {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let receiver = Self {
            address: listener.local_addr().unwrap(),
            status: Arc::new(AtomicU16::new(400)),
            seen: Arc::default(),
        };
        let (status, seen) = (Arc::clone(&receiver.status), Arc::clone(&receiver.seen));
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (status, seen) = (Arc::clone(&status), Arc::clone(&seen));
                std::thread::spawn(move || {
                    let mut stream = stream.unwrap();
                    let (head, body) = request(&mut stream);
                    let key = head.lines().find_map(|line| line.strip_prefix("idempotency-key: ")).unwrap().to_owned();
                    let status = status.load(Ordering::SeqCst);
                    seen.lock().unwrap().push((key, serde_json::from_slice(&body).unwrap(), status));
                    let answer = format!("HTTP/1.1 {status} x\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
                    stream.write_all(answer.as_bytes()).unwrap();
                });
            }
        });
        receiver
    }

    /// Idempotency keys and stages of what was answered so, in order.
    fn answered(&self, status: u16) -> Vec<(String, String)> {
        let seen = self.seen.lock().unwrap();
        let all = seen.iter().filter(|(_, _, answered)| *answered == status);
        all.map(|(key, body, _)| (key.clone(), body["stage"]["name"].as_str().unwrap().to_owned())).collect()
    }
}

fn request(stream: &mut TcpStream) -> (String, Vec<u8>) {
    let mut reader = BufReader::new(stream);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        assert_ne!(reader.read_line(&mut head).unwrap(), 0, "cut off: {head}");
    }
    let head = head.to_ascii_lowercase();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok()).unwrap_or(0);
    let mut body = vec![0; length];
    reader.read_exact(&mut body).unwrap();
    (head, body)
}

/// One deployment in one process, with a configuration that every start finds again.
struct Ground {
    folder: tempfile::TempDir,
    webhooks: SocketAddr,
    broker: SocketAddr,
    registry: SocketAddr,
}

const SECRET: &str = "0123456789abcdef0123456789abcdef";

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let (path, target) = entry.map(|entry| (entry.path(), to.join(entry.file_name()))).unwrap();
        if path.is_dir() {
            copy(&path, &target);
        } else {
            std::fs::copy(&path, &target).unwrap();
        }
    }
}

fn vendors() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../vendors")
}

impl Ground {
    fn lay(receiver: &Receiver) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (webhooks, broker, registry) = (free(), free(), free());
        std::fs::write(folder.path().join("secret"), SECRET).unwrap();
        let text = format!(
            "embedded: {{broker: \"{broker}\", registry: \"{registry}\"}}
kafka: {{bootstrap_servers: \"{broker}\", partitions: 2}}
registry: {{url: \"http://{registry}\"}}
data_dir: data
admin: {{listen: \"127.0.0.1:0\"}}
ingest: {{listen: \"{webhooks}\"}}
connections: {{acme: {{tenant: acme, vendor: greenhouse, webhook: {{secrets: [{{file: secret}}]}}}}}}
sinks:
  assessment: {{http: {{url: \"http://{}/in\", allow: {{networks: [\"127.0.0.0/8\"]}}}}}}
  analytics: {{sqlite: {{path: analytics.sqlite}}}}
routes:
  orders: {{sink: assessment, from: beginning}}
  everything: {{sink: analytics}}
",
            receiver.address
        );
        std::fs::write(folder.path().join("hirewire.yaml"), text).unwrap();
        // A mapping that takes a name for a time.
        let broken = folder.path().join("broken");
        copy(&vendors(), &broken);
        let mapping = broken.join("greenhouse/mapping.yaml");
        let text = std::fs::read_to_string(&mapping).unwrap();
        let wrong = text.replacen("      applied_at: applied_at\n", "      applied_at: source.name\n", 1);
        assert_ne!(wrong, text);
        std::fs::write(&mapping, wrong).unwrap();
        Self { folder, webhooks, broker, registry }
    }

    fn up(&self, vendors: &Path) -> Running {
        let log = std::fs::File::options().create(true).append(true).open(self.folder.path().join("log")).unwrap();
        let mut command = hirewire(&["up", "--config", "hirewire.yaml", "--vendors-dir"]).unwrap();
        command.arg(vendors).current_dir(self.folder.path()).stdout(Stdio::piped()).stderr(log);
        let mut up = Running(command.spawn().unwrap());
        let mut line = String::new();
        BufReader::new(up.0.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert!(line.starts_with("webhooks"), "{line}{}", self.log());
        up
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    /// A signed webhook: the application is in the stage since the instant.
    fn webhook(&self, stage_id: u32, stage: &str, at: &str) {
        let path = vendors().join("greenhouse/fixtures/webhook__candidate_stage_change.json");
        let mut body: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
        let application = &mut body["payload"]["application"];
        application["last_activity_at"] = at.into();
        application["current_stage"]["id"] = stage_id.into();
        application["current_stage"]["name"] = stage.into();
        let body = body.to_string();
        let mut mac = Hmac::<sha2::Sha256>::new_from_slice(SECRET.as_bytes()).unwrap();
        mac.update(body.as_bytes());
        let signature = hex::encode(mac.finalize().into_bytes());
        let mut stream = TcpStream::connect(self.webhooks).unwrap();
        let head = format!(
            "POST /v1/webhooks/acme HTTP/1.1\r\nhost: x\r\nsignature: sha256 {signature}\r\n\
             greenhouse-event-id: {stage_id}-{at}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\
             connection: close\r\n\r\n",
            body.len()
        );
        stream.write_all(head.as_bytes()).unwrap();
        stream.write_all(body.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    }

    /// Exit code, standard output, standard error.
    fn run(&self, arguments: &[&str]) -> (i32, String, String) {
        let output = hirewire(arguments).unwrap().current_dir(self.folder.path()).output().unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
    }

    fn list(&self, arguments: &[&str]) -> Vec<Value> {
        let (code, text, error) = self.run(&[&["dlq", "list", "--json"], arguments].concat());
        assert_eq!(code, 0, "{error}");
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// What `hirewire route explain` says of each change: about the assessment, and about analytics.
    fn explained(&self, event_id: &str) -> (String, String) {
        let (code, text, error) = self.run(&["route", "explain", event_id]);
        assert_eq!(code, 0, "{text}{error}");
        let of = |sink: &str| {
            let line = text.lines().find(|line| line.starts_with(&format!("sink {sink}, "))).unwrap_or_default();
            line.split_once(": ").map(|(_, what)| what.to_owned()).unwrap_or_default()
        };
        (of("assessment"), of("analytics"))
    }

    /// The stages of the application's ledger, in its order; each change must be the next.
    fn ledger(&self) -> Vec<String> {
        self.changes().into_iter().map(|(stage, _)| stage).collect()
    }

    /// Stage and event id.
    fn changes(&self) -> Vec<(String, String)> {
        let (broker, registry) = (self.broker.to_string(), format!("http://{}", self.registry));
        let (code, text, error) = self.run(&["tail", "stage-change", "--brokers", &broker, "--registry", &registry]);
        assert_eq!(code, 0, "{error}");
        let changes: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let numbers: Vec<i64> = changes.iter().map(|change| change["value"]["sequence_no"].as_i64().unwrap()).collect();
        assert_eq!(numbers, (1..).take(numbers.len()).collect::<Vec<i64>>(), "{text}");
        assert!(changes.iter().all(|change| change["value"]["revision"] == "LIVE"), "{text}");
        let stage = |change: &Value| change["value"]["to_stage"]["name"].as_str().unwrap_or("-").to_owned();
        let id = |change: &Value| change["value"]["meta"]["event_id"].as_str().unwrap().to_owned();
        changes.iter().map(|change| (stage(change), id(change))).collect()
    }

    fn until(&self, what: &str, mut reached: impl FnMut() -> bool) {
        let started = Instant::now();
        while !reached() {
            assert!(started.elapsed() < Duration::from_secs(90), "not reached in time: {what}\n{}", self.log());
            std::thread::sleep(Duration::from_millis(100));
        }
    }
}

fn stop(mut up: Running) {
    assert!(Command::new("kill").arg("-TERM").arg(up.0.id().to_string()).status().unwrap().success());
    assert!(up.0.wait().unwrap().success());
}

#[test]
fn what_was_mended_is_sent_again_once_and_in_order() {
    let receiver = Receiver::start();
    let ground = Ground::lay(&receiver);
    let up = ground.up(&ground.folder.path().join("broken"));
    ground.webhook(71_416, "Assessment", "2026-02-09T16:00:00Z");
    ground.webhook(71_417, "Onsite", "2026-02-10T16:00:00Z");
    ground.until("both webhooks in the dead letters", || ground.list(&["--normalize"]).len() == 2);

    // Listed by what they are, shown without the person.
    let letters = ground.list(&[]);
    assert!(letters.iter().all(|letter| letter["code"] == "UNREADABLE_VALUE" && letter["connection"] == "acme"));
    assert!(letters[0]["id"].as_str().unwrap().starts_with("normalize/"), "{letters:?}");
    for (filter, count) in [
        (["--connection", "other"], 0),
        (["--since", "1h"], 2),
        (["--sink", "assessment"], 0),
        (["--key", letters[0]["key"].as_str().unwrap()], 2),
    ] {
        assert_eq!(ground.list(&filter).len(), count, "{filter:?}");
    }
    let id = letters[0]["id"].as_str().unwrap();
    let (code, shown, _) = ground.run(&["dlq", "show", id]);
    assert!(code == 0 && shown.contains("sha256") && shown.contains("hirewire dlq replay"), "{shown}");
    let headers = &serde_json::from_str::<Value>(&shown).unwrap()["headers"];
    for name in [
        "__connect.errors.topic",
        "__connect.errors.partition",
        "__connect.errors.offset",
        "__connect.errors.connector.name",
        "__connect.errors.task.id",
        "__connect.errors.stage",
        "__connect.errors.class.name",
        "__connect.errors.exception.class.name",
        "__connect.errors.exception.message",
        "__connect.errors.exception.stacktrace",
        "dlq.reason",
        "dlq.remedy",
        "dlq.attempts",
        "dlq.first_failed_at",
        "dlq.destination",
        "dlq.trace",
    ] {
        assert!(headers[name].is_string(), "{name} is missing: {headers}");
    }
    let person = "\"first_name\"";
    assert!(!shown.contains(person) && ground.run(&["dlq", "show", id, "--value"]).1.contains(person));
    let (code, table, _) = ground.run(&["dlq", "list"]);
    assert!(code == 0 && table.starts_with("ID ") && table.ends_with("2 dead letters\n"), "{table}");
    stop(up);

    // The mapping is mended. The dry run sends nothing.
    let up = ground.up(&vendors());
    let (code, text, error) = ground.run(&["dlq", "replay", "--all", "--dry-run"]);
    assert!(code == 0 && text.ends_with("2 would be sent, 0 not sent\n"), "{text}{error}");
    assert_eq!(ground.list(&[]).len(), 2);
    assert_eq!(ground.ledger(), Vec::<String>::new());
    let (code, _, error) = ground.run(&["dlq", "replay"]);
    assert!(code == 2 && error.contains("say which dead letters"), "{error}");
    let (code, text, error) = ground.run(&["dlq", "replay", "--code", "UNREADABLE_VALUE", "--rate", "1"]);
    assert!(code == 0 && text.ends_with("2 sent again, 0 not sent\n"), "{text}{error}");
    let expected = ["Assessment", "Onsite"];
    ground.until("the ledger to have both", || ground.ledger().len() >= 2);
    assert_eq!(ground.ledger(), expected);
    // A second time does nothing; `--again` sends the same facts, which make no second change.
    let (code, text, _) = ground.run(&["dlq", "replay", "--normalize"]);
    assert!(code == 0 && text.contains("left alone") && text.ends_with("0 sent again, 0 not sent\n"), "{text}");
    let (code, text, _) = ground.run(&["dlq", "replay", "--normalize", "--again"]);
    assert!(code == 0 && text.ends_with("2 sent again, 0 not sent\n"), "{text}");
    assert_eq!(ground.list(&["--done", "--normalize"]).len(), 2);

    // The receiver refused the order, and is mended.
    ground.until("the order in the dead letters", || !ground.list(&["--sink", "assessment"]).is_empty());
    let refused = receiver.answered(400);
    assert_eq!(refused.len(), 1, "{refused:?}");
    let changes = ground.changes();
    let (order, kept) = ground.explained(&changes[0].1);
    assert!(
        order.starts_with("dead letter route.assessment/") && order.contains("ROUTE_REJECTED (HTTP 400)"),
        "{order}"
    );
    assert!(kept.starts_with("delivered"), "{kept}");
    let (order, _) = ground.explained(&changes[1].1);
    assert_eq!(order, "not sent: the request order: `to_stage.category` is INTERVIEW, not ASSESSMENT");
    let (code, text, _) = ground.run(&["route", "explain", "no-such-event"]);
    assert!(code == 1 && text.contains("has the event no-such-event"), "{text}");
    receiver.status.store(200, Ordering::SeqCst);
    let (code, text, error) = ground.run(&["dlq", "replay", "--sink", "assessment"]);
    assert!(code == 0 && text.ends_with("1 sent again, 0 not sent\n"), "{text}{error}");
    ground.until("the order to arrive", || !receiver.answered(200).is_empty());
    assert_eq!(receiver.answered(200), refused, "the same idempotency key");
    ground.until("the replay to be settled", || {
        let (order, _) = ground.explained(&changes[0].1);
        assert!(
            order.starts_with("waits, replayed at ") || order.starts_with("delivered when it was replayed"),
            "{order}"
        );
        order.starts_with("delivered")
    });
    let (code, text, _) = ground.run(&["dlq", "replay", "--sink", "assessment"]);
    assert!(code == 0 && text.ends_with("0 sent again, 0 not sent\n"), "{text}");

    // What has something newer behind it is left out, unless a person wants it.
    receiver.status.store(400, Ordering::SeqCst);
    ground.webhook(71_418, "Take Home", "2026-02-11T16:00:00Z");
    ground.until("the second order in the dead letters", || !ground.list(&["--sink", "assessment"]).is_empty());
    receiver.status.store(200, Ordering::SeqCst);
    ground.webhook(71_419, "Coding Test", "2026-02-12T16:00:00Z");
    ground.until("the third order", || receiver.answered(200).len() == 2);
    let (code, text, _) = ground.run(&["dlq", "replay", "--sink", "assessment"]);
    assert!(
        code == 1 && text.contains("is newer and was sent") && text.ends_with("0 sent again, 1 not sent\n"),
        "{text}"
    );
    let (code, text, _) = ground.run(&["dlq", "replay", "--sink", "assessment", "--even-if-newer"]);
    assert!(code == 0 && text.ends_with("1 sent again, 0 not sent\n"), "{text}");
    ground.until("the second order after all", || receiver.answered(200).len() == 3);
    let stages: Vec<String> = receiver.answered(200).into_iter().map(|(_, stage)| stage).collect();
    assert_eq!(stages, ["Assessment", "Coding Test", "Take Home"]);
    assert_eq!(ground.ledger(), ["Assessment", "Onsite", "Take Home", "Coding Test"]);

    // Closed for good.
    let (code, _, error) = ground.run(&["dlq", "purge", "--done", "--all"]);
    assert!(code == 2 && error.contains("--yes"), "{error}");
    let (code, text, error) = ground.run(&["dlq", "purge", "--done", "--all", "--yes"]);
    assert!(code == 0 && text.ends_with("4 purged, 4 of them deleted\n"), "{text}{error}");
    assert!(ground.list(&["--done"]).is_empty());
    let (code, text, error) = ground.run(&["dlq", "replay", "--all", "--again"]);
    assert!(code == 0 && text.ends_with("0 sent again, 0 not sent\n"), "{text}{error}");
    stop(up);
}
