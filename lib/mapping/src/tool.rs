//! One file → the lines that a person reads: what the mapping makes of a delivery, a row, a page of rows or a detail
//! answer. Stateless: look-ups are never known, parents never missed.
//!
//! Facts about one record are put together in the order of the mapping, so that there is one line per record. Beside the
//! record stands what each fact says of itself: what it is put in order and in place by when more than one payload speaks
//! of the record.

use std::borrow::Cow;
use std::collections::BTreeMap;

use apache_avro::Schema;

use crate::avro::{put_array, put_bytes, put_long};
use crate::json::{Kind, Tape, letters, span};
use crate::layout::Layout;
use crate::shape::{RecordShape, Shape};
use crate::show::{quote, show, show_fact};
use crate::xml;
use crate::{Context, Coverage, Fact, Input, Plan, Reject, RejectCode, Scratch, Slice};

/// Canonical id of (connection, if it is another one, record, remote id).
type IdOf<'a> = dyn Fn(Option<&str>, &str, &str) -> String + 'a;

/// Key of (record, remote id, owner).
pub type KeyOf<'a> = dyn Fn(&str, &str, Option<(&str, &str)>) -> String + 'a;

/// What the caller knows and the mapping does not.
pub struct World<'a, 's> {
    pub schema_of: &'a dyn Fn(&str) -> Option<&'s Schema>,
    /// Canonical id of (connection, if it is another one, record, remote id).
    pub id: &'a IdOf<'a>,
    pub key: &'a KeyOf<'a>,
    /// Texts and instants for `meta`, by field name; what is not here keeps its default or is empty.
    pub meta: &'a [(&'a str, MetaValue)],
    /// Texts for `meta` that are another for each record: of (field, record, remote id).
    pub meta_of: &'a dyn Fn(&str, &str, &str) -> Option<String>,
}

/// A value for a field of `meta`.
#[derive(Debug, Clone)]
pub enum MetaValue {
    Text(String),
    Symbol(String),
    Micros(i64),
}

/// What came of a file.
#[derive(Debug, Default)]
pub struct Report {
    /// One JSON object per record, or per dead letter.
    pub lines: Vec<String>,
    pub dead_letters: usize,
    /// No rule for this event or stream: such a payload is kept raw and makes nothing.
    pub unknown: bool,
    pub coverage: Coverage,
}

/// Maps one delivery, or the rows of a stream: a list of rows, an object whose `rows` (a dotted path), or whose member
/// with the stream's name, is a list of rows, or a single row; of XML the elements at `rows` below the payload, in an
/// envelope or not. At the end of `rows`, `*` stands for each member.
#[must_use]
pub fn map_file(plan: &Plan, input: &Input<'_>, rows: Option<&str>, world: &World<'_, '_>) -> Report {
    let mut report = Report::default();
    let mut scratch = Scratch::default();
    let place = rows.or(input.stream);
    let bodies =
        if input.event.is_some() { Ok(vec![Cow::Borrowed(input.body)]) } else { self::rows(plan, input.body, place) };
    match bodies {
        Err(reject) => report.dead_letter(&reject),
        Ok(bodies) => {
            for body in bodies {
                let input = Input { body: &body, ..*input };
                report.one(plan, &mut scratch, &input, world);
            }
        }
    }
    report
}

/// The text at a dotted path of a JSON body: how a caller finds the name of a delivery's event.
#[must_use]
pub fn text_at(body: &[u8], path: &str) -> Option<String> {
    let mut tape = Tape::default();
    let text = tape.parse(body, &Layout::default()).ok()?;
    let node = descend(&tape, text, path)?;
    let found = tape.nodes[node];
    let mut out = String::new();
    match found.kind {
        Kind::Text => crate::json::unescape(span(text, found), &mut out),
        Kind::Number => out.push_str(span(text, found)),
        _ => return None,
    }
    Some(out)
}

/// Whether a body is JSON as this crate reads it, but for keys that stand twice: the least that a mapping can cost.
#[must_use]
pub fn is_json(body: &[u8]) -> bool {
    crate::json::validate(body)
}

fn descend(tape: &Tape, text: &str, path: &str) -> Option<usize> {
    let mut node = 0;
    for part in path.split('.').filter(|part| !part.is_empty()) {
        let here = tape.nodes[node];
        if here.kind != Kind::Object {
            return None;
        }
        let end = here.next as usize;
        node += 1;
        while node < end && tape.nodes[node].key().is_none_or(|key| letters(text, key) != part) {
            node = tape.nodes[node].next as usize;
        }
        if node == end {
            return None;
        }
    }
    Some(node)
}

/// The bytes of each row of a page, as [`map_file`] finds them: at `rows`, a list or one row. A row alone is itself.
///
/// # Errors
/// When the body is neither JSON nor, for a mapping that reads it, XML.
pub fn rows<'b>(plan: &Plan, body: &'b [u8], rows: Option<&str>) -> Result<Vec<Cow<'b, [u8]>>, Reject> {
    if plan.xml.is_some() && xml::is_xml(body) {
        return xml_rows(body, rows.unwrap_or_default());
    }
    let mut tape = Tape::default();
    let text = tape.parse(body, &Layout::default()).map_err(crate::apply::not_json)?;
    // The span of a text leaves its quotes out; no row is a text.
    let bytes = |node: usize| {
        let node = tape.nodes[node];
        body.get(node.start as usize..node.end as usize).unwrap_or_default()
    };
    let written = rows.unwrap_or_default();
    let (path, members) = written.strip_suffix('*').map_or((written, false), |front| (front, true));
    let place = if tape.nodes[0].kind == Kind::Array { Some(0) } else { descend(&tape, text, path) };
    let Some(place) = place else { return Ok(vec![Cow::Borrowed(body)]) };
    let node = tape.nodes[place];
    match node.kind {
        Kind::Array => {}
        Kind::Object if members => {}
        // An answer to one id, in an envelope.
        Kind::Object if rows.is_some() => return Ok(vec![Cow::Borrowed(bytes(place))]),
        _ => return Ok(vec![Cow::Borrowed(body)]),
    }
    let mut found = Vec::new();
    let mut item = place + 1;
    while item < node.next as usize {
        found.push(Cow::Borrowed(bytes(item)));
        item = tape.nodes[item].next as usize;
    }
    Ok(found)
}

/// The rows of a page, with or without an envelope; a row alone is itself.
fn xml_rows<'b>(body: &'b [u8], place: &str) -> Result<Vec<Cow<'b, [u8]>>, Reject> {
    let place: Vec<&str> = place.split('.').filter(|part| !part.is_empty()).collect();
    let page = xml::split(body, &place, &[]).map_err(crate::apply::not_xml)?;
    if place.last() == Some(&page.name.as_str()) {
        let row = xml::split(body, &[], &[]).map_err(crate::apply::not_xml)?;
        return Ok(row.rows.into_iter().map(Cow::Owned).collect());
    }
    if page.name == "Fault" {
        let what = "a fault in the place of an answer".to_owned();
        return Err(Reject {
            code: RejectCode::UnexpectedType,
            rule: String::new(),
            target: String::new(),
            source: String::new(),
            what,
        });
    }
    Ok(page.rows.into_iter().map(Cow::Owned).collect())
}

struct Stateless<'a> {
    id: &'a IdOf<'a>,
}

impl Stateless<'_> {
    fn text(&self, connection: Option<&str>, record: &str, remote_id: &str) -> [u8; 36] {
        let text = (self.id)(connection, record, remote_id);
        let mut id = [b'0'; 36];
        if let (36, bytes) = (text.len(), text.as_bytes()) {
            id.copy_from_slice(bytes);
        }
        id
    }
}

impl Context for Stateless<'_> {
    fn id(&mut self, record: &str, remote_id: &str) -> [u8; 36] {
        self.text(None, record, remote_id)
    }

    fn foreign_id(&mut self, connection: &str, record: &str, remote_id: &str) -> [u8; 36] {
        self.text(Some(connection), record, remote_id)
    }

    fn lookup(&mut self, _: &str, _: &str, _: usize, _: &mut Vec<u8>) -> bool {
        false
    }
}

/// A record put together from facts.
struct Assembled {
    record: String,
    remote_id: String,
    key: String,
    /// Of each fact, as JSON.
    said: Vec<String>,
    delete: bool,
    times: [(&'static str, Option<i64>); 3],
    url: Option<String>,
    fields: Vec<Option<Vec<u8>>>,
    customs: Option<Vec<u8>>,
    /// Per array field: items by (group, row).
    elements: BTreeMap<usize, BTreeMap<(String, String), Vec<u8>>>,
}

impl Report {
    fn dead_letter(&mut self, reject: &Reject) {
        let mut line = String::from("{\"dead_letter\":{");
        let parts = [
            ("code", reject.code.as_str()),
            ("rule", &reject.rule),
            ("target", &reject.target),
            ("source", &reject.source),
            ("reason", &reject.to_string()),
        ];
        for (index, (name, text)) in parts.into_iter().enumerate() {
            if index > 0 {
                line.push(',');
            }
            quote(name, &mut line);
            line.push(':');
            quote(text, &mut line);
        }
        line.push_str("}}");
        self.lines.push(line);
        self.dead_letters += 1;
    }

    fn one(&mut self, plan: &Plan, scratch: &mut Scratch, input: &Input<'_>, world: &World<'_, '_>) {
        let mapped = match plan.apply(scratch, input, &mut Stateless { id: world.id }) {
            Ok(mapped) => mapped,
            Err(reject) => return self.dead_letter(&reject),
        };
        self.unknown |= !mapped.known();
        let coverage = mapped.coverage();
        self.coverage.read += coverage.read;
        self.coverage.ignored += coverage.ignored;
        self.coverage.carried += coverage.carried;
        self.coverage.unread += coverage.unread;
        let mut records: Vec<Assembled> = Vec::new();
        for fact in mapped.facts() {
            let known = records.iter().position(|one| one.record == fact.record && one.remote_id == fact.remote_id);
            let position = known.unwrap_or_else(|| {
                records.push(Assembled::new(&fact, world));
                records.len() - 1
            });
            records[position].take(&fact);
        }
        self.lines.extend(records.iter().filter_map(|record| record.line(plan, world)));
    }
}

impl Assembled {
    fn new(fact: &Fact<'_>, world: &World<'_, '_>) -> Self {
        Self {
            record: fact.record.to_owned(),
            remote_id: fact.remote_id.to_owned(),
            key: (world.key)(fact.record, fact.remote_id, fact.owner),
            said: Vec::new(),
            delete: false,
            times: [("remote_created_at", None), ("remote_updated_at", None), ("remote_deleted_at", None)],
            url: None,
            fields: vec![None; fact.field_count()],
            customs: None,
            elements: BTreeMap::new(),
        }
    }

    fn take(&mut self, fact: &Fact<'_>) {
        self.said.push(show_fact(fact));
        self.delete |= fact.delete;
        if let Some(element) = fact.element {
            if !element.delete {
                let rows = self.elements.entry(element.field).or_default();
                rows.insert((element.group.to_owned(), element.row_id.to_owned()), element.bytes.to_vec());
            }
            return;
        }
        let times = [fact.remote_created_at, fact.remote_updated_at, fact.remote_deleted_at];
        for ((_, known), time) in self.times.iter_mut().zip(times) {
            *known = known.or(time);
        }
        self.url = self.url.take().or_else(|| fact.remote_url.map(str::to_owned));
        if let Some(more) = fact.custom_fields {
            // Each is a block and the end of the array: the next block takes the place of the end.
            self.customs.as_mut().map(Vec::pop);
            self.customs.get_or_insert_default().extend_from_slice(more);
        }
        for (index, field) in self.fields.iter_mut().enumerate() {
            if let (None, Slice::Bytes(bytes)) = (&field, fact.field(index)) {
                *field = Some(bytes.to_vec());
            }
        }
    }

    fn line(&self, plan: &Plan, world: &World<'_, '_>) -> Option<String> {
        let Shape::Record(shape) = Shape::of((world.schema_of)(&self.record)?) else { return None };
        let mut line = String::from("{\"entity\":");
        quote(&kebab(&self.record), &mut line);
        line.push_str(",\"key\":");
        quote(&self.key, &mut line);
        line.push_str(",\"facts\":[");
        line.push_str(&self.said.join(","));
        line.push_str("],\"record\":{\"meta\":");
        let Shape::Record(meta) = &shape.fields.first()?.shape else { return None };
        show(&shape.fields.first()?.shape, &mut self.meta(meta, plan, world).as_slice(), &mut line)?;
        for (index, field) in shape.fields.iter().enumerate().skip(1) {
            line.push(',');
            quote(&field.name, &mut line);
            line.push(':');
            let mut elements = Vec::new();
            let rows = self.elements.get(&index);
            for item in rows.into_iter().flat_map(BTreeMap::values) {
                elements.extend_from_slice(item);
            }
            let bytes = match (&self.fields[index], rows) {
                (_, Some(rows)) => {
                    put_array(rows.len(), 0, &mut elements);
                    &elements
                }
                (Some(bytes), None) => bytes,
                (None, None) => field.default.as_ref()?,
            };
            show(&field.shape, &mut bytes.as_slice(), &mut line)?;
        }
        line.push_str("}}");
        Some(line)
    }

    fn meta(&self, shape: &RecordShape, plan: &Plan, world: &World<'_, '_>) -> Vec<u8> {
        let mut out = Vec::new();
        for field in &shape.fields {
            let given = world.meta.iter().find(|(name, _)| *name == field.name).map(|(_, value)| value.clone());
            let time = self.times.iter().find(|(name, _)| *name == field.name).and_then(|(_, time)| *time);
            let value = match field.name.as_str() {
                "op" => Some(MetaValue::Symbol(if self.delete { "DELETE" } else { "UPSERT" }.to_owned())),
                "id" => Some(MetaValue::Text((world.id)(None, &self.record, &self.remote_id))),
                "remote_id" => Some(MetaValue::Text(self.remote_id.clone())),
                "remote_url" => self.url.clone().map(MetaValue::Text),
                "mapping_version" => Some(MetaValue::Text(plan.version().to_owned())),
                name => time
                    .map(MetaValue::Micros)
                    .or(given)
                    .or_else(|| (world.meta_of)(name, &self.record, &self.remote_id).map(MetaValue::Text)),
            };
            match (field.name.as_str(), value) {
                ("custom_fields", _) if self.customs.is_some() => {
                    out.extend_from_slice(self.customs.as_deref().unwrap_or_default());
                }
                ("absent_fields", _) => {
                    let (from, absent) = (out.len(), plan.absent_fields(&self.record));
                    absent.iter().for_each(|name| put_bytes(name.as_bytes(), &mut out));
                    put_array(absent.len(), from, &mut out);
                }
                (_, Some(value)) => put_meta(&field.shape, &value, &mut out),
                (_, None) => match &field.default {
                    Some(default) => out.extend_from_slice(default),
                    // Texts and instants that only a running system knows.
                    None => out.push(0),
                },
            }
        }
        out
    }
}

fn put_meta(shape: &Shape, value: &MetaValue, out: &mut Vec<u8>) {
    match (shape, value) {
        (Shape::Nullable(union), value) => {
            put_long(1 - union.null, out);
            put_meta(&union.inner, value, out);
        }
        (Shape::Enum(shape), MetaValue::Symbol(symbol)) => {
            if !crate::shape::put_symbol(&shape.symbols, symbol, out) {
                out.push(0);
            }
        }
        (_, MetaValue::Text(text) | MetaValue::Symbol(text)) => put_bytes(text.as_bytes(), out),
        (_, MetaValue::Micros(micros)) => put_long(*micros, out),
    }
}

/// `JobPosting` → `job-posting`.
fn kebab(name: &str) -> String {
    let mut out = String::new();
    for letter in name.chars() {
        if letter.is_ascii_uppercase() && !out.is_empty() {
            out.push('-');
        }
        out.push(letter.to_ascii_lowercase());
    }
    out
}
