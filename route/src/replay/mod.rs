//! Dead letters of a sink that are sent again: to that sink alone, in order, never past what is newer.
//!
//! `hirewire dlq replay` writes the record, with its key, value, headers and time, to `hirewire.internal.replay.v1`, which
//! every sink's group reads beside its own topics; headers say whom it is for. In a sink it shares the lane of its key
//! with everything else, so the two are never under way together. It is not sent if the route has something newer of
//! the same key: [`fence`] looks before it is written, [`incoming`] looks again before it is sent.
//! That record is at the same time the mark that the dead letter was sent again.

pub mod fence;
pub(crate) mod incoming;

use std::fmt;
use std::str::FromStr;

use crate::route::Route;

/// The internal topic's name, as `Names::internal` takes it.
pub const TOPIC: &str = "replay";

/// All headers of a replay begin like this.
pub const PREFIX: &str = "hirewire-replay-";
/// The dead letter: its [`Place`].
pub const OF: &str = "hirewire-replay-of";
/// The [`Place`] that the dead letter came from.
pub const ORIGIN: &str = "hirewire-replay-origin";
/// What was done with the dead letter: `replayed` or `purged`.
pub const MARK: &str = "hirewire-replay-mark";
/// When that was done.
pub const AT: &str = "hirewire-replay-at";
/// The sink that it is for; absent on a record that is only a mark.
pub const SINK: &str = "hirewire-replay-sink";
/// The route that it is for; absent: all of the sink's.
pub const ROUTE: &str = "hirewire-replay-route";
/// The offset, in the topic that it came from, up to which nothing newer was found.
pub const CHECKED_TO: &str = "hirewire-replay-checked-to";
/// Present: a person wants it sent although there is something newer.
pub const EVEN_IF_NEWER: &str = "hirewire-replay-even-if-newer";

/// Where a record stands; written `topic/partition/offset`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    pub topic: String,
    pub partition: i32,
    pub offset: i64,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.topic, self.partition, self.offset)
    }
}

/// A text that is no [`Place`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("\"{0}\" is not topic/partition/offset")]
pub struct NoPlace(String);

impl FromStr for Place {
    type Err = NoPlace;

    fn from_str(text: &str) -> Result<Self, NoPlace> {
        let mut parts = text.rsplitn(3, '/');
        let place = (|| {
            let offset = parts.next()?.parse().ok()?;
            let partition = parts.next()?.parse().ok()?;
            let topic = parts.next().filter(|topic| !topic.is_empty())?;
            Some(Self { topic: topic.to_owned(), partition, offset })
        })();
        place.ok_or_else(|| NoPlace(text.to_owned()))
    }
}

/// What a replay's headers say to the sink.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Order {
    pub origin: Place,
    pub sink: String,
    /// Empty: all routes of the sink.
    pub route: String,
    pub checked_to: i64,
    pub even_if_newer: bool,
}

impl Order {
    /// The headers that a sink understands.
    #[must_use]
    pub fn headers(&self) -> Vec<(&'static str, String)> {
        let mut headers = vec![(SINK, self.sink.clone()), (CHECKED_TO, self.checked_to.to_string())];
        if !self.route.is_empty() {
            headers.push((ROUTE, self.route.clone()));
        }
        if self.even_if_newer {
            headers.push((EVEN_IF_NEWER, "yes".to_owned()));
        }
        headers
    }

    pub(crate) fn is_for(&self, route: &Route) -> bool {
        fence::is_for(&self.route, route)
    }

    /// The other direction; `None` when one is missing or no number.
    fn read<'a>(header: impl Fn(&str) -> Option<&'a str>) -> Option<Self> {
        Some(Self {
            origin: header(ORIGIN)?.parse().ok()?,
            sink: header(SINK)?.to_owned(),
            route: header(ROUTE).unwrap_or_default().to_owned(),
            checked_to: header(CHECKED_TO)?.parse().ok()?,
            even_if_newer: header(EVEN_IF_NEWER).is_some(),
        })
    }
}

/// Whether a header was added on the way to the dead letters, or back, and is no part of the record itself.
#[must_use]
pub fn is_added(header: &str) -> bool {
    ["__connect.errors.", "dlq.", PREFIX].iter().any(|front| header.starts_with(front))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_order_writes_it_reads() {
        for (route, even_if_newer) in [("r", false), ("", true)] {
            let origin: Place = "p-ats.stage-change.v1/3/17".parse().unwrap();
            let order = Order {
                origin: origin.clone(),
                sink: "pay".into(),
                route: route.into(),
                checked_to: 21,
                even_if_newer,
            };
            let mut headers = order.headers();
            headers.push((ORIGIN, origin.to_string()));
            let read = |name: &str| headers.iter().find(|(key, _)| *key == name).map(|(_, value)| value.as_str());
            assert_eq!(Order::read(read), Some(order.clone()));
        }
        assert_eq!(Order::read(|_| Some("x")), None);
        for text in ["", "t/1", "/1/2", "t/1/x"] {
            assert!(text.parse::<Place>().is_err(), "{text}");
        }
    }
}
