//! Life stories: one script per application, drawn from kinds of story with quotas.
//!
//! From 40 applications on every seed has hires, unhires, offers, assessments, unrejections, transfers, converted
//! prospects, merges, deletions and anonymisations; below that the first few kinds that matter most.

use fastrand::Rng;

use crate::plan::{MIN_GAP_MS, Step};
use crate::rules::{Can, Story as Told};
use crate::settings::{HistoryRows, Scenario};
use crate::world::company::Job;

#[derive(Debug, Clone)]
pub(crate) struct Script {
    /// Index of the (first) application.
    pub(crate) app: usize,
    pub(crate) candidate: usize,
    pub(crate) start_ms: i64,
    /// The wait before a step, and the step. The first wait is 0.
    pub(crate) steps: Vec<(i64, Step)>,
    /// Steps after this index belong to application `app + 1`. `usize::MAX` when there is no conversion.
    pub(crate) converted_at: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Story {
    Hire,
    HireUnhire,
    RejectUnreject,
    Progress,
    Reject,
    Transfer,
    Prospect,
    Merge,
    DeleteApplication,
    DeleteCandidate,
    Anonymise,
}

impl Story {
    /// What becomes of it at a vendor that cannot tell all of it.
    fn as_told(self, told: Option<&Told>) -> Self {
        let Some(told) = told else { return self };
        match self {
            Self::HireUnhire if !told.can(Can::Unhire) => Self::Hire,
            Self::RejectUnreject if !told.can(Can::Unreject) => Self::Reject,
            Self::Transfer if !told.can(Can::Transfer) => Self::Progress,
            Self::DeleteApplication if !told.can(Can::DeleteApplication) => Self::Reject,
            Self::DeleteCandidate if !told.can(Can::DeleteCandidate) => Self::Reject,
            Self::Anonymise => Self::Reject,
            Self::Prospect | Self::Merge => Self::Progress,
            other => other,
        }
    }
}

/// What every seed has from 40 applications on; and the order below that.
const QUOTA: &[Story] = &[
    Story::HireUnhire,
    Story::Hire,
    Story::RejectUnreject,
    Story::Progress,
    Story::Transfer,
    Story::Reject,
    Story::Prospect,
    Story::Merge,
    Story::DeleteApplication,
    Story::Anonymise,
    Story::DeleteCandidate,
    Story::Hire,
    Story::HireUnhire,
    Story::Reject,
];

/// The scripts of the applications that live while the clock runs.
pub(crate) fn live(scenario: &Scenario, told: Option<&Told>, jobs: &[Job], rng: &mut Rng) -> Vec<Script> {
    let mut stories: Vec<Story> =
        (0..scenario.applications).map(|n| QUOTA.get(n).copied().unwrap_or_else(|| any_story(rng))).collect();
    stories.iter_mut().for_each(|story| *story = story.as_told(told));
    rng.shuffle(&mut stories);
    let mut scripts: Vec<Script> = Vec::new();
    let mut app = 0;
    let mut winners: Vec<usize> = Vec::new();
    for (n, story) in stories.into_iter().enumerate() {
        let lasting = !matches!(
            story,
            Story::Merge | Story::DeleteApplication | Story::DeleteCandidate | Story::Anonymise | Story::Prospect
        );
        // Now and then a person applies for a second job.
        let again = lasting && !winners.is_empty() && rng.u8(..100) < 8;
        let again = again && told.is_none_or(|told| !told.apply_once);
        let candidate = if again { winners.get(rng.usize(..winners.len())).copied().unwrap_or(n) } else { n };
        let mut teller = Teller::new(jobs, rng);
        let converted_at = teller.tell(story, candidate, app, winners.last().copied());
        let mut steps = teller.steps;
        limit(&mut steps, told);
        if lasting && candidate == n {
            winners.push(n);
        }
        scripts.push(Script { app, candidate, start_ms: 0, steps, converted_at });
        app += if converted_at == usize::MAX { 1 } else { 2 };
    }
    scripts
}

/// Who cannot step back is rejected.
fn limit(steps: &mut [(i64, Step)], told: Option<&Told>) {
    for (_, step) in steps {
        if let Step::Reject { by_candidate } = step {
            *by_candidate &= told.is_none_or(|told| told.can(Can::Withdraw));
        }
    }
}

/// Scripts of the years before the start. Only what rows still show of them: no cycles that later rows overwrite.
pub(crate) fn past(
    scenario: &Scenario,
    told: Option<&Told>,
    jobs: &[Job],
    scripts: usize,
    rng: &mut Rng,
) -> Vec<Script> {
    let first = scripts * 2 + 1;
    let mut found = Vec::new();
    for n in 0..scenario.past_applications {
        let mut teller = Teller::new(jobs, rng);
        teller.backwards = scenario.history_rows == HistoryRows::PerVisit;
        let story = if teller.rng.u8(..100) < 30 { Story::Hire } else { Story::Reject };
        teller.tell(story, first + n, first + n, None);
        let mut steps = teller.steps;
        limit(&mut steps, told);
        for (gap, _) in steps.iter_mut().skip(1) {
            *gap = rng.i64(3_600_000..12 * 86_400_000);
        }
        let length: i64 = steps.iter().map(|(gap, _)| gap).sum();
        let start_ms = -length - rng.i64(3_600_000..3 * 365 * 86_400_000);
        found.push(Script { app: first + n, candidate: first + n, start_ms, steps, converted_at: usize::MAX });
    }
    found
}

fn any_story(rng: &mut Rng) -> Story {
    match rng.u8(..100) {
        0..14 => Story::Hire,
        14..20 => Story::HireUnhire,
        20..30 => Story::RejectUnreject,
        30..52 => Story::Progress,
        52..78 => Story::Reject,
        78..84 => Story::Transfer,
        84..89 => Story::Prospect,
        89..92 => Story::Merge,
        92..95 => Story::DeleteApplication,
        95..97 => Story::DeleteCandidate,
        _ => Story::Anonymise,
    }
}

/// Writes one story, keeping track of where the application stands.
struct Teller<'a> {
    jobs: &'a [Job],
    rng: &'a mut Rng,
    steps: Vec<(i64, Step)>,
    job: usize,
    stage: usize,
    backwards: bool,
}

impl<'a> Teller<'a> {
    fn new(jobs: &'a [Job], rng: &'a mut Rng) -> Self {
        let job = rng.usize(..jobs.len().max(1));
        Self { jobs, rng, steps: Vec::new(), job, stage: 0, backwards: true }
    }

    /// Returns after which step the script goes on with another application.
    fn tell(&mut self, story: Story, candidate: usize, app: usize, winner: Option<usize>) -> usize {
        let mut converted_at = usize::MAX;
        if story == Story::Prospect {
            let job = self.rng.bool().then_some(self.job);
            self.first(Step::Prospect { candidate, job });
            converted_at = 1;
            self.step(Step::Convert { into: app + 1, job: self.job });
        } else {
            self.stage = usize::from(self.rng.u8(..10) == 0);
            self.first(Step::Apply { candidate, job: self.job, stage: self.stage });
        }
        match story {
            Story::Hire => self.hire(),
            Story::HireUnhire => self.hire_unhire(),
            Story::RejectUnreject => self.reject_unreject(),
            Story::Progress | Story::Prospect => self.walk_some(),
            Story::Reject => {
                self.walk_some();
                self.reject();
            }
            Story::Transfer => self.transfer(),
            Story::Merge => {
                self.walk_some();
                if let Some(winner) = winner {
                    self.step(Step::Merge { winner });
                }
                self.walk_some();
            }
            Story::DeleteApplication => {
                self.walk_some();
                self.step(Step::DeleteApplication);
            }
            Story::DeleteCandidate => {
                self.walk_some();
                self.step(Step::DeleteCandidate);
            }
            Story::Anonymise => {
                self.walk_some();
                self.reject();
                self.step(Step::Anonymise);
            }
        }
        converted_at
    }

    fn first(&mut self, step: Step) {
        self.steps.push((0, step));
    }

    fn step(&mut self, step: Step) {
        let gap = MIN_GAP_MS + self.rng.i64(0..1_400);
        self.steps.push((gap, step));
    }

    fn offer_stage(&self) -> usize {
        self.jobs.get(self.job).map_or(0, Job::offer)
    }

    fn assessment(&self) -> usize {
        self.jobs.get(self.job).map_or(0, Job::assessment)
    }

    fn move_to(&mut self, stage: usize) {
        self.stage = stage;
        self.step(Step::Move { stage });
    }

    /// Stage by stage to `target`, now and then back or over a stage, with what happens on the way.
    fn walk_to(&mut self, target: usize) {
        let mut backs = if self.backwards { 2 } else { 0 };
        while self.stage < target {
            let dice = self.rng.u8(..100);
            if dice < 14 && backs > 0 && self.stage > 0 {
                backs -= 1;
                self.move_to(self.stage - 1);
            } else if dice < 24 && self.stage + 2 <= target && self.stage + 1 != self.assessment() {
                self.move_to(self.stage + 2);
            } else {
                self.move_to(self.stage + 1);
            }
            self.aside();
        }
    }

    fn walk_some(&mut self) {
        let offer = self.offer_stage();
        let target = (self.stage + 1 + self.rng.usize(..3)).min(offer.saturating_sub(1)).max(self.stage);
        self.walk_to(target);
    }

    /// Things that change no stage.
    fn aside(&mut self) {
        let step = match self.rng.u8(..100) {
            0..10 => Step::Interview,
            10..16 => Step::Scorecard,
            16..20 => Step::Note,
            20..24 => Step::UpdateApplication,
            24..27 => Step::UpdateCandidate,
            _ => return,
        };
        self.step(step);
    }

    fn offer_and_hire(&mut self) {
        self.walk_to(self.offer_stage());
        self.step(Step::Offer { revised: false });
        if self.rng.u8(..10) < 4 {
            self.step(Step::Offer { revised: true });
        }
        if self.rng.u8(..10) < 6 {
            self.step(Step::OfferApproved);
        }
        self.step(Step::Hire);
    }

    fn hire(&mut self) {
        self.walk_to(self.assessment());
        self.panel();
        self.offer_and_hire();
    }

    /// Now and then an interview and its scorecard, one of which may be taken back.
    fn panel(&mut self) {
        let dice = self.rng.u8(..100);
        if dice < 40 {
            self.step(Step::Interview);
            self.step(Step::Scorecard);
        }
        match dice {
            0..15 => self.step(Step::ScorecardDeleted),
            15..30 => self.step(Step::InterviewDeleted),
            _ => {}
        }
    }

    fn hire_unhire(&mut self) {
        self.hire();
        self.steps.push((4_000 + self.rng.i64(0..2_500), Step::Unhire));
        match self.rng.u8(..10) {
            0..3 => {
                self.step(Step::Offer { revised: true });
                self.step(Step::Hire);
            }
            3..6 => self.reject(),
            6..8 => self.move_to(self.offer_stage().saturating_sub(1)),
            _ => {}
        }
    }

    fn reject(&mut self) {
        let by_candidate = self.rng.u8(..10) < 3;
        self.step(Step::Reject { by_candidate });
    }

    fn reject_unreject(&mut self) {
        self.walk_some();
        self.reject();
        self.step(Step::Unreject);
        match self.rng.u8(..10) {
            0..4 => self.walk_some(),
            4..6 => self.reject(),
            6..8 => self.hire(),
            _ => {}
        }
    }

    fn transfer(&mut self) {
        self.walk_some();
        let other =
            (self.job + 1 + self.rng.usize(..self.jobs.len().saturating_sub(1).max(1))) % self.jobs.len().max(1);
        if other != self.job {
            self.job = other;
            self.stage = self.rng.usize(..2);
            self.step(Step::Transfer { job: other, stage: self.stage });
        }
        self.walk_some();
        if self.rng.bool() {
            self.reject();
        }
    }
}
