//! A request out of what is joined now: an event, a route and its plan in, the request or what is missing out.
//!
//! One piece for the worker, which waits until it is ready, and for those who only ask what a worker would do.

use serde_json::{Map, Value, json};

use crate::context::{Earlier, Join, JoinError, Part};
use crate::created::CreatedKey;
use crate::event::Event;
use crate::request::{Request, RequestPlan};
use crate::route::{Route, Skip};

/// What a delivery comes to by what the context knows now.
#[derive(Debug)]
pub(crate) enum Composed {
    Ready(Box<Request>),
    Needless(Skip),
    /// The context store has not read so far.
    NotYet(&'static str),
    /// Paths that the request requires and that lead to nothing.
    Missing(Vec<String>),
}

/// # Errors
/// When the context cannot be read now.
pub(crate) fn compose(context: &impl Join, route: &Route, event: &Event) -> Result<Composed, JoinError> {
    if !context.reached(event)? {
        return Ok(Composed::NotYet("this change in the context"));
    }
    let known = |request: &str| match event.subject() {
        Some(application_id) => context.created(&CreatedKey { sink: &route.sink, request, application_id }),
        None => Ok(None),
    };
    // A crash between the id and the offset: the record comes again, and is done.
    for plan in route.fitting(event).filter(|plan| plan.creates()) {
        if known(&plan.name)?.is_some_and(|known| known.event_id == event.event_id()) {
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
        return make(context, route, plan, event, created);
    }
    Ok(Composed::Needless(Skip::NothingToUpdate))
}

fn make(
    context: &impl Join,
    route: &Route,
    plan: &RequestPlan,
    event: &Event,
    created: Option<String>,
) -> Result<Composed, JoinError> {
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
    match render(tree, route, plan, event) {
        Ok(request) => Ok(Composed::Ready(Box::new(request))),
        Err(_) if context.is_gone(event)? => Ok(Composed::Needless(Skip::Deleted)),
        Err(missing) => Ok(Composed::Missing(missing)),
    }
}

/// Renders with what is joined, the change itself and the delivery's own part.
///
/// # Errors
/// Paths that the request requires and that lead to nothing.
pub(crate) fn render(
    mut joined: Map<String, Value>,
    route: &Route,
    plan: &RequestPlan,
    event: &Event,
) -> Result<Request, Vec<String>> {
    joined.insert("change".to_owned(), event.tree.clone());
    let key = route.key(event.event_id()).to_string();
    joined.insert("settings".to_owned(), (*route.told).clone());
    joined.insert("delivery".to_owned(), json!({"key": key, "route": &*route.name, "request": plan.name}));
    plan.render(&Value::Object(joined))
}
