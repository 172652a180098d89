//! A request out of what is joined now: an event, a route and its plan in, the request or what is missing out.
//!
//! One piece for the worker, which waits until it is ready, and for those who only ask what a worker would do. A request in
//! steps is joined once: what a step has told is added, and the rest stays as it was when the first was made.

use std::sync::Arc;

use hirewire_schemas::records::WriteBack;
use serde_json::{Map, Value, json};

use crate::context::{Earlier, Join, JoinError, Part};
use crate::created::{CreatedKey, Known};
use crate::event::Event;
use crate::request::parts::Parts;
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
    /// `None`: nothing more is made of it.
    of: Option<Parts>,
    /// The place of the request that they are behind.
    step: usize,
}

impl<'a> Made<'a> {
    /// Renders the step at that place; `None` behind the last.
    ///
    /// # Errors
    /// Paths that it requires and that lead to nothing.
    pub(crate) fn begin(plan: &'a RequestPlan, step: usize, of: Parts) -> Result<Option<Self>, Vec<String>> {
        let request = plan.render(step, &of)?.map(Box::new);
        Ok(request.map(|request| Self { request, later: Later { plan, of: Some(of), step } }))
    }

    /// What it changes at the source, to be told before the first step.
    ///
    /// # Errors
    /// What must be known of it and is not.
    pub(crate) fn intent(&self, route: &Route, event: &Event) -> Result<Option<WriteBack>, Vec<String>> {
        let Later { plan, of, .. } = &self.later;
        let writes_back = plan.writes_back.as_ref().zip(of.as_ref());
        writes_back.map(|(plan, of)| plan.intent(of, route, event)).transpose()
    }
}

impl<'a> Later<'a> {
    /// Drops what nothing is made of any more: a request that waits for its sink is its bytes alone.
    pub(crate) fn strip(&mut self) {
        if self.step + 1 >= self.plan.steps.len() {
            self.of = None;
        }
    }

    /// The next step, after one that has told `id`.
    ///
    /// # Errors
    /// As [`Made::begin`].
    pub(crate) fn next(mut self, id: Option<&str>) -> Result<Option<Made<'a>>, Vec<String>> {
        let Some(mut of) = self.of.take() else { return Ok(None) };
        told(&mut of, self.plan, self.step, id);
        Made::begin(self.plan, self.step + 1, of)
    }
}

/// Adds what a step has told.
fn told(of: &mut Parts, plan: &RequestPlan, step: usize, id: Option<&str>) {
    if let Some(name) = plan.steps.get(step).and_then(|step| step.name.as_ref())
        && let Some(steps) = of.steps()
    {
        steps.insert(name.clone(), json!({"id": id}));
    }
}

/// # Errors
/// When the context cannot be read now.
pub(crate) fn compose<'a>(
    context: &impl Join,
    route: &'a Route,
    event: &Arc<Event>,
) -> Result<Composed<'a>, JoinError> {
    let fitting: Vec<&RequestPlan> = route.fitting(event).collect();
    if fitting.iter().any(|plan| plan.asks_context()) && !context.reached(event)? {
        return Ok(Composed::NotYet("this change in the context"));
    }
    let known = |request: &str| known(context, event, &route.sink, request);
    let done = |kept_as: &str| id_of(context, event, &route.sink, kept_as);
    // A crash between the id and the offset: the record comes again, and is done.
    for plan in &fitting {
        if let Some(last) = plan.kept().next_back()
            && if plan.once { known(&last)?.is_some() } else { done(&last)?.is_some() }
        {
            return Ok(Composed::Needless(Skip::CreatedAlready));
        }
    }
    for plan in fitting {
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
    event: &Arc<Event>,
    created: Option<String>,
    ids: &[String],
) -> Result<Composed<'a>, JoinError> {
    let parts: Vec<Part> = plan.parts.iter().copied().collect();
    let mut joined = context.join(event, &parts)?;
    if let Some(cancelled) = &plan.cancels {
        let Earlier::Known(earlier) = context.earlier(event)? else {
            return Ok(Composed::NotYet("the ledger before this change"));
        };
        let Some(original) = route.taken_back(plan, cancelled, &earlier) else {
            return Ok(Composed::Needless(Skip::NothingToCancel));
        };
        let key = route.key(original.event_id()).to_string();
        joined.insert("cancelled".to_owned(), json!({"key": key, "change": original.tree}));
    }
    if let Some(id) = created {
        joined.insert("created".to_owned(), json!({"id": id}));
    }
    if let Some(after) = &plan.after
        && let Some(id) = id_of(context, event, after.sink(&route.told), &after.request)?
    {
        joined.insert("after".to_owned(), json!({"id": id}));
    }
    let mut of = whole(joined, route, plan, event);
    for (step, id) in ids.iter().enumerate() {
        told(&mut of, plan, step, Some(id.as_str()).filter(|id| !id.is_empty()));
    }
    match Made::begin(plan, ids.len(), of) {
        Ok(Some(made)) => Ok(Composed::Ready(Box::new(made))),
        Ok(None) => Ok(Composed::Needless(Skip::CreatedAlready)),
        // What was begun is brought to its end, or to the dead letters.
        Err(_) if ids.is_empty() && context.is_gone(event)? => Ok(Composed::Needless(Skip::Deleted)),
        Err(missing) => Ok(Composed::Missing(missing)),
    }
}

/// What is joined, with the change itself and the delivery's own part.
pub(crate) fn whole(joined: Map<String, Value>, route: &Route, plan: &RequestPlan, event: &Arc<Event>) -> Parts {
    let mut of = Parts::new(event, &route.told, joined);
    if plan.parts.contains(&Part::Delivery) {
        let key = route.key(event.event_id()).to_string();
        of.put(Part::Delivery, json!({"key": key, "route": &*route.name, "request": plan.name}));
    }
    of
}
