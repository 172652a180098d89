//! Tables: source words → what they mean; and what was found lately, so that a word is seldom folded and searched.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::layout::Name;

/// Words are compared folded. An exact word wins over a pattern, an earlier pattern over a later one.
#[derive(Debug)]
pub(crate) struct Table<T> {
    /// No other table of this process has it.
    number: u64,
    /// Sorted by the word.
    words: Vec<(String, T)>,
    patterns: Vec<(Pattern, T)>,
}

static TABLES: AtomicU64 = AtomicU64::new(1);

impl<T> Table<T> {
    pub(crate) fn new(mut words: Vec<(String, T)>, patterns: Vec<(Pattern, T)>) -> Self {
        words.sort_by(|left, right| left.0.cmp(&right.0));
        Self { number: TABLES.fetch_add(1, Ordering::Relaxed), words, patterns }
    }

    /// The line of a word that is folded: patterns are counted behind the words.
    fn line(&self, folded: &str) -> Option<usize> {
        if let Ok(position) = self.words.binary_search_by(|(word, _)| word.as_str().cmp(folded)) {
            return Some(position);
        }
        let position = self.patterns.iter().position(|(pattern, _)| pattern.matches(folded))?;
        Some(self.words.len() + position)
    }

    /// What it says of a word that is folded.
    pub(crate) fn get(&self, folded: &str) -> Option<&T> {
        self.value(self.line(folded)?)
    }

    fn value(&self, line: usize) -> Option<&T> {
        match line.checked_sub(self.words.len()) {
            None => self.words.get(line).map(|(_, value)| value),
            Some(position) => self.patterns.get(position).map(|(_, value)| value),
        }
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
            return slot.line.and_then(|line| table.value(line as usize));
        }
        fold(text, &mut self.folded);
        let line = table.line(&self.folded);
        if let (Some(kept), Ok(length)) = (slot.text.get_mut(..bytes.len()), u8::try_from(bytes.len())) {
            kept.copy_from_slice(bytes);
            let line = line.and_then(|line| u32::try_from(line).ok());
            (slot.table, slot.line, slot.length) = (table.number, line, length);
        }
        line.and_then(|line| table.value(line))
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
