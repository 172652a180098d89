//! How a delivery is proven: the `webhook.signature` part of a manifest.

use std::time::Duration;

use hirewire_service::hmac::{Algorithm, Encoding};
use hirewire_service::settings::duration;
use hirewire_yaml::{Map, Node, Problems, Value};

use super::Place;
use super::narrow::TimeFormat;
use super::values::{header, optional, path};
use crate::json::Path;

/// How a delivery proves its sender.
#[derive(Debug)]
pub enum Signature {
    Hmac(Hmac),
    /// A secret that the sender was given stands in the delivery. It proves who sent it, not that nobody altered it.
    Token(Token),
    /// The vendor signs nothing. Never a default: it must be written, and is logged at start.
    None,
}

/// A keyed hash over what is signed: `<before><encoded hash>`.
#[derive(Debug)]
pub struct Hmac {
    pub algorithm: Algorithm,
    pub encoding: Encoding,
    /// Where a delivery says what its hash is.
    pub claim: Place,
    /// Further headers that may hold one, in lower case: one for each secret that the sender knows.
    pub also: Vec<String>,
    /// How the whole value there is encoded, beside the hash in it.
    pub decoded: Option<Encoding>,
    pub before: String,
    /// What stands between several hashes or claims in one place, a hash with its `before`.
    pub between: Option<String>,
    pub signed: Signed,
    pub sent_at: Option<SentAt>,
}

/// The value of a header: what stands in front, and the secret.
#[derive(Debug)]
pub struct Token {
    /// In lower case.
    pub header: String,
    pub before: String,
}

/// What the hash is taken over.
#[derive(Debug)]
pub enum Signed {
    /// The exact bytes of the body.
    Body,
    /// The values of these places of the body as they stand there, one behind the other. The rest of the body is not
    /// proven: whoever saw one delivery can write another with the same values.
    Fields(Vec<Path>),
    /// Body, headers and claims, put together. A header that is not there is empty.
    Joined { parts: Vec<Part>, by: String },
}

/// A part of what is signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Part {
    /// The exact bytes of the body.
    Body,
    /// In lower case.
    Header(String),
    /// What stands behind `<name>=` beside the hash.
    Claim(String),
}

/// Where the time stands.
#[derive(Debug)]
pub(crate) enum TimePlace {
    Place(Place),
    /// As [`Part::Claim`].
    Claim(String),
}

/// When a delivery was sent, by what is signed, and how old it may be.
#[derive(Debug)]
pub struct SentAt {
    pub(crate) at: TimePlace,
    pub(crate) format: TimeFormat,
    /// Before and after our own clock.
    pub within: Duration,
}

impl Signature {
    pub(super) fn read(node: &Node, problems: &mut Problems) -> Option<Self> {
        let (kind, value) = node.tagged(&["hmac", "token", "none"], problems)?;
        let mut map = value.map(problems)?;
        if kind == "token" {
            let header = map.require("header", problems).and_then(|node| header(node, problems));
            let before = map.get("before").map_or(Some(""), |node| node.text(problems));
            map.finish(problems);
            return Some(Self::Token(Token { header: header?, before: before?.to_owned() }));
        }
        if kind == "none" {
            map.finish(problems);
            return Some(Self::None);
        }
        let algorithm = map.require("algorithm", problems).and_then(|node| node.choice(&Algorithm::WORDS, problems));
        let encoding = map.require("encoding", problems).and_then(|node| node.choice(&Encoding::WORDS, problems));
        let (claim, also) = claim(&mut map, problems).unzip();
        let decoded = optional(map.get("decoded").map(|node| node.choice(&[("base64", Encoding::Base64)], problems)));
        let before = map.get("before").map_or(Some(""), |node| node.text(problems));
        let between = match map.get("between") {
            None => Some(None),
            Some(node) => node.name(problems).map(|text| Some(text.to_owned())),
        };
        let signed = map.require("signed", problems).and_then(|node| Signed::read(node, problems));
        let sent_at = match map.get("sent_at") {
            None => Some(None),
            Some(node) => SentAt::read(node, signed.as_ref(), problems).map(Some),
        };
        if let (Some(Place::Field(_)), Some(Signed::Body | Signed::Joined { .. })) = (&claim, &signed) {
            let hint = "a body cannot hold its own hash: name what is signed, {fields: [a, b]}";
            problems.add(map.node(), "a signature in the body that signs the body", hint);
        }
        if between == Some(None) && signed.as_ref().is_some_and(Signed::has_claims) {
            let hint = "say what stands between the claims and the hash";
            problems.add(map.node(), "`claim` without `between`", hint);
        }
        map.finish(problems);
        Some(Self::Hmac(Hmac {
            algorithm: algorithm?,
            encoding: encoding?,
            claim: claim?,
            also: also?,
            decoded: decoded?,
            before: before?.to_owned(),
            between: between?,
            signed: signed?,
            sent_at: sent_at?,
        }))
    }
}

impl Signed {
    fn read(node: &Node, problems: &mut Problems) -> Option<Self> {
        if !matches!(node.value, Value::Map(_)) {
            return node.choice(&[("body", ())], problems).map(|()| Self::Body);
        }
        let (kind, value) = node.tagged(&["fields", "joined"], problems)?;
        if kind == "joined" {
            return Self::joined(value, problems);
        }
        let items = value.list(problems)?;
        if items.is_empty() {
            problems.add(value, "nothing is signed", "name the paths whose values are signed, in their order");
        }
        items.iter().map(|item| path(item, problems)).collect::<Option<Vec<_>>>().map(Self::Fields)
    }

    fn joined(node: &Node, problems: &mut Problems) -> Option<Self> {
        let mut map = node.map(problems)?;
        let list = map.require("parts", problems);
        let by = map.require("by", problems).and_then(|node| node.text(problems));
        map.finish(problems);
        let list = list?;
        let parts = list.list(problems)?.iter().map(|item| Part::read(item, problems)).collect::<Option<Vec<_>>>()?;
        if !parts.contains(&Part::Body) {
            let hint = "whoever saw one delivery could write another: name body at its place among the parts";
            problems.add(list, "the body is not signed", hint);
        }
        Some(Self::Joined { parts, by: by?.to_owned() })
    }

    /// Whether what stands there cannot be altered.
    fn covers(&self, at: &TimePlace) -> bool {
        match (self, at) {
            (Self::Body, TimePlace::Place(Place::Field(_))) => true,
            (Self::Body | Self::Fields(_), TimePlace::Place(Place::Header(_)) | TimePlace::Claim(_)) => false,
            (Self::Fields(fields), TimePlace::Place(Place::Field(path))) => fields.contains(path),
            (Self::Joined { parts, .. }, TimePlace::Place(Place::Field(_))) => parts.contains(&Part::Body),
            (Self::Joined { parts, .. }, TimePlace::Place(Place::Header(name))) => {
                parts.contains(&Part::Header(name.clone()))
            }
            (Self::Joined { parts, .. }, TimePlace::Claim(name)) => parts.contains(&Part::Claim(name.clone())),
        }
    }

    fn has_claims(&self) -> bool {
        matches!(self, Self::Joined { parts, .. } if parts.iter().any(|part| matches!(part, Part::Claim(_))))
    }
}

impl Part {
    /// Reads `body`, `{header: Name}` or `{claim: name}`.
    fn read(node: &Node, problems: &mut Problems) -> Option<Self> {
        if !matches!(node.value, Value::Map(_)) {
            return node.choice(&[("body", Self::Body)], problems);
        }
        match node.tagged(&["header", "claim"], problems)? {
            ("claim", value) => value.name(problems).map(|name| Self::Claim(name.to_owned())),
            (_, value) => header(value, problems).map(Self::Header),
        }
    }
}

impl TimePlace {
    /// Reads a path of the body, `{header: Name}` or `{claim: name}`.
    fn read(node: &Node, problems: &mut Problems) -> Option<Self> {
        if !matches!(node.value, Value::Map(_)) {
            return path(node, problems).map(|path| Self::Place(Place::Field(path)));
        }
        match node.tagged(&["header", "claim"], problems)? {
            ("claim", value) => value.name(problems).map(|name| Self::Claim(name.to_owned())),
            (_, value) => header(value, problems).map(|name| Self::Place(Place::Header(name))),
        }
    }
}

impl SentAt {
    fn read(node: &Node, signed: Option<&Signed>, problems: &mut Problems) -> Option<Self> {
        let mut map = node.map(problems)?;
        let (milliseconds, seconds) = (map.get("epoch_ms"), map.get("epoch_s"));
        let within = map.require("within", problems).and_then(|node| duration(node, problems));
        map.finish(problems);
        let (at, format) = match (milliseconds, seconds) {
            (Some(at), None) => (at, TimeFormat::EpochMs),
            (None, Some(at)) => (at, TimeFormat::EpochS),
            (found, _) => {
                let what =
                    if found.is_some() { "both `epoch_ms` and `epoch_s`" } else { "neither `epoch_ms` nor `epoch_s`" };
                problems.add(node, what, "say where the time stands, in milliseconds or in seconds since 1970");
                return None;
            }
        };
        let place = TimePlace::read(at, problems);
        if let (Some(place), Some(signed)) = (&place, signed)
            && !signed.covers(place)
        {
            problems.add(at, "a time that is not signed", "anybody could write it: name a part of what is signed");
        }
        Some(Self { at: place?, format, within: within? })
    }
}

/// One of the keys `header`, which may be a list, and `field`; with the headers behind the first.
fn claim(map: &mut Map<'_>, problems: &mut Problems) -> Option<(Place, Vec<String>)> {
    match (map.get("header"), map.get("field")) {
        (Some(node), None) => {
            let list = if let Value::List(items) = &node.value { items.as_slice() } else { std::slice::from_ref(node) };
            if list.is_empty() {
                problems.add(node, "no header", "name the header that holds the signature");
            }
            let mut names = list.iter().map(|item| header(item, problems)).collect::<Option<Vec<_>>>()?.into_iter();
            Some((Place::Header(names.next()?), names.collect()))
        }
        (None, Some(node)) => path(node, problems).map(|path| (Place::Field(path), Vec::new())),
        (found, _) => {
            let what = if found.is_some() { "both `header` and `field`" } else { "neither `header` nor `field`" };
            problems.add(map.node(), what, "say where the signature stands: in a header, or at a path of the body");
            None
        }
    }
}
