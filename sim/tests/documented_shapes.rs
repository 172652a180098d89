//! What the simulator sends has the shape of the vendor's documented samples, key for key.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;

use hirewire_sim::{Faults, Simulator};
use serde_json::Value;
use support::{Inbox, quick, until};

#[tokio::test(flavor = "multi_thread")]
async fn webhooks_have_the_documented_shapes() {
    let dir = tempfile::tempdir().unwrap();
    let mut settings = quick(dir.path(), 5, 250);
    settings.scenario.faults = Faults::none();
    let inbox = Inbox::default();
    settings.webhook_url = Some(inbox.listen().await);
    let sim = Simulator::start(settings).await.unwrap();
    sim.play().unwrap();
    until("the play", Duration::from_secs(90), || sim.finished().unwrap()).await;

    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    let mut differences = BTreeSet::new();
    let bodies = inbox.bodies();
    for body in bodies.iter().filter(|body| body["action"] != "ping") {
        let action = body["action"].as_str().unwrap();
        let file = Path::new("tests/documented").join(format!("{action}.json"));
        let text = std::fs::read_to_string(&file).unwrap_or_else(|_| panic!("no documented sample of {action}"));
        let sample: Value = serde_json::from_str(&text).unwrap();
        if let Err(difference) = same_shape("", &sample, body) {
            differences.insert(format!("{action}: {difference}"));
        }
        *seen.entry(action.to_owned()).or_default() += 1;
    }
    assert!(differences.is_empty(), "{differences:#?}");
    for entry in std::fs::read_dir("tests/documented").unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let Some(action) = name.strip_suffix(".json") else { continue };
        // Deleting an offer by hand is the one thing that nobody does here.
        assert!(action == "offer_deleted" || seen.contains_key(action), "{action} was never sent: {seen:?}");
    }
}

/// Keys that some samples of the same thing have and others lack.
const OPTIONAL: &[&str] = &[
    "/payload/application/candidate/url",
    "/payload/application/candidate/employments",
    "/payload/application/candidate/tags",
    "/payload/application/candidate/photo_url",
    "/payload/application/candidate/created_at",
    "/payload/application/candidate/company",
    "/payload/application/candidate/website_addresses",
    "/payload/application/candidate/social_media_addresses",
    "/payload/candidate/employments",
    "/payload/application/prospect_detail",
    "/payload/application/jobs[]/url",
    "/payload/application/current_stage/interviews[]/interview_kit/questions[]/id",
];

fn same_shape(path: &str, sample: &Value, sent: &Value) -> Result<(), String> {
    match (sample, sent) {
        (Value::Object(sample), Value::Object(sent)) => {
            // Keys under these are names that the customer chose.
            if path.ends_with("custom_fields") {
                return Ok(());
            }
            let keys = |map: &serde_json::Map<String, Value>| -> BTreeSet<String> {
                map.keys().filter(|key| !OPTIONAL.contains(&format!("{path}/{key}").as_str())).cloned().collect()
            };
            if keys(sample) != keys(sent) {
                let difference: Vec<_> = keys(sample).symmetric_difference(&keys(sent)).cloned().collect();
                return Err(format!("{path}: {difference:?} differ"));
            }
            for (key, value) in sample {
                if let Some(other) = sent.get(key) {
                    same_shape(&format!("{path}/{key}"), value, other)?;
                }
            }
            Ok(())
        }
        (Value::Array(sample), Value::Array(sent)) => match (sample.first(), sent.first()) {
            (Some(sample), Some(sent)) => same_shape(&format!("{path}[]"), sample, sent),
            _ => Ok(()),
        },
        (Value::Null, _) | (_, Value::Null) => Ok(()),
        (sample, sent) if std::mem::discriminant(sample) == std::mem::discriminant(sent) => Ok(()),
        (sample, sent) => Err(format!("{path}: {sent} where the sample has {sample}")),
    }
}
