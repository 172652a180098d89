//! Seeded mistakes in mapping and overlay files: each is refused with file, line, target, what is wrong and a hint.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::string_slice)]

mod support;

use support::compile;

/// A mapping without mistakes. `HERE` is where a case puts its fields.
const BASE: &str = "\
source: x
version: \"1\"
tables:
  status: {active: ACTIVE, delivered: DELIVERED}
rules:
  parcel:
    record: Parcel
    streams: [parcels]
    completeness: whole
    id: id
    fields:
      status: {from: status, enum: $status}
      HERE
";

fn problems(mapping: &str, overlay: Option<&str>) -> String {
    match compile(mapping, overlay) {
        Ok(_) => panic!("accepted:\n{mapping}\n{}", overlay.unwrap_or_default()),
        Err(problems) => problems.to_string(),
    }
}

#[test]
fn the_base_is_right() {
    compile(&BASE.replace("HERE", "depot_id: {ref: Depot, from: depot_id}"), None).unwrap();
}

/// (a line in `fields`, what the message says). The line is the 13th of the file.
const FIELD_MISTAKES: &[(&str, &str)] = &[
    // The target.
    ("statu: x", "Parcel.statu: the record has no such field (did you mean \"status\"?)"),
    ("meta: x", "Parcel.meta: the envelope is not mapped"),
    ("sent_at:", "Parcel.sent_at: no value"),
    ("notes: notes", "Parcel.notes: an array needs `each` (write {each: notes})"),
    ("station: current_station", "Parcel.station: the record StationRef needs `fields`"),
    ("kind: kind", "Parcel.kind: the coded value CodedParcelKind needs `enum`"),
    (
        "station: {from: s, fields: {nme: name}}",
        "Parcel.station.nme: the record StationRef has no such field (did you mean \"name\"?)",
    ),
    ("station: {from: s}", "`fields` is missing"),
    ("station: [a]", "Parcel.station is the record StationRef, not an array"),
    ("notes: {from: a}", "Parcel.notes: an array needs `each`, `each_entry` or a list"),
    ("notes: {each: a}", "Parcel.notes[] is the record Note: nothing says how an item becomes one"),
    ("notes: {each: a, each_entry: b, fields: {title: q}}", "`each` and `each_entry` at once"),
    ("notes: {each: a, value: b, fields: {title: q}}", "`value` and `fields` at once"),
    ("invoice_ids: {each: a, fields: {x: y}}", "Parcel.invoice_ids[] is a text: it has no fields"),
    ("notes: {each: \"a[]\", fields: {title: q}}", "names many values where one is expected"),
    // Sources.
    ("depot_id: {}", "Parcel.depot_id: nothing says where the value comes from (one of: from, const"),
    ("depot_id: {from: a, const: b}", "Parcel.depot_id: several sources at once: from, const"),
    ("depot_id: {form: a}", "unknown key \"form\" (did you mean \"from\"?)"),
    ("depot_id: {from: [a]}", "expected a path or a source, found a list"),
    ("depot_id: {first: []}", "Parcel.depot_id: an empty list of sources"),
    ("depot_id: {first: a}", "expected a list, found a plain value"),
    ("depot_id: {join: []}", "Parcel.depot_id: an empty list of sources"),
    ("depot_id: {event: false}", "`event` is a switch (write `event: true`)"),
    ("depot_id: {header: {a: b}}", "expected a text, found a mapping"),
    // Paths.
    ("depot_id: a..b", "the path \"a..b\" has an empty key"),
    ("depot_id: \"a[0\"", "the path \"a[0\" has a bracket that does not end"),
    ("depot_id: \"a[b]\"", "the path \"a[b]\" has brackets that are neither a position nor a filter"),
    ("depot_id: 'a.\"b'", "has a quote that does not end"),
    ("depot_id: \"a.*\"", "names many values where one is expected"),
    // Constants.
    ("sent_at: {const: yesterday}", "Parcel.sent_at: \"yesterday\" is not an instant"),
    ("kind: {const: ORDINAR}", "CodedParcelKind has no symbol \"ORDINAR\" (did you mean \"ORDINARY\"?)"),
    ("notes: {const: x}", "Parcel.notes: \"x\" is not an array"),
    ("depot_id: {const: [x]}", "expected a text, found a list"),
    ("depot_id: {from: a, default: [x]}", "expected a text, found a list"),
    // Conversions.
    ("depot_id: {from: a, format: date}", "Parcel.depot_id is a text: it has no format"),
    ("sent_at: {from: a, format: rfc}", "Parcel.sent_at: there is no format \"rfc\""),
    ("sent_at: {from: a, trim: true}", "Parcel.sent_at is an instant, not a text"),
    ("depot_id: {from: a, html: strop}", "\"strop\" is not known here (did you mean \"strip\"?)"),
    ("depot_id: {from: a, blank: null_}", "\"null_\" is not known here"),
    ("depot_id: {from: a, required: yes}", "expected true or false"),
    ("depot_id: {from: a, unreadable: drop}", "\"drop\" is not known here"),
    ("depot_id: {from: a, enum: $status}", "unknown key \"enum\""),
    // Tables.
    ("kind: {from: a}", "`enum` is missing"),
    ("kind: {from: a, enum: $kinds}", "there is no table \"kinds\""),
    ("kind: {from: a, enum: status}", "expected a table, found \"status\" (write $name or {word: VALUE})"),
    ("kind: {from: a, enum: $status}", "Parcel.kind: the enum ParcelKind has no symbol \"ACTIVE\""),
    ("kind: {from: a, enum: {}}", "an empty table"),
    ("kind: {from: a, enum: {x: EXPRSS}}", "has no symbol \"EXPRSS\" (did you mean \"EXPRESS\"?)"),
    ("kind: {from: a, enum: {x: UNMAPPED}}", "a table must not choose UNMAPPED"),
    ("kind: {from: a, enum: {x: EXPRESS, X: FRAGILE}}", "the word \"X\" stands twice in this table"),
    ("kind: {from: a, enum: {\"*\": EXPRESS}}", "matches everything or has a star inside"),
    ("kind: {from: a, enum: {\"a*b\": EXPRESS}}", "matches everything or has a star inside"),
    ("kind: {from: a, enum: {x: [EXPRESS]}}", "expected a symbol of ParcelKind"),
    ("kind: {from: a, enum: {x: EXPRESS}, others: drop}", "\"drop\" is not known here"),
    ("depot_id: {event: true, table: $nothing}", "there is no table \"nothing\""),
    // References and look-ups.
    ("depot_id: {ref: Depott, from: a}", "there is no record \"Depott\" in the schemas"),
    ("sent_at: {ref: Depot, from: a}", "Parcel.sent_at is an instant: an id is a text"),
    ("depot_id: {ref: Depot}", "Parcel.depot_id: nothing says where the value comes from"),
    ("depot_id: {lookup: Depot, from: a}", "`field` is missing"),
    ("depot_id: {lookup: Depot, from: a, field: nam}", "Depot has no field \"nam\" (did you mean \"name\"?)"),
    (
        "depot_id: {lookup: Depot, from: a, field: status}",
        "Parcel.depot_id is a text, Depot.status is the coded value CodedDepotStatus",
    ),
    // Conditions.
    ("depot_id: {from: a, when: b}", "expected a mapping, found a plain value"),
    ("depot_id: {from: a, when: {from: b}}", "a condition without a comparison"),
    ("depot_id: {from: a, when: {exists: b, not: {exists: c}}}", "several conditions at once"),
    ("depot_id: {from: a, when: {exist: b}}", "nothing says where the value comes from"),
    ("depot_id: {from: a, when: {from: b, in: c}}", "expected a list, found a plain value"),
    ("depot_id: {from: a, when: {all: {exists: b}}}", "expected a list, found a mapping"),
];

#[test]
fn a_mistake_in_a_field_names_line_target_and_remedy() {
    let mut wrong = String::new();
    for (line, message) in FIELD_MISTAKES {
        let found = problems(&BASE.replace("HERE", line), None);
        let at_line =
            found.lines().any(|problem| problem.starts_with("m.yaml:13:") || problem.starts_with("m.yaml:4:"));
        if !found.contains(message) || !at_line {
            wrong.push_str(&format!("{line}\n  wanted: {message}\n  found:  {found}\n"));
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

/// (text of the base, what takes its place, what the message says).
const RULE_MISTAKES: &[(&str, &str, &str)] = &[
    ("version: \"1\"", "", "m.yaml:1: `version` is missing"),
    ("source: x", "sourc: x", "m.yaml:1: unknown key \"sourc\" (did you mean \"source\"?)"),
    ("rules:", "ruls:", "`rules` is missing"),
    ("record: Parcel", "record: Pacel", "m.yaml:7: there is no record \"Pacel\" in the schemas"),
    ("    record: Parcel\n", "", "`record` is missing"),
    ("streams: [parcels]", "stream: [parcels]", "m.yaml:8: unknown key \"stream\" (did you mean \"streams\"?)"),
    ("    streams: [parcels]\n", "", "m.yaml:6: a rule that nothing starts"),
    ("[parcels]", "[parcels, parcels]", "\"parcels\" stands twice in the list"),
    ("[parcels]", "parcels", "expected a list, found a plain value"),
    ("completeness: whole", "completeness: all", "\"all\" is not known here"),
    ("    completeness: whole\n", "", "`completeness` is missing (add `completeness: whole` or `part`"),
    ("    id: id\n", "", "`id` is missing"),
    ("id: id", "id: id\n    owner: Parcel", "an owner that is not understood"),
    ("id: id", "id: id\n    owner: {foreign: {Pacel: id}}", "there is no record \"Pacel\" in the schemas"),
    ("id: id", "id: id\n    owner: {foreign: {Parcel: \"a[]\"}}", "names many values"),
    ("id: id", "id: id\n    owner: awaitd", "an owner that is not understood"),
    ("id: id", "id: id\n    owner: {Pacel: id}", "there is no record \"Pacel\" in the schemas"),
    ("id: id", "id: id\n    root: \"a[]]\"", "has a stray character"),
    ("id: id", "id: id\n    root: a/b", "has a stray character"),
    ("id: id", "id: id\n    version: {from: v, format: unix}", "version: there is no format \"unix\""),
    ("id: id", "id: id\n    optional: maybe", "expected true or false"),
    ("id: id", "id: id\n    hints: {a: {}}", "Parcel.hints.a: nothing says where the value comes from"),
    ("id: id", "id: id\n    ignore: {a: }", "\"a\" is ignored without a reason"),
    ("id: id", "id: id\n    ignore: {status: nobody needs it}", "\"status\" is read and ignored by the same rule"),
    ("id: id", "id: id\n    custom_fields: [{name: name}]", "`each_entry` is missing"),
    (
        "id: id",
        "id: id\n    custom_fields: [{each_entry: c, nam: name}]",
        "unknown key \"nam\" (did you mean \"name\"?)",
    ),
    (
        "id: id",
        "id: id\n    element: {field: note, group: g, row: id, value: {fields: {}}}",
        "Parcel.note: the record has no such field",
    ),
    (
        "id: id",
        "id: id\n    element: {field: depot_id, group: g, row: id, value: x}",
        "Parcel.depot_id is not an array",
    ),
    ("id: id", "id: id\n    element: {field: notes, row: id, value: {fields: {title: q}}}", "`group` is missing"),
    ("id: id", "id: id\n    element: {field: notes, group: g, value: {fields: {title: q}}}", "`row` is missing"),
    ("id: id", "id: id\n    element: {field: notes, group: g, row: id}", "`value` is missing"),
    ("    fields:\n      status: {from: status, enum: $status}\n      HERE\n", "", "the rule \"parcel\" maps no field"),
    ("enum: $status}", "enum: {active: ACTIVE}}", "m.yaml:4: no rule uses the table \"status\""),
    (
        "delivered: DELIVERED",
        "delivered: DELIVRED",
        "m.yaml:4: Parcel.status: the enum ParcelStatus has no symbol \"DELIVRED\" (did you mean \"DELIVERED\"?)",
    ),
    ("rules:", "ignore: {/a: x}\nrules:", "\"/a\" is ignored without a reason"),
    ("source: x", "source: &a x", "an anchor (&name)"),
    ("source: x", "source: x\nsource: y", "key \"source\" stands here twice"),
    ("source: x", "source: [x", "not valid YAML"),
    // XML: what is a list is said, not counted.
    ("source: x", "xml: {}", "m.yaml:1: `lists` is missing"),
    ("source: x", "xml: {lists: [\"w:ID\"]}", "m.yaml:1: \"w:ID\" is no name of an element, or stands there twice"),
    ("source: x", "xml: {lists: [ID, ID]}", "m.yaml:1: \"ID\" is no name of an element, or stands there twice"),
    (
        "source: x",
        "xml: {lists: [ID], keyed: {ID: type}}",
        "m.yaml:1: \"ID\" is no name of an element, or stands there twice",
    ),
    ("source: x", "xml: {lists: [ID], keyed: {Ref: [type]}}", "m.yaml:1: expected"),
    ("source: x", "xml: {list: [ID]}", "m.yaml:1: unknown key \"list\" (did you mean \"lists\"?)"),
];

#[test]
fn what_a_mapping_of_xml_takes_for_a_list_must_be_one_however_many_there_are() {
    let base = BASE.replace("source: x", "xml: {lists: [ID, Site]}");
    for (line, message) in [
        (
            "depot_id: \"Depot[@type=WID].#text\"",
            "the element \"Depot\" is read as a list, and is none when there is one of it (add it to `xml.lists`)",
        ),
        ("depot_id: \"Depot[0]\"", "the element \"Depot\" is read as a list"),
        ("notes: {each: Notes, fields: {title: q}}", "the element \"Notes\" is read as a list"),
        (
            "depot_id: {from: \"ID[@type=WID].#text\", when: {exists: Site.name}}",
            "the element \"Site\" is a list by `xml.lists`, and is read as one of it",
        ),
    ] {
        let found = problems(&base.replace("HERE", line), None);
        assert!(found.contains(&format!("m.yaml:13: {message}")), "{line}\n  wanted: {message}\n  found:  {found}");
    }
    for right in [
        "depot_id: \"Depot.ID[@type=WID].#text\"",
        "notes: {each: a.Site, fields: {title: q}}",
        "depot_id: Depot.@Descriptor",
    ] {
        compile(&base.replace("HERE", right), None).unwrap();
    }
}

#[test]
fn a_mistake_in_a_rule_names_line_and_remedy() {
    let base = BASE.replace("HERE", "depot_id: {ref: Depot, from: depot_id}");
    let mut wrong = String::new();
    for (text, instead, message) in RULE_MISTAKES {
        let broken = if text.contains("HERE") { BASE.replace(text, instead) } else { base.replacen(text, instead, 1) };
        assert_ne!(broken, base, "{text}");
        let found = problems(&broken, None);
        if !found.contains(message) {
            wrong.push_str(&format!("{instead}\n  wanted: {message}\n  found:  {found}\n"));
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

#[test]
fn an_overlay_is_checked_the_same_way() {
    let base = BASE.replace("HERE", "depot_id: {ref: Depot, from: depot_id}");
    for (overlay, message) in [
        ("tables: {status: {x: ACTIVE}}", "o.yaml:1: `version` is missing"),
        (
            "version: \"1\"\ntables: {statuses: {x: ACTIVE}}",
            "o.yaml:2: the mapping has no table \"statuses\" (did you mean \"status\"?)",
        ),
        (
            "version: \"1\"\ntables: {status: {x: ACTIV}}",
            "o.yaml:2: Parcel.status: the enum ParcelStatus has no symbol \"ACTIV\"",
        ),
        ("version: \"1\"\nfields: {Parcell: {status: x}}", "no rule of the mapping makes the record \"Parcell\""),
        ("version: \"1\"\nfields: {Parcel: {statu: x}}", "o.yaml:2: Parcel.statu: the record has no such field"),
        ("version: \"1\"\nfield: {}", "o.yaml:2: unknown key \"field\" (did you mean \"fields\"?)"),
    ] {
        let found = problems(&base, Some(overlay));
        assert!(found.contains(message), "{overlay}\n  wanted: {message}\n  found:  {found}");
    }
}

#[test]
fn all_mistakes_of_a_file_come_at_once() {
    let text = BASE.replace("HERE", "stat: x\n      kind: kind\n      depot_id: a..b").replace("[parcels]", "[a, a]");
    let found = problems(&text, None);
    assert_eq!(found.lines().count(), 4, "{found}");
    for line in ["m.yaml:8:", "m.yaml:13:", "m.yaml:14:", "m.yaml:15:"] {
        assert!(found.contains(line), "{line}: {found}");
    }
}

/// A rule that uses most of the language, to be broken at random.
const RICH: &str = "\
source: x
version: \"1\"
tables:
  status: {active: ACTIVE, \"*deliver*\": DELIVERED}
ignore: {/action: names the event only}
rules:
  parcel:
    record: Parcel
    events: [e]
    root: [payload.parcel, \"payload.list[]\"]
    optional: true
    when: {all: [{exists: id}, {not: {from: kind, in: [a, b]}}]}
    completeness: part
    id: {join: [{const: a}, id], sep: \"/\"}
    owner: {Depot: depot.id}
    version: {first: [updated, created], format: [rfc3339, epoch_ms]}
    hints: {action: {event: true}, change: {from: change, table: {x: y}}}
    fields:
      depot_id: {ref: Depot, from: {first: [depot.id, \"depots[0].id\"]}}
      status: {first: [{from: status, enum: $status, others: absent}, {const: ACTIVE}]}
      station: {from: station, fields: {id: {ref: Station, from: id}, name: {lookup: Station, from: id, field: name}}}
      sent_at: {from: \"f[name=Sent].value\", format: us_date, unreadable: carry}
      notes: {concat: [{each: notes, where: {exists: q}, fields: {title: q}}, {each_entry: more, fields: {title: {key: true}}}]}
    custom_fields: [{each_entry: custom, name: name, type: type, value: value}, {whole: blob}]
    ignore: {\"old.*\": nobody reads it any more}
";

#[test]
fn a_mapping_broken_at_random_is_refused_or_compiled_but_never_panics() {
    compile(RICH, None).unwrap();
    let mut random = fastrand::Rng::with_seed(3);
    let (mut refused, mut compiled) = (0, 0);
    for _ in 0..600 {
        let mut bytes = RICH.as_bytes().to_vec();
        for _ in 0..random.usize(1..4) {
            let at = random.usize(..bytes.len());
            match random.u8(..4) {
                0 => drop(bytes.remove(at)),
                1 => bytes[at] = b"{}[]:,.$*\"' ax0\n"[random.usize(..16)],
                2 => bytes.insert(at, b"{}[]:,.$*\"' ax0\n"[random.usize(..16)]),
                _ => {
                    let to = (at + random.usize(..12)).min(bytes.len());
                    bytes.drain(at..to);
                }
            }
        }
        let Ok(text) = String::from_utf8(bytes) else { continue };
        match compile(&text, None) {
            Ok(_) => compiled += 1,
            Err(problems) => {
                refused += 1;
                assert!(problems.iter().all(|problem| !problem.what.is_empty()), "{problems}");
            }
        }
    }
    assert!(refused > 100 && compiled > 20, "{refused} {compiled}");
}
