//! The shape of encoded values: enough of a schema to step over one.

use std::collections::HashMap;

use apache_avro::Schema;
use hirewire_mapping::avro::{read_bytes, read_long};

/// What comes next in encoded bytes.
#[derive(Clone, Debug)]
pub enum Shape {
    Nothing,
    Byte,
    Long,
    /// Length and bytes.
    Bytes,
    Fixed(usize),
    Record(Vec<Shape>),
    Array(Box<Shape>),
    /// String keys.
    Map(Box<Shape>),
    Union(Vec<Shape>),
}

impl Shape {
    /// Shapes of the fields of a record schema. None: something here is not supported (a recursive type).
    #[must_use]
    pub fn of_fields(schema: &Schema) -> Option<Vec<Self>> {
        match Self::of(schema, &mut HashMap::new())? {
            Self::Record(fields) => Some(fields),
            _ => None,
        }
    }

    fn of(schema: &Schema, named: &mut HashMap<String, Self>) -> Option<Self> {
        Some(match schema {
            Schema::Null => Self::Nothing,
            Schema::Boolean => Self::Byte,
            Schema::Int
            | Schema::Long
            | Schema::Date
            | Schema::TimeMillis
            | Schema::TimeMicros
            | Schema::TimestampMillis
            | Schema::TimestampMicros
            | Schema::TimestampNanos
            | Schema::LocalTimestampMillis
            | Schema::LocalTimestampMicros
            | Schema::LocalTimestampNanos => Self::Long,
            Schema::Float => Self::Fixed(4),
            Schema::Double => Self::Fixed(8),
            Schema::Bytes | Schema::String | Schema::BigDecimal => Self::Bytes,
            Schema::Decimal(decimal) => match &decimal.inner {
                apache_avro::schema::InnerDecimalSchema::Bytes => Self::Bytes,
                apache_avro::schema::InnerDecimalSchema::Fixed(fixed) => Self::Fixed(fixed.size),
            },
            Schema::Uuid(_) => Self::Bytes,
            Schema::Fixed(fixed) => keep(named, fixed.name.as_ref(), Self::Fixed(fixed.size)),
            Schema::Enum(symbols) => keep(named, symbols.name.as_ref(), Self::Long),
            Schema::Array(array) => Self::Array(Box::new(Self::of(&array.items, named)?)),
            Schema::Map(map) => Self::Map(Box::new(Self::of(&map.types, named)?)),
            Schema::Union(union) => {
                Self::Union(union.variants().iter().map(|variant| Self::of(variant, named)).collect::<Option<_>>()?)
            }
            Schema::Record(record) => {
                let fields = record.fields.iter().map(|field| Self::of(&field.schema, named)).collect::<Option<_>>()?;
                keep(named, record.name.as_ref(), Self::Record(fields))
            }
            Schema::Ref { name } => named.get(name.as_ref())?.clone(),
            Schema::Duration(_) => Self::Fixed(12),
        })
    }

    /// Steps over one value. None: the bytes do not fit.
    pub fn skip(&self, rest: &mut &[u8]) -> Option<()> {
        match self {
            Self::Nothing => {}
            Self::Byte => *rest = rest.get(1..)?,
            Self::Long => drop(read_long(rest)?),
            Self::Bytes => drop(read_bytes(rest)?),
            Self::Fixed(size) => *rest = rest.get(*size..)?,
            Self::Record(fields) => fields.iter().try_for_each(|field| field.skip(rest))?,
            Self::Union(variants) => {
                let index = usize::try_from(read_long(rest)?).ok()?;
                variants.get(index)?.skip(rest)?;
            }
            Self::Array(item) => blocks(rest, |rest| item.skip(rest))?,
            Self::Map(value) => blocks(rest, |rest| {
                let _key = read_bytes(rest)?;
                value.skip(rest)
            })?,
        }
        Some(())
    }
}

fn keep(named: &mut HashMap<String, Shape>, name: &str, shape: Shape) -> Shape {
    named.insert(name.to_owned(), shape.clone());
    shape
}

fn blocks(rest: &mut &[u8], mut item: impl FnMut(&mut &[u8]) -> Option<()>) -> Option<()> {
    loop {
        let mut count = read_long(rest)?;
        if count == 0 {
            return Some(());
        }
        if count < 0 {
            let _bytes = read_long(rest)?;
            count = count.checked_neg()?;
        }
        for _ in 0..count {
            item(rest)?;
        }
    }
}
