//! A vendor that is asked by GraphQL: a folder of the tests' own, held against a vendor that answers queries.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod broken;

use std::path::Path;

use broken::Broken;
use hirewire_conformance::{Clause, Folder, Part, prove};

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/vendors/graphql");

#[tokio::test(flavor = "multi_thread")]
async fn a_vendor_that_is_asked_by_graphql_is_read_and_believed_as_it_behaves() {
    let proof =
        prove(&Folder::new(Path::new(FOLDER)), &Part::All).await.unwrap_or_else(|problems| panic!("{problems}"));
    assert!(proof.findings.is_empty(), "{:#?}", proof.findings);
    assert!(proof.lists == 3 && proof.questions > 30 * proof.lists, "{proof:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_query_that_reads_too_little_or_nothing_is_found() {
    for (old, new, list, clause, part) in [
        // Without a filter everything comes each time.
        (
            "filter: {updatedAt: {gt: $since}}",
            "since: $since",
            "candidates",
            Clause::Cursor,
            "the list is not narrowed",
        ),
        (
            "after: since, field: updatedAt",
            "after: since, field: createdAt",
            "candidates",
            Clause::Cursor,
            "two states of a row have one identity",
        ),
        (
            "first: $first, after: $after)",
            "first: $first, from: $after)",
            "jobs",
            Clause::Cursor,
            "fails with poll-circle",
        ),
        ("pageInfo.hasNextPage", "pageInfo.hasNext", "jobs", Clause::Cursor, "fails with poll-told-error"),
        (
            "{ endCursor hasNextPage }",
            "{ hasNextPage }",
            "jobs",
            Clause::Cursor,
            "the list fails with poll-broken-answer",
        ),
        // Fields that are not there, and a query that is none.
        (
            "nodes { id title state }",
            "nodes { id name state }",
            "jobs",
            Clause::Cursor,
            "the list fails with poll-told-error",
        ),
        ("list: jobs(", "list: positions(", "jobs", Clause::Cursor, "the list fails with poll-refused"),
        ("before: \"Bearer \"", "before: \"Token \"", "jobs", Clause::Cursor, "the list fails with poll-credentials"),
        // An error is taken for an answer, whose list is not there.
        ("at: errors,", "at: error,", "jobs", Clause::Answers, ""),
    ] {
        let broken = Broken::new("graphql", "manifest.yaml", old, new);
        let found = broken.found(&Part::List(list.to_owned()), clause).await;
        assert!(found.contains(part), "{new}: {found}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sweep_that_tells_nobody_s_end_is_found() {
    let (old, new) = ("streams: [gone_candidates]", "streams: [gone]");
    let found = Broken::new("graphql", "mapping.yaml", old, new).found(&Part::Facts, Clause::Deletes).await;
    assert!(
        found.contains("deletes of gone_candidates: a row of candidates is gone, and no record is deleted"),
        "{found}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_event_names_is_asked_for_by_its_id_and_null_is_what_is_gone() {
    let part = Part::Deliveries;
    let (old, new) = ("row: data.row", "row: data.application");
    let found = Broken::new("graphql", "manifest.yaml", old, new).found(&part, Clause::Thin).await;
    assert!(found.contains("thin of application.moved: what the event names was asked for: it is not read"), "{found}");
}
