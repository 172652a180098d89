//! `hirewire route test` as its users run it: the exact request, without Kafka, without the network, without a secret.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::path::Path;

use hirewire_e2e::hirewire;
use serde_json::Value;

const CONFIG: &str = "
kafka: {bootstrap_servers: \"127.0.0.1:1\"}
registry: {url: \"http://127.0.0.1:1\"}
sinks:
  onboarding:
    http:
      url: https://hires.example.com/in
      auth: {bearer: {file: token}}
      signing: {secrets: [{file: signing}]}
  moves: {system: stream, kafka: {topic: hr.moves}}
  starts: {system: onboarding, kafka: {topic: hr.starts}}
  gusto: {http: {url: https://api.example.com}, settings: {company: c, location: l, salaried: Exempt}}
  rest: {system: onboarding, http: {url: https://hires.example.com/in}}
  analytics: {sqlite: {path: analytics.sqlite}}
routes:
  hires: {sink: onboarding}
  one-job: {sink: onboarding, when: {job_id: other}}
  everything: {sink: analytics}
  moves: {sink: moves, entity: stage-change}
  starts: {sink: starts}
  employees: {sink: gusto}
";

fn fixture(name: &str) -> String {
    fixture_of("onboarding", name)
}

fn fixture_of(system: &str, name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../route/sinks").join(system).join(name);
    path.canonicalize().unwrap().to_str().unwrap().to_owned()
}

#[test]
fn route_test_prints_the_exact_request_and_no_secret() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("hirewire.yaml"), CONFIG).unwrap();
    std::fs::write(folder.path().join("token"), "very-secret-token").unwrap();
    let run = |sink: &str, fixture: &str| {
        let output = hirewire(&["route", "test", sink, fixture]).unwrap().current_dir(folder.path()).output().unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
    };
    let hire = fixture("fixtures/hire.json");
    let (code, _, error) = run("onboarding", &hire);
    assert!(code == 2 && error.contains("a secret of the sink cannot be read"), "{error}");
    std::fs::write(folder.path().join("signing"), "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();

    let (code, text, error) = run("onboarding", &hire);
    assert_eq!(code, 0, "{text}{error}");
    assert!(text.starts_with("route hires:\nPOST https://hires.example.com/in\n"), "{text}");
    for header in
        ["authorization: ***\n", "content-type: application/json\n", "webhook-signature: v1,", "user-agent: hirewire/"]
    {
        assert!(text.contains(header), "{header} is not in {text}");
    }
    let (code, steps, error) = run("gusto", &fixture_of("gusto", "fixtures/hire.json"));
    assert_eq!(code, 0, "{steps}{error}");
    for line in [
        "route employees, step employee:\nPOST https://api.example.com/v1/companies/c/employees\n",
        "route employees, step job:\nPOST https://api.example.com/v1/employees/id-of-employee/jobs\n",
        "route employees, step compensation:\nPOST https://api.example.com/v1/jobs/id-of-job/compensations\n",
    ] {
        assert!(steps.contains(line), "{line} is not in {steps}");
    }
    let keys: std::collections::BTreeSet<&str> =
        steps.lines().filter(|line| line.starts_with("idempotency-key: ")).collect();
    assert_eq!(keys.len(), 4, "each step has a key of its own");
    assert!(!text.contains("very-secret-token") && !text.contains("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"));
    assert!(text.contains("route one-job: not sent: the route's `when`: `job_id` is absent, not other\n"), "{text}");
    let key = text.split("idempotency-key: ").nth(1).unwrap().lines().next().unwrap();
    let body: Value = serde_json::from_str(text.split("\n\n").nth(1).unwrap()).unwrap();
    let golden: Value = serde_json::from_str(&std::fs::read_to_string(fixture("golden/hire.json")).unwrap()).unwrap();
    let mut expected = golden["body"].clone();
    expected["key"] = key.into();
    assert_eq!(body, expected);
    let again = run("onboarding", &hire).1;
    assert!(again.contains(&format!("idempotency-key: {key}\n")), "the key is the same for ever");

    let (code, text, _) = run("onboarding", &fixture("fixtures/hire_without_offer.json"));
    assert!(code == 1 && text.contains("is missing: candidate.name, offer.accepted"), "{text}");
    let (code, text, error) = run("analytics", &hire);
    assert!(code == 0 && text.starts_with("route everything: a row of stage_change\n"), "{text}{error}");
    assert!(text.contains("\"event_id\": \"ev-hire\""), "{text}");
    let (code, text, error) = run("starts", &hire);
    let record = "route starts: a record of hr.starts, key 0b8f5b2e-6a53-5d5c-9d7e-2f4c1d8f0a01\nidempotency-key: ";
    assert!(code == 0 && text.starts_with(record), "{text}{error}");
    assert!(text.contains("\"type\": \"hire\""), "{text}");
    let (code, text, error) = run("moves", &hire);
    assert!(code == 0 && text.starts_with("route moves: a record of hr.moves, key "), "{text}{error}");
    assert!(text.contains("\"change_type\": \"HIRE\""), "{text}");
    for (sink, told) in
        [("rest", "no route leads to the sink"), ("payrol", "it has: analytics, gusto, moves, onboarding, rest")]
    {
        let (code, _, error) = run(sink, &hire);
        assert!(code == 2 && error.contains(told), "{error}");
    }
}
