//! What each step does: changes the world and tells, by rows and webhooks, what the vendor would tell of it.

use fastrand::Rng;
use serde_json::json;

use crate::bodies;
use crate::clock::iso_date;
use crate::effects::Effects;
use crate::names;
use crate::people::{Application, Attachment, Candidate, Interview, Offer, Status, Visit};
use crate::plan::{Planned, Step};
use crate::rows;
use crate::settings::HistoryRows;
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
            edit(world, app, at, |app| app.status = Status::Active);
            touch_offer(world, app, at, |offer| {
                offer.status = "Created";
                offer.resolved_at = None;
            });
            reopen(world, app, at, out);
            show_offer(world, app, 0, out);
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

/// The offer `back` versions before the newest.
fn offer_of(world: &World, app: usize, back: usize) -> Option<(&Application, &Offer)> {
    let app = world.applications.get(&app)?;
    Some((app, app.offers.iter().rev().nth(back)?))
}

fn show_offer(world: &World, app: usize, back: usize, out: &mut Effects) {
    out.rows.extend(offer_of(world, app, back).map(|(app, offer)| rows::offer(world, app, offer)));
}

fn tell_offer(world: &World, app: usize, back: usize, action: &'static str, out: &mut Effects) {
    out.webhooks.extend(offer_of(world, app, back).map(|(app, offer)| bodies::offer(world, app, offer, action)));
}

fn touch_offer(world: &mut World, app: usize, at: i64, change: impl FnOnce(&mut Offer)) {
    edit(world, app, at, |app| {
        if let Some(offer) = app.offers.last_mut() {
            change(offer);
            offer.updated_at = at;
        }
    });
}

fn person(world: &mut World, index: usize, at: i64, rng: &mut Rng, out: &mut Effects) {
    if world.candidates.contains_key(&index) {
        return;
    }
    let id = world.id(Range::Candidate);
    let person = Candidate::new(id, at, rng, || world.id(Range::Other));
    out.rows.push(rows::candidate(&world.company, &person));
    out.rows.extend(rows::candidate_parts(&world.company, &person));
    world.candidates.insert(index, person);
}

#[expect(clippy::too_many_arguments, reason = "one call per way of being born")]
fn create(
    world: &mut World,
    index: usize,
    candidate: usize,
    job: Option<usize>,
    stage: Option<usize>,
    at: i64,
    rng: &mut Rng,
    out: &mut Effects,
) {
    let app = Application {
        id: world.id(Range::Application),
        candidate,
        job,
        stage: None,
        status: Status::Active,
        prospect: stage.is_none(),
        created_at: at,
        updated_at: at,
        rejected_at: None,
        reason: None,
        rejected_by: None,
        rejection_row: None,
        source: (rng.u8(..10) < 9).then(|| rng.usize(..5)),
        credited_to: rng.bool().then(|| rng.usize(..5)),
        custom: rng.bool().then(|| names::remark(rng)),
        visits: Vec::new(),
        offers: Vec::new(),
        interviews: Vec::new(),
        scorecards: Vec::new(),
        notes: Vec::new(),
        eeoc: None,
        gone: false,
    };
    let id = app.id;
    world.applications.insert(index, app);
    if let Some(stage) = stage {
        enter(world, index, stage, at, out);
    }
    attach(world, index, "resume", "Résumé & CV.pdf", at, out);
    if rng.u8(..10) < 3 {
        attach(world, index, "cover_letter", "cover letter.docx", at, out);
    }
    show(world, index, out);
    if stage.is_some() && rng.bool() {
        let row = world.id(Range::Other);
        let person = world.candidate(candidate).map_or(0, |person| person.id);
        if let Some(app) = world.applications.get_mut(&index) {
            app.eeoc = Some(row);
            out.rows.push(rows::eeoc(app, person, row, at));
        }
    }
    debug_assert!(id > 0);
}

fn attach(world: &mut World, app: usize, kind: &'static str, file_name: &str, at: i64, out: &mut Effects) {
    let id = world.id(Range::Other);
    let file = Attachment { id, application: app, kind, file_name: file_name.to_owned(), created_at: at };
    let application_id = world.applications.get(&app).map_or(0, |app| app.id);
    with_candidate(world, app, |person| {
        out.rows.push(rows::attachment(person, application_id, &file));
        person.attachments.push(file);
    });
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
            HistoryRows::PerVisit => None,
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
            let visit = Visit { id: fresh, stage: place, created_at: at, entered_at: at, exited_at: None };
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

fn offer(world: &mut World, index: usize, revised: bool, at: i64, rng: &mut Rng, out: &mut Effects) {
    let id = world.id(Range::Other);
    let low = world
        .applications
        .get(&index)
        .and_then(|app| world.company.jobs.get(app.job?))
        .map_or(50_000, |job| job.salary.0);
    let opening = world.applications.get(&index).and_then(|app| {
        let job = world.company.jobs.get(app.job?)?;
        job.openings.iter().position(|opening| opening.filled.is_none())
    });
    let deprecates = revised && offer_of(world, index, 0).is_some();
    edit(world, index, at, |app| {
        if let Some(old) = app.offers.last_mut() {
            old.status = "Deprecated";
            old.updated_at = at;
            old.resolved_at = Some(at);
        }
        let cents = (low + rng.i64(0..30) * 1_000) * 100 + if rng.u8(..4) == 0 { 50 } else { 0 };
        app.offers.push(Offer {
            id,
            version: i64::try_from(app.offers.len()).unwrap_or(0) + 1,
            status: "Created",
            created_at: at,
            updated_at: at,
            sent_on: None,
            resolved_at: None,
            starts_on: iso_date(at + 86_400_000 * (30 + rng.i64(0..60))),
            salary_cents: cents,
            bonus: rng.bool().then(|| rng.i64(1..10) * 1_000),
            opening,
        });
    });
    if deprecates {
        show_offer(world, index, 1, out);
        tell_offer(world, index, 1, "offer_updated", out);
    }
    show_offer(world, index, 0, out);
    show(world, index, out);
    tell_offer(world, index, 0, "offer_created", out);
}

fn hire(world: &mut World, index: usize, at: i64, out: &mut Effects) {
    edit(world, index, at, |app| app.status = Status::Hired);
    touch_offer(world, index, at, |offer| {
        offer.status = "Accepted";
        offer.resolved_at = Some(at);
        offer.sent_on = offer.sent_on.take().or_else(|| Some(iso_date(at)));
    });
    attach(world, index, "signed_offer_letter", "Offer <signed>.pdf", at, out);
    show_offer(world, index, 0, out);
    show(world, index, out);
    let filled = offer_of(world, index, 0).and_then(|(app, offer)| Some((app.id, app.job?, offer.opening?)));
    if let Some((app, offer)) = offer_of(world, index, 0) {
        out.webhooks.push(bodies::hire(world, app, offer));
        out.webhooks.push(bodies::offer(world, app, offer, "offer_updated"));
    }
    if let Some((app, job, opening)) = filled {
        let reason = world.company.close_reasons.first().map(|reason| reason.id);
        if let Some(job) = world.company.jobs.get_mut(job) {
            if let Some(slot) = job.openings.get_mut(opening) {
                slot.filled = Some((app, at));
            }
            out.rows.extend(rows::opening(job, opening, at, reason));
        }
    }
}

fn merge(world: &mut World, index: usize, winner: usize, at: i64, out: &mut Effects) {
    let Some(winner_id) = world.candidate(winner).map(|person| person.id) else { return };
    let Some(loser) = edit(world, index, at, |_| ()).filter(|loser| *loser != winner) else { return };
    if let Some(person) = world.candidate(loser) {
        out.webhooks.push(bodies::person_gone(
            world,
            person,
            "merge_candidate",
            ("new_candidate_id", json!(winner_id)),
        ));
        out.rows.push(rows::gone("candidates", person.id, at));
    }
    let mut moved = Vec::new();
    if let Some(person) = world.candidates.get_mut(&loser) {
        person.gone = true;
        moved = std::mem::take(&mut person.attachments);
    }
    edit(world, index, at, |app| app.candidate = winner);
    let application_id = world.applications.get(&index).map_or(0, |app| app.id);
    if let Some(person) = world.candidates.get_mut(&winner) {
        person.updated_at = at;
        for file in moved {
            let mut shown = rows::attachment(person, application_id, &file);
            shown.updated_at = at;
            if let Some(serde_json::Value::Object(body)) = &mut shown.body {
                body.insert("updated_at".into(), json!(crate::clock::iso_ms(at)));
            }
            out.rows.push(shown);
            person.attachments.push(file);
        }
    }
    show_candidate(world, index, out);
    show(world, index, out);
}

fn anonymise(world: &mut World, index: usize, at: i64, out: &mut Effects) {
    with_candidate(world, index, |person| {
        person.first = Some("Anonymized".to_owned());
        person.last = Some(person.id.to_string());
        person.title = None;
        person.company = None;
        person.emails.clear();
        person.phones.clear();
        person.addresses.clear();
        person.updated_at = at;
    });
    show_candidate(world, index, out);
    let fields = ["full_name", "current_title", "current_company", "email_addresses", "phone_numbers", "addresses"];
    let person = world.applications.get(&index).and_then(|app| world.candidate(app.candidate));
    out.webhooks.extend(person.map(|person| bodies::anonymised(person, &fields)));
}

/// The application and every row of it.
fn remove(world: &mut World, index: usize, at: i64, out: &mut Effects) {
    let Some(app) = world.applications.get_mut(&index) else { return };
    app.gone = true;
    app.updated_at = at;
    out.rows.push(rows::gone("applications", app.id, at));
    out.rows.extend(app.visits.iter().map(|visit| rows::gone("application_stages", visit.id, at)));
    out.rows.extend(app.offers.iter().map(|offer| rows::gone("offers", offer.id, at)));
    for interview in &app.interviews {
        out.rows.push(rows::gone("interviews", interview.id, at));
        out.rows.push(rows::gone("interviewers", interview.interviewer_row, at));
    }
    out.rows.extend(app.scorecards.iter().map(|id| rows::gone("scorecards", *id, at)));
    out.rows.extend(app.notes.iter().map(|id| rows::gone("notes", *id, at)));
    out.rows.extend(app.eeoc.map(|id| rows::gone("eeoc", id, at)));
    out.rows.extend(app.rejection_row.map(|(id, _)| rows::gone("rejection_details", id, at)));
    with_candidate(world, index, |person| {
        let files = person.attachments.iter().filter(|file| file.application == index);
        out.rows.extend(files.map(|file| rows::gone("attachments", file.id, at)));
        person.attachments.retain(|file| file.application != index);
    });
}

fn delete_candidate(world: &mut World, index: usize, at: i64, out: &mut Effects) {
    let Some((candidate, id)) = world.applications.get(&index).map(|app| (app.candidate, app.id)) else { return };
    if let Some(person) = world.candidate(candidate) {
        out.webhooks.push(bodies::person_gone(
            world,
            person,
            "delete_candidate",
            ("deleted_application_ids", json!([id])),
        ));
        out.rows.push(rows::gone("candidates", person.id, at));
        out.rows.extend(person.educations.iter().map(|part| rows::gone("candidate_educations", part.id, at)));
        out.rows.extend(person.employments.iter().map(|part| rows::gone("candidate_employments", part.id, at)));
        out.rows.extend(person.tags.iter().map(|(_, row)| rows::gone("applied_candidate_tags", *row, at)));
    }
    if let Some(person) = world.candidates.get_mut(&candidate) {
        person.gone = true;
    }
    remove(world, index, at, out);
}

fn interview(world: &mut World, index: usize, at: i64, rng: &mut Rng, out: &mut Effects) {
    let (id, panel) = (world.id(Range::Other), world.id(Range::Other));
    let interviewer = rng.usize(..5);
    edit(world, index, at, |app| {
        if let (Some(job), Some(stage)) = (app.job, app.stage) {
            app.interviews.push(Interview {
                id,
                stage: (job, stage),
                created_at: at,
                updated_at: at,
                status: "scheduled",
                starts_at: at + 86_400_000,
                interviewer,
                interviewer_row: panel,
                scorecard: None,
            });
        }
    });
    show_interview(world, index, out);
    show(world, index, out);
}

fn show_interview(world: &World, index: usize, out: &mut Effects) {
    if let Some(app) = world.applications.get(&index)
        && let Some(interview) = app.interviews.last()
    {
        out.rows.extend(rows::interview(world, app, interview));
    }
}

/// A scorecard completes the last interview; without one there is nothing to score.
fn scorecard(world: &mut World, index: usize, at: i64, rng: &mut Rng, out: &mut Effects) {
    if world.applications.get(&index).is_none_or(|app| app.interviews.is_empty()) {
        interview(world, index, at, rng, out);
        return;
    }
    let id = world.id(Range::Other);
    let text = names::remark(rng);
    edit(world, index, at, |app| {
        app.scorecards.push(id);
        if let Some(interview) = app.interviews.last_mut() {
            interview.scorecard = Some(id);
            interview.status = "complete";
            interview.updated_at = at;
        }
    });
    show_interview(world, index, out);
    if let Some(app) = world.applications.get(&index)
        && let Some(interview) = app.interviews.last()
    {
        out.rows.push(rows::scorecard(world, app, interview, id, at, &text));
    }
    show(world, index, out);
}

fn note(world: &mut World, index: usize, at: i64, rng: &mut Rng, out: &mut Effects) {
    let id = world.id(Range::Other);
    let text = names::remark(rng);
    edit(world, index, at, |app| app.notes.push(id));
    if let Some(app) = world.applications.get(&index) {
        let person = world.candidate(app.candidate).map_or(0, |person| person.id);
        let user = world.company.users.first().map(|user| user.id);
        out.rows.push(rows::note(app, person, user, id, at, &text));
    }
    show(world, index, out);
}
