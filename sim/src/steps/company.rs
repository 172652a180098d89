//! What happens to the company while the clock runs: jobs come, change and go; a department and an office close.

use serde_json::{Value, json};

use crate::clock::iso_ms;
use crate::effects::Effects;
use crate::greenhouse::bodies::{self, webhook};
use crate::greenhouse::company_rows;
use crate::greenhouse::rows;
use crate::world::World;
use crate::world::company::{Company, Job};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CompanyStep {
    JobUpdated(usize),
    JobPostUpdated(usize),
    /// The next six are about one job that nobody applies for.
    JobCreated,
    JobApproved,
    JobPostCreated,
    StageDeleted,
    JobPostDeleted,
    JobDeleted,
    DepartmentDeleted,
    OfficeDeleted,
}

/// In an order that makes sense.
pub(crate) const STORY: [CompanyStep; 10] = [
    CompanyStep::JobUpdated(0),
    CompanyStep::JobCreated,
    CompanyStep::JobApproved,
    CompanyStep::JobPostCreated,
    CompanyStep::JobPostUpdated(1),
    CompanyStep::StageDeleted,
    CompanyStep::DepartmentDeleted,
    CompanyStep::JobPostDeleted,
    CompanyStep::JobDeleted,
    CompanyStep::OfficeDeleted,
];

pub(crate) fn apply(world: &mut World, step: CompanyStep, at: i64, out: &mut Effects) {
    match step {
        CompanyStep::JobUpdated(n) => {
            if let Some(job) = world.company.jobs.get_mut(n) {
                job.notes = Some("<p>Now with a \"bigger\" budget & team.</p>".to_owned());
                job.updated_at = at;
            }
            if let Some(job) = world.company.jobs.get(n) {
                out.rows.push(company_rows::job_row(&world.company, job));
                out.webhooks.push(bodies::job(world, job, "job_updated"));
            }
        }
        CompanyStep::JobPostUpdated(n) => {
            if let Some(job) = world.company.jobs.get(n) {
                let mut row = company_rows::post_row(job);
                row.updated_at = at;
                if let Some(Value::Object(fields)) = &mut row.body {
                    fields.insert("updated_at".into(), json!(iso_ms(at)));
                }
                out.rows.push(row);
                out.webhooks.push(webhook("job_post_updated", &post(&world.company, job, at)));
            }
        }
        CompanyStep::JobCreated => {
            world.company.spare.created_at = at;
            world.company.spare.updated_at = at;
            let spare = &world.company.spare;
            let rows = company_rows::job_rows(&world.company, spare, world.company.jobs.len());
            out.rows.extend(rows.into_iter().filter(|row| row.stream != "job_posts"));
            out.webhooks.push(bodies::job(world, spare, "job_created"));
        }
        CompanyStep::JobApproved => {
            let mut told = bodies::job(world, &world.company.spare, "job_approved");
            if let Some(Value::Object(payload)) = told.body.get_mut("payload") {
                payload.insert("approval_flow".into(), json!({"approval_flow_type": "open_job"}));
            }
            out.webhooks.push(told);
        }
        CompanyStep::JobPostCreated => {
            let spare = &world.company.spare;
            let mut row = company_rows::post_row(spare);
            (row.created_at, row.updated_at) = (at, at);
            if let Some(Value::Object(fields)) = &mut row.body {
                fields.insert("created_at".into(), json!(iso_ms(at)));
                fields.insert("updated_at".into(), json!(iso_ms(at)));
            }
            out.rows.push(row);
            out.webhooks.push(webhook("job_post_created", &post(&world.company, spare, at)));
        }
        CompanyStep::StageDeleted => {
            let spare = &world.company.spare;
            if let Some(stage) = spare.stages.get(1) {
                out.rows.push(rows::gone("job_interview_stages", stage.id, at));
                let body = json!({"job_interview_stage": {
                    "id": stage.id, "job_id": spare.id, "created_at": iso_ms(spare.created_at), "updated_at": iso_ms(at),
                    "name": stage.name, "active": true,
                }});
                out.webhooks.push(webhook("job_interview_stage_deleted", &body));
            }
        }
        CompanyStep::JobPostDeleted => {
            let spare = &world.company.spare;
            // A deleted post stays in the lists, for those who ask for what is not active.
            let mut row = company_rows::post_row(spare);
            (row.updated_at, row.hidden) = (at, true);
            if let Some(Value::Object(fields)) = &mut row.body {
                fields.insert("updated_at".into(), json!(iso_ms(at)));
                fields.insert("active".into(), json!(false));
                fields.insert("live".into(), json!(false));
            }
            out.rows.push(row);
            let body = json!({"job_post": post(&world.company, spare, at)});
            out.webhooks.push(webhook("job_post_deleted", &body));
        }
        CompanyStep::JobDeleted => {
            let spare = &world.company.spare;
            out.rows.push(rows::gone("jobs", spare.id, at));
            out.rows.extend(spare.stages.iter().map(|stage| rows::gone("job_interview_stages", stage.id, at)));
            out.rows.extend(spare.openings.iter().map(|opening| rows::gone("openings", opening.id, at)));
            out.webhooks.push(webhook("job_deleted", &json!({"job": {"id": spare.id, "name": spare.name}})));
        }
        CompanyStep::DepartmentDeleted => {
            if let Some(department) = world.company.departments.last() {
                out.rows.push(rows::gone("departments", department.id, at));
                let body = json!({"department": {"id": department.id, "name": department.name, "child_ids": [],
                    "parent_id": null, "external_id": department.external_id}});
                out.webhooks.push(webhook("department_deleted", &body));
            }
        }
        CompanyStep::OfficeDeleted => {
            if let Some(office) = world.company.offices.last() {
                out.rows.push(rows::gone("offices", office.id, at));
                let body = json!({"office": {"id": office.id, "name": office.name, "location": {"name": "Dallas, TX"},
                    "child_ids": [], "parent_id": null, "external_id": office.external_id}});
                out.webhooks.push(webhook("office_deleted", &body));
            }
        }
    }
}

/// A job post as webhooks show it.
fn post(company: &Company, job: &Job, at: i64) -> Value {
    let location = job.offices.first().and_then(|n| company.offices.get(*n)).map(|office| office.name.clone());
    json!({
        "id": job.post_id, "title": job.name, "location": location,
        "content": "<p>Hey, this is a neat job. You should apply & \"enjoy\"!</p>", "internal_content": null,
        "updated_at": iso_ms(at), "job_id": job.id, "external": true, "internal": false, "live": true,
        "questions": [{"required": false, "private": false, "label": "LinkedIn Profile", "type": "input_text", "values": []}],
    })
}
