//! Every vendor's folder against the vendor as its `api.yaml` has it; and for each clause a manifest that it finds.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod broken;

use std::path::Path;

use broken::Broken;
use hirewire_conformance::{Clause, Folder, Part, Proof, prove, vendors_in};

fn vendors() -> Vec<Folder> {
    let found = vendors_in(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../vendors")).unwrap();
    let proven = found.iter().filter(|path| path.join("api.yaml").is_file());
    proven.map(|path| Folder::new(path)).collect()
}

fn told(proof: &Proof) -> String {
    proof.findings.iter().map(|found| format!("\n{} of {}: {}", found.clause.as_str(), found.at, found.what)).collect()
}

#[test]
fn every_vendor_is_read_and_believed_as_it_behaves() {
    let vendors = vendors();
    assert!(vendors.len() >= 8, "{vendors:?}");
    // They wait more than they compute.
    std::thread::scope(|threads| {
        for folder in &vendors {
            threads.spawn(|| tokio::runtime::Runtime::new().unwrap().block_on(is_read_and_believed(folder)));
        }
    });
}

async fn is_read_and_believed(folder: &Folder) {
    let proof = prove(folder, &Part::All).await.unwrap_or_else(|problems| panic!("{problems}"));
    assert!(proof.findings.is_empty(), "{}{}", folder.path().display(), told(&proof));
    assert!(proof.lists >= 5 && proof.questions > 30 * proof.lists, "{proof:?}");
    // What is left out is left out for a reason that the folder gives, and nothing else is.
    let webhooks = folder.rules(None).unwrap().manifest.webhook.is_some();
    let left_out = |clause| proof.left_out.iter().any(|(left, why)| *left == clause && !why.is_empty());
    let queue = folder.rules(None).unwrap().manifest.queue.is_some();
    assert_eq!(left_out(Clause::Queue), !queue, "{}", folder.path().display());
    assert_eq!(left_out(Clause::Signature), !webhooks, "{}", folder.path().display());
    assert!(!left_out(Clause::OneFact) && !left_out(Clause::Coverage), "{}", folder.path().display());
}

/// What is broken: the vendor, what stands in its manifest and what is put there, the list, what is said.
type Case = (&'static str, &'static str, &'static str, &'static str, &'static str);

async fn each_is_found(cases: &[Case], clause: Clause) {
    for (vendor, old, new, list, part) in cases {
        let broken = Broken::new(vendor, "manifest.yaml", old, new);
        let found = broken.found(&Part::List((*list).to_owned()), clause).await;
        assert!(found.contains(part), "{vendor}: {new}: {found}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cursor_on_the_time_of_creation_is_found() {
    let cases: [Case; 5] = [
        (
            "lever",
            "{from: updated_at_start, to: updated_at_end, field: updatedAt,",
            "{from: created_at_start, to: created_at_end, field: createdAt,",
            "opportunities",
            "after a change of the oldest row: the cursor passed a change of the row",
        ),
        (
            "greenhouse",
            "window: {param: updated_at, first: \"lte|{to}\", then: \"gt|{from}|lte|{to}\", field: updated_at}",
            "window: {param: created_at, first: \"lte|{to}\", then: \"gt|{from}|lte|{to}\", field: created_at}",
            "applications",
            "after a change of the oldest row: the cursor passed a change of the row",
        ),
        (
            "teamtailor",
            "after: \"filter[updated-at][from]\", field: attributes.updated-at",
            "after: \"filter[created-at][from]\", field: attributes.created-at",
            "candidates",
            "after a change of the oldest row: the cursor passed a change of the row",
        ),
        (
            "bullhorn",
            "then: \"dateLastModified > {from}\", field: dateLastModified",
            "then: \"dateAdded > {from}\", field: dateAdded",
            "jobs",
            "after a change of the oldest row: the cursor passed a change of the row",
        ),
        // The filter is right, and the field of the row is not: two states would be one event.
        ("lever", "field: updatedAt", "field: createdAt", "postings", "two states of a row have one identity"),
    ];
    each_is_found(&cases, Clause::Cursor).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cursor_that_runs_ahead_of_what_lists_show_is_found() {
    let cases: [Case; 2] = [
        ("lever", "lag: 5m\n  overlap: 10m", "lag: 0s\n  overlap: 0s", "postings", "after a change that shows late: "),
        // What is read as of one moment lacks what the log shows later.
        (
            "workday",
            "lag: 0s\n  overlap: 10m",
            "lag: 0s\n  overlap: 0s",
            "Get_Job_Requisitions",
            "after a change that shows late: ",
        ),
    ];
    each_is_found(&cases, Clause::Cursor).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_that_is_not_narrowed_or_not_paged_or_not_found_is_told() {
    let cases: [Case; 29] = [
        ("smartrecruiters", "after: updatedAfter", "after: updatedSince", "candidates", "the list is not narrowed"),
        ("smartrecruiters", "rfc3339_ms", "rfc3339", "jobs", "the list fails with poll-refused"),
        ("smartrecruiters", "header: X-SmartToken", "header: X-Token", "users", "fails with poll-credentials"),
        ("smartrecruiters", "next: nextPageId", "next: nextPage", "users", "3 of 5 rows were not seen"),
        ("smartrecruiters", ", secondaryAssignments.job.id", "", "status_history", "15 of 30 rows were not seen"),
        ("bamboohr", "last: paginationComplete", "last: complete", "applications", "fails with poll-broken-answer"),
        ("bamboohr", "applicationStatus: ALL, ", "", "applications", "after the first read: 2 of 5 rows were not seen"),
        ("bamboohr", "rows: \"*\", ", "", "users", "the list fails with poll-broken-answer"),
        ("teamtailor", "X-Api-Version", "X-Version", "users", "the list fails with poll-refused"),
        ("teamtailor", "next: links.next", "next: links.last", "users", "3 of 5 rows were not seen"),
        (
            "teamtailor",
            "{\"filter[stage-type]\": Inbox,",
            "{\"filter[stage]\": Inbox,",
            "inbox_applications",
            "rows came that are none of the list's",
        ),
        ("lever", "from: updated_at_start", "from: updatedAtStart", "postings", "the list is not narrowed"),
        ("ashby", "sync: {param: syncToken,", "sync: {param: token,", "jobs", "the list is not narrowed"),
        ("lever", "encoded: true", "encoded: false", "postings", "after the first read: 3 of 5 rows were not seen"),
        ("lever", "param: offset", "param: page", "postings", "the list fails with poll-circle"),
        ("lever", "rows: data", "rows: date", "stages", "the list fails with poll-broken-answer"),
        ("ashby", "path: job.list", "path: jobs.list", "jobs", "the list fails with poll-refused"),
        (
            "workday",
            "Transaction_Date_Range_Data: {Updated_From: ",
            "Transaction_Date_Range_Data: {Updated_Since: ",
            "Get_Job_Requisitions",
            "the list is not narrowed",
        ),
        (
            "workday",
            "Results.Total_Pages",
            "Results.Pages",
            "Get_Job_Postings",
            "the list fails with poll-broken-answer",
        ),
        // The order of a request's elements counts.
        (
            "workday",
            "Page: \"{page}\", Count: \"100\"}",
            "Count: \"100\", Page: \"{page}\"}",
            "Get_Job_Requisitions",
            "the list fails with poll-soap-fault",
        ),
        (
            "workday",
            "auth: {username_token: {or_refresh_token: {token_url: \"https://wd3-services1.myworkday.com/ccx/oauth2/acme/token\", expires_in: expires_in}}}",
            "auth: {basic_api_key: {password: x}}",
            "Get_Candidates",
            "the list fails with poll-credentials",
        ),
        (
            "workday",
            "Data.Candidate\n",
            "Data.Candidates\n",
            "Get_Candidates",
            "the list fails with poll-broken-answer",
        ),
        ("workday", "{from: Updated_From,", "{from: Updated_Since,", "Application_History", "the list is not narrowed"),
        (
            "bullhorn",
            "{after: where, first: \"id > 0\"",
            "{after: were, first: \"id > 0\"",
            "jobs",
            "the list is not narrowed",
        ),
        ("bullhorn", "offset: {param: start}", "offset: {param: offset}", "jobs", "3 of 5 rows were not seen"),
        ("bullhorn", "header: BhRestToken", "header: X-Token", "jobs", "the list fails with poll-credentials"),
        ("bullhorn", "token: access_token", "token: token", "jobs", "the list fails with poll-credentials"),
        (
            "bullhorn",
            "then: \"dateLastModified > {from}\"",
            "then: \"dateModified > {from}\"",
            "jobs",
            "the list fails with poll-refused",
        ),
        ("greenhouse", "auth.greenhouse.io/token", "auth.greenhouse.io/oauth", "jobs", "fails with poll-credentials"),
    ];
    each_is_found(&cases, Clause::Cursor).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_move_and_its_return_around_a_reading_of_the_details_are_found() {
    let cases: [Case; 2] = [
        (
            "bamboohr",
            "in_common: [status.id]",
            "in_common: []",
            "application_details",
            "each between a row and its details, that were taken back: 1 of 5 rows were not seen as they are",
        ),
        // What never agrees is read for ever.
        (
            "bamboohr",
            "in_common: [status.id]",
            "in_common: [commentCount]",
            "application_details",
            "5 rows were kept again though nothing changed",
        ),
    ];
    each_is_found(&cases, Clause::Cursor).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_that_cannot_begin_anew_when_its_token_ended_is_found() {
    let known = "expired: [sync_token_expired], ";
    each_is_found(&[("ashby", known, "", "jobs", "since which the sync token ended: ")], Clause::Cursor).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_after_which_a_list_is_never_read_again_is_found() {
    // The vendor forgets pages with a code that the manifest does not name; named, all is well.
    let (order, forgets) =
        ("  order: id ascending", "  unknown_page: {status: 400, error: cursor_expired}\n  order: id ascending");
    let broken = Broken::new("ashby", "api.yaml", order, forgets);
    let part = Part::List("jobs".to_owned());
    let found = broken.found(&part, Clause::Answers).await;
    assert!(found.contains("after a page that is not known any more at a later page: "), "{found}");
    let manifest = broken.folder.path().join("manifest.yaml");
    let text = std::fs::read_to_string(&manifest).unwrap();
    std::fs::write(&manifest, text.replace("[sync_token_expired]", "[sync_token_expired, cursor_expired]")).unwrap();
    assert_eq!(broken.found(&part, Clause::Answers).await, "");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signature_that_is_read_otherwise_than_the_vendor_writes_it_is_found() {
    for (vendor, old, new, part) in [
        ("lever", "[token, triggeredAt]", "[triggeredAt, token]", "a delivery that is right is answered 401"),
        ("lever", "[token, triggeredAt]", "[triggeredAt]", "a delivery that is right is answered 401"),
        ("lever", "      sent_at: {epoch_ms: triggeredAt, within: 24h}\n", "", "signed a month ago is answered 200"),
        ("lever", "within: 24h", "within: 1h", "the last retry of a delivery is answered 401"),
        (
            "smartrecruiters",
            "{header: event-name}, {header: event-version}",
            "{header: event-version}, {header: event-name}",
            "a delivery that is right, signed with the newer secret is answered 401",
        ),
        (
            "smartrecruiters",
            "answer: 202",
            "answer: 200",
            "a delivery that is right is answered 200, and should be kept",
        ),
        ("smartrecruiters", "within: 240h", "within: 24h", "the last retry of a delivery is answered 401"),
        ("smartrecruiters", "  handshake: {echo: X-Hook-Secret}\n", "", "its word did not come back with 200"),
        ("teamtailor", "      decoded: base64\n", "", "a delivery that is right is answered 401"),
        ("teamtailor", "within: 5m", "within: 2000h", "signed a month ago is answered 200"),
        ("ashby", "before: \"sha256=\"", "before: \"sha1=\"", "a delivery that is right is answered 401"),
        ("ashby", "header: Ashby-Signature", "header: X-Ashby-Signature", "a delivery that is right is answered 401"),
        (
            "ashby",
            "{hmac: {algorithm: sha256, encoding: hex, header: Ashby-Signature, before: \"sha256=\", signed: body}}",
            "{none: {}}",
            "a delivery that was altered is answered 200",
        ),
    ] {
        let found = Broken::new(vendor, "manifest.yaml", old, new).found(&Part::Deliveries, Clause::Signature).await;
        assert!(found.contains(part), "{vendor}: {new}: {found}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_queue_whose_events_would_be_lost_is_found() {
    for (old, new, part) in [
        // What was handed out and not kept is asked for by another parameter, and is the next batch.
        (
            "    param: requestId\n",
            "    param: request\n",
            "a kill at commit 1, BeforeCommit: 12 of 48 events were not kept",
        ),
        ("Note,Placement,Task\"", "Note,Placement\"", "a read: 2 of 44 events were not kept"),
        ("lastRequestId\", number: result", "lastRequestId\", number: results", "events were not kept"),
        ("maxEvents: 100", "maxEvents: 500", "a read: 48 of 48 events were not kept"),
    ] {
        let found = Broken::new("bullhorn", "manifest.yaml", old, new).found(&Part::Deliveries, Clause::Queue).await;
        assert!(found.contains(part), "{new}: {found}");
    }
}

#[tokio::test]
async fn what_the_vendor_does_not_say_is_a_mistake_and_not_a_proof() {
    for (vendor, file, old, new, part) in [
        ("lever", "api.yaml", "  requisitions:", "  demands:", "it does not say how the list \"requisitions\" behaves"),
        ("lever", "api.yaml", "  sources: {id: text}", "  sources: {}", "rows have no `id`"),
        ("ashby", "api.yaml", "stage: stageId", "stage: stage", "no row has `stage`"),
        ("lever", "api.yaml", "example:", "exampel:", "did you mean \"example\"?"),
        ("ashby", "api.yaml", "stream: interview_plans", "stream: interview_plan", "no list \"interview_plan\" above"),
    ] {
        let problems = prove(&Broken::new(vendor, file, old, new).folder, &Part::All).await.unwrap_err().to_string();
        assert!(problems.contains(part) && problems.contains("api.yaml"), "{problems}");
    }
    let broken = Broken::new("lever", "api.yaml", "base_path: /v1", "base_path: /v1");
    std::fs::remove_file(broken.folder.path().join("api.yaml")).unwrap();
    let problems = prove(&broken.folder, &Part::All).await.unwrap_err().to_string();
    assert!(problems.contains("api.yaml: the file is missing"), "{problems}");
    let broken = Broken::new("ashby", "api.yaml", "", "");
    std::fs::remove_file(broken.folder.path().join("fixtures/poll__interview_plans.json")).unwrap();
    let problems = prove(&broken.folder, &Part::All).await.unwrap_err().to_string();
    assert!(problems.contains("a list without a row") && problems.contains("api.yaml"), "{problems}");
}
