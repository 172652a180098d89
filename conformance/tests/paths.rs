//! Paths of a manifest that are in no fixture: one after the other is broken, and `check` tells its line and what is near.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[expect(dead_code, reason = "nothing is proven here")]
mod broken;

use broken::Broken;
use hirewire_conformance::check;
use jiff::civil::{Date, date};

/// A day, and not today: what was right when it was written stays right.
const TODAY: Date = date(2026, 11, 30);

/// The vendor, what stands in its manifest and what is put there, what is said.
type Case = (&'static str, &'static str, &'static str, &'static str);

/// Each is told, in the line in which it was put, and nothing else is.
fn each_is_told(cases: &[Case]) {
    for (vendor, old, new, part) in cases {
        let broken = Broken::new(vendor, "manifest.yaml", old, new);
        let text = std::fs::read_to_string(broken.folder.path().join("manifest.yaml")).unwrap();
        let line = 1 + text.split_once(new).unwrap().0.matches('\n').count();
        let mistakes = check(&broken.folder, TODAY).mistakes;
        let [only] = mistakes.iter().filter(|mistake| mistake.file.ends_with("manifest.yaml")).collect::<Vec<_>>()[..]
        else {
            panic!("{vendor}: {new}: {mistakes}")
        };
        assert!(only.to_string().contains(part), "{vendor}: {new}: {only}");
        assert_eq!(only.line, line, "{only}");
    }
}

#[test]
fn a_path_of_deliveries_that_is_in_no_fixture_is_told() {
    each_is_told(&[
        ("lever", "event: event\n", "event: evnt\n", "no fixture of deliveries has `evnt` (did you mean \"event\"?)"),
        ("lever", "delivery_id: {field: id}", "delivery_id: {field: uid}", "no fixture of deliveries has `uid`"),
        (
            "docusign",
            "[data.envelopeId, event, generatedDateTime]",
            "[data.envelopeId, event, generatedAt]",
            "no fixture of deliveries has `generatedAt`",
        ),
        (
            "bullhorn",
            "delivery_id: {field: eventId}",
            "delivery_id: {field: event.id}",
            "no fixture of deliveries has `event.id`",
        ),
        ("lever", "field: signature\n", "field: signatur\n", "has `signatur` (did you mean \"signature\"?)"),
        (
            "lever",
            "fields: [token, triggeredAt]",
            "fields: [tokn, triggeredAt]",
            "has `tokn` (did you mean \"token\"?)",
        ),
        (
            "checkr",
            "signed: body}",
            "signed: body, sent_at: {epoch_s: createdAt, within: 5m}}",
            "no fixture of deliveries has `createdAt` (did you mean \"created_at\"?)",
        ),
    ]);
}

#[test]
fn a_path_of_one_event_is_looked_for_in_that_event_s_fixtures_alone() {
    each_is_told(&[
        // Others have it.
        (
            "greenhouse",
            "delete_candidate: {Candidate: payload.person.id}",
            "delete_candidate: {Candidate: payload.candidate.id}",
            "no fixture of the event delete_candidate has `payload.candidate.id` (did you mean \"payload.person.id\"?)",
        ),
        (
            "bullhorn",
            "    Task: {Activity: entityId}",
            "    Task: {Activity: enttyId}",
            "no fixture of the event Task has `enttyId` (did you mean \"entityId\"?)",
        ),
        (
            "lever",
            "candidateHired: {opportunities: data.opportunityId}",
            "candidateHired: {opportunities: data.opportunity}",
            "no fixture of the event candidateHired has `data.opportunity` (did you mean \"data.opportunityId\"?)",
        ),
        // A header names the event.
        (
            "smartrecruiters",
            "position.deleted: {Opening: [position_id, id]}",
            "position.deleted: {Opening: [positon_id, ids]}",
            "no fixture of the event position.deleted has `positon_id` or `ids` (did you mean \"position_id\"?)",
        ),
        // All deliveries are one event.
        ("hackerrank", "{AssessmentResult: id}", "{AssessmentResult: uid}", "no fixture of the event result has `uid`"),
    ]);
}

#[test]
fn where_rows_stand_is_told() {
    each_is_told(&[
        (
            "teamtailor",
            "notes: {rows: notes,",
            "notes: {rows: nots,",
            "a fixture of the list notes has no rows at `nots`, and is no row (did you mean \"notes\"?)",
        ),
        ("bamboohr", "rows: applications\n", "rows: application\n", "has no rows at `application`, and is no row"),
        // The answer is the list.
        (
            "workday",
            "rows: Report_Entry\n",
            "rows: .\n",
            "a fixture of the list Application_History is no list, and no row",
        ),
        (
            "workday",
            "rows: Response_Data.Job_Posting\n",
            "rows: Response_Data.Job_Postings\n",
            "a fixture of the list Get_Job_Postings has no rows at `Response_Data.Job_Postings`",
        ),
    ]);
    // What all lists have in common is told of each.
    let broken = Broken::new("ashby", "manifest.yaml", "rows: results", "rows: result");
    let mistakes = check(&broken.folder, TODAY).mistakes.to_string();
    assert!(mistakes.contains("of the list users has no rows at `result`, and is no row (did you mean \"results\"?)"));
}

#[test]
fn a_path_of_rows_that_is_in_no_fixture_of_the_list_is_told() {
    each_is_told(&[
        (
            "workday",
            "id: Job_Posting_Reference.ID.WID",
            "id: Job_Posting_Reference.ID.WDI",
            "no fixture of the list Get_Job_Postings has `Job_Posting_Reference.ID.WDI` (did you mean \"Job_Posting_Reference.ID.WID\"?)",
        ),
        (
            "greenhouse",
            "job_owners: {subject: {Job: job_id}}",
            "job_owners: {subject: {Job: job.id}}",
            "no fixture of the list job_owners has `job.id` (did you mean \"job_id\"?)",
        ),
        // The window of all, told of those that lack it.
        (
            "bullhorn",
            "then: \"dateLastModified > {from}\", field: dateLastModified",
            "then: \"dateLastModified > {from}\", field: dateModified",
            "no fixture of the lists users, jobs, candidates, submissions, placements, notes, tasks has `dateModified`",
        ),
        (
            "lever",
            "field: deletedAt",
            "field: deletedOn",
            "no fixture of the list deleted_opportunities has `deletedOn`",
        ),
        (
            "ashby",
            "sync: {param: syncToken, next: syncToken, version: updatedAt}",
            "sync: {param: syncToken, next: syncToken, version: changedAt}",
            "no fixture of the lists users, departments, jobs, candidates, applications, interview_schedules has `changedAt`",
        ),
        (
            "ashby",
            "opening.list, subject: {Opening: id}, sync: {param: syncToken, next: syncToken}",
            "opening.list, subject: {Opening: id}, sync: {param: syncToken, next: syncToken, version: updatedAt}",
            "no fixture of the list openings has `updatedAt`",
        ),
        (
            "bamboohr",
            "{bytes_but: [lastLogin]}",
            "{bytes_but: [last_login]}",
            "no fixture of the list users has `last_login` (did you mean \"lastLogin\"?)",
        ),
        (
            "workday",
            "Candidate_Identification_Data,",
            "Candidate_Identification,",
            "no row of the list Get_Candidates has an element `Candidate_Identification` (did you mean \"Candidate_Identification_Data\"?)",
        ),
    ]);
}

#[test]
fn a_path_of_the_parent_s_row_is_looked_for_there() {
    each_is_told(&[
        (
            "lever",
            "tell: {contact_id: contact}",
            "tell: {contact_id: contactId}",
            "no fixture of the list opportunities has `contactId`",
        ),
        (
            "smartrecruiters",
            "each_in: {job_id: [primaryAssignment.job.id, secondaryAssignments.job.id]}\n      path: \"candidates/{candidate_id}/jobs/{job_id}/offers\"",
            "each_in: {job_id: [primary.job.id, secondary.job.id]}\n      path: \"candidates/{candidate_id}/jobs/{job_id}/offers\"",
            "no fixture of the list candidates has `primary.job.id` or `secondary.job.id` (did you mean \"primaryAssignment.job.id\"?)",
        ),
        // The row has it, its parent's has not.
        (
            "bamboohr",
            "in_common: [status.id]",
            "in_common: [status.dateChanged]",
            "no fixture of the list applications has `status.dateChanged`",
        ),
    ]);
}

#[test]
fn a_path_of_answers_that_is_in_no_fixture_is_told() {
    each_is_told(&[
        (
            "lever",
            "next: next, more: hasNext",
            "next: nxt, more: hasNext",
            "no fixture of answers has `nxt` (did you mean \"next\"?)",
        ),
        // There, and no boolean.
        (
            "lever",
            "next: next, more: hasNext",
            "next: next, more: next",
            "no fixture of answers has `next` (known: hasNext)",
        ),
        ("teamtailor", "next: links.next", "next: links.nxt", "has `links.nxt` (did you mean \"links.next\"?)"),
        ("bamboohr", "last: paginationComplete", "last: complete", "no fixture of answers has `complete`"),
        (
            "workday",
            "total: Response_Results.Total_Pages",
            "total: Response_Results.Pages",
            "has `Response_Results.Pages`",
        ),
        ("workday", "count: Response_Results.Page_Results", "count: Page_Results", "has `Page_Results` (did you mean"),
        (
            "ashby",
            "errors: {unless: success,",
            "errors: {unless: ok,",
            "no fixture of answers has `ok` (known: moreDataAvailable, success)",
        ),
        (
            "ashby",
            "next: syncToken, version: updatedAt",
            "next: sync_token, version: updatedAt",
            "no fixture of answers has `sync_token` (did you mean \"syncToken\"?)",
        ),
    ]);
}

#[test]
fn a_time_that_is_not_of_the_window_s_format_is_told() {
    each_is_told(&[
        (
            "smartrecruiters",
            "field: updatedOn, format: rfc3339_ms",
            "field: updatedOn, format: epoch_ms",
            "`updatedOn` of the lists jobs, candidates is no time of the format epoch_ms",
        ),
        (
            "lever",
            "field: deletedAt, format: epoch_ms",
            "field: deletedAt",
            "`deletedAt` of the list deleted_opportunities is no time of the format rfc3339",
        ),
    ]);
}

#[test]
fn a_second_place_that_no_fixture_has_and_what_has_no_fixture_is_warned_of() {
    let warnings = |vendor: &str, old: &str, new: &str| {
        let checked = check(&Broken::new(vendor, "manifest.yaml", old, new).folder, TODAY);
        checked.warnings.to_string()
    };
    let of = warnings("smartrecruiters", "vendor", "vendor");
    for part in [
        "no fixture of the event interview.canceled has `id`, but another place",
        "no row of the list status_history has `id`: their bytes alone tell them apart",
        "no fixture of the events application.created, ",
    ] {
        assert!(of.contains(part), "{part}\nis not in\n{of}");
    }
    let of = warnings("lever", "row: data, params", "row: dat, params");
    assert!(of.contains("no fixture of the list opportunities has `dat`: one row (did you mean \"data\"?)"), "{of}");
    let broken =
        Broken::new("bamboohr", "fixtures/poll__applications.json", "\"paginationComplete\"", "\"paginationComplete\"");
    std::fs::remove_file(broken.folder.path().join("fixtures/poll__applications.json")).unwrap();
    let of = check(&broken.folder, TODAY).warnings.to_string();
    for part in [
        "no fixture is a whole answer to a list: nothing holds `paginationComplete`",
        "no fixture of the lists applications: nothing holds what is said of them",
    ] {
        assert!(of.contains(part), "{part}\nis not in\n{of}");
    }
}
