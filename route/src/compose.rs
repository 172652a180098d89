//! A request out of what is joined now: an event, a route and its plan in, the request or what is missing out.
//!
//! One piece for the worker, which waits until it is ready, and for those who only ask what a worker would do.

use serde_json::{Map, Value, json};

use crate::context::{Earlier, Join, JoinError, Part};
use crate::event::Event;
use crate::request::{Request, RequestPlan};
use crate::route::{Route, Skip};

/// What a delivery comes to by what the context knows now.
#[derive(Debug)]
pub(crate) enum Composed {
    Ready(Request),
    Needless(Skip),
    /// The context store has not read so far.
    NotYet(&'static str),
    /// Paths that the request requires and that lead to nothing.
    Missing(Vec<String>),
}

/// # Errors
/// When the context cannot be read now.
pub(crate) fn compose(
    context: &impl Join,
    route: &Route,
    plan: &RequestPlan,
    event: &Event,
) -> Result<Composed, JoinError> {
    if !context.reached(event)? {
        return Ok(Composed::NotYet("this change in the context"));
    }
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
    match render(tree, route, plan, event) {
        Ok(request) => Ok(Composed::Ready(request)),
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
    joined.insert("delivery".to_owned(), json!({"key": key, "route": &*route.name, "request": plan.name}));
    plan.render(&Value::Object(joined))
}
