//! The receiver of each system, by its `sinks/<system>/receiver.yaml`: which requests it takes and what it answers; and all
//! that may go wrong at it.
//!
//! Golden requests that a receiver does not take are red. Then each fixture's request, step by step, goes to the receiver over
//! HTTP while one of the faults below, or of the system's own in `answers/`, happens at one of the steps.

pub(super) mod server;
mod shape;
mod walk;

use std::collections::BTreeSet;

use serde_json::{Value, json};

use self::shape::{Asked, Takes};
use self::walk::{Fate, Fault, Then, Way};
use super::golden::{cases, folder, json_of};
use crate::request::told::SHOWN;
use crate::system::{System, Systems};

/// The systems that a receiver must be there for.
const NAMED: [&str; 8] = ["bamboohr", "calendly", "checkr", "docusign", "gusto", "hackerrank", "okta-scim", "slack"];

/// Of every setting that is a secret.
fn secret() -> &'static str {
    "what-only-the-body-says"
}

/// The systems with a receiver.
fn receivers() -> Vec<(std::sync::Arc<System>, Takes)> {
    let systems = Systems::carried().unwrap();
    let with = systems.iter().filter_map(|system| Some((std::sync::Arc::clone(system), Takes::of(&folder(system))?)));
    with.collect()
}

/// The requests of a golden file, as a receiver is asked; none if nothing is sent.
fn golden(system: &System, case: &str) -> Vec<Asked> {
    let golden = json_of(&folder(system).join("golden").join(case));
    let one = || golden.get("url").map(|_| vec![golden.clone()]).unwrap_or_default();
    let requests = golden["steps"].as_array().cloned().unwrap_or_else(one);
    requests.iter().map(asked).collect()
}

fn asked(request: &Value) -> Asked {
    let url: reqwest::Url = request["url"].as_str().unwrap().parse().unwrap();
    let headers = request["headers"].as_object().unwrap().iter();
    Asked {
        method: request["method"].as_str().unwrap().to_owned(),
        path: url.path().to_owned(),
        query: url.query().map(str::to_owned),
        headers: headers.map(|(name, value)| (name.clone(), value.as_str().unwrap().to_owned())).collect(),
        // A golden file shows no secret; what is sent has it.
        body: request["body"].to_string().replace(SHOWN, secret()).parse().unwrap(),
    }
}

fn fixtures(system: &System) -> Vec<String> {
    let names = cases(&folder(system).join("fixtures")).into_iter();
    names.map(|path| path.file_name().unwrap().to_str().unwrap().to_owned()).collect()
}

#[test]
fn every_golden_request_is_one_that_its_receiver_takes() {
    let receivers = receivers();
    for name in NAMED {
        assert!(receivers.iter().any(|(system, _)| system.name == name), "{name} has no receiver.yaml");
    }
    for (system, takes) in receivers {
        let mut seen = BTreeSet::new();
        for case in fixtures(&system) {
            for asked in golden(&system, &case) {
                match takes.take(&asked) {
                    Ok(taken) => seen.insert(taken.name.clone()),
                    Err(wrong) => panic!("{}/golden/{case}: {wrong}", system.name),
                };
            }
        }
        let unseen = takes.0.iter().filter(|taken| !taken.is_search() && !seen.contains(&taken.name));
        let unseen: Vec<&String> = unseen.map(|taken| &taken.name).collect();
        assert!(unseen.is_empty(), "{}: no golden request is of {unseen:?}", system.name);
    }
}

/// A receiver that takes everything proves nothing.
#[test]
fn a_receiver_takes_no_request_that_is_a_little_wrong() {
    for (system, takes) in receivers() {
        for asked in fixtures(&system).iter().flat_map(|case| golden(&system, case)) {
            let mut wrongs = vec![
                Asked { method: "PUT".to_owned(), ..asked.clone() },
                Asked { path: format!("{}/more", asked.path), ..asked.clone() },
                Asked { query: Some("dry_run=true".to_owned()), ..asked.clone() },
                Asked { body: Value::Null, ..asked.clone() },
            ];
            for (name, value) in asked.body.as_object().unwrap() {
                let mut renamed = asked.clone();
                let body = renamed.body.as_object_mut().unwrap();
                body.remove(name);
                body.insert(format!("{name}_"), value.clone());
                let mut emptied = asked.clone();
                emptied.body[name] = json!(null);
                wrongs.extend([renamed, emptied]);
            }
            for wrong in wrongs {
                assert!(takes.take(&wrong).is_err(), "{}: {wrong:?}", system.name);
            }
        }
    }
}

/// What may happen at any receiver.
fn usual() -> Vec<Fault> {
    let says = |status: u16| json!({"status": status, "body": "what went wrong"});
    let later = |status: u16| json!({"status": status, "headers": {"retry-after": "1"}});
    let fault = |name: &str, fate: Fate, then: Then| Fault { name: name.to_owned(), fate, then, only: None };
    vec![
        fault("no answer", Fate::Silence, Then::Again),
        fault("a connection that breaks", Fate::Reset, Then::Again),
        fault("an answer that is lost", Fate::Lost, Then::Again),
        fault("500", Fate::says(says(500)), Then::Again),
        fault("502 of a proxy", Fate::says(json!({"status": 502, "body": "<html>"})), Then::Again),
        fault("503 with Retry-After", Fate::says(later(503)), Then::Again),
        fault("429 with Retry-After", Fate::says(later(429)), Then::Again),
        fault("429 without", Fate::says(says(429)), Then::Again),
        fault("408", Fate::says(says(408)), Then::Again),
        fault(
            "a redirect",
            Fate::says(json!({"status": 307, "headers": {"location": "http://127.0.0.1:9/"}})),
            Then::Again,
        ),
        fault("401", Fate::says(says(401)), Then::Held("SINK_UNAUTHORIZED".to_owned())),
        fault("403", Fate::says(says(403)), Then::Held("SINK_FORBIDDEN".to_owned())),
        fault("410", Fate::says(says(410)), Then::Held("SINK_GONE".to_owned())),
        fault("404", Fate::says(says(404)), Then::Dead("ROUTE_REJECTED".to_owned())),
        fault("422", Fate::says(says(422)), Then::Dead("ROUTE_REJECTED".to_owned())),
    ]
}

/// What the system itself says may happen: the cases of `answers/` that are no delivery.
fn own(system: &System) -> Vec<Fault> {
    let read = cases(&folder(system).join("answers")).into_iter().filter_map(|path| {
        let case = json_of(&path);
        let then = match case["becomes"]["verdict"].as_str().unwrap() {
            "delivered" => return None,
            "retry" => Then::Again,
            code if code.starts_with("SINK_") => Then::Held(code.to_owned()),
            code => Then::Dead(code.to_owned()),
        };
        let only = (case["request"].as_str().unwrap().to_owned(), case["step"].as_str().map(str::to_owned));
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        Some(Fault { name, fate: Fate::Says(case["answer"].clone(), case["found"].clone()), then, only: Some(only) })
    });
    read.collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_goes_wrong_at_a_receiver_each_step_is_taken_once_or_told_why_not() {
    let mut runs = tokio::task::JoinSet::new();
    let places = std::sync::Arc::new(tokio::sync::Semaphore::new(24));
    for (system, takes) in receivers() {
        let faults: Vec<Fault> = usual().into_iter().chain(own(&system)).collect();
        for case in fixtures(&system) {
            let fixture = json_of(&folder(&system).join("fixtures").join(&case));
            for step in 0..golden(&system, &case).len() {
                for fault in faults.iter().filter(|fault| fault.is_of(&system, &case, &fixture, step)) {
                    let way = Way {
                        system: std::sync::Arc::clone(&system),
                        takes: takes.clone(),
                        fixture: fixture.clone(),
                        step,
                    };
                    let (fault, places) = (fault.clone(), std::sync::Arc::clone(&places));
                    let shown = format!("{}/{case}, step {step}, {}", system.name, fault.name);
                    runs.spawn(async move {
                        let _place = places.acquire().await.unwrap();
                        way.walk(fault).await.map_err(|wrong| format!("{shown}: {wrong}"))
                    });
                }
            }
        }
    }
    let all = runs.join_all().await;
    let wrong: Vec<&String> = all.iter().filter_map(|one| one.as_ref().err()).collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(all.len() >= 200, "only {} runs", all.len());
}
