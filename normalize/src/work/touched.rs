//! One entity that the open transaction touches, and its state as the state topic has it.

use bytes::Bytes;
use hirewire_kafka::Stop;

use crate::catalog::Kind;
use crate::claim::{Claim, Id};
use crate::completeness::{Change, Seen, Shown};
use crate::ledger::{Event, Micros, Revision};
use crate::reconcile::{EntityState, Ids, Merged};
use crate::wire::{Damaged, Reader};

/// One entity in work.
#[derive(Clone)]
pub(super) struct Touched {
    pub(super) kind: Kind,
    /// The record's name in the state topic: a home is none of its kind.
    pub(super) record: &'static str,
    pub(super) tenant: String,
    pub(super) connection: String,
    pub(super) remote_id: String,
    pub(super) state: EntityState,
    /// It was in the store.
    pub(super) existed: bool,
    pub(super) merged: Merged,
    pub(super) learnt: Learnt,
    /// What the ledger has told; written with everything else.
    pub(super) told: Vec<Event>,
    /// What statements showed of an application.
    pub(super) shown: Vec<Shown>,
    /// What we are about to change is news.
    pub(super) intended: bool,
    pub(super) trace: Bytes,
}

/// What the ledger has learnt in this transaction.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Learnt {
    Nothing,
    /// The newest that it has not told of, and the delivery that it came with; rows of the past are older than everything.
    Untold {
        until: Micros,
        delivery: u64,
    },
    Told,
}

impl Touched {
    /// From a state record's value (without frame) alone.
    pub(super) fn of_state(
        kind: Kind,
        record: &'static str,
        stored: &Bytes,
        field_count: usize,
    ) -> Result<Self, Damaged> {
        let state = decode_state(stored, field_count)?;
        let from = &mut Reader::new(stored);
        let _format = from.int()?;
        for _ in ["record", "id"] {
            let _skipped = from.bytes()?;
        }
        let (tenant, connection, remote_id) = (from.text()?, from.text()?, from.text()?);
        Ok(Self {
            kind,
            record,
            tenant: tenant.to_owned(),
            connection: connection.to_owned(),
            remote_id: remote_id.to_owned(),
            state,
            existed: true,
            merged: Merged::default(),
            learnt: Learnt::Nothing,
            told: Vec::new(),
            shown: Vec::new(),
            intended: false,
            trace: Bytes::new(),
        })
    }

    pub(super) fn learns(&mut self, until: Micros, claim: &Claim<'_>) {
        let until = match self.learnt {
            Learnt::Untold { until: known, .. } => known.max(until),
            Learnt::Nothing | Learnt::Told => until,
        };
        self.learnt = Learnt::Untold { until, delivery: claim.origin.delivery };
    }

    /// For the watch over what comes by which way; nothing, if nothing was told or seen.
    pub(super) fn seen(&mut self, id: &Id) -> Option<Seen> {
        let live = self.told.iter().filter(|event| event.revision == Revision::Live).map(|event| &event.what);
        let changes: Vec<Change> = live.map(|what| Change { from: what.from, to: what.to, at: what.at }).collect();
        let any = !changes.is_empty() || !self.shown.is_empty();
        let shown = std::mem::take(&mut self.shown);
        any.then(|| Seen { id: *id, connection: self.connection.clone(), changes, shown })
    }

    pub(super) fn ids<'a>(&'a self, id: &'a Id) -> Ids<'a> {
        Ids { id, tenant: &self.tenant, connection: &self.connection, remote_id: &self.remote_id }
    }
}

pub(super) fn unreadable(record: &str, partition: i32, error: Damaged) -> Stop {
    let what = format!("state of a {record} in partition {partition}: {error}; use the release that wrote it");
    Stop::permanent("state-unreadable", what)
}

/// The state in a state record's value (without frame).
pub(super) fn decode_state(stored: &Bytes, field_count: usize) -> Result<EntityState, Damaged> {
    let from = &mut Reader::new(stored);
    if from.int()? != i64::from(crate::reconcile::FORMAT) {
        return Err(Damaged);
    }
    for _ in 0..5 {
        let _skipped = from.bytes()?;
    }
    let body = from.bytes()?;
    EntityState::decode(&stored.slice_ref(body), field_count)
}
