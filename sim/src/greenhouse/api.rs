//! The vendor's API over HTTP: the token endpoint and the v3 lists, by the rules of `api.yaml`.
//!
//! The lists show what the simulation committed, after its visible lag, and misbehave by the scenario's shares.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path as UrlPath, RawQuery, State};
use axum::http::HeaderMap;
use axum::response::Response;
use axum::routing::{get, post};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use fastrand::Rng;
use rusqlite::{Connection, params_from_iter};

use crate::clock::{iso_ms, now_ms};
use crate::greenhouse::query::Query;
use crate::http::{json, query_pairs, text, truncated};
use crate::rules::{Refusal, Rules, Stream, Token};
use crate::settings::Scenario;
use crate::sign::hmac_hex;
use crate::store::{self, StoreError};

/// Under this name the file holds how many rows all answers had, over all runs.
pub(crate) const ROWS_SERVED: &str = "rows_served";

pub(crate) struct Api {
    rules: Rules,
    token: Token,
    scenario: Scenario,
    client_id: String,
    client_secret: String,
    connection: Mutex<Connection>,
    window: Mutex<(i64, u64)>,
    requests: AtomicU64,
    /// Per stream: up to which `updated_at` a complete answer was given.
    told: Mutex<BTreeMap<String, i64>>,
}

impl Api {
    pub(crate) fn open(
        file: &Path,
        rules: Rules,
        token: Token,
        scenario: Scenario,
        [client_id, client_secret]: [&str; 2],
    ) -> Result<Self, StoreError> {
        Ok(Self {
            rules,
            token,
            scenario,
            client_id: client_id.to_owned(),
            client_secret: client_secret.to_owned(),
            connection: Mutex::new(store::connect(file)?),
            window: Mutex::new((0, 0)),
            requests: AtomicU64::new(0),
            told: Mutex::new(BTreeMap::new()),
        })
    }

    pub(crate) fn told_until(&self) -> BTreeMap<String, i64> {
        self.told.lock().map(|told| told.clone()).unwrap_or_default()
    }

    fn sign_token(&self, expires: i64) -> String {
        format!("{expires}.{}", hmac_hex(self.client_secret.as_bytes(), expires.to_string().as_bytes()))
    }

    fn token_is_good(&self, headers: &HeaderMap) -> bool {
        let given = text(headers, "authorization").and_then(|value| value.strip_prefix("Bearer "));
        let expires = given.and_then(|token| token.split('.').next()).and_then(|text| text.parse::<i64>().ok());
        expires.is_some_and(|expires| expires > now_ms() && given == Some(self.sign_token(expires).as_str()))
    }

    /// Counts a request; `None` when the window still has room, else the seconds to wait. Also the headers to send.
    fn count(&self) -> (Option<i64>, Vec<(String, String)>) {
        let rate = &self.rules.rate;
        let length = self.scenario.pace.rate_window_ms.max(1);
        let limit = self.scenario.pace.requests_per_window;
        let now = now_ms();
        let Ok(mut window) = self.window.lock() else { return (None, Vec::new()) };
        if now >= window.0 + length {
            *window = (now, 0);
        }
        window.1 += 1;
        let ends = window.0 + length;
        let wait = (window.1 > limit).then(|| ((ends - now) + 999) / 1000);
        let headers = [
            (&rate.limit_header, limit.to_string()),
            (&rate.remaining_header, limit.saturating_sub(window.1).to_string()),
            (&rate.reset_header, ((ends + 999) / 1000).to_string()),
        ];
        (wait, headers.into_iter().filter_map(|(name, value)| Some((name.clone()?, value))).collect())
    }
}

pub(crate) fn router(api: Arc<Api>) -> Router {
    let list = format!("{}/{{stream}}", api.rules.base_path);
    Router::new().route(&api.token.path, post(give_token)).route(&list, get(list_rows)).with_state(api)
}

async fn give_token(State(api): State<Arc<Api>>, headers: HeaderMap, body: Bytes) -> Response {
    let expected = STANDARD.encode(format!("{}:{}", api.client_id, api.client_secret));
    let known = text(&headers, "authorization").and_then(|value| value.strip_prefix("Basic ")) == Some(&expected);
    if !known {
        return json(401, &[], "{\"error\":\"invalid_client\"}".into());
    }
    let body = String::from_utf8_lossy(&body);
    let asked = body.contains("grant_type") && body.contains(&api.token.grant_type);
    if !asked {
        return json(400, &[], "{\"error\":\"unsupported_grant_type\"}".into());
    }
    let lifetime =
        api.scenario.pace.token_lifetime_ms.min(i64::try_from(api.token.lifetime_secs).unwrap_or(3600) * 1000);
    let expires = now_ms() + lifetime;
    let answer = serde_json::json!({
        "access_token": api.sign_token(expires), "token_type": "Bearer", api.token.expiry_field.as_str(): iso_ms(expires),
    });
    json(200, &[], answer.to_string())
}

async fn list_rows(
    State(api): State<Arc<Api>>,
    UrlPath(name): UrlPath<String>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Response {
    if !api.token_is_good(&headers) {
        return json(401, &[], "{\"errors\":[\"Invalid or expired access token.\"]}".into());
    }
    let (wait, mut extra) = api.count();
    let faults = &api.scenario.faults;
    let serial = api.requests.fetch_add(1, Ordering::SeqCst);
    let mut rng = Rng::with_seed(api.scenario.seed.wrapping_add(serial.wrapping_mul(0x9e37_79b9_7f4a)));
    if wait.is_some() || rng.f64() < faults.api_429 {
        // Now and then the vendor does not say for how long.
        if wait.is_some() || rng.bool() {
            extra.extend(api.rules.rate.retry_header.clone().map(|name| (name, wait.unwrap_or(1).max(1).to_string())));
        }
        return json(api.rules.rate.status, &extra, "{\"errors\":[\"Rate limit exceeded.\"]}".into());
    }
    if rng.f64() < faults.api_5xx {
        let status = if rng.bool() { 500 } else { 503 };
        return json(status, &extra, "<html>Service Unavailable</html>".into());
    }
    let params: Vec<(String, String)> = query_pairs(query.as_deref().unwrap_or(""));
    let base = text(&headers, "host").unwrap_or("localhost").to_owned();
    let worker = Arc::clone(&api);
    let answer = tokio::task::spawn_blocking(move || worker.page(&name, &params, &base)).await;
    match answer {
        Ok(Ok(page)) => {
            let cut = rng.f64() < faults.api_truncated && page.body.len() > 2;
            if !cut
                && page.link.is_none()
                && let Ok(mut told) = api.told.lock()
            {
                let known = told.entry(page.stream).or_insert(i64::MIN);
                *known = (*known).max(page.tells_until);
            }
            extra.extend(page.link.map(|link| ("Link".to_owned(), link)));
            if cut {
                return truncated("application/json", &extra, page.body, rng.bool());
            }
            // Before the answer, so that a killed simulation counts what it told.
            let counting = tokio::task::spawn_blocking(move || api.count_served(page.rows));
            match counting.await {
                Ok(Ok(())) => json(200, &extra, page.body),
                Ok(Err(_)) | Err(_) => json(500, &extra, "{\"errors\":[\"Internal error.\"]}".into()),
            }
        }
        Ok(Err(refused)) => json(refused.status, &extra, serde_json::json!({"errors": [refused.error]}).to_string()),
        Err(_) => json(500, &extra, "{\"errors\":[\"Internal error.\"]}".into()),
    }
}

struct Page {
    stream: String,
    body: String,
    rows: u64,
    link: Option<String>,
    tells_until: i64,
}

impl Api {
    fn page(&self, name: &str, params: &[(String, String)], host: &str) -> Result<Page, Refusal> {
        let stream =
            self.rules.stream(name).ok_or_else(|| Refusal { status: 404, error: "Resource not found".to_owned() })?;
        let query = Query::read(&self.rules, stream, params)?;
        let now = now_ms();
        let rows = self.read(&query, now).map_err(|error| {
            tracing::error!(error = &error as &dyn std::error::Error, "the simulated API cannot read its file");
            Refusal { status: 500, error: "Internal error.".to_owned() }
        })?;
        let size = usize::try_from(query.per_page).unwrap_or(100);
        let more = rows.len() > size;
        let shown = rows.get(..size.min(rows.len())).unwrap_or(&rows);
        let texts: Vec<String> = shown.iter().map(|(_, body)| sign_anew(stream, body, now)).collect();
        let link = shown.last().filter(|_| more).map(|(last, _)| {
            let (path, param) = (&self.rules.base_path, self.rules.paging.next.param());
            format!("<http://{host}{path}/{name}?{param}={}>; rel=\"next\"", query.next(*last))
        });
        Ok(Page {
            stream: name.to_owned(),
            body: format!("[{}]", texts.join(",")),
            rows: texts.len() as u64,
            link,
            tells_until: query.tells_until(now),
        })
    }

    fn count_served(&self, rows: u64) -> Result<(), StoreError> {
        let Ok(connection) = self.connection.lock() else { return Ok(()) };
        store::add_to_meta(&connection, ROWS_SERVED, rows).inspect_err(|error| {
            tracing::error!(error = error as &dyn std::error::Error, "the simulated API cannot write its file");
        })
    }

    fn read(&self, query: &Query, now: i64) -> Result<Vec<(i64, String)>, StoreError> {
        let (sql, values) = query.sql(now);
        let Ok(connection) = self.connection.lock() else { return Ok(Vec::new()) };
        let mut statement = connection.prepare_cached(&sql)?;
        let rows = statement.query_map(params_from_iter(values), |row| Ok((row.get(0)?, row.get(1)?)))?;
        rows.map(|row| Ok(row?)).collect()
    }
}

/// A link to a file is signed when it is listed: the same row, another text.
fn sign_anew(stream: &Stream, body: &str, now: i64) -> String {
    let Some(field) = &stream.signed_anew else { return body.to_owned() };
    let start = format!("\"{field}\":\"");
    // Links hold no quotes, so the next one ends the link.
    match body.split_once(&start).and_then(|(before, rest)| Some((before, rest.split_once('"')?))) {
        Some((before, (link, after))) => format!("{before}{start}{link}{now:x}\"{after}"),
        None => body.to_owned(),
    }
}
