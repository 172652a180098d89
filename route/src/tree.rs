//! A decoded Avro value as a tree: what conditions, templates and tables read.
//!
//! Instants become RFC 3339 text in UTC, dates YYYY-MM-DD, decimals text without trailing zeros, bytes base64; unions
//! are unwrapped. The schema is walked along, because a decimal's scale stands only there.

use apache_avro::Schema;
use apache_avro::schema::{NamesRef, ResolvedSchema};
use apache_avro::types::Value as Avro;
use base64::Engine as _;
use jiff::Timestamp;
use jiff::civil::Date;
use serde_json::{Number, Value};

/// The value does not fit the schema it was read with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the decoded value does not fit its schema")]
pub(crate) struct Misfit;

/// Makes trees of values of one schema.
pub(crate) struct TreeMaker {
    schema: &'static Schema,
    names: ResolvedSchema<'static>,
}

impl TreeMaker {
    /// # Errors
    /// When the schema names a type that it does not hold.
    pub(crate) fn new(schema: &'static Schema) -> Result<Self, Box<apache_avro::Error>> {
        Ok(Self { schema, names: ResolvedSchema::try_from(schema).map_err(Box::new)? })
    }

    /// # Errors
    /// When the value is not of the schema.
    pub(crate) fn tree(&self, value: Avro) -> Result<Value, Misfit> {
        tree(value, self.schema, self.names.get_names())
    }
}

fn tree(value: Avro, schema: &Schema, names: &NamesRef<'_>) -> Result<Value, Misfit> {
    match (value, schema) {
        (value, Schema::Ref { name }) => tree(value, names.get(name).ok_or(Misfit)?, names),
        (Avro::Union(index, inner), Schema::Union(union)) => {
            let index = usize::try_from(index).map_err(|_| Misfit)?;
            tree(*inner, union.variants().get(index).ok_or(Misfit)?, names)
        }
        (Avro::Record(values), Schema::Record(record)) => values
            .into_iter()
            .zip(&record.fields)
            .map(|((name, value), field)| Ok((name, tree(value, &field.schema, names)?)))
            .collect::<Result<_, _>>()
            .map(Value::Object),
        (Avro::Array(items), Schema::Array(array)) => {
            items.into_iter().map(|item| tree(item, &array.items, names)).collect::<Result<_, _>>().map(Value::Array)
        }
        (Avro::Map(entries), Schema::Map(map)) => entries
            .into_iter()
            .map(|(key, value)| Ok((key, tree(value, &map.types, names)?)))
            .collect::<Result<_, _>>()
            .map(Value::Object),
        (Avro::Decimal(decimal), Schema::Decimal(schema)) => {
            let digits = Vec::<u8>::try_from(decimal).map_err(|_| Misfit)?;
            decimal_text(&digits, schema.scale).map(Value::String).ok_or(Misfit)
        }
        (value, _) => scalar(value),
    }
}

fn scalar(value: Avro) -> Result<Value, Misfit> {
    Ok(match value {
        Avro::Null => Value::Null,
        Avro::Boolean(flag) => Value::Bool(flag),
        Avro::Int(number) => number.into(),
        Avro::Long(number) => number.into(),
        Avro::Float(number) => Number::from_f64(f64::from(number)).map_or(Value::Null, Value::Number),
        Avro::Double(number) => Number::from_f64(number).map_or(Value::Null, Value::Number),
        Avro::String(text) | Avro::Enum(_, text) => Value::String(text),
        Avro::Bytes(bytes) | Avro::Fixed(_, bytes) => {
            Value::String(base64::engine::general_purpose::STANDARD.encode(bytes))
        }
        Avro::Uuid(id) => Value::String(id.to_string()),
        Avro::Date(days) => {
            let epoch = Date::constant(1970, 1, 1);
            let date = epoch.checked_add(jiff::Span::new().days(days)).map_err(|_| Misfit)?;
            Value::String(date.to_string())
        }
        Avro::TimestampMillis(millis) => instant(Timestamp::from_millisecond(millis))?,
        Avro::TimestampMicros(micros) => instant(Timestamp::from_microsecond(micros))?,
        _ => return Err(Misfit),
    })
}

fn instant(read: Result<Timestamp, jiff::Error>) -> Result<Value, Misfit> {
    read.map(|instant| Value::String(instant.to_string())).map_err(|_| Misfit)
}

/// Big-endian two's complement and a scale, as text: no exponent, no trailing zeros behind the point.
fn decimal_text(digits: &[u8], scale: usize) -> Option<String> {
    if digits.len() > 16 {
        return None;
    }
    let start = if digits.first().is_some_and(|byte| byte & 0x80 != 0) { -1_i128 } else { 0 };
    let unscaled = digits.iter().fold(start, |value, byte| (value << 8) | i128::from(*byte));
    let padded = format!("{:0>width$}", unscaled.unsigned_abs(), width = scale + 1);
    let (whole, fraction) = padded.split_at(padded.len() - scale);
    let fraction = fraction.trim_end_matches('0');
    let point = if fraction.is_empty() { "" } else { "." };
    let sign = if unscaled < 0 { "-" } else { "" };
    Some(format!("{sign}{whole}{point}{fraction}"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn logical_types_become_text_and_unions_are_unwrapped() {
        let schema = Schema::parse_str(
            r#"{"type": "record", "name": "R", "fields": [
                {"name": "at", "type": ["null", {"type": "long", "logicalType": "timestamp-micros"}]},
                {"name": "day", "type": {"type": "int", "logicalType": "date"}},
                {"name": "pay", "type": {"type": "bytes", "logicalType": "decimal", "precision": 38, "scale": 6}},
                {"name": "inner", "type": {"type": "record", "name": "I", "fields": [{"name": "n", "type": "long"}]}},
                {"name": "more", "type": {"type": "array", "items": "I"}}]}"#,
        )
        .unwrap();
        let inner = |number| Avro::Record(vec![("n".to_owned(), Avro::Long(number))]);
        let value = Avro::Record(vec![
            ("at".to_owned(), Avro::Union(1, Box::new(Avro::TimestampMicros(1_700_000_000_123_456)))),
            ("day".to_owned(), Avro::Date(20_514)),
            ("pay".to_owned(), Avro::Decimal(85_000_500_000_i64.to_be_bytes().to_vec().into())),
            ("inner".to_owned(), inner(1)),
            ("more".to_owned(), Avro::Array(vec![inner(2)])),
        ]);
        let tree = TreeMaker::new(Box::leak(Box::new(schema))).unwrap().tree(value).unwrap();
        let expected = json!({"at": "2023-11-14T22:13:20.123456Z", "day": "2026-03-02", "pay": "85000.5",
            "inner": {"n": 1}, "more": [{"n": 2}]});
        assert_eq!(tree, expected);
    }

    #[test]
    fn decimals_are_exact_text() {
        let text = |number: i128, scale| decimal_text(&number.to_be_bytes(), scale).unwrap();
        assert_eq!(text(1, 6), "0.000001");
        assert_eq!(text(-1_500_000, 6), "-1.5");
        assert_eq!(text(0, 6), "0");
        assert_eq!(
            text(99_999_999_999_999_999_999_999_999_999_999_999_999, 6),
            "99999999999999999999999999999999.999999"
        );
        assert_eq!(text(120, 0), "120");
    }
}
