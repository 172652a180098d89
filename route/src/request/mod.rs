//! Requests as data: which record makes which request, what it needs, and how it is written.
//!
//! In: a change and what was joined to it. Out: a [`Request`], or the list of what is missing: a request
//! with a hole is never made.

pub(crate) mod after;
pub(crate) mod answer;
pub(crate) mod batch;
mod body;
pub(crate) mod condition;
pub(crate) mod parts;
pub(crate) mod path;
pub(crate) mod place;
mod step;
pub(crate) mod template;
pub(crate) mod told;
mod url_path;

use std::collections::BTreeSet;
use std::sync::Arc;

use hirewire_schemas::Entity;
use hirewire_yaml::{Node, Problems, did_you_mean};
use reqwest::header::HeaderMap;

use crate::context::Part;
use after::After;
use answer::{Created, Rule};
use batch::BatchPlan;
use condition::{Condition, read_path};
use parts::Parts;
use path::{Path, Scope};
use step::StepPlan;
use told::{Body, Setting};

use crate::write_back::WritesBack;

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
    pub(crate) body: Body,
    /// What answers mean beyond their status.
    pub(crate) rules: Arc<[Rule]>,
    pub(crate) created: Option<Created>,
    /// How it goes with others of the system in one.
    pub(crate) batch: Option<Arc<BatchPlan>>,
    /// The step that it is; `None`: it is the whole.
    pub(crate) step: Option<String>,
    /// The name by which it is kept that it was done, and the id that was told.
    pub(crate) kept_as: Option<String>,
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
    /// The request of the same system, or `request.step`, that created what this one changes: it is made only if the sink
    /// has told an id of it, which it names as `created.id`; else the next request that fits is.
    pub(crate) updates: Option<String>,
    /// It waits for what another sink has created of the same record, which it names as `after.id`.
    pub(crate) after: Option<After>,
    /// It is made once for each application, or record, whatever comes later.
    pub(crate) once: bool,
    /// It changes something at the source, which is told before.
    pub(crate) writes_back: Option<WritesBack>,
    /// At least one, in their order; several have names.
    pub(crate) steps: Vec<StepPlan>,
}

/// What all requests of a system share.
pub(crate) struct Common {
    pub(crate) rules: Arc<[Rule]>,
    /// What `settings` of a sink of the system has.
    pub(crate) settings: Vec<Setting>,
    pub(crate) batch: Option<Arc<BatchPlan>>,
}

impl Common {
    /// The setting that a path leads to.
    pub(crate) fn setting(&self, path: &Path) -> Option<&Setting> {
        self.settings.iter().find(|setting| setting.is_at(path))
    }
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
        let once = map.get("once").map_or(Some(false), |node| node.boolean(problems));
        let after = map.get("after").map(|node| After::read(node, common, problems));
        let writes_back = map.get("writes_back").map(|node| WritesBack::read(node, problems));
        let steps = match map.get("steps") {
            Some(steps) => step::read_steps(steps, common, problems),
            None => StepPlan::read(None, &mut map, common, problems).map(|step| vec![(node, step)]),
        };
        map.finish(problems);
        let (requires, updates, steps) = (requires?, updates?, steps?);
        let mut parts = BTreeSet::new();
        // A part that is there and cannot be read was told.
        let writes_back = writes_back.map_or(Some(None), |read| read.map(Some))?;
        let after = after.map_or(Some(None), |read| read.map(Some))?;
        let around = Around { updates: updates.is_some(), after: after.is_some(), common };
        for path in requires.iter().chain(writes_back.iter().flat_map(WritesBack::paths)) {
            around.see(path, &[], node, &mut parts, problems);
        }
        if writes_back.is_some() {
            parts.insert(Part::Application);
        }
        for (at, (node, step)) in steps.iter().enumerate() {
            let before = steps.get(..at).unwrap_or_default();
            for path in step.paths() {
                around.see(path, before, node, &mut parts, problems);
            }
        }
        Some(Self {
            name: name.to_owned(),
            entity: entity?,
            when: when?,
            requires,
            parts,
            cancels: cancels?,
            updates,
            after,
            once: once?,
            writes_back,
            steps: steps.into_iter().map(|(_, step)| step).collect(),
        })
    }

    /// Whether it is kept what was done of it: an id was told, or it is made in steps.
    pub(crate) fn is_kept(&self) -> bool {
        self.steps.iter().any(|step| step.name.is_some() || step.creates())
    }

    /// The names by which other requests change what this one creates.
    pub(crate) fn created(&self) -> impl Iterator<Item = String> {
        self.steps.iter().filter(|step| step.creates()).filter_map(|step| step.kept_as(&self.name))
    }

    /// Whether anything of it comes from the context store: else it need not have read on to the change.
    pub(crate) fn asks_context(&self) -> bool {
        let own = |part: &Part| matches!(part, Part::Change | Part::Delivery | Part::Settings | Part::Steps);
        let joins = self.parts.iter().any(|part| !own(part));
        joins || self.is_kept() || self.cancels.is_some() || self.updates.is_some() || self.after.is_some()
    }

    /// Whether other requests name what it creates so.
    pub(crate) fn creates_as(&self, name: &str) -> bool {
        self.created().any(|created| created == *name)
    }

    /// The names by which its steps are kept.
    pub(crate) fn kept(&self) -> impl DoubleEndedIterator<Item = String> {
        self.steps.iter().filter_map(|step| step.kept_as(&self.name))
    }

    /// Whether more than its body counts, or the body is not JSON.
    pub(crate) fn is_for_http(&self) -> bool {
        self.updates.is_some() || self.steps.iter().any(StepPlan::is_for_http)
    }

    /// Whether it can go with others in one: answers to a batch tell no ids, and a batch holds no secrets.
    pub(crate) fn is_for_batches(&self) -> bool {
        !self.is_kept() && self.steps.iter().all(|step| step.is_json() && !step.holds_secrets)
    }

    /// Whether its body is an object with that field.
    pub(crate) fn makes(&self, field: &str) -> bool {
        self.steps.iter().all(|step| step.makes(field))
    }

    /// The step at that place; `None` behind the last.
    ///
    /// # Errors
    /// The paths of `requires`, and of URLs from there on, that lead to nothing: a request with a hole is not begun.
    pub(crate) fn render(&self, step: usize, of: &Parts) -> Result<Option<Request>, Vec<String>> {
        let scope = Scope::of(of);
        let rest = self.steps.get(step..).unwrap_or_default();
        let Some(first) = rest.first() else { return Ok(None) };
        let later = rest.iter().skip(1).flat_map(StepPlan::needs);
        let later = later.filter(|path| Part::of(path.part()) != Some(Part::Steps) && path.find(scope).is_none());
        let missing = self.requires.iter().filter(|path| !is_known(path, scope)).chain(later);
        let mut missing: Vec<String> = missing.map(ToString::to_string).collect();
        missing.extend(self.after.as_ref().and_then(|after| after.missing(of)));
        if missing.is_empty() { first.render(&self.name, of).map(Some) } else { Err(missing) }
    }
}

/// What else is said of a request, for its paths.
struct Around<'a> {
    updates: bool,
    after: bool,
    common: &'a Common,
}

impl Around<'_> {
    /// Notes the part that a path begins with. `before`: the steps before it; a mistake is told at `node`.
    fn see(
        &self,
        path: &Path,
        before: &[(&Node, StepPlan)],
        node: &Node,
        parts: &mut BTreeSet<Part>,
        problems: &mut Problems,
    ) {
        let lacks = |known: &str, hint: &str, problems: &mut Problems| {
            problems.add(node, format!("\"{path}\" is known to a request that {known}"), hint);
        };
        match Part::of(path.part()) {
            Some(Part::Settings) => self.check_setting(path, node, problems),
            Some(Part::Steps) => step::check_ids(path, before, node, problems),
            Some(Part::Created) if !self.updates => {
                lacks("updates another", "write `updates: <request>`", problems);
            }
            Some(Part::After) if !self.after => {
                lacks("comes after another sink's", "write `after: {sink: settings.NAME, request: …}`", problems);
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

    fn check_setting(&self, path: &Path, node: &Node, problems: &mut Problems) {
        if self.common.setting(path).is_none() {
            let named = path.to_string();
            let named = named.rsplit('.').next().unwrap_or_default();
            let hint = did_you_mean(named, self.common.settings.iter().map(|setting| setting.name.as_str()));
            problems.add(node, format!("\"{path}\" is none of the system's `settings`"), hint);
        }
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
