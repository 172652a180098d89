//! What stands at a path of a payload, and which path is near one that is not there.

use std::cmp::Reverse;
use std::collections::BTreeSet;

use hirewire_yaml::did_you_mean;
use serde_json::Value;

/// How many paths a hint shows at most.
const SHOWN: usize = 8;
/// How [`did_you_mean`] begins where something is near.
const MEANT: &str = "did you mean";

/// What must stand at a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Holds {
    /// A text or a number.
    Text,
    /// The same, lists on the way walked through.
    Texts,
    Truth,
    /// A list or an object.
    Rows,
    /// Anything, and be it null.
    Something,
}

impl Holds {
    fn is(self, value: &Value) -> bool {
        match (self, value) {
            (Self::Something, _) => true,
            (Self::Truth, value) => value.is_boolean(),
            (Self::Rows, value) => value.is_array() || value.is_object(),
            (Self::Texts, Value::Array(items)) => items.iter().any(|item| Self::Text.is(item)),
            (Self::Text | Self::Texts, Value::String(text)) => !text.is_empty(),
            (Self::Text | Self::Texts, value) => value.is_number(),
        }
    }

    pub(crate) fn stands_at(self, payload: &Value, path: &str) -> bool {
        if self != Self::Texts {
            return at(payload, path).is_some_and(|value| self.is(value));
        }
        let mut places = vec![payload];
        for key in path.split('.') {
            let each =
                places.into_iter().flat_map(|place| place.as_array().map_or(vec![place], |list| list.iter().collect()));
            places = each.filter_map(|place| place.get(key)).collect();
        }
        places.into_iter().any(|value| self.is(value))
    }

    /// All paths of `payload` at which such a thing stands.
    fn collect(self, payload: &Value, path: &str, found: &mut BTreeSet<String>) {
        if !path.is_empty() && self.is(payload) {
            found.insert(path.to_owned());
        }
        match payload {
            Value::Object(members) => {
                for (key, value) in members {
                    let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
                    self.collect(value, &path, found);
                }
            }
            Value::Array(items) if self == Self::Texts => items.iter().for_each(|item| self.collect(item, path, found)),
            _ => {}
        }
    }
}

/// The value at keys joined by dots.
pub(crate) fn at<'v>(value: &'v Value, path: &str) -> Option<&'v Value> {
    path.split('.').try_fold(value, |here, key| here.as_object()?.get(key))
}

/// A text or a number.
pub(crate) fn text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

/// The names of all members, at any depth.
pub(crate) fn keys<'v>(value: &'v Value, found: &mut BTreeSet<&'v str>) {
    match value {
        Value::Object(members) => members.iter().for_each(|(key, value)| {
            found.insert(key);
            keys(value, found);
        }),
        Value::Array(items) => items.iter().for_each(|item| keys(item, found)),
        _ => {}
    }
}

/// The nearest path that is there, as a hint: of nearly the same letters, or with the same end.
pub(crate) fn nearest(path: &str, holds: Holds, payloads: &[&Value]) -> String {
    let mut there = BTreeSet::new();
    payloads.iter().for_each(|payload| holds.collect(payload, "", &mut there));
    let end = |known: &str| known.rsplit('.').zip(path.rsplit('.')).take_while(|(left, right)| left == right).count();
    let same_end = there.iter().filter(|known| end(known) > 0).max_by_key(|known| (end(known), Reverse(known.len())));
    match (near(path, there.iter().map(String::as_str)), same_end) {
        (hint, Some(known)) if !hint.starts_with(MEANT) => format!("{MEANT} \"{known}\"?"),
        (hint, _) => hint,
    }
}

/// What [`did_you_mean`] says, with some of what is there where there is much.
pub(crate) fn near<'k>(word: &str, there: impl Iterator<Item = &'k str> + Clone) -> String {
    match did_you_mean(word, there.clone()) {
        hint if hint.starts_with(MEANT) => hint,
        _ => did_you_mean(word, there.take(SHOWN)),
    }
}
