//! Requests as data: which record makes which request, what it needs, and how it is written.
//!
//! In: a tree of the change and what was joined to it. Out: a [`Request`], or the list of what is missing: a request
//! with a hole is never made.

pub(crate) mod answer;
mod body;
pub(crate) mod condition;
pub(crate) mod path;
pub(crate) mod place;
pub(crate) mod template;
mod url_path;

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;
use hirewire_schemas::Entity;
use hirewire_yaml::{Node, Problems, did_you_mean};
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use serde_json::Value;

use crate::context::Part;
use answer::{Created, Creates, Rule};
use body::Format;
use condition::{Condition, read_path};
use path::{Path, Scope};
use template::Template;
use url_path::UrlPath;

/// A request, ready to be signed and sent, and how its answer is to be read.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    pub(crate) method: reqwest::Method,
    /// Below the sink's URL: empty, or from a leading `/` on; escaped.
    pub(crate) path: String,
    /// Escaped.
    pub(crate) query: Option<String>,
    /// `content-type` and those that the system wants.
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    /// What answers mean beyond their status.
    pub(crate) rules: Arc<[Rule]>,
    pub(crate) created: Option<Created>,
}

/// One kind of request of a system, from its `sink.yaml`.
#[derive(Debug, Clone)]
pub(crate) struct RequestPlan {
    pub(crate) name: String,
    pub(crate) entity: Entity,
    pub(crate) when: Condition,
    /// What must be there, else the request is not made.
    pub(crate) requires: Vec<Path>,
    /// What must be joined for it.
    pub(crate) parts: BTreeSet<Part>,
    /// The request of the same system that this one takes back: it is made only if that one was, and names its key
    /// as `cancelled.key`.
    pub(crate) cancels: Option<String>,
    /// The request of the same system that created what this one changes: it is made only if the sink has told an id
    /// of it, which it names as `created.id`; else the next request that fits is.
    pub(crate) updates: Option<String>,
    creates: Option<Creates>,
    method: reqwest::Method,
    path: UrlPath,
    query: Option<Template>,
    headers: HeaderMap,
    format: Format,
    body: Template,
    rules: Arc<[Rule]>,
}

/// What all requests of a system share.
pub(crate) struct Common {
    pub(crate) rules: Arc<[Rule]>,
    /// The names that `settings` of a sink of the system has.
    pub(crate) settings: Vec<String>,
}

impl RequestPlan {
    pub(crate) fn read(name: &str, node: &Node, common: &Common, problems: &mut Problems) -> Option<Self> {
        let mut map = node.map(problems)?;
        let entity = map.require("entity", problems).and_then(|node| read_entity(node, problems));
        let when = map.get("when").map_or(Some(Condition::default()), |node| {
            let entities: Vec<Entity> = entity.into_iter().collect();
            Condition::read(node, &entities, problems)
        });
        let requires = map.get("requires").map_or(Some(Vec::new()), |node| read_paths(node, problems));
        let mut other = |key| map.get(key).map_or(Some(None), |node| node.text(problems).map(|n| Some(n.to_owned())));
        let (cancels, updates) = (other("cancels"), other("updates"));
        let creates = map.get("creates").map_or(Some(None), |node| Creates::read(node, problems).map(Some));
        let methods =
            [("POST", reqwest::Method::POST), ("PUT", reqwest::Method::PUT), ("PATCH", reqwest::Method::PATCH)];
        let method = map.get("method").map_or(Some(reqwest::Method::POST), |node| node.choice(&methods, problems));
        let path = map.get("path").map_or(Some(UrlPath::default()), |node| UrlPath::read(node, problems));
        let query = map.get("query").map_or(Some(None), |node| answer::read_query(node, problems).map(Some));
        let format = map.get("format").map_or(Some(Format::Json), |node| Format::read(node, problems));
        let headers = read_headers(map.get("headers"), format.as_ref(), problems);
        let body_node = map.require("body", problems)?;
        let body = Template::read(body_node, problems);
        map.finish(problems);
        let (format, body) = (format?, body?);
        format.check(&body, body_node, problems);
        let mut plan = Self {
            name: name.to_owned(),
            entity: entity?,
            when: when?,
            requires: requires?,
            parts: BTreeSet::new(),
            cancels: cancels?,
            updates: updates?,
            creates: creates?,
            method: method?,
            path: path?,
            query: query?,
            headers: headers?,
            format,
            body,
            rules: Arc::clone(&common.rules),
        };
        plan.parts = plan.parts(common, body_node, problems);
        Some(plan)
    }

    pub(crate) fn creates(&self) -> bool {
        self.creates.is_some()
    }

    /// Whether more than its body counts, or the body is not JSON.
    pub(crate) fn is_for_http(&self) -> bool {
        let ids = self.creates.is_some() || self.updates.is_some();
        let json = matches!(self.format, Format::Json | Format::SparseJson);
        ids || !json || self.query.is_some() || !self.path.is_empty()
    }

    /// Whether its body is an object with that field.
    pub(crate) fn makes(&self, field: &str) -> bool {
        matches!(&self.body, Template::Object(fields) if fields.iter().any(|(name, _)| name == field))
    }

    /// # Errors
    /// The paths of `requires` (and of URLs) that lead to nothing.
    pub(crate) fn render(&self, tree: &Value) -> Result<Request, Vec<String>> {
        let scope = Scope::whole(tree);
        let missing: Vec<String> =
            self.requires.iter().filter(|path| !is_known(path, scope)).map(ToString::to_string).collect();
        if !missing.is_empty() {
            return Err(missing);
        }
        Ok(Request {
            method: self.method.clone(),
            path: self.path.render(scope)?,
            query: self.query.as_ref().map(|query| answer::query(query, scope)),
            headers: self.headers.clone(),
            body: Bytes::from(self.format.write(&self.body, scope)),
            rules: Arc::clone(&self.rules),
            created: self.creates.as_ref().map(|creates| creates.render(&self.name, scope)).transpose()?,
        })
    }

    /// What its paths begin with.
    fn parts(&self, common: &Common, node: &Node, problems: &mut Problems) -> BTreeSet<Part> {
        let mut paths: Vec<&Path> = self.requires.iter().chain(self.path.paths()).collect();
        self.body.root_paths(false, &mut paths);
        self.query.iter().for_each(|query| query.root_paths(false, &mut paths));
        self.creates.iter().for_each(|creates| creates.root_paths(&mut paths));
        let mut parts = BTreeSet::new();
        for path in paths {
            match Part::of(path.part()) {
                Some(Part::Settings) => check_setting(path, common, node, problems),
                Some(Part::Created) if self.updates.is_none() => {
                    let what = format!("\"{path}\" is known to a request that updates another");
                    problems.add(node, what, "write `updates: <request>`");
                }
                Some(part) => {
                    parts.insert(part);
                }
                None => problems.add(
                    node,
                    format!("\"{path}\" begins with \"{}\", which is not a part of a request's data", path.part()),
                    did_you_mean(path.part(), Part::ALL.iter().map(|part| part.name())),
                ),
            }
        }
        parts
    }
}

fn check_setting(path: &Path, common: &Common, node: &Node, problems: &mut Problems) {
    let named = match path.steps() {
        [_, path::Step::Name(name)] => name.as_str(),
        _ => "",
    };
    if !common.settings.iter().any(|setting| setting == named) {
        let hint = did_you_mean(named, common.settings.iter().map(String::as_str));
        problems.add(node, format!("\"{path}\" is none of the system's `settings`"), hint);
    }
}

/// Headers that are the transport's own.
const OWN_HEADERS: [&str; 11] = [
    "authorization",
    "connection",
    "content-length",
    "cookie",
    "host",
    "idempotency-key",
    "traceparent",
    "transfer-encoding",
    "webhook-id",
    "webhook-signature",
    "webhook-timestamp",
];

fn read_headers(node: Option<&Node>, format: Option<&Format>, problems: &mut Problems) -> Option<HeaderMap> {
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(format.map_or("", Format::content_type)));
    let Some(node) = node else { return Some(headers) };
    let mut map = node.map(problems)?;
    let before = problems.len();
    for (key, name, value) in map.entries() {
        let text = value.text(problems).and_then(|text| HeaderValue::from_str(text).ok());
        match (HeaderName::try_from(name), text) {
            (Ok(name), Some(value)) if !OWN_HEADERS.contains(&name.as_str()) => {
                headers.insert(name, value);
            }
            (Ok(name), Some(_)) => problems.add(key, format!("the header `{name}` is set elsewhere"), "remove it"),
            _ => problems.add(key, format!("\"{name}\" and its value are no header"), "write NAME: text"),
        }
    }
    (problems.len() == before).then_some(headers)
}

/// A coded value that is `UNKNOWN` or `UNMAPPED` is a hole too.
fn is_known(path: &Path, scope: Scope<'_>) -> bool {
    path.find(scope).is_some_and(|value| !matches!(value.as_str(), Some("UNKNOWN" | "UNMAPPED" | "")))
}

/// An entity as in its topic's name: `stage-change`.
pub(crate) fn read_entity(node: &Node, problems: &mut Problems) -> Option<Entity> {
    let known: Vec<(&str, Entity)> = Entity::ALL.into_iter().map(|entity| (entity.kebab(), entity)).collect();
    node.choice(&known, problems)
}

fn read_paths(node: &Node, problems: &mut Problems) -> Option<Vec<Path>> {
    let read: Vec<Option<Path>> = node.list(problems)?.iter().map(|item| read_path(item, problems)).collect();
    read.into_iter().collect()
}
