//! What the sources say that the documents must know: codes, messages, settings.
//!
//! A reader of text, not of Rust: it knows the few forms in which this code base writes them, and fails on a form that
//! it does not know.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// Functions that name the codes of a closed list: file, function.
const CLOSED_LISTS: [(&str, &str); 6] = [
    ("ingest/src/webhook/mod.rs", "fn label("),
    ("ingest/src/poll/failure.rs", "fn label("),
    ("normalize/src/dead_letter.rs", "fn name("),
    ("lib/mapping/src/fact.rs", "fn as_str("),
    ("route/src/deliver/outcome.rs", "fn code("),
    ("route/src/deliver/outcome.rs", "fn name("),
];

/// Errors that end a start and have no code: file, type.
const START_ERRORS: [(&str, &str); 12] = [
    ("lib/broker/src/settings.rs", "enum OpenError"),
    ("lib/broker/src/settings.rs", "enum RunError"),
    ("lib/registry/src/store.rs", "enum OpenError"),
    ("lib/registry/src/codec.rs", "enum CodecError"),
    ("lib/service/src/secret.rs", "enum SecretError"),
    ("lib/service/src/spans/exporter.rs", "enum StartError"),
    ("lib/kafka/src/error.rs", "enum SendError"),
    ("schemas/src/schema.rs", "enum SchemaError"),
    ("ingest/src/run.rs", "enum Error"),
    ("normalize/src/run.rs", "enum Error"),
    ("normalize/src/store/disk.rs", "struct DiskError"),
    ("route/src/service.rs", "enum Error"),
];

/// Files that read `hirewire.yaml`.
const READERS: [&str; 22] = [
    "cli/src/config.rs",
    "lib/service/src/identity.rs",
    "lib/kafka/src/settings.rs",
    "lib/registry/src/access.rs",
    "lib/service/src/settings.rs",
    "lib/service/src/spans/settings.rs",
    "ingest/src/settings.rs",
    "ingest/src/connection.rs",
    "ingest/src/credentials.rs",
    "normalize/src/settings.rs",
    "route/src/settings.rs",
    "route/src/settings/auth.rs",
    "route/src/settings/http.rs",
    "route/src/settings/route.rs",
    "route/src/settings/signing.rs",
    "route/src/settings/sink.rs",
    "route/src/database/postgres/settings.rs",
    "route/src/files/lines.rs",
    "route/src/files/parquet/settings.rs",
    "route/src/mail/settings.rs",
    "route/src/topic/cluster.rs",
    "route/src/topic/settings.rs",
];

pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

pub(crate) fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// A source file without its unit tests.
fn source(path: &str) -> String {
    let text = read(path);
    text.split_once("#[cfg(test)]\nmod tests {").map_or(text.clone(), |(code, _)| code.to_owned())
}

pub(crate) fn walk(folder: &Path, ending: &str, found: &mut Vec<String>) {
    for entry in std::fs::read_dir(root().join(folder)).unwrap() {
        let (name, is_dir) = entry.map(|e| (e.file_name().into_string().unwrap(), e.path().is_dir())).unwrap();
        let path = folder.join(&name);
        if is_dir && name != "target" && name != ".git" {
            walk(&path, ending, found);
        } else if name.ends_with(ending) {
            found.push(path.to_str().unwrap().to_owned());
        }
    }
}

/// What runs at an operator's: services, libraries and the binary.
pub(crate) fn sources() -> Vec<(String, String)> {
    let mut paths = Vec::new();
    for folder in ["lib", "ingest", "normalize", "route", "schemas", "conformance", "cli"] {
        walk(Path::new(folder), ".rs", &mut paths);
    }
    paths.retain(|path| path.contains("/src/") && !path.contains("/tests"));
    paths.into_iter().map(|path| (path.clone(), source(&path))).collect()
}

/// The texts in double quotes, each with what stands before and behind it.
pub(crate) fn literals(text: &str) -> Vec<(&str, String, &str)> {
    let mut found = Vec::new();
    let (mut begin, bytes) = (0, text.as_bytes());
    while let Some(open) = text.get(begin..).and_then(|rest| rest.find('"')).map(|at| begin + at) {
        let mut close = open + 1;
        while bytes.get(close).is_some_and(|byte| *byte != b'"') {
            close += if bytes[close] == b'\\' { 2 } else { 1 };
        }
        let Some(inside) = text.get(open + 1..close) else { break };
        found.push((text.get(..open).unwrap(), inside.to_owned(), text.get(close + 1..).unwrap_or_default()));
        begin = close + 1;
    }
    found
}

/// What stands behind `start`, up to the closing brace at its indentation.
fn block<'a>(text: &'a str, start: &str, path: &str) -> &'a str {
    let at = text.find(start).unwrap_or_else(|| panic!("{path} has no `{start}` any more: correct this test's lists"));
    let line = text.get(..at).unwrap().rfind('\n').map_or(0, |newline| newline + 1);
    let indent: String = text.get(line..).unwrap().chars().take_while(|c| *c == ' ').collect();
    let rest = text.get(at..).unwrap();
    rest.split_once(&format!("\n{indent}}}")).map_or(rest, |(inside, _)| inside)
}

/// The codes in the sources.
pub(crate) fn codes() -> BTreeSet<String> {
    let mut codes = BTreeSet::new();
    for (path, text) in sources() {
        for call in ["Stop::retryable(", "Stop::permanent("] {
            for after in text.split(call).skip(1) {
                let first = after.trim_start().strip_prefix('"').and_then(|rest| rest.split('"').next());
                codes.insert(first.unwrap_or_else(|| panic!("{path}: a code that is no literal")).to_owned());
            }
        }
        for (at, _) in text.match_indices("code = ") {
            let before = text.get(..at).unwrap();
            let value = text.get(at + "code = ".len()..).unwrap();
            let value = value.split([',', '\n', ';']).next().unwrap();
            if before.ends_with("let ") || before.ends_with(|c: char| c.is_alphanumeric() || c == '_') {
                continue;
            }
            match value.strip_prefix('"').and_then(|rest| rest.split('"').next()) {
                Some(code) => drop(codes.insert(code.to_owned())),
                // A variable is fine when it comes from one of the lists.
                None => assert!(
                    [".code", ".code()", ".name()", ".label()", ".as_str()"].iter().any(|end| value.ends_with(end)),
                    "{path}: where does the code `{value}` come from?"
                ),
            }
        }
    }
    let kafka = source("lib/kafka/src/error.rs");
    codes.extend(literals(block(&kafka, "fn kafka(", "error.rs")).into_iter().map(|l| l.1).filter(|l| is_code(l)));
    for (path, function) in CLOSED_LISTS {
        codes.extend(literals(block(&source(path), function, path)).into_iter().map(|literal| literal.1));
    }
    let issue = source("normalize/src/issue.rs");
    codes.extend(issue.split("code: ").skip(1).filter_map(|call| literals(call).first().map(|l| l.1.clone())));
    codes
}

fn is_code(text: &str) -> bool {
    text.contains(['-', '_']) && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
}

/// A format text with `…` in the place of values.
pub(crate) fn shown(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('{') {
        out.push_str(before);
        out.push('…');
        rest = after.split_once('}').map_or("", |(_, rest)| rest);
    }
    out.push_str(rest);
    let joined = out.replace("\\\n", " ").replace("\\\"", "\"");
    joined.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The messages of an error type.
pub(crate) fn messages() -> BTreeSet<String> {
    let mut messages = BTreeSet::new();
    for (path, name) in START_ERRORS {
        let text = source(path);
        let inside = match name.starts_with("struct") {
            // Its attribute stands above it.
            true => text.split_once(name).map(|(before, _)| before.rsplit_once("#[error(").unwrap().1).unwrap(),
            false => block(&text, name, path),
        };
        let with_attributes = if name.starts_with("struct") { format!("#[error({inside}") } else { inside.to_owned() };
        for attribute in with_attributes.split("#[error(").skip(1).filter(|rest| !rest.starts_with("transparent")) {
            let message = shown(&literals(attribute).first().unwrap().1);
            if message.chars().any(char::is_alphabetic) {
                messages.insert(message);
            }
        }
    }
    messages
}

/// The keys that the readers of `hirewire.yaml` ask for.
pub(crate) fn settings() -> BTreeSet<String> {
    keys(&READERS)
}

/// The keys that the readers of a vendor's manifest ask for.
pub(crate) fn manifest_keys() -> BTreeSet<String> {
    let mut paths = Vec::new();
    walk(Path::new("ingest/src/manifest"), ".rs", &mut paths);
    let paths: Vec<&str> = paths.iter().map(String::as_str).collect();
    keys(&paths)
}

/// The keys that the reader of a vendor's `api.yaml` asks for.
pub(crate) fn api_keys() -> BTreeSet<String> {
    let mut paths = Vec::new();
    walk(Path::new("sim/src/rules"), ".rs", &mut paths);
    let paths: Vec<&str> = paths.iter().map(String::as_str).collect();
    keys(&paths)
}

fn keys(readers: &[&str]) -> BTreeSet<String> {
    let mut read_keys = BTreeSet::new();
    for path in readers {
        let text = source(path);
        for (before, key, after) in literals(&text) {
            let asked = [
                "get(", "require(", "peek(", "time(", "file(", "count(", "map, ", "inner, ", " name(", "(m, ", "word(",
            ];
            let listed = after.starts_with(", &mut settings.");
            if listed || asked.iter().any(|call| before.ends_with(call)) {
                read_keys.insert(key);
            }
        }
        // A long list begins in a line of its own.
        let choices = text.split("tagged(").skip(1).filter_map(|call| call.trim_start().strip_prefix("&["));
        for choice in choices {
            let choice = choice.split(']').next().unwrap();
            read_keys.extend(literals(choice).into_iter().map(|literal| literal.1));
        }
    }
    read_keys
}
