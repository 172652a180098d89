//! A request out of what is joined now: an event, a route and its plan in, the request or what is missing out.
//!
//! One piece for the worker, which waits until it is ready, and for those who only ask what a worker would do. A request in
//! steps is joined once: what a step has told is added, and the rest stays as it was when the first was made.

use hirewire_schemas::records::WriteBack;
use serde_json::{Map, Value, json};

use crate::context::{Earlier, Join, JoinError, Part};
use crate::created::{CreatedKey, Known};
use crate::event::Event;
use crate::request::{Request, RequestPlan};
use crate::route::{Route, Skip};

/// What a delivery comes to by what the context knows now.
#[derive(Debug)]
pub(crate) enum Composed<'a> {
    Ready(Box<Made<'a>>),
    Needless(Skip),
    /// The context store has not read so far.
    NotYet(&'static str),
    /// Paths that the request requires and that lead to nothing.
    Missing(Vec<String>),
}

/// The request to be made now, and what the steps behind it are made of.
#[derive(Debug)]
pub(crate) struct Made<'a> {
    pub(crate) request: Box<Request>,
    pub(crate) later: Later<'a>,
}

/// The steps behind a request.
#[derive(Debug)]
pub(crate) struct Later<'a> {
    plan: &'a RequestPlan,
    tree: Value,
    /// The place of the request that they are behind.
    step: usize,
}

impl<'a> Made<'a> {
    /// Renders the step at that place; `None` behind the last.
    ///
    /// # Errors
    /// Paths that it requires and that lead to nothing.
    pub(crate) fn begin(plan: &'a RequestPlan, step: usize, tree: Value) -> Result<Option<Self>, Vec<String>> {
        let request = plan.render(step, &tree)?.map(Box::new);
        Ok(request.map(|request| Self { request, later: Later { plan, tree, step } }))
    }

    /// What it changes at the source, to be told before the first step.
    ///
    /// # Errors
    /// What must be known of it and is not.
    pub(crate) fn intent(&self, route: &Route, event: &Event) -> Result<Option<WriteBack>, Vec<String>> {
        let Later { plan, tree, .. } = &self.later;
        plan.writes_back.as_ref().map(|plan| plan.intent(tree, route, event)).transpose()
    }
}

impl<'a> Later<'a> {
    /// Drops what nothing is made of any more: a request that waits for its sink is its bytes alone.
    pub(crate) fn strip(&mut self) {
        if self.step + 1 >= self.plan.steps.len() {
            self.tree = Value::Null;
        }
    }

    /// The next step, after one that has told `id`.
    ///
    /// # Errors
    /// As [`Made::begin`].
    pub(crate) fn next(mut self, id: Option<&str>) -> Result<Option<Made<'a>>, Vec<String>> {
        told(&mut self.tree, self.plan, self.step, id);
        Made::begin(self.plan, self.step + 1, self.tree)
    }
}

/// Adds what a step has told.
fn told(tree: &mut Value, plan: &RequestPlan, step: usize, id: Option<&str>) {
    if let Some(name) = plan.steps.get(step).and_then(|step| step.name.as_ref())
        && let Some(tree) = tree.as_object_mut()
        && let Some(steps) = tree.entry("steps").or_insert_with(|| json!({})).as_object_mut()
    {
        steps.insert(name.clone(), json!({"id": id}));
    }
}

/// # Errors
/// When the context cannot be read now.
pub(crate) fn compose<'a>(context: &impl Join, route: &'a Route, event: &Event) -> Result<Composed<'a>, JoinError> {
    if !context.reached(event)? {
        return Ok(Composed::NotYet("this change in the context"));
    }
    let known = |request: &str| known(context, event, &route.sink, request);
    let done = |kept_as: &str| id_of(context, event, &route.sink, kept_as);
    // A crash between the id and the offset: the record comes again, and is done.
    for plan in route.fitting(event) {
        if let Some(last) = plan.kept().next_back()
            && if plan.once { known(&last)?.is_some() } else { done(&last)?.is_some() }
        {
            return Ok(Composed::Needless(Skip::CreatedAlready));
        }
    }
    for plan in route.fitting(event) {
        let created = match &plan.updates {
            None => None,
            Some(creating) => match known(creating)? {
                Some(created) => Some(created.id),
                None => continue,
            },
        };
        let mut ids = Vec::new();
        // Those of an unnamed step are none but the last, which was looked at.
        for kept_as in plan.kept() {
            match done(&kept_as)? {
                Some(id) => ids.push(id),
                None => break,
            }
        }
        return make(context, route, plan, event, created, &ids);
    }
    Ok(Composed::Needless(Skip::NothingToUpdate))
}

/// What a sink has told of a request, or `request.step`, for whom the record is kept by.
fn known(context: &impl Join, event: &Event, sink: &str, request: &str) -> Result<Option<Known>, JoinError> {
    match event.kept_by() {
        Some(application_id) => context.created(&CreatedKey { sink, request, application_id }),
        None => Ok(None),
    }
}

/// The id that it told of this very record: one of an earlier record is not it.
fn id_of(context: &impl Join, event: &Event, sink: &str, request: &str) -> Result<Option<String>, JoinError> {
    let known = known(context, event, sink, request)?;
    Ok(known.filter(|known| known.event_id == event.event_id()).map(|known| known.id))
}

/// `ids`: of the steps that were done before, empty where none was told.
fn make<'a>(
    context: &impl Join,
    route: &Route,
    plan: &'a RequestPlan,
    event: &Event,
    created: Option<String>,
    ids: &[String],
) -> Result<Composed<'a>, JoinError> {
    let parts: Vec<Part> = plan.parts.iter().copied().collect();
    let mut tree = context.join(event, &parts)?;
    if let Some(cancelled) = &plan.cancels {
        let Earlier::Known(earlier) = context.earlier(event)? else {
            return Ok(Composed::NotYet("the ledger before this change"));
        };
        let Some(original) = route.taken_back(plan, cancelled, &earlier) else {
            return Ok(Composed::Needless(Skip::NothingToCancel));
        };
        let key = route.key(original.event_id()).to_string();
        tree.insert("cancelled".to_owned(), json!({"key": key, "change": original.tree}));
    }
    if let Some(id) = created {
        tree.insert("created".to_owned(), json!({"id": id}));
    }
    if let Some(after) = &plan.after
        && let Some(id) = id_of(context, event, after.sink(&route.told), &after.request)?
    {
        tree.insert("after".to_owned(), json!({"id": id}));
    }
    let mut tree = whole(tree, route, plan, event);
    for (step, id) in ids.iter().enumerate() {
        told(&mut tree, plan, step, Some(id.as_str()).filter(|id| !id.is_empty()));
    }
    match Made::begin(plan, ids.len(), tree) {
        Ok(Some(made)) => Ok(Composed::Ready(Box::new(made))),
        Ok(None) => Ok(Composed::Needless(Skip::CreatedAlready)),
        // What was begun is brought to its end, or to the dead letters.
        Err(_) if ids.is_empty() && context.is_gone(event)? => Ok(Composed::Needless(Skip::Deleted)),
        Err(missing) => Ok(Composed::Missing(missing)),
    }
}

/// What is joined, with the change itself and the delivery's own part.
pub(crate) fn whole(mut joined: Map<String, Value>, route: &Route, plan: &RequestPlan, event: &Event) -> Value {
    joined.insert("change".to_owned(), event.tree.clone());
    let key = route.key(event.event_id()).to_string();
    joined.insert("settings".to_owned(), (*route.told).clone());
    joined.insert("delivery".to_owned(), json!({"key": key, "route": &*route.name, "request": plan.name}));
    Value::Object(joined)
}
