//! A test is ordered at HackerRank, and its result comes back as a note in Greenhouse: the whole way through all services. What
//! proves the result is the token that the order gave.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use hirewire_e2e::deployment::{Deployment, Moved, now, stop};
use hirewire_e2e::http::{self, Receiver};
use serde_json::{Value, json};

/// What HackerRank sends when the test is completed: what the invitation said, and by the token that it gave.
fn complete(deployment: &Deployment, invitation: &Value, token: &str) -> String {
    let body = json!({
        "id": "c1", "test": "t1", "status": 7, "score": 92.0, "report_url": "https://www.hackerrank.com/x/candidates/c1/report",
        "invite_metadata": invitation["invite_metadata"],
    });
    let url = invitation["test_result_url"].as_str().unwrap();
    let path = url.strip_prefix("https://hirewire.example.com").unwrap();
    let headers = format!("authorization: Bearer {token}\r\n");
    http::post(deployment.webhooks, path, &headers, body.to_string().as_bytes()).unwrap()
}

#[test]
fn an_assessment_is_ordered_at_hackerrank_and_its_result_is_a_note_in_greenhouse() {
    let (hackerrank, greenhouse) = (Receiver::start(), Receiver::start());
    let http = |receiver: &Receiver| {
        format!("http: {{url: \"http://{}\", allow: {{networks: [\"127.0.0.0/8\"]}}}}", receiver.address)
    };
    let sections = format!(
        "sinks:\n  hackerrank:\n    {}\n    settings:\n      test: t1\n      \
         webhook: \"https://hirewire.example.com/v1/webhooks/acme-tests\"\n      webhook_token: {{file: tests-secret}}\n  \
         notes:\n    system: greenhouse-notes\n    {}\n    settings: {{user: \"158108\"}}\n\
         routes:\n  tests: {{sink: hackerrank}}\n  notes: {{sink: notes, entity: assessment-result}}\n",
        http(&hackerrank),
        http(&greenhouse)
    );
    let deployment = Deployment::lay(&sections);
    std::fs::write(deployment.folder.path().join("tests-secret"), "token-of-the-results").unwrap();
    let second =
        "connections: {acme-tests: {tenant: acme, vendor: hackerrank, webhook: {secrets: [{file: tests-secret}]}}, ";
    deployment.rewrite("connections: {", second);

    let up = deployment.up();
    // Applied long ago; the move is what happens now.
    for (before, (stage_id, stage)) in
        [(71415, "Application Review"), (71416, "Take Home Test")].into_iter().enumerate()
    {
        deployment.send(&Moved { application: 7, stage_id, stage, at: &now(), traceparent: None });
        deployment.until("the change", || deployment.tail("stage-change").len() > before);
        std::thread::sleep(std::time::Duration::from_secs(1));
    }
    deployment.until("the invitation", || !hackerrank.requests().is_empty());
    let invitation = hackerrank.requests()[0].json();
    assert_eq!(hackerrank.requests()[0].path(), "/tests/t1/candidates");
    assert_eq!(invitation["invite_metadata"], json!({"hirewire_application": "acme/7"}));
    let token = invitation["webhook_authentication"]["data"]["token"].as_str().unwrap().to_owned();

    let refused = complete(&deployment, &invitation, "another token");
    assert!(refused.starts_with("HTTP/1.1 401"), "{refused}");
    let taken = complete(&deployment, &invitation, &token);
    assert!(taken.starts_with("HTTP/1.1 200"), "{taken}");
    deployment.until("the note", || !greenhouse.requests().is_empty());
    let note = greenhouse.requests()[0].json();
    assert_eq!((note["application_id"].as_str(), note["candidate_id"].as_str()), (Some("7"), Some("1000007")));
    assert_eq!(
        note["body"],
        "Assessment completed: hackerrank t1 score 92.0 https://www.hackerrank.com/x/candidates/c1/report"
    );
    stop(up);
    assert_eq!((hackerrank.requests().len(), greenhouse.requests().len()), (1, 1));
    assert!(!deployment.log().contains("token-of-the-results"), "{}", deployment.log());
}
