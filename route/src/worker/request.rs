//! A request of a record, with all its steps: joined, told before if it writes back, delivered, and kept that it is done.

use std::time::Duration;

use hirewire_schemas::records::WriteBack;
use tokio::time::Instant;

use super::open::{Opened, Work};
use super::{Break, GLANCE, LONGEST_GLANCE, Worker, dead};
use crate::compose::{Composed, Made, compose};
use crate::context::Join;
use crate::created::{CreatedKey, Ids, Known};
use crate::dead_letter::DeadLetters;
use crate::decode::Decode;
use crate::deliver::outcome::Code;
use crate::deliver::{Content, Delivery, Place, Transport, wait_or_drain, wait_while_ours};
use crate::engine::Lease;
use crate::event::About;
use crate::request::Request;
use crate::route::{Route, Skip};

impl<S: Transport, D: Decode, J: Join, L: DeadLetters, I: Ids> Worker<S, D, J, L, I> {
    /// Makes a request, or all its steps: that one is done is kept before the next begins. `open`: where the record goes back
    /// when nothing is made of it.
    pub(super) async fn request<'a>(
        &'a self,
        route: &'a Route,
        about: &About,
        opened: Opened<'a>,
        open: &mut Option<Opened<'a>>,
        work: &Work<'_>,
    ) -> Result<Option<Delivery>, Break> {
        let (made, opened) = self.compose(route, about, opened, work).await?;
        let mut made = match made {
            Ok(made) => made,
            Err(reason) => {
                self.skipped(route, reason);
                *open = Some(opened);
                return Ok(None);
            }
        };
        let intent = made.intent(route, &opened.event).map_err(|missing| {
            let why = format!("what it changes at the source is not known: {}", missing.join(", "));
            dead(Code::ContextMissing, &why)
        })?;
        // What the record says is not needed any more; its place is, for the first attempt.
        let mut place = Some(opened.place);
        drop(opened.event);
        made.later.strip();
        if let Some(intent) = intent {
            self.intend(&intent, &mut place, work.lease).await?;
        }
        loop {
            let Made { request, later } = *made;
            let (delivery, id) = self.deliver(route, about, Content::Request(request), place.take(), work).await?;
            if let Content::Request(request) = &delivery.content {
                self.keep(route, request, about, id.as_deref(), work).await?;
            }
            made = match later.next(id.as_deref()) {
                Ok(Some(mut next)) => {
                    next.later.strip();
                    Box::new(next)
                }
                Ok(None) => return Ok(self.deliverer.sink.stages().then_some(delivery)),
                Err(missing) => {
                    let why = format!("a step cannot be made, for want of: {}", missing.join(", "));
                    return Err(dead(Code::ContextMissing, &why));
                }
            };
        }
    }

    /// Tells what is about to be changed at the source, for as long as it takes: only then it is done. Waits without a place.
    async fn intend(&self, intent: &WriteBack, place: &mut Option<Place<'_>>, lease: &Lease) -> Result<(), Break> {
        let Some(intents) = &self.intents else {
            return Err(dead(Code::ContextMissing, "nothing is written back where intents cannot be told"));
        };
        let mut pause = GLANCE;
        while let Err(error) = intents.put(intent).await {
            *place = None;
            tracing::warn!(sink = %self.deliverer.name, error, "a write-back waits: its intent cannot be told");
            pause = (pause * 2).min(LONGEST_GLANCE);
            if !wait_or_drain(pause, lease).await {
                return Err(Break::Abandoned);
            }
        }
        Ok(())
    }

    /// Joins and renders; waits, bounded, for what the request requires. The inner error: why it need not be sent.
    async fn compose<'a>(
        &'a self,
        route: &'a Route,
        about: &About,
        opened: Opened<'a>,
        work: &Work<'_>,
    ) -> Result<(Result<Box<Made<'a>>, Skip>, Opened<'a>), Break> {
        let is_kept = route.fitting(&opened.event).any(|plan| plan.is_kept() || plan.updates.is_some());
        let mut open = Some(opened);
        if is_kept {
            self.reach_ids(&mut open, work).await?;
        }
        let started = Instant::now();
        let mut since = None;
        let mut waiting = None;
        let mut pause = Duration::from_millis(1);
        let mut changes = self.context.changes();
        loop {
            let opened = self.opened(&mut open, work).await?;
            changes.mark_unchanged();
            let (missing, ages) = match compose(&*self.context, route, &opened.event) {
                Ok(Composed::Ready(made)) => return Ok((Ok(made), opened)),
                Ok(Composed::Needless(reason)) => return Ok((Err(reason), opened)),
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
                    sink = %self.deliverer.name, route = %route.name, event = about.event_id,
                    missing = missing.join(", "), "a delivery waits for data it requires"
                );
            }
            if since.is_some() && missing_for >= route.requires_within {
                return Err(dead(Code::ContextMissing, &format!("still missing: {}", missing.join(", "))));
            }
            // What waits for longer than a moment leaves its place to others, and is decoded again.
            open = waiting.is_none().then_some(opened);
            // At least `pause`, so that many that wait do not all look at every batch.
            if !wait_or_drain(pause, work.lease).await {
                return Err(Break::Abandoned);
            }
            pause = (pause * 2).min(GLANCE * 2);
            let (moment, longest) = (waiting.is_none(), LONGEST_GLANCE.min(route.requires_within));
            tokio::select! {
                biased;
                () = work.lease.draining(), if moment => return Err(Break::Abandoned),
                () = work.lease.leaving(), if !moment => return Err(Break::Abandoned),
                _ = changes.changed() => {}
                () = tokio::time::sleep(if moment { GLANCE } else { longest }) => {}
            }
        }
    }

    /// Waits until every id can be found that was kept in the record's partition before it was ours; without a place.
    async fn reach_ids(&self, open: &mut Option<Opened<'_>>, work: &Work<'_>) -> Result<(), Break> {
        let mut pause = Duration::from_millis(1);
        loop {
            match self.ids.reached(&work.arrival.slot, work.lease).await {
                Ok(true) => return Ok(()),
                Ok(false) => {}
                Err(error) => {
                    tracing::warn!(sink = %self.deliverer.name, error, "a delivery waits: ids cannot be read");
                    pause = pause.max(GLANCE);
                }
            }
            *open = None;
            if !wait_or_drain(pause, work.lease).await {
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
        about: &About,
        id: Option<&str>,
        work: &Work<'_>,
    ) -> Result<(), Break> {
        let Some(kept_as) = &request.kept_as else { return Ok(()) };
        let id = match (id, &request.created) {
            (Some(id), _) => id,
            (None, None) => "",
            (None, Some(_)) => {
                tracing::warn!(
                    sink = %self.deliverer.name, route = %route.name, event = about.event_id, request = kept_as,
                    "the sink has told no id of what it has created: nothing will change it later"
                );
                return Ok(());
            }
        };
        // The settings give such requests to entities alone that have one.
        let Some(application_id) = &about.kept_by else { return Ok(()) };
        let key = CreatedKey { sink: &self.deliverer.name, request: kept_as, application_id };
        let known = Known { id: id.to_owned(), event_id: about.event_id.clone() };
        let mut pause = GLANCE;
        while let Err(error) = self.ids.keep(&key, &known, work.arrival.slot.partition).await {
            tracing::warn!(sink = %self.deliverer.name, error, "an id is not kept yet: its partition waits");
            pause = (pause * 2).min(LONGEST_GLANCE);
            if !wait_while_ours(pause, work.lease).await {
                return Err(Break::Abandoned);
            }
        }
        Ok(())
    }
}
