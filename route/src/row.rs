//! Rows of a database as data: which record makes which row of which table.

use std::sync::Arc;

use hirewire_schemas::Entity;
use hirewire_yaml::{Node, Problems};
use jiff::civil::Date;
use jiff::tz::TimeZone;
use serde_json::{Map, Value};

use crate::event::Event;
use crate::request::path::Scope;
use crate::request::template::Template;
use crate::source::Origin;

/// One entity's table, from a system's `sink.yaml`.
#[derive(Debug)]
pub(crate) struct TablePlan {
    pub(crate) entity: Entity,
    pub(crate) table: String,
    /// The column by which a row replaces an older one.
    pub(crate) key: String,
    pub(crate) columns: Vec<String>,
    row: Template,
}

impl TablePlan {
    /// Each column with what it is made of, in the order of `columns`.
    pub(crate) fn templates(&self) -> &[(String, Template)] {
        match &self.row {
            Template::Object(fields) => fields,
            // `read` takes objects only.
            _ => &[],
        }
    }
}

/// A row, ready to be written.
#[derive(Debug, Clone)]
pub(crate) struct Row {
    pub(crate) plan: Arc<TablePlan>,
    /// The record that it is made of.
    pub(crate) origin: Origin,
    /// A value for each column.
    pub(crate) values: Map<String, Value>,
    /// Whose data it is.
    pub(crate) tenant: String,
    /// The day, in UTC, on which the fact was read from its source.
    pub(crate) day: Date,
}

impl TablePlan {
    pub(crate) fn read(entity: Entity, node: &Node, problems: &mut Problems) -> Option<Self> {
        let mut map = node.map(problems)?;
        let table = map.require("table", problems).and_then(|node| read_identifier(node, problems));
        let key_node = map.require("key", problems);
        let key = key_node.and_then(|node| read_identifier(node, problems));
        let row_node = map.require("row", problems);
        let row = row_node.and_then(|node| Template::read(node, problems));
        map.finish(problems);
        let (table, key, row) = (table?, key?, row?);
        let Template::Object(fields) = &row else {
            problems.add(row_node?, "a row is an object", "write {fields: {column: path, …}}");
            return None;
        };
        let columns: Vec<String> = fields.iter().map(|(name, _)| name.clone()).collect();
        for column in columns.iter().filter(|column| !is_identifier(column)) {
            problems.add(row_node?, format!("\"{column}\" is no column's name"), "lower-case letters, digits and _");
        }
        if !columns.contains(&key) {
            problems.add(key_node?, format!("the key \"{key}\" is no column of the row"), "");
        }
        Some(Self { entity, table, key, columns, row })
    }

    /// What the row of an event says.
    pub(crate) fn values(&self, event: &Event) -> Map<String, Value> {
        match self.row.render(Scope::whole(&event.tree)) {
            Value::Object(values) => values,
            // `read` takes objects only.
            _ => Map::new(),
        }
    }

    pub(crate) fn row(self: &Arc<Self>, event: &Event, origin: &Origin) -> Row {
        let values = self.values(event);
        let tenant = event.text("/meta/tenant_id").unwrap_or_default().to_owned();
        // Every event has the time.
        let day = TimeZone::UTC.to_datetime(event.observed_at().unwrap_or_default()).date();
        Row { plan: Arc::clone(self), origin: origin.clone(), values, tenant, day }
    }
}

impl Row {
    /// The key's text, by which rows of one batch are told apart.
    pub(crate) fn key(&self) -> Option<&str> {
        self.values.get(&self.plan.key).and_then(Value::as_str)
    }
}

fn is_identifier(text: &str) -> bool {
    let fine = text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_');
    fine && text.len() <= 60 && text.starts_with(|first: char| first.is_ascii_lowercase())
}

/// A name that can stand in SQL as it is.
pub(crate) fn read_identifier(node: &Node, problems: &mut Problems) -> Option<String> {
    let text = node.text(problems)?;
    if !is_identifier(text) {
        problems.add(node, format!("\"{text}\" cannot be a name in SQL"), "lower-case letters, digits and _");
        return None;
    }
    Some(text.to_owned())
}
