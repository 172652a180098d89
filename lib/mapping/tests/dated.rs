//! Overlays that change with time: what holds when a statement was made is what it is mapped by, and a mistake is told at load.
#![allow(clippy::unwrap_used, clippy::expect_used)]
#![allow(dead_code, reason = "the support has more than these tests need")]

mod support;

use hirewire_mapping::tool::{self, World};
use hirewire_mapping::{Input, Plan};
use serde_json::{Value as Json, json};
use support::{compile, id, key, schema_of};

const MAPPING: &str = "\
version: \"1\"
tables:
  status: {on the way: ACTIVE, \"*arrived*\": DELIVERED}
  side: {l: left}
  state: {open: OPEN}
rules:
  parcel:
    record: Parcel
    events: [e]
    root: \"parcels[]\"
    completeness: part
    id: id
    version: at
    fields:
      status: {from: status, enum: $status}
      route_id: {from: side, table: $side}
    custom_fields: [{each_entry: custom, name: name, type: type, value: value}]
  depot:
    record: Depot
    events: [e]
    root: depot
    optional: true
    when: {from: kind, is: depot}
    completeness: part
    id: id
    version: at
    fields: {status: {from: state, enum: $state}}
";

const OVERLAY: &str = "\
version: acme
tables: {status: {handed over: DELIVERED, lost: RETURNED}}
fields: {Parcel: {depot_id: custom.old.value}}
changes:
  - from: 2026-03-01
    tables: {status: {handed over: RETURNED}, side: {l: links}}
  - from: 2026-06-01T00:00:00+02:00
    tables: {status: {handed over: ACTIVE}}
    fields: {Parcel: {depot_id: custom.new.value}}
";

fn plan(overlay: &str) -> Plan {
    compile(MAPPING, Some(overlay)).unwrap_or_else(|problems| panic!("{overlay}\n{problems}"))
}

const RECEIVED: &str = "2026-12-31T00:00:00Z";

fn records(plan: &Plan, body: &Json) -> Vec<Json> {
    let received: jiff::Timestamp = RECEIVED.parse().unwrap();
    let body = body.to_string();
    let received_micros = Some(received.as_microsecond());
    let input = Input { body: body.as_bytes(), event: Some("e"), received_micros, ..Input::default() };
    let world = World { schema_of: &schema_of, id: &id, key: &key, meta: &[], meta_of: &|_, _, _| None };
    let report = tool::map_file(plan, &input, None, &world);
    report.lines.iter().map(|line| serde_json::from_str::<Json>(line).unwrap()["record"].clone()).collect()
}

fn status(at: Option<&str>, word: &str) -> String {
    let records = records(&plan(OVERLAY), &json!({"parcels": [{"id": 1, "at": at, "status": word}]}));
    let part = |part: &str| records[0]["status"][part].as_str().unwrap_or("-").to_owned();
    format!("{} {}", part("value"), part("rule"))
}

#[test]
fn a_word_means_what_it_meant_at_the_source_s_time_of_the_statement() {
    for (at, expected) in [
        ("2020-01-01T00:00:00Z", "DELIVERED overlay:acme/status/handed over"),
        ("2026-02-28T23:59:59.999999Z", "DELIVERED overlay:acme/status/handed over"),
        // The very moment belongs to what begins then.
        ("2026-03-01T00:00:00Z", "RETURNED overlay:acme@2026-03-01/status/handed over"),
        ("2026-05-31T21:59:59Z", "RETURNED overlay:acme@2026-03-01/status/handed over"),
        ("2026-05-31T22:00:00Z", "ACTIVE overlay:acme@2026-06-01T00:00:00+02:00/status/handed over"),
    ] {
        assert_eq!(status(Some(at), "Handed Over"), expected, "{at}");
        // What no change names holds at all times.
        assert_eq!(status(Some(at), "lost"), "RETURNED overlay:acme/status/lost", "{at}");
        assert_eq!(status(Some(at), "has arrived"), "DELIVERED status/*arrived*", "{at}");
    }
    // A statement without a time is of when it was received.
    let last = "ACTIVE overlay:acme@2026-06-01T00:00:00+02:00/status/handed over";
    assert_eq!(status(None, "handed over"), last);
}

#[test]
fn each_statement_of_a_payload_has_its_own_time_and_a_change_adds_to_what_was_before() {
    let parcel = |id: u32, at: &str| {
        let custom = json!({"old": {"name": "Old", "value": "o"}, "new": {"name": "New", "value": "n"}});
        json!({"id": id, "at": at, "status": "handed over", "side": "l", "custom": custom})
    };
    let times = ["2026-05-01T00:00:00Z", "2026-07-01T00:00:00Z", "2026-01-01T00:00:00Z"];
    let body = json!({"parcels": (1..).zip(times).map(|(id, at)| parcel(id, at)).collect::<Vec<_>>()});
    let told: Vec<String> = records(&plan(OVERLAY), &body)
        .iter()
        .map(|one| {
            // The one that is not read is carried.
            let carried = &one["meta"]["custom_fields"];
            assert_eq!(carried.as_array().unwrap().len(), 1);
            let text = |value: &Json| value.as_str().unwrap().to_owned();
            [&one["status"]["value"], &one["route_id"], &one["depot_id"], &carried[0]["name"]].map(text).join(" ")
        })
        .collect();
    assert_eq!(told, ["RETURNED links o New", "ACTIVE links n Old", "DELIVERED left o New"]);
}

/// To look at a statement's time is not to read it: what no rule reads is carried.
#[test]
fn a_plan_without_a_change_yet_says_what_a_plan_without_changes_says() {
    let overlay = "version: \"1\"\nchanges: [{from: 2026-03-01, tables: {state: {open: CLOSED}}}]";
    let body = json!({
        "parcels": [{"id": 1, "at": "2026-01-01T00:00:00Z", "status": "on the way"}],
        "depot": {"id": 7, "kind": "shop", "at": "2026-01-01T00:00:00Z", "state": "open"},
    });
    let plain = |plan: &Plan| {
        let mut records = records(plan, &body);
        records.iter_mut().for_each(|one| one["meta"]["mapping_version"] = Json::Null);
        records
    };
    assert!(plain(&plan(overlay))[0]["meta"]["custom_fields"].to_string().contains("depot.at"));
    let without = compile(MAPPING, None).unwrap();
    assert_eq!(plain(&plan(overlay)), plain(&without));
    assert!(!without.is_dated() && plan(overlay).is_dated());
}

#[test]
fn a_time_that_cannot_be_read_is_a_dead_letter_only_if_there_is_a_statement() {
    let overlay = plan(OVERLAY);
    let count = |kind: &str| {
        let body = json!({"parcels": [{"id": 1}], "depot": {"id": 7, "kind": kind, "at": "soon", "state": "open"}});
        records(&overlay, &body).iter().filter(|record| record.is_null()).count()
    };
    assert_eq!((count("depot"), count("shop")), (1, 0));
}

/// A symbol, the source's word and the rule, in Avro.
fn coded(symbol: u8, word: Option<&str>, rule: Option<&str>) -> Vec<u8> {
    let mut out = vec![symbol * 2];
    for text in [word, rule] {
        match text {
            None => out.push(0),
            Some(text) => {
                out.extend([2, u8::try_from(text.len() * 2).unwrap()]);
                out.extend(text.as_bytes());
            }
        }
    }
    out
}

#[test]
fn a_coded_value_can_be_asked_what_it_was_at_another_time() {
    let plan = plan(OVERLAY);
    let micros = |time: &str| time.parse::<jiff::Timestamp>().unwrap().as_microsecond();
    let then = |value: &[u8], time: &str| {
        let mut out = Vec::new();
        plan.recode("ParcelStatus", value, micros(time), &mut out).then_some(out)
    };
    let (active, delivered, returned, unmapped) = (2, 3, 4, 1);
    let first = coded(delivered, Some("Handed over"), Some("overlay:acme/status/handed over"));
    let second = coded(returned, Some("Handed over"), Some("overlay:acme@2026-03-01/status/handed over"));
    for value in [&first, &second, &coded(unmapped, Some("Handed over"), None)] {
        assert_eq!(then(value, "2026-02-01T00:00:00Z").as_ref(), Some(&first));
        assert_eq!(then(value, "2026-04-01T00:00:00Z").as_ref(), Some(&second));
    }
    let never = coded(unmapped, Some("eaten"), None);
    assert_eq!(then(&never, "2026-04-01T00:00:00Z"), Some(never));
    // Lines of an older overlay and of the mapping are of the table too; those of other tables, and what has no word, stay.
    let old = coded(active, Some("Handed over"), Some("overlay:a/b/status/handed over"));
    assert_eq!(then(&old, "2026-04-01T00:00:00Z").as_ref(), Some(&second));
    let arrived = coded(delivered, Some("arrived"), Some("status/*arrived*"));
    assert_eq!(then(&arrived, "2026-04-01T00:00:00Z").as_ref(), Some(&arrived));
    for stays in [coded(active, Some("x"), Some("parcel.status/x")), coded(active, None, Some("status/x")), vec![0xff]]
    {
        assert_eq!(then(&stays, "2026-04-01T00:00:00Z"), None, "{stays:?}");
    }
    let mut out = Vec::new();
    assert!(!plan.recode("DepotStatus", &first, 0, &mut out) && out.is_empty());
    let since = ["2026-02-01T00:00:00Z", "2026-04-01T00:00:00Z"].map(|time| plan.holds_since(micros(time)));
    assert_eq!(since, [i64::MIN, micros("2026-03-01T00:00:00Z")]);
}

/// (what stands under `changes:`, what the message says).
const MISTAKES: &[(&str, &str)] = &[
    ("[]", "o.yaml:3: no changes"),
    ("{from: 2026-03-01}", "o.yaml:3: expected a list, found a mapping"),
    ("[2026-03-01]", "o.yaml:3: expected a mapping, found a plain value"),
    ("[{tables: {status: {lost: ACTIVE}}}]", "o.yaml:3: `from` is missing"),
    ("[{from: 2026-03-01}]", "o.yaml:3: a change that changes nothing (add `tables: …` or `fields: …`)"),
    ("[{form: 2026-03-01}]", "o.yaml:3: unknown key \"form\" (did you mean \"from\"?)"),
    ("[{from: 2026-02-30, tables: {status: {lost: ACTIVE}}}]", "o.yaml:3: \"2026-02-30\" is neither a day nor a time"),
    ("[{from: March, tables: {status: {lost: ACTIVE}}}]", "\"March\" is neither a day nor a time with its zone (write"),
    ("[{from: 2026-03-01T00:00:00, tables: {status: {lost: ACTIVE}}}]", "is neither a day nor a time with its zone"),
    ("[{from: 2026-03-01+02:00, tables: {status: {lost: ACTIVE}}}]", "is neither a day nor a time with its zone"),
    ("[{from: [2026-03-01], tables: {status: {lost: ACTIVE}}}]", "o.yaml:3: expected a text, found a list"),
    ("[{from: 2026-03-01, tables: {statuses: {lost: ACTIVE}}}]", "o.yaml:3: the mapping has no table \"statuses\""),
    ("[{from: 2026-03-01, tables: {status: {lost: ACTVE}}}]", "o.yaml:3: Parcel.status: the enum ParcelStatus has no"),
    ("[{from: 2026-03-01, tables: {status: {x: ACTIVE, X: ACTIVE}}}]", "the word \"X\" stands twice in this table"),
    ("[{from: 2026-03-01, fields: {Parcell: {depot_id: x}}}]", "o.yaml:3: no rule of the mapping makes the record"),
    ("[{from: 2026-03-01, fields: {Parcel: {depot: x}}}]", "o.yaml:3: Parcel.depot: the record has no such field"),
    ("[{from: 2026-03-01, fields: {Parcel: {depot_id: x..y}}}]", "o.yaml:3: the path \"x..y\" has an empty key"),
    (
        "[{from: 2026-03-01, tables: {status: {Lost: RETURNED}}}]",
        "o.yaml:3: \"lost\" is RETURNED before this already (remove the line: what is said once holds on)",
    ),
    (
        "\n- {from: 2026-03-01, tables: {status: {lost: ACTIVE}}}\n- {from: 2026-03-01, tables: {status: {lost: DELIVERED}}}",
        "o.yaml:5: two changes from the same moment, 2026-03-01 and 2026-03-01 (make one of them)",
    ),
    (
        "\n- {from: 2026-03-01, tables: {status: {lost: ACTIVE}}}\n- {from: 2026-03-01T02:00:00+02:00, fields: {Parcel: {depot_id: x}}}",
        "o.yaml:5: two changes from the same moment, 2026-03-01 and 2026-03-01T02:00:00+02:00",
    ),
    (
        "\n- {from: 2026-03-01, tables: {status: {lost: ACTIVE}}}\n- {from: 2026-02-01, tables: {status: {lost: DELIVERED}}}",
        "o.yaml:5: a change from 2026-02-01 stands behind one from 2026-03-01 (sort the changes by time)",
    ),
    (
        "\n- {from: 2026-03-01, tables: {status: {lost: ACTIVE}}}\n- {from: 2026-04-01, tables: {status: {lost: ACTIVE}}}",
        "o.yaml:5: \"lost\" is ACTIVE before this already",
    ),
];

#[test]
fn a_mistake_in_a_change_names_line_and_remedy() {
    let mut wrong = String::new();
    for (changes, message) in MISTAKES {
        let text = format!("version: \"1\"\ntables: {{status: {{lost: RETURNED}}}}\nchanges: {changes}\n");
        match compile(MAPPING, Some(&text)) {
            Ok(_) => wrong.push_str(&format!("{changes}\n  accepted\n")),
            Err(problems) if !problems.to_string().contains(message) => {
                wrong.push_str(&format!("{changes}\n  wanted: {message}\n  found:  {problems}\n"));
            }
            Err(_) => {}
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
    let all = "version: \"1\"\nchanges:\n- {from: May, fields: {Parcel: {depo: x}}}\n- {tables: {stat: {a: ACTIVE}}}\n";
    let found = compile(MAPPING, Some(all)).unwrap_err().to_string();
    assert_eq!(found.lines().count(), 4, "{found}");
}
