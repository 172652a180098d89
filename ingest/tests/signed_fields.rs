//! A vendor whose proof and whose delivery's name stand in the body: Lever.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use axum::body::Body;
use axum::http::{Request, StatusCode};
use hirewire_ingest::manifest::Manifest;
use hirewire_ingest::{Connection, Role};
use hirewire_schemas::records::Fetch;
use hirewire_yaml::Problems;
use support::{Inbox, KeptRecord, Receiver, SECRET, receiver_of, receiver_without_registry, sign};

const MANIFEST: &str = include_str!("../../vendors/lever/manifest.yaml");

fn connection(secret: &std::path::Path, manifest: &str) -> Connection {
    let manifest = Manifest::parse("manifest.yaml", manifest).unwrap();
    let text = format!("secrets: [{{file: {}}}]", secret.display());
    let node = hirewire_yaml::parse("hirewire.yaml", &text).unwrap();
    let mut problems = Problems::new();
    let role = Some(Role::Webhook);
    let read = Connection::read("acme-lever", "acme", &manifest, Some(&node), None, role, &mut problems);
    problems.into_result(read).unwrap()
}

/// A body that was sent so long ago, signed as the vendor does.
fn body(id: &str, sent_ago_secs: i64, token: &str) -> String {
    let at = jiff::Timestamp::now().as_millisecond() - sent_ago_secs * 1000;
    let signature = sign(SECRET, &format!("{token}{at}"));
    let signature = signature.strip_prefix("sha256 ").unwrap();
    format!(
        "{{\"id\":\"{id}\",\"triggeredAt\":{at},\"event\":\"candidateStageChange\",\"data\":{{\"opportunityId\":\"o-1\"}},\
         \"signature\":\"{signature}\",\"token\":\"{token}\"}}"
    )
}

/// The event and, kept behind it, the request to read what it is about.
fn event_and_request(inbox: &Inbox) -> (KeptRecord, KeptRecord) {
    let kept: [KeptRecord; 2] = inbox.take().try_into().unwrap();
    kept.into()
}

fn receive_at(folder: &std::path::Path, inbox: &Inbox) -> Receiver {
    let secret = folder.join("secret");
    std::fs::write(&secret, SECRET).unwrap();
    receiver_of(inbox, connection(&secret, MANIFEST))
}

fn post(body: &str) -> Request<Body> {
    Request::post("/v1/webhooks/acme-lever").body(Body::from(body.to_owned())).unwrap()
}

#[tokio::test]
async fn an_event_that_only_names_something_asks_for_it_in_the_partition_of_its_connection() {
    let folder = tempfile::tempdir().unwrap();
    let inbox = Inbox::default();
    let receiver = receive_at(folder.path(), &inbox);
    assert_eq!(receiver.send(post(&body("event-1", 60, "t0k3n"))).await.status, StatusCode::OK);
    let (_, request) = event_and_request(&inbox);
    assert_eq!(&*request.topic, "hirewire.internal.fetch.v1");
    assert_eq!((request.key.as_deref().unwrap(), request.partition), (&b"acme-lever"[..], None));
    let value = request.value.as_deref().unwrap();
    assert_eq!(value.get(..5).unwrap(), [0, 0, 0, 0, 1], "framed for the registry");
    let schema = hirewire_schemas::schema("Fetch").unwrap();
    let fetch: Fetch = hirewire_schemas::records::decode(schema, value.get(5..).unwrap()).unwrap();
    assert_eq!((fetch.connection_id.as_str(), fetch.source_system.as_str()), ("acme-lever", "lever"));
    assert_eq!((fetch.resource.as_str(), fetch.remote_id.as_str()), ("opportunities", "o-1"));

    // What holds what it is about, and what does not say it, asks for nothing.
    for (event, data) in [("candidateDeleted", "o-1"), ("candidateStageChange", "")] {
        let named = body("event-2", 60, "t").replace("candidateStageChange", event).replace("o-1", data);
        assert_eq!(receiver.send(post(&named)).await.status, StatusCode::OK);
        assert_eq!(inbox.only().header("hirewire-event"), Some(event));
    }
}

#[tokio::test]
async fn an_event_is_not_taken_before_its_request_can_be_written() {
    let folder = tempfile::tempdir().unwrap();
    let inbox = Inbox::default();
    let secret = folder.path().join("secret");
    std::fs::write(&secret, SECRET).unwrap();
    let receiver = receiver_without_registry(&inbox, connection(&secret, MANIFEST));
    let answer = receiver.send(post(&body("event-1", 60, "t0k3n"))).await;
    assert_eq!((answer.status, answer.text.trim()), (StatusCode::SERVICE_UNAVAILABLE, "registry_not_ready"));
    assert!(inbox.take().is_empty());
}

#[tokio::test]
async fn what_is_signed_inside_of_the_body_is_kept_and_what_is_altered_or_old_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let inbox = Inbox::default();
    let receiver = receive_at(folder.path(), &inbox);

    let good = body("event-1", 60, "t0k3n");
    assert_eq!(receiver.send(post(&good)).await.status, StatusCode::OK);
    let (kept, _) = event_and_request(&inbox);
    assert_eq!(kept.value.as_deref().unwrap(), good.as_bytes());
    assert_eq!(&*kept.topic, "ats.raw.lever.v1");
    let key = hirewire_schemas::ids::canonical_id("acme", "acme-lever", "Application", "o-1").to_string();
    assert_eq!(kept.key.as_deref().unwrap(), key.as_bytes());
    assert_eq!(kept.header("ce_id"), Some("acme-lever/event-1"));
    assert_eq!(kept.header("hirewire-event"), Some("candidateStageChange"));

    // Without a name of its own the delivery's bytes are its name, each time the same.
    let nameless = good.replace("\"id\":\"event-1\",", "");
    let mut ids = Vec::new();
    for _ in 0..2 {
        assert_eq!(receiver.send(post(&nameless)).await.status, StatusCode::OK);
        ids.push(event_and_request(&inbox).0.header("ce_id").unwrap().to_owned());
    }
    assert!(ids[0] == ids[1] && ids[0].len() == "acme-lever/".len() + 64, "{ids:?}");

    let other = good.replace("\"token\":\"t0k3n\"", "\"token\":\"t0k3m\"");
    let unsigned = good.replace("\"signature\"", "\"sig\"");
    let cut = good.get(..good.len() - 20).unwrap().to_owned();
    for wrong in
        [other, unsigned, cut, body("event-2", 25 * 3600, "t"), body("event-3", -25 * 3600, "t"), String::new()]
    {
        assert_eq!(receiver.send(post(&wrong)).await.status, StatusCode::UNAUTHORIZED, "{wrong}");
    }
    assert!(inbox.take().is_empty());
}

#[tokio::test]
async fn of_a_vendor_that_names_no_delivery_the_bytes_do() {
    let folder = tempfile::tempdir().unwrap();
    let secret = folder.path().join("secret");
    std::fs::write(&secret, SECRET).unwrap();
    let manifest = MANIFEST.replace("delivery_id: {field: id}", "delivery_id: {bytes: {}}");
    let inbox = Inbox::default();
    let receiver = receiver_of(&inbox, connection(&secret, &manifest));
    let mut ids = Vec::new();
    for sent in [body("event-1", 60, "t"), body("event-1", 50, "t")] {
        for _ in 0..2 {
            assert_eq!(receiver.send(post(&sent)).await.status, StatusCode::OK);
            ids.push(event_and_request(&inbox).0.header("ce_id").unwrap().to_owned());
        }
    }
    assert!(ids[0] == ids[1] && ids[2] == ids[3] && ids[0] != ids[2], "{ids:?}");
}
