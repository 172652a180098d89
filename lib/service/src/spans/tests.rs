//! What a collector is told, by either way, and what is not.

use h2::server;
use tokio::net::TcpListener;

use super::*;

fn read(text: &str) -> Result<Settings, String> {
    let mut problems = Problems::new();
    let settings = Settings::read(&hirewire_yaml::parse("s.yaml", text).unwrap(), &mut problems);
    problems.into_result(settings).map_err(|problems| problems.to_string())
}

#[test]
fn an_address_without_a_path_is_that_of_a_collector_and_a_password_is_not_repeated() {
    let http = |url: &str| Endpoint::Http(url.to_owned());
    assert_eq!(read("{endpoint: 'http://c:4318'}").unwrap().endpoint, http("http://c:4318/v1/traces"));
    let grpc = read("{endpoint: 'http://c:4317', protocol: grpc}").unwrap().endpoint;
    assert_eq!(grpc, Endpoint::Grpc("c:4317".to_owned()));
    assert_eq!(read("{endpoint: 'http://c:4318/otel/v1/traces', one_in: 10}").unwrap().one_in, 10);
    assert!(!read("{endpoint: 'http://u:hunter2@c:4318'}").unwrap_err().contains("hunter2"));
    for wrong in [
        "{endpoint: 'c:4318'}",
        "{endpoint: 'http://c:0'}",
        "{endpoint: 'http://c', one_in: 0}",
        "{one_in: 1}",
        "{endpoint: 'https://c:4317', protocol: grpc}",
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
        attributes: vec![("hirewire.connection", "acme".to_owned())],
        links: parent.into_iter().collect(),
        failed: Some("not_kept"),
    }
}

#[test]
fn a_span_is_encoded_as_the_specification_writes_it() {
    let parent = TraceParent::parse("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01").unwrap();
    let own = parent.child();
    let body = json::encode(&[span(own, Some(parent))], "1.2.3");
    let resource = &body["resourceSpans"][0];
    assert_eq!(resource["resource"]["attributes"][1]["value"]["stringValue"], "hirewire-ingest");
    let span = &resource["scopeSpans"][0]["spans"][0];
    assert_eq!(span["traceId"], "4bf92f3577b34da6a3ce929d0e0e4736");
    assert_eq!(span["parentSpanId"], "00f067aa0ba902b7");
    assert_eq!(span["spanId"], own.span_id());
    assert_eq!(span["links"][0]["spanId"], "00f067aa0ba902b7");
    assert_eq!(span["kind"], 2);
    // 64-bit numbers are texts in protobuf's JSON.
    assert_eq!(span["startTimeUnixNano"], "1700000000000000001");
    assert_eq!(span["endTimeUnixNano"], "1700000000002000001");
    assert_eq!(span["status"], serde_json::json!({"code": 2, "message": "not_kept"}));
}

#[test]
fn what_does_not_fit_into_the_queue_is_counted_and_nobody_waits() {
    let (queue, mut waiting) = channel(2);
    let outlet = Outlet { queue, one_in: 1, dropped: IntCounter::new("d", "d").unwrap() };
    for _ in 0..5 {
        outlet.hand_over(span(TraceParent::new_root(), None));
    }
    assert_eq!(outlet.dropped.get(), 3);
    assert!(waiting.try_recv().is_ok());
}

#[test]
fn of_traces_the_same_are_chosen_everywhere_and_who_said_no_is_obeyed() {
    let (queue, mut waiting) = channel(4);
    let outlet = Outlet { queue, one_in: 4, dropped: IntCounter::new("d", "d").unwrap() };
    let taken = (0..4_000).map(|_| TraceParent::new_root()).filter(|trace| outlet.takes(trace)).count();
    assert!((700..1_300).contains(&taken), "{taken} of 4000");
    let trace = std::iter::repeat_with(TraceParent::new_root).find(|trace| outlet.takes(trace)).unwrap();
    assert!(outlet.takes(&trace.child().child()), "the whole trace or nothing of it");
    let unsampled = TraceParent::parse(&trace.to_string().replace("-01", "-00")).unwrap();
    assert!(!outlet.takes(&unsampled));
    assert!(waiting.try_recv().is_err());
}

/// Takes calls and answers each with a gRPC status, in its trailers or, of what it refuses, in its headers alone. Gives the messages.
async fn collector(at: &str, status: &'static str) -> (String, tokio::sync::mpsc::UnboundedReceiver<Vec<u8>>) {
    let listener = TcpListener::bind(at).await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let (told, messages) = tokio::sync::mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let mut connection = server::handshake(stream).await.unwrap();
            while let Some(call) = connection.accept().await {
                let (request, mut answer) = call.unwrap();
                let told = told.clone();
                tokio::spawn(async move {
                    assert_eq!(request.uri().path(), "/opentelemetry.proto.collector.trace.v1.TraceService/Export");
                    assert_eq!(request.headers()["content-type"], "application/grpc");
                    let (mut body, mut message) = (request.into_body(), Vec::new());
                    while let Some(data) = body.data().await {
                        message.extend_from_slice(&data.unwrap());
                    }
                    told.send(message).unwrap();
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
    });
    (address, messages)
}

#[tokio::test]
async fn by_grpc_a_request_is_one_framed_message_and_its_status_counts() {
    let (address, mut messages) = collector("127.0.0.1:0", "0").await;
    let mut client = grpc::Collector::new(&address);
    let parent = TraceParent::parse("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01").unwrap();
    let message = protobuf::encode(&[span(parent.child(), Some(parent))], "1.2.3");
    // Twice, over one connection.
    for _ in 0..2 {
        client.export(&message).await.unwrap();
        let framed = messages.recv().await.unwrap();
        let length = u32::try_from(message.len()).unwrap().to_be_bytes();
        assert_eq!((framed[0], &framed[1..5]), (0, &length[..]), "not compressed, and its length");
        assert_eq!(framed[5..], message);
    }
    let (refuses, _messages) = collector("127.0.0.1:0", "8").await;
    let told = grpc::Collector::new(&refuses).export(&message).await.unwrap_err();
    assert_eq!(told, "it answers gRPC status 8");
}

#[tokio::test]
async fn a_grpc_collector_that_is_away_is_found_again() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    drop(listener);
    let mut client = grpc::Collector::new(&address);
    assert!(client.export(b"").await.is_err());
    let (_, _messages) = collector(&address, "0").await;
    assert_eq!(client.export(b"").await, Ok(()));
}
