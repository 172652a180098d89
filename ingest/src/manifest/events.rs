//! What a vendor's events are: the same keys for those that it delivers and those that are read from its queue.

use std::collections::BTreeMap;

use axum::http::HeaderMap;
use hirewire_yaml::{Map, Node, Problems, Value};

use super::values::{header, path};
use super::{Place, Subject};
use crate::json::Path;

/// How events are named, keyed, and read on.
#[derive(Debug)]
pub struct Events {
    /// What names an event of its own: the same name is the same event, told again.
    pub delivery_id: DeliveryId,
    /// Where it says which event it is.
    pub event: EventName,
    /// What each known event is about. Others are kept too, keyed by the connection.
    pub subjects: BTreeMap<String, Subject>,
    /// Events that only name something: lists of `api`, and where the id stands. One row is read by it, or the list of
    /// the parent that it names.
    pub(crate) fetch: BTreeMap<String, Vec<(String, Named)>>,
    /// Events that may carry answers about a person's demographics.
    pub restricted: Vec<String>,
}

/// What names an event.
#[derive(Debug)]
pub enum EventName {
    At(Place),
    /// They name none: all are this one.
    Always(String),
}

/// Where an event names what must be read.
#[derive(Debug, Clone)]
pub(crate) enum Named {
    /// At this path of the body.
    Id(Path),
    /// In the path of the `Link` header with this relation (RFC 8288).
    Link(String),
}

/// What is the same again when an event is told a second time.
#[derive(Debug)]
pub enum DeliveryId {
    /// In lower case.
    Header(String),
    /// A text or number of the body.
    Field(Path),
    /// Several of them together: one id stands for deliveries of several events.
    Fields(Vec<Path>),
    /// Nothing names it but its bytes.
    Bytes,
}

impl Events {
    /// Reads the keys that stand beside those of the way in which events come.
    pub(super) fn read(map: &mut Map<'_>, problems: &mut Problems) -> Option<Self> {
        let delivery_id = map.require("delivery_id", problems).and_then(|node| DeliveryId::read(node, problems));
        let event = map.require("event", problems).and_then(|node| EventName::read(node, problems));
        let subjects = map.require("subjects", problems).and_then(|node| subjects(node, problems));
        let fetch = map.get("fetch").map_or(Some(BTreeMap::new()), |node| fetches(node, problems));
        let restricted = match map.get("restricted") {
            None => Vec::new(),
            Some(node) => node.list(problems)?.iter().filter_map(|i| i.text(problems).map(str::to_owned)).collect(),
        };
        Some(Self { delivery_id: delivery_id?, event: event?, subjects: subjects?, fetch: fetch?, restricted })
    }

    /// The events that only name something.
    pub fn thin_events(&self) -> impl Iterator<Item = &str> {
        self.fetch.keys().map(String::as_str)
    }

    /// Whether the event only names something, which is read in its place.
    #[must_use]
    pub fn is_thin(&self, event: &str) -> bool {
        self.fetch.contains_key(event)
    }
}

impl EventName {
    /// Reads a path of the body, `{header: Name}` or `{always: name}`.
    fn read(node: &Node, problems: &mut Problems) -> Option<Self> {
        if node.peek("always").is_none() {
            return Place::read(node, problems).map(Self::At);
        }
        let (_, value) = node.tagged(&["always"], problems)?;
        value.name(problems).map(|name| Self::Always(name.to_owned()))
    }

    /// The event that a delivery says it is.
    pub(crate) fn text(&self, headers: &HeaderMap, body: &[u8]) -> Option<String> {
        match self {
            Self::At(place) => place.text(headers, body),
            Self::Always(name) => Some(name.clone()),
        }
    }
}

impl Named {
    /// Reads a path, or `{link: self}`.
    fn read(node: &Node, problems: &mut Problems) -> Option<Self> {
        if !matches!(node.value, Value::Map(_)) {
            return path(node, problems).map(Self::Id);
        }
        let (_, value) = node.tagged(&["link"], problems)?;
        value.name(problems).map(|relation| Self::Link(relation.to_owned()))
    }
}

impl DeliveryId {
    fn read(node: &Node, problems: &mut Problems) -> Option<Self> {
        match node.tagged(&["header", "field", "fields", "bytes"], problems)? {
            ("header", value) => header(value, problems).map(Self::Header),
            ("fields", value) => {
                let items = value.list(problems)?;
                if items.is_empty() {
                    problems.add(value, "nothing names a delivery", "name the paths that do together");
                }
                items.iter().map(|item| path(item, problems)).collect::<Option<Vec<_>>>().map(Self::Fields)
            }
            ("bytes", value) => value.map(problems).map(|map| {
                map.finish(problems);
                Self::Bytes
            }),
            (_, value) => path(value, problems).map(Self::Field),
        }
    }
}

fn subjects(node: &Node, problems: &mut Problems) -> Option<BTreeMap<String, Subject>> {
    let mut map = node.map(problems)?;
    let entries = map.entries().filter_map(|(_, event, at)| Some((event.to_owned(), Subject::read(at, problems)?)));
    Some(entries.collect())
}

/// Reads `{applicationCreated: {opportunities: data.opportunityId}}`. That the lists are there is checked where `api` is
/// known.
fn fetches(node: &Node, problems: &mut Problems) -> Option<BTreeMap<String, Vec<(String, Named)>>> {
    let mut map = node.map(problems)?;
    let mut events = BTreeMap::new();
    for (_, event, lists) in map.entries() {
        let mut lists = lists.map(problems)?;
        let read = |(_, list, at): (_, &str, &Node)| Some((list.to_owned(), Named::read(at, problems)?));
        events.insert(event.to_owned(), lists.entries().map(read).collect::<Option<Vec<_>>>()?);
    }
    Some(events)
}
