//! The boundary to the broker: what the engine takes in, and the one thing it gives back.
//!
//! In: [`SourceEvent`]s, in order per partition. Out: [`Commit::commit`], for some sinks with what is to be written in
//! the same step. The source bounds the window: it hands out
//! at most so many records beyond the committed position, so the engine may always read on and sees a revocation at
//! once. `kafka.rs` is the one real source; tests have their own.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use hirewire_kafka::Stop;

use crate::deliver::Delivery;

/// One partition of one topic.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Slot {
    pub(crate) topic: Arc<str>,
    pub(crate) partition: i32,
}

/// Where a record was consumed: of a replay its place in the topic of replays.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Origin {
    pub(crate) slot: Slot,
    pub(crate) offset: i64,
}

/// One record as it was consumed; nothing of it is changed on the way to a dead letter.
#[derive(Debug, Clone)]
pub(crate) struct Arrival {
    pub(crate) slot: Slot,
    pub(crate) offset: i64,
    pub(crate) timestamp_ms: i64,
    pub(crate) key: Option<Bytes>,
    pub(crate) value: Option<Bytes>,
    pub(crate) headers: Vec<(String, Bytes)>,
}

impl Arrival {
    /// The last header of that name, if it is UTF-8.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let (_, value) = self.headers.iter().rev().find(|(header, _)| header == name)?;
        std::str::from_utf8(value).ok()
    }
}

/// What a source tells, in order.
pub(crate) enum SourceEvent {
    Assigned(Vec<Slot>),
    Record(Arrival),
    /// The partition's window is full: no more of it comes until some is committed.
    Full(Slot),
    /// The partitions are to be given up: finish what is under way, commit, then drop `done`.
    Revoked {
        slots: Vec<Slot>,
        done: Box<dyn Send>,
    },
    /// The source cannot go on.
    Failed(Stop),
}

impl fmt::Debug for SourceEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Assigned(slots) => write!(f, "Assigned({slots:?})"),
            Self::Record(arrival) => write!(f, "Record({:?} {})", arrival.slot, arrival.offset),
            Self::Full(slot) => write!(f, "Full({slot:?})"),
            Self::Revoked { slots, .. } => write!(f, "Revoked({slots:?})"),
            Self::Failed(reason) => write!(f, "Failed({reason})"),
        }
    }
}

/// Where the events come from.
pub(crate) trait Source: Send {
    /// The next event; `None` when the source has given its partitions up and ended.
    fn next(&mut self) -> impl Future<Output = Option<SourceEvent>> + Send;
}

/// A delivery that becomes real with the commit of its record's offset, and not before.
#[derive(Debug)]
pub(crate) struct Staged {
    pub(crate) offset: i64,
    pub(crate) delivery: Delivery,
}

/// How far a partition is finished, and what came of the records since the head before.
#[derive(Debug)]
pub(crate) struct Head {
    /// Everything before it is settled.
    pub(crate) next_offset: i64,
    /// How many records since the head before.
    pub(crate) records: usize,
    /// In their order.
    pub(crate) staged: Vec<Staged>,
}

/// Takes the heads of partitions.
pub(crate) trait Commit: Send + Sync + 'static {
    fn commit(&self, slot: &Slot, head: Head);

    /// Of a partition that is full all was given that it had: no more of it comes before some is committed.
    fn press(&self) {}

    /// The partitions may go when the commits so far are made.
    fn release(&self, done: Box<dyn Send>) {
        drop(done);
    }
}
