//! A page becomes raw records: one for each element of its list, with the element's exact bytes.
//!
//! No row is ever left out because it looks wrong: one outside the window, without an id or without a subject is kept
//! and counted. Only what was kept before, as overlap shows it again, is left out.

use bytes::Bytes;
use hirewire_kafka::Record;
use hirewire_service::TraceParent;
use jiff::Timestamp;

use super::client::Page;
use super::failure::Failure;
use super::repeats::{Mark, Seen, mark};
use super::window::Window;
use crate::connection::Connection;
use crate::envelope::Envelope;
use crate::json::{self, NotAList, Path};
use crate::manifest::Stream;
use crate::topics::{Topics, canonical_key};

/// Longer ids or versions do not go into a header.
const MAX_ID_BYTES: usize = 128;

/// What a page holds.
#[derive(Debug, Default)]
pub(super) struct Rows {
    pub(super) records: Vec<Record>,
    /// To be remembered once the records are committed.
    pub(super) marks: Vec<Mark>,
    /// All elements of the list.
    pub(super) total: usize,
    pub(super) repeats: usize,
    pub(super) outside: usize,
    /// The latest change of a row, by the vendor's clock.
    pub(super) newest: Option<Timestamp>,
    /// Keyed by the connection, for want of a subject.
    pub(super) unidentified: usize,
}

/// Where rows come from and go to.
pub(super) struct Source<'a> {
    pub(super) connection: &'a Connection,
    pub(super) topics: &'a Topics,
    pub(super) stream: &'a Stream,
    /// Where a page holds its rows.
    pub(super) rows: &'a Path,
    /// Parameters of this list, told to the mapping.
    pub(super) params: &'a [(String, String)],
    /// Rows that changed before this will not be shown again by overlap.
    pub(super) overlap_starts: Timestamp,
}

/// Splits a page.
///
/// # Errors
/// When it is cut off, no JSON, or holds no list: nothing of it may be used then.
pub(super) fn read(source: &Source<'_>, page: &Page, window: &Window, seen: &Seen) -> Result<Rows, Failure> {
    let ranges = json::elements(&page.body, source.rows).map_err(|problem| match problem {
        NotAList::Broken => Failure::Broken("the body is cut off or not JSON"),
        NotAList::Absent => Failure::Broken("no list where one should be"),
    })?;
    let mut rows = Rows { total: ranges.len(), ..Rows::default() };
    for range in ranges {
        row(source, page, window, seen, page.body.slice(range), &mut rows);
    }
    Ok(rows)
}

fn row(source: &Source<'_>, page: &Page, window: &Window, seen: &Seen, value: Bytes, rows: &mut Rows) {
    let Source { connection, stream, .. } = source;
    let short = |text: &String| text.len() <= MAX_ID_BYTES && text.bytes().all(|byte| (0x21..0x7f).contains(&byte));
    let id = json::scalar(&value, &stream.id).filter(short);
    let version = stream.window.as_ref().and_then(|w| json::scalar(&value, &w.field)).filter(short);
    let format = stream.window.as_ref().map(|w| w.format);
    let changed = version.as_ref().zip(format).and_then(|(text, format)| format.read(text));
    let outside = changed.is_some_and(|at| at > window.to || window.from.is_some_and(|from| at <= from));
    rows.outside += usize::from(outside);
    rows.newest = rows.newest.max(changed);
    let mark = mark(stream.repeats, id.as_deref().unwrap_or_default(), version.as_deref(), &value);
    // What may be shown again: by overlap, by a list without a filter, by a filter that does not work.
    if outside || changed.is_none_or(|at| at > source.overlap_starts) {
        rows.marks.push(mark);
    }
    if seen.contains(mark) {
        rows.repeats += 1;
        return;
    }
    let subject = stream.subject.find(&value);
    rows.unidentified += usize::from(subject.is_none());
    let key = match &subject {
        Some((record, remote_id)) => canonical_key(connection, record, remote_id),
        None => canonical_key(connection, "Connection", &connection.name),
    };
    let identity = id.unwrap_or_else(|| format!("{mark:032x}"));
    let envelope = Envelope {
        connection,
        origin: window.origin,
        kind: Some(&stream.name),
        id: format!("{}/{}/{identity}/{}", connection.name, stream.name, version.as_deref().unwrap_or_default()),
        received_at: page.received_at,
        content_type: "application/json",
        trace: TraceParent::new_root(),
        request: source.params,
        kept: Vec::new(),
    };
    let topic = source.topics.raw(&connection.manifest.vendor, stream.restricted);
    rows.records.push(envelope.seal(topic, key, value));
}
