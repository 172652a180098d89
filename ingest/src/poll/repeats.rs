//! Rows that were kept already and that overlap shows again.
//!
//! A memory, not a truth: what it forgets, after a restart or above its bound, is kept once more and reconciled by
//! normalize. A row is marked only after its transaction committed, and again each time it is shown. It is forgotten when
//! something newer was read of what it is about: the row may be right once more, and must be told then.

use std::collections::HashMap;

use jiff::Timestamp;
use sha2::{Digest, Sha256};

use crate::json;
use crate::manifest::Repeats;

/// Marks of one list in memory, in each of two generations.
const MAX_MARKS: usize = 50_000;

/// Whose row it is, and what makes it the same.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Mark {
    /// Of a row without an id, what it says.
    whose: u128,
    pub(super) says: u128,
}

impl Mark {
    /// That of the row with this id, whatever it says.
    pub(super) fn of(id: &str) -> Self {
        Self { whose: half(Sha256::digest(id)), says: 0 }
    }
}

pub(super) fn mark(kind: &Repeats, id: Option<&str>, version: Option<&str>, row: &[u8]) -> Mark {
    let says = says(kind, id.unwrap_or_default(), version, row);
    Mark { whose: id.map_or(says, |id| Mark::of(id).whose), says }
}

fn half(hash: impl Into<[u8; 32]>) -> u128 {
    hash.into().first_chunk().map_or(0, |half| u128::from_be_bytes(*half))
}

fn says(kind: &Repeats, id: &str, version: Option<&str>, row: &[u8]) -> u128 {
    let mut hash = Sha256::new();
    hash.update(id);
    hash.update([0x1f]);
    hash.update(version.unwrap_or_default());
    match kind {
        Repeats::Version if version.is_some() => {}
        // Without a version, only the bytes can tell.
        Repeats::Version => hash_but(&mut hash, row, &[]),
        Repeats::Bytes { but } => hash_but(&mut hash, row, but),
    }
    half(hash.finalize())
}

/// The bytes of a row, without those at `paths`.
fn hash_but(hash: &mut Sha256, row: &[u8], paths: &[json::Path]) {
    hash.update([0x1f]);
    let mut from = 0;
    for place in json::places(row, paths) {
        hash.update(row.get(from..place.start).unwrap_or_default());
        from = place.end;
    }
    hash.update(row.get(from..).unwrap_or_default());
}

/// What one list showed within the overlap, of each row the last: a row may come back to what it said before.
#[derive(Debug, Default)]
pub(super) struct Seen {
    young: HashMap<u128, u128>,
    old: HashMap<u128, u128>,
    young_since: Option<Timestamp>,
}

impl Seen {
    pub(super) fn contains(&self, mark: Mark) -> bool {
        self.young.get(&mark.whose).or_else(|| self.old.get(&mark.whose)) == Some(&mark.says)
    }

    pub(super) fn add(&mut self, marks: impl IntoIterator<Item = Mark>) {
        for mark in marks {
            if self.young.len() >= MAX_MARKS {
                self.old = std::mem::take(&mut self.young);
            }
            self.young.insert(mark.whose, mark.says);
        }
    }

    /// What this row said last may be true again: it is no repetition when it is shown next.
    pub(super) fn forget(&mut self, row: Mark) {
        self.young.remove(&row.whose);
        self.old.remove(&row.whose);
    }

    /// A window ended at `to`: what was marked before the overlap of the next ones can go.
    pub(super) fn window_ended(&mut self, to: Timestamp, overlap_starts: Timestamp) {
        match self.young_since {
            None => self.young_since = Some(to),
            // Everything old was last shown by a window that ended before the overlap begins.
            Some(since) if since < overlap_starts => {
                self.old = std::mem::take(&mut self.young);
                self.young_since = Some(to);
            }
            Some(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_the_same_by_its_bytes_or_by_its_version_alone() {
        let mark = |kind, version, row: &str| mark(&kind, Some("7"), version, row.as_bytes());
        let bytes = Repeats::bytes;
        assert_eq!(mark(Repeats::Version, Some("v1"), "url-1"), mark(Repeats::Version, Some("v1"), "url-2"));
        assert_ne!(mark(Repeats::Version, Some("v1"), "url-1"), mark(Repeats::Version, Some("v2"), "url-1"));
        assert_ne!(mark(Repeats::Version, None, "a"), mark(Repeats::Version, None, "b"));
        assert_ne!(mark(bytes(), Some("v1"), "a"), mark(bytes(), Some("v1"), "b"));
    }

    #[test]
    fn what_is_new_in_every_answer_makes_no_other_row_and_all_else_does() {
        let kind = Repeats::Bytes { but: vec![json::Path::parse("lead.photo").unwrap()] };
        let mark = |row: &str| mark(&kind, Some("7"), None, row.as_bytes());
        let first = mark(r#"{"id":7,"lead":{"photo":"url?s=1","name":"a"}}"#);
        assert_eq!(first, mark(r#"{"id":7,"lead":{"photo":"url?s=2","name":"a"}}"#));
        assert_eq!(first, mark(r#"{"id":7,"lead":{"photo":null,"name":"a"}}"#));
        for other in [
            r#"{"id":7,"lead":{"photo":"url?s=1","name":"b"}}"#,
            r#"{"id":8,"lead":{"photo":"url?s=1","name":"a"}}"#,
            r#"{"id":7,"lead":{"name":"a"}}"#,
        ] {
            assert_ne!(first, mark(other), "{other}");
        }
    }

    /// Of row `whose`, which says that number of itself.
    fn of(whose: usize) -> Mark {
        Mark { whose: whose as u128, says: whose as u128 }
    }

    #[test]
    fn a_row_that_says_again_what_it_said_before_is_no_repeat() {
        let says = |says: &str| mark(&Repeats::bytes(), Some("7"), None, says.as_bytes());
        let mut seen = Seen::default();
        for what in ["a", "b", "a", "b"] {
            assert!(!seen.contains(says(what)), "{what}");
            seen.add([says(what)]);
            assert!(seen.contains(says(what)), "{what}");
        }
        for generation in 0..2 {
            seen.forget(Mark::of("7"));
            assert!(!seen.contains(says("b")), "{generation}");
            seen.add([says("b"), mark(&Repeats::bytes(), Some("8"), None, b"b")]);
            seen.old = std::mem::take(&mut seen.young);
        }
        let nameless = |says: &str| mark(&Repeats::bytes(), None, None, says.as_bytes());
        seen.add([nameless("a"), nameless("b")]);
        assert!(seen.contains(nameless("a")), "rows without ids are not one row");
    }

    #[test]
    fn marks_are_kept_as_long_as_overlap_may_show_their_rows() {
        let at = |seconds| Timestamp::from_second(seconds).unwrap();
        let mut seen = Seen::default();
        let overlap = 20;
        let row = |number: i32| of(usize::try_from(number).unwrap());
        for to in (100_i32..200).step_by(5) {
            seen.add([row(to)]);
            seen.window_ended(at(to.into()), at((to - overlap).into()));
            for shown in (to - overlap).max(100)..=to {
                assert_eq!(seen.contains(row(shown)), shown % 5 == 0, "{shown} at {to}");
            }
        }
        assert!(!seen.contains(of(100)));
    }

    #[test]
    fn what_is_shown_in_every_window_is_never_forgotten() {
        let at = |seconds| Timestamp::from_second(seconds).unwrap();
        let mut seen = Seen::default();
        seen.add([of(1)]);
        for to in 100..300 {
            assert!(seen.contains(of(1)), "{to}");
            seen.add([of(1)]);
            seen.window_ended(at(to), at(to - 20));
        }
    }

    #[test]
    fn the_memory_is_bounded() {
        let mut seen = Seen::default();
        seen.add((0..10 * MAX_MARKS).map(of));
        assert!(seen.young.len() + seen.old.len() <= 2 * MAX_MARKS);
    }
}
