//! What is done with one record of one sink: wait for a place, decode, decide by each route, join, render, deliver, settle.
//!
//! In: an [`Arrival`]. Out: [`Settled`]. Whatever happens ends in one of: not for this sink, delivered, dead letter,
//! or given back with its partition. Nothing is dropped in silence: what is not sent is counted by reason.
//! What waits, for a place, a retry, its context or a dead sink, is the record's bytes and what is made of them, no tree.

mod open;
mod request;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use hirewire_schemas::Entity;
use hirewire_service::TraceParent;
use hirewire_service::spans::{self, Kind, Span, Value};

use crate::context::Join;
use crate::created::Ids;
use crate::dead_letter::{DeadLetter, DeadLetters};
use crate::decode::Decode;
use crate::deliver::outcome::Code;
use crate::deliver::{
    Content, Copied, Deliverer, Delivery, End, Failure, Place, Transport, wait_or_leave, wait_while_ours,
};
use crate::engine::{Handle, Lease, Settled};
use crate::event::About;
use crate::replay::Order;
use crate::replay::fence::keeps_order;
use crate::replay::incoming::{Replays, Taken};
use crate::route::{Decision, Route, Skip};
use crate::source::Arrival;
use crate::write_back::Intents;
use open::{Opened, Work};

/// How often something that is waited for is looked at again.
const GLANCE: Duration = Duration::from_millis(100);
/// The longest pause between two looks, or two tries to put a dead letter.
const LONGEST_GLANCE: Duration = Duration::from_secs(5);

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
            Taken::Again(arrival, order) => (arrival, Some(Box::new(order))),
            Taken::Foreign => return Settled::Done(Vec::new()),
            Taken::Unreadable(arrival) => {
                let reason = dead(Code::NotReplayed, "its headers are not those of a replay");
                return Box::pin(self.settle(&arrival, None, reason, &lease)).await;
            }
        };
        let Some(place) = self.deliverer.place(None, &lease).await else { return Settled::Abandoned };
        // Of a record that waits for its place the rest is not there yet.
        Box::pin(self.work_on(&arrival, order.as_deref(), place, &lease)).await
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
    async fn work_on<'a>(
        &'a self,
        arrival: &Arrival,
        order: Option<&Order>,
        place: Place<'a>,
        lease: &Lease,
    ) -> Settled {
        if let Some(order) = order
            && let Err(reason) = self.can_replay(order)
        {
            drop(place);
            return self.settle(arrival, None, reason, lease).await;
        }
        let (Some(framed), Some(entity)) = (&arrival.value, self.topics.get(&arrival.slot.topic).copied()) else {
            // A tombstone, or a topic that is none of ours.
            return Settled::Done(Vec::new());
        };
        let work = Work { arrival, framed, entity, lease };
        let opened = match self.open(Some(place), &work).await {
            Ok(opened) => opened,
            Err(reason) => return self.settle(arrival, None, reason, lease).await,
        };
        let about = opened.event.about();
        let mut open = Some(opened);
        let wanted = |route: &&Route| order.is_none_or(|order| order.is_for(route));
        let mut staged = Vec::new();
        for route in self.routes.iter().filter(wanted) {
            let key = route.key(&about.event_id);
            if lease.is_finished(key) {
                continue;
            }
            match self.follow_order(order, route, &about, &mut open, &work).await {
                // What is staged is not real before its record is settled: it is begun again with it.
                Ok(Some(delivery)) => {
                    staged.push(delivery);
                    continue;
                }
                Ok(None) => {}
                Err(reason) => {
                    if let Settled::Abandoned = self.settle(arrival, Some(route), reason, lease).await {
                        return Settled::Abandoned;
                    }
                }
            }
            lease.finish(key);
        }
        Settled::Done(staged)
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
    async fn follow_order<'a>(
        &'a self,
        order: Option<&Order>,
        route: &'a Route,
        about: &About,
        open: &mut Option<Opened<'a>>,
        work: &Work<'_>,
    ) -> Result<Option<Delivery>, Break> {
        if let Some(order) = order {
            let opened = self.opened(open, work).await?;
            if !order.even_if_newer && keeps_order(route, &opened.event) {
                // A look takes its time.
                drop(opened);
                if let Some(offset) = self.newer_than(order, route, work).await? {
                    let why = format!("the record at offset {offset} is newer and of the same key");
                    return Err(dead(Code::NotReplayed, &why));
                }
            } else {
                *open = Some(opened);
            }
            tracing::info!(
                sink = %self.deliverer.name, route = %route.name, event = about.event_id, "a dead letter is sent again"
            );
        }
        self.follow(route, about, open, work).await
    }

    async fn newer_than(&self, order: &Order, route: &Route, work: &Work<'_>) -> Result<Option<i64>, Break> {
        let (key, mut pause) = (work.arrival.key.as_ref(), GLANCE);
        loop {
            match self.replays.newer_than(order, route, key, Some(work.entity), &*self.decoder).await {
                Ok(newer) => return Ok(newer),
                Err(error) => {
                    tracing::warn!(sink = %self.deliverer.name, %error, "a replay waits: what is newer cannot be read");
                    pause = (pause * 2).min(LONGEST_GLANCE);
                    if !wait_or_leave(pause, work.lease).await {
                        return Err(Break::Abandoned);
                    }
                }
            }
        }
    }

    /// Sends what the route makes of the record, or gives back what is to be staged.
    async fn follow<'a>(
        &'a self,
        route: &'a Route,
        about: &About,
        open: &mut Option<Opened<'a>>,
        work: &Work<'_>,
    ) -> Result<Option<Delivery>, Break> {
        let opened = self.opened(open, work).await?;
        let content = match route.decide(&opened.event) {
            Decision::Skip(reason) => {
                self.skipped(route, reason);
                *open = Some(opened);
                return Ok(None);
            }
            Decision::Store(table) => Content::Row(table.row(&opened.event, work.lease.origin())),
            Decision::Copy => Content::Copy(Copied { event: Arc::clone(&opened.event), framed: work.framed.clone() }),
            Decision::Send(_) => return self.request(route, about, opened, open, work).await,
        };
        let Opened { event, place } = opened;
        drop(event);
        let (delivery, _) = self.deliver(route, about, content, Some(place), work).await?;
        Ok(self.deliverer.sink.stages().then_some(delivery))
    }

    /// One delivery to its end, and the id that the sink has told.
    async fn deliver(
        &self,
        route: &Route,
        about: &About,
        content: Content,
        place: Option<Place<'_>>,
        work: &Work<'_>,
    ) -> Result<(Delivery, Option<String>), Break> {
        let arrival = work.arrival;
        let step = match &content {
            Content::Request(request) => request.step.clone(),
            Content::Row(_) | Content::Copy(_) => None,
        };
        let idempotency_key = route.step_key(&about.event_id, step.as_deref());
        let parent = arrival.header("traceparent").and_then(TraceParent::parse);
        let trace = parent.map_or_else(TraceParent::new_root, |parent| parent.child());
        let began = SystemTime::now();
        let (key, on_refusal) = (arrival.key.clone(), route.on_refusal);
        let delivery = Delivery { idempotency_key, key, trace, content, on_refusal };
        let end = self.deliverer.deliver(&delivery, place, work.lease).await;
        if spans::wanted(&trace) {
            spans::record(self.span(route, &end, (parent, trace), began));
        }
        match end {
            End::Delivered { created } => {
                self.deliverer.metrics.taken(about.observed_at, about.changed_at);
                tracing::debug!(
                    sink = %self.deliverer.name, route = %route.name, event = about.event_id, step,
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
                ("hirewire.sink", Value::Name(Arc::clone(&self.deliverer.name))),
                ("hirewire.route", Value::Name(Arc::clone(&route.name))),
            ],
            links: Vec::new(),
            failed: match end {
                End::Delivered { .. } => None,
                End::Dead(failure) => Some(failure.code.name()),
                End::Abandoned => Some("abandoned"),
            },
        }
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
