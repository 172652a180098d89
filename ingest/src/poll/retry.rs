//! How long to wait: after a failure, for a limit, for what the vendor says. Pure but for the dice.

use std::time::Duration;

use axum::http::HeaderMap;
use jiff::Timestamp;
use jiff::fmt::rfc2822::DateTimeParser;

use super::failure::{Failure, Remedy};
use crate::connection::Poll;
use crate::manifest::RateLimit;

/// No answer may make us wait longer: it is looked at again then.
const LONGEST: Duration = Duration::from_secs(15 * 60);

/// Attempts that failed in a row, and limits that were hit in a row.
#[derive(Debug, Default)]
pub(super) struct Tries {
    failures: u32,
    limits: u32,
}

impl Tries {
    /// How long to wait before what failed is tried again; `None`: it is not, or was tried often enough.
    pub(super) fn pause(&mut self, failure: &Failure, poll: &Poll) -> Option<Duration> {
        match failure.remedy() {
            Remedy::Again => {
                self.failures += 1;
                let pause = back_off(self.failures, poll.retry_first, poll.retry_most);
                (self.failures < poll.attempts).then(|| failure.wait().unwrap_or_default().max(pause))
            }
            Remedy::AgainLater => {
                self.limits += 1;
                let pause = back_off(self.limits, poll.retry_first, poll.retry_most);
                Some(failure.wait().map_or(pause, |wait| wait + pause.mul_f64(0.1)))
            }
            Remedy::Restart | Remedy::NextList | Remedy::NextRound | Remedy::Stop => None,
        }
    }

    /// Something was read since.
    pub(super) fn went_on(&mut self) {
        *self = Self::default();
    }
}

/// The pause before attempt `failures` + 1: doubled each time up to `most`, with half of it by chance, so that many
/// pollers do not come back at once.
fn back_off(failures: u32, first: Duration, most: Duration) -> Duration {
    let full =
        first.saturating_mul(1_u32.checked_shl(failures.saturating_sub(1).min(20)).unwrap_or(u32::MAX)).min(most);
    full.div_f64(2.0) + full.mul_f64(fastrand::f64() / 2.0)
}

/// `Retry-After` in seconds or as a date (RFC 9110 section 10.2.3).
pub(super) fn retry_after(headers: &HeaderMap, vendor_now: Timestamp) -> Option<Duration> {
    let text = headers.get("retry-after")?.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse() {
        return bounded(seconds);
    }
    until(http_date(text)?, vendor_now)
}

/// The wait until the limit starts anew, if `headers` say that nothing is left, or whenever it is `exceeded`.
pub(super) fn limit_wait(
    limit: &RateLimit,
    headers: &HeaderMap,
    vendor_now: Timestamp,
    exceeded: bool,
) -> Option<Duration> {
    let number = |name: &Option<String>| headers.get(name.as_ref()?)?.to_str().ok()?.trim().parse::<f64>().ok();
    let spent = exceeded || number(&limit.remaining).is_some_and(|remaining| remaining < 1.0);
    if !spent {
        return None;
    }
    if let Some(seconds) = number(&limit.reset_after) {
        return bounded(seconds);
    }
    let reset = Timestamp::from_second(number(&limit.reset_epoch)?.ceil() as i64).ok()?;
    until(reset, vendor_now)
}

/// So many seconds, as far as any answer may make us wait; `None` for a number that is none, or below zero.
fn bounded(seconds: f64) -> Option<Duration> {
    Duration::try_from_secs_f64(seconds).ok().map(|wait| wait.min(LONGEST))
}

/// The vendor's clock, by the `Date` header of an answer.
pub(super) fn date(headers: &HeaderMap) -> Option<Timestamp> {
    http_date(headers.get("date")?.to_str().ok()?)
}

/// `Sunset` (RFC 8594): from when on the address will not be answered any more.
pub(super) fn sunset(headers: &HeaderMap) -> Option<Timestamp> {
    http_date(headers.get("sunset")?.to_str().ok()?.trim())
}

fn http_date(text: &str) -> Option<Timestamp> {
    DateTimeParser::new().parse_timestamp(text).ok()
}

fn until(then: Timestamp, now: Timestamp) -> Option<Duration> {
    Some(Duration::try_from(then.duration_since(now)).unwrap_or(Duration::ZERO).min(LONGEST))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect()
    }

    fn now() -> Timestamp {
        "1994-11-06T08:49:37Z".parse().unwrap()
    }

    #[test]
    fn retry_after_is_read_in_both_forms() {
        let wait = |value| retry_after(&headers(&[("retry-after", value)]), now());
        assert_eq!(wait("7"), Some(Duration::from_secs(7)));
        assert_eq!(wait("0.5"), Some(Duration::from_millis(500)));
        assert_eq!(wait("Sun, 06 Nov 1994 08:50:07 GMT"), Some(Duration::from_secs(30)));
        assert_eq!(wait("Sun, 06 Nov 1994 08:49:07 GMT"), Some(Duration::ZERO), "past");
        assert_eq!(wait("999999999"), Some(LONGEST));
        for nonsense in ["soon", "-3", "NaN", ""] {
            assert_eq!(wait(nonsense), None, "{nonsense}");
        }
    }

    #[test]
    fn a_sunset_is_a_date_or_nothing() {
        let told = |value| sunset(&headers(&[("sunset", value)]));
        assert_eq!(told("Sun, 06 Nov 1994 08:49:37 GMT"), Some(now()));
        assert_eq!(told("next year"), None);
        assert_eq!(sunset(&headers(&[])), None);
    }

    #[test]
    fn a_spent_limit_waits_for_its_reset_and_an_unspent_one_does_not() {
        let limit =
            RateLimit { remaining: Some("left".into()), reset_epoch: Some("reset".into()), ..RateLimit::default() };
        let reset = (now().as_second() + 12).to_string();
        let wait = |left, exceeded| limit_wait(&limit, &headers(&[("left", left), ("reset", &reset)]), now(), exceeded);
        assert_eq!(wait("0", false), Some(Duration::from_secs(12)));
        assert_eq!(wait("3", false), None);
        assert_eq!(wait("3", true), Some(Duration::from_secs(12)));
        assert_eq!(limit_wait(&limit, &headers(&[("left", "0")]), now(), false), None);
    }

    #[test]
    fn a_limit_may_name_the_seconds_that_are_left() {
        let limit =
            RateLimit { remaining: Some("left".into()), reset_after: Some("reset".into()), ..RateLimit::default() };
        let wait =
            |left, reset, exceeded| limit_wait(&limit, &headers(&[("left", left), ("reset", reset)]), now(), exceeded);
        assert_eq!(wait("0", "7", false), Some(Duration::from_secs(7)));
        assert_eq!(wait("0", " 0.5", false), Some(Duration::from_millis(500)));
        assert_eq!(wait("0", "999999999", false), Some(LONGEST), "an instant, taken for seconds");
        assert_eq!(wait("3", "7", false), None);
        assert_eq!(wait("3", "7", true), Some(Duration::from_secs(7)));
        for nonsense in ["soon", "-3", "NaN", ""] {
            assert_eq!(wait("0", nonsense, false), None, "{nonsense}");
        }
    }

    #[test]
    fn the_pause_doubles_up_to_its_bound_and_is_never_without_chance() {
        let (first, most) = (Duration::from_millis(100), Duration::from_millis(900));
        for (failures, full) in [(1, 100), (2, 200), (3, 400), (4, 800), (5, 900), (400, 900)] {
            for _ in 0..50 {
                let pause = back_off(failures, first, most).as_millis();
                assert!((full / 2..=full).contains(&pause), "{failures}: {pause}");
            }
        }
    }
}
