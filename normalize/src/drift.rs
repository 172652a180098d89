//! Drift: what a source sends otherwise than it used to, seen rule by rule of its mapping.
//!
//! Facts in, what is new in them out, each time: a transaction that is aborted is processed again, and whoever tells people
//! knows what was told. The first [`LEARNT`] facts of a rule say what it usually brings; after them a leaf that nobody
//! reads and that was in none of them is new, and a field that at least half of them had is gone when [`MISSED`] facts in
//! a row lack it. Learnt per process and connection: a start begins anew, and what changes while it learns is taken for
//! usual.

use std::collections::hash_map::DefaultHasher;
use std::collections::{HashMap, HashSet};
use std::hash::Hasher;
use std::sync::{Mutex, PoisonError};

use hirewire_mapping::avro::{read_bytes, read_long};
use hirewire_mapping::{Fact, Slice};

/// Facts of a rule that say what is usual.
pub const LEARNT: u64 = 200;
/// Facts in a row that lack a field that was usual.
pub const MISSED: u64 = 200;
/// Leaves of one rule that are usual, and that are new. Where there are more, keys are values (an object with a key for each
/// person), and no more are told.
const MOST_USUAL: usize = 1000;
const MOST_NEW: usize = 50;

/// What a fact has that is new.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// A leaf that no rule reads, by its path with `[]` for the place in a list.
    Leaf(String),
    /// The field at this index of the record's schema.
    Gone(usize),
}

impl Found {
    /// As it stands in the metric.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Leaf(_) => "new_leaf",
            Self::Gone(_) => "gone_field",
        }
    }
}

/// What is usual of one connection.
#[derive(Default)]
pub struct Drift {
    /// By rule.
    habits: Mutex<HashMap<String, Habit>>,
}

#[derive(Default)]
struct Habit {
    facts: u64,
    /// Leaves that nobody reads, by the hash of their path.
    usual: HashSet<u64>,
    new: HashSet<u64>,
    fields: Vec<Field>,
}

#[derive(Default, Clone, Copy)]
struct Field {
    had: u64,
    missed: u64,
}

impl Drift {
    /// Takes the fact in. What is new in it, if anything is.
    pub fn note(&self, fact: &Fact<'_>) -> Vec<Found> {
        // A deletion says nothing, a row of an array one thing.
        if fact.delete || fact.element.is_some() {
            return Vec::new();
        }
        let mut habits = self.habits.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(habit) = habits.get_mut(fact.rule) {
            return habit.note(fact);
        }
        habits.entry(fact.rule.to_owned()).or_default().note(fact)
    }
}

impl Habit {
    fn note(&mut self, fact: &Fact<'_>) -> Vec<Found> {
        let mut found = Vec::new();
        self.facts += 1;
        let learnt = self.facts > LEARNT;
        self.fields.resize(fact.field_count(), Field::default());
        for (index, field) in self.fields.iter_mut().enumerate() {
            match fact.field(index) {
                Slice::NotMapped => {}
                Slice::Absent => field.missed += 1,
                Slice::Bytes(_) => {
                    field.missed = 0;
                    field.had += u64::from(!learnt);
                }
            }
            if learnt && field.missed >= MISSED && field.had * 2 >= LEARNT {
                found.push(Found::Gone(index));
            }
        }
        // Where keys are values nothing is told any more: they need not be read.
        let customs = fact.custom_fields.filter(|_| self.usual.len() <= MOST_USUAL);
        // What cannot be read back is the mapping's own writing: nothing to tell a person.
        let read = customs.is_none_or(|bytes| self.note_leaves(bytes, learnt, &mut found).is_some());
        debug_assert!(read);
        found
    }

    fn note_leaves(&mut self, customs: &[u8], learnt: bool, found: &mut Vec<Found>) -> Option<()> {
        let mut rest = customs;
        while let count @ 1.. = read_long(&mut rest)? {
            for _ in 0..count {
                let _name = read_bytes(&mut rest)?;
                let path = std::str::from_utf8(read_bytes(&mut rest)?).ok()?;
                // Type and value, of which either may be null.
                for _ in 0..2 {
                    if read_long(&mut rest)? != 0 {
                        let _text = read_bytes(&mut rest)?;
                    }
                }
                if self.is_new(hash(path), learnt) {
                    found.push(Found::Leaf(without_places(path)));
                }
            }
        }
        Some(())
    }

    /// Whether a leaf is none of the usual ones. While they are learnt it becomes one.
    fn is_new(&mut self, leaf: u64, learnt: bool) -> bool {
        if !learnt {
            self.usual.insert(leaf);
            return false;
        }
        if self.usual.contains(&leaf) {
            return false;
        }
        self.new.contains(&leaf) || (self.new.len() < MOST_NEW && self.new.insert(leaf))
    }
}

/// Of the path without places in lists: all items of a list are one leaf.
fn hash(path: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    parts(path).for_each(|part| hasher.write(part.as_bytes()));
    hasher.finish()
}

/// `a[3].b` → `a[].b`
fn without_places(path: &str) -> String {
    parts(path).collect()
}

/// The path in pieces, without the digits in brackets.
fn parts(path: &str) -> impl Iterator<Item = &str> {
    path.split_inclusive('[').map(|part| {
        let rest = part.trim_start_matches(|letter: char| letter.is_ascii_digit());
        if rest.starts_with(']') { rest } else { part }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_in_a_list_are_one_leaf_and_digits_of_a_key_are_not() {
        assert_eq!(without_places("a[3].b[12].c"), "a[].b[].c");
        assert_eq!(without_places("/q.1a.2"), "/q.1a.2");
        assert_eq!(hash("a[3].b"), hash("a[17].b"));
        assert_ne!(hash("a3.b"), hash("a17.b"));
    }
}
