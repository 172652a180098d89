//! Deliveries that go as one request, and what its answer says of each.
//!
//! In: attempts, one each. Out: what came of each, by its own item of an answer 207, else by the whole answer. A batch is sent
//! when it is full or has lingered; who has given up meanwhile (a partition that was lost) is not in it. A whole that is refused
//! is halved until it is known whose fault it is. Order is kept where it is kept always: of one key one delivery is under way.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use hirewire_service::TraceParent;
use hirewire_service::spans::{self, Kind, Span};
use reqwest::header::HeaderMap;
use serde_json::{Value, json};
use tokio::sync::{Notify, oneshot};
use uuid::Uuid;

use super::Way;
use crate::deliver::Delivery;
use crate::deliver::outcome::{Attempt, Fault, Understood, Verdict, judge};
use crate::request::Request;
use crate::request::answer::rule;
use crate::request::batch::BatchPlan;
use crate::request::told::Body;

/// The namespace of a batch's own key: a random UUID, fixed for ever.
const KEYS: Uuid = Uuid::from_u128(0x2b1d_58f4_0c7e_4f0b_8a51_93d6_1e7c_a40d);

/// `batch` of an `http` sink.
#[derive(Debug, Clone)]
pub(crate) struct BatchSettings {
    /// Most requests in one.
    pub(crate) requests: usize,
    /// How long the first one waits for others.
    pub(crate) linger: Duration,
    /// Of their bodies together; one that is larger goes alone.
    pub(crate) bytes: usize,
}

/// Those that wait to be sent, by where they go.
pub(super) struct Batches {
    settings: BatchSettings,
    open: Arc<Mutex<HashMap<Target, Open>>>,
}

/// What must be the same of all in one request.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Target {
    method: reqwest::Method,
    path: String,
    query: Option<String>,
    headers: Vec<(String, Vec<u8>)>,
}

struct Open {
    items: Vec<Item>,
    bytes: usize,
    full: Arc<Notify>,
}

struct Item {
    key: Uuid,
    trace: TraceParent,
    request: Box<Request>,
    answer: oneshot::Sender<Attempt>,
}

impl Batches {
    pub(super) fn new(settings: BatchSettings) -> Self {
        Self { settings, open: Arc::default() }
    }

    /// Waits for the batch that it goes with, and for its answer.
    pub(super) async fn attempt(
        &self,
        way: &Arc<Way>,
        plan: &Arc<BatchPlan>,
        delivery: &Delivery,
        request: &Request,
    ) -> Attempt {
        let (answer, answered) = oneshot::channel();
        let (key, trace) = (delivery.idempotency_key, delivery.trace);
        self.enter(way, plan, Item { key, trace, request: Box::new(request.clone()), answer });
        // A batch whose task panicked: whether it arrived is unknown.
        answered.await.unwrap_or(Attempt::Unreachable(Fault::Protocol))
    }

    fn enter(&self, way: &Arc<Way>, plan: &Arc<BatchPlan>, item: Item) {
        let (target, bytes) = (Target::of(&item.request), item.request.body.shown().len());
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(batch) = open.get(&target)
            && batch.bytes + bytes > self.settings.bytes
            && let Some(batch) = open.remove(&target)
        {
            self.send_now(way, plan, batch);
        }
        let batch = open.entry(target.clone()).or_insert_with(|| self.begin(way, plan, target.clone()));
        batch.items.push(item);
        batch.bytes += bytes;
        if batch.items.len() >= self.settings.requests || batch.bytes >= self.settings.bytes {
            let batch = open.remove(&target);
            batch.into_iter().for_each(|batch| self.send_now(way, plan, batch));
        }
    }

    fn send_now(&self, way: &Arc<Way>, plan: &Arc<BatchPlan>, batch: Open) {
        batch.full.notify_one();
        let (way, plan) = (Arc::clone(way), Arc::clone(plan));
        tokio::spawn(async move { send(&way, &plan, batch.items).await });
    }

    /// A batch that is sent when it has lingered, unless it was full before.
    fn begin(&self, way: &Arc<Way>, plan: &Arc<BatchPlan>, target: Target) -> Open {
        let full = Arc::new(Notify::new());
        let (ended, linger, open) = (Arc::clone(&full), self.settings.linger, Arc::clone(&self.open));
        let (way, plan) = (Arc::clone(way), Arc::clone(plan));
        tokio::spawn(async move {
            tokio::select! {
                () = ended.notified() => {}
                () = tokio::time::sleep(linger) => {
                    let lingered = {
                        let mut open = open.lock().unwrap_or_else(PoisonError::into_inner);
                        let own = open.get(&target).is_some_and(|batch| Arc::ptr_eq(&batch.full, &ended));
                        if own { open.remove(&target) } else { None }
                    };
                    if let Some(batch) = lingered {
                        send(&way, &plan, batch.items).await;
                    }
                }
            }
        });
        Open { items: Vec::new(), bytes: 0, full }
    }
}

impl Target {
    fn of(request: &Request) -> Self {
        let headers = |headers: &HeaderMap| {
            headers.iter().map(|(name, value)| (name.to_string(), value.as_bytes().to_vec())).collect()
        };
        Self {
            method: request.method.clone(),
            path: request.path.clone(),
            query: request.query.clone(),
            headers: headers(&request.headers),
        }
    }
}

async fn send(way: &Way, plan: &BatchPlan, mut items: Vec<Item>) {
    items.retain(|item| !item.answer.is_closed());
    let Some(first) = items.first() else { return };
    let keys: Vec<String> = items.iter().map(|item| item.key.to_string()).collect();
    let bodies = items.iter().map(|item| serde_json::from_slice(item.request.body.shown()).unwrap_or(Value::Null));
    let whole: Vec<(String, Value)> = keys.iter().cloned().zip(bodies).collect();
    let request = Request { body: Body::plain(plan.write(&whole)), ..(*first.request).clone() };
    // The same for the same items; each has its own inside.
    let key = Uuid::new_v5(&KEYS, keys.concat().as_bytes());
    let links = spans::links(items.iter().map(|item| item.trace));
    let (began, trace) = (SystemTime::now(), links.first().map_or(first.trace, TraceParent::child));
    let exchanged = Box::pin(exchange(way, plan, key, trace, &request)).await;
    record(links, items.len(), trace, began, exchanged.is_err());
    let (answer, whole) = match exchanged {
        Ok(Told::OfEach { answer, retry_after }) => (Some((answer, retry_after)), Attempt::Unsaid),
        Ok(Told::OfAll(attempt)) | Err(attempt) => (None, attempt),
    };
    if answer.is_none() && items.len() > 1 && matches!(judge(&whole), Verdict::DeadLetter(_)) {
        let second = items.split_off(items.len() / 2);
        Box::pin(send(way, plan, items)).await;
        Box::pin(send(way, plan, second)).await;
        return;
    }
    let all = items.len();
    for (at, (item, key)) in items.into_iter().zip(&keys).enumerate() {
        let own = answer.as_ref().map(|(answer, after)| of_item(plan, answer, *after, &item.request, at, key, all));
        // Who does not listen any more has lost the partition.
        drop(item.answer.send(own.unwrap_or_else(|| whole.clone())));
    }
}

/// The span of a request that goes for many deliveries.
fn record(links: Vec<TraceParent>, items: usize, own: TraceParent, began: SystemTime, failed: bool) {
    let Some(first) = links.first().copied() else { return };
    spans::record(Span {
        service: "route",
        name: "send",
        kind: Kind::Client,
        own,
        parent: Some(first),
        began,
        ended: SystemTime::now(),
        attributes: vec![(
            "messaging.batch.message_count",
            spans::Value::Number(i64::try_from(items).unwrap_or(i64::MAX)),
        )],
        links,
        failed: failed.then_some("unreachable"),
    });
}

enum Told {
    OfEach { answer: Value, retry_after: Option<Duration> },
    OfAll(Attempt),
}

async fn exchange(
    way: &Way,
    plan: &BatchPlan,
    key: Uuid,
    trace: TraceParent,
    request: &Request,
) -> Result<Told, Attempt> {
    let mut answer = way.send(key, trace, request).await?;
    let by_status = super::answered(&answer);
    match by_status {
        Attempt::Answered { status, retry_after } if plan.speaks_of_each(status) => {
            Ok(Told::OfEach { answer: way.tree(&mut answer).await?, retry_after })
        }
        _ => way.meaning(request, answer).await.map(Told::OfAll),
    }
}

/// What an answer says of one item: by the system's rules, else by its status.
fn of_item(
    plan: &BatchPlan,
    answer: &Value,
    retry_after: Option<Duration>,
    request: &Request,
    at: usize,
    key: &str,
    all: usize,
) -> Attempt {
    let Some((status, item)) = plan.item(answer, at, key, all) else { return Attempt::Unsaid };
    match rule(&request.rules, &json!({"status": status, "body": item})) {
        Some(rule) => Attempt::Understood(Understood {
            status,
            retry_after,
            meaning: rule.meaning,
            says: Arc::clone(&rule.says),
            created: None,
        }),
        None => Attempt::Answered { status, retry_after },
    }
}
