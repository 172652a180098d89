//! `hirewire walk`, as the chart's test runs it: a signed webhook through a deployment that runs, and what it says of each step.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use hirewire_e2e::deployment::{Deployment, stop};
use hirewire_e2e::free;
use hirewire_e2e::http::Receiver;

/// A deployment whose sink orders an assessment for each application in such a stage.
fn deployment(receiver: &Receiver) -> Deployment {
    Deployment::lay(&format!(
        "sinks:\n  exams: {{system: assessment, http: {{url: \"http://{}/\", allow: {{networks: [\"127.0.0.0/8\"]}}}}}}\n  \
         hires: {{system: onboarding, http: {{url: \"http://{}/\", allow: {{networks: [\"127.0.0.0/8\"]}}}}}}\n\
         routes: {{exams: {{sink: exams}}, hires: {{sink: hires}}}}\n",
        receiver.address,
        free()
    ))
}

fn walk(deployment: &Deployment, arguments: &[&str]) -> (i32, String, String) {
    deployment.run(&[&["walk", "acme", "--config", "hirewire.yaml"], arguments].concat())
}

#[test]
fn a_webhook_is_followed_to_the_ledger_and_to_every_sink() {
    let receiver = Receiver::start();
    let deployment = deployment(&receiver);
    let up = deployment.up();
    let (code, text, error) = walk(&deployment, &["--within", "60s"]);
    assert_eq!(code, 0, "{text}{error}{}", deployment.log());
    let lines: Vec<&str> = text.lines().collect();
    assert!(lines[0].starts_with("webhook: answered 200"), "{text}");
    assert!(lines[1].starts_with("ledger: ats.stage-change.v1/"), "{text}");
    assert!(text.contains("\n  sink exams, route exams: delivered"), "{text}");
    assert!(text.contains("\n  sink hires, route hires: not sent"), "{text}");
    assert_eq!(receiver.requests().len(), 1);

    // A second walk is another application.
    assert_eq!(walk(&deployment, &["--within", "60s"]).0, 0);
    assert_eq!(deployment.ledger().len(), 2);
    stop(up);
}

/// As `helm test` has it done where the broker listens inside the pod alone.
#[test]
fn a_process_with_its_broker_inside_walks_itself_when_it_is_asked() {
    let receiver = Receiver::start();
    let deployment = deployment(&receiver);
    let admin = deployment.admin();
    let through = format!("http://{admin}");
    let ask = |connection: &str, within: &str| {
        // No configuration, no secret.
        let arguments = ["walk", connection, "--through", &through, "--config", "nowhere.yaml", "--within", within];
        deployment.run(&arguments)
    };
    let up = deployment.up();
    let (code, _, error) = ask("acme", "60s");
    assert!(code == 2 && error.contains("embedded.walk names acme?"), "nobody has allowed it: {error}");
    stop(up);

    deployment.rewrite("embedded: {", "embedded: {walk: acme, ");
    let up = deployment.up();
    let (code, text, error) = ask("acme", "60s");
    assert_eq!(code, 0, "{text}{error}{}", deployment.log());
    assert!(text.starts_with("webhook: answered 200") && text.contains("\nledger: ats.stage-change.v1/"), "{text}");
    assert!(text.contains("\n  sink exams, route exams: delivered"), "{text}");
    assert_eq!(receiver.requests().len(), 1);
    let (code, _, error) = ask("others", "60s");
    assert!(code == 2 && error.contains("names another connection"), "{error}");

    receiver.answer(503);
    let (code, text, _) = ask("acme", "5s");
    assert!(code == 1 && text.contains("sink exams, route exams: not settled yet"), "{text}");
    stop(up);
}

#[test]
fn what_does_not_arrive_fails_with_the_step_that_it_came_to() {
    let receiver = Receiver::start();
    let deployment = deployment(&receiver);
    let nobody = format!("http://{}", free());
    let up = deployment.up();
    let (code, _, error) = walk(&deployment, &["--webhooks", &nobody]);
    assert!(code == 2 && error.contains("does not answer"), "{error}");
    let (code, _, error) = deployment.run(&["walk", "others", "--config", "hirewire.yaml"]);
    assert!(code == 2 && error.contains("there is no connection others"), "{error}");

    receiver.answer(400);
    let (code, text, error) = walk(&deployment, &["--within", "60s"]);
    assert!(code == 1 && text.contains("sink exams, route exams: dead letter"), "{text}{error}");

    // A sink that takes nothing: in time nothing is settled.
    receiver.answer(503);
    let (code, text, _) = walk(&deployment, &["--within", "5s"]);
    assert!(code == 1 && text.contains("sink exams, route exams: not settled yet"), "{text}");

    let path = |name: &str| deployment.folder.path().join(name);
    let config = std::fs::read_to_string(path("hirewire.yaml")).unwrap();
    std::fs::write(path("other.yaml"), config.replace("{file: secret}", "{file: other}")).unwrap();
    std::fs::write(path("other"), "another-secret").unwrap();
    let (code, _, error) = deployment.run(&["walk", "acme", "--config", "other.yaml"]);
    assert!(code == 2 && error.contains("its secret is another"), "{error}");
    stop(up);
}
