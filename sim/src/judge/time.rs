//! Whether what the ledger says of a change's time can be true.
//!
//! In: the true instant in milliseconds, an entry's time with its precision and bounds in microseconds. Out: what is
//! wrong, in words. A time in whole seconds may come from a payload that writes no more: it stands for its second.

use super::ledger::LedgerEntry;

/// `None`: it fits.
pub(super) fn lie(truth_ms: i64, entry: &LedgerEntry) -> Option<&'static str> {
    let Some(at) = entry.occurred_at_micros else { return Some("no time") };
    let at = at.div_euclid(1000);
    match entry.precision.as_str() {
        "EXACT" if !is(truth_ms, at) => return Some("an exact time that is another"),
        "BOUNDED" if entry.not_before_micros.is_none() && entry.not_after_micros.is_none() => {
            return Some("bounded, and without a bound");
        }
        // Seen before it happened.
        "OBSERVED" if at < truth_ms && !is(truth_ms, at) => return Some("observed before it happened"),
        "EXACT" | "BOUNDED" | "OBSERVED" => {}
        _ => return Some("a time of unknown worth"),
    }
    let below = entry.not_before_micros.map(|bound| bound.div_euclid(1000));
    let above = entry.not_after_micros.map(|bound| bound.div_euclid(1000));
    if below.is_some_and(|bound| truth_ms < bound) {
        return Some("it happened before `not_before`");
    }
    if above.is_some_and(|bound| truth_ms > bound && !is(truth_ms, bound)) {
        return Some("it happened after `not_after`");
    }
    if below.is_some_and(|bound| at < bound) || above.is_some_and(|bound| at > bound) {
        return Some("its time is outside of its own bounds");
    }
    None
}

/// Whether `told` is the true instant in the resolution in which it was told.
fn is(truth_ms: i64, told: i64) -> bool {
    told == truth_ms || (told % 1000 == 0 && told == truth_ms.div_euclid(1000) * 1000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_held_against_the_truth_in_the_resolution_in_which_they_were_told() {
        // The truth is 5,250 ms; times and bounds in ms.
        let cases = [
            ("EXACT", Some(5_250), None, None, true),
            ("EXACT", Some(5_000), Some(5_000), Some(5_000), true),
            ("EXACT", Some(5_251), None, None, false),
            ("EXACT", Some(6_000), None, None, false),
            ("EXACT", None, None, None, false),
            ("BOUNDED", Some(5_000), Some(5_000), Some(6_000), true),
            ("BOUNDED", Some(5_100), Some(4_000), Some(5_100), false),
            ("BOUNDED", Some(6_000), Some(5_251), Some(7_000), false),
            ("BOUNDED", Some(5_000), None, Some(5_000), true),
            ("BOUNDED", Some(5_000), None, None, false),
            ("BOUNDED", Some(7_000), Some(5_000), Some(6_000), false),
            ("BOUNDED", Some(4_000), Some(5_000), Some(6_000), false),
            ("OBSERVED", Some(9_001), None, None, true),
            ("OBSERVED", Some(5_100), None, None, false),
            ("OBSERVED", Some(9_001), Some(4_000), Some(9_001), true),
            ("OBSERVED", Some(9_001), Some(6_000), Some(9_001), false),
            ("UNKNOWN", Some(5_250), None, None, false),
        ];
        for (precision, at, not_before, not_after, fits) in cases {
            let micros = |ms: Option<i64>| ms.map(|ms| ms * 1000);
            let entry = LedgerEntry {
                precision: precision.to_owned(),
                occurred_at_micros: micros(at),
                not_before_micros: micros(not_before),
                not_after_micros: micros(not_after),
                ..LedgerEntry::default()
            };
            assert_eq!(lie(5_250, &entry).is_none(), fits, "{precision} {at:?} {not_before:?} {not_after:?}");
        }
    }
}
