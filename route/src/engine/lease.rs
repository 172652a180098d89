//! A partition's ownership as a delivery sees it.

use tokio::sync::watch;

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
}

impl Lease {
    pub(crate) fn new(phase: watch::Receiver<Phase>) -> Self {
        Self { phase }
    }

    /// Returns when no further attempt may begin.
    pub(crate) async fn draining(&self) {
        self.reached(|phase| phase != Phase::Running).await;
    }

    /// Returns when the attempt under way must be cut off too.
    pub(crate) async fn lost(&self) {
        self.reached(|phase| phase == Phase::Lost).await;
    }

    /// Whether it is of the same ownership of the same partition.
    pub(crate) fn is(&self, other: &Self) -> bool {
        self.phase.same_channel(&other.phase)
    }

    async fn reached(&self, wanted: impl Fn(Phase) -> bool) {
        let mut phase = self.phase.clone();
        // A sender that is gone means a partition that is gone: the same as lost.
        drop(phase.wait_for(|phase| wanted(*phase)).await);
    }
}
