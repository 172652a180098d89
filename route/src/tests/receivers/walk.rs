//! One request to its receiver, step by step, while one thing goes wrong at one of the steps.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use hirewire_service::TraceParent;
use serde_json::Value;
use tokio::sync::watch;

use super::secret;
use super::server::{self, Reply};
use super::shape::{Asked, Takes};
use crate::compose::{Made, whole};
use crate::deliver::{Content, Deliverer, Delivery, End, OnRefusal};
use crate::engine::{Lease, Phase};
use crate::http::HttpTransport;
use crate::metrics::Metrics;
use crate::rehearse;
use crate::settings::Kind;
use crate::system::System;
use crate::tests::golden::{folder, json_of, settings};
use crate::tests::support::until;

/// What goes wrong, and what must come of it.
#[derive(Debug, Clone)]
pub(super) struct Fault {
    pub(super) name: String,
    pub(super) fate: Fate,
    pub(super) then: Then,
    /// The fixture and the step that it happens at alone.
    pub(super) only: Option<(String, Option<String>)>,
}

/// What becomes of a request at the receiver.
#[derive(Debug, Clone)]
pub(super) enum Fate {
    /// It is answered so, and a search so.
    Says(Value, Value),
    Silence,
    Reset,
    /// It is taken, and nobody hears of it.
    Lost,
}

impl Fate {
    pub(super) fn says(answer: Value) -> Self {
        Self::Says(answer, Value::Null)
    }
}

#[derive(Debug, Clone)]
pub(super) enum Then {
    /// The next attempt is taken.
    Again,
    /// The sink is held by this code until its secret changes.
    Held(String),
    /// The record is a dead letter of this code, after one attempt.
    Dead(String),
}

impl Fault {
    pub(super) fn is_of(&self, system: &System, case: &str, fixture: &Value, step: usize) -> bool {
        let Some((of, name)) = &self.only else { return true };
        let plan = system.request(fixture["request"].as_str().unwrap()).unwrap();
        *case == format!("{of}.json") && plan.steps[step].name == *name
    }
}

/// A fixture's request, its receiver, and the step at which something goes wrong.
pub(super) struct Way {
    pub(super) system: Arc<System>,
    pub(super) takes: Takes,
    pub(super) fixture: Value,
    pub(super) step: usize,
}

/// The receiver as it is now.
struct Receiver {
    takes: Takes,
    answers: BTreeMap<String, Value>,
    /// The step at which it happens.
    at: usize,
    fault: Option<Fault>,
    /// What a search finds.
    found: Value,
    /// Keys of what was taken, in their order.
    taken: Vec<String>,
    /// Key and body of all attempts.
    attempts: Vec<(String, Value)>,
    /// What was asked and is not taken.
    wrong: Vec<String>,
}

impl Receiver {
    fn answer(&mut self, asked: &Asked) -> Reply {
        let taken = match self.takes.take(asked) {
            Ok(taken) => taken.clone(),
            Err(wrong) => {
                self.wrong.push(wrong);
                return Reply::Says(serde_json::json!({"status": 422}));
            }
        };
        if taken.is_search() {
            return Reply::Says(self.found.clone());
        }
        let header = |name: &str| asked.headers.iter().find(|(given, _)| given == name).map(|(_, value)| value.clone());
        let key = header("idempotency-key").unwrap_or_default();
        self.attempts.push((key.clone(), asked.body.clone()));
        let known = self.taken.contains(&key);
        let mut lost = false;
        if let Some(fault) = self.fault.clone().filter(|_| !known && self.taken.len() == self.at) {
            if let Then::Again = fault.then {
                self.fault = None;
            }
            match fault.fate {
                Fate::Says(answer, found) => {
                    self.found = found;
                    return Reply::Says(answer);
                }
                Fate::Silence => return Reply::Silence,
                Fate::Reset => return Reply::Reset,
                Fate::Lost => lost = true,
            }
        }
        let name = if known { taken.again.as_ref().unwrap_or(&taken.answer) } else { &taken.answer };
        let case = self.answers.get(name).unwrap_or_else(|| panic!("there is no answers/{name}.json"));
        self.found = case["found"].clone();
        if !known {
            self.taken.push(key);
        }
        if lost { Reply::Reset } else { Reply::Says(case["answer"].clone()) }
    }
}

impl Way {
    /// # Errors
    /// What came otherwise than it must.
    pub(super) async fn walk(self, fault: Fault) -> Result<(), String> {
        let own = tempfile::tempdir().unwrap();
        let file = |name: &str, text: &str| {
            let path = own.path().join(name);
            std::fs::write(&path, text).unwrap();
            path.display().to_string()
        };
        let answers = crate::tests::golden::cases(&folder(&self.system).join("answers")).into_iter();
        let answers = answers.map(|path| (path.file_stem().unwrap().to_str().unwrap().to_owned(), json_of(&path)));
        let receiver = Arc::new(Mutex::new(Receiver {
            takes: self.takes.clone(),
            answers: answers.collect(),
            at: self.step,
            fault: Some(fault.clone()),
            found: Value::Null,
            taken: Vec::new(),
            attempts: Vec::new(),
            wrong: Vec::new(),
        }));
        let asked = Arc::clone(&receiver);
        let port = server::start(move |request| asked.lock().unwrap().answer(&request)).await;
        // Only who never answers is given up.
        let timeout = if matches!(fault.fate, Fate::Silence) { "2s" } else { "30s" };
        let http = format!(
            "{{url: 'http://127.0.0.1:{port}', allow: {{networks: ['127.0.0.0/8']}}, timeout: {timeout}, auth: {{bearer: {{file: {}}}}}}}",
            file("token", "first")
        );
        let more = ", probe: 1h, retry: {first: 5ms, longest: 20ms, longest_asked: 100ms}";
        let told = serde_json::json!({"file": file("told", secret())});
        let settings = settings(&self.system, &self.fixture, &http, more, &told);
        let sink = settings.sinks.iter().find(|sink| *sink.name == self.system.name).unwrap();
        let (Kind::Http(http), route) = (&sink.kind, &sink.routes(&BTreeMap::new())[0]) else { panic!("not HTTP") };
        let tree = self.fixture["tree"].as_object().unwrap();
        let event = Arc::new(rehearse::event(sink, &self.fixture, tree).unwrap());
        let plan = self.system.request(self.fixture["request"].as_str().unwrap()).unwrap();
        let metrics = Metrics::register(&prometheus::Registry::new()).unwrap().sink(&sink.name);
        let transport = HttpTransport::new((**http).clone()).unwrap();
        let deliverer = Arc::new(Deliverer::new(transport, Arc::clone(&sink.name), sink.limits.clone(), metrics));
        let gate = Arc::clone(&deliverer);
        let keeper = tokio::spawn(async move { gate.keep_gate(|| gate.sink.fingerprint()).await });
        let (_phase, phase) = watch::channel(Phase::Running);
        let mut made =
            Made::begin(plan, 0, whole(tree.clone(), route, plan, &event)).map_err(|missing| missing.join(", "))?;
        let mut step = 0;
        while let Some(now) = made {
            let delivery = Delivery {
                idempotency_key: route.step_key(event.event_id(), now.request.step.as_deref()),
                key: None,
                trace: TraceParent::new_root(),
                content: Content::Request(now.request.clone()),
                on_refusal: OnRefusal::Skip,
            };
            let (sending, lease) = (Arc::clone(&deliverer), Lease::new(phase.clone()));
            let end = tokio::spawn(async move { sending.deliver(&delivery, None, &lease).await });
            if let (Then::Held(code), true) = (&fault.then, step == self.step) {
                until(&format!("{} to hold it", fault.name), || {
                    deliverer.gate.held().is_some_and(|held| held.code() == code)
                })
                .await;
                if code == "SINK_GONE" {
                    end.abort();
                    break;
                }
                receiver.lock().unwrap().fault = None;
                file("token", "the second one");
            }
            match (end.await.unwrap(), &fault.then) {
                (End::Delivered { created }, _) => {
                    step += 1;
                    made = now.later.next(created.as_deref()).map_err(|missing| missing.join(", "))?;
                }
                (End::Dead(failure), Then::Dead(code)) if failure.code.name() == code && failure.attempts == 1 => break,
                (end, _) => return Err(format!("it ended as {end:?}")),
            }
        }
        keeper.abort();
        let receiver = receiver.lock().unwrap();
        receiver.judge(&fault, plan.steps.len())
    }
}

impl Receiver {
    /// Each step in its order by a key of its own, the same at each attempt, as is the body.
    fn judge(&self, fault: &Fault, steps: usize) -> Result<(), String> {
        if !self.wrong.is_empty() {
            return Err(format!("it does not take {:?}", self.wrong));
        }
        let (taken, attempts, keys) = match &fault.then {
            Then::Dead(_) => (self.at, self.at + 1, self.at + 1),
            Then::Held(code) if code == "SINK_GONE" => (self.at, self.at + 1, self.at + 1),
            Then::Again | Then::Held(_) => (steps, steps + 1, steps),
        };
        // On a busy machine another answer may be too late too.
        let late = matches!(fault.fate, Fate::Silence) && self.attempts.len() > attempts;
        if self.taken.len() != taken || (self.attempts.len() != attempts && !late) {
            let told = (self.taken.len(), self.attempts.len());
            return Err(format!("steps taken and attempts are {told:?} and not {:?}", (taken, attempts)));
        }
        let mut bodies: BTreeMap<&String, &Value> = BTreeMap::new();
        for (key, body) in &self.attempts {
            if key.is_empty() || *bodies.entry(key).or_insert(body) != body {
                return Err(format!("another body, or no key: {body}"));
            }
        }
        if bodies.len() == keys { Ok(()) } else { Err(format!("{} keys for {keys} steps", bodies.len())) }
    }
}
