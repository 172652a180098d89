//! JSON text → a flat tape of nodes with spans into the text; nothing is copied, numbers keep their text.
//!
//! Strict RFC 8259, UTF-8 only. Written decisions: a duplicate key is an error (which of the two was meant cannot be
//! known), a lone surrogate escape is an error (it has no UTF-8 form and must not vanish), nesting deeper than
//! [`MAX_DEPTH`] is an error, `\u0000` is a legal character, numbers may be of any length.

mod members;
mod scan;
mod validate;

use std::fmt;

use members::Members;
pub(crate) use members::key_hash;
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

/// The text between the quotes, or of the number or word.
pub(crate) fn span(text: &str, node: Node) -> &str {
    text.get(node.start as usize..node.end as usize).unwrap_or_default()
}

/// Lengths are checked to fit at the start of `parse`; a tape has fewer nodes than its text has bytes.
fn cast(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
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
