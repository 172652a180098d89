//! What a proven delivery is about, and the raw record it becomes.
//!
//! [`VerifiedRequest`] in, or an event of the vendor's queue, [`RawEvent`] out: nothing else makes one. Identification never
//! refuses: an unknown event, a body that is no JSON or a payload without the id it should have is kept, keyed by the
//! connection, for it is the vendor's and cannot be asked for again.

use std::sync::Arc;

use axum::http::HeaderMap;
use bytes::Bytes;
use hirewire_kafka::Record;
use hirewire_service::TraceParent;
use hirewire_service::spans::{self, Kind, Span, Value};
use jiff::Timestamp;
use sha2::{Digest, Sha256};

use super::verify::VerifiedRequest;
use crate::connection::Connection;
use crate::envelope::{Envelope, Origin, system_time};
use crate::fetch::Wanted;
use crate::json;
use crate::link;
use crate::manifest::{DeliveryId, Events, Named, Webhook};
use crate::topics::{Topics, canonical_key};

/// A longer event name or delivery id is not taken over as text.
const MAX_NAME_BYTES: usize = 128;
/// A longer header does not ride along. A link is longer than a name.
const MAX_KEPT_BYTES: usize = 1024;

/// A delivery with its key and its headers, ready to be kept.
#[derive(Debug)]
pub struct RawEvent {
    record: Record,
    /// `false`: keyed by the connection, for want of a subject.
    identified: bool,
    wanted: Vec<Wanted>,
    /// The span that the record carries on.
    trace: TraceParent,
    /// What the vendor says of its own.
    parent: Option<TraceParent>,
    kind: Option<String>,
}

impl RawEvent {
    /// The span of receiving it, not ended yet; `None` where it is not wanted.
    pub(super) fn span(&self, received_at: Timestamp, connection: &Connection) -> Option<Span> {
        if !spans::wanted(&self.trace) {
            return None;
        }
        let began = system_time(received_at);
        let mut attributes = vec![
            ("hirewire.connection", Value::Text(connection.name.clone())),
            ("hirewire.vendor", Value::Text(connection.manifest.vendor.clone())),
            ("messaging.destination.name", Value::Name(Arc::clone(&self.record.topic))),
        ];
        attributes.extend(self.kind.clone().map(|kind| ("hirewire.event", Value::Text(kind))));
        let (own, parent) = (self.trace, self.parent);
        let (service, name, kind) = ("ingest", "webhook", Kind::Server);
        let links = Vec::new();
        Some(Span { service, name, kind, own, parent, began, ended: began, attributes, links, failed: None })
    }

    /// What the event names and does not hold.
    #[must_use]
    pub fn wanted(&self) -> &[Wanted] {
        &self.wanted
    }

    #[must_use]
    pub fn into_record(self) -> Record {
        self.record
    }

    #[must_use]
    pub fn is_identified(&self) -> bool {
        self.identified
    }
}

/// Something that the vendor told.
struct Told<'a> {
    connection: &'a Connection,
    headers: &'a HeaderMap,
    body: &'a Bytes,
    received_at: Timestamp,
    content_type: &'a str,
    /// Headers that ride along.
    kept: Vec<(String, Bytes)>,
}

/// Names the event of a delivery, finds its subject and builds the record.
#[must_use]
pub fn identify(request: &VerifiedRequest, rules: &Webhook, topics: &Topics) -> RawEvent {
    let delivery = request.delivery();
    let kept = rules.keep_headers.iter().filter_map(|name| {
        let value = delivery.headers.get(name).filter(|value| value.len() <= MAX_KEPT_BYTES)?;
        Some((name.clone(), Bytes::copy_from_slice(value.as_bytes())))
    });
    let content_type = text(&delivery.headers, "content-type").filter(|text| is_media_type(text));
    let told = Told {
        connection: &delivery.connection,
        headers: &delivery.headers,
        body: &delivery.body,
        received_at: delivery.received_at,
        content_type: content_type.unwrap_or("application/octet-stream"),
        kept: kept.collect(),
    };
    told.event(&rules.events, topics)
}

/// The same for an event that was read from the vendor's queue: what proves it is that the vendor was asked.
pub(crate) fn identify_queued(
    connection: &Connection,
    body: &Bytes,
    received_at: Timestamp,
    rules: &Events,
    topics: &Topics,
) -> RawEvent {
    let (headers, content_type) = (&HeaderMap::new(), "application/json");
    Told { connection, headers, body, received_at, content_type, kept: Vec::new() }.event(rules, topics)
}

impl Told<'_> {
    fn event(self, rules: &Events, topics: &Topics) -> RawEvent {
        let Self { connection, headers, body, .. } = self;
        let event = rules.event.text(headers, body).filter(|event| is_name(event));
        let subject = event.as_ref().and_then(|event| rules.subjects.get(event)).and_then(|s| s.find(body));
        let (key, identified) = match &subject {
            Some((record, remote_id)) => (canonical_key(connection, record, remote_id), true),
            None => (canonical_key(connection, "Connection", &connection.name), false),
        };
        let fetched = event.as_ref().and_then(|event| rules.fetch.get(event));
        let wanted = fetched.into_iter().flatten().filter_map(|(stream, named)| self.wanted(stream, named)).collect();
        let restricted = event.as_ref().is_some_and(|event| rules.restricted.contains(event));
        let topic: Arc<str> = topics.raw(&connection.manifest.vendor, restricted);
        // Without a usable id of the delivery, its bytes name it: a retry sends the same ones.
        let delivery_id = match &rules.delivery_id {
            DeliveryId::Header(name) => text(headers, name).map(str::to_owned),
            DeliveryId::Field(path) => json::scalar(body, path),
            DeliveryId::Fields(paths) => {
                let parts = paths.iter().map(|path| json::scalar(body, path)).collect::<Option<Vec<_>>>();
                parts.map(|parts| parts.join("/"))
            }
            DeliveryId::Bytes => None,
        };
        let delivery_id = delivery_id.filter(|id| is_name(id)).unwrap_or_else(|| hex::encode(Sha256::digest(body)));
        let parent = text(headers, "traceparent").and_then(TraceParent::parse);
        let trace = parent.map_or_else(TraceParent::new_root, |parent| parent.child());
        let envelope = Envelope {
            connection,
            origin: Origin::Webhook,
            kind: event.as_deref(),
            id: format!("{}/{delivery_id}", connection.name),
            asked_at: None,
            received_at: self.received_at,
            content_type: self.content_type,
            trace,
            request: &[],
            kept: self.kept,
        };
        RawEvent {
            record: envelope.seal(topic, key, body.clone()),
            identified,
            wanted,
            trace,
            parent,
            kind: event.filter(|event| rules.subjects.contains_key(event)),
        }
    }

    /// What is named; `None`: nothing that can be asked for.
    fn wanted(&self, stream: &str, named: &Named) -> Option<Wanted> {
        let relation = match named {
            Named::Id(path) => {
                let id = json::scalar(self.body, path).filter(|id| is_name(id))?;
                return Some(Wanted { stream: stream.to_owned(), id, params: Vec::new() });
            }
            Named::Link(relation) => relation,
        };
        let api = self.connection.manifest.api.as_ref()?;
        let list = api.streams.iter().find(|known| known.name == stream)?;
        let target = link::target(self.headers, relation)?;
        let mut params = link::values(target, api.base_url.example()?, list.path_by_ids()?)?;
        if !params.iter().all(|(_, id)| is_name(id)) {
            return None;
        }
        let own = list.per.as_ref().map_or("id", |per| per.param.as_str());
        let (_, id) = params.remove(params.iter().position(|(param, _)| param == own)?);
        Some(Wanted { stream: stream.to_owned(), id, params })
    }
}

fn text<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

/// Fit for a header: visible ASCII without spaces, not empty, not long.
fn is_name(text: &str) -> bool {
    !text.is_empty() && text.len() <= MAX_NAME_BYTES && text.bytes().all(|byte| byte.is_ascii_graphic())
}

fn is_media_type(text: &str) -> bool {
    text.split(' ').all(is_name)
}
