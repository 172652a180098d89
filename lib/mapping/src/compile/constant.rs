//! Constants of a mapping file → their encodings.

use hirewire_yaml::{Node, Value};

use super::Compiler;
use crate::avro::{put_bytes, put_decimal, put_long};
use crate::shape::Shape;
use crate::time::Format;

impl Compiler<'_> {
    /// The encoding of a constant of the target's type.
    pub(super) fn constant(&mut self, node: &Node, shape: &Shape, target: &str) -> Option<Vec<u8>> {
        let mut out = Vec::new();
        let inner = match shape {
            Shape::Nullable(union) => {
                put_long(1 - union.null, &mut out);
                &union.inner
            }
            other => other,
        };
        let text = node.text(&mut self.problems)?;
        let plain = matches!(node.value, Value::Plain(_));
        let done = match inner {
            Shape::Text => {
                put_bytes(text.as_bytes(), &mut out);
                true
            }
            Shape::Boolean => match (text, plain) {
                ("true", true) => {
                    out.push(1);
                    true
                }
                ("false", true) => {
                    out.push(0);
                    true
                }
                _ => false,
            },
            Shape::Int | Shape::Long => text.parse::<i64>().is_ok_and(|number| {
                put_long(number, &mut out);
                plain && (*inner == Shape::Long || i32::try_from(number).is_ok())
            }),
            Shape::Double => text.parse::<f64>().is_ok_and(|number| {
                out.extend_from_slice(&number.to_le_bytes());
                true
            }),
            Shape::Decimal { precision, scale } => {
                crate::decimal::unscaled(text, *precision, *scale).is_ok_and(|value| {
                    put_decimal(value, &mut out);
                    true
                })
            }
            Shape::Date => crate::time::date(text, Format::Date).is_some_and(|days| {
                put_long(days.into(), &mut out);
                true
            }),
            Shape::TimestampMicros => crate::time::instant(text, Format::Rfc3339).is_some_and(|micros| {
                put_long(micros, &mut out);
                true
            }),
            Shape::Enum(shape) => return self.symbol(node, text, &shape.symbols, &shape.name, target, out),
            Shape::Coded(shape) => {
                let mut out = self.symbol(node, text, &shape.value.symbols, &shape.name, target, out)?;
                out.extend(empty_value(&shape.raw).unwrap_or_else(|| vec![0]));
                if let Shape::Nullable(union) = &shape.rule {
                    put_long(1 - union.null, &mut out);
                }
                put_bytes(format!("{}/const", self.inline_name(target)).as_bytes(), &mut out);
                return Some(out);
            }
            _ => false,
        };
        if !done {
            let what = format!("{target}: \"{text}\" is not {}", inner.kind());
            self.problems.add(node, what, "a constant has the target's type");
            return None;
        }
        Some(out)
    }

    fn symbol(
        &mut self,
        node: &Node,
        text: &str,
        symbols: &[String],
        name: &str,
        target: &str,
        mut out: Vec<u8>,
    ) -> Option<Vec<u8>> {
        if crate::shape::put_symbol(symbols, text, &mut out) {
            return Some(out);
        }
        let hint = hirewire_yaml::did_you_mean(text, symbols.iter().map(String::as_str));
        self.problems.add(node, format!("{target}: {name} has no symbol \"{text}\""), hint);
        None
    }
}

/// How an explicit null of the source is written; `None`: the type cannot be empty.
pub(super) fn empty_value(shape: &Shape) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    match shape {
        Shape::Nullable(union) => put_long(union.null, &mut out),
        Shape::Array(_) | Shape::Map(_) => out.push(0),
        Shape::Coded(coded) => {
            put_long(0, &mut out);
            out.extend(empty_value(&coded.raw).unwrap_or_else(|| vec![0]));
            out.extend(empty_value(&coded.rule).unwrap_or_else(|| vec![0]));
        }
        _ => return None,
    }
    Some(out)
}
