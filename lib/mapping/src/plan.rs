//! What a mapping file becomes: rules whose every word is resolved against the target schemas. Immutable, shared.

use std::collections::{BTreeMap, HashMap};

use crate::dated::DatedTable;
use crate::layout::Layout;
use crate::path::{Key, Path};
use crate::table::Table;
use crate::time::Format;
use crate::xml::Forms;

/// A compiled mapping: one for a source, or one for each connection that has an overlay.
#[derive(Debug)]
pub struct Plan {
    pub(crate) version: String,
    /// Of all paths of the rules.
    pub(crate) layout: Layout,
    /// All of them once more for each of `turns`.
    pub(crate) rules: Vec<Rule>,
    pub(crate) by_event: HashMap<String, Vec<usize>>,
    pub(crate) by_stream: HashMap<String, Vec<usize>>,
    /// Absolute paths that are ignored in every payload.
    pub(crate) ignored: Vec<Path>,
    /// Per record: fields that no rule maps.
    pub(crate) absent: BTreeMap<String, Vec<String>>,
    pub(crate) reasons: Vec<Ignored>,
    /// Of a mapping that reads XML.
    pub(crate) xml: Option<Forms>,
    /// Of an overlay that changes with time: from when on each of its later parts holds, ascending.
    pub(crate) turns: Vec<i64>,
    pub(crate) dated: Vec<DatedTable>,
}

/// A path that a mapping leaves out on purpose, and why.
#[derive(Debug, Clone)]
pub struct Ignored {
    /// The rule; empty when it holds for every payload.
    pub rule: String,
    pub path: String,
    pub reason: String,
}

impl Plan {
    /// The mapping's version with a hash of its content; an overlay's is appended.
    #[must_use]
    pub fn version(&self) -> &str {
        &self.version
    }

    /// Top-level fields of `record` that this source never supplies.
    #[must_use]
    pub fn absent_fields(&self, record: &str) -> &[String] {
        self.absent.get(record).map_or(&[], Vec::as_slice)
    }

    /// Names of the records that rules make.
    pub fn records(&self) -> impl Iterator<Item = &str> {
        self.absent.keys().map(String::as_str)
    }

    /// Names of the events that have a rule.
    pub fn events(&self) -> impl Iterator<Item = &str> {
        self.by_event.keys().map(String::as_str)
    }

    /// Names of the streams that have a rule.
    pub fn streams(&self) -> impl Iterator<Item = &str> {
        self.by_stream.keys().map(String::as_str)
    }

    /// Everything that is left out on purpose.
    #[must_use]
    pub fn ignored(&self) -> &[Ignored] {
        &self.reasons
    }
}

/// How one kind of payload makes facts of one kind of record.
#[derive(Debug)]
pub(crate) struct Rule {
    pub(crate) name: String,
    pub(crate) record: String,
    pub(crate) roots: Vec<Path>,
    /// An embedded record: no root or no id means no fact instead of a dead letter.
    pub(crate) optional: bool,
    pub(crate) when: Option<Condition>,
    pub(crate) id: Source,
    pub(crate) owner: Owner,
    pub(crate) whole: bool,
    pub(crate) delete: bool,
    pub(crate) version: Option<Instant>,
    pub(crate) created_at: Option<Instant>,
    pub(crate) updated_at: Option<Instant>,
    pub(crate) deleted_at: Option<Instant>,
    pub(crate) url: Option<Source>,
    pub(crate) hints: Vec<(String, Source)>,
    /// Number of the target's fields.
    pub(crate) width: usize,
    /// Those that are mapped, by index; `meta` never is.
    pub(crate) fields: Vec<(usize, Emit)>,
    pub(crate) element: Option<ElementRule>,
    pub(crate) customs: Vec<CustomRule>,
    pub(crate) ignored: Vec<Path>,
}

#[derive(Debug)]
pub(crate) enum Owner {
    Itself,
    Record(String, Source),
    /// Of another connection.
    Foreign(String, Source),
    /// Told by another rule.
    Awaited,
    Unknown,
}

#[derive(Debug)]
pub(crate) struct Instant {
    pub(crate) what: &'static str,
    pub(crate) source: Source,
    pub(crate) formats: Vec<Format>,
}

/// A row of a child resource that is one item of an array field.
#[derive(Debug)]
pub(crate) struct ElementRule {
    pub(crate) field: usize,
    pub(crate) group: String,
    pub(crate) row: Source,
    pub(crate) item: Emit,
}

/// Where the customer's own fields stand: an object whose members have a name, a type and a value.
#[derive(Debug)]
pub(crate) struct CustomRule {
    /// Of `whole`: what is carried as one field, unless a rule has read of it.
    pub(crate) entries: Path,
    /// The path as it stands in the records.
    pub(crate) text: String,
    pub(crate) whole: bool,
    pub(crate) name: Option<Key>,
    pub(crate) kind: Option<Key>,
    pub(crate) value: Option<Key>,
}

/// Something that gives a text, or a node of the payload.
#[derive(Debug)]
pub(crate) enum Source {
    Path(Path),
    Const(String),
    Event,
    Stream,
    Header(String),
    Param(String),
    /// The key of an `each_entry`.
    Key,
    /// When the delivery was received, as RFC 3339.
    Received,
    First(Vec<Source>),
    Join {
        parts: Vec<Source>,
        separator: String,
    },
    Table {
        of: Box<Source>,
        table: Table<String>,
    },
}

#[derive(Debug)]
pub(crate) enum Condition {
    Exists(Path),
    Is { source: Source, any_of: Vec<String> },
    Contains { path: Path, text: String },
    Not(Box<Condition>),
    All(Vec<Condition>),
    Any(Vec<Condition>),
}

/// Writes one value of a known shape.
#[derive(Debug)]
pub(crate) struct Emit {
    /// `Record.field.inner`
    pub(crate) target: String,
    pub(crate) op: Op,
    pub(crate) when: Option<Condition>,
    pub(crate) required: bool,
    /// What cannot be read here is as good as absent, and is carried as it came.
    pub(crate) carry: bool,
    /// Written when the source gives nothing or null.
    pub(crate) fallback: Option<Vec<u8>>,
    /// What an explicit null is written as; `None`: the target cannot be empty.
    pub(crate) null: Option<Vec<u8>>,
    /// What goes in front of a value: the union's index, or nothing.
    pub(crate) prefix: Vec<u8>,
}

#[derive(Debug)]
pub(crate) enum Op {
    /// Encoded at load.
    Const(Vec<u8>),
    Null,
    Scalar {
        source: Source,
        convert: Convert,
    },
    Coded {
        source: Source,
        table: SymbolTable,
        raw: Vec<u8>,
        no_raw: Vec<u8>,
        rule: Vec<u8>,
        no_rule: Vec<u8>,
    },
    Enum {
        source: Source,
        table: SymbolTable,
    },
    Ref {
        record: String,
        source: Source,
        /// The id is one of another connection.
        foreign: bool,
    },
    Lookup {
        record: String,
        source: Source,
        field: usize,
        null: Option<Vec<u8>>,
    },
    Record {
        scope: Option<Path>,
        fields: Vec<FieldOp>,
    },
    Array(Vec<Part>),
    First(Vec<Emit>),
}

#[derive(Debug)]
pub(crate) struct FieldOp {
    pub(crate) emit: Option<Emit>,
    pub(crate) default: Option<Vec<u8>>,
}

#[derive(Debug)]
pub(crate) struct Part {
    pub(crate) over: Over,
    /// Of the place where the array stands.
    pub(crate) when: Option<Condition>,
    /// Of each item.
    pub(crate) filter: Option<Condition>,
    pub(crate) item: Emit,
}

#[derive(Debug)]
pub(crate) enum Over {
    Once,
    Items(Path),
    Entries(Path),
}

#[derive(Debug)]
pub(crate) enum Convert {
    Text(TextRule),
    Int,
    Long,
    Float,
    Double,
    Boolean,
    Bytes,
    Date(Vec<Format>),
    Millis(Vec<Format>),
    Micros(Vec<Format>),
    Decimal { precision: usize, scale: u32 },
}

#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct TextRule {
    pub(crate) trim: bool,
    pub(crate) strip_html: bool,
    pub(crate) blank_is_null: bool,
}

impl TextRule {
    /// Nothing is changed.
    #[inline]
    pub(crate) fn is_plain(self) -> bool {
        !(self.trim || self.strip_html || self.blank_is_null)
    }
}

/// The second symbol of every coded enum.
pub(crate) const UNMAPPED: i64 = 1;

/// Source words → symbols of an enum. Words are compared without case and without space around them.
#[derive(Debug)]
pub(crate) struct SymbolTable {
    pub(crate) lines: Table<Symbol>,
    /// A word that stands in no line says nothing, instead of UNMAPPED.
    pub(crate) skip_others: bool,
}

#[derive(Debug, Clone)]
pub(crate) struct Symbol {
    pub(crate) index: i64,
    /// `<table>/<word>`, ready for the record.
    pub(crate) rule: String,
}
