//! A vendor's `manifest.yaml`: everything ingest must know of the vendor, as data from closed sets.
//!
//! Text in, checked [`Manifest`] out; all mistakes at once, each with file, line and hint. No I/O.

mod api;
mod auth;
mod events;
mod graphql;
mod lifecycle;
mod narrow;
mod place;
mod queue;
mod signature;
mod soap;
mod stream;
mod subject;
mod values;
mod webhook;

use std::sync::Arc;

use hirewire_yaml::{Node, Problems, Value, did_you_mean};
use jiff::Timestamp;

pub(crate) use api::Told;
pub use api::{Api, BaseUrl, Errors, LastPage, NextLink, NextToken, PageNumber, Paging, RateLimit, Send};
pub use auth::{Auth, ClientCredentials, RefreshToken, Servers, SessionLogin};
pub(crate) use auth::{ClientIn, Life, TokenRules};
pub(crate) use events::Named;
pub use events::{DeliveryId, EventName, Events};
pub use graphql::{Document, Graphql};
pub use lifecycle::Lifecycle;
pub use narrow::{Filter, Sync, TimeFormat, Window};
pub use place::{Place, Rows};
pub use queue::Queue;
pub(crate) use queue::{Batches, QUEUE};
pub(crate) use signature::TimePlace;
pub use signature::{Hmac, Part, SentAt, Signature, Signed, Token};
pub(crate) use soap::escaped;
pub use soap::{Element, Soap};
pub use stream::{One, Per, Repeats, Stream, Sweep};
pub use subject::Subject;
use values::optional;
pub(crate) use values::{param_of, url};
pub use webhook::{Handshake, Webhook};

pub use crate::json::Path;

/// The moment that answers in fixtures are of.
const FIXTURES_ARE_OF: &str = "2026-03-08T20:00:00Z";

/// One vendor, as ingest sees it.
#[derive(Debug)]
pub struct Manifest {
    /// The name of the vendor's folder, in topic names and headers.
    pub vendor: String,
    /// `None`: the folder does not say.
    pub lifecycle: Option<Lifecycle>,
    /// `None` when the vendor sends none.
    pub webhook: Option<Webhook>,
    /// `None` when there is nothing to poll.
    pub api: Option<Api>,
    /// `None` when the vendor has none. Read by the rules of `api`.
    pub queue: Option<Queue>,
}

impl Manifest {
    /// Parses and checks a manifest. `file` is the name that messages show.
    ///
    /// # Errors
    /// All mistakes of the file.
    pub fn parse(file: &str, text: &str) -> Result<Arc<Self>, Problems> {
        let node = hirewire_yaml::parse(file, text)?;
        let mut problems = Problems::new();
        let manifest = Self::read(&node, &mut problems);
        problems.into_result(manifest.map(Arc::new))
    }

    /// From when on the vendor will not answer its API any more, if it announced that.
    pub(crate) fn ends(&self) -> Option<Timestamp> {
        self.lifecycle.as_ref().and_then(Lifecycle::ends)
    }

    /// Where an answer to a request for `stream` holds its rows, as it is written; `None`: the answer is the list.
    #[must_use]
    pub fn rows_of(&self, stream: &str) -> Option<String> {
        let api = self.api.as_ref()?;
        let own = api.streams.iter().find(|known| known.name == stream).and_then(|stream| stream.rows.as_ref());
        own.unwrap_or(&api.rows).written()
    }

    /// The rules of all events, however they come.
    pub fn events(&self) -> impl Iterator<Item = &Events> {
        let delivered = self.webhook.iter().map(|webhook| &webhook.events);
        delivered.chain(self.queue.iter().map(|queue| &queue.events))
    }

    /// The event that a delivery with these headers, or an event of the queue, says it is.
    #[must_use]
    pub fn event_of(&self, headers: &[(String, String)], body: &[u8]) -> Option<String> {
        self.events().find_map(|events| match &events.event {
            EventName::Always(name) => Some(name.clone()),
            EventName::At(Place::Field(path)) => crate::json::scalar(body, path),
            EventName::At(Place::Header(name)) => {
                let (_, event) = headers.iter().find(|(known, _)| known.eq_ignore_ascii_case(name))?;
                Some(event.clone())
            }
        })
    }

    /// What the mapping is told of the request that gave a row of `stream`, for a fixture: of what is another for each
    /// row, the name in the place of the value; of a moment, one that is always the same.
    #[must_use]
    pub fn request_of(&self, stream: &str) -> Vec<(String, String)> {
        let streams = self.api.iter().flat_map(|api| &api.streams);
        let Some(stream) = streams.into_iter().find(|known| known.name == stream) else { return Vec::new() };
        let named = |name: &String| (name.clone(), name.clone());
        let each = stream.each.iter().filter_map(|(name, values)| Some((name.clone(), values.first()?.clone())));
        let parent = stream.per.iter().map(|per| named(&per.param));
        let each_in = stream.each_in.iter().map(|(name, _)| named(name));
        let told = stream.tell.iter().map(|(name, _)| named(name));
        let soap = self
            .api
            .iter()
            .filter(|_| stream.request.is_some() && stream.per.is_none())
            .filter_map(|api| api.soap.as_ref());
        let as_of = soap.filter_map(|soap| Some((soap.as_of.clone()?, FIXTURES_ARE_OF.to_owned())));
        stream.params.iter().cloned().chain(as_of).chain(each).chain(parent).chain(each_in).chain(told).collect()
    }

    fn read(node: &Node, problems: &mut Problems) -> Option<Self> {
        let mut map = node.map(problems)?;
        let vendor = map.require("vendor", problems).and_then(|node| node.text(problems));
        let lifecycle = map.get("lifecycle").map(|node| Lifecycle::read(node, problems));
        let webhook = map.get("webhook").map(|node| Webhook::read(node, problems));
        let api = map.get("api").map(|node| Api::read(node, problems));
        let queue = map.get("queue").map(|node| Queue::read(node, problems));
        map.finish(problems);
        let lifecycle = optional(lifecycle);
        let (webhook, api, queue) = (optional(webhook)?, optional(api)?, optional(queue)?);
        if let (None, Some(node)) = (&api, node.peek("queue")) {
            problems.add(node, "a queue without `api`", "say there where it is, and how a request proves who asks");
        }
        let ways = [("webhook", webhook.as_ref().map(|w| &w.events)), ("queue", queue.as_ref().map(|q| &q.events))];
        for (way, events) in ways {
            if let (Some(events), Some(fetch)) = (events, node.peek(way).and_then(|way| way.peek("fetch"))) {
                check_fetches(fetch, events, api.as_ref(), problems);
            }
        }
        Some(Self { vendor: vendor?.to_owned(), lifecycle: lifecycle?, webhook, api, queue })
    }
}

/// What is fetched must be a list that can be asked for by an id, and the event one that is known.
fn check_fetches(node: &Node, rules: &Events, api: Option<&Api>, problems: &mut Problems) {
    let entries = |node: &'_ Node| match &node.value {
        Value::Map(entries) => entries.clone(),
        _ => Vec::new(),
    };
    let events: Vec<&str> = rules.subjects.keys().map(String::as_str).collect();
    let streams: Vec<&Stream> = api.iter().flat_map(|api| &api.streams).collect();
    for (event, lists) in entries(node) {
        let name = event.scalar().unwrap_or_default();
        if !events.contains(&name) {
            let hint = match did_you_mean(name, events.iter().copied()) {
                hint if hint.is_empty() => "add the event to `subjects`".to_owned(),
                hint => hint,
            };
            problems.add(&event, format!("\"{name}\" is no event of `subjects`"), hint);
        }
        for (list, named) in entries(&lists) {
            let name = list.scalar().unwrap_or_default();
            match streams.iter().find(|stream| stream.name == name) {
                None => {
                    let known = streams.iter().map(|stream| stream.name.as_str());
                    problems.add(&list, format!("no list \"{name}\" in `api.streams`"), did_you_mean(name, known));
                }
                Some(stream) => fetchable(&list, stream, &streams, named.peek("link").is_some(), problems),
            }
        }
    }
}

/// `by_link`: its ids stand in a link, all of them.
fn fetchable(at: &Node, stream: &Stream, streams: &[&Stream], by_link: bool, problems: &mut Problems) {
    let name = &stream.name;
    if by_link && stream.ids_missing_in_path() {
        let hint = "write its ids into the path, as {id}, or name where in the body the id stands";
        problems.add(at, format!("a link cannot name what {name} is asked for by"), hint);
    }
    match &stream.per {
        Some(_) if stream.each_in.is_some() && !by_link => {
            let hint = "write {link: self}, if the event has a link that names all";
            problems.add(at, format!("{name} is asked for by more than one id"), hint);
        }
        None if stream.one.is_none() => {
            problems.add(at, format!("nothing says how a row of {name} is asked for"), "add `one` to the list");
        }
        Some(_) if !stream.tell.is_empty() => {
            let hint = "fetch the parent instead: its list follows";
            problems.add(at, format!("{name} needs its parent's row (`tell`), which an event does not hold"), hint);
        }
        Some(per) if stream.subject.is_none() => {
            let parent = streams.get(per.parent).filter(|parent| parent.own_subject("").is_some());
            if parent.is_none() {
                let hint = "give the list a `subject` of its own";
                problems.add(at, format!("whom the rows of {name} belong to stands in the parent's row"), hint);
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests;
