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

    /// Whether an attempt may be made without waiting.
    pub(crate) fn is_open(&self) -> bool {
        *self.state.borrow() == State::Open
    }

    /// Waits until an attempt may be made.
    pub(crate) async fn pass(&self) -> Pass {
        if self.is_open() {
            return Pass::Normal;
        }
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

    /// Closes the gate. True if that is news: it was open, or only the breaker had closed it. What the breaker says
    /// is no news about a gate that is held.
    pub(crate) fn hold(&self, reason: HoldReason) -> bool {
        let mut news = false;
        self.state.send_if_modified(|state| {
            let closed_by = match state {
                State::Open => None,
                State::Held { reason, .. } => Some(*reason),
            };
            news = closed_by.is_none_or(|old| old.is_breaker() && !reason.is_breaker());
            let reason = closed_by.filter(|_| reason.is_breaker()).unwrap_or(reason);
            *state = State::Held { reason, probe_free: false };
            news
        });
        news
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

    /// Watches over a held gate: frees probes, and opens the gate when `fingerprint` (of the secrets) is another than
    /// it was when the gate closed. A receiver that is gone gets no probe and stays so.
    pub(crate) async fn keep(&self, probes: Probes, fingerprint: impl Fn() -> u64, opened: impl Fn()) {
        let glance = probes.held.min(probes.breaker).min(Duration::from_secs(1));
        let mut watch = Watch { probes, glance, seen: fingerprint(), next_probe: None };
        loop {
            tokio::time::sleep(glance).await;
            if watch.look(self, Instant::now(), fingerprint()) {
                opened();
            }
        }
    }
}

/// How often a record is let through a closed gate, to see how it fares.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Probes {
    /// While somebody has to mend something.
    pub(crate) held: Duration,
    /// While the circuit breaker is open.
    pub(crate) breaker: Duration,
}

/// What is remembered between two looks at a gate.
struct Watch {
    probes: Probes,
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
        let every = if reason.is_breaker() { self.probes.breaker } else { self.probes.held };
        let due = *self.next_probe.get_or_insert(now + every - self.glance);
        if fingerprint != self.seen && reason.opens_with_secret() {
            self.seen = fingerprint;
            self.next_probe = None;
            return gate.open();
        }
        if now >= due && reason != HoldReason::Gone {
            self.next_probe = Some(now + every);
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
    const PROBES: Probes = Probes { held: EVERY, breaker: Duration::from_secs(5) };
    const GLANCE: Duration = Duration::from_secs(1);

    #[tokio::test]
    async fn a_held_gate_lets_one_probe_through_and_opens_when_the_secret_changes() {
        let gate = Arc::new(Gate::new());
        assert_eq!(gate.pass().await, Pass::Normal);
        assert!(gate.hold(HoldReason::Unauthorized));
        assert!(!gate.hold(HoldReason::Unauthorized));

        let mut watch = Watch { probes: PROBES, glance: GLANCE, seen: 1, next_probe: None };
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
    fn the_breaker_is_probed_in_its_own_time_and_yields_to_a_hold() {
        let gate = Gate::new();
        assert!(gate.hold(HoldReason::Failing));
        assert!(!gate.hold(HoldReason::Failing), "no news");
        let mut watch = Watch { probes: PROBES, glance: GLANCE, seen: 1, next_probe: None };
        let held_at = Instant::now();
        let free = |gate: &Gate| matches!(*gate.state.borrow(), State::Held { probe_free: true, .. });
        for second in 0..4 {
            assert!(!watch.look(&gate, held_at + GLANCE * second, 1) && !free(&gate));
        }
        assert!(!watch.look(&gate, held_at + GLANCE * 4, 1) && free(&gate));
        assert!(gate.hold(HoldReason::Unauthorized), "somebody has to mend something after all");
        assert!(!gate.hold(HoldReason::Failing));
        assert_eq!(gate.held(), Some(HoldReason::Unauthorized));
    }

    #[test]
    fn a_receiver_that_is_gone_gets_no_probe_and_no_secret_brings_it_back() {
        let gate = Gate::new();
        assert!(gate.hold(HoldReason::Gone));
        let mut watch = Watch { probes: PROBES, glance: GLANCE, seen: 1, next_probe: None };
        let held_at = Instant::now();
        for second in 0..100 {
            assert!(!watch.look(&gate, held_at + GLANCE * second, 1 + u64::from(second / 50)));
        }
        assert_eq!(*gate.state.borrow(), State::Held { reason: HoldReason::Gone, probe_free: false });
    }
}
