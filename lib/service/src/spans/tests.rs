//! What a collector is told, by either way, and what is not.

use std::time::{Duration, UNIX_EPOCH};

use h2::server;
use hirewire_yaml::Problems;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::sync::mpsc::UnboundedSender;

use super::settings::Endpoint;
use super::*;

/// Of 127.0.0.1 and localhost; it signs itself.
const CERTIFICATE: &[u8] = include_bytes!("../../../broker/tests/tls/certificate.pem");
const KEY: &[u8] = include_bytes!("../../../broker/tests/tls/key.pem");

fn read(text: &str) -> Result<Settings, String> {
    let mut problems = Problems::new();
    let settings = Settings::read(&hirewire_yaml::parse("s.yaml", text).unwrap(), &mut problems);
    problems.into_result(settings).map_err(|problems| problems.to_string())
}

#[test]
fn an_address_without_a_path_is_that_of_a_collector_and_a_password_is_not_repeated() {
    let http = |url: &str| Endpoint::Http(url.to_owned());
    assert_eq!(read("{endpoint: 'http://c:4318'}").unwrap().endpoint, http("http://c:4318/v1/traces"));
    for (scheme, tls) in [("http", false), ("https", true)] {
        let grpc = read(&format!("{{endpoint: '{scheme}://c:4317', protocol: grpc}}")).unwrap().endpoint;
        assert_eq!(grpc, Endpoint::Grpc { host: "c".to_owned(), port: 4317, tls });
    }
    assert_eq!(read("{endpoint: 'http://c:4318/otel/v1/traces', one_in: 10}").unwrap().one_in, 10);
    assert!(!read("{endpoint: 'http://u:hunter2@c:4318'}").unwrap_err().contains("hunter2"));
    for wrong in [
        "{endpoint: 'c:4318'}",
        "{endpoint: 'http://c:0'}",
        "{endpoint: 'http://c', one_in: 0}",
        "{one_in: 1}",
        "{endpoint: 'https://c:4318', tls: {ca_file: no-such-file.pem}}",
        "{endpoint: 'https://c:4318', tls: {}}",
        "{endpoint: 'http://c:4317/v1/traces', protocol: grpc}",
        "{endpoint: 'http://c:4317', protocol: tcp}",
    ] {
        assert!(read(wrong).is_err(), "{wrong}");
    }
}

fn span(own: TraceParent, parent: Option<TraceParent>) -> Span {
    let began = UNIX_EPOCH + Duration::from_nanos(1_700_000_000_000_000_001);
    Span {
        service: "ingest",
        name: "webhook",
        kind: Kind::Server,
        own,
        parent,
        began,
        ended: began + Duration::from_millis(2),
        attributes: vec![
            ("hirewire.connection", Value::Text("acme".to_owned())),
            ("messaging.kafka.offset", Value::Number(300)),
        ],
        links: parent.into_iter().collect(),
        failed: Some("not_kept"),
    }
}

#[test]
fn a_span_is_encoded_as_the_specification_writes_it() {
    let parent = TraceParent::parse("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01").unwrap();
    let own = TraceParent::parse("00-4bf92f3577b34da6a3ce929d0e0e4736-0102030405060708-01").unwrap();
    let body = protobuf::encode(&[span(own, Some(parent))], "1.2.3");
    // By the numbers of trace.proto, resource.proto and common.proto.
    let trace = "0a104bf92f3577b34da6a3ce929d0e0e4736";
    let attributes = [
        "4a1d0a13686972657769 72652e636f6e6e656374696f6e12060a0461636d65".replace(' ', ""),
        "4a1d0a166d6573736167696e672e6b61666b612e6f6666736574120318ac02".to_owned(),
    ];
    let expected = [
        trace,
        "12080102030405060708",
        "220800f067aa0ba902b7",
        "2a07776562686f6f6b",
        "3002",
        &format!("39{}", hex(&1_700_000_000_000_000_001_u64.to_le_bytes())),
        &format!("41{}", hex(&1_700_000_000_002_000_001_u64.to_le_bytes())),
        &attributes.concat(),
        &format!("6a21{trace}120800f067aa0ba902b73501000000"),
        "7a0c12086e6f745f6b6570741802",
        "850101000000",
    ];
    let told = hex(&body);
    assert!(told.ends_with(&expected.concat()), "{told}\n{}", expected.concat());
    let of_service = hex(b"hirewire-ingest");
    assert!(told.contains(&of_service), "{told}");
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn outlet(one_in: u64) -> Outlet {
    Outlet::new(one_in, IntCounter::new("d", "d").unwrap())
}

#[tokio::test]
async fn what_does_not_fit_into_the_queue_is_counted_and_nobody_waits() {
    let outlet = outlet(1);
    let spans = |count: usize| std::iter::repeat_with(|| span(TraceParent::new_root(), None)).take(count);
    outlet.hand_over(spans(MUCH - 1));
    let told = tokio::time::timeout(Duration::from_millis(10), outlet.much_waits());
    assert!(told.await.is_err(), "for few it is not worth waking anybody");
    outlet.hand_over(spans(1));
    outlet.much_waits().await;
    outlet.hand_over(spans(QUEUE));
    assert_eq!(outlet.dropped.get(), MUCH as u64);
    assert!(!outlet.has_room(), "nobody makes a span in vain");
    assert_eq!(outlet.dropped.get(), MUCH as u64 + 1);
    let oldest = outlet.queue.lock().unwrap()[..2].to_vec();
    assert_eq!(outlet.take(2), oldest);
    assert!(outlet.has_room());
    assert_eq!(outlet.take(usize::MAX).len(), QUEUE - 2);
    assert!(outlet.take(1).is_empty());
}

#[test]
fn of_traces_the_same_are_chosen_everywhere_and_who_said_no_is_obeyed() {
    let outlet = outlet(4);
    let taken = (0..4_000).map(|_| TraceParent::new_root()).filter(|trace| outlet.takes(trace)).count();
    assert!((700..1_300).contains(&taken), "{taken} of 4000");
    let trace = std::iter::repeat_with(TraceParent::new_root).find(|trace| outlet.takes(trace)).unwrap();
    assert!(outlet.takes(&trace.child().child()), "the whole trace or nothing of it");
    let unsampled = TraceParent::parse(&trace.to_string().replace("-01", "-00")).unwrap();
    assert!(!outlet.takes(&unsampled));
    outlet.hand_over([span(unsampled, None)]);
    assert!(outlet.take(1).is_empty());
}

/// Takes calls of one connection and answers each with a gRPC status, in its trailers or, of what it refuses, in its headers alone.
async fn serve(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    status: &'static str,
    told: UnboundedSender<(String, Vec<u8>)>,
) {
    let mut connection = server::handshake(stream).await.unwrap();
    while let Some(call) = connection.accept().await {
        let (request, mut answer) = call.unwrap();
        let told = told.clone();
        tokio::spawn(async move {
            assert_eq!(request.uri().path(), "/opentelemetry.proto.collector.trace.v1.TraceService/Export");
            assert_eq!(request.headers()["content-type"], "application/grpc");
            let scheme = request.uri().scheme_str().unwrap().to_owned();
            let (mut body, mut message) = (request.into_body(), Vec::new());
            while let Some(data) = body.data().await {
                let data = data.unwrap();
                body.flow_control().release_capacity(data.len()).unwrap();
                message.extend_from_slice(&data);
            }
            told.send((scheme, message)).unwrap();
            let head = axum::http::Response::builder().header("content-type", "application/grpc");
            if status == "0" {
                let mut body = answer.send_response(head.body(()).unwrap(), false).unwrap();
                body.send_data(bytes::Bytes::from_static(&[0; 5]), false).unwrap();
                let trailers = [("grpc-status".parse().unwrap(), status.parse().unwrap())];
                body.send_trailers(trailers.into_iter().collect()).unwrap();
            } else {
                answer.send_response(head.header("grpc-status", status).body(()).unwrap(), true).unwrap();
            }
        });
    }
}

type Messages = tokio::sync::mpsc::UnboundedReceiver<(String, Vec<u8>)>;

/// A collector of gRPC, and the scheme and message of each call that it got.
async fn collector(at: &str, status: &'static str, tls: bool) -> (u16, Messages) {
    let listener = TcpListener::bind(at).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let (told, messages) = tokio::sync::mpsc::unbounded_channel();
    let identity = native_tls::Identity::from_pkcs8(CERTIFICATE, KEY).unwrap();
    let mut acceptor = native_tls::TlsAcceptor::builder(identity);
    acceptor.accept_alpn(&["h2"]);
    let acceptor = tokio_native_tls::TlsAcceptor::from(acceptor.build().unwrap());
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            if !tls {
                serve(stream, status, told.clone()).await;
            } else if let Ok(stream) = acceptor.accept(stream).await {
                let spoken = stream.get_ref().negotiated_alpn().unwrap();
                assert_eq!(spoken.as_deref(), Some(&b"h2"[..]), "collectors refuse who does not ask for HTTP/2");
                serve(stream, status, told.clone()).await;
            }
        }
    });
    (port, messages)
}

#[tokio::test]
async fn by_grpc_a_request_is_one_framed_message_and_its_status_counts() {
    let (port, mut messages) = collector("127.0.0.1:0", "0", false).await;
    let mut client = grpc::Collector::new("127.0.0.1", port, None);
    let parent = TraceParent::parse("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01").unwrap();
    // More than a window of HTTP/2 holds.
    let message = protobuf::encode(&vec![span(parent.child(), Some(parent)); 2_000], "1.2.3");
    assert!(message.len() > 256 * 1024, "{}", message.len());
    // Twice, over one connection.
    for _ in 0..2 {
        client.export(&message).await.unwrap();
        let (scheme, framed) = messages.recv().await.unwrap();
        let length = u32::try_from(message.len()).unwrap().to_be_bytes();
        assert_eq!((framed[0], &framed[1..5]), (0, &length[..]), "not compressed, and its length");
        assert_eq!((framed[5..] == message, scheme.as_str()), (true, "http"));
    }
    let (refuses, _messages) = collector("127.0.0.1:0", "8", false).await;
    let told = grpc::Collector::new("127.0.0.1", refuses, None).export(&message).await.unwrap_err();
    assert_eq!(told, "it answers gRPC status 8");
}

#[tokio::test]
async fn a_grpc_collector_with_tls_is_spoken_to_if_its_authority_is_known() {
    let (port, mut messages) = collector("127.0.0.1:0", "0", true).await;
    for host in ["127.0.0.1", "localhost"] {
        let tls = grpc::connector(Some(CERTIFICATE)).unwrap();
        grpc::Collector::new(host, port, Some(tls)).export(b"spans").await.unwrap();
        let (scheme, framed) = messages.recv().await.unwrap();
        assert_eq!((scheme.as_str(), &framed[5..]), ("https", &b"spans"[..]));
    }
    // The system does not know the authority; and nothing goes out in the clear.
    let unknown = grpc::connector(None).unwrap();
    let told = grpc::Collector::new("127.0.0.1", port, Some(unknown)).export(b"spans").await.unwrap_err();
    assert!(told.starts_with("no TLS with it: "), "{told}");
    assert!(messages.try_recv().is_err());
}

#[tokio::test]
async fn a_grpc_collector_that_is_away_is_found_again() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    let mut client = grpc::Collector::new("127.0.0.1", port, None);
    assert!(client.export(b"").await.is_err());
    let (_, _messages) = collector(&format!("127.0.0.1:{port}"), "0", false).await;
    assert_eq!(client.export(b"").await, Ok(()));
}
