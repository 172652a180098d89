//! `publish`: what was told so far against what is known now.
//!
//! In: the published effective history and derived moves. Out: new events; the effective history afterwards equals the moves.
//! Invariants (MODEL of the ledger):
//! - `sequence` counts 1, 2, 3 … in the order of publication; no event is told twice, none is rewritten.
//! - A LIVE event moves the present state; its predecessor is the last effective event, its `from` that one's `to`.
//! - A CORRECTION's predecessor is the effective one before it in time; `supersedes` names what it replaces.
//! - The effective history sorted by (time, sequence) is a chain in which each `from` is the `to` before it.

use super::derive::Move;
use super::value::{ChangeType, Micros, Precision, Revision, SECOND, State};

/// A published event that nothing superseded.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Effective {
    pub sequence: u32,
    pub change: ChangeType,
    pub from: State,
    pub to: State,
    pub at: Micros,
    pub precision: Precision,
    pub not_before: Option<Micros>,
    pub not_after: Option<Micros>,
}

/// The published side of one ledger. Ordered by time.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Published {
    pub effective: Vec<Effective>,
    /// The last sequence number given.
    pub last_sequence: u32,
}

/// An event to write.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    pub sequence: u32,
    pub revision: Revision,
    pub what: Move,
    /// Sequence of the predecessor.
    pub previous: Option<u32>,
    pub supersedes: Vec<u32>,
    /// When it had entered the stage that it was in.
    pub entered: Option<Micros>,
}

impl Event {
    /// Since when it was in the stage that it leaves. Moves into rest leave it too.
    #[must_use]
    pub fn in_stage_since(&self) -> Option<Micros> {
        let (from, to) = (self.what.from, self.what.to);
        self.entered.filter(|_| to.stage != from.stage || to.status.is_terminal())
    }

    /// When it entered the stage that it is in now.
    #[must_use]
    pub fn entered_now(&self) -> Micros {
        let stays = self.what.to.stage == self.what.from.stage;
        self.entered.filter(|_| stays).unwrap_or(self.what.at)
    }
}

/// Brings the published history up to the moves and returns what has to be told.
pub fn publish(published: &mut Published, moves: Vec<Move>) -> Vec<Event> {
    let old = &published.effective;
    let prefix = old.iter().zip(&moves).take_while(|(e, m)| same(e, m)).count();
    if prefix == old.len() && prefix == moves.len() {
        return Vec::new();
    }
    let kept = if prefix == old.len() && appends_in_order(old, &moves[prefix..]) {
        (0..prefix).map(Some).chain(std::iter::repeat_n(None, moves.len() - prefix)).collect()
    } else {
        let mut kept = align(old, &moves);
        settle_order(old, &moves, &mut kept);
        kept
    };
    tell(published, moves, &kept)
}

/// The event that told the move at `index`, told anew. None: no event tells it so, or its place in time would be another.
pub(super) fn tell_again(published: &mut Published, moves: &[Move], index: usize) -> Option<Event> {
    let told = &mut published.effective;
    let (what, old) = (moves.get(index)?, *told.get(index)?);
    // The new number is higher than all others: at equal times it would stand behind the next.
    if !same(&old, what) || told.get(index + 1).is_some_and(|next| next.at <= old.at) {
        return None;
    }
    published.last_sequence += 1;
    told[index].sequence = published.last_sequence;
    Some(Event {
        sequence: published.last_sequence,
        revision: Revision::Correction,
        what: Move { at: old.at, ..what.clone() },
        previous: index.checked_sub(1).map(|before| told[before].sequence),
        supersedes: vec![old.sequence],
        entered: entered(&told[..index], what),
    })
}

/// Whether a published event still tells this move.
fn same(e: &Effective, m: &Move) -> bool {
    e.change == m.change && e.from == m.from && e.to == m.to && (m.change == ChangeType::Created || fits_in_time(e, m))
}

fn fits_in_time(e: &Effective, m: &Move) -> bool {
    if m.precision == Precision::Exact {
        return (e.at - m.at).abs() <= SECOND;
    }
    let (low, high) = (m.not_before.unwrap_or(Micros::MIN), m.not_after.unwrap_or(m.at));
    let (e_low, e_high) = match e.precision {
        Precision::Exact => (e.at, e.at),
        _ => (e.not_before.unwrap_or(Micros::MIN), e.not_after.unwrap_or(e.at)),
    };
    e_low.saturating_sub(SECOND) <= high && low <= e_high.saturating_add(SECOND)
}

fn appends_in_order(old: &[Effective], new: &[Move]) -> bool {
    old.last().is_none_or(|last| new.first().is_none_or(|first| first.at >= last.at))
}

/// For each move the position of the published event that tells it: the longest common subsequence.
fn align(old: &[Effective], moves: &[Move]) -> Vec<Option<usize>> {
    let width = moves.len() + 1;
    let mut best = vec![0u32; (old.len() + 1) * width];
    for i in (0..old.len()).rev() {
        for j in (0..moves.len()).rev() {
            let skip = best[(i + 1) * width + j].max(best[i * width + j + 1]);
            let hit = if same(&old[i], &moves[j]) { best[(i + 1) * width + j + 1] + 1 } else { 0 };
            best[i * width + j] = skip.max(hit);
        }
    }
    let mut kept = vec![None; moves.len()];
    let (mut i, mut j) = (0, 0);
    while i < old.len() && j < moves.len() {
        if same(&old[i], &moves[j]) && best[i * width + j] == best[(i + 1) * width + j + 1] + 1 {
            kept[j] = Some(i);
            i += 1;
            j += 1;
        } else if best[(i + 1) * width + j] >= best[i * width + j + 1] {
            i += 1;
        } else {
            j += 1;
        }
    }
    kept
}

/// Gives up kept events whose published time contradicts their place, and such as are needed to carry a supersession.
fn settle_order(old: &[Effective], moves: &[Move], kept: &mut [Option<usize>]) {
    loop {
        let disorder = (1..moves.len()).find_map(|j| {
            let time = |j: usize| kept[j].map_or(moves[j].at, |i: usize| old[i].at);
            // New events have higher numbers than kept ones: at equal times they sort behind.
            let ordered = match (kept[j - 1], kept[j]) {
                (None, Some(_)) => time(j - 1) < time(j),
                _ => time(j - 1) <= time(j),
            };
            if ordered {
                None
            } else if kept[j].is_some() {
                Some(j)
            } else {
                Some(j - 1)
            }
        });
        if let Some(j) = disorder {
            if kept[j].take().is_none() {
                return;
            }
            continue;
        }
        match uncarried(old.len(), kept) {
            Some(j) => kept[j] = None,
            None => return,
        }
    }
}

/// A kept event beside published events that are superseded by nothing: it has to be told anew to name them.
fn uncarried(old_len: usize, kept: &[Option<usize>]) -> Option<usize> {
    let mut next_old = 0;
    let mut fresh = false;
    for (j, keep) in kept.iter().enumerate() {
        match keep {
            None => fresh = true,
            Some(i) => {
                if *i > next_old && !fresh {
                    return Some(j);
                }
                next_old = i + 1;
                fresh = false;
            }
        }
    }
    if next_old < old_len && !fresh { kept.len().checked_sub(1) } else { None }
}

/// Which of the moves behind the kept ones are LIVE.
struct Live {
    /// All from here on.
    from: usize,
    /// And this one: the status that it leads to is in effect, and nobody was told.
    status: Option<usize>,
}

impl Live {
    fn has(&self, j: usize) -> bool {
        j >= self.from || self.status == Some(j)
    }
}

/// LIVE events begin behind everything that explains the past. What replaces an event that was told already is no second
/// move of the present, though its from-side is another now. But a status that is still in effect is told, also if it was
/// learnt only after a move that came later: whoever acts on hires must hear of the unhire.
fn live_of(old: &[Effective], moves: &[Move], tail: usize, replaced: &[Effective]) -> Live {
    let all = |from: usize| Live { from, status: None };
    let (Some(last), Some(present)) = (moves.last(), old.last().map(|e| e.to)) else { return all(tail) };
    if replaced.is_empty() {
        return all(tail);
    }
    // To learn the job that it is for moves nothing.
    let present = State { job: present.job.or(last.to.job), ..present };
    if last.to == present {
        return all(behind_told(moves, tail, replaced).unwrap_or(moves.len()));
    }
    let mut retold = tail;
    for e in replaced {
        if let Some(j) = (retold..moves.len()).find(|j| retells(&moves[*j], e)) {
            retold = j + 1;
        }
    }
    let leaves_present = |j: &usize| moves[*j].from == present;
    if retold == tail {
        return all((tail + 1..moves.len()).rev().find(leaves_present).unwrap_or(moves.len() - 1));
    }
    let status = if last.to.status == present.status { None } else { status_untold(moves, tail, replaced) };
    Live { from: (retold..moves.len()).find(leaves_present).unwrap_or(retold), status }
}

/// Where what came after the last event that is told anew begins: it left the present and came back to it.
fn behind_told(moves: &[Move], tail: usize, replaced: &[Effective]) -> Option<usize> {
    let last = replaced.last()?;
    let told_until = if last.precision == Precision::Exact { last.at } else { last.not_after.unwrap_or(last.at) };
    let is_told = |j: &usize| retells(&moves[*j], last) && moves[*j].at <= told_until + SECOND;
    let behind = (tail..moves.len()).rev().find(is_told)? + 1;
    let next = moves.get(behind)?;
    (next.from == last.to && next.at + SECOND >= told_until).then_some(behind)
}

/// The move behind `tail` that led to the last status, if it is not one that was told already.
fn status_untold(moves: &[Move], tail: usize, replaced: &[Effective]) -> Option<usize> {
    let status = moves.last()?.to.status;
    let led = |j: &usize| moves[*j].to.status == status && moves[*j].from.status != status;
    (tail..moves.len()).rev().find(led).filter(|j| !replaced.iter().any(|e| retells(&moves[*j], e)))
}

/// The same happening, told with another from-side or time.
fn retells(m: &Move, e: &Effective) -> bool {
    let moves_stage = |change: ChangeType| matches!(change, ChangeType::Stage | ChangeType::JobTransfer);
    if moves_stage(m.change) && moves_stage(e.change) {
        return m.to.stage == e.to.stage;
    }
    let rejects = |change: ChangeType| matches!(change, ChangeType::Rejection | ChangeType::Withdrawal);
    m.change == e.change || (rejects(m.change) && rejects(e.change))
}

fn tell(published: &mut Published, moves: Vec<Move>, kept: &[Option<usize>]) -> Vec<Event> {
    let old = std::mem::take(&mut published.effective);
    let tail = kept.iter().rposition(Option::is_some).map_or(0, |j| j + 1);
    let last_kept = kept.iter().flatten().max().map_or(0, |i| i + 1);
    let live = live_of(&old, &moves, tail, &old[last_kept..]);
    let mut events: Vec<Event> = Vec::new();
    let mut next_old = 0;
    for (j, what) in moves.into_iter().enumerate() {
        if let Some(i) = kept[j] {
            next_old = i + 1;
            published.effective.push(old[i]);
            continue;
        }
        let until = kept[j..].iter().flatten().next().copied().unwrap_or(old.len());
        published.last_sequence += 1;
        let is_live = live.has(j);
        let is_told = is_live && j > 0 && kept[j - 1].is_none();
        let event = Event {
            sequence: published.last_sequence,
            revision: if is_live { Revision::Live } else { Revision::Correction },
            previous: published.effective.last().map(|e| e.sequence),
            supersedes: if is_told { Vec::new() } else { old[next_old..until].iter().map(|e| e.sequence).collect() },
            entered: entered(&published.effective, &what),
            what,
        };
        published.effective.push(Effective {
            sequence: event.sequence,
            change: event.what.change,
            from: event.what.from,
            to: event.what.to,
            at: event.what.at,
            precision: event.what.precision,
            not_before: event.what.not_before,
            not_after: event.what.not_after,
        });
        events.push(event);
    }
    events
}

/// When the stage that it was in before this move was entered.
fn entered(before: &[Effective], what: &Move) -> Option<Micros> {
    what.from.stage?;
    before.iter().rev().find(|e| e.to.stage == what.from.stage && e.from.stage != e.to.stage).map(|e| e.at)
}

#[cfg(test)]
mod tests {
    use super::super::value::{Cause, Status};
    use super::*;

    /// An event told a stage and no job; then the list tells the job, and what was before that stage.
    #[test]
    fn what_was_told_without_its_job_is_not_told_live_again() {
        let state = |stage, job| State { stage: Some(stage), status: Status::Active, job };
        let told = Effective {
            sequence: 1,
            change: ChangeType::Created,
            from: State::NONE,
            to: state(1, None),
            at: 10 * SECOND,
            precision: Precision::Observed,
            not_before: None,
            not_after: Some(10 * SECOND),
        };
        let step = |change, from, to, at| Move {
            change,
            from,
            to,
            at,
            precision: Precision::Exact,
            not_before: None,
            not_after: None,
            inferred: false,
            cause: Cause::Unknown,
            sources: Vec::new(),
        };
        let (first, second) = (state(0, Some(0)), state(1, Some(0)));
        let moves = vec![
            step(ChangeType::Created, State::NONE, first, 8 * SECOND),
            step(ChangeType::Stage, first, second, 10 * SECOND),
        ];
        let mut published = Published { effective: vec![told], last_sequence: 1 };
        let events = publish(&mut published, moves);
        let revisions: Vec<Revision> = events.iter().map(|event| event.revision).collect();
        assert_eq!(revisions, [Revision::Correction, Revision::Correction]);
    }
}
