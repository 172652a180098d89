//! A page becomes raw records: one for each element of its list, with the element's exact bytes. Of XML, the namespaces
//! that were declared around the element stand in its first tag.
//!
//! No row is ever left out because it looks wrong: one outside the window, without an id or without a subject is kept
//! and counted. Only what was kept before, as overlap shows it again, is left out. Rows of a list per parent are all
//! kept, for their parent changed.

use std::ops::Range;
use std::time::SystemTime;

use bytes::Bytes;
use hirewire_kafka::Record;
use hirewire_service::TraceParent;
use hirewire_service::spans::{self, Kind, Span, Value};
use jiff::Timestamp;

use super::failure::Failure;
use super::page::Page;
use super::repeats::{Mark, Seen, mark};
use super::window::Window;
use crate::connection::Connection;
use crate::envelope::{Envelope, Origin, system_time};
use crate::json::{self, NotAList, Path};
use crate::manifest::{Filter, Rows as Shape, Stream};
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
    /// What a page holds.
    pub(super) rows: &'a Shape,
    /// Parameters of this list, told to the mapping.
    pub(super) params: &'a [(String, String)],
    /// Rows that changed before this will not be shown again by overlap.
    pub(super) overlap_starts: Timestamp,
}

/// Whose list a row is of.
#[derive(Debug, Clone)]
pub(super) struct Parent {
    pub(super) id: String,
    /// What the parent belongs to.
    subject: Option<(&'static str, String)>,
    /// Values of its row, for each of which its list is asked for.
    pub(super) each: Vec<String>,
    /// Values of its row that the mapping of its list is told.
    pub(super) told: Vec<(String, String)>,
    /// What its row says at the places that it has in common with what is read of it; none, if the row is not known.
    common: Vec<Option<String>>,
    pub(super) mark: Mark,
    /// Overlap may show it again.
    pub(super) again: bool,
}

impl Parent {
    /// One of which only its id is known, and for what its list is asked for.
    pub(super) fn named(stream: &Stream, id: &str, each: Vec<String>) -> Self {
        Self {
            id: id.to_owned(),
            subject: stream.own_subject(id),
            each,
            told: Vec::new(),
            common: Vec::new(),
            mark: Mark::default(),
            again: false,
        }
    }
}

/// A row of a parent's list, or what there is in its place.
pub(super) struct Child {
    pub(super) record: Record,
    /// Whether it names what it belongs to.
    pub(super) identified: bool,
    /// At the places that it has in common with its parent's row it says the same.
    pub(super) agrees: bool,
}

/// What a page of parents holds.
#[derive(Debug, Default)]
pub(super) struct Parents {
    pub(super) list: Vec<Parent>,
    pub(super) total: usize,
    pub(super) outside: usize,
    pub(super) newest: Option<Timestamp>,
    /// Without an id nothing can be asked for.
    pub(super) unidentified: usize,
}

/// From the page to the record of one row.
fn span(connection: &Connection, stream: &Stream, origin: Origin, page: &Page, own: TraceParent) -> Span {
    Span {
        service: "ingest",
        name: "poll",
        kind: Kind::Producer,
        own,
        parent: None,
        began: system_time(page.asked_at),
        ended: SystemTime::now(),
        attributes: vec![
            ("hirewire.connection", Value::Text(connection.name.clone())),
            ("hirewire.vendor", Value::Text(connection.manifest.vendor.clone())),
            ("hirewire.stream", Value::Text(stream.name.clone())),
            ("hirewire.origin", Value::Word(origin.as_str())),
        ],
        links: Vec::new(),
        failed: None,
    }
}

/// Splits a page.
///
/// # Errors
/// When it is cut off, no JSON, or holds no list: nothing of it may be used then.
pub(super) fn read(source: &Source<'_>, page: &Page, window: &Window, seen: &Seen) -> Result<Rows, Failure> {
    let elements = elements(page, source.rows)?;
    let mut rows = Rows { total: elements.len(), ..Rows::default() };
    for element in elements {
        row(source, page, window, seen, element, &mut rows);
    }
    Ok(rows)
}

/// Splits a page of parents of the list `child`.
///
/// # Errors
/// As [`read`].
pub(super) fn parents(source: &Source<'_>, page: &Page, window: &Window, child: &Stream) -> Result<Parents, Failure> {
    let elements = elements(page, source.rows)?;
    let mut parents = Parents { total: elements.len(), ..Parents::default() };
    for Element { json: value, .. } in elements {
        let known = Known::of(source, window, &value);
        parents.outside += usize::from(known.outside);
        parents.newest = parents.newest.max(known.changed);
        let Some(id) = known.id else {
            parents.unidentified += 1;
            continue;
        };
        let subject = source.stream.subject.as_ref().and_then(|subject| subject.find(&value));
        let told = |(name, path): &(String, Path)| Some((name.clone(), json::scalar(&value, path)?));
        let told = child.tell.iter().filter_map(told).collect();
        let places = child.each_in.iter().flat_map(|(_, places)| places);
        let mut each: Vec<String> = Vec::new();
        for text in places.flat_map(|place| json::scalars(&value, place)) {
            if !each.contains(&text) {
                each.push(text);
            }
        }
        let common = child.in_common.iter().map(|place| json::scalar(&value, place)).collect();
        parents.list.push(Parent { id, subject, each, told, common, mark: known.mark, again: known.again });
    }
    Ok(parents)
}

/// Splits a page of the list of `parent`. `source.params` hold its id; `whose` names it among all lists of its kind.
///
/// # Errors
/// As [`read`].
pub(super) fn children(
    source: &Source<'_>,
    page: &Page,
    window: &Window,
    parent: &Parent,
    whose: &str,
) -> Result<Vec<Child>, Failure> {
    let of_parent = |element: Element| {
        let known = Known::of(source, window, &element.json);
        let own = source.stream.subject.as_ref().and_then(|subject| subject.find(&element.json));
        let subject = own.or_else(|| parent.subject.clone());
        let version = known.version.clone().unwrap_or_else(|| format!("{:032x}", known.mark.says));
        let id = format!("{whose}.{}", known.id.as_deref().unwrap_or_default());
        let mut common = source.stream.in_common.iter().zip(&parent.common);
        Child {
            agrees: common.all(|(place, said)| json::scalar(&element.json, place) == *said),
            record: seal(source, page, window.origin, subject.as_ref(), &format!("{id}/{version}"), element.value),
            identified: subject.is_some(),
        }
    };
    Ok(elements(page, source.rows)?.into_iter().map(of_parent).collect())
}

/// The one row of an answer, of which `source.rows` says where it stands.
///
/// # Errors
/// When the answer is cut off, no JSON, or holds no object there.
pub(super) fn one(source: &Source<'_>, page: &Page, window: &Window, id: &str) -> Result<(Record, bool), Failure> {
    let row = elements(page, source.rows)?.pop().ok_or(Failure::Broken("no row where one should be"))?;
    let known = Known::of(source, window, &row.json);
    let subject = source.stream.subject.as_ref().and_then(|subject| subject.find(&row.json));
    let version = known.version.clone().unwrap_or_else(|| format!("{:032x}", known.mark.says));
    Ok((seal(source, page, window.origin, subject.as_ref(), &format!("{id}/{version}"), row.value), subject.is_some()))
}

/// The id of each row of a page, where it has one.
///
/// # Errors
/// As [`read`].
pub(super) fn ids(page: &Page, rows: &Shape, stream: &Stream) -> Result<Vec<Option<String>>, Failure> {
    Ok(elements(page, rows)?
        .iter()
        .map(|row| json::scalar(&row.json, &stream.id).filter(|text| is_short(text)))
        .collect())
}

/// The raw record that a row of this id is gone: it was looked for by then, and was not there.
pub(super) fn gone(source: &Source<'_>, asked_at: Timestamp, received_at: Timestamp, id: &str) -> Record {
    let value = Bytes::from(serde_json::json!({"id": id}).to_string());
    let page = Page { body: value.clone(), rows: None, next: None, sync: None, asked_at, received_at, sunset: None };
    let subject = source.stream.subject.as_ref().and_then(|subject| subject.find(&value));
    seal(source, &page, Origin::Poll, subject.as_ref(), &format!("{id}/{asked_at}"), value)
}

/// Whether a header can hold it.
fn is_short(text: &str) -> bool {
    text.len() <= MAX_ID_BYTES && text.bytes().all(|byte| (0x21..0x7f).contains(&byte))
}

/// An element of a page's list.
struct Element {
    /// What is kept.
    value: Bytes,
    /// The same, if it is JSON; else what it is as JSON.
    json: Bytes,
}

fn elements(page: &Page, rows: &Shape) -> Result<Vec<Element>, Failure> {
    if let Some(rows) = &page.rows {
        return Ok(rows.iter().map(|row| Element { value: row.xml.clone(), json: row.json.clone() }).collect());
    }
    let element = |range| {
        let value = page.body.slice(range);
        Element { json: value.clone(), value }
    };
    Ok(ranges(&page.body, rows)?.into_iter().map(element).collect())
}

/// Whether a whole answer says that there is no row where one could be.
pub(super) fn is_gone(page: &Page, row: &Shape) -> bool {
    matches!(row, Shape::One(places) if places.iter().all(|place| json::says_null(&page.body, place)))
}

/// Where the rows of an answer stand.
pub(super) fn ranges(body: &[u8], rows: &Shape) -> Result<Vec<Range<usize>>, Failure> {
    let found = match rows {
        Shape::List(place) => json::elements(body, place),
        Shape::Members(place) => json::members(body, place),
        Shape::One(places) => {
            let mut found = places.iter().map(|place| json::object(body, place));
            let absent = |found: &Result<_, NotAList>| matches!(found, Err(NotAList::Absent));
            found.find(|found| !absent(found)).unwrap_or(Err(NotAList::Absent)).map(|range| vec![range])
        }
    };
    found.map_err(|problem| match (problem, rows) {
        (NotAList::Broken, _) => Failure::Broken("the body is cut off or not JSON"),
        (NotAList::Absent, Shape::One(_)) => Failure::Broken("no row where one should be"),
        (NotAList::Absent, _) => Failure::Broken("no list where one should be"),
    })
}

/// What a row says of itself.
struct Known {
    id: Option<String>,
    version: Option<String>,
    changed: Option<Timestamp>,
    outside: bool,
    mark: Mark,
    /// May be shown again: by overlap, by a list without a filter, by a filter that does not work.
    again: bool,
}

impl Known {
    fn of(source: &Source<'_>, window: &Window, value: &[u8]) -> Self {
        let stream = source.stream;
        let id = json::scalar(value, &stream.id).filter(|text| is_short(text));
        let field = stream.window.as_ref().and_then(|w| w.field.as_ref());
        let field = field.or(stream.sync.as_ref().and_then(|sync| sync.version.as_ref()));
        let version = field.and_then(|field| json::scalar(value, field)).filter(|text| is_short(text));
        let format = stream.window.as_ref().map(|w| w.format);
        let changed = version.as_ref().zip(format).and_then(|(text, format)| format.read(text));
        // A filter without a later end shows what changed since, and may take its own end in.
        let open = stream.window.as_ref().is_some_and(|w| matches!(w.filter, Filter::After { .. }));
        let early = |at| window.from.is_some_and(|from| if open { at < from } else { at <= from });
        let outside = changed.is_some_and(|at| (at > window.to && !open) || early(at));
        let mark = mark(&stream.repeats, id.as_deref(), version.as_deref(), value);
        let again = outside || changed.is_none_or(|at| at > source.overlap_starts);
        Self { id, version, changed, outside, mark, again }
    }
}

fn row(source: &Source<'_>, page: &Page, window: &Window, seen: &Seen, element: Element, rows: &mut Rows) {
    let known = Known::of(source, window, &element.json);
    rows.outside += usize::from(known.outside);
    rows.newest = rows.newest.max(known.changed);
    if known.again {
        rows.marks.push(known.mark);
    }
    if seen.contains(known.mark) {
        rows.repeats += 1;
        return;
    }
    let subject = source.stream.subject.as_ref().and_then(|subject| subject.find(&element.json));
    rows.unidentified += usize::from(subject.is_none());
    let identity = known.id.unwrap_or_else(|| format!("{:032x}", known.mark.says));
    let id = format!("{identity}/{}", known.version.as_deref().unwrap_or_default());
    rows.records.push(seal(source, page, window.origin, subject.as_ref(), &id, element.value));
}

/// The raw record of a row; `id` names it among those of its list.
fn seal(
    source: &Source<'_>,
    page: &Page,
    origin: Origin,
    subject: Option<&(&'static str, String)>,
    id: &str,
    value: Bytes,
) -> Record {
    let Source { connection, stream, .. } = source;
    let key = match subject {
        Some((record, remote_id)) => canonical_key(connection, record, remote_id),
        None => canonical_key(connection, "Connection", &connection.name),
    };
    let trace = TraceParent::new_root();
    if spans::wanted(&trace) {
        spans::record(span(connection, stream, origin, page, trace));
    }
    let envelope = Envelope {
        connection,
        origin,
        kind: Some(&stream.name),
        id: format!("{}/{}/{id}", connection.name, stream.name),
        asked_at: Some(page.asked_at),
        received_at: page.received_at,
        content_type: if page.rows.is_some() { "application/xml" } else { "application/json" },
        trace,
        request: source.params,
        kept: Vec::new(),
    };
    envelope.seal(source.topics.raw(&connection.manifest.vendor, stream.restricted), key, value)
}
