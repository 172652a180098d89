//! An `ExportTraceServiceRequest` in OTLP's JSON: spans in, a document out.
//!
//! <https://opentelemetry.io/docs/specs/otlp/#json-protobuf-encoding>

use serde_json::{Value, json};

use super::{Span, by_service, nanos, resource};
use crate::TraceParent;

pub(super) fn encode(batch: &[Span], release: &str) -> Value {
    let of_service = |(service, spans): (&str, Vec<&Span>)| {
        let attributes: Vec<Value> =
            resource(service, release).iter().map(|(key, value)| attribute(key, value)).collect();
        let spans: Vec<Value> = spans.into_iter().map(encode_span).collect();
        json!({
            "resource": {"attributes": attributes},
            "scopeSpans": [{"scope": {"name": "hirewire", "version": release}, "spans": spans}],
        })
    };
    json!({"resourceSpans": by_service(batch).into_iter().map(of_service).collect::<Vec<_>>()})
}

fn encode_span(span: &Span) -> Value {
    let attributes: Vec<Value> = span.attributes.iter().map(|(key, value)| attribute(key, value)).collect();
    // 64-bit numbers are texts in protobuf's JSON.
    let mut encoded = json!({
        "traceId": span.own.trace_id(),
        "spanId": span.own.span_id(),
        "flags": 1,
        "name": span.name,
        "kind": span.kind as i32,
        "startTimeUnixNano": nanos(span.began).to_string(),
        "endTimeUnixNano": nanos(span.ended.max(span.began)).to_string(),
        "attributes": attributes,
        "status": {},
    });
    if let Some(object) = encoded.as_object_mut() {
        if let Some(parent) = &span.parent {
            object.insert("parentSpanId".to_owned(), parent.span_id().into());
        }
        if !span.links.is_empty() {
            object.insert("links".to_owned(), span.links.iter().map(link).collect());
        }
        if let Some(failed) = span.failed {
            object.insert("status".to_owned(), json!({"code": 2, "message": failed}));
        }
    }
    encoded
}

fn link(to: &TraceParent) -> Value {
    json!({"traceId": to.trace_id(), "spanId": to.span_id(), "flags": 1})
}

fn attribute(key: &str, value: &str) -> Value {
    json!({"key": key, "value": {"stringValue": value}})
}
