//! Values at dotted places of a row, and instants as the vendor writes them.

use serde_json::Value;

use crate::clock::{iso_ms, parse_ms};
use crate::rules::{Format, Times};

/// The value at `path`: keys joined by dots; in a list a key is a number, from 0 on.
pub(crate) fn at<'v>(row: &'v Value, path: &str) -> Option<&'v Value> {
    path.split('.').try_fold(row, |value, key| match value {
        Value::Array(items) => items.get(key.parse::<usize>().ok()?),
        other => other.get(key),
    })
}

/// Puts `value` at `path`, if the row has that place.
pub(super) fn put(row: &mut Value, path: &str, value: Value) {
    if let Some(place) = at_mut(row, path) {
        *place = value;
    }
}

/// The place at `path`, if the row has it.
pub(super) fn at_mut<'v>(row: &'v mut Value, path: &str) -> Option<&'v mut Value> {
    path.split('.').try_fold(row, |inner, key| match inner {
        Value::Array(items) => items.get_mut(key.parse::<usize>().ok()?),
        other => other.get_mut(key),
    })
}

/// Puts `value` at `path` of an object, and makes the objects on the way.
pub(crate) fn insert(object: &mut Value, path: &str, value: Value) {
    if let Some(place) = at_mut(object, path) {
        *place = value;
        return;
    }
    let mut place = object;
    for key in path.split('.') {
        if !place.is_object() {
            *place = Value::Object(serde_json::Map::new());
        }
        let Some(members) = place.as_object_mut() else { return };
        place = members.entry(key).or_insert(Value::Null);
    }
    *place = value;
}

/// The texts and numbers at `path`; lists on the way are walked through.
pub(super) fn every(row: &Value, path: &str) -> Vec<String> {
    let mut found = vec![row];
    for key in path.split('.') {
        found = found
            .into_iter()
            .flat_map(|value| match value {
                Value::Array(items) => items.iter().collect(),
                other => vec![other],
            })
            .filter_map(|value| value.get(key))
            .collect();
    }
    found.into_iter().filter_map(scalar).collect()
}

/// The text or number at `path` as a text.
pub(crate) fn text_of(row: &Value, path: &str) -> Option<String> {
    at(row, path).and_then(scalar)
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
    pub(crate) fn write(&self, ms: i64) -> Value {
        match self.format {
            Format::EpochMs => ms.into(),
            Format::Rfc3339 | Format::Rfc3339Ms => iso_ms(ms).into(),
        }
    }

    pub(super) fn parse(&self, text: &str) -> Option<i64> {
        match self.format {
            Format::EpochMs => text.parse().ok(),
            Format::Rfc3339 => parse_ms(text).or_else(|| text.parse().ok()),
            Format::Rfc3339Ms => parse_ms(text).filter(|ms| iso_ms(*ms) == text),
        }
    }
}
