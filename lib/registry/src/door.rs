//! What stands before the routes: TLS, HTTP Basic, and a count of the requests.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::Response;
use axum::serve::Listener;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use prometheus::{IntCounterVec, Opts};
use subtle::{Choice, ConstantTimeEq};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::AbortHandle;
use tokio_native_tls::{TlsAcceptor, TlsStream};

use crate::server::refuse;

/// A client's name and password.
#[derive(Clone)]
pub struct User {
    pub name: String,
    pub password: String,
}

impl std::fmt::Debug for User {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("User").field("name", &self.name).finish_non_exhaustive()
    }
}

/// What the registry shows who it is with: PEM files, the chain with its own certificate first, and its key in PKCS#8.
#[derive(Debug, Clone)]
pub struct Tls {
    pub certificate: PathBuf,
    pub key: PathBuf,
}

/// How long a client may take to agree on TLS.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// Handshakes at a time; who comes later waits.
const HANDSHAKES: usize = 64;

impl Tls {
    pub(crate) fn acceptor(&self) -> std::io::Result<TlsAcceptor> {
        let read = |path: &PathBuf| {
            std::fs::read(path).map_err(|error| {
                std::io::Error::new(error.kind(), format!("{} cannot be read: {error}", path.display()))
            })
        };
        let (certificate, key) = (read(&self.certificate)?, read(&self.key)?);
        let unusable = |error: native_tls::Error| {
            std::io::Error::other(format!(
                "{} and {} cannot be used for TLS: {error}; PEM, the key in PKCS#8 and of that certificate",
                self.certificate.display(),
                self.key.display()
            ))
        };
        let identity = native_tls::Identity::from_pkcs8(&certificate, &key).map_err(unusable)?;
        let mut builder = native_tls::TlsAcceptor::builder(identity);
        builder.min_protocol_version(Some(native_tls::Protocol::Tlsv12));
        Ok(builder.build().map_err(unusable)?.into())
    }
}

/// A listener whose connections have agreed on TLS. A client that is slow to, or never does, holds up nobody.
pub(crate) struct TlsListener {
    agreed: mpsc::Receiver<(TlsStream<TcpStream>, SocketAddr)>,
    address: SocketAddr,
    accepting: AbortHandle,
}

impl TlsListener {
    pub(crate) fn start(mut listener: TcpListener, acceptor: TlsAcceptor) -> std::io::Result<Self> {
        let address = TcpListener::local_addr(&listener)?;
        let (sender, agreed) = mpsc::channel(1);
        let accepting = tokio::spawn(async move {
            let places = Arc::new(Semaphore::new(HANDSHAKES));
            while let Ok(place) = places.clone().acquire_owned().await {
                let (socket, peer) = Listener::accept(&mut listener).await;
                let (acceptor, sender) = (acceptor.clone(), sender.clone());
                tokio::spawn(async move {
                    let agreed = tokio::time::timeout(HANDSHAKE, acceptor.accept(socket)).await;
                    drop(place);
                    match agreed {
                        // The server may have ended meanwhile.
                        Ok(Ok(stream)) => drop(sender.send((stream, peer)).await),
                        Ok(Err(error)) => tracing::info!(%peer, %error, "a client did not agree on TLS"),
                        Err(_) => tracing::info!(%peer, "a client did not agree on TLS in time"),
                    }
                });
            }
        });
        Ok(Self { agreed, address, accepting: accepting.abort_handle() })
    }
}

impl Drop for TlsListener {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

impl Listener for TlsListener {
    type Io = TlsStream<TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        match self.agreed.recv().await {
            Some(agreed) => agreed,
            None => std::future::pending().await,
        }
    }

    fn local_addr(&self) -> std::io::Result<SocketAddr> {
        Ok(self.address)
    }
}

/// What the header of HTTP Basic holds, for each user.
#[derive(Clone)]
pub(crate) struct Users(Arc<[Vec<u8>]>);

impl Users {
    pub(crate) fn new(users: &[User]) -> Self {
        Self(users.iter().map(|user| format!("{}:{}", user.name, user.password).into_bytes()).collect())
    }

    fn know(&self, headers: &HeaderMap) -> bool {
        let given = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok()).and_then(|value| {
            let (scheme, value) = value.split_once(' ')?;
            scheme.eq_ignore_ascii_case("basic").then(|| STANDARD.decode(value.trim()).ok())?
        });
        let Some(given) = given else { return false };
        // All are compared, whoever it is.
        self.0.iter().fold(Choice::from(0), |found, user| found | user.ct_eq(&given)).into()
    }
}

pub(crate) async fn admit(State(users): State<Users>, request: Request, next: Next) -> Response {
    if users.know(request.headers()) {
        return next.run(request).await;
    }
    let mut refusal = refuse(StatusCode::UNAUTHORIZED, 401, "Unauthorized");
    refusal.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Basic realm=\"schema registry\""));
    refusal
}

/// Registered once per process.
#[derive(Clone)]
pub struct Metrics {
    requests: IntCounterVec,
}

impl Metrics {
    /// # Errors
    /// When a metric of this name is registered already.
    pub fn register(registry: &prometheus::Registry) -> Result<Self, prometheus::Error> {
        let what = Opts::new("registry_requests_total", "Requests to the embedded schema registry by route and status");
        let requests = IntCounterVec::new(what, &["method", "route", "status"])?;
        registry.register(Box::new(requests.clone()))?;
        Ok(Self { requests })
    }
}

pub(crate) async fn count(State(metrics): State<Metrics>, request: Request, next: Next) -> Response {
    let method = request.method().clone();
    // A fixed set, whatever is asked for.
    let route = request.extensions().get::<MatchedPath>().cloned();
    let response = next.run(request).await;
    let route = route.as_ref().map_or("unknown", MatchedPath::as_str);
    let known = route != "unknown" && response.status() != StatusCode::METHOD_NOT_ALLOWED;
    let method = if known { method.as_str() } else { "other" };
    metrics.requests.with_label_values(&[method, route, response.status().as_str()]).inc();
    response
}
