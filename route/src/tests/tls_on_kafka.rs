//! Another cluster by TLS and SCRAM, behind the guard: the secured listener of the Apache Kafka that `e2e/kafka/kafka.sh` keeps in
//! `HIREWIRE_TEST_KAFKA_DIR`, else an embedded broker that has one.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use hirewire_kafka::{Admin, NewTopic};
use hirewire_schemas::Entity;
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};

use super::ground::{Ground, JOB, application_id, now, read_all};
use super::support::until;

const APPLICATIONS: usize = 24;

/// The listener, as brokers tell of it.
struct Secured {
    port: u16,
    ca: PathBuf,
    password: PathBuf,
}

impl Secured {
    async fn find(ground: &Ground) -> Self {
        let password = ground.folder.path().join("password");
        std::fs::write(&password, "svc-secret").unwrap();
        let Some(kafka) = std::env::var_os("HIREWIRE_TEST_KAFKA_DIR") else { return Self::start(password).await };
        let plain: u16 = ground.place.brokers.rsplit_once(':').unwrap().1.parse().unwrap();
        Self { port: plain + 2, ca: Path::new(&kafka).join("tls/ca.crt"), password }
    }

    /// Ends with the test's runtime.
    async fn start(password: PathBuf) -> Self {
        let own = Path::new(env!("CARGO_MANIFEST_DIR")).join("../lib/broker/tests/tls");
        let (certificate, key) = (own.join("certificate.pem"), own.join("key.pem"));
        let mut settings = hirewire_broker::Settings::new(password.with_file_name("secured"));
        settings.users = vec![hirewire_broker::User { name: "svc".into(), password: "svc-secret".into() }];
        settings.tls = Some(hirewire_broker::Tls { certificate: certificate.clone(), key });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        tokio::spawn(hirewire_broker::Broker::open(settings).unwrap().run(listener, std::future::pending::<()>()));
        Self { port, ca: certificate, password }
    }

    /// `cluster` of a sink that begins at `server`, or settings of a client; `more` stands behind.
    fn cluster(&self, server: &str, more: &str) -> String {
        let (ca, password) = (self.ca.display(), self.password.display());
        format!(
            "{{bootstrap_servers: '{server}', tls: {{ca_file: '{ca}'}}, \
             sasl: {{mechanism: SCRAM-SHA-512, username: svc, password: {{file: '{password}'}}}}{more}}}"
        )
    }

    /// For the test itself.
    fn settings(&self) -> hirewire_kafka::Settings {
        let text = self.cluster(&format!("127.0.0.1:{}", self.port), "");
        let mut problems = hirewire_yaml::Problems::new();
        let read = hirewire_kafka::Settings::read(&hirewire_yaml::parse("k.yaml", &text).unwrap(), &[], &mut problems);
        problems.into_result(read).unwrap_or_else(|problems| panic!("{problems}"))
    }
}

/// Another way to a port of this machine, which counts who takes it.
struct Way {
    port: u16,
    taken: Arc<AtomicUsize>,
}

impl Way {
    async fn to(port: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let way = Self { port: listener.local_addr().unwrap().port(), taken: Arc::default() };
        let taken = Arc::clone(&way.taken);
        tokio::spawn(async move {
            while let Ok((mut near, _)) = listener.accept().await {
                taken.fetch_add(1, Ordering::SeqCst);
                tokio::spawn(async move {
                    let mut far = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
                    // Whoever ends it first.
                    let _ended = tokio::io::copy_bidirectional(&mut near, &mut far).await.is_err();
                });
            }
        });
        way
    }

    fn taken(&self) -> usize {
        self.taken.load(Ordering::SeqCst)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn by_tls_too_the_guard_decides_which_brokers_are_connected_to() {
    let ground = Ground::lay().await;
    let secured = Secured::find(&ground).await;
    let (kafka, out) = (secured.settings(), format!("{}hires", ground.place.prefix));
    let new = NewTopic { name: out.clone(), partitions: 1, replication: 1, config: BTreeMap::default() };
    let admin = Admin::new(&kafka).unwrap();
    admin.create_topics(&[new]).await.unwrap();
    until("the topic", || admin.watermarks(&out, 0).is_ok()).await;
    let way = Way::to(secured.port).await;
    let config = |allow: &str| {
        let cluster = secured.cluster(&format!("localhost:{}", way.port), &format!(", allow: {{{allow}}}"));
        format!(
            "sinks: {{hires: {{system: onboarding, kafka: {{topic: {out}, cluster: {cluster}}}}}}}\n\
             routes: {{hires: {{sink: hires}}}}\n"
        )
    };
    let probe = async |config: &str| crate::probe(&Ground::settings(config), &ground.kafka).await.remove(0).outcome;
    let data = ground.folder.path().join("data");
    ground.put(Entity::Job, JOB, JOB, json!({"name": "Engineer"})).await;

    // Its name leads to an address that is not allowed.
    let refused = config("networks: ['10.0.0.0/8']");
    let service = ground.start(&refused, &data).await;
    for number in 0..APPLICATIONS {
        let application = application_id(number);
        ground.put_context(&application).await;
        for (sequence_no, kind) in (1..).zip(["CREATED", "HIRE", "UNHIRE"]) {
            ground.put_change(&application, sequence_no, kind, now(), "WEBHOOK").await;
        }
    }
    until("the sink to be held", || service.counter("hirewire_route_sink_held", "hires") == 1).await;
    assert_eq!(probe(&refused).await.err().map(|unwell| unwell.code), Some("SINK_ADDRESS_REFUSED"));
    service.stop().await;
    assert_eq!(way.taken(), 0);

    // The cluster sends us on to a broker that is not listed.
    let refused = config("hosts: [localhost], networks: ['127.0.0.0/8']");
    let service = ground.start(&refused, &data).await;
    until("the sink to be held", || service.counter("hirewire_route_sink_held", "hires") == 1).await;
    let unwell = probe(&refused).await.err().unwrap();
    assert_eq!(unwell.code, "SINK_ADDRESS_REFUSED");
    assert!(unwell.what.contains(&format!("127.0.0.1:{}", secured.port)), "{unwell:?}");
    service.stop().await;
    assert!(way.taken() > 0, "it was asked where its brokers are");
    assert_eq!(read_all(&kafka, &out, 1).len(), 0);

    let allowed = config("hosts: [localhost, 127.0.0.1], networks: ['127.0.0.0/8']");
    let service = ground.start(&allowed, &data).await;
    until("all hires", || read_all(&kafka, &out, 1).len() >= 2 * APPLICATIONS).await;
    assert_eq!(probe(&allowed).await, Ok(format!("{out} is there, with 1 partitions")));
    service.stop().await;
    let mut by_application: BTreeMap<String, Vec<Value>> = BTreeMap::new();
    for inbound in read_all(&kafka, &out, 1) {
        let body: Value = serde_json::from_slice(&inbound.value.unwrap()).unwrap();
        by_application.entry(body["application_id"].to_string()).or_default().push(body["type"].clone());
    }
    assert_eq!(by_application.len(), APPLICATIONS);
    for (application, types) in by_application {
        assert_eq!(types, ["hire", "hire_cancelled"], "{application}");
    }
}
