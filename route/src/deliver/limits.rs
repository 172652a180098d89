//! What a sink may be asked of in a time: attempts, failures in a row, dead letters.
//!
//! In: the moments of what happened. Out: how long to wait, whether it is enough. Each sink has its own.

use std::collections::{HashSet, VecDeque};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;
use uuid::Uuid;

/// How often a sink may be called.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RateLimit {
    pub(crate) attempts: u32,
    pub(crate) per: Duration,
}

/// Spaces attempts evenly, so that no window of `per` has more than the limit but by [`SLACK`].
pub(crate) struct Pace {
    interval: Duration,
    next: Mutex<Option<Instant>>,
}

/// What a late start may catch up: timers are not finer than a millisecond.
const SLACK: Duration = Duration::from_millis(20);

impl Pace {
    pub(crate) fn new(limit: Option<RateLimit>) -> Self {
        let interval = limit.map_or(Duration::ZERO, |limit| limit.per / limit.attempts.max(1));
        Self { interval, next: Mutex::new(None) }
    }

    /// How long the next attempt must wait.
    pub(crate) fn wait(&self, now: Instant) -> Duration {
        let next = *self.next.lock().unwrap_or_else(PoisonError::into_inner);
        next.map_or(Duration::ZERO, |next| next.saturating_duration_since(now))
    }

    /// An attempt begins.
    pub(crate) fn begin(&self, now: Instant) {
        if self.interval.is_zero() {
            return;
        }
        let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
        let earliest = now.checked_sub(SLACK).unwrap_or(now);
        *next = Some(next.unwrap_or(now).max(earliest) + self.interval);
    }
}

/// The circuit breaker's count: deliveries that failed since the last one that did not. A delivery counts once, however
/// often it is tried, so that one that always fails does not stop the others.
pub(crate) struct Breaker {
    limit: usize,
    failing: Mutex<HashSet<Uuid>>,
}

impl Breaker {
    pub(crate) fn new(limit: usize) -> Self {
        Self { limit, failing: Mutex::default() }
    }

    /// True when these are enough.
    pub(crate) fn failed(&self, key: Uuid) -> bool {
        let mut failing = self.failing.lock().unwrap_or_else(PoisonError::into_inner);
        if failing.len() < self.limit {
            failing.insert(key);
        }
        failing.len() >= self.limit
    }

    pub(crate) fn answered(&self) {
        self.failing.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

/// How many dead letters a sink may have within a time.
#[derive(Debug, Clone, Copy)]
pub(crate) struct FloodLimit {
    pub(crate) most: usize,
    pub(crate) within: Duration,
}

/// The dead letters of a sink within the limit's time.
pub(crate) struct Flood {
    limit: FloodLimit,
    put: Mutex<VecDeque<Instant>>,
}

impl Flood {
    pub(crate) fn new(limit: FloodLimit) -> Self {
        Self { limit, put: Mutex::default() }
    }

    /// Whether one more may be put; if so it counts.
    pub(crate) fn admit(&self, now: Instant) -> bool {
        let mut put = self.put.lock().unwrap_or_else(PoisonError::into_inner);
        while put.front().is_some_and(|at| now.saturating_duration_since(*at) >= self.limit.within) {
            put.pop_front();
        }
        let admitted = put.len() < self.limit.most;
        if admitted {
            put.push_back(now);
        }
        admitted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn attempts_are_spaced_evenly_and_a_pause_saves_up_nothing() {
        let pace = Pace::new(Some(RateLimit { attempts: 10, per: SECOND }));
        let start = Instant::now();
        let mut now = start;
        for _ in 0..10 {
            assert_eq!(pace.wait(now), Duration::ZERO);
            pace.begin(now);
            assert_eq!(pace.wait(now), SECOND / 10);
            now += SECOND / 10;
        }
        now += 100 * SECOND;
        pace.begin(now);
        assert_eq!(pace.wait(now), SECOND / 10 - SLACK, "a pause is no credit but for the slack");
        let free = Pace::new(None);
        free.begin(now);
        assert_eq!(free.wait(now), Duration::ZERO);
    }

    #[test]
    fn the_breaker_counts_deliveries_and_not_their_attempts() {
        let breaker = Breaker::new(2);
        let (one, two) = (Uuid::from_u128(1), Uuid::from_u128(2));
        assert!(![one, one, one].map(|key| breaker.failed(key)).contains(&true));
        breaker.answered();
        assert!(!breaker.failed(one));
        assert!(breaker.failed(two));
        assert!(breaker.failed(one));
    }

    #[test]
    fn dead_letters_are_counted_within_the_limits_time() {
        let flood = Flood::new(FloodLimit { most: 2, within: SECOND });
        let start = Instant::now();
        assert_eq!([0, 300, 600].map(|at| flood.admit(start + Duration::from_millis(at))), [true, true, false]);
        assert!(flood.admit(start + SECOND), "the first one is past");
        assert!(!flood.admit(start + SECOND));
    }
}
