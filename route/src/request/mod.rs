//! Requests as data: which record makes which request, what it needs, and how it is written.
//!
//! In: a tree of the change and what was joined to it. Out: a [`Request`], or the list of what is missing: a request
//! with a hole is never made.

pub(crate) mod condition;
pub(crate) mod path;
mod place;
pub(crate) mod template;
mod url_path;

use std::collections::BTreeSet;

use bytes::Bytes;
use hirewire_schemas::Entity;
use hirewire_yaml::{Node, Problems};
use serde_json::Value;

use crate::context::Part;
use condition::{Condition, read_path};
use path::{Path, Scope};
use template::Template;
use url_path::UrlPath;

/// A request, ready to be signed and sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Request {
    pub(crate) method: reqwest::Method,
    /// Below the sink's URL: empty, or from a leading `/` on; escaped.
    pub(crate) path: String,
    pub(crate) content_type: &'static str,
    pub(crate) body: Bytes,
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
    method: reqwest::Method,
    path: UrlPath,
    body: Template,
}

impl RequestPlan {
    pub(crate) fn read(name: &str, node: &Node, problems: &mut Problems) -> Option<Self> {
        let mut map = node.map(problems)?;
        let entity = map.require("entity", problems).and_then(|node| read_entity(node, problems));
        let when = map.get("when").map_or(Some(Condition::default()), |node| {
            let entities: Vec<Entity> = entity.into_iter().collect();
            Condition::read(node, &entities, problems)
        });
        let requires = map.get("requires").map_or(Some(Vec::new()), |node| read_paths(node, problems));
        let cancels =
            map.get("cancels").map_or(Some(None), |node| node.text(problems).map(|name| Some(name.to_owned())));
        let methods =
            [("POST", reqwest::Method::POST), ("PUT", reqwest::Method::PUT), ("PATCH", reqwest::Method::PATCH)];
        let method = map.get("method").map_or(Some(reqwest::Method::POST), |node| node.choice(&methods, problems));
        let path = map.get("path").map_or(Some(UrlPath::default()), |node| UrlPath::read(node, problems));
        let body_node = map.require("body", problems);
        let body = body_node.and_then(|node| Template::read(node, problems));
        map.finish(problems);
        let (requires, path, body) = (requires?, path?, body?);
        let parts = parts_of(&requires, &path, &body, body_node?, problems);
        Some(Self {
            name: name.to_owned(),
            entity: entity?,
            when: when?,
            requires,
            parts,
            cancels: cancels?,
            method: method?,
            path,
            body,
        })
    }

    /// # Errors
    /// The paths of `requires` (and of the URL) that lead to nothing.
    pub(crate) fn render(&self, tree: &Value) -> Result<Request, Vec<String>> {
        let scope = Scope::whole(tree);
        let missing: Vec<String> =
            self.requires.iter().filter(|path| !is_known(path, scope)).map(ToString::to_string).collect();
        if !missing.is_empty() {
            return Err(missing);
        }
        let path = self.path.render(scope)?;
        let body = Bytes::from(self.body.render(scope).to_string());
        Ok(Request { method: self.method.clone(), path, content_type: "application/json", body })
    }
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

fn parts_of(requires: &[Path], url: &UrlPath, body: &Template, node: &Node, problems: &mut Problems) -> BTreeSet<Part> {
    let mut paths: Vec<&Path> = requires.iter().chain(url.paths()).collect();
    body.root_paths(false, &mut paths);
    let mut parts = BTreeSet::new();
    for path in paths {
        match Part::of(path.part()) {
            Some(part) => {
                parts.insert(part);
            }
            None => problems.add(
                node,
                format!("\"{path}\" begins with \"{}\", which is not a part of a request's data", path.part()),
                hirewire_yaml::did_you_mean(path.part(), Part::ALL.iter().map(|part| part.name())),
            ),
        }
    }
    parts
}
