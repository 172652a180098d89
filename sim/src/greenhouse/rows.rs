//! Rows of the v3 lists, field for field as documented (`api.yaml` has a copy of the field lists; a test compares).

use serde_json::{Map, Value, json};

use crate::clock::{iso_date, iso_ms};
use crate::effects::RowWrite;
use crate::world::World;
use crate::world::company::{Company, Job};
use crate::world::people::{Application, Attachment, Candidate, Interview, Offer, Status, Visit};

pub(crate) fn row(stream: &'static str, id: i64, created_at: i64, updated_at: i64, body: Value) -> RowWrite {
    let mut fields = Map::new();
    fields.insert("id".into(), json!(id));
    fields.insert("created_at".into(), json!(iso_ms(created_at)));
    fields.insert("updated_at".into(), json!(iso_ms(updated_at)));
    if let Value::Object(rest) = body {
        fields.extend(rest);
    }
    RowWrite { stream, id, created_at, updated_at, hidden: false, body: Some(Value::Object(fields)) }
}

pub(crate) fn gone(stream: &'static str, id: i64, at: i64) -> RowWrite {
    RowWrite { stream, id, created_at: at, updated_at: at, hidden: false, body: None }
}

pub(crate) fn application(world: &World, app: &Application) -> RowWrite {
    let terminal = app.status != Status::Active;
    let job = app.job.and_then(|job| world.company.jobs.get(job));
    let stage = if terminal || app.prospect { None } else { world.stage(app) };
    let status = match app.status {
        Status::Active => "in_process",
        Status::Rejected { .. } => "rejected",
        Status::Hired => "hired",
        Status::Converted => "converted",
    };
    let user = |index: usize| world.company.users.get(index).map(|user| user.id);
    let body = json!({
        "agency_note_id": null,
        "candidate_id": world.candidate(app.candidate).map(|candidate| candidate.id),
        "coordinator_id": job.and_then(|job| user(job.coordinator)),
        "job_id": if app.prospect { None } else { job.map(|job| job.id) },
        "job_post_id": if app.prospect { None } else { job.map(|job| job.post_id) },
        "recruiter_id": job.and_then(|job| user(job.recruiter)),
        "referrer_id": app.credited_to.map(referrer_id),
        "source_id": app.source.and_then(|source| world.company.sources.get(source)).map(|source| source.id),
        "stage_id": stage.map(|stage| stage.id),
        "stage_name": stage.map(|stage| stage.name),
        "status": status,
        "needs_decision": if terminal { None } else { Some(false) },
        "prospect": app.prospect,
        "rejected_at": app.rejected_at.map(iso_ms),
        "last_activity_at": iso_ms(app.updated_at),
        "location_address": (app.id % 3 == 0).then_some("New York, NY, USA"),
        "answers": if app.prospect { json!([]) } else { json!([
            {"question": "How did you hear about this job?", "answer": "A friend & colleague"},
            {"question": "Website", "answer": null},
        ]) },
        "prospective_job_ids": if app.prospect { job.map(|job| job.id).into_iter().collect() } else { Vec::new() },
        "custom_fields": application_custom(app),
    });
    row("applications", app.id, app.created_at, app.updated_at, body)
}

pub(crate) fn application_custom(app: &Application) -> Value {
    json!({"custom_application_field": {"name": "Custom Application Field", "type": "short_text", "value": app.custom}})
}

pub(crate) fn referrer_id(user: usize) -> i64 {
    158_104 + i64::try_from(user).unwrap_or(0) * 3
}

pub(crate) fn visit(world: &World, app: &Application, visit: &Visit, now: i64) -> RowWrite {
    let (job, stage) = visit.stage;
    let stage = world.company.jobs.get(job).and_then(|job| job.stages.get(stage));
    let until = visit.exited_at.unwrap_or(now);
    let body = json!({
        "application_id": app.id,
        "job_interview_stage_id": stage.map(|stage| stage.id),
        "entered_at": iso_ms(visit.entered_at),
        "exited_at": visit.exited_at.map(iso_ms),
        "days_in_stage": (until - visit.entered_at).div_euclid(86_400_000),
        "current": visit.exited_at.is_none(),
    });
    row("application_stages", visit.id, visit.created_at, now, body)
}

pub(crate) fn rejection(world: &World, app: &Application, at: i64) -> Option<RowWrite> {
    let (id, created_at) = app.rejection_row?;
    let body = json!({
        "application_id": app.id,
        "rejected_by_id": app.rejected_by.and_then(|index| world.company.users.get(index)).map(|user| user.id),
        "rejection_note_id": null,
        "rejection_reason_id": app.reason.and_then(|index| world.company.reasons.get(index)).map(|reason| reason.id),
        "rejected_at": app.rejected_at.map(iso_ms),
        "question_custom_fields": {
            "custom_rejection_question_field":
                {"name": "Custom Rejection Question Field", "type": "short_text", "value": "Example <1>"},
        },
    });
    Some(row("rejection_details", id, created_at, at, body))
}

pub(crate) fn salary(cents: i64) -> Value {
    // A whole amount is an integer, as in the documented samples.
    let amount = if cents % 100 == 0 { json!(cents / 100) } else { json!(cents as f64 / 100.0) };
    json!({"amount": amount, "unit": "USD"})
}

pub(crate) fn offer_custom(offer: &Offer) -> Value {
    json!({
        "salary": {"name": "Salary", "type": "currency", "value": salary(offer.salary_cents)},
        "bonus": {"name": "Bonus", "type": "currency",
            "value": offer.bonus.map(|amount| json!({"amount": amount, "unit": "USD"}))},
        "seasons": {"name": "Seasons", "type": "multi_select", "value": ["Season 1", "Season 2"]},
        "employment_type": {"name": "Employment Type", "type": "single_select", "value": "Full-time"},
    })
}

pub(crate) fn offer(world: &World, app: &Application, offer: &Offer) -> RowWrite {
    let job = app.job.and_then(|job| world.company.jobs.get(job));
    let body = json!({
        "version": offer.version,
        "application_id": app.id,
        "job_id": job.map(|job| job.id),
        "candidate_id": world.candidate(app.candidate).map(|candidate| candidate.id),
        "opening_id": offer.opening.and_then(|n| job?.openings.get(n)).map(|opening| opening.id),
        "status": offer.status,
        "starts_on": offer.starts_on,
        "sent_on": offer.sent_on,
        "resolved_at": offer.resolved_at.map(iso_ms),
        "custom_fields": offer_custom(offer),
    });
    row("offers", offer.id, offer.created_at, offer.updated_at, body)
}

pub(crate) fn interview(world: &World, app: &Application, interview: &Interview) -> [RowWrite; 2] {
    let (job, stage) = interview.stage;
    let job = world.company.jobs.get(job);
    let stage = job.and_then(|job| job.stages.get(stage));
    let user = world.company.users.get(interview.interviewer);
    let body = json!({
        "job_id": job.map(|job| job.id),
        "application_id": app.id,
        "job_interview_id": stage.map(|stage| stage.id + 1),
        "starts_at": iso_ms(interview.starts_at),
        "ends_at": iso_ms(interview.starts_at + 3_600_000),
        "location": "Room \"A&B\"",
        "status": interview.status,
        "organizer_id": job.and_then(|job| world.company.users.get(job.coordinator)).map(|user| user.id),
        "scheduled_at": iso_ms(interview.created_at),
        "all_day_start_on": null,
        "all_day_end_on": null,
        "external_event_id": format!("evt{}@calendar.example", interview.id),
        "video_conferencing_url": "https://video.example/j/1?pwd=a&b",
        "availability_received_at": null,
    });
    let panel = json!({
        "interview_id": interview.id,
        "user_id": user.map(|user| user.id),
        "scorecard_id": interview.scorecard,
        "email": user.map(|user| user.email.clone()),
        "response_status": "accepted",
    });
    [
        row("interviews", interview.id, interview.created_at, interview.updated_at, body),
        row("interviewers", interview.interviewer_row, interview.created_at, interview.updated_at, panel),
    ]
}

pub(crate) fn scorecard(
    world: &World,
    app: &Application,
    interview: &Interview,
    id: i64,
    at: i64,
    text: &str,
) -> RowWrite {
    let user = world.company.users.get(interview.interviewer).map(|user| user.id);
    let body = json!({
        "interview_kit_id": interview.id + 7,
        "interviewer_id": user,
        "interviewed_at": iso_ms(interview.starts_at),
        "notes": text,
        "notes_with_tags": text,
        "submitter_id": user,
        "candidate_rating": (["strong_no", "no", "yes", "strong_yes", "no_decision"]).get(usize::try_from(id % 5).unwrap_or(0)),
        "private_notes": null,
        "private_notes_with_tags": null,
        "status": "complete",
        "public_notes": null,
        "public_notes_with_tags": null,
        "application_id": app.id,
        "submitted_at": iso_ms(at),
    });
    row("scorecards", id, at, at, body)
}

pub(crate) fn candidate(company: &Company, candidate: &Candidate) -> RowWrite {
    let typed = |list: &[(String, &'static str)]| -> Vec<Value> {
        list.iter().map(|(value, kind)| json!({"value": value, "type": kind})).collect()
    };
    let body = json!({
        "first_name": candidate.first,
        "last_name": candidate.last,
        "preferred_name": candidate.preferred,
        "company": candidate.company,
        "title": candidate.title,
        "last_activity_at": iso_ms(candidate.updated_at),
        "private": candidate.private,
        "can_email": candidate.can_email,
        "time_zone": (candidate.id % 4 == 1).then_some("Eastern Time (US & Canada)"),
        "tags": candidate.tags.iter().filter_map(|(tag, _)| company.tags.get(*tag)).map(|tag| &tag.name).collect::<Vec<_>>(),
        "linked_user_ids": [],
        "phone_numbers": typed(&candidate.phones),
        "addresses": typed(&candidate.addresses),
        "email_addresses": typed(&candidate.emails),
        "website_addresses": typed(&candidate.websites),
        "social_media_addresses": candidate.social.iter().map(|value| json!({"value": value})).collect::<Vec<_>>(),
        "custom_fields": candidate_custom(candidate),
    });
    row("candidates", candidate.id, candidate.created_at, candidate.updated_at, body)
}

pub(crate) fn candidate_custom(candidate: &Candidate) -> Value {
    json!({"favorite_color": {"name": "Favorite Color", "type": "short_text", "value": candidate.color}})
}

/// Educations, employments and tags of a candidate, each a stream of its own in v3.
pub(crate) fn candidate_parts(company: &Company, person: &Candidate) -> Vec<RowWrite> {
    let (created, updated) = (person.created_at, person.updated_at);
    let mut rows = Vec::new();
    for part in &person.educations {
        let option = |list: &[crate::world::company::Named], index: usize| list.get(index).map(|option| option.id);
        let body = json!({
            "candidate_id": person.id,
            "school_name_custom_field_option_id": option(&company.schools, part.school),
            "degree_custom_field_option_id": option(&company.degrees, part.degree),
            "discipline_custom_field_option_id": option(&company.disciplines, part.discipline),
            "start_at": format!("{}-01-01T00:00:00.000Z", part.from_year),
            "end_at": format!("{}-01-01T00:00:00.000Z", part.to_year),
            "latest": true,
            "start_date_month": 1, "start_date_year": part.from_year,
            "end_date_month": 1, "end_date_year": part.to_year,
        });
        rows.push(row("candidate_educations", part.id, created, updated, body));
    }
    for part in &person.employments {
        let body = json!({
            "candidate_id": person.id, "company_name": part.company, "title": part.title,
            "start_date": part.from, "end_date": part.to, "latest": true,
        });
        rows.push(row("candidate_employments", part.id, created, updated, body));
    }
    for (tag, id) in &person.tags {
        let body = json!({"candidate_tag_id": company.tags.get(*tag).map(|tag| tag.id), "candidate_id": person.id});
        rows.push(row("applied_candidate_tags", *id, created, updated, body));
    }
    rows
}

pub(crate) fn attachment(candidate: &Candidate, application_id: i64, file: &Attachment) -> RowWrite {
    let body = json!({
        "application_id": application_id,
        "candidate_id": candidate.id,
        "type": file.kind,
        "filename": file.file_name,
        "url": attachment_url(file),
    });
    row("attachments", file.id, file.created_at, file.created_at, body)
}

pub(crate) fn attachment_url(file: &Attachment) -> String {
    format!(
        "https://files.example/person_attachments/data/{}/original/{}?X-Amz-Date={}&X-Amz-Expires=604800&X-Amz-Signature=0a1b",
        file.id,
        file.file_name.replace(' ', "+"),
        iso_date(file.created_at).replace('-', "")
    )
}

pub(crate) fn note(app: &Application, candidate: i64, user: Option<i64>, id: i64, at: i64, text: &str) -> RowWrite {
    let body = json!({
        "candidate_id": candidate, "application_id": app.id, "body": text, "subject": null, "type": "NOTE",
        "user_id": user, "email_from": null, "email_to": null, "email_cc": null, "import_hash": null,
        "body_with_tags": text, "visibility": "publicly_visible", "email_attachment_file_names": null,
    });
    row("notes", id, at, at, body)
}

pub(crate) fn eeoc(app: &Application, candidate: i64, id: i64, at: i64) -> RowWrite {
    // Ids grow in steps of a thousand.
    let pick = |list: &[&'static str], salt: i64| {
        let n = usize::try_from((id / 1_000 + salt).rem_euclid(7)).unwrap_or(0);
        match list.get(n) {
            Some(text) => json!({"id": n + 1, "description": text}),
            // The question was skipped.
            None => json!({"id": null, "description": null}),
        }
    };
    let body = json!({
        "application_id": app.id,
        "candidate_id": candidate,
        "gender": pick(&["Male", "Female", "Decline To Self Identify"], 0),
        "race": pick(&["Asian", "Black or African American", "Hispanic or Latino", "White", "Two or More Races"], 1),
        "veteran_status": pick(&["I am not a protected veteran", "I don't wish to answer"], 2),
        "disability_status": pick(&["Yes, I have a disability, or have a history/record of having a disability",
            "No, I don\u{2019}t have a disability, or a history/record of having a disability", "I don't wish to answer"], 3),
        "submitted_at": iso_ms(at),
    });
    row("eeoc", id, at, at, body)
}

pub(crate) fn opening(job: &Job, n: usize, at: i64, close_reason: Option<i64>) -> Option<RowWrite> {
    let opening = job.openings.get(n)?;
    let body = json!({
        "job_id": job.id,
        "opened_at": iso_ms(job.created_at),
        "closed_at": opening.filled.map(|(_, at)| iso_ms(at)),
        "sort_order": n,
        "opening_id": opening.code,
        "application_id": opening.filled.map(|(app, _)| app),
        "close_reason_id": opening.filled.and(close_reason),
        "target_start_on": n.is_multiple_of(2).then(|| iso_date(job.created_at + 90 * 86_400_000)),
        "open": opening.filled.is_none(),
        "custom_fields": {},
    });
    Some(row("openings", opening.id, job.created_at, at, body))
}
