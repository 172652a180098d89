//! The boundary to the broker: what the engine takes in, and the one thing it gives back.
//!
//! In: [`SourceEvent`]s, in order per partition. Out: [`Commit::commit`]. The source bounds the window: it hands out
//! at most so many records beyond the committed position, so the engine may always read on and sees a revocation at
//! once. `kafka.rs` is the one real source; tests have their own.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use hirewire_kafka::Stop;

/// One partition of one topic.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Slot {
    pub(crate) topic: Arc<str>,
    pub(crate) partition: i32,
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

/// Takes the position up to which a partition is finished.
pub(crate) trait Commit: Send + Sync + 'static {
    /// Everything before `next_offset` is settled.
    fn commit(&self, slot: &Slot, next_offset: i64);
}
