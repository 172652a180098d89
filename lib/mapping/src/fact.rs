//! What applying a plan gives: facts as views into reused buffers, or the reason for a dead letter.

use std::fmt;

use crate::json::Tape;
use crate::plan::Owner;

/// One payload and what came with it.
#[derive(Debug, Clone, Copy, Default)]
pub struct Input<'a> {
    pub body: &'a [u8],
    /// The event's name, of a delivery.
    pub event: Option<&'a str>,
    /// The stream's name, of a row that was read.
    pub stream: Option<&'a str>,
    /// Parameters of the request that gave the row.
    pub params: &'a [(String, String)],
    /// Headers of the delivery, names in lower case.
    pub headers: &'a [(String, String)],
    /// When it was received, microseconds since 1970.
    pub received_micros: Option<i64>,
}

/// What a mapping asks of the world: canonical ids and records that are known already.
pub trait Context {
    /// The canonical id, as UUID text.
    fn id(&mut self, record: &str, remote_id: &str) -> [u8; 36];

    /// The canonical id of what another connection of the same tenant knows by `remote_id`.
    fn foreign_id(&mut self, connection: &str, record: &str, remote_id: &str) -> [u8; 36];

    /// The canonical id of what `text` names; `None` if it is [`foreign`] and no such text.
    fn reference(&mut self, record: &str, text: &str, is_foreign: bool) -> Option<[u8; 36]> {
        if !is_foreign {
            return Some(self.id(record, text));
        }
        foreign(text).map(|(connection, remote_id)| self.foreign_id(connection, record, remote_id))
    }

    /// Appends the encoding of top-level field `field` of a known record; `false` if it is not known.
    fn lookup(&mut self, record: &str, remote_id: &str, field: usize, out: &mut Vec<u8>) -> bool;
}

/// Why a payload could not be mapped: a closed list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RejectCode {
    InvalidUtf8,
    InvalidJson,
    InvalidXml,
    TooDeep,
    DuplicateKey,
    UnexpectedType,
    RequiredMissing,
    UnreadableValue,
    OutOfRange,
    Uncorrelated,
}

impl RejectCode {
    pub const ALL: [Self; 10] = [
        Self::InvalidUtf8,
        Self::InvalidJson,
        Self::InvalidXml,
        Self::TooDeep,
        Self::DuplicateKey,
        Self::UnexpectedType,
        Self::RequiredMissing,
        Self::UnreadableValue,
        Self::OutOfRange,
        Self::Uncorrelated,
    ];

    /// As it stands in dead letters and in the documentation.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::InvalidUtf8 => "INVALID_UTF8",
            Self::InvalidJson => "INVALID_JSON",
            Self::InvalidXml => "INVALID_XML",
            Self::TooDeep => "TOO_DEEP",
            Self::DuplicateKey => "DUPLICATE_KEY",
            Self::UnexpectedType => "UNEXPECTED_TYPE",
            Self::RequiredMissing => "REQUIRED_MISSING",
            Self::UnreadableValue => "UNREADABLE_VALUE",
            Self::OutOfRange => "OUT_OF_RANGE",
            Self::Uncorrelated => "UNCORRELATED",
        }
    }
}

/// A payload that cannot be mapped. Names places and shapes, never a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reject {
    pub code: RejectCode,
    /// The rule; empty when the payload is not JSON at all.
    pub rule: String,
    /// The field that was to be written.
    pub target: String,
    /// The path that was read.
    pub source: String,
    pub what: String,
}

impl fmt::Display for Reject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.target.is_empty() {
            return f.write_str(&self.what);
        }
        write!(f, "{} <- {}: {}", self.target, self.source, self.what)
    }
}

impl std::error::Error for Reject {}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Completeness {
    /// The payload is all there is of what the rule maps: a field it lacks is empty.
    Whole,
    /// The payload may leave out what it knows: a field it lacks stays as it was.
    Part,
}

/// One top-level field of a fact.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Slice<'a> {
    /// The rule says nothing of this field.
    NotMapped,
    /// The rule maps it, the payload does not have it.
    Absent,
    /// Its encoding; an explicit null of the source is the encoding of emptiness.
    Bytes(&'a [u8]),
}

/// Source leaves (texts, numbers, booleans, nulls, empty lists and objects) by what became of them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Coverage {
    pub read: usize,
    pub ignored: usize,
    pub carried: usize,
    /// Accounted for by no fact, because the rules made none.
    pub unread: usize,
}

/// A row that is one item of an array field of its record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Element<'a> {
    /// Index of the array field.
    pub field: usize,
    /// Rows of different groups live side by side in one array.
    pub group: &'a str,
    pub row_id: &'a str,
    /// The item's encoding, without the array around it. Empty when the row is deleted.
    pub bytes: &'a [u8],
    pub delete: bool,
}

/// How a rule says whose partition its record belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kinship {
    /// The owner is known to the same connection.
    Own,
    /// The owner is known to another connection: its id is `<connection>/<remote id>`, see [`foreign`].
    Foreign,
    /// Another statement about the same record will name the owner.
    Awaited,
}

/// Connection and remote id in an id of another connection, as an order carried it out and its result brings it back.
#[must_use]
pub fn foreign(text: &str) -> Option<(&str, &str)> {
    text.split_once('/').filter(|(connection, remote_id)| !connection.is_empty() && !remote_id.is_empty())
}

/// One statement of a payload about one record.
#[derive(Clone, Copy)]
pub struct Fact<'a> {
    pub rule: &'a str,
    pub record: &'a str,
    pub remote_id: &'a str,
    /// Record and remote id of the one whose partition it belongs to; `None` if the payload does not say.
    pub owner: Option<(&'a str, &'a str)>,
    pub kinship: Kinship,
    pub completeness: Completeness,
    pub delete: bool,
    /// The source's clock of this statement.
    pub version_micros: Option<i64>,
    pub remote_created_at: Option<i64>,
    pub remote_updated_at: Option<i64>,
    pub remote_deleted_at: Option<i64>,
    pub remote_url: Option<&'a str>,
    /// Encoded array for `meta.custom_fields`; `None` if there is nothing to carry.
    pub custom_fields: Option<&'a [u8]>,
    pub element: Option<Element<'a>>,
    slots: &'a [Slot],
    notes: &'a [Note],
    scratch: &'a Scratch,
}

impl<'a> Fact<'a> {
    /// Field `index` of the target schema (`meta` is 0).
    #[must_use]
    pub fn field(&self, index: usize) -> Slice<'a> {
        match self.slots.get(index) {
            None | Some(Slot::NotMapped) => Slice::NotMapped,
            Some(Slot::Absent) => Slice::Absent,
            Some(Slot::Bytes(span)) => Slice::Bytes(span.of(&self.scratch.out)),
        }
    }

    /// Number of fields of the target schema.
    #[must_use]
    pub fn field_count(&self) -> usize {
        self.slots.len()
    }

    fn notes(&self, kind: NoteKind) -> impl Iterator<Item = (&'a str, &'a str)> + use<'a> {
        let scratch = self.scratch;
        let found = self.notes.iter().filter(move |note| note.kind == kind);
        found.map(move |note| (note.name.text(&scratch.texts), note.value.text(&scratch.texts)))
    }

    /// What the rule says beside the record, by name.
    pub fn hints(&self) -> impl Iterator<Item = (&'a str, &'a str)> + use<'a> {
        self.notes(NoteKind::Hint)
    }

    #[must_use]
    pub fn hint(&self, name: &str) -> Option<&'a str> {
        self.hints().find(|(known, _)| *known == name).map(|(_, value)| value)
    }

    /// Coded values that no rule covers: (target, the source's word).
    pub fn unmapped(&self) -> impl Iterator<Item = (&'a str, &'a str)> + use<'a> {
        self.notes(NoteKind::Unmapped)
    }

    /// Records that were asked for and are not known: (record, remote id).
    pub fn missing_lookups(&self) -> impl Iterator<Item = (&'a str, &'a str)> + use<'a> {
        self.notes(NoteKind::MissingLookup)
    }
}

impl fmt::Debug for Fact<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Fact {{ rule: {}, record: {} }}", self.rule, self.record)
    }
}

/// All that one payload says.
pub struct Mapped<'a> {
    pub(crate) plan: &'a crate::Plan,
    pub(crate) scratch: &'a Scratch,
    pub(crate) known: bool,
    pub(crate) coverage: Coverage,
}

impl<'a> Mapped<'a> {
    /// In the order of the rules in the file; of one rule in the order of the payload.
    pub fn facts(&self) -> impl Iterator<Item = Fact<'a>> + use<'a> {
        let (plan, scratch) = (self.plan, self.scratch);
        scratch.facts.iter().map(move |span| span.view(plan, scratch))
    }

    #[must_use]
    pub fn len(&self) -> usize {
        self.scratch.facts.len()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.scratch.facts.is_empty()
    }

    /// Whether the mapping has a rule for this event or stream.
    #[must_use]
    pub fn known(&self) -> bool {
        self.known
    }

    #[must_use]
    pub fn coverage(&self) -> Coverage {
        self.coverage
    }
}

/// A range of one of the buffers.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Span {
    pub(crate) from: usize,
    pub(crate) to: usize,
}

impl Span {
    pub(crate) fn of(self, bytes: &[u8]) -> &[u8] {
        bytes.get(self.from..self.to).unwrap_or_default()
    }

    pub(crate) fn text(self, texts: &str) -> &str {
        texts.get(self.from..self.to).unwrap_or_default()
    }
}

#[derive(Debug, Clone, Copy)]
pub(crate) enum Slot {
    NotMapped,
    Absent,
    Bytes(Span),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NoteKind {
    Hint,
    Unmapped,
    MissingLookup,
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Note {
    pub(crate) kind: NoteKind,
    pub(crate) name: Span,
    pub(crate) value: Span,
}

/// A fact as ranges of the buffers.
#[derive(Debug, Clone)]
pub(crate) struct FactSpan {
    pub(crate) rule: usize,
    /// Node of the tape that the record is made from.
    pub(crate) root: u32,
    pub(crate) remote_id: Span,
    pub(crate) owner_id: Span,
    pub(crate) version: Option<i64>,
    pub(crate) created_at: Option<i64>,
    pub(crate) updated_at: Option<i64>,
    pub(crate) deleted_at: Option<i64>,
    pub(crate) url: Option<Span>,
    pub(crate) slots: Span,
    pub(crate) notes: Span,
    pub(crate) row_id: Span,
    pub(crate) item: Span,
    pub(crate) customs: Option<Span>,
}

impl FactSpan {
    fn view<'a>(&'a self, plan: &'a crate::Plan, scratch: &'a Scratch) -> Fact<'a> {
        let rule = &plan.rules[self.rule];
        let remote_id = self.remote_id.text(&scratch.texts);
        let (owner, kinship) = match &rule.owner {
            Owner::Itself => (Some((rule.record.as_str(), remote_id)), Kinship::Own),
            Owner::Record(..) if self.owner_id.from == self.owner_id.to => (None, Kinship::Own),
            Owner::Record(record, _) => (Some((record.as_str(), self.owner_id.text(&scratch.texts))), Kinship::Own),
            Owner::Foreign(record, _) => {
                (Some((record.as_str(), self.owner_id.text(&scratch.texts))), Kinship::Foreign)
            }
            Owner::Awaited => (None, Kinship::Awaited),
            Owner::Unknown => (None, Kinship::Own),
        };
        let element = rule.element.as_ref().map(|element| Element {
            field: element.field,
            group: &element.group,
            row_id: self.row_id.text(&scratch.texts),
            bytes: self.item.of(&scratch.out),
            delete: rule.delete,
        });
        Fact {
            rule: &rule.name,
            record: &rule.record,
            remote_id,
            owner,
            kinship,
            completeness: if rule.whole { Completeness::Whole } else { Completeness::Part },
            delete: rule.delete && element.is_none(),
            version_micros: self.version,
            remote_created_at: self.created_at,
            remote_updated_at: self.updated_at,
            remote_deleted_at: self.deleted_at,
            remote_url: self.url.map(|span| span.text(&scratch.texts)),
            custom_fields: self.customs.map(|span| span.of(&scratch.out)),
            element,
            slots: scratch.slots.get(self.slots.from..self.slots.to).unwrap_or_default(),
            notes: scratch.notes.get(self.notes.from..self.notes.to).unwrap_or_default(),
            scratch,
        }
    }
}

/// Buffers that are reused from payload to payload. One per worker.
#[derive(Default)]
pub struct Scratch {
    pub(crate) tape: Tape,
    /// Nodes in the order of their first reading, so that a reading can be taken back.
    pub(crate) reads: Vec<u32>,
    pub(crate) out: Vec<u8>,
    pub(crate) texts: String,
    pub(crate) slots: Vec<Slot>,
    pub(crate) notes: Vec<Note>,
    pub(crate) facts: Vec<FactSpan>,
    /// A payload of XML, as JSON.
    pub(crate) xml: String,
    /// Spare strings for values with escapes or of several parts.
    pub(crate) spare: Vec<String>,
    pub(crate) words: crate::table::Words,
    pub(crate) carry: crate::apply::CarryBuffers,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Mark {
    /// A list or object that has something in it: its leaves count.
    #[default]
    Inner,
    Unread,
    Read,
    Ignored,
    Carried,
}
