//! The tokenizer against `serde_json`: the same texts are accepted, and they mean the same.

use serde_json::Value;

use crate::json::{Fault, Kind, Tape, Word, letters, span, unescape};
use crate::layout::Layout;

const SEEDS: [&str; 14] = [
    r#"{"a": [1, -2.5e+10, 0.0, 1E-3, true, false, null], "b": {"c": "x\"\\\/\b\f\n\r\t\u00e9\ud83d\ude00"}, "": ""}"#,
    r#"[[], {}, [[[]]], {"a": {"b": {"c": []}}}]"#,
    r#""\u0000\uD834\uDD1E plain text that is longer than eight bytes, with é and 😀""#,
    "  { \"key\" : \"value\" ,\n\t\"k\":[ ]\r\n}  ",
    "-0",
    "1e5",
    "12345678901234567890123",
    "{\"a\":1,\"b\":{\"a\":1},\"c\":[{\"a\":1},{\"a\":1}]}",
    "[\"\\u003cscript\\u003e\\u0026\"]",
    "null",
    "\"\"",
    "[0,1,2,3,4,5,6,7,8,9]",
    "{\"aa\":{\"bb\":{\"cc\":{\"dd\":\"ee\"}}}}",
    "[\"a\",\"b\",{\"c\":\"d\"}]",
];

fn value_of(tape: &Tape, text: &str, node: usize) -> Value {
    let here = tape.nodes[node];
    let plain = |word: Word| {
        let mut out = String::new();
        unescape(letters(text, word), &mut out);
        out
    };
    match here.kind {
        Kind::Object => {
            let mut members = serde_json::Map::new();
            let mut value = node + 1;
            while value < here.next as usize {
                members.insert(plain(tape.nodes[value].key().unwrap()), value_of(tape, text, value));
                assert_eq!(tape.nodes[value].parent as usize, node);
                value = tape.nodes[value].next as usize;
            }
            Value::Object(members)
        }
        Kind::Array => {
            let mut items = Vec::new();
            let mut item = node + 1;
            while item < here.next as usize {
                assert_eq!(tape.nodes[item].parent as usize, node);
                items.push(value_of(tape, text, item));
                item = tape.nodes[item].next as usize;
            }
            Value::Array(items)
        }
        Kind::Text => Value::String(plain(here.word())),
        Kind::Number | Kind::True | Kind::False | Kind::Null => serde_json::from_str(span(text, here)).unwrap(),
    }
}

fn compare(bytes: &[u8], tape: &mut Tape) {
    let valid = crate::json::validate(bytes);
    let (layout, mut fresh) = (Layout::default(), Tape::default());
    let ours = tape.parse(bytes, &layout);
    // What was read before changes nothing.
    assert_eq!(ours, fresh.parse(bytes, &layout));
    assert_eq!((&tape.nodes, tape.leaves), (&fresh.nodes, fresh.leaves));
    match &ours {
        Ok(_) => assert!(valid),
        // Behind the key anything may stand.
        Err(error) => assert!(!valid || error.fault == Fault::DuplicateKey),
    }
    let theirs = serde_json::from_slice::<Value>(bytes);
    match (ours, theirs) {
        (Ok(text), Ok(theirs)) => assert_eq!(value_of(tape, text, 0), theirs, "{text}"),
        (Err(_), Err(_)) => {}
        // Decisions that differ on purpose.
        (Err(error), Ok(_)) => assert_eq!(error.fault, Fault::DuplicateKey, "{}", String::from_utf8_lossy(bytes)),
        (Ok(text), Err(error)) => assert!(error.to_string().contains("number out of range"), "{text}: {error}"),
    }
}

#[test]
fn mutated_texts_are_accepted_and_understood_alike() {
    let mut random = fastrand::Rng::with_seed(42);
    let mut tape = Tape::default();
    let rounds = std::env::var("ROUNDS").ok().and_then(|rounds| rounds.parse().ok()).unwrap_or(60_000_u32);
    for seed in SEEDS {
        compare(seed.as_bytes(), &mut tape);
    }
    for _ in 0..rounds {
        let mut bytes = SEEDS[random.usize(..SEEDS.len())].as_bytes().to_vec();
        for _ in 0..random.usize(1..4) {
            let at = random.usize(..=bytes.len());
            const PARTS: &[u8] = b"{}[]\",:\\u/0123456789.eE+-tfn \n\x00\x1f\xff\xc3abcdDEF8";
            let byte = PARTS[random.usize(..PARTS.len())];
            match random.u8(..5) {
                0 if at < bytes.len() => {
                    bytes.remove(at);
                }
                1 => bytes.insert(at, byte),
                2 => bytes.truncate(at),
                3 => {
                    let other = SEEDS[random.usize(..SEEDS.len())].as_bytes();
                    let from = random.usize(..other.len());
                    let to = random.usize(from..=other.len());
                    bytes.splice(at..at, other[from..to].iter().copied());
                }
                _ if at < bytes.len() => bytes[at] = byte,
                _ => {}
            }
        }
        compare(&bytes, &mut tape);
    }
}

#[test]
fn depth_ends_where_serde_json_ends() {
    for depth in 120..135 {
        compare(format!("{}{}", "[".repeat(depth), "]".repeat(depth)).as_bytes(), &mut Tape::default());
        compare(format!("{}1{}", "{\"a\":".repeat(depth), "}".repeat(depth)).as_bytes(), &mut Tape::default());
    }
}
