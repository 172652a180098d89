//! Requests to a token endpoint (RFC 6749 section 3.2), and what its answers hold.

use std::fmt;
use std::time::{Duration, Instant};

use axum::http::{HeaderMap, StatusCode};
use jiff::Timestamp;
use reqwest::{Method, Url};

use super::super::failure::Failure;
use super::super::retry;
use crate::json;
use crate::manifest::{ClientIn, Life, TokenRules};

/// A token is renewed this long before its end, or a tenth of its life, if that is shorter.
const MARGIN: Duration = Duration::from_secs(60);
/// Taken for the life of a token whose answer does not say it.
const UNKNOWN_LIFE: Duration = Duration::from_secs(300);
/// A larger answer is no token.
const MAX_ANSWER_BYTES: usize = 256 * 1024;
/// Instants further away are none.
const LONGEST_LIFE: Duration = Duration::from_secs(10 * 365 * 24 * 3600);

/// An access token.
pub(super) struct Token {
    pub(super) value: String,
    good_until: Instant,
}

/// What a token endpoint gave.
pub(super) struct Answer {
    pub(super) token: Token,
    /// The refresh token that takes the place of the one that was used, or is the first.
    pub(super) refresh: Option<String>,
}

/// Who asks.
pub(super) struct Client {
    pub(super) id: String,
    pub(super) secret: String,
}

/// Hosts that may be told a secret.
pub(super) struct Trusted<'a> {
    /// Every host of this domain, by `https`.
    pub(super) within: &'a str,
    /// And the host of this address, which the settings name.
    pub(super) home: &'a Url,
}

/// Where tokens are asked for.
pub(super) struct Endpoint<'a> {
    http: &'a reqwest::Client,
    url: Url,
    rules: &'a TokenRules,
    pub(super) client: Client,
    /// Hosts to which an answer may send a request on; `None`: it may not.
    trusted: Option<Trusted<'a>>,
}

/// An answer, read whole.
pub(super) struct Received {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Vec<u8>,
}

impl Token {
    pub(super) fn is_good(&self) -> bool {
        Instant::now() < self.good_until
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token")
    }
}

impl Trusted<'_> {
    pub(super) fn allows(&self, url: &Url) -> bool {
        let of = |url: &Url| (url.scheme().to_owned(), url.host_str().map(str::to_owned));
        let inside = url.host_str().is_some_and(|host| {
            host == self.within || host.strip_suffix(self.within).is_some_and(|front| front.ends_with('.'))
        });
        (url.scheme() == "https" && inside) || of(url) == of(self.home)
    }
}

impl<'a> Endpoint<'a> {
    pub(super) fn new(
        http: &'a reqwest::Client,
        url: &str,
        rules: &'a TokenRules,
        client: Client,
    ) -> Result<Self, Failure> {
        let url = Url::parse(url).map_err(|_| Failure::Refused(0))?;
        Ok(Self { http, url, rules, client, trusted: None })
    }

    pub(super) fn within(self, trusted: Trusted<'a>) -> Self {
        Self { trusted: Some(trusted), ..self }
    }

    /// Asks for a token by `params`.
    ///
    /// # Errors
    /// [`Failure::Credentials`] when they are refused.
    pub(super) async fn ask(&self, params: &[(&str, &str)]) -> Result<Answer, Failure> {
        let Client { id, secret } = &self.client;
        let own = [("client_id", id.as_str()), ("client_secret", secret.as_str())];
        let request = |url: Url| self.http.request(Method::POST, url);
        let received = match self.rules.client {
            ClientIn::Basic => {
                let request = |url| request(url).basic_auth(id, Some(secret)).form(params);
                send(&request, self.url.clone(), self.trusted.as_ref()).await?
            }
            ClientIn::Form => {
                let form = [params, &own].concat();
                send(&|url| request(url).form(&form), self.url.clone(), self.trusted.as_ref()).await?
            }
            ClientIn::Query => {
                let mut url = self.url.clone();
                url.query_pairs_mut().extend_pairs(params).extend_pairs(own);
                send(&|url| request(url).header("content-length", "0"), url, self.trusted.as_ref()).await?
            }
        };
        let body = received.good("the token endpoint")?;
        let field = |name| json::Path::parse(name).and_then(|path| json::scalar(body, &path));
        let value =
            field("access_token").ok_or(Failure::Broken("the token endpoint's answer holds no access_token"))?;
        let life = life(&self.rules.life, body, received.now()).unwrap_or_else(|| {
            tracing::warn!("a token does not say when it ends; it is renewed every {} s", UNKNOWN_LIFE.as_secs());
            UNKNOWN_LIFE
        });
        let good_until = Instant::now() + life.saturating_sub(MARGIN.min(life / 10));
        Ok(Answer { token: Token { value, good_until }, refresh: field("refresh_token") })
    }
}

/// How long a token is good from now on.
fn life(rules: &Life, body: &[u8], now: Timestamp) -> Option<Duration> {
    let life = match rules {
        Life::Until(path) => {
            let end = json::scalar(body, path)?.parse::<Timestamp>().ok()?;
            Duration::try_from(end.duration_since(now)).unwrap_or(Duration::ZERO)
        }
        Life::Seconds(path) => Duration::try_from_secs_f64(json::scalar(body, path)?.parse().ok()?).ok()?,
    };
    Some(life.min(LONGEST_LIFE))
}

/// Sends what `request` makes of a URL. An answer that the right place is elsewhere (307, 308) is followed once, if it may
/// be: what is sent holds secrets.
pub(super) async fn send(
    request: &(dyn Fn(Url) -> reqwest::RequestBuilder + Sync),
    url: Url,
    trusted: Option<&Trusted<'_>>,
) -> Result<Received, Failure> {
    let received = receive(request(url.clone())).await?;
    let (Some(trusted), 307 | 308) = (trusted, received.status.as_u16()) else { return Ok(received) };
    let location = received.headers.get("location").and_then(|value| value.to_str().ok());
    let elsewhere = location.and_then(|location| url.join(location).ok()).filter(|url| trusted.allows(url));
    let elsewhere = elsewhere.ok_or(Failure::Broken("an answer leads to a host that is not the vendor's"))?;
    receive(request(elsewhere)).await
}

async fn receive(request: reqwest::RequestBuilder) -> Result<Received, Failure> {
    let request = request.header("accept", "application/json");
    let mut response = request.send().await.map_err(|error| Failure::transport(&error))?;
    let (status, headers) = (response.status(), response.headers().clone());
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|error| Failure::transport(&error))? {
        body.extend_from_slice(&chunk);
        if body.len() > MAX_ANSWER_BYTES {
            return Err(Failure::Broken("an answer to a login is too large"));
        }
    }
    Ok(Received { status, headers, body })
}

impl Received {
    /// The vendor's time, or ours.
    fn now(&self) -> Timestamp {
        retry::date(&self.headers).unwrap_or_else(Timestamp::now)
    }

    /// The body of a good answer of `who`.
    ///
    /// # Errors
    /// [`Failure::Credentials`] when what was sent is refused.
    pub(super) fn good(&self, who: &str) -> Result<&[u8], Failure> {
        self.not_busy()?;
        if self.status.is_success() {
            return Ok(&self.body);
        }
        // RFC 6749 section 5.2: a word.
        let error = json::Path::parse("error").and_then(|path| json::scalar(&self.body, &path));
        let word = |text: &String| text.len() <= 64 && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
        let error = error.filter(word).map(|error| format!(" {error}")).unwrap_or_default();
        Err(Failure::Credentials(format!("{who} answered {}{error}", self.status.as_u16())))
    }

    /// # Errors
    /// [`Failure::Busy`]: to be asked again.
    pub(super) fn not_busy(&self) -> Result<(), Failure> {
        let status = self.status.as_u16();
        if self.status.is_server_error() || matches!(status, 408 | 425 | 429) {
            return Err(Failure::Busy { status, wait: retry::retry_after(&self.headers, self.now()) });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_hosts_of_the_vendor_s_domain_and_the_one_that_the_settings_name_are_trusted() {
        let home = Url::parse("http://127.0.0.1:8080/oauth").unwrap();
        let trusted = Trusted { within: "vendor.example", home: &home };
        let allows = |url: &str| trusted.allows(&Url::parse(url).unwrap());
        assert!(allows("https://vendor.example/a") && allows("https://auth-west.vendor.example/oauth?x=1"));
        assert!(allows("http://127.0.0.1:9/elsewhere"));
        for url in [
            "http://auth.vendor.example/",
            "https://evilvendor.example/",
            "https://vendor.example.evil.example/",
            "https://vendor.example@evil.example/",
            "https://127.0.0.1:8080/",
        ] {
            assert!(!allows(url), "{url}");
        }
    }

    #[test]
    fn a_life_is_told_in_seconds_or_by_its_end() {
        let path = json::Path::parse("x").unwrap();
        let now: Timestamp = "2026-01-02T03:04:05Z".parse().unwrap();
        let told = |rules: &Life, body: &str| life(rules, body.as_bytes(), now);
        let (until, seconds) = (Life::Until(path.clone()), Life::Seconds(path));
        assert_eq!(told(&until, "{\"x\":\"2026-01-02T03:14:05Z\"}"), Some(Duration::from_secs(600)));
        assert_eq!(told(&until, "{\"x\":\"2026-01-01T03:14:05Z\"}"), Some(Duration::ZERO));
        assert_eq!(told(&seconds, "{\"x\":600}"), Some(Duration::from_secs(600)));
        assert_eq!(told(&seconds, "{\"x\":\"600\"}"), Some(Duration::from_secs(600)));
        assert_eq!(told(&seconds, "{\"x\":1e300}"), None);
        for nothing in ["{}", "{\"x\":\"soon\"}", "{\"x\":-1}", "{\"x\":null}"] {
            assert_eq!((told(&until, nothing), told(&seconds, nothing)), (None, None), "{nothing}");
        }
        assert_eq!(told(&seconds, "{\"x\":99999999999}"), Some(LONGEST_LIFE));
    }
}
