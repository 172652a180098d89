//! The account as it stands, and what each step does to it.
//!
//! In: a [`Planned`] step and the instant at which it is played. Out: [`Effects`]. Deterministic: replaying the same
//! steps at the same instants builds the same world, which is how a killed simulation goes on.

pub(crate) mod company;
pub(crate) mod names;
pub(crate) mod people;

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::effects::{ChangeKind, Effects, RowWrite, TrueChange, TrueHire, TrueStage};
use crate::greenhouse::company_rows;
use crate::plan::{Planned, Step};
use crate::rules::Story;
use crate::settings::{HistoryRows, Scenario};
use crate::steps;
use crate::story::{Facts, status_word};
use crate::world::company::{Company, Stage};
use crate::world::people::{Application, Candidate, Visit};

pub(crate) struct World {
    pub(crate) company: Company,
    /// In whose words the truth is told; `None`: Greenhouse's, which this world is made of.
    pub(crate) story: Option<Arc<Story>>,
    pub(crate) history_rows: HistoryRows,
    pub(crate) seed: u64,
    pub(crate) candidates: BTreeMap<usize, Candidate>,
    pub(crate) applications: BTreeMap<usize, Application>,
    next: i64,
}

impl World {
    /// The world before its first step, and the rows that show it.
    pub(crate) fn new(scenario: &Scenario, story: Option<Arc<Story>>, start: i64) -> (Self, Vec<RowWrite>) {
        let company = Company::new(scenario.seed, scenario.applications, start);
        // A story writes rows of its own.
        let rows = if story.is_none() { company_rows::all(&company, start) } else { Vec::new() };
        let world = Self {
            company,
            story,
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
        self.follow_ends(planned.app, at);
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
        effects.application = self.applications.get(&about).map(|app| self.application_id(app));
        if let Some(kind) = kind {
            effects.truth = self.changes(planned, kind, &before, at);
        }
        if let Step::Convert { into, .. } = planned.step {
            let after = self.side(into);
            effects.truth.extend(self.change(planned, into, ChangeKind::Created, [&Side::default(), &after], at));
        }
        if self.story.is_some() {
            effects.rows.clear();
        }
        effects
    }

    /// What a step changed. An end that is a stage is entered and then ends; to take it back, it is left at last.
    fn changes(&self, planned: &Planned, kind: ChangeKind, before: &Side, at: i64) -> Vec<TrueChange> {
        let after = self.side(planned.app);
        let moves = before.stage != after.stage;
        let (ends, goes_on) = match kind {
            ChangeKind::Hire | ChangeKind::Rejection | ChangeKind::Withdrawal => (moves, false),
            ChangeKind::Unhire | ChangeKind::Unrejection => (false, moves),
            _ => (false, false),
        };
        let middle = if ends {
            Side { status: before.status, ..after.clone() }
        } else {
            Side { stage: before.stage.clone(), ..after.clone() }
        };
        let parts = match (ends, goes_on) {
            (true, _) => vec![(ChangeKind::Stage, [before, &middle]), (kind, [&middle, &after])],
            (_, true) => vec![(kind, [before, &middle]), (ChangeKind::Stage, [&middle, &after])],
            _ => vec![(kind, [before, &after])],
        };
        parts.into_iter().filter_map(|(kind, sides)| self.change(planned, planned.app, kind, sides, at)).collect()
    }

    fn change(
        &self,
        planned: &Planned,
        app: usize,
        kind: ChangeKind,
        [before, after]: [&Side; 2],
        at: i64,
    ) -> Option<TrueChange> {
        Some(TrueChange {
            application: self.application_id(self.applications.get(&app)?),
            at,
            kind,
            from_stage: before.stage.clone(),
            to_stage: after.stage.clone(),
            from_status: before.status.map(str::to_owned),
            to_status: after.status.map(str::to_owned),
            from_job: before.job.clone(),
            to_job: after.job.clone(),
            past: planned.offset_ms < 0,
            webhook: None,
            unobservable_if_lost: planned.fate.unobservable_if_lost,
            hire: if kind == ChangeKind::Hire { self.hire(app) } else { None },
        })
    }

    /// Where ends are stages, who is hired or rejected has left the stage before, and comes back to it.
    fn follow_ends(&mut self, index: usize, at: i64) {
        let Some(story) = self.story.clone() else { return };
        let Some(app) = self.applications.get(&index) else { return };
        let end = Some(app.status).filter(|status| story.ends.contains_key(status_word(*status)));
        if app.visits.last().is_none_or(|visit| visit.end == end) {
            return;
        }
        let id = self.id(Range::Other);
        let Some(app) = self.applications.get_mut(&index) else { return };
        let stage = (app.job.unwrap_or(0), app.stage.unwrap_or(0));
        for visit in app.visits.iter_mut().filter(|visit| visit.exited_at.is_none()) {
            visit.exited_at = Some(at);
        }
        app.visits.push(Visit { id, end, stage, created_at: at, entered_at: at, exited_at: None });
    }

    /// The vendor's id of an application.
    fn application_id(&self, app: &Application) -> String {
        match &self.story {
            Some(story) => Facts::of_application(self, story, app).word("application.id"),
            None => app.id.to_string(),
        }
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
        let own = |stage: &Stage| TrueStage { id: stage.id.to_string(), name: stage.name.to_owned() };
        let (stage, job) = match &self.story {
            Some(story) => {
                let facts = Facts::of_application(self, story, app);
                let stage = TrueStage { id: facts.word("stage.id"), name: facts.word("stage.name") };
                (Some(stage).filter(|stage| !stage.id.is_empty()), Some(facts.word("job.id")))
            }
            None => {
                let job = app.job.and_then(|job| self.company.jobs.get(job));
                (self.stage(app).map(own), job.map(|job| job.id.to_string()))
            }
        };
        Side { stage, status: Some(status_word(app.status)), job: job.filter(|_| !app.prospect) }
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
    job: Option<String>,
}
