//! What of each partition a database has: everything before an offset, and ranges behind it.
//!
//! In: the rows and heads of a [`Batch`]. Out: which of the rows it does not have yet, and the positions with them. They
//! stand in the table `sink_position`, by sink, cluster, topic and partition, and change in the transaction of the rows
//! alone. Keys end in any order: what was written behind a record that is not finished is `ahead`.

use std::collections::{BTreeMap, BTreeSet};

use super::writer::Batch;
use crate::source::{Origin, Slot};

/// Of one partition. A new one has nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Position {
    /// Everything before it is in, or was settled otherwise: a dead letter, nothing for the sink.
    pub(super) next: i64,
    /// In too, from the first to before the second; in order and apart.
    ahead: Vec<(i64, i64)>,
}

impl Position {
    /// As the function `ahead` writes it. What is none counts as nothing ahead: it is written once more.
    pub(super) fn read(next: i64, ahead: &str) -> Self {
        Self { next, ahead: serde_json::from_str(ahead).unwrap_or_default() }
    }

    /// `[[17,20],[23,24]]`: 17 to 19, and 23.
    pub(super) fn ahead(&self) -> String {
        serde_json::json!(self.ahead).to_string()
    }

    /// False if it is in already.
    fn add(&mut self, offset: i64) -> bool {
        // The first that ends at the offset or behind it.
        let index = self.ahead.partition_point(|(_, to)| *to < offset);
        match self.ahead.get_mut(index) {
            _ if offset < self.next => return false,
            Some((from, to)) if *from <= offset && offset < *to => return false,
            Some((_, to)) if *to == offset => *to += 1,
            Some((from, _)) if *from == offset + 1 => *from = offset,
            _ => self.ahead.insert(index, (offset, offset + 1)),
        }
        if let Some((from, to)) = self.ahead.get(index + 1).copied()
            && from == offset + 1
            && let Some(before) = self.ahead.get_mut(index)
        {
            before.1 = to;
            self.ahead.remove(index + 1);
        }
        self.go_on(self.next);
        true
    }

    /// Everything before `next` is finished.
    fn go_on(&mut self, next: i64) {
        self.next = self.next.max(next);
        while let Some((_, to)) = self.ahead.first().copied().filter(|(from, _)| *from <= self.next) {
            self.next = self.next.max(to);
            self.ahead.remove(0);
        }
    }
}

/// Those of all partitions of a batch.
#[derive(Debug, Default)]
pub(super) struct Positions(pub(super) BTreeMap<Slot, Position>);

impl Positions {
    /// Takes the batch in. Which of its rows were not in yet.
    pub(super) fn take(&mut self, batch: &Batch) -> Vec<bool> {
        let mut add = |Origin { slot, offset }: &Origin| self.0.entry(slot.clone()).or_default().add(*offset);
        let is_new = batch.rows.iter().map(|row| add(&row.origin)).collect();
        for (slot, next) in &batch.heads {
            self.0.entry(slot.clone()).or_default().go_on(*next);
        }
        is_new
    }
}

/// The partitions of a batch, in order.
pub(super) fn slots(batch: &Batch) -> BTreeSet<&Slot> {
    batch.rows.iter().map(|row| &row.origin.slot).chain(batch.heads.iter().map(|(slot, _)| slot)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_offset_is_new_once_whatever_the_order_and_the_head_takes_in_what_stands_before_it() {
        let mut dice = fastrand::Rng::with_seed(7);
        for _ in 0..200 {
            let mut position = Position::read(3, "[]");
            let (mut known, mut head): (BTreeSet<i64>, i64) = ((0..3).collect(), 3);
            for _ in 0..60 {
                let offset = dice.i64(0..30);
                if dice.u8(..8) == 0 {
                    head = head.max(offset);
                    position.go_on(offset);
                    known.extend(0..head);
                } else {
                    assert_eq!(position.add(offset), known.insert(offset), "{offset} of {position:?}");
                }
                position = Position::read(position.next, &position.ahead());
                let in_it = |offset: &i64| {
                    *offset < position.next || position.ahead.iter().any(|(from, to)| (*from..*to).contains(offset))
                };
                assert_eq!((0..31).filter(in_it).collect::<BTreeSet<_>>(), known);
                assert!(position.ahead.windows(2).all(|pair| pair[0].1 < pair[1].0), "apart: {position:?}");
                assert!(position.ahead.first().is_none_or(|(from, _)| *from > position.next), "{position:?}");
            }
        }
    }

    #[test]
    fn what_cannot_be_read_is_nothing_ahead() {
        assert_eq!(Position::read(5, "x"), Position { next: 5, ahead: Vec::new() });
        let mut position = Position::read(5, "[[17,20],[23,24]]");
        assert!(!position.add(4) && !position.add(19) && !position.add(23) && position.add(20));
        assert_eq!(position.ahead(), "[[17,21],[23,24]]");
    }
}
