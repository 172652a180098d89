//! A user's session: the data centre is found, a token is asked for there, and the token opens the session.
//!
//! A token opens one session, also when the answer is lost: so each login has a new one.

use std::fmt;

use reqwest::{Method, Url};

use super::super::failure::Failure;
use super::super::journal::Journal;
use super::oauth::{Client, Endpoint, Token, Trusted, send};
use super::vault::Kept;
use super::{Access, Pass, header_pass, text};
use crate::credentials::{ServerUrls, SessionSecrets};
use crate::json;
use crate::manifest::{BaseUrl, SessionLogin};

/// An open session.
pub(super) struct Session {
    key: String,
    header: String,
    /// Where its requests go; `None`: the manifest or the settings say it.
    base_url: Option<String>,
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Session")
    }
}

impl Session {
    pub(super) fn pass(&self) -> Result<Pass, Failure> {
        header_pass(&self.header, &self.key, self.base_url.clone())
    }
}

/// A login under way.
struct Login<'a> {
    http: &'a reqwest::Client,
    auth: &'a SessionLogin,
    secrets: &'a SessionSecrets,
    user: String,
    servers: ServerUrls,
    home: &'a Url,
}

impl<J: Journal> Access<J> {
    /// Opens a session.
    pub(super) async fn log_in(
        &mut self,
        http: &reqwest::Client,
        auth: &SessionLogin,
        secrets: &SessionSecrets,
        base_url: &BaseUrl,
    ) -> Result<Session, Failure> {
        let home = secrets.servers.as_ref().map_or(auth.servers.url.as_str(), |servers| &servers.login);
        let home = Url::parse(home).map_err(|_| Failure::Refused(0))?;
        let user = text(&secrets.username)?;
        let servers = match &secrets.servers {
            Some(servers) => servers.clone(),
            None => data_centre(http, auth, &user, &home).await?,
        };
        let login = Login { http, auth, secrets, user, servers, home: &home };
        let endpoint = login.endpoint()?;
        let token = match self.renew(&endpoint, &login.user, None).await {
            Ok(Some(token)) => token,
            Ok(None) => self.authorize(&login, &endpoint).await?,
            Err(Failure::Credentials(why)) => {
                tracing::info!("the refresh token is not good any more ({why}); the user logs in with the password");
                self.authorize(&login, &endpoint).await?
            }
            Err(failure) => return Err(failure),
        };
        login.open(&token, base_url).await
    }

    /// A token by the user's password. The refresh token that comes with it, if one does, is kept.
    async fn authorize(&mut self, login: &Login<'_>, endpoint: &Endpoint<'_>) -> Result<Token, Failure> {
        let code = login.code(&endpoint.client.id).await?;
        let answer = endpoint.ask(&[("grant_type", "authorization_code"), ("code", &code)]).await?;
        if let Some(token) = answer.refresh {
            let kept = Kept { whose: Kept::digest(&login.user), token, used: false };
            self.vault.keep(endpoint.client.secret.as_bytes(), kept).await?;
        }
        Ok(answer.token)
    }
}

/// Asks which data centre the user's is.
async fn data_centre(
    http: &reqwest::Client,
    auth: &SessionLogin,
    user: &str,
    home: &Url,
) -> Result<ServerUrls, Failure> {
    let rules = &auth.servers;
    let trusted = Trusted { within: &rules.within, home };
    let mut url = Url::parse(&rules.url).map_err(|_| Failure::Refused(0))?;
    url.query_pairs_mut().append_pair(&rules.user, user);
    let received = send(&|url| http.get(url), url, Some(&trusted)).await?;
    let body = received.good("the search for the user's data centre")?;
    let address = |path| {
        let text = json::scalar(body, path)?;
        let url = Url::parse(&text).ok().filter(|url| trusted.allows(url))?;
        Some(url.as_str().trim_end_matches('/').to_owned())
    };
    let servers = address(&rules.oauth).zip(address(&rules.login));
    let (oauth, login) = servers.ok_or(Failure::Broken("the user's data centre has no address of the vendor's"))?;
    Ok(ServerUrls { oauth, login })
}

impl<'a> Login<'a> {
    fn trusted(&self) -> Trusted<'a> {
        Trusted { within: &self.auth.servers.within, home: self.home }
    }

    fn endpoint(&self) -> Result<Endpoint<'a>, Failure> {
        let client = Client { id: text(&self.secrets.client_id)?, secret: text(&self.secrets.client_secret)? };
        let url = format!("{}/{}", self.servers.oauth, self.auth.token);
        Ok(Endpoint::new(self.http, &url, &self.auth.rules, client)?.within(self.trusted()))
    }

    /// The authorization code for the user (RFC 6749 section 4.1.2): a parameter of the address that the answer leads to,
    /// which is not followed.
    async fn code(&self, client_id: &str) -> Result<String, Failure> {
        let url = format!("{}/{}", self.servers.oauth, self.auth.authorize);
        let mut url = Url::parse(&url).map_err(|_| Failure::Refused(0))?;
        let password = text(&self.secrets.password)?;
        url.query_pairs_mut()
            .extend_pairs([("client_id", client_id), ("response_type", "code")])
            .extend_pairs(&self.auth.params)
            .extend_pairs([("username", self.user.as_str()), ("password", &password)]);
        let received = send(&|url| self.http.get(url), url.clone(), Some(&self.trusted())).await?;
        received.not_busy()?;
        let location = received.headers.get("location").and_then(|value| value.to_str().ok());
        let target = location.and_then(|location| url.join(location).ok());
        let code = target
            .and_then(|url| url.query_pairs().find(|(name, _)| name == "code").map(|(_, code)| code.into_owned()));
        let why = "the login gave no authorization code: the user's name or password is wrong, or its terms wait to be \
                   accepted by a person";
        code.filter(|code| !code.is_empty()).ok_or_else(|| Failure::Credentials(why.to_owned()))
    }

    async fn open(&self, token: &Token, base_url: &BaseUrl) -> Result<Session, Failure> {
        let rules = &self.auth.login;
        let url = format!("{}/{}", self.servers.login, rules.path);
        let mut url = Url::parse(&url).map_err(|_| Failure::Refused(0))?;
        url.query_pairs_mut().extend_pairs(&rules.params).append_pair(&rules.token, &token.value);
        let request = |url: Url| self.http.request(Method::POST, url).header("content-length", "0");
        let received = send(&request, url, Some(&self.trusted())).await?;
        let body = received.good("the login")?;
        let key = json::scalar(body, &rules.session).ok_or(Failure::Broken("the login's answer holds no session"))?;
        let base_url = match base_url {
            BaseUrl::Session(path) => {
                let url = json::scalar(body, path).and_then(|text| Url::parse(&text).ok());
                let url = url.filter(|url| self.trusted().allows(url));
                Some(url.ok_or(Failure::Broken("the login's answer holds no address of the vendor's"))?.into())
            }
            BaseUrl::Shared(_) | BaseUrl::PerConnection(_) => None,
        };
        Ok(Session { key, header: rules.header.clone(), base_url })
    }
}
