//! The assessment sink: takes what route sends, notes when, answers 200.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::post;
use bytes::Bytes;
use serde::Deserialize;

use crate::bodies::application_of;

/// When each application's order arrived: the times of one application, in order.
#[derive(Clone)]
pub(crate) struct Receiver {
    arrivals: Arc<Mutex<Vec<Vec<Instant>>>>,
}

#[derive(Deserialize)]
struct Order {
    application_remote_id: String,
}

impl Receiver {
    /// Listens on the loopback address until the process ends. Returns the URL.
    pub(crate) async fn start(applications: usize) -> anyhow::Result<(Self, String)> {
        let receiver = Self { arrivals: Arc::new(Mutex::new(vec![Vec::new(); applications])) };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
        let url = format!("http://{}/orders", listener.local_addr()?);
        let router = Router::new().route("/orders", post(take)).with_state(receiver.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        Ok((receiver, url))
    }

    pub(crate) fn arrivals(&self) -> Vec<Vec<Instant>> {
        self.arrivals.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn count(&self) -> usize {
        self.arrivals.lock().unwrap_or_else(PoisonError::into_inner).iter().filter(|times| !times.is_empty()).count()
    }
}

async fn take(State(receiver): State<Receiver>, body: Bytes) -> StatusCode {
    let now = Instant::now();
    let Ok(order) = serde_json::from_slice::<Order>(&body) else { return StatusCode::BAD_REQUEST };
    let mut arrivals = receiver.arrivals.lock().unwrap_or_else(PoisonError::into_inner);
    let slot = application_of(&order.application_remote_id).and_then(|application| arrivals.get_mut(application));
    match slot {
        Some(times) => {
            times.push(now);
            StatusCode::OK
        }
        None => StatusCode::BAD_REQUEST,
    }
}
