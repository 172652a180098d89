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
        let mut watch = Watch { probe_every, glance, seen: fingerprint(), next_probe: None };
        loop {
            tokio::time::sleep(glance).await;
            if watch.look(self, Instant::now(), fingerprint()) {
                opened();
            }
        }
    }
}

/// What is remembered between two looks at a gate.
struct Watch {
    probe_every: Duration,
    /// Between two looks.
    glance: Duration,
    /// The secrets' fingerprint while the gate was open.
    seen: u64,
    next_probe: Option<Instant>,
}

impl Watch {
    /// True if the gate was held and is open now.
    fn look(&mut self, gate: &Gate, now: Instant, fingerprint: u64) -> bool {
        let Some(reason) = gate.held() else {
            self.seen = fingerprint;
            self.next_probe = None;
            return false;
        };
        let due = *self.next_probe.get_or_insert(now + self.probe_every - self.glance);
        if fingerprint != self.seen {
            self.seen = fingerprint;
            self.next_probe = None;
            return gate.open();
        }
        if now >= due && reason != HoldReason::Gone {
            self.next_probe = Some(now + self.probe_every);
            gate.free_probe();
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    const EVERY: Duration = Duration::from_secs(30);
    const GLANCE: Duration = Duration::from_secs(1);

    #[tokio::test]
    async fn a_held_gate_lets_one_probe_through_and_opens_when_the_secret_changes() {
        let gate = Arc::new(Gate::new());
        assert_eq!(gate.pass().await, Pass::Normal);
        assert!(gate.hold(HoldReason::Unauthorized));
        assert!(!gate.hold(HoldReason::Unauthorized));

        let mut watch = Watch { probe_every: EVERY, glance: GLANCE, seen: 1, next_probe: None };
        let held_at = Instant::now();
        let waiting = Arc::clone(&gate);
        let first = tokio::spawn(async move { waiting.pass().await });
        for second in 0..29 {
            assert!(!watch.look(&gate, held_at + GLANCE * second, 1));
        }
        tokio::task::yield_now().await;
        assert!(!first.is_finished(), "no probe before its time");
        assert!(!watch.look(&gate, held_at + EVERY - GLANCE, 1));
        assert_eq!(first.await.unwrap(), Pass::Probe);

        let waiting = Arc::clone(&gate);
        let next = tokio::spawn(async move { waiting.pass().await });
        for second in 30..59 {
            assert!(!watch.look(&gate, held_at + GLANCE * second, 1));
        }
        tokio::task::yield_now().await;
        assert!(!next.is_finished(), "only one probe in an interval");
        assert!(watch.look(&gate, held_at + GLANCE * 58, 2));
        assert_eq!(next.await.unwrap(), Pass::Normal);
    }

    #[test]
    fn a_receiver_that_is_gone_gets_no_probe() {
        let gate = Gate::new();
        assert!(gate.hold(HoldReason::Gone));
        let mut watch = Watch { probe_every: EVERY, glance: GLANCE, seen: 1, next_probe: None };
        let held_at = Instant::now();
        for second in 0..100 {
            assert!(!watch.look(&gate, held_at + GLANCE * second, 1));
        }
        assert_eq!(*gate.state.borrow(), State::Held { reason: HoldReason::Gone, probe_free: false });
    }
}
