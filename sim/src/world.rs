//! The account as it stands, and what each step does to it.
//!
//! In: a [`Planned`] step and the instant at which it is played. Out: [`Effects`]. Deterministic: replaying the same
//! steps at the same instants builds the same world, which is how a killed simulation goes on.

use std::collections::BTreeMap;

use crate::company::{Company, Stage};
use crate::company_rows;
use crate::effects::{ChangeKind, Effects, RowWrite, TrueChange, TrueHire, TrueStage};
use crate::people::{Application, Candidate, Status};
use crate::plan::{Planned, Step};
use crate::settings::{HistoryRows, Scenario};
use crate::steps;

pub(crate) struct World {
    pub(crate) company: Company,
    pub(crate) history_rows: HistoryRows,
    pub(crate) seed: u64,
    pub(crate) candidates: BTreeMap<usize, Candidate>,
    pub(crate) applications: BTreeMap<usize, Application>,
    next: i64,
}

impl World {
    /// The world before its first step, and the rows that show it.
    pub(crate) fn new(scenario: &Scenario, start: i64) -> (Self, Vec<RowWrite>) {
        let company = Company::new(scenario.seed, scenario.applications, start);
        let rows = company_rows::all(&company, start);
        let world = Self {
            company,
            history_rows: scenario.history_rows,
            seed: scenario.seed,
            candidates: BTreeMap::new(),
            applications: BTreeMap::new(),
            next: 0,
        };
        (world, rows)
    }

    pub(crate) fn apply(&mut self, planned: &Planned, at: i64) -> Effects {
        let mut effects = Effects::default();
        let before = self.side(planned.app);
        steps::apply(self, planned, at, &mut effects);
        let kind = match planned.step {
            Step::Apply { .. } | Step::Prospect { .. } => Some(ChangeKind::Created),
            Step::Move { .. } => Some(ChangeKind::Stage),
            Step::Reject { by_candidate: true } => Some(ChangeKind::Withdrawal),
            Step::Reject { .. } => Some(ChangeKind::Rejection),
            Step::Unreject => Some(ChangeKind::Unrejection),
            Step::Hire => Some(ChangeKind::Hire),
            Step::Unhire => Some(ChangeKind::Unhire),
            Step::Transfer { .. } => Some(ChangeKind::JobTransfer),
            Step::Convert { .. } => Some(ChangeKind::Status),
            Step::DeleteApplication | Step::DeleteCandidate => Some(ChangeKind::Deleted),
            _ => None,
        };
        let about = match planned.step {
            Step::Convert { into, .. } => into,
            _ => planned.app,
        };
        effects.application = self.applications.get(&about).map(|app| app.id);
        if let Some(kind) = kind {
            effects.truth.extend(self.change(planned, planned.app, kind, &before, at));
        }
        if let Step::Convert { into, .. } = planned.step {
            effects.truth.extend(self.change(planned, into, ChangeKind::Created, &Side::default(), at));
        }
        effects
    }

    fn change(&self, planned: &Planned, app: usize, kind: ChangeKind, before: &Side, at: i64) -> Option<TrueChange> {
        let after = self.side(app);
        Some(TrueChange {
            application: self.applications.get(&app)?.id,
            at,
            kind,
            from_stage: before.stage.clone(),
            to_stage: after.stage,
            from_status: before.status.map(str::to_owned),
            to_status: after.status.map(str::to_owned),
            from_job: before.job,
            to_job: after.job,
            past: planned.offset_ms < 0,
            webhook: None,
            unobservable_if_lost: planned.fate.unobservable_if_lost,
            hire: if kind == ChangeKind::Hire { self.hire(app) } else { None },
        })
    }

    fn hire(&self, app: usize) -> Option<TrueHire> {
        let app = self.applications.get(&app)?;
        let offer = app.offers.last()?;
        Some(TrueHire {
            job: self.company.jobs.get(app.job?)?.name.clone(),
            starts_on: offer.starts_on.clone(),
            salary_cents: offer.salary_cents,
            currency: "USD".to_owned(),
        })
    }

    fn side(&self, app: usize) -> Side {
        let Some(app) = self.applications.get(&app).filter(|app| !app.gone) else { return Side::default() };
        Side {
            stage: self.stage(app).map(|stage| TrueStage { id: stage.id, name: stage.name.to_owned() }),
            status: Some(match app.status {
                Status::Active => "ACTIVE",
                Status::Rejected { by_candidate: false } => "REJECTED",
                Status::Rejected { by_candidate: true } => "WITHDRAWN",
                Status::Hired => "HIRED",
                Status::Converted => "CONVERTED",
            }),
            job: app.job.filter(|_| !app.prospect).and_then(|job| self.company.jobs.get(job)).map(|job| job.id),
        }
    }

    pub(crate) fn candidate(&self, index: usize) -> Option<&Candidate> {
        self.candidates.get(&index)
    }

    /// The stage an application stands in (or stood in when it was rejected or hired).
    pub(crate) fn stage(&self, app: &Application) -> Option<&Stage> {
        self.company.jobs.get(app.job?)?.stages.get(app.stage?)
    }

    /// A fresh id; those of one range grow with time, as the vendor's do.
    pub(crate) fn id(&mut self, range: Range) -> i64 {
        self.next += 1;
        match range {
            Range::Application => 5_000_000_006 + self.next * 1_000,
            // Beyond what a double holds exactly: whoever reads numbers as floats gets another person.
            Range::Candidate => 9_007_199_254_740_993 + self.next * 2,
            Range::Other => 8_100_000_006 + self.next * 1_000,
        }
    }
}

#[derive(Debug, Clone, Copy)]
pub(crate) enum Range {
    Application,
    Candidate,
    Other,
}

#[derive(Debug, Clone, Default)]
struct Side {
    stage: Option<TrueStage>,
    status: Option<&'static str>,
    job: Option<i64>,
}
