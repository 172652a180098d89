//! Which webhooks go wrong, and which of them may: a webhook is dropped for good only where a later poll or history
//! row still tells what it told (unless the scenario is unfair).

use std::collections::HashSet;

use fastrand::Rng;

use crate::plan::script::Script;
use crate::plan::{Fate, Step};
use crate::settings::{HistoryRows, Scenario};

/// One fate per step of the script.
pub(crate) fn decide(script: &Script, scenario: &Scenario, rng: &mut Rng) -> Vec<Fate> {
    let faults = &scenario.faults;
    let gone = script.steps.iter().any(|(_, step)| matches!(step, Step::DeleteApplication | Step::DeleteCandidate));
    let mut fates: Vec<Fate> = Vec::new();
    for (n, (_, step)) in script.steps.iter().enumerate() {
        let told_later = told_later(script, n, gone, scenario.history_rows);
        let previous_dropped = fates.last().is_some_and(|fate| fate.dropped);
        let mut fate = Fate { unobservable_if_lost: !told_later, ..Fate::default() };
        let unlucky = rng.f64() < faults.dropped;
        let must_come = matches!(step, Step::Apply { .. }) || previous_dropped;
        if unlucky && (faults.unfair || told_later) && (!must_come || next_is_a_move(script, n)) {
            fate.dropped = true;
        }
        // The step after a dropped creation must come by webhook, or two unknowns meet.
        if previous_dropped && n == 1 {
            fate.dropped = false;
        }
        if rng.f64() < faults.doubled {
            fate.copies = 1 + rng.u8(..2);
        }
        // What comes late where nothing tells of former stages is told by nobody.
        let may_wait = !gone && may_wait(step) && scenario.history_rows != HistoryRows::Never;
        if rng.f64() < faults.permuted && may_wait {
            if let Some(gap) = gap_to_next_move(script, n) {
                fate.delay_ms = gap + rng.i64(40..300);
            }
        } else if rng.f64() < faults.late && may_wait {
            fate.delay_ms = rng.i64(500..5_000);
        }
        fates.push(fate);
    }
    fates
}

/// Whether rows of the API, read after everything, still show that step `n` happened and when.
fn told_later(script: &Script, n: usize, gone: bool, rows: HistoryRows) -> bool {
    if gone {
        return false;
    }
    let Some((_, step)) = script.steps.get(n) else { return false };
    let last = n + 1 == script.steps.len();
    match step {
        // The row of the stage that was entered must not be overwritten by another visit.
        Step::Apply { stage, .. } => next_is_a_move(script, n) && row_survives(script, n, *stage, rows),
        Step::Move { stage } => row_survives(script, n, *stage, rows),
        // A withdrawal differs from a rejection only in its reason, which rows tell later than the status.
        Step::Reject { by_candidate } => last && !by_candidate,
        Step::Unreject | Step::Hire | Step::Unhire => last,
        Step::Offer { .. } | Step::OfferApproved | Step::UpdateApplication | Step::UpdateCandidate => true,
        Step::Interview | Step::Scorecard | Step::Note | Step::Company(_) => true,
        Step::Prospect { .. }
        | Step::Convert { .. }
        | Step::Transfer { .. }
        | Step::Merge { .. }
        | Step::Anonymise
        | Step::InterviewDeleted
        | Step::ScorecardDeleted
        | Step::DeleteApplication
        | Step::DeleteCandidate => false,
    }
}

fn next_is_a_move(script: &Script, n: usize) -> bool {
    matches!(script.steps.get(n + 1), Some((_, Step::Move { .. })))
}

fn row_survives(script: &Script, n: usize, stage: usize, rows: HistoryRows) -> bool {
    let visits = |range: &[(i64, Step)]| -> HashSet<usize> {
        range
            .iter()
            .filter_map(|(_, step)| match step {
                Step::Move { stage } | Step::Apply { stage, .. } | Step::Transfer { stage, .. } => Some(*stage),
                Step::Convert { .. } => Some(0),
                _ => None,
            })
            .collect()
    };
    let before = script.steps.get(..n).map(visits).unwrap_or_default();
    let after = script.steps.get(n + 1..).map(visits).unwrap_or_default();
    match rows {
        HistoryRows::PerVisit => true,
        HistoryRows::PerStageLatest => !after.contains(&stage),
        HistoryRows::PerStageFirst => !before.contains(&stage),
        HistoryRows::Never => script.steps.iter().skip(n + 1).all(|(_, step)| !step.moves()),
    }
}

/// Hires and their undoing act at once in other systems, and deletions have no time of their own: they come in time.
fn may_wait(step: &Step) -> bool {
    matches!(
        step,
        Step::Apply { .. }
            | Step::Move { .. }
            | Step::Reject { .. }
            | Step::Unreject
            | Step::Transfer { .. }
            | Step::Offer { .. }
            | Step::UpdateApplication
            | Step::UpdateCandidate
    )
}

fn gap_to_next_move(script: &Script, n: usize) -> Option<i64> {
    let mut gap = 0;
    for (wait, step) in script.steps.get(n + 1..)? {
        gap += wait;
        if step.moves() {
            return Some(gap);
        }
    }
    None
}
