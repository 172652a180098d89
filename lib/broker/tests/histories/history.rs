//! What clients did and what they were told: the history that the checker judges.
//!
//! In: operations as their clients end them; out: all of them, in the order in which they began. Times are numbers of one
//! counter: an operation that ended at 7 was over before one began that was invoked at 8.

use std::fmt;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::client::{Place, Value};

/// A transaction: its transactional id, the producer's id and epoch, and a number that no other has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Txn {
    pub id: &'static str,
    pub producer: (i64, i16),
    pub number: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    Ok,
    /// The broker said no, to the first attempt already.
    Refused(i16),
    /// Perhaps it was done: an answer was lost on the way.
    Unknown,
}

#[derive(Debug, Clone)]
pub enum Op {
    /// A transactional id was taken; who had it before is fenced from then on.
    Init {
        id: &'static str,
        producer: (i64, i16),
    },
    /// Values in one batch, outside of a transaction or in one; `base` is where the broker put the first.
    Send {
        txn: Option<Txn>,
        place: Place,
        values: Vec<Value>,
        base: i64,
    },
    /// Offsets in a transaction: the input from `from` up to `to` was worked on in it.
    TxnOffsets {
        txn: Txn,
        group: &'static str,
        place: Place,
        from: i64,
        to: i64,
    },
    End {
        txn: Txn,
        commit: bool,
    },
    /// One fetch of committed data: from a position to the next one. A reader asks for each place where it ended before.
    Poll {
        reader: u64,
        place: Place,
        position: i64,
        found: Vec<(i64, Value)>,
        next: i64,
    },
    /// A group took a member into a generation.
    Join {
        group: &'static str,
        member: String,
        generation: i32,
    },
    Commit {
        group: &'static str,
        member: String,
        place: Place,
        offset: i64,
    },
    /// What a group has committed, as the broker tells; -1 if nothing.
    Committed {
        group: &'static str,
        place: Place,
        offset: i64,
    },
    /// The broker's end and the next start.
    Restart {
        how: &'static str,
    },
    /// At the end of all: everything that is committed in a place, up to where it is stable, and where its log ends.
    Log {
        place: Place,
        records: Vec<(i64, Value)>,
        stable: i64,
        end: i64,
    },
}

#[derive(Debug, Clone)]
pub struct Entry {
    pub process: u64,
    pub invoked: u64,
    pub ended: u64,
    pub outcome: Outcome,
    pub op: Op,
}

#[derive(Default)]
pub struct Recorder {
    clock: AtomicU64,
    entries: Mutex<Vec<Entry>>,
}

impl Recorder {
    pub fn now(&self) -> u64 {
        self.clock.fetch_add(1, Ordering::SeqCst)
    }

    pub fn end(&self, process: u64, invoked: u64, outcome: Outcome, op: Op) {
        let entry = Entry { process, invoked, ended: self.now(), outcome, op };
        self.entries.lock().unwrap().push(entry);
    }

    pub fn finish(self) -> Vec<Entry> {
        let mut entries = self.entries.into_inner().unwrap();
        entries.sort_by_key(|entry| entry.invoked);
        entries
    }
}

impl Entry {
    pub fn is_ok(&self) -> bool {
        self.outcome == Outcome::Ok
    }

    /// It was done, or may have been.
    pub fn may_be_done(&self) -> bool {
        !matches!(self.outcome, Outcome::Refused(_))
    }
}

impl fmt::Display for Txn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}#{} (producer {} epoch {})", self.id, self.number, self.producer.0, self.producer.1)
    }
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:>5}–{:<5} client {:<3} ", self.invoked, self.ended, self.process)?;
        match &self.op {
            Op::Init { id, producer } => write!(f, "init {id} as producer {} epoch {}", producer.0, producer.1)?,
            Op::Send { txn: None, place, values, base } => write!(f, "send {values:?} to {place} at {base}")?,
            Op::Send { txn: Some(txn), place, values, base } => {
                write!(f, "send {values:?} to {place} at {base} in {txn}")?;
            }
            Op::TxnOffsets { txn, group, place, from, to } => {
                write!(f, "offsets of {group}, {place} from {from} to {to}, in {txn}")?;
            }
            Op::End { txn, commit } => write!(f, "{} {txn}", if *commit { "commit" } else { "abort" })?,
            Op::Poll { reader, place, position, found, next } => {
                write!(f, "poll {place} from {position} to {next} as reader {reader}: {found:?}")?;
            }
            Op::Join { group, member, generation } => write!(f, "join {group} as {member} generation {generation}")?,
            Op::Commit { group, member, place, offset } => {
                write!(f, "commit {offset} of {place} for {group} as {member}")?;
            }
            Op::Committed { group, place, offset } => write!(f, "{group} has committed {offset} of {place}")?,
            Op::Restart { how } => write!(f, "RESTART of the broker: {how}")?,
            Op::Log { place, records, stable, end } => {
                write!(f, "log of {place}, stable up to {stable} of {end}: {} records", records.len())?;
            }
        }
        match self.outcome {
            Outcome::Ok => Ok(()),
            Outcome::Refused(code) => write!(f, " -- refused, code {code}"),
            Outcome::Unknown => write!(f, " -- unknown"),
        }
    }
}
