//! An `ExportTraceServiceRequest` in protobuf: spans in, bytes out.
//!
//! Written in one pass into one buffer. By hand: seven messages that never change their numbers
//! (<https://github.com/open-telemetry/opentelemetry-proto/blob/main/opentelemetry/proto/trace/v1/trace.proto>).

use std::collections::BTreeMap;
use std::time::{SystemTime, UNIX_EPOCH};

use super::{Span, Value};
use crate::TraceParent;

/// About as long as a span is.
const SPAN_BYTES: usize = 384;

pub(super) fn encode(batch: &[Span], release: &str) -> Vec<u8> {
    let mut services: BTreeMap<&str, Vec<&Span>> = BTreeMap::new();
    batch.iter().for_each(|span| services.entry(span.service).or_default().push(span));
    let mut request = Message(Vec::with_capacity(batch.len() * SPAN_BYTES));
    for (service, spans) in services {
        request.message(1, |of_resource| {
            of_resource.message(1, |own| {
                own.attribute(1, "service.namespace", &Value::Word("hirewire"));
                own.attribute(1, "service.name", &Value::Text(format!("hirewire-{service}")));
                own.attribute(1, "service.version", &Value::Text(release.to_owned()));
            });
            of_resource.message(2, |of_scope| {
                of_scope.message(1, |scope| {
                    scope.bytes(1, b"hirewire");
                    scope.bytes(2, release.as_bytes());
                });
                spans.into_iter().for_each(|span| of_scope.message(2, |own| own.span(span)));
            });
        });
    }
    request.0
}

/// The bytes of one message. Fields of the value that is the default are left out by the callers.
#[derive(Default)]
struct Message(Vec<u8>);

/// How a field's value is written.
#[derive(Clone, Copy)]
enum Wire {
    Varint = 0,
    Fixed64 = 1,
    Length = 2,
    Fixed32 = 5,
}

impl Message {
    fn span(&mut self, span: &Span) {
        self.ids(&span.own);
        if let Some(parent) = &span.parent {
            self.bytes(4, &parent.span_bytes());
        }
        self.bytes(5, span.name.as_bytes());
        self.varint(6, span.kind as u64);
        self.fixed64(7, nanos(span.began));
        self.fixed64(8, nanos(span.ended.max(span.began)));
        span.attributes.iter().for_each(|(key, value)| self.attribute(9, key, value));
        for to in &span.links {
            self.message(13, |link| {
                link.ids(to);
                link.fixed32(6, 1);
            });
        }
        if let Some(failed) = span.failed {
            self.message(15, |status| {
                status.bytes(2, failed.as_bytes());
                status.varint(3, 2);
            });
        }
        self.fixed32(16, 1);
    }

    /// As a span and as a link begin.
    fn ids(&mut self, of: &TraceParent) {
        self.bytes(1, &of.trace_bytes());
        self.bytes(2, &of.span_bytes());
    }

    fn attribute(&mut self, field: u64, key: &str, value: &Value) {
        self.message(field, |pair| {
            pair.bytes(1, key.as_bytes());
            pair.message(2, |any| match value {
                Value::Word(text) => any.bytes(1, text.as_bytes()),
                Value::Name(text) => any.bytes(1, text.as_bytes()),
                Value::Text(text) => any.bytes(1, text.as_bytes()),
                // Negative ones as protobuf has them: in two's complement.
                Value::Number(number) => any.varint(3, u64::from_ne_bytes(number.to_ne_bytes())),
            });
        });
    }

    /// One byte is left for the length; what turns out longer is moved up.
    fn message(&mut self, field: u64, fill: impl FnOnce(&mut Self)) {
        self.tag(field, Wire::Length);
        let length_at = self.0.len();
        self.0.push(0);
        fill(self);
        let length = self.0.len() - length_at - 1;
        match (u8::try_from(length), self.0.get_mut(length_at)) {
            (Ok(short @ 0..=0x7f), Some(place)) => *place = short,
            _ => {
                let mut encoded = Self::default();
                encoded.number(length as u64);
                self.0.splice(length_at..=length_at, encoded.0);
            }
        }
    }

    fn bytes(&mut self, field: u64, value: &[u8]) {
        self.tag(field, Wire::Length);
        self.number(value.len() as u64);
        self.0.extend_from_slice(value);
    }

    fn varint(&mut self, field: u64, value: u64) {
        self.tag(field, Wire::Varint);
        self.number(value);
    }

    fn fixed64(&mut self, field: u64, value: u64) {
        self.tag(field, Wire::Fixed64);
        self.0.extend_from_slice(&value.to_le_bytes());
    }

    fn fixed32(&mut self, field: u64, value: u32) {
        self.tag(field, Wire::Fixed32);
        self.0.extend_from_slice(&value.to_le_bytes());
    }

    fn tag(&mut self, field: u64, wire: Wire) {
        self.number(field << 3 | wire as u64);
    }

    /// Seven bits a byte, the lowest first.
    fn number(&mut self, mut value: u64) {
        loop {
            let [low, ..] = value.to_le_bytes();
            value >>= 7;
            if value == 0 {
                return self.0.push(low & 0x7f);
            }
            self.0.push(low | 0x80);
        }
    }
}

/// Since 1970; enough until 2554.
fn nanos(time: SystemTime) -> u64 {
    u64::try_from(time.duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_fields_are_written_as_the_encoding_says() {
        let mut message = Message::default();
        // The example of the encoding's own page: field 1 is 150.
        message.varint(1, 150);
        message.message(3, |inner| inner.varint(1, 150));
        message.fixed32(16, 1);
        assert_eq!(message.0, [0x08, 0x96, 0x01, 0x1a, 0x03, 0x08, 0x96, 0x01, 0x85, 0x01, 1, 0, 0, 0]);
    }

    #[test]
    fn the_length_of_a_message_is_that_of_what_it_holds_however_long() {
        for length in [0, 127, 128, 16_383, 16_384, 70_000] {
            let mut message = Message::default();
            message.message(1, |outer| outer.message(2, |inner| inner.0.resize(inner.0.len() + length, 7)));
            let mut expected = Message::default();
            let mut inner = Message::default();
            inner.bytes(2, &vec![7; length]);
            expected.bytes(1, &inner.0);
            assert_eq!(message.0, expected.0, "{length}");
        }
    }
}
