//! One rule of a mapping file.

use hirewire_yaml::{Map, Node, Value};

use super::Compiler;
use super::overlay::Fields;
use crate::path::Key;
use crate::plan::{CustomRule, ElementRule, Emit, Ignored, Owner, Rule, Source};
use crate::shape::{RecordShape, Shape};

/// What `defaults` may say for rules.
pub(super) const DEFAULT_KEYS: [&str; 6] =
    ["completeness", "version", "created_at", "updated_at", "custom_fields", "hints"];

/// What makes a rule run.
pub(super) struct Triggers {
    pub(super) events: Vec<String>,
    pub(super) streams: Vec<String>,
}

impl Compiler<'_> {
    pub(super) fn rule(
        &mut self,
        key: &Node,
        name: &str,
        node: &Node,
        overlays: &[Fields<'_>],
        reasons: &mut Vec<Ignored>,
    ) -> Option<(Rule, Triggers)> {
        name.clone_into(&mut self.rule);
        self.paths_read.clear();
        let mut map = node.map(&mut self.problems)?;
        let record_node = map.require("record", &mut self.problems);
        let record = record_node.and_then(|node| node.text(&mut self.problems)).unwrap_or_default().to_owned();
        let shape = record_node.and_then(|node| self.record_shape(node, &record));
        let triggers = self.triggers(&mut map, key);
        let roots = self.roots(map.get("root"));
        let optional = self.flag(map.get("optional"));
        let when = map.get("when").and_then(|node| self.condition(node, &record));
        let id = map.require("id", &mut self.problems).and_then(|node| self.source(node, &format!("{record}.id")));
        let owner = self.owner(map.get("owner"));
        let delete = self.flag(map.get("delete"));
        let element_node = map.get("element");
        let defaults = self.defaults.as_ref();
        let group = if triggers.streams.is_empty() { "events" } else { "streams" };
        let lines = defaults.and_then(|node| node.peek(group)).filter(|_| !delete).cloned();
        let default = |key: &str| {
            // A row of a list has a clock and nothing else.
            let fits = element_node.is_none() || key == "version";
            lines.as_ref().filter(|_| fits).and_then(|lines| lines.peek(key))
        };
        let completeness = map.get("completeness").or_else(|| default("completeness"));
        let whole = self.completeness(completeness, node, delete || element_node.is_some());
        let version = map.get("version").or_else(|| default("version")).and_then(|node| self.instant(node, "version"));
        let created_at =
            map.get("created_at").or_else(|| default("created_at")).and_then(|node| self.instant(node, "created_at"));
        let updated_at =
            map.get("updated_at").or_else(|| default("updated_at")).and_then(|node| self.instant(node, "updated_at"));
        let deleted_at = map.get("deleted_at").and_then(|node| self.instant(node, "deleted_at"));
        let url = map.get("url").and_then(|node| self.source(node, &format!("{record}.url")));
        let hints = self.hints(map.get("hints").or_else(|| default("hints")), &record);
        let fields_node = map.get("fields");
        let mut fields = Vec::new();
        let mut element = None;
        if let Some(shape) = &shape {
            self.check_meta(record_node.unwrap_or(node), shape);
            fields = self.fields(fields_node, shape, &record);
            if !delete && element_node.is_none() {
                self.overlay_fields(overlays, shape, &record, &mut fields);
            }
            element = element_node.and_then(|node| self.element(node, shape, &record, delete));
        }
        if fields_node.is_none() && !delete && element_node.is_none() {
            let hint = "add `fields: {…}`, or `delete: true`";
            self.problems.add(key, format!("the rule \"{name}\" maps no field"), hint);
        }
        let customs = self.customs(map.get("custom_fields").or_else(|| default("custom_fields")));
        let ignored = map.get("ignore").map(|node| self.ignored(node, name, reasons)).unwrap_or_default();
        map.finish(&mut self.problems);
        shape?;
        let rule = Rule {
            name: name.to_owned(),
            record,
            roots,
            optional,
            when,
            id: id?,
            owner,
            whole,
            delete,
            version,
            created_at,
            updated_at,
            deleted_at,
            url,
            hints,
            width: fields.len(),
            fields: fields.into_iter().enumerate().filter_map(|(index, emit)| Some((index, emit?))).collect(),
            element,
            customs,
            ignored,
        };
        Some((rule, triggers))
    }

    fn triggers(&mut self, map: &mut Map<'_>, key: &Node) -> Triggers {
        let names = |node: Option<&Node>, compiler: &mut Self| -> Vec<String> {
            let Some(items) = node.and_then(|node| node.list(&mut compiler.problems)) else { return Vec::new() };
            let mut names: Vec<String> = Vec::new();
            let mut expanded = Vec::new();
            for item in items {
                match compiler.lists.resolve(item, &mut compiler.problems) {
                    Ok(Some(list)) => expanded.extend(list.list(&mut compiler.problems).unwrap_or_default().to_vec()),
                    Ok(None) => expanded.push(item.clone()),
                    Err(()) => {}
                }
            }
            for item in &expanded {
                let Some(name) = item.text(&mut compiler.problems) else { continue };
                if names.iter().any(|known| known == name) {
                    compiler.problems.add(item, format!("\"{name}\" stands twice in the list"), "remove one");
                }
                names.push(name.to_owned());
            }
            names
        };
        let events = names(map.get("events"), self);
        let streams = names(map.get("streams"), self);
        if events.is_empty() && streams.is_empty() {
            self.problems.add(key, "a rule that nothing starts", "add `events: […]` or `streams: […]`");
        }
        Triggers { events, streams }
    }

    fn roots(&mut self, node: Option<&Node>) -> Vec<crate::path::Path> {
        let nodes = match node.map(|node| &node.value) {
            None => Vec::new(),
            Some(Value::List(items)) => items.iter().collect(),
            Some(_) => node.into_iter().collect(),
        };
        let mut roots: Vec<_> = nodes
            .iter()
            .filter_map(|node| {
                let text = node.text(&mut self.problems)?;
                self.path(node, text)
            })
            .collect();
        if node.is_none() {
            roots.extend(crate::path::Path::parse("."));
        }
        roots
    }

    fn flag(&mut self, node: Option<&Node>) -> bool {
        node.and_then(|node| node.boolean(&mut self.problems)).unwrap_or(false)
    }

    fn completeness(&mut self, node: Option<&Node>, rule: &Node, not_needed: bool) -> bool {
        match node {
            Some(node) => node.choice(&[("whole", true), ("part", false)], &mut self.problems).unwrap_or(false),
            None => {
                if !not_needed {
                    let hint = "whole: what the payload lacks is empty; part: what it lacks stays as it was";
                    self.problems.add(
                        rule,
                        "`completeness` is missing",
                        format!("add `completeness: whole` or `part` ({hint})"),
                    );
                }
                false
            }
        }
    }

    fn owner(&mut self, node: Option<&Node>) -> Owner {
        match node.map(|node| (node, &node.value)) {
            None => Owner::Itself,
            Some((_, Value::Plain(word))) if word == "unknown" => Owner::Unknown,
            Some((_, Value::Plain(word))) if word == "awaited" => Owner::Awaited,
            Some((node, Value::Map(entries))) if entries.len() == 1 => match node.peek("foreign") {
                Some(inner) => self.named_owner(inner, Owner::Foreign),
                None => self.named_owner(node, Owner::Record),
            },
            Some((node, _)) => {
                self.problems.add(
                    node,
                    "an owner that is not understood",
                    "write {Record: path of its id}, {foreign: {Record: path}}, awaited or unknown",
                );
                Owner::Unknown
            }
        }
    }

    /// Reads `{Record: source of its id}`.
    fn named_owner(&mut self, node: &Node, owner: fn(String, Source) -> Owner) -> Owner {
        let mut found = Owner::Unknown;
        if let Some(mut map) = node.map(&mut self.problems) {
            for (key, record, source) in map.entries() {
                self.record_shape(key, record);
                if let Some(source) = self.source(source, "owner") {
                    found = owner(record.to_owned(), source);
                }
            }
        }
        found
    }

    fn hints(&mut self, node: Option<&Node>, record: &str) -> Vec<(String, Source)> {
        let mut hints = Vec::new();
        if let Some(mut map) = node.and_then(|node| node.map(&mut self.problems)) {
            for (_, name, value) in map.entries() {
                if let Some(source) = self.source(value, &format!("{record}.hints.{name}")) {
                    hints.push((name.to_owned(), source));
                }
            }
        }
        hints
    }

    /// The first field must be the envelope with its custom fields in the form that `carry` writes.
    fn check_meta(&mut self, node: &Node, shape: &RecordShape) {
        let fits = shape.fields.first().is_some_and(|field| {
            let Shape::Record(meta) = &field.shape else { return false };
            let Some(Shape::Array(items)) = meta.field("custom_fields").map(|field| &field.shape) else { return false };
            let Shape::Record(item) = items.as_ref() else { return false };
            let nullable_text = |shape: &Shape| {
                matches!(shape, Shape::Nullable(union) if union.null == 0 && union.inner == Shape::Text)
            };
            let [name, path, kind, value] = item.fields.as_slice() else { return false };
            field.name == "meta"
                && name.shape == Shape::Text
                && path.shape == Shape::Text
                && nullable_text(&kind.shape)
                && nullable_text(&value.shape)
        });
        if !fits {
            let what = format!("the schema of {} does not begin with a meta that has custom_fields", shape.name);
            self.problems.add(node, what, "every target begins with the envelope record `meta`");
        }
    }

    fn fields(&mut self, node: Option<&Node>, shape: &RecordShape, record: &str) -> Vec<Option<Emit>> {
        let mut fields: Vec<Option<Emit>> = shape.fields.iter().map(|_| None).collect();
        if let Some(mut map) = node.and_then(|node| node.map(&mut self.problems)) {
            for (key, name, value) in map.entries() {
                self.field(key, name, value, shape, record, &mut fields);
            }
        }
        fields
    }

    fn overlay_fields(
        &mut self,
        overlays: &[Fields<'_>],
        shape: &RecordShape,
        record: &str,
        fields: &mut [Option<Emit>],
    ) {
        for (key, name, value) in overlays.iter().filter_map(|overlay| overlay.get(record)).flatten() {
            self.field(key, name, value, shape, record, fields);
        }
    }

    fn field(
        &mut self,
        key: &Node,
        name: &str,
        value: &Node,
        shape: &RecordShape,
        record: &str,
        fields: &mut [Option<Emit>],
    ) {
        let target = format!("{record}.{name}");
        if name == "meta" {
            self.problems.add(
                key,
                format!("{target}: the envelope is not mapped"),
                "use id, url, version, created_at …",
            );
            return;
        }
        match shape.position(name) {
            Some(index) => fields[index] = self.value(value, &shape.fields[index].shape, &target),
            None => {
                let known = shape.fields.iter().skip(1).map(|field| field.name.as_str());
                let hint = hirewire_yaml::did_you_mean(name, known);
                self.problems.add(key, format!("{target}: the record has no such field"), hint);
            }
        }
    }

    fn element(&mut self, node: &Node, shape: &RecordShape, record: &str, delete: bool) -> Option<ElementRule> {
        let mut map = node.map(&mut self.problems)?;
        let field_node = map.require("field", &mut self.problems);
        let group = map.require("group", &mut self.problems).and_then(|node| node.text(&mut self.problems));
        let row = map.require("row", &mut self.problems).and_then(|node| self.source(node, "element.row"));
        let value = if delete { None } else { map.require("value", &mut self.problems) };
        map.finish(&mut self.problems);
        let field_node = field_node?;
        let name = field_node.text(&mut self.problems)?;
        let Some(field) = shape.position(name) else {
            let known = shape.fields.iter().skip(1).map(|field| field.name.as_str());
            let hint = hirewire_yaml::did_you_mean(name, known);
            self.problems.add(field_node, format!("{record}.{name}: the record has no such field"), hint);
            return None;
        };
        let Shape::Array(items) = &shape.fields[field].shape else {
            self.problems.add(field_node, format!("{record}.{name} is not an array"), "rows become items of an array");
            return None;
        };
        let target = format!("{record}.{name}");
        let item = match value {
            Some(value) => self.value(value, items, &target)?,
            None => super::value::nothing(&target),
        };
        Some(ElementRule { field, group: group?.to_owned(), row: row?, item })
    }

    fn customs(&mut self, node: Option<&Node>) -> Vec<CustomRule> {
        let mut customs = Vec::new();
        let Some(items) = node.and_then(|node| node.list(&mut self.problems)) else { return customs };
        for item in items {
            let Some(mut map) = item.map(&mut self.problems) else { continue };
            let whole = map.get("whole");
            let entries = match whole {
                Some(path) => Some(path),
                None => map.require("each_entry", &mut self.problems),
            };
            let entries = entries.and_then(|node| {
                let text = node.text(&mut self.problems)?;
                self.path(node, text)
            });
            let mut member = |key: &'static str, compiler: &mut Self| {
                map.get(key).and_then(|node| node.text(&mut compiler.problems)).map(Key::new)
            };
            let (name, kind, value) = (member("name", self), member("type", self), member("value", self));
            map.finish(&mut self.problems);
            if let Some(entries) = entries {
                let text = entries.to_string();
                customs.push(CustomRule { entries, text, whole: whole.is_some(), name, kind, value });
            }
        }
        customs
    }
}
