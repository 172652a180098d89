//! A record is decoded when it has a [`Place`], and decoded again when it had to give that back: so many trees there are
//! at most, and what waits is bytes.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hirewire_schemas::Entity;
use tokio::time::Instant;

use super::{Break, GLANCE, LONGEST_GLANCE, Worker, dead};
use crate::context::Join;
use crate::created::Ids;
use crate::dead_letter::DeadLetters;
use crate::decode::{Decode, DecodeError};
use crate::deliver::outcome::Code;
use crate::deliver::{Place, Transport, wait_or_leave};
use crate::engine::Lease;
use crate::event::Event;
use crate::source::Arrival;

/// How long a schema that the registry does not know is waited for.
const UNKNOWN_SCHEMA_LIMIT: Duration = Duration::from_secs(60);

/// A record under way.
pub(super) struct Work<'r> {
    pub(super) arrival: &'r Arrival,
    /// Its value.
    pub(super) framed: &'r Bytes,
    pub(super) entity: Entity,
    pub(super) lease: &'r Lease,
}

/// What a record says, and the place that it has for saying it.
pub(super) struct Opened<'a> {
    pub(super) event: Arc<Event>,
    pub(super) place: Place<'a>,
}

impl<S: Transport, D: Decode, J: Join, L: DeadLetters, I: Ids> Worker<S, D, J, L, I> {
    /// What is open already, or is opened (again).
    pub(super) async fn opened<'a>(
        &'a self,
        open: &mut Option<Opened<'a>>,
        work: &Work<'_>,
    ) -> Result<Opened<'a>, Break> {
        match open.take() {
            Some(opened) => Ok(opened),
            None => self.open(None, work).await,
        }
    }

    /// Decodes the record at the place that it has, else at the next that is free. A schema is waited for without one.
    pub(super) async fn open<'a>(&'a self, mut place: Option<Place<'a>>, work: &Work<'_>) -> Result<Opened<'a>, Break> {
        let (started, mut pause) = (Instant::now(), GLANCE);
        loop {
            let held = self.deliverer.place(place.take(), work.lease).await.ok_or(Break::Abandoned)?;
            match self.decoder.decode(work.framed).await {
                Ok(tree) => {
                    let event = Event::new(work.entity, tree);
                    let event = event.map_err(|error| dead(Code::Malformed, &error.to_string()))?;
                    return Ok(Opened { event: Arc::new(event), place: held });
                }
                Err(DecodeError::Undecodable(why)) => return Err(dead(Code::Undecodable, &why)),
                Err(error @ DecodeError::UnknownSchema(_)) if started.elapsed() >= UNKNOWN_SCHEMA_LIMIT => {
                    return Err(dead(Code::Undecodable, &error.to_string()));
                }
                Err(error @ (DecodeError::Unavailable(_) | DecodeError::UnknownSchema(_))) => {
                    drop(held);
                    tracing::warn!(sink = %self.deliverer.name, %error, "a record waits for its schema");
                    pause = (pause * 2).min(LONGEST_GLANCE);
                    if !wait_or_leave(pause, work.lease).await {
                        return Err(Break::Abandoned);
                    }
                }
            }
        }
    }
}
