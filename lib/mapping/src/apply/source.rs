//! Finding things: paths, sources and conditions → a node, a text, or nothing.

use std::fmt;

use super::{Run, Scope};
use crate::fact::Mark;
use crate::json::{Kind, letters, span, unescape};
use crate::path::{Key, Path, Step};
use crate::plan::{Condition, Source};
use crate::{Reject, RejectCode};

/// What a source gave. `Text`: it stands in the buffer that was handed in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Got {
    Absent,
    Null,
    Node(u32),
    Text,
}

impl<'r> Run<'r, '_> {
    /// The node that `path` names. A null on the way is null; a missing key is absent.
    #[inline(always)]
    pub(super) fn resolve(&mut self, path: &Path, scope: Scope) -> Result<Got, Box<Reject>> {
        // Most paths are one key of the record, and most records stand where they are expected.
        if let ([Step::Key(key)], false) = (path.steps.as_slice(), path.absolute)
            && let Some(found) = crate::json::slot(self.nodes, self.slots, scope.node, key)
        {
            return Ok(match self.nodes.get(found as usize) {
                _ if found == 0 => Got::Absent,
                Some(node) if node.kind != Kind::Null => Got::Node(found),
                _ => {
                    self.mark_read(found);
                    Got::Null
                }
            });
        }
        self.descend(path, scope)
    }

    #[inline(never)]
    fn descend(&mut self, path: &Path, scope: Scope) -> Result<Got, Box<Reject>> {
        let mut node = if path.absolute { 0 } else { scope.node };
        for step in &path.steps {
            match self.step(step, node) {
                Ok(Some(child)) => node = child,
                Ok(None) if self.nodes[node as usize].kind == Kind::Null => break,
                Ok(None) => return Ok(Got::Absent),
                Err(kind) => return Err(astray(path, kind)),
            }
        }
        let here = &mut self.nodes[node as usize];
        if here.kind != Kind::Null {
            return Ok(Got::Node(node));
        }
        self.mark_read(node);
        Ok(Got::Null)
    }

    /// One step down; none from null. `Err`: what stands here has no such steps.
    #[inline(always)]
    pub(super) fn step(&self, step: &Step, node: u32) -> Result<Option<u32>, Kind> {
        match (step, self.nodes[node as usize].kind) {
            (Step::Key(key), Kind::Object) => Ok(self.member(node, key)),
            (step, _) => self.other_step(step, node),
        }
    }

    #[inline(never)]
    fn other_step(&self, step: &Step, node: u32) -> Result<Option<u32>, Kind> {
        let here = self.nodes[node as usize];
        match (step, here.kind) {
            (Step::Index(index), Kind::Array) => Ok(self.items(node).nth(*index)),
            (Step::Where { keys, equals }, Kind::Array) => {
                Ok(self.items(node).find(|item| self.has_text(*item, keys, equals)))
            }
            // Some sources write an object without members as an empty list.
            (Step::Key(_), Kind::Array) if here.next == node + 1 => Ok(None),
            (_, Kind::Null) => Ok(None),
            (_, kind) => Err(kind),
        }
    }

    #[inline(always)]
    pub(super) fn member(&self, object: u32, key: &Key) -> Option<u32> {
        crate::json::member(self.nodes, self.slots, self.text, object, key)
    }

    pub(super) fn items(&self, array: u32) -> impl Iterator<Item = u32> {
        let (nodes, end) = (&*self.nodes, self.nodes[array as usize].next);
        let first = (array + 1 < end).then_some(array + 1);
        std::iter::successors(first, move |item| {
            let next = nodes[*item as usize].next;
            (next < end).then_some(next)
        })
    }

    fn has_text(&self, item: u32, keys: &[Key], equals: &str) -> bool {
        let mut node = item;
        for key in keys {
            match self.nodes[node as usize].kind {
                Kind::Object => match self.member(node, key) {
                    Some(child) => node = child,
                    None => return false,
                },
                _ => return false,
            }
        }
        let found = self.nodes[node as usize];
        is_scalar(found.kind) && crate::json::means(self.text, found.word(), equals)
    }

    /// The meaning of a text, or the letters of a number or word; `buffer` is for texts with escapes.
    pub(super) fn node_text<'b>(&self, node: u32, buffer: &'b mut String) -> &'b str
    where
        'r: 'b,
    {
        let found = self.nodes[node as usize];
        let text: &'r str = span(self.text, found);
        if !found.escaped {
            return text;
        }
        buffer.clear();
        unescape(text, buffer);
        buffer
    }

    /// Evaluates `source`; scalars and empty containers that it finds count as read.
    pub(super) fn source(&mut self, source: &Source, scope: Scope, buffer: &mut String) -> Result<Got, Box<Reject>> {
        buffer.clear();
        match source {
            Source::Path(path) => {
                let got = self.resolve(path, scope)?;
                if let Got::Node(node) = got {
                    self.mark_read(node);
                }
                Ok(got)
            }
            Source::Const(text) => Ok(put(Some(text), buffer)),
            Source::Event => Ok(put(self.input.event, buffer)),
            Source::Stream => Ok(put(self.input.stream, buffer)),
            Source::Header(name) => Ok(put(find(self.input.headers, name), buffer)),
            Source::Param(name) => Ok(put(find(self.input.params, name), buffer)),
            Source::Key => Ok(match scope.key {
                Some(key) => {
                    unescape(letters(self.text, key), buffer);
                    Got::Text
                }
                None => Got::Absent,
            }),
            Source::Received => {
                let Some(micros) = self.input.received_micros else { return Ok(Got::Absent) };
                crate::time::write_instant(micros, buffer);
                Ok(Got::Text)
            }
            Source::First(sources) => {
                let mut nothing = Got::Absent;
                for source in sources {
                    match self.source(source, scope, buffer)? {
                        Got::Absent => {}
                        Got::Null => nothing = Got::Null,
                        found => return Ok(found),
                    }
                }
                Ok(nothing)
            }
            Source::Join { parts, separator } => self.join(parts, separator, scope, buffer),
            Source::Table { of, table } => {
                let reads = self.scratch.reads.len();
                let got = self.source(of, scope, buffer)?;
                let Some(text) = self.scalar_text(got, buffer) else { return Ok(got) };
                let found = self.scratch.words.find(table, text);
                Ok(match found {
                    Some(word) => put(Some(word), buffer),
                    None => {
                        // The table says nothing of it, so it is not read.
                        self.unread_since(reads);
                        Got::Absent
                    }
                })
            }
        }
    }

    fn join(&mut self, parts: &[Source], separator: &str, scope: Scope, out: &mut String) -> Result<Got, Box<Reject>> {
        let mut nothing = Got::Absent;
        let mut found = false;
        let mut part_buffer = self.buffer();
        for part in parts {
            let got = self.source(part, scope, &mut part_buffer)?;
            if got == Got::Null {
                nothing = Got::Null;
            }
            if let Got::Node(node) = got
                && !is_scalar(self.nodes[node as usize].kind)
            {
                return Err(Box::new(Reject {
                    code: RejectCode::UnexpectedType,
                    rule: String::new(),
                    target: String::new(),
                    source: part.to_string(),
                    what: format!("{} where a text is expected", kind_name(self.nodes[node as usize].kind)),
                }));
            }
            if let Some(text) = self.scalar_text(got, &mut part_buffer)
                && !text.is_empty()
            {
                if !out.is_empty() {
                    out.push_str(separator);
                }
                out.push_str(text);
                found |= !matches!(part, Source::Const(_));
            }
        }
        self.give_back(part_buffer);
        // Constants alone are no value.
        Ok(if found { Got::Text } else { nothing })
    }

    /// The text of what a source gave; `None` for nothing and for containers.
    pub(super) fn scalar_text<'b>(&self, got: Got, buffer: &'b mut String) -> Option<&'b str>
    where
        'r: 'b,
    {
        match got {
            Got::Absent | Got::Null => None,
            Got::Text => Some(buffer),
            Got::Node(node) if is_scalar(self.nodes[node as usize].kind) => Some(self.node_text(node, buffer)),
            Got::Node(_) => None,
        }
    }

    #[inline]
    pub(super) fn mark_read(&mut self, node: u32) {
        let mark = &mut self.nodes[node as usize].mark;
        if *mark == Mark::Unread {
            *mark = Mark::Read;
            self.scratch.reads.push(node);
        }
    }

    /// Takes back all reading since the log had `length` entries.
    pub(super) fn unread_since(&mut self, length: usize) {
        for node in self.scratch.reads.drain(length..) {
            self.nodes[node as usize].mark = Mark::Unread;
        }
    }

    pub(super) fn holds(&mut self, condition: &Condition, scope: Scope) -> Result<bool, Box<Reject>> {
        match condition {
            Condition::Exists(path) => Ok(matches!(self.resolve(path, scope)?, Got::Node(_))),
            Condition::Is { source, any_of } => {
                let mut buffer = self.buffer();
                let reads = self.scratch.reads.len();
                let got = self.source(source, scope, &mut buffer)?;
                let held =
                    self.scalar_text(got, &mut buffer).is_some_and(|text| any_of.iter().any(|word| word == text));
                if !held {
                    // "Not this" does not tell what it was.
                    self.unread_since(reads);
                }
                self.give_back(buffer);
                Ok(held)
            }
            Condition::Contains { path, text } => {
                let Got::Node(list) = self.resolve(path, scope)? else { return Ok(false) };
                let mut buffer = self.buffer();
                let found = self.nodes[list as usize].kind == Kind::Array
                    && self.items(list).any(|item| {
                        is_scalar(self.nodes[item as usize].kind) && self.node_text(item, &mut buffer) == text
                    });
                let (mut item, end) = (list + 1, self.nodes[list as usize].next);
                while found && item < end {
                    if self.node_text(item, &mut buffer) == text {
                        self.mark_read(item);
                    }
                    item = self.nodes[item as usize].next;
                }
                self.give_back(buffer);
                Ok(found)
            }
            Condition::Not(inner) => Ok(!self.holds(inner, scope)?),
            Condition::All(inner) => inner.iter().try_fold(true, |held, one| Ok(held && self.holds(one, scope)?)),
            Condition::Any(inner) => inner.iter().try_fold(false, |held, one| Ok(held || self.holds(one, scope)?)),
        }
    }
}

#[cold]
fn astray(path: &Path, kind: Kind) -> Box<Reject> {
    Box::new(Reject {
        code: RejectCode::UnexpectedType,
        rule: String::new(),
        target: String::new(),
        source: path.to_string(),
        what: format!("{} where an object or list is expected", kind_name(kind)),
    })
}

/// Whether there is nothing but space.
#[inline]
pub(super) fn is_blank(text: &str) -> bool {
    match text.as_bytes().first() {
        None => true,
        Some(first) if first.is_ascii_graphic() => false,
        Some(_) => text.trim().is_empty(),
    }
}

fn put(text: Option<&str>, buffer: &mut String) -> Got {
    buffer.clear();
    match text {
        Some(text) => {
            buffer.push_str(text);
            Got::Text
        }
        None => Got::Absent,
    }
}

fn find<'a>(pairs: &'a [(String, String)], name: &str) -> Option<&'a str> {
    pairs.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
}

#[inline]
pub(super) fn is_scalar(kind: Kind) -> bool {
    matches!(kind, Kind::Text | Kind::Number | Kind::True | Kind::False)
}

pub(super) fn kind_name(kind: Kind) -> &'static str {
    match kind {
        Kind::Object => "an object",
        Kind::Array => "a list",
        Kind::Text => "a text",
        Kind::Number => "a number",
        Kind::True | Kind::False => "true or false",
        Kind::Null => "null",
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Path(path) => write!(f, "{path}"),
            Self::Const(_) => f.write_str("const"),
            Self::Event => f.write_str("event"),
            Self::Stream => f.write_str("stream"),
            Self::Header(name) => write!(f, "header {name}"),
            Self::Param(name) => write!(f, "param {name}"),
            Self::Key => f.write_str("key"),
            Self::Received => f.write_str("received"),
            Self::First(sources) | Self::Join { parts: sources, .. } => {
                for (index, source) in sources.iter().enumerate() {
                    let separator = if index == 0 { "" } else { " | " };
                    write!(f, "{separator}{source}")?;
                }
                Ok(())
            }
            Self::Table { of, .. } => write!(f, "{of}"),
        }
    }
}
