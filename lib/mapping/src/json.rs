//! JSON text → a flat tape of nodes with spans into the text; nothing is copied, numbers keep their text.
//!
//! Strict RFC 8259, UTF-8 only. Written decisions: a duplicate key is an error (which of the two was meant cannot be
//! known), a lone surrogate escape is an error (it has no UTF-8 form and must not vanish), nesting deeper than
//! [`MAX_DEPTH`] is an error, `\u0000` is a legal character, numbers may be of any length.

mod members;
mod scan;
mod validate;

use std::borrow::Cow;
use std::fmt;

use crate::fact::Mark;
use crate::layout::{Layout, NOWHERE, Name, ROOT};
use crate::path::Key;
use members::{Members, key_hash};
use scan::Scan;
pub(crate) use scan::unescape;
pub(crate) use validate::validate;

/// Containers inside containers: the same limit as `serde_json`.
pub(crate) const MAX_DEPTH: usize = 127;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Object,
    Array,
    /// The name of a member; the next node is its value.
    Key,
    Text,
    Number,
    True,
    False,
    Null,
}

/// One value or key. Texts and keys span what stands between the quotes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Node {
    pub(crate) start: u32,
    pub(crate) end: u32,
    /// The node after this one and all that is in it. Of a key: the next key, or the end of the object.
    pub(crate) next: u32,
    /// The container; of a value in an object, its key. The root is its own.
    pub(crate) parent: u32,
    /// Of an object: its first slot. A slot holds the node of a member's value, or 0.
    pub(crate) slots: u32,
    /// Of an object: which slots it has.
    pub(crate) place: u32,
    pub(crate) kind: Kind,
    /// The span has escapes: [`unescape`] it before use.
    pub(crate) escaped: bool,
    /// What became of it. Leaves begin as unread.
    pub(crate) mark: Mark,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    Utf8,
    Syntax(&'static str),
    TooDeep,
    DuplicateKey,
}

/// What is wrong, and at which byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct JsonError {
    pub(crate) fault: Fault,
    pub(crate) at: usize,
}

impl fmt::Display for JsonError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.fault {
            Fault::Utf8 => write!(f, "not UTF-8 at byte {}", self.at),
            Fault::Syntax(what) => write!(f, "not JSON at byte {}: {what}", self.at),
            Fault::TooDeep => write!(f, "nested deeper than {MAX_DEPTH} levels at byte {}", self.at),
            Fault::DuplicateKey => write!(f, "the same key twice in one object at byte {}", self.at),
        }
    }
}

/// Reused from payload to payload.
#[derive(Default)]
pub(crate) struct Tape {
    pub(crate) nodes: Vec<Node>,
    pub(crate) slots: Vec<u32>,
    /// Containers around the one that is being read, and [`OUTSIDE`] around the root.
    open: Vec<Open>,
    strangers: Vec<Stranger>,
    members: Members,
    plain: String,
}

/// A container that is not closed yet.
#[derive(Debug, Clone, Copy)]
struct Open {
    node: u32,
    slots: u32,
    /// Of an object: its own. Of a list: that of its items.
    place: u32,
    /// Where its strangers begin.
    strangers: u32,
    /// The byte that ends it.
    close: u8,
    /// Nothing has been read of it.
    first: bool,
    /// Its strangers stand in the hash table.
    many: bool,
}

const OUTSIDE: Open = Open { node: 0, slots: 0, place: NOWHERE, strangers: 0, close: 0, first: false, many: false };

/// A key that no path names.
#[derive(Debug, Clone, Copy)]
struct Stranger {
    name: Name,
    key: u32,
}

/// Slots of an object before its first key.
const EMPTY: [u32; 64] = [0; 64];

/// Up to so many strangers of one object are compared one by one.
const FEW: usize = 16;

impl Tape {
    /// Checks `bytes` from end to end. Node 0 is the root.
    ///
    /// What it calls for every token is inlined, so that position and results stay in registers.
    pub(crate) fn parse<'t>(&mut self, bytes: &'t [u8], layout: &Layout) -> Result<&'t str, JsonError> {
        self.nodes.clear();
        self.slots.clear();
        self.open.clear();
        self.strangers.clear();
        self.members.clear();
        let text =
            std::str::from_utf8(bytes).map_err(|error| JsonError { fault: Fault::Utf8, at: error.valid_up_to() })?;
        if u32::try_from(bytes.len()).is_err() {
            return Err(JsonError { fault: Fault::Syntax("longer than 4 GiB"), at: 0 });
        }
        let mut scan = Scan { bytes, at: 0 };
        let (mut here, mut parent, mut place) = (OUTSIDE, 0, ROOT);
        'values: loop {
            let node = number(self.nodes.len());
            let kind = self.value(&mut scan, parent)?;
            if let Kind::Object | Kind::Array = kind {
                if self.open.len() == MAX_DEPTH {
                    return Err(JsonError { fault: Fault::TooDeep, at: scan.at - 1 });
                }
                self.open.push(here);
                here = self.begin(node, kind, place, layout);
            }
            while !self.open.is_empty() {
                scan.space();
                match scan.peek() {
                    Some(byte) if byte == here.close => {
                        scan.at += 1;
                        self.close(scan.at, here);
                        here = self.open.pop().unwrap_or(OUTSIDE);
                        continue;
                    }
                    Some(b',') if !here.first => scan.at += 1,
                    Some(_) if here.first => here.first = false,
                    Some(_) => return Err(scan.fault("expected a comma or the end of the list or object")),
                    None => return Err(scan.fault("the text ends too early")),
                }
                (parent, place) = if here.close == b'}' {
                    self.key(&mut scan, text, layout, &mut here)?
                } else {
                    (here.node, here.place)
                };
                continue 'values;
            }
            break;
        }
        scan.space();
        if scan.at < bytes.len() {
            return Err(scan.fault("something follows the value"));
        }
        Ok(text)
    }

    /// A key and its colon. Gives its node, and where its value stands.
    #[inline(always)]
    fn key(
        &mut self,
        scan: &mut Scan<'_>,
        text: &str,
        layout: &Layout,
        here: &mut Open,
    ) -> Result<(u32, u32), JsonError> {
        scan.space();
        if scan.peek() != Some(b'"') {
            return Err(scan.fault("expected a key in quotes"));
        }
        let at = scan.at;
        let (from, to, escaped) = scan.string()?;
        let key = number(self.nodes.len());
        self.push(from, to, here.node, Kind::Key, escaped);
        let word = if escaped {
            self.plain.clear();
            unescape(text.get(from..to).unwrap_or_default(), &mut self.plain);
            self.plain.as_bytes()
        } else {
            scan.bytes.get(from..to).unwrap_or_default()
        };
        let name = Name::new(word);
        let (slot, place) = layout.member(here.place, name, word);
        match slot.and_then(|slot| self.slots.get_mut((here.slots + slot) as usize)) {
            Some(slot) if *slot == 0 => *slot = key + 1,
            Some(_) => return Err(JsonError { fault: Fault::DuplicateKey, at }),
            None => self.stranger(text, here, name, key).map_err(|fault| JsonError { fault, at })?,
        }
        scan.space();
        if scan.peek() != Some(b':') {
            return Err(scan.fault("expected a colon"));
        }
        scan.at += 1;
        Ok((key, place))
    }

    /// Notes a key without a slot; an error if it stood in its object before.
    fn stranger(&mut self, text: &str, here: &mut Open, name: Name, key: u32) -> Result<(), Fault> {
        let nodes = &self.nodes;
        let same = |other: u32| means(text, nodes[other as usize], &plain_key(text, nodes[key as usize]));
        let known = &self.strangers[here.strangers as usize..];
        if known.len() < FEW {
            if known.iter().any(|other| other.name == name && (name.is_whole() || same(other.key))) {
                return Err(Fault::DuplicateKey);
            }
            self.strangers.push(Stranger { name, key });
            return Ok(());
        }
        let hash = |key: u32| key_hash(plain_key(text, nodes[key as usize]).as_bytes());
        if !here.many {
            here.many = true;
            for other in known {
                self.members.enter(here.node, hash(other.key), other.key, |_| false)?;
            }
        }
        self.members.enter(here.node, hash(key), key, same)
    }

    /// A scalar, or the opening bracket of a container.
    #[inline(always)]
    fn value(&mut self, scan: &mut Scan<'_>, parent: u32) -> Result<Kind, JsonError> {
        scan.space();
        let start = scan.at;
        let kind = match scan.peek() {
            Some(b'"') => {
                let (from, to, escaped) = scan.string()?;
                self.push(from, to, parent, Kind::Text, escaped);
                return Ok(Kind::Text);
            }
            Some(b'{') => {
                scan.at += 1;
                Kind::Object
            }
            Some(b'[') => {
                scan.at += 1;
                Kind::Array
            }
            Some(b'-' | b'0'..=b'9') => {
                scan.number()?;
                Kind::Number
            }
            Some(b't') => scan.word(b"true", Kind::True)?,
            Some(b'f') => scan.word(b"false", Kind::False)?,
            Some(b'n') => scan.word(b"null", Kind::Null)?,
            Some(_) => return Err(scan.fault("expected a value")),
            None => return Err(scan.fault("the text ends too early")),
        };
        self.push(start, scan.at, parent, kind, false);
        Ok(kind)
    }

    #[inline(always)]
    fn begin(&mut self, node: u32, kind: Kind, place: u32, layout: &Layout) -> Open {
        let mut open = Open { node, first: true, strangers: number(self.strangers.len()), ..OUTSIDE };
        if kind == Kind::Array {
            return Open { close: b']', place: layout.items(place), ..open };
        }
        open.slots = number(self.slots.len());
        let width = layout.width(place);
        match EMPTY.get(..width) {
            Some(empty) => self.slots.extend_from_slice(empty),
            None => self.slots.resize(self.slots.len() + width, 0),
        }
        let here = &mut self.nodes[node as usize];
        // An object without slots is nowhere: no path has its keys.
        (here.slots, here.place) = (open.slots, if width == 0 { NOWHERE } else { place });
        Open { close: b'}', place, ..open }
    }

    #[inline(always)]
    fn close(&mut self, end: usize, here: Open) {
        self.strangers.truncate(here.strangers as usize);
        let next = number(self.nodes.len());
        let node = &mut self.nodes[here.node as usize];
        (node.end, node.next) = (number(end), next);
        if next == here.node + 1 {
            node.mark = Mark::Unread;
        }
        let parent = node.parent;
        let above = &mut self.nodes[parent as usize];
        if above.kind == Kind::Key {
            above.next = next;
        }
    }

    #[inline(always)]
    fn push(&mut self, start: usize, end: usize, parent: u32, kind: Kind, escaped: bool) {
        let index = number(self.nodes.len());
        let (start, end) = (number(start), number(end));
        let (next, mark) = match kind {
            // Behind its value. Of a container both are set again when it closes.
            Kind::Key => (index + 2, Mark::Inner),
            Kind::Object | Kind::Array => (index + 1, Mark::Inner),
            _ => (index + 1, Mark::Unread),
        };
        self.nodes.push(Node { start, end, next, parent, slots: 0, place: NOWHERE, kind, escaped, mark });
    }
}

/// The slot of a key: the node of its value, or 0. `None`: the object stands at another place than the key's path.
#[inline(always)]
pub(crate) fn slot(nodes: &[Node], slots: &[u32], object: u32, key: &Key) -> Option<u32> {
    let here = nodes.get(object as usize)?;
    (here.place == key.place).then(|| slots.get((here.slots + key.slot) as usize).copied().unwrap_or(0))
}

/// The value of a member of an object, found in its slots or else by comparing keys.
#[inline(always)]
pub(crate) fn member(nodes: &[Node], slots: &[u32], text: &str, object: u32, key: &Key) -> Option<u32> {
    if let Some(value) = slot(nodes, slots, object, key) {
        return (value != 0).then_some(value);
    }
    search(nodes, text, object, &key.text)
}

#[cold]
fn search(nodes: &[Node], text: &str, object: u32, word: &str) -> Option<u32> {
    let end = nodes[object as usize].next;
    let mut key = object + 1;
    while key < end {
        let node = nodes[key as usize];
        if means(text, node, word) {
            return Some(key + 1);
        }
        key = node.next;
    }
    None
}

/// Whether the meaning of a key, text, number or word is `word`.
pub(crate) fn means(text: &str, node: Node, word: &str) -> bool {
    let raw = span(text, node);
    if !node.escaped {
        return raw == word;
    }
    let mut rest = Some(word);
    scan::pieces(raw, |piece| rest = rest.and_then(|rest| rest.strip_prefix(piece)));
    rest == Some("")
}

/// A key's meaning.
fn plain_key(text: &str, node: Node) -> Cow<'_, str> {
    let raw = span(text, node);
    if !node.escaped {
        return Cow::Borrowed(raw);
    }
    let mut plain = String::new();
    unescape(raw, &mut plain);
    Cow::Owned(plain)
}

/// The text between the quotes, or of the number or word.
#[inline]
pub(crate) fn span(text: &str, node: Node) -> &str {
    text.get(node.start as usize..node.end as usize).unwrap_or_default()
}

/// A position or count: the length of a text is checked at the start of `parse`, and a tape has no more nodes than that.
#[inline(always)]
#[allow(clippy::cast_possible_truncation)]
fn number(number: usize) -> u32 {
    number as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(bytes: &[u8]) -> Result<&str, JsonError> {
        Tape::default().parse(bytes, &Layout::default())
    }

    fn fault(text: &str) -> Fault {
        parse(text.as_bytes()).unwrap_err().fault
    }

    #[test]
    fn spans_and_next_indexes_describe_the_tree() {
        let text = r#"{"a": [1, "x\n"], "b": null}"#;
        let mut tape = Tape::default();
        tape.parse(text.as_bytes(), &Layout::default()).unwrap();
        let kinds: Vec<(Kind, &str, u32)> =
            tape.nodes.iter().map(|node| (node.kind, span(text, *node), node.next)).collect();
        assert_eq!(kinds[0], (Kind::Object, text, 7));
        assert_eq!(kinds[2], (Kind::Array, r#"[1, "x\n"]"#, 5));
        assert_eq!(kinds[4], (Kind::Text, r"x\n", 5));
        assert_eq!(kinds[6], (Kind::Null, "null", 7));
    }

    #[test]
    fn duplicate_keys_are_found_however_they_are_written_and_however_many_there_are() {
        assert_eq!(fault(r#"{"a":1,"b":2,"a":3}"#), Fault::DuplicateKey);
        assert_eq!(fault(r#"{"a":1,"\u0061":3}"#), Fault::DuplicateKey);
        let many: Vec<String> = (0..500).map(|n| format!("\"key{n}\":{n}")).collect();
        assert!(parse(format!("{{{}}}", many.join(",")).as_bytes()).is_ok());
        assert_eq!(fault(&format!("{{{},\"key7\":0}}", many.join(","))), Fault::DuplicateKey);
    }

    #[test]
    fn decisions_on_depth_surrogates_nul_and_controls() {
        let deep = |n: usize| format!("{}{}", "[".repeat(n), "]".repeat(n));
        assert!(parse(deep(MAX_DEPTH).as_bytes()).is_ok());
        assert_eq!(fault(&deep(MAX_DEPTH + 1)), Fault::TooDeep);
        for text in [r#""\ud800""#, r#""\udc00""#, r#""\ud800\u0041""#, "\"\u{1}\"", "01", "1.", "[1,]", "", "nul"] {
            assert!(matches!(fault(text), Fault::Syntax(_)), "{text}");
        }
        let mut out = String::new();
        unescape(r"a\u0000\ud83d\ude00\/\u00e9", &mut out);
        assert_eq!(out, "a\0😀/é");
        assert!(matches!(parse(b"\"\xff\"").unwrap_err(), JsonError { fault: Fault::Utf8, at: 1 }));
    }
}
