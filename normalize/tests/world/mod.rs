//! A model company: true histories of applications, and the facts by which a source tells them.
//!
//! Written without the ledger's code, so that it can judge it.

use hirewire_normalize::ledger::{
    Cause, ChangeType, Deletion, Facts, JobIx, Micros, Provenance, SECOND, Snapshot, Source, StageIx, State, Status,
    Switch, Visit, width_of,
};

/// One true move.
#[derive(Clone, Debug)]
pub(crate) struct Truth {
    pub(crate) at: Micros,
    pub(crate) change: ChangeType,
    pub(crate) from: State,
    pub(crate) to: State,
}

/// How the source keeps its history rows.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Rows {
    Visits,
    StagesLatest,
    StagesFirst,
}

/// One fact on its way.
#[derive(Clone, Debug)]
pub(crate) enum Fact {
    Snapshot(Snapshot),
    Visit(Visit),
    Switch(Switch),
    Deletion(Deletion),
    Created(Micros),
    StageJob(StageIx, JobIx),
}

pub(crate) fn add(facts: &mut Facts, fact: &Fact) -> bool {
    match fact {
        Fact::Snapshot(s) => facts.add_snapshot(*s),
        Fact::Visit(v) => facts.add_visit(*v),
        Fact::Switch(s) => facts.add_switch(*s),
        Fact::Deletion(d) => facts.add_deletion(*d),
        Fact::StageJob(stage, job) => facts.note_stage_job(*stage, *job),
        Fact::Created(at) => {
            let changed = facts.created_at.is_none();
            facts.created_at = Some(*at);
            changed
        }
    }
}

pub(crate) struct World {
    pub(crate) truth: Vec<Truth>,
    rejected_at: Vec<Option<Micros>>,
    /// Hires are told with their time; without it only the time of receipt places them.
    pub(crate) timed_hires: bool,
    /// Rows name their job; else look-ups tell to which job a stage belongs.
    pub(crate) rows_with_job: bool,
    rng: fastrand::Rng,
}

fn source(provenance: Provenance, seen_at: Micros) -> Source {
    Source { provenance, topic: 0, partition: 0, offset: seen_at, seen_at }
}

impl World {
    /// A random history of up to `most` moves after creation.
    pub(crate) fn new(seed: u64, most: usize) -> Self {
        let mut rng = fastrand::Rng::with_seed(seed);
        let start = 1_700_000_000 * SECOND;
        let mut at = start + rng.i64(0..1000) * 1000;
        let prospect = rng.u8(..10) == 0;
        let mut state = State { stage: Some(0), status: Status::Active, job: Some(0) };
        if prospect {
            state = State { stage: None, status: Status::Active, job: None };
        }
        let mut truth = vec![Truth { at, change: ChangeType::Created, from: State::NONE, to: state }];
        let mut rejected_at = vec![None];
        let mut rejected: Option<Micros> = None;
        for _ in 0..rng.usize(0..=most) {
            // At least one second apart, so that every clock tells them apart.
            at += SECOND + rng.i64(1..50) * rng.i64(1..1000) * 1000;
            let mut to = state;
            let dice = rng.u8(..100);
            let change = if dice < 3 {
                to = State::NONE;
                ChangeType::Deleted
            } else if prospect {
                if state.status == Status::Converted {
                    break;
                }
                to.status = Status::Converted;
                ChangeType::Status
            } else {
                match state.status {
                    Status::Active if dice < 65 => {
                        let job = state.job.unwrap() * 10;
                        let here = state.stage.unwrap() - job;
                        let there = if rng.bool() { (here + 1) % 5 } else { rng.u16(0..5) };
                        if there == here {
                            continue;
                        }
                        to.stage = Some(job + there);
                        ChangeType::Stage
                    }
                    Status::Active if dice < 78 => {
                        to.status = if rng.u8(..4) == 0 { Status::Withdrawn } else { Status::Rejected };
                        rejected = Some(at);
                        if to.status == Status::Rejected { ChangeType::Rejection } else { ChangeType::Withdrawal }
                    }
                    Status::Active if dice < 90 => {
                        to.status = Status::Hired;
                        ChangeType::Hire
                    }
                    Status::Active => {
                        let job = state.job.unwrap() + 1;
                        to.job = Some(job);
                        to.stage = Some(job * 10 + rng.u16(0..2));
                        ChangeType::JobTransfer
                    }
                    Status::Hired => {
                        to.status = Status::Active;
                        ChangeType::Unhire
                    }
                    _ => {
                        to.status = Status::Active;
                        rejected = None;
                        ChangeType::Unrejection
                    }
                }
            };
            truth.push(Truth { at, change, from: state, to });
            rejected_at.push(rejected);
            state = to;
            if change == ChangeType::Deleted {
                break;
            }
        }
        Self { truth, rejected_at, timed_hires: seed.is_multiple_of(2), rows_with_job: seed.is_multiple_of(3), rng }
    }

    pub(crate) fn end(&self) -> Micros {
        self.truth.last().unwrap().at + 100 * SECOND
    }

    pub(crate) fn created(&self) -> Fact {
        Fact::Created(self.truth[0].at)
    }

    /// The delivery that event `i` sends, received at `received`.
    pub(crate) fn webhook(&mut self, i: usize, received: Micros) -> Fact {
        let event = &self.truth[i];
        let source = source(Provenance::Webhook, received);
        match event.change {
            ChangeType::Hire if self.timed_hires => Fact::Snapshot(Snapshot {
                at: event.at / SECOND * SECOND,
                width: SECOND,
                stage: None,
                status: Some(Status::Hired),
                job: Some(event.to.job),
                since: None,
                change: Some(ChangeType::Hire),
                cause: Cause::Unknown,
                observed: false,
                source,
            }),
            ChangeType::Hire | ChangeType::Unhire if !self.timed_hires => Fact::Switch(Switch {
                change: event.change,
                seen_by: received,
                delivery: i as u64,
                cause: Cause::Unknown,
                source,
            }),
            ChangeType::Deleted => {
                Fact::Deletion(Deletion { at: received, observed: true, cause: Cause::Unknown, source })
            }
            change => {
                let at = event.at / SECOND * SECOND;
                let terminal = event.to.status.is_terminal();
                let said = !(terminal && self.rng.bool());
                Fact::Snapshot(Snapshot {
                    at,
                    width: SECOND,
                    stage: said.then_some(event.to.stage),
                    status: Some(event.to.status),
                    job: Some(event.to.job),
                    since: self.rejected_at[i].map(|at| at / SECOND * SECOND),
                    change: Some(change),
                    cause: Cause::Unknown,
                    observed: false,
                    source,
                })
            }
        }
    }

    /// The listed record after event `i`, in milliseconds, read at `received`. None once it is deleted.
    pub(crate) fn poll(&mut self, i: usize, received: Micros) -> Option<Fact> {
        let event = self.truth[i].clone();
        if event.change == ChangeType::Deleted {
            return None;
        }
        let next = self.truth.get(i + 1).map_or(event.at + 10 * SECOND, |next| next.at);
        // Something else may have touched the record meanwhile.
        let touched = if self.rng.bool() { 0 } else { self.rng.i64(0..(next - event.at) / 1000 - 1000) * 1000 };
        let at = event.at + touched;
        let status =
            if event.to.status == Status::Withdrawn && self.rng.bool() { Status::Rejected } else { event.to.status };
        Some(Fact::Snapshot(Snapshot {
            at,
            width: width_of(at),
            stage: (!event.to.status.is_terminal()).then_some(event.to.stage),
            status: Some(status),
            job: Some(event.to.job),
            since: self.rejected_at[i],
            change: None,
            cause: Cause::Unknown,
            observed: false,
            source: source(Provenance::Poll, received),
        }))
    }

    /// What a record without a clock was before event `i`, read within that event's tick.
    pub(crate) fn answer_before(&mut self, i: usize) -> Fact {
        let event = self.truth[i].clone();
        let at = event.at + self.rng.i64(1..width_of(event.at));
        Fact::Snapshot(Snapshot {
            at,
            // From when it was asked for until it came.
            width: self.rng.i64(1..SECOND / 2),
            stage: Some(event.from.stage),
            status: Some(event.from.status),
            job: Some(event.from.job),
            since: None,
            change: None,
            cause: Cause::Unknown,
            observed: true,
            source: source(Provenance::Poll, at),
        })
    }

    /// The history rows as they stand after event `i`.
    pub(crate) fn rows(&self, i: usize, kind: Rows, received: Micros) -> Vec<Fact> {
        let mut visits: Vec<Visit> = Vec::new();
        for event in self.truth[..=i].iter().filter(|event| event.from.stage != event.to.stage) {
            if let Some(left) = event.from.stage
                && let Some(open) = visits.iter_mut().rev().find(|v| v.stage == left && v.exited.is_none())
            {
                open.exited = Some(event.at);
                open.version = event.at;
            }
            let Some(stage) = event.to.stage else { continue };
            let again = visits.iter_mut().find(|v| v.stage == stage && kind != Rows::Visits);
            match again {
                Some(row) => {
                    if kind == Rows::StagesLatest {
                        row.entered = Some(event.at);
                    }
                    row.exited = None;
                    row.version = event.at;
                }
                None => visits.push(Visit {
                    stage,
                    job: event.to.job.filter(|_| self.rows_with_job),
                    entered: Some(event.at),
                    exited: None,
                    version: event.at,
                    source: source(Provenance::HistoryEndpoint, received),
                }),
            }
        }
        let mut facts: Vec<Fact> = visits.into_iter().map(Fact::Visit).collect();
        if !self.rows_with_job {
            let stages = self.truth[..=i].iter().filter_map(|event| event.to.stage.zip(event.to.job));
            facts.extend(stages.map(|(stage, job)| Fact::StageJob(stage, job)));
        }
        facts
    }
}
