//! People and applications come into being.

use fastrand::Rng;

use super::{enter, show, with_candidate};
use crate::effects::Effects;
use crate::greenhouse::rows;
use crate::world::names;
use crate::world::people::{Application, Attachment, Candidate, Status};
use crate::world::{Range, World};

pub(super) fn person(world: &mut World, index: usize, at: i64, rng: &mut Rng, out: &mut Effects) {
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
pub(super) fn create(
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
        hired_at: None,
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
}

pub(super) fn attach(world: &mut World, app: usize, kind: &'static str, file_name: &str, at: i64, out: &mut Effects) {
    let id = world.id(Range::Other);
    let file = Attachment { id, application: app, kind, file_name: file_name.to_owned(), created_at: at };
    let application_id = world.applications.get(&app).map_or(0, |app| app.id);
    with_candidate(world, app, |person| {
        out.rows.push(rows::attachment(person, application_id, &file));
        person.attachments.push(file);
    });
}
