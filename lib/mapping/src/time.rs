//! Texts and numbers → instants in microseconds and dates in days, both since 1970-01-01 UTC.
//!
//! A closed list of formats. More than six digits of a second are cut, never rounded. No time zone is ever guessed.

/// How a source writes a time or date.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    /// `2015-02-09T16:38:36Z`, fractions and offsets allowed.
    Rfc3339,
    /// `2015-02-09`: as an instant, midnight UTC. A zone behind it (`2015-02-09-07:00`, dates of XML Schema) says whose
    /// day it is and changes nothing.
    Date,
    /// `02/09/2015`: month, day, year.
    UsDate,
    EpochSeconds,
    EpochMillis,
}

pub(crate) const FORMATS: [(&str, Format); 5] = [
    ("rfc3339", Format::Rfc3339),
    ("date", Format::Date),
    ("us_date", Format::UsDate),
    ("epoch_s", Format::EpochSeconds),
    ("epoch_ms", Format::EpochMillis),
];

impl Format {
    /// For messages of dead letters.
    pub(crate) fn wanted(self) -> &'static str {
        match self {
            Self::Rfc3339 => "not an RFC 3339 time",
            Self::Date => "not a YYYY-MM-DD date",
            Self::UsDate => "not a MM/DD/YYYY date",
            Self::EpochSeconds => "not seconds since 1970",
            Self::EpochMillis => "not milliseconds since 1970",
        }
    }
}

const DAY_MICROS: i64 = 86_400_000_000;

/// Microseconds since 1970.
pub(crate) fn instant(text: &str, format: Format) -> Option<i64> {
    match format {
        Format::Rfc3339 => rfc3339(text.as_bytes()),
        Format::Date => zoned_date(text.as_bytes()).map(|days| days * DAY_MICROS),
        Format::UsDate => us_date(text.as_bytes()).map(|days| days * DAY_MICROS),
        Format::EpochSeconds => text.parse::<i64>().ok()?.checked_mul(1_000_000),
        Format::EpochMillis => text.parse::<i64>().ok()?.checked_mul(1_000),
    }
}

/// Days since 1970. Of an instant: its day in UTC.
pub(crate) fn date(text: &str, format: Format) -> Option<i32> {
    let days = match format {
        Format::Date => zoned_date(text.as_bytes())?,
        Format::UsDate => us_date(text.as_bytes())?,
        Format::Rfc3339 | Format::EpochSeconds | Format::EpochMillis => instant(text, format)?.div_euclid(DAY_MICROS),
    };
    i32::try_from(days).ok()
}

fn rfc3339(text: &[u8]) -> Option<i64> {
    let (day, rest) = text.split_at_checked(10)?;
    let days = iso_date(day)?;
    let (separator, rest) = rest.split_first()?;
    if !matches!(separator, b'T' | b't' | b' ') {
        return None;
    }
    let (clock, mut rest) = rest.split_at_checked(8)?;
    let [h1, h2, b':', m1, m2, b':', s1, s2] = clock else { return None };
    let (hour, minute, second) = (number(&[*h1, *h2])?, number(&[*m1, *m2])?, number(&[*s1, *s2])?);
    // A leap second is the last one of its minute.
    if hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    let mut micros = 0;
    if let Some(fraction) = rest.strip_prefix(b".") {
        let digits = fraction.iter().take_while(|byte| byte.is_ascii_digit()).count();
        if digits == 0 {
            return None;
        }
        let padded = fraction[..digits].iter().chain([b'0'; 6].iter());
        micros = padded.take(6).fold(0, |micros, digit| micros * 10 + i64::from(digit - b'0'));
        rest = &fraction[digits..];
    }
    let offset_minutes = match rest {
        b"Z" | b"z" => 0,
        [sign @ (b'+' | b'-'), h1, h2, b':', m1, m2] => {
            let (hours, minutes) = (number(&[*h1, *h2])?, number(&[*m1, *m2])?);
            if hours > 23 || minutes > 59 {
                return None;
            }
            (hours * 60 + minutes) * if *sign == b'-' { -1 } else { 1 }
        }
        _ => return None,
    };
    let seconds = days * 86_400 + hour * 3_600 + (minute - offset_minutes) * 60 + second.min(59);
    Some(seconds * 1_000_000 + micros)
}

fn zoned_date(text: &[u8]) -> Option<i64> {
    let (day, zone) = text.split_at_checked(10)?;
    let good = match zone {
        b"" | b"Z" => true,
        [b'+' | b'-', hours @ .., b':', m1, m2] if hours.len() == 2 => {
            number(hours).is_some_and(|hours| hours < 15) && number(&[*m1, *m2]).is_some_and(|minutes| minutes < 60)
        }
        _ => false,
    };
    iso_date(day).filter(|_| good)
}

fn iso_date(text: &[u8]) -> Option<i64> {
    let [y1, y2, y3, y4, b'-', m1, m2, b'-', d1, d2] = text else { return None };
    days(number(&[*y1, *y2, *y3, *y4])?, number(&[*m1, *m2])?, number(&[*d1, *d2])?)
}

fn us_date(text: &[u8]) -> Option<i64> {
    let [m1, m2, b'/', d1, d2, b'/', y1, y2, y3, y4] = text else { return None };
    days(number(&[*y1, *y2, *y3, *y4])?, number(&[*m1, *m2])?, number(&[*d1, *d2])?)
}

fn number(digits: &[u8]) -> Option<i64> {
    digits.iter().try_fold(0, |value, digit| digit.is_ascii_digit().then(|| value * 10 + i64::from(digit - b'0')))
}

/// Days since 1970 of a date of the proleptic Gregorian calendar; `None` if there is no such day.
pub(crate) fn days(year: i64, month: i64, day: i64) -> Option<i64> {
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let last = match month {
        1 | 3 | 5 | 7 | 8 | 10 | 12 => 31,
        4 | 6 | 9 | 11 => 30,
        2 => 28 + i64::from(leap),
        _ => return None,
    };
    if day < 1 || day > last {
        return None;
    }
    // Years that begin in March put the leap day last.
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * month + 2) / 5 + day - 1;
    Some(era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468)
}

/// The date of a day: (year, month, day).
pub(crate) fn civil(days: i64) -> (i64, i64, i64) {
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day = shifted.rem_euclid(146_097);
    let year_of_era = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day_of_year = day - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * day_of_year + 2) / 153;
    let year = year_of_era + era * 400 + i64::from(month >= 10);
    (year, if month < 10 { month + 3 } else { month - 9 }, day_of_year - (153 * month + 2) / 5 + 1)
}

/// `YYYY-MM-DD`.
pub(crate) fn show_date(days: i64) -> String {
    let (year, month, day) = civil(days);
    format!("{year:04}-{month:02}-{day:02}")
}

/// RFC 3339 in UTC, with as many digits of a second as the instant has (0, 3 or 6).
pub(crate) fn show_instant(micros: i64) -> String {
    let mut text = String::new();
    write_instant(micros, &mut text);
    text
}

/// The same at the end of `out`.
pub(crate) fn write_instant(micros: i64, out: &mut String) {
    use std::fmt::Write as _;
    let (days, rest) = (micros.div_euclid(DAY_MICROS), micros.rem_euclid(DAY_MICROS));
    let (year, month, day) = civil(days);
    let (seconds, fraction) = (rest / 1_000_000, rest % 1_000_000);
    let (hour, minute, second) = (seconds / 3_600, seconds / 60 % 60, seconds % 60);
    // Writing into a String cannot fail.
    let _always = write!(out, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}").is_ok();
    let _always = match fraction {
        0 => true,
        _ if fraction % 1_000 == 0 => write!(out, ".{:03}", fraction / 1_000).is_ok(),
        _ => write!(out, ".{fraction:06}").is_ok(),
    };
    out.push('Z');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agrees_with_jiff_over_four_centuries() {
        for day in (-150_000..150_000_i64).step_by(37) {
            let text = show_date(day);
            assert_eq!(date(&text, Format::Date).map(i64::from), Some(day));
            let micros = day * DAY_MICROS + (day.rem_euclid(86_400) * 1_000_003);
            let text = show_instant(micros);
            assert_eq!(instant(&text, Format::Rfc3339), Some(micros), "{text}");
            let jiff: jiff::Timestamp = text.parse().unwrap();
            assert_eq!(jiff.as_microsecond(), micros, "{text}");
        }
    }

    #[test]
    fn every_format_reads_its_own_and_nothing_else() {
        assert_eq!(instant("2015-02-09T16:38:36Z", Format::Rfc3339), Some(1_423_499_916_000_000));
        assert_eq!(instant("2015-02-09T16:38:36.123456789+02:00", Format::Rfc3339), Some(1_423_492_716_123_456));
        assert_eq!(date("04/15/2013", Format::UsDate), date("2013-04-15", Format::Date));
        assert_eq!(instant("1423499916000", Format::EpochMillis), Some(1_423_499_916_000_000));
        for text in ["2015-02-09T16:38:36", "2015-02-30", "2015-2-9", "2015-02-09T24:00:00Z", "", "2015-02-09T16:38Z"] {
            assert_eq!(instant(text, Format::Rfc3339), None, "{text}");
        }
        assert_eq!(date("2015-02-30", Format::Date), None);
        for zone in ["Z", "-07:00", "+14:00"] {
            assert_eq!(date(&format!("1960-01-01{zone}"), Format::Date), date("1960-01-01", Format::Date), "{zone}");
        }
        for wrong in ["T00:00:00Z", "z", "-7:00", "+15:00", "-07:60", " "] {
            assert_eq!(date(&format!("1960-01-01{wrong}"), Format::Date), None, "{wrong}");
        }
        assert_eq!(date("2016-02-29", Format::Date).map(|day| show_date(day.into())), Some("2016-02-29".to_owned()));
        assert_eq!(date("2100-02-29", Format::Date), None);
    }
}
