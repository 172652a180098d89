//! A vendor whose proof and whose delivery's name stand in the body: Lever.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use axum::body::Body;
use axum::http::{Request, StatusCode};
use hirewire_ingest::manifest::Manifest;
use hirewire_ingest::{Connection, Role};
use hirewire_yaml::Problems;
use support::{Inbox, SECRET, receiver_of, sign};

const MANIFEST: &str = include_str!("../../vendors/lever/manifest.yaml");

fn connection(secret: &std::path::Path) -> Connection {
    let manifest = Manifest::parse("manifest.yaml", MANIFEST).unwrap();
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

#[tokio::test]
async fn what_is_signed_inside_of_the_body_is_kept_and_what_is_altered_or_old_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let secret = folder.path().join("secret");
    std::fs::write(&secret, SECRET).unwrap();
    let inbox = Inbox::default();
    let receiver = receiver_of(&inbox, connection(&secret));
    let post = |body: &str| Request::post("/v1/webhooks/acme-lever").body(Body::from(body.to_owned())).unwrap();

    let good = body("event-1", 60, "t0k3n");
    assert_eq!(receiver.send(post(&good)).await.status, StatusCode::OK);
    let kept = inbox.only();
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
        ids.push(inbox.only().header("ce_id").unwrap().to_owned());
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
