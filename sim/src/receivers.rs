//! The receiving systems: they check the signature, write every request down before they answer, and now and then fail.
//!
//! What a receiver answers is decided by the seed, the key and the number of the attempt, so that a run repeats.

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, Path as UrlPath, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use fastrand::Rng;
use rusqlite::{Connection, params};
use serde::{Deserialize, Serialize};

use crate::clock::now_ms;
use crate::settings::Scenario;
use crate::sign::{self, secret};
use crate::store::{self, StoreError};

/// The systems that take HTTP requests. Analytics is a database that the judge is shown elsewhere.
pub const RECEIVERS: [&str; 3] = ["onboarding", "payroll", "assessment"];

/// One request that a receiver got.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Received {
    /// Order of arrival over all receivers.
    pub number: i64,
    pub receiver: String,
    /// The `webhook-id` header: the idempotency key.
    pub webhook_id: String,
    pub at_ms: i64,
    /// What was answered.
    pub status: u16,
    /// `processed`, `again` (a known key: answered, not processed), `fault`, `slow`, or `bad_signature`.
    pub note: String,
    pub body: Vec<u8>,
}

pub(crate) struct Receivers {
    connection: Mutex<Connection>,
    scenario: Scenario,
}

impl Receivers {
    pub(crate) fn open(file: &Path, scenario: Scenario) -> Result<Self, StoreError> {
        Ok(Self { connection: Mutex::new(store::connect(file)?), scenario })
    }

    /// Decides, writes down, and only then lets the answer go.
    fn take(&self, receiver: &str, headers: &HeaderMap, body: &[u8]) -> Result<Answer, StoreError> {
        let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or("");
        let id = text("webhook-id");
        let key = secret(self.scenario.seed, receiver);
        let now = now_ms();
        let signed =
            sign::standard_webhook(&key, id, text("webhook-timestamp"), text("webhook-signature"), body, now / 1000);
        let Ok(mut connection) = self.connection.lock() else { return Ok(Answer::plain(500)) };
        let tx = store::begin(&mut connection)?;
        let count = |clause: &str| -> Result<i64, rusqlite::Error> {
            let sql = format!("SELECT COUNT(*) FROM received WHERE sink = ?1 AND webhook_id = ?2 AND {clause}");
            tx.query_row(&sql, [receiver, id], |row| row.get(0))
        };
        let attempt = count("note <> 'bad_signature'")?;
        let processed = count("note IN ('processed', 'slow')")?;
        let (answer, note) = if !signed {
            (Answer::plain(401), "bad_signature")
        } else if processed > 0 {
            (Answer::plain(200), "again")
        } else {
            self.fate(receiver, id, attempt)
        };
        let kept: Vec<(String, String)> = headers
            .iter()
            .filter(|(name, _)| *name != "authorization")
            .map(|(name, value)| (name.to_string(), value.to_str().unwrap_or("").to_owned()))
            .collect();
        tx.execute(
            "INSERT INTO received (sink, webhook_id, at, status, note, headers, body) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
            params![receiver, id, now, answer.status, note, serde_json::to_string(&kept)?, body],
        )?;
        tx.commit()?;
        Ok(answer)
    }

    fn fate(&self, receiver: &str, id: &str, attempt: i64) -> (Answer, &'static str) {
        let hash = secret(self.scenario.seed, &format!("{receiver}/{id}/{attempt}"));
        let mut rng =
            Rng::with_seed(hash.iter().fold(0, |seed, byte| seed.wrapping_mul(257).wrapping_add(u64::from(*byte))));
        // Nobody fails for ever: the third attempt gets through.
        if attempt >= 2 || rng.f64() >= self.scenario.faults.receiver {
            return (Answer::plain(200), "processed");
        }
        match rng.u8(..4) {
            0 => (Answer::plain(500), "fault"),
            1 => (Answer { retry_after: Some(1), ..Answer::plain(429) }, "fault"),
            2 => (Answer::plain(503), "fault"),
            _ => (Answer { wait_ms: self.scenario.faults.receiver_slow_ms, ..Answer::plain(200) }, "slow"),
        }
    }
}

struct Answer {
    status: u16,
    retry_after: Option<u32>,
    wait_ms: u64,
}

impl Answer {
    fn plain(status: u16) -> Self {
        Self { status, retry_after: None, wait_ms: 0 }
    }
}

pub(crate) fn router(receivers: Arc<Receivers>) -> Router {
    Router::new()
        .route("/{receiver}", post(receive))
        .layer(DefaultBodyLimit::max(4 * 1024 * 1024))
        .with_state(receivers)
}

async fn receive(
    State(receivers): State<Arc<Receivers>>,
    UrlPath(receiver): UrlPath<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    if !RECEIVERS.contains(&receiver.as_str()) {
        return StatusCode::NOT_FOUND.into_response();
    }
    let answer = tokio::task::spawn_blocking(move || receivers.take(&receiver, &headers, &body)).await;
    let answer = match answer {
        Ok(Ok(answer)) => answer,
        Ok(Err(error)) => {
            tracing::error!(error = &error as &dyn std::error::Error, "a simulated receiver cannot write its file");
            Answer::plain(500)
        }
        Err(_) => Answer::plain(500),
    };
    if answer.wait_ms > 0 {
        tokio::time::sleep(Duration::from_millis(answer.wait_ms)).await;
    }
    let status = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    match answer.retry_after {
        Some(seconds) => (status, [("Retry-After", seconds.to_string())]).into_response(),
        None => (status, "{}").into_response(),
    }
}

/// Everything the receivers got, in order of arrival.
pub(crate) fn received(connection: &Connection) -> Result<Vec<Received>, StoreError> {
    let mut statement =
        connection.prepare_cached("SELECT id, sink, webhook_id, at, status, note, body FROM received ORDER BY id")?;
    let rows = statement.query_map([], |row| {
        Ok(Received {
            number: row.get(0)?,
            receiver: row.get(1)?,
            webhook_id: row.get(2)?,
            at_ms: row.get(3)?,
            status: row.get(4)?,
            note: row.get(5)?,
            body: row.get(6)?,
        })
    })?;
    rows.map(|row| Ok(row?)).collect()
}
