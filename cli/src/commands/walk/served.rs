//! A walk that `hirewire up` makes itself, asked at its admin port: `POST /walk/{connection}?within=60s`.
//!
//! The embedded broker listens on the loopback address alone, so that nobody else can see what became of the webhook. Whoever
//! reaches the admin port may have a made-up application walk, of the one connection that `embedded.walk` names, one at a time.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use axum::Router;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::routing::post;
use hirewire_service::Shutdown;
use serde::Deserialize;
use tokio::sync::Mutex;

use super::{Trial, duration, walk};
use crate::config::Config;
use crate::out;
use crate::vendors::Vendors;

/// No walk takes longer.
const LIMIT: Duration = Duration::from_secs(300);
/// For what is beside the walk itself.
const SPARE: Duration = Duration::from_secs(10);

#[derive(Clone)]
struct Walks {
    config: Arc<Config>,
    vendors: Vendors,
    shutdown: Shutdown,
    one: Arc<Mutex<()>>,
}

#[derive(Deserialize)]
struct Asked {
    within: String,
}

/// Has a route only where `embedded.walk` names a connection.
pub(crate) fn router(config: &Arc<Config>, vendors: &Vendors, shutdown: Shutdown) -> Router {
    if config.embedded.walk.is_none() {
        return Router::new();
    }
    let walks = Walks { config: Arc::clone(config), vendors: vendors.clone(), shutdown, one: Arc::default() };
    Router::new().route("/walk/{connection}", post(serve)).with_state(walks)
}

/// 200: it arrived; 409: it did not; each with the steps. Anything else: it was not walked.
async fn serve(
    State(walks): State<Walks>,
    Path(connection): Path<String>,
    Query(asked): Query<Asked>,
) -> (StatusCode, String) {
    if walks.config.embedded.walk.as_ref() != Some(&connection) {
        return (StatusCode::NOT_FOUND, "its embedded.walk names another connection".to_owned());
    }
    let within = match duration(&asked.within) {
        Ok(within) => within.min(LIMIT),
        Err(expected) => return (StatusCode::BAD_REQUEST, format!("within: {expected}")),
    };
    let Ok(_one) = walks.one.try_lock() else {
        return (StatusCode::TOO_MANY_REQUESTS, "another walk is under way".to_owned());
    };
    let mut steps = String::new();
    let mut say = |line: &str| {
        steps.push_str(line);
        steps.push('\n');
    };
    let walked = async {
        let trial = Trial::new(&connection, &walks.config, &walks.vendors)?;
        walk(&walks.config, trial, None, within, &mut say).await
    };
    let walked = tokio::select! {
        walked = walked => walked,
        () = walks.shutdown.requested() => return (StatusCode::SERVICE_UNAVAILABLE, "it stops".to_owned()),
    };
    match walked {
        Ok(true) => (StatusCode::OK, steps),
        Ok(false) => (StatusCode::CONFLICT, steps),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, format!("{steps}{error:#}")),
    }
}

/// Has the process at this admin port walk, and says what it said; whether it arrived.
pub(super) async fn ask(admin: &str, connection: &str, within: Duration) -> anyhow::Result<bool> {
    let url = format!("{}/walk/{connection}", admin.trim_end_matches('/'));
    let client = reqwest::Client::builder().no_proxy().timeout(within + SPARE).build()?;
    let request = client.post(&url).query(&[("within", format!("{}ms", within.as_millis()))]);
    let answer = request.send().await.with_context(|| format!("{url} does not answer"))?;
    let status = answer.status().as_u16();
    let said = answer.text().await.with_context(|| format!("{url} does not answer to the end"))?;
    match status {
        200 | 409 => {
            out::line(said.trim_end());
            Ok(status == 200)
        }
        404 if said.is_empty() => {
            bail!("{url} answered 404: is that a `hirewire up` whose embedded.walk names {connection}?")
        }
        status => bail!("{url} answered {status}: {}", said.trim_end()),
    }
}
