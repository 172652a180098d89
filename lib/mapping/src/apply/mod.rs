//! Plan + payload → facts: every rule of the event or stream on every record that its root finds.
//!
//! Order of work: all rules write their fields, then what is ignored is marked, then what nobody read is carried.

mod carry;
mod convert;
mod emit;
mod source;

pub(crate) use carry::CarryBuffers;

use crate::fact::{Coverage, FactSpan, Input, Mapped, NoteKind, Scratch, Slot, Span, foreign};
use crate::json::{Fault, JsonError, Kind, Node, Tape, Word, span};
use crate::path::{Path, Step};
use crate::plan::{Instant, Owner, Plan, Rule, Source};
use crate::xml::{self, XmlError, XmlFault};
use crate::{Context, Reject, RejectCode};
use source::Got;

impl Plan {
    /// Maps one payload. The facts live in `scratch` until the next call.
    ///
    /// # Errors
    /// The payload is neither JSON nor XML that the mapping reads, lacks what a rule requires, or has a value of the wrong type or form.
    pub fn apply<'a>(
        &'a self,
        scratch: &'a mut Scratch,
        input: &Input<'_>,
        context: &mut dyn Context,
    ) -> Result<Mapped<'a>, Reject> {
        let (mut tape, mut xml) = (std::mem::take(&mut scratch.tape), std::mem::take(&mut scratch.xml));
        let result = match self.as_json(input.body, &mut xml) {
            Ok(body) => self.fill(scratch, &mut tape, &Input { body, ..*input }, context),
            Err(reject) => Err(Box::new(reject)),
        };
        (scratch.tape, scratch.xml) = (tape, xml);
        let (known, coverage) = result.map_err(|reject| *reject)?;
        Ok(Mapped { plan: self, scratch, known, coverage })
    }

    /// The payload as JSON, which it is but for XML; `buffer` is for that.
    ///
    /// # Errors
    /// It begins as XML, and is none.
    pub fn as_json<'b>(&self, body: &'b [u8], buffer: &'b mut String) -> Result<&'b [u8], Reject> {
        let Some(forms) = self.xml.as_ref().filter(|_| xml::is_xml(body)) else { return Ok(body) };
        buffer.clear();
        xml::to_json(body, forms, buffer).map_err(not_xml)?;
        Ok(buffer.as_bytes())
    }

    fn fill(
        &self,
        scratch: &mut Scratch,
        tape: &mut Tape,
        input: &Input<'_>,
        context: &mut dyn Context,
    ) -> Result<(bool, Coverage), Box<Reject>> {
        scratch.clear();
        let text = tape.parse(input.body, &self.layout).map_err(|error| Box::new(not_json(error)))?;
        let by_event = input.event.and_then(|event| self.by_event.get(event));
        let rules = by_event.or_else(|| input.stream.and_then(|stream| self.by_stream.get(stream)));
        let Some(rules) = rules else { return Ok((false, Coverage::default())) };
        let Tape { nodes, slots, leaves, .. } = tape;
        let mut run = Run { plan: self, input, context, text, nodes, slots, leaves: *leaves, scratch };
        for index in rules {
            run.rule(*index)?;
        }
        Ok((true, run.settle()))
    }
}

impl Scratch {
    fn clear(&mut self) {
        self.reads.clear();
        self.out.clear();
        self.texts.clear();
        self.slots.clear();
        self.notes.clear();
        self.facts.clear();
    }
}

pub(crate) fn not_xml(error: XmlError) -> Reject {
    let code = match error.fault {
        XmlFault::Utf8 => RejectCode::InvalidUtf8,
        XmlFault::TooDeep => RejectCode::TooDeep,
        XmlFault::Syntax(_) => RejectCode::InvalidXml,
    };
    unread(code, error.to_string())
}

pub(crate) fn not_json(error: JsonError) -> Reject {
    let code = match error.fault {
        Fault::Utf8 => RejectCode::InvalidUtf8,
        Fault::Syntax(_) => RejectCode::InvalidJson,
        Fault::TooDeep => RejectCode::TooDeep,
        Fault::DuplicateKey => RejectCode::DuplicateKey,
    };
    unread(code, error.to_string())
}

/// Of a payload of which nothing was read.
fn unread(code: RejectCode, what: String) -> Reject {
    Reject { code, rule: String::new(), target: String::new(), source: String::new(), what }
}

/// Where relative paths begin, and the key of the entry that is being written.
#[derive(Debug, Clone, Copy)]
struct Scope {
    node: u32,
    key: Option<Word>,
}

/// One payload on its way.
struct Run<'r, 'p> {
    plan: &'p Plan,
    input: &'r Input<'r>,
    context: &'r mut dyn Context,
    text: &'r str,
    nodes: &'r mut [Node],
    slots: &'r [u32],
    /// How many there are.
    leaves: usize,
    scratch: &'r mut Scratch,
}

impl<'p> Run<'_, 'p> {
    fn rule(&mut self, index: usize) -> Result<(), Box<Reject>> {
        let rule: &'p Rule = &self.plan.rules[index];
        let mut roots = std::mem::take(&mut self.scratch.carry.nodes);
        roots.clear();
        let mut result = Ok(());
        for path in &rule.roots {
            result = result.and_then(|()| self.expand(path, 0, &mut roots, rule));
        }
        roots.retain(|node| self.nodes[*node as usize].kind != Kind::Null);
        if result.is_ok() && roots.is_empty() && !rule.optional {
            let source = rule.roots.first().map(ToString::to_string).unwrap_or_default();
            result = Err(self.reject(rule, RejectCode::RequiredMissing, &rule.record, source, "not in the payload"));
        }
        for root in &roots {
            result = result.and_then(|()| self.fact(index, rule, *root));
        }
        self.scratch.carry.nodes = roots;
        result
    }

    fn fact(&mut self, mut index: usize, mut rule: &'p Rule, root: u32) -> Result<(), Box<Reject>> {
        let scope = Scope { node: root, key: None };
        if !self.plan.turns.is_empty() {
            index = self.of_its_time(index, rule, scope);
            rule = &self.plan.rules[index];
        }
        if let Some(when) = &rule.when
            && !self.holds(when, scope).map_err(|reject| named(rule, reject))?
        {
            return Ok(());
        }
        let notes = self.scratch.notes.len();
        let slots = self.scratch.slots.len();
        let Some(remote_id) = self.identity(rule, &rule.id, "id", scope)? else { return Ok(()) };
        let owner_id = match &rule.owner {
            Owner::Itself | Owner::Awaited | Owner::Unknown => Span::default(),
            Owner::Foreign(_, source) => {
                let found = self.text_note(rule, source, "owner", scope)?.unwrap_or_default();
                if foreign(found.text(&self.scratch.texts)).is_none() {
                    let (target, what) = (format!("{}.owner", rule.record), "no id of a record that this is about");
                    return Err(self.reject(rule, RejectCode::Uncorrelated, &target, source.to_string(), what));
                }
                found
            }
            // A parent that the payload does not name is unknown.
            Owner::Record(_, source) => self.text_note(rule, source, "owner", scope)?.unwrap_or_default(),
        };
        let mut instant = |instant: &Option<Instant>| match instant {
            Some(instant) => self.instant(rule, instant, scope),
            None => Ok(None),
        };
        let version = instant(&rule.version)?;
        let created_at = instant(&rule.created_at)?;
        let updated_at = instant(&rule.updated_at)?;
        let deleted_at = instant(&rule.deleted_at)?;
        let url = match &rule.url {
            Some(source) => self.text_note(rule, source, "url", scope)?,
            None => None,
        };
        for (name, source) in &rule.hints {
            if let Some(value) = self.text_note(rule, source, "hints", scope)? {
                let name = self.keep(name);
                self.scratch.notes.push(crate::fact::Note { kind: NoteKind::Hint, name, value });
            }
        }
        self.scratch.slots.resize(slots + rule.width, Slot::NotMapped);
        for (index, emit) in &rule.fields {
            let slot = self.field(emit, scope).map_err(|reject| named(rule, reject))?;
            if let Some(place) = self.scratch.slots.get_mut(slots + index) {
                *place = slot;
            }
        }
        let (mut row_id, mut item) = (Span::default(), Span::default());
        if let Some(element) = &rule.element {
            let Some(row) = self.identity(rule, &element.row, "element.row", scope)? else { return Ok(()) };
            row_id = row;
            if !rule.delete {
                let from = self.scratch.out.len();
                let outcome = self.emit(&element.item, scope).map_err(|reject| named(rule, reject))?;
                if !outcome.is_written() {
                    return Ok(());
                }
                item = Span { from, to: self.scratch.out.len() };
            }
        }
        let fact = FactSpan {
            rule: index,
            root,
            remote_id,
            owner_id,
            version,
            created_at,
            updated_at,
            deleted_at,
            url,
            slots: Span { from: slots, to: self.scratch.slots.len() },
            notes: Span { from: notes, to: self.scratch.notes.len() },
            row_id,
            item,
            customs: None,
        };
        self.scratch.facts.push(fact);
        Ok(())
    }

    /// The rule as it is at the source's time of the statement; where it has none, when the statement was received.
    #[inline(never)]
    fn of_its_time(&mut self, index: usize, rule: &Rule, scope: Scope) -> usize {
        let (reads, texts) = (self.scratch.reads.len(), self.scratch.texts.len());
        // What cannot be read is refused where it is read in earnest, if there is a fact at all.
        let told = rule.version.as_ref().and_then(|version| self.instant(rule, version, scope).ok().flatten());
        self.unread_since(reads);
        self.scratch.texts.truncate(texts);
        self.plan.rule_at(index, told.or(self.input.received_micros).unwrap_or(i64::MAX))
    }

    fn field(&mut self, emit: &Emit, scope: Scope) -> Result<Slot, Box<Reject>> {
        let from = self.scratch.out.len();
        Ok(match self.emit(emit, scope)? {
            emit::Outcome::Absent => Slot::Absent,
            emit::Outcome::Null => {
                let Some(null) = &emit.null else { return Err(self.missing(emit)) };
                self.scratch.out.extend_from_slice(null);
                Slot::Bytes(Span { from, to: self.scratch.out.len() })
            }
            emit::Outcome::Constant | emit::Outcome::Written => Slot::Bytes(Span { from, to: self.scratch.out.len() }),
        })
    }

    /// An id as text. `None`: there is none and the rule is optional.
    fn identity(
        &mut self,
        rule: &Rule,
        source: &Source,
        what: &str,
        scope: Scope,
    ) -> Result<Option<Span>, Box<Reject>> {
        match self.text_note(rule, source, what, scope)? {
            Some(span) if span.from < span.to => Ok(Some(span)),
            _ if rule.optional => Ok(None),
            _ => {
                let target = format!("{}.{what}", rule.record);
                Err(self.reject(rule, RejectCode::RequiredMissing, &target, source.to_string(), "no value"))
            }
        }
    }

    fn text_note(
        &mut self,
        rule: &Rule,
        source: &Source,
        what: &str,
        scope: Scope,
    ) -> Result<Option<Span>, Box<Reject>> {
        if let Source::Path(path) = source
            && let Got::Node(node) = self.resolve(path, scope).map_err(|reject| named(rule, reject))?
        {
            let here = self.nodes[node as usize];
            if let (Kind::Text | Kind::Number, false) = (here.kind, here.escaped) {
                self.mark_read(node);
                let text: &str = span(self.text, here);
                return Ok(Some(self.keep(text)));
            }
        }
        let mut buffer = self.buffer();
        let got = self.source(source, scope, &mut buffer).map_err(|reject| named(rule, reject))?;
        let found = match got {
            Got::Absent | Got::Null => None,
            Got::Text => Some(self.keep(&buffer)),
            Got::Node(node) => match self.nodes[node as usize].kind {
                Kind::Text | Kind::Number => {
                    let text = self.node_text(node, &mut buffer);
                    let from = self.scratch.texts.len();
                    self.scratch.texts.push_str(text);
                    Some(Span { from, to: self.scratch.texts.len() })
                }
                kind => {
                    let target = format!("{}.{what}", rule.record);
                    let what = format!("{} where a text or number is expected", source::kind_name(kind));
                    return Err(self.reject(rule, RejectCode::UnexpectedType, &target, source.to_string(), &what));
                }
            },
        };
        self.give_back(buffer);
        Ok(found)
    }

    fn instant(&mut self, rule: &Rule, instant: &Instant, scope: Scope) -> Result<Option<i64>, Box<Reject>> {
        let Some(span) = self.text_note(rule, &instant.source, instant.what, scope)? else { return Ok(None) };
        let text = span.text(&self.scratch.texts);
        if text.is_empty() {
            return Ok(None);
        }
        let found = instant.formats.iter().find_map(|format| crate::time::instant(text, *format));
        let wanted = instant.formats.first().map_or("not a time", |format| format.wanted());
        match found {
            Some(micros) => Ok(Some(micros)),
            None => {
                let target = format!("{}.{}", rule.record, instant.what);
                Err(self.reject(rule, RejectCode::UnreadableValue, &target, instant.source.to_string(), wanted))
            }
        }
    }

    /// All nodes that `path` names, starting at `from` (or at the payload, if it is absolute).
    fn expand(&self, path: &Path, from: u32, found: &mut Vec<u32>, rule: &Rule) -> Result<(), Box<Reject>> {
        let start = if path.absolute { 0 } else { from };
        self.expand_steps(&path.steps, start, found).map_err(|kind| {
            let what = format!("{} where an object or list is expected", source::kind_name(kind));
            self.reject(rule, RejectCode::UnexpectedType, &rule.record, path.to_string(), &what)
        })
    }

    /// `Err`: a node of this kind stood where the path goes on. What fits is found all the same.
    fn expand_steps(&self, steps: &[Step], mut node: u32, found: &mut Vec<u32>) -> Result<(), Kind> {
        for (index, step) in steps.iter().enumerate() {
            match step {
                Step::Each | Step::Any => {
                    return self.expand_all(step, steps.get(index + 1..).unwrap_or_default(), node, found);
                }
                step => match self.step(step, node)? {
                    Some(child) => node = child,
                    None => return Ok(()),
                },
            }
        }
        found.push(node);
        Ok(())
    }

    fn expand_all(&self, step: &Step, rest: &[Step], node: u32, found: &mut Vec<u32>) -> Result<(), Kind> {
        let here = self.nodes[node as usize];
        match (step, here.kind) {
            (_, Kind::Array) | (Step::Any, Kind::Object) => {
                let (mut child, mut fits) = (node + 1, Ok(()));
                while child < here.next {
                    fits = fits.and(self.expand_steps(rest, child, found));
                    child = self.nodes[child as usize].next;
                }
                fits
            }
            (_, Kind::Null) => Ok(()),
            (_, kind) => Err(kind),
        }
    }

    fn reject(&self, rule: &Rule, code: RejectCode, target: &str, source: String, what: &str) -> Box<Reject> {
        Box::new(Reject { code, rule: rule.name.clone(), target: target.to_owned(), source, what: what.to_owned() })
    }

    fn keep(&mut self, text: &str) -> Span {
        let from = self.scratch.texts.len();
        self.scratch.texts.push_str(text);
        Span { from, to: self.scratch.texts.len() }
    }

    fn buffer(&mut self) -> String {
        self.scratch.spare.pop().unwrap_or_default()
    }

    fn give_back(&mut self, mut buffer: String) {
        buffer.clear();
        self.scratch.spare.push(buffer);
    }
}

use crate::plan::Emit;

/// Rejects are rare and large: a box keeps every other result small.
fn named(rule: &Rule, mut reject: Box<Reject>) -> Box<Reject> {
    reject.rule.clone_from(&rule.name);
    reject
}
