use std::path::Path;

use jiff::{SignedDuration, Timestamp};

use super::finding::{Findings, State};
use super::*;

fn said(findings: &Findings, state: State, area: &str) -> Vec<String> {
    let of = findings.all.iter().filter(|finding| finding.state == state && finding.area == area);
    of.map(|finding| format!("{}: {} -> {}", finding.subject, finding.what, finding.remedy)).collect()
}

async fn looked_at(text: &str) -> Findings {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("hirewire.yaml");
    std::fs::write(&config, text).unwrap();
    let doctor = DoctorArguments { config: ConfigFile { config }, json: false, inside: false };
    let vendors = Vendors::open(None).unwrap();
    let mut findings = Findings::default();
    if let Some(config) = doctor.configuration(&vendors, &mut findings).unwrap() {
        kafka::look(&config, &Wanted::of(&config, &vendors), &mut findings).await;
        around::disk(&config.data_dir, &mut findings);
    }
    findings
}

#[tokio::test]
async fn a_missing_secret_is_a_finding_and_the_rest_is_looked_at_all_the_same() {
    let text = "kafka: {bootstrap_servers: \"127.0.0.1:1\"}\nregistry: {url: \"http://127.0.0.1:1\"}\ndata_dir: .\nconnections:\n  \
                acme: {tenant: acme, vendor: greenhouse, webhook: {secrets: [{file: nowhere}]}}\n";
    let findings = looked_at(text).await;
    let secrets = said(&findings, State::Failed, "configuration");
    assert!(
        secrets.len() == 1 && secrets[0].contains("hirewire.yaml:5") && secrets[0].contains("nowhere"),
        "{secrets:?}"
    );
    let kafka = said(&findings, State::Failed, "kafka");
    assert!(kafka.len() == 1 && kafka[0].contains("127.0.0.1:1"), "{kafka:?}");
    for area in ["access", "topics", "lag", "dead letters"] {
        let skipped = said(&findings, State::Skipped, area);
        assert!(skipped.len() == 1 && skipped[0].contains("no broker can be reached"), "{area}: {skipped:?}");
    }
    assert_eq!(said(&findings, State::Well, "disk").len() + said(&findings, State::Failed, "disk").len(), 1);
}

#[tokio::test]
async fn of_a_configuration_with_mistakes_each_is_told_and_what_was_not_looked_at() {
    let findings = looked_at("kafka: {bootstrap_servers: localhost}\nregistry: {urll: x}\n").await;
    assert_eq!(findings.failed(), said(&findings, State::Failed, "configuration").len());
    assert!(findings.failed() >= 2);
    for area in ["kafka", "registry", "disk", "vendors", "sinks"] {
        assert_eq!(said(&findings, State::Skipped, area).len(), 1, "{area}");
    }
}

#[test]
fn lines_have_the_remedy_under_what_is_not_well_and_json_says_the_same() {
    let mut findings = Findings::default();
    findings.add(State::Well, "topics", "", "40 topics are as they must be", "");
    findings.add(State::Failed, "sinks", "payroll", "it answers 401", "write the right secret into its file");
    findings.add(State::Skipped, "vendors", "", "no connection is polled", "");
    assert_eq!(
        findings.lines(),
        [
            "ok       topics         40 topics are as they must be",
            "FAILED   sinks          payroll: it answers 401",
            "                        -> write the right secret into its file",
            "skipped  vendors        no connection is polled",
            "1 failed, 0 warnings, 1 not looked at",
        ]
    );
    let json = findings.json();
    assert_eq!((&json["failed"], &json["skipped"]), (&1.into(), &1.into()));
    assert_eq!(json["findings"][1]["state"], "failed");
    assert_eq!(json["findings"][1]["remedy"], "write the right secret into its file");
}

#[test]
fn a_clock_that_is_off_is_told_and_one_that_is_far_off_fails() {
    let date = |ahead| (Timestamp::now() + SignedDuration::from_secs(ahead)).strftime("%a, %d %b %Y %H:%M:%S GMT");
    let mut findings = Findings::default();
    for (whose, ahead) in [("ours", 0), ("slow", -30), ("ahead", 3_600), ("behind", -3_600)] {
        around::compare(whose, around::ahead_secs(&date(ahead).to_string()), &mut findings);
    }
    around::compare("silent", around::ahead_secs("soon"), &mut findings);
    let told: Vec<_> = findings.all.iter().map(|finding| (finding.subject.as_str(), finding.state)).collect();
    let (well, warned, failed, skipped) = (State::Well, State::Warned, State::Failed, State::Skipped);
    assert_eq!(told, [("ours", well), ("slow", warned), ("ahead", failed), ("behind", failed), ("silent", skipped)]);
    let way = |index: usize, way: &str| findings.all[index].what.ends_with(way);
    assert!(way(1, "s behind ours") && way(2, "s ahead of ours") && way(3, "s behind ours"), "{findings:?}");
}

#[test]
fn a_data_folder_that_cannot_be_written_is_found_and_one_to_come_is_no_fault() {
    let mut findings = Findings::default();
    // Nobody may make a file there, not even who may everything.
    around::disk(Path::new("/proc/self"), &mut findings);
    let failed = said(&findings, State::Failed, "disk");
    assert!(
        failed.iter().any(|line| line.contains("cannot be written") && line.contains("-> give the user")),
        "{failed:?}"
    );
    let folder = tempfile::tempdir().unwrap();
    let (mut findings, to_come) = (Findings::default(), folder.path().join("data"));
    around::disk(&to_come, &mut findings);
    assert_eq!(said(&findings, State::Warned, "disk").len(), 1, "{findings:?}");
    assert_eq!(findings.failed(), 0);
}
