//! What each step does: changes the world and tells, by rows and webhooks, what the vendor would tell of it.

mod asides;
mod births;
pub(crate) mod company;
mod goodbyes;
mod offers;

use fastrand::Rng;

use asides::{delete_interview, delete_scorecard, interview, note, scorecard};
use births::{create, person};
use goodbyes::{anonymise, delete_candidate, merge, remove};
use offers::{hire, offer, show_offer, tell_offer, touch_offer};

use crate::clock::iso_date;
use crate::effects::Effects;
use crate::greenhouse::bodies;
use crate::greenhouse::rows;
use crate::plan::{Planned, Step};
use crate::settings::HistoryRows;
use crate::world::names;
use crate::world::people::{Application, Candidate, Status, Visit};
use crate::world::{Range, World};

pub(crate) fn apply(world: &mut World, planned: &Planned, at: i64, out: &mut Effects) {
    let index = u64::try_from(planned.index).unwrap_or(0);
    let mut rng = Rng::with_seed(world.seed.wrapping_mul(0x9e37_79b9).wrapping_add(index));
    let app = planned.app;
    match &planned.step {
        Step::Apply { candidate, job, stage } => {
            person(world, *candidate, at, &mut rng, out);
            create(world, app, *candidate, Some(*job), Some(*stage), at, &mut rng, out);
            tell(world, app, "new_candidate_application", out);
        }
        Step::Prospect { candidate, job } => {
            person(world, *candidate, at, &mut rng, out);
            create(world, app, *candidate, *job, None, at, &mut rng, out);
            tell(world, app, "new_prospect_application", out);
        }
        Step::Convert { into, job } => {
            let candidate = edit(world, app, at, |app| app.status = Status::Converted).unwrap_or(0);
            show(world, app, out);
            create(world, *into, candidate, Some(*job), Some(0), at, &mut rng, out);
            tell(world, *into, "new_candidate_application", out);
        }
        Step::Move { stage } => {
            enter(world, app, *stage, at, out);
            show(world, app, out);
            tell(world, app, "candidate_stage_change", out);
        }
        Step::Transfer { job, stage } => {
            edit(world, app, at, |app| app.job = Some(*job));
            enter(world, app, *stage, at, out);
            show(world, app, out);
            tell(world, app, "candidate_stage_change", out);
        }
        Step::Reject { by_candidate } => reject(world, app, *by_candidate, at, &mut rng, out),
        Step::Unreject => unreject(world, app, at, out),
        Step::Offer { revised } => offer(world, app, *revised, at, &mut rng, out),
        Step::OfferApproved => {
            touch_offer(world, app, at, |offer| offer.sent_on = Some(iso_date(at)));
            show_offer(world, app, 0, out);
            show(world, app, out);
            tell_offer(world, app, 0, "offer_approved", out);
        }
        Step::Hire => hire(world, app, at, out),
        Step::Unhire => {
            edit(world, app, at, |app| {
                app.status = Status::Active;
                app.hired_at = None;
            });
            // What becomes of the accepted offer is not documented: it stays as it was.
            reopen(world, app, at, out);
            show(world, app, out);
            tell(world, app, "unhire_candidate", out);
        }
        Step::Merge { winner } => merge(world, app, *winner, at, out),
        Step::Anonymise => anonymise(world, app, at, out),
        Step::DeleteApplication => {
            if let Some(app) = world.applications.get(&app) {
                out.webhooks.push(bodies::delete_application(world, app));
            }
            remove(world, app, at, out);
        }
        Step::DeleteCandidate => delete_candidate(world, app, at, out),
        Step::UpdateApplication => {
            let text = names::remark(&mut rng);
            edit(world, app, at, |app| app.custom = Some(text));
            show(world, app, out);
            tell(world, app, "application_updated", out);
        }
        Step::UpdateCandidate => {
            let title = names::title(&mut rng);
            with_candidate(world, app, |person| {
                person.title = Some(title);
                person.updated_at = at;
            });
            show_candidate(world, app, out);
            let person = world.applications.get(&app).and_then(|app| world.candidate(app.candidate));
            out.webhooks.extend(person.map(|person| bodies::candidate(world, person)));
        }
        Step::Interview => interview(world, app, at, &mut rng, out),
        Step::Scorecard => scorecard(world, app, at, &mut rng, out),
        Step::Note => note(world, app, at, &mut rng, out),
        Step::InterviewDeleted => delete_interview(world, app, at, out),
        Step::ScorecardDeleted => delete_scorecard(world, app, at, out),
        Step::Company(step) => company::apply(world, *step, at, out),
    }
}

/// Changes an application, stamps it, and returns its candidate.
fn edit(world: &mut World, app: usize, at: i64, change: impl FnOnce(&mut Application)) -> Option<usize> {
    let app = world.applications.get_mut(&app)?;
    change(app);
    app.updated_at = at;
    Some(app.candidate)
}

fn with_candidate(world: &mut World, app: usize, change: impl FnOnce(&mut Candidate)) {
    let candidate = world.applications.get(&app).map(|app| app.candidate);
    if let Some(person) = candidate.and_then(|candidate| world.candidates.get_mut(&candidate)) {
        change(person);
    }
}

fn show(world: &World, app: usize, out: &mut Effects) {
    out.rows.extend(world.applications.get(&app).map(|app| rows::application(world, app)));
}

fn show_candidate(world: &World, app: usize, out: &mut Effects) {
    let person = world.applications.get(&app).and_then(|app| world.candidate(app.candidate));
    out.rows.extend(person.map(|person| rows::candidate(&world.company, person)));
}

fn tell(world: &World, app: usize, action: &'static str, out: &mut Effects) {
    out.webhooks.extend(world.applications.get(&app).map(|app| bodies::application(world, app, action)));
}

/// Leaves the present stage and enters `stage` of the present job, in the way the scenario keeps history rows.
fn enter(world: &mut World, index: usize, stage: usize, at: i64, out: &mut Effects) {
    let fresh = world.id(Range::Other);
    let keep = world.history_rows;
    let mut touched: Vec<Visit> = Vec::new();
    edit(world, index, at, |app| {
        app.stage = Some(stage);
        let place = (app.job.unwrap_or(0), stage);
        for visit in app.visits.iter_mut().filter(|visit| visit.exited_at.is_none()) {
            visit.exited_at = Some(at);
            touched.push(visit.clone());
        }
        let known = match keep {
            HistoryRows::PerVisit | HistoryRows::Never => None,
            HistoryRows::PerStageLatest | HistoryRows::PerStageFirst => {
                app.visits.iter_mut().find(|visit| visit.stage == place)
            }
        };
        if let Some(visit) = known {
            if keep == HistoryRows::PerStageLatest {
                visit.entered_at = at;
            }
            visit.exited_at = None;
            touched.push(visit.clone());
        } else {
            let visit = Visit { id: fresh, end: None, stage: place, created_at: at, entered_at: at, exited_at: None };
            touched.push(visit.clone());
            app.visits.push(visit);
        }
    });
    if let Some(app) = world.applications.get(&index) {
        out.rows.extend(touched.iter().map(|visit| rows::visit(world, app, visit, at)));
    }
}

fn reject(world: &mut World, index: usize, by_candidate: bool, at: i64, rng: &mut Rng, out: &mut Effects) {
    let fitting: Vec<usize> = world
        .company
        .reasons
        .iter()
        .enumerate()
        .filter(|(_, reason)| reason.by_candidate == by_candidate)
        .map(|(n, _)| n)
        .collect();
    let reason = fitting.get(rng.usize(..fitting.len().max(1))).copied();
    let fresh = world.id(Range::Other);
    let user = rng.usize(..5);
    edit(world, index, at, |app| {
        app.status = Status::Rejected { by_candidate };
        app.rejected_at = Some(at);
        app.reason = reason;
        app.rejected_by = (!by_candidate).then_some(user);
        app.rejection_row = Some((fresh, at));
    });
    show(world, index, out);
    out.rows.extend(world.applications.get(&index).and_then(|app| rows::rejection(world, app, at)));
    tell(world, index, "reject_candidate", out);
}

fn unreject(world: &mut World, index: usize, at: i64, out: &mut Effects) {
    edit(world, index, at, |app| {
        app.status = Status::Active;
        app.rejected_at = None;
        app.reason = None;
        app.rejected_by = None;
        // Details exist for rejected applications only.
        if let Some((row, _)) = app.rejection_row.take() {
            out.rows.push(rows::gone("rejection_details", row, at));
        }
    });
    reopen(world, index, at, out);
    show(world, index, out);
    tell(world, index, "unreject_candidate", out);
}

/// The row of the present stage stays open through rejections and hires; here it is only shown anew.
fn reopen(world: &World, index: usize, at: i64, out: &mut Effects) {
    if let Some(app) = world.applications.get(&index) {
        let open = app.visits.iter().filter(|visit| visit.exited_at.is_none());
        out.rows.extend(open.map(|visit| rows::visit(world, app, visit, at)));
    }
}
