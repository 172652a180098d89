//! A vendor whose rows, clock and faults somebody else moves: its API over HTTP by the rules of its `api.yaml`.
//!
//! In: [`Rules`] and example rows from the folder's fixtures. Out: a [`Vendor`] that listens on loopback and answers by
//! these rules alone, and deliveries signed as the vendor signs them ([`sign`]). It never reads the manifest.

mod account;
mod answer;
mod body;
mod condition;
mod delivery;
mod event;
mod fault;
mod fixtures;
mod graphql;
mod login;
mod page;
mod queue;
mod row;
mod written;
mod xml;

use std::sync::{Arc, Mutex, PoisonError};

use axum::Router;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::rules::Rules;
pub use account::{Account, Change, Shown};
pub(crate) use body::{at as field, insert as put_or_add, text_of};
pub use delivery::{Courier, Delivery, Message, Tamper, greeting, sign};
pub use event::{event_of, message};
pub use fault::{Fault, Planned, When};
pub use fixtures::{Examples, bodies, examples};
pub(crate) use written::Written;

/// The API key of the one account, and the secret of the client `kit`.
pub const KEY: &str = "key-of-the-kit";
pub const CLIENT: &str = "kit";

/// The URL at another origin: a vendor's address as the simulated one has it.
#[must_use]
pub fn moved(url: &str, origin: &str) -> String {
    let behind = url.split_once("://").map_or(url, |(_, rest)| rest);
    let path = behind.split_once('/').map_or("", |(_, path)| path);
    format!("{origin}/{path}").trim_end_matches('/').to_owned()
}

/// A vendor that listens. Dropping it closes it.
pub struct Vendor {
    /// `http://127.0.0.1:<port>`, without the base path.
    pub origin: String,
    state: Arc<State>,
    serving: JoinHandle<()>,
}

/// What all requests share.
pub(crate) struct State {
    pub(crate) rules: Arc<Rules>,
    pub(crate) origin: String,
    pub(crate) account: Mutex<Account>,
}

impl State {
    pub(crate) fn with<T>(&self, act: impl FnOnce(&mut Account) -> T) -> T {
        act(&mut self.account.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Vendor {
    /// Serves `account` on a free port of loopback.
    ///
    /// # Errors
    /// When nothing can listen there.
    pub async fn start(rules: Arc<Rules>, account: Account) -> std::io::Result<Self> {
        Self::listen(rules, account, TcpListener::bind("127.0.0.1:0").await?)
    }

    /// Serves `account` there.
    pub(crate) fn listen(rules: Arc<Rules>, account: Account, listener: TcpListener) -> std::io::Result<Self> {
        let origin = format!("http://{}", listener.local_addr()?);
        let state = Arc::new(State { rules, origin: origin.clone(), account: Mutex::new(account) });
        let router = Router::new().fallback(answer::answer).with_state(state.clone());
        let serving = tokio::spawn(async move {
            if let Err(error) = axum::serve(listener, router).await {
                tracing::error!(error = &error as &dyn std::error::Error, "a simulated vendor ended");
            }
        });
        Ok(Self { origin, state, serving })
    }

    /// Looks at what the vendor has, or changes it.
    pub fn with<T>(&self, act: impl FnOnce(&mut Account) -> T) -> T {
        self.state.with(act)
    }
}

impl Drop for Vendor {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_moves_with_its_path() {
        assert_eq!(moved("https://api.example.com/v1", "http://127.0.0.1:9"), "http://127.0.0.1:9/v1");
        assert_eq!(moved("https://api.example.com", "http://127.0.0.1:9"), "http://127.0.0.1:9");
    }
}
