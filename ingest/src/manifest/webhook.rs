//! The `webhook:` part of a manifest, but for its signature.

use std::collections::BTreeMap;

use axum::http::HeaderMap;
use hirewire_yaml::{Node, Problems, Value};

use super::{Place, Signature, Subject, header, path};
use crate::json::Path;

/// How the vendor's deliveries are proven, named and keyed.
#[derive(Debug)]
pub struct Webhook {
    pub signature: Signature,
    /// How the vendor finds out whether somebody listens; `None`: it does not ask.
    pub handshake: Option<Handshake>,
    /// The status that tells the vendor that a delivery was kept.
    pub answer: u16,
    /// What names a delivery: the same name is the same delivery.
    pub delivery_id: DeliveryId,
    /// Headers that ride along with the raw event, in lower case. Never one that holds a secret or a person.
    pub keep_headers: Vec<String>,
    /// Where a delivery says which event it is.
    pub event: EventName,
    /// What each known event is about. Others are kept too, keyed by the connection.
    pub subjects: BTreeMap<String, Subject>,
    /// Events that only name something: lists of `api`, and where the id stands. One row is read by it, or the list of
    /// the parent that it names.
    pub(crate) fetch: BTreeMap<String, Vec<(String, Named)>>,
    /// Events that may carry answers about a person's demographics.
    pub restricted: Vec<String>,
}

/// What names a delivery's event.
#[derive(Debug)]
pub enum EventName {
    At(Place),
    /// Deliveries name none: all are this one.
    Always(String),
}

/// A request that is no delivery, and what the vendor awaits.
#[derive(Debug)]
pub enum Handshake {
    /// This header is sent back as it came, with status 200. In lower case.
    Echo(String),
}

/// Where an event names what must be read.
#[derive(Debug, Clone)]
pub(crate) enum Named {
    /// At this path of the body.
    Id(Path),
    /// In the path of the `Link` header with this relation (RFC 8288).
    Link(String),
}

/// What is the same again when a delivery is sent a second time.
#[derive(Debug)]
pub enum DeliveryId {
    /// In lower case.
    Header(String),
    /// A text or number of the body.
    Field(Path),
    /// Several of them together: one id stands for deliveries of several events.
    Fields(Vec<Path>),
}

impl Webhook {
    pub(super) fn read(node: &Node, problems: &mut Problems) -> Option<Self> {
        let mut map = node.map(problems)?;
        let signature = map.require("signature", problems).and_then(|node| Signature::read(node, problems));
        let handshake = match map.get("handshake") {
            None => Some(None),
            Some(node) => Handshake::read(node, problems).map(Some),
        };
        let answers = [("200", 200), ("201", 201), ("202", 202), ("204", 204)];
        let answer = map.get("answer").map_or(Some(200), |node| node.choice(&answers, problems));
        let delivery_id = map.require("delivery_id", problems).and_then(|node| DeliveryId::read(node, problems));
        let keep_headers = match map.get("keep_headers") {
            None => Vec::new(),
            Some(node) => node.list(problems)?.iter().filter_map(|item| header(item, problems)).collect(),
        };
        let event = map.require("event", problems).and_then(|node| EventName::read(node, problems));
        let subjects = map.require("subjects", problems).and_then(|node| subjects(node, problems));
        let fetch = match map.get("fetch") {
            None => Some(BTreeMap::new()),
            Some(node) => fetches(node, problems),
        };
        let restricted = match map.get("restricted") {
            None => Vec::new(),
            Some(node) => node.list(problems)?.iter().filter_map(|i| i.text(problems).map(str::to_owned)).collect(),
        };
        map.finish(problems);
        Some(Self {
            signature: signature?,
            handshake: handshake?,
            answer: answer?,
            delivery_id: delivery_id?,
            keep_headers,
            event: event?,
            subjects: subjects?,
            fetch: fetch?,
            restricted,
        })
    }
}

impl Webhook {
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

impl Handshake {
    fn read(node: &Node, problems: &mut Problems) -> Option<Self> {
        let (_, value) = node.tagged(&["echo"], problems)?;
        header(value, problems).map(Self::Echo)
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
        match node.tagged(&["header", "field", "fields"], problems)? {
            ("header", value) => header(value, problems).map(Self::Header),
            ("fields", value) => {
                let items = value.list(problems)?;
                if items.is_empty() {
                    problems.add(value, "nothing names a delivery", "name the paths that do together");
                }
                items.iter().map(|item| path(item, problems)).collect::<Option<Vec<_>>>().map(Self::Fields)
            }
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
