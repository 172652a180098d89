//! The text of one scalar → its encoding in the target's type, or why it cannot be that.

use super::emit::Outcome;
use super::source::{is_blank, kind_name};
use crate::avro::{put_bytes, put_decimal, put_long};
use crate::decimal::{DecimalError, unscaled};
use crate::json::Kind;
use crate::plan::{Convert, TextRule};
use crate::time::Format;
use crate::{RejectCode, time};

pub(super) type ScalarError = (RejectCode, String);

/// Writes `text` in the target's form. Blank text is null for everything but texts.
pub(super) fn put_scalar(
    text: &str,
    kind: Kind,
    convert: &Convert,
    outside: bool,
    out: &mut Vec<u8>,
) -> Result<Outcome, ScalarError> {
    let wrong_kind = || Err((RejectCode::UnexpectedType, expected(kind, convert)));
    let is_boolean = matches!(kind, Kind::True | Kind::False);
    if is_boolean && !matches!(convert, Convert::Boolean) {
        return wrong_kind();
    }
    if let Convert::Text(rule) = convert {
        return Ok(put_text(text, *rule, out));
    }
    if is_blank(text) {
        return Ok(Outcome::Null);
    }
    let unreadable = |what: &str| (RejectCode::UnreadableValue, what.to_owned());
    match convert {
        Convert::Text(_) => {}
        Convert::Bytes => put_bytes(text.as_bytes(), out),
        Convert::Boolean => match text {
            "true" if is_boolean || outside => out.push(1),
            "false" if is_boolean || outside => out.push(0),
            _ => return wrong_kind(),
        },
        Convert::Int | Convert::Long => {
            let number = unscaled(text, 19, 0).map_err(|error| match error {
                DecimalError::NotANumber => unreadable("not a number"),
                DecimalError::TooFine => unreadable("not a whole number"),
                DecimalError::TooLarge => (RejectCode::OutOfRange, "too large a number".to_owned()),
            })?;
            let limit = if matches!(convert, Convert::Int) { i128::from(i32::MAX) } else { i128::from(i64::MAX) };
            let number = i64::try_from(number).ok().filter(|_| number <= limit && number >= -limit - 1);
            put_long(number.ok_or_else(|| (RejectCode::OutOfRange, "too large a number".to_owned()))?, out);
        }
        Convert::Float => {
            let number: f32 = text.trim().parse().map_err(|_| unreadable("not a number"))?;
            out.extend_from_slice(&number.to_le_bytes());
        }
        Convert::Double => {
            let number: f64 = text.trim().parse().map_err(|_| unreadable("not a number"))?;
            out.extend_from_slice(&number.to_le_bytes());
        }
        Convert::Date(formats) => {
            let found = formats.iter().find_map(|format| time::date(text, *format));
            put_long(found.ok_or_else(|| unreadable(wanted(formats)))?.into(), out);
        }
        Convert::Micros(formats) => {
            let found = formats.iter().find_map(|format| time::instant(text, *format));
            put_long(found.ok_or_else(|| unreadable(wanted(formats)))?, out);
        }
        Convert::Millis(formats) => {
            let found = formats.iter().find_map(|format| time::instant(text, *format));
            put_long(found.ok_or_else(|| unreadable(wanted(formats)))?.div_euclid(1_000), out);
        }
        Convert::Decimal { precision, scale } => {
            let value = unscaled(text, *precision, *scale).map_err(|error| match error {
                DecimalError::NotANumber => unreadable("not a number"),
                DecimalError::TooFine => (RejectCode::OutOfRange, format!("more than {scale} digits behind the point")),
                DecimalError::TooLarge => (RejectCode::OutOfRange, "too large a number".to_owned()),
            })?;
            put_decimal(value, out);
        }
    }
    Ok(Outcome::Written)
}

fn wanted(formats: &[Format]) -> &'static str {
    formats.first().map_or("not readable", |format| format.wanted())
}

fn put_text(text: &str, rule: TextRule, out: &mut Vec<u8>) -> Outcome {
    if rule.blank_is_null && is_blank(text) {
        return Outcome::Null;
    }
    let trimmed = if rule.trim { text.trim() } else { text };
    if rule.strip_html {
        put_bytes(strip_html(trimmed).as_bytes(), out);
    } else {
        put_bytes(trimmed.as_bytes(), out);
    }
    Outcome::Written
}

/// The text of HTML: tags become nothing, the five named entities and `&nbsp;` their letters.
fn strip_html(html: &str) -> String {
    let mut text = String::with_capacity(html.len());
    let mut rest = html;
    while let Some((before, tag)) = rest.split_once('<') {
        text.push_str(before);
        rest = tag.split_once('>').map_or("", |(_, after)| after);
    }
    text.push_str(rest);
    for (entity, letter) in
        [("&nbsp;", " "), ("&lt;", "<"), ("&gt;", ">"), ("&quot;", "\""), ("&#39;", "'"), ("&amp;", "&")]
    {
        if text.contains(entity) {
            text = text.replace(entity, letter);
        }
    }
    text.trim().to_owned()
}

pub(super) fn expected(kind: Kind, convert: &Convert) -> String {
    let wanted = match convert {
        Convert::Text(_) | Convert::Bytes => "a text",
        Convert::Int | Convert::Long => "a whole number",
        Convert::Float | Convert::Double | Convert::Decimal { .. } => "a number",
        Convert::Boolean => "true or false",
        Convert::Date(_) => "a date",
        Convert::Millis(_) | Convert::Micros(_) => "a time",
    };
    format!("{} where {wanted} is expected", kind_name(kind))
}
