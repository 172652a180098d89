//! Tables: source words → what they mean; and what was found lately, so that a word is seldom folded and searched.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::layout::Name;

/// Words are compared folded. An exact word wins over a pattern, an earlier pattern over a later one.
#[derive(Debug)]
pub(crate) struct Table<T> {
    /// No other table of this process has it.
    number: u64,
    /// Sorted by the word; behind them the patterns in their order.
    lines: Vec<(Word, T)>,
    exact: usize,
}

#[derive(Debug)]
enum Word {
    Exact(String),
    Pattern(Pattern),
}

static TABLES: AtomicU64 = AtomicU64::new(1);

impl<T> Default for Table<T> {
    fn default() -> Self {
        Self::new(Vec::new(), Vec::new())
    }
}

impl<T> Table<T> {
    pub(crate) fn new(mut words: Vec<(String, T)>, patterns: Vec<(Pattern, T)>) -> Self {
        words.sort_by(|left, right| left.0.cmp(&right.0));
        let exact = words.len();
        let words = words.into_iter().map(|(word, value)| (Word::Exact(word), value));
        let patterns = patterns.into_iter().map(|(pattern, value)| (Word::Pattern(pattern), value));
        let number = TABLES.fetch_add(1, Ordering::Relaxed);
        Self { number, lines: words.chain(patterns).collect(), exact }
    }

    /// The line of a word that is folded.
    fn line(&self, folded: &str) -> Option<usize> {
        let (exact, patterns) = self.lines.split_at_checked(self.exact)?;
        let compare = |(word, _): &(Word, T)| match word {
            Word::Exact(word) => word.as_str().cmp(folded),
            Word::Pattern(_) => std::cmp::Ordering::Greater,
        };
        if let Ok(position) = exact.binary_search_by(compare) {
            return Some(position);
        }
        let matches = |(word, _): &(Word, T)| matches!(word, Word::Pattern(pattern) if pattern.matches(folded));
        patterns.iter().position(matches).map(|position| self.exact + position)
    }
}

/// Words that were looked up lately, of whatever table. Reused from payload to payload; of a fixed size.
#[derive(Default)]
pub(crate) struct Words {
    slots: Vec<Slot>,
    folded: String,
}

#[derive(Clone, Copy)]
struct Slot {
    table: u64,
    line: Option<u32>,
    length: u8,
    text: [u8; LONGEST],
}

const SLOTS: usize = 256;
/// Longer texts are always searched.
const LONGEST: usize = 40;

impl Words {
    /// What `table` says of `text`.
    pub(crate) fn find<'t, T>(&mut self, table: &'t Table<T>, text: &str) -> Option<&'t T> {
        if self.slots.is_empty() {
            self.slots.resize(SLOTS, Slot { table: 0, line: None, length: 0, text: [0; LONGEST] });
        }
        let bytes = text.as_bytes();
        let hash = Name::new(bytes).hash() ^ (table.number as u32).wrapping_mul(0x9e37_79b1);
        let slot = &mut self.slots[(hash ^ hash >> 16) as usize % SLOTS];
        if slot.table == table.number && slot.text.get(..usize::from(slot.length)) == Some(bytes) {
            return slot.line.and_then(|line| table.lines.get(line as usize)).map(|(_, value)| value);
        }
        fold(text, &mut self.folded);
        let line = table.line(&self.folded);
        if let (Some(kept), Ok(length)) = (slot.text.get_mut(..bytes.len()), u8::try_from(bytes.len())) {
            kept.copy_from_slice(bytes);
            let line = line.and_then(|line| u32::try_from(line).ok());
            (slot.table, slot.line, slot.length) = (table.number, line, length);
        }
        line.and_then(|line| table.lines.get(line)).map(|(_, value)| value)
    }
}

/// `word*`, `*word` or `*word*`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Pattern {
    pub(crate) word: String,
    pub(crate) open_front: bool,
    pub(crate) open_back: bool,
}

impl Pattern {
    pub(crate) fn matches(&self, text: &str) -> bool {
        match (self.open_front, self.open_back) {
            (true, true) => text.contains(&self.word),
            (true, false) => text.ends_with(&self.word),
            (false, true) => text.starts_with(&self.word),
            (false, false) => text == self.word,
        }
    }
}

/// The form in which table words are compared.
pub(crate) fn fold(text: &str, out: &mut String) {
    out.clear();
    let text = text.trim();
    if text.is_ascii() {
        out.push_str(text);
        out.make_ascii_lowercase();
    } else {
        out.extend(text.chars().flat_map(char::to_lowercase));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_found_is_found_again_and_never_for_another_table_or_word() {
        let table = |value: u32| {
            let pattern = Pattern { word: "blue".to_owned(), open_front: true, open_back: true };
            let mut words = vec![("red".to_owned(), value), ("blue".to_owned(), value + 1)];
            if value.is_multiple_of(20) {
                // The same word in another line.
                words.push(("a".to_owned(), value + 3));
            }
            Table::new(words, vec![(pattern, value + 2)])
        };
        let tables: Vec<Table<u32>> = (0..50).map(|n| table(n * 10)).collect();
        let mut words = Words::default();
        let long = "a very long word that is not kept, which speaks of blue things";
        for _ in 0..3 {
            for (n, table) in (0..).zip(&tables) {
                assert_eq!(words.find(table, " RED "), Some(&(n * 10)));
                assert_eq!(words.find(table, "Blue"), Some(&(n * 10 + 1)));
                assert_eq!(words.find(table, "dark blue"), Some(&(n * 10 + 2)));
                assert_eq!(words.find(table, long), Some(&(n * 10 + 2)));
                assert_eq!(words.find(table, "green"), None);
                assert_eq!(words.find(table, ""), None);
            }
        }
    }
}
