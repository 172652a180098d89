//! A webhook endpoint that keeps what it gets, and a client that reads whole lists.
#![allow(clippy::unwrap_used, clippy::expect_used, dead_code, unreachable_pub)]

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use hirewire_sim::{Running, SimSettings};
use serde_json::Value;

#[derive(Clone, Default)]
pub struct Inbox {
    pub got: Arc<Mutex<Vec<(HeaderMap, Bytes)>>>,
    /// Statuses to answer first.
    pub answers: Arc<Mutex<Vec<u16>>>,
}

impl Inbox {
    pub async fn listen(&self) -> String {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let router = Router::new().route("/hook", post(take)).with_state(self.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        format!("http://{address}/hook")
    }

    pub fn bodies(&self) -> Vec<Value> {
        self.got.lock().unwrap().iter().map(|(_, body)| serde_json::from_slice(body).unwrap()).collect()
    }
}

async fn take(State(inbox): State<Inbox>, headers: HeaderMap, body: Bytes) -> StatusCode {
    inbox.got.lock().unwrap().push((headers, body));
    let answer = inbox.answers.lock().unwrap().pop();
    StatusCode::from_u16(answer.unwrap_or(200)).unwrap()
}

/// A scenario that plays in a few seconds.
pub fn quick(dir: &std::path::Path, seed: u64, applications: usize) -> SimSettings {
    let mut settings = SimSettings::local(dir.to_owned(), seed, applications);
    settings.scenario.pace.play_ms = 2_000;
    settings.scenario.pace.visible_lag_ms = (50, 250);
    settings.scenario.pace.retry_minute_ms = 50;
    settings
}

pub async fn until(what: &str, limit: Duration, mut done: impl FnMut() -> bool) {
    let end = Instant::now() + limit;
    while !done() {
        assert!(Instant::now() < end, "waited too long for {what}");
        tokio::time::sleep(Duration::from_millis(30)).await;
    }
}

pub async fn token(sim: &Running) -> String {
    let request = reqwest::Client::new()
        .post(&sim.access.token_url)
        .basic_auth(&sim.access.client_id, Some(&sim.access.client_secret));
    let answer: Value =
        request.form(&[("grant_type", "client_credentials")]).send().await.unwrap().json().await.unwrap();
    answer["access_token"].as_str().unwrap().to_owned()
}

/// All rows of a list, page by page.
pub async fn list(sim: &Running, token: &str, stream: &str, query: &str) -> Vec<Value> {
    let mut rows = Vec::new();
    let mut url = format!("{}/{stream}?{query}", sim.access.api_url);
    loop {
        let answer = reqwest::Client::new().get(&url).bearer_auth(token).send().await.unwrap();
        assert_eq!(answer.status(), 200, "{url}");
        let link = answer.headers().get("link").map(|link| link.to_str().unwrap().to_owned());
        rows.extend(answer.json::<Vec<Value>>().await.unwrap());
        match link {
            Some(link) => url = link.split(['<', '>']).nth(1).unwrap().to_owned(),
            None => return rows,
        }
    }
}
