//! The guard, checked at the socket: whatever a sink's URL or its resolver says, nothing that was not allowed is
//! connected to.

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
use super::networks::{Network, is_public};
use super::{HttpSettings, HttpTransport};
use crate::deliver::outcome::{Attempt, Fault};
use crate::deliver::{Content, Delivery, OnRefusal, Transport};
use crate::request::Request;
use crate::request::told::{Body, Secrets};

/// Counts connections to a port, on every local address of both families.
struct Trap {
    port: u16,
    connections: Arc<AtomicUsize>,
}

impl Trap {
    async fn set() -> Self {
        let listener = TcpListener::bind("0.0.0.0:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let connections = Arc::new(AtomicUsize::new(0));
        let mut listeners = vec![listener];
        listeners.extend(TcpListener::bind(("::1", port)).await.ok());
        for listener in listeners {
            let counter = Arc::clone(&connections);
            tokio::spawn(async move {
                while listener.accept().await.is_ok() {
                    counter.fetch_add(1, Ordering::SeqCst);
                }
            });
        }
        Self { port, connections }
    }

    fn count(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

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
        signer: None,
        ca: None,
        identity: None,
        timeout: Duration::from_millis(500),
        answer_bytes: 64 * 1024,
        batch: None,
        secrets: Secrets::default(),
    }
}

/// As URLs spell them: decimal, octal, hexadecimal, short, IPv6 in all its forms.
const LITERALS: [&str; 66] = [
    "127.0.0.1",
    "127.1",
    "127.0.1",
    "2130706433",
    "0x7f000001",
    "017700000001",
    "0x7f.0.0.1",
    "0177.0.0.1",
    "127.0.0.1.",
    "0",
    "0.0.0.0",
    "0.0.0.1",
    "10.0.0.1",
    "10.255.255.255",
    "0xa000001",
    "012.0.0.1",
    "100.64.0.1",
    "100.100.100.200",
    "127.255.255.254",
    "168.63.129.16",
    "169.254.0.1",
    "169.254.169.254",
    "0xa9fea9fe",
    "2852039166",
    "172.16.0.1",
    "172.31.255.255",
    "192.0.0.1",
    "192.0.0.192",
    "192.0.2.1",
    "192.88.99.1",
    "192.168.0.1",
    "192.168.255.255",
    "198.18.0.1",
    "198.19.255.255",
    "198.51.100.1",
    "203.0.113.1",
    "224.0.0.1",
    "239.255.255.255",
    "240.0.0.1",
    "255.255.255.255",
    "[::1]",
    "[::]",
    "[::ffff:127.0.0.1]",
    "[::ffff:7f00:1]",
    "[::ffff:169.254.169.254]",
    "[::127.0.0.1]",
    "[64:ff9b::7f00:1]",
    "[64:ff9b::a9fe:a9fe]",
    "[64:ff9b:1::1]",
    "[2002:7f00:1::]",
    "[fe80::1]",
    "[fc00::1]",
    "[fd00:ec2::254]",
    "[ff02::1]",
    // Digits, dots and brackets that the URL's parser makes plain.
    "%31%32%37.0.0.1",
    "127%2e0.0.1",
    "\u{ff11}\u{ff12}\u{ff17}.0.0.1",
    "127\u{3002}0\u{3002}0\u{3002}1",
    "\u{2460}\u{2461}\u{2466}.0.0.1",
    "0x7F.1",
    "[0:0:0:0:0:ffff:127.0.0.1]",
    "[0000:0000:0000:0000:0000:0000:0000:0001]",
    "[::ffff:0:127.0.0.1]",
    "[2001:0:7f00:1::]",
    "[fec0::1]",
    "[64:ff9b::192.168.1.1]",
];

/// What is no URL at all, or one that the settings refuse.
const IMPOSSIBLE: [&str; 12] = [
    "https://127.0.0.1:0/",
    "https://hires.example.com:0/",
    "https://hires.example.com:65536/",
    "https://hires.example.com:-1/",
    "https://hires.example.com:22:443/",
    "https://256.256.256.256/",
    "https://0x100000000/",
    "https://127.0.0.0x1g/",
    "https://[fe80::1%25eth0]/",
    "https://[::1/",
    "https:///etc/passwd",
    "https://hires.example.com\\@127.0.0.1/?#",
];

/// What a name may resolve to.
const RESOLVED: [&str; 34] = [
    "127.0.0.1",
    "127.8.8.8",
    "0.0.0.0",
    "10.1.2.3",
    "100.64.1.1",
    "169.254.169.254",
    "172.20.0.1",
    "192.168.1.1",
    "192.0.0.8",
    "192.31.196.1",
    "192.52.193.1",
    "192.175.48.1",
    "198.18.5.5",
    "224.1.1.1",
    "250.1.1.1",
    "255.255.255.255",
    "168.63.129.16",
    "::1",
    "::",
    "::ffff:10.0.0.1",
    "::ffff:127.0.0.1",
    "::7f00:1",
    "64:ff9b::10.0.0.1",
    "64:ff9b:1::7f00:1",
    "2001::1",
    "2001:db8::1",
    "2001:20::1",
    "2002:a00:1::",
    "2620:4f:8000::1",
    "3fff::1",
    "5f00::1",
    "fe80::1",
    "fd12:3456::1",
    "ff05::2",
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_address_that_is_not_allowed_is_ever_connected_to() {
    let trap = Trap::set().await;
    let mut cases = 0;
    for scheme in ["http", "https"] {
        for literal in LITERALS {
            let url: reqwest::Url = format!("{scheme}://{literal}:{}/x", trap.port).parse().unwrap();
            // As if the operator had allowed the host: the address is refused all the same.
            let host = url.host_str().unwrap().to_owned();
            let outcome =
                attempt(url.as_str(), Guard::new(vec![host.trim_end_matches('.').to_owned()], Vec::new())).await;
            assert_eq!(outcome, Attempt::AddressRefused, "{url}");
            cases += 1;
        }
        for address in RESOLVED {
            let url = format!("{scheme}://hires.example.com:{}/x", trap.port);
            let guard =
                Guard::with_lookup(vec!["hires.example.com".to_owned()], Vec::new(), resolver(vec![vec![address]]));
            assert_eq!(attempt(&url, guard).await, Attempt::AddressRefused, "{address}");
            cases += 1;
        }
    }
    // The address is allowed, and something else of the URL is not.
    for url in [
        "https://user@HOST/",
        "https://user:pw@HOST/",
        "https://:pw@HOST/",
        "http://user@HOST/",
        "https://other.example.com/",
        "https://localhost:PORT/",
        "https://HOST.other.example.com/",
        "ftp://HOST/",
        "ws://HOST/",
        "gopher://HOST/",
        "file:///etc/passwd",
        "file://127.0.0.1/etc/passwd",
        "data:text/plain,x",
    ] {
        let url = url.replace("HOST", "127.0.0.1:PORT").replace("PORT", &trap.port.to_string());
        let url = url.replace(&format!(":{}.other", trap.port), ".other");
        let guard = Guard::new(vec!["127.0.0.1".to_owned()], vec![Network::parse("127.0.0.0/8").unwrap()]);
        assert_eq!(attempt(&url, guard).await, Attempt::AddressRefused, "{url}");
        cases += 1;
    }
    // An allowed network allows itself alone, whatever the address is wrapped in.
    for address in ["10.2.0.1", "::ffff:10.2.0.1", "64:ff9b::10.2.0.1", "127.0.0.1", "::1", "169.254.169.254"] {
        let url = format!("https://hires.example.com:{}/x", trap.port);
        let network = vec![Network::parse("10.1.0.0/16").unwrap()];
        let guard = Guard::with_lookup(vec!["hires.example.com".to_owned()], network, resolver(vec![vec![address]]));
        assert_eq!(attempt(&url, guard).await, Attempt::AddressRefused, "{address}");
        cases += 1;
    }
    for url in IMPOSSIBLE {
        let text =
            format!("{{url: '{url}', allow: {{hosts: [hires.example.com, 127.0.0.1], networks: ['127.0.0.0/8']}}}}");
        let mut problems = hirewire_yaml::Problems::new();
        let settings = crate::settings::read_http(&hirewire_yaml::parse("s", &text).unwrap(), &mut problems);
        assert!(settings.is_none() && !problems.is_empty(), "{url}");
        cases += 1;
    }
    assert!(cases >= 200, "{cases}");
    assert_eq!(trap.count(), 0, "connections that should not be");
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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rebinding_name_is_judged_at_the_resolution_that_connects() {
    let trap = Trap::set().await;
    // Public at first sight, local when it counts: there is only one resolution, and it is the checked one.
    let lookup = resolver(vec![vec!["93.184.216.34"], vec!["127.0.0.1"]]);
    let guard = Guard::with_lookup(vec!["hires.example.com".to_owned()], Vec::new(), Arc::clone(&lookup));
    assert_eq!(guard.resolve("hires.example.com", false).await.unwrap().len(), 1);
    let url = format!("https://hires.example.com:{}/x", trap.port);
    assert_eq!(attempt(&url, guard).await, Attempt::AddressRefused);
    // Of a mixed answer only what is public may be tried.
    let guard = Guard::with_lookup(
        vec!["m.example".to_owned()],
        Vec::new(),
        resolver(vec![vec!["127.0.0.1", "8.8.8.8", "::1"]]),
    );
    assert_eq!(guard.resolve("m.example", false).await.unwrap(), ["8.8.8.8".parse::<IpAddr>().unwrap()]);
    assert_eq!(trap.count(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_allowed_network_is_connected_to_and_plain_http_only_there() {
    let trap = Trap::set().await;
    let loopback = || vec![Network::parse("127.0.0.0/8").unwrap()];
    let url = format!("http://local.example:{}/x", trap.port);
    let guard = Guard::with_lookup(vec!["local.example".to_owned()], loopback(), resolver(vec![vec!["127.0.0.1"]]));
    // The trap hangs up at once: it is the connection that counts.
    assert_eq!(attempt(&url, guard).await, Attempt::Unreachable(Fault::Protocol));
    assert!(trap.count() >= 1);
    let guard = Guard::with_lookup(vec!["local.example".to_owned()], loopback(), resolver(vec![vec!["8.8.8.8"]]));
    assert_eq!(attempt(&url, guard).await, Attempt::AddressRefused, "plain http to a public address");
}

#[test]
fn the_edges_of_the_special_networks_are_right() {
    let public = [
        "9.255.255.255",
        "11.0.0.0",
        "100.63.255.255",
        "100.128.0.0",
        "126.255.255.255",
        "128.0.0.0",
        "169.253.255.255",
        "169.255.0.0",
        "172.15.255.255",
        "172.32.0.0",
        "192.167.255.255",
        "192.169.0.0",
        "198.17.255.255",
        "198.20.0.0",
        "223.255.255.255",
        "2001:200::1",
        "2003::1",
        "2a00::1",
        "3ffe::1",
    ];
    let special = [
        "10.0.0.0",
        "10.255.255.255",
        "100.64.0.0",
        "100.127.255.255",
        "169.254.255.255",
        "172.16.0.0",
        "172.31.255.255",
        "192.168.255.255",
        "198.19.255.255",
        "224.0.0.0",
        "2001:1ff::1",
        "2001:db8:ffff::1",
        "2002::1",
        "3fff:fff::1",
        "4000::1",
        "1fff::1",
    ];
    for text in public {
        assert!(is_public(text.parse().unwrap()), "{text}");
    }
    for text in special {
        assert!(!is_public(text.parse().unwrap()), "{text}");
    }
}
