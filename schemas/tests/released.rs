//! What was released stays readable: `released/<record>/<n>.avsc` holds each released version of each record, and the
//! present one is the last of them, fully compatible with all.
//!
//! A changed schema is released by `RELEASE_SCHEMAS=1 cargo test -p hirewire-schemas --test released`, which writes the
//! next number; the files are committed with the change and never edited.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::fs;
use std::path::{Path, PathBuf};

use hirewire_registry::{Level, check_texts};
use hirewire_schemas::{RecordSchema, schemas};

fn folder(schema: &RecordSchema) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("released").join(&schema.name)
}

fn released(schema: &RecordSchema) -> Vec<String> {
    (1..).map_while(|n| fs::read_to_string(folder(schema).join(format!("{n}.avsc"))).ok()).collect()
}

/// A pseudo-entity is never written anywhere.
fn is_published(schema: &RecordSchema) -> bool {
    schema.name != "StageVisit"
}

#[test]
fn each_record_follows_all_its_released_versions() {
    let write = std::env::var_os("RELEASE_SCHEMAS").is_some();
    for schema in schemas().filter(|schema| is_published(schema)) {
        let earlier = released(schema);
        let messages = check_texts(Level::FullTransitive, &schema.text, &earlier).unwrap();
        assert!(messages.is_empty(), "{} breaks its readers or writers: {messages:#?}", schema.name);
        if earlier.last().map(|text| text.trim_end()) == Some(schema.text.as_str()) {
            continue;
        }
        assert!(
            write,
            "{} differs from its last release: run RELEASE_SCHEMAS=1 cargo test -p hirewire-schemas --test released",
            schema.name
        );
        fs::create_dir_all(folder(schema)).unwrap();
        fs::write(folder(schema).join(format!("{}.avsc", earlier.len() + 1)), format!("{}\n", schema.text)).unwrap();
    }
}

#[test]
fn a_breaking_change_is_seen() {
    for (from, to) in [
        (r#""name":"sequence_no","type":"long""#, r#""name":"sequence_no","type":"string""#),
        (r#""name":"inferred","type":["null","boolean"],"default":null"#, r#""name":"guessed","type":"boolean""#),
        (
            r#""symbols":["UNKNOWN","UNMAPPED","LIVE","CORRECTION"],"default":"UNKNOWN""#,
            r#""symbols":["UNKNOWN","UNMAPPED","LIVE"]"#,
        ),
    ] {
        let text = &hirewire_schemas::schema("StageChange").unwrap().text;
        let broken = text.replace(from, to);
        assert_ne!(&broken, text, "{from} is not in the schema");
        let messages = check_texts(Level::FullTransitive, &broken, std::slice::from_ref(text)).unwrap();
        assert!(!messages.is_empty(), "{to}");
    }
}
