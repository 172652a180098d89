//! What a tape holds, and how a value and a key's letters are found in it.

use crate::fact::Mark;
use crate::path::Key;

use super::scan::{pieces, unescape};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Object,
    Array,
    Text,
    Number,
    True,
    False,
    Null,
}

/// One value, and the key that it stands under. Texts span what stands between the quotes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Node {
    pub(crate) start: u32,
    pub(crate) end: u32,
    /// The node after this one and all that is in it.
    pub(crate) next: u32,
    /// The object or list that it stands in. The root is its own.
    pub(crate) parent: u32,
    pub(super) key: Word,
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

/// What stands between the quotes of a key or text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Word {
    pub(crate) start: u32,
    pub(crate) end: u32,
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
    let mut value = object + 1;
    while value < end {
        let node = nodes[value as usize];
        if node.key().is_some_and(|key| means(text, key, word)) {
            return Some(value);
        }
        value = node.next;
    }
    None
}

/// Whether the meaning of a key or text is `plain`.
pub(crate) fn means(text: &str, word: Word, plain: &str) -> bool {
    let raw = letters(text, word);
    // No text is shorter than what it means.
    if raw.len() <= plain.len() || !raw.contains('\\') {
        return raw == plain;
    }
    let mut rest = Some(plain);
    pieces(raw, |piece| rest = rest.and_then(|rest| rest.strip_prefix(piece)));
    rest == Some("")
}

/// Its meaning; `buffer` is for those with escapes.
#[inline(always)]
pub(crate) fn plain<'t>(text: &'t str, word: Word, buffer: &'t mut String) -> &'t str {
    let raw = letters(text, word);
    if !raw.contains('\\') {
        return raw;
    }
    buffer.clear();
    unescape(raw, buffer);
    buffer
}

/// What stands between the quotes.
#[inline]
pub(crate) fn letters(text: &str, word: Word) -> &str {
    text.get(word.start as usize..word.end as usize).unwrap_or_default()
}

impl Word {
    pub(super) const NONE: Self = Self { start: 0, end: 0 };
}

impl Node {
    /// Of a value in an object.
    #[inline]
    pub(crate) fn key(&self) -> Option<Word> {
        (self.key != Word::NONE).then_some(self.key)
    }

    /// A text, or what stands for a number or word.
    #[inline]
    pub(crate) fn word(&self) -> Word {
        Word { start: self.start, end: self.end }
    }
}

/// The text between the quotes, or of the number or word.
#[inline]
pub(crate) fn span(text: &str, node: Node) -> &str {
    text.get(node.start as usize..node.end as usize).unwrap_or_default()
}
