//! A vendor whose events name what happened by headers, and whose deliveries are signed over headers and body: SmartRecruiters.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use axum::body::Body;
use axum::http::request::Builder;
use axum::http::{Request, StatusCode};
use hirewire_ingest::manifest::Manifest;
use hirewire_ingest::{Connection, Role};
use hirewire_schemas::records::{Fetch, decode};
use hirewire_yaml::Problems;
use http_body_util::BodyExt;
use support::{Inbox, KeptRecord, Receiver, SECRET, receiver_of, sign};
use tower::ServiceExt;

const MANIFEST: &str = include_str!("../../vendors/smartrecruiters/manifest.yaml");
const BODY: &str = r#"{"job_id":"j-1","candidate_id":"c-1"}"#;
const LINK: &str = "<https://api.smartrecruiters.com/candidates/c-1/jobs/j-1>; rel=self";

fn receive_at(folder: &std::path::Path, inbox: &Inbox) -> Receiver {
    let secret = folder.join("secret");
    std::fs::write(&secret, SECRET).unwrap();
    let manifest = Manifest::parse("manifest.yaml", MANIFEST).unwrap();
    let node = hirewire_yaml::parse("h.yaml", &format!("secrets: [{{file: {}}}]", secret.display())).unwrap();
    let mut problems = Problems::new();
    let role = Some(Role::Webhook);
    let read = Connection::read("acme-sr", "acme", &manifest, Some(&node), None, role, &mut problems);
    receiver_of(inbox, problems.into_result(read).unwrap())
}

fn to_us() -> Builder {
    Request::post("/v1/webhooks/acme-sr")
}

/// A delivery that was sent so long ago, as the vendor makes it.
fn delivery(event: &str, link: &str, sent_ago_secs: i64) -> Request<Body> {
    let at = (jiff::Timestamp::now().as_second() - sent_ago_secs).to_string();
    let signature = sign(SECRET, &format!("{at}.{BODY}.evt-1.{event}.v201910.{link}"));
    to_us()
        .header("event-id", "evt-1")
        .header("event-name", event)
        .header("event-version", "v201910")
        .header("link", link)
        .header("smartrecruiters-timestamp", at)
        .header("smartrecruiters-signature", signature.replace("sha256 ", "v1="))
        .body(Body::from(BODY))
        .unwrap()
}

/// What is asked for, as `list id params`.
fn asked(records: &[KeptRecord]) -> Vec<String> {
    let read = |record: &KeptRecord| {
        let schema = hirewire_schemas::schema("Fetch").unwrap();
        let fetch: Fetch = decode(schema, record.value.as_deref().unwrap().get(5..).unwrap()).unwrap();
        let params: Vec<String> = fetch.params.iter().map(|pair| format!("{}={}", pair.name, pair.value)).collect();
        format!("{} {} {}", fetch.resource, fetch.remote_id, params.join(" ")).trim_end().to_owned()
    };
    records.iter().filter(|record| record.topic.contains("fetch")).map(read).collect()
}

#[tokio::test]
async fn a_delivery_is_kept_by_its_headers_and_answered_with_the_status_that_the_vendor_awaits() {
    let folder = tempfile::tempdir().unwrap();
    let inbox = Inbox::default();
    let receiver = receive_at(folder.path(), &inbox);
    let answer = receiver.send(delivery("application.status.updated", LINK, 60)).await;
    assert_eq!(answer.status, StatusCode::ACCEPTED);
    let kept = inbox.take();
    assert_eq!(kept[0].value.as_deref().unwrap(), BODY.as_bytes());
    let key = hirewire_schemas::ids::canonical_id("acme", "acme-sr", "Candidate", "c-1").to_string();
    assert_eq!(kept[0].key.as_deref().unwrap(), key.as_bytes());
    for (name, value) in [
        ("ce_id", "acme-sr/evt-1"),
        ("hirewire-event", "application.status.updated"),
        ("hirewire-header-event-version", "v201910"),
        ("hirewire-header-link", LINK),
    ] {
        assert_eq!(kept[0].header(name), Some(value), "{name}");
    }
    assert!(kept[0].header("hirewire-header-smartrecruiters-signature").is_none());
    assert_eq!(asked(&kept), ["status_history c-1 job_id=j-1", "candidate_details c-1"]);
}

#[tokio::test]
async fn what_the_link_leads_to_is_asked_for_and_a_link_that_leads_elsewhere_asks_for_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let inbox = Inbox::default();
    let receiver = receive_at(folder.path(), &inbox);
    let front = "<https://api.smartrecruiters.com";
    for (event, link, requests) in [
        (
            "interview.updated",
            format!("{front}/interviews-api/v201904/interviews/i-1>; rel=self"),
            &["interviews i-1"][..],
        ),
        ("job.hiring-team.updated", format!("{front}/jobs/j-1/hiring-team>; rel=self"), &["hiring_team j-1"]),
        ("offer.updated", format!("{front}/candidates/c-1/jobs/j-1/offers/o-1>; rel=self"), &["offers c-1 job_id=j-1"]),
        // Only the path counts: the key goes to the connection's own base URL.
        (
            "candidate.updated",
            "<https://elsewhere.example/candidates/c-1>; rel=\"self\"".to_owned(),
            &["candidate_details c-1"],
        ),
        // The person alone names no application.
        ("application.created", format!("{front}/candidates/c-1>; rel=self"), &["candidate_details c-1"]),
        ("job.updated", format!("{front}/candidates/c-1>; rel=self"), &[]),
        ("job.updated", format!("{front}/jobs/j-1>; rel=next"), &[]),
        ("job.updated", format!("{front}/jobs/a%2Fb>; rel=self"), &[]),
        ("job.updated", "nonsense".to_owned(), &[]),
        ("offer.approval.comment.created", LINK.to_owned(), &[]),
    ] {
        assert_eq!(receiver.send(delivery(event, &link, 60)).await.status, StatusCode::ACCEPTED, "{event}");
        let kept = inbox.take();
        assert_eq!(asked(&kept), requests, "{event} {link}");
        assert_eq!(kept[0].header("hirewire-event"), Some(event));
    }
}

#[tokio::test]
async fn whatever_is_signed_cannot_be_altered_and_what_is_old_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let inbox = Inbox::default();
    let receiver = receive_at(folder.path(), &inbox);
    for name in ["event-id", "event-name", "event-version", "link", "smartrecruiters-timestamp"] {
        let mut altered = delivery("candidate.updated", LINK, 60);
        altered.headers_mut().insert(name, "1".parse().unwrap());
        assert_eq!(receiver.send(altered).await.status, StatusCode::UNAUTHORIZED, "{name}");
        let mut without = delivery("candidate.updated", LINK, 60);
        without.headers_mut().remove(name);
        assert_eq!(receiver.send(without).await.status, StatusCode::UNAUTHORIZED, "{name}");
    }
    for days in [11, -11] {
        let old = delivery("candidate.updated", LINK, days * 24 * 3600);
        assert_eq!(receiver.send(old).await.status, StatusCode::UNAUTHORIZED, "{days}");
    }
    assert!(inbox.take().is_empty());
}

#[tokio::test]
async fn a_handshake_is_answered_with_its_own_header_and_proves_and_keeps_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let inbox = Inbox::default();
    let receiver = receive_at(folder.path(), &inbox);
    // It comes before there is a key: no secret is needed.
    std::fs::remove_file(folder.path().join("secret")).unwrap();
    let greeting = to_us().header("X-Hook-Secret", "4jn8fs9011jj8").body(Body::from(BODY)).unwrap();
    let answer = receiver.0.clone().oneshot(greeting).await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    assert_eq!(answer.headers().get("x-hook-secret").unwrap(), "4jn8fs9011jj8");
    assert!(answer.into_body().collect().await.unwrap().to_bytes().is_empty());
    assert_eq!(inbox.asked(), 0);
    // Of a connection that nobody configured, nothing is told.
    let elsewhere = Request::post("/v1/webhooks/other").header("X-Hook-Secret", "x").body(Body::empty()).unwrap();
    let answer = receiver.0.clone().oneshot(elsewhere).await.unwrap();
    assert_eq!((answer.status(), answer.headers().get("x-hook-secret")), (StatusCode::NOT_FOUND, None));
}
