//! How the vendor signs and sends its webhooks, and what they tell.

use std::collections::BTreeMap;

use hirewire_yaml::{Map, Node, Problems};

use super::event::Event;
use super::read::{list, pairs, section, text, texts};

#[derive(Debug, Clone)]
pub struct WebhookRules {
    /// The header that names a delivery; `None`: the body does, or nothing.
    pub event_id_header: Option<String>,
    /// Where a delivery says which event it is.
    pub event: Claim,
    /// Further headers of each delivery.
    pub headers: BTreeMap<String, String>,
    /// The header of a request by which the vendor finds out whether somebody listens, and which must come back.
    pub handshake: Option<String>,
    pub signature: SignatureRules,
    /// Characters that the vendor writes as `\u00xx`.
    pub escaped: Vec<char>,
    pub success: Success,
    pub retry_after_minutes: Vec<u64>,
    pub ping: bool,
    /// What events tell, of those of which it is said.
    pub events: Vec<Event>,
}

/// HMAC-SHA256, written as `<prefix><encoded hash>`.
#[derive(Debug, Clone)]
pub struct SignatureRules {
    pub claim: Claim,
    pub prefix: String,
    pub encoding: Encoding,
    /// All of it is written in Base64 once more.
    pub wrapped: bool,
    pub signed: Signed,
    /// Where it stands when the delivery was sent, if that is signed.
    pub sent_at: Option<SentAt>,
}

/// Where the hash stands, or a word.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Claim {
    Header(String),
    /// A field of the body.
    Field(String),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SentAt {
    /// Of the body, in milliseconds since 1970.
    Field(String),
    /// In seconds since 1970.
    Header(String),
    /// In seconds since 1970, in front of the hash: what stands before it, and between the two.
    Claim { before: String, by: String },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    HexLower,
    Base64,
}

/// What the hash is over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Signed {
    /// The body exactly as sent.
    Body,
    /// The values of these fields, one behind the other.
    Fields(Vec<String>),
    /// Parts of the delivery, with a text between them.
    Joined { parts: Vec<Part>, by: String },
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Part {
    Body,
    SentAt,
    /// Nothing, where the delivery has none of that name.
    Header(String),
}

/// Which answers count as taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Success {
    Only(u16),
    Any2xx,
}

impl Success {
    #[must_use]
    pub fn is(self, status: u16) -> bool {
        match self {
            Self::Only(wanted) => status == wanted,
            Self::Any2xx => (200..300).contains(&status),
        }
    }
}

impl WebhookRules {
    pub(super) fn read(map: &mut Map<'_>, problems: &mut Problems) -> Option<Self> {
        let header = map.get("event_id_header").map_or(Some(None), |node| node.text(problems).map(Some));
        let event = map.require("event", problems).and_then(|node| Claim::read(node, problems));
        let handshake = map.get("handshake").map_or(Some(None), |node| {
            let (_, value) = node.tagged(&["echo"], problems)?;
            value.text(problems).map(Some)
        });
        let signature = section(map, "signature", problems, SignatureRules::read);
        let known = [("same", ()), ("either", ())];
        map.require("same_event_id_on_retry", problems)?.choice(&known, problems)?;
        let success = [("200", Success::Only(200)), ("202", Success::Only(202)), ("2xx", Success::Any2xx)];
        let success = map.require("success", problems)?.choice(&success, problems);
        let minutes = map.require("retry_after_minutes", problems)?.list(problems)?;
        let minutes: Option<Vec<u64>> = minutes.iter().map(|node| node.whole(1, problems)).collect();
        let escaped = texts(map, "escaped", problems)?;
        Some(Self {
            event_id_header: header?.map(str::to_owned),
            event: event?,
            headers: pairs(map, "headers", problems)?,
            handshake: handshake?.map(str::to_owned),
            signature: signature?,
            escaped: escaped.iter().filter_map(|text| text.chars().next()).collect(),
            success: success?,
            retry_after_minutes: minutes?,
            ping: map.require("ping", problems)?.boolean(problems)?,
            events: Event::read_all(map, problems)?,
        })
    }

    /// Whether a field of the body holds when it was sent.
    #[must_use]
    pub fn body_tells_when_sent(&self) -> bool {
        matches!(self.signature.sent_at, Some(SentAt::Field(_)))
    }
}

impl Claim {
    fn read(node: &Node, problems: &mut Problems) -> Option<Self> {
        let (kind, place) = node.tagged(&["header", "field"], problems)?;
        let place = place.text(problems)?.to_owned();
        Some(if kind == "header" { Self::Header(place) } else { Self::Field(place) })
    }
}

impl SentAt {
    fn read(node: &Node, problems: &mut Problems) -> Option<Self> {
        if let Some(field) = node.scalar() {
            return Some(Self::Field(field.to_owned()));
        }
        let (kind, value) = node.tagged(&["header", "claim"], problems)?;
        if kind == "header" {
            return value.text(problems).map(|name| Self::Header(name.to_owned()));
        }
        let mut map = value.map(problems)?;
        let (before, by) = (text(&mut map, "before", problems), text(&mut map, "by", problems));
        map.finish(problems);
        Some(Self::Claim { before: before?, by: by? })
    }
}

impl SignatureRules {
    fn read(map: &mut Map<'_>, problems: &mut Problems) -> Option<Self> {
        let claim = map.require("in", problems).and_then(|node| Claim::read(node, problems));
        let prefix = map.get("prefix").map_or(Some(""), |node| node.text(problems));
        let encodings = [("hex_lower", Encoding::HexLower), ("base64", Encoding::Base64)];
        let encoding = map.require("encoding", problems)?.choice(&encodings, problems);
        let wrapped = map.get("wrapped").map_or(Some(false), |node| node.choice(&[("base64", true)], problems));
        let signed = map.require("over", problems).and_then(|node| Signed::read(node, problems));
        let sent_at = map.get("sent_at").map_or(Some(None), |node| SentAt::read(node, problems).map(Some));
        Some(Self {
            claim: claim?,
            prefix: prefix?.to_owned(),
            encoding: encoding?,
            wrapped: wrapped?,
            signed: signed?,
            sent_at: sent_at?,
        })
    }
}

impl Signed {
    fn read(node: &Node, problems: &mut Problems) -> Option<Self> {
        if node.scalar() == Some("body") {
            return Some(Self::Body);
        }
        let (kind, value) = node.tagged(&["fields", "joined"], problems)?;
        if kind == "fields" {
            return list(value, problems).map(Self::Fields);
        }
        let mut map = value.map(problems)?;
        let parts = map.require("parts", problems)?.list(problems)?;
        let parts = parts.iter().map(|part| Part::read(part, problems)).collect::<Option<Vec<_>>>();
        let by = text(&mut map, "by", problems);
        map.finish(problems);
        Some(Self::Joined { parts: parts?, by: by? })
    }
}

impl Part {
    fn read(node: &Node, problems: &mut Problems) -> Option<Self> {
        if node.scalar().is_some() {
            return node.choice(&[("body", Self::Body), ("sent_at", Self::SentAt)], problems);
        }
        let (_, name) = node.tagged(&["header"], problems)?;
        name.text(problems).map(|name| Self::Header(name.to_owned()))
    }
}
