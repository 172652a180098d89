//! Merges, anonymisations and deletions.

use serde_json::json;

use super::{edit, show, show_candidate, with_candidate};
use crate::clock::iso_ms;
use crate::effects::Effects;
use crate::greenhouse::bodies;
use crate::greenhouse::rows;
use crate::world::World;

pub(super) fn merge(world: &mut World, index: usize, winner: usize, at: i64, out: &mut Effects) {
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
                body.insert("updated_at".into(), json!(iso_ms(at)));
            }
            out.rows.push(shown);
            person.attachments.push(file);
        }
    }
    show_candidate(world, index, out);
    show(world, index, out);
}

pub(super) fn anonymise(world: &mut World, index: usize, at: i64, out: &mut Effects) {
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
pub(super) fn remove(world: &mut World, index: usize, at: i64, out: &mut Effects) {
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

pub(super) fn delete_candidate(world: &mut World, index: usize, at: i64, out: &mut Effects) {
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
