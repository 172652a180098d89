//! Attempts at the socket: what answers, paths and the environment lead to, and the names of faults.

mod addresses;
pub(crate) mod tls;

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use hirewire_service::TraceParent;
use reqwest::header::HeaderMap;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::guard::{Guard, Lookup};
use super::networks::Network;
use super::{HttpSettings, HttpTransport};
use crate::deliver::outcome::{Attempt, Fault};
use crate::deliver::{Content, Delivery, OnRefusal, Transport};
use crate::request::Request;
use crate::request::told::{Body, Secrets};
use crate::tests::support::Trap;

fn delivery() -> Delivery {
    let request = Request {
        method: reqwest::Method::POST,
        path: String::new(),
        query: None,
        headers: HeaderMap::new(),
        body: Body::plain(&b"{}"[..]),
        rules: Arc::default(),
        created: None,
        batch: None,
        step: None,
        kept_as: None,
    };
    Delivery {
        key: None,
        idempotency_key: uuid::Uuid::nil(),
        trace: TraceParent::new_root(),
        content: Content::Request(Box::new(request)),
        on_refusal: OnRefusal::Skip,
    }
}

/// A resolver that answers one list of addresses after the other, the last one for ever.
fn resolver(answers: Vec<Vec<&str>>) -> Lookup {
    let answers: Vec<Vec<IpAddr>> =
        answers.iter().map(|list| list.iter().map(|text| text.parse().unwrap()).collect()).collect();
    let calls = AtomicUsize::new(0);
    Arc::new(move |_| {
        let call = calls.fetch_add(1, Ordering::SeqCst).min(answers.len() - 1);
        let answer = answers[call].clone();
        Box::pin(async move { Ok(answer) })
    })
}

async fn attempt(url: &str, guard: Guard) -> Attempt {
    transport(url, guard).attempt(&delivery()).await
}

fn transport(url: &str, guard: Guard) -> HttpTransport {
    HttpTransport::new(settings(url, guard)).unwrap()
}

fn settings(url: &str, guard: Guard) -> HttpSettings {
    HttpSettings {
        url: url.parse().unwrap(),
        guard,
        auth: None,
        signing: None,
        ca: None,
        identity: None,
        timeout: Duration::from_millis(500),
        answer_bytes: 64 * 1024,
        batch: None,
        secrets: Secrets::default(),
    }
}

/// Answers every request on a port of its own with these bytes.
async fn answering(answer: String) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let answer = answer.clone();
            tokio::spawn(async move {
                let _request = stream.read(&mut [0; 4096]).await;
                let _sent = stream.write_all(answer.as_bytes()).await;
                // A connection that is closed with bytes unread is reset, and the answer with it.
                let _shut = stream.shutdown().await;
                while stream.read(&mut [0; 4096]).await.is_ok_and(|read| read > 0) {}
            });
        }
    });
    port
}

fn loopback() -> Guard {
    let hosts = vec!["127.0.0.1".to_owned(), "local.example".to_owned()];
    let networks = vec![Network::parse("127.0.0.0/8").unwrap()];
    Guard::with_lookup(hosts, networks, resolver(vec![vec!["127.0.0.1"]]))
}

/// The trap's address is allowed: only that nothing is followed keeps us from it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_answer_leads_anywhere_else() {
    let trap = Trap::set().await;
    let elsewhere = format!("http://127.0.0.1:{}/x", trap.port);
    for status in [201, 300, 301, 302, 303, 305, 307, 308] {
        let answer = format!("HTTP/1.1 {status} x\r\nlocation: {elsewhere}\r\ncontent-length: 0\r\n\r\n");
        let url = format!("http://127.0.0.1:{}/in", answering(answer).await);
        assert_eq!(attempt(&url, loopback()).await, Attempt::Answered { status, retry_after: None });
    }
    for header in [
        format!("refresh: 0; url={elsewhere}"),
        format!("alt-svc: h2=\"127.0.0.1:{}\"", trap.port),
        format!("link: <{elsewhere}>; rel=preload"),
        format!("content-location: {elsewhere}"),
    ] {
        let answer = format!("HTTP/1.1 200 x\r\n{header}\r\ncontent-length: 0\r\n\r\n");
        let url = format!("http://127.0.0.1:{}/in", answering(answer).await);
        for _ in 0..2 {
            assert_eq!(
                attempt(&url, loopback()).await,
                Attempt::Answered { status: 200, retry_after: None },
                "{header}"
            );
        }
    }
    assert_eq!(trap.count(), 0, "connections that should not be");
}

/// A path is made of data: it stays below the sink's URL whatever it holds.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_path_leads_anywhere_else() {
    let trap = Trap::set().await;
    let receiver = answering("HTTP/1.1 200 x\r\ncontent-length: 0\r\n\r\n".to_owned()).await;
    let elsewhere = format!("127.0.0.1:{}", trap.port);
    for path in [
        format!("//{elsewhere}/"),
        format!("/\\{elsewhere}/"),
        format!("\\\\{elsewhere}/"),
        format!("@{elsewhere}/"),
        format!(":pw@{elsewhere}/"),
        format!("/../../{elsewhere}"),
        format!("/?x=@{elsewhere}"),
        format!("/#@{elsewhere}"),
        format!("http://{elsewhere}/"),
        format!("\r\nhost: {elsewhere}\r\n\r\n"),
    ] {
        let mut delivery = delivery();
        let Content::Request(request) = &mut delivery.content else { panic!("a request") };
        request.path = path.clone();
        let url = format!("http://127.0.0.1:{receiver}");
        let outcome = transport(&url, loopback()).attempt(&delivery).await;
        assert_eq!(outcome, Attempt::Answered { status: 200, retry_after: None }, "{path:?}");
    }
    assert_eq!(trap.count(), 0, "connections that should not be");
}

const BEHIND_PROXY: &str = "HIREWIRE_TEST_BEHIND_PROXY";

/// In a process of its own, for the environment is the whole process's.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_proxy_of_the_environment_is_used() {
    let trap = Trap::set().await;
    let receiver = answering("HTTP/1.1 200 x\r\ncontent-length: 0\r\n\r\n".to_owned()).await;
    let proxy = format!("http://127.0.0.1:{}", trap.port);
    let mut child = std::process::Command::new(std::env::current_exe().unwrap());
    child.args(["--exact", "--ignored", "http::tests::process_behind_a_proxy"]);
    for variable in ["HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"] {
        child.env(variable, &proxy);
    }
    child.env_remove("NO_PROXY").env_remove("no_proxy").env_remove("REQUEST_METHOD");
    child.env(BEHIND_PROXY, format!("http://local.example:{receiver}/in")).stdout(std::process::Stdio::null());
    let ended = tokio::task::spawn_blocking(move || child.status()).await.unwrap().unwrap();
    assert!(ended.success(), "the request did not arrive");
    assert_eq!(trap.count(), 0, "connections that should not be");
}

#[tokio::test]
#[ignore = "not a test: the process of the test above"]
async fn process_behind_a_proxy() {
    let Ok(url) = std::env::var(BEHIND_PROXY) else { return };
    assert_eq!(attempt(&url, loopback()).await, Attempt::Answered { status: 200, retry_after: None });
}

/// What happens to a connection, and what the attempt came to.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_fault_of_a_connection_has_its_name() {
    let unreachable = |fault| Attempt::Unreachable(fault);
    let closed = tokio::net::TcpSocket::new_v4().unwrap();
    closed.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let closed = format!("http://127.0.0.1:{}/", closed.local_addr().unwrap().port());
    let plain = answering("HTTP/1.1 200 x\r\ncontent-length: 0\r\n\r\n".to_owned()).await;
    let empty = answering(String::new()).await;
    let half = answering("HTTP/1.1 200 x\r\ncontent".to_owned()).await;
    let garbage = answering("SSH-2.0-OpenSSH_9.9\r\n".to_owned()).await;
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let silent_port = silent.local_addr().unwrap().port();
    let local = |port: u16| format!("http://127.0.0.1:{port}/");
    let table = [
        ("a port that nobody listens on", closed, unreachable(Fault::Connect)),
        ("TLS with what speaks none", format!("https://127.0.0.1:{plain}/"), unreachable(Fault::Tls)),
        ("closed without an answer", local(empty), unreachable(Fault::Protocol)),
        ("closed within the answer's head", local(half), unreachable(Fault::Protocol)),
        ("an answer that is no HTTP", local(garbage), unreachable(Fault::Protocol)),
        ("nothing at all", local(silent_port), Attempt::TimedOut),
        ("TLS with silence", format!("https://127.0.0.1:{silent_port}/"), Attempt::TimedOut),
    ];
    for (what, url, expected) in table {
        assert_eq!(attempt(&url, loopback()).await, expected, "{what}");
    }
    let lookups: [(&str, Lookup); 2] = [
        ("a resolver that fails", Arc::new(|_| Box::pin(async { Err(std::io::Error::other("no such name")) }))),
        ("a name without an address", Arc::new(|_| Box::pin(async { Ok(Vec::new()) }))),
    ];
    for (what, lookup) in lookups {
        let guard = Guard::with_lookup(vec!["hires.example.com".to_owned()], Vec::new(), lookup);
        assert_eq!(attempt("https://hires.example.com/", guard).await, unreachable(Fault::Name), "{what}");
    }
}

/// `Retry-After` as receivers write it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn retry_after_is_read_from_the_answer() {
    let in_a_minute = jiff::Timestamp::now() + jiff::SignedDuration::from_secs(60);
    let date = jiff::fmt::rfc2822::DateTimePrinter::new().timestamp_to_rfc9110_string(&in_a_minute).unwrap();
    for (header, expected) in
        [("120", Some(120..=120)), ("0", Some(0..=0)), (date.as_str(), Some(50..=60)), ("soon", None), ("-5", None)]
    {
        let answer = format!("HTTP/1.1 429 x\r\nretry-after: {header}\r\ncontent-length: 0\r\n\r\n");
        let url = format!("http://127.0.0.1:{}/", answering(answer).await);
        let Attempt::Answered { status: 429, retry_after } = attempt(&url, loopback()).await else {
            panic!("{header}")
        };
        assert_eq!(retry_after.is_some(), expected.is_some(), "{header}");
        assert!(
            expected.is_none_or(|range| range.contains(&retry_after.unwrap().as_secs())),
            "{header} {retry_after:?}"
        );
    }
}
