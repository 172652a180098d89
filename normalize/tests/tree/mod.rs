//! Decoded records, and what stands in them.

use apache_avro::types::Value;

/// A field by its dotted path; unions are looked through.
pub(crate) fn at<'a>(value: &'a Value, path: &str) -> &'a Value {
    let mut value = value;
    for part in path.split('.') {
        let Value::Record(fields) = plain(value) else { panic!("{part}: no record in {value:?}") };
        value = &fields.iter().find(|(name, _)| name == part).unwrap_or_else(|| panic!("no field {part}")).1;
    }
    plain(value)
}

fn plain(value: &Value) -> &Value {
    match value {
        Value::Union(_, inner) => plain(inner),
        other => other,
    }
}

pub(crate) fn text(value: &Value, path: &str) -> String {
    match at(value, path) {
        Value::String(text) | Value::Enum(_, text) => text.clone(),
        Value::Null => "null".to_owned(),
        Value::Long(n) | Value::TimestampMicros(n) => n.to_string(),
        Value::Boolean(b) => b.to_string(),
        Value::Array(items) => items.len().to_string(),
        other => panic!("{path}: {other:?}"),
    }
}
