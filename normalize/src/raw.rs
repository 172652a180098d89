//! A raw record's headers, checked: what kind of payload it is, of which connection, and when it was seen.

use hirewire_kafka::Inbound;
use sha2::{Digest, Sha256};

use crate::dead_letter::Code;
use crate::ledger::{Micros, Provenance};

/// A raw record with everything that mapping it needs.
pub struct Raw<'a> {
    pub connection: &'a str,
    pub origin: &'a str,
    pub provenance: Provenance,
    /// It was delivered as an event, or read because an event named it.
    pub by_event: bool,
    pub event: Option<&'a str>,
    pub stream: Option<&'a str>,
    pub params: Vec<(String, String)>,
    pub headers: Vec<(String, String)>,
    /// When it was asked for; of what came by itself, when it was seen.
    pub asked_at: Micros,
    pub observed_at: Micros,
    pub ingested_at: Micros,
    pub delivery: u64,
    pub trace: &'a [u8],
}

const DELIVERY_HEADER: &str = "hirewire-header-";

/// Of a row that was read because an event named it: [`BY_EVENT`].
pub const ASKED_BY: &str = "hirewire-asked-by";
const BY_EVENT: &str = "event";

/// Of polled records; those of before have none.
pub const ASKED_AT: &str = "hirewire-asked-at";

impl<'a> Raw<'a> {
    /// # Errors
    /// A header is missing or unreadable.
    pub fn read(input: &'a Inbound) -> Result<Self, (Code, &'static str)> {
        let header = |name: &'static str| input.header_str(name).ok_or((Code::MissingHeader, name));
        let connection = header("hirewire-connection")?;
        let origin = header("hirewire-origin")?;
        let provenance = match origin {
            "webhook" => Provenance::Webhook,
            "poll" => Provenance::Poll,
            "backfill" => Provenance::Backfill,
            _ => return Err((Code::MissingHeader, "hirewire-origin")),
        };
        let (event, stream) = (input.header_str("hirewire-event"), input.header_str("hirewire-stream"));
        if event.is_none() && stream.is_none() {
            return Err((Code::MissingHeader, "hirewire-event"));
        }
        let time = |name: &'static str, text: &str| match text.parse::<jiff::Timestamp>() {
            Ok(time) => Ok(time.as_microsecond()),
            Err(_) => Err((Code::MissingHeader, name)),
        };
        let observed_at = time("ce_time", header("ce_time")?)?;
        let asked_at = match input.header_str(ASKED_AT) {
            Some(text) => time(ASKED_AT, text)?.min(observed_at),
            None => observed_at,
        };
        let params = match input.header("hirewire-request") {
            None => Vec::new(),
            Some(json) => parameters(json).ok_or((Code::MissingHeader, "hirewire-request"))?,
        };
        let headers = input.headers.iter().filter_map(|(name, value)| {
            let name = name.strip_prefix(DELIVERY_HEADER)?;
            Some((name.to_owned(), std::str::from_utf8(value).ok()?.to_owned()))
        });
        Ok(Self {
            connection,
            origin,
            provenance,
            by_event: provenance == Provenance::Webhook || input.header_str(ASKED_BY) == Some(BY_EVENT),
            event,
            stream,
            params,
            headers: headers.collect(),
            asked_at,
            observed_at,
            ingested_at: input.timestamp_ms.saturating_mul(1000),
            delivery: delivery(header("ce_id")?),
            trace: input.header("traceparent").unwrap_or_default(),
        })
    }
}

/// Stable over releases: it is kept in state.
fn delivery(id: &str) -> u64 {
    let hash = Sha256::digest(id.as_bytes());
    hash.iter().take(8).fold(0, |value, byte| value << 8 | u64::from(*byte))
}

/// A flat object; numbers and booleans as their text.
fn parameters(json: &[u8]) -> Option<Vec<(String, String)>> {
    let object: serde_json::Map<String, serde_json::Value> = serde_json::from_slice(json).ok()?;
    let text = |value: serde_json::Value| match value {
        serde_json::Value::String(text) => text,
        other => other.to_string(),
    };
    Some(object.into_iter().map(|(name, value)| (name, text(value))).collect())
}
