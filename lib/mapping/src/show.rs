//! Avro bytes → JSON text for people: unions unwrapped, instants RFC 3339 UTC, dates YYYY-MM-DD, decimals as text; and what
//! a fact says beside them.

use crate::avro::{read_bytes, read_long};
use crate::shape::Shape;
use crate::{Completeness, Fact, Kinship, decimal, time};

/// A whole record's Avro bytes, without framing → JSON; `None` if the bytes are not of this schema.
#[must_use]
pub fn show_record(schema: &apache_avro::Schema, mut bytes: &[u8]) -> Option<String> {
    let mut out = String::new();
    show(&Shape::of(schema), &mut bytes, &mut out)?;
    bytes.is_empty().then_some(out)
}

/// Appends the JSON of the value at the front of `bytes`; `None` if the bytes are not of this shape.
pub(crate) fn show(shape: &Shape, bytes: &mut &[u8], out: &mut String) -> Option<()> {
    match shape {
        Shape::Boolean => {
            let (byte, rest) = bytes.split_first()?;
            *bytes = rest;
            out.push_str(if *byte == 1 { "true" } else { "false" });
        }
        Shape::Int | Shape::Long => out.push_str(&read_long(bytes)?.to_string()),
        Shape::Float => {
            let (number, rest) = bytes.split_first_chunk::<4>()?;
            *bytes = rest;
            out.push_str(&f32::from_le_bytes(*number).to_string());
        }
        Shape::Double => {
            let (number, rest) = bytes.split_first_chunk::<8>()?;
            *bytes = rest;
            out.push_str(&f64::from_le_bytes(*number).to_string());
        }
        Shape::Text => quote(std::str::from_utf8(read_bytes(bytes)?).ok()?, out),
        Shape::Bytes => quote(&String::from_utf8_lossy(read_bytes(bytes)?), out),
        Shape::Date => quote(&time::show_date(read_long(bytes)?), out),
        Shape::TimestampMillis => quote(&time::show_instant(read_long(bytes)?.checked_mul(1_000)?), out),
        Shape::TimestampMicros => quote(&time::show_instant(read_long(bytes)?), out),
        Shape::Decimal { scale, .. } => {
            let digits = read_bytes(bytes)?;
            let negative = digits.first().is_some_and(|byte| byte & 0x80 != 0);
            let start = if negative { -1_i128 } else { 0 };
            let value = digits.iter().fold(start, |value, byte| (value << 8) | i128::from(*byte));
            quote(&decimal::show(value, *scale), out);
        }
        Shape::Enum(shape) => {
            let index = usize::try_from(read_long(bytes)?).ok()?;
            quote(shape.symbols.get(index)?, out);
        }
        Shape::Coded(shape) => {
            let index = usize::try_from(read_long(bytes)?).ok()?;
            out.push_str("{\"value\":");
            quote(shape.value.symbols.get(index)?, out);
            out.push_str(",\"raw\":");
            show(&shape.raw, bytes, out)?;
            out.push_str(",\"rule\":");
            show(&shape.rule, bytes, out)?;
            out.push('}');
        }
        Shape::Record(record) => {
            for (index, field) in record.fields.iter().enumerate() {
                out.push(if index == 0 { '{' } else { ',' });
                quote(&field.name, out);
                out.push(':');
                show(&field.shape, bytes, out)?;
            }
            out.push('}');
        }
        Shape::Array(items) => {
            out.push('[');
            show_blocks(bytes, out, |bytes, out| show(items, bytes, out))?;
            out.push(']');
        }
        Shape::Map(values) => {
            out.push('{');
            show_blocks(bytes, out, |bytes, out| {
                quote(std::str::from_utf8(read_bytes(bytes)?).ok()?, out);
                out.push(':');
                show(values, bytes, out)
            })?;
            out.push('}');
        }
        Shape::Nullable(union) => {
            if read_long(bytes)? == union.null {
                out.push_str("null");
            } else {
                show(&union.inner, bytes, out)?;
            }
        }
        Shape::Unsupported(_) => return None,
    }
    Some(())
}

/// The items of an array's or map's blocks, with commas between them.
fn show_blocks(
    bytes: &mut &[u8],
    out: &mut String,
    mut one: impl FnMut(&mut &[u8], &mut String) -> Option<()>,
) -> Option<()> {
    let mut first = true;
    loop {
        let count = read_long(bytes)?;
        if count == 0 {
            return Some(());
        }
        for _ in 0..count {
            if !std::mem::take(&mut first) {
                out.push(',');
            }
            one(bytes, out)?;
        }
    }
}

/// What a fact says beside its fields: who makes it, whose partition it belongs to, and since when it is true by the
/// source's clock; in the words of a mapping.
pub(crate) fn show_fact(fact: &Fact<'_>) -> String {
    let mut out = String::from("{\"rule\":");
    quote(fact.rule, &mut out);
    if let Some(element) = fact.element {
        out.push_str(",\"row\":");
        quote(&[element.group, element.row_id].join("/"), &mut out);
    }
    out.push_str(",\"owner\":");
    match (fact.owner, fact.kinship) {
        (Some((record, id)), kinship) => {
            let foreign = kinship == Kinship::Foreign;
            out.push_str(if foreign { "{\"foreign\":{" } else { "{" });
            quote(record, &mut out);
            out.push(':');
            quote(id, &mut out);
            out.push_str(if foreign { "}}" } else { "}" });
        }
        (None, Kinship::Awaited) => out.push_str("\"awaited\""),
        (None, Kinship::Own | Kinship::Foreign) => out.push_str("\"unknown\""),
    }
    out.push_str(",\"version\":");
    match fact.version_micros {
        Some(micros) => quote(&time::show_instant(micros), &mut out),
        None => out.push_str("null"),
    }
    let delete = fact.delete || fact.element.is_some_and(|element| element.delete);
    if delete {
        out.push_str(",\"delete\":true");
    } else if fact.element.is_none() {
        let whole = fact.completeness == Completeness::Whole;
        out.push_str(if whole { ",\"completeness\":\"whole\"" } else { ",\"completeness\":\"part\"" });
    }
    for (index, (name, word)) in fact.hints().enumerate() {
        out.push_str(if index == 0 { ",\"hints\":{" } else { "," });
        quote(name, &mut out);
        out.push(':');
        quote(word, &mut out);
    }
    out.push_str(if fact.hints().next().is_some() { "}}" } else { "}" });
    out
}

/// Appends `text` as a JSON string.
pub(crate) fn quote(text: &str, out: &mut String) {
    out.push('"');
    for letter in text.chars() {
        match letter {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            control if u32::from(control) < 0x20 => out.push_str(&format!("\\u{:04x}", u32::from(control))),
            letter => out.push(letter),
        }
    }
    out.push('"');
}
