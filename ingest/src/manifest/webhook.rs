//! The `webhook:` part of a manifest.

use std::collections::BTreeMap;
use std::time::Duration;

use hirewire_service::settings::duration;
use hirewire_yaml::{Map, Node, Problems, Value};

use super::{Subject, header, path, required_path};
use crate::json::Path;

/// How the vendor's deliveries are proven, named and keyed.
#[derive(Debug)]
pub struct Webhook {
    pub signature: Signature,
    /// What names a delivery: the same name is the same delivery.
    pub delivery_id: DeliveryId,
    /// Headers that ride along with the raw event, in lower case. Never one that holds a secret or a person.
    pub keep_headers: Vec<String>,
    /// Where the body says which event it is.
    pub(crate) event: Path,
    /// What each known event is about. Others are kept too, keyed by the connection.
    pub subjects: BTreeMap<String, Subject>,
    /// Events that only name something: lists of `api`, and where in the body the id stands. One row is read by it, or
    /// the list of the parent that it names.
    pub(crate) fetch: BTreeMap<String, Vec<(String, Path)>>,
    /// Events that may carry answers about a person's demographics.
    pub restricted: Vec<String>,
}

/// How a delivery proves its sender.
#[derive(Debug)]
pub enum Signature {
    Hmac(Hmac),
    /// The vendor signs nothing. Never a default: it must be written, and is logged at start.
    None,
}

/// A keyed hash over what is signed: `<before><encoded hash>`.
#[derive(Debug)]
pub struct Hmac {
    pub algorithm: Algorithm,
    pub encoding: Encoding,
    pub claim: Claim,
    pub before: String,
    pub signed: Signed,
    pub sent_at: Option<SentAt>,
}

/// Where a delivery says what its hash is.
#[derive(Debug)]
pub enum Claim {
    /// In lower case.
    Header(String),
    /// A text of the body.
    Field(Path),
}

/// What the hash is taken over.
#[derive(Debug)]
pub enum Signed {
    /// The exact bytes of the body.
    Body,
    /// The values of these places of the body as they stand there, one behind the other. The rest of the body is not
    /// proven: whoever saw one delivery can write another with the same values.
    Fields(Vec<Path>),
}

/// When a delivery was sent, by what is signed, and how old it may be.
#[derive(Debug)]
pub struct SentAt {
    /// Milliseconds since 1970.
    pub(crate) epoch_ms: Path,
    /// Before and after our own clock.
    pub within: Duration,
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

#[derive(Debug, Clone, Copy)]
pub enum Algorithm {
    Sha1,
    Sha256,
    Sha512,
}

#[derive(Debug, Clone, Copy)]
pub enum Encoding {
    Hex,
    Base64,
}

impl Webhook {
    pub(super) fn read(node: &Node, problems: &mut Problems) -> Option<Self> {
        let mut map = node.map(problems)?;
        let signature = map.require("signature", problems).and_then(|node| Signature::read(node, problems));
        let delivery_id = map.require("delivery_id", problems).and_then(|node| DeliveryId::read(node, problems));
        let keep_headers = match map.get("keep_headers") {
            None => Vec::new(),
            Some(node) => node.list(problems)?.iter().filter_map(|item| header(item, problems)).collect(),
        };
        let event = required_path(&mut map, "event", problems);
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
            delivery_id: delivery_id?,
            keep_headers,
            event: event?,
            subjects: subjects?,
            fetch: fetch?,
            restricted,
        })
    }
}

impl Signature {
    fn read(node: &Node, problems: &mut Problems) -> Option<Self> {
        let (kind, value) = node.tagged(&["hmac", "none"], problems)?;
        let mut map = value.map(problems)?;
        if kind == "none" {
            map.finish(problems);
            return Some(Self::None);
        }
        let algorithms = [("sha1", Algorithm::Sha1), ("sha256", Algorithm::Sha256), ("sha512", Algorithm::Sha512)];
        let encodings = [("hex", Encoding::Hex), ("base64", Encoding::Base64)];
        let algorithm = map.require("algorithm", problems).and_then(|node| node.choice(&algorithms, problems));
        let encoding = map.require("encoding", problems).and_then(|node| node.choice(&encodings, problems));
        let claim = Claim::read(&mut map, problems);
        let before = map.get("before").map_or(Some(""), |node| node.text(problems));
        let signed = map.require("signed", problems).and_then(|node| Signed::read(node, problems));
        let sent_at = match map.get("sent_at") {
            None => Some(None),
            Some(node) => SentAt::read(node, signed.as_ref(), problems).map(Some),
        };
        if let (Some(Claim::Field(_)), Some(Signed::Body)) = (&claim, &signed) {
            let hint = "a body cannot hold its own hash: name what is signed, {fields: [a, b]}";
            problems.add(map.node(), "`field` and `signed: body`", hint);
        }
        map.finish(problems);
        Some(Self::Hmac(Hmac {
            algorithm: algorithm?,
            encoding: encoding?,
            claim: claim?,
            before: before?.to_owned(),
            signed: signed?,
            sent_at: sent_at?,
        }))
    }
}

impl Claim {
    /// One of the keys `header` and `field`.
    fn read(map: &mut Map<'_>, problems: &mut Problems) -> Option<Self> {
        match (map.get("header"), map.get("field")) {
            (Some(node), None) => header(node, problems).map(Self::Header),
            (None, Some(node)) => path(node, problems).map(Self::Field),
            (found, _) => {
                let what = if found.is_some() { "both `header` and `field`" } else { "neither `header` nor `field`" };
                problems.add(map.node(), what, "say where the signature stands: in a header, or at a path of the body");
                None
            }
        }
    }
}

impl Signed {
    fn read(node: &Node, problems: &mut Problems) -> Option<Self> {
        if !matches!(node.value, Value::Map(_)) {
            return node.choice(&[("body", ())], problems).map(|()| Self::Body);
        }
        let (_, value) = node.tagged(&["fields"], problems)?;
        let items = value.list(problems)?;
        if items.is_empty() {
            problems.add(value, "nothing is signed", "name the paths whose values are signed, in their order");
        }
        items.iter().map(|item| path(item, problems)).collect::<Option<Vec<_>>>().map(Self::Fields)
    }
}

impl SentAt {
    fn read(node: &Node, signed: Option<&Signed>, problems: &mut Problems) -> Option<Self> {
        let mut map = node.map(problems)?;
        let at = map.require("epoch_ms", problems);
        let epoch_ms = at.and_then(|node| path(node, problems));
        let within = map.require("within", problems).and_then(|node| duration(node, problems));
        map.finish(problems);
        if let (Some(at), Some(path), Some(Signed::Fields(fields))) = (at, &epoch_ms, signed)
            && !fields.contains(path)
        {
            problems.add(at, "a time that is not signed", "anybody could write it: name one of the signed fields");
        }
        Some(Self { epoch_ms: epoch_ms?, within: within? })
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
fn fetches(node: &Node, problems: &mut Problems) -> Option<BTreeMap<String, Vec<(String, Path)>>> {
    let mut map = node.map(problems)?;
    let mut events = BTreeMap::new();
    for (_, event, lists) in map.entries() {
        let mut lists = lists.map(problems)?;
        let read = |(_, list, at): (_, &str, &Node)| Some((list.to_owned(), path(at, problems)?));
        events.insert(event.to_owned(), lists.entries().map(read).collect::<Option<Vec<_>>>()?);
    }
    Some(events)
}
