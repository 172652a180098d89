//! Every operation of the language, one behaviour a test.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::string_slice)]

mod support;

use hirewire_mapping::tool::{self, World};
use hirewire_mapping::{Completeness, Context, Input, Plan, Scratch, Slice};
use serde_json::{Value as Json, json};
use support::{Nobody, compile, field_index, id, key, schema_of};

/// A plan with one rule for the record, whose other lines and fields are given.
fn plan_with(record: &str, lines: &str, overlay: Option<&str>) -> Plan {
    let text = format!(
        "version: \"1\"\ntables: {{colour: {{red: ACTIVE, \"*blue*\": DELIVERED}}}}\nrules:\n  r:\n    record: {record}\n    \
         streams: [s]\n    events: [e, other]\n    completeness: part\n    id: id\n{lines}\n  keeps_table_used:\n    record: \
         Parcel\n    streams: [unused]\n    completeness: part\n    id: id\n    fields: {{status: {{from: x, enum: \
         $colour}}}}\n"
    );
    compile(&text, overlay).unwrap_or_else(|problems| panic!("{text}\n{problems}"))
}

fn input<'a>(body: &'a [u8], params: &'a [(String, String)]) -> Input<'a> {
    Input { body, stream: Some("s"), params, headers: params, received_micros: Some(1_000_000), ..Input::default() }
}

fn run(plan: &Plan, body: &Json, params: &[(String, String)]) -> Json {
    let body = body.to_string().into_bytes();
    let world = World { schema_of: &schema_of, id: &id, key: &key, meta: &[], meta_of: &|_, _, _| None };
    let report = tool::map_file(plan, &input(&body, params), None, &world);
    assert_eq!(report.lines.len(), 1, "{:?}", report.lines);
    let line: Json = serde_json::from_str(&report.lines[0]).unwrap();
    line.get("record").or_else(|| line.get("dead_letter")).unwrap().clone()
}

/// The value of one field of an `Parcel` that `rule` maps from `body` (which gets an id).
fn field(name: &str, rule: &str, mut body: Json) -> Json {
    body["id"] = json!(1);
    run(&plan_with("Parcel", &format!("    fields:\n      {name}: {rule}"), None), &body, &[])[name].clone()
}

fn reason(name: &str, rule: &str, mut body: Json) -> String {
    body["id"] = json!(1);
    let letter = run(&plan_with("Parcel", &format!("    fields:\n      {name}: {rule}"), None), &body, &[]);
    format!("{} {}", letter["code"].as_str().unwrap(), letter["reason"].as_str().unwrap())
}

#[test]
fn paths_descend_by_key_position_and_filter_from_the_record_or_the_payload() {
    let text = |rule: &str, body: Json| field("depot_id", rule, body);
    assert_eq!(text("a.b", json!({"a": {"b": "x"}})), "x");
    assert_eq!(text("'\"a.b\".c'", json!({"a.b": {"c": "x"}})), "x");
    assert_eq!(text("'a[1].b'", json!({"a": [{}, {"b": "x"}]})), "x");
    assert_eq!(
        text("'a[name=Pay].value'", json!({"a": [{"name": "Other", "value": 1}, {"name": "Pay", "value": "x"}]})),
        "x"
    );
    assert_eq!(text("'a[name.en=\"Pay\"].value'", json!({"a": [{"name": {"en": "Pay"}, "value": "x"}]})), "x");
    assert_eq!(text("/a", json!({"a": "x"})), "x");
    assert_eq!(text("a.b", json!({"a": null})), json!(null));
    assert_eq!(text("a.b", json!({})), json!(null));
    // An object without members may come as an empty list.
    assert_eq!(text("a.b", json!({"a": []})), json!(null));
    let escaped = run(
        &plan_with("Parcel", "    fields: {depot_id: 'a\"b'.replace}".replace("'a\"b'.replace", "clé").as_str(), None),
        &json!({"id": 1, "clé": "x\n\"y"}),
        &[],
    );
    assert_eq!(escaped["depot_id"], "x\n\"y");
}

#[test]
fn a_wrong_shape_is_a_dead_letter_that_names_target_source_and_shape() {
    assert_eq!(
        reason("depot_id", "a.b", json!({"a": "SECRET"})),
        "UNEXPECTED_TYPE Parcel.depot_id <- a.b: a text where an object or list is expected"
    );
    assert_eq!(
        reason("depot_id", "a", json!({"a": {"b": 1}})),
        "UNEXPECTED_TYPE Parcel.depot_id <- a: an object where a text is expected"
    );
    assert_eq!(
        reason("depot_id", "a", json!({"a": true})),
        "UNEXPECTED_TYPE Parcel.depot_id <- a: true or false where a text is expected"
    );
    assert_eq!(
        reason("notes", "{each: a, fields: {title: q}}", json!({"a": {}})),
        "UNEXPECTED_TYPE Parcel.notes <- a: an object where a list is expected"
    );
    assert_eq!(
        reason("station", "{from: a, fields: {name: n}}", json!({"a": [1]})),
        "UNEXPECTED_TYPE Parcel.station <- a: a list where an object is expected"
    );
    assert_eq!(
        reason("sent_at", "a", json!({"a": "SECRET"})),
        "UNREADABLE_VALUE Parcel.sent_at <- a: not an RFC 3339 time"
    );
    assert_eq!(
        reason("depot_id", "{from: a, required: true}", json!({})),
        "REQUIRED_MISSING Parcel.depot_id <- a: no value"
    );
}

#[test]
fn first_takes_the_first_value_and_leaves_the_others_unread() {
    assert_eq!(field("depot_id", "{first: [a, b]}", json!({"a": null, "b": "x"})), "x");
    assert_eq!(field("depot_id", "{first: [a, {const: y}]}", json!({})), "y");
    let plan = plan_with("Parcel", "    fields: {depot_id: {first: [a, b]}}", None);
    let record = run(&plan, &json!({"id": 1, "a": "x", "b": "y"}), &[]);
    assert_eq!(record["meta"]["custom_fields"][0]["path"], "b");
    assert_eq!(record["meta"]["custom_fields"][0]["value"], "y");
}

#[test]
fn join_skips_what_is_missing_and_is_nothing_without_a_value() {
    assert_eq!(field("depot_id", "{join: [a, b]}", json!({"a": "x", "b": "y"})), "x y");
    assert_eq!(field("depot_id", "{join: [a, b], sep: /}", json!({"a": "x", "b": null})), "x");
    assert_eq!(field("depot_id", "{join: [{const: k}, a], sep: /}", json!({"a": 7})), "k/7");
    assert_eq!(field("depot_id", "{join: [{const: k}, a], sep: /}", json!({"a": null})), json!(null));
}

#[test]
fn constants_defaults_events_headers_parameters_and_the_time_of_receipt() {
    assert_eq!(field("depot_id", "{const: k}", json!({})), "k");
    assert_eq!(field("depot_id", "{from: a, default: k}", json!({"a": null})), "k");
    assert_eq!(field("depot_id", "{stream: true}", json!({})), "s");
    assert_eq!(
        field("anonymized_at".replace("anonymized_at", "sent_at").as_str(), "{received: true}", json!({})),
        "1970-01-01T00:00:01Z"
    );
    let plan = plan_with("Parcel", "    fields: {depot_id: {param: Parent}, route_id: {header: X-Place}}", None);
    let given = [("parent".to_owned(), "p".to_owned()), ("x-place".to_owned(), "h".to_owned())];
    let record = run(&plan, &json!({"id": 1}), &given);
    assert_eq!((&record["depot_id"], &record["route_id"]), (&json!("p"), &json!("h")));
}

#[test]
fn enums_keep_the_source_word_and_the_rule_and_never_guess() {
    let status = |word: Json| field("status", "{from: a, enum: $colour}", json!({"a": word}));
    assert_eq!(status(json!(" Red ")), json!({"value": "ACTIVE", "raw": " Red ", "rule": "colour/red"}));
    assert_eq!(status(json!("dark blue")), json!({"value": "DELIVERED", "raw": "dark blue", "rule": "colour/*blue*"}));
    assert_eq!(status(json!("green")), json!({"value": "UNMAPPED", "raw": "green", "rule": null}));
    assert_eq!(status(json!(null)), json!({"value": "UNKNOWN", "raw": null, "rule": null}));
    assert_eq!(status(json!("")), json!({"value": "UNKNOWN", "raw": null, "rule": null}));
    let constant = field("status", "{const: DELIVERED}", json!({}));
    assert_eq!(constant, json!({"value": "DELIVERED", "raw": null, "rule": "r.status/const"}));
    // `others: absent` leaves the word unread, so that it is carried.
    let plan = plan_with("Parcel", "    fields: {status: {from: a, enum: $colour, others: absent}}", None);
    let record = run(&plan, &json!({"id": 1, "a": "green"}), &[]);
    assert_eq!(record["status"]["value"], "UNKNOWN");
    assert_eq!(record["meta"]["custom_fields"][0]["value"], "green");
}

#[test]
fn unmapped_words_are_told_apart_from_the_record() {
    let plan = plan_with("Parcel", "    fields: {status: {from: a, enum: $colour}}", None);
    let mut scratch = Scratch::default();
    let mapped = plan.apply(&mut scratch, &input(b"{\"id\": 1, \"a\": \"green\"}", &[]), &mut Nobody).unwrap();
    let fact = mapped.facts().next().unwrap();
    assert_eq!(fact.unmapped().collect::<Vec<_>>(), [("Parcel.status", "green")]);
}

#[test]
fn a_table_turns_words_into_texts_and_says_nothing_of_others() {
    assert_eq!(field("depot_id", "{from: a, table: {red: rot}}", json!({"a": "RED"})), "rot");
    assert_eq!(field("depot_id", "{from: a, table: {red: rot}}", json!({"a": "blue"})), json!(null));
    assert_eq!(field("depot_id", "{event: true, table: {e: rot}}", json!({})), json!(null));
}

#[test]
fn instants_and_dates_have_formats() {
    assert_eq!(field("sent_at", "{from: a, format: epoch_ms}", json!({"a": 1_500})), "1970-01-01T00:00:01.500Z");
    assert_eq!(
        field("sent_at", "{from: a, format: [rfc3339, date]}", json!({"a": "2015-02-09"})),
        "2015-02-09T00:00:00Z"
    );
    assert_eq!(field("sent_at", "{from: a, format: us_date}", json!({"a": "02/09/2015"})), "2015-02-09T00:00:00Z");
    assert_eq!(field("sent_at", "a", json!({"a": "2015-02-09T18:38:36.25+02:00"})), "2015-02-09T16:38:36.250Z");
    assert_eq!(field("sent_at", "a", json!({"a": ""})), json!(null));
}

#[test]
fn texts_are_kept_unless_the_rule_says_otherwise() {
    assert_eq!(field("depot_id", "a", json!({"a": " <b>x</b> "})), " <b>x</b> ");
    assert_eq!(field("depot_id", "{from: a, trim: true}", json!({"a": " x "})), "x");
    assert_eq!(field("depot_id", "{from: a, html: strip}", json!({"a": "<p>x &amp; y</p>"})), "x & y");
    assert_eq!(field("depot_id", "{from: a, blank: absent}", json!({"a": " "})), json!(null));
    assert_eq!(
        field("depot_id", "a", json!({"a": 12345678901234567890123_u128 as f64 as u64})),
        "18446744073709551615"
    );
    assert_eq!(field("depot_id", "a", json!({"a": "\u{0}é😀"})), "\u{0}é😀");
}

#[test]
fn numbers_and_decimals_are_exact() {
    let invoice = |rule: &str, body: Json| {
        let lines = format!("    fields: {rule}");
        run(&plan_with("Invoice", &lines, None), &body, &[])
    };
    assert_eq!(invoice("{version: v}", json!({"id": 1, "v": "7"}))["version"], 7);
    assert_eq!(invoice("{version: v}", json!({"id": 1, "v": 7.0}))["version"], 7);
    let pay = "{charges: [{fields: {amount: a, currency: c}}]}";
    let paid = |amount: Json| invoice(pay, json!({"id": 1, "a": amount, "c": "USD"}))["charges"][0]["amount"].clone();
    assert_eq!(paid(json!(80000)), "80000.000000");
    assert_eq!(paid(json!("0.1")), "0.100000");
    assert_eq!(paid(json!(-1.25)), "-1.250000");
    let text = r#"{"id": 1, "a": 12345678901234567890.123456, "c": "USD"}"#;
    let world = World { schema_of: &schema_of, id: &id, key: &key, meta: &[], meta_of: &|_, _, _| None };
    let plan = plan_with("Invoice", &format!("    fields: {pay}"), None);
    let report = tool::map_file(&plan, &input(text.as_bytes(), &[]), None, &world);
    assert!(report.lines[0].contains("\"amount\":\"12345678901234567890.123456\""), "{:?}", report.lines);
    let fine = invoice(pay, json!({"id": 1, "a": "0.0000001", "c": "USD"}));
    assert_eq!(fine["code"], "OUT_OF_RANGE");
}

#[test]
fn arrays_are_built_from_items_entries_and_single_values() {
    let notes = |rule: &str, body: Json| field("notes", rule, body);
    assert_eq!(
        notes("{each: a, fields: {title: q}}", json!({"a": [{"q": "x"}, {}, {"q": "y"}]})),
        json!([{"title": "x", "note": null}, {"title": "y", "note": null}])
    );
    assert_eq!(
        notes("{each_entry: a, fields: {title: {key: true}, note: v}}", json!({"a": {"k": {"v": "x"}}})),
        json!([{"title": "k", "note": "x"}])
    );
    assert_eq!(
        notes("{concat: [{each: a, fields: {title: q}}, {fields: {title: b}}]}", json!({"a": [{"q": "x"}], "b": "y"})),
        json!([{"title": "x", "note": null}, {"title": "y", "note": null}])
    );
    assert_eq!(
        notes(
            "{each: a, where: {from: keep, is: \"true\"}, fields: {title: q}}",
            json!({"a": [{"q": "x", "keep": true}, {"q": "y", "keep": false}]})
        ),
        json!([{"title": "x", "note": null}])
    );
    assert_eq!(field("invoice_ids", "{each: a}", json!({"a": ["x", 7]})), json!(["x", "7"]));
    let refs = field("invoice_ids", "{each: a, value: {ref: Invoice, from: .}}", json!({"a": [7]}));
    assert_eq!(refs, json!([id(None, "Invoice", "7")]));
    let many: Vec<String> = (0..200).map(|n| n.to_string()).collect();
    assert_eq!(field("invoice_ids", "{each: a}", json!({"a": many})), json!(many));
}

#[test]
fn absent_null_and_empty_are_told_apart() {
    let plan = plan_with(
        "Parcel",
        "    fields: {depot_id: a, notes: {each: b, fields: {title: q}}, station: {from: c, fields: {name: n}}}",
        None,
    );
    let slices = |body: &str| {
        let mut scratch = Scratch::default();
        let mapped = plan.apply(&mut scratch, &input(body.as_bytes(), &[]), &mut Nobody).unwrap();
        let fact = mapped.facts().next().unwrap();
        ["depot_id", "notes", "station", "kind"].map(|name| match fact.field(field_index("Parcel", name)) {
            Slice::NotMapped => "not mapped".to_owned(),
            Slice::Absent => "absent".to_owned(),
            Slice::Bytes(bytes) => format!("{bytes:?}"),
        })
    };
    assert_eq!(slices(r#"{"id": 1}"#), ["absent", "absent", "absent", "not mapped"]);
    assert_eq!(slices(r#"{"id": 1, "a": null, "b": null, "c": null}"#), ["[0]", "[0]", "[0]", "not mapped"]);
    assert_eq!(
        slices(r#"{"id": 1, "a": "x", "b": [], "c": {"n": null}}"#),
        ["[2, 2, 120]", "[0]", "[0]", "not mapped"]
    );
}

#[test]
fn conditions_choose() {
    let chosen = |when: &str, body: Json| field("depot_id", &format!("{{const: yes, when: {when}}}"), body) == "yes";
    assert!(chosen("{exists: a}", json!({"a": 1})));
    assert!(!chosen("{exists: a}", json!({"a": null})));
    assert!(chosen("{from: a, is: \"1\"}", json!({"a": 1})));
    assert!(chosen("{from: a, in: [x, y]}", json!({"a": "y"})));
    assert!(chosen("{from: a, contains: y}", json!({"a": ["x", "y"]})));
    assert!(!chosen("{from: a, contains: z}", json!({"a": ["x", "y"]})));
    assert!(chosen("{not: {exists: a}}", json!({})));
    assert!(chosen("{all: [{exists: a}, {exists: b}]}", json!({"a": 1, "b": 1})));
    assert!(!chosen("{all: [{exists: a}, {exists: b}]}", json!({"a": 1})));
    assert!(chosen("{any: [{exists: a}, {exists: b}]}", json!({"a": 1})));
    assert!(!chosen("{event: true, is: e}", json!({})));
}

#[test]
fn ids_of_another_connection_name_it_and_an_owner_that_is_none_is_a_dead_letter() {
    let rule = "{ref: Invoice, foreign: true, from: a}";
    assert_eq!(field("depot_id", rule, json!({"a": "ats/7/b"})), id(Some("ats"), "Invoice", "7/b"));
    assert_eq!(field("depot_id", rule, json!({"a": "7"})), json!(null));
    let plan = plan_with("Parcel", "    owner: {foreign: {Invoice: a}}\n    fields: {depot_id: b}", None);
    let owner = |body: &str| {
        let mut scratch = Scratch::default();
        let mapped = plan.apply(&mut scratch, &input(body.as_bytes(), &[]), &mut Nobody);
        mapped.map(|mapped| {
            let fact = mapped.facts().next().unwrap();
            format!("{:?} {:?}", fact.owner.unwrap(), fact.kinship)
        })
    };
    assert_eq!(owner(r#"{"id": 1, "a": "ats/7"}"#).unwrap(), "(\"Invoice\", \"ats/7\") Foreign");
    for body in [r#"{"id": 1}"#, r#"{"id": 1, "a": null}"#, r#"{"id": 1, "a": "7"}"#, r#"{"id": 1, "a": "/7"}"#] {
        assert_eq!(owner(body).unwrap_err().to_string(), "Parcel.owner <- a: no id of a record that this is about");
    }
    let plan = plan_with("Parcel", "    owner: awaited\n    fields: {depot_id: b}", None);
    let mut scratch = Scratch::default();
    let mapped = plan.apply(&mut scratch, &input(br#"{"id": 1}"#, &[]), &mut Nobody).unwrap();
    let fact = mapped.facts().next().unwrap();
    assert_eq!((fact.owner, fact.kinship), (None, hirewire_mapping::Kinship::Awaited));
}

/// Knows one sender, called Agency.
struct OneSender;

impl Context for OneSender {
    fn id(&mut self, _: &str, _: &str) -> [u8; 36] {
        [b'0'; 36]
    }
    fn foreign_id(&mut self, _: &str, _: &str, _: &str) -> [u8; 36] {
        [b'0'; 36]
    }
    fn lookup(&mut self, record: &str, remote_id: &str, field: usize, out: &mut Vec<u8>) -> bool {
        if (record, remote_id) != ("Sender", "31") || field != field_index("Sender", "name") {
            return false;
        }
        out.extend_from_slice(b"\x02\x0cAgency");
        true
    }
}

#[test]
fn look_ups_copy_a_field_or_name_what_is_missing() {
    let plan =
        plan_with("Parcel", "    fields: {sender: {fields: {name: {lookup: Sender, from: s, field: name}}}}", None);
    let field = field_index("Parcel", "sender");
    let mut scratch = Scratch::default();
    let mapped = plan.apply(&mut scratch, &input(b"{\"id\": 1, \"s\": 31}", &[]), &mut OneSender).unwrap();
    let fact = mapped.facts().next().unwrap();
    assert_eq!(fact.field(field), Slice::Bytes(b"\x02\x00\x02\x0cAgency\x00"));
    let mapped = plan.apply(&mut scratch, &input(b"{\"id\": 1, \"s\": 32}", &[]), &mut OneSender).unwrap();
    let fact = mapped.facts().next().unwrap();
    assert_eq!(fact.field(field), Slice::Absent);
    assert_eq!(fact.missing_lookups().collect::<Vec<_>>(), [("Sender", "32")]);
    // Its id was read all the same.
    assert_eq!(mapped.coverage().carried, 0);
}

#[test]
fn an_unreadable_value_may_be_carried_instead_of_refused() {
    let lines = "    fields: {sent_at: {from: a, unreadable: carry}}";
    let record = run(&plan_with("Parcel", lines, None), &json!({"id": 1, "a": "soon"}), &[]);
    assert_eq!(record["sent_at"], json!(null));
    assert_eq!(record["meta"]["custom_fields"], json!([{"name": "a", "path": "a", "type": "string", "value": "soon"}]));
}

#[test]
fn what_nobody_reads_is_carried_with_its_path_or_ignored_with_a_reason() {
    let lines = "    root: p\n    fields: {depot_id: j}\n    custom_fields: [{each_entry: custom, name: name, type: type, value: \
                 value}, {whole: blob}]\n    ignore: {secret: nobody may see it, \"list.*.x\": the same as y}";
    let body = json!({"p": {"id": 1, "j": null, "secret": {"a": 1, "b": [2]}, "list": ["z", {"x": 1, "y": 2}],
        "custom": {"k": {"name": "K", "type": "money", "value": {"amount": 1, "unit": "USD"}, "more": true}, "odd": 5},
        "blob": [1, {"two": "x\"y"}], "empty": {}, "none": []}, "outside": "o"});
    let plan = plan_with("Parcel", lines, None);
    let record = run(&plan, &body, &[]);
    let carried: Vec<(&str, &str, Option<&str>)> = record["meta"]["custom_fields"]
        .as_array()
        .unwrap()
        .iter()
        .map(|item| (item["path"].as_str().unwrap(), item["type"].as_str().unwrap(), item["value"].as_str()))
        .collect();
    let mut sorted = carried.clone();
    sorted.sort_unstable();
    assert_eq!(
        sorted,
        [
            ("/outside", "string", Some("o")),
            ("blob", "array", Some("[1,{\"two\":\"x\\\"y\"}]")),
            ("custom.k", "money", Some("{\"amount\":1,\"unit\":\"USD\"}")),
            ("custom.k.more", "boolean", Some("true")),
            ("custom.odd", "number", Some("5")),
            ("empty", "object", Some("{}")),
            ("list[0]", "string", Some("z")),
            ("list[1].y", "number", Some("2")),
            ("none", "array", Some("[]")),
        ]
    );
}

#[test]
fn hints_times_owner_and_completeness_ride_on_the_fact() {
    let lines = "    url: u\n    version: {first: [v, w]}\n    created_at: {from: c, format: epoch_s}\n    owner: {Depot: j}\n    \
                 hints: {action: {event: true}, word: {from: h, table: {x: y}}}\n    fields: {depot_id: {ref: Depot, from: j}}";
    let plan = plan_with("Parcel", lines, None);
    let mut scratch = Scratch::default();
    let body = br#"{"id": 7, "u": "http://x", "v": null, "w": "1970-01-01T00:00:02Z", "c": 3, "j": 9, "h": "X"}"#;
    let input = Input { body, event: Some("e"), ..Input::default() };
    let mapped = plan.apply(&mut scratch, &input, &mut Nobody).unwrap();
    let fact = mapped.facts().next().unwrap();
    assert_eq!((fact.record, fact.remote_id, fact.owner), ("Parcel", "7", Some(("Depot", "9"))));
    assert_eq!(
        (fact.version_micros, fact.remote_created_at, fact.remote_url),
        (Some(2_000_000), Some(3_000_000), Some("http://x"))
    );
    assert_eq!(fact.hints().collect::<Vec<_>>(), [("action", "e"), ("word", "y")]);
    assert_eq!((fact.completeness, fact.delete), (Completeness::Part, false));
    assert_eq!(mapped.coverage().carried, 0);
}

#[test]
fn one_payload_makes_several_records_and_says_each_once() {
    let text = "version: \"1\"\nrules:\n  a:\n    record: Depot\n    events: [e]\n    root: [\"depots[]\", again]\n    optional: true\n    \
                completeness: part\n    id: id\n    fields: {name: name}\n";
    let plan = compile(text, None).unwrap();
    let mut scratch = Scratch::default();
    let body = br#"{"depots": [{"id": 1, "name": "x"}, {"name": "no id"}, null, {"id": 2, "name": "y"}], "again": {"id": 1, "name": "x"}}"#;
    let mapped = plan.apply(&mut scratch, &Input { body, event: Some("e"), ..Input::default() }, &mut Nobody).unwrap();
    let ids: Vec<&str> = mapped.facts().map(|fact| fact.remote_id).collect();
    assert_eq!(ids, ["1", "2"]);
    assert!(mapped.known());
    let other =
        plan.apply(&mut scratch, &Input { body, event: Some("unheard"), ..Input::default() }, &mut Nobody).unwrap();
    assert!(!other.known() && other.is_empty());
}

#[test]
fn an_overlay_adds_words_and_routes_custom_fields() {
    let overlay = "version: acme\ntables: {colour: {red: RETURNED, pink: ACTIVE}}\nfields: {Parcel: {depot_id: \
                   custom.team.value}}";
    let lines = "    fields: {status: {from: a, enum: $colour}}\n    custom_fields: [{each_entry: custom, name: name, type: type, \
                 value: value}]";
    let plan = plan_with("Parcel", lines, Some(overlay));
    let body = json!({"id": 1, "a": "red", "custom": {"team": {"name": "Team", "type": "text", "value": "EMEA"}}});
    let record = run(&plan, &body, &[]);
    assert_eq!(record["status"], json!({"value": "RETURNED", "raw": "red", "rule": "overlay:acme/colour/red"}));
    assert_eq!(record["depot_id"], "EMEA");
    assert_eq!(record["meta"]["custom_fields"], json!([]));
    assert!(plan.version().contains("+acme-"), "{}", plan.version());
}

#[test]
fn rows_are_a_list_the_members_of_an_object_one_object_or_the_answer_itself() {
    let rows = |body: &str, place: Option<&str>| -> Vec<String> {
        let found =
            tool::rows(&plan_with("Parcel", "    fields: {depot_id: a}", None), body.as_bytes(), place).unwrap();
        found.into_iter().map(|row| String::from_utf8(row.to_vec()).unwrap()).collect()
    };
    let page = r#"{"data":[{"a":1}, {"a": 2}],"users":{"7":{"a":3},"8":{"a":4},"9":{}}}"#;
    assert_eq!(rows(page, Some("data")), [r#"{"a":1}"#, r#"{"a": 2}"#]);
    assert_eq!(rows(page, Some("users.*")), [r#"{"a":3}"#, r#"{"a":4}"#, "{}"]);
    assert_eq!(rows(r#"{"7":{"a":3},"8":{"a":4}}"#, Some("*")), [r#"{"a":3}"#, r#"{"a":4}"#]);
    assert_eq!(rows(r#" [ {"a":1} ] "#, Some("*")), [r#"{"a":1}"#]);
    assert!(rows("{}", Some("*")).is_empty() && rows("[]", None).is_empty());
    for place in [None, Some("none"), Some("none.*")] {
        assert_eq!(rows(page, place), [page], "{place:?}");
    }
    let (answer, row) = (r#"{"candidate":{"a":1}}"#, r#"{"a":1}"#);
    assert_eq!([rows(answer, Some("candidate")), rows(row, Some("candidate"))], [[row], [row]]);
}
