//! The registry over HTTP or HTTPS: a listener and a [`Registry`] in, Confluent's REST API out.
//!
//! Every answer has the registry's content type; every refusal is `{"error_code", "message"}`. The disk is touched off
//! the async threads.

use std::future::Future;
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, Path, Query, State};
use axum::http::{StatusCode, header};
use axum::middleware::from_fn_with_state;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::serve::Listener;
use axum::{Json, Router};
use futures_core::future::BoxFuture;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio_native_tls::TlsAcceptor;

use crate::compatibility::Level;
use crate::door::{self, Metrics, Tls, TlsListener, User, Users};
use crate::error::ApiError;
use crate::registry::{Mode, Reference, Registry, Submitted, Which};

const CONTENT_TYPE: &str = "application/vnd.schemaregistry.v1+json";
/// How long a request that is under way may hold up the end.
const DRAIN: Duration = Duration::from_secs(5);
/// A schema larger than this is not one.
const MAX_BODY_BYTES: usize = 4 * 1024 * 1024;

/// The registry and what stands before it.
pub struct Server {
    registry: Registry,
    users: Vec<User>,
    tls: Option<TlsAcceptor>,
    metrics: Option<Metrics>,
}

impl Server {
    /// Plain HTTP, and nobody is asked who they are.
    #[must_use]
    pub fn new(registry: Registry) -> Self {
        Self { registry, users: Vec::new(), tls: None, metrics: None }
    }

    /// Only these may do anything, by HTTP Basic. None: everybody.
    #[must_use]
    pub fn users(self, users: Vec<User>) -> Self {
        Self { users, ..self }
    }

    /// HTTPS.
    ///
    /// # Errors
    /// The certificate or its key cannot be used.
    pub fn tls(self, tls: &Tls) -> std::io::Result<Self> {
        Ok(Self { tls: Some(tls.acceptor()?), ..self })
    }

    /// Counts requests.
    #[must_use]
    pub fn metrics(self, metrics: Metrics) -> Self {
        Self { metrics: Some(metrics), ..self }
    }

    /// Serves until `shutdown` is done and the open requests are answered, or have had five seconds.
    ///
    /// # Errors
    /// The listener failed.
    pub fn run(
        self,
        listener: TcpListener,
        shutdown: impl Future<Output = ()> + Send + 'static,
    ) -> BoxFuture<'static, std::io::Result<()>> {
        self.boxed(listener, Box::pin(shutdown))
    }

    /// Of no type of the caller's: compiled here once, and not again in each program that serves.
    fn boxed(self, listener: TcpListener, shutdown: BoxFuture<'static, ()>) -> BoxFuture<'static, std::io::Result<()>> {
        Box::pin(self.serve(listener, shutdown))
    }

    async fn serve(self, listener: TcpListener, shutdown: BoxFuture<'static, ()>) -> std::io::Result<()> {
        let mut router = router(self.registry);
        if !self.users.is_empty() {
            router = router.layer(from_fn_with_state(Users::new(&self.users), door::admit));
        }
        if let Some(metrics) = self.metrics {
            router = router.layer(from_fn_with_state(metrics, door::count));
        }
        match self.tls {
            None => until(listener, router, shutdown).await,
            Some(tls) => until(TlsListener::start(listener, tls)?, router, shutdown).await,
        }
    }
}

/// A [`Server`] that asks nobody who they are, on plain HTTP.
///
/// # Errors
/// The listener failed.
pub async fn serve(
    listener: TcpListener,
    registry: Registry,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> std::io::Result<()> {
    Server::new(registry).run(listener, shutdown).await
}

async fn until<L>(listener: L, router: Router, shutdown: BoxFuture<'static, ()>) -> std::io::Result<()>
where
    L: Listener,
    L::Addr: std::fmt::Debug,
{
    let (stopping, stopped) = oneshot::channel();
    let drain = async {
        shutdown.await;
        // Fails when the server has ended by itself: then nobody waits for it.
        stopping.send(()).ok();
    };
    let served = axum::serve(listener, router).with_graceful_shutdown(drain);
    let patience = async {
        match stopped.await {
            Ok(()) => tokio::time::sleep(DRAIN).await,
            Err(_) => std::future::pending().await,
        }
    };
    tokio::select! {
        result = served => result,
        () = patience => Ok(()),
    }
}

/// All routes.
fn router(registry: Registry) -> Router {
    Router::new()
        .route("/", get(async || answer(json!({}))))
        .route("/schemas/types", get(async || answer(json!(["AVRO"]))))
        .route("/schemas/ids/{id}", get(schema_by_id))
        .route("/schemas/ids/{id}/schema", get(schema_text_by_id))
        .route("/schemas/ids/{id}/subjects", get(subjects_by_id))
        .route("/schemas/ids/{id}/versions", get(versions_by_id))
        .route("/subjects", get(subjects))
        .route("/subjects/{subject}", post(look_up).delete(delete_subject))
        .route("/subjects/{subject}/versions", get(versions).post(register))
        .route("/subjects/{subject}/versions/{version}", get(version).delete(delete_version))
        .route("/subjects/{subject}/versions/{version}/schema", get(version_text))
        .route("/subjects/{subject}/versions/{version}/referencedby", get(referenced_by))
        .route("/compatibility/subjects/{subject}/versions", post(compatibility))
        .route("/compatibility/subjects/{subject}/versions/{version}", post(compatibility_with))
        .route("/config", get(global_level).put(set_global_level).delete(delete_global_level))
        .route("/config/{subject}", get(subject_level).put(set_subject_level).delete(delete_subject_level))
        .route("/mode", get(global_mode).put(set_global_mode))
        .route("/mode/{subject}", get(subject_mode).put(set_subject_mode).delete(delete_subject_mode))
        .fallback(async || refuse(StatusCode::NOT_FOUND, 404, "HTTP 404 Not Found"))
        .method_not_allowed_fallback(async || {
            refuse(StatusCode::METHOD_NOT_ALLOWED, 405, "HTTP 405 Method Not Allowed")
        })
        .layer(DefaultBodyLimit::max(MAX_BODY_BYTES))
        .with_state(registry)
}

/// Query parameters of all routes. Unknown ones are ignored, as clients send what newer registries know.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Options {
    deleted: Option<String>,
    normalize: Option<String>,
    permanent: Option<String>,
    verbose: Option<String>,
    force: Option<String>,
    #[serde(rename = "defaultToGlobal")]
    default_to_global: Option<String>,
    #[serde(rename = "subjectPrefix")]
    subject_prefix: Option<String>,
}

fn is_true(option: &Option<String>) -> bool {
    option.as_deref().is_some_and(|text| text.eq_ignore_ascii_case("true"))
}

/// A schema in a request. Fields of newer registries are not refused when they are null.
#[derive(Debug, Deserialize)]
struct SchemaBody {
    schema: Option<String>,
    #[serde(rename = "schemaType")]
    schema_type: Option<String>,
    references: Option<Vec<Reference>>,
    id: Option<i64>,
    version: Option<i64>,
}

impl SchemaBody {
    fn read(body: &[u8]) -> Result<Self, ApiError> {
        serde_json::from_slice(body).map_err(|error| ApiError::InvalidBody(error.to_string()))
    }

    fn submitted(self, options: &Options) -> Result<Submitted, ApiError> {
        if let Some(other) = self.schema_type.filter(|kind| !kind.eq_ignore_ascii_case("AVRO")) {
            return Err(ApiError::SchemaTypeRefused(other));
        }
        let schema = self.schema.filter(|text| !text.trim().is_empty());
        let schema = schema.ok_or_else(|| ApiError::InvalidSchema("Empty schema".to_owned()))?;
        Ok(Submitted {
            schema,
            references: self.references.unwrap_or_default(),
            normalize: is_true(&options.normalize),
        })
    }
}

type Answer = Result<Response, ApiError>;

async fn register(
    State(registry): State<Registry>,
    Path(subject): Path<String>,
    Query(options): Query<Options>,
    body: Bytes,
) -> Answer {
    let id = off_thread(move || {
        let body = SchemaBody::read(&body)?;
        let import = body.id.filter(|id| *id > 0).map(|id| (id, body.version.filter(|version| *version > 0)));
        registry.register(&subject, &body.submitted(&options)?, import)
    });
    Ok(answer(json!({"id": id.await?})))
}

async fn look_up(
    State(registry): State<Registry>,
    Path(subject): Path<String>,
    Query(options): Query<Options>,
    body: Bytes,
) -> Answer {
    let found = off_thread(move || {
        registry.look_up(&subject, &SchemaBody::read(&body)?.submitted(&options)?, is_true(&options.deleted))
    });
    Ok(answer(found.await?))
}

async fn schema_by_id(State(registry): State<Registry>, Path(id): Path<String>) -> Answer {
    let (schema, references) = off_thread(move || registry.schema_by_id(read_id(&id)?)).await?;
    let mut found = json!({"schema": schema});
    if !references.is_empty() {
        found["references"] = json!(references);
    }
    Ok(answer(found))
}

async fn schema_text_by_id(State(registry): State<Registry>, Path(id): Path<String>) -> Answer {
    let (schema, _) = off_thread(move || registry.schema_by_id(read_id(&id)?)).await?;
    Ok(text(schema))
}

async fn subjects_by_id(
    State(registry): State<Registry>,
    Path(id): Path<String>,
    Query(options): Query<Options>,
) -> Answer {
    let uses = off_thread(move || registry.uses(read_id(&id)?, is_true(&options.deleted))).await?;
    let mut subjects: Vec<_> = uses.into_iter().map(|(subject, _)| subject).collect();
    subjects.dedup();
    Ok(answer(subjects))
}

async fn versions_by_id(
    State(registry): State<Registry>,
    Path(id): Path<String>,
    Query(options): Query<Options>,
) -> Answer {
    let uses = off_thread(move || registry.uses(read_id(&id)?, is_true(&options.deleted))).await?;
    let uses: Vec<_> =
        uses.into_iter().map(|(subject, version)| json!({"subject": subject, "version": version})).collect();
    Ok(answer(uses))
}

async fn subjects(State(registry): State<Registry>, Query(options): Query<Options>) -> Answer {
    let mut subjects = off_thread(move || registry.subjects(is_true(&options.deleted))).await?;
    if let Some(prefix) = options.subject_prefix {
        subjects.retain(|subject| subject.starts_with(&prefix));
    }
    Ok(answer(subjects))
}

async fn versions(
    State(registry): State<Registry>,
    Path(subject): Path<String>,
    Query(options): Query<Options>,
) -> Answer {
    Ok(answer(off_thread(move || registry.versions(&subject, is_true(&options.deleted))).await?))
}

async fn version(
    State(registry): State<Registry>,
    Path((subject, version)): Path<(String, String)>,
    Query(options): Query<Options>,
) -> Answer {
    let found =
        off_thread(move || registry.version(&subject, read_version(&version)?, is_true(&options.deleted))).await?;
    Ok(answer(found))
}

async fn version_text(
    State(registry): State<Registry>,
    Path((subject, version)): Path<(String, String)>,
    Query(options): Query<Options>,
) -> Answer {
    let found =
        off_thread(move || registry.version(&subject, read_version(&version)?, is_true(&options.deleted))).await?;
    Ok(text(found.schema))
}

async fn referenced_by(State(registry): State<Registry>, Path((subject, version)): Path<(String, String)>) -> Answer {
    Ok(answer(off_thread(move || registry.referenced_by(&subject, read_version(&version)?)).await?))
}

async fn delete_subject(
    State(registry): State<Registry>,
    Path(subject): Path<String>,
    Query(options): Query<Options>,
) -> Answer {
    Ok(answer(off_thread(move || registry.delete_subject(&subject, is_true(&options.permanent))).await?))
}

async fn delete_version(
    State(registry): State<Registry>,
    Path((subject, version)): Path<(String, String)>,
    Query(options): Query<Options>,
) -> Answer {
    let gone =
        off_thread(move || registry.delete_version(&subject, read_version(&version)?, is_true(&options.permanent)));
    Ok(answer(gone.await?))
}

async fn compatibility(
    State(registry): State<Registry>,
    Path(subject): Path<String>,
    Query(options): Query<Options>,
    body: Bytes,
) -> Answer {
    let messages = off_thread(move || {
        registry.compatibility(&subject, None, &SchemaBody::read(&body)?.submitted(&Options::default())?)
    });
    Ok(answer_compatibility(messages.await?, &options))
}

async fn compatibility_with(
    State(registry): State<Registry>,
    Path((subject, version)): Path<(String, String)>,
    Query(options): Query<Options>,
    body: Bytes,
) -> Answer {
    let messages = off_thread(move || {
        let which = read_version(&version)?;
        registry.compatibility(&subject, Some(which), &SchemaBody::read(&body)?.submitted(&Options::default())?)
    });
    Ok(answer_compatibility(messages.await?, &options))
}

fn answer_compatibility(messages: Vec<String>, options: &Options) -> Response {
    let mut verdict = json!({"is_compatible": messages.is_empty()});
    if is_true(&options.verbose) {
        verdict["messages"] = json!(messages);
    }
    answer(verdict)
}

async fn global_level(State(registry): State<Registry>) -> Answer {
    let level = off_thread(move || registry.level(None, true)).await?;
    Ok(answer(json!({"compatibilityLevel": level.name()})))
}

async fn subject_level(
    State(registry): State<Registry>,
    Path(subject): Path<String>,
    Query(options): Query<Options>,
) -> Answer {
    let level = off_thread(move || registry.level(Some(&subject), is_true(&options.default_to_global))).await?;
    Ok(answer(json!({"compatibilityLevel": level.name()})))
}

async fn set_global_level(State(registry): State<Registry>, body: Bytes) -> Answer {
    let level = read_level(&body)?;
    off_thread(move || registry.set_level(None, Some(level))).await?;
    Ok(answer(json!({"compatibility": level.name()})))
}

async fn set_subject_level(State(registry): State<Registry>, Path(subject): Path<String>, body: Bytes) -> Answer {
    let level = read_level(&body)?;
    off_thread(move || registry.set_level(Some(&subject), Some(level))).await?;
    Ok(answer(json!({"compatibility": level.name()})))
}

async fn delete_global_level(State(registry): State<Registry>) -> Answer {
    let before = off_thread(move || registry.set_level(None, None)).await?;
    Ok(answer(json!({"compatibilityLevel": before.name()})))
}

async fn delete_subject_level(State(registry): State<Registry>, Path(subject): Path<String>) -> Answer {
    let before = off_thread(move || registry.set_level(Some(&subject), None)).await?;
    Ok(answer(json!({"compatibilityLevel": before.name()})))
}

async fn global_mode(State(registry): State<Registry>) -> Answer {
    let mode = off_thread(move || registry.mode(None, true)).await?;
    Ok(answer(json!({"mode": mode.name()})))
}

async fn subject_mode(
    State(registry): State<Registry>,
    Path(subject): Path<String>,
    Query(options): Query<Options>,
) -> Answer {
    let mode = off_thread(move || registry.mode(Some(&subject), is_true(&options.default_to_global))).await?;
    Ok(answer(json!({"mode": mode.name()})))
}

async fn set_global_mode(State(registry): State<Registry>, Query(options): Query<Options>, body: Bytes) -> Answer {
    let mode = read_mode(&body)?;
    off_thread(move || registry.set_mode(None, Some(mode), is_true(&options.force))).await?;
    Ok(answer(json!({"mode": mode.name()})))
}

async fn set_subject_mode(
    State(registry): State<Registry>,
    Path(subject): Path<String>,
    Query(options): Query<Options>,
    body: Bytes,
) -> Answer {
    let mode = read_mode(&body)?;
    off_thread(move || registry.set_mode(Some(&subject), Some(mode), is_true(&options.force))).await?;
    Ok(answer(json!({"mode": mode.name()})))
}

async fn delete_subject_mode(State(registry): State<Registry>, Path(subject): Path<String>) -> Answer {
    let before = off_thread(move || registry.set_mode(Some(&subject), None, false)).await?;
    Ok(answer(json!({"mode": before.name()})))
}

fn read_id(text: &str) -> Result<i64, ApiError> {
    // Confluent's routes take a number only: anything else is an unknown page.
    text.parse().map_err(|_| ApiError::SchemaNotFound)
}

fn read_version(text: &str) -> Result<Which, ApiError> {
    match text.parse::<i64>() {
        _ if text == "latest" || text == "-1" => Ok(Which::Latest),
        Ok(number) if (1..=i64::from(i32::MAX)).contains(&number) => Ok(Which::Number(number)),
        _ => Err(ApiError::InvalidVersion(text.to_owned())),
    }
}

fn read_level(body: &[u8]) -> Result<Level, ApiError> {
    let body: Value = serde_json::from_slice(body).map_err(|error| ApiError::InvalidBody(error.to_string()))?;
    body.get("compatibility").and_then(Value::as_str).and_then(Level::from_name).ok_or(ApiError::InvalidLevel)
}

fn read_mode(body: &[u8]) -> Result<Mode, ApiError> {
    let body: Value = serde_json::from_slice(body).map_err(|error| ApiError::InvalidBody(error.to_string()))?;
    body.get("mode").and_then(Value::as_str).and_then(Mode::from_name).ok_or(ApiError::InvalidMode)
}

async fn off_thread<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, ApiError> + Send + 'static,
) -> Result<T, ApiError> {
    tokio::task::spawn_blocking(work).await.map_err(|_| ApiError::Worker)?
}

fn answer(body: impl Serialize) -> Response {
    ([(header::CONTENT_TYPE, CONTENT_TYPE)], Json(body)).into_response()
}

fn text(body: String) -> Response {
    ([(header::CONTENT_TYPE, CONTENT_TYPE)], body).into_response()
}

pub(crate) fn refuse(status: StatusCode, code: u32, message: &str) -> Response {
    let body = Json(json!({"error_code": code, "message": message}));
    (status, [(header::CONTENT_TYPE, CONTENT_TYPE)], body).into_response()
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        if self.code() >= 500 && self.status().is_server_error() {
            tracing::error!(error = &self as &dyn std::error::Error, "the registry's store failed");
        }
        refuse(self.status(), self.code(), &self.to_string())
    }
}
