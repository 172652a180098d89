//! What a route would do with a fixture, without Kafka and without the network: a tree in, the exact request, record
//! or row out.
//!
//! A fixture has the form of `sinks/<system>/fixtures/`: `{"tree": {"change": …, "candidate": …}}`, or the tree alone.
//! What every published record has and a fixture may leave out is filled in: that it is LIVE, and seen now. The start
//! of a route `from: now` is known to the running service alone and is taken as passed.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use hirewire_service::TraceParent;
use serde_json::{Map, Value, json};

use crate::compose::{Made, whole};
use crate::deliver::{Content, Copied, Delivery};
use crate::event::Event;
use crate::http::{HttpSettings, HttpTransport};
use crate::mail;
use crate::request::{Request, RequestPlan};
use crate::route::{Decision, Route};
use crate::settings::{Kind, Settings, SinkSettings};
use crate::topic::TopicSettings;

/// What one route of the sink would do.
#[derive(Debug, Clone, PartialEq)]
pub struct Rehearsed {
    pub route: String,
    pub outcome: Outcome,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// One, or all steps of one in their order.
    Requests(Vec<Exchange>),
    /// For a Kafka topic; of a record that is handed on as Avro, the value as JSON.
    Record {
        topic: String,
        key: String,
        headers: Vec<(String, String)>,
        value: Value,
    },
    /// As it is sent.
    Mail(String),
    /// For a file of the folder.
    Line {
        folder: String,
        value: Value,
    },
    Row {
        table: String,
        values: Value,
    },
    /// The reason, in words.
    NotSent(String),
}

/// One request as it is sent.
#[derive(Debug, Clone, PartialEq)]
pub struct Exchange {
    /// `None`: it is all of it.
    pub step: Option<String>,
    pub method: String,
    pub url: String,
    /// Of those that carry a secret, `***` is shown.
    pub headers: Vec<(String, String)>,
    /// What is not JSON as one text.
    pub body: Value,
}

#[derive(Debug, thiserror::Error)]
pub enum RehearseError {
    #[error("there is no sink \"{0}\" in the configuration; it has: {1}")]
    NoSink(String, String),
    #[error("no route leads to the sink \"{0}\"")]
    NoRoute(String),
    #[error("the fixture is not usable: {0}")]
    Fixture(String),
    #[error("a secret of the sink cannot be read, so its headers cannot be made: create its file or set its variable")]
    Secret,
    #[error("the request's path leads away from the sink's URL, or to an address that is not allowed")]
    Address,
    #[error("the sink cannot be set up: {0}")]
    Transport(String),
}

/// Each route of the sink, in the order of the configuration.
///
/// # Errors
/// [`RehearseError`].
pub fn rehearse(settings: &Settings, sink: &str, fixture: &Value) -> Result<Vec<Rehearsed>, RehearseError> {
    let Some(found) = settings.sinks.iter().find(|found| *found.name == *sink) else {
        return Err(RehearseError::NoSink(sink.to_owned(), settings.sink_names().join(", ")));
    };
    let routes = found.routes(&BTreeMap::new());
    if routes.is_empty() {
        return Err(RehearseError::NoRoute(sink.to_owned()));
    }
    let tree = fixture.get("tree").unwrap_or(fixture);
    let tree = tree.as_object().ok_or_else(|| RehearseError::Fixture("it is no object".to_owned()))?;
    let event = Arc::new(event(found, fixture, tree)?);
    routes
        .iter()
        .map(|route| Ok(Rehearsed { route: route.name.to_string(), outcome: outcome(found, route, &event, tree)? }))
        .collect()
}

/// The change (or the record of another entity) that the route would see.
pub(crate) fn event(sink: &SinkSettings, fixture: &Value, tree: &Map<String, Value>) -> Result<Event, RehearseError> {
    let wrong = |what: &str| RehearseError::Fixture(what.to_owned());
    let mut change =
        tree.get("change").cloned().ok_or_else(|| wrong("it has no \"change\", the record that a route sees"))?;
    let entities = sink.system.entities();
    let named = match fixture.get("entity").and_then(Value::as_str) {
        Some(name) => entities.iter().copied().find(|entity| entity.kebab() == name),
        // What names its request is of that request's entity.
        None => fixture
            .get("request")
            .and_then(Value::as_str)
            .and_then(|name| sink.system.request(name))
            .map(|plan| plan.entity)
            .or_else(|| entities.iter().copied().find(|entity| *entity == hirewire_schemas::Entity::StageChange))
            .or_else(|| entities.first().copied()),
    };
    let entity = named.ok_or_else(|| wrong("its \"entity\" is none that the sink's system takes"))?;
    let fields = change.as_object_mut().ok_or_else(|| wrong("its \"change\" is no object"))?;
    fields.entry("revision").or_insert_with(|| json!("LIVE"));
    let meta = fields.entry("meta").or_insert_with(|| json!({}));
    let meta = meta.as_object_mut().ok_or_else(|| wrong("its \"change.meta\" is no object"))?;
    meta.entry("observed_at").or_insert_with(|| json!(jiff::Timestamp::now().to_string()));
    meta.entry("event_id").or_insert_with(|| json!("00000000-0000-5000-8000-000000000000"));
    Event::new(entity, change).map_err(|error| RehearseError::Fixture(error.to_string()))
}

fn outcome(
    sink: &SinkSettings,
    route: &Route,
    event: &Arc<Event>,
    tree: &Map<String, Value>,
) -> Result<Outcome, RehearseError> {
    let content = match route.decide(event) {
        Decision::Skip(_) => return Ok(Outcome::NotSent(route.why_not(event))),
        Decision::Store(table) => {
            let values = Value::Object(table.values(event));
            return Ok(Outcome::Row { table: table.table.clone(), values });
        }
        Decision::Copy => Content::Copy(Copied { event: Arc::clone(event), framed: Bytes::new() }),
        Decision::Send(first) => {
            // As the service, which knows whether there is something to update.
            let has_id = tree.get("created").is_some_and(|created| !created.is_null());
            let plan = route.fitting(event).find(|plan| plan.updates.is_none() || has_id);
            let Some(plan) = plan else {
                let what = format!("the request {} updates what was never created", first.name);
                return Ok(Outcome::NotSent(what));
            };
            return requests(sink, route, plan, event, tree);
        }
    };
    deliver(sink, route, event, content)
}

/// The request, or all its steps: what a step would tell is written as `id-of-STEP`.
fn requests(
    sink: &SinkSettings,
    route: &Route,
    plan: &RequestPlan,
    event: &Arc<Event>,
    tree: &Map<String, Value>,
) -> Result<Outcome, RehearseError> {
    let mut made = Made::begin(plan, 0, whole(tree.clone(), route, plan, event));
    let mut exchanges = Vec::new();
    loop {
        let step = match made {
            Ok(Some(made)) => made,
            Ok(None) => return Ok(Outcome::Requests(exchanges)),
            Err(missing) => {
                let what = format!("the request {} is missing: {}", plan.name, missing.join(", "));
                return Ok(Outcome::NotSent(what));
            }
        };
        match deliver(sink, route, event, Content::Request(step.request.clone()))? {
            Outcome::Requests(made) => exchanges.extend(made),
            other => return Ok(other),
        }
        let id = step.request.created.as_ref().and(step.request.step.as_ref()).map(|name| format!("id-of-{name}"));
        made = step.later.next(id.as_deref());
    }
}

fn deliver(sink: &SinkSettings, route: &Route, event: &Event, content: Content) -> Result<Outcome, RehearseError> {
    let step = match &content {
        Content::Request(request) => request.step.clone(),
        Content::Row(_) | Content::Copy(_) => None,
    };
    let delivery = Delivery {
        idempotency_key: route.step_key(event.event_id(), step.as_deref()),
        key: event.application_id().or_else(|| event.text("/meta/id")).map(|key| Bytes::from(key.to_owned())),
        trace: TraceParent::new_root(),
        content,
        on_refusal: route.on_refusal,
    };
    match (&sink.kind, &delivery.content) {
        (Kind::Http(http), Content::Request(request)) => request_of(http, &delivery, request),
        (Kind::Topic(topic), _) => record_of(topic, &delivery),
        (Kind::Mail(settings), Content::Request(request)) => {
            let mail = mail::message(settings, &delivery, request);
            let mail = mail.ok_or_else(|| RehearseError::Transport("no mail can be made of it".to_owned()))?;
            Ok(Outcome::Mail(String::from_utf8_lossy(&mail.formatted()).into_owned()))
        }
        (Kind::Lines(lines), _) => {
            Ok(Outcome::Line { folder: lines.path.display().to_string(), value: json_of(&delivery.content) })
        }
        (Kind::Http(_) | Kind::Mail(_) | Kind::Tables(_) | Kind::Postgres(_) | Kind::Sqlite(_), _) => {
            Err(RehearseError::Transport("its system has nothing for a sink of this kind".to_owned()))
        }
    }
}

/// What is not JSON as one text.
fn json_of(content: &Content) -> Value {
    match content {
        Content::Request(request) => {
            let text = || String::from_utf8_lossy(request.body.shown()).into_owned().into();
            serde_json::from_slice(request.body.shown()).unwrap_or_else(|_| text())
        }
        Content::Copy(copied) => copied.event.tree.clone(),
        Content::Row(row) => Value::Object(row.values.clone()),
    }
}

fn record_of(topic: &TopicSettings, delivery: &Delivery) -> Result<Outcome, RehearseError> {
    let record = topic.record(delivery).ok_or_else(|| RehearseError::Transport("it takes no rows".to_owned()))?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Ok(Outcome::Record {
        topic: record.topic.to_string(),
        key: text(record.key.as_deref().unwrap_or_default()),
        headers: record.headers.iter().map(|(name, value)| (name.to_string(), text(value))).collect(),
        value: json_of(&delivery.content),
    })
}

fn request_of(http: &HttpSettings, delivery: &Delivery, request: &Request) -> Result<Outcome, RehearseError> {
    let transport = HttpTransport::new(http.clone()).map_err(|error| RehearseError::Transport(error.to_string()))?;
    let url = transport.checked_url(&request.path, request.query.as_deref()).map_err(|_| RehearseError::Address)?;
    let headers = transport.headers(delivery, request).ok_or(RehearseError::Secret)?;
    let shown = |value: &reqwest::header::HeaderValue| match value.is_sensitive() {
        true => "***".to_owned(),
        false => String::from_utf8_lossy(value.as_bytes()).into_owned(),
    };
    let mut headers: Vec<(String, String)> =
        headers.iter().map(|(name, value)| (name.to_string(), shown(value))).collect();
    headers.push(("user-agent".to_owned(), crate::http::USER_AGENT.to_owned()));
    headers.sort();
    let (method, body) = (request.method.to_string(), json_of(&delivery.content));
    let exchange = Exchange { step: request.step.clone(), method, url: url.to_string(), headers, body };
    Ok(Outcome::Requests(vec![exchange]))
}
