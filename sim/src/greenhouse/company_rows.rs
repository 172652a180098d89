//! Rows of the v3 lists that tell of the company itself: look-ups, jobs, stages, posts, teams.

use serde_json::{Value, json};

use crate::clock::iso_ms;
use crate::effects::RowWrite;
use crate::greenhouse::rows::{opening, referrer_id, row};
use crate::world::company::{Company, Job, Named, Reason, User};

/// Everything that is there before the first application.
pub(crate) fn all(company: &Company, start: i64) -> Vec<RowWrite> {
    let at = start - 400 * 86_400_000;
    let mut rows = Vec::new();
    for (n, person) in company.users.iter().enumerate() {
        rows.extend(user(person, n, at));
    }
    rows.extend(
        company
            .departments
            .iter()
            .map(|d| named("departments", d, at, json!({"parent_id": null, "external_id": d.external_id}))),
    );
    for office in &company.offices {
        let location = office.external_id.as_ref().map(|_| format!("{}, somewhere", office.name));
        let body = json!({
            "parent_id": null, "external_id": office.external_id, "location": location,
            "primary_in_house_contact_user_id": company.users.first().map(|user| user.id),
        });
        rows.push(named("offices", office, at, body));
    }
    for (n, source) in (0_i64..).zip(&company.sources) {
        let body = json!({"type": {"id": 4_000 + n, "name": "Third-party boards & more"}});
        rows.push(named("sources", source, at, body));
    }
    rows.extend(company.reasons.iter().map(|reason| reason_row(reason, at)));
    rows.extend(company.close_reasons.iter().map(|reason| named("close_reasons", reason, at, json!({}))));
    rows.extend(company.tags.iter().map(|tag| named("candidate_tags", tag, at, json!({}))));
    for (field, options) in [(1_i64, &company.schools), (2, &company.degrees), (3, &company.disciplines)] {
        for (n, option) in options.iter().enumerate() {
            let body =
                json!({"custom_field_id": 10_000_000 + field, "external_id": null, "sort_order": n, "active": true});
            rows.push(named("custom_field_options", option, at, body));
        }
    }
    for (n, job) in company.jobs.iter().enumerate() {
        rows.extend(job_rows(company, job, n));
    }
    rows
}

fn named(stream: &'static str, named: &Named, at: i64, rest: Value) -> RowWrite {
    let mut body = rest;
    if let Value::Object(fields) = &mut body {
        fields.insert("name".into(), json!(named.name));
    }
    row(stream, named.id, at, at, body)
}

fn user(user: &User, n: usize, at: i64) -> Vec<RowWrite> {
    let body = json!({
        "first_name": user.first, "last_name": user.last, "primary_email": user.email,
        "job_title": n.is_multiple_of(2).then_some("Senior Recruiter & Partner"), "agency_id": null, "name": user.name(),
        "deactivated": n == 10, "site_admin": n == 0, "employee_id": user.employee_id, "linked_candidate_ids": [],
        "office_ids": [], "department_ids": [], "interviewer_tags": [{"id": 5, "name": "Panel <A>"}],
        "emails": [user.email], "custom_fields": {},
    });
    let mut main = row("users", user.id, at, at, body);
    main.hidden = user.service_account;
    let email = json!({"user_id": user.id, "email": user.email, "verified": true, "verification_token_sent_at": null});
    let referrer = json!({"user_id": user.id, "name": user.name()});
    vec![main, row("user_emails", user.id + 50_000, at, at, email), row("referrers", referrer_id(n), at, at, referrer)]
}

fn reason_row(reason: &Reason, at: i64) -> RowWrite {
    let (id, key, name) = if reason.by_candidate {
        (2, "THEY_REJECTED_US", "They rejected us")
    } else {
        (1, "WE_REJECTED_THEM", "We rejected them")
    };
    let body = json!({"name": reason.name, "type": {"id": id, "key": key, "name": name}});
    RowWrite { hidden: reason.built_in, ..row("rejection_reasons", reason.id, at, at, body) }
}

pub(crate) fn job_custom(job: &Job) -> Value {
    json!({
        "employment_type": {"name": "Employment Type", "type": "single_select", "value": "Full-time"},
        "salary_range": {"name": "SalaryRange", "type": "currency_range", "value": {
            "unit": "USD", "min_value": format!("{}.0", job.salary.0), "max_value": format!("{}.0", job.salary.1)}},
        "approved": {"name": "Approved", "type": "boolean", "value": true},
    })
}

pub(crate) fn job_row(company: &Company, job: &Job) -> RowWrite {
    let body = json!({
        "name": job.name, "requisition_id": job.requisition_id, "notes": job.notes, "confidential": false,
        "status": "open", "opened_at": iso_ms(job.created_at), "closed_at": null, "is_template": false,
        "copied_from_id": null, "department_id": company.departments.get(job.department).map(|d| d.id),
        "office_ids": job.offices.iter().filter_map(|n| company.offices.get(*n)).map(|o| o.id).collect::<Vec<_>>(),
        "custom_fields": job_custom(job),
    });
    row("jobs", job.id, job.created_at, job.updated_at, body)
}

pub(crate) fn job_rows(company: &Company, job: &Job, n: usize) -> Vec<RowWrite> {
    let (created, updated) = (job.created_at, job.updated_at);
    let mut rows = vec![job_row(company, job), post_row(job)];
    for (k, stage) in job.stages.iter().enumerate() {
        let body = json!({"job_id": job.id, "sort_order": k, "name": stage.name, "active": true});
        rows.push(row("job_interview_stages", stage.id, created, updated, body));
    }
    rows.extend((0..job.openings.len()).filter_map(|k| opening(job, k, updated, None)));
    let serial = i64::try_from(n).unwrap_or(0);
    let user = |index: usize| company.users.get(index).map(|user| user.id);
    let manager = json!({"user_id": user(job.manager), "job_id": job.id});
    rows.push(row("job_hiring_managers", 31_000_006 + serial * 10, created, updated, manager));
    for (k, (kind, index)) in (0_i64..).zip([("recruiter", job.recruiter), ("coordinator", job.coordinator)]) {
        let body = json!({"job_id": job.id, "user_id": user(index), "type": kind, "responsible": true});
        rows.push(row("job_owners", 32_000_006 + serial * 10 + k, created, updated, body));
    }
    rows
}

pub(crate) fn post_row(job: &Job) -> RowWrite {
    let body = json!({
        "title": job.name, "internal": false, "active": true, "live": true, "featured": false,
        "first_published_at": iso_ms(job.created_at + 1_000),
        "content": "<p>Hey, this is a neat job. You should apply & \"enjoy\"!</p>", "internal_content": null,
        "language": "en", "public_url": format!("https://boards.example/company/jobs/{}?gh_jid={}", job.post_id, job.post_id),
        "demographic_question_set_id": null, "job_id": job.id, "job_board_id": 7_700_006,
        "questions": [
            {"id": null, "description": null, "answer_type": "short_text", "required": true, "private": false,
             "label": "First Name", "name": "first_name", "options": []},
            {"id": job.post_id + 3, "description": "<em>Be honest</em>", "answer_type": "single_select", "required": false,
             "private": true, "label": "Are you a cool engineer?", "name": format!("question_{}", job.post_id + 3),
             "options": [{"id": job.post_id + 4, "label": "Yes"}, {"id": job.post_id + 5, "label": "As a cucumber"}]},
        ],
    });
    row("job_posts", job.post_id, job.created_at, job.updated_at, body)
}
