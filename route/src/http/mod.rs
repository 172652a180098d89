//! The HTTP transport: one request, signed, authenticated, guarded, and what came of it.
//!
//! In: a [`Delivery`] with a request. Out: an [`Attempt`]. No redirect is followed, no proxy of the environment is
//! used, the whole exchange has one timeout, and of the answer only the status and `Retry-After` are looked at.

pub(crate) mod guard;
pub(crate) mod networks;
pub(crate) mod signing;

#[cfg(test)]
mod tests;

use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

use hirewire_service::Secret;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};

use crate::deliver::backoff::retry_after;
use crate::deliver::outcome::{Attempt, Fault};
use crate::deliver::{Content, Delivery, Transport};
use crate::request::Request;
use guard::{Guard, NoAddress, find_in, refusal_in};
use signing::Signer;

/// How long the rest of an answer is waited for after its status has decided.
const ANSWER_REST: Duration = Duration::from_secs(2);
/// For the whole answer to a HEAD request.
const PROBE_PATIENCE: Duration = Duration::from_secs(10);

/// How a sink shows who we are.
#[derive(Debug, Clone)]
pub(crate) enum Auth {
    Bearer(Secret),
    Basic { user: String, password: Secret },
    Header { name: HeaderName, value: Secret },
}

impl Auth {
    fn secret(&self) -> &Secret {
        match self {
            Self::Bearer(secret) | Self::Basic { password: secret, .. } | Self::Header { value: secret, .. } => secret,
        }
    }
}

/// The checked settings of an `http` sink.
#[derive(Clone)]
pub(crate) struct HttpSettings {
    /// Every request of the sink goes to this origin, below this path.
    pub(crate) url: reqwest::Url,
    pub(crate) guard: Guard,
    pub(crate) auth: Option<Auth>,
    pub(crate) signer: Option<Signer>,
    /// Trusted beside the system's authorities; PEM.
    pub(crate) ca: Option<Vec<u8>>,
    pub(crate) timeout: Duration,
    /// How much of an answer is read, so that the connection can be used again; the rest is dropped with it.
    pub(crate) answer_bytes: u64,
}

pub(crate) const USER_AGENT: &str = concat!("hirewire/", env!("CARGO_PKG_VERSION"));

pub(crate) struct HttpTransport {
    settings: HttpSettings,
    client: reqwest::Client,
}

impl HttpTransport {
    /// # Errors
    /// When the TLS library cannot be set up.
    pub(crate) fn new(settings: HttpSettings) -> Result<Self, reqwest::Error> {
        let plain = settings.url.scheme() == "http";
        let mut client = reqwest::Client::builder();
        if let Some(pem) = &settings.ca {
            client = client.add_root_certificate(reqwest::Certificate::from_pem(pem)?);
        }
        let client = client
            .dns_resolver(settings.guard.resolver(plain))
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .timeout(settings.timeout)
            .user_agent(USER_AGENT)
            .build()?;
        Ok(Self { settings, client })
    }

    async fn try_once(&self, delivery: &Delivery, request: &Request) -> Result<Attempt, Attempt> {
        let url = self.checked_url(request)?;
        let headers = self.headers(delivery, request).ok_or(Attempt::SecretMissing)?;
        let sent = self.client.request(request.method.clone(), url).headers(headers).body(request.body.clone()).send();
        let answer = sent.await.map_err(|error| outcome_of(&error))?;
        let now = jiff::Timestamp::now();
        let asked = answer.headers().get(reqwest::header::RETRY_AFTER).and_then(|value| value.to_str().ok());
        let outcome = Attempt::Answered {
            status: answer.status().as_u16(),
            retry_after: asked.and_then(|asked| retry_after(asked, now)),
        };
        // The status has decided; a slow, broken or endless body changes nothing.
        drop(tokio::time::timeout(ANSWER_REST, drain(answer, self.settings.answer_bytes)).await);
        Ok(outcome)
    }

    /// # Errors
    /// [`Attempt::AddressRefused`].
    pub(crate) fn checked_url(&self, request: &Request) -> Result<reqwest::Url, Attempt> {
        let url = self.url(request).ok_or(Attempt::AddressRefused)?;
        self.settings.guard.check_url(&url).map_err(|_| Attempt::AddressRefused)?;
        Ok(url)
    }

    /// Asks the sink's own URL by HEAD, with its credentials and nothing else.
    pub(crate) async fn probe(&self) -> Attempt {
        if self.settings.guard.check_url(&self.settings.url).is_err() {
            return Attempt::AddressRefused;
        }
        let mut request = self.client.head(self.settings.url.clone()).timeout(PROBE_PATIENCE);
        if let Some(auth) = &self.settings.auth {
            let Some((name, value)) = authorization(auth) else { return Attempt::SecretMissing };
            request = request.header(name, value);
        }
        match Box::pin(request.send()).await {
            Ok(answer) => Attempt::Answered { status: answer.status().as_u16(), retry_after: None },
            Err(error) => outcome_of(&error),
        }
    }

    /// The request's URL: the sink's origin whatever the path is made of.
    fn url(&self, request: &Request) -> Option<reqwest::Url> {
        let base = &self.settings.url;
        let mut url = base.clone();
        if !request.path.is_empty() {
            url.set_path(&format!("{}{}", base.path().trim_end_matches('/'), request.path));
        }
        (url.origin() == base.origin()).then_some(url)
    }

    pub(crate) fn headers(&self, delivery: &Delivery, request: &Request) -> Option<HeaderMap> {
        let key = delivery.idempotency_key.to_string();
        let mut headers = HeaderMap::new();
        headers.insert("content-type", HeaderValue::from_static(request.content_type));
        headers.insert("idempotency-key", HeaderValue::from_str(&key).ok()?);
        headers.insert("traceparent", HeaderValue::from_str(&delivery.trace.to_string()).ok()?);
        if let Some(signer) = &self.settings.signer {
            let timestamp_secs = jiff::Timestamp::now().as_second();
            let signature = signer.sign(&key, timestamp_secs, &request.body).ok()?;
            headers.insert("webhook-id", HeaderValue::from_str(&key).ok()?);
            headers.insert("webhook-timestamp", HeaderValue::from(timestamp_secs));
            headers.insert("webhook-signature", HeaderValue::from_str(&signature).ok()?);
        }
        if let Some(auth) = &self.settings.auth {
            let (name, value) = authorization(auth)?;
            headers.insert(name, value);
        }
        Some(headers)
    }

    /// Changes when a secret of the sink changes.
    pub(crate) fn fingerprint(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        let signing = self.settings.signer.iter().flat_map(|signer| signer.secrets());
        for secret in signing.chain(self.settings.auth.iter().map(Auth::secret)) {
            secret.bytes().ok().hash(&mut hasher);
        }
        hasher.finish()
    }
}

impl Transport for HttpTransport {
    async fn attempt(&self, delivery: &Delivery) -> Attempt {
        match &delivery.content {
            Content::Request(request) => match Box::pin(self.try_once(delivery, request)).await {
                Ok(attempt) | Err(attempt) => attempt,
            },
            // The settings give rows to databases only.
            Content::Row(_) => Attempt::Unstorable,
        }
    }
}

async fn drain(mut answer: reqwest::Response, most_bytes: u64) {
    let mut read = 0;
    while read < most_bytes {
        match answer.chunk().await {
            Ok(Some(chunk)) => read += chunk.len() as u64,
            Ok(None) | Err(_) => return,
        }
    }
}

fn outcome_of(error: &reqwest::Error) -> Attempt {
    if refusal_in(error).is_some() {
        Attempt::AddressRefused
    } else if error.is_timeout() {
        Attempt::TimedOut
    } else if find_in::<NoAddress>(error).is_some() {
        Attempt::Unreachable(Fault::Name)
    } else if find_in::<native_tls::Error>(error).is_some() {
        Attempt::Unreachable(Fault::Tls)
    } else if error.is_connect() {
        Attempt::Unreachable(Fault::Connect)
    } else {
        Attempt::Unreachable(Fault::Protocol)
    }
}

fn authorization(auth: &Auth) -> Option<(HeaderName, HeaderValue)> {
    use base64::Engine as _;
    let secret = auth.secret().text().ok()?;
    let (name, text) = match auth {
        Auth::Bearer(_) => (reqwest::header::AUTHORIZATION, format!("Bearer {secret}")),
        Auth::Basic { user, .. } => {
            let pair = base64::engine::general_purpose::STANDARD.encode(format!("{user}:{secret}"));
            (reqwest::header::AUTHORIZATION, format!("Basic {pair}"))
        }
        Auth::Header { name, .. } => (name.clone(), secret),
    };
    let mut value = HeaderValue::from_str(&text).ok()?;
    value.set_sensitive(true);
    Some((name, value))
}
