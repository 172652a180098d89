//! JSON text → a flat tape of nodes with spans into the text; nothing is copied, numbers keep their text.
//!
//! Strict RFC 8259, UTF-8 only. Written decisions: a duplicate key is an error (which of the two was meant cannot be
//! known), a lone surrogate escape is an error (it has no UTF-8 form and must not vanish), nesting deeper than
//! [`MAX_DEPTH`] is an error, `\u0000` is a legal character, numbers may be of any length.

use std::fmt;

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
    pub(crate) kind: Kind,
    /// The span has escapes: [`unescape`] it before use.
    pub(crate) escaped: bool,
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
    nodes: Vec<Node>,
    /// Containers that are not closed yet.
    open: Vec<u32>,
    /// Of the next node.
    parent: u32,
    members: Members,
    plain: String,
}

impl Tape {
    pub(crate) fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// Checks `bytes` from end to end. Node 0 is the root.
    pub(crate) fn parse<'t>(&mut self, bytes: &'t [u8]) -> Result<&'t str, JsonError> {
        self.nodes.clear();
        self.open.clear();
        self.members.clear();
        self.parent = 0;
        let text =
            std::str::from_utf8(bytes).map_err(|error| JsonError { fault: Fault::Utf8, at: error.valid_up_to() })?;
        if u32::try_from(bytes.len()).is_err() {
            return Err(JsonError { fault: Fault::Syntax("longer than 4 GiB"), at: 0 });
        }
        let mut scan = Scan { bytes, at: 0 };
        self.value(&mut scan)?;
        while let Some(container) = self.open.last().copied() {
            self.parent = container;
            scan.space();
            let is_object = self.nodes[container as usize].kind == Kind::Object;
            let first = self.nodes.len() == container as usize + 1;
            match scan.peek() {
                Some(b'}') if is_object => self.close(&mut scan),
                Some(b']') if !is_object => self.close(&mut scan),
                Some(b',') if !first => {
                    scan.at += 1;
                    self.item(&mut scan, text, is_object.then_some(container))?;
                }
                Some(_) if first => self.item(&mut scan, text, is_object.then_some(container))?,
                Some(_) => return Err(scan.fault("expected a comma or the end of the list or object")),
                None => return Err(scan.fault("the text ends too early")),
            }
        }
        scan.space();
        if scan.at < bytes.len() {
            return Err(scan.fault("something follows the value"));
        }
        Ok(text)
    }

    /// The next value of a list, or the next key and value of an object.
    fn item(&mut self, scan: &mut Scan<'_>, text: &str, object: Option<u32>) -> Result<(), JsonError> {
        scan.space();
        if let Some(object) = object {
            if scan.peek() != Some(b'"') {
                return Err(scan.fault("expected a key in quotes"));
            }
            let start = scan.at;
            let (from, to, escaped) = scan.string()?;
            let key = self.push(from, to, Kind::Key, escaped);
            self.note_key(text, object, key).map_err(|fault| JsonError { fault, at: start })?;
            scan.space();
            if scan.peek() != Some(b':') {
                return Err(scan.fault("expected a colon"));
            }
            scan.at += 1;
            self.parent = key;
            self.value(scan)?;
            // Of a container this is set again when it closes.
            self.nodes[key as usize].next = cast(self.nodes.len());
            return Ok(());
        }
        self.value(scan)
    }

    fn value(&mut self, scan: &mut Scan<'_>) -> Result<(), JsonError> {
        scan.space();
        let start = scan.at;
        match scan.peek() {
            Some(b'"') => {
                let (from, to, escaped) = scan.string()?;
                self.push(from, to, Kind::Text, escaped);
            }
            Some(b'{') => self.enter(scan, Kind::Object)?,
            Some(b'[') => self.enter(scan, Kind::Array)?,
            Some(b'-' | b'0'..=b'9') => {
                scan.number()?;
                self.push(start, scan.at, Kind::Number, false);
            }
            Some(b't') => self.word(scan, b"true", Kind::True)?,
            Some(b'f') => self.word(scan, b"false", Kind::False)?,
            Some(b'n') => self.word(scan, b"null", Kind::Null)?,
            Some(_) => return Err(scan.fault("expected a value")),
            None => return Err(scan.fault("the text ends too early")),
        }
        Ok(())
    }

    fn word(&mut self, scan: &mut Scan<'_>, word: &'static [u8], kind: Kind) -> Result<(), JsonError> {
        let start = scan.at;
        if scan.bytes[start..].starts_with(word) {
            scan.at += word.len();
            self.push(start, scan.at, kind, false);
            Ok(())
        } else {
            Err(scan.fault("expected a value"))
        }
    }

    fn enter(&mut self, scan: &mut Scan<'_>, kind: Kind) -> Result<(), JsonError> {
        if self.open.len() == MAX_DEPTH {
            return Err(JsonError { fault: Fault::TooDeep, at: scan.at });
        }
        let node = self.push(scan.at, scan.at, kind, false);
        self.open.push(node);
        scan.at += 1;
        Ok(())
    }

    fn close(&mut self, scan: &mut Scan<'_>) {
        scan.at += 1;
        let Some(open) = self.open.pop() else { return };
        let next = cast(self.nodes.len());
        let node = &mut self.nodes[open as usize];
        node.end = cast(scan.at);
        node.next = next;
        let parent = node.parent;
        if open > 0 && self.nodes[parent as usize].kind == Kind::Key {
            self.nodes[parent as usize].next = next;
        }
    }

    fn push(&mut self, start: usize, end: usize, kind: Kind, escaped: bool) -> u32 {
        let index = cast(self.nodes.len());
        let parent = self.parent;
        self.nodes.push(Node { start: cast(start), end: cast(end), next: index + 1, parent, kind, escaped });
        index
    }

    /// Enters a key of `object`; an error if it stood there before.
    fn note_key(&mut self, text: &str, object: u32, key: u32) -> Result<(), Fault> {
        let node = self.nodes[key as usize];
        let mut plain = std::mem::take(&mut self.plain);
        plain.clear();
        let word = if node.escaped {
            unescape(span(text, node), &mut plain);
            plain.as_str()
        } else {
            span(text, node)
        };
        let hash = key_hash(word.as_bytes());
        let nodes = &self.nodes;
        let found = self.members.enter(object, hash, key, |other| is_key(text, nodes[other as usize], word));
        self.plain = plain;
        found
    }

    /// The value of a member.
    pub(crate) fn member(&self, text: &str, object: u32, key: &str, hash: u32) -> Option<u32> {
        let found = self.members.find(object, hash, |other| is_key(text, self.nodes[other as usize], key));
        found.map(|key| key + 1)
    }
}

/// Whether a key's meaning is `word`.
fn is_key(text: &str, node: Node, word: &str) -> bool {
    if node.escaped {
        let mut plain = String::new();
        unescape(span(text, node), &mut plain);
        return plain == word;
    }
    text.as_bytes().get(node.start as usize..node.end as usize) == Some(word.as_bytes())
}

/// All keys of a payload by object and hash: open addressing, reused without clearing.
#[derive(Default)]
struct Members {
    slots: Vec<Slot>,
    used: usize,
    /// Slots of other payloads are free.
    payload: u32,
}

#[derive(Debug, Clone, Copy, Default)]
struct Slot {
    payload: u32,
    object: u32,
    hash: u32,
    key: u32,
}

/// A longer search means keys that were made to collide.
const MAX_PROBES: usize = 256;

impl Members {
    fn clear(&mut self) {
        self.used = 0;
        self.payload = self.payload.wrapping_add(1);
        if self.payload == 0 || self.slots.is_empty() {
            self.slots.clear();
            self.slots.resize(256, Slot::default());
            self.payload = 1;
        }
    }

    /// Positions to look at, one after the other.
    fn probe(&self, object: u32, hash: u32) -> impl Iterator<Item = usize> + use<> {
        let mask = self.slots.len() - 1;
        let start = (hash ^ object.wrapping_mul(0x9e37_79b1)) as usize;
        (0..MAX_PROBES).map(move |step| start.wrapping_add(step) & mask)
    }

    fn find(&self, object: u32, hash: u32, same: impl Fn(u32) -> bool) -> Option<u32> {
        for position in self.probe(object, hash) {
            let slot = self.slots[position];
            if slot.payload != self.payload {
                return None;
            }
            if slot.object == object && slot.hash == hash && same(slot.key) {
                return Some(slot.key);
            }
        }
        None
    }

    fn enter(&mut self, object: u32, hash: u32, key: u32, same: impl Fn(u32) -> bool) -> Result<(), Fault> {
        if (self.used + 1) * 2 > self.slots.len() {
            self.grow()?;
        }
        for position in self.probe(object, hash) {
            let slot = self.slots[position];
            if slot.payload != self.payload {
                self.slots[position] = Slot { payload: self.payload, object, hash, key };
                self.used += 1;
                return Ok(());
            }
            if slot.object == object && slot.hash == hash && same(slot.key) {
                return Err(Fault::DuplicateKey);
            }
        }
        Err(ALIKE)
    }

    fn grow(&mut self) -> Result<(), Fault> {
        let larger = vec![Slot::default(); self.slots.len() * 2];
        let old = std::mem::replace(&mut self.slots, larger);
        for slot in old.into_iter().filter(|slot| slot.payload == self.payload) {
            let free = self.probe(slot.object, slot.hash).find(|at| self.slots[*at].payload != self.payload);
            let Some(free) = free else { return Err(ALIKE) };
            self.slots[free] = slot;
        }
        Ok(())
    }
}

const ALIKE: Fault = Fault::Syntax("too many keys that were made to look alike");

/// The text between the quotes, or of the number or word.
pub(crate) fn span(text: &str, node: Node) -> &str {
    text.get(node.start as usize..node.end as usize).unwrap_or_default()
}

/// Lengths are checked to fit at the start of `parse`; a tape has fewer nodes than its text has bytes.
fn cast(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

/// A hash of all bytes of a key.
pub(crate) fn key_hash(key: &[u8]) -> u32 {
    const SPREAD: u64 = 0x9e37_79b9_7f4a_7c15;
    let mut state = key.len() as u64;
    let tail = if let Some(last) = key.last_chunk::<8>() {
        let (words, _) = key.as_chunks::<8>();
        for word in words {
            state = (state ^ u64::from_le_bytes(*word)).wrapping_mul(SPREAD);
            state ^= state >> 32;
        }
        u64::from_le_bytes(*last)
    } else if let (Some(first), Some(last)) = (key.first_chunk::<4>(), key.last_chunk::<4>()) {
        u64::from(u32::from_le_bytes(*first)) | (u64::from(u32::from_le_bytes(*last)) << 32)
    } else {
        key.iter().fold(0, |tail, byte| (tail << 8) | u64::from(*byte))
    };
    ((state ^ tail).wrapping_mul(SPREAD) >> 32) as u32
}

struct Scan<'t> {
    bytes: &'t [u8],
    at: usize,
}

impl Scan<'_> {
    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    fn fault(&self, what: &'static str) -> JsonError {
        JsonError { fault: Fault::Syntax(what), at: self.at }
    }

    fn space(&mut self) {
        while let Some(b' ' | b'\n' | b'\r' | b'\t') = self.peek() {
            self.at += 1;
        }
    }

    /// From the opening quote to behind the closing one: (from, to, has escapes) of what is between.
    fn string(&mut self) -> Result<(usize, usize, bool), JsonError> {
        self.at += 1;
        let from = self.at;
        let mut escaped = false;
        loop {
            self.plain_run();
            match self.peek() {
                Some(b'"') => {
                    let to = self.at;
                    self.at += 1;
                    return Ok((from, to, escaped));
                }
                Some(b'\\') => {
                    escaped = true;
                    self.escape()?;
                }
                Some(_) => return Err(self.fault("a control character inside a text")),
                None => return Err(self.fault("a text that does not end")),
            }
        }
    }

    /// Skips what needs no look: eight bytes at a time.
    fn plain_run(&mut self) {
        const ONES: u64 = 0x0101_0101_0101_0101;
        const TOPS: u64 = 0x8080_8080_8080_8080;
        while let Some(chunk) = self.bytes.get(self.at..self.at + 8) {
            let mut word = [0_u8; 8];
            word.copy_from_slice(chunk);
            let word = u64::from_le_bytes(word);
            let zero_in = |x: u64| x.wrapping_sub(ONES) & !x & TOPS;
            let control = word.wrapping_sub(ONES * 0x20) & !word & TOPS;
            let stop = control | zero_in(word ^ (ONES * u64::from(b'"'))) | zero_in(word ^ (ONES * u64::from(b'\\')));
            if stop != 0 {
                // The lowest flag is exact; those above it may be echoes of a borrow.
                self.at += stop.trailing_zeros() as usize / 8;
                return;
            }
            self.at += 8;
        }
        while let Some(byte) = self.peek() {
            if byte == b'"' || byte == b'\\' || byte < 0x20 {
                return;
            }
            self.at += 1;
        }
    }

    fn escape(&mut self) -> Result<(), JsonError> {
        self.at += 1;
        match self.peek() {
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => {
                self.at += 1;
                Ok(())
            }
            Some(b'u') => {
                self.at += 1;
                match self.hex4()? {
                    0xD800..=0xDBFF => {
                        if self.bytes.get(self.at..self.at + 2) != Some(b"\\u") {
                            return Err(self.fault("a surrogate without its pair"));
                        }
                        self.at += 2;
                        match self.hex4()? {
                            0xDC00..=0xDFFF => Ok(()),
                            _ => Err(self.fault("a surrogate without its pair")),
                        }
                    }
                    0xDC00..=0xDFFF => Err(self.fault("a surrogate without its pair")),
                    _ => Ok(()),
                }
            }
            _ => Err(self.fault("an escape that JSON does not have")),
        }
    }

    fn hex4(&mut self) -> Result<u32, JsonError> {
        let digits = self.bytes.get(self.at..self.at + 4).unwrap_or_default();
        let mut value = 0;
        for digit in digits {
            let Some(digit) = char::from(*digit).to_digit(16) else {
                return Err(self.fault("\\u needs four hexadecimal digits"));
            };
            value = value * 16 + digit;
        }
        if digits.len() < 4 {
            return Err(self.fault("\\u needs four hexadecimal digits"));
        }
        self.at += 4;
        Ok(value)
    }

    fn number(&mut self) -> Result<(), JsonError> {
        if self.peek() == Some(b'-') {
            self.at += 1;
        }
        match self.peek() {
            Some(b'0') => self.at += 1,
            Some(b'1'..=b'9') => {
                self.digits();
            }
            _ => return Err(self.fault("a number without digits")),
        }
        if self.peek() == Some(b'.') {
            self.at += 1;
            if !self.digits() {
                return Err(self.fault("a number without digits after the point"));
            }
        }
        if let Some(b'e' | b'E') = self.peek() {
            self.at += 1;
            if let Some(b'+' | b'-') = self.peek() {
                self.at += 1;
            }
            if !self.digits() {
                return Err(self.fault("a number without digits in the exponent"));
            }
        }
        Ok(())
    }

    fn digits(&mut self) -> bool {
        let from = self.at;
        while let Some(b'0'..=b'9') = self.peek() {
            self.at += 1;
        }
        self.at > from
    }
}

/// Appends the meaning of a span that `parse` has accepted.
pub(crate) fn unescape(raw: &str, out: &mut String) {
    let mut rest = raw;
    while let Some((plain, escape)) = rest.split_once('\\') {
        out.push_str(plain);
        let mut letters = escape.chars();
        match letters.next() {
            Some('b') => out.push('\u{8}'),
            Some('f') => out.push('\u{c}'),
            Some('n') => out.push('\n'),
            Some('r') => out.push('\r'),
            Some('t') => out.push('\t'),
            Some('u') => {
                let high = take_hex4(&mut letters);
                let code = if (0xD800..0xDC00).contains(&high) {
                    letters.next();
                    letters.next();
                    0x10000 + ((high - 0xD800) << 10) + (take_hex4(&mut letters).wrapping_sub(0xDC00) & 0x3FF)
                } else {
                    high
                };
                out.push(char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER));
            }
            Some(other) => out.push(other),
            None => {}
        }
        rest = letters.as_str();
    }
    out.push_str(rest);
}

fn take_hex4(letters: &mut std::str::Chars<'_>) -> u32 {
    letters.by_ref().take(4).fold(0, |value, digit| value * 16 + digit.to_digit(16).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(text: &str) -> Fault {
        Tape::default().parse(text.as_bytes()).unwrap_err().fault
    }

    #[test]
    fn spans_and_next_indexes_describe_the_tree() {
        let text = r#"{"a": [1, "x\n"], "b": null}"#;
        let mut tape = Tape::default();
        tape.parse(text.as_bytes()).unwrap();
        let kinds: Vec<(Kind, &str, u32)> =
            tape.nodes().iter().map(|node| (node.kind, span(text, *node), node.next)).collect();
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
        assert!(Tape::default().parse(format!("{{{}}}", many.join(",")).as_bytes()).is_ok());
        assert_eq!(fault(&format!("{{{},\"key7\":0}}", many.join(","))), Fault::DuplicateKey);
    }

    #[test]
    fn decisions_on_depth_surrogates_nul_and_controls() {
        let deep = |n: usize| format!("{}{}", "[".repeat(n), "]".repeat(n));
        assert!(Tape::default().parse(deep(MAX_DEPTH).as_bytes()).is_ok());
        assert_eq!(fault(&deep(MAX_DEPTH + 1)), Fault::TooDeep);
        for text in [r#""\ud800""#, r#""\udc00""#, r#""\ud800\u0041""#, "\"\u{1}\"", "01", "1.", "[1,]", "", "nul"] {
            assert!(matches!(fault(text), Fault::Syntax(_)), "{text}");
        }
        let mut out = String::new();
        unescape(r"a\u0000\ud83d\ude00\/\u00e9", &mut out);
        assert_eq!(out, "a\0😀/é");
        assert!(matches!(Tape::default().parse(b"\"\xff\"").unwrap_err(), JsonError { fault: Fault::Utf8, at: 1 }));
    }
}
