//! How the vendor signs and sends its webhooks.

use hirewire_yaml::{Map, Node, Problems};

use super::read::{list, section, texts};

#[derive(Debug, Clone)]
pub struct WebhookRules {
    /// The header that names a delivery; `None`: the body does, or nothing.
    pub event_id_header: Option<String>,
    pub signature: SignatureRules,
    /// Characters that the vendor writes as `\u00xx`.
    pub escaped: Vec<char>,
    pub success: Success,
    pub retry_after_minutes: Vec<u64>,
    pub ping: bool,
}

/// HMAC-SHA256, written as `<prefix><encoded hash>`.
#[derive(Debug, Clone)]
pub struct SignatureRules {
    pub claim: Claim,
    pub prefix: String,
    pub encoding: Encoding,
    pub signed: Signed,
    /// The field that holds when the delivery was sent, in milliseconds since 1970, if that is signed.
    pub sent_at: Option<String>,
}

/// Where the hash stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Claim {
    Header(String),
    /// A field of the body.
    Field(String),
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
}

/// Which answers count as taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Success {
    Only200,
    Any2xx,
}

impl Success {
    #[must_use]
    pub fn is(self, status: u16) -> bool {
        match self {
            Self::Only200 => status == 200,
            Self::Any2xx => (200..300).contains(&status),
        }
    }
}

impl WebhookRules {
    pub(super) fn read(map: &mut Map<'_>, problems: &mut Problems) -> Option<Self> {
        let header = map.get("event_id_header").map_or(Some(None), |node| node.text(problems).map(Some));
        let signature = section(map, "signature", problems, SignatureRules::read);
        let known = [("same", ()), ("either", ())];
        map.require("same_event_id_on_retry", problems)?.choice(&known, problems)?;
        let success = [("200", Success::Only200), ("2xx", Success::Any2xx)];
        let success = map.require("success", problems)?.choice(&success, problems);
        let minutes = map.require("retry_after_minutes", problems)?.list(problems)?;
        let minutes: Option<Vec<u64>> = minutes.iter().map(|node| node.whole(1, problems)).collect();
        let escaped = texts(map, "escaped", problems)?;
        Some(Self {
            event_id_header: header?.map(str::to_owned),
            signature: signature?,
            escaped: escaped.iter().filter_map(|text| text.chars().next()).collect(),
            success: success?,
            retry_after_minutes: minutes?,
            ping: map.require("ping", problems)?.boolean(problems)?,
        })
    }
}

impl SignatureRules {
    fn read(map: &mut Map<'_>, problems: &mut Problems) -> Option<Self> {
        let claim = map.require("in", problems)?.tagged(&["header", "field"], problems);
        let prefix = map.get("prefix").map_or(Some(""), |node| node.text(problems));
        let encodings = [("hex_lower", Encoding::HexLower), ("base64", Encoding::Base64)];
        let encoding = map.require("encoding", problems)?.choice(&encodings, problems);
        let signed = map.require("over", problems)?;
        let signed = if signed.scalar() == Some("body") { Some(Signed::Body) } else { fields(signed, problems) };
        let sent_at = map.get("sent_at").map_or(Some(None), |node| node.text(problems).map(Some));
        let (kind, place) = claim?;
        let place = place.text(problems)?.to_owned();
        Some(Self {
            claim: if kind == "header" { Claim::Header(place) } else { Claim::Field(place) },
            prefix: prefix?.to_owned(),
            encoding: encoding?,
            signed: signed?,
            sent_at: sent_at?.map(str::to_owned),
        })
    }
}

fn fields(node: &Node, problems: &mut Problems) -> Option<Signed> {
    let (_, fields) = node.tagged(&["fields"], problems)?;
    list(fields, problems).map(Signed::Fields)
}
