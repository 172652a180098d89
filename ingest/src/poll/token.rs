//! Access tokens: OAuth 2 client credentials (RFC 6749 section 4.4), kept until shortly before they end.

use std::fmt;
use std::time::{Duration, Instant};

use jiff::Timestamp;

use super::failure::Failure;
use super::retry;
use crate::connection::ClientSecrets;
use crate::json;
use crate::manifest::ClientCredentials;

/// A token is renewed this long before its end, or a tenth of its life, if that is shorter.
const MARGIN: Duration = Duration::from_secs(60);
/// Taken for the life of a token whose answer does not say it.
const UNKNOWN_LIFE: Duration = Duration::from_secs(300);
/// A larger answer is no token.
const MAX_ANSWER_BYTES: usize = 256 * 1024;

/// The token of one connection.
#[derive(Default)]
pub(super) struct Tokens {
    current: Option<Token>,
}

#[derive(Clone)]
struct Token {
    value: String,
    good_until: Instant,
}

impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.current.is_some() { "Tokens(one)" } else { "Tokens(none)" })
    }
}

impl Tokens {
    /// The token to use now, asked for if there is none.
    pub(super) async fn get(
        &mut self,
        http: &reqwest::Client,
        auth: &ClientCredentials,
        client: &ClientSecrets,
    ) -> Result<String, Failure> {
        if let Some(token) = &self.current
            && Instant::now() < token.good_until
        {
            return Ok(token.value.clone());
        }
        let token = ask(http, auth, client).await?;
        Ok(self.current.insert(token).value.clone())
    }

    pub(super) fn is_some(&self) -> bool {
        self.current.is_some()
    }

    /// The vendor refused the token: the next use asks for another.
    pub(super) fn forget(&mut self) {
        self.current = None;
    }
}

async fn ask(http: &reqwest::Client, auth: &ClientCredentials, client: &ClientSecrets) -> Result<Token, Failure> {
    let secret = |error: hirewire_service::SecretError| Failure::Credentials(error.to_string());
    let (id, password) = (client.client_id.text().map_err(secret)?, client.client_secret.text().map_err(secret)?);
    let mut form = vec![("grant_type", "client_credentials")];
    if let (Some(param), Some(user)) = (&auth.act_as, &client.act_as) {
        form.push((param, user));
    }
    let request = http.post(&client.token_url).basic_auth(id, Some(password)).form(&form);
    let mut response = request.send().await.map_err(|error| Failure::transport(&error))?;
    let (status, headers) = (response.status(), response.headers().clone());
    let now = retry::date(&headers).unwrap_or_else(Timestamp::now);
    if status.is_server_error() || status.as_u16() == 429 {
        return Err(Failure::Busy { status: status.as_u16(), wait: retry::retry_after(&headers, now) });
    }
    if !status.is_success() {
        return Err(Failure::Credentials(format!("the token endpoint answered {}", status.as_u16())));
    }
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|error| Failure::transport(&error))? {
        body.extend_from_slice(&chunk);
        if body.len() > MAX_ANSWER_BYTES {
            return Err(Failure::Broken("the token endpoint's answer is too large"));
        }
    }
    let field = |name| json::Path::parse(name).and_then(|path| json::scalar(&body, &path));
    let value = field("access_token").ok_or(Failure::Broken("the token endpoint's answer holds no access_token"))?;
    let end = json::scalar(&body, &auth.expires_at).and_then(|text| text.parse::<Timestamp>().ok());
    if end.is_none() {
        tracing::warn!("a token does not say when it ends; it is renewed every {} s", UNKNOWN_LIFE.as_secs());
    }
    let life = end.map_or(UNKNOWN_LIFE, |end| Duration::try_from(end.duration_since(now)).unwrap_or(Duration::ZERO));
    Ok(Token { value, good_until: Instant::now() + life.saturating_sub(MARGIN.min(life / 10)) })
}
