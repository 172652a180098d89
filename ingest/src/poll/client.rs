//! One request for one page or one row, and what the vendor's answer means.
//!
//! [`Question`] in, [`Page`] out. Keeps the connection's token, its view of the vendor's clock, and the time before
//! which its limit allows no request.

use std::time::{Duration, Instant};

use axum::http::HeaderMap;
use bytes::Bytes;
use hirewire_service::fingerprint;
use jiff::{SignedDuration, Timestamp};
use reqwest::StatusCode;

use super::access::{Access, Pass, Vault};
use super::failure::Failure;
use super::journal::Journal;
use super::page::Page;
use super::paging;
use super::question::{By, Question, object};
use super::retry;
use super::soap;
use super::unpack;
use crate::connection::Poll;
use crate::json;
use crate::manifest::{Api, Auth, Errors, Send, Told};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// For a whole answer, body included.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(130);
/// A larger page is not read: it is a page of a list, not an export.
const MAX_PAGE_BYTES: usize = 64 * 1024 * 1024;
/// The `Date` header has seconds only, and an answer takes a while: less than this is no difference of clocks.
const CLOCK_TOLERANCE: SignedDuration = SignedDuration::from_millis(1500);

/// The requests of one connection, one at a time.
pub(super) struct Client<J> {
    http: reqwest::Client,
    /// The fingerprint of the certificate of ours that is shown; `None`: none is.
    shown: Option<u64>,
    access: Access<J>,
    not_before: Option<Instant>,
    /// The vendor's clock minus ours, as far as it is behind ours.
    clock_behind: SignedDuration,
    /// The vendor's clock minus ours by its last answer.
    clock: Option<SignedDuration>,
}

/// What requests are sent with, where no connection has settings of its own for that.
pub(super) fn http() -> Result<reqwest::Client, reqwest::Error> {
    with(None, None)
}

/// What requests are sent with: who is trusted beside the system's authorities, and what we show.
fn with(ca: Option<&[u8]>, identity: Option<reqwest::Identity>) -> Result<reqwest::Client, reqwest::Error> {
    let mut client = reqwest::Client::builder();
    if let Some(pem) = ca {
        client = client.add_root_certificate(reqwest::Certificate::from_pem(pem)?);
    }
    if let Some(identity) = identity {
        client = client.identity(identity);
    }
    client
        .connect_timeout(CONNECT_TIMEOUT)
        .timeout(ANSWER_TIMEOUT)
        // An answer must not send the token elsewhere, nor the environment send it through a stranger.
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
        .user_agent(concat!("hirewire/", env!("CARGO_PKG_VERSION")))
        .build()
}

impl<J: Journal> Client<J> {
    pub(super) fn new(poll: &Poll, vault: Vault<J>) -> Result<Self, reqwest::Error> {
        with(poll.ca.as_deref(), None).map(|http| Self::over(http, vault))
    }

    /// One that knows nothing of the vendor yet.
    pub(super) fn over(http: reqwest::Client, vault: Vault<J>) -> Self {
        let access = Access::new(vault);
        Self { http, shown: None, access, not_before: None, clock_behind: SignedDuration::ZERO, clock: None }
    }

    /// The vendor's time, or ours if that is earlier.
    pub(super) fn vendor_now(&self) -> Timestamp {
        Timestamp::now().checked_add(self.clock_behind).unwrap_or_else(|_| Timestamp::now())
    }

    /// The vendor's clock minus ours, if it has told it.
    pub(super) fn clock(&self) -> Option<SignedDuration> {
        self.clock
    }

    /// How long the vendor's limit forbids the next request.
    pub(super) fn limit_wait(&self) -> Duration {
        self.not_before.map_or(Duration::ZERO, |then| then.saturating_duration_since(Instant::now()))
    }

    /// Asks for a page. A token or session that the vendor refuses is replaced once.
    pub(super) async fn page(&mut self, api: &Api, poll: &Poll, question: &Question<'_>) -> Result<Page, Failure> {
        match self.ask(api, poll, question).await {
            Err(Failure::Credentials(_)) if self.access.is_renewable() => {
                self.access.forget();
                self.ask(api, poll, question).await
            }
            other => other,
        }
    }

    /// The request without what proves who asks, if that is a header.
    fn unproven(
        &self,
        api: &Api,
        poll: &Poll,
        pass: &Pass,
        question: &Question<'_>,
    ) -> Result<reqwest::RequestBuilder, Failure> {
        let base_url = pass.base_url().or(poll.base_url.as_deref());
        let mut url = question.url(poll, base_url).ok_or(Failure::Refused(0))?;
        let params = question.parameters(api);
        let json = |body: serde_json::Value| (body.to_string(), "application/json");
        let (body, kind) = match (&question.by, api.send) {
            (By::Soap(asked), _) => {
                let value_of =
                    |name: &str| params.iter().find(|param| param.name == name).map(|param| param.value.clone());
                let login = match pass {
                    Pass::User { name, password: Some(password) } => Some((name.as_str(), password.as_str())),
                    Pass::User { .. } | Pass::Bearer(_) | Pass::Header { .. } => None,
                };
                (soap::envelope(asked, login, &value_of), "text/xml;charset=UTF-8")
            }
            (By::Graphql(query), _) => json(serde_json::json!({"query": query.text, "variables": object(params)})),
            (By::Rest, Send::JsonBody) => json(object(params)),
            (By::Put, _) | (By::Rest, Send::Query) => {
                if !params.is_empty() {
                    url.query_pairs_mut().extend_pairs(params.iter().map(|param| (param.name, &param.value)));
                }
                let put = matches!(question.by, By::Put);
                return Ok(if put { self.http.put(url).header("content-length", "0") } else { self.http.get(url) });
            }
        };
        Ok(self.http.post(url).header("content-type", kind).body(body))
    }

    /// Our certificate of now goes with each request. A token may be bound to the one before (RFC 8705, section 3).
    fn show_certificate(&mut self, poll: &Poll) -> Result<(), Failure> {
        let Some(identity) = &poll.identity else { return Ok(()) };
        let seen = fingerprint(identity.secrets());
        if self.shown != Some(seen) {
            let identity =
                identity.of_now().map_err(|error| Failure::Credentials(format!("our certificate: {error}")))?;
            let http = with(poll.ca.as_deref(), Some(identity));
            self.http = http.map_err(|_| Failure::Credentials("our certificate cannot be shown".to_owned()))?;
            self.shown = Some(seen);
            self.access.forget();
        }
        Ok(())
    }

    async fn ask(&mut self, api: &Api, poll: &Poll, question: &Question<'_>) -> Result<Page, Failure> {
        self.show_certificate(poll)?;
        let pass = self.access.pass(&self.http, api, poll).await?;
        let request = self.unproven(api, poll, &pass, question)?;
        let by_soap = matches!(question.by, By::Soap(_));
        let accept = if by_soap { "text/xml" } else { "application/json" };
        let request = request.header("accept", accept).headers(api.headers.clone());
        let by_user = matches!((&api.auth, &pass), (Auth::UsernameToken { .. }, Pass::User { .. }));
        let in_envelope = by_soap && by_user;
        let request = match pass {
            _ if in_envelope => request,
            Pass::Bearer(token) => request.bearer_auth(token),
            Pass::User { name, password } => request.basic_auth(name, password),
            Pass::Header { name, value, .. } => request.header(name, value),
        };
        let asked_at = Timestamp::now();
        let mut response = request.send().await.map_err(|error| Failure::transport(&error))?;
        let received_at = Timestamp::now();
        let (status, headers) = (response.status(), response.headers().clone());
        self.note_clock(&headers, received_at);
        let now = self.vendor_now();
        let limited = status == StatusCode::TOO_MANY_REQUESTS;
        if let Some(wait) = retry::limit_wait(&api.rate_limit, &headers, now, limited) {
            self.not_before = Some(Instant::now() + wait);
        }
        let refused = match status.as_u16() {
            200 | 204 => None,
            429 => Some(Failure::Limited {
                wait: retry::retry_after(&headers, now).or(Some(self.limit_wait()).filter(|w| !w.is_zero())),
            }),
            401 => Some(Failure::Credentials("the vendor answered 401".to_owned())),
            403 => Some(Failure::Forbidden),
            status @ (408 | 425 | 500..) => Some(Failure::Busy { status, wait: retry::retry_after(&headers, now) }),
            status @ (400 | 404 | 410 | 422) if question.page.is_some() => Some(Failure::PageGone(status)),
            status => Some(Failure::Refused(status)),
        };
        // A fault of SOAP comes with 500 (SOAP 1.1, section 6.2), by some with 400, and says more than that.
        let told_in_body = by_soap && matches!(status.as_u16(), 400 | 500);
        if let Some(failure) = refused.clone().filter(|_| !told_in_body) {
            return Err(failure);
        }
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| Failure::transport(&error))? {
            body.extend_from_slice(&chunk);
            if body.len() > MAX_PAGE_BYTES {
                return Err(Failure::Broken("a page larger than 64 MiB"));
            }
        }
        let body = unpack::unpacked(&headers, body, MAX_PAGE_BYTES)?;
        let (body, rows) = match &question.by {
            By::Rest | By::Put | By::Graphql(_) => (Bytes::from(body), None),
            By::Soap(asked) => match (soap::read(&body, asked, question.page.is_some()), refused) {
                (Err(soap::Unanswered::Fault(failure)), _) | (_, Some(failure)) => return Err(failure),
                (Err(soap::Unanswered::Broken(what)), None) => return Err(Failure::Broken(what)),
                (Ok(answer), None) => (answer.rest, Some(answer.rows)),
            },
        };
        if let Some(rules) = api.errors.as_ref().filter(|_| rows.is_none()) {
            told_error(&body, rules, question)?;
        }
        let sync = question.sync.and_then(|(rules, _)| json::scalar(&body, &rules.next));
        let next = match question.pages {
            Some(rows) => paging::next(&api.paging, rows, question.page, &headers, &body)?,
            None => None,
        };
        Ok(Page { body, rows, next, sync, asked_at, received_at, sunset: retry::sunset(&headers) })
    }

    fn note_clock(&mut self, headers: &HeaderMap, received_at: Timestamp) {
        if let Some(date) = retry::date(headers) {
            self.hear(date, received_at);
        }
    }

    /// The vendor's clock showed `date` when ours showed `now`.
    pub(super) fn hear(&mut self, date: Timestamp, now: Timestamp) {
        let ahead = date.duration_since(now);
        self.clock = Some(ahead);
        self.clock_behind = if ahead < -CLOCK_TOLERANCE { ahead } else { SignedDuration::ZERO };
    }
}

/// # Errors
/// When the answer says that it is none.
fn told_error(body: &[u8], rules: &Errors, question: &Question<'_>) -> Result<(), Failure> {
    match &rules.told {
        Told::Unless(path) => match json::truth(body, path) {
            Some(true) => return Ok(()),
            Some(false) => {}
            None => return Err(Failure::Broken("the answer does not say whether it is one")),
        },
        Told::At(path) => {
            if json::is_null(body, path) || json::elements(body, path).is_ok_and(|errors| errors.is_empty()) {
                return Ok(());
            }
        }
    }
    let codes = rules.codes.as_ref().map(|path| json::scalars(body, path)).unwrap_or_default();
    if let Some(code) = codes.iter().find(|code| rules.login.contains(code)) {
        return Err(Failure::Credentials(format!("the vendor answered {code}")));
    }
    if codes.iter().any(|code| rules.limited.contains(code)) {
        return Err(Failure::Limited { wait: None });
    }
    if codes.iter().any(|code| rules.gone.contains(code)) {
        return Err(Failure::Refused(404));
    }
    let expired = codes.iter().any(|code| rules.expired.contains(code));
    match (expired, question.page, question.sync) {
        (true, Some(_), _) => return Err(Failure::PageGone(200)),
        (true, None, Some((_, Some(_)))) => return Err(Failure::SyncGone),
        _ => {}
    }
    // A code is a word; what else stands there may hold anything.
    let word = |code: &&String| {
        code.len() <= 64 && code.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte))
    };
    Err(Failure::Told(codes.iter().find(word).map_or_else(|| "that it does not name".to_owned(), Clone::clone)))
}
