//! Where each record of the old broker stands in the new Kafka: the table that a migration writes.
//!
//! In: pairs of positions, in order; out: rows of runs, and a new position for any old one. As a file: a line of names, then one row for
//! each run of records that follow one another on both sides; a row of 0 records is a partition's end on both sides.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::File;
use std::io::Write as _;
use std::path::Path;

use anyhow::Context;
use hirewire_route::replay::Place;

/// The first line of the file.
const NAMES: &str = "topic,partition,old_offset,new_offset,records";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Run {
    old: i64,
    new: i64,
    records: i64,
}

/// One partition.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Moves {
    runs: Vec<Run>,
    /// Behind the last record, on both sides: old positions are below the first, new ones from the second on.
    pub(super) old_end: i64,
    pub(super) new_end: i64,
}

impl Moves {
    /// Takes the next record.
    pub(super) fn push(&mut self, old: i64, new: i64) {
        match self.runs.last_mut() {
            Some(run) if run.old + run.records == old && run.new + run.records == new => run.records += 1,
            _ => self.runs.push(Run { old, new, records: 1 }),
        }
        self.new_end = new + 1;
    }

    pub(super) fn records(&self) -> i64 {
        self.runs.iter().map(|run| run.records).sum()
    }

    /// Where the record is now; `None` if there is none of that old offset.
    pub(super) fn exact(&self, old: i64) -> Option<i64> {
        let after = self.runs.partition_point(|run| run.old <= old);
        let run = self.runs.get(after.checked_sub(1)?)?;
        (old < run.old + run.records).then_some(run.new + old - run.old)
    }

    /// Where a reader goes on that stood at an old offset: at the first record that it had not read.
    pub(super) fn position(&self, old: i64) -> i64 {
        let after = self.runs.partition_point(|run| run.old + run.records <= old);
        self.runs.get(after).map_or(self.new_end, |run| run.new + (old - run.old).max(0))
    }
}

/// All partitions.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Table(BTreeMap<(String, i32), Moves>);

impl Table {
    pub(super) fn insert(&mut self, topic: &str, partition: i32, moves: Moves) {
        self.0.insert((topic.to_owned(), partition), moves);
    }

    pub(super) fn partitions(&self) -> impl Iterator<Item = (&str, i32, &Moves)> {
        self.0.iter().map(|((topic, partition), moves)| (topic.as_str(), *partition, moves))
    }

    /// Where a reader of the old place goes on; `None` for a partition that was not moved.
    pub(super) fn position(&self, old: &Place) -> Option<i64> {
        self.0.get(&(old.topic.clone(), old.partition)).map(|moves| moves.position(old.offset))
    }

    /// Writes the file, down to the disk.
    pub(super) fn write(&self, path: &Path) -> anyhow::Result<()> {
        let mut text = format!("{NAMES}\n");
        for (topic, partition, moves) in self.partitions() {
            let end = Run { old: moves.old_end, new: moves.new_end, records: 0 };
            for run in moves.runs.iter().chain([&end]) {
                writeln!(text, "{topic},{partition},{},{},{}", run.old, run.new, run.records)?;
            }
        }
        let mut file = File::create_new(path).with_context(|| format!("cannot make {}", path.display()))?;
        let written = file.write_all(text.as_bytes()).and_then(|()| file.sync_all());
        written.with_context(|| format!("cannot write {}", path.display()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_old_place_leads_to_its_record_or_to_the_next_one() {
        let mut moves = Moves::default();
        // 3, 4, 5, a marker at 6, 7; the new side has a marker of its own behind the second.
        for (old, new) in [(3, 0), (4, 1), (5, 3), (7, 4)] {
            moves.push(old, new);
        }
        (moves.old_end, moves.new_end) = (9, 8);
        assert_eq!(moves.runs.len(), 3);
        assert_eq!(moves.records(), 4);
        let exact: Vec<_> = (2..10).map(|old| moves.exact(old)).collect();
        assert_eq!(exact, [None, Some(0), Some(1), Some(3), None, Some(4), None, None]);
        let position: Vec<_> = (2..10).map(|old| moves.position(old)).collect();
        assert_eq!(position, [0, 0, 1, 3, 4, 4, 8, 8]);
        assert_eq!(Moves { old_end: 5, new_end: 5, ..Moves::default() }.position(2), 5);
    }

    #[test]
    fn the_file_has_a_row_for_each_run_and_one_for_each_end() {
        let folder = tempfile::tempdir().unwrap();
        let (mut table, mut moves) = (Table::default(), Moves::default());
        moves.push(3, 0);
        moves.push(4, 1);
        (moves.old_end, moves.new_end) = (6, 6);
        table.insert("t", 1, moves);
        let path = folder.path().join("table.csv");
        table.write(&path).unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), format!("{NAMES}\nt,1,3,0,2\nt,1,6,6,0\n"));
        assert!(table.write(&path).is_err(), "a table that is there is not overwritten");
        let place = |offset| Place { topic: "t".into(), partition: 1, offset };
        assert_eq!((table.position(&place(4)), table.position(&place(5))), (Some(1), Some(6)));
    }
}
