//! An overlay that changes with time: what holds at a moment, and what a coded value was then.
//!
//! A plan has its rules once for each part of such an overlay: to choose one is to look at a few numbers, and a plan without
//! them pays nothing. What decides is the source's time of a statement: whenever it is mapped again, it gives the same.

use std::collections::BTreeMap;

use crate::avro::{put_bytes, put_long, read_bytes, read_long};
use crate::plan::{Plan, Symbol, UNMAPPED};
use crate::table::{Table, fold};

/// A table of symbols whose words change with time.
#[derive(Debug)]
pub(crate) struct DatedTable {
    pub(crate) name: String,
    /// The enum that the symbols are of.
    pub(crate) symbols: String,
    /// By part, as its rules have it.
    pub(crate) parts: BTreeMap<usize, Table<Symbol>>,
}

impl Plan {
    /// Whether some of it holds from a moment on only.
    #[must_use]
    pub fn is_dated(&self) -> bool {
        !self.turns.is_empty()
    }

    /// Since when what holds at `at` has held, both in microseconds since 1970; the least number: ever since.
    #[must_use]
    pub fn holds_since(&self, at: i64) -> i64 {
        self.part_at(at).checked_sub(1).and_then(|part| self.turns.get(part)).copied().unwrap_or(i64::MIN)
    }

    fn part_at(&self, at: i64) -> usize {
        self.turns.partition_point(|turn| *turn <= at)
    }

    /// The rule that holds at `at` in the place of one of the first part.
    pub(crate) fn rule_at(&self, index: usize, at: i64) -> usize {
        self.rules.len() / (self.turns.len() + 1) * self.part_at(at) + index
    }

    /// Appends what a coded value (its symbol of the enum `symbols`, the source's word, and the rule) is at `at`, as far as
    /// a table makes it that changes with time. False: it is as it stands, and nothing is appended.
    pub fn recode(&self, symbols: &str, coded: &[u8], at: i64, out: &mut Vec<u8>) -> bool {
        let Some((Some(word), rule)) = word_and_rule(coded) else { return false };
        let (part, mut folded) = (self.part_at(at), String::new());
        fold(word, &mut folded);
        // Without a rule no table knew the word.
        let tables = self.dated.iter().filter(|table| table.symbols == symbols);
        let mut tables = tables
            .filter(|table| rule.is_none_or(|rule| is_of(rule, &table.name)))
            .filter_map(|table| table.parts.get(&part))
            .peekable();
        if tables.peek().is_none() {
            return false;
        }
        let found = tables.find_map(|table| table.get(&folded));
        put_long(found.map_or(UNMAPPED, |symbol| symbol.index), out);
        put_long(1, out);
        put_bytes(word.as_bytes(), out);
        put_long(i64::from(found.is_some()), out);
        if let Some(symbol) = found {
            put_bytes(symbol.rule.as_bytes(), out);
        }
        true
    }
}

/// Of an encoded coded value. `None`: these bytes are none.
fn word_and_rule(coded: &[u8]) -> Option<(Option<&str>, Option<&str>)> {
    let mut rest = coded;
    let _symbol = read_long(&mut rest)?;
    let mut text = || match read_long(&mut rest)? {
        0 => Some(None),
        _ => std::str::from_utf8(read_bytes(&mut rest)?).ok().map(Some),
    };
    Some((text()?, text()?))
}

/// Whether a rule is a line of this table: `<table>/<word>`, of an overlay behind `overlay:<version>/`.
fn is_of(rule: &str, table: &str) -> bool {
    let is_line = |text: &str| text.strip_prefix(table).is_some_and(|rest| rest.starts_with('/'));
    let mut behind = rule.strip_prefix("overlay:").and_then(|rest| rest.split_once('/'));
    while let Some((_, rest)) = behind {
        if is_line(rest) {
            return true;
        }
        // A version may have such a stroke in it.
        behind = rest.split_once('/');
    }
    is_line(rule)
}
