//! For what becomes of rows and deliveries: for each clause a folder that it finds.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod broken;

use broken::Broken;
use hirewire_conformance::{Clause, Part, prove};

/// What is broken: the vendor, its file, what stands there and what is put there, what is said.
type Case = (&'static str, &'static str, &'static str, &'static str, &'static str);

async fn each_is_found(cases: &[Case], part: Part, clause: Clause) {
    for (vendor, file, old, new, wanted) in cases {
        let found = Broken::new(vendor, file, old, new).found(&part, clause).await;
        assert!(found.contains(wanted), "{vendor}: {new}: {found}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_event_names_and_nobody_reads_is_found() {
    let manifest = "manifest.yaml";
    let cases: [Case; 9] = [
        (
            "bullhorn",
            manifest,
            "    Note: {notes: entityId}\n",
            "",
            "thin of Note: it only names what happened, and nothing is read for it",
        ),
        (
            "smartrecruiters",
            manifest,
            "    candidate.updated: {candidate_details: {link: self}}\n",
            "",
            "thin of candidate.updated: it only names what happened, and nothing is read for it",
        ),
        (
            "smartrecruiters",
            manifest,
            "candidate.created: {candidate_details: {link: self}}",
            "candidate.created: {job_details: {link: self}}",
            "thin of candidate.created: what the event names is not found in it",
        ),
        (
            "smartrecruiters",
            manifest,
            "one: {path: \"interviews-api/v201904/interviews/{id}\"}",
            "one: {path: \"interviews/{id}\"}",
            "thin of interview.updated: what the event names is not found in it",
        ),
        (
            "teamtailor",
            manifest,
            "candidate.update: {candidates: payload.data.id}",
            "candidate.update: {jobs: payload.data.id}",
            "thin of candidate.update: what the event names was asked for: nothing was read",
        ),
        (
            "teamtailor",
            manifest,
            "one: {path: \"candidates/{id}\", row: data}",
            "one: {path: \"candidates/{id}\", row: rows}",
            "thin of candidate.create: what the event names was asked for: it is not read, and waits for ever",
        ),
        (
            "teamtailor",
            manifest,
            "one: {path: \"candidates/{id}\", row: data}",
            "one: {path: \"candidates/{id}\", row: data.attributes}",
            "thin of candidate.create: what the event names was asked for: what was read is something else",
        ),
        (
            "lever",
            manifest,
            "interviewCreated: {interviews: data.opportunityId}",
            "interviewCreated: {interviews: data.contactId}",
            "thin of interviewCreated: what the event names is not found in it",
        ),
        (
            "ashby",
            manifest,
            "candidateStageChange: {application_history: data.application.id}",
            "candidateStageChange: {application_history: data.application.candidate.id}",
            "thin of candidateStageChange: what the event names was asked for: nothing was read",
        ),
    ];
    each_is_found(&cases, Part::Deliveries, Clause::Thin).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_move_that_becomes_several_events_or_another_time_is_found() {
    let mapping = "mapping.yaml";
    let cases: [Case; 8] = [
        (
            "bullhorn",
            mapping,
            "entered_at: {from: dateAdded, format: epoch_ms, required: true}",
            "entered_at: {from: dateAdded, format: epoch_s, required: true}",
            "one-fact of submissions: one move, told by queue, is",
        ),
        (
            "workday",
            mapping,
            "entered_at: Status_Timestamp\n\n",
            "entered_at: Job_Application_Date\n\n",
            "one-fact of Get_Candidates: one move, told by poll, is",
        ),
        // The history names another stage than the webhook.
        (
            "greenhouse",
            mapping,
            "id: {ref: Stage, from: .}",
            "id: {ref: User, from: .}",
            "one-fact of applications: one move",
        ),
        (
            "ashby",
            mapping,
            "id: {ref: Stage, from: stageId}",
            "id: {ref: Stage, from: id}",
            "one-fact of applications: one move",
        ),
        // The list's own history and its webhook disagree about the time.
        (
            "lever",
            mapping,
            "entered_at: {from: updatedAt, format: epoch_ms}",
            "entered_at: {from: updatedAt, format: epoch_s}",
            "one-fact of opportunities: one move, told by poll, then webhook, is",
        ),
        (
            "bamboohr",
            mapping,
            "entered_at: status.dateChanged",
            "entered_at: appliedDate",
            "one-fact of application_details: one move, told by poll, is",
        ),
        // The row says that nobody was hired.
        (
            "ashby",
            mapping,
            "Hired: HIRED, Archived: ARCHIVED}",
            "Hired: ACTIVE, Archived: ARCHIVED}",
            "should be one HIRE and one STAGE",
        ),
        // The webhook tells of another application.
        (
            "greenhouse",
            mapping,
            "root: payload.application\n    id: id",
            "root: payload.application\n    id: candidate.id",
            "one-fact of applications",
        ),
    ];
    each_is_found(&cases, Part::Facts, Clause::OneFact).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deletion_that_deletes_nothing_is_found() {
    let cases: [Case; 5] = [
        (
            "bullhorn",
            "mapping.yaml",
            "{from: entityEventType, is: DELETED}]}, completeness: part, delete: true, id: {first: [entityId, id]}",
            "{from: entityEventType, is: GONE}]}, completeness: part, delete: true, id: {first: [entityId, id]}",
            "deletes of JobSubmission deleted: a row of submissions is gone, and no record is deleted for it",
        ),
        (
            "greenhouse",
            "mapping.yaml",
            "events: [department_deleted]",
            "events: [office_deleted]",
            "deletes of department_deleted: a row of departments is gone, and no record is deleted for it",
        ),
        (
            "lever",
            "mapping.yaml",
            "streams: [deleted_opportunities]\n    completeness: part\n    delete: true\n    id: id",
            "streams: [deleted_opportunities]\n    completeness: part\n    delete: true\n    id: deletedBy",
            "deletes of deleted_opportunities: a row of opportunities is gone",
        ),
        (
            "teamtailor",
            "mapping.yaml",
            "events: [job_application.destroy], root: payload.data, delete: true, id: id",
            "events: [job_application.destroy], root: payload.data, delete: true, id: type",
            "deletes of job_application.destroy: a row of in_process_applications is gone",
        ),
        (
            "lever",
            "manifest.yaml",
            "window: {from: deleted_at_start, to: deleted_at_end, field: deletedAt, format: epoch_ms}",
            "window: {from: deleted_at_end, to: deleted_at_start, field: deletedAt, format: epoch_ms}",
            "deletes of deleted_opportunities: a row of opportunities is gone",
        ),
    ];
    each_is_found(&cases, Part::Facts, Clause::Deletes).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_nothing_is_made_of_is_found() {
    let cases: [Case; 4] = [
        (
            "teamtailor",
            "mapping.yaml",
            "events: [candidate.destroy], root: payload.data, delete: true",
            "events: [candidate.destroy], root: payload.data, delete: true, when: {exists: payload.nothing}",
            "coverage of webhook__candidate.destroy.json: 2 leaves are not read, not ignored and not carried",
        ),
        (
            "greenhouse",
            "manifest.yaml",
            "    delete_application: {Application: payload.application.id}\n",
            "",
            "coverage of delete_application: `webhook.subjects` does not name the event",
        ),
        (
            "lever",
            "mapping.yaml",
            "streams: [archive_reasons]",
            "streams: [sources]",
            "coverage of archive_reasons: no rule makes anything of its rows",
        ),
        (
            "lever",
            "mapping.yaml",
            "streams: [archive_reasons]",
            "streams: [sources]",
            "coverage of lists: rows cannot be processed: REQUIRED_MISSING Reason.id",
        ),
    ];
    each_is_found(&cases, Part::Facts, Clause::Coverage).await;
}

#[tokio::test]
async fn an_event_that_api_yaml_does_not_know_is_a_mistake_and_not_a_proof() {
    for (old, new, part) in [
        ("    interviewCreated:", "    interviewMade:", "it does not say what the event \"interviewCreated\" is about"),
        (
            "{of: opportunities, body: {data.opportunityId: id}, thin",
            "{of: people, body: {data.opportunityId: id}, thin",
            "no list \"people\"",
        ),
        ("event: candidateStageChange", "event: stageChange", "no event \"stageChange\""),
    ] {
        let broken = Broken::new("lever", "api.yaml", old, new);
        let problems = prove(&broken.folder, &Part::Facts).await.unwrap_err().to_string();
        assert!(problems.contains(part) && problems.contains("api.yaml"), "{problems}");
    }
}
