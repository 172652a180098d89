//! A field's default as Avro bytes: schema and JSON default in, encoding out.
//!
//! Only what the schemas here use: a default of a union is of its first branch.

use apache_avro::Schema;
use serde_json::Value;

use crate::records::Put;

/// Appends the encoding of `default` under `schema`; `named` finds the definition of a referenced type.
/// `None` if the default does not fit.
pub(crate) fn encode<'a>(
    schema: &'a Schema,
    default: &Value,
    named: &dyn Fn(&str) -> Option<&'a Schema>,
    out: &mut Vec<u8>,
) -> Option<()> {
    match (schema, default) {
        (Schema::Null, Value::Null) => {}
        (Schema::Union(union), value) => {
            0_i64.put(out);
            encode(union.variants().first()?, value, named, out)?;
        }
        (Schema::Array(_), Value::Array(items)) if items.is_empty() => 0_i64.put(out),
        (Schema::Enum(symbols), Value::String(symbol)) => {
            let index = symbols.symbols.iter().position(|known| known == symbol)?;
            i64::try_from(index).ok()?.put(out);
        }
        (Schema::Record(record), Value::Object(values)) => {
            for field in &record.fields {
                let value = values.get(&field.name).or(field.default.as_ref())?;
                encode(&field.schema, value, named, out)?;
            }
        }
        (Schema::Ref { name }, value) => encode(named(name.as_ref())?, value, named, out)?,
        (Schema::Boolean, Value::Bool(value)) => value.put(out),
        (Schema::Int | Schema::Long, Value::Number(value)) => value.as_i64()?.put(out),
        (Schema::String, Value::String(text)) => text.put(out),
        _ => return None,
    }
    Some(())
}
