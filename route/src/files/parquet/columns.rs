//! The columns of a table in Parquet: their types by the Avro schema of what they are made of, and rows as columns.
//!
//! In: a [`TablePlan`] and rows of it. Out: a schema as Parquet's own text, and a [`Chunk`] for each column, in
//! Dremel's levels: every column may be absent, a list may be absent or empty, an element may be absent.

use hirewire_schemas::Entity;
use jiff::Timestamp;
use parquet::data_type::ByteArray;
use serde_json::Value;

use crate::request::place::{Place, place};
use crate::request::template::Template;
use crate::row::{Row, TablePlan};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Text,
    /// In microseconds, UTC.
    Instant,
    Whole,
    Flag,
    /// A list of texts.
    Texts,
}

#[derive(Debug)]
pub(super) struct Column {
    name: String,
    kind: Kind,
}

/// Values of a column, those that are absent left out, and the levels that say where.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Chunk<T> {
    pub(super) values: Vec<T>,
    pub(super) definition: Vec<i16>,
    /// Of lists alone.
    pub(super) repetition: Vec<i16>,
}

/// A column's values, by their physical type.
#[derive(Debug, PartialEq)]
pub(super) enum Values {
    Texts(Chunk<ByteArray>),
    Longs(Chunk<i64>),
    Flags(Chunk<bool>),
}

pub(super) fn columns(plan: &TablePlan) -> Vec<Column> {
    let templates = plan.templates().iter();
    templates.map(|(name, template)| Column { name: name.clone(), kind: kind(plan.entity, template) }).collect()
}

fn kind(entity: Entity, template: &Template) -> Kind {
    match template {
        Template::Path(path) => match place(entity, path) {
            Ok(Place::Instant) => Kind::Instant,
            Ok(Place::Whole) => Kind::Whole,
            Ok(Place::Flag) => Kind::Flag,
            Ok(Place::List) => Kind::Texts,
            Ok(Place::Text | Place::Symbols(_) | Place::Group(_)) | Err(_) => Kind::Text,
        },
        Template::Each(..) | Template::List(_) => Kind::Texts,
        Template::First(choices) => {
            let mut kinds = choices.iter().map(|choice| kind(entity, choice));
            let first = kinds.next().unwrap_or(Kind::Text);
            if kinds.all(|other| other == first) { first } else { Kind::Text }
        }
        Template::Const(_)
        | Template::Join { .. }
        | Template::Escaped(_)
        | Template::InUrl(_)
        | Template::Table(..)
        | Template::Object(_)
        | Template::From(..) => Kind::Text,
    }
}

/// In Parquet's language for schemas.
pub(super) fn schema(table: &str, columns: &[Column]) -> String {
    let field = |column: &Column| {
        let name = &column.name;
        match column.kind {
            Kind::Text => format!("optional binary {name} (STRING);"),
            Kind::Instant => format!("optional int64 {name} (TIMESTAMP(MICROS, true));"),
            Kind::Whole => format!("optional int64 {name};"),
            Kind::Flag => format!("optional boolean {name};"),
            Kind::Texts => format!(
                "optional group {name} (LIST) {{ repeated group list {{ optional binary element (STRING); }} }}"
            ),
        }
    };
    let fields: Vec<String> = columns.iter().map(field).collect();
    format!("message {table} {{ {} }}", fields.join(" "))
}

impl Column {
    /// Whether the row's value is of the column's type.
    pub(super) fn takes(&self, row: &Row) -> bool {
        let value = self.of(row);
        match self.kind {
            _ if value.is_null() => true,
            Kind::Text => true,
            Kind::Instant => micros(value).is_some(),
            Kind::Whole => value.is_i64(),
            Kind::Flag => value.is_boolean(),
            Kind::Texts => value.is_array(),
        }
    }

    fn of<'a>(&self, row: &'a Row) -> &'a Value {
        row.values.get(&self.name).unwrap_or(&Value::Null)
    }

    pub(super) fn values(&self, rows: &[&Row]) -> Values {
        let all = rows.iter().map(|row| self.of(row));
        match self.kind {
            Kind::Text => Values::Texts(flat(all.map(text))),
            Kind::Instant => Values::Longs(flat(all.map(micros))),
            Kind::Whole => Values::Longs(flat(all.map(Value::as_i64))),
            Kind::Flag => Values::Flags(flat(all.map(Value::as_bool))),
            Kind::Texts => Values::Texts(lists(all)),
        }
    }
}

fn text(value: &Value) -> Option<ByteArray> {
    match value {
        Value::Null => None,
        Value::String(text) => Some(text.as_str().into()),
        other => Some(other.to_string().as_str().into()),
    }
}

fn micros(value: &Value) -> Option<i64> {
    value.as_str()?.parse().ok().map(Timestamp::as_microsecond)
}

fn flat<T>(all: impl Iterator<Item = Option<T>>) -> Chunk<T> {
    let mut chunk = Chunk { values: Vec::new(), definition: Vec::new(), repetition: Vec::new() };
    for value in all {
        chunk.definition.push(i16::from(value.is_some()));
        chunk.values.extend(value);
    }
    chunk
}

/// Definition levels: 0 no list, 1 an empty one, 2 an element that is absent, 3 an element.
fn lists<'a>(all: impl Iterator<Item = &'a Value>) -> Chunk<ByteArray> {
    let mut chunk = Chunk { values: Vec::new(), definition: Vec::new(), repetition: Vec::new() };
    for value in all {
        let items = value.as_array().map(Vec::as_slice);
        if items.is_none_or(<[Value]>::is_empty) {
            chunk.definition.push(i16::from(items.is_some()));
            chunk.repetition.push(0);
        }
        for (index, item) in items.unwrap_or_default().iter().enumerate() {
            let item = text(item);
            chunk.definition.push(2 + i16::from(item.is_some()));
            chunk.repetition.push(i16::from(index > 0));
            chunk.values.extend(item);
        }
    }
    chunk
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::system::{Takes, carried};

    #[test]
    fn the_types_are_those_of_the_schema() {
        let system = carried("analytics");
        let Takes::Everything(tables) = &system.takes else { panic!("analytics records") };
        let of = |table: &str| schema(table, &columns(tables.iter().find(|plan| plan.table == table).unwrap()));
        let changes = of("stage_change");
        for field in [
            "message stage_change { optional binary event_id (STRING);",
            "optional int64 sequence_no;",
            "optional binary to_stage_category (STRING);",
            "optional int64 occurred_at (TIMESTAMP(MICROS, true));",
            "optional boolean inferred;",
            "optional group supersedes (LIST) {",
            "optional group reasons (LIST) {",
        ] {
            assert!(changes.contains(field), "{field} is not in {changes}");
        }
        assert!(of("application").contains("optional int64 applied_at (TIMESTAMP(MICROS, true));"));
    }

    #[test]
    fn lists_know_absent_from_empty() {
        let all = [json!(["a", null, "b"]), json!([]), Value::Null, json!(["c"])];
        let chunk = lists(all.iter());
        assert_eq!(chunk.values, ["a", "b", "c"].map(ByteArray::from));
        assert_eq!(chunk.definition, [3, 2, 3, 1, 0, 3]);
        assert_eq!(chunk.repetition, [0, 1, 1, 0, 0, 0]);
    }
}
