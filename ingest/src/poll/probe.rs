//! One harmless request to a vendor, with the credentials of a connection: does polling work?
//!
//! Connection in, what the vendor said out. It asks for the changes of the last minute in the connection's first list, and
//! keeps nothing of the answer.

use std::collections::HashMap;
use std::time::Duration;

use jiff::SignedDuration;

use super::client::{Client, Question};
use super::lane::Lane;
use super::parents::Lists;
use super::window::Window;
use crate::connection::Connection;
use crate::envelope::Origin;

/// For a token and a page.
const PATIENCE: Duration = Duration::from_secs(30);

/// The vendor gave a page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answered {
    pub list: String,
    /// Its clock minus ours, in whole seconds; `None`: it does not tell the time.
    pub clock_ahead_secs: Option<i64>,
}

/// It did not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unanswered {
    /// A code of `docs/errors.md`.
    pub code: &'static str,
    pub what: String,
}

/// `None`: the connection is not polled.
pub async fn probe(connection: &Connection) -> Option<Result<Answered, Unanswered>> {
    let (api, poll) = (connection.manifest.api.as_ref()?, connection.poll.as_ref()?);
    // One that needs no parent.
    let of_lane = |lane: Lane| api.streams.get(lane.stream).map(|stream| (lane, stream));
    let lists = Lane::all(connection, api, &HashMap::new()).into_iter().filter_map(of_lane);
    let (lane, stream) = lists.into_iter().find(|(_, stream)| Lists::of(api, stream).is_none())?;
    let mut client = match Client::new() {
        Ok(client) => client,
        Err(error) => return Some(Err(Unanswered { code: "poll-http-client", what: error.to_string() })),
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
        Ok(Ok(_)) => Ok(Answered { list: lane.name, clock_ahead_secs: client.clock().map(|ahead| ahead.as_secs()) }),
        Ok(Err(failure)) => Err(Unanswered { code: failure.label(), what: failure.to_string() }),
        Err(_) => Err(Unanswered { code: "poll-no-answer", what: format!("no answer in {} s", PATIENCE.as_secs()) }),
    })
}
