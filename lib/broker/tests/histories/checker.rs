//! The judge of a history: what no run of a broker may show, whatever was killed in it.
//!
//! In: a finished history, with the logs as they are at the end; out: every anomaly, with the operations that show it.
//! A pure function; its own tests (checker_tests.rs) give it histories that are wrong in one way each.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt::Write;

use crate::client::{Place, Value};
use crate::history::{Entry, Op, Txn};

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// Acknowledged, committed or read before, and not in the log.
    LostWrite,
    Duplicate,
    /// A reader of committed data saw what was not committed by then, or never.
    AbortedRead,
    /// A reader went back, stood still, or passed over a record.
    NonMonotonicPoll,
    /// A committed offset that is ahead of the data, behind what was committed before, or from nowhere.
    InconsistentOffsets,
    /// Some of a transaction is there and some is not.
    TornTransaction,
    /// Done by a producer, or a group's member, after its successor was told that it is the one.
    FencedWrite,
}

#[derive(Debug)]
pub struct Anomaly {
    pub kind: Kind,
    pub what: String,
    /// Places in the history.
    pub entries: Vec<usize>,
}

/// A transaction as its operations show it.
#[derive(Default)]
struct Attempt {
    /// Acknowledged values, and where they were said to be.
    values: Vec<(Place, Value, usize)>,
    /// Invoked and ended times of the commit; not set where there was none or it was refused.
    commit: Option<(u64, u64, bool, usize)>,
    offsets: Vec<usize>,
}

/// When a transactional id was taken, by which producer, and in which operation.
type Taken = (u64, (i64, i16), usize);

/// A piece of input that a transaction worked on, from and up to, and the operation that says so.
type Piece = (i64, i64, usize);

struct Checker<'a> {
    history: &'a [Entry],
    /// Value to where it is in the logs at the end.
    at_end: HashMap<Value, Vec<(Place, i64)>>,
    logs: BTreeMap<Place, (Vec<(i64, Value)>, i64)>,
    txns: BTreeMap<Txn, Attempt>,
    /// Value to the operation that sent it first.
    senders: HashMap<Value, usize>,
    found: Vec<Anomaly>,
}

pub fn check(history: &[Entry]) -> Vec<Anomaly> {
    let mut checker = Checker::new(history);
    checker.writes();
    checker.polls();
    checker.transactions();
    checker.fencing();
    checker.members();
    checker.offsets();
    checker.inputs();
    checker.found
}

/// The anomalies with the lines of the history around them.
pub fn report(history: &[Entry], anomalies: &[Anomaly]) -> String {
    let mut text = String::new();
    for anomaly in anomalies.iter().take(5) {
        writeln!(text, "{:?}: {}", anomaly.kind, anomaly.what).unwrap();
        let mut lines: BTreeSet<usize> = anomaly.entries.iter().copied().collect();
        let first = lines.first().copied().unwrap_or(0);
        for (at, entry) in history.iter().enumerate().skip(first) {
            if matches!(entry.op, Op::Restart { .. }) {
                lines.insert(at);
            }
        }
        for at in lines.into_iter().take(30) {
            writeln!(text, "  {}", history[at]).unwrap();
        }
    }
    if anomalies.len() > 5 {
        writeln!(text, "and {} more", anomalies.len() - 5).unwrap();
    }
    text
}

impl<'a> Checker<'a> {
    fn new(history: &'a [Entry]) -> Self {
        let mut checker = Self {
            history,
            at_end: HashMap::new(),
            logs: BTreeMap::new(),
            txns: BTreeMap::new(),
            senders: HashMap::new(),
            found: Vec::new(),
        };
        for (at, entry) in history.iter().enumerate() {
            match &entry.op {
                Op::Log { place, records, end, .. } => {
                    for (offset, value) in records {
                        checker.at_end.entry(*value).or_default().push((*place, *offset));
                    }
                    checker.logs.insert(*place, (records.clone(), *end));
                }
                Op::Send { txn, place, values, .. } => {
                    for value in values {
                        checker.senders.entry(*value).or_insert(at);
                    }
                    if let Some(txn) = txn {
                        let attempt = checker.txns.entry(*txn).or_default();
                        if entry.is_ok() {
                            attempt.values.extend(values.iter().map(|value| (*place, *value, at)));
                        }
                    }
                }
                Op::TxnOffsets { txn, .. } if entry.is_ok() => {
                    checker.txns.entry(*txn).or_default().offsets.push(at);
                }
                Op::End { txn, commit: true } if entry.may_be_done() => {
                    let commit = (entry.invoked, entry.ended, entry.is_ok(), at);
                    checker.txns.entry(*txn).or_default().commit = Some(commit);
                }
                _ => {}
            }
        }
        checker
    }

    fn report(&mut self, kind: Kind, what: String, entries: impl IntoIterator<Item = usize>) {
        self.found.push(Anomaly { kind, what, entries: entries.into_iter().collect() });
    }

    /// The operations that have to do with a value: who sent it, how its transaction ended, who read it.
    fn story(&self, value: Value) -> Vec<usize> {
        let sender = self.senders.get(&value).copied();
        let txn = sender.and_then(|at| match &self.history[at].op {
            Op::Send { txn, .. } => *txn,
            _ => None,
        });
        let of_value = |entry: &Entry| match &entry.op {
            Op::Send { values, .. } => values.contains(&value),
            Op::Poll { found, .. } => found.iter().any(|(_, found)| *found == value),
            Op::End { txn: ended, .. } => Some(*ended) == txn,
            _ => false,
        };
        self.history.iter().enumerate().filter(|(_, entry)| of_value(entry)).map(|(at, _)| at).collect()
    }

    fn is_in_log(&self, value: Value) -> bool {
        self.at_end.contains_key(&value)
    }

    /// Whether a transaction counts: it was said to be committed, or something of it is in the log.
    fn is_committed(&self, attempt: &Attempt) -> bool {
        attempt.commit.is_some_and(|(_, _, ok, _)| ok) || attempt.values.iter().any(|it| self.is_in_log(it.1))
    }

    /// Lost and doubled writes outside of transactions.
    fn writes(&mut self) {
        let doubled: Vec<Value> =
            self.at_end.iter().filter(|(_, places)| places.len() > 1).map(|(value, _)| *value).collect();
        for value in doubled {
            let what = format!("{value} is in the log more than once: {:?}", self.at_end[&value]);
            self.report(Kind::Duplicate, what, self.story(value));
        }
        for entry in self.history {
            let Op::Send { txn: None, place, values, base } = &entry.op else { continue };
            if !entry.is_ok() {
                continue;
            }
            for (offset, value) in (*base..).zip(values) {
                let kept = self.at_end.get(value).is_some_and(|places| places.contains(&(*place, offset)));
                if !kept {
                    let what = format!("{value} was acknowledged at {offset} of {place} and is not there");
                    self.report(Kind::LostWrite, what, self.story(*value));
                }
            }
        }
    }

    /// What each reader saw, against the log at the end and against the time at which it saw it.
    fn polls(&mut self) {
        let mut positions: HashMap<(u64, Place), (i64, usize)> = HashMap::new();
        for (at, entry) in self.history.iter().enumerate() {
            let Op::Poll { reader, place, position, found, next } = &entry.op else { continue };
            let before = positions.insert((*reader, *place), (*next, at));
            let back = before.filter(|(before, _)| before != position);
            let ordered = found.iter().map(|(offset, _)| *offset).collect::<Vec<_>>();
            let rising = ordered.windows(2).all(|pair| pair[0] < pair[1]);
            let inside = ordered.iter().all(|offset| (*position..*next).contains(offset));
            if back.is_some() || !rising || !inside || next < position {
                let what = format!("reader {reader} of {place} went from {position} to {next} over {ordered:?}");
                self.report(Kind::NonMonotonicPoll, what, back.map(|it| it.1).into_iter().chain([at]));
            }
            for (offset, value) in found {
                self.one_read(at, *place, *offset, *value);
            }
            let log = self.logs.get(place).map(|(records, _)| records.as_slice()).unwrap_or_default();
            let passed =
                log.iter().filter(|(offset, _)| (*position..*next).contains(offset) && !ordered.contains(offset));
            for (offset, value) in passed.copied().collect::<Vec<_>>() {
                let what = format!("reader {reader} of {place} passed over {value} at {offset}");
                let story = self.story(value);
                self.report(Kind::NonMonotonicPoll, what, story.into_iter().chain([at]));
            }
        }
    }

    fn one_read(&mut self, at: usize, place: Place, offset: i64, value: Value) {
        let sender = self.senders.get(&value).map(|at| &self.history[*at].op);
        let txn = match sender {
            Some(Op::Send { txn, .. }) => *txn,
            _ => None,
        };
        let mut story = self.story(value);
        story.push(at);
        if let Some(txn) = txn {
            let commit = self.txns.get(&txn).and_then(|attempt| attempt.commit);
            if commit.is_none_or(|(invoked, ..)| invoked > self.history[at].ended) {
                let when = if commit.is_some() { "before it was committed" } else { "and it never was committed" };
                self.report(Kind::AbortedRead, format!("{value} of {txn} was read, {when}"), story);
                return;
            }
        }
        if !self.at_end.get(&value).is_some_and(|places| places.contains(&(place, offset))) {
            self.report(Kind::LostWrite, format!("{value} was read at {offset} of {place} and is gone"), story);
        }
    }

    /// All of a transaction, or nothing of it; and none is open when all have been ended.
    fn transactions(&mut self) {
        for (at, entry) in self.history.iter().enumerate() {
            if let Op::Log { place, stable, end, .. } = &entry.op
                && stable < end
            {
                let what = format!("{place} has a transaction at {stable} that nobody has open");
                self.report(Kind::TornTransaction, what, [at]);
            }
        }
        for (txn, attempt) in std::mem::take(&mut self.txns) {
            let (there, gone): (Vec<_>, Vec<_>) = attempt.values.iter().partition(|it| self.is_in_log(it.1));
            let commit = attempt.commit;
            let entries: Vec<usize> = attempt.values.iter().map(|it| it.2).chain(commit.map(|it| it.3)).collect();
            if commit.is_none() && !there.is_empty() {
                let what = format!("{:?} of {txn} are in the log, and it never was committed", values(&there));
                self.report(Kind::AbortedRead, what, entries);
            } else if !there.is_empty() && !gone.is_empty() {
                let what = format!("{txn}: {:?} are in the log, {:?} are not", values(&there), values(&gone));
                self.report(Kind::TornTransaction, what, entries);
            } else if commit.is_some_and(|(_, _, ok, _)| ok) && !gone.is_empty() {
                let what = format!("{txn} is committed and {:?} are not in the log", values(&gone));
                self.report(Kind::LostWrite, what, entries);
            }
            self.txns.insert(txn, attempt);
        }
    }

    /// Nothing is done by a producer whose successor has been told that it is the one.
    fn fencing(&mut self) {
        let mut inits: HashMap<&str, Vec<Taken>> = HashMap::new();
        for (at, entry) in self.history.iter().enumerate() {
            if let (Op::Init { id, producer }, true) = (&entry.op, entry.is_ok()) {
                inits.entry(id).or_default().push((entry.ended, *producer, at));
            }
        }
        for (at, entry) in self.history.iter().enumerate() {
            let (txn, sent) = match &entry.op {
                Op::Send { txn: Some(txn), values, .. } => (txn, values.as_slice()),
                Op::TxnOffsets { txn, .. } | Op::End { txn, .. } => (txn, &[][..]),
                _ => continue,
            };
            let newer = |producer: &(i64, i16)| *producer > txn.producer;
            let of_id = inits.get(txn.id).map(Vec::as_slice).unwrap_or_default();
            let Some(successor) = of_id.iter().find(|it| it.0 < entry.invoked && newer(&it.1)).copied() else {
                continue;
            };
            let kept: Vec<Value> = sent.iter().copied().filter(|value| self.is_in_log(*value)).collect();
            if entry.is_ok() || !kept.is_empty() {
                let what = format!("{txn} did this after producer {} epoch {}", successor.1.0, successor.1.1);
                self.report(Kind::FencedWrite, what, [successor.2, at]);
            }
        }
    }

    /// No member commits for a generation after another one has begun.
    fn members(&mut self) {
        for (at, entry) in self.history.iter().enumerate() {
            let Op::Commit { group, member, .. } = &entry.op else { continue };
            if !entry.is_ok() {
                continue;
            }
            let joins = || {
                self.history.iter().enumerate().filter_map(|(at, join)| match &join.op {
                    Op::Join { group: of, member, generation } if of == group && join.ended < entry.invoked => {
                        Some((at, join, member, *generation))
                    }
                    _ => None,
                })
            };
            let own = joins().filter(|(_, _, of, _)| *of == member).max_by_key(|(_, join, ..)| join.ended);
            let Some((own_at, own, _, generation)) = own else { continue };
            let later = joins().find(|(_, join, _, other)| *other != generation && join.invoked > own.ended);
            if let Some((later_at, _, other, _)) = later {
                let what = format!("{member} committed for {group} after {other} was in the next generation");
                self.report(Kind::FencedWrite, what, [own_at, later_at, at]);
            }
        }
    }

    /// What a group is said to have committed, against what was committed before.
    fn offsets(&mut self) {
        for (at, entry) in self.history.iter().enumerate() {
            let Op::Committed { group, place, offset } = &entry.op else { continue };
            let end = self.logs.get(place).map_or(0, |(_, end)| *end);
            if *offset > end {
                let what = format!("{group} has committed {offset} of {place}, which ends at {end}");
                self.report(Kind::InconsistentOffsets, what, [at]);
            }
            let mut known = *offset == -1;
            let mut behind = None;
            for (other, commit) in self.history.iter().enumerate() {
                let (committed, invoked, ended, ok) = match &commit.op {
                    Op::Commit { group: of, place: on, offset, .. } if of == group && on == place => {
                        (*offset, commit.invoked, commit.ended, commit.is_ok())
                    }
                    Op::TxnOffsets { txn, group: of, place: on, to, .. } if of == group && on == place => {
                        let Some((invoked, ended, ok, _)) = self.txns.get(txn).and_then(|attempt| attempt.commit)
                        else {
                            continue;
                        };
                        (*to, invoked, ended, ok && commit.is_ok())
                    }
                    _ => continue,
                };
                known |= commit.may_be_done() && committed == *offset && invoked < entry.ended;
                if ok && ended < entry.invoked && committed > *offset {
                    behind = Some(other);
                }
            }
            if let Some(other) = behind {
                let what = format!("{group} has committed {offset} of {place}, and more before");
                self.report(Kind::InconsistentOffsets, what, [other, at]);
            } else if !known {
                let what = format!("{group} has committed {offset} of {place}, which nobody did");
                self.report(Kind::InconsistentOffsets, what, [at]);
            }
        }
    }

    /// Committed transactions worked on each input once, and their offsets are there with their records.
    fn inputs(&mut self) {
        let mut worked: BTreeMap<(&str, Place), Vec<Piece>> = BTreeMap::new();
        for attempt in self.txns.values().filter(|attempt| self.is_committed(attempt)) {
            for at in &attempt.offsets {
                if let Op::TxnOffsets { group, place, from, to, .. } = &self.history[*at].op {
                    worked.entry((group, *place)).or_default().push((*from, *to, *at));
                }
            }
        }
        for ((group, place), mut pieces) in worked {
            pieces.sort_unstable();
            for pair in pieces.windows(2) {
                if pair[1].0 < pair[0].1 {
                    let what = format!("{group}: the input before {} of {place} was worked on twice", pair[0].1);
                    self.report(Kind::InconsistentOffsets, what, [pair[0].2, pair[1].2]);
                }
            }
            let last = pieces.iter().max_by_key(|piece| piece.1);
            let told = self.history.iter().enumerate().rev().find_map(|(at, entry)| match &entry.op {
                Op::Committed { group: of, place: on, offset } if *of == group && *on == place => Some((at, *offset)),
                _ => None,
            });
            if let (Some((_, to, at)), Some((told_at, told))) = (last, told)
                && told < *to
            {
                let what = format!("the records of a transaction are in the log, its offset {to} of {place} is not");
                self.report(Kind::TornTransaction, what, [*at, told_at]);
            }
        }
    }
}

fn values(of: &[&(Place, Value, usize)]) -> Vec<Value> {
    of.iter().map(|it| it.1).collect()
}
