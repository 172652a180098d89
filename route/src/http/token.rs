//! Access tokens of a sink: OAuth 2 client credentials and refresh tokens (RFC 6749, sections 4.4 and 6).
//!
//! In: the settings of the token's endpoint. Out: a token, kept until shortly before it ends; who finds none waits for the
//! one request that asks for it. What an endpoint writes is never repeated.

use std::time::Duration;

use hirewire_service::{Secret, fingerprint};
use serde_json::Value;
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::auth::{basic, sensitive};
use super::guard::Guard;
use super::{answered, outcome_of, read_answer};
use crate::deliver::outcome::{Attempt, Fault};

/// A token is renewed this long before its end, or a tenth of its life, if that is shorter.
const MARGIN: Duration = Duration::from_secs(60);
/// Taken for the life of a token whose answer does not say it.
const UNKNOWN_LIFE: Duration = Duration::from_secs(300);
/// No answer with a token is larger.
const ANSWER_BYTES: u64 = 256 * 1024;

#[derive(Debug, Clone)]
pub(crate) struct OAuth {
    pub(crate) token_url: reqwest::Url,
    pub(crate) client_id: String,
    pub(crate) client_secret: Secret,
    /// With it tokens are asked for in the name of who gave it.
    pub(crate) refresh_token: Option<Secret>,
    pub(crate) scope: Option<String>,
}

impl OAuth {
    pub(super) fn secrets(&self) -> Vec<&Secret> {
        std::iter::once(&self.client_secret).chain(&self.refresh_token).collect()
    }
}

/// The token of one sink.
#[derive(Default)]
pub(super) struct Tokens {
    kept: Mutex<Kept>,
}

#[derive(Default)]
struct Kept {
    token: Option<Token>,
    /// The endpoint has put it in the place of the configured one.
    refresh_token: Option<String>,
    /// Of the secrets that these were got with.
    fingerprint: u64,
}

struct Token {
    value: String,
    good_until: Instant,
}

impl Tokens {
    /// The token to use now.
    ///
    /// # Errors
    /// What the request for it came to.
    pub(super) async fn get(&self, client: &reqwest::Client, guard: &Guard, oauth: &OAuth) -> Result<String, Attempt> {
        let mut kept = self.kept.lock().await;
        let fingerprint = fingerprint(oauth.secrets());
        if kept.fingerprint != fingerprint {
            *kept = Kept { fingerprint, ..Kept::default() };
        }
        if let Some(token) = kept.token.as_ref().filter(|token| Instant::now() < token.good_until) {
            return Ok(token.value.clone());
        }
        let answer = Box::pin(ask(client, guard, oauth, kept.refresh_token.as_deref())).await?;
        let value = text(&answer, "access_token").ok_or(Attempt::Unreachable(Fault::Protocol))?;
        if let Some(rotated) = oauth.refresh_token.as_ref().and_then(|_| text(&answer, "refresh_token")) {
            kept.refresh_token = Some(rotated);
        }
        kept.token = Some(Token { value: value.clone(), good_until: Instant::now() + life(&answer) });
        Ok(value)
    }

    /// The sink refused the token: the next use asks for another, unless somebody has one already.
    pub(super) async fn forget(&self, refused: &str) {
        let mut kept = self.kept.lock().await;
        if kept.token.as_ref().is_some_and(|token| token.value == refused) {
            kept.token = None;
        }
    }
}

fn text(answer: &Value, name: &str) -> Option<String> {
    answer.get(name).and_then(Value::as_str).filter(|text| !text.is_empty()).map(str::to_owned)
}

/// How long a token is used. `expires_in` is a number of seconds, which some write as text.
fn life(answer: &Value) -> Duration {
    let field = answer.get("expires_in");
    let secs = field.and_then(|field| field.as_u64().or_else(|| field.as_str()?.parse().ok()));
    let life = secs.map_or(UNKNOWN_LIFE, Duration::from_secs).min(Duration::from_secs(24 * 60 * 60));
    life.saturating_sub(MARGIN.min(life / 10))
}

async fn ask(client: &reqwest::Client, guard: &Guard, oauth: &OAuth, rotated: Option<&str>) -> Result<Value, Attempt> {
    guard.check_url(&oauth.token_url).map_err(|_| Attempt::AddressRefused)?;
    let encoded = |text: &str| form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
    let credentials = basic(&encoded(&oauth.client_id), &encoded(&read(&oauth.client_secret)?));
    let request = client
        .post(oauth.token_url.clone())
        .header("authorization", sensitive(&credentials).ok_or(Attempt::SecretMissing)?)
        .header("accept", "application/json")
        .header("content-type", "application/x-www-form-urlencoded")
        .body(form(oauth, rotated)?);
    let mut answer = request.send().await.map_err(|error| outcome_of(&error))?;
    match answer.status().as_u16() {
        200..=299 => {}
        408 | 425 | 429 | 500.. => return Err(answered(&answer)),
        400..=499 => return Err(Attempt::TokenRefused),
        _ => return Err(Attempt::Unreachable(Fault::Protocol)),
    }
    let body = read_answer(&mut answer, ANSWER_BYTES).await?.unwrap_or_default();
    serde_json::from_slice(&body).map_err(|_| Attempt::Unreachable(Fault::Protocol))
}

fn read(secret: &Secret) -> Result<String, Attempt> {
    secret.text().map_err(|_| Attempt::SecretMissing)
}

fn form(oauth: &OAuth, rotated: Option<&str>) -> Result<String, Attempt> {
    let mut form = form_urlencoded::Serializer::new(String::new());
    match (rotated, &oauth.refresh_token) {
        (Some(token), _) => form.append_pair("grant_type", "refresh_token").append_pair("refresh_token", token),
        (None, Some(token)) => {
            form.append_pair("grant_type", "refresh_token").append_pair("refresh_token", &read(token)?)
        }
        (None, None) => form.append_pair("grant_type", "client_credentials"),
    };
    if let Some(scope) = &oauth.scope {
        form.append_pair("scope", scope);
    }
    Ok(form.finish())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_token_is_used_until_shortly_before_its_end() {
        let life = |answer: Value| life(&answer).as_secs();
        assert_eq!(life(json!({"expires_in": 3600})), 3540);
        assert_eq!(life(json!({"expires_in": "100"})), 90);
        assert_eq!(life(json!({"expires_in": 0})), 0);
        assert_eq!(life(json!({})), 270);
        assert_eq!(life(json!({"expires_in": u64::MAX})), 24 * 60 * 60 - 60);
    }
}
