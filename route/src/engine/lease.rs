//! A partition's ownership as a delivery sees it.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::watch;
use uuid::Uuid;

use crate::source::Origin;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Ours.
    Running,
    /// About to go: end the attempts that are under way, and what stands before them; begin no other.
    Draining {
        /// Offsets of whom a later one was begun: done by us, they are committed with it, else it is done again by the next
        /// owner.
        before: i64,
    },
    /// Gone: stop at once.
    Lost,
}

/// How far a partition's records were begun, and whether more may be.
#[derive(Debug)]
pub(super) struct Begun {
    /// The newest offset of which anything was sent.
    newest: i64,
    before: Option<i64>,
}

impl Default for Begun {
    fn default() -> Self {
        Self { newest: -1, before: None }
    }
}

impl Begun {
    /// From now on nothing new is begun. The offset before which all is to be ended.
    pub(super) fn close(begun: &Mutex<Self>) -> i64 {
        let mut begun = begun.lock().unwrap_or_else(PoisonError::into_inner);
        let before = begun.newest.saturating_add(1);
        begun.before = Some(before);
        before
    }
}

/// Held by a task; sees the phase of its record's partition.
#[derive(Debug, Clone)]
pub(crate) struct Lease {
    origin: Arc<Origin>,
    begun: Arc<Mutex<Begun>>,
    phase: watch::Receiver<Phase>,
    /// Changes when another handler takes the place of the one that has this lease.
    replaced: Option<watch::Receiver<u64>>,
    /// The deliveries of this record that came to their end.
    done: Arc<Mutex<HashSet<Uuid>>>,
}

impl Lease {
    pub(super) fn of(origin: Origin, phase: watch::Receiver<Phase>, begun: &Arc<Mutex<Begun>>) -> Self {
        Self { origin: Arc::new(origin), begun: Arc::clone(begun), phase, replaced: None, done: Arc::default() }
    }

    /// Of a record alone in its partition.
    #[cfg(test)]
    pub(crate) fn new(phase: watch::Receiver<Phase>) -> Self {
        let origin = Origin { slot: crate::tests::support::slot(0), offset: 0 };
        Self::of(origin, phase, &Arc::default())
    }

    /// Of the record.
    pub(crate) fn origin(&self) -> &Origin {
        &self.origin
    }

    /// The same, which also drains when `replaced` changes.
    pub(super) fn until(&self, replaced: watch::Receiver<u64>) -> Self {
        Self { replaced: Some(replaced), ..self.clone() }
    }

    /// Notes that something of the record is sent now; false if nothing may be any more.
    pub(crate) fn begin(&self) -> bool {
        let mut begun = self.begun.lock().unwrap_or_else(PoisonError::into_inner);
        let may = begun.before.is_none_or(|before| self.origin.offset < before);
        if may {
            begun.newest = begun.newest.max(self.origin.offset);
        }
        may
    }

    /// Returns when no further attempt may begin.
    pub(crate) async fn draining(&self) {
        let offset = self.origin.offset;
        let ours = move |phase| match phase {
            Phase::Running => false,
            Phase::Draining { before } => offset >= before,
            Phase::Lost => true,
        };
        tokio::select! {
            () = self.reached(ours) => {}
            () = self.was_replaced() => {}
        }
    }

    /// Returns when nothing may be waited for that takes its time, whatever stands behind the record.
    pub(crate) async fn leaving(&self) {
        tokio::select! {
            () = self.revoked() => {}
            () = self.was_replaced() => {}
        }
    }

    async fn was_replaced(&self) {
        match &self.replaced {
            // One that is gone was not replaced.
            Some(replaced) if replaced.clone().changed().await.is_ok() => {}
            _ => std::future::pending().await,
        }
    }

    /// Returns when the partition is being taken away, whoever handles its records.
    pub(crate) async fn revoked(&self) {
        self.reached(|phase| phase != Phase::Running).await;
    }

    /// Returns when the attempt under way must be cut off too.
    pub(crate) async fn lost(&self) {
        self.reached(|phase| phase == Phase::Lost).await;
    }

    /// Whether neither the partition is being taken away nor the handler was replaced: what needs no waiting may begin.
    pub(crate) fn is_running(&self) -> bool {
        let was_replaced = |replaced: &watch::Receiver<u64>| replaced.has_changed().unwrap_or(false);
        !self.is_draining() && !self.replaced.as_ref().is_some_and(was_replaced)
    }

    pub(super) fn is_draining(&self) -> bool {
        *self.phase.borrow() != Phase::Running || self.phase.has_changed().is_err()
    }

    /// Whether it is of the same ownership of the same partition.
    pub(crate) fn is(&self, other: &Self) -> bool {
        self.phase.same_channel(&other.phase)
    }

    /// The delivery of this key came to its end: it is not begun again.
    pub(crate) fn finish(&self, delivery: Uuid) {
        self.done.lock().unwrap_or_else(PoisonError::into_inner).insert(delivery);
    }

    pub(crate) fn is_finished(&self, delivery: Uuid) -> bool {
        self.done.lock().unwrap_or_else(PoisonError::into_inner).contains(&delivery)
    }

    async fn reached(&self, wanted: impl Fn(Phase) -> bool) {
        let mut phase = self.phase.clone();
        // A sender that is gone means a partition that is gone: the same as lost.
        drop(phase.wait_for(|phase| wanted(*phase)).await);
    }
}
