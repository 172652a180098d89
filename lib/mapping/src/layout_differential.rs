//! Slots against a plain search for keys, and what is expected against what stands there: the same plan with and without its layout, and
//! with and without habits, says the same of any payload.

use apache_avro::Schema;
use serde_json::json;

use crate::fact::{Coverage, Mark};
use crate::layout::Layout;
use crate::{Context, Input, Plan, Scratch};

struct World;

impl Context for World {
    fn id(&mut self, _: &str, remote_id: &str) -> [u8; 36] {
        [u8::try_from(remote_id.len() % 100).unwrap(); 36]
    }
    fn foreign_id(&mut self, connection: &str, _: &str, remote_id: &str) -> [u8; 36] {
        [u8::try_from((connection.len() + remote_id.len()) % 100).unwrap(); 36]
    }
    fn lookup(&mut self, _: &str, remote_id: &str, _: usize, out: &mut Vec<u8>) -> bool {
        out.push(0);
        remote_id.len().is_multiple_of(2)
    }
}

/// `some`, `other` and their like stand at several places, below roots that become one, behind `*`, by position and filter.
const MAPPING: &str = "\
version: \"1\"
ignore: {/action: names the event only, \"/any.*.old\": nobody reads it any more}
rules:
  one:
    record: Thing
    events: [e]
    root: [top, \"list[]\", \"every.*\"]
    optional: true
    completeness: part
    id: {first: [id, some.id, /id]}
    version: {from: a rather long key of a time, format: epoch_s}
    fields:
      name: {first: [\"tags[0].name\", \"tags[name=x].value\", \"tags[kind.name=x].value\", name]}
      other: {lookup: Thing, from: other.some.id, field: other}
      items: {concat: [{each: items, fields: {name: name, other: /top.name}}, {each_entry: more, fields: {name: some.name, other: {key: true}}}]}
    custom_fields: [{each_entry: more, name: name, type: kind, value: value}, {whole: blob}]
    ignore: {\"some.*\": nobody reads it, \"tags[].old\": nobody reads it}
  two:
    record: Thing
    events: [e]
    id: /top.some.id
    optional: true
    completeness: part
    when: {any: [{exists: top.some}, {from: \"list[1].name\", is: x}]}
    fields: {name: more.name, other: top.more.id}
";

const SEED: &str = r#"{"action":"e","id":1,"top":{"id":2,"a rather long key of a time":3,"name":"x","some":{"id":4,"name":"y"},
    "tags":[{"name":"x","value":"v","old":1},{"kind":{"name":"x"},"value":"w"}],"other":{"some":{"id":"55"}},"items":[{"name":"i"},{}],
    "more":{"id":{"some":{"name":"n"},"value":5,"name":"N","kind":"k"},"name":{"value":7}},"blob":[1]},"list":[{"id":6},{"some":{"id":7},
    "name":"x"}],"every":{"a":{"id":8},"b":{"id":9,"name":"z"}},"any":{"q":{"old":1,"new":2}},"more":{"name":"m"}}"#;

fn schema() -> Schema {
    let text = json!(["null", "string"]);
    let custom = json!({"type": "record", "name": "Custom", "fields": [{"name": "name", "type": "string"},
        {"name": "path", "type": "string"}, {"name": "type", "type": text}, {"name": "value", "type": text}]});
    let meta = json!({"type": "record", "name": "Meta",
        "fields": [{"name": "custom_fields", "type": {"type": "array", "items": custom}}]});
    let item = json!({"type": "record", "name": "Item",
        "fields": [{"name": "name", "type": text, "default": null}, {"name": "other", "type": text, "default": null}]});
    Schema::parse(&json!({"type": "record", "name": "Thing", "fields": [{"name": "meta", "type": meta},
        {"name": "name", "type": text}, {"name": "other", "type": text},
        {"name": "items", "type": {"type": "array", "items": item}}]}))
    .unwrap()
}

/// Everything that a caller can see.
fn said(plan: &Plan, scratch: &mut Scratch, body: &[u8]) -> String {
    let input = Input { body, event: Some("e"), ..Input::default() };
    match plan.apply(scratch, &input, &mut World) {
        Err(reject) => format!("{reject:?}"),
        Ok(mapped) => {
            let marked = |mark| mapped.scratch.tape.nodes.iter().filter(|node| node.mark == mark).count();
            let counted = [Mark::Read, Mark::Ignored, Mark::Carried, Mark::Unread].map(marked);
            let Coverage { read, ignored, carried, unread } = mapped.coverage();
            assert!(!mapped.known() || counted == [read, ignored, carried, unread], "{counted:?}");
            let facts = mapped.facts().map(|fact| {
                let slices: Vec<_> = (0..fact.field_count()).map(|index| fact.field(index)).collect();
                let notes: Vec<_> = fact.missing_lookups().collect();
                format!(
                    "{} {} {:?} {:?} {slices:?} {notes:?}",
                    fact.rule, fact.remote_id, fact.version_micros, fact.custom_fields
                )
            });
            format!("{:?} {:?}", mapped.coverage(), facts.collect::<Vec<_>>())
        }
    }
}

/// Exchanges tokens: keys for other keys, escaped keys, values for other values.
fn mutate(text: &str, random: &mut fastrand::Rng) -> String {
    const WORDS: [&str; 22] = [
        "\"id\"",
        "\"name\"",
        "\"some\"",
        "\"s\\u006fme\"",
        "\"more\"",
        "\"top\"",
        "\"list\"",
        "\"tags\"",
        "\"value\"",
        "\"kind\"",
        "\"old\"",
        "\"x\"",
        "null",
        "[]",
        "{}",
        "7",
        "true",
        "\"a rather long key of a tine\"",
        "\"a rather long key of \\u0061 time\"",
        "{\"id\":1,\"id\":2}",
        "[{\"name\":\"x\"}]",
        "{\"some\":{\"id\":1}}",
    ];
    let ends: Vec<usize> = text.char_indices().filter(|(_, c)| "{}[]:,".contains(*c)).map(|(at, _)| at).collect();
    let tokens: Vec<(usize, usize)> = ends
        .windows(2)
        .map(|pair| (pair[0] + 1, pair[1]))
        .filter(|(from, to)| !text[*from..*to].trim().is_empty())
        .collect();
    let (from, to) = tokens[random.usize(..tokens.len())];
    let is_key = text[to..].starts_with(':');
    let words = WORDS.iter().filter(|word| !is_key || word.starts_with('"')).collect::<Vec<_>>();
    let word = words[random.usize(..words.len())];
    format!("{}{word}{}", &text[..from], &text[to..])
}

#[test]
fn a_plan_says_the_same_with_slots_and_without() {
    let schema = schema();
    let schema_of = |name: &str| (name == "Thing").then_some(&schema);
    let mapping = hirewire_yaml::parse("m.yaml", MAPPING).unwrap();
    let compile = || Plan::compile(&mapping, None, &schema_of).unwrap_or_else(|problems| panic!("{problems}"));
    let with = compile();
    let without = Plan { layout: Layout::default(), ..compile() };
    let (mut one, mut other) = (Scratch::default(), Scratch::default());
    let mut random = fastrand::Rng::with_seed(9);
    let rounds = std::env::var("ROUNDS").ok().and_then(|rounds| rounds.parse().ok()).unwrap_or(30_000_u32);
    let (mut facts, mut rejects) = (0, 0);
    for round in 0..rounds {
        let mut text = SEED.to_owned();
        for _ in 0..round.min(1) * random.u32(1..3) {
            text = mutate(&text, &mut random);
        }
        let (left, right) = (said(&with, &mut one, text.as_bytes()), said(&without, &mut other, text.as_bytes()));
        assert_eq!(left, right, "{text}");
        // Without what was read before.
        assert_eq!(left, said(&with, &mut Scratch::default(), text.as_bytes()), "{text}");
        if left.starts_with("Coverage") { facts += 1 } else { rejects += 1 }
    }
    assert!(facts > rounds / 20 && rejects > rounds / 20, "{facts} {rejects}");
}
