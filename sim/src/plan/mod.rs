//! The script: what happens to every application, in which order, and which webhooks go wrong.
//!
//! In: a [`Scenario`] and the company's jobs. Out: [`Planned`] steps sorted by their offset from the start. Pure: the
//! same scenario gives the same plan, so that a resumed run needs only to know which steps were played.

pub(crate) mod fate;
pub(crate) mod script;

use fastrand::Rng;

use crate::plan::script::Script;
use crate::rules::Story;
use crate::settings::Scenario;
use crate::steps::company::{CompanyStep, STORY};
use crate::world::company::Job;

/// Two events of one application lie at least this far apart, so that they differ in every payload's resolution.
pub(crate) const MIN_GAP_MS: i64 = 1_100;

/// Stands for the company where an application's index is wanted.
pub(crate) const COMPANY: usize = usize::MAX;

/// One thing that a person in the company, or a candidate, does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Step {
    Apply {
        candidate: usize,
        job: usize,
        stage: usize,
    },
    Prospect {
        candidate: usize,
        job: Option<usize>,
    },
    /// The prospect's application is converted; application `into` is made on `job`.
    Convert {
        into: usize,
        job: usize,
    },
    Move {
        stage: usize,
    },
    Reject {
        by_candidate: bool,
    },
    Unreject,
    /// `revised` makes a new version of an offer that exists.
    Offer {
        revised: bool,
    },
    OfferApproved,
    Hire,
    Unhire,
    Transfer {
        job: usize,
        stage: usize,
    },
    Merge {
        winner: usize,
    },
    Anonymise,
    DeleteApplication,
    DeleteCandidate,
    UpdateApplication,
    UpdateCandidate,
    Interview,
    Scorecard,
    Note,
    InterviewDeleted,
    ScorecardDeleted,
    /// Not about an application.
    Company(CompanyStep),
}

impl Step {
    /// Whether the step changes what the ledger is about.
    pub(crate) fn moves(&self) -> bool {
        use Step::{
            Apply, Convert, DeleteApplication, DeleteCandidate, Hire, Move, Prospect, Reject, Transfer, Unhire,
            Unreject,
        };
        matches!(
            self,
            Apply { .. }
                | Prospect { .. }
                | Convert { .. }
                | Move { .. }
                | Reject { .. }
                | Unreject
                | Hire
                | Unhire
                | Transfer { .. }
                | DeleteApplication
                | DeleteCandidate
        )
    }
}

/// What becomes of the webhook that tells of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Fate {
    /// Never sent.
    pub(crate) dropped: bool,
    /// Without it nothing tells of the step, so that nobody can be blamed for missing it.
    pub(crate) unobservable_if_lost: bool,
    /// Sent this many times beyond the first.
    pub(crate) copies: u8,
    pub(crate) delay_ms: i64,
}

#[derive(Debug, Clone)]
pub(crate) struct Planned {
    /// Place in the plan.
    pub(crate) index: usize,
    /// Which application (an index of the plan, not the vendor's id).
    pub(crate) app: usize,
    /// From the start; negative for what happened before it.
    pub(crate) offset_ms: i64,
    pub(crate) step: Step,
    pub(crate) fate: Fate,
}

#[derive(Debug, Clone)]
pub(crate) struct Plan {
    pub(crate) steps: Vec<Planned>,
}

impl Plan {
    pub(crate) fn new(scenario: &Scenario, told: Option<&Story>, jobs: &[Job]) -> Self {
        let mut rng = Rng::with_seed(scenario.seed ^ 0x5eed_0001);
        let mut scripts = script::live(scenario, told, jobs, &mut rng);
        place(&mut scripts, scenario.pace.play_ms, &mut rng);
        let past = script::past(scenario, told, jobs, scripts.len(), &mut rng);

        let mut steps = Vec::new();
        for script in &past {
            push(&mut steps, script, &[]);
        }
        for script in &scripts {
            let fates = fate::decide(script, scenario, &mut rng);
            push(&mut steps, script, &fates);
        }
        // Of the company itself only Greenhouse tells.
        if scenario.applications >= 8 && told.is_none() {
            for (n, step) in (1_i64..).zip(STORY) {
                let offset_ms = scenario.pace.play_ms * n / 12;
                let fate = Fate { copies: u8::from(rng.f64() < scenario.faults.doubled), ..Fate::default() };
                steps.push(Planned { index: 0, app: COMPANY, offset_ms, step: Step::Company(step), fate });
            }
        }
        steps.sort_by_key(|step| step.offset_ms);
        for (index, step) in steps.iter_mut().enumerate() {
            step.index = index;
        }
        Self { steps }
    }
}

fn push(steps: &mut Vec<Planned>, script: &Script, fates: &[Fate]) {
    let mut offset_ms = script.start_ms;
    for (n, (gap, step)) in script.steps.iter().enumerate() {
        offset_ms += gap;
        let fate = fates.get(n).copied().unwrap_or_default();
        // After a conversion the script goes on with the application that was made.
        let app = if n > script.converted_at { script.app + 1 } else { script.app };
        steps.push(Planned { index: 0, app, offset_ms, step: step.clone(), fate });
    }
}

/// Spreads the scripts over the play, so that they interleave.
fn place(scripts: &mut [Script], play_ms: i64, rng: &mut Rng) {
    for script in scripts.iter_mut() {
        let mut length: i64 = script.steps.iter().map(|(gap, _)| gap).sum();
        if length > play_ms - 1_000 {
            // Too long for the play: as fast as the payloads' resolution allows.
            for (gap, step) in &mut script.steps {
                // A hire lasts a while, or nobody could act on it.
                if *step != Step::Unhire {
                    *gap = (*gap).min(MIN_GAP_MS + 50);
                }
            }
            length = script.steps.iter().map(|(gap, _)| gap).sum();
        }
        script.start_ms = rng.i64(0..=(play_ms - length).max(1)).max(0);
    }
    // A merge needs a winner that is there.
    let starts: Vec<(usize, i64)> = scripts.iter().map(|script| (script.candidate, script.start_ms)).collect();
    for script in scripts.iter_mut() {
        let mut offset = script.start_ms;
        let mut shift = 0;
        for (gap, step) in &script.steps {
            offset += gap;
            if let Step::Merge { winner } = step {
                let there = starts.iter().find(|(candidate, _)| candidate == winner).map_or(0, |(_, at)| at + 3_000);
                shift = shift.max(there - offset);
            }
        }
        script.start_ms += shift;
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;
    use crate::world::company::Company;

    fn plan(seed: u64, applications: usize) -> (Plan, Company) {
        let scenario = Scenario::new(seed, applications);
        let company = Company::new(seed, applications, 1_700_000_000_000);
        (Plan::new(&scenario, None, &company.jobs), company)
    }

    #[test]
    fn every_seed_feeds_every_receiver_from_forty_applications_on() {
        for seed in 0..200 {
            let (plan, company) = plan(seed, 40);
            let count =
                |wanted: &dyn Fn(&Step) -> bool| plan.steps.iter().filter(|planned| wanted(&planned.step)).count();
            assert!(count(&|step| *step == Step::Hire) >= 4, "seed {seed}: hires");
            assert!(count(&|step| *step == Step::Unhire) >= 2, "seed {seed}: unhires");
            assert!(count(&|step| matches!(step, Step::Offer { .. })) >= 4, "seed {seed}: offers");
            let assessments: Vec<usize> = company.jobs.iter().map(crate::world::company::Job::assessment).collect();
            assert!(
                count(&|step| matches!(step, Step::Move { stage } if assessments.contains(stage))) >= 4,
                "seed {seed}"
            );
        }
    }

    #[test]
    fn steps_of_an_application_are_apart_and_begin_with_its_creation() {
        for seed in 0..30 {
            let (plan, _) = plan(seed, 120);
            let mut last: HashMap<usize, i64> = HashMap::new();
            for planned in plan.steps.iter().filter(|planned| planned.app != COMPANY) {
                let created = matches!(planned.step, Step::Apply { .. } | Step::Prospect { .. });
                let known = last.insert(planned.app, planned.offset_ms);
                match known {
                    Some(before) => assert!(planned.offset_ms - before >= MIN_GAP_MS && !created),
                    None => assert!(created, "seed {seed}: {:?}", planned.step),
                }
                if let Step::Convert { into, .. } = planned.step {
                    last.insert(into, planned.offset_ms);
                }
            }
        }
    }

    #[test]
    fn a_fair_scenario_drops_only_what_is_told_later() {
        let mut dropped = 0;
        for seed in 0..40 {
            let (plan, _) = plan(seed, 200);
            for planned in plan.steps.iter().filter(|planned| planned.fate.dropped) {
                assert!(!planned.fate.unobservable_if_lost, "seed {seed}: {:?}", planned.step);
                dropped += 1;
            }
        }
        assert!(dropped > 100);
    }
}
