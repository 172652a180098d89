//! Instants as the vendor writes them. All instants here are milliseconds since 1970, UTC.

use std::time::{SystemTime, UNIX_EPOCH};

use jiff::Timestamp;

/// The present.
pub(crate) fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

/// `2026-11-24T13:30:05.123Z`, as v3 rows carry it.
pub(crate) fn iso_ms(ms: i64) -> String {
    format!("{:.3}", stamp(ms))
}

/// `2026-11-24T13:30:05Z`, as webhooks carry it: cut, not rounded.
pub(crate) fn iso_s(ms: i64) -> String {
    format!("{:.0}", stamp(ms.div_euclid(1000) * 1000))
}

/// `2026-11-24`.
pub(crate) fn iso_date(ms: i64) -> String {
    iso_s(ms).chars().take(10).collect()
}

/// `11/24/2026`, as offers in webhooks carry their start date.
pub(crate) fn us_date(date: &str) -> String {
    let mut parts = date.split('-');
    match (parts.next(), parts.next(), parts.next()) {
        (Some(year), Some(month), Some(day)) => format!("{month}/{day}/{year}"),
        _ => date.to_owned(),
    }
}

/// Reads an ISO 8601 instant with a zone.
pub(crate) fn parse_ms(text: &str) -> Option<i64> {
    text.parse::<Timestamp>().ok().map(|stamp| stamp.as_millisecond())
}

fn stamp(ms: i64) -> Timestamp {
    Timestamp::from_millisecond(ms).unwrap_or(Timestamp::UNIX_EPOCH)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instants_are_written_as_the_vendor_writes_them() {
        assert_eq!(iso_ms(1_700_000_000_007), "2023-11-14T22:13:20.007Z");
        assert_eq!(iso_s(1_700_000_000_999), "2023-11-14T22:13:20Z");
        assert_eq!(iso_date(1_700_000_000_999), "2023-11-14");
        assert_eq!(us_date("2023-11-14"), "11/14/2023");
        assert_eq!(parse_ms("2023-11-14T22:13:20.007Z"), Some(1_700_000_000_007));
    }
}
