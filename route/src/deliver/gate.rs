//! The sink's gate: open, or held until its secret changes or a probe gets through.
//!
//! While it is held every delivery waits before its attempt; from time to time one of them is let through as a probe.
//! Nothing is lost and nothing is reordered: each key's record waits at the head of its lane.

use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use super::outcome::HoldReason;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Open,
    Held { reason: HoldReason, probe_free: bool },
}

/// A permission to make one attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pass {
    Normal,
    Probe,
}

pub(crate) struct Gate {
    state: watch::Sender<State>,
}

impl Gate {
    pub(crate) fn new() -> Self {
        Self { state: watch::Sender::new(State::Open) }
    }

    /// Waits until an attempt may be made.
    pub(crate) async fn pass(&self) -> Pass {
        let mut changes = self.state.subscribe();
        loop {
            let mut pass = None;
            self.state.send_if_modified(|state| {
                match state {
                    State::Open => pass = Some(Pass::Normal),
                    State::Held { probe_free, .. } if *probe_free => {
                        *probe_free = false;
                        pass = Some(Pass::Probe);
                    }
                    State::Held { .. } => {}
                }
                false
            });
            if let Some(pass) = pass {
                return pass;
            }
            // The sender is `self`: it cannot be gone.
            drop(changes.changed().await);
        }
    }

    /// Closes the gate. True if it was open.
    pub(crate) fn hold(&self, reason: HoldReason) -> bool {
        let mut closed = false;
        self.state.send_if_modified(|state| {
            closed = *state == State::Open;
            let probe_free = false;
            *state = State::Held { reason, probe_free };
            closed
        });
        closed
    }

    /// Opens the gate. True if it was held.
    pub(crate) fn open(&self) -> bool {
        self.state.send_if_modified(|state| {
            let held = *state != State::Open;
            *state = State::Open;
            held
        })
    }

    pub(crate) fn held(&self) -> Option<HoldReason> {
        match *self.state.borrow() {
            State::Open => None,
            State::Held { reason, .. } => Some(reason),
        }
    }

    fn free_probe(&self) {
        self.state.send_if_modified(|state| match state {
            State::Held { probe_free, .. } if !*probe_free => {
                *probe_free = true;
                true
            }
            State::Open | State::Held { .. } => false,
        });
    }

    /// Watches over a held gate: frees a probe every `probe_every`, and opens the gate when `fingerprint` (of the
    /// secrets) is another than it was when the gate closed. A receiver that is gone gets no probe.
    pub(crate) async fn keep(&self, probe_every: Duration, fingerprint: impl Fn() -> u64, opened: impl Fn()) {
        let glance = probe_every.min(Duration::from_secs(1));
        let mut seen = fingerprint();
        let mut next_probe = None;
        loop {
            tokio::time::sleep(glance).await;
            let Some(reason) = self.held() else {
                seen = fingerprint();
                next_probe = None;
                continue;
            };
            let due = *next_probe.get_or_insert_with(|| Instant::now() + probe_every - glance);
            if fingerprint() != seen {
                seen = fingerprint();
                next_probe = None;
                if self.open() {
                    opened();
                }
            } else if Instant::now() >= due && reason != HoldReason::Gone {
                next_probe = Some(Instant::now() + probe_every);
                self.free_probe();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_held_gate_lets_one_probe_through_and_opens_when_the_secret_changes() {
        let gate = Arc::new(Gate::new());
        assert_eq!(gate.pass().await, Pass::Normal);
        assert!(gate.hold(HoldReason::Unauthorized));
        assert!(!gate.hold(HoldReason::Unauthorized));

        let secret = Arc::new(AtomicU64::new(1));
        let (kept, read) = (Arc::clone(&gate), Arc::clone(&secret));
        let keeper = tokio::spawn(async move {
            kept.keep(Duration::from_secs(30), move || read.load(Ordering::SeqCst), || ()).await;
        });
        assert_eq!(gate.pass().await, Pass::Probe);
        let second = tokio::time::timeout(Duration::from_secs(20), gate.pass()).await;
        assert!(second.is_err(), "only one probe in an interval");

        secret.store(2, Ordering::SeqCst);
        assert_eq!(gate.pass().await, Pass::Normal);
        keeper.abort();
    }
}
