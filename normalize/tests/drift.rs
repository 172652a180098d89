//! What a source sends otherwise than it used to: counted each time, told once, by rule and place.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![allow(dead_code, reason = "the cluster has more than these tests need")]

mod cluster;

use std::collections::BTreeSet;

use apache_avro::types::Value;
use cluster::tree::at;
use cluster::{Cluster, fixture, text};
use hirewire_normalize::drift::{LEARNT, MISSED};
use hirewire_schemas::Entity;

const APPLICATION: (&str, &str) = ("Application", "265277");
const EVENT: &str = "candidate_stage_change";

/// A cluster that has learnt what this event usually brings.
fn taught(body: &str) -> Cluster {
    let mut cluster = Cluster::new();
    send(&mut cluster, body, LEARNT);
    cluster
}

fn send(cluster: &mut Cluster, body: &str, times: u64) {
    (0..times).for_each(|time| cluster.send("webhook", EVENT, &time.to_string(), APPLICATION, body));
}

/// Source or target of each issue with this code.
fn told(cluster: &Cluster, code: &str, field: &str) -> Vec<String> {
    let issues = cluster.of(Entity::Issue);
    issues.iter().filter(|issue| text(issue, "code") == code).map(|issue| text(issue, field)).collect()
}

/// Target and word of each issue about a word.
fn words(cluster: &Cluster) -> Vec<(String, String)> {
    let issues = cluster.of(Entity::Issue);
    let of_word = |issue: &Value| {
        let Value::Array(details) = at(issue, "details") else { panic!("{issue:?}") };
        let word = details.iter().find(|detail| text(detail, "name") == "word").unwrap();
        (text(issue, "target"), text(word, "value"))
    };
    issues.iter().filter(|issue| text(issue, "code") == "UNMAPPED_VALUE").map(of_word).collect()
}

fn counted(cluster: &Cluster, rule: &str, kind: &str) -> u64 {
    cluster.shared.metrics.drift.with_label_values(&["greenhouse", rule, kind]).get()
}

#[test]
fn a_leaf_that_was_never_seen_is_told_once_and_counted_each_time() {
    let body = fixture("webhook__candidate_stage_change.json");
    let mut cluster = taught(&body);
    assert_eq!(told(&cluster, "NEW_FIELD", "source"), [""; 0], "what came while it learnt is usual");
    let with_more =
        body.replacen("\"application\": {", "\"application\": {\"shoe_sizes\": [{\"left\": 41}, {\"left\": 42}],", 1);
    assert_ne!(with_more, body);
    cluster.abort_first = true;
    send(&mut cluster, &with_more, 3);
    assert_eq!(told(&cluster, "NEW_FIELD", "source"), ["shoe_sizes[].left"], "in all items of the list, and once");
    assert_eq!(counted(&cluster, "application_event", "new_leaf"), 12, "two items, three times, each processed twice");
    let issue = cluster.of(Entity::Issue).into_iter().find(|issue| text(issue, "code") == "NEW_FIELD").unwrap();
    assert!(text(&issue, "message").contains("shoe_sizes[].left") && !text(&issue, "message").contains("41"));
    assert!(text(&issue, "remedy").contains("ignore"));
    assert_eq!(text(&issue, "entity"), "application");
}

#[test]
fn a_mapped_field_that_comes_no_more_is_told_once() {
    let body = fixture("webhook__candidate_stage_change.json");
    let mut cluster = taught(&body);
    let renamed = body.replace("\"applied_at\":", "\"appliedAt\":");
    assert_ne!(renamed, body);
    send(&mut cluster, &renamed, MISSED - 1);
    assert_eq!(told(&cluster, "FIELD_GONE", "target"), [""; 0], "some may lack it");
    assert_eq!(told(&cluster, "NEW_FIELD", "source"), ["appliedAt"], "its new name is told at once");
    send(&mut cluster, &renamed, 3);
    assert_eq!(told(&cluster, "FIELD_GONE", "target"), ["Application.applied_at"]);
    assert_eq!(counted(&cluster, "application_event", "gone_field"), 3);
    send(&mut cluster, &body, 1);
    send(&mut cluster, &renamed, MISSED - 1);
    assert_eq!(
        counted(&cluster, "application_event", "gone_field"),
        3,
        "it came back, and nothing is missing long enough"
    );
}

#[test]
fn each_word_that_no_table_has_is_told_once() {
    let body = fixture("webhook__candidate_stage_change.json");
    let mut cluster = Cluster::new();
    for word in ["Zzyzx", "zzyzx", "Quux"] {
        let other = body.replace("\"Assessment\"", &format!("\"{word}\""));
        assert_ne!(other, body);
        send(&mut cluster, &other, 2);
    }
    let told = words(&cluster);
    let once: BTreeSet<_> = told.iter().collect();
    assert_eq!(once.len(), told.len(), "each once: {told:?}");
    let has = |word: &str| told.iter().any(|(target, known)| target.contains("stage") && known == word);
    assert!(has("Zzyzx") && has("Quux"), "{told:?}");
    assert!(!has("zzyzx"), "the same word: {told:?}");
}
