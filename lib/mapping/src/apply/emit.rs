//! Emit operations → Avro bytes, and whether the source had anything to say.

use super::convert::{expected, put_scalar};
use super::source::{Got, is_blank, is_scalar, kind_name};
use super::{Run, Scope};
use crate::avro::{begin_array, end_array, put_bytes, put_long, put_short};
use crate::fact::{Note, NoteKind};
use crate::json::{Kind, span};
use crate::path::Path;
use crate::plan::{Convert, Emit, FieldOp, Op, Over, Part, Source, SymbolTable, UNMAPPED};
use crate::{Reject, RejectCode};

/// What an operation found. Only the last two leave bytes behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    Absent,
    Null,
    /// Bytes that do not come from the payload: they make no record exist.
    Constant,
    Written,
}

impl Outcome {
    pub(super) fn is_written(self) -> bool {
        matches!(self, Self::Constant | Self::Written)
    }
}

impl Run<'_, '_> {
    /// Writes one value, or nothing.
    #[inline]
    pub(super) fn emit(&mut self, emit: &Emit, scope: Scope) -> Result<Outcome, Box<Reject>> {
        match &emit.op {
            // The most frequent operation of all.
            Op::Scalar { source: Source::Path(path), convert } if emit.when.is_none() && !emit.carry => {
                self.plain(emit, path, convert, scope)
            }
            _ => self.guarded(emit, scope),
        }
    }

    #[inline(never)]
    fn plain(&mut self, emit: &Emit, path: &Path, convert: &Convert, scope: Scope) -> Result<Outcome, Box<Reject>> {
        let from = self.scratch.out.len();
        let outcome = match self.resolve(path, scope) {
            Ok(Got::Node(node)) => {
                self.mark_read(node);
                let here = self.nodes[node as usize];
                match (convert, here.kind) {
                    (Convert::Text(rule), Kind::Text | Kind::Number) if rule.is_plain() && !here.escaped => {
                        put_short(&emit.prefix, &mut self.scratch.out);
                        put_bytes(span(self.text, here).as_bytes(), &mut self.scratch.out);
                        return Ok(Outcome::Written);
                    }
                    _ => self.scalar_at(emit, path, convert, node)?,
                }
            }
            Ok(Got::Null) => Outcome::Null,
            Ok(Got::Absent | Got::Text) => Outcome::Absent,
            Err(reject) => return Err(aimed(emit, reject)),
        };
        self.finish(emit, outcome, from)
    }

    /// The value of a node, whatever it is.
    fn scalar_at(&mut self, emit: &Emit, path: &Path, convert: &Convert, node: u32) -> Result<Outcome, Box<Reject>> {
        let here = self.nodes[node as usize];
        if !here.escaped {
            let text = is_scalar(here.kind).then(|| span(self.text, here));
            return self.converted(emit, path, convert, here.kind, text, false);
        }
        let mut buffer = self.buffer();
        let text = self.node_text(node, &mut buffer);
        let outcome = self.converted(emit, path, convert, Kind::Text, Some(text), false);
        self.give_back(buffer);
        outcome
    }

    fn guarded(&mut self, emit: &Emit, scope: Scope) -> Result<Outcome, Box<Reject>> {
        if let Some(when) = &emit.when
            && !self.holds(when, scope).map_err(|reject| aimed(emit, reject))?
        {
            return Ok(Outcome::Absent);
        }
        let from = self.scratch.out.len();
        let (reads, notes) = (self.scratch.reads.len(), self.scratch.notes.len());
        let outcome = match self.operate(emit, scope) {
            Err(_) if emit.carry => {
                self.unread_since(reads);
                self.scratch.notes.truncate(notes);
                Outcome::Absent
            }
            result => result.map_err(|reject| aimed(emit, reject))?,
        };
        self.finish(emit, outcome, from)
    }

    /// What stands in place of nothing.
    #[inline]
    fn finish(&mut self, emit: &Emit, outcome: Outcome, from: usize) -> Result<Outcome, Box<Reject>> {
        if outcome.is_written() {
            return Ok(outcome);
        }
        self.scratch.out.truncate(from);
        if let Some(fallback) = &emit.fallback {
            self.scratch.out.extend_from_slice(fallback);
            return Ok(Outcome::Constant);
        }
        if emit.required { Err(self.missing(emit)) } else { Ok(outcome) }
    }

    pub(super) fn missing(&self, emit: &Emit) -> Box<Reject> {
        let source = emit.op.source();
        Box::new(Reject { source, what: "no value".to_owned(), ..empty(RejectCode::RequiredMissing, emit) })
    }

    fn operate(&mut self, emit: &Emit, scope: Scope) -> Result<Outcome, Box<Reject>> {
        match &emit.op {
            Op::Const(bytes) => {
                self.scratch.out.extend_from_slice(bytes);
                Ok(Outcome::Constant)
            }
            Op::Null => Ok(Outcome::Null),
            Op::Scalar { source, convert } => self.scalar(emit, source, convert, scope),
            Op::Coded { source, table, raw, no_raw, rule, no_rule } => {
                self.with_text(emit, source, scope, |run, got, text| {
                    let Some(found) = run.symbol(emit, source, table, got, text) else { return Outcome::Absent };
                    put_short(&emit.prefix, &mut run.scratch.out);
                    put_long(found.map_or(UNMAPPED, |symbol| symbol.index), &mut run.scratch.out);
                    // What chose the symbol without a word of the source has no raw text.
                    if matches!(got, Got::Node(_)) || !source.is_fixed() {
                        put_short(raw, &mut run.scratch.out);
                        put_bytes(text.as_bytes(), &mut run.scratch.out);
                    } else {
                        put_short(no_raw, &mut run.scratch.out);
                    }
                    match found {
                        Some(symbol) => {
                            put_short(rule, &mut run.scratch.out);
                            put_bytes(symbol.rule.as_bytes(), &mut run.scratch.out);
                        }
                        None => put_short(no_rule, &mut run.scratch.out),
                    }
                    Outcome::Written
                })
            }
            Op::Enum { source, table } => self.with_text(emit, source, scope, |run, got, text| {
                let Some(found) = run.symbol(emit, source, table, got, text) else { return Outcome::Absent };
                put_short(&emit.prefix, &mut run.scratch.out);
                put_long(found.map_or(UNMAPPED, |symbol| symbol.index), &mut run.scratch.out);
                Outcome::Written
            }),
            Op::Ref { record, source, foreign } => self.with_text(emit, source, scope, |run, _, text| {
                let Some(id) = run.context.reference(record, text, *foreign) else { return Outcome::Absent };
                put_short(&emit.prefix, &mut run.scratch.out);
                put_bytes(&id, &mut run.scratch.out);
                Outcome::Written
            }),
            Op::Lookup { record, source, field, null } => self.with_text(emit, source, scope, |run, _, text| {
                let from = run.scratch.out.len();
                if !run.context.lookup(record, text, *field, &mut run.scratch.out) {
                    let (name, value) = (run.keep(record), run.keep(text));
                    run.scratch.notes.push(Note { kind: NoteKind::MissingLookup, name, value });
                    return Outcome::Absent;
                }
                let is_null = null.as_deref() == run.scratch.out.get(from..);
                if is_null { Outcome::Null } else { Outcome::Written }
            }),
            Op::Record { scope: path, fields } => {
                let inner = match path {
                    None => scope,
                    Some(path) => match self.resolve(path, scope)? {
                        // A scalar is a record of one value, `.`; a path into it is refused where it is read.
                        Got::Node(node) if self.nodes[node as usize].kind != Kind::Array => {
                            if self.nodes[node as usize].kind == Kind::Object {
                                self.mark_read(node);
                            }
                            Scope { node, key: None }
                        }
                        Got::Node(node) if self.is_empty_list(node) => {
                            self.mark_read(node);
                            return Ok(Outcome::Absent);
                        }
                        Got::Node(node) => {
                            return Err(self.mismatch(emit, &path.to_string(), node, "an object"));
                        }
                        Got::Null => return Ok(Outcome::Null),
                        Got::Absent | Got::Text => return Ok(Outcome::Absent),
                    },
                };
                self.record(emit, fields, inner)
            }
            Op::Array(parts) => self.array(emit, parts, scope),
            Op::First(choices) => {
                let mut nothing = Outcome::Absent;
                for choice in choices {
                    match self.emit(choice, scope)? {
                        Outcome::Absent => {}
                        Outcome::Null => nothing = Outcome::Null,
                        found => return Ok(found),
                    }
                }
                Ok(nothing)
            }
        }
    }

    fn is_empty_list(&self, node: u32) -> bool {
        let found = self.nodes[node as usize];
        found.kind == Kind::Array && found.next == node + 1
    }

    fn record(&mut self, emit: &Emit, fields: &[FieldOp], scope: Scope) -> Result<Outcome, Box<Reject>> {
        put_short(&emit.prefix, &mut self.scratch.out);
        let (mut written, mut null_seen, mut hole) = (false, false, None);
        for field in fields {
            let outcome = match &field.emit {
                Some(emit) => self.emit(emit, scope)?,
                None => Outcome::Absent,
            };
            written |= outcome == Outcome::Written;
            null_seen |= outcome == Outcome::Null;
            if outcome.is_written() {
                continue;
            }
            let null = field.emit.as_ref().filter(|_| outcome == Outcome::Null).and_then(|emit| emit.null.as_ref());
            match (null.or(field.default.as_ref()), &field.emit) {
                (Some(bytes), _) => put_short(bytes, &mut self.scratch.out),
                (None, Some(emit)) => hole = Some(emit),
                (None, None) => {}
            }
        }
        match hole {
            Some(hole) if written => Err(self.missing(hole)),
            _ if written => Ok(Outcome::Written),
            _ if null_seen => Ok(Outcome::Null),
            _ => Ok(Outcome::Absent),
        }
    }

    fn array(&mut self, emit: &Emit, parts: &[Part], scope: Scope) -> Result<Outcome, Box<Reject>> {
        put_short(&emit.prefix, &mut self.scratch.out);
        let from = begin_array(&mut self.scratch.out);
        let (mut count, mut seen) = (0, false);
        for part in parts {
            if let Some(when) = &part.when
                && !self.holds(when, scope)?
            {
                continue;
            }
            match &part.over {
                Over::Once => {
                    let outcome = self.part(part, scope)?;
                    count += usize::from(outcome.is_written());
                    seen |= outcome != Outcome::Absent;
                }
                Over::Items(path) => match self.resolve(path, scope)? {
                    Got::Node(list) if self.nodes[list as usize].kind == Kind::Array => {
                        seen = true;
                        self.mark_read(list);
                        let end = self.nodes[list as usize].next;
                        let mut item = list + 1;
                        while item < end {
                            count += usize::from(self.part(part, Scope { node: item, key: None })?.is_written());
                            item = self.nodes[item as usize].next;
                        }
                    }
                    Got::Node(node) => return Err(self.mismatch(emit, &path.to_string(), node, "a list")),
                    Got::Null => seen = true,
                    Got::Absent | Got::Text => {}
                },
                Over::Entries(path) => match self.resolve(path, scope)? {
                    Got::Node(object) if self.nodes[object as usize].kind == Kind::Object => {
                        seen = true;
                        self.mark_read(object);
                        let end = self.nodes[object as usize].next;
                        let mut value = object + 1;
                        while value < end {
                            let inner = Scope { node: value, key: self.nodes[value as usize].key() };
                            count += usize::from(self.part(part, inner)?.is_written());
                            value = self.nodes[value as usize].next;
                        }
                    }
                    Got::Node(node) if self.is_empty_list(node) => {
                        seen = true;
                        self.mark_read(node);
                    }
                    Got::Node(node) => return Err(self.mismatch(emit, &path.to_string(), node, "an object")),
                    Got::Null => seen = true,
                    Got::Absent | Got::Text => {}
                },
            }
        }
        if !seen {
            return Ok(Outcome::Absent);
        }
        end_array(count, from, &mut self.scratch.out);
        Ok(Outcome::Written)
    }

    fn part(&mut self, part: &Part, scope: Scope) -> Result<Outcome, Box<Reject>> {
        if let Some(filter) = &part.filter
            && !self.holds(filter, scope).map_err(|reject| aimed(&part.item, reject))?
        {
            return Ok(Outcome::Absent);
        }
        self.emit(&part.item, scope)
    }

    /// Runs `write` with the text of `source`; blank is null.
    fn with_text(
        &mut self,
        emit: &Emit,
        source: &Source,
        scope: Scope,
        write: impl FnOnce(&mut Self, Got, &str) -> Outcome,
    ) -> Result<Outcome, Box<Reject>> {
        let (reads, notes) = (self.scratch.reads.len(), self.scratch.notes.len());
        let outcome = match source {
            Source::Path(path) => match self.resolve(path, scope)? {
                // The most frequent source needs no buffer.
                Got::Node(node) if is_scalar(self.nodes[node as usize].kind) && !self.nodes[node as usize].escaped => {
                    self.mark_read(node);
                    let text = span(self.text, self.nodes[node as usize]);
                    if is_blank(text) { Outcome::Null } else { write(self, Got::Node(node), text) }
                }
                Got::Node(_) => self.with_buffer(emit, source, scope, write)?,
                Got::Null => return Ok(Outcome::Null),
                Got::Absent | Got::Text => return Ok(Outcome::Absent),
            },
            _ => self.with_buffer(emit, source, scope, write)?,
        };
        // The id of a missing look-up was read all the same: a note tells it.
        if outcome == Outcome::Absent && self.scratch.notes.len() == notes {
            self.unread_since(reads);
        }
        Ok(outcome)
    }

    fn with_buffer(
        &mut self,
        emit: &Emit,
        source: &Source,
        scope: Scope,
        write: impl FnOnce(&mut Self, Got, &str) -> Outcome,
    ) -> Result<Outcome, Box<Reject>> {
        let mut buffer = self.buffer();
        let got = self.source(source, scope, &mut buffer)?;
        if let Got::Node(node) = got
            && !is_scalar(self.nodes[node as usize].kind)
        {
            return Err(self.mismatch(emit, &source.to_string(), node, "a text"));
        }
        let outcome = match self.scalar_text(got, &mut buffer) {
            Some(text) if !is_blank(text) => write(self, got, text),
            Some(_) => Outcome::Null,
            None if got == Got::Null => Outcome::Null,
            None => Outcome::Absent,
        };
        self.give_back(buffer);
        Ok(outcome)
    }

    /// `Some(None)`: a word that the table lacks. `None`: nothing was said about this field.
    fn symbol<'t>(
        &mut self,
        emit: &Emit,
        source: &Source,
        table: &'t SymbolTable,
        got: Got,
        text: &str,
    ) -> Option<Option<&'t crate::plan::Symbol>> {
        let found = self.scratch.words.find(&table.lines, text);
        if found.is_none() {
            // An event that the table lacks is not a value of the field.
            if got == Got::Text && source.is_fixed() {
                return None;
            }
            if table.skip_others {
                return None;
            }
            let (name, value) = (self.keep(&emit.target), self.keep(text));
            self.scratch.notes.push(Note { kind: NoteKind::Unmapped, name, value });
        }
        Some(found)
    }

    fn scalar(
        &mut self,
        emit: &Emit,
        source: &Source,
        convert: &Convert,
        scope: Scope,
    ) -> Result<Outcome, Box<Reject>> {
        if let Source::Path(path) = source {
            return match self.resolve(path, scope)? {
                Got::Node(node) => {
                    self.mark_read(node);
                    self.scalar_at(emit, path, convert, node)
                }
                Got::Null => Ok(Outcome::Null),
                Got::Absent | Got::Text => Ok(Outcome::Absent),
            };
        }
        let mut buffer = self.buffer();
        let got = self.source(source, scope, &mut buffer)?;
        let kind = match got {
            Got::Absent | Got::Null => {
                self.give_back(buffer);
                return Ok(if got == Got::Null { Outcome::Null } else { Outcome::Absent });
            }
            Got::Text => Kind::Text,
            Got::Node(node) => self.nodes[node as usize].kind,
        };
        let text = self.scalar_text(got, &mut buffer);
        let outcome = self.converted(emit, source, convert, kind, text, got == Got::Text);
        self.give_back(buffer);
        outcome
    }

    /// Writes `text`; `None` is something that has no text.
    fn converted(
        &mut self,
        emit: &Emit,
        source: &dyn std::fmt::Display,
        convert: &Convert,
        kind: Kind,
        text: Option<&str>,
        outside: bool,
    ) -> Result<Outcome, Box<Reject>> {
        let result = match text {
            Some(text) => {
                let out = &mut self.scratch.out;
                put_short(&emit.prefix, out);
                put_scalar(text, kind, convert, outside, out)
            }
            None => Err((RejectCode::UnexpectedType, expected(kind, convert))),
        };
        result.map_err(|(code, what)| Box::new(Reject { source: source.to_string(), what, ..empty(code, emit) }))
    }

    fn mismatch(&self, emit: &Emit, source: &str, node: u32, wanted: &str) -> Box<Reject> {
        let what = format!("{} where {wanted} is expected", kind_name(self.nodes[node as usize].kind));
        Box::new(Reject { source: source.to_owned(), what, ..empty(RejectCode::UnexpectedType, emit) })
    }
}

fn empty(code: RejectCode, emit: &Emit) -> Reject {
    Reject { code, rule: String::new(), target: emit.target.clone(), source: String::new(), what: String::new() }
}

fn aimed(emit: &Emit, mut reject: Box<Reject>) -> Box<Reject> {
    if reject.target.is_empty() {
        reject.target.clone_from(&emit.target);
    }
    reject
}

impl Source {
    /// Whether it says the same for every record of a payload: then a table that lacks it says nothing.
    pub(super) fn is_fixed(&self) -> bool {
        match self {
            Self::Event | Self::Stream | Self::Const(_) => true,
            Self::Table { of, .. } => of.is_fixed(),
            Self::First(sources) => sources.iter().all(Self::is_fixed),
            Self::Path(_) | Self::Header(_) | Self::Param(_) | Self::Key | Self::Received | Self::Join { .. } => false,
        }
    }
}

impl Op {
    /// For messages.
    fn source(&self) -> String {
        match self {
            Self::Const(_) | Self::Null => "const".to_owned(),
            Self::Scalar { source, .. }
            | Self::Coded { source, .. }
            | Self::Enum { source, .. }
            | Self::Ref { source, .. }
            | Self::Lookup { source, .. } => source.to_string(),
            Self::Record { scope, .. } => scope.as_ref().map_or_else(|| ".".to_owned(), ToString::to_string),
            Self::Array(parts) => parts.iter().map(|part| part.over.to_string()).collect::<Vec<_>>().join(" + "),
            Self::First(choices) => choices.iter().map(|choice| choice.op.source()).collect::<Vec<_>>().join(" | "),
        }
    }
}

impl std::fmt::Display for Over {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Once => f.write_str("."),
            Self::Items(path) | Self::Entries(path) => write!(f, "{path}"),
        }
    }
}
