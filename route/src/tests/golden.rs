//! Every `sinks/<system>/fixtures/<case>.json` makes the request of `golden/<case>.json`, or is not sent for the reason
//! there: by the code of `hirewire route test`. `HIREWIRE_UPDATE_GOLDEN` writes them.

use std::path::{Path, PathBuf};

use hirewire_yaml::Problems;
use serde_json::{Value, json};

use super::ground::Ground;
use crate::Settings;
use crate::rehearse::{Exchange, Outcome, rehearse};
use crate::system::{System, Systems, Takes, carried};

pub(super) fn cases(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let mut cases: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    cases.sort();
    cases
}

pub(super) fn json_of(path: &Path) -> Value {
    let text = std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

pub(super) fn folder(system: &System) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("sinks").join(&system.name)
}

/// A sink of the system, told what the fixture says, and `secret` of every setting that is one. `more` is of the sink too.
pub(super) fn settings(system: &System, fixture: &Value, http: &str, more: &str, secret: &Value) -> Settings {
    let mut told = fixture.pointer("/tree/settings").cloned().unwrap_or(json!({}));
    for setting in system.settings.iter().filter(|setting| setting.is_secret) {
        told[&setting.name] = secret.clone();
    }
    // The sinks that it waits for are there, each of the system of its name.
    let others = system.awaited().map(|(after, _)| {
        let name = after.sink(&fixture["tree"]["settings"]);
        let told: Value = carried(name).settings.iter().map(|setting| (setting.name.clone(), "x")).collect();
        format!(", {name}: {{http: {{url: 'https://x.example'}}, settings: {told}}}")
    });
    let others: String = others.collect();
    let sink = format!("sinks: {{{}: {{http: {http}, settings: {told}{more}}}{others}}}", system.name);
    Ground::settings(&format!("{sink}\nroutes: {{r: {{sink: {}}}}}\n", system.name))
}

fn shown(exchange: Exchange) -> Value {
    let own = ["idempotency-key", "traceparent", "user-agent"];
    let headers = exchange.headers.into_iter().filter(|(name, _)| !own.contains(&name.as_str()));
    let headers: serde_json::Map<String, Value> = headers.map(|(name, value)| (name, value.into())).collect();
    let mut made = json!({"method": exchange.method, "url": exchange.url, "headers": headers, "body": exchange.body});
    if let Some(step) = exchange.step {
        made["step"] = step.into();
    }
    made
}

#[test]
fn every_fixture_makes_its_golden_request() {
    let mut checked = 0;
    for system in Systems::carried().unwrap_or_else(|problems: Problems| panic!("{problems}")).iter() {
        if let Takes::Everything(_) = system.takes {
            continue;
        }
        for case in cases(&folder(system).join("fixtures")) {
            let fixture = json_of(&case);
            let done = rehearse(
                &settings(system, &fixture, "{url: 'https://x.example'}", "", &json!({"env": "PATH"})),
                &system.name,
                &fixture,
            );
            let [done] = done.unwrap_or_else(|error| panic!("{}: {error}", case.display())).try_into().unwrap();
            let made = match done.outcome {
                Outcome::NotSent(why) => json!({"not_sent": why}),
                Outcome::Requests(exchanges) => {
                    let mut made: Vec<Value> = exchanges.into_iter().map(shown).collect();
                    if made.len() == 1 { made.remove(0) } else { json!({"steps": made}) }
                }
                other => panic!("{}: {other:?}", case.display()),
            };
            let golden = folder(system).join("golden").join(case.file_name().unwrap());
            if std::env::var_os("HIREWIRE_UPDATE_GOLDEN").is_some() {
                std::fs::write(&golden, serde_json::to_string_pretty(&made).unwrap() + "\n").unwrap();
            }
            assert_eq!(made, json_of(&golden), "{}", case.display());
            checked += 1;
        }
    }
    assert!(checked >= 7, "only {checked} cases were found");
}
