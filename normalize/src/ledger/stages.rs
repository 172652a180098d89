//! The stage over time, from snapshots and history rows.
//!
//! In: [`Facts`]. Out: runs of stages with the time at which each began. Rows are exact, but there may be one per visit or one
//! per stage (with its first entry or its latest), and some may be missing; a snapshot proves a stage at an instant. So rows are
//! swept first (the latest entered of the open rows is the stage), and snapshots that the sweep does not explain break into it.

use super::facts::{Facts, Visit, width_of};
use super::track::{Assertion, Run, runs, settle};
use super::value::{ChangeType, Micros, SECOND, Source, StageIx};

/// A snapshot's clock may run behind a row's by this much, over its resolution: two moves are never so close.
const SLACK: Micros = SECOND / 4;

pub(crate) type Stage = Option<StageIx>;

/// A time in one stage by the rows.
#[derive(Clone, Copy, Debug)]
struct Segment {
    stage: StageIx,
    start: Micros,
    /// None: as far as rows tell, still there.
    end: Option<Micros>,
    /// The row's own exit ends it, not another row's entry.
    closed: bool,
    source: Source,
}

pub(crate) fn stage_runs(facts: &Facts) -> Vec<Run<Stage>> {
    let points = points(facts);
    if facts.visits.is_empty() {
        return runs(&points);
    }
    let segments = sweep(facts);
    let mut all: Vec<Assertion<Stage>> = Vec::with_capacity(points.len() + 2 * segments.len());
    for segment in &segments {
        all.push(Assertion {
            exact: true,
            source: Some(segment.source),
            ..point(segment.start, segment.start, Some(segment.stage))
        });
        if let (Some(end), true) = (segment.end, segment.closed) {
            all.push(point(end - 1, end, Some(segment.stage)));
        }
    }
    for visit in facts.visits.iter().filter(|visit| visit.entered.is_none()) {
        if let Some(exited) = visit.exited {
            all.push(Assertion { source: Some(visit.source), ..point(exited - 1, exited, Some(visit.stage)) });
        }
    }
    all.extend(points.iter().filter_map(|p| fit(p, &segments)));
    all.sort_by_key(|a| (a.lo, !a.exact));
    runs(&all)
}

fn point(lo: Micros, hi: Micros, value: Stage) -> Assertion<Stage> {
    Assertion { lo, hi, value, exact: false, observed: false, reported: false, source: None }
}

/// What snapshots and open rows show, in order.
fn points(facts: &Facts) -> Vec<Assertion<Stage>> {
    let mut all: Vec<Assertion<Stage>> = Vec::with_capacity(facts.snapshots.len() + facts.sightings.len());
    for snapshot in &facts.snapshots {
        if let Some(stage) = snapshot.stage {
            all.push(Assertion {
                observed: snapshot.observed,
                reported: matches!(snapshot.change, Some(ChangeType::Stage | ChangeType::JobTransfer)),
                source: Some(snapshot.source),
                ..point(snapshot.at, snapshot.at + snapshot.width, stage)
            });
        }
    }
    if all.is_empty()
        && let Some(weak) = &facts.weak
        && let Some(stage) = weak.stage
    {
        all.push(Assertion { observed: true, source: Some(weak.source), ..point(weak.at, weak.at + 1, stage) });
    }
    for seen in &facts.sightings {
        all.push(Assertion {
            source: Some(seen.source),
            ..point(seen.at, seen.at + width_of(seen.at), Some(seen.stage))
        });
    }
    settle(all)
}

/// Rows as a sequence of stays: at each instant the latest entered of the open rows.
fn sweep(facts: &Facts) -> Vec<Segment> {
    let mut instants: Vec<Micros> =
        facts.visits.iter().flat_map(|v| [v.entered, v.entered.and(v.exited)]).flatten().collect();
    instants.sort_unstable();
    instants.dedup();
    let mut out: Vec<Segment> = Vec::with_capacity(facts.visits.len());
    for at in instants {
        let next = stay_at(facts, at, out.last().filter(|last| last.end.is_none()).map(|last| last.stage));
        if let Some(last) = out.last_mut()
            && last.end.is_none()
        {
            if next.is_some_and(|v| v.stage == last.stage) {
                continue;
            }
            last.end = Some(at);
            let stage = last.stage;
            last.closed = facts.visits.iter().any(|v| v.stage == stage && v.exited == Some(at));
        }
        if let Some(v) = next {
            out.push(Segment { stage: v.stage, start: at, end: None, closed: false, source: v.source });
        }
    }
    out
}

/// The row whose stay is in effect from `at`: one that begins there, else the one going on, else a row that was opened again.
fn stay_at(facts: &Facts, at: Micros, current: Option<StageIx>) -> Option<&Visit> {
    let open =
        || facts.visits.iter().filter(move |v| v.entered.is_some_and(|e| e <= at) && v.exited.is_none_or(|x| x > at));
    if let Some(begun) = open().filter(|v| v.entered == Some(at)).max_by_key(|v| v.stage) {
        return Some(begun);
    }
    if let Some(on) = open().find(|v| Some(v.stage) == current) {
        return Some(on);
    }
    // A row last changed before this instant may just not be read again yet; of several nobody knows which.
    let mut again = open().filter(|v| v.version + SECOND > at);
    again.next().filter(|_| again.next().is_none())
}

/// A point as the rows see it: moved into the stay that explains it, dropped if a stay is about to begin, else as it is.
fn fit(p: &Assertion<Stage>, segments: &[Segment]) -> Option<Assertion<Stage>> {
    for (index, segment) in segments.iter().enumerate() {
        if Some(segment.stage) != p.value {
            continue;
        }
        if segment.start < p.hi && segment.end.is_none_or(|end| end > p.lo) {
            let latest = segment.end.map_or(Micros::MAX, |end| end - 1);
            return Some(Assertion { lo: p.lo.max(segment.start).min(latest.max(segment.start)), ..*p });
        }
        let follows = index == 0 || segments[index - 1].start <= p.lo;
        if follows && segment.start >= p.hi && segment.start < p.hi + SLACK {
            return None;
        }
    }
    // A row's time is cut to its tick: for the rest of it the stay that ends there may still have gone on.
    let goes_on = |segment: &Segment| {
        let end = segment.end.filter(|end| *end <= p.lo && p.lo < end + width_of(*end))?;
        (Some(segment.stage) == p.value).then(|| segment.start.max(end - 1))
    };
    if let Some(last) = segments.iter().rev().find_map(goes_on) {
        return Some(Assertion { lo: last, ..*p });
    }
    // Within its clock tick the point comes after the stay that ends there.
    let ended = segments.iter().filter(|segment| segment.start <= p.lo).filter_map(|segment| segment.end);
    let after = ended.filter(|end| *end > p.lo && *end < p.hi).max();
    Some(Assertion { lo: after.unwrap_or(p.lo), exact: after.is_some(), ..*p })
}
