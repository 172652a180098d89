//! The webhook's router over a sink in memory: what is kept, and what is answered.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::io::Write;
use std::time::Duration;

use axum::body::Body;
use axum::http::{Request, StatusCode};
use support::{BODY, Inbox, Kept, SECRET, delivery, receiver, receiver_with, sign};

#[tokio::test]
async fn a_signed_delivery_is_kept_byte_for_byte_before_it_is_answered_200() {
    let inbox = Inbox::default();
    let answer = receiver(&inbox).send(delivery(BODY)).await;
    assert_eq!(answer.status, StatusCode::OK);
    let kept = inbox.only();
    assert_eq!(kept.value.as_deref().unwrap(), BODY.as_bytes());
    assert_eq!(&*kept.topic, "ats.raw.greenhouse.v1");
    let key = hirewire_schemas::ids::canonical_id("acme", "acme-greenhouse", "Application", "265277").to_string();
    assert_eq!(kept.key.as_deref().unwrap(), key.as_bytes());
    for (name, value) in [
        ("ce_specversion", "1.0"),
        ("ce_id", "acme-greenhouse/evt-1"),
        ("ce_source", "/acme/acme-greenhouse"),
        ("ce_type", "hirewire.raw.webhook.candidate_stage_change"),
        ("content-type", "application/json"),
        ("hirewire-tenant", "acme"),
        ("hirewire-connection", "acme-greenhouse"),
        ("hirewire-vendor", "greenhouse"),
        ("hirewire-origin", "webhook"),
        ("hirewire-event", "candidate_stage_change"),
        ("hirewire-header-greenhouse-event-id", "evt-1"),
    ] {
        assert_eq!(kept.header(name), Some(value), "{name}");
    }
    assert!(kept.header("ce_time").unwrap().ends_with('Z'));
    assert_eq!(kept.header("hirewire-request"), None);
    assert!(kept.header("hirewire-header-signature").is_none(), "only allowed headers ride along");
}

#[tokio::test]
async fn a_trace_that_comes_with_the_delivery_goes_on_and_else_one_begins() {
    let inbox = Inbox::default();
    let mut request = delivery(BODY);
    let trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    request.headers_mut().insert("traceparent", trace.parse().unwrap());
    receiver(&inbox).send(request).await;
    let kept = inbox.take().remove(0);
    assert!(kept.header("traceparent").unwrap().starts_with("00-4bf92f3577b34da6a3ce929d0e0e4736-"));
    receiver(&inbox).send(delivery(BODY)).await;
    assert_eq!(inbox.only().header("traceparent").unwrap().len(), trace.len());
}

#[tokio::test]
async fn what_is_unknown_or_no_json_or_has_no_id_is_kept_under_the_connections_key() {
    let own =
        hirewire_schemas::ids::canonical_id("acme", "acme-greenhouse", "Connection", "acme-greenhouse").to_string();
    for (body, event) in [
        (r#"{"action":"ping","payload":{"web_hook_id":1}}"#, Some("ping")),
        (r#"{"action":"candidate_stage_change","payload":{}}"#, Some("candidate_stage_change")),
        (r#"{"action":17}"#, Some("17")),
        (r#"{"action":null}"#, None),
        ("hello", None),
        ("", None),
        ("{\"action\":\"line\\nbreak\"}", None),
    ] {
        let inbox = Inbox::default();
        assert_eq!(receiver(&inbox).send(delivery(body)).await.status, StatusCode::OK, "{body}");
        let kept = inbox.only();
        assert_eq!(kept.value.as_deref().unwrap(), body.as_bytes());
        assert_eq!(kept.key.as_deref().unwrap(), own.as_bytes(), "{body}");
        assert_eq!(kept.header("hirewire-event"), event, "{body}");
    }
}

#[tokio::test]
async fn without_a_usable_delivery_id_the_same_bytes_are_the_same_delivery() {
    let mut ids = Vec::new();
    for id in [None, Some("two\twords"), Some("")] {
        let inbox = Inbox::default();
        let mut request = delivery(BODY);
        request.headers_mut().remove("greenhouse-event-id");
        if let Some(id) = id {
            request.headers_mut().insert("greenhouse-event-id", id.parse().unwrap());
        }
        receiver(&inbox).send(request).await;
        ids.push(inbox.only().header("ce_id").unwrap().to_owned());
    }
    assert!(ids.iter().all(|id| *id == ids[0]), "{ids:?}");
}

#[tokio::test]
async fn a_proven_bad_signature_is_401_and_nothing_is_kept() {
    for signature in [None, Some(sign("other", BODY)), Some("sha256 ".into()), Some("nonsense".into())] {
        let inbox = Inbox::default();
        let mut request = delivery(BODY);
        request.headers_mut().remove("signature");
        if let Some(signature) = &signature {
            request.headers_mut().insert("signature", signature.parse().unwrap());
        }
        assert_eq!(receiver(&inbox).send(request).await.status, StatusCode::UNAUTHORIZED, "{signature:?}");
        assert!(inbox.take().is_empty());
    }
}

#[tokio::test]
async fn a_secret_that_cannot_be_read_is_our_fault_and_503_even_with_another_that_does_not_match() {
    let folder = tempfile::tempdir().unwrap();
    let missing = folder.path().join("missing");
    let known = folder.path().join("known");
    std::fs::write(&known, SECRET).unwrap();
    let inbox = Inbox::default();
    std::fs::write(&missing, "there at the start only").unwrap();
    let receiver = receiver_with(&inbox, &[&known, &missing]);
    std::fs::remove_file(&missing).unwrap();
    assert_eq!(receiver.send(delivery(BODY)).await.status, StatusCode::OK, "the readable secret proves it");
    let mut request = delivery(BODY);
    request.headers_mut().insert("signature", sign("other", BODY).parse().unwrap());
    let answer = receiver.send(request).await;
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(answer.retry_after.as_deref(), Some("5"));
}

#[tokio::test]
async fn rotation_takes_both_secrets_and_a_changed_file_counts_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let (old, new) = (folder.path().join("old"), folder.path().join("new"));
    std::fs::write(&old, SECRET).unwrap();
    std::fs::write(&new, "the new one\n").unwrap();
    let inbox = Inbox::default();
    let receiver = receiver_with(&inbox, &[&old, &new]);
    let signed = |secret: &str| {
        let mut request = delivery(BODY);
        request.headers_mut().insert("signature", sign(secret, BODY).parse().unwrap());
        request
    };
    assert_eq!(receiver.send(signed(SECRET)).await.status, StatusCode::OK);
    assert_eq!(receiver.send(signed("the new one")).await.status, StatusCode::OK);
    std::fs::write(&old, "the newest").unwrap();
    assert_eq!(receiver.send(signed(SECRET)).await.status, StatusCode::UNAUTHORIZED);
    assert_eq!(receiver.send(signed("the newest")).await.status, StatusCode::OK);
}

#[tokio::test]
async fn an_unknown_connection_is_404_only_when_the_configuration_is_loaded() {
    let inbox = Inbox::default();
    let unloaded = support::unloaded(&inbox);
    let answer = unloaded.send(delivery(BODY)).await;
    assert_eq!((answer.status, answer.retry_after.as_deref()), (StatusCode::SERVICE_UNAVAILABLE, Some("5")));
    let mut request = delivery(BODY);
    *request.uri_mut() = "/v1/webhooks/nobody".parse().unwrap();
    assert_eq!(receiver(&inbox).send(request).await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn when_the_broker_fails_or_hangs_the_answer_is_503_within_the_time_and_never_2xx() {
    for kept in [Kept::Fails, Kept::Hangs] {
        let inbox = Inbox::new(kept);
        let started = std::time::Instant::now();
        let answer = receiver(&inbox).send(delivery(BODY)).await;
        assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(answer.retry_after.as_deref(), Some("5"));
        assert!(started.elapsed() < Duration::from_secs(5), "the sink hangs for ever, the answer does not");
    }
}

#[tokio::test]
async fn a_body_over_the_cap_is_413_counted_after_decompression() {
    let inbox = Inbox::default();
    let receiver = receiver(&inbox);
    let large = "x".repeat(support::MAX_BODY + 1);
    assert_eq!(receiver.send(delivery(&large)).await.status, StatusCode::PAYLOAD_TOO_LARGE);
    let most = "x".repeat(support::MAX_BODY);
    assert_eq!(receiver.send(delivery(&most)).await.status, StatusCode::OK);
    let bomb = gzip(&vec![b'x'; 50 * support::MAX_BODY]);
    assert!(bomb.len() < support::MAX_BODY);
    assert_eq!(receiver.send(encoded("gzip", bomb, "")).await.status, StatusCode::PAYLOAD_TOO_LARGE);
    assert_eq!(inbox.take().len(), 1);
}

#[tokio::test]
async fn a_compressed_body_is_signed_and_kept_as_the_vendor_made_it() {
    let inbox = Inbox::default();
    let receiver = receiver(&inbox);
    assert_eq!(receiver.send(encoded("gzip", gzip(BODY.as_bytes()), BODY)).await.status, StatusCode::OK);
    assert_eq!(inbox.only().value.as_deref().unwrap(), BODY.as_bytes());
    let mut cut = gzip(BODY.as_bytes());
    cut.truncate(cut.len() - 9);
    assert_eq!(receiver.send(encoded("gzip", cut, BODY)).await.status, StatusCode::BAD_REQUEST);
    assert_eq!(receiver.send(encoded("gzip", b"no gzip".to_vec(), BODY)).await.status, StatusCode::BAD_REQUEST);
    assert_eq!(receiver.send(encoded("br", Vec::new(), "")).await.status, StatusCode::UNSUPPORTED_MEDIA_TYPE);
    assert!(inbox.take().is_empty());
}

#[tokio::test]
async fn bodies_together_never_take_more_than_the_budget() {
    let inbox = Inbox::new(Kept::Hangs);
    let receiver = receiver(&inbox);
    let body = "x".repeat(support::MAX_BODY);
    let waiting = support::BUDGET / support::MAX_BODY;
    let mut under_way = tokio::task::JoinSet::new();
    for _ in 0..waiting {
        let (receiver, request) = (receiver.clone(), delivery(&body));
        under_way.spawn(async move { receiver.send(request).await.status });
    }
    while inbox.asked() < waiting {
        tokio::task::yield_now().await;
    }
    let answer = receiver.send(delivery(&body)).await;
    assert_eq!((answer.status, answer.text.as_str()), (StatusCode::SERVICE_UNAVAILABLE, "budget_spent\n"));
    while let Some(status) = under_way.join_next().await {
        assert_eq!(status.unwrap(), StatusCode::SERVICE_UNAVAILABLE);
    }
    assert_eq!(receiver.send(delivery("after")).await.text, "not_kept_in_time\n", "the budget is given back");
}

#[tokio::test]
async fn only_post_is_served() {
    let inbox = Inbox::default();
    let mut request = delivery(BODY);
    *request.method_mut() = axum::http::Method::PUT;
    assert_eq!(receiver(&inbox).send(request).await.status, StatusCode::METHOD_NOT_ALLOWED);
}

fn gzip(data: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(data).unwrap();
    encoder.finish().unwrap()
}

fn encoded(encoding: &str, data: Vec<u8>, signed: &str) -> Request<Body> {
    let mut request = delivery(signed);
    request.headers_mut().insert("content-encoding", encoding.parse().unwrap());
    *request.body_mut() = Body::from(data);
    request
}
