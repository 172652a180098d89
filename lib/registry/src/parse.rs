//! Schema texts: text and referenced texts in, a comparable Avro schema and an identity out.
//!
//! Two texts are one schema (and share an id) when they differ in white space, in the order of keys, or in
//! `{"type": "x"}` for `"x"`. Docs and defaults count: they are part of what was agreed on.

use std::collections::HashMap;

use apache_avro::Schema;
use apache_avro::schema::{ArraySchema, MapSchema, Name, RecordSchema, UnionSchema};
use serde_json::Value;

/// More types than this after references are expanded is an attack, not a schema.
const MAX_TYPES: usize = 50_000;
/// So many types in one another, by name or in place, are none either: whoever walks through them needs stack for each.
const MAX_DEPTH: usize = 200;

/// A schema that Avro accepts.
#[derive(Debug)]
pub(crate) struct Parsed {
    /// With every named type in place of its reference, except inside itself: positions of definitions do not matter
    /// when two of them are compared.
    pub(crate) avro: Schema,
    /// Equal for texts that are one schema.
    pub(crate) identity: String,
}

/// Reads `text`, which may name types of `references` (texts, those they need themselves included).
///
/// # Errors
/// A sentence that says what Avro does not accept.
pub(crate) fn parse(text: &str, references: &[String]) -> Result<Parsed, String> {
    let json: Value = serde_json::from_str(text).map_err(|error| format!("not JSON: {error}"))?;
    if !has_usual_attributes(&json) {
        return Err(ODD_ATTRIBUTE.to_owned());
    }
    let (schema, referenced) = read(text, references)?;
    let mut named = HashMap::new();
    collect_named(&schema, &mut named);
    referenced.iter().for_each(|schema| collect_named(schema, &mut named));
    let mut expander = Expander { named, open: Vec::new(), types: 0, depth: 0 };
    let avro = expander.expand(&schema).ok_or("the schema refers to its own types too often or too deeply")?;
    Ok(Parsed { avro, identity: plain(&json).to_string() })
}

const ODD_ATTRIBUTE: &str = "an attribute that Avro gives a meaning (`name`, `type`, `fields`, `symbols`, `items`, `values`, `order`, `size`, `precision`, `scale`) has a value of another kind";

/// What apache-avro makes of the texts. Should it still panic at one, that schema is refused.
fn read(text: &str, references: &[String]) -> Result<(Schema, Vec<Schema>), String> {
    let read = std::panic::catch_unwind(|| {
        let read = Schema::parse_str_with_list(text, references).map_err(|error| with_sources(&error))?;
        let _form = read.0.canonical_form();
        Ok(read)
    });
    read.unwrap_or_else(|_| Err(ODD_ATTRIBUTE.to_owned()))
}

/// A type or a field may have any attributes, but apache-avro's canonical form, by which schemas are compared, takes some
/// of them for what they are elsewhere and panics if they are not.
fn has_usual_attributes(json: &Value) -> bool {
    let is_usual = |(key, value): (&String, &Value)| match key.as_str() {
        "size" | "precision" | "scale" => match value {
            Value::String(text) => text.parse::<i64>().is_ok(),
            other => other.as_i64().is_some(),
        },
        "name" | "type" | "fields" | "symbols" | "items" | "values" | "order" => has_usual_attributes(value),
        _ => true,
    };
    match json {
        Value::String(_) => true,
        Value::Array(items) => items.iter().all(has_usual_attributes),
        Value::Object(map) => map.iter().all(is_usual),
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
    }
}

fn with_sources(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        let more = error.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        source = error.source();
    }
    text
}

/// The same JSON with keys in order and `{"type": x}` as `x`.
fn plain(json: &Value) -> Value {
    match json {
        Value::Object(map) => match map.get("type") {
            Some(inner) if map.len() == 1 => plain(inner),
            _ => {
                let mut entries: Vec<_> = map.iter().collect();
                entries.sort_by_key(|(key, _)| *key);
                entries.into_iter().map(|(key, value)| (key.clone(), plain(value))).collect()
            }
        },
        Value::Array(items) => items.iter().map(plain).collect(),
        other => other.clone(),
    }
}

/// Equal for texts that are one schema, and for those too that write names differently: short with a namespace around
/// them, or in full. What `normalize=true` compares by. `None`: not JSON.
pub(crate) fn normal_form(text: &str) -> Option<String> {
    let json: Value = serde_json::from_str(text).ok()?;
    Some(plain(&with_full_names(&json, "")).to_string())
}

const PRIMITIVES: [&str; 8] = ["null", "boolean", "int", "long", "float", "double", "bytes", "string"];

/// The schema with every name in full and no namespaces. `namespace` is that of the type around it.
fn with_full_names(json: &Value, namespace: &str) -> Value {
    let map = match json {
        Value::String(name) if PRIMITIVES.contains(&name.as_str()) => return json.clone(),
        Value::String(name) => return in_full(name, namespace).into(),
        Value::Array(union) => return union.iter().map(|part| with_full_names(part, namespace)).collect(),
        Value::Object(map) => map,
        _ => return json.clone(),
    };
    let mut out = map.clone();
    let mut rewrite = |key: &str, namespace: &str| {
        if let Some(inner) = map.get(key) {
            out.insert(key.to_owned(), with_full_names(inner, namespace));
        }
    };
    match map.get("type").and_then(Value::as_str) {
        Some("record" | "error" | "enum" | "fixed") => {}
        Some("array") => rewrite("items", namespace),
        Some("map") => rewrite("values", namespace),
        _ => rewrite("type", namespace),
    }
    if let Some(name) = map.get("name").and_then(Value::as_str) {
        let own = map.get("namespace").and_then(Value::as_str).unwrap_or(namespace);
        let name = in_full(name, own);
        let around = name.rsplit_once('.').map_or("", |(before, _)| before).to_owned();
        out.remove("namespace");
        out.insert("name".to_owned(), name.into());
        if let Some(aliases) = map.get("aliases").and_then(Value::as_array) {
            let aliases = aliases.iter().filter_map(Value::as_str).map(|alias| in_full(alias, &around));
            out.insert("aliases".to_owned(), aliases.collect());
        }
        if let Some(fields) = map.get("fields").and_then(Value::as_array) {
            out.insert("fields".to_owned(), fields.iter().map(|field| field_with_full_names(field, &around)).collect());
        }
    }
    Value::Object(out)
}

/// A field's own name and aliases are never full.
fn field_with_full_names(field: &Value, namespace: &str) -> Value {
    let mut out = field.clone();
    if let (Some(kind), Some(map)) = (field.get("type"), out.as_object_mut()) {
        map.insert("type".to_owned(), with_full_names(kind, namespace));
    }
    out
}

fn in_full(name: &str, namespace: &str) -> String {
    if name.contains('.') || namespace.is_empty() { name.to_owned() } else { format!("{namespace}.{name}") }
}

pub(crate) fn collect_named<'a>(schema: &'a Schema, named: &mut HashMap<Name, &'a Schema>) {
    if let Some(name) = schema.name()
        && !matches!(schema, Schema::Ref { .. })
    {
        named.insert(name.clone(), schema);
    }
    match schema {
        Schema::Record(record) => record.fields.iter().for_each(|field| collect_named(&field.schema, named)),
        Schema::Array(array) => collect_named(&array.items, named),
        Schema::Map(map) => collect_named(&map.types, named),
        Schema::Union(union) => union.variants().iter().for_each(|variant| collect_named(variant, named)),
        _ => {}
    }
}

struct Expander<'a> {
    named: HashMap<Name, &'a Schema>,
    /// Records that we are inside of: a reference to one of them stays a reference.
    open: Vec<Name>,
    types: usize,
    depth: usize,
}

impl Expander<'_> {
    /// `None`: too large or too deep.
    fn expand(&mut self, schema: &Schema) -> Option<Schema> {
        self.types += 1;
        if self.types > MAX_TYPES || self.depth > MAX_DEPTH {
            return None;
        }
        self.depth += 1;
        let expanded = self.expand_one(schema);
        self.depth -= 1;
        expanded
    }

    fn expand_one(&mut self, schema: &Schema) -> Option<Schema> {
        Some(match schema {
            Schema::Ref { name } if !self.open.contains(name) => match self.named.get(name).copied() {
                Some(definition) => self.expand(definition)?,
                None => schema.clone(),
            },
            Schema::Record(record) => {
                self.open.push(record.name.clone());
                let fields = record.fields.iter().map(|field| {
                    let mut field = field.clone();
                    field.schema = self.expand(&field.schema)?;
                    Some(field)
                });
                let fields: Option<Vec<_>> = fields.collect();
                self.open.pop();
                Schema::Record(RecordSchema { fields: fields?, ..record.clone() })
            }
            Schema::Array(array) => {
                Schema::Array(ArraySchema { items: Box::new(self.expand(&array.items)?), ..array.clone() })
            }
            Schema::Map(map) => Schema::Map(MapSchema { types: Box::new(self.expand(&map.types)?), ..map.clone() }),
            Schema::Union(union) => {
                let variants: Option<Vec<_>> = union.variants().iter().map(|variant| self.expand(variant)).collect();
                Schema::Union(UnionSchema::new(variants?).ok()?)
            }
            other => other.clone(),
        })
    }
}
