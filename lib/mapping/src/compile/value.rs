//! One target value of a mapping file, checked against the shape that it must have.

use hirewire_yaml::{Map, Node, Value};

use super::Compiler;
use super::constant::empty_value;
use crate::avro::put_long;
use crate::path::Path;
use crate::plan::{Convert, Emit, FieldOp, Op, Over, Part, Source, TextRule};
use crate::shape::{CodedShape, RecordShape, Shape};
use crate::time::Format;

const UNSUPPORTED: &str = "remove the line, or give the target a type that the language writes";

/// An operation that never writes.
pub(super) fn nothing(target: &str) -> Emit {
    Emit {
        target: target.to_owned(),
        op: Op::Null,
        when: None,
        required: false,
        carry: false,
        fallback: None,
        null: None,
        prefix: Vec::new(),
    }
}

impl Compiler<'_> {
    pub(super) fn value(&mut self, node: &Node, shape: &Shape, target: &str) -> Option<Emit> {
        let (inner, prefix) = match shape {
            Shape::Nullable(union) => {
                let mut prefix = Vec::new();
                put_long(1 - union.null, &mut prefix);
                (&union.inner, prefix)
            }
            other => (other, Vec::new()),
        };
        if let Shape::Unsupported(what) = inner {
            self.problems.add(node, format!("{target}: mappings cannot write {what}"), UNSUPPORTED);
            return None;
        }
        let mut emit = Emit { prefix, null: empty_value(shape), ..nothing(target) };
        match &node.value {
            Value::Plain(_) | Value::Quoted(_) => {
                emit.op = self.bare_path(node, inner, target)?;
                Some(emit)
            }
            Value::List(_) => {
                emit.op = self.array(node, inner, target)?;
                Some(emit)
            }
            Value::Map(_) => {
                let mut map = node.map(&mut self.problems)?;
                emit.when = map.get("when").and_then(|node| self.condition(node, target));
                emit.required = map.get("required").and_then(|node| node.boolean(&mut self.problems)).unwrap_or(false);
                emit.carry = map.get("unreadable").is_some_and(|node| {
                    node.choice(&[("carry", true), ("reject", false)], &mut self.problems).unwrap_or(false)
                });
                let default = map.get("default");
                emit.fallback = default.and_then(|node| self.constant(node, shape, target));
                let op = self.operation(&mut map, node, shape, inner, target);
                map.finish(&mut self.problems);
                emit.op = op?;
                if matches!(emit.op, Op::First(_) | Op::Lookup { .. } | Op::Const(_)) {
                    // Their bytes hold the union's index already.
                    emit.prefix.clear();
                }
                Some(emit)
            }
            Value::Null => {
                self.problems.add(node, format!("{target}: no value"), "write a path or a mapping, or remove the line");
                None
            }
        }
    }

    /// `field: path`: the conversion follows from the target.
    fn bare_path(&mut self, node: &Node, shape: &Shape, target: &str) -> Option<Op> {
        match shape {
            Shape::Array(_) => {
                let text = node.scalar().unwrap_or_default();
                self.problems.add(node, format!("{target}: an array needs `each`"), format!("write {{each: {text}}}"));
                None
            }
            Shape::Record(record) => {
                let what = format!("{target}: the record {} needs `fields`", record.name);
                self.problems.add(node, what, "write {from: path, fields: {…}}");
                None
            }
            Shape::Coded(coded) => {
                let what = format!("{target}: the coded value {} needs `enum`", coded.name);
                self.problems.add(node, what, "write {from: path, enum: {word: SYMBOL}}");
                None
            }
            Shape::Enum(shape) => {
                let what = format!("{target}: the enum {} needs `enum`", shape.name);
                self.problems.add(node, what, "write {from: path, enum: {word: SYMBOL}}");
                None
            }
            _ => {
                let source = Source::Path(self.single_path(node)?);
                let convert = self.convert(shape, target, None, TextRule::default(), node)?;
                Some(Op::Scalar { source, convert })
            }
        }
    }

    fn operation(&mut self, map: &mut Map<'_>, node: &Node, shape: &Shape, inner: &Shape, target: &str) -> Option<Op> {
        if let Some(record) = map.get("ref") {
            return self.reference(map, record, inner, target);
        }
        if let Some(record) = map.get("lookup") {
            return self.lookup(map, record, shape, target);
        }
        if let Some(list) = map.get("first") {
            return self.first(map, list, shape, inner, target);
        }
        let alone = super::source::SOURCE_KEYS.iter().filter(|key| node.peek(key).is_some()).count() == 1;
        if alone && node.peek("const").is_some() {
            return match map.get("const") {
                Some(value) => self.constant(value, shape, target).map(Op::Const),
                None if empty_value(shape).is_some() => Some(Op::Null),
                None => {
                    self.problems.add(node, format!("{target} cannot be null"), "give a value");
                    None
                }
            };
        }
        match inner {
            Shape::Array(_) => self.array_of(map, node, inner, target),
            Shape::Record(record) => {
                let record = record.clone();
                self.record(map, &record, target)
            }
            Shape::Coded(coded) => {
                let source = self.source_of(map, target)?;
                let coded = coded.clone();
                self.coded(map, &coded, source, target)
            }
            Shape::Enum(enumeration) => {
                let source = self.source_of(map, target)?;
                let table = map.require("enum", &mut self.problems)?;
                let name = self.inline_name(target);
                let mut table = self.tables.symbols(table, &name, target, enumeration, &mut self.problems)?;
                table.skip_others = self.skip_others(map);
                Some(Op::Enum { source, table })
            }
            _ => {
                let source = self.source_of(map, target)?;
                let formats = map.get("format").map(|node| self.formats(node, target));
                let text = self.text_rule(map, inner, target);
                let convert = self.convert(inner, target, formats, text, node)?;
                Some(Op::Scalar { source, convert })
            }
        }
    }

    fn text_rule(&mut self, map: &mut Map<'_>, shape: &Shape, target: &str) -> TextRule {
        let trim = map.get("trim");
        let html = map.get("html");
        let blank = map.get("blank");
        for node in [trim, html, blank].into_iter().flatten() {
            if *shape != Shape::Text {
                self.problems.add(node, format!("{target} is {}, not a text", shape.kind()), "remove this line");
            }
        }
        TextRule {
            trim: trim.and_then(|node| node.boolean(&mut self.problems)).unwrap_or(false),
            strip_html: html.is_some_and(|node| {
                node.choice(&[("strip", true), ("keep", false)], &mut self.problems).unwrap_or(false)
            }),
            blank_is_null: blank.is_some_and(|node| {
                node.choice(&[("absent", true), ("keep", false)], &mut self.problems).unwrap_or(false)
            }),
        }
    }

    fn convert(
        &mut self,
        shape: &Shape,
        target: &str,
        formats: Option<Vec<Format>>,
        text: TextRule,
        node: &Node,
    ) -> Option<Convert> {
        let timed = matches!(shape, Shape::Date | Shape::TimestampMicros | Shape::TimestampMillis);
        if formats.is_some() && !timed {
            let what = format!("{target} is {}: it has no format", shape.kind());
            self.problems.add(node, what, "`format` is for dates and instants");
        }
        Some(match shape {
            Shape::Boolean => Convert::Boolean,
            Shape::Int => Convert::Int,
            Shape::Long => Convert::Long,
            Shape::Float => Convert::Float,
            Shape::Double => Convert::Double,
            Shape::Text => Convert::Text(text),
            Shape::Bytes => Convert::Bytes,
            Shape::Date => Convert::Date(formats.unwrap_or_else(|| vec![Format::Date])),
            Shape::TimestampMillis => Convert::Millis(formats.unwrap_or_else(|| vec![Format::Rfc3339])),
            Shape::TimestampMicros => Convert::Micros(formats.unwrap_or_else(|| vec![Format::Rfc3339])),
            Shape::Decimal { precision, scale } => Convert::Decimal { precision: *precision, scale: *scale },
            other => {
                self.problems.add(node, format!("{target}: mappings cannot write {} here", other.kind()), UNSUPPORTED);
                return None;
            }
        })
    }

    fn reference(&mut self, map: &mut Map<'_>, record: &Node, shape: &Shape, target: &str) -> Option<Op> {
        let name = record.text(&mut self.problems)?;
        self.record_shape(record, name)?;
        if *shape != Shape::Text {
            self.problems.add(
                record,
                format!("{target} is {}: an id is a text", shape.kind()),
                "use `ref` for texts only",
            );
            return None;
        }
        let foreign = map.get("foreign").and_then(|node| node.boolean(&mut self.problems)).unwrap_or(false);
        let source = self.source_of(map, target)?;
        Some(Op::Ref { record: name.to_owned(), source, foreign })
    }

    fn lookup(&mut self, map: &mut Map<'_>, record: &Node, shape: &Shape, target: &str) -> Option<Op> {
        let name = record.text(&mut self.problems)?;
        let known = self.record_shape(record, name);
        let field_node = map.require("field", &mut self.problems);
        let source = self.source_of(map, target);
        let (known, field_node) = (known?, field_node?);
        let field_name = field_node.text(&mut self.problems)?;
        let Some(field) = known.position(field_name) else {
            let hint = hirewire_yaml::did_you_mean(field_name, known.fields.iter().map(|field| field.name.as_str()));
            self.problems.add(field_node, format!("{target}: {name} has no field \"{field_name}\""), hint);
            return None;
        };
        if known.fields[field].shape != *shape {
            let found = known.fields[field].shape.kind();
            let what = format!("{target} is {}, {name}.{field_name} is {found}", shape.kind());
            self.problems.add(field_node, what, "a look-up copies a field of exactly the same type");
            return None;
        }
        let null = matches!(shape, Shape::Nullable(_)).then(|| empty_value(shape)).flatten();
        Some(Op::Lookup { record: name.to_owned(), source: source?, field, null })
    }

    /// The first that has a value. Over plain paths it is a source, so that an enum or a format can follow.
    fn first(&mut self, map: &mut Map<'_>, list: &Node, shape: &Shape, inner: &Shape, target: &str) -> Option<Op> {
        let Value::List(items) = &list.value else {
            list.list(&mut self.problems);
            return None;
        };
        let modified =
            ["enum", "format", "table", "trim", "html", "blank"].iter().any(|key| map.node().peek(key).is_some());
        if modified {
            return self.operation_without_first(map, inner, target);
        }
        if items.is_empty() {
            self.problems.add(list, format!("{target}: an empty list of sources"), "name at least one path");
        }
        let choices: Vec<Option<Emit>> = items.iter().map(|item| self.value(item, shape, target)).collect();
        choices.into_iter().collect::<Option<Vec<_>>>().map(Op::First)
    }

    fn operation_without_first(&mut self, map: &mut Map<'_>, inner: &Shape, target: &str) -> Option<Op> {
        let source = self.source_of(map, target)?;
        match inner {
            Shape::Coded(coded) => {
                let coded = coded.clone();
                self.coded(map, &coded, source, target)
            }
            _ => {
                let formats = map.get("format").map(|node| self.formats(node, target));
                let text = self.text_rule(map, inner, target);
                let convert = self.convert(inner, target, formats, text, map.node())?;
                Some(Op::Scalar { source, convert })
            }
        }
    }

    /// `others: absent`: words without a line say nothing of this field.
    fn skip_others(&mut self, map: &mut Map<'_>) -> bool {
        map.get("others").is_some_and(|node| {
            node.choice(&[("absent", true), ("unmapped", false)], &mut self.problems).unwrap_or(false)
        })
    }

    fn coded(&mut self, map: &mut Map<'_>, shape: &CodedShape, source: Source, target: &str) -> Option<Op> {
        let table = map.require("enum", &mut self.problems)?;
        let name = self.inline_name(target);
        let mut table = self.tables.symbols(table, &name, target, &shape.value, &mut self.problems)?;
        table.skip_others = self.skip_others(map);
        let some = |shape: &Shape| match shape {
            Shape::Nullable(union) => {
                let mut prefix = Vec::new();
                put_long(1 - union.null, &mut prefix);
                prefix
            }
            _ => Vec::new(),
        };
        let none = |shape: &Shape| empty_value(shape).unwrap_or_else(|| vec![0]);
        Some(Op::Coded {
            source,
            table,
            raw: some(&shape.raw),
            no_raw: none(&shape.raw),
            rule: some(&shape.rule),
            no_rule: none(&shape.rule),
        })
    }

    /// `{from?: path, fields: {…}}`.
    fn record(&mut self, map: &mut Map<'_>, shape: &RecordShape, target: &str) -> Option<Op> {
        let scope = map.get("from").and_then(|node| {
            let text = node.text(&mut self.problems)?;
            self.path(node, text)
        });
        let fields = map.require("fields", &mut self.problems)?;
        let fields = self.record_fields(fields, shape, target)?;
        Some(Op::Record { scope, fields })
    }

    fn record_fields(&mut self, node: &Node, shape: &RecordShape, target: &str) -> Option<Vec<FieldOp>> {
        let mut fields: Vec<FieldOp> =
            shape.fields.iter().map(|field| FieldOp { emit: None, default: field.default.clone() }).collect();
        let named = self.shape_fields.resolve(node, &mut self.problems).ok()?;
        let node = named.as_ref().unwrap_or(node);
        let mut map = node.map(&mut self.problems)?;
        for (key, name, value) in map.entries() {
            let target = format!("{target}.{name}");
            match shape.position(name) {
                Some(index) => fields[index].emit = self.value(value, &shape.fields[index].shape, &target),
                None => {
                    let hint = hirewire_yaml::did_you_mean(name, shape.fields.iter().map(|field| field.name.as_str()));
                    self.problems.add(key, format!("{target}: the record {} has no such field", shape.name), hint);
                }
            }
        }
        for (field, op) in shape.fields.iter().zip(&fields) {
            if op.emit.is_none() && op.default.is_none() && node.peek(&field.name).is_none() {
                let what = format!("{target}.{}: needs a rule, the schema has no default", field.name);
                self.problems.add(node, what, "add a line for it");
            }
        }
        Some(fields)
    }

    /// `[item, {each: …}, …]`: all one after the other.
    fn array(&mut self, node: &Node, shape: &Shape, target: &str) -> Option<Op> {
        let Shape::Array(items) = shape else {
            self.problems.add(node, format!("{target} is {}, not an array", shape.kind()), "write one value");
            return None;
        };
        let list = node.list(&mut self.problems)?;
        let parts: Vec<Option<Part>> = list.iter().map(|item| self.part(item, items, target)).collect();
        parts.into_iter().collect::<Option<Vec<_>>>().map(Op::Array)
    }

    fn array_of(&mut self, map: &mut Map<'_>, node: &Node, shape: &Shape, target: &str) -> Option<Op> {
        let Shape::Array(items) = shape else { return None };
        if let Some(list) = map.get("concat") {
            return self.array(list, shape, target);
        }
        if node.peek("each").is_none() && node.peek("each_entry").is_none() {
            self.problems.add(
                node,
                format!("{target}: an array needs `each`, `each_entry` or a list"),
                "write {each: path}",
            );
            return None;
        }
        self.part_of(map, items, target).map(|part| Op::Array(vec![part]))
    }

    fn part(&mut self, node: &Node, items: &Shape, target: &str) -> Option<Part> {
        let looped = node.peek("each").is_some() || node.peek("each_entry").is_some();
        if !looped {
            let item = self.value(node, items, target)?;
            return Some(Part { over: Over::Once, when: None, filter: None, item });
        }
        let mut map = node.map(&mut self.problems)?;
        let when = map.get("when").and_then(|node| self.condition(node, target));
        let part = self.part_of(&mut map, items, target);
        map.finish(&mut self.problems);
        part.map(|part| Part { when, ..part })
    }

    /// The `each` or `each_entry` of a mapping, with what it makes of an item.
    fn part_of(&mut self, map: &mut Map<'_>, items: &Shape, target: &str) -> Option<Part> {
        let over = match (map.get("each"), map.get("each_entry")) {
            (Some(path), None) => Over::Items(self.list_path(path)?),
            (None, Some(path)) => Over::Entries(self.single_path(path)?),
            _ => {
                self.problems.add(map.node(), format!("{target}: `each` and `each_entry` at once"), "keep one");
                return None;
            }
        };
        let (value, fields, filter) = (map.get("value"), map.get("fields"), map.get("where"));
        let filter = filter.and_then(|node| self.condition(node, target));
        let target = format!("{target}[]");
        let item = match (value, fields, items) {
            (Some(value), None, items) => self.value(value, items, &target)?,
            (None, Some(fields), Shape::Record(record)) => {
                let record = record.clone();
                let fields = self.record_fields(fields, &record, &target)?;
                Emit { op: Op::Record { scope: None, fields }, ..nothing(&target) }
            }
            (None, Some(fields), other) => {
                self.problems.add(fields, format!("{target} is {}: it has no fields", other.kind()), "use `value:`");
                return None;
            }
            (None, None, Shape::Text | Shape::Long | Shape::Int | Shape::Double | Shape::Boolean) => {
                let source = Path::parse(".").ok().map(Source::Path)?;
                let convert = self.convert(items, &target, None, TextRule::default(), map.node())?;
                Emit { op: Op::Scalar { source, convert }, ..nothing(&target) }
            }
            (None, None, other) => {
                let what = format!("{target} is {}: nothing says how an item becomes one", other.kind());
                self.problems.add(map.node(), what, "add `fields: {…}` or `value: …`");
                return None;
            }
            (Some(_), Some(fields), _) => {
                self.problems.add(fields, format!("{target}: `value` and `fields` at once"), "keep one");
                return None;
            }
        };
        Some(Part { over, when: None, filter, item })
    }
}
