//! HTTP Basic and TLS: who may do anything, what a stranger gets, and both sides of our own on one wire.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::path::{Path, PathBuf};
use std::time::Duration;

use hirewire_registry::server::Server;
use hirewire_registry::{Access, Codec, CodecError, Metrics, Registry, Subject, Tls, User};
use reqwest::{Certificate, Client, StatusCode};
use tempfile::TempDir;
use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpStream};

const SCHEMA: &str = r#"{"type": "record", "name": "R", "fields": [{"name": "a", "type": "int"}]}"#;
const PATIENCE: Duration = Duration::from_millis(300);

fn file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/tls").join(name)
}

/// Runs until the test ends. Where it listens.
async fn start(dir: &TempDir, set: impl FnOnce(Server) -> Server) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let server = set(Server::new(Registry::open(dir.path()).unwrap()));
    tokio::spawn(server.run(listener, std::future::pending()));
    address
}

fn users() -> Vec<User> {
    let user = |name: &str, password: &str| User { name: name.to_owned(), password: password.to_owned() };
    vec![user("svc", "svc:secret"), user("other", "9ä")]
}

fn tls(server: Server) -> Server {
    server.tls(&Tls { certificate: file("certificate.pem"), key: file("key.pem") }).unwrap()
}

/// As the configuration would name it.
fn access(dir: &TempDir, yaml: &str) -> Access {
    let file = dir.path().join("hirewire.yaml").display().to_string();
    let node = hirewire_yaml::parse(&file, yaml).unwrap();
    let mut problems = hirewire_yaml::Problems::new();
    let access = Access::read(&node, &mut problems);
    problems.into_result(access).unwrap()
}

async fn register(access: &Access) -> Result<Vec<u32>, CodecError> {
    let subject = Subject { name: "s".to_owned(), schema: SCHEMA.to_owned(), compatibility: Some("FULL".to_owned()) };
    Codec::new(access).unwrap().register(&[subject], PATIENCE).await
}

#[tokio::test]
async fn only_users_are_let_in() {
    let dir = tempfile::tempdir().unwrap();
    let url = format!("http://{}", start(&dir, |server| server.users(users())).await);
    let http = Client::new();
    let status = async |path: &str, user: Option<(&str, &str)>| {
        let mut request = http.get(format!("{url}{path}"));
        if let Some((name, password)) = user {
            request = request.basic_auth(name, Some(password));
        }
        request.send().await.unwrap().status()
    };
    assert_eq!(status("/subjects", Some(("svc", "svc:secret"))).await, StatusCode::OK);
    assert_eq!(status("/subjects", Some(("other", "9ä"))).await, StatusCode::OK);
    for stranger in [None, Some(("svc", "9ä")), Some(("svc", "")), Some(("nobody", "svc:secret")), Some(("", ""))] {
        for path in ["/", "/subjects", "/schemas/ids/1", "/no/such/page"] {
            assert_eq!(status(path, stranger).await, StatusCode::UNAUTHORIZED, "{path} {stranger:?}");
        }
    }
    for header in ["Bearer svc", "Basic", "Basic !!!", "Basic c3Zj"] {
        let answer = http.get(format!("{url}/subjects")).header("authorization", header).send().await.unwrap();
        assert_eq!(answer.headers()["www-authenticate"], "Basic realm=\"schema registry\"");
        let answer: serde_json::Value = answer.json().await.unwrap();
        assert_eq!(answer, serde_json::json!({"error_code": 401, "message": "Unauthorized"}), "{header}");
    }
}

#[tokio::test]
async fn our_client_comes_in_by_tls_and_password_and_by_nothing_less() {
    let dir = tempfile::tempdir().unwrap();
    let address = start(&dir, |server| tls(server.users(users()))).await;
    std::fs::write(dir.path().join("password"), "svc:secret\n").unwrap();
    std::fs::write(dir.path().join("wrong"), "9ä").unwrap();
    let auth = |file: &str| format!("basic_auth: {{username: svc, password: {{file: {file}}}}}\n");
    let url = format!("url: https://{address}/\n");
    let ca = format!("tls: {{ca_file: \"{}\"}}\n", file("certificate.pem").display());

    let right = access(&dir, &format!("{url}{ca}{}", auth("password")));
    assert_eq!(register(&right).await.unwrap(), [1]);
    // By the other path through the client: a schema that it has not seen.
    let mut framed = Vec::new();
    hirewire_registry::frame(1, &mut framed);
    framed.push(14);
    Codec::new(&right).unwrap().decode(&framed).await.unwrap();

    let refused = |error: CodecError| match error {
        CodecError::GaveUp { source, .. } => source.to_string(),
        other => other.to_string(),
    };
    let wrong = register(&access(&dir, &format!("{url}{ca}{}", auth("wrong")))).await.unwrap_err();
    assert!(refused(wrong).contains("Unauthorized"));
    let nobody = register(&access(&dir, &format!("{url}{ca}"))).await.unwrap_err();
    assert!(refused(nobody).contains("Unauthorized"));
    let untrusted = register(&access(&dir, &format!("{url}{}", auth("password")))).await.unwrap_err();
    assert!(refused(untrusted).contains("does not answer"));
    let plain = register(&access(&dir, &format!("url: http://{address}\n{}", auth("password")))).await.unwrap_err();
    assert!(refused(plain).contains("does not answer"));
}

#[tokio::test]
async fn who_never_agrees_on_tls_holds_up_nobody() {
    let dir = tempfile::tempdir().unwrap();
    let address = start(&dir, tls).await;
    let mut silent = Vec::new();
    for _ in 0..20 {
        silent.push(TcpStream::connect(&address).await.unwrap());
    }
    let certificate = Certificate::from_pem(&std::fs::read(file("certificate.pem")).unwrap()).unwrap();
    let http = Client::builder().tls_certs_merge([certificate]).timeout(Duration::from_secs(8)).build().unwrap();
    let answer = http.get(format!("https://{address}/subjects")).send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    let mut bytes = [0; 1];
    let ended = tokio::time::timeout(Duration::from_secs(60), silent[0].read(&mut bytes)).await;
    assert!(matches!(ended, Ok(Ok(0) | Err(_))), "the silent connection is ended");
}

#[tokio::test]
async fn requests_are_counted_by_route() {
    let dir = tempfile::tempdir().unwrap();
    let metrics = prometheus::Registry::new();
    let counted = Metrics::register(&metrics).unwrap();
    let url = format!("http://{}", start(&dir, |server| server.users(users()).metrics(counted)).await);
    let http = Client::new();
    for subject in ["a", "b", "c"] {
        let request = http.get(format!("{url}/subjects/{subject}/versions")).basic_auth("svc", Some("svc:secret"));
        assert_eq!(request.send().await.unwrap().status(), StatusCode::NOT_FOUND);
    }
    http.get(format!("{url}/subjects")).send().await.unwrap();
    http.get(format!("{url}/x/{}", "y".repeat(50))).basic_auth("svc", Some("svc:secret")).send().await.unwrap();
    let mut found: Vec<(String, f64)> = metrics.gather()[0]
        .get_metric()
        .iter()
        .map(|metric| {
            let labels: Vec<_> = metric.get_label().iter().map(|label| label.value().to_owned()).collect();
            (labels.join(" "), metric.get_counter().get_value())
        })
        .collect();
    found.sort_by(|a, b| a.0.cmp(&b.0));
    let expected =
        [("GET /subjects 401", 1.0), ("GET /subjects/{subject}/versions 404", 3.0), ("other unknown 404", 1.0)];
    assert_eq!(found, expected.map(|(name, count)| (name.to_owned(), count)));
}

#[tokio::test]
async fn a_certificate_that_cannot_be_used_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::new(Registry::open(dir.path()).unwrap());
    let Err(error) = server.tls(&Tls { certificate: file("certificate.pem"), key: file("certificate.pem") }) else {
        panic!("taken")
    };
    assert!(error.to_string().contains("certificate.pem"), "{error}");
    assert!(error.to_string().contains("PKCS#8"), "{error}");
}
