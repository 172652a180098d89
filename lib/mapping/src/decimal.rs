//! The text of a number → the unscaled value of a decimal, exactly; no float on the way.

/// Why a text is not the decimal that was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DecimalError {
    NotANumber,
    /// More digits behind the point than the target holds: nothing is rounded in silence.
    TooFine,
    TooLarge,
}

/// `text` times 10^`scale`, at most `precision` digits. Accepts what JSON calls a number, and a leading `+`.
pub(crate) fn unscaled(text: &str, precision: usize, scale: u32) -> Result<i128, DecimalError> {
    let text = text.trim();
    let (negative, digits) = match text.strip_prefix(['-', '+']) {
        Some(rest) => (text.starts_with('-'), rest),
        None => (false, text),
    };
    let (mantissa, exponent) = match digits.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, exponent.parse::<i64>().map_err(|_| DecimalError::NotANumber)?),
        None => (digits, 0),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let all_digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    if whole.len() + fraction.len() == 0 || !all_digits(whole) || !all_digits(fraction) {
        return Err(DecimalError::NotANumber);
    }
    let mut value = 0_i128;
    for digit in whole.bytes().chain(fraction.bytes()) {
        value = value
            .checked_mul(10)
            .and_then(|value| value.checked_add(i128::from(digit - b'0')))
            .ok_or(DecimalError::TooLarge)?;
    }
    let fraction_digits = i64::try_from(fraction.len()).unwrap_or(i64::MAX);
    let mut shift = i64::from(scale).saturating_add(exponent).saturating_sub(fraction_digits);
    while value != 0 && shift < 0 {
        if value % 10 != 0 {
            return Err(DecimalError::TooFine);
        }
        value /= 10;
        shift += 1;
    }
    while value != 0 && shift > 0 {
        value = value.checked_mul(10).ok_or(DecimalError::TooLarge)?;
        shift -= 1;
    }
    let limit = 10_i128.checked_pow(u32::try_from(precision).unwrap_or(38).min(38));
    if limit.is_some_and(|limit| value >= limit) {
        return Err(DecimalError::TooLarge);
    }
    Ok(if negative { -value } else { value })
}

/// The decimal as text, with exactly `scale` digits behind the point.
pub(crate) fn show(unscaled: i128, scale: u32) -> String {
    let digits = unscaled.unsigned_abs().to_string();
    let scale = scale as usize;
    let padded = format!("{digits:0>width$}", width = scale + 1);
    let (whole, fraction) = padded.split_at(padded.len() - scale);
    let sign = if unscaled < 0 { "-" } else { "" };
    if fraction.is_empty() { format!("{sign}{whole}") } else { format!("{sign}{whole}.{fraction}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_become_exact_decimals_or_say_why_not() {
        for (text, value) in [
            ("80000", Ok(800_000_000)),
            ("10000.0", Ok(100_000_000)),
            ("-0.1", Ok(-1_000)),
            ("8e4", Ok(800_000_000)),
            ("1.50E-2", Ok(150)),
            ("0e999999999999", Ok(0)),
            ("0.00001", Err(DecimalError::TooFine)),
            ("1e40", Err(DecimalError::TooLarge)),
            ("123456789012345678", Err(DecimalError::TooLarge)),
            ("", Err(DecimalError::NotANumber)),
            (".", Err(DecimalError::NotANumber)),
            ("1,000", Err(DecimalError::NotANumber)),
            ("80 000", Err(DecimalError::NotANumber)),
        ] {
            assert_eq!(unscaled(text, 18, 4), value, "{text}");
        }
        assert_eq!(show(800_000_000, 4), "80000.0000");
        assert_eq!(show(-5, 2), "-0.05");
        assert_eq!(show(7, 0), "7");
    }
}
