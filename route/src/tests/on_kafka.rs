//! The service on a broker and a registry: the embedded ones, or the Kafka that `HIREWIRE_TEST_BROKERS` names.

use std::collections::HashMap;
use std::path::Path;
use std::time::Duration;

use apache_avro::types::Value as Avro;
use apache_avro::writer::datum::GenericDatumWriter;
use bytes::Bytes;
use hirewire_kafka::{Admin, Isolation, NewTopic, Producer, ProducerOptions, Record, partition_for, read_table};
use hirewire_registry::{Codec, Registry, frame, server};
use hirewire_schemas::{Entity, Names};
use hirewire_service::{Health, Shutdown};
use serde_json::{Value, json};
use tokio::net::TcpListener;

use super::support::{Answer, Received, Receiver, until};
use crate::{Deps, Settings, run};

const PARTITIONS: i32 = 4;

/// A broker, a registry and the topics of one deployment.
struct Ground {
    kafka: hirewire_kafka::Settings,
    names: Names,
    registry_url: String,
    producer: Producer,
    codec: Codec,
    folder: tempfile::TempDir,
    shutdown: Shutdown,
}

impl Ground {
    async fn lay() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let shutdown = Shutdown::new();
        let kafka = match std::env::var("HIREWIRE_TEST_BROKERS") {
            Ok(address) => address,
            Err(_) => start_broker(&folder.path().join("broker"), &shutdown).await,
        };
        let kafka = hirewire_kafka::Settings::local(&kafka);
        let names = Names::new(&format!("route-{}-", uuid::Uuid::new_v4().simple()));
        let registry = Registry::open(&folder.path().join("registry")).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let registry_url = format!("http://{}", listener.local_addr().unwrap());
        let stopped = shutdown.clone();
        tokio::spawn(async move { server::serve(listener, registry, async move { stopped.requested().await }).await });
        let topics = hirewire_schemas::topics::table().deployed(&names, &["greenhouse"], &[]);
        let topics: Vec<NewTopic> = topics
            .into_iter()
            .map(|(name, topic)| NewTopic {
                name,
                partitions: PARTITIONS,
                replication: 1,
                config: topic.settings().into_iter().map(|(key, value)| (key.to_owned(), value)).collect(),
            })
            .collect();
        Admin::new(&kafka).unwrap().create_topics(&topics).await.unwrap();
        let producer = Producer::new(
            &kafka,
            &ProducerOptions { delivery_timeout: Duration::from_secs(20), ..ProducerOptions::default() },
        )
        .unwrap();
        let codec = Codec::new(&registry_url).unwrap();
        Self { kafka, names, registry_url, producer, codec, folder, shutdown }
    }

    /// A record with these fields and the defaults of all others.
    async fn put(&self, entity: Entity, key: &str, owner: &str, mut tree: Value) {
        let schema = entity.schema();
        let meta = json!({
            "event_id": uuid::Uuid::new_v4().to_string(), "tenant_id": "acme", "connection_id": "acme-greenhouse",
            "source_system": "greenhouse", "op": "UPSERT", "id": key, "remote_id": "1", "observed_at": now(),
            "ingested_at": now(), "provenance": "WEBHOOK", "mapping_version": "1",
        });
        tree.as_object_mut().unwrap().entry("meta").or_insert(meta);
        let value = shortest(avro(tree).resolve(&schema.avro).unwrap());
        let topic = self.names.entity(entity);
        let subject = Names::value_subject(&topic);
        let id = self.codec.id_for(&subject, &schema.text).await.unwrap();
        let mut framed = Vec::new();
        frame(id, &mut framed);
        let writer = GenericDatumWriter::builder(&schema.avro).build().unwrap();
        framed.extend(writer.write_value_to_vec(value).unwrap());
        let record = Record {
            topic: topic.into(),
            partition: Some(partition_for(owner.as_bytes(), PARTITIONS)),
            key: Some(Bytes::from(key.to_owned())),
            value: Some(framed.into()),
            headers: Vec::new(),
            timestamp_ms: None,
        };
        self.producer.send(record).await.unwrap();
    }

    async fn put_change(&self, application: &str, sequence_no: i64, kind: &str, at: i64, provenance: &str) {
        let stage =
            |number: i64, category: &str| json!({"id": stage_id(number), "name": "S", "category": coded(category)});
        let category = if kind == "STAGE" { "ASSESSMENT" } else { "OFFER" };
        let tree = json!({
            "application_id": application, "candidate_id": format!("c-{application}"), "job_id": JOB,
            "change_type": kind, "revision": "LIVE", "sequence_no": sequence_no, "occurred_at": at,
            "occurred_at_precision": "EXACT", "from_stage": stage(sequence_no - 1, "SCREEN"),
            "to_stage": stage(sequence_no, category), "evidence": [{"provenance": provenance}],
        });
        self.put(Entity::StageChange, application, application, tree).await;
    }

    async fn put_context(&self, application: &str) {
        let candidate = format!("c-{application}");
        let email = json!({"value": format!("{application}@example.com"), "type": coded("WORK")});
        let tree = json!({"name": {"given": "Ada", "family": "Example"}, "emails": [email]});
        self.put(Entity::Candidate, &candidate, &candidate, tree).await;
        let tree = json!({"candidate_id": candidate, "job_id": JOB});
        self.put(Entity::Application, application, application, tree).await;
        let pay = json!({"kind": coded("SALARY"), "amount": {"unscaled": 85_000_500_000_i64}, "currency": "USD",
            "period": coded("YEAR")});
        let tree = json!({"application_id": application, "status": coded("ACCEPTED"), "start_date": {"days": 20_514},
            "compensation": [pay]});
        self.put(Entity::Offer, &format!("o-{application}"), application, tree).await;
    }

    /// Starts the service; returns when it is ready.
    async fn start(&self, config: &str, data: &Path) -> Service {
        let root = hirewire_yaml::parse("hirewire.yaml", config).unwrap();
        let mut problems = hirewire_yaml::Problems::new();
        let settings = Settings::read(root.peek("sinks"), root.peek("routes"), root.peek("route"), &mut problems);
        let settings = problems.into_result(settings).unwrap_or_else(|problems| panic!("{problems}"));
        let (health, shutdown, metrics) = (Health::new(), Shutdown::new(), prometheus::Registry::new());
        let deps = Deps {
            kafka: self.kafka.clone(),
            names: self.names.clone(),
            registry_url: self.registry_url.clone(),
            data_dir: data.to_path_buf(),
            partitions: PARTITIONS,
            metrics: metrics.clone(),
            health: health.clone(),
            shutdown: shutdown.clone(),
        };
        // Until the service itself says more, it is not ready.
        drop(health.component("route"));
        let task = tokio::spawn(run(settings, deps));
        until("the service to be ready", || {
            assert!(!task.is_finished(), "the service ended early");
            health.waiting().is_empty()
        })
        .await;
        Service { shutdown, task, metrics }
    }

    fn read_all(&self, topic: &str) -> Vec<hirewire_kafka::Inbound> {
        let mut all = Vec::new();
        for partition in 0..PARTITIONS {
            let mut take = |inbound| {
                all.push(inbound);
                Ok(())
            };
            read_table(&self.kafka, topic, partition, 0, Isolation::Committed, &mut take).unwrap();
        }
        all
    }
}

impl Drop for Ground {
    fn drop(&mut self) {
        self.shutdown.request();
    }
}

struct Service {
    shutdown: Shutdown,
    task: tokio::task::JoinHandle<Result<(), crate::Error>>,
    metrics: prometheus::Registry,
}

impl Service {
    async fn stop(self) {
        self.shutdown.request();
        tokio::time::timeout(Duration::from_secs(20), self.task).await.unwrap().unwrap().unwrap();
    }

    fn counter(&self, name: &str, sink: &str) -> u64 {
        let families = self.metrics.gather();
        let found = families.iter().find(|family| family.name() == name).into_iter();
        let of_sink = found
            .flat_map(|family| family.get_metric())
            .filter(|metric| metric.get_label().iter().any(|label| label.name() == "sink" && label.value() == sink));
        of_sink.map(|metric| metric.get_counter().get_value() as u64).sum()
    }
}

async fn start_broker(folder: &Path, shutdown: &Shutdown) -> String {
    let broker = hirewire_broker::Broker::open(hirewire_broker::Settings::new(folder)).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let stopped = shutdown.clone();
    tokio::spawn(async move { broker.run(listener, async move { stopped.requested().await }).await });
    address
}

const JOB: &str = "10000000-0000-5000-8000-000000000001";

fn stage_id(number: i64) -> String {
    format!("20000000-0000-5000-8000-{number:012}")
}

fn application_id(number: usize) -> String {
    format!("30000000-0000-5000-8000-{number:012}")
}

/// As the schema will resolve it; `{"unscaled": n}` is a decimal, `{"days": n}` a date.
fn avro(tree: Value) -> Avro {
    match tree {
        Value::Null => Avro::Null,
        Value::Bool(flag) => Avro::Boolean(flag),
        Value::Number(number) => Avro::Long(number.as_i64().unwrap()),
        Value::String(text) => Avro::String(text),
        Value::Array(items) => Avro::Array(items.into_iter().map(avro).collect()),
        Value::Object(fields) => match (fields.get("unscaled"), fields.get("days")) {
            (Some(unscaled), _) => Avro::Decimal(i128::from(unscaled.as_i64().unwrap()).to_be_bytes().to_vec().into()),
            (_, Some(days)) => Avro::Date(i32::try_from(days.as_i64().unwrap()).unwrap()),
            _ => Avro::Record(fields.into_iter().map(|(name, value)| (name, avro(value))).collect()),
        },
    }
}

/// Decimals in their shortest form, as normalize writes them; apache-avro makes defaults only of long ones.
fn shortest(value: Avro) -> Avro {
    match value {
        Avro::Decimal(decimal) => {
            let bytes = Vec::<u8>::try_from(decimal).unwrap();
            let zeros = bytes.windows(2).take_while(|pair| pair[0] == 0 && pair[1] < 0x80).count();
            Avro::Decimal(bytes[zeros..].to_vec().into())
        }
        Avro::Union(index, inner) => Avro::Union(index, Box::new(shortest(*inner))),
        Avro::Array(items) => Avro::Array(items.into_iter().map(shortest).collect()),
        Avro::Record(fields) => Avro::Record(fields.into_iter().map(|(name, value)| (name, shortest(value))).collect()),
        other => other,
    }
}

fn coded(value: &str) -> Value {
    json!({"value": value, "raw": null, "rule": "r"})
}

fn now() -> i64 {
    jiff::Timestamp::now().as_microsecond()
}

fn config(receivers: &[(&str, &Receiver)], database: &Path) -> String {
    let allow = "allow: {networks: ['127.0.0.0/8']}";
    let mut text = "sinks:\n".to_owned();
    for (name, receiver) in receivers {
        text += &format!(
            "  {name}: {{http: {{url: 'http://{}/{name}', {allow}}}, retry: {{first: 10ms}}}}\n",
            receiver.address
        );
    }
    text += &format!(
        "  analytics: {{sqlite: {{path: {}}}}}\nroutes:\n  analytics: {{sink: analytics}}\n",
        database.display()
    );
    for (name, _) in receivers {
        text += &format!("  {name}: {{sink: {name}, from: now}}\n");
    }
    text
}

/// The bodies' types per application, in order of arrival.
fn types(taken: &[Received]) -> HashMap<String, Vec<String>> {
    let mut types: HashMap<String, Vec<String>> = HashMap::new();
    for received in taken {
        types
            .entry(received.application().to_owned())
            .or_default()
            .push(received.body["type"].as_str().unwrap().to_owned());
    }
    types
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_happens_from_now_on_reaches_every_sink_once_and_in_order() {
    const APPLICATIONS: usize = 20;
    drop(
        tracing_subscriber::fmt()
            .with_env_filter(tracing_subscriber::EnvFilter::from_default_env())
            .with_test_writer()
            .try_init(),
    );
    let ground = Ground::lay().await;
    let (onboarding, payroll) =
        (Receiver::start(|_| Answer::Status(200)).await, Receiver::start(|_| Answer::Status(201)).await);
    let refused = application_id(7);
    let refusing = refused.clone();
    let assessment =
        Receiver::start(
            move |body| {
                if body["application_id"] == refusing { Answer::Status(400) } else { Answer::Status(200) }
            },
        )
        .await;
    let database = ground.folder.path().join("analytics.sqlite");
    let receivers = [("onboarding", &onboarding), ("payroll", &payroll), ("assessment", &assessment)];
    let config = config(&receivers, &database);
    let data = ground.folder.path().join("data");

    ground.put(Entity::Job, JOB, JOB, json!({"name": "Engineer"})).await;
    let old = application_id(900);
    ground.put_context(&old).await;
    ground.put_change(&old, 1, "HIRE", 1_500_000_000_000_000, "WEBHOOK").await;
    ground.put_change(&old, 2, "HIRE", now() + 60_000_000, "BACKFILL").await;

    let service = ground.start(&config, &data).await;
    for number in 0..APPLICATIONS {
        let application = application_id(number);
        ground.put_change(&application, 1, "CREATED", now(), "POLL").await;
        ground.put_change(&application, 2, "STAGE", now(), "WEBHOOK").await;
        ground.put_change(&application, 3, "HIRE", now(), "WEBHOOK").await;
        ground.put_change(&application, 4, "UNHIRE", now(), "WEBHOOK").await;
        // The context comes after the change: it is waited for.
        ground.put_context(&application).await;
    }
    // An undone hire that was never sent has nothing to take back.
    ground.put_change(&old, 3, "UNHIRE", now(), "WEBHOOK").await;
    until("the receivers to have all", || {
        tracing::debug!(
            a = onboarding.all().len(),
            b = payroll.all().len(),
            c = assessment.all().len(),
            d = service.counter("hirewire_route_deliveries_total", "analytics")
        );
        onboarding.all().len() >= 2 * APPLICATIONS
            && payroll.all().len() >= 2 * APPLICATIONS
            && assessment.all().len() >= APPLICATIONS
            // Changes, and a row for each application.
            && service.counter("hirewire_route_deliveries_total", "analytics") >= 5 * APPLICATIONS as u64 + 4
    })
    .await;
    until("the dead letter", || service.counter("hirewire_route_dead_letters_total", "assessment") == 1).await;
    service.stop().await;

    for (receiver, expected) in [(&onboarding, ["hire", "hire_cancelled"]), (&payroll, ["pay", "pay_cancelled"])] {
        let types = types(&receiver.taken());
        assert_eq!(types.len(), APPLICATIONS);
        assert!(types.values().all(|types| *types == expected), "{types:?}");
    }
    assert_eq!(payroll.taken()[0].body["compensation"][0]["amount"], "85000.5");
    assert_eq!(assessment.taken().len(), APPLICATIONS - 1);
    let letters = ground.read_all(&ground.names.route_dead_letter("assessment"));
    assert_eq!(letters.len(), 1);
    assert_eq!(letters[0].key.as_deref(), Some(refused.as_bytes()));
    assert_eq!(letters[0].header_str("dlq.reason"), Some("ROUTE_REJECTED"));
    let rows = |sql: &str| {
        let connection = rusqlite::Connection::open(&database).unwrap();
        connection.query_row(sql, [], |row| row.get::<_, i64>(0)).unwrap()
    };
    assert_eq!(rows("SELECT count(*) FROM stage_change"), 4 * APPLICATIONS as i64 + 3);
    assert_eq!(rows("SELECT count(*) FROM application"), APPLICATIONS as i64 + 1);

    // A restart sends nothing again, keeps the routes' starts, and goes on.
    let starts = ground.read_all(&ground.names.internal("route"));
    assert_eq!(starts.len(), 3);
    let before = onboarding.all().len();
    let service = ground.start(&config, &data).await;
    let application = application_id(500);
    ground.put_context(&application).await;
    ground.put_change(&application, 1, "HIRE", now(), "WEBHOOK").await;
    until("the new hire", || onboarding.all().len() > before).await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(onboarding.all().len(), before + 1);
    service.stop().await;
    assert_eq!(ground.read_all(&ground.names.internal("route")).len(), 3);
}

/// One receiver refuses connections, then takes them and says nothing: the others get everything meanwhile, and it
/// gets everything, in order and once, after it has come back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dead_receiver_harms_no_other_and_catches_up_in_order() {
    const ROUND: usize = 12;
    let ground = Ground::lay().await;
    let (onboarding, assessment) =
        (Receiver::start(|_| Answer::Status(200)).await, Receiver::start(|_| Answer::Status(200)).await);
    let (dead, socket) = Receiver::refusing();
    let database = ground.folder.path().join("analytics.sqlite");
    let config = config(&[("onboarding", &onboarding), ("assessment", &assessment), ("payroll", &dead)], &database);
    // The dead one is asked often, so that the test is short; no record is given up.
    let config = config
        .replace("/payroll', allow", "/payroll', timeout: 2s, allow")
        .replace("retry: {first: 10ms}", "retry: {first: 10ms, longest: 300ms}");
    let service = ground.start(&config, &ground.folder.path().join("data")).await;
    ground.put(Entity::Job, JOB, JOB, json!({"name": "Engineer"})).await;
    let round = async |numbers: std::ops::Range<usize>| {
        for number in numbers {
            let application = application_id(number);
            ground.put_context(&application).await;
            for (sequence_no, kind) in (1..).zip(["CREATED", "STAGE", "HIRE", "UNHIRE"]) {
                ground.put_change(&application, sequence_no, kind, now(), "WEBHOOK").await;
            }
        }
    };
    let stored = || service.counter("hirewire_route_deliveries_total", "analytics");
    let others_have_all_of = async |applications: usize| {
        until("the other sinks to have everything", || {
            onboarding.taken().len() >= 2 * applications
                && assessment.taken().len() >= applications
                // Four changes and the application itself.
                && stored() >= 5 * applications as u64
        })
        .await;
    };

    round(0..ROUND).await;
    others_have_all_of(ROUND).await;
    assert!(dead.all().is_empty(), "it refuses every connection");

    dead.answer(|_| Answer::Silence);
    dead.listen(socket.listen(1024).unwrap());
    until("the dead one to be tried", || !dead.all().is_empty()).await;
    round(ROUND..2 * ROUND).await;
    others_have_all_of(2 * ROUND).await;
    assert!(dead.taken().is_empty(), "it answers nothing");

    dead.answer(|_| Answer::Status(200));
    until("the dead one to have caught up", || dead.taken().len() >= 4 * ROUND).await;
    service.stop().await;
    for (receiver, expected) in [(&onboarding, ["hire", "hire_cancelled"]), (&dead, ["pay", "pay_cancelled"])] {
        let types = types(&receiver.taken());
        assert_eq!(types.len(), 2 * ROUND);
        assert!(types.values().all(|types| *types == expected), "{types:?}");
    }
    assert_eq!(assessment.taken().len(), 2 * ROUND);
    assert_eq!(stored_changes(&database), 8 * ROUND as i64);
    assert!(ground.read_all(&ground.names.route_dead_letter("payroll")).is_empty(), "nothing was given up");
}

fn stored_changes(database: &Path) -> i64 {
    let connection = rusqlite::Connection::open(database).unwrap();
    connection.query_row("SELECT count(*) FROM stage_change", [], |row| row.get(0)).unwrap()
}

/// Two replicas that enable a route at the same moment write twice: the first record counts for ever, and compaction
/// must not take it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_starts_of_a_route_the_first_counts_and_is_written_again() {
    let ground = Ground::lay().await;
    let starts = crate::starts::Starts {
        settings: ground.kafka.clone(),
        producer: ground.producer.clone(),
        codec: ground.codec.clone(),
        topic: ground.names.internal("route").into(),
        partitions: PARTITIONS,
    };
    let route = [("hires".into(), "onboarding".into())];
    let at = |text: &str| text.parse::<jiff::Timestamp>().unwrap();
    for from in ["2026-01-01T00:00:00Z", "2026-01-01T00:00:07Z"] {
        let value = starts.encode("hires", "onboarding", at(from)).await.unwrap();
        starts.write("hires", value).await.unwrap();
    }
    for _ in 0..2 {
        let fixed = starts.fix(&route).await.unwrap();
        assert_eq!(fixed.values().copied().collect::<Vec<_>>(), [at("2026-01-01T00:00:00Z")]);
        let all = ground.read_all(&ground.names.internal("route"));
        assert_eq!(all.len(), 3, "the first one was written again, once");
        assert_eq!(all[0].value, all[2].value);
    }
}

/// A second replica joins, the first one leaves, then the second one is cut off in the middle: order holds, nothing is
/// lost, and only the cut-off may cause a resend, with the same key.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replicas_that_come_go_and_break_keep_the_order_and_lose_nothing() {
    const APPLICATIONS: usize = 24;
    let ground = Ground::lay().await;
    let mut dice = fastrand::Rng::with_seed(3);
    let receiver = Receiver::start(move |_| match dice.u8(..10) {
        0 => Answer::Status(500),
        1 => Answer::Reset,
        _ => Answer::Status(200),
    })
    .await;
    let database = ground.folder.path().join("analytics.sqlite");
    let config = config(&[("assessment", &receiver)], &database);
    let data = |name: &str| ground.folder.path().join(name);
    ground.put(Entity::Job, JOB, JOB, json!({"name": "Engineer"})).await;
    for number in 0..APPLICATIONS {
        ground.put_context(&application_id(number)).await;
    }
    let mut sequence_no = 0;
    let mut round = async |ground: &Ground, count: i64| {
        for _ in 0..count {
            sequence_no += 1;
            for number in 0..APPLICATIONS {
                ground.put_change(&application_id(number), sequence_no, "STAGE", now(), "WEBHOOK").await;
            }
        }
        sequence_no * APPLICATIONS as i64
    };
    let distinct = |receiver: &Receiver| {
        let keys: std::collections::HashSet<String> =
            receiver.taken().iter().map(|received| received.headers["idempotency-key"].clone()).collect();
        i64::try_from(keys.len()).unwrap()
    };

    let first = ground.start(&config, &data("first")).await;
    round(&ground, 5).await;
    let second = ground.start(&config, &data("second")).await;
    round(&ground, 10).await;
    first.stop().await;
    let sent = round(&ground, 5).await;
    until("all rounds of the orderly part", || distinct(&receiver) == sent).await;
    // What was delivered beyond the committed head is sent again by the next owner, with its key: once for each of the two
    // changes at the most.
    let mut times: HashMap<String, usize> = HashMap::new();
    for received in receiver.taken() {
        *times.entry(received.headers["idempotency-key"].clone()).or_default() += 1;
    }
    assert!(times.values().all(|times| *times <= 3), "{times:?}");

    let sent = round(&ground, 10).await;
    until("a part of the next rounds", || distinct(&receiver) > sent - 9 * APPLICATIONS as i64).await;
    second.task.abort();
    let third = ground.start(&config, &data("third")).await;
    until("all rounds", || distinct(&receiver) == sent).await;

    let mut last: HashMap<String, i64> = HashMap::new();
    let mut seen: HashMap<String, String> = HashMap::new();
    for received in receiver.taken() {
        let stage: i64 = received.body["stage"]["id"].as_str().unwrap().rsplit('-').next().unwrap().parse().unwrap();
        let key = received.headers["idempotency-key"].clone();
        let what = format!("{} {stage}", received.application());
        assert_eq!(*seen.entry(key.clone()).or_insert(what.clone()), what, "one key, one event");
        let last = last.entry(received.application().to_owned()).or_default();
        if stage > *last {
            assert_eq!(stage, *last + 1, "an event overtook another of its key");
            *last = stage;
        }
    }
    third.stop().await;
}
