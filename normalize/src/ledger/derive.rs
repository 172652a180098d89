//! `derive`: the true history as far as the facts tell it. Pure: facts in, moves out.
//!
//! Invariants: the first move is CREATED, a DELETED is the last; each `from` is the `to` before it; times never fall.

use super::facts::{Facts, Snapshot, width_of};
use super::stages::{Stage, stage_runs};
use super::statuses::{StatusRun, status_runs};
use super::track::{Assertion, MOST_SOURCES, Run, push_source, runs, settle};
use super::value::{Cause, ChangeType, JobIx, Micros, Precision, Source, State, Status};

/// One move of an application.
#[derive(Clone, Debug, PartialEq)]
pub struct Move {
    pub change: ChangeType,
    pub from: State,
    pub to: State,
    pub at: Micros,
    pub precision: Precision,
    pub not_before: Option<Micros>,
    pub not_after: Option<Micros>,
    /// The from-side is our own last state, not a row of the source.
    pub inferred: bool,
    pub cause: Cause,
    pub sources: Vec<Source>,
}

/// What changes at a step, before steps of the three aspects are joined.
#[derive(Clone, Copy, Debug, PartialEq)]
enum To {
    Stage(Stage),
    Status(Status),
    Job(Option<JobIx>),
    /// A job and the stage in it.
    Transfer(Option<JobIx>, Stage),
}

#[derive(Clone, Debug)]
struct Step {
    to: To,
    at: Micros,
    precision: Precision,
    /// Latest instant at which the value before was seen.
    after: Micros,
    not_before: Option<Micros>,
    not_after: Option<Micros>,
    inferred: bool,
    cause: Cause,
    sources: Vec<Source>,
}

impl Step {
    /// Of steps at one instant: back to activity first, out of it last.
    fn rank(&self) -> u8 {
        match self.to {
            To::Status(Status::Active) => 0,
            To::Job(_) | To::Transfer(..) => 1,
            To::Stage(_) => 2,
            To::Status(_) => 3,
        }
    }
}

/// Moves in order. Empty while the application itself was not seen.
#[must_use]
pub fn derive(facts: &Facts) -> Vec<Move> {
    if !facts.is_known() {
        return Vec::new();
    }
    let stages = stage_runs(facts);
    let statuses = status_runs(facts);
    let jobs = job_runs(facts);
    let initial = State {
        stage: stages.first().and_then(|run| run.first.value),
        status: statuses.first().map_or(Status::Active, StatusRun::status),
        job: jobs.first().and_then(|run| run.first.value),
    };
    let mut steps = stage_steps(facts, &stages);
    let status_steps = status_steps(&statuses);
    place_before_end(&mut steps, &status_steps);
    let job_steps = join_transfers(facts, &mut steps, track_steps(&jobs, To::Job));
    steps.extend(status_steps);
    steps.extend(job_steps);
    steps.sort_by_key(|step| (step.at, step.rank()));
    let mut moves = Vec::with_capacity(steps.len() + 2);
    moves.push(creation(facts, initial, steps.first().map(|step| step.at)));
    for step in steps {
        let from = moves.last().map_or(initial, |m| m.to);
        moves.extend(take(from, step));
    }
    if let Some(deletion) = facts.deletion {
        let last = moves.last().map_or(deletion.at, |m| m.at);
        moves.push(Move {
            change: ChangeType::Deleted,
            from: moves.last().map_or(initial, |m| m.to),
            to: State::NONE,
            at: deletion.at.max(last),
            precision: if deletion.observed { Precision::Observed } else { Precision::Bounded },
            not_before: Some(last),
            not_after: Some(deletion.at.max(last)),
            inferred: true,
            cause: deletion.cause,
            sources: vec![deletion.source],
        });
    }
    moves
}

/// The creation is where the facts begin; its time is the source's, but never later than the first move.
fn creation(facts: &Facts, to: State, first_step: Option<Micros>) -> Move {
    let told = facts.applied_at.or(facts.created_at);
    let first_row = facts.visits.iter().filter_map(|visit| visit.entered).min();
    let first_seen = facts.snapshots.first().map(Snapshot::surely_at).into_iter().chain(first_row).min();
    let fallback = first_seen.or(facts.first_seen).or(first_step).unwrap_or(0);
    let (at, precision) = match (told, first_row) {
        (Some(at), _) => (at, Precision::Exact),
        (None, Some(row)) if row <= fallback => (row, Precision::Exact),
        _ => (fallback, Precision::Observed),
    };
    let mut sources = Vec::new();
    push_source(&mut sources, facts.snapshots.first().or(facts.weak.as_ref()).map(|s| s.source));
    push_source(&mut sources, facts.visits.first().map(|visit| visit.source));
    push_source(&mut sources, facts.switches.first().map(|switch| switch.source));
    push_source(&mut sources, facts.deletion.map(|deletion| deletion.source));
    let cause =
        facts.snapshots.iter().find(|s| s.change == Some(ChangeType::Created)).map_or(Cause::Unknown, |s| s.cause);
    let early = first_step.is_some_and(|first| first < at);
    Move {
        change: ChangeType::Created,
        from: State::NONE,
        to,
        at: first_step.map_or(at, |first| at.min(first)),
        precision: if early { Precision::Bounded } else { precision },
        not_before: None,
        not_after: (early || precision != Precision::Exact).then_some(first_step.map_or(at, |first| at.min(first))),
        inferred: false,
        cause,
        sources,
    }
}

/// Applies a step; none if it changes nothing.
fn take(from: State, step: Step) -> Option<Move> {
    let (change, to) = match step.to {
        To::Stage(stage) => (ChangeType::Stage, State { stage, ..from }),
        To::Status(status) => (ChangeType::of_statuses(from.status, status), State { status, ..from }),
        To::Job(job) => (ChangeType::JobTransfer, State { job, ..from }),
        To::Transfer(job, stage) => (ChangeType::JobTransfer, State { job, stage, ..from }),
    };
    (to != from).then_some(Move {
        change,
        from,
        to,
        at: step.at,
        precision: step.precision,
        not_before: step.not_before,
        not_after: step.not_after,
        inferred: step.inferred,
        cause: step.cause,
        sources: step.sources,
    })
}

fn job_runs(facts: &Facts) -> Vec<Run<Option<JobIx>>> {
    let mut all = Vec::with_capacity(facts.snapshots.len());
    let weak = facts.weak.iter().filter(|_| facts.snapshots.iter().all(|s| s.job.is_none()));
    for s in facts.snapshots.iter().chain(weak) {
        if let Some(job) = s.job {
            all.push(Assertion {
                lo: s.at,
                hi: s.at + s.width,
                value: job,
                exact: false,
                observed: s.observed,
                reported: s.change == Some(ChangeType::JobTransfer),
                source: Some(s.source),
            });
        }
    }
    for visit in &facts.visits {
        let of_stage = || facts.stage_jobs.get(usize::from(visit.stage)).copied().flatten();
        if let (Some(job), Some(entered)) = (visit.job.or_else(of_stage), visit.entered) {
            let source = Some(visit.source);
            let value = Some(job);
            all.push(Assertion {
                lo: entered,
                hi: entered + width_of(entered),
                value,
                exact: false,
                observed: false,
                reported: false,
                source,
            });
        }
    }
    runs(&settle(all))
}

/// Steps between neighbouring runs; times within a track always rise.
fn track_steps<T: Copy>(track: &[Run<T>], to: impl Fn(T) -> To) -> Vec<Step> {
    let mut last = Micros::MIN;
    let mut steps = Vec::with_capacity(track.len());
    for pair in track.windows(2) {
        let (before, run) = (&pair[0], &pair[1]);
        let first = &run.first;
        let at = first.lo.max(before.last).max(last.saturating_add(1));
        last = at;
        let (precision, not_before, not_after) = if first.exact {
            (Precision::Exact, None, None)
        } else {
            let floor = if first.reported { first.lo.max(before.last) } else { before.last };
            let precision = if first.observed { Precision::Observed } else { Precision::Bounded };
            (precision, Some(floor.min(at)), Some(first.hi.max(at)))
        };
        let (cause, sources) = (Cause::Unknown, run.sources.clone());
        let after = before.last;
        steps.push(Step {
            to: to(first.value),
            at,
            precision,
            after,
            not_before,
            not_after,
            inferred: true,
            cause,
            sources,
        });
    }
    steps
}

fn stage_steps(facts: &Facts, stages: &[Run<Stage>]) -> Vec<Step> {
    let mut steps = track_steps(stages, To::Stage);
    for (pair, step) in stages.windows(2).zip(&mut steps) {
        // Two rows that meet tell both sides of the move.
        let left = facts.visits.iter().any(|v| Some(v.stage) == pair[0].first.value && v.exited == Some(step.at));
        step.inferred = !(step.precision == Precision::Exact && left);
    }
    steps
}

fn status_steps(statuses: &[StatusRun]) -> Vec<Step> {
    let mut last = Micros::MIN;
    let mut steps = Vec::with_capacity(statuses.len());
    for pair in statuses.windows(2) {
        let (before, run) = (&pair[0], &pair[1]);
        let floor = before.last();
        let told = run.since.unwrap_or(run.lo).max(floor.unwrap_or(Micros::MIN));
        let at = told.max(last.saturating_add(1));
        last = at;
        let (precision, not_before, not_after) = match run.since {
            Some(_) => (Precision::Exact, None, None),
            None => {
                let floor = if run.reported { Some(run.lo.min(at)) } else { floor };
                let precision = if run.observed { Precision::Observed } else { Precision::Bounded };
                (precision, floor.map(|floor| floor.min(at)), Some(run.hi.max(at)))
            }
        };
        let mut sources = run.sources.clone();
        sources.truncate(MOST_SOURCES);
        let to = To::Status(run.status());
        let after = before.last().unwrap_or(Micros::MIN);
        steps.push(Step { to, at, precision, after, not_before, not_after, inferred: true, cause: run.cause, sources });
    }
    steps
}

/// A stage move that is only bounded, and would fall into a time of rest, happened before the application came to rest.
fn place_before_end(stages: &mut [Step], statuses: &[Step]) {
    for step in stages.iter_mut().filter(|step| step.precision != Precision::Exact) {
        let Some(end) = statuses.iter().rev().find(|status| status.at < step.at) else { continue };
        if matches!(end.to, To::Status(status) if status.is_terminal()) && end.at > step.after {
            step.at = end.at;
            step.not_before = step.not_before.map(|floor| floor.min(end.at));
            step.not_after = Some(end.at);
        }
    }
}

/// A transfer changes job and stage at once: joins each job step with the stage move that belongs to it.
fn join_transfers(facts: &Facts, stages: &mut [Step], jobs: Vec<Step>) -> Vec<Step> {
    let mut alone = Vec::new();
    for step in jobs {
        let To::Job(job) = step.to else { continue };
        let ceiling = step.not_after.unwrap_or(step.at);
        let job_of = |stage: &Step| match stage.to {
            To::Stage(Some(value)) => facts.job_of_stay(value, Some(stage.at)),
            _ => None,
        };
        // Its time may be cut to a tick in which the job before was still seen.
        let begins = |stage: &Step| stage.at + width_of(stage.at) > step.after && stage.at <= ceiling;
        let within = |stage: &Step| matches!(stage.to, To::Stage(Some(_))) && begins(stage);
        let sure = stages.iter().position(|stage| within(stage) && job.is_some() && job_of(stage) == job);
        let likely = || stages.iter().rposition(|stage| within(stage) && job_of(stage).is_none());
        match sure.or_else(likely) {
            Some(index) => {
                let stage = &mut stages[index];
                if let To::Stage(value) = stage.to {
                    stage.to = To::Transfer(job, value);
                }
                for source in step.sources {
                    push_source(&mut stage.sources, Some(source));
                }
            }
            None => alone.push(step),
        }
    }
    alone
}
