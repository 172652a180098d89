//! Values at dotted places of a row, and instants as the vendor writes them.

use serde_json::Value;

use crate::clock::{iso_ms, parse_ms};
use crate::rules::Times;

/// The value at `path`: keys joined by dots.
pub(super) fn at<'v>(row: &'v Value, path: &str) -> Option<&'v Value> {
    path.split('.').try_fold(row, |value, key| value.get(key))
}

/// Puts `value` at `path`, if the row has that place.
pub(super) fn put(row: &mut Value, path: &str, value: Value) {
    if let Some(place) = path.split('.').try_fold(row, |inner, key| inner.get_mut(key)) {
        *place = value;
    }
}

/// A text or number as a text; everything else is none.
pub(super) fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
    }
}

impl Times {
    pub(super) fn write(&self, ms: i64) -> Value {
        if self.epoch_ms { ms.into() } else { iso_ms(ms).into() }
    }

    pub(super) fn parse(&self, text: &str) -> Option<i64> {
        if self.epoch_ms { text.parse().ok() } else { parse_ms(text).or_else(|| text.parse().ok()) }
    }
}
