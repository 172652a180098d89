//! What the tests on Kafka stand on: a broker, a registry, the topics of one deployment, and the service on them.
//!
//! In: trees of canonical records, a configuration's text. Out: framed records in their topics, a running service that
//! is ready. The broker is the embedded one, or the Kafka that `HIREWIRE_TEST_BROKERS` names.

use std::path::Path;
use std::time::Duration;

use apache_avro::types::Value as Avro;
use apache_avro::writer::datum::GenericDatumWriter;
use bytes::Bytes;
use hirewire_kafka::{
    Admin, Inbound, Isolation, NewTopic, Producer, ProducerOptions, Record, partition_for, read_table,
};
use hirewire_registry::{Access, Codec, Registry, frame, server};
use hirewire_schemas::{Entity, Names};
use hirewire_service::{Health, Shutdown};
use serde_json::{Value, json};
use tokio::net::TcpListener;

use super::support::until;
use crate::replay::{self, Order};
use crate::{Deps, Settings, run};

pub(super) const PARTITIONS: i32 = 4;

/// A broker, a registry and the topics of one deployment.
pub(super) struct Ground {
    pub(super) place: Place,
    pub(super) kafka: hirewire_kafka::Settings,
    pub(super) names: Names,
    pub(super) producer: Producer,
    pub(super) codec: Codec,
    pub(super) folder: tempfile::TempDir,
    shutdown: Shutdown,
}

/// Where a ground is, for another process too.
#[derive(Clone)]
pub(super) struct Place {
    pub(super) brokers: String,
    pub(super) prefix: String,
    pub(super) registry_url: String,
}

impl Ground {
    pub(super) async fn lay() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let shutdown = Shutdown::new();
        let brokers = match std::env::var("HIREWIRE_TEST_BROKERS") {
            Ok(address) => address,
            Err(_) => start_broker(&folder.path().join("broker"), &shutdown).await,
        };
        let kafka = hirewire_kafka::Settings::local(&brokers);
        let prefix = format!("route-{}-", uuid::Uuid::new_v4().simple());
        let names = Names::new(&prefix);
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
        let admin = Admin::new(&kafka).unwrap();
        admin.create_topics(&topics).await.unwrap();
        // A Kafka that has made topics does not tell of them at once.
        let is_there =
            |topic: &NewTopic| (0..PARTITIONS).all(|partition| admin.watermarks(&topic.name, partition).is_ok());
        until("the topics", || topics.iter().all(is_there)).await;
        let producer = Producer::new(
            &kafka,
            &ProducerOptions { delivery_timeout: Duration::from_secs(20), ..ProducerOptions::default() },
        )
        .unwrap();
        let codec = Codec::new(&Access::plain(&registry_url)).unwrap();
        let place = Place { brokers, prefix, registry_url };
        Self { place, kafka, names, producer, codec, folder, shutdown }
    }

    /// A record with these fields and the defaults of all others.
    pub(super) async fn put(&self, entity: Entity, key: &str, owner: &str, mut tree: Value) {
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

    pub(super) async fn put_change(&self, application: &str, sequence_no: i64, kind: &str, at: i64, provenance: &str) {
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

    pub(super) async fn put_context(&self, application: &str) {
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

    /// Sends a dead letter to its sink again, as `hirewire dlq replay` does.
    pub(super) async fn replay(&self, sink: &str, letter: &Inbound, checked_to: i64, even_if_newer: bool) {
        let origin = origin(letter);
        let route = letter.header_str("dlq.route").unwrap().to_owned();
        let order = Order { origin: origin.clone(), sink: sink.into(), route, checked_to, even_if_newer };
        let mut headers = letter.headers.clone();
        headers.push((replay::ORIGIN.to_owned(), origin.to_string().into()));
        headers.extend(order.headers().into_iter().map(|(name, value)| (name.to_owned(), value.into())));
        let record = Record {
            topic: self.names.internal(replay::TOPIC).into(),
            partition: Some(letter.partition),
            key: letter.key.clone(),
            value: letter.value.clone(),
            headers: headers.into_iter().map(|(name, value)| (name.into(), value)).collect(),
            timestamp_ms: Some(letter.timestamp_ms),
        };
        self.producer.send(record).await.unwrap();
    }

    /// What the service reads of a configuration; else its mistakes.
    pub(super) fn read(config: &str) -> Result<Settings, String> {
        let root = hirewire_yaml::parse("hirewire.yaml", config).unwrap();
        let mut problems = hirewire_yaml::Problems::new();
        let settings = Settings::read(root.peek("sinks"), root.peek("routes"), root.peek("route"), None, &mut problems);
        problems.into_result(settings).map_err(|problems| problems.to_string())
    }

    pub(super) fn settings(config: &str) -> Settings {
        Self::read(config).unwrap_or_else(|mistakes| panic!("{mistakes}"))
    }

    /// Starts the service; returns when it is ready.
    pub(super) async fn start(&self, config: &str, data: &Path) -> Service {
        Service::start(&self.place, config, data).await
    }

    pub(super) fn read_all(&self, topic: &str) -> Vec<Inbound> {
        read_all(&self.kafka, topic, PARTITIONS)
    }
}

/// What is committed in the first `partitions` of a topic.
pub(super) fn read_all(kafka: &hirewire_kafka::Settings, topic: &str, partitions: i32) -> Vec<Inbound> {
    let mut all = Vec::new();
    for partition in 0..partitions {
        let mut take = |inbound| {
            all.push(inbound);
            Ok(())
        };
        read_table(kafka, topic, partition, 0, Isolation::Committed, &mut take).unwrap();
    }
    all
}

impl Drop for Ground {
    fn drop(&mut self) {
        self.shutdown.request();
    }
}

pub(super) struct Service {
    shutdown: Shutdown,
    pub(super) task: tokio::task::JoinHandle<Result<(), crate::Error>>,
    metrics: prometheus::Registry,
    /// Other settings for it.
    pub(super) reloads: tokio::sync::mpsc::Sender<crate::Reload>,
}

impl Service {
    /// Returns when it is ready.
    pub(super) async fn start(place: &Place, config: &str, data: &Path) -> Self {
        let settings = Ground::settings(config);
        let (sender, reloads) = tokio::sync::mpsc::channel(1);
        let (health, shutdown, metrics) = (Health::new(), Shutdown::new(), prometheus::Registry::new());
        let deps = Deps {
            kafka: hirewire_kafka::Settings::local(&place.brokers),
            names: Names::new(&place.prefix),
            registry: Access::plain(&place.registry_url),
            data_dir: data.to_path_buf(),
            partitions: PARTITIONS,
            metrics: metrics.clone(),
            health: health.clone(),
            reloads: Some(reloads),
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
        Self { shutdown, task, metrics, reloads: sender }
    }

    pub(super) async fn stop(self) {
        self.shutdown.request();
        tokio::time::timeout(Duration::from_secs(20), self.task).await.unwrap().unwrap().unwrap();
    }

    /// What became of settings that came, by `outcome`.
    pub(super) fn reloads(&self, outcome: &str) -> u64 {
        let families = self.metrics.gather();
        let found = families.iter().find(|family| family.name() == "hirewire_route_reloads_total").into_iter();
        let of_outcome = found
            .flat_map(|family| family.get_metric())
            .filter(|metric| metric.get_label().iter().any(|label| label.value() == outcome));
        of_outcome.map(|metric| metric.get_counter().get_value() as u64).sum()
    }

    /// A metric of one sink, of all its series together.
    pub(super) fn counter(&self, name: &str, sink: &str) -> u64 {
        let families = self.metrics.gather();
        let found = families.iter().find(|family| family.name() == name).into_iter();
        let of_sink = found
            .flat_map(|family| family.get_metric())
            .filter(|metric| metric.get_label().iter().any(|label| label.name() == "sink" && label.value() == sink));
        of_sink.map(|metric| (metric.get_counter().get_value() + metric.get_gauge().get_value()) as u64).sum()
    }
}

/// Where a dead letter came from.
pub(super) fn origin(letter: &Inbound) -> replay::Place {
    let header = |name: &str| letter.header_str(&format!("__connect.errors.{name}")).unwrap();
    replay::Place {
        topic: header("topic").to_owned(),
        partition: header("partition").parse().unwrap(),
        offset: header("offset").parse().unwrap(),
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

pub(super) const JOB: &str = "10000000-0000-5000-8000-000000000001";

fn stage_id(number: i64) -> String {
    format!("20000000-0000-5000-8000-{number:012}")
}

pub(super) fn application_id(number: usize) -> String {
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

pub(super) fn now() -> i64 {
    jiff::Timestamp::now().as_microsecond()
}
