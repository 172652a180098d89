//! How long to wait before the next attempt: exponential with full jitter, and what the receiver asked for.

use std::time::Duration;

/// Settings of a sink's retries.
#[derive(Debug, Clone)]
pub(crate) struct Retry {
    /// The most that the first wait can be; doubles with each attempt.
    pub(crate) first: Duration,
    /// The most that any wait can be.
    pub(crate) longest: Duration,
    /// The most that `Retry-After` is believed.
    pub(crate) longest_asked: Duration,
    /// A record that failed for longer than this is a dead letter.
    pub(crate) give_up_after: Duration,
    /// So is one that failed so often.
    pub(crate) attempts: Option<u32>,
}

impl Default for Retry {
    fn default() -> Self {
        Self {
            first: Duration::from_millis(500),
            longest: Duration::from_secs(5 * 60),
            longest_asked: Duration::from_secs(60 * 60),
            give_up_after: Duration::from_secs(24 * 60 * 60),
            attempts: None,
        }
    }
}

impl Retry {
    /// Whether a record is given up that failed so often, the first time so long ago.
    pub(crate) fn is_over(&self, failures: u32, since: Duration) -> bool {
        since >= self.give_up_after || self.attempts.is_some_and(|most| failures >= most)
    }

    /// The wait after the `attempts`-th failed attempt (from 1). `dice` is in 0..1.
    pub(crate) fn wait(&self, attempts: u32, asked: Option<Duration>, dice: f64) -> Duration {
        let ceiling = self.first.saturating_mul(1 << attempts.saturating_sub(1).min(30)).min(self.longest);
        let jittered = ceiling.mul_f64(dice.clamp(0.0, 1.0));
        jittered.max(asked.unwrap_or_default().min(self.longest_asked))
    }
}

/// `Retry-After` in seconds or as a date of RFC 9110; a date that has passed is no wait.
pub(crate) fn retry_after(header: &str, now: jiff::Timestamp) -> Option<Duration> {
    let header = header.trim();
    if let Ok(seconds) = header.parse::<u64>() {
        return Some(Duration::from_secs(seconds));
    }
    let date = jiff::fmt::rfc2822::parse(header).ok()?.timestamp();
    Some(Duration::try_from(date.duration_since(now)).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_the_longest_and_are_jittered_from_zero() {
        let retry = Retry { first: Duration::from_secs(1), longest: Duration::from_secs(10), ..Retry::default() };
        let most = |attempts| retry.wait(attempts, None, 1.0).as_secs();
        assert_eq!([most(1), most(2), most(4), most(5), most(400)], [1, 2, 8, 10, 10]);
        assert_eq!(retry.wait(9, None, 0.0), Duration::ZERO);
    }

    #[test]
    fn a_record_is_given_up_by_age_or_by_attempts() {
        let hour = Duration::from_secs(60 * 60);
        let by_age = Retry { give_up_after: hour, ..Retry::default() };
        assert!(!by_age.is_over(1_000_000, hour / 2) && by_age.is_over(1, hour));
        let by_both = Retry { attempts: Some(3), ..by_age };
        assert_eq!([1, 2, 3, 4].map(|failures| by_both.is_over(failures, hour / 2)), [false, false, true, true]);
        assert!(by_both.is_over(1, hour));
    }

    #[test]
    fn retry_after_is_a_least_wait_with_a_cap() {
        let retry = Retry { longest_asked: Duration::from_secs(60), ..Retry::default() };
        assert_eq!(retry.wait(1, Some(Duration::from_secs(30)), 0.5), Duration::from_secs(30));
        assert_eq!(retry.wait(1, Some(Duration::from_secs(3_000)), 0.5), Duration::from_secs(60));
    }

    #[test]
    fn retry_after_may_be_seconds_or_a_date() {
        let now: jiff::Timestamp = "1994-11-06T08:49:00Z".parse().unwrap();
        assert_eq!(retry_after("120", now), Some(Duration::from_secs(120)));
        assert_eq!(retry_after("Sun, 06 Nov 1994 08:49:37 GMT", now), Some(Duration::from_secs(37)));
        assert_eq!(retry_after("Sun, 06 Nov 1994 08:48:00 GMT", now), Some(Duration::ZERO));
        assert_eq!(retry_after("soon", now), None);
    }
}
