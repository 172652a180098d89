//! JSON text → a flat tape of nodes with spans into the text; nothing is copied, numbers keep their text.
//!
//! Strict RFC 8259, UTF-8 only. Written decisions: a duplicate key is an error (which of the two was meant cannot be
//! known), a lone surrogate escape is an error (it has no UTF-8 form and must not vanish), nesting deeper than
//! [`MAX_DEPTH`] is an error, `\u0000` is a legal character, numbers may be of any length.

mod habits;
mod members;
mod node;
mod scan;
mod validate;

use std::fmt;

use crate::fact::Mark;
use crate::layout::{Layout, NOWHERE, Name, ROOT};
use habits::{Habits, Member, Turn};
use members::{Members, key_hash};
pub(crate) use node::{Kind, Node, Word, letters, means, member, plain, slot, span};
use scan::Scan;
pub(crate) use scan::unescape;
pub(crate) use validate::validate;

/// Containers inside containers: the same limit as `serde_json`.
pub(crate) const MAX_DEPTH: usize = 127;

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
    /// By the number of the layout.
    habits: Vec<(u64, Habits)>,
    members: Members,
    plain: String,
    /// Texts, numbers, words, and empty lists and objects.
    pub(crate) leaves: usize,
}

/// A container that is not closed yet.
#[derive(Debug, Clone, Copy)]
struct Open {
    node: u32,
    slots: u32,
    /// Of an object: its own. Of a list: that of its items.
    place: u32,
    /// Which key is expected next.
    turn: Turn,
    /// A bit for each key so far that no path names.
    seen: u64,
    /// Keys so far whose bit was seen before them. With more than [`FEW`] all keys are in the hash table.
    alike: u32,
    /// The byte that ends it.
    close: u8,
    /// Nothing has been read of it.
    first: bool,
    /// It has a key with escapes.
    escaped: bool,
}

const OUTSIDE: Open = Open {
    node: 0,
    slots: 0,
    place: NOWHERE,
    turn: Turn::START,
    seen: 0,
    alike: 0,
    close: 0,
    first: false,
    escaped: false,
};

/// Slots of an object before its first key.
const EMPTY: [u32; 64] = [0; 64];

/// So many keys of one object are compared with all before them.
const FEW: u32 = 16;

/// Layouts whose habits are kept.
const LAYOUTS: usize = 64;

impl Tape {
    /// Checks `bytes` from end to end. Node 0 is the root.
    pub(crate) fn parse<'t>(&mut self, bytes: &'t [u8], layout: &Layout) -> Result<&'t str, JsonError> {
        let number = layout.number();
        let known = self.habits.iter().position(|(of, _)| *of == number);
        let known = known.unwrap_or_else(|| {
            if self.habits.len() == LAYOUTS {
                self.habits.clear();
            }
            self.habits.push((number, Habits::default()));
            self.habits.len() - 1
        });
        let mut habits = std::mem::take(&mut self.habits[known].1);
        let result = self.read(bytes, layout, &mut habits);
        self.habits[known].1 = habits;
        result
    }

    /// What it calls for every token is inlined, so that position and results stay in registers.
    fn read<'t>(&mut self, bytes: &'t [u8], layout: &Layout, habits: &mut Habits) -> Result<&'t str, JsonError> {
        self.nodes.clear();
        self.slots.clear();
        self.open.clear();
        self.members.clear();
        self.leaves = 0;
        let text =
            std::str::from_utf8(bytes).map_err(|error| JsonError { fault: Fault::Utf8, at: error.valid_up_to() })?;
        if u32::try_from(bytes.len()).is_err() {
            return Err(JsonError { fault: Fault::Syntax("longer than 4 GiB"), at: 0 });
        }
        let mut scan = Scan { bytes, at: 0 };
        let (mut here, mut key, mut place) = (OUTSIDE, Word::NONE, ROOT);
        'values: loop {
            let node = number(self.nodes.len());
            let kind = self.value(&mut scan, here.node, key)?;
            if let Kind::Object | Kind::Array = kind {
                if self.open.len() == MAX_DEPTH {
                    return Err(JsonError { fault: Fault::TooDeep, at: scan.at - 1 });
                }
                self.open.push(here);
                here = self.begin(node, kind, place, habits.inside(here.turn), layout);
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
                (key, place) = if here.close == b'}' {
                    scan.space();
                    let at = scan.at;
                    let (key, member) = match self.expected(&mut scan, &mut here, habits) {
                        Some(found) => found,
                        None => self.unexpected(&mut scan, text, layout, &mut here, habits)?,
                    };
                    self.enter(text, &mut here, key, member).map_err(|fault| JsonError { fault, at })?;
                    (key, member.place)
                } else {
                    (Word::NONE, here.place)
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

    /// A key and its colon, if it is the one that is expected.
    #[inline(always)]
    fn expected(&self, scan: &mut Scan<'_>, here: &mut Open, habits: &Habits) -> Option<(Word, Member)> {
        let front = scan.bytes.get(scan.at..)?;
        let (habit, turn) = habits.expected(here.turn, here.place, front)?;
        let start = scan.at;
        (scan.at, here.turn) = (start + habit.length as usize, turn);
        Some((Word { start: number(start + 1), end: number(scan.at - 2) }, habit.member))
    }

    /// Notes where the value of a key is about to stand; an error if the key stood in its object before.
    #[inline(always)]
    fn enter(&mut self, text: &str, here: &mut Open, key: Word, member: Member) -> Result<(), Fault> {
        let value = number(self.nodes.len());
        match member.slot.and_then(|slot| self.slots.get_mut((here.slots + slot) as usize)) {
            Some(slot) if *slot == 0 => *slot = value,
            Some(_) => return Err(Fault::DuplicateKey),
            None if here.seen >> member.bit & 1 == 0 => here.seen |= 1 << member.bit,
            None => return self.alike(text, here, key),
        }
        Ok(())
    }

    /// A key and its colon, read letter by letter.
    #[inline(never)]
    fn unexpected(
        &mut self,
        scan: &mut Scan<'_>,
        text: &str,
        layout: &Layout,
        here: &mut Open,
        habits: &mut Habits,
    ) -> Result<(Word, Member), JsonError> {
        if scan.peek() != Some(b'"') {
            return Err(scan.fault("expected a key in quotes"));
        }
        let (from, to, escaped) = scan.string()?;
        let key = Word { start: number(from), end: number(to) };
        let plain = plain(text, key, &mut self.plain).as_bytes();
        let name = Name::new(plain);
        let (slot, place) = layout.member(here.place, name, plain);
        let member = Member { slot, place, bit: name.hash() >> 26 };
        if escaped {
            here.escaped = true;
        } else {
            here.turn = habits.learn(here.turn, here.place, plain, member);
        }
        scan.space();
        if scan.peek() != Some(b':') {
            return Err(scan.fault("expected a colon"));
        }
        scan.at += 1;
        Ok((key, member))
    }

    /// A key that no path names and whose bit was seen before: an error if it stood in its object.
    #[inline(never)]
    fn alike(&mut self, text: &str, here: &mut Open, key: Word) -> Result<(), Fault> {
        let nodes = &self.nodes;
        let key_of = |value: u32| nodes.get(value as usize).and_then(Node::key);
        let plain = plain(text, key, &mut self.plain);
        let (length, escaped) = (number(plain.len()), here.escaped);
        let same = |word: Word| (escaped || word.end - word.start == length) && means(text, word, plain);
        let before = std::iter::successors(Some(here.node + 1), |value| Some(nodes.get(*value as usize)?.next))
            .map_while(|value| Some((value, key_of(value)?)));
        here.alike += 1;
        if here.alike <= FEW {
            return if { before }.any(|(_, word)| same(word)) { Err(Fault::DuplicateKey) } else { Ok(()) };
        }
        if here.alike == FEW + 1 {
            for (value, word) in before {
                let mut other = String::new();
                let hash = key_hash(self::plain(text, word, &mut other).as_bytes());
                self.members.enter(here.node, hash, value, |_| false)?;
            }
            // All that follow come here.
            here.seen = u64::MAX;
        }
        let value = number(nodes.len());
        self.members.enter(here.node, key_hash(plain.as_bytes()), value, |other| key_of(other).is_some_and(same))
    }

    /// A scalar, or the opening bracket of a container.
    #[inline(always)]
    fn value(&mut self, scan: &mut Scan<'_>, parent: u32, key: Word) -> Result<Kind, JsonError> {
        scan.space();
        let start = scan.at;
        let kind = match scan.peek() {
            Some(b'"') => {
                let (from, to, escaped) = scan.string()?;
                self.push(from, to, parent, key, Kind::Text, escaped);
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
        self.push(start, scan.at, parent, key, kind, false);
        Ok(kind)
    }

    #[inline(always)]
    fn begin(&mut self, node: u32, kind: Kind, place: u32, turn: Turn, layout: &Layout) -> Open {
        let mut open = Open { node, turn, first: true, ..OUTSIDE };
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
        let next = number(self.nodes.len());
        let node = &mut self.nodes[here.node as usize];
        (node.end, node.next) = (number(end), next);
        if next == here.node + 1 {
            node.mark = Mark::Unread;
            self.leaves += 1;
        }
    }

    #[inline(always)]
    fn push(&mut self, start: usize, end: usize, parent: u32, key: Word, kind: Kind, escaped: bool) {
        // Of a container both are set again when it closes.
        let (end, next) = (number(end), number(self.nodes.len()) + 1);
        let mark = match kind {
            Kind::Object | Kind::Array => Mark::Inner,
            Kind::Text | Kind::Number | Kind::True | Kind::False | Kind::Null => {
                self.leaves += 1;
                Mark::Unread
            }
        };
        let (start, slots, place) = (number(start), 0, NOWHERE);
        self.nodes.push(Node { start, end, next, parent, key, slots, place, kind, escaped, mark });
    }
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
        let text = r#"{"a": [1, "x\n"], "b": null, "c": [], "d": {}}"#;
        let mut tape = Tape::default();
        tape.parse(text.as_bytes(), &Layout::default()).unwrap();
        let kinds: Vec<(Kind, &str, u32)> =
            tape.nodes.iter().map(|node| (node.kind, span(text, *node), node.next)).collect();
        assert_eq!(kinds[0], (Kind::Object, text, 7));
        assert_eq!(kinds[1], (Kind::Array, r#"[1, "x\n"]"#, 4));
        assert_eq!(kinds[3], (Kind::Text, r"x\n", 4));
        assert_eq!(kinds[4], (Kind::Null, "null", 5));
        let keys = tape.nodes.iter().map(|node| node.key().map(|key| letters(text, key)));
        assert_eq!(keys.collect::<Vec<_>>(), [None, Some("a"), None, None, Some("b"), Some("c"), Some("d")]);
        assert_eq!(tape.leaves, 5);
    }

    #[test]
    fn duplicate_keys_are_found_however_they_are_written_and_however_many_and_expected_they_are() {
        let many = |count| (0..count).map(|n| format!("\"key{n}\":{n}")).collect::<Vec<_>>().join(",");
        // As many as one object's bits can tell apart, and as many as need the hash table; one tape has read all before.
        let mut tape = Tape::default();
        let again = (0..500).map(|n| (format!("{{{},\"key{n}\":0}}", many(500)), false));
        let texts = [
            (r#"{"a":1,"b":2,"a":3}"#.to_owned(), false),
            (r#"{"a":1,"\u0061":3}"#.to_owned(), false),
            (r#"{"\u0061":1,"a":3}"#.to_owned(), false),
            (format!("{{{}}}", many(40)), true),
            (format!("{{{},\"key7\":0}}", many(40)), false),
            (format!("{{{},\"k\\u0065y7\":0}}", many(40)), false),
            (format!("{{{}}}", many(500)), true),
        ];
        for (text, good) in texts.into_iter().chain(again) {
            for _ in 0..3 {
                let outcome = tape.parse(text.as_bytes(), &Layout::default());
                assert_eq!(outcome.is_ok(), good, "{text}");
                assert!(outcome.err().is_none_or(|error| error.fault == Fault::DuplicateKey));
            }
        }
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
