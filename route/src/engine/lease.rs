//! A partition's ownership as a delivery sees it.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::watch;
use uuid::Uuid;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Ours.
    Running,
    /// About to go: end the attempt that is under way, begin no other.
    Draining,
    /// Gone: stop at once.
    Lost,
}

/// Held by a task; sees the phase of its record's partition.
#[derive(Debug, Clone)]
pub(crate) struct Lease {
    phase: watch::Receiver<Phase>,
    /// Changes when another handler takes the place of the one that has this lease.
    replaced: Option<watch::Receiver<u64>>,
    /// The deliveries of this record that came to their end.
    done: Arc<Mutex<HashSet<Uuid>>>,
}

impl Lease {
    pub(crate) fn new(phase: watch::Receiver<Phase>) -> Self {
        Self { phase, replaced: None, done: Arc::default() }
    }

    /// The same, which also drains when `replaced` changes.
    pub(super) fn until(&self, replaced: watch::Receiver<u64>) -> Self {
        Self { replaced: Some(replaced), ..self.clone() }
    }

    /// Returns when no further attempt may begin.
    pub(crate) async fn draining(&self) {
        let replaced = async {
            match &self.replaced {
                // One that is gone was not replaced.
                Some(replaced) if replaced.clone().changed().await.is_ok() => {}
                _ => std::future::pending().await,
            }
        };
        tokio::select! {
            () = self.revoked() => {}
            () = replaced => {}
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
