//! `hirewire dlq` as its users run it: a mapping that is mended, a receiver that is mended, each dead letter sent once.
//! On an embedded broker, or on the Kafka that `HIREWIRE_TEST_BROKERS` names.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use hirewire_e2e::Running;
use hirewire_e2e::deployment::{Deployment, Moved, Target, stop};
use hirewire_e2e::http::Receiver;
use hirewire_kafka::{Inbound, Isolation, Producer, ProducerOptions, Record, Settings, read_table};
use serde_json::Value;

/// Idempotency keys and stages of what was answered so, in order.
fn answered(receiver: &Receiver, status: u16) -> Vec<(String, String)> {
    let requests = receiver.requests();
    let all = requests.iter().filter(|request| request.answered == status);
    all.map(|request| {
        let stage = request.json()["stage"]["name"].as_str().unwrap().to_owned();
        (request.headers["idempotency-key"].clone(), stage)
    })
    .collect()
}

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

/// A deployment, and vendors of which one has a mapping that takes a name for a time.
struct Ground {
    deployment: Deployment,
    broken: PathBuf,
    /// In front of its topics.
    prefix: String,
    _target: Target,
    _data: tempfile::TempDir,
}

impl Ground {
    fn lay(receiver: &Receiver) -> Self {
        let prefix = format!("dlq-{}.", SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_micros());
        let sections = format!(
            "sinks:
  assessment: {{http: {{url: \"http://{}/in\", allow: {{networks: [\"127.0.0.0/8\"]}}}}}}
  analytics: {{sqlite: {{path: analytics.sqlite}}}}
routes:
  orders: {{sink: assessment, from: beginning}}
  everything: {{sink: analytics}}
",
            receiver.address
        );
        let data = tempfile::tempdir().unwrap();
        let target = Target::start(data.path());
        let deployment = Deployment::on(target.broker, target.registry, &prefix, &sections);
        let (code, _, error) = deployment.run(&["topics", "apply", "--config", "hirewire.yaml"]);
        assert_eq!(code, 0, "{error}");
        let broken = deployment.folder.path().join("broken");
        copy(&vendors(), &broken);
        let mapping = broken.join("greenhouse/mapping.yaml");
        let text = std::fs::read_to_string(&mapping).unwrap();
        let wrong = text.replacen("      applied_at: applied_at\n", "      applied_at: source.name\n", 1);
        assert_ne!(wrong, text);
        std::fs::write(&mapping, wrong).unwrap();
        Self { deployment, broken, prefix, _target: target, _data: data }
    }

    fn up(&self, vendors: &Path) -> Running {
        self.deployment.up_with(&["--vendors-dir", vendors.to_str().unwrap()])
    }

    /// A webhook: the application is in the stage since the instant.
    fn webhook(&self, stage_id: u64, stage: &str, at: &str) {
        self.deployment.send(&Moved { application: 1, stage_id, stage, at, traceparent: None });
    }

    fn kafka(&self) -> Settings {
        Settings::local(&self.deployment.broker.to_string())
    }

    /// Puts records where only ingest should.
    fn write(&self, records: Vec<Record>) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let options = ProducerOptions { delivery_timeout: Duration::from_secs(60), ..Default::default() };
        let producer = Producer::new(&self.kafka(), &options).unwrap();
        for record in records {
            runtime.block_on(producer.send(record)).unwrap();
        }
    }

    /// Whatever the records of a partition are, but for their offsets: topic, time, key, value, headers.
    fn held(&self, (topic, partition): (&str, i32)) -> Vec<String> {
        let mut held = Vec::new();
        read_table(&self.kafka(), topic, partition, 0, Isolation::Committed, &mut |record| {
            held.push(format!("{:?}", Inbound { offset: 0, ..record }));
            Ok(())
        })
        .unwrap();
        held
    }

    fn list(&self, arguments: &[&str]) -> Vec<Value> {
        let (code, text, error) = self.deployment.run(&[&["dlq", "list", "--json"], arguments].concat());
        assert_eq!(code, 0, "{error}");
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// What `hirewire route explain` says of each change: about the assessment, and about analytics.
    fn explained(&self, event_id: &str) -> (String, String) {
        let (code, text, error) = self.deployment.run(&["route", "explain", event_id]);
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
        let changes = self.deployment.tail("stage-change");
        let numbers: Vec<i64> = changes.iter().map(|change| change["value"]["sequence_no"].as_i64().unwrap()).collect();
        assert_eq!(numbers, (1..).take(numbers.len()).collect::<Vec<i64>>(), "{changes:?}");
        assert!(changes.iter().all(|change| change["value"]["revision"] == "LIVE"), "{changes:?}");
        let stage = |change: &Value| change["value"]["to_stage"]["name"].as_str().unwrap_or("-").to_owned();
        let id = |change: &Value| change["value"]["meta"]["event_id"].as_str().unwrap().to_owned();
        changes.iter().map(|change| (stage(change), id(change))).collect()
    }
}

#[test]
fn what_was_mended_is_sent_again_once_and_in_order() {
    let receiver = Receiver::start();
    receiver.answer(400);
    let ground = Ground::lay(&receiver);
    let up = ground.up(&ground.broken);
    ground.webhook(71_416, "Assessment", "2026-02-09T16:00:00Z");
    ground.webhook(71_417, "Onsite", "2026-02-10T16:00:00Z");
    ground.deployment.until("both webhooks in the dead letters", || ground.list(&["--normalize"]).len() == 2);

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
    let (code, shown, _) = ground.deployment.run(&["dlq", "show", id]);
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
    assert!(!shown.contains(person) && ground.deployment.run(&["dlq", "show", id, "--value"]).1.contains(person));
    let (code, table, _) = ground.deployment.run(&["dlq", "list"]);
    assert!(code == 0 && table.starts_with("ID ") && table.ends_with("2 dead letters\n"), "{table}");
    stop(up);

    // The mapping is mended. The dry run sends nothing.
    let up = ground.up(&vendors());
    let (code, text, error) = ground.deployment.run(&["dlq", "replay", "--all", "--dry-run"]);
    assert!(code == 0 && text.ends_with("2 would be sent, 0 not sent\n"), "{text}{error}");
    assert_eq!(ground.list(&[]).len(), 2);
    assert_eq!(ground.ledger(), Vec::<String>::new());
    let (code, _, error) = ground.deployment.run(&["dlq", "replay"]);
    assert!(code == 2 && error.contains("say which dead letters"), "{error}");
    let (code, text, error) = ground.deployment.run(&["dlq", "replay", "--code", "UNREADABLE_VALUE", "--rate", "1"]);
    assert!(code == 0 && text.ends_with("2 sent again, 0 not sent\n"), "{text}{error}");
    let expected = ["Assessment", "Onsite"];
    ground.deployment.until("the ledger to have both", || ground.ledger().len() >= 2);
    assert_eq!(ground.ledger(), expected);
    // A second time does nothing; `--again` sends the same facts, which make no second change.
    let (code, text, _) = ground.deployment.run(&["dlq", "replay", "--normalize"]);
    assert!(code == 0 && text.contains("left alone") && text.ends_with("0 sent again, 0 not sent\n"), "{text}");
    let (code, text, _) = ground.deployment.run(&["dlq", "replay", "--normalize", "--again"]);
    assert!(code == 0 && text.ends_with("2 sent again, 0 not sent\n"), "{text}");
    assert_eq!(ground.list(&["--done", "--normalize"]).len(), 2);

    // The receiver refused the order, and is mended.
    ground.deployment.until("the order in the dead letters", || !ground.list(&["--sink", "assessment"]).is_empty());
    let refused = answered(&receiver, 400);
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
    let (code, text, _) = ground.deployment.run(&["route", "explain", "no-such-event"]);
    assert!(code == 1 && text.contains("has the event no-such-event"), "{text}");
    receiver.answer(200);
    let (code, text, error) = ground.deployment.run(&["dlq", "replay", "--sink", "assessment"]);
    assert!(code == 0 && text.ends_with("1 sent again, 0 not sent\n"), "{text}{error}");
    ground.deployment.until("the order to arrive", || !answered(&receiver, 200).is_empty());
    assert_eq!(answered(&receiver, 200), refused, "the same idempotency key");
    ground.deployment.until("the replay to be settled", || {
        let (order, _) = ground.explained(&changes[0].1);
        assert!(
            order.starts_with("waits, replayed at ") || order.starts_with("delivered when it was replayed"),
            "{order}"
        );
        order.starts_with("delivered")
    });
    let (code, text, _) = ground.deployment.run(&["dlq", "replay", "--sink", "assessment"]);
    assert!(code == 0 && text.ends_with("0 sent again, 0 not sent\n"), "{text}");

    // What has something newer behind it is left out, unless a person wants it.
    receiver.answer(400);
    ground.webhook(71_418, "Take Home", "2026-02-11T16:00:00Z");
    ground
        .deployment
        .until("the second order in the dead letters", || !ground.list(&["--sink", "assessment"]).is_empty());
    receiver.answer(200);
    ground.webhook(71_419, "Coding Test", "2026-02-12T16:00:00Z");
    ground.deployment.until("the third order", || answered(&receiver, 200).len() == 2);
    let (code, text, _) = ground.deployment.run(&["dlq", "replay", "--sink", "assessment"]);
    assert!(
        code == 1 && text.contains("is newer and was sent") && text.ends_with("0 sent again, 1 not sent\n"),
        "{text}"
    );
    let (code, text, _) = ground.deployment.run(&["dlq", "replay", "--sink", "assessment", "--even-if-newer"]);
    assert!(code == 0 && text.ends_with("1 sent again, 0 not sent\n"), "{text}");
    ground.deployment.until("the second order after all", || answered(&receiver, 200).len() == 3);
    let stages: Vec<String> = answered(&receiver, 200).into_iter().map(|(_, stage)| stage).collect();
    assert_eq!(stages, ["Assessment", "Coding Test", "Take Home"]);
    assert_eq!(ground.ledger(), ["Assessment", "Onsite", "Take Home", "Coding Test"]);

    // Closed for good.
    let (code, _, error) = ground.deployment.run(&["dlq", "purge", "--done", "--all"]);
    assert!(code == 2 && error.contains("--yes"), "{error}");
    let (code, text, error) = ground.deployment.run(&["dlq", "purge", "--done", "--all", "--yes"]);
    assert!(code == 0 && text.ends_with("4 purged, 4 of them deleted\n"), "{text}{error}");
    assert!(ground.list(&["--done"]).is_empty());
    let (code, text, error) = ground.deployment.run(&["dlq", "replay", "--all", "--again"]);
    assert!(code == 0 && text.ends_with("0 sent again, 0 not sent\n"), "{text}{error}");
    stop(up);
}

#[test]
fn what_is_sent_again_is_byte_for_byte_what_it_was_with_its_key_headers_and_time() {
    let receiver = Receiver::start();
    let ground = Ground::lay(&receiver);
    let (raw, restricted) = (
        format!("{}ats.raw.greenhouse.v1", ground.prefix),
        format!("{}ats.raw-restricted.greenhouse.v1", ground.prefix),
    );
    // Beside what ingest writes, what a careless copy would spoil: no text, nothing and less, a name twice, a time long
    // gone, a partition that is not the key's.
    let long_ago = SystemTime::now().duration_since(UNIX_EPOCH).unwrap() - Duration::from_hours(72);
    let odd = |topic: &str, partition, key: Option<&'static [u8]>, value: Option<&'static [u8]>| Record {
        topic: topic.into(),
        partition: Some(partition),
        key: key.map(Into::into),
        value: value.map(Into::into),
        headers: Vec::from([("a", "1"), ("empty", ""), ("a", "2")].map(|(name, value)| (name.into(), value.into()))),
        timestamp_ms: Some(i64::try_from(long_ago.as_millis()).unwrap() + i64::from(partition)),
    };
    let bytes: &[u8] = b"\xff\x00{\"id\": 1}\r\n\xc3";
    let mut bare = odd(&raw, 0, None, None);
    bare.headers = Vec::new();
    ground.write(vec![
        odd(&raw, 0, Some(b"key"), Some(bytes)),
        odd(&raw, 1, Some(b"key"), Some(bytes)),
        odd(&raw, 1, Some(b"\xfe\x00"), Some(b"")),
        bare,
        odd(&restricted, 1, Some(b""), Some(b"{}")),
    ]);
    let up = ground.up(&ground.broken);
    ground.webhook(71_416, "Assessment", "2026-02-09T16:00:00Z");
    ground.deployment.until("all of them in the dead letters", || ground.list(&[]).len() == 6);
    let places = [(&*raw, 0), (&*raw, 1), (&*restricted, 0), (&*restricted, 1)];
    let first = places.map(|place| ground.held(place));
    assert_eq!(first.iter().map(Vec::len).sum::<usize>(), 6, "{first:#?}");
    assert!(first.iter().flatten().any(|record| record.contains("traceparent")), "the webhook's: {first:#?}");

    // The second time it has gone through the dead letters twice.
    for round in 2..=3 {
        let (code, text, error) = ground.deployment.run(&["dlq", "replay", "--all"]);
        assert!(code == 0 && text.ends_with("6 sent again, 0 not sent\n"), "{text}{error}");
        for (place, first) in places.iter().zip(&first) {
            let expected: Vec<String> = std::iter::repeat_n(first, round).flatten().cloned().collect();
            assert_eq!(ground.held(*place), expected, "{place:?}");
        }
        ground.deployment.until("all of them in the dead letters again", || ground.list(&[]).len() == 6);
    }
    stop(up);
}
