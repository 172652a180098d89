//! What a collector reads: an `ExportTraceServiceRequest` in protobuf, as the JSON that OTLP has for the same.
//!
//! It knows the numbers of trace.proto, resource.proto and common.proto, and shares no code with who writes them. Bytes that are no
//! protobuf, and fields that are not there in these files, end the test that looks at them.
#![allow(clippy::unwrap_used)]

use serde_json::{Map, Value, json};

/// The spans of a request, each with the name of its service.
#[must_use]
pub fn spans(request: &[u8]) -> Vec<(String, Value)> {
    let mut spans = Vec::new();
    for (number, of_resource) in fields(request) {
        assert_eq!(number, 1);
        let (mut service, mut own) = (None, Vec::new());
        for (number, part) in fields(of_resource.bytes()) {
            match number {
                1 => service = fields(part.bytes()).into_iter().map(|(_, one)| attribute(one.bytes())).find_map(name),
                2 => own.extend(
                    fields(part.bytes()).into_iter().filter(|(n, _)| *n == 2).map(|(_, one)| span(one.bytes())),
                ),
                other => panic!("ResourceSpans has no field {other}"),
            }
        }
        let service = service.unwrap();
        spans.extend(own.into_iter().map(|span| (service.clone(), span)));
    }
    spans
}

fn name(attribute: Value) -> Option<String> {
    (attribute["key"] == "service.name").then(|| attribute["value"]["stringValue"].as_str().unwrap().to_owned())
}

fn span(bytes: &[u8]) -> Value {
    let mut span = Map::new();
    let (mut attributes, mut links) = (Vec::new(), Vec::new());
    for (number, field) in fields(bytes) {
        let (key, value) = match number {
            1 => ("traceId", hex(field.bytes())),
            2 => ("spanId", hex(field.bytes())),
            4 => ("parentSpanId", hex(field.bytes())),
            5 => ("name", text(field.bytes())),
            6 => ("kind", field.number().into()),
            7 => ("startTimeUnixNano", field.number().to_string().into()),
            8 => ("endTimeUnixNano", field.number().to_string().into()),
            9 => {
                attributes.push(attribute(field.bytes()));
                continue;
            }
            13 => {
                links.push(link(field.bytes()));
                continue;
            }
            15 => ("status", status(field.bytes())),
            16 => ("flags", field.number().into()),
            other => panic!("Span has no field {other} that we write"),
        };
        assert!(span.insert(key.to_owned(), value).is_none(), "{key} stands twice");
    }
    span.insert("attributes".to_owned(), attributes.into());
    span.insert("links".to_owned(), links.into());
    span.into()
}

fn link(bytes: &[u8]) -> Value {
    let mut link = json!({});
    for (number, field) in fields(bytes) {
        match number {
            1 => link["traceId"] = hex(field.bytes()),
            2 => link["spanId"] = hex(field.bytes()),
            6 => link["flags"] = field.number().into(),
            other => panic!("Link has no field {other} that we write"),
        }
    }
    link
}

fn status(bytes: &[u8]) -> Value {
    let mut status = json!({});
    for (number, field) in fields(bytes) {
        match number {
            2 => status["message"] = text(field.bytes()),
            3 => status["code"] = field.number().into(),
            other => panic!("Status has no field {other}"),
        }
    }
    status
}

fn attribute(bytes: &[u8]) -> Value {
    let [(1, key), (2, value)] = fields(bytes)[..] else { panic!("KeyValue is a key and a value: {bytes:?}") };
    let value = match fields(value.bytes())[..] {
        [(1, one)] => json!({"stringValue": text(one.bytes())}),
        [(3, one)] => json!({"intValue": one.number().to_string()}),
        _ => panic!("this AnyValue is none that we write: {bytes:?}"),
    };
    json!({"key": text(key.bytes()), "value": value})
}

fn hex(bytes: &[u8]) -> Value {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>().into()
}

fn text(bytes: &[u8]) -> Value {
    std::str::from_utf8(bytes).unwrap().into()
}

/// A field's value.
#[derive(Clone, Copy)]
enum Field<'a> {
    Number(u64),
    Bytes(&'a [u8]),
}

impl<'a> Field<'a> {
    fn bytes(self) -> &'a [u8] {
        let Self::Bytes(bytes) = self else { panic!("a number where bytes should be") };
        bytes
    }

    fn number(self) -> u64 {
        let Self::Number(number) = self else { panic!("bytes where a number should be") };
        number
    }
}

/// The fields of a message with their numbers (<https://protobuf.dev/programming-guides/encoding/>).
fn fields(mut rest: &[u8]) -> Vec<(u64, Field<'_>)> {
    let mut fields = Vec::new();
    while !rest.is_empty() {
        let tag = varint(&mut rest);
        let field = match tag & 7 {
            0 => Field::Number(varint(&mut rest)),
            1 => Field::Number(u64::from_le_bytes(taken(&mut rest, 8).try_into().unwrap())),
            2 => {
                let length = usize::try_from(varint(&mut rest)).unwrap();
                Field::Bytes(taken(&mut rest, length))
            }
            5 => Field::Number(u32::from_le_bytes(taken(&mut rest, 4).try_into().unwrap()).into()),
            other => panic!("protobuf has no wire type {other}"),
        };
        fields.push((tag >> 3, field));
    }
    fields
}

fn taken<'a>(rest: &mut &'a [u8], length: usize) -> &'a [u8] {
    let (taken, after) = rest.split_at(length);
    *rest = after;
    taken
}

fn varint(rest: &mut &[u8]) -> u64 {
    let mut value = 0;
    for shift in (0..).step_by(7) {
        let byte = taken(rest, 1)[0];
        value |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            break;
        }
    }
    value
}
