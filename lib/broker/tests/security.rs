//! SASL and TLS: who may connect, and what a stranger gets.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod running;
mod wire;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use hirewire_broker::{Broker, OpenError, RunError, Settings, Tls, User};
use kafka_protocol::messages::*;
use kafka_protocol::protocol::StrBytes;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::producer::{FutureProducer, FutureRecord};
use running::*;
use wire::Wire;

fn user(name: &str, password: &str) -> User {
    User { name: name.to_owned(), password: password.to_owned() }
}

fn file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/tls").join(name)
}

fn secured(dir: &Path) -> Settings {
    let mut settings = settings(dir);
    settings.users = vec![user("svc", "svc-secret"), user("a,b=c", "other")];
    settings
}

fn client(broker: &Running, mechanism: &str, name: &str, password: &str) -> ClientConfig {
    let mut config = config(&broker.bootstrap());
    config.set("security.protocol", "SASL_PLAINTEXT").set("sasl.mechanism", mechanism);
    config.set("sasl.username", name).set("sasl.password", password);
    config
}

fn topics(config: &ClientConfig) -> Result<usize, String> {
    let consumer: BaseConsumer = config.create().unwrap();
    let metadata = consumer.fetch_metadata(None, Duration::from_secs(3)).map_err(|error| error.to_string())?;
    Ok(metadata.topics().len())
}

#[test]
fn librdkafka_connects_by_all_mechanisms_with_the_right_password_alone() {
    let dir = tempfile::tempdir().unwrap();
    let broker = Running::with(secured(dir.path()), 0);
    for mechanism in ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] {
        for (name, password) in [("svc", "svc-secret"), ("a,b=c", "other")] {
            assert_eq!(topics(&client(&broker, mechanism, name, password)), Ok(0), "{mechanism} {name}");
        }
        for (name, password) in [("svc", "other"), ("nobody", "svc-secret")] {
            assert!(topics(&client(&broker, mechanism, name, password)).is_err(), "{mechanism} {name}");
        }
    }
    assert!(topics(&config(&broker.bootstrap())).is_err(), "no password at all");
}

#[test]
fn tls_carries_everything() {
    let dir = tempfile::tempdir().unwrap();
    let mut settings = secured(dir.path());
    settings.tls = Some(Tls { certificate: file("certificate.pem"), key: file("key.pem") });
    settings.auto_create_topics = true;
    let broker = Running::with(settings, 0);
    let mut config = client(&broker, "SCRAM-SHA-512", "svc", "svc-secret");
    config.set("security.protocol", "SASL_SSL").set("ssl.ca.location", file("certificate.pem").to_str().unwrap());
    config.set("allow.auto.create.topics", "true");
    let producer: FutureProducer = config.create().unwrap();
    let large = "x".repeat(500_000);
    for _ in 0..4 {
        let record: FutureRecord<'_, str, str> = FutureRecord::to("t").payload(&large);
        runtime().block_on(producer.send(record, PATIENCE)).unwrap();
    }
    config.set("security.protocol", "SASL_PLAINTEXT");
    assert!(topics(&config).is_err(), "without TLS");
}

#[test]
fn a_key_that_does_not_fit_is_said_at_the_start() {
    let dir = tempfile::tempdir().unwrap();
    let mut settings = settings(dir.path());
    settings.tls = Some(Tls { certificate: file("key.pem"), key: file("key.pem") });
    assert!(matches!(Broker::open(settings).map(|_| ()), Err(OpenError::Tls { .. })));
}

#[test]
fn users_without_a_password_or_with_one_name_are_refused() {
    for users in [vec![user("a", "")], vec![user("", "x")], vec![user("a", "x"), user("a", "y")]] {
        let dir = tempfile::tempdir().unwrap();
        let mut settings = settings(dir.path());
        settings.users = users;
        assert!(matches!(Broker::open(settings).map(|_| ()), Err(OpenError::Users)));
    }
    assert!(!format!("{:?}", user("a", "hidden")).contains("hidden"));
}

#[test]
fn beyond_this_machine_it_serves_only_with_users() {
    runtime().block_on(async {
        for users in [Vec::new(), vec![user("svc", "svc-secret")]] {
            let dir = tempfile::tempdir().unwrap();
            let mut settings = settings(dir.path());
            let demanded = users.is_empty();
            settings.users = users;
            // All addresses, of which no client here uses any but loopback's.
            let listener = tokio::net::TcpListener::bind("0.0.0.0:0").await.unwrap();
            let broker = tokio::task::spawn_blocking(|| Broker::open(settings).unwrap()).await.unwrap();
            let ran = broker.run(listener, std::future::ready(())).await;
            assert_eq!(matches!(ran, Err(RunError::NotLoopback { .. })), demanded, "{ran:?}");
        }
    });
}

fn handshake(wire: &mut Wire, mechanism: &'static str) -> (i16, usize) {
    let request = SaslHandshakeRequest::default().with_mechanism(StrBytes::from_static_str(mechanism));
    match wire.try_ask(ApiKey::SaslHandshake, 1, &request.into()) {
        Some(ResponseKind::SaslHandshake(response)) => (response.error_code, response.mechanisms.len()),
        other => panic!("{other:?}"),
    }
}

fn authenticate(wire: &mut Wire, message: &[u8]) -> SaslAuthenticateResponse {
    let request = SaslAuthenticateRequest::default().with_auth_bytes(Bytes::copy_from_slice(message));
    match wire.try_ask(ApiKey::SaslAuthenticate, 2, &request.into()) {
        Some(ResponseKind::SaslAuthenticate(response)) => response,
        other => panic!("{other:?}"),
    }
}

fn metadata(wire: &mut Wire) -> bool {
    wire.try_ask(ApiKey::Metadata, 5, &MetadataRequest::default().into()).is_some()
}

#[test]
fn a_stranger_learns_the_versions_and_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let broker = Running::with(secured(dir.path()), 0);
    let connect = || Wire::connect(&broker);
    let mut stranger = connect();
    assert!(stranger.try_ask(ApiKey::ApiVersions, 0, &ApiVersionsRequest::default().into()).is_some());
    assert!(!metadata(&mut stranger));
    // An unknown mechanism is told which there are; then it may choose one of them.
    let mut late = connect();
    assert_eq!(handshake(&mut late, "GSSAPI"), (33, 3));
    assert_eq!(handshake(&mut late, "PLAIN"), (0, 3));
    assert_eq!(authenticate(&mut late, b"\0svc\0svc-secret").error_code, 0);
    assert!(metadata(&mut late));
    for message in [&b"\0svc\0wrong"[..], b"\0nobody\0", b"\0svc\0svc-secret\0", b"root\0svc\0svc-secret", b"", b"\0\0"]
    {
        let mut wrong = connect();
        handshake(&mut wrong, "PLAIN");
        assert_eq!(authenticate(&mut wrong, message).error_code, 58, "{message:?}");
        assert!(!metadata(&mut wrong), "{message:?}");
    }
    let mut hasty = connect();
    assert_eq!(authenticate(&mut hasty, b"\0svc\0svc-secret").error_code, 34);
    assert!(!metadata(&mut hasty));
    // Halfway through SCRAM is not through, and no second guess is had.
    let mut halfway = connect();
    handshake(&mut halfway, "SCRAM-SHA-256");
    assert_eq!(authenticate(&mut halfway, b"n,,n=svc,r=abc").error_code, 0);
    assert_eq!(authenticate(&mut halfway, b"c=biws,r=abc,p=AAAA").error_code, 58);
    assert!(!metadata(&mut halfway));
    // A large request of a stranger is not even read.
    let mut large = connect();
    large.stream.write_all(&[0, 2, 0, 0, 0, 3, 0, 5, 0, 0, 0, 1]).unwrap();
    assert!(!metadata(&mut large));
}
