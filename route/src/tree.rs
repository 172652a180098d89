//! An encoded Avro record as a tree: what conditions, templates and tables read.
//!
//! Instants become RFC 3339 text in UTC, dates YYYY-MM-DD, decimals text without trailing zeros, bytes base64; unions
//! are unwrapped. The bytes are read straight into the tree, by a plan that is made of their schema once: of every record that
//! any sink takes, and that the context follows, one is made. Bytes that end too early, or do not end with the record, are no
//! record.

use std::collections::HashMap;

use apache_avro::Schema;
use apache_avro::schema::{InnerDecimalSchema, Name, NamesRef, ResolvedSchema, UuidSchema};
use base64::Engine as _;
use hirewire_mapping::avro::{read_bytes, read_long};
use jiff::Timestamp;
use jiff::civil::Date;
use serde_json::{Number, Value};
use uuid::Uuid;

/// The bytes do not fit the schema they are read with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the bytes do not fit their schema")]
pub(crate) struct Misfit;

/// Values inside of each other; a schema that contains itself could be nested for ever.
const DEEPEST: usize = 64;

/// Makes trees of records of one schema.
pub(crate) struct TreeMaker {
    root: Shape,
    /// Of the types that are named elsewhere than they are declared.
    named: Vec<Shape>,
}

/// How bytes are read.
#[derive(Debug)]
enum Shape {
    Null,
    Boolean,
    Int,
    Long,
    Float,
    Double,
    Text,
    Bytes,
    Fixed(usize),
    UuidText,
    UuidBytes,
    Date,
    Millis,
    Micros,
    /// `size`: `None`, it stands before the digits.
    Decimal {
        scale: usize,
        size: Option<usize>,
    },
    Enum(Vec<String>),
    Array(Box<Self>),
    Map(Box<Self>),
    Union(Vec<Self>),
    Record(Vec<(String, Self)>),
    /// By its place in [`TreeMaker::named`].
    Named(usize),
    /// Of a type that no canonical record has: nothing is made of it.
    Foreign,
}

impl TreeMaker {
    /// # Errors
    /// When the schema names a type that it does not hold.
    pub(crate) fn new(schema: &Schema) -> Result<Self, Box<apache_avro::Error>> {
        let resolved = ResolvedSchema::try_from(schema).map_err(Box::new)?;
        let mut planner = Planner { names: resolved.get_names(), places: HashMap::new(), named: Vec::new() };
        let root = planner.shape(schema);
        Ok(Self { root, named: planner.named })
    }

    /// # Errors
    /// When the bytes are not of the schema.
    pub(crate) fn tree(&self, record: &[u8]) -> Result<Value, Misfit> {
        let mut reader = Reader { rest: record, named: &self.named };
        let tree = reader.read(&self.root, 0)?;
        if reader.rest.is_empty() { Ok(tree) } else { Err(Misfit) }
    }
}

struct Planner<'a> {
    names: &'a NamesRef<'a>,
    places: HashMap<&'a Name, usize>,
    named: Vec<Shape>,
}

impl<'a> Planner<'a> {
    fn shape(&mut self, schema: &'a Schema) -> Shape {
        match schema {
            Schema::Null => Shape::Null,
            Schema::Boolean => Shape::Boolean,
            Schema::Int => Shape::Int,
            Schema::Long => Shape::Long,
            Schema::Float => Shape::Float,
            Schema::Double => Shape::Double,
            Schema::String => Shape::Text,
            Schema::Bytes => Shape::Bytes,
            Schema::Fixed(fixed) => Shape::Fixed(fixed.size),
            Schema::Uuid(UuidSchema::String) => Shape::UuidText,
            Schema::Uuid(UuidSchema::Bytes) => Shape::Foreign,
            Schema::Uuid(UuidSchema::Fixed(_)) => Shape::UuidBytes,
            Schema::Date => Shape::Date,
            Schema::TimestampMillis => Shape::Millis,
            Schema::TimestampMicros => Shape::Micros,
            Schema::Decimal(decimal) => {
                let size = match &decimal.inner {
                    InnerDecimalSchema::Bytes => None,
                    InnerDecimalSchema::Fixed(fixed) => Some(fixed.size),
                };
                Shape::Decimal { scale: decimal.scale, size }
            }
            Schema::Enum(known) => Shape::Enum(known.symbols.clone()),
            Schema::Array(array) => Shape::Array(Box::new(self.shape(&array.items))),
            Schema::Map(map) => Shape::Map(Box::new(self.shape(&map.types))),
            Schema::Union(union) => Shape::Union(union.variants().iter().map(|variant| self.shape(variant)).collect()),
            Schema::Record(record) => {
                let fields = record.fields.iter().map(|field| (field.name.clone(), self.shape(&field.schema)));
                Shape::Record(fields.collect())
            }
            Schema::Ref { name } => self.named(name),
            Schema::BigDecimal
            | Schema::TimeMillis
            | Schema::TimeMicros
            | Schema::TimestampNanos
            | Schema::LocalTimestampMillis
            | Schema::LocalTimestampMicros
            | Schema::LocalTimestampNanos
            | Schema::Duration(_) => Shape::Foreign,
        }
    }

    fn named(&mut self, name: &'a Name) -> Shape {
        let Some(schema) = self.names.get(name).copied() else { return Shape::Foreign };
        if let Some(place) = self.places.get(name) {
            return Shape::Named(*place);
        }
        // Its place is known before it is planned: it may contain itself.
        let place = self.named.len();
        self.places.insert(name, place);
        self.named.push(Shape::Foreign);
        let shape = self.shape(schema);
        if let Some(planned) = self.named.get_mut(place) {
            *planned = shape;
        }
        Shape::Named(place)
    }
}

struct Reader<'a> {
    rest: &'a [u8],
    named: &'a [Shape],
}

impl<'a> Reader<'a> {
    fn read(&mut self, shape: &Shape, depth: usize) -> Result<Value, Misfit> {
        if depth > DEEPEST {
            return Err(Misfit);
        }
        Ok(match shape {
            Shape::Null => Value::Null,
            Shape::Boolean => match self.take(1)? {
                [0] => Value::Bool(false),
                [1] => Value::Bool(true),
                _ => return Err(Misfit),
            },
            Shape::Int => self.int()?.into(),
            Shape::Long => self.long()?.into(),
            Shape::Float => {
                let number = f32::from_le_bytes(self.array()?);
                Number::from_f64(f64::from(number)).map_or(Value::Null, Value::Number)
            }
            Shape::Double => Number::from_f64(f64::from_le_bytes(self.array()?)).map_or(Value::Null, Value::Number),
            Shape::Text => Value::String(self.text()?),
            Shape::Bytes => base64(self.bytes()?),
            Shape::Fixed(size) => base64(self.take(*size)?),
            Shape::UuidText => Value::String(Uuid::parse_str(&self.text()?).map_err(|_| Misfit)?.to_string()),
            Shape::UuidBytes => Value::String(Uuid::from_bytes(self.array()?).to_string()),
            Shape::Date => {
                let epoch = Date::constant(1970, 1, 1);
                let days = jiff::Span::new().try_days(self.int()?).map_err(|_| Misfit)?;
                Value::String(epoch.checked_add(days).map_err(|_| Misfit)?.to_string())
            }
            Shape::Millis => instant(Timestamp::from_millisecond(self.long()?))?,
            Shape::Micros => instant(Timestamp::from_microsecond(self.long()?))?,
            Shape::Decimal { scale, size } => {
                let digits = match size {
                    Some(size) => self.take(*size)?,
                    None => self.bytes()?,
                };
                Value::String(decimal_text(digits, *scale).ok_or(Misfit)?)
            }
            Shape::Enum(symbols) => {
                let index = usize::try_from(self.int()?).map_err(|_| Misfit)?;
                Value::String(symbols.get(index).ok_or(Misfit)?.clone())
            }
            Shape::Array(items) => {
                let mut array = Vec::new();
                while let Some(count) = self.block()? {
                    for _ in 0..count {
                        array.push(self.read(items, depth + 1)?);
                    }
                }
                Value::Array(array)
            }
            Shape::Map(values) => {
                let mut map = serde_json::Map::new();
                while let Some(count) = self.block()? {
                    for _ in 0..count {
                        let key = self.text()?;
                        map.insert(key, self.read(values, depth + 1)?);
                    }
                }
                Value::Object(map)
            }
            Shape::Union(variants) => {
                let index = usize::try_from(self.long()?).map_err(|_| Misfit)?;
                self.read(variants.get(index).ok_or(Misfit)?, depth + 1)?
            }
            Shape::Record(fields) => {
                let mut record = serde_json::Map::new();
                for (name, shape) in fields {
                    record.insert(name.clone(), self.read(shape, depth + 1)?);
                }
                Value::Object(record)
            }
            Shape::Named(place) => self.read(self.named.get(*place).ok_or(Misfit)?, depth + 1)?,
            Shape::Foreign => return Err(Misfit),
        })
    }

    fn take(&mut self, count: usize) -> Result<&'a [u8], Misfit> {
        let (taken, rest) = self.rest.split_at_checked(count).ok_or(Misfit)?;
        self.rest = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Misfit> {
        let (taken, rest) = self.rest.split_first_chunk().ok_or(Misfit)?;
        self.rest = rest;
        Ok(*taken)
    }

    fn long(&mut self) -> Result<i64, Misfit> {
        read_long(&mut self.rest).ok_or(Misfit)
    }

    fn int(&mut self) -> Result<i32, Misfit> {
        i32::try_from(self.long()?).map_err(|_| Misfit)
    }

    /// The items of the next block of an array or map; `None` behind the last.
    fn block(&mut self) -> Result<Option<u64>, Misfit> {
        let count = self.long()?;
        if count < 0 {
            // Its size in bytes, for those who skip it.
            self.long()?;
        }
        // No item of a canonical record takes no byte: more items than bytes are none.
        let count = count.unsigned_abs();
        if count > self.rest.len() as u64 {
            return Err(Misfit);
        }
        Ok((count > 0).then_some(count))
    }

    fn bytes(&mut self) -> Result<&'a [u8], Misfit> {
        read_bytes(&mut self.rest).ok_or(Misfit)
    }

    fn text(&mut self) -> Result<String, Misfit> {
        std::str::from_utf8(self.bytes()?).map(str::to_owned).map_err(|_| Misfit)
    }
}

fn base64(bytes: &[u8]) -> Value {
    Value::String(base64::engine::general_purpose::STANDARD.encode(bytes))
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
    use apache_avro::types::Value as Avro;
    use apache_avro::writer::datum::GenericDatumWriter;
    use fastrand::Rng;
    use hirewire_schemas::Entity;
    use serde_json::json;

    use super::*;

    fn encode(schema: &Schema, value: Avro) -> Vec<u8> {
        GenericDatumWriter::builder(schema).build().unwrap().write_value_to_vec(value).unwrap()
    }

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
        let tree = TreeMaker::new(&schema).unwrap().tree(&encode(&schema, value)).unwrap();
        let expected = json!({"at": "2023-11-14T22:13:20.123456Z", "day": "2026-03-02", "pay": "85000.5",
            "inner": {"n": 1}, "more": [{"n": 2}]});
        assert_eq!(tree, expected);
    }

    /// Some value of a schema; and what must be made of it, by the schema and not by a plan.
    fn some(schema: &Schema, names: &NamesRef<'_>, dice: &mut Rng) -> (Avro, Value) {
        let text = |dice: &mut Rng| -> String {
            (0..dice.usize(..9)).map(|_| ['a', 'Z', 'ß', '\u{1f600}', '"'][dice.usize(..5)]).collect()
        };
        match schema {
            Schema::Null => (Avro::Null, Value::Null),
            Schema::Boolean => {
                let flag = dice.bool();
                (Avro::Boolean(flag), flag.into())
            }
            Schema::Int => {
                let number = dice.i32(..) >> dice.u32(..32);
                (Avro::Int(number), number.into())
            }
            Schema::Long => {
                let number = dice.i64(..) >> dice.u32(..64);
                (Avro::Long(number), number.into())
            }
            Schema::Double => {
                let number = dice.f64();
                (Avro::Double(number), number.into())
            }
            Schema::String => {
                let text = text(dice);
                (Avro::String(text.clone()), text.into())
            }
            Schema::Date => {
                let days = dice.i32(-10_000..40_000);
                let day = Date::constant(1970, 1, 1).checked_add(jiff::Span::new().days(days)).unwrap();
                (Avro::Date(days), day.to_string().into())
            }
            Schema::TimestampMicros => {
                let micros = dice.i64(-1_000_000_000_000..4_000_000_000_000_000);
                let at = Timestamp::from_microsecond(micros).unwrap();
                (Avro::TimestampMicros(micros), at.to_string().into())
            }
            Schema::Decimal(decimal) => {
                let number = dice.i64(..) >> dice.u32(..64);
                let bytes = number.to_be_bytes();
                let text = decimal_text(&bytes, decimal.scale).unwrap();
                (Avro::Decimal(bytes.to_vec().into()), text.into())
            }
            Schema::Enum(known) => {
                let index = dice.usize(..known.symbols.len());
                let symbol = known.symbols[index].clone();
                (Avro::Enum(index as u32, symbol.clone()), symbol.into())
            }
            Schema::Array(array) => {
                let all: Vec<(Avro, Value)> = (0..dice.usize(..4)).map(|_| some(&array.items, names, dice)).collect();
                let (avro, tree): (Vec<Avro>, Vec<Value>) = all.into_iter().unzip();
                (Avro::Array(avro), tree.into())
            }
            Schema::Map(map) => {
                let (avro, tree) = some(&map.types, names, dice);
                let key = text(dice);
                (Avro::Map(HashMap::from([(key.clone(), avro)])), json!({key: tree}))
            }
            Schema::Union(union) => {
                let index = dice.usize(..union.variants().len());
                let (avro, tree) = some(&union.variants()[index], names, dice);
                (Avro::Union(index as u32, Box::new(avro)), tree)
            }
            Schema::Record(record) => {
                let mut fields = Vec::new();
                let mut tree = serde_json::Map::new();
                for field in &record.fields {
                    let (avro, value) = some(&field.schema, names, dice);
                    fields.push((field.name.clone(), avro));
                    tree.insert(field.name.clone(), value);
                }
                (Avro::Record(fields), tree.into())
            }
            Schema::Ref { name } => some(names[name], names, dice),
            other => panic!("no canonical record has {other:?}"),
        }
    }

    /// What apache-avro writes of each entity is read again; nothing that was cut short or goes on is, and whatever else the
    /// bytes are, they are refused or read.
    #[test]
    fn records_of_every_entity_are_what_was_written_and_half_of_one_is_none() {
        let mut dice = Rng::with_seed(7);
        for entity in Entity::ALL {
            let schema = &entity.schema().avro;
            let names = ResolvedSchema::try_from(schema).unwrap();
            let maker = TreeMaker::new(schema).unwrap();
            for _ in 0..50 {
                let (avro, expected) = some(schema, names.get_names(), &mut dice);
                let mut bytes = encode(schema, avro);
                assert_eq!(maker.tree(&bytes), Ok(expected), "{entity}");
                let cut = dice.usize(..bytes.len());
                assert_eq!(maker.tree(&bytes[..cut]), Err(Misfit), "{entity} without its end");
                bytes.push(0);
                assert_eq!(maker.tree(&bytes), Err(Misfit), "{entity} and more");
                for _ in 0..20 {
                    let at = dice.usize(..bytes.len());
                    bytes[at] = dice.u8(..);
                    let _read_or_not = maker.tree(&bytes).is_ok();
                }
            }
        }
    }

    #[test]
    fn numbers_that_no_writer_writes_are_refused() {
        let of = |schema: &str, bytes: &[u8]| TreeMaker::new(&Schema::parse_str(schema).unwrap()).unwrap().tree(bytes);
        let long = |bytes: &[u8]| of("\"long\"", bytes);
        assert_eq!(long(&[1]), Ok(json!(-1)));
        assert_eq!(long(&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1]), Ok(json!(i64::MIN)));
        assert_eq!(long(&[0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1]), Ok(json!(i64::MAX)));
        assert_eq!(long(&[0xff; 10]), Err(Misfit));
        assert_eq!(long(&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2]), Err(Misfit));
        assert_eq!(of("\"int\"", &[0x80, 0x80, 0x80, 0x80, 0x10]), Err(Misfit));
        // A block of two with its size, and the end.
        let list = r#"{"type": "array", "items": "int"}"#;
        assert_eq!(of(list, &[3, 4, 2, 4, 0]), Ok(json!([1, 2])));
        assert_eq!(of(list, &[0xfe, 0xff, 0xff, 0xff, 0x0f, 0]), Err(Misfit), "more items than bytes");
        let endless = r#"{"type": "record", "name": "R", "fields": [{"name": "r", "type": ["null", "R"]}]}"#;
        assert_eq!(of(endless, &[2, 2, 0]), Ok(json!({"r": {"r": {"r": null}}})));
        assert_eq!(of(endless, &[2; 1000]), Err(Misfit), "nested without an end");
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
