//! Mail as a server sees it: one that answers as the test says, in plain text and with STARTTLS.

use std::sync::{Arc, Mutex};

use hirewire_service::TraceParent;
use serde_json::json;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::TcpListener;

use crate::deliver::outcome::{Attempt, Fault};
use crate::deliver::{Content, Delivery, OnRefusal, Transport};
use crate::mail::{MailSettings, MailTransport};
use crate::request::Request;
use crate::request::told::Body;

/// What the server says to some commands; to all others it says yes.
#[derive(Clone, Default)]
struct Script {
    auth: &'static str,
    rcpt: &'static str,
    data: &'static str,
    starttls: Option<tokio_native_tls::TlsAcceptor>,
}

/// Each line that came, of all connections.
type Heard = Arc<Mutex<Vec<String>>>;

async fn server(script: Script) -> (u16, Heard) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let heard = Heard::default();
    let hearing = Arc::clone(&heard);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (script, heard) = (script.clone(), Arc::clone(&hearing));
            tokio::spawn(async move {
                let mut stream = BufReader::new(stream);
                stream.write_all(b"220 test\r\n").await.unwrap();
                if converse(&mut stream, &script, &heard).await
                    && let Some(acceptor) = &script.starttls
                    && let Ok(stream) = acceptor.accept(stream.into_inner()).await
                {
                    let within = Script { starttls: None, ..script.clone() };
                    converse(&mut BufReader::new(stream), &within, &heard).await;
                }
            });
        }
    });
    (port, heard)
}

/// True when the client wants TLS.
async fn converse<S: AsyncRead + AsyncWrite + Unpin>(
    stream: &mut BufReader<S>,
    script: &Script,
    heard: &Heard,
) -> bool {
    let or = |said: &'static str, yes: &'static str| if said.is_empty() { yes } else { said };
    let mut in_data = false;
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line).await.unwrap_or(0) == 0 {
            return false;
        }
        let line = line.trim_end().to_owned();
        heard.lock().unwrap().push(line.clone());
        let word = line.split(' ').next().unwrap_or_default();
        let answer = match word {
            "." if in_data => {
                in_data = false;
                or(script.data, "250 kept")
            }
            _ if in_data => continue,
            "EHLO" if script.starttls.is_some() => "250-test\r\n250 STARTTLS",
            "EHLO" => "250-test\r\n250 AUTH PLAIN",
            "STARTTLS" => "220 go",
            "AUTH" => or(script.auth, "235 in"),
            "RCPT" => or(script.rcpt, "250 fine"),
            "DATA" => {
                in_data = true;
                "354 go on"
            }
            "QUIT" => "221 bye",
            _ => "250 fine",
        };
        if stream.write_all(format!("{answer}\r\n").as_bytes()).await.is_err() || word == "QUIT" {
            return false;
        }
        if word == "STARTTLS" {
            return true;
        }
    }
}

fn transport(port: u16, host: &str, rest: &str) -> MailTransport {
    let text = format!(
        "{{host: {host}, port: {port}, from: 'Hirewire <hw@example.com>', to: [ann@example.com, 'Bob <bob@example.com>'], {rest}}}"
    );
    let mut problems = hirewire_yaml::Problems::new();
    let settings = MailSettings::read(&hirewire_yaml::parse("m.yaml", &text).unwrap(), &mut problems);
    MailTransport::new(problems.into_result(settings).unwrap_or_else(|problems| panic!("{problems}")))
}

const PLAIN: &str = "tls: none, allow: {networks: ['127.0.0.0/8']}";

fn delivery(subject: &str) -> Delivery {
    let body = json!({"subject": subject, "text": "Ada was hired: Engineer\nWhen: today\n.\nGrüße"}).to_string();
    let request = Request {
        method: reqwest::Method::POST,
        path: String::new(),
        query: None,
        headers: reqwest::header::HeaderMap::new(),
        body: Body::plain(body),
        rules: Arc::default(),
        created: None,
        batch: None,
        step: None,
        kept_as: None,
    };
    Delivery {
        idempotency_key: uuid::Uuid::nil(),
        key: None,
        trace: TraceParent::new_root(),
        content: Content::Request(Box::new(request)),
        on_refusal: OnRefusal::Skip,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mail_has_its_people_its_words_and_an_id_that_stays() {
    let (port, heard) = server(Script::default()).await;
    let transport = transport(port, "127.0.0.1", PLAIN);
    for _ in 0..2 {
        // A line of a name cannot become a header.
        let attempt = transport.attempt(&delivery("Hired: Ada\r\nBcc: eve@example.com")).await;
        assert_eq!(attempt, Attempt::Mail(250));
    }
    let heard = heard.lock().unwrap().clone();
    let count = |line: &str| heard.iter().filter(|heard| **heard == line).count();
    assert_eq!(count("MAIL FROM:<hw@example.com>"), 2, "{heard:#?}");
    assert_eq!((count("RCPT TO:<ann@example.com>"), count("RCPT TO:<bob@example.com>")), (2, 2));
    assert_eq!(count("Message-ID: <00000000-0000-0000-0000-000000000000@example.com>"), 2);
    assert_eq!(count("Auto-Submitted: auto-generated"), 2);
    assert_eq!(heard.iter().filter(|line| line.starts_with("Bcc:") || line.contains("RCPT TO:<eve")).count(), 0);
    assert!(
        heard.iter().any(|line| line.starts_with("Subject:")) && heard.iter().any(|line| line.starts_with("Date: "))
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_s_reply_decides() {
    let refused = |script: Script, rest: &'static str| async move {
        let (port, _) = server(script).await;
        transport(port, "127.0.0.1", rest).attempt(&delivery("s")).await
    };
    let full = Script { data: "452 no space", ..Script::default() };
    assert_eq!(refused(full, PLAIN).await, Attempt::Mail(452));
    let nobody = Script { rcpt: "550 nobody here", ..Script::default() };
    assert_eq!(refused(nobody, PLAIN).await, Attempt::Mail(550));
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("password");
    std::fs::write(&path, "secret").unwrap();
    let login = format!("login: {{user: u, password: {{file: {}}}}}, {PLAIN}", path.display());
    let (port, heard) = server(Script { auth: "535 wrong", ..Script::default() }).await;
    let sink = transport(port, "127.0.0.1", &login);
    assert_eq!(sink.attempt(&delivery("s")).await, Attempt::Mail(535));
    assert_eq!(sink.probe().await, Attempt::Mail(535));
    assert!(heard.lock().unwrap().iter().all(|line| !line.starts_with("DATA")));
    let (port, _) = server(Script::default()).await;
    assert_eq!(transport(port, "127.0.0.1", &login).probe().await, Attempt::Mail(250));
    let no_words = Delivery { content: delivery("").content, ..delivery("s") };
    assert_eq!(transport(port, "127.0.0.1", PLAIN).attempt(&no_words).await, Attempt::Unstorable);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_said_without_tls_or_to_an_address_that_is_not_allowed() {
    let allowed = "allow: {networks: ['127.0.0.0/8']}";
    let (port, heard) = server(Script::default()).await;
    // It offers no STARTTLS.
    assert_eq!(transport(port, "127.0.0.1", allowed).attempt(&delivery("s")).await, Attempt::StoreRefused);
    assert!(heard.lock().unwrap().iter().all(|line| line.starts_with("EHLO") || line == "QUIT"), "{heard:?}");
    let before = heard.lock().unwrap().len();
    assert_eq!(transport(port, "127.0.0.1", "timeout: 5s").attempt(&delivery("s")).await, Attempt::AddressRefused);
    assert_eq!(heard.lock().unwrap().len(), before);

    // A certificate that is its own authority: trusted when it is named, of this name only.
    let certificate = crate::http::tests::tls::certificate("localhost", -1, 1);
    let folder = tempfile::tempdir().unwrap();
    let ca = folder.path().join("ca.pem");
    std::fs::write(&ca, &certificate.pem).unwrap();
    let identity = native_tls::Identity::from_pkcs8(&certificate.pem, &certificate.key).unwrap();
    let acceptor = tokio_native_tls::TlsAcceptor::from(native_tls::TlsAcceptor::new(identity).unwrap());
    let (port, heard) = server(Script { starttls: Some(acceptor), ..Script::default() }).await;
    let trusting = format!("ca: {}, {allowed}", ca.display());
    for (host, rest) in [("127.0.0.1", trusting.as_str()), ("localhost", allowed)] {
        let attempt = transport(port, host, rest).attempt(&delivery("s")).await;
        assert_eq!(attempt, Attempt::Unreachable(Fault::Tls), "another's name, or an authority that nobody knows");
    }
    assert!(heard.lock().unwrap().iter().all(|line| line.starts_with("EHLO") || line == "STARTTLS"), "{heard:?}");
    assert_eq!(transport(port, "localhost", &trusting).attempt(&delivery("s")).await, Attempt::Mail(250));
}
