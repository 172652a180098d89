//! Every `sinks/<system>/answers/<case>.json`: what a system may answer to the request of a fixture, over HTTP, and what
//! becomes of the record.

use std::sync::Arc;
use std::time::Duration;

use hirewire_service::TraceParent;
use serde_json::{Value, json};

use super::golden::{cases, folder, json_of};
use super::receivers::server::{self, Reply};
use crate::deliver::outcome::{Verdict, judge};
use crate::deliver::{Content, Delivery, OnRefusal, Transport};
use crate::event::Event;
use crate::http::guard::Guard;
use crate::http::networks::Network;
use crate::http::{HttpSettings, HttpTransport};
use crate::request::Request;
use crate::request::parts::Parts;
use crate::request::told::Secrets;
use crate::system::Systems;

/// Answers a search as the case says under `found`, anything else as under `answer`.
async fn receiver(case: Value) -> u16 {
    server::start(move |asked| {
        let said = if asked.method == "GET" { &case["found"] } else { &case["answer"] };
        Reply::Says(said.clone())
    })
    .await
}

async fn becomes(request: Request, case: Value) -> Value {
    let settings = HttpSettings {
        url: format!("http://127.0.0.1:{}/base", receiver(case).await).parse().unwrap(),
        guard: Guard::new(vec!["127.0.0.1".to_owned()], vec![Network::parse("127.0.0.0/8").unwrap()]),
        auth: None,
        signing: None,
        ca: None,
        identity: None,
        timeout: Duration::from_secs(10),
        answer_bytes: 64 * 1024,
        batch: None,
        secrets: Secrets::default(),
    };
    let delivery = Delivery {
        idempotency_key: uuid::Uuid::nil(),
        key: None,
        trace: TraceParent::new_root(),
        content: Content::Request(Box::new(request)),
        on_refusal: OnRefusal::Skip,
    };
    let attempt = HttpTransport::new(settings).unwrap().attempt(&delivery).await;
    let mut becomes = match judge(&attempt) {
        Verdict::Delivered => json!({"verdict": "delivered"}),
        Verdict::Retry { after: None } => json!({"verdict": "retry"}),
        Verdict::Retry { after: Some(after) } => json!({"verdict": "retry", "after_secs": after.as_secs()}),
        Verdict::Hold(reason) => json!({"verdict": reason.code()}),
        Verdict::DeadLetter(code) => json!({"verdict": code.name()}),
    };
    if let Some(id) = attempt.created() {
        becomes["created"] = id.into();
    }
    becomes
}

#[tokio::test]
async fn every_answer_becomes_what_its_case_says() {
    let mut checked = 0;
    for system in Systems::carried().unwrap().iter() {
        for path in cases(&folder(system).join("answers")) {
            let case = json_of(&path);
            let fixture = json_of(&folder(system).join(format!("fixtures/{}.json", case["request"].as_str().unwrap())));
            let plan = system.request(fixture["request"].as_str().unwrap()).unwrap();
            let at = plan.steps.iter().position(|step| step.name.as_deref() == case["step"].as_str());
            let named = plan.steps.iter().filter_map(|step| step.name.as_ref());
            let told: serde_json::Map<String, Value> =
                named.map(|name| (name.clone(), json!({"id": format!("id-of-{name}")}))).collect();
            let mut tree = fixture["tree"].as_object().unwrap().clone();
            tree.insert("steps".to_owned(), told.into());
            let at = at.unwrap_or_else(|| panic!("{}: `step` is none of its request", path.display()));
            let change = Event { entity: plan.entity, tree: tree["change"].clone() };
            let settings = tree.get("settings").cloned().unwrap_or_default();
            let of = Parts::new(&Arc::new(change), &Arc::new(settings), tree);
            let request = plan.render(at, &of).unwrap().unwrap();
            let expected = case["becomes"].clone();
            assert_eq!(becomes(request, case).await, expected, "{}", path.display());
            checked += 1;
        }
    }
    assert!(checked >= 20, "only {checked} cases were found");
}
