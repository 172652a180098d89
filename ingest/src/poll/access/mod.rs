//! What proves to the vendor who asks, of one connection: kept as long as it is good, and renewed when it is not.
//!
//! The manifest's rules and the connection's secrets in, a [`Pass`] for one request out.

mod oauth;
mod session;
mod vault;

use std::fmt;

use axum::http::{HeaderName, HeaderValue};

use super::failure::Failure;
use super::journal::Journal;
use crate::connection::Poll;
use crate::credentials::{ClientSecrets, Credentials, RefreshSecrets};
use crate::manifest::{Api, Auth, ClientCredentials, RefreshToken};
use oauth::{Client, Endpoint, Token};
use session::Session;
use vault::Kept;
pub(super) use vault::{LANE, Vault};

/// What one connection proves itself with.
pub(super) struct Access<J> {
    token: Option<Token>,
    session: Option<Session>,
    vault: Vault<J>,
}

/// What goes with one request.
pub(super) enum Pass {
    Bearer(String),
    /// HTTP Basic, or in the envelope of a request by SOAP.
    User {
        name: String,
        password: Option<String>,
    },
    Header {
        name: HeaderName,
        value: HeaderValue,
        /// Where the session is; `None`: as the settings say.
        base_url: Option<String>,
    },
}

impl Pass {
    pub(super) fn base_url(&self) -> Option<&str> {
        match self {
            Self::Header { base_url, .. } => base_url.as_deref(),
            Self::Bearer(_) | Self::User { .. } => None,
        }
    }
}

impl<J> fmt::Debug for Access<J> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let held = self.token.is_some() || self.session.is_some();
        f.write_str(if held { "Access(held)" } else { "Access(none)" })
    }
}

impl<J: Journal> Access<J> {
    pub(super) fn new(vault: Vault<J>) -> Self {
        Self { token: None, session: None, vault }
    }

    /// What to send a request with now. Asks the vendor for a token or a session if there is none.
    pub(super) async fn pass(&mut self, http: &reqwest::Client, api: &Api, poll: &Poll) -> Result<Pass, Failure> {
        match (&api.auth, &poll.credentials) {
            (Auth::Oauth2ClientCredentials(auth), Credentials::Client(secrets)) => {
                self.by_client(http, auth, secrets).await.map(Pass::Bearer)
            }
            (
                Auth::Oauth2RefreshToken(auth) | Auth::UsernameToken { or: Some(auth) },
                Credentials::Refresh(secrets),
            ) => self.by_refresh_token(http, auth, secrets).await.map(Pass::Bearer),
            (Auth::SessionLogin(auth), Credentials::Session(secrets)) => {
                if self.session.is_none() {
                    self.session = Some(self.log_in(http, auth, secrets, &api.base_url).await?);
                }
                self.session.as_ref().ok_or(Failure::Broken("no session")).and_then(Session::pass)
            }
            (Auth::BasicApiKey { password }, Credentials::ApiKey(key)) => {
                Ok(Pass::User { name: text(key)?, password: password.clone() })
            }
            (Auth::ApiKeyHeader { header, before }, Credentials::ApiKey(key)) => {
                header_pass(header, &format!("{before}{}", text(key)?), None)
            }
            (Auth::UsernameToken { .. }, Credentials::User { name, password }) => {
                Ok(Pass::User { name: text(name)?, password: Some(text(password)?) })
            }
            // Settings are read by the manifest's kind.
            (
                Auth::Oauth2ClientCredentials(_)
                | Auth::Oauth2RefreshToken(_)
                | Auth::SessionLogin(_)
                | Auth::BasicApiKey { .. }
                | Auth::ApiKeyHeader { .. }
                | Auth::UsernameToken { .. },
                _,
            ) => Err(Failure::Credentials("they are of another kind than the vendor's manifest names".to_owned())),
        }
    }

    /// Whether the vendor gave something that it may have taken back since.
    pub(super) fn is_renewable(&self) -> bool {
        self.token.is_some() || self.session.is_some()
    }

    /// The vendor refused what it gave: the next request asks for another.
    pub(super) fn forget(&mut self) {
        self.token = None;
        self.session = None;
    }

    async fn by_client(
        &mut self,
        http: &reqwest::Client,
        auth: &ClientCredentials,
        secrets: &ClientSecrets,
    ) -> Result<String, Failure> {
        if let Some(token) = self.token.as_ref().filter(|token| token.is_good()) {
            return Ok(token.value.clone());
        }
        let client = Client { id: text(&secrets.client_id)?, secret: text(&secrets.client_secret)? };
        let endpoint = Endpoint::new(http, &secrets.token_url, &auth.rules, client)?;
        let mut params = vec![("grant_type", "client_credentials")];
        if let (Some(param), Some(user)) = (&auth.act_as, &secrets.act_as) {
            params.push((param, user));
        }
        let token = endpoint.ask(&params).await?.token;
        Ok(self.token.insert(token).value.clone())
    }

    async fn by_refresh_token(
        &mut self,
        http: &reqwest::Client,
        auth: &RefreshToken,
        secrets: &RefreshSecrets,
    ) -> Result<String, Failure> {
        if let Some(token) = self.token.as_ref().filter(|token| token.is_good()) {
            return Ok(token.value.clone());
        }
        self.token = None;
        let client = Client { id: text(&secrets.client_id)?, secret: text(&secrets.client_secret)? };
        let first = text(&secrets.refresh_token)?;
        let endpoint = Endpoint::new(http, &secrets.token_url, &auth.rules, client)?;
        let token = self.renew(&endpoint, &first, Some(&first)).await?;
        let token = token.ok_or(Failure::Broken("no refresh token"))?;
        Ok(self.token.insert(token).value.clone())
    }

    /// A token by the refresh token that is kept, or by the `first` one; `None`: there is neither. `whose` is what the kept
    /// one must have come from: with another consent, or another user, it does not count.
    ///
    /// A refresh token may work once. So the one that follows is committed before its access token is used; and before a
    /// refresh token is used, a commit says so: a poller that lost its connection without knowing learns it there, and
    /// spends nothing.
    async fn renew(&mut self, at: &Endpoint<'_>, whose: &str, first: Option<&str>) -> Result<Option<Token>, Failure> {
        let secret = at.client.secret.as_bytes();
        self.vault.settle(secret).await?;
        let whose = Kept::digest(whose);
        let kept = self.vault.open(secret).filter(|kept| kept.whose == whose);
        let used_before = kept.as_ref().is_some_and(|kept| kept.used);
        let Some(token) = kept.map(|kept| kept.token).or(first.map(str::to_owned)) else { return Ok(None) };
        self.vault.keep(secret, Kept { whose: whose.clone(), token: token.clone(), used: true }).await?;
        let answer = at.ask(&[("grant_type", "refresh_token"), ("refresh_token", &token)]).await;
        let answer = answer.map_err(|failure| match failure {
            Failure::Credentials(why) if used_before => Failure::Credentials(format!(
                "{why}; the refresh token was used before, and what followed it was lost when a process ended. Give \
                 consent anew, and put its refresh token in the place of the configured one"
            )),
            other => other,
        })?;
        let token = answer.refresh.unwrap_or(token);
        self.vault.keep(secret, Kept { whose, token, used: false }).await?;
        Ok(Some(answer.token))
    }
}

fn text(secret: &hirewire_service::Secret) -> Result<String, Failure> {
    secret.text().map_err(|error| Failure::Credentials(error.to_string()))
}

/// A header's value that no log may show.
fn header_pass(name: &str, value: &str, base_url: Option<String>) -> Result<Pass, Failure> {
    let unfit = |_| Failure::Credentials("a key holds characters that no header can".to_owned());
    let mut value = HeaderValue::from_str(value).map_err(unfit)?;
    value.set_sensitive(true);
    let name = HeaderName::try_from(name).map_err(|_| Failure::Broken("a header without a name"))?;
    Ok(Pass::Header { name, value, base_url })
}
