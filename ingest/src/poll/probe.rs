//! One harmless request to a vendor, with the credentials of a connection: does polling work?
//!
//! Connection in, what the vendor said out. It asks for the changes of the last minute in the connection's first list, and
//! keeps nothing of the answer.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use hirewire_kafka::Record;
use jiff::SignedDuration;

use super::access::Vault;
use super::client::Client;
use super::journal::{CursorCodec, Journal, NotCommitted};
use super::lane::Lane;
use super::parents::Lists;
use super::question::Question;
use super::window::Window;
use crate::connection::Connection;
use crate::credentials::Credentials;
use crate::envelope::Origin;

/// For a token and a page.
const PATIENCE: Duration = Duration::from_secs(30);

/// What came of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Probed {
    /// The vendor gave a page.
    Answered {
        list: String,
        /// Its clock minus ours, in whole seconds; `None`: it does not tell the time.
        clock_ahead_secs: Option<i64>,
    },
    /// It did not. `code` is one of `docs/errors.md`.
    Failed { code: &'static str, what: String },
    /// It was not asked: why.
    Untried(&'static str),
}

/// Keeps nothing: what a login gives is for this one request.
struct Nowhere;

impl Journal for Nowhere {
    async fn commit(&self, _: Vec<Record>) -> Result<(), NotCommitted> {
        Ok(())
    }
}

/// `None`: the connection is not polled.
pub async fn probe(connection: &Connection) -> Option<Probed> {
    let (api, poll) = (connection.manifest.api.as_ref()?, connection.poll.as_ref()?);
    if matches!(poll.credentials, Credentials::Refresh(_)) {
        return Some(Probed::Untried("to ask would spend its refresh token, which only the poller may use"));
    }
    // One that needs no parent.
    let of_lane = |lane: Lane| api.streams.get(lane.stream).map(|stream| (lane, stream));
    let lists = Lane::all(connection, api, &HashMap::new()).into_iter().filter_map(of_lane);
    let (lane, stream) = lists.into_iter().find(|(_, stream)| Lists::of(api, stream).is_none())?;
    let vault = Vault::new(Arc::new(Nowhere), CursorCodec::new("".into(), 0), 0, &connection.name, None);
    let mut client = match Client::new(poll, vault) {
        Ok(client) => client,
        Err(error) => return Some(Probed::Failed { code: "poll-http-client", what: error.to_string() }),
    };
    let now = client.vendor_now();
    let window = Window {
        origin: Origin::Poll,
        from: now.checked_sub(SignedDuration::from_secs(60)).ok(),
        to: now,
        page: None,
        rows: 0,
        sync: None,
    };
    let question = Question::list(api, stream, &lane.params, &window);
    let asked = tokio::time::timeout(PATIENCE, Box::pin(client.page(api, poll, &question))).await;
    Some(match asked {
        Ok(Ok(_)) => {
            Probed::Answered { list: lane.name, clock_ahead_secs: client.clock().map(|ahead| ahead.as_secs()) }
        }
        Ok(Err(failure)) => Probed::Failed { code: failure.label(), what: failure.to_string() },
        Err(_) => Probed::Failed { code: "poll-no-answer", what: format!("no answer in {} s", PATIENCE.as_secs()) },
    })
}
