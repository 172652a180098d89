//! In steady state a worker allocates nothing: buffers have grown, words have been seen.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use hirewire_mapping::{Input, Scratch};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use support::{Nobody, compile};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<std::alloc::System> = &INSTRUMENTED_SYSTEM;

const MAPPING: &str = "\
version: \"1\"
tables:
  status: {active: ACTIVE, \"*deliver*\": DELIVERED}
ignore: {/action: names the event only}
rules:
  parcel:
    record: Parcel
    events: [e]
    root: payload.parcel
    completeness: part
    id: {join: [{const: a}, id], sep: \"/\"}
    owner: {Depot: depot.id}
    version: {first: [updated, created], format: [rfc3339, epoch_ms]}
    hints: {action: {event: true}, change: {from: change, table: {x: y}}}
    fields:
      depot_id: {ref: Depot, from: depot.id}
      route_id: {from: \"labels[name=Route].value\", when: {from: flags, contains: urgent}}
      status: {from: status, enum: $status}
      station: {from: station, fields: {id: {ref: Station, from: id}, name: {lookup: Station, from: id, field: name}}}
      sent_at: {first: [sent, {received: true}]}
      notes: {concat: [{each: notes, where: {exists: q}, fields: {title: q}}, {each_entry: more, fields: {title: {key: true}}}]}
      invoice_ids: {each: invoices}
    custom_fields: [{each_entry: custom, name: name, type: type, value: value}, {whole: blob}]
  depots:
    record: Depot
    events: [e]
    root: [payload.depot, \"payload.parcel.depots[]\"]
    optional: true
    completeness: part
    id: id
    fields: {name: name}
";

/// What holds changes between the two payloads, and again after them.
const OVERLAY: &str = "\
version: \"1\"
changes:
  - {from: 1970-01-01T00:00:01.6Z, tables: {status: {On delivery: ACTIVE}}, fields: {Parcel: {invoice_ids: {each: flags}}}}
  - {from: 2026-01-01, tables: {status: {On delivery: RETURNED}}}
";

const PAYLOAD: &str = r#"{"action": "e", "payload": {"parcel": {"id": 7, "depot": {"id": 8}, "created": 1500, "change": "X",
    "flags": ["fragile", "urgent"], "labels": [{"name": "\u0041"}, {"name": "Rout\u0065", "value": "r\n"}],
    "status": "On delivery", "station": {"id": 5}, "notes": [{"q": "x"}, {}], "more": {"k\"": 1}, "invoices": [1, "2"],
    "custom": {"c": {"name": "C\u00e9", "type": "t", "value": {"a": [1, 2]}}, "d": 5}, "blob": [{"x": 1}],
    "strange": [[1, {"deep": null}]], "a key that no path names and that is long \u00e9": true,
    "depots": [{"id": 1, "name": "n"}, {"id": 1, "name": "n"}, {"name": "without an id"}]}}}"#;

#[test]
fn the_second_payload_of_a_kind_allocates_nothing() {
    for overlay in [None, Some(OVERLAY)] {
        let plan = compile(MAPPING, overlay).unwrap_or_else(|problems| panic!("{problems}"));
        let later = PAYLOAD.replace("1500", "1700");
        let inputs = [PAYLOAD, &later].map(|body| Input {
            body: body.as_bytes(),
            event: Some("e"),
            received_micros: Some(1_234_567),
            ..Input::default()
        });
        let mut scratch = Scratch::default();
        for input in inputs.iter().cycle().take(6) {
            let mapped = plan.apply(&mut scratch, input, &mut Nobody).unwrap();
            assert_eq!(mapped.facts().map(|fact| fact.remote_id.to_owned()).collect::<Vec<_>>(), ["a/7", "1"]);
        }
        let region = Region::new(ALLOCATOR);
        for input in inputs.iter().cycle().take(20) {
            let facts = plan.apply(&mut scratch, input, &mut Nobody).map(|mapped| mapped.len());
            assert!(matches!(facts, Ok(2)));
        }
        let change = region.change();
        assert_eq!((change.allocations, change.reallocations), (0, 0), "{overlay:?}");
    }
}
