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
    /// Of a key: [`key_hash`] of its meaning.
    pub(crate) hash: u32,
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

/// A container that is not closed yet.
struct Open {
    node: u32,
    keys: u32,
    /// One bit per key hash: a new bit proves a new key.
    seen: u64,
}

/// Reused from payload to payload.
#[derive(Default)]
pub(crate) struct Tape {
    nodes: Vec<Node>,
    open: Vec<Open>,
    /// Of objects with many keys: (hash, node), to find duplicates by sorting.
    hashes: Vec<(u32, u32)>,
    left: String,
    right: String,
}

/// Beyond this many keys an object is checked for duplicates once, when it closes.
const MANY_KEYS: u32 = 64;

impl Tape {
    pub(crate) fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// Checks `bytes` from end to end. Node 0 is the root.
    pub(crate) fn parse<'t>(&mut self, bytes: &'t [u8]) -> Result<&'t str, JsonError> {
        self.nodes.clear();
        self.open.clear();
        let text =
            std::str::from_utf8(bytes).map_err(|error| JsonError { fault: Fault::Utf8, at: error.valid_up_to() })?;
        if u32::try_from(bytes.len()).is_err() {
            return Err(JsonError { fault: Fault::Syntax("longer than 4 GiB"), at: 0 });
        }
        let mut scan = Scan { bytes, at: 0 };
        self.value(&mut scan)?;
        while let Some(open) = self.open.last() {
            let container = open.node;
            scan.space();
            let is_object = self.nodes[container as usize].kind == Kind::Object;
            let first = self.nodes.len() == container as usize + 1;
            match scan.peek() {
                Some(b'}') if is_object => self.close(&mut scan, text)?,
                Some(b']') if !is_object => self.close(&mut scan, text)?,
                Some(b',') if !first => {
                    scan.at += 1;
                    self.member(&mut scan, text, is_object)?;
                }
                Some(_) if first => self.member(&mut scan, text, is_object)?,
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

    fn member(&mut self, scan: &mut Scan<'_>, text: &str, is_object: bool) -> Result<(), JsonError> {
        scan.space();
        if is_object {
            if scan.peek() != Some(b'"') {
                return Err(scan.fault("expected a key in quotes"));
            }
            let start = scan.at;
            let (from, to, escaped) = scan.string()?;
            let index = self.push(from, to, Kind::Key, escaped);
            self.note_key(text, index).map_err(|()| JsonError { fault: Fault::DuplicateKey, at: start })?;
            scan.space();
            if scan.peek() != Some(b':') {
                return Err(scan.fault("expected a colon"));
            }
            scan.at += 1;
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
        self.open.push(Open { node, keys: 0, seen: 0 });
        scan.at += 1;
        Ok(())
    }

    fn close(&mut self, scan: &mut Scan<'_>, text: &str) -> Result<(), JsonError> {
        scan.at += 1;
        let Some(open) = self.open.pop() else { return Ok(()) };
        if open.keys > MANY_KEYS && self.has_duplicate(open.node, text) {
            return Err(JsonError { fault: Fault::DuplicateKey, at: self.nodes[open.node as usize].start as usize });
        }
        let next = cast(self.nodes.len());
        let node = &mut self.nodes[open.node as usize];
        node.end = cast(scan.at);
        node.next = next;
        self.link_key(open.node, next);
        Ok(())
    }

    fn push(&mut self, start: usize, end: usize, kind: Kind, escaped: bool) -> u32 {
        let index = cast(self.nodes.len());
        self.nodes.push(Node { start: cast(start), end: cast(end), next: index + 1, hash: 0, kind, escaped });
        self.link_key(index, index + 1);
        index
    }

    /// The key in front of a value points behind that value.
    fn link_key(&mut self, value: u32, next: u32) {
        if let Some(key) = (value as usize).checked_sub(1).and_then(|before| self.nodes.get_mut(before))
            && key.kind == Kind::Key
        {
            key.next = next;
        }
    }

    /// Counts a key of the innermost object; `Err` if it stood there before.
    fn note_key(&mut self, text: &str, index: u32) -> Result<(), ()> {
        let hash = self.hash_of(text, index);
        self.nodes[index as usize].hash = hash;
        let Some(open) = self.open.last_mut() else { return Ok(()) };
        open.keys += 1;
        let bit = 1_u64 << (hash >> 26);
        let maybe_known = open.seen & bit != 0;
        open.seen |= bit;
        if !maybe_known || open.keys > MANY_KEYS {
            return Ok(());
        }
        let mut other = open.node + 1;
        while other < index {
            let known = self.nodes[other as usize];
            if known.hash == hash && self.same_key(text, other, index) {
                return Err(());
            }
            other = known.next;
        }
        Ok(())
    }

    fn has_duplicate(&mut self, object: u32, text: &str) -> bool {
        let mut hashes = std::mem::take(&mut self.hashes);
        hashes.clear();
        let mut key = object + 1;
        while (key as usize) < self.nodes.len() {
            hashes.push((self.nodes[key as usize].hash, key));
            key = self.nodes[key as usize].next;
        }
        hashes.sort_unstable();
        let mut found = false;
        for run in hashes.chunk_by(|left, right| left.0 == right.0).filter(|run| run.len() > 1) {
            // Keys with one hash are compared by their texts.
            let mut texts: Vec<String> = run.iter().map(|(_, key)| self.plain(text, *key)).collect();
            texts.sort_unstable();
            found |= texts.windows(2).any(|pair| pair[0] == pair[1]);
        }
        self.hashes = hashes;
        found
    }

    fn hash_of(&mut self, text: &str, index: u32) -> u32 {
        let node = self.nodes[index as usize];
        if node.escaped {
            self.left.clear();
            unescape(span(text, node), &mut self.left);
            key_hash(self.left.as_bytes())
        } else {
            key_hash(span(text, node).as_bytes())
        }
    }

    fn plain(&self, text: &str, index: u32) -> String {
        let mut out = String::new();
        unescape(span(text, self.nodes[index as usize]), &mut out);
        out
    }

    fn same_key(&mut self, text: &str, left: u32, right: u32) -> bool {
        let (left, right) = (self.nodes[left as usize], self.nodes[right as usize]);
        if !left.escaped && !right.escaped {
            return span(text, left) == span(text, right);
        }
        self.left.clear();
        self.right.clear();
        unescape(span(text, left), &mut self.left);
        unescape(span(text, right), &mut self.right);
        self.left == self.right
    }
}

/// The text between the quotes, or of the number or word.
pub(crate) fn span(text: &str, node: Node) -> &str {
    text.get(node.start as usize..node.end as usize).unwrap_or_default()
}

/// Lengths are checked to fit at the start of `parse`; a tape has fewer nodes than its text has bytes.
fn cast(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

/// A hash of a key by its length and both ends: keys of one object seldom agree in all three. The top bits count most.
pub(crate) fn key_hash(key: &[u8]) -> u32 {
    let word = |bytes: &[u8]| bytes.iter().fold(0_u64, |word, byte| (word << 8) | u64::from(*byte));
    let ends = match (key.first_chunk::<8>(), key.last_chunk::<8>()) {
        (Some(first), Some(last)) => u64::from_le_bytes(*first) ^ u64::from_le_bytes(*last).rotate_left(23),
        _ => word(key),
    };
    ((ends ^ (key.len() as u64) << 56).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32) as u32
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
