//! An `ExportTraceServiceRequest` in protobuf, for gRPC: spans in, bytes out.
//!
//! By hand: seven messages that never change their numbers
//! (<https://github.com/open-telemetry/opentelemetry-proto/blob/main/opentelemetry/proto/trace/v1/trace.proto>).

use super::{Span, by_service, nanos, resource};
use crate::TraceParent;

pub(super) fn encode(batch: &[Span], release: &str) -> Vec<u8> {
    let mut request = Message::default();
    for (service, spans) in by_service(batch) {
        request.message(1, |of_resource| {
            of_resource.message(1, |own| {
                resource(service, release).iter().for_each(|(key, value)| own.attribute(1, key, value));
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

    fn attribute(&mut self, field: u64, key: &str, value: &str) {
        self.message(field, |pair| {
            pair.bytes(1, key.as_bytes());
            pair.message(2, |any| any.bytes(1, value.as_bytes()));
        });
    }

    fn message(&mut self, field: u64, fill: impl FnOnce(&mut Self)) {
        let mut inner = Self::default();
        fill(&mut inner);
        self.bytes(field, &inner.0);
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
}
