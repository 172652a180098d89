//! Webhook bodies, shaped like the documented samples of each action: what a sample lacks (a status and a stage on a
//! hire, the previous stage on a move) is lacking here too.

use serde_json::{Map, Value, json};

use crate::clock::{iso_s, us_date};
use crate::effects::Webhook;
use crate::greenhouse::company_rows::job_custom;
use crate::greenhouse::rows::{application_custom, attachment_url, candidate_custom, offer_custom};
use crate::world::World;
use crate::world::company::{Job, Named, User};
use crate::world::people::{Application, Candidate, Offer, Status};

pub(crate) fn webhook(action: &'static str, payload: &Value) -> Webhook {
    Webhook { action: action.to_owned(), body: json!({"action": action, "payload": payload}) }
}

/// The actions whose payload is the application as it stands.
pub(crate) fn application(world: &World, app: &Application, action: &'static str) -> Webhook {
    let source = app.source.and_then(|source| world.company.sources.get(source));
    let public =
        matches!(action, "new_prospect_application" | "unhire_candidate" | "reject_candidate" | "unreject_candidate");
    let source_name = if public { "public_name" } else { "name" };
    let full = action == "new_candidate_application";
    let mut body = Map::new();
    let fields = json!({
        "id": app.id,
        "rejected_at": app.rejected_at.map(iso_s),
        "prospect": app.prospect,
        "status": match app.status {
            Status::Active | Status::Converted => "active",
            Status::Rejected { .. } => "rejected",
            Status::Hired => "hired",
        },
        "applied_at": iso_s(app.created_at),
        "last_activity_at": iso_s(app.updated_at),
        "url": application_url(world, app),
        "source": source.map(|source| json!({"id": source.id, source_name: source.name})),
        "credited_to": app.credited_to.and_then(|index| world.company.users.get(index)).map(person),
        "rejection_reason": reason(world, app),
        "rejection_details": app.rejected_at.map(|_| json!({"custom_fields": {"custom_rejection_question_field":
            {"name": "Custom Rejection Question Field", "type": "short_text", "value": "Example <1>"}}})),
        "current_stage": if app.status == Status::Hired { None } else { current_stage(world, app) },
        "custom_fields": application_custom(app),
        "candidate": world.candidate(app.candidate).map(|candidate| candidate_body(world, candidate)),
        "jobs": job_of(world, app).map(|job| job_body(world, job, full)).into_iter().collect::<Vec<_>>(),
    });
    if let Value::Object(fields) = fields {
        body.extend(fields);
    }
    if full || action == "application_updated" {
        body.insert(
            "prospect_detail".into(),
            json!({"prospect_pool": null, "prospect_stage": null, "prospect_owner": null}),
        );
    }
    webhook(action, &json!({"application": body}))
}

/// `hire_candidate`: no status, no stage, no time but the offer's.
pub(crate) fn hire(world: &World, app: &Application, offer: &Offer) -> Webhook {
    let source = app.source.and_then(|source| world.company.sources.get(source));
    let job = job_of(world, app);
    let opening = offer.opening.and_then(|n| job?.openings.get(n));
    let body = json!({
        "id": app.id,
        "opening": opening.map(|opening| json!({"opening_id": opening.code, "custom_fields": []})),
        "credited_to": app.credited_to.and_then(|index| world.company.users.get(index)).map(person),
        "source": source.map(|source| json!({"id": source.id, "public_name": source.name})),
        "url": application_url(world, app),
        "candidate": world.candidate(app.candidate).map(|candidate| candidate_body(world, candidate)),
        "job": job.map(|job| json!({
            "id": job.id, "name": job.name, "open_date": iso_s(job.created_at), "close_date": null,
            "requisition_id": job.requisition_id, "departments": departments(world, job), "offices": offices(world, job),
            "custom_fields": job_custom(job),
        })),
        "jobs": job.map(|job| json!({
            "id": job.id, "name": job.name, "requisition_id": job.requisition_id, "confidential": false,
            "opened_at": iso_s(job.created_at), "closed_at": null, "departments": departments(world, job),
            "offices": offices(world, job), "custom_fields": job_custom(job),
        })).into_iter().collect::<Vec<_>>(),
        "custom_fields": application_custom(app),
        "offer": {
            "id": offer.id, "version": offer.version, "created_at": iso_s(offer.created_at), "sent_at": offer.sent_on,
            "resolved_at": offer.resolved_at.map(iso_s), "starts_at": offer.starts_on, "custom_fields": offer_custom(offer),
        },
    });
    webhook("hire_candidate", &json!({"application": body}))
}

/// `offer_created`, `offer_approved`, `offer_updated`: the payload is the offer itself.
pub(crate) fn offer(world: &World, app: &Application, offer: &Offer, action: &'static str) -> Webhook {
    let job = job_of(world, app);
    let body = json!({
        "id": offer.id, "application_id": app.id, "job_id": job.map(|job| job.id),
        "user_id": job.and_then(|job| world.company.users.get(job.recruiter)).map(|user| user.id),
        "version": offer.version, "sent_on": offer.sent_on, "resolved_at": offer.resolved_at.map(iso_s),
        "start_date": us_date(&offer.starts_on), "notes": "Vacation scheduled 4/20 - 4/23 & \"tbd\"",
        "offer_status": offer.status, "custom_fields": offer_custom(offer),
    });
    webhook(action, &body)
}

pub(crate) fn delete_application(world: &World, app: &Application) -> Webhook {
    let user = |index: Option<usize>| index.and_then(|index| world.company.users.get(index)).map(|user| user.id);
    let body = json!({
        "id": app.id,
        "candidate_id": world.candidate(app.candidate).map(|candidate| candidate.id),
        "job_id": job_of(world, app).map(|job| job.id),
        "created_at": iso_s(app.created_at),
        "source_id": app.source.and_then(|source| world.company.sources.get(source)).map(|source| source.id),
        "candidate_rejection_reason_id": app.reason.and_then(|index| world.company.reasons.get(index)).map(|reason| reason.id),
        "rejection_note_id": null,
        "rejected_at": app.rejected_at.map(iso_s),
        "referrer_id": user(app.credited_to),
        "prospect": app.prospect,
        "rejected_by_user_id": user(app.rejected_by),
    });
    webhook("delete_application", &json!({"application": body}))
}

/// `delete_candidate` and `merge_candidate` differ in one field.
pub(crate) fn person_gone(world: &World, candidate: &Candidate, action: &'static str, last: (&str, Value)) -> Webhook {
    let user = |index: Option<usize>| index.and_then(|index| world.company.users.get(index)).map(|user| user.id);
    let mut body = json!({
        "id": candidate.id, "first_name": candidate.first, "last_name": candidate.last, "company": candidate.company,
        "title": candidate.title, "created_at": iso_s(candidate.created_at), "headline": null,
        "is_private": candidate.private, "recruiter_user_id": user(candidate.recruiter),
        "coordinator_user_id": user(candidate.coordinator), "can_email": candidate.can_email,
    });
    if let Value::Object(fields) = &mut body {
        fields.insert(last.0.to_owned(), last.1);
    }
    webhook(action, &json!({"person": body}))
}

pub(crate) fn anonymised(candidate: &Candidate, fields: &[&str]) -> Webhook {
    webhook("candidate_anonymized", &json!({"candidate_id": candidate.id, "anonymized_fields": fields}))
}

pub(crate) fn candidate(world: &World, candidate: &Candidate) -> Webhook {
    let mut body = candidate_body(world, candidate);
    if let Value::Object(fields) = &mut body {
        // The documented sample of this action has neither.
        fields.remove("is_private");
        fields.remove("can_email");
    }
    webhook("update_candidate", &json!({"candidate": body}))
}

fn candidate_body(world: &World, candidate: &Candidate) -> Value {
    let company = &world.company;
    let typed = |list: &[(String, &'static str)]| -> Vec<Value> {
        list.iter().map(|(value, kind)| json!({"value": value, "type": kind})).collect()
    };
    let name = |list: &[Named], index: usize| list.get(index).map(|named| named.name.clone());
    let user = |index: Option<usize>| index.and_then(|index| company.users.get(index)).map(person);
    let us = |date: &str| us_date(date);
    json!({
        "id": candidate.id, "first_name": candidate.first, "last_name": candidate.last, "title": candidate.title,
        "company": candidate.company, "created_at": iso_s(candidate.created_at), "external_id": candidate.external_id,
        "photo_url": null, "url": format!("https://app.greenhouse.io/people/{}", candidate.id),
        "is_private": candidate.private, "can_email": candidate.can_email,
        "phone_numbers": typed(&candidate.phones), "email_addresses": typed(&candidate.emails),
        "addresses": typed(&candidate.addresses), "website_addresses": typed(&candidate.websites),
        "social_media_addresses": candidate.social.iter().map(|value| json!({"value": value})).collect::<Vec<_>>(),
        "educations": candidate.educations.iter().map(|part| json!({
            "school_name": name(&company.schools, part.school), "degree": name(&company.degrees, part.degree),
            "discipline": name(&company.disciplines, part.discipline),
            "start_date": format!("01/01/{}", part.from_year), "end_date": format!("01/01/{}", part.to_year),
        })).collect::<Vec<_>>(),
        "employments": candidate.employments.iter().map(|part| json!({
            "company_name": part.company, "title": part.title, "start_date": us(part.from), "end_date": part.to.map(us),
        })).collect::<Vec<_>>(),
        "recruiter": user(candidate.recruiter), "coordinator": user(candidate.coordinator),
        "attachments": candidate.attachments.iter().map(|file| json!({
            "filename": file.file_name, "url": attachment_url(file), "type": file.kind,
        })).collect::<Vec<_>>(),
        "tags": candidate.tags.iter().filter_map(|(tag, _)| company.tags.get(*tag)).map(|tag| &tag.name).collect::<Vec<_>>(),
        "custom_fields": candidate_custom(candidate),
    })
}

pub(crate) fn job_body(world: &World, job: &Job, full: bool) -> Value {
    let mut body = json!({
        "id": job.id, "name": job.name, "requisition_id": job.requisition_id, "notes": job.notes, "confidential": false,
        "job_post_id": job.post_id, "status": "open", "created_by_id": world.company.users.first().map(|user| user.id),
        "created_at": iso_s(job.created_at), "opened_at": iso_s(job.created_at), "closed_at": null,
        "departments": departments(world, job), "offices": offices(world, job), "custom_fields": job_custom(job),
    });
    if full && let Value::Object(fields) = &mut body {
        let member = |index: usize| {
            let user = world.company.users.get(index);
            json!([{"user_id": user.map(|user| user.id), "employee_id": user.and_then(|user| user.employee_id.clone())}])
        };
        fields.insert("url".into(), json!(format!("https://app.greenhouse.io/sdash/{}", job.id)));
        fields.insert(
            "hiring_team".into(),
            json!({
                "hiring_managers": member(job.manager), "sourcers": [], "recruiters": member(job.recruiter),
                "coordinators": member(job.coordinator),
            }),
        );
    }
    body
}

/// `job_created`, `job_updated`: the job with its team and openings.
pub(crate) fn job(world: &World, job: &Job, action: &'static str) -> Webhook {
    let mut body = job_body(world, job, true);
    if let Value::Object(fields) = &mut body {
        fields.remove("url");
        let openings: Vec<Value> = job
            .openings
            .iter()
            .filter(|opening| opening.filled.is_none())
            .map(|opening| json!({"id": opening.id, "opening_id": opening.code, "custom_fields": []}))
            .collect();
        fields.insert("openings".into(), json!(openings));
    }
    webhook(action, &json!({"job": body}))
}

fn application_url(world: &World, app: &Application) -> String {
    let person = world.candidate(app.candidate).map_or(0, |candidate| candidate.id);
    format!("https://app.greenhouse.io/people/{person}?application_id={}", app.id)
}

fn reason(world: &World, app: &Application) -> Option<Value> {
    app.rejected_at?;
    let reason = app.reason.and_then(|index| world.company.reasons.get(index))?;
    let (id, name) = if reason.by_candidate { (2, "They rejected us") } else { (1, "We rejected them") };
    Some(json!({"id": reason.id, "name": reason.name, "type": {"id": id, "name": name}}))
}

fn current_stage(world: &World, app: &Application) -> Option<Value> {
    let stage = world.stage(app)?;
    let person = world.candidate(app.candidate).map_or(0, |candidate| candidate.id);
    let interviewer = job_of(world, app).and_then(|job| world.company.users.get(job.manager));
    Some(json!({
        "id": stage.id, "name": stage.name,
        "interviews": [{
            "id": stage.id + 1, "name": stage.name, "status": "to_be_scheduled",
            "interview_kit": {
                "url": format!("https://app.greenhouse.io/guides/{}/people/{person}?application_id={}", stage.id + 2, app.id),
                "content": "<p>Directions on how to conduct this interview.</p>",
                "questions": [{"id": stage.id + 3, "question": "Could you tell me about your previous experience?"}],
            },
            "interviewers": interviewer.map(|user| json!({"id": user.id, "display_name": user.name(), "status": "tentative"}))
                .into_iter().collect::<Vec<_>>(),
        }],
    }))
}

fn job_of<'a>(world: &'a World, app: &Application) -> Option<&'a Job> {
    world.company.jobs.get(app.job?)
}

fn person(user: &User) -> Value {
    json!({"id": user.id, "email": user.email, "name": user.name(), "employee_id": user.employee_id})
}

fn departments(world: &World, job: &Job) -> Vec<Value> {
    let department = world.company.departments.get(job.department);
    department.map(|d| json!({"id": d.id, "name": d.name, "external_id": d.external_id})).into_iter().collect()
}

fn offices(world: &World, job: &Job) -> Vec<Value> {
    job.offices
        .iter()
        .filter_map(|n| world.company.offices.get(*n))
        .map(|o| json!({"id": o.id, "name": o.name, "location": o.external_id.as_ref().map(|_| format!("{}, somewhere", o.name)), "external_id": o.external_id}))
        .collect()
}
