//! The HTTP transport: one request, signed, authenticated, guarded, and what came of it.
//!
//! In: a [`Delivery`] with a request. Out: an [`Attempt`]. No redirect is followed, no proxy of the environment is
//! used, each exchange has one timeout, and of an answer the status and `Retry-After` decide; what it says beyond them is
//! read only where the system says how.

pub(crate) mod auth;
pub(crate) mod batch;
pub(crate) mod guard;
pub(crate) mod networks;
pub(crate) mod signing;
pub(crate) mod token;

#[cfg(test)]
pub(crate) mod tests;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use hirewire_service::{Identity, TraceParent, fingerprint};
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderValue, LOCATION, RETRY_AFTER};
use reqwest::{Response, Url};
use serde_json::Value;
use uuid::Uuid;

use crate::deliver::backoff::retry_after;
use crate::deliver::outcome::{Attempt, Fault, Understood};
use crate::deliver::{Content, Delivery, Transport};
use crate::request::Request;
use crate::request::answer::{Answer, Meaning, rule};
use crate::request::told::Secrets;
pub(crate) use auth::Auth;
use auth::sensitive;
use batch::{BatchSettings, Batches};
use guard::{Guard, NoAddress, find_in, refusal_in};
use signing::{Signing, Unsigned};
use token::Tokens;

/// How long the rest of an answer is waited for after its status has decided.
const ANSWER_REST: Duration = Duration::from_secs(2);
/// For the whole answer to a HEAD request.
const PROBE_PATIENCE: Duration = Duration::from_secs(10);

/// The checked settings of an `http` sink.
#[derive(Clone)]
pub(crate) struct HttpSettings {
    /// Every request of the sink goes to this origin, below this path.
    pub(crate) url: Url,
    pub(crate) guard: Guard,
    pub(crate) auth: Option<Auth>,
    pub(crate) signing: Option<Signing>,
    /// Trusted beside the system's authorities; PEM.
    pub(crate) ca: Option<Vec<u8>>,
    /// Our own certificate, if the receiver wants one.
    pub(crate) identity: Option<Identity>,
    pub(crate) timeout: Duration,
    /// How much of an answer is read; a connection with more is dropped with the rest.
    pub(crate) answer_bytes: u64,
    /// Requests that go as one, where the system says how.
    pub(crate) batch: Option<BatchSettings>,
    /// What bodies may hold and nothing shows.
    pub(crate) secrets: Secrets,
}

pub(crate) const USER_AGENT: &str = concat!("hirewire/", env!("CARGO_PKG_VERSION"));

pub(crate) struct HttpTransport {
    way: Arc<Way>,
    batches: Option<Batches>,
}

/// The way to the receiver.
struct Way {
    settings: HttpSettings,
    /// With the fingerprint of the identity that it has.
    client: Mutex<(u64, reqwest::Client)>,
    tokens: Tokens,
}

impl HttpTransport {
    /// # Errors
    /// When the TLS library cannot be set up.
    pub(crate) fn new(settings: HttpSettings) -> Result<Self, reqwest::Error> {
        let client = Mutex::new((0, client(&settings, None)?));
        let batches = settings.batch.clone().map(Batches::new);
        Ok(Self { way: Arc::new(Way { settings, client, tokens: Tokens::default() }), batches })
    }

    /// # Errors
    /// [`Attempt::AddressRefused`].
    pub(crate) fn checked_url(&self, path: &str, query: Option<&str>) -> Result<Url, Attempt> {
        self.way.checked_url(path, query)
    }

    /// `None`: a secret cannot be read.
    pub(crate) fn headers(&self, delivery: &Delivery, request: &Request) -> Option<HeaderMap> {
        let (body, url) = (self.way.body(request)?, self.way.url(&request.path, request.query.as_deref())?);
        self.way.headers(delivery.idempotency_key, delivery.trace, request, &url, &body)
    }

    /// Asks the sink's own URL by HEAD, with its credentials and nothing else.
    pub(crate) async fn probe(&self) -> Attempt {
        match Box::pin(self.way.try_probe()).await {
            Ok(attempt) | Err(attempt) => attempt,
        }
    }

    /// Changes when a secret of the sink changes.
    pub(crate) fn fingerprint(&self) -> u64 {
        let settings = &self.way.settings;
        let signing = settings.signing.iter().flat_map(Signing::secrets);
        let auth = settings.auth.iter().flat_map(Auth::secrets);
        let identity = settings.identity.iter().flat_map(Identity::secrets);
        fingerprint(signing.chain(auth).chain(identity).chain(settings.secrets.iter()))
    }
}

impl Way {
    /// The client of now: another one when our certificate was renewed.
    fn client(&self) -> Result<reqwest::Client, Attempt> {
        let mut kept = self.client.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(identity) = &self.settings.identity else { return Ok(kept.1.clone()) };
        let seen = fingerprint(identity.secrets());
        if kept.0 != seen {
            let identity = identity.of_now().map_err(|error| {
                tracing::warn!(%error, "a sink's certificate cannot be used");
                Attempt::SecretMissing
            })?;
            *kept = (seen, client(&self.settings, Some(identity)).map_err(|_| Attempt::SecretMissing)?);
        }
        Ok(kept.1.clone())
    }

    /// Sends a request by that key, and gives the head of its answer.
    async fn send(&self, key: Uuid, trace: TraceParent, request: &Request) -> Result<Response, Attempt> {
        let url = self.checked_url(&request.path, request.query.as_deref())?;
        let client = self.client()?;
        let body = self.body(request).ok_or(Attempt::SecretMissing)?;
        let headers = self.headers(key, trace, request, &url, &body).ok_or(Attempt::SecretMissing)?;
        let mut sent = reqwest::Request::new(request.method.clone(), url);
        *sent.headers_mut() = headers;
        *sent.body_mut() = Some(body.into());
        self.authorized(&client, sent).await
    }

    /// What an answer to a request means.
    async fn meaning(&self, request: &Request, answer: Response) -> Result<Attempt, Attempt> {
        if request.rules.is_empty() && request.created.is_none() {
            let outcome = answered(&answer);
            // The status has decided; a slow, broken or endless body changes nothing.
            drop(tokio::time::timeout(ANSWER_REST, drain(answer, self.settings.answer_bytes)).await);
            return Ok(outcome);
        }
        Box::pin(self.understand(&self.client()?, request, answer)).await
    }

    async fn try_once(&self, delivery: &Delivery, request: &Request) -> Result<Attempt, Attempt> {
        let answer = self.send(delivery.idempotency_key, delivery.trace, request).await?;
        self.meaning(request, answer).await
    }

    /// Sends a request, with a token if the sink wants one, and once more with a new token after a 401.
    async fn authorized(&self, client: &reqwest::Client, mut request: reqwest::Request) -> Result<Response, Attempt> {
        let Some(Auth::OAuth(oauth)) = &self.settings.auth else {
            return client.execute(request).await.map_err(|error| outcome_of(&error));
        };
        // A body that is there as a whole can always be sent again.
        let mut again = request.try_clone();
        loop {
            let token = self.tokens.get(client, &self.settings.guard, oauth).await?;
            let header = sensitive(&format!("Bearer {token}")).ok_or(Attempt::TokenRefused)?;
            request.headers_mut().insert(AUTHORIZATION, header);
            let answer = client.execute(request).await.map_err(|error| outcome_of(&error))?;
            if answer.status().as_u16() != 401 {
                return Ok(answer);
            }
            self.tokens.forget(&token).await;
            match again.take() {
                Some(same) => request = same,
                None => return Ok(answer),
            }
        }
    }

    /// What an answer means by the rules of the system, and the id that it tells.
    async fn understand(
        &self,
        client: &reqwest::Client,
        request: &Request,
        mut answer: Response,
    ) -> Result<Attempt, Attempt> {
        let by_status = answered(&answer);
        let Attempt::Answered { status, retry_after } = by_status else { return Ok(by_status) };
        let tree = self.tree(&mut answer).await?;
        let found = rule(&request.rules, &tree);
        let understood =
            |meaning, says, created| Attempt::Understood(Understood { status, retry_after, meaning, says, created });
        let delivered = found.map_or((200..=299).contains(&status), |rule| rule.meaning == Meaning::Delivered);
        if let Some(search) = request.created.as_ref().and_then(|created| created.search.as_ref())
            && (search.is_for(status) || (delivered && request.created.as_ref().is_some_and(|c| c.id(&tree).is_none())))
            && let Some(id) = Box::pin(self.search(client, request, search)).await?
        {
            return Ok(understood(Meaning::Delivered, "it was there already".into(), Some(id)));
        }
        Ok(match (found, &request.created) {
            (Some(rule), created) => {
                let id = created.as_ref().filter(|_| delivered).and_then(|created| created.id(&tree));
                understood(rule.meaning, rule.says.clone(), id)
            }
            (None, Some(created)) if delivered => understood(Meaning::Delivered, "taken".into(), created.id(&tree)),
            (None, _) => by_status,
        })
    }

    /// Asks for what was created before. `None`: it is not there.
    async fn search(
        &self,
        client: &reqwest::Client,
        request: &Request,
        search: &crate::request::answer::Search,
    ) -> Result<Option<String>, Attempt> {
        let url = self.checked_url(&search.path, Some(&search.query))?;
        let mut headers = request.headers.clone();
        headers.remove(reqwest::header::CONTENT_TYPE);
        if let Some(signing) = self.settings.signing.as_ref().filter(|signing| signing.signs_questions()) {
            let unsigned = Unsigned { key: "", method: &reqwest::Method::GET, url: &url, body: &[] };
            let signed = signing.sign(&unsigned, jiff::Timestamp::now(), &mut headers);
            signed.map_err(|_| Attempt::SecretMissing)?;
        }
        self.show_who_we_are(&mut headers)?;
        let mut question = reqwest::Request::new(reqwest::Method::GET, url);
        *question.headers_mut() = headers;
        let mut answer = self.authorized(client, question).await?;
        let by_status = answered(&answer);
        if !answer.status().is_success() {
            return Err(by_status);
        }
        Ok(search.id(&self.tree(&mut answer).await?))
    }

    fn show_who_we_are(&self, headers: &mut HeaderMap) -> Result<(), Attempt> {
        if let Some(auth) = &self.settings.auth {
            let (name, value) = auth.header().ok_or(Attempt::SecretMissing)?;
            headers.insert(name, value);
        }
        Ok(())
    }

    async fn tree(&self, answer: &mut Response) -> Result<Value, Attempt> {
        let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
        // Of an answer that is too large nothing is known but its head.
        let body = read_answer(answer, self.settings.answer_bytes).await?.unwrap_or_default();
        let location = headers.get(LOCATION).and_then(|value| value.to_str().ok());
        Ok(Answer { status, location, body: &body }.tree())
    }

    fn checked_url(&self, path: &str, query: Option<&str>) -> Result<Url, Attempt> {
        let url = self.url(path, query).ok_or(Attempt::AddressRefused)?;
        self.settings.guard.check_url(&url).map_err(|_| Attempt::AddressRefused)?;
        Ok(url)
    }

    async fn try_probe(&self) -> Result<Attempt, Attempt> {
        let url = self.checked_url("", None)?;
        let client = self.client()?;
        let mut headers = HeaderMap::new();
        self.show_who_we_are(&mut headers)?;
        let mut question = reqwest::Request::new(reqwest::Method::HEAD, url);
        *question.headers_mut() = headers;
        *question.timeout_mut() = Some(PROBE_PATIENCE);
        let answer = self.authorized(&client, question).await?;
        Ok(Attempt::Answered { status: answer.status().as_u16(), retry_after: None })
    }

    /// The request's URL: the sink's origin whatever the path is made of.
    fn url(&self, path: &str, query: Option<&str>) -> Option<Url> {
        let base = &self.settings.url;
        let mut url = base.clone();
        if !path.is_empty() {
            url.set_path(&format!("{}{}", base.path().trim_end_matches('/'), path));
        }
        url.set_query(query);
        (url.origin() == base.origin()).then_some(url)
    }

    /// With the secrets of now; `None`: one cannot be read.
    fn body(&self, request: &Request) -> Option<Bytes> {
        request.body.sent(&self.settings.secrets).ok()
    }

    fn headers(&self, key: Uuid, trace: TraceParent, request: &Request, url: &Url, body: &[u8]) -> Option<HeaderMap> {
        let key = key.to_string();
        let mut headers = request.headers.clone();
        headers.insert("idempotency-key", HeaderValue::from_str(&key).ok()?);
        headers.insert("traceparent", HeaderValue::from_str(&trace.to_string()).ok()?);
        if let Some(signing) = &self.settings.signing {
            let unsigned = Unsigned { key: &key, method: &request.method, url, body };
            signing.sign(&unsigned, jiff::Timestamp::now(), &mut headers).ok()?;
        }
        self.show_who_we_are(&mut headers).ok()?;
        Some(headers)
    }
}

fn client(settings: &HttpSettings, identity: Option<reqwest::Identity>) -> Result<reqwest::Client, reqwest::Error> {
    let plain = settings.url.scheme() == "http";
    let mut client = reqwest::Client::builder();
    if let Some(pem) = &settings.ca {
        client = client.add_root_certificate(reqwest::Certificate::from_pem(pem)?);
    }
    if let Some(identity) = identity {
        client = client.identity(identity);
    }
    client
        .dns_resolver(settings.guard.resolver(plain))
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
        .timeout(settings.timeout)
        .user_agent(USER_AGENT)
        .build()
}

/// What the head of an answer says.
fn answered(answer: &Response) -> Attempt {
    let asked = answer.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok());
    let retry_after = asked.and_then(|asked| retry_after(asked, jiff::Timestamp::now()));
    Attempt::Answered { status: answer.status().as_u16(), retry_after }
}

/// The whole body; `None` when it is larger than that.
async fn read_answer(answer: &mut Response, most_bytes: u64) -> Result<Option<Vec<u8>>, Attempt> {
    let mut body = Vec::new();
    while let Some(chunk) = answer.chunk().await.map_err(|error| outcome_of(&error))? {
        body.extend_from_slice(&chunk);
        if body.len() as u64 > most_bytes {
            return Ok(None);
        }
    }
    Ok(Some(body))
}

impl Transport for HttpTransport {
    async fn attempt(&self, delivery: &Delivery) -> Attempt {
        match &delivery.content {
            Content::Request(request) => match (&self.batches, &request.batch) {
                (Some(batches), Some(plan)) => batches.attempt(&self.way, plan, delivery, request).await,
                _ => match Box::pin(self.way.try_once(delivery, request)).await {
                    Ok(attempt) | Err(attempt) => attempt,
                },
            },
            // The settings give nothing else to HTTP sinks.
            Content::Row(_) | Content::Copy(_) => Attempt::Unstorable,
        }
    }
}

async fn drain(mut answer: Response, most_bytes: u64) {
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
