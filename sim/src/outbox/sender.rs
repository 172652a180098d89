//! Sends the outbox as the vendor does: signed raw bodies, only status 200 counts, a fixed schedule of retries.

use std::collections::HashSet;
use std::path::Path;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rusqlite::{Connection, params};
use tokio::sync::mpsc;

use crate::clock::now_ms;
use crate::rules::{Claim, WebhookRules};
use crate::settings::Scenario;
use crate::sign::{hmac_hex, uuid_like};
use crate::store::{self, StoreError};
use crate::vendor::{Message, Tamper, sign};

/// Requests at once.
pub(crate) const AT_ONCE: usize = 24;

pub(crate) struct Due {
    pub(crate) id: i64,
    event_id: String,
    pub(crate) attempts: i64,
    happened_at: i64,
    pub(crate) body: Vec<u8>,
}

pub(crate) struct Outcome {
    pub(crate) id: i64,
    pub(crate) attempts: i64,
    pub(crate) acknowledged: bool,
}

pub(crate) struct Sender {
    pub(crate) rules: WebhookRules,
    /// Bodies are messages, which are signed as they go; else they are written already, as Greenhouse's are.
    pub(crate) signs: bool,
    pub(crate) scenario: Scenario,
    pub(crate) secret: Vec<u8>,
    /// Where to; nothing is sent while it is unknown.
    pub(crate) url: Arc<Mutex<Option<String>>>,
    pub(crate) stop: Arc<AtomicBool>,
}

impl Sender {
    /// Runs until told to stop. The file is written by a blocking task each time.
    pub(crate) async fn run(self, file: &Path) -> Result<(), StoreError> {
        let connection = Arc::new(Mutex::new(store::connect(file)?));
        let client = reqwest::Client::builder()
            .timeout(Duration::from_secs(10))
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .build()
            .unwrap_or_default();
        let (report, mut outcomes) = mpsc::channel::<Outcome>(AT_ONCE);
        let mut in_flight: HashSet<i64> = HashSet::new();
        while !self.stop.load(Ordering::SeqCst) {
            let mut settled = Vec::new();
            while let Ok(outcome) = outcomes.try_recv() {
                settled.push(outcome);
            }
            let url = self.url.lock().ok().and_then(|url| url.clone());
            let room = if url.is_some() { AT_ONCE.saturating_sub(in_flight.len() - settled.len()) } else { 0 };
            if !settled.is_empty() || room > 0 {
                for outcome in &settled {
                    in_flight.remove(&outcome.id);
                }
                let busy: Vec<i64> = in_flight.iter().copied().collect();
                let due = self.exchange(&connection, settled, busy, room).await?;
                for due in due {
                    in_flight.insert(due.id);
                    let Some(url) = url.clone() else { continue };
                    let request = self.request(&client, &url, &due);
                    let (report, success) = (report.clone(), self.rules.success);
                    tokio::spawn(async move {
                        let answer = request.send().await;
                        let acknowledged = answer.is_ok_and(|answer| success.is(answer.status().as_u16()));
                        let outcome = Outcome { id: due.id, attempts: due.attempts + 1, acknowledged };
                        // Nobody listens any more only when the sender has stopped.
                        report.send(outcome).await.ok();
                    });
                }
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        Ok(())
    }

    fn request(&self, client: &reqwest::Client, url: &str, due: &Due) -> reqwest::RequestBuilder {
        if self.signs {
            return self.signed(client, url, due);
        }
        let signature = format!("{}{}", self.rules.signature.prefix, hmac_hex(&self.secret, &due.body));
        // Whether a retry keeps the id is not documented: the seed chooses.
        let event_id = if due.attempts > 0 && self.scenario.seed % 2 == 1 {
            uuid_like(self.scenario.seed, &format!("retry/{}/{}", due.event_id, due.attempts))
        } else {
            due.event_id.clone()
        };
        let mut request = client
            .post(url)
            .header("Content-Type", "application/json")
            .header("User-Agent", "Greenhouse Webhooks")
            .body(due.body.clone());
        if let Some(name) = &self.rules.event_id_header {
            request = request.header(name, event_id);
        }
        if let Claim::Header(name) = &self.rules.signature.claim {
            request = request.header(name, signature);
        }
        request
    }

    /// A message as the vendor signs it, each time anew.
    fn signed(&self, client: &reqwest::Client, url: &str, due: &Due) -> reqwest::RequestBuilder {
        let told: serde_json::Value = serde_json::from_slice(&due.body).unwrap_or_default();
        let text = |key: &str| told.get(key).and_then(serde_json::Value::as_str).map(str::to_owned);
        let message = Message {
            event: text("event").unwrap_or_default(),
            body: told.get("body").cloned().unwrap_or_default(),
            link: text("link"),
            id: Some(due.event_id.clone()),
        };
        // Where the body tells when it was sent, it tells when it happened.
        let sent_at = if self.rules.body_tells_when_sent() { due.happened_at } else { now_ms() };
        let delivery = sign(&self.rules, &message, &self.secret, sent_at, Tamper::None);
        let request = client.post(url).body(delivery.body);
        delivery.headers.iter().fold(request, |request, (name, value)| request.header(name, value))
    }

    /// Writes outcomes and reads what is due next.
    async fn exchange(
        &self,
        connection: &Arc<Mutex<Connection>>,
        settled: Vec<Outcome>,
        busy: Vec<i64>,
        room: usize,
    ) -> Result<Vec<Due>, StoreError> {
        let connection = Arc::clone(connection);
        let waits: Vec<i64> = self.rules.retry_after_minutes.iter().map(|minutes| self.wait(*minutes)).collect();
        let task = tokio::task::spawn_blocking(move || {
            let Ok(mut connection) = connection.lock() else { return Ok(Vec::new()) };
            if !settled.is_empty() {
                settle(&mut connection, &settled, &waits)?;
            }
            let due = due(&connection, &busy, room)?;
            mark_sent(&mut connection, &due)?;
            Ok(due)
        });
        task.await.unwrap_or_else(|_| Ok(Vec::new()))
    }

    fn wait(&self, minutes: u64) -> i64 {
        let minutes = i64::try_from(minutes).unwrap_or(i64::MAX);
        minutes.saturating_mul(self.scenario.pace.retry_minute_ms).min(self.scenario.pace.retry_max_ms)
    }
}

/// Before the first byte goes out: after a kill it must not look as if it had never been sent.
pub(crate) fn mark_sent(connection: &mut Connection, due: &[Due]) -> Result<(), StoreError> {
    if due.is_empty() {
        return Ok(());
    }
    let now = now_ms();
    let tx = store::begin(connection)?;
    for due in due {
        tx.prepare_cached("UPDATE outbox SET first_sent_at = COALESCE(first_sent_at, ?2) WHERE id = ?1")?
            .execute(params![due.id, now])?;
    }
    tx.commit()?;
    Ok(())
}

pub(crate) fn settle(connection: &mut Connection, settled: &[Outcome], waits: &[i64]) -> Result<(), StoreError> {
    let now = now_ms();
    let tx = store::begin(connection)?;
    for outcome in settled {
        let wait = usize::try_from(outcome.attempts - 1).ok().and_then(|n| waits.get(n));
        let (state, due) = match (outcome.acknowledged, wait) {
            (true, _) => ("acked", now),
            (false, Some(wait)) => ("pending", now + wait),
            (false, None) => ("exhausted", now),
        };
        tx.prepare_cached(
            "UPDATE outbox SET attempts = ?2, state = ?3, due_at = ?4,
             acked_at = CASE WHEN ?3 = 'acked' THEN ?4 ELSE NULL END WHERE id = ?1",
        )?
        .execute(params![outcome.id, outcome.attempts, state, due])?;
    }
    tx.commit()?;
    Ok(())
}

pub(crate) fn due(connection: &Connection, busy: &[i64], room: usize) -> Result<Vec<Due>, StoreError> {
    let mut statement = connection.prepare_cached(
        "SELECT id, event_id, attempts, happened_at, body FROM outbox WHERE state = 'pending' AND due_at <= ?1 ORDER BY due_at LIMIT ?2",
    )?;
    let limit = i64::try_from(room + busy.len()).unwrap_or(0);
    let found = statement.query_map(params![now_ms(), limit], |row| {
        Ok(Due {
            id: row.get(0)?,
            event_id: row.get(1)?,
            attempts: row.get(2)?,
            happened_at: row.get(3)?,
            body: row.get(4)?,
        })
    })?;
    let mut list = Vec::new();
    for due in found {
        let due = due?;
        if !busy.contains(&due.id) && list.len() < room {
            list.push(due);
        }
    }
    Ok(list)
}
