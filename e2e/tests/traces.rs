//! One trace from a webhook to the sinks, as a collector gets it; and nothing of a person in it.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use hirewire_e2e::deployment::{Deployment, Moved, stop};
use hirewire_e2e::http::Receiver;
use hirewire_e2e::{Running, free, hirewire, http, otlp};
use serde_json::Value;

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const OTHER_TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const VENDORS_SPAN: &str = "00f067aa0ba902b7";
/// What a span may tell. Ids, names of the deployment, words of closed lists.
const ATTRIBUTES: [&str; 12] = [
    "hirewire.connection",
    "hirewire.event",
    "hirewire.origin",
    "hirewire.route",
    "hirewire.sink",
    "hirewire.stream",
    "hirewire.vendor",
    "messaging.batch.message_count",
    "messaging.destination.name",
    "messaging.destination.partition.id",
    "messaging.kafka.offset",
    "messaging.system",
];

/// All spans so far with the service each is of.
fn spans(collector: &Receiver) -> Vec<(String, Value)> {
    let mut spans = Vec::new();
    for request in collector.requests().iter() {
        assert!(request.first.starts_with("POST /v1/traces "), "{}", request.first);
        assert_eq!(request.headers["content-type"], "application/x-protobuf");
        spans.extend(otlp::spans(&request.body));
    }
    spans
}

/// Spans of a service in the vendor's trace.
fn of(spans: &[(String, Value)], service: &str) -> Vec<Value> {
    let of = spans.iter().filter(|(of, span)| of == service && span["traceId"] == TRACE);
    of.map(|(_, span)| span.clone()).collect()
}

/// Attributes, numbers as text.
fn texts(of: &Value) -> BTreeMap<String, String> {
    let text = |value: &Value| value.as_object().unwrap().values().next().unwrap().as_str().unwrap().to_owned();
    let list = of["attributes"].as_array().unwrap().iter();
    list.map(|one| (one["key"].as_str().unwrap().to_owned(), text(&one["value"]))).collect()
}

/// Starts everything with the sample connection; says where webhooks go and the sample's signature.
fn up(folder: &Path, traces: &str) -> (Running, SocketAddr, String) {
    let (broker, registry, webhooks, admin) = (free(), free(), free(), free());
    let text = format!(
        "embedded: {{broker: \"{broker}\", registry: \"{registry}\"}}\nkafka: {{bootstrap_servers: \"{broker}\", partitions: 4}}\n\
         registry: {{url: \"http://{registry}\"}}\ndata_dir: .\nadmin: {{listen: \"{admin}\"}}\ningest: {{listen: \"{webhooks}\"}}\n{traces}\n\
         connections: {{sample-greenhouse: {{tenant: sample, vendor: greenhouse, webhook: {{secrets: [{{file: secrets/sample-webhook}}]}}}}}}\n\
         sinks: {{analytics: {{sqlite: {{path: analytics.sqlite}}}}}}\nroutes: {{analytics: {{sink: analytics, from: beginning}}}}\n"
    );
    std::fs::write(folder.join("hirewire.yaml"), text).unwrap();
    let mut command = hirewire(&["up", "--data"]).unwrap();
    let log = folder.join("log");
    let command = command.arg(folder).stdout(Stdio::piped()).stderr(std::fs::File::create(&log).unwrap());
    let mut up = Running(command.spawn().unwrap());
    let lines = BufReader::new(up.0.stdout.take().unwrap()).lines().map(Result::unwrap);
    let signature =
        lines.into_iter().find_map(|line| Some(line.split_once("sha256 ")?.1.split('\'').next()?.to_owned()));
    let Some(signature) = signature else {
        panic!("it ended before it told the sample:\n{}", std::fs::read_to_string(log).unwrap())
    };
    (up, webhooks, signature)
}

fn send(webhooks: SocketAddr, signature: &str, body: &[u8]) {
    let headers = format!(
        "signature: sha256 {signature}\r\ngreenhouse-event-id: sample-1\r\n\
         traceparent: 00-{TRACE}-{VENDORS_SPAN}-01\r\n"
    );
    let answer = http::post(webhooks, "/v1/webhooks/sample-greenhouse", &headers, body).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
}

/// Every text in a JSON document that is no number, date or short word.
fn telling(value: &Value, found: &mut BTreeSet<String>) {
    match value {
        Value::String(text) if text.len() > 6 && text.contains([' ', '@']) => {
            found.insert(text.clone());
        }
        Value::Array(list) => list.iter().for_each(|one| telling(one, found)),
        Value::Object(map) => map.values().for_each(|one| telling(one, found)),
        _ => {}
    }
}

#[test]
fn a_collector_gets_one_trace_from_the_webhook_to_the_deliveries_and_nothing_of_a_person() {
    let collector = Receiver::start();
    let folder = tempfile::tempdir().unwrap();
    let traces = format!("traces: {{endpoint: \"http://{}\"}}", collector.address);
    let (up, webhooks, signature) = up(folder.path(), &traces);
    let body = std::fs::read(folder.path().join("sample-webhook.json")).unwrap();
    send(webhooks, &signature, &body);

    let until = Instant::now() + Duration::from_secs(60);
    let spans = loop {
        let found = spans(&collector);
        if of(&found, "hirewire-route").len() >= 2 {
            break found;
        }
        assert!(Instant::now() < until, "no deliveries among {found:#?}");
        std::thread::sleep(Duration::from_millis(100));
    };
    let (webhook, normalize, deliveries) =
        (of(&spans, "hirewire-ingest"), of(&spans, "hirewire-normalize"), of(&spans, "hirewire-route"));
    assert_eq!((webhook.len(), normalize.len()), (1, 1), "{spans:#?}");
    assert_eq!((&webhook[0]["name"], &webhook[0]["kind"]), (&"webhook".into(), &2.into()));
    assert_eq!(webhook[0]["parentSpanId"], VENDORS_SPAN, "the vendor's own span is the first");
    assert_eq!((&normalize[0]["name"], &normalize[0]["kind"]), (&"normalize".into(), &5.into()));
    assert_eq!(normalize[0]["parentSpanId"], webhook[0]["spanId"]);
    for delivery in &deliveries {
        assert_eq!((&delivery["name"], &delivery["kind"]), (&"deliver".into(), &3.into()));
        assert_eq!(delivery["parentSpanId"], normalize[0]["spanId"]);
        assert_eq!(texts(delivery)["hirewire.sink"], "analytics");
    }
    let ids: BTreeSet<&str> = spans.iter().map(|(_, span)| span["spanId"].as_str().unwrap()).collect();
    assert_eq!(ids.len(), spans.len(), "each step has an id of its own");

    // Known only by name, or shorter than what anybody would write down.
    for (_, span) in &spans {
        for key in texts(span).keys() {
            assert!(ATTRIBUTES.contains(&key.as_str()), "{key}: may a span tell that?");
        }
        let nanos = |key: &str| span[key].as_str().unwrap().parse::<u128>().unwrap();
        assert!(nanos("endTimeUnixNano") >= nanos("startTimeUnixNano"), "{span}");
    }
    let mut people = BTreeSet::new();
    telling(&serde_json::from_slice(&body).unwrap(), &mut people);
    assert!(people.iter().any(|text| text.contains('@')), "the sample holds an address: {people:?}");
    for text in people {
        let told = collector.requests().iter().any(|request| String::from_utf8_lossy(&request.body).contains(&text));
        assert!(!told, "{text} of the body stands in a trace");
    }

    // The last spans are sent before the process ends.
    stop(up);
}

#[test]
fn one_trace_holds_webhook_normalize_and_the_deliveries_to_four_sinks() {
    let (collector, exams, tests) = (Receiver::start(), Receiver::start(), Receiver::start());
    let http = |receiver: &Receiver| {
        let url = format!("http://{}/orders", receiver.address);
        format!("{{system: assessment, http: {{url: \"{url}\", allow: {{networks: [\"127.0.0.0/8\"]}}}}}}")
    };
    let deployment = Deployment::lay(&format!(
        "traces: {{endpoint: \"http://{}\"}}\n\
         sinks:\n  exams: {}\n  tests: {}\n  warehouse: {{system: analytics, sqlite: {{path: warehouse.sqlite}}}}\n  \
         archive: {{system: analytics, sqlite: {{path: archive.sqlite}}}}\n\
         routes:\n  exams: {{sink: exams, from: beginning}}\n  tests: {{sink: tests, from: beginning}}\n  \
         warehouse: {{sink: warehouse}}\n  archive: {{sink: archive}}\n",
        collector.address,
        http(&exams),
        http(&tests)
    ));
    let up = deployment.up();
    let traceparent = format!("00-{TRACE}-{VENDORS_SPAN}-01");
    let at = "2026-02-09T16:00:00Z";
    deployment.send(&Moved { application: 1, stage_id: 7, stage: "Assessment", at, traceparent: Some(&traceparent) });

    let sinks = |spans: &[(String, Value)]| -> BTreeSet<String> {
        of(spans, "hirewire-route").iter().map(|span| texts(span)["hirewire.sink"].clone()).collect()
    };
    let wanted: BTreeSet<String> = ["archive", "exams", "tests", "warehouse"].map(str::to_owned).into();
    deployment.until("a delivery to each sink in the collector", || sinks(&spans(&collector)) == wanted);
    let spans = spans(&collector);
    let (webhook, normalize) = (of(&spans, "hirewire-ingest"), of(&spans, "hirewire-normalize"));
    assert_eq!((webhook.len(), normalize.len()), (1, 1), "{spans:#?}");
    assert_eq!(webhook[0]["parentSpanId"], VENDORS_SPAN);
    assert_eq!(normalize[0]["parentSpanId"], webhook[0]["spanId"]);
    let deliveries = of(&spans, "hirewire-route");
    assert!(deliveries.iter().all(|delivery| delivery["parentSpanId"] == normalize[0]["spanId"]), "{deliveries:#?}");
    // And it goes on at the receiver.
    for (sink, receiver) in [("exams", &exams), ("tests", &tests)] {
        let delivery = deliveries.iter().find(|delivery| texts(delivery)["hirewire.sink"] == sink).unwrap();
        let requests = receiver.requests();
        let expected = format!("00-{TRACE}-{}-01", delivery["spanId"].as_str().unwrap());
        assert_eq!(requests.iter().map(|request| &request.headers["traceparent"]).collect::<Vec<_>>(), [&expected]);
    }
    stop(up);
}

#[test]
fn a_request_that_goes_for_many_has_a_span_with_links_to_them() {
    let (collector, exams) = (Receiver::start(), Receiver::start());
    let deployment = Deployment::lay(&format!(
        "traces: {{endpoint: \"http://{}\"}}\n\
         sinks: {{exams: {{system: assessment, http: {{url: \"http://{}/\", allow: {{networks: [\"127.0.0.0/8\"]}}, \
         batch: {{requests: 2, linger: 2s}}}}}}}}\nroutes: {{exams: {{sink: exams, from: beginning}}}}\n",
        collector.address, exams.address
    ));
    let up = deployment.up();
    for application in [1, 2] {
        let at = "2026-02-09T16:00:00Z";
        deployment.send(&Moved { application, stage_id: 7, stage: "Assessment", at, traceparent: None });
    }
    let named = |name: &str| -> Vec<Value> {
        let of_route = spans(&collector).into_iter().filter(|(service, _)| service == "hirewire-route");
        of_route.map(|(_, span)| span).filter(|span| span["name"] == name).collect()
    };
    deployment.until("a batch in the collector", || !named("send").is_empty() && named("deliver").len() == 2);
    let (batch, deliveries) = (named("send"), named("deliver"));
    let requests = exams.requests();
    assert_eq!((batch.len(), requests.len()), (1, 1), "{batch:#?}");
    let ids = |spans: &[Value]| -> BTreeSet<String> { spans.iter().map(|span| span["spanId"].to_string()).collect() };
    assert_eq!(ids(batch[0]["links"].as_array().unwrap()), ids(&deliveries));
    let own = format!("00-{}-{}-01", batch[0]["traceId"].as_str().unwrap(), batch[0]["spanId"].as_str().unwrap());
    assert_eq!(requests[0].headers["traceparent"], own);
    drop(requests);
    stop(up);
}

#[test]
fn a_transaction_for_many_records_has_a_span_with_links_to_them() {
    let collector = Receiver::start();
    // It waits for the second record, and takes no third one.
    let deployment = Deployment::lay(&format!(
        "traces: {{endpoint: \"http://{}\"}}\nnormalize: {{commit_interval: 8s, commit_max_records: 2}}\n",
        collector.address
    ));
    let up = deployment.up();
    for (stage_id, at, trace) in [(7, "2026-02-09T16:00:00Z", TRACE), (8, "2026-02-10T16:00:00Z", OTHER_TRACE)] {
        let traceparent = format!("00-{trace}-{VENDORS_SPAN}-01");
        deployment.send(&Moved { application: 1, stage_id, stage: "Onsite", at, traceparent: Some(&traceparent) });
    }
    let named = |name: &str| -> Vec<Value> {
        let of_normalize = spans(&collector).into_iter().filter(|(service, _)| service == "hirewire-normalize");
        of_normalize.map(|(_, span)| span).filter(|span| span["name"] == name).collect()
    };
    deployment.until("a transaction in the collector", || !named("transaction").is_empty());
    let (transaction, mut records) = (named("transaction"), named("normalize"));
    records.sort_by_key(|record| texts(record)["messaging.kafka.offset"].parse::<i64>().unwrap());
    assert_eq!((transaction.len(), records.len()), (1, 2), "{transaction:#?} {records:#?}");
    assert_eq!((&records[0]["traceId"], &records[1]["traceId"]), (&TRACE.into(), &OTHER_TRACE.into()));

    // It is a step of the first one's trace, and leads to the others.
    let transaction = &transaction[0];
    let ids = |span: &Value| (span["traceId"].to_string(), span["spanId"].to_string());
    let linked: Vec<_> = transaction["links"].as_array().unwrap().iter().map(ids).collect();
    assert_eq!(linked, records.iter().map(ids).collect::<Vec<_>>());
    assert_eq!((&transaction["traceId"], &transaction["parentSpanId"]), (&TRACE.into(), &records[0]["spanId"]));
    assert_ne!(transaction["spanId"], records[0]["spanId"]);
    assert_eq!(transaction["kind"], 1);
    let partition = "messaging.destination.partition.id".to_owned();
    let of_both = texts(&records[0])[&partition].clone();
    let told = [("messaging.batch.message_count".to_owned(), "2".to_owned()), (partition, of_both)];
    assert_eq!(texts(transaction), BTreeMap::from(told));
    assert_eq!(transaction["startTimeUnixNano"], records[0]["startTimeUnixNano"]);
    assert_eq!(transaction["endTimeUnixNano"], records[1]["endTimeUnixNano"]);
    stop(up);
}

#[test]
fn a_collector_that_is_away_holds_up_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let (up, webhooks, signature) = up(folder.path(), &format!("traces: {{endpoint: \"http://{}\"}}", free()));
    let body = std::fs::read(folder.path().join("sample-webhook.json")).unwrap();
    send(webhooks, &signature, &body);
    let until = Instant::now() + Duration::from_secs(60);
    let delivered = || {
        let database = rusqlite::Connection::open(folder.path().join("analytics.sqlite")).unwrap();
        database.query_row("SELECT count(*) FROM stage_change", [], |row| row.get::<_, i64>(0)).unwrap_or(0)
    };
    while delivered() == 0 {
        assert!(Instant::now() < until, "nothing was delivered");
        std::thread::sleep(Duration::from_millis(100));
    }
    stop(up);
}
