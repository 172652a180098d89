//! Broker, registry and normalize for a test, and a reader of what it published.

#[path = "../tree/mod.rs"]
mod tree;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use apache_avro::types::Value;
use bytes::Bytes;
use hirewire_kafka::{Admin, Inbound, Isolation, NewTopic, Producer, ProducerOptions, Record, Settings, read_table};
use hirewire_mapping::Plan;
use hirewire_normalize::{Connection, Deps};
use hirewire_registry::{Access, Codec, Registry, server};
use hirewire_schemas::{Names, ids, topics};
use hirewire_service::{Health, Shutdown};
pub(crate) use tree::text;

pub(crate) const PARTITIONS: i32 = 4;
pub(crate) const TENANT: &str = "acme";
pub(crate) const CONNECTION: &str = "acme-greenhouse";

pub(crate) struct Stack {
    pub(crate) settings: Settings,
    pub(crate) names: Names,
    registry_url: String,
    codec: Codec,
    producer: Producer,
    below: Shutdown,
    data: tempfile::TempDir,
    plan: Arc<Plan>,
}

/// A running normalize.
pub(crate) struct Normalize {
    shutdown: Shutdown,
    task: tokio::task::JoinHandle<Result<(), hirewire_normalize::Error>>,
}

impl Normalize {
    pub(crate) async fn stop(self) {
        self.shutdown.request();
        self.ended().await.unwrap();
    }

    /// How it ended, by itself or because it was asked to.
    pub(crate) async fn ended(self) -> Result<(), hirewire_normalize::Error> {
        self.task.await.unwrap()
    }
}

impl Drop for Stack {
    fn drop(&mut self) {
        self.below.request();
    }
}

fn vendor_plan() -> Arc<Plan> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../vendors/greenhouse/mapping.yaml");
    let root = hirewire_yaml::parse("mapping.yaml", &std::fs::read_to_string(path).unwrap()).unwrap();
    let schema_of = |name: &str| hirewire_schemas::schema(name).map(|schema| &schema.avro);
    Arc::new(Plan::compile(&root, None, &schema_of).unwrap_or_else(|problems| panic!("{problems}")))
}

impl Stack {
    pub(crate) async fn start() -> Self {
        let below = Shutdown::new();
        let data = tempfile::tempdir().unwrap();
        let bind = || tokio::net::TcpListener::bind("127.0.0.1:0");
        let (address, prefix) = match std::env::var("HIREWIRE_TEST_BROKERS") {
            Ok(address) => (address, format!("test-{}-", uuid::Uuid::new_v4().simple())),
            Err(_) => {
                let broker =
                    hirewire_broker::Broker::open(hirewire_broker::Settings::new(data.path().join("broker"))).unwrap();
                let listener = bind().await.unwrap();
                let address = listener.local_addr().unwrap().to_string();
                let stopped = below.clone();
                tokio::spawn(async move { broker.run(listener, async move { stopped.requested().await }).await });
                (address, String::new())
            }
        };
        let listener = bind().await.unwrap();
        let registry_url = format!("http://{}", listener.local_addr().unwrap());
        let registry = Registry::open(&data.path().join("registry")).unwrap();
        let stopped = below.clone();
        tokio::spawn(async move { server::serve(listener, registry, async move { stopped.requested().await }).await });
        let settings = Settings::local(&address);
        let names = Names::new(&prefix);
        let wanted: Vec<NewTopic> = topics::table()
            .deployed(&names, &["greenhouse"], &[])
            .into_iter()
            .map(|(name, topic)| {
                let settings = topic.settings().into_iter();
                let mut config: BTreeMap<_, _> = settings.map(|(key, value)| (key.to_owned(), value)).collect();
                if name == names.raw("greenhouse") {
                    // Some tests write what came before a clock was set back.
                    config.insert("message.timestamp.after.max.ms".to_owned(), i64::MAX.to_string());
                }
                NewTopic { name, partitions: PARTITIONS, replication: 1, config }
            })
            .collect();
        Admin::new(&settings).unwrap().create_topics(&wanted).await.unwrap();
        let options = ProducerOptions { delivery_timeout: Duration::from_secs(20), ..Default::default() };
        let producer = Producer::new(&settings, &options).unwrap();
        let codec = Codec::new(&Access::plain(&registry_url)).unwrap();
        Self { settings, names, registry_url, codec, producer, below, data, plan: vendor_plan() }
    }

    /// Starts normalize on a local store of that name.
    pub(crate) fn normalize(&self, store: &str) -> Normalize {
        let shutdown = Shutdown::new();
        let deps = Deps {
            kafka: self.settings.clone(),
            names: self.names.clone(),
            registry: Access::plain(&self.registry_url),
            data_dir: self.data.path().join(store),
            partitions: PARTITIONS,
            vendors: vec!["greenhouse".to_owned()],
            connections: vec![Connection {
                name: CONNECTION.to_owned(),
                tenant: TENANT.to_owned(),
                vendor: "greenhouse".to_owned(),
                plan: Arc::clone(&self.plan),
            }],
            metrics: prometheus::Registry::new(),
            health: Health::new(),
            shutdown: shutdown.clone(),
        };
        let settings = hirewire_normalize::Settings { lookup_wait: Duration::from_millis(50), ..Default::default() };
        Normalize { shutdown, task: tokio::spawn(hirewire_normalize::run(settings, deps)) }
    }

    /// Puts a raw record as ingest would. `subject` is record and remote id of the key.
    pub(crate) async fn send(&self, origin: &str, what: &str, delivery: &str, subject: (&str, &str), body: &str) {
        self.send_dated(None, origin, what, delivery, subject, body).await;
    }

    /// The same at a time of the caller's choice, in Unix time; `None`: now.
    pub(crate) async fn send_dated(
        &self,
        timestamp_ms: Option<i64>,
        origin: &str,
        what: &str,
        delivery: &str,
        subject: (&str, &str),
        body: &str,
    ) {
        let header = if origin == "webhook" { "hirewire-event" } else { "hirewire-stream" };
        let headers = [
            ("ce_id", format!("{CONNECTION}/{delivery}")),
            ("ce_time", jiff::Timestamp::now().to_string()),
            ("hirewire-tenant", TENANT.to_owned()),
            ("hirewire-connection", CONNECTION.to_owned()),
            ("hirewire-vendor", "greenhouse".to_owned()),
            ("hirewire-origin", origin.to_owned()),
            (header, what.to_owned()),
            ("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01".to_owned()),
        ];
        let key = ids::key(ids::canonical_id(TENANT, CONNECTION, subject.0, subject.1));
        let record = Record {
            topic: self.names.raw("greenhouse").into(),
            partition: None,
            key: Some(Bytes::copy_from_slice(&key)),
            value: Some(Bytes::copy_from_slice(body.as_bytes())),
            headers: headers.into_iter().map(|(name, value)| (name.into(), value.into())).collect(),
            timestamp_ms,
        };
        self.producer.send(record).await.unwrap();
    }

    /// Puts a record into the state topic; its key.
    pub(crate) async fn put_state(&self, value: &'static [u8]) -> String {
        let key = ids::canonical_id(TENANT, CONNECTION, "Application", "1").to_string();
        let record = Record {
            topic: self.names.internal("state").into(),
            key: Some(key.clone().into()),
            value: Some(Bytes::from_static(value)),
            ..Record::default()
        };
        self.producer.send(record).await.unwrap();
        key
    }

    /// All committed records of a topic.
    pub(crate) async fn read(&self, topic: String) -> Vec<Inbound> {
        let settings = self.settings.clone();
        tokio::task::spawn_blocking(move || {
            let mut all = Vec::new();
            for partition in 0..PARTITIONS {
                read_table(&settings, &topic, partition, 0, Isolation::Committed, &mut |record| {
                    all.push(record);
                    Ok(())
                })
                .unwrap();
            }
            all
        })
        .await
        .unwrap()
    }

    /// The same, decoded, once there are at least `least`.
    pub(crate) async fn records(&self, topic: String, least: usize) -> Vec<Value> {
        let until = Instant::now() + Duration::from_secs(30);
        loop {
            let all = self.read(topic.clone()).await;
            if all.len() >= least {
                let mut values = Vec::new();
                for record in all {
                    values.push(self.codec.decode(&record.value.unwrap()).await.unwrap());
                }
                return values;
            }
            assert!(Instant::now() < until, "waited 30 s for {least} records in {topic}, there are {}", all.len());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}
