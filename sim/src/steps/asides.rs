//! Interviews, scorecards and notes: what changes no stage.

use fastrand::Rng;
use serde_json::json;

use super::{edit, show};
use crate::clock::iso_ms;
use crate::effects::Effects;
use crate::greenhouse::bodies;
use crate::greenhouse::rows;
use crate::world::names;
use crate::world::people::Interview;
use crate::world::{Range, World};

pub(super) fn interview(world: &mut World, index: usize, at: i64, rng: &mut Rng, out: &mut Effects) {
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

pub(super) fn show_interview(world: &World, index: usize, out: &mut Effects) {
    if let Some(app) = world.applications.get(&index)
        && let Some(interview) = app.interviews.last()
    {
        out.rows.extend(rows::interview(world, app, interview));
    }
}

/// A scorecard completes the last interview; without one there is nothing to score.
pub(super) fn scorecard(world: &mut World, index: usize, at: i64, rng: &mut Rng, out: &mut Effects) {
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

pub(super) fn note(world: &mut World, index: usize, at: i64, rng: &mut Rng, out: &mut Effects) {
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

/// Only if there is one; the webhook is an id and nothing else.
pub(super) fn delete_interview(world: &mut World, index: usize, at: i64, out: &mut Effects) {
    let mut last = None;
    edit(world, index, at, |app| last = app.interviews.pop());
    if let Some(interview) = last {
        out.rows.push(rows::gone("interviews", interview.id, at));
        out.rows.push(rows::gone("interviewers", interview.interviewer_row, at));
        out.webhooks.push(bodies::webhook("interview_deleted", &json!({"interview": {"id": interview.id}})));
    }
    show(world, index, out);
}

pub(super) fn delete_scorecard(world: &mut World, index: usize, at: i64, out: &mut Effects) {
    let mut last = None;
    edit(world, index, at, |app| {
        last = app.scorecards.pop();
        if let Some(interview) = app.interviews.last_mut() {
            interview.scorecard = None;
        }
    });
    if let Some(id) = last {
        out.rows.push(rows::gone("scorecards", id, at));
        let person = world.applications.get(&index).and_then(|app| world.candidate(app.candidate));
        let body = json!({"scorecard": {
            "id": id, "candidate_id": person.map(|person| person.id), "interviewed_at": iso_ms(at), "created_at": iso_ms(at),
            "updated_at": iso_ms(at), "scorecard_status": "complete",
        }});
        out.webhooks.push(bodies::webhook("scorecard_deleted", &body));
    }
    show(world, index, out);
}
