//! Avro schema → shape: the schema with its named types resolved, in the form that compiling, writing and showing need.
//!
//! A record of exactly `value` (an enum with UNKNOWN and UNMAPPED in front), `raw` and `rule` is a *coded* value: it
//! keeps the source's own word and the rule that chose the symbol. Unions are null plus one other type.

use std::collections::BTreeMap;
use std::sync::Arc;

use apache_avro::Schema;
use apache_avro::schema::Name;
use serde_json::Value as Json;

use crate::avro::{put_bytes, put_decimal, put_long};

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Shape {
    Boolean,
    Int,
    Long,
    Float,
    Double,
    Text,
    Bytes,
    Date,
    TimestampMillis,
    TimestampMicros,
    Decimal {
        precision: usize,
        scale: u32,
    },
    Enum(Arc<EnumShape>),
    Coded(Arc<CodedShape>),
    Record(Arc<RecordShape>),
    Array(Arc<Shape>),
    Map(Arc<Shape>),
    Nullable(Arc<NullableShape>),
    /// Something that mappings cannot write; the text says what.
    Unsupported(String),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct EnumShape {
    pub(crate) name: String,
    pub(crate) symbols: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CodedShape {
    pub(crate) name: String,
    pub(crate) value: EnumShape,
    pub(crate) raw: Shape,
    pub(crate) rule: Shape,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RecordShape {
    pub(crate) name: String,
    pub(crate) fields: Vec<FieldShape>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FieldShape {
    pub(crate) name: String,
    pub(crate) shape: Shape,
    /// The default's encoding; `None`: the schema has none, so a value is needed.
    pub(crate) default: Option<Vec<u8>>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NullableShape {
    /// Index of `null` in the union: 0 or 1.
    pub(crate) null: i64,
    pub(crate) inner: Shape,
}

impl RecordShape {
    pub(crate) fn position(&self, name: &str) -> Option<usize> {
        self.fields.iter().position(|field| field.name == name)
    }

    pub(crate) fn field(&self, name: &str) -> Option<&FieldShape> {
        self.fields.iter().find(|field| field.name == name)
    }
}

impl Shape {
    pub(crate) fn of(schema: &Schema) -> Self {
        let mut named = BTreeMap::new();
        shape(schema, &mut named)
    }

    /// For messages.
    pub(crate) fn kind(&self) -> String {
        match self {
            Self::Boolean => "a boolean".to_owned(),
            Self::Int | Self::Long => "a whole number".to_owned(),
            Self::Float | Self::Double => "a number".to_owned(),
            Self::Text => "a text".to_owned(),
            Self::Bytes => "bytes".to_owned(),
            Self::Date => "a date".to_owned(),
            Self::TimestampMillis | Self::TimestampMicros => "an instant".to_owned(),
            Self::Decimal { .. } => "a decimal".to_owned(),
            Self::Enum(shape) => format!("the enum {}", shape.name),
            Self::Coded(shape) => format!("the coded value {}", shape.name),
            Self::Record(shape) => format!("the record {}", shape.name),
            Self::Array(_) => "an array".to_owned(),
            Self::Map(_) => "a map".to_owned(),
            Self::Nullable(shape) => shape.inner.kind(),
            Self::Unsupported(what) => what.clone(),
        }
    }
}

fn shape(schema: &Schema, named: &mut BTreeMap<String, Shape>) -> Shape {
    match schema {
        Schema::Boolean => Shape::Boolean,
        Schema::Int => Shape::Int,
        Schema::Long => Shape::Long,
        Schema::Float => Shape::Float,
        Schema::Double => Shape::Double,
        Schema::String => Shape::Text,
        Schema::Uuid(apache_avro::schema::UuidSchema::String) => Shape::Text,
        Schema::Bytes => Shape::Bytes,
        Schema::Date => Shape::Date,
        Schema::TimestampMillis => Shape::TimestampMillis,
        Schema::TimestampMicros => Shape::TimestampMicros,
        Schema::Decimal(decimal) => match u32::try_from(decimal.scale) {
            Ok(scale) if matches!(decimal.inner, apache_avro::schema::InnerDecimalSchema::Bytes) => {
                Shape::Decimal { precision: decimal.precision, scale }
            }
            _ => Shape::Unsupported("a decimal in fixed bytes".to_owned()),
        },
        Schema::Enum(found) => {
            let shape = Shape::Enum(Arc::new(EnumShape { name: short(&found.name), symbols: found.symbols.clone() }));
            named.insert(found.name.to_string(), shape.clone());
            shape
        }
        Schema::Record(found) => {
            let fields = found.fields.iter().map(|field| {
                let shape = shape(&field.schema, named);
                let default = field.default.as_ref().and_then(|value| encode_default(value, &shape));
                FieldShape { name: field.name.clone(), shape, default }
            });
            let record = RecordShape { name: short(&found.name), fields: fields.collect() };
            let shape = coded(&record).unwrap_or_else(|| Shape::Record(Arc::new(record)));
            named.insert(found.name.to_string(), shape.clone());
            shape
        }
        Schema::Array(array) => Shape::Array(Arc::new(shape(&array.items, named))),
        Schema::Map(map) => Shape::Map(Arc::new(shape(&map.types, named))),
        Schema::Union(union) => match union.variants() {
            [Schema::Null, other] => nullable(0, shape(other, named)),
            [other, Schema::Null] => nullable(1, shape(other, named)),
            _ => Shape::Unsupported("a union that is not null and one type".to_owned()),
        },
        Schema::Ref { name } => named
            .get(&name.to_string())
            .cloned()
            .unwrap_or_else(|| Shape::Unsupported(format!("the recursive type {name}"))),
        other => Shape::Unsupported(format!("the Avro type {other:?}")),
    }
}

fn nullable(null: i64, inner: Shape) -> Shape {
    Shape::Nullable(Arc::new(NullableShape { null, inner }))
}

fn short(name: &Name) -> String {
    name.name().to_owned()
}

fn coded(record: &RecordShape) -> Option<Shape> {
    let [value, raw, rule] = record.fields.as_slice() else { return None };
    let Shape::Enum(symbols) = &value.shape else { return None };
    let named = value.name == "value" && raw.name == "raw" && rule.name == "rule";
    let ordered = symbols.symbols.first().is_some_and(|symbol| symbol == "UNKNOWN")
        && symbols.symbols.get(1).is_some_and(|symbol| symbol == "UNMAPPED");
    (named && ordered).then(|| {
        Shape::Coded(Arc::new(CodedShape {
            name: record.name.clone(),
            value: EnumShape::clone(symbols),
            raw: raw.shape.clone(),
            rule: rule.shape.clone(),
        }))
    })
}

/// The encoding of a field's default. A union's default belongs to its first branch.
fn encode_default(value: &Json, shape: &Shape) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    put_default(value, shape, &mut out).then_some(out)
}

fn put_default(value: &Json, shape: &Shape, out: &mut Vec<u8>) -> bool {
    match (shape, value) {
        (Shape::Nullable(union), Json::Null) => {
            put_long(union.null, out);
            true
        }
        (Shape::Nullable(union), value) => {
            put_long(1 - union.null, out);
            put_default(value, &union.inner, out)
        }
        (Shape::Boolean, Json::Bool(value)) => {
            out.push(u8::from(*value));
            true
        }
        (Shape::Int | Shape::Long | Shape::Date | Shape::TimestampMillis | Shape::TimestampMicros, value) => {
            value.as_i64().is_some_and(|value| {
                put_long(value, out);
                true
            })
        }
        (Shape::Double, value) => value.as_f64().is_some_and(|value| {
            out.extend_from_slice(&value.to_le_bytes());
            true
        }),
        (Shape::Text, Json::String(value)) => {
            put_bytes(value.as_bytes(), out);
            true
        }
        (Shape::Enum(shape), Json::String(value)) => put_symbol(&shape.symbols, value, out),
        (Shape::Coded(shape), Json::Object(fields)) => {
            let symbol = fields.get("value").and_then(Json::as_str).unwrap_or("UNKNOWN");
            put_symbol(&shape.value.symbols, symbol, out)
                && put_default(fields.get("raw").unwrap_or(&Json::Null), &shape.raw, out)
                && put_default(fields.get("rule").unwrap_or(&Json::Null), &shape.rule, out)
        }
        (Shape::Record(shape), Json::Object(values)) => {
            shape.fields.iter().all(|field| match (values.get(&field.name), &field.default) {
                (Some(value), _) => put_default(value, &field.shape, out),
                (None, Some(default)) => {
                    out.extend_from_slice(default);
                    true
                }
                (None, None) => false,
            })
        }
        (Shape::Array(_) | Shape::Map(_), Json::Array(_) | Json::Object(_)) => {
            out.push(0);
            true
        }
        (Shape::Decimal { .. }, Json::String(value)) if value.is_empty() => {
            put_decimal(0, out);
            true
        }
        _ => false,
    }
}

pub(crate) fn put_symbol(symbols: &[String], symbol: &str, out: &mut Vec<u8>) -> bool {
    let position = symbols.iter().position(|known| known == symbol).and_then(|index| i64::try_from(index).ok());
    if let Some(index) = position {
        put_long(index, out);
    }
    position.is_some()
}
