//! One exchange of a request: what is sent, what its answer means, and the id that it tells.
//!
//! In: a change and what was joined to it, with the ids of the steps before. Out: a [`Request`], or the paths that
//! lead to nothing. A request that is not made in steps is one step without a name.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;
use hirewire_yaml::{Map, Node, Problems};
use reqwest::Method;
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};

use super::answer::{self, Creates, Rule};
use super::batch::BatchPlan;
use super::body::Format;
use super::parts::Parts;
use super::path::{Path, Scope};
use super::template::Template;
use super::told::Body;
use super::url_path::UrlPath;
use super::{Common, Request};
use crate::context::Part;

#[derive(Debug, Clone)]
pub(crate) struct StepPlan {
    /// `None`: it is all of its request.
    pub(crate) name: Option<String>,
    creates: Option<Creates>,
    method: Method,
    path: UrlPath,
    query: Option<Template>,
    headers: HeaderMap,
    format: Format,
    /// `None`: it has none, and its method says all.
    body: Option<Template>,
    /// Whether its body holds a secret that the sink was told.
    pub(super) holds_secrets: bool,
    /// Its own before the system's.
    rules: Arc<[Rule]>,
    batch: Option<Arc<BatchPlan>>,
}

/// The paths of its URL and of its search's, which are shown.
fn in_urls<'a>(path: &'a UrlPath, query: Option<&'a Template>, creates: Option<&'a Creates>) -> Vec<&'a Path> {
    let mut found: Vec<&Path> = path.paths().collect();
    query.iter().for_each(|query| query.root_paths(false, &mut found));
    creates.iter().for_each(|creates| creates.root_paths(&mut found));
    found
}

impl StepPlan {
    /// Of `map`, which may have other keys too.
    pub(super) fn read(
        name: Option<&str>,
        map: &mut Map<'_>,
        common: &Common,
        problems: &mut Problems,
    ) -> Option<Self> {
        let creates = map.get("creates").map_or(Some(None), |node| Creates::read(node, problems).map(Some));
        let methods =
            [("POST", Method::POST), ("PUT", Method::PUT), ("PATCH", Method::PATCH), ("DELETE", Method::DELETE)];
        let method = map.get("method").map_or(Some(Method::POST), |node| node.choice(&methods, problems));
        let path = map.get("path").map_or(Some(UrlPath::default()), |node| UrlPath::read(node, problems));
        let query = map.get("query").map_or(Some(None), |node| answer::read_query(node, problems).map(Some));
        let format = map.get("format").map_or(Some(Format::Json), |node| Format::read(node, problems));
        let body_node = match &method {
            Some(Method::DELETE) => map.get("body"),
            _ => map.require("body", problems),
        };
        let body = body_node.map_or(Some(None), |node| Template::read(node, problems).map(Some));
        let written = format.as_ref().filter(|_| body_node.is_some());
        let headers = read_headers(map.get("headers"), written, problems);
        let own = map.get("answers").map_or(Some(Vec::new()), |node| answer::read_rules(node, problems));
        let (format, body, own, path, query, creates) = (format?, body?, own?, path?, query?, creates?);
        if let (Some(body), Some(node)) = (&body, body_node) {
            format.check(body, node, problems);
        }
        let secret = |path: &&Path| common.setting(path).is_some_and(|setting| setting.is_secret);
        for path in in_urls(&path, query.as_ref(), creates.as_ref()).into_iter().filter(secret) {
            let what = format!("\"{path}\" is a secret, and URLs are shown");
            problems.add(map.node(), what, "only a body may hold it");
        }
        let mut in_body = Vec::new();
        body.iter().for_each(|body| body.root_paths(false, &mut in_body));
        let holds_secrets = in_body.iter().any(secret);
        let rules = match own.is_empty() {
            true => Arc::clone(&common.rules),
            false => own.into_iter().chain(common.rules.iter().cloned()).collect(),
        };
        Some(Self {
            name: name.map(str::to_owned),
            creates,
            method: method?,
            path,
            query,
            headers: headers?,
            format,
            body,
            holds_secrets,
            rules,
            batch: common.batch.clone(),
        })
    }

    pub(crate) fn creates(&self) -> bool {
        self.creates.is_some()
    }

    pub(super) fn is_json(&self) -> bool {
        self.body.is_some() && matches!(self.format, Format::Json | Format::SparseJson)
    }

    /// Whether more than its body counts, or the body is not JSON.
    pub(super) fn is_for_http(&self) -> bool {
        self.creates()
            || self.name.is_some()
            || self.holds_secrets
            || !self.is_json()
            || self.query.is_some()
            || !self.path.is_empty()
    }

    /// Whether its body is an object with that field.
    pub(super) fn makes(&self, field: &str) -> bool {
        matches!(&self.body, Some(Template::Object(fields)) if fields.iter().any(|(name, _)| name == field))
    }

    /// All paths that begin at the root.
    pub(super) fn paths(&self) -> Vec<&Path> {
        let mut paths = in_urls(&self.path, self.query.as_ref(), self.creates.as_ref());
        self.body.iter().for_each(|body| body.root_paths(false, &mut paths));
        paths
    }

    /// What it cannot be made without, beside the request's `requires`: values of its URLs, and ids of the steps before.
    pub(super) fn needs(&self) -> impl Iterator<Item = &Path> {
        let of_search = self.creates.iter().flat_map(Creates::url_paths);
        let ids = self.paths().into_iter().filter(|path| Part::of(path.part()) == Some(Part::Steps));
        self.path.paths().chain(of_search).chain(ids)
    }

    /// `request`: the name by which its request is known.
    ///
    /// # Errors
    /// The paths of its URLs, and ids of the steps before, that lead to nothing.
    pub(super) fn render(&self, request: &str, of: &Parts) -> Result<Request, Vec<String>> {
        let scope = Scope::of(of);
        let missing: BTreeSet<String> =
            self.needs().filter(|path| path.find(scope).is_none()).map(ToString::to_string).collect();
        if !missing.is_empty() {
            return Err(missing.into_iter().collect());
        }
        Ok(Request {
            method: self.method.clone(),
            path: self.path.render(scope)?,
            query: self.query.as_ref().map(|query| answer::query(query, scope)),
            headers: self.headers.clone(),
            body: match &self.body {
                Some(body) => Body::write(&self.format, body, of, self.holds_secrets),
                None => Body::plain(Bytes::new()),
            },
            rules: Arc::clone(&self.rules),
            created: self.creates.as_ref().map(|creates| creates.render(scope)).transpose()?,
            batch: self.batch.clone(),
            step: self.name.clone(),
            kept_as: self.kept_as(request),
        })
    }

    /// The name by which what it told is kept; `None`: nothing is.
    pub(super) fn kept_as(&self, request: &str) -> Option<String> {
        match &self.name {
            Some(step) => Some(format!("{request}.{step}")),
            None => self.creates().then(|| request.to_owned()),
        }
    }
}

/// The steps of a request, in their order, with their nodes.
pub(super) fn read_steps<'a>(
    node: &'a Node,
    common: &Common,
    problems: &mut Problems,
) -> Option<Vec<(&'a Node, StepPlan)>> {
    let mut map = node.map(problems)?;
    let mut steps = Vec::new();
    for (key, name, value) in map.entries() {
        let fine = |b: u8| b.is_ascii_alphanumeric() || b == b'_' || b == b'-';
        if name.is_empty() || !name.bytes().all(fine) {
            problems.add(key, format!("\"{name}\" cannot be the name of a step"), "use letters, digits, _ and -");
        }
        let step = value.map(problems).and_then(|mut map| {
            let step = StepPlan::read(Some(name), &mut map, common, problems);
            map.finish(problems);
            step
        });
        steps.push(step.map(|step| (value, step)));
    }
    if steps.is_empty() {
        problems.add(node, "a request without a step", "write `steps: {NAME: {path: …, body: …}}`");
        return None;
    }
    steps.into_iter().collect()
}

/// That what `step` asks of the steps before is told by them.
pub(super) fn check_ids(path: &Path, before: &[(&Node, StepPlan)], node: &Node, problems: &mut Problems) {
    let creating = || before.iter().map(|(_, step)| step).filter(|step| step.creates());
    let names: Vec<&str> = creating().filter_map(|step| step.name.as_deref()).collect();
    let told = names.iter().any(|name| path.to_string().trim_start_matches('/') == format!("steps.{name}.id"));
    if !told {
        let hint = match names.as_slice() {
            [] => "a step tells an id by `creates: {id: …}`".to_owned(),
            names => names.iter().map(|name| format!("`steps.{name}.id`")).collect::<Vec<_>>().join(", "),
        };
        problems.add(node, format!("\"{path}\" is told by no step before this one"), hint);
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
    if let Some(format) = format {
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(format.content_type()));
    }
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
