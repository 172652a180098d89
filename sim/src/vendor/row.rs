//! What a row is after a move or a change, and the ids of new ones.

use std::collections::BTreeMap;

use serde_json::Value;

use super::body::{at, at_mut, insert as put_or_add};
use crate::rules::Moves;

/// A row at another stage.
pub(super) fn moved(value: &mut Value, moves: &Moves, to: &BTreeMap<String, Value>, time: Value) {
    for (place, wanted) in to {
        put_or_add(value, place, wanted.clone());
    }
    // Not into what there is none of: a row that is not rejected has no time of that.
    let none = |place: &str| to.iter().any(|(key, wanted)| wanted.is_null() && place.starts_with(key.as_str()));
    for place in moves.at.iter().filter(|place| !none(place)) {
        put_or_add(value, place, time.clone());
    }
    if let Some(appends) = &moves.appends {
        let fields =
            appends.row.iter().map(|(field, place)| (field.clone(), at(value, place).cloned().unwrap_or_default()));
        let entry = fields.chain([(appends.at.clone(), time)]).collect();
        if let Some(Value::Array(entries)) = at_mut(value, &appends.place) {
            entries.push(Value::Object(entry));
        }
    }
}

/// No two states of a row are the same.
pub(super) fn marked(value: &mut Value, mark: u64) {
    if let Some(object) = value.as_object_mut() {
        object.insert("changeOfTheKit".to_owned(), mark.into());
    }
}

/// An id as a number where `like` is one.
pub(super) fn in_the_form(like: Option<&Value>, id: &str) -> Value {
    match (like, id.parse::<i64>()) {
        (Some(Value::Number(_)), Ok(number)) => number.into(),
        _ => id.into(),
    }
}

/// An id in the form of `like`, that no other row of a list has.
pub(super) fn new_id(like: Option<&Value>, index: usize) -> Value {
    match like {
        Some(Value::Number(number)) => {
            let base = number.as_i64().unwrap_or(1);
            (base + 1_000_000 * i64::try_from(index).unwrap_or(0)).into()
        }
        Some(Value::String(text)) => format!("{text}-{index}").into(),
        _ => index.to_string().into(),
    }
}
