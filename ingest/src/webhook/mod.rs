//! Webhooks: `POST /v1/webhooks/{connection}`.
//!
//! An HTTP request in, a raw record in the vendor's raw topic and then an answer out. The answer is 200 only after the
//! record is acknowledged by all in-sync replicas, or another good status where the vendor's manifest wants one. What is
//! our own fault answers 503 with `Retry-After`, for some
//! vendors never again send what was once answered 401, 403, 404, 405 or 410.

mod body;
mod identify;
mod rehearsal;
mod server;
mod verify;

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use axum::Router;
use axum::extract::{Path, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use hirewire_kafka::SendError;
use hirewire_service::spans::{self, Span};
use jiff::Timestamp;

use crate::connection::{Directory, Lookup};
use crate::fetch::FetchRequests;
use crate::manifest::{Handshake, Webhook};
use crate::metrics::{Metrics, Outcome};
use crate::sink::RawSink;
use crate::topics::Topics;
use body::{Limits, Unread};

pub(crate) use identify::identify_queued;
pub use identify::{RawEvent, identify};
pub use rehearsal::{Inbox, Taken, rehearsal};
pub use server::{ServerLimits, serve};
pub use verify::{Delivery, Unproven, VerifiedRequest, Verifier};

/// When a vendor may try again, in seconds.
const RETRY_AFTER_SECS: &str = "5";

/// Bounds of what is received.
#[derive(Debug, Clone)]
pub struct ReceiverLimits {
    /// Of one body, after decompression.
    pub max_body_bytes: usize,
    /// Of all bodies that are being received or kept.
    pub max_in_flight_bytes: usize,
    /// For the whole body to arrive.
    pub body_timeout: Duration,
    /// For the broker to acknowledge.
    pub keep_timeout: Duration,
}

/// What one request needs; one for all.
struct Receiver<S> {
    directory: Directory,
    topics: Topics,
    sink: S,
    limits: Limits,
    keep_timeout: Duration,
    metrics: Metrics,
    fetches: FetchRequests,
}

/// What was done with a request.
enum Done {
    /// With the status that the vendor awaits.
    Kept(StatusCode),
    /// It was no delivery: the vendor asked whether somebody listens, and awaits these headers.
    Greeted(HeaderMap),
}

/// Why a delivery was not kept. Each has one status and one label.
#[derive(Debug)]
enum Refusal {
    UnknownConnection,
    ConfigurationNotLoaded,
    Unread(Unread),
    Forged(&'static str),
    SecretNotLoaded(String),
    /// The registry does not know yet how a request to fetch is written.
    CannotAsk,
    NotKept(SendError),
    NotKeptInTime,
}

/// The router, with its state inside.
pub fn router<S: RawSink>(
    directory: Directory,
    topics: Topics,
    sink: S,
    limits: &ReceiverLimits,
    metrics: Metrics,
    fetches: FetchRequests,
) -> Router {
    let receiver = Receiver {
        directory,
        topics,
        sink,
        limits: Limits::new(limits.max_body_bytes, limits.body_timeout, limits.max_in_flight_bytes),
        keep_timeout: limits.keep_timeout,
        metrics,
        fetches,
    };
    Router::new().route("/v1/webhooks/{connection}", post(receive::<S>)).with_state(Arc::new(receiver))
}

async fn receive<S: RawSink>(
    State(receiver): State<Arc<Receiver<S>>>,
    Path(name): Path<String>,
    request: Request,
) -> Response {
    let started = Instant::now();
    let done = receiver.take(&name, request).await;
    // A name that the configuration does not confirm may be anything: it never becomes a label.
    let unconfirmed = matches!(done, Err(Refusal::UnknownConnection | Refusal::ConfigurationNotLoaded));
    let label = if unconfirmed { "unknown" } else { &name };
    let (outcome, reason, answer) = match done {
        Ok(Done::Kept(status)) => (Outcome::Kept, None, status.into_response()),
        Ok(Done::Greeted(headers)) => {
            tracing::info!(connection = label, "answered the vendor's handshake");
            return (StatusCode::OK, headers).into_response();
        }
        Err(refusal) => {
            refusal.log(label);
            (refusal.outcome(), Some(refusal.label()), refusal.answer())
        }
    };
    receiver.metrics.webhook(label, outcome, reason, started.elapsed());
    answer
}

impl<S: RawSink> Receiver<S> {
    async fn take(&self, name: &str, request: Request) -> Result<Done, Refusal> {
        let received_at = Timestamp::now();
        let connection = match self.directory.find(name) {
            Lookup::Found(connection) => connection,
            Lookup::Unknown => return Err(Refusal::UnknownConnection),
            Lookup::NotLoaded => return Err(Refusal::ConfigurationNotLoaded),
        };
        let Some(inlet) = &connection.webhook else { return Err(Refusal::UnknownConnection) };
        let Some(rules) = inlet.webhook() else { return Err(Refusal::UnknownConnection) };
        if let Some(greeting) = greeting(rules, request.headers()) {
            return Ok(Done::Greeted(greeting));
        }
        let answer = StatusCode::from_u16(rules.answer).unwrap_or_default();
        let (parts, stream) = request.into_parts();
        let body = body::read(stream, &parts.headers, &self.limits).await.map_err(Refusal::Unread)?;
        let delivery =
            Delivery { connection: connection.clone(), headers: parts.headers, body: body.bytes.clone(), received_at };
        let request =
            Verifier::new(&inlet.secrets).verify(&rules.signature, delivery).map_err(|unproven| match unproven {
                Unproven::Forged(why) => Refusal::Forged(why),
                Unproven::SecretNotLoaded(which) => Refusal::SecretNotLoaded(which),
            })?;
        let event = identify(&request, rules, &self.topics);
        if !event.is_identified() {
            self.metrics.webhook_unidentified(&connection.manifest.vendor);
        }
        let span = event.span(received_at, &connection);
        let requests = event.wanted().iter().map(|wanted| self.fetches.record(&connection, wanted, received_at));
        let requests = requests.collect::<Option<Vec<_>>>().ok_or(Refusal::CannotAsk)?;
        // The event first: what is fetched for it is never before it. If a request is lost, the sender sends both again.
        let keep = async {
            self.sink.keep(event.into_record()).await?;
            for request in requests {
                self.sink.keep(request).await?;
            }
            Ok(())
        };
        let kept = match tokio::time::timeout(self.keep_timeout, keep).await {
            Ok(kept) => kept.map_err(Refusal::NotKept),
            Err(_) => Err(Refusal::NotKeptInTime),
        };
        if let Some(span) = span {
            let failed = kept.as_ref().err().map(Refusal::label);
            spans::record(Span { ended: SystemTime::now(), failed, ..span });
        }
        kept.map(|()| Done::Kept(answer))
    }
}

/// What answers a request that is no delivery. It proves nothing, keeps nothing and tells nothing that the sender did not
/// send.
fn greeting(rules: &Webhook, headers: &HeaderMap) -> Option<HeaderMap> {
    let Handshake::Echo(name) = rules.handshake.as_ref()?;
    let name = HeaderName::try_from(name).ok()?;
    let value = headers.get(&name)?.clone();
    Some(HeaderMap::from_iter([(name, value)]))
}

impl Refusal {
    fn status(&self) -> StatusCode {
        match self {
            Self::UnknownConnection => StatusCode::NOT_FOUND,
            Self::Forged(_) => StatusCode::UNAUTHORIZED,
            Self::Unread(Unread::TooLarge) => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Unread(Unread::TooSlow) => StatusCode::REQUEST_TIMEOUT,
            Self::Unread(Unread::Broken) => StatusCode::BAD_REQUEST,
            Self::Unread(Unread::UnknownEncoding) => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::Unread(Unread::BudgetSpent)
            | Self::ConfigurationNotLoaded
            | Self::SecretNotLoaded(_)
            | Self::CannotAsk
            | Self::NotKept(_)
            | Self::NotKeptInTime => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    fn outcome(&self) -> Outcome {
        match self {
            Self::Forged(_) => Outcome::Forged,
            Self::SecretNotLoaded(_) => Outcome::SecretNotLoaded,
            Self::NotKept(_)
            | Self::NotKeptInTime
            | Self::ConfigurationNotLoaded
            | Self::CannotAsk
            | Self::Unread(Unread::BudgetSpent) => Outcome::NotKept,
            Self::UnknownConnection
            | Self::Unread(Unread::TooLarge | Unread::TooSlow | Unread::Broken | Unread::UnknownEncoding) => {
                Outcome::Unreadable
            }
        }
    }

    fn label(&self) -> &'static str {
        match self {
            Self::UnknownConnection => "unknown_connection",
            Self::ConfigurationNotLoaded => "configuration_not_loaded",
            Self::Unread(Unread::TooLarge) => "too_large",
            Self::Unread(Unread::BudgetSpent) => "budget_spent",
            Self::Unread(Unread::TooSlow) => "too_slow",
            Self::Unread(Unread::Broken) => "broken_body",
            Self::Unread(Unread::UnknownEncoding) => "unknown_encoding",
            Self::Forged(_) => "forged",
            Self::SecretNotLoaded(_) => "secret_not_loaded",
            Self::CannotAsk => "registry_not_ready",
            Self::NotKept(_) => "not_kept",
            Self::NotKeptInTime => "not_kept_in_time",
        }
    }

    fn answer(&self) -> Response {
        let status = self.status();
        // 408 and 413 leave the rest of the body unread: the connection cannot serve another request.
        let extra: Option<(HeaderName, HeaderValue)> = match status {
            StatusCode::SERVICE_UNAVAILABLE => Some((header::RETRY_AFTER, HeaderValue::from_static(RETRY_AFTER_SECS))),
            StatusCode::REQUEST_TIMEOUT | StatusCode::PAYLOAD_TOO_LARGE => {
                Some((header::CONNECTION, HeaderValue::from_static("close")))
            }
            _ => None,
        };
        (status, axum::response::AppendHeaders(extra), format!("{}\n", self.label())).into_response()
    }

    /// Once, here. Nothing of the request is shown but the connection it was for.
    fn log(&self, connection: &str) {
        match self {
            Self::SecretNotLoaded(which) => tracing::error!(
                code = "webhook-secret-not-loaded",
                connection,
                "deliveries are answered 503 until the secret can be read: {which}"
            ),
            Self::NotKept(error) if !error.is_retryable() => {
                tracing::error!(code = "webhook-refused-by-kafka", connection, %error, "deliveries are answered 503");
            }
            Self::NotKept(error) => tracing::warn!(connection, %error, "answered 503: not acknowledged"),
            Self::NotKeptInTime => tracing::warn!(connection, "answered 503: not acknowledged in time"),
            Self::Forged(why) => tracing::warn!(connection, "answered 401: {why}"),
            Self::UnknownConnection | Self::ConfigurationNotLoaded | Self::CannotAsk | Self::Unread(_) => {
                tracing::info!(connection, status = self.status().as_u16(), "not kept: {}", self.label());
            }
        }
    }
}
