//! What is done with one record of one sink: decode, decide by each route, join, render, deliver, settle.
//!
//! In: an [`Arrival`]. Out: [`Settled`]. Whatever happens ends in one of: not for this sink, delivered, dead letter,
//! or given back with its partition. Nothing is dropped in silence: what is not sent is counted by reason.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use hirewire_schemas::Entity;
use hirewire_schemas::records::WriteBack;
use hirewire_service::TraceParent;
use hirewire_service::spans::{self, Kind, Span};
use tokio::time::Instant;

use crate::compose::{Composed, Made, compose};
use crate::context::Join;
use crate::created::{CreatedKey, Ids, Known};
use crate::dead_letter::{DeadLetter, DeadLetters};
use crate::decode::{Decode, DecodeError};
use crate::deliver::outcome::Code;
use crate::deliver::{
    Content, Copied, Deliverer, Delivery, End, Failure, Transport, wait_or_drain, wait_or_leave, wait_while_ours,
};
use crate::engine::{Handle, Lease, Settled};
use crate::event::Event;
use crate::replay::Order;
use crate::replay::incoming::{Replays, Taken};
use crate::request::Request;
use crate::route::{Decision, Route, Skip};
use crate::source::Arrival;
use crate::write_back::Intents;

/// How often something that is waited for is looked at again.
const GLANCE: Duration = Duration::from_millis(100);
/// The longest pause between two looks, or two tries to put a dead letter.
const LONGEST_GLANCE: Duration = Duration::from_secs(5);

/// How long a schema that the registry does not know is waited for.
const UNKNOWN_SCHEMA_LIMIT: Duration = Duration::from_secs(60);

pub(crate) struct Worker<S, D, J, L, I> {
    pub(crate) deliverer: Arc<Deliverer<S>>,
    /// In the order of the settings.
    pub(crate) routes: Vec<Route>,
    /// Which entity each topic holds.
    pub(crate) topics: HashMap<Arc<str>, Entity>,
    pub(crate) decoder: Arc<D>,
    pub(crate) context: Arc<J>,
    pub(crate) replays: Replays,
    pub(crate) dead_letters: L,
    pub(crate) ids: I,
    /// `None`: the sink writes nothing back.
    pub(crate) intents: Option<Arc<Intents>>,
}

/// Why work on a record ended before all its routes were done.
enum Break {
    Abandoned,
    Dead(Failure),
}

impl<S: Transport, D: Decode, J: Join, L: DeadLetters, I: Ids> Handle for Worker<S, D, J, L, I> {
    async fn handle(&self, arrival: Arc<Arrival>, lease: Lease) -> Settled {
        let (arrival, order) = match self.replays.take(arrival) {
            Taken::Plain(arrival) => (arrival, None),
            Taken::Again(arrival, order) => (arrival, Some(order)),
            Taken::Foreign => return Settled::Done(Vec::new()),
            Taken::Unreadable(arrival) => {
                let reason = dead(Code::NotReplayed, "its headers are not those of a replay");
                return self.settle(&arrival, None, reason, &lease).await;
            }
        };
        if let Some(order) = &order
            && let Err(reason) = self.can_replay(order)
        {
            return self.settle(&arrival, None, reason, &lease).await;
        }
        let event = match self.decode(&arrival, &lease).await {
            Ok(Some(event)) => Arc::new(event),
            Ok(None) => return Settled::Done(Vec::new()),
            Err(reason) => return self.settle(&arrival, None, reason, &lease).await,
        };
        let wanted = |route: &&Route| order.as_ref().is_none_or(|order| order.is_for(route));
        let mut staged = Vec::new();
        for route in self.routes.iter().filter(wanted) {
            let key = route.key(event.event_id());
            if lease.is_finished(key) {
                continue;
            }
            match self.follow_order(order.as_ref(), route, &event, &arrival, &lease).await {
                // What is staged is not real before its record is settled: it is begun again with it.
                Ok(Some(delivery)) => {
                    staged.push(delivery);
                    continue;
                }
                Ok(None) => {}
                Err(reason) => {
                    if let Settled::Abandoned = self.settle(&arrival, Some(route), reason, &lease).await {
                        return Settled::Abandoned;
                    }
                }
            }
            lease.finish(key);
        }
        Settled::Done(staged)
    }

    async fn panicked(&self, arrival: Arc<Arrival>, lease: Lease) -> Settled {
        let arrival = match self.replays.take(arrival) {
            Taken::Foreign => return Settled::Done(Vec::new()),
            Taken::Plain(arrival) | Taken::Again(arrival, _) | Taken::Unreadable(arrival) => arrival,
        };
        let reason = dead(Code::Panicked, "work on the record panicked: please report it with this record's position");
        self.settle(&arrival, None, reason, &lease).await
    }
}

impl<S: Transport, D: Decode, J: Join, L: DeadLetters, I: Ids> Worker<S, D, J, L, I> {
    /// `None`: nothing to do, a tombstone or a topic that is none of ours.
    async fn decode(&self, arrival: &Arrival, lease: &Lease) -> Result<Option<Event>, Break> {
        let (Some(value), Some(entity)) = (&arrival.value, self.topics.get(&arrival.slot.topic)) else {
            return Ok(None);
        };
        let (started, mut pause) = (Instant::now(), GLANCE);
        let tree = loop {
            match self.decoder.decode(value).await {
                Ok(tree) => break tree,
                Err(DecodeError::Undecodable(why)) => return Err(dead(Code::Undecodable, &why)),
                Err(error @ DecodeError::UnknownSchema(_)) if started.elapsed() >= UNKNOWN_SCHEMA_LIMIT => {
                    return Err(dead(Code::Undecodable, &error.to_string()));
                }
                Err(error @ (DecodeError::Unavailable(_) | DecodeError::UnknownSchema(_))) => {
                    tracing::warn!(sink = %self.deliverer.name, %error, "a record waits for its schema");
                    pause = (pause * 2).min(LONGEST_GLANCE);
                    if !wait_or_leave(pause, lease).await {
                        return Err(Break::Abandoned);
                    }
                }
            }
        };
        Event::new(*entity, tree).map(Some).map_err(|error| dead(Code::Malformed, &error.to_string()))
    }

    /// A replay needs a topic and a route that the sink still has.
    fn can_replay(&self, order: &Order) -> Result<(), Break> {
        let why = if !self.topics.contains_key(&*order.origin.topic) {
            format!("the sink does not read {}", order.origin.topic)
        } else if !self.routes.iter().any(|route| order.is_for(route)) {
            format!("no route \"{}\" leads to the sink", order.route)
        } else {
            return Ok(());
        };
        Err(dead(Code::NotReplayed, &why))
    }

    /// As [`Self::follow`]; a replay only if the route has nothing newer of the key.
    async fn follow_order(
        &self,
        order: Option<&Order>,
        route: &Route,
        event: &Arc<Event>,
        arrival: &Arrival,
        lease: &Lease,
    ) -> Result<Option<Delivery>, Break> {
        if let Some(order) = order {
            let entity = self.topics.get(&arrival.slot.topic).copied();
            let mut pause = GLANCE;
            let newer = loop {
                match self.replays.newer_than(order, route, event, arrival.key.as_ref(), entity, &*self.decoder).await {
                    Ok(newer) => break newer,
                    Err(error) => {
                        tracing::warn!(sink = %self.deliverer.name, %error, "a replay waits: what is newer cannot be read");
                        pause = (pause * 2).min(LONGEST_GLANCE);
                        if !wait_or_leave(pause, lease).await {
                            return Err(Break::Abandoned);
                        }
                    }
                }
            };
            if let Some(offset) = newer {
                let why = format!("the record at offset {offset} is newer and of the same key");
                return Err(dead(Code::NotReplayed, &why));
            }
            tracing::info!(
                sink = %self.deliverer.name, route = %route.name, event = event.event_id(), "a dead letter is sent again"
            );
        }
        self.follow(route, event, arrival, lease).await
    }

    /// Sends what the route makes of the record, or gives back what is to be staged.
    async fn follow(
        &self,
        route: &Route,
        event: &Arc<Event>,
        arrival: &Arrival,
        lease: &Lease,
    ) -> Result<Option<Delivery>, Break> {
        let content = match route.decide(event) {
            Decision::Skip(reason) => {
                self.skipped(route, reason);
                return Ok(None);
            }
            Decision::Store(table) => Content::Row(table.row(event)),
            Decision::Copy => {
                let framed = arrival.value.clone().unwrap_or_default();
                Content::Copy(Copied { event: Arc::clone(event), framed })
            }
            Decision::Send(_) => return self.request(route, event, arrival, lease).await,
        };
        let (delivery, _) = self.deliver(route, event, content, arrival, lease).await?;
        Ok(self.deliverer.sink.stages().then_some(delivery))
    }

    /// Makes a request, or all its steps: that one is done is kept before the next begins.
    async fn request(
        &self,
        route: &Route,
        event: &Arc<Event>,
        arrival: &Arrival,
        lease: &Lease,
    ) -> Result<Option<Delivery>, Break> {
        let mut made = match self.compose(route, event, arrival, lease).await? {
            Ok(made) => made,
            Err(reason) => {
                self.skipped(route, reason);
                return Ok(None);
            }
        };
        match made.intent(route, event) {
            Ok(None) => {}
            Ok(Some(intent)) => self.intend(&intent, lease).await?,
            Err(missing) => {
                let why = format!("what it changes at the source is not known: {}", missing.join(", "));
                return Err(dead(Code::ContextMissing, &why));
            }
        }
        loop {
            let content = Content::Request(made.request.clone());
            let (delivery, id) = self.deliver(route, event, content, arrival, lease).await?;
            self.keep(route, &made.request, event, id.as_deref(), arrival, lease).await?;
            made = match made.next(id.as_deref()) {
                Ok(Some(next)) => Box::new(next),
                Ok(None) => return Ok(self.deliverer.sink.stages().then_some(delivery)),
                Err(missing) => {
                    let why = format!("a step cannot be made, for want of: {}", missing.join(", "));
                    return Err(dead(Code::ContextMissing, &why));
                }
            };
        }
    }

    /// Tells what is about to be changed at the source, for as long as it takes: only then it is done.
    async fn intend(&self, intent: &WriteBack, lease: &Lease) -> Result<(), Break> {
        let Some(intents) = &self.intents else {
            return Err(dead(Code::ContextMissing, "nothing is written back where intents cannot be told"));
        };
        let mut pause = GLANCE;
        while let Err(error) = intents.put(intent).await {
            tracing::warn!(sink = %self.deliverer.name, error, "a write-back waits: its intent cannot be told");
            pause = (pause * 2).min(LONGEST_GLANCE);
            if !wait_or_drain(pause, lease).await {
                return Err(Break::Abandoned);
            }
        }
        Ok(())
    }

    /// One delivery to its end, and the id that the sink has told.
    async fn deliver(
        &self,
        route: &Route,
        event: &Event,
        content: Content,
        arrival: &Arrival,
        lease: &Lease,
    ) -> Result<(Delivery, Option<String>), Break> {
        let step = match &content {
            Content::Request(request) => request.step.clone(),
            Content::Row(_) | Content::Copy(_) => None,
        };
        let idempotency_key = route.step_key(event.event_id(), step.as_deref());
        let parent = arrival.header("traceparent").and_then(TraceParent::parse);
        let trace = parent.map_or_else(TraceParent::new_root, |parent| parent.child());
        let began = SystemTime::now();
        let (key, on_refusal) = (arrival.key.clone(), route.on_refusal);
        let delivery = Delivery { idempotency_key, key, trace, content, on_refusal };
        let end = self.deliverer.deliver(&delivery, lease).await;
        if spans::wanted(&trace) {
            spans::record(self.span(route, &end, (parent, trace), began));
        }
        match end {
            End::Delivered { created } => {
                if let Some(seen) = event.observed_at() {
                    let age = jiff::Timestamp::now().duration_since(seen);
                    self.deliverer.metrics.age(Duration::try_from(age).unwrap_or_default());
                }
                tracing::debug!(
                    sink = %self.deliverer.name, route = %route.name, event = event.event_id(), step,
                    trace = trace.trace_id(), "delivered"
                );
                Ok((delivery, created))
            }
            End::Dead(mut failure) => {
                if let Some(step) = step {
                    failure.what = format!("step {step}: {}", failure.what);
                }
                Err(Break::Dead(failure))
            }
            End::Abandoned => Err(Break::Abandoned),
        }
    }

    fn span(
        &self,
        route: &Route,
        end: &End,
        (parent, own): (Option<TraceParent>, TraceParent),
        began: SystemTime,
    ) -> Span {
        Span {
            service: "route",
            name: "deliver",
            kind: Kind::Client,
            own,
            parent,
            began,
            ended: SystemTime::now(),
            attributes: vec![
                ("hirewire.sink", self.deliverer.name.to_string()),
                ("hirewire.route", route.name.to_string()),
            ],
            links: Vec::new(),
            failed: match end {
                End::Delivered { .. } => None,
                End::Dead(failure) => Some(failure.code.name()),
                End::Abandoned => Some("abandoned"),
            },
        }
    }

    /// Joins and renders; waits, bounded, for what the request requires. The inner error: why it need not be sent.
    async fn compose<'a>(
        &self,
        route: &'a Route,
        event: &Event,
        arrival: &Arrival,
        lease: &Lease,
    ) -> Result<Result<Box<Made<'a>>, Skip>, Break> {
        if route.fitting(event).any(|plan| plan.is_kept() || plan.updates.is_some()) {
            self.reach_ids(arrival, lease).await?;
        }
        let started = Instant::now();
        let mut since = None;
        let mut waiting = None;
        let mut pause = Duration::from_millis(1);
        let mut changes = self.context.changes();
        loop {
            changes.mark_unchanged();
            let (missing, ages) = match compose(&*self.context, route, event) {
                Ok(Composed::Ready(made)) => return Ok(Ok(made)),
                Ok(Composed::Needless(reason)) => return Ok(Err(reason)),
                Ok(Composed::Missing(missing)) => (missing, true),
                // What our own store lacks is no fault of the data: it does not age the delivery.
                Ok(Composed::NotYet(what)) => (vec![what.to_owned()], false),
                Err(error) => (vec![error.to_string()], false),
            };
            since = ages.then(|| since.unwrap_or_else(Instant::now));
            let missing_for = since.map(|since| since.elapsed()).unwrap_or_default();
            // The context is usually there in milliseconds: what takes longer is worth a line.
            if waiting.is_none() && started.elapsed() >= GLANCE {
                waiting = Some(self.deliverer.metrics.context_wait());
                tracing::info!(
                    sink = %self.deliverer.name, route = %route.name, event = event.event_id(),
                    missing = missing.join(", "), "a delivery waits for data it requires"
                );
            }
            if since.is_some() && missing_for >= route.requires_within {
                return Err(dead(Code::ContextMissing, &format!("still missing: {}", missing.join(", "))));
            }
            // At least `pause`, so that many that wait do not all look at every batch.
            if !wait_or_drain(pause, lease).await {
                return Err(Break::Abandoned);
            }
            pause = (pause * 2).min(GLANCE * 2);
            let (moment, longest) = (waiting.is_none(), LONGEST_GLANCE.min(route.requires_within));
            tokio::select! {
                biased;
                () = lease.draining(), if moment => return Err(Break::Abandoned),
                () = lease.leaving(), if !moment => return Err(Break::Abandoned),
                _ = changes.changed() => {}
                () = tokio::time::sleep(if moment { GLANCE } else { longest }) => {}
            }
        }
    }

    /// Waits until every id can be found that was kept in the record's partition before it was ours.
    async fn reach_ids(&self, arrival: &Arrival, lease: &Lease) -> Result<(), Break> {
        let mut pause = Duration::from_millis(1);
        loop {
            match self.ids.reached(&arrival.slot, lease).await {
                Ok(true) => return Ok(()),
                Ok(false) => {}
                Err(error) => {
                    tracing::warn!(sink = %self.deliverer.name, error, "a delivery waits: ids cannot be read");
                    pause = pause.max(GLANCE);
                }
            }
            if !wait_or_drain(pause, lease).await {
                return Err(Break::Abandoned);
            }
            pause = (pause * 2).min(LONGEST_GLANCE);
        }
    }

    /// Keeps that a request, or a step of it, is done, and the id that the sink has told, for as long as it takes: only then
    /// the next begins, or the record is settled.
    async fn keep(
        &self,
        route: &Route,
        request: &Request,
        event: &Event,
        id: Option<&str>,
        arrival: &Arrival,
        lease: &Lease,
    ) -> Result<(), Break> {
        let Some(kept_as) = &request.kept_as else { return Ok(()) };
        let id = match (id, &request.created) {
            (Some(id), _) => id,
            (None, None) => "",
            (None, Some(_)) => {
                tracing::warn!(
                    sink = %self.deliverer.name, route = %route.name, event = event.event_id(), request = kept_as,
                    "the sink has told no id of what it has created: nothing will change it later"
                );
                return Ok(());
            }
        };
        // The settings give such requests to entities alone that have one.
        let Some(application_id) = event.kept_by() else { return Ok(()) };
        let key = CreatedKey { sink: &self.deliverer.name, request: kept_as, application_id };
        let known = Known { id: id.to_owned(), event_id: event.event_id().to_owned() };
        let mut pause = GLANCE;
        while let Err(error) = self.ids.keep(&key, &known, arrival.slot.partition).await {
            tracing::warn!(sink = %self.deliverer.name, error, "an id is not kept yet: its partition waits");
            pause = (pause * 2).min(LONGEST_GLANCE);
            if !wait_while_ours(pause, lease).await {
                return Err(Break::Abandoned);
            }
        }
        Ok(())
    }

    /// Puts a dead letter, for as long as it takes; while its topic is away the partition waits.
    async fn settle(&self, arrival: &Arrival, route: Option<&Route>, reason: Break, lease: &Lease) -> Settled {
        let Break::Dead(failure) = reason else { return Settled::Abandoned };
        let name = route.map_or("", |route| &*route.name);
        // What attempts have led to was admitted there; what a person sent again says nothing of the sink.
        if failure.attempts == 0
            && failure.code != Code::NotReplayed
            && !self.deliverer.admit(&failure.what, lease).await
        {
            return Settled::Abandoned;
        }
        let letter = DeadLetter::new(arrival, &self.deliverer.name, name, &failure);
        let mut pause = GLANCE;
        while let Err(error) = self.dead_letters.put(letter.clone()).await {
            tracing::warn!(
                sink = %self.deliverer.name, error,
                "the dead-letter topic does not take a record: its partition waits"
            );
            pause = (pause * 2).min(LONGEST_GLANCE);
            if !wait_while_ours(pause, lease).await {
                return Settled::Abandoned;
            }
        }
        self.deliverer.metrics.dead_letter(failure.code.name());
        tracing::warn!(
            sink = %self.deliverer.name, route = name, code = failure.code.name(), attempts = failure.attempts,
            what = failure.what, topic = %arrival.slot.topic, partition = arrival.slot.partition,
            offset = arrival.offset, "a record went to the dead letters"
        );
        Settled::Done(Vec::new())
    }

    fn skipped(&self, route: &Route, reason: Skip) {
        self.deliverer.metrics.skipped(&route.name, reason.label());
    }
}

fn dead(code: Code, what: &str) -> Break {
    Break::Dead(Failure { code, attempts: 0, first_failed_at: jiff::Timestamp::now(), what: what.to_owned() })
}
