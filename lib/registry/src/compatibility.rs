//! Whether a schema may follow others: level, new schema and earlier schemas in, messages of what does not fit out.
//!
//! The judgement is apache-avro's, which knows the aliases of fields; those of types are applied here. What is only partly
//! readable does not count as readable.

use std::collections::HashMap;

use apache_avro::Schema;
use apache_avro::error::CompatibilityError;
use apache_avro::schema::{ArraySchema, EnumSchema, FixedSchema, MapSchema, Name, RecordSchema, UnionSchema};
use apache_avro::schema_compatibility::{Compatibility, SchemaCompatibility};

use crate::parse::{collect_named, parse};

/// What a new version owes to earlier ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    None,
    /// The new one reads what the last one wrote.
    Backward,
    BackwardTransitive,
    /// The last one reads what the new one writes.
    Forward,
    ForwardTransitive,
    Full,
    FullTransitive,
}

impl Level {
    pub const ALL: [Self; 7] = [
        Self::None,
        Self::Backward,
        Self::BackwardTransitive,
        Self::Forward,
        Self::ForwardTransitive,
        Self::Full,
        Self::FullTransitive,
    ];

    /// As on the wire.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "NONE",
            Self::Backward => "BACKWARD",
            Self::BackwardTransitive => "BACKWARD_TRANSITIVE",
            Self::Forward => "FORWARD",
            Self::ForwardTransitive => "FORWARD_TRANSITIVE",
            Self::Full => "FULL",
            Self::FullTransitive => "FULL_TRANSITIVE",
        }
    }

    /// In either case, as clients write it.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|level| level.name().eq_ignore_ascii_case(name))
    }

    /// Whether all earlier versions count, or the last one only.
    #[must_use]
    pub fn is_transitive(self) -> bool {
        matches!(self, Self::BackwardTransitive | Self::ForwardTransitive | Self::FullTransitive)
    }

    fn reads_backward(self) -> bool {
        matches!(self, Self::Backward | Self::BackwardTransitive | Self::Full | Self::FullTransitive)
    }

    fn reads_forward(self) -> bool {
        matches!(self, Self::Forward | Self::ForwardTransitive | Self::Full | Self::FullTransitive)
    }
}

/// What keeps the text `new` from following the texts `earlier` (oldest first), as the registry judges. Empty: nothing.
///
/// # Errors
/// One of them is no Avro schema.
pub fn check_texts(level: Level, new: &str, earlier: &[String]) -> Result<Vec<String>, String> {
    let new = parse(new, &[])?.avro;
    let parsed = (1..).zip(earlier).map(|(version, text)| Ok((version, parse(text, &[])?.avro)));
    let parsed: Result<Vec<_>, String> = parsed.collect();
    Ok(check(level, &new, &parsed?))
}

/// What keeps `new` from following `earlier` (version and schema, oldest first). Empty: it may.
pub(crate) fn check(level: Level, new: &Schema, earlier: &[(i64, Schema)]) -> Vec<String> {
    let from = if level.is_transitive() { 0 } else { earlier.len().saturating_sub(1) };
    let mut messages = Vec::new();
    for (version, old) in earlier.iter().skip(from) {
        if level.reads_backward()
            && let Some(why) = unreadable(old, new)
        {
            messages.push(format!("the new schema cannot read data of version {version}: {why}"));
        }
        if level.reads_forward()
            && let Some(why) = unreadable(new, old)
        {
            messages.push(format!("version {version} cannot read data of the new schema: {why}"));
        }
    }
    messages
}

/// Why `reader` cannot read all that `writer` writes.
fn unreadable(writer: &Schema, reader: &Schema) -> Option<String> {
    match SchemaCompatibility::can_read(writer, &as_named_by(writer, reader)) {
        Ok(Compatibility::Full) => None,
        Ok(Compatibility::Partial) => {
            Some("some values of a union or symbols of an enum have no place in it".to_owned())
        }
        Err(error) => Some(describe(&error)),
    }
}

/// The reader, with its types under the writer's names for them where an alias says that they are the same.
fn as_named_by(writer: &Schema, reader: &Schema) -> Schema {
    let (mut written, mut read) = (HashMap::new(), HashMap::new());
    collect_named(writer, &mut written);
    collect_named(reader, &mut read);
    let mut names = HashMap::new();
    for (name, schema) in read {
        let known = schema.aliases().into_iter().flatten().find_map(|alias| {
            let alias = Name::new(alias.fullname(None)).ok()?;
            written.contains_key(&alias).then_some(alias)
        });
        if let Some(alias) = known
            && !written.contains_key(&name)
        {
            names.insert(name, alias);
        }
    }
    if names.is_empty() { reader.clone() } else { renamed(reader, &names) }
}

fn renamed(schema: &Schema, names: &HashMap<Name, Name>) -> Schema {
    let new = |name: &Name| names.get(name).unwrap_or(name).clone();
    match schema {
        Schema::Record(record) => {
            let mut fields = record.fields.clone();
            fields.iter_mut().for_each(|field| field.schema = renamed(&field.schema, names));
            Schema::Record(RecordSchema { name: new(&record.name), fields, ..record.clone() })
        }
        Schema::Enum(this) => Schema::Enum(EnumSchema { name: new(&this.name), ..this.clone() }),
        Schema::Fixed(this) => Schema::Fixed(FixedSchema { name: new(&this.name), ..this.clone() }),
        Schema::Ref { name } => Schema::Ref { name: new(name) },
        Schema::Array(array) => {
            Schema::Array(ArraySchema { items: Box::new(renamed(&array.items, names)), ..array.clone() })
        }
        Schema::Map(map) => Schema::Map(MapSchema { types: Box::new(renamed(&map.types, names)), ..map.clone() }),
        Schema::Union(union) => {
            let variants = union.variants().iter().map(|variant| renamed(variant, names)).collect();
            // Two of them may have one name now: then they stay as they are.
            UnionSchema::new(variants).map_or_else(|_| schema.clone(), Schema::Union)
        }
        other => other.clone(),
    }
}

/// Path of the field, then the reason; never a whole schema.
fn describe(error: &CompatibilityError) -> String {
    let mut path = Vec::new();
    let mut innermost = error;
    while let CompatibilityError::FieldTypeMismatch(field, inner) = innermost {
        path.push(field.as_str());
        innermost = inner;
    }
    let reason = match innermost {
        CompatibilityError::WrongType { .. } => "the types do not fit".to_owned(),
        CompatibilityError::MissingDefaultValue(field) => {
            path.push(field);
            "it has no default, and the other schema lacks it".to_owned()
        }
        other => other.to_string(),
    };
    if path.is_empty() { reason } else { format!("field {}: {reason}", path.join(".")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(fields: &str) -> String {
        format!(r#"{{"type": "record", "name": "R", "fields": [{fields}]}}"#)
    }

    fn field(kind: &str) -> String {
        record(&format!(r#"{{"name": "f", "type": {kind}}}"#))
    }

    fn allowed(level: Level, new: &str, earlier: &[&str]) -> bool {
        let earlier: Vec<_> = earlier.iter().map(|&text| text.to_owned()).collect();
        check_texts(level, new, &earlier).unwrap().is_empty()
    }

    /// Old type, new type, whether the new one reads the old one, and the reverse.
    const TYPES: &[(&str, &str, bool, bool)] = &[
        (r#""int""#, r#""int""#, true, true),
        (r#""int""#, r#""long""#, true, false),
        (r#""int""#, r#""float""#, true, false),
        (r#""int""#, r#""double""#, true, false),
        (r#""long""#, r#""float""#, true, false),
        (r#""long""#, r#""double""#, true, false),
        (r#""float""#, r#""double""#, true, false),
        (r#""string""#, r#""bytes""#, true, true),
        (r#""int""#, r#""string""#, false, false),
        (r#""boolean""#, r#""int""#, false, false),
        (r#""int""#, r#"["null", "int"]"#, true, false),
        (r#"["null", "int"]"#, r#"["int", "null"]"#, true, true),
        (r#"["null", "int"]"#, r#"["null", "int", "string"]"#, true, false),
        (r#"["null", "int"]"#, r#"["null", "long"]"#, true, false),
        (r#"["int"]"#, r#""long""#, true, false),
        (r#"{"type": "array", "items": "int"}"#, r#"{"type": "array", "items": "long"}"#, true, false),
        (r#"{"type": "map", "values": "int"}"#, r#"{"type": "map", "values": "string"}"#, false, false),
        (r#"{"type": "array", "items": "int"}"#, r#"{"type": "map", "values": "int"}"#, false, false),
        (
            r#"{"type": "enum", "name": "E", "symbols": ["A", "B"]}"#,
            r#"{"type": "enum", "name": "E", "symbols": ["A", "B", "C"]}"#,
            true,
            false,
        ),
        (
            r#"{"type": "enum", "name": "E", "symbols": ["A", "B"], "default": "A"}"#,
            r#"{"type": "enum", "name": "E", "symbols": ["A", "C"], "default": "A"}"#,
            true,
            true,
        ),
        (
            r#"{"type": "enum", "name": "E", "symbols": ["A"]}"#,
            r#"{"type": "enum", "name": "F", "symbols": ["A"]}"#,
            false,
            false,
        ),
        (r#"{"type": "fixed", "name": "X", "size": 4}"#, r#"{"type": "fixed", "name": "X", "size": 8}"#, false, false),
        (r#""long""#, r#"{"type": "long", "logicalType": "timestamp-micros"}"#, true, true),
        (
            r#"{"type": "bytes", "logicalType": "decimal", "precision": 9, "scale": 2}"#,
            r#"{"type": "bytes", "logicalType": "decimal", "precision": 9, "scale": 4}"#,
            false,
            false,
        ),
        (r#""double""#, r#""float""#, false, true),
        (r#""int""#, r#""boolean""#, false, false),
        (r#""string""#, r#""int""#, false, false),
        (r#""bytes""#, r#""int""#, false, false),
        (r#""null""#, r#""int""#, false, false),
        (r#""long""#, r#""string""#, false, false),
        (r#""float""#, r#""string""#, false, false),
        (r#""boolean""#, r#""string""#, false, false),
        (r#"["int", "string"]"#, r#""string""#, false, true),
        (r#"["null", "int"]"#, r#"["null", "string"]"#, false, false),
        (r#"["int"]"#, r#"["long"]"#, true, false),
        (r#"["int", "string"]"#, r#"["string", "int"]"#, true, true),
        (r#"["null", "string"]"#, r#"["null", "bytes"]"#, true, true),
        (r#"{"type": "map", "values": "int"}"#, r#"{"type": "map", "values": "double"}"#, true, false),
        (r#"{"type": "array", "items": ["null", "int"]}"#, r#"{"type": "array", "items": "int"}"#, false, true),
        (r#"{"type": "array", "items": "string"}"#, r#""string""#, false, false),
        (r#"{"type": "map", "values": "string"}"#, r#"{"type": "map", "values": "bytes"}"#, true, true),
        (
            r#"{"type": "enum", "name": "E", "symbols": ["A", "B"]}"#,
            r#"{"type": "enum", "name": "E", "symbols": ["B", "A"]}"#,
            true,
            true,
        ),
        (
            r#"{"type": "enum", "name": "E", "symbols": ["A", "B"]}"#,
            r#"{"type": "enum", "name": "E", "symbols": ["A"], "default": "A"}"#,
            true,
            true,
        ),
        (r#"{"type": "enum", "name": "E", "symbols": ["A"]}"#, r#""string""#, false, false),
        (r#"{"type": "fixed", "name": "X", "size": 4}"#, r#"{"type": "fixed", "name": "X", "size": 4}"#, true, true),
        (r#"{"type": "fixed", "name": "X", "size": 4}"#, r#""bytes""#, false, false),
        (r#"{"type": "int", "logicalType": "date"}"#, r#""int""#, true, true),
        (r#"{"type": "record", "name": "I", "fields": []}"#, r#""string""#, false, false),
        (
            r#"{"type": "record", "name": "I", "fields": [{"name": "x", "type": "int"}]}"#,
            r#"{"type": "record", "name": "I", "fields": [{"name": "x", "type": "long"}]}"#,
            true,
            false,
        ),
        (
            r#"{"type": "record", "name": "I", "fields": [{"name": "x", "type": "int"}]}"#,
            r#"{"type": "record", "name": "I", "fields": [{"name": "x", "type": ["null", "int"], "default": null}]}"#,
            true,
            false,
        ),
        (
            r#"{"type": "record", "name": "I", "fields": []}"#,
            r#"{"type": "record", "name": "I", "fields": [{"name": "x", "type": "int", "default": 0}]}"#,
            true,
            true,
        ),
        (
            r#"{"type": "record", "name": "I", "fields": []}"#,
            r#"{"type": "record", "name": "I", "fields": [{"name": "x", "type": "int"}]}"#,
            false,
            true,
        ),
        (
            r#"{"type": "record", "name": "I", "fields": [{"name": "x", "type": "int"}]}"#,
            r#"{"type": "record", "name": "I", "fields": [{"name": "y", "aliases": ["x"], "type": "long"}]}"#,
            true,
            false,
        ),
        (
            r#"{"type": "enum", "name": "E", "symbols": ["A"]}"#,
            r#"{"type": "enum", "name": "F", "aliases": ["E"], "symbols": ["A"]}"#,
            true,
            false,
        ),
        (
            r#"{"type": "fixed", "name": "X", "size": 4}"#,
            r#"["null", {"type": "fixed", "name": "Y", "aliases": ["X"], "size": 4}]"#,
            true,
            false,
        ),
        (
            r#"{"type": "array", "items": {"type": "record", "name": "I", "fields": [{"name": "x", "type": "int"}]}}"#,
            r#"{"type": "array", "items": {"type": "record", "name": "J", "aliases": ["I"], "fields": [{"name": "x", "type": "long"}]}}"#,
            true,
            false,
        ),
    ];

    #[test]
    fn types_are_promoted_as_avro_says() {
        for (old, new, backward, forward) in TYPES {
            let (old, new) = (field(old), field(new));
            assert_eq!(allowed(Level::Backward, &new, &[&old]), *backward, "{new} reads {old}");
            assert_eq!(allowed(Level::Forward, &new, &[&old]), *forward, "{old} reads {new}");
            assert_eq!(allowed(Level::Full, &new, &[&old]), *backward && *forward, "{old} and {new}");
            assert!(allowed(Level::None, &new, &[&old]));
        }
    }

    #[test]
    fn the_table_has_sixty_cases_or_more() {
        // Each row is read both ways.
        assert!(2 * TYPES.len() >= 60);
    }

    #[test]
    fn a_field_comes_with_a_default_and_goes_if_it_had_one() {
        let a = record(r#"{"name": "a", "type": "int"}"#);
        let needed = record(r#"{"name": "a", "type": "int"}, {"name": "b", "type": "int"}"#);
        let optional = record(r#"{"name": "a", "type": "int"}, {"name": "b", "type": "int", "default": 0}"#);
        for (old, new, backward, forward) in [
            (&a, &needed, false, true),
            (&a, &optional, true, true),
            (&needed, &a, true, false),
            (&optional, &a, true, true),
        ] {
            assert_eq!(allowed(Level::Backward, new, &[old]), backward);
            assert_eq!(allowed(Level::Forward, new, &[old]), forward);
        }
        let renamed = record(r#"{"name": "z", "aliases": ["a"], "type": "int"}"#);
        assert!(allowed(Level::Backward, &renamed, &[&a]));
        assert!(!allowed(Level::Forward, &renamed, &[&a]));
    }

    #[test]
    fn only_transitive_levels_look_beyond_the_last_version() {
        let string = record(r#"{"name": "f", "type": "string", "default": ""}"#);
        let nothing = record("");
        let int = record(r#"{"name": "f", "type": "int", "default": 0}"#);
        for (level, transitive) in [
            (Level::Backward, Level::BackwardTransitive),
            (Level::Forward, Level::ForwardTransitive),
            (Level::Full, Level::FullTransitive),
        ] {
            assert!(allowed(level, &int, &[&string, &nothing]), "{level:?}");
            assert!(!allowed(transitive, &int, &[&string, &nothing]), "{transitive:?}");
        }
    }

    #[test]
    fn where_a_named_type_is_defined_does_not_matter() {
        let inner = r#"{"type": "record", "name": "I", "fields": [{"name": "x", "type": "int"}]}"#;
        let before = record(&format!(r#"{{"name": "b", "type": {inner}}}"#));
        let after = record(&format!(
            r#"{{"name": "a", "type": ["null", {inner}], "default": null}}, {{"name": "b", "type": "I"}}"#
        ));
        assert!(allowed(Level::FullTransitive, &after, &[&before]));
        let wider = after.replace(r#""type": "int""#, r#""type": "string""#);
        let messages = check_texts(Level::Backward, &wider, &[before]).unwrap();
        assert!(messages[0].contains("field b.x: "), "{messages:?}");
    }

    #[test]
    fn a_type_may_contain_itself() {
        let tree = |value: &str| {
            record(&format!(
                r#"{{"name": "value", "type": "{value}"}}, {{"name": "next", "type": ["null", "R"], "default": null}}"#
            ))
        };
        assert!(allowed(Level::Full, &tree("int"), &[&tree("int")]));
        assert!(allowed(Level::Backward, &tree("long"), &[&tree("int")]));
        assert!(!allowed(Level::Forward, &tree("long"), &[&tree("int")]));
    }

    #[test]
    fn a_schema_that_explodes_is_refused() {
        // Each type names the one before it ten times: a small text, a huge tree.
        let mut fields = vec![r#"{"name": "f0", "type": {"type": "record", "name": "T0", "fields": []}}"#.to_owned()];
        for n in 1..12 {
            let inner: Vec<_> = (0..10).map(|i| format!(r#"{{"name": "g{i}", "type": "T{}"}}"#, n - 1)).collect();
            fields.push(format!(
                r#"{{"name": "f{n}", "type": {{"type": "record", "name": "T{n}", "fields": [{}]}}}}"#,
                inner.join(",")
            ));
        }
        assert!(check_texts(Level::Full, &record(&fields.join(",")), &[]).unwrap_err().contains("too often"));
    }
}
