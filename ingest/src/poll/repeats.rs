//! Rows that were kept already and that overlap shows again.
//!
//! A memory, not a truth: what it forgets, after a restart or above its bound, is kept once more and reconciled by
//! normalize. A row is marked only after its transaction committed, and again each time it is shown.

use std::collections::HashSet;

use jiff::Timestamp;
use sha2::{Digest, Sha256};

use crate::json;
use crate::manifest::Repeats;

/// Marks of one list in memory, in each of two generations.
const MAX_MARKS: usize = 50_000;

/// A row, by what makes it the same.
pub(super) type Mark = u128;

pub(super) fn mark(kind: &Repeats, id: &str, version: Option<&str>, row: &[u8]) -> Mark {
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
    let hash: [u8; 32] = hash.finalize().into();
    hash.first_chunk().map_or(0, |half| Mark::from_be_bytes(*half))
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

/// What one list showed within the overlap.
#[derive(Debug, Default)]
pub(super) struct Seen {
    young: HashSet<Mark>,
    old: HashSet<Mark>,
    young_since: Option<Timestamp>,
}

impl Seen {
    pub(super) fn contains(&self, mark: Mark) -> bool {
        self.young.contains(&mark) || self.old.contains(&mark)
    }

    pub(super) fn add(&mut self, marks: impl IntoIterator<Item = Mark>) {
        for mark in marks {
            if self.young.len() >= MAX_MARKS {
                self.old = std::mem::take(&mut self.young);
            }
            self.young.insert(mark);
        }
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
        let mark = |kind, version, row: &str| mark(&kind, "7", version, row.as_bytes());
        let bytes = Repeats::bytes;
        assert_eq!(mark(Repeats::Version, Some("v1"), "url-1"), mark(Repeats::Version, Some("v1"), "url-2"));
        assert_ne!(mark(Repeats::Version, Some("v1"), "url-1"), mark(Repeats::Version, Some("v2"), "url-1"));
        assert_ne!(mark(Repeats::Version, None, "a"), mark(Repeats::Version, None, "b"));
        assert_ne!(mark(bytes(), Some("v1"), "a"), mark(bytes(), Some("v1"), "b"));
    }

    #[test]
    fn what_is_new_in_every_answer_makes_no_other_row_and_all_else_does() {
        let kind = Repeats::Bytes { but: vec![json::Path::parse("lead.photo").unwrap()] };
        let mark = |row: &str| mark(&kind, "7", None, row.as_bytes());
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

    #[test]
    fn marks_are_kept_as_long_as_overlap_may_show_their_rows() {
        let at = |seconds| Timestamp::from_second(seconds).unwrap();
        let mut seen = Seen::default();
        let overlap = 20;
        for to in (100..200).step_by(5) {
            seen.add([to as Mark]);
            seen.window_ended(at(to), at(to - overlap));
            for shown in (to - overlap).max(100)..=to {
                assert_eq!(seen.contains(shown as Mark), shown % 5 == 0, "{shown} at {to}");
            }
        }
        assert!(!seen.contains(100));
    }

    #[test]
    fn what_is_shown_in_every_window_is_never_forgotten() {
        let at = |seconds| Timestamp::from_second(seconds).unwrap();
        let mut seen = Seen::default();
        seen.add([1]);
        for to in 100..300 {
            assert!(seen.contains(1), "{to}");
            seen.add([1]);
            seen.window_ended(at(to), at(to - 20));
        }
    }

    #[test]
    fn the_memory_is_bounded() {
        let mut seen = Seen::default();
        seen.add(0..10 * MAX_MARKS as Mark);
        assert!(seen.young.len() + seen.old.len() <= 2 * MAX_MARKS);
    }
}
