//! OAuth 2 of a sink: a token is asked for once, renewed before its end and after a refusal, and never shown.

use std::time::Duration;

use hirewire_service::{Secret, TraceParent};

use super::support::{Answer, Receiver};
use crate::deliver::outcome::Attempt;
use crate::deliver::{Content, Delivery, OnRefusal, Transport};
use crate::http::guard::Guard;
use crate::http::networks::Network;
use crate::http::token::OAuth;
use crate::http::{Auth, HttpSettings, HttpTransport};
use crate::request::Request;
use crate::request::told::{Body, Secrets};

fn transport(receiver: &Receiver, tokens: &Receiver, refresh_token: Option<&str>) -> HttpTransport {
    let oauth = OAuth {
        token_url: format!("http://{}/token", tokens.address).parse().unwrap(),
        client_id: "hire:wire".to_owned(),
        client_secret: Secret::from_value("s3cr&t"),
        refresh_token: refresh_token.map(Secret::from_value),
        scope: Some("hires write".to_owned()),
    };
    let settings = HttpSettings {
        url: format!("http://{}/in", receiver.address).parse().unwrap(),
        guard: Guard::new(vec!["127.0.0.1".to_owned()], vec![Network::parse("127.0.0.0/8").unwrap()]),
        auth: Some(Auth::OAuth(oauth)),
        signing: None,
        ca: None,
        identity: None,
        timeout: Duration::from_secs(5),
        answer_bytes: 64 * 1024,
        batch: None,
        secrets: Secrets::default(),
    };
    HttpTransport::new(settings).unwrap()
}

async fn attempt(transport: &HttpTransport) -> Attempt {
    let request = Request {
        method: reqwest::Method::POST,
        path: String::new(),
        query: None,
        headers: reqwest::header::HeaderMap::new(),
        body: Body::plain(&b"{}"[..]),
        rules: std::sync::Arc::default(),
        created: None,
        batch: None,
        step: None,
        kept_as: None,
    };
    let delivery = Delivery {
        key: None,
        idempotency_key: uuid::Uuid::nil(),
        trace: TraceParent::new_root(),
        content: Content::Request(Box::new(request)),
        on_refusal: OnRefusal::Skip,
    };
    transport.attempt(&delivery).await
}

fn ok(status: u16) -> Attempt {
    Attempt::Answered { status, retry_after: None }
}

fn shown(receiver: &Receiver) -> Vec<String> {
    receiver.all().into_iter().map(|received| received.headers["authorization"].clone()).collect()
}

fn asked(tokens: &Receiver) -> Vec<String> {
    tokens.all().into_iter().map(|received| String::from_utf8(received.raw).unwrap()).collect()
}

#[tokio::test]
async fn one_token_serves_all_deliveries_until_its_end() {
    let receiver = Receiver::start(|_| Answer::Status(200)).await;
    let tokens = Receiver::start(|_| Answer::Says(200, r#"{"access_token": "t1", "expires_in": 3600}"#)).await;
    let transport = transport(&receiver, &tokens, None);
    let (a, b, c) = tokio::join!(attempt(&transport), attempt(&transport), attempt(&transport));
    assert_eq!([a, b, c], [ok(200), ok(200), ok(200)]);
    assert_eq!(shown(&receiver), ["Bearer t1", "Bearer t1", "Bearer t1"]);
    assert_eq!(asked(&tokens), ["grant_type=client_credentials&scope=hires+write"]);
    // RFC 6749, section 2.3.1: both are encoded before they are joined. `hire%3Awire:s3cr%26t`
    assert_eq!(tokens.all()[0].headers["authorization"], "Basic aGlyZSUzQXdpcmU6czNjciUyNnQ=");

    tokens.answer(|_| Answer::Says(200, r#"{"access_token": "t2", "expires_in": 0}"#));
    receiver.answer(|_| Answer::Status(401));
    assert_eq!(attempt(&transport).await, ok(401), "a new token that is refused too is the sink's answer");
    assert_eq!(shown(&receiver)[3..], ["Bearer t1", "Bearer t2"], "once more, with a new one");

    receiver.answer(|_| Answer::Status(200));
    for _ in 0..2 {
        assert_eq!(attempt(&transport).await, ok(200));
    }
    assert_eq!(asked(&tokens).len(), 4, "what has ended is asked for again");
}

#[tokio::test]
async fn what_the_endpoint_answers_decides_without_a_delivery() {
    let receiver = Receiver::start(|_| Answer::Status(200)).await;
    let tokens = Receiver::start(|_| Answer::Says(400, r#"{"error": "invalid_client"}"#)).await;
    let transport = transport(&receiver, &tokens, None);
    assert_eq!(attempt(&transport).await, Attempt::TokenRefused);
    tokens.answer(|_| Answer::Throttle);
    assert_eq!(attempt(&transport).await, Attempt::Answered { status: 429, retry_after: Some(Duration::from_secs(1)) });
    for answer in [Answer::Says(200, "{}"), Answer::Says(200, "<html>"), Answer::Redirect, Answer::Reset] {
        tokens.answer(move |_| answer);
        assert!(matches!(attempt(&transport).await, Attempt::Unreachable(_)), "{answer:?}");
    }
    assert!(receiver.all().is_empty());
}

#[tokio::test]
async fn a_refresh_token_is_used_and_another_takes_its_place() {
    let receiver = Receiver::start(|_| Answer::Status(200)).await;
    let tokens =
        Receiver::start(|_| Answer::Says(200, r#"{"access_token": "t", "expires_in": 0, "refresh_token": "r2"}"#))
            .await;
    let transport = transport(&receiver, &tokens, Some("r1"));
    for _ in 0..2 {
        assert_eq!(attempt(&transport).await, ok(200));
    }
    let form = |token: &str| format!("grant_type=refresh_token&refresh_token={token}&scope=hires+write");
    assert_eq!(asked(&tokens), [form("r1"), form("r2")]);
}

/// The guard is that of the sink: a token's endpoint is no way round it.
#[tokio::test]
async fn a_token_is_asked_for_at_an_allowed_host_alone() {
    let receiver = Receiver::start(|_| Answer::Status(200)).await;
    let tokens = Receiver::start(|_| Answer::Says(200, r#"{"access_token": "t"}"#)).await;
    let mut elsewhere = tokens.clone();
    elsewhere.address.set_ip([127, 0, 0, 2].into());
    assert_eq!(attempt(&transport(&receiver, &elsewhere, None)).await, Attempt::AddressRefused);
    assert!(tokens.all().is_empty() && receiver.all().is_empty());
}
