//! The admin port: `/metrics`, `/livez`, `/readyz`, `/log`, and what a process has beside them.

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::IntoResponse;
use axum::routing::{get, put};
use futures_core::future::BoxFuture;
use prometheus::TextEncoder;
use tokio::net::TcpListener;

use crate::{Health, Metrics, Shutdown, telemetry};

#[derive(Clone)]
struct Admin {
    metrics: Metrics,
    health: Health,
}

/// Serves until shutdown.
///
/// # Errors
/// When the listener fails.
pub fn serve(
    listener: TcpListener,
    metrics: Metrics,
    health: Health,
    beside: Router,
    shutdown: Shutdown,
) -> BoxFuture<'static, std::io::Result<()>> {
    let router = Router::new()
        .route("/metrics", get(show_metrics))
        .route("/livez", get(live))
        .route("/readyz", get(ready))
        .route("/log", put(change_log))
        .with_state(Admin { metrics, health })
        .merge(beside);
    let served = axum::serve(listener, router).with_graceful_shutdown(async move { shutdown.requested().await });
    Box::pin(served.into_future())
}

async fn show_metrics(State(admin): State<Admin>) -> impl IntoResponse {
    match metrics_text(&admin.metrics) {
        Ok(text) => (StatusCode::OK, [("content-type", prometheus::TEXT_FORMAT)], text).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

/// All metrics in Prometheus' text format.
///
/// # Errors
/// When a metric cannot be encoded.
pub fn metrics_text(metrics: &Metrics) -> Result<String, prometheus::Error> {
    TextEncoder::new().encode_to_string(&metrics.gather())
}

async fn live(State(admin): State<Admin>) -> impl IntoResponse {
    answer(&admin.health.stuck())
}

async fn ready(State(admin): State<Admin>) -> impl IntoResponse {
    answer(&admin.health.waiting())
}

async fn change_log(filter: String) -> (StatusCode, String) {
    match telemetry::change_filter(&filter) {
        Ok(()) => (StatusCode::OK, "ok\n".to_owned()),
        Err(problem) => (StatusCode::BAD_REQUEST, problem + "\n"),
    }
}

fn answer(against: &[String]) -> (StatusCode, String) {
    if against.is_empty() {
        (StatusCode::OK, "ok\n".to_owned())
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, against.join("\n") + "\n")
    }
}
