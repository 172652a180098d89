//! The documentation against the code.
//!
//! Every code and start message that an operator can see has an entry in `docs/errors.md`, and every entry is of this
//! code base; every setting stands in `docs/configuration.md`, and the complete examples there pass `hirewire check`;
//! the files and tests that the documents name are there.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use hirewire_e2e::hirewire;

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
const START_ERRORS: [(&str, &str); 11] = [
    ("lib/broker/src/settings.rs", "enum OpenError"),
    ("lib/broker/src/settings.rs", "enum RunError"),
    ("lib/registry/src/store.rs", "enum OpenError"),
    ("lib/registry/src/codec.rs", "enum CodecError"),
    ("lib/service/src/secret.rs", "enum SecretError"),
    ("lib/kafka/src/error.rs", "enum SendError"),
    ("schemas/src/schema.rs", "enum SchemaError"),
    ("ingest/src/run.rs", "enum Error"),
    ("normalize/src/run.rs", "enum Error"),
    ("normalize/src/store/disk.rs", "struct DiskError"),
    ("route/src/service.rs", "enum Error"),
];

/// Files that read `hirewire.yaml`.
const READERS: [&str; 8] = [
    "cli/src/config.rs",
    "lib/kafka/src/settings.rs",
    "ingest/src/settings.rs",
    "ingest/src/connection.rs",
    "normalize/src/settings.rs",
    "route/src/settings.rs",
    "route/src/settings/http.rs",
    "route/src/database/postgres.rs",
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// A source file without its unit tests.
fn source(path: &str) -> String {
    let text = read(path);
    text.split_once("#[cfg(test)]\nmod tests {").map_or(text.clone(), |(code, _)| code.to_owned())
}

fn walk(folder: &Path, ending: &str, found: &mut Vec<String>) {
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
fn sources() -> Vec<(String, String)> {
    let mut paths = Vec::new();
    for folder in ["lib", "ingest", "normalize", "route", "schemas", "cli"] {
        walk(Path::new(folder), ".rs", &mut paths);
    }
    paths.retain(|path| path.contains("/src/") && !path.contains("/tests"));
    paths.into_iter().map(|path| (path.clone(), source(&path))).collect()
}

/// The texts in double quotes, each with what stands before and behind it.
fn literals(text: &str) -> Vec<(&str, String, &str)> {
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
fn codes() -> BTreeSet<String> {
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
    codes.extend(issue.split("issue_id(").skip(1).filter_map(|call| literals(call).first().map(|l| l.1.clone())));
    codes
}

fn is_code(text: &str) -> bool {
    text.contains(['-', '_']) && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
}

/// A format text with `…` in the place of values.
fn shown(text: &str) -> String {
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
fn messages() -> BTreeSet<String> {
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

#[test]
fn every_code_has_an_entry_and_every_entry_is_a_code() {
    let page = read("docs/errors.md");
    let entries: Vec<(&str, &str)> = page.split("\n### `").skip(1).filter_map(|entry| entry.split_once('`')).collect();
    let named: BTreeSet<String> = entries.iter().map(|(code, _)| (*code).to_owned()).collect();
    assert_eq!(named.len(), entries.len(), "a code has two entries");
    let codes = codes();
    assert!(codes.len() > 60, "the collection itself is broken: {codes:?}");
    let missing: Vec<_> = codes.difference(&named).collect();
    assert!(missing.is_empty(), "codes without an entry in docs/errors.md: {missing:?}");
    let left_over: Vec<_> = named.difference(&codes).collect();
    assert!(left_over.is_empty(), "entries of docs/errors.md that no source has: {left_over:?}");
    for (code, text) in entries {
        let text = text.split("\n## ").next().unwrap();
        let (meaning, remedy) = text.split_once("**What to do.**").unwrap_or_else(|| panic!("{code}: what to do?"));
        assert!(meaning.trim().len() > 20 && remedy.trim().len() > 7, "{code} says too little");
    }
}

#[test]
fn every_start_message_has_a_row_and_every_row_is_a_message() {
    let page = read("docs/errors.md");
    let rows: Vec<&str> =
        page.lines().filter_map(|line| line.strip_prefix("| “")?.split_once('”').map(|(message, _)| message)).collect();
    let messages = messages();
    assert!(messages.len() > 30, "the collection itself is broken: {messages:?}");
    for message in &messages {
        let row = rows.iter().find(|row| message.starts_with(**row) && (row.len() > 12 || *row == message));
        assert!(row.is_some(), "no row in docs/errors.md for “{message}”");
    }
    let said: Vec<String> = sources().iter().map(|(_, text)| shown(text)).collect();
    let raw: Vec<String> = sources().into_iter().map(|(_, text)| text.replace("\\\n", " ")).collect();
    let raw: Vec<String> = raw.iter().map(|text| text.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
    for row in rows {
        let in_one = |text: &String| row.split('…').all(|piece| text.contains(piece.trim()));
        assert!(said.iter().chain(&raw).any(in_one), "no source says “{row}”");
    }
}

#[test]
fn every_setting_is_documented_and_nothing_else_is() {
    let mut read_keys = BTreeSet::new();
    for path in READERS {
        let text = source(path);
        for (before, key, after) in literals(&text) {
            let asked = ["get(", "require(", "peek(", "time(", "file(", "count(", "map, ", "inner, "];
            let listed = after.starts_with(", &mut settings.");
            if listed || asked.iter().any(|call| before.ends_with(call)) {
                read_keys.insert(key);
            }
        }
        for choice in text.split("tagged(&[").skip(1) {
            let choice = choice.split(']').next().unwrap();
            read_keys.extend(literals(choice).into_iter().map(|literal| literal.1));
        }
    }
    let page = read("docs/configuration.md");
    let rows = page.lines().filter_map(|line| line.strip_prefix("| `")?.split_once('`').map(|(path, _)| path));
    let settings = rows.filter(|path| !path.starts_with("--"));
    let named: BTreeSet<String> =
        settings.flat_map(|path| path.split('.')).filter(|key| !key.starts_with('<')).map(str::to_owned).collect();
    let missing: Vec<_> = read_keys.difference(&named).collect();
    assert!(missing.is_empty(), "settings without a row in docs/configuration.md: {missing:?}");
    let left_over: Vec<_> = named.difference(&read_keys).collect();
    assert!(left_over.is_empty(), "rows of docs/configuration.md that nothing reads: {left_over:?}");
}

/// Fenced blocks: what stands behind the fence's `yaml`, and the text.
fn blocks(page: &str) -> Vec<(String, String)> {
    let pieces: Vec<&str> = page.split("\n```").collect();
    let opened = pieces.iter().skip(1).step_by(2).filter_map(|piece| piece.strip_prefix("yaml"));
    opened.filter_map(|piece| piece.split_once('\n')).map(|(i, t)| (i.trim().to_owned(), format!("{t}\n"))).collect()
}

#[test]
fn every_complete_example_passes_the_check() {
    let blocks = blocks(&read("docs/configuration.md"));
    let complete: Vec<_> = blocks.iter().filter(|(info, _)| info == "complete").collect();
    assert!(complete.len() >= 2, "no complete example found");
    for (_, text) in complete {
        let folder = tempfile::tempdir().unwrap();
        for (name, content) in blocks.iter().filter(|(info, _)| info.ends_with(".yaml")) {
            let path = folder.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, content).unwrap();
        }
        let mut check = hirewire(&["check", "--config", "hirewire.yaml"]).unwrap();
        // Secrets must be there; this one has the form that signing asks for.
        let secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
        for (kind, named) in [("file: ", true), ("env: ", false)] {
            for reference in text.split(&format!("{{{kind}")).skip(1) {
                let reference = reference.split('}').next().unwrap().trim_matches('"');
                if named {
                    let path = folder.path().join(reference);
                    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
                    std::fs::write(path, secret).unwrap();
                } else {
                    check.env(reference, secret);
                }
            }
        }
        std::fs::write(folder.path().join("hirewire.yaml"), text).unwrap();
        let output = check.current_dir(folder.path()).output().unwrap();
        assert!(output.status.success(), "{}\nof\n{text}", String::from_utf8_lossy(&output.stderr));
    }
}

/// Our own crates that a crate depends on outside of its tests.
fn dependencies(of: &str) -> Vec<String> {
    let manifest = read(&format!("{of}/Cargo.toml"));
    let section = manifest.split_once("\n[dependencies]\n").unwrap().1.split("\n[").next().unwrap();
    let names = section.lines().filter_map(|line| line.strip_prefix("hirewire-")?.split(['.', ' ']).next());
    names.map(str::to_owned).collect()
}

#[test]
fn crates_depend_on_no_more_than_the_map_allows() {
    let page = read("docs/ARCHITECTURE.md");
    let map = page.split_once("\n| crate |").unwrap().1.split("\n\n").next().unwrap();
    let named = |cell: &str| cell.split('`').skip(1).step_by(2).map(str::to_owned).collect::<Vec<_>>();
    let mut seen = 0;
    for row in map.lines().filter(|line| line.starts_with("| `")) {
        let cells: Vec<&str> = row.split('|').collect();
        let (crates, allowed) = (named(cells[1]), named(cells[3]));
        seen += crates.len();
        for one in crates {
            for dependency in dependencies(&one) {
                let library =
                    root().join("lib").join(&dependency).exists() && allowed.iter().any(|name| name == "lib/");
                let free = library || cells[3].contains("everything") || allowed.contains(&dependency);
                assert!(free, "{one} depends on {dependency}, which the map in docs/ARCHITECTURE.md does not allow");
            }
            let rdkafka =
                read(&format!("{one}/Cargo.toml")).split("[dev-dependencies]").next().unwrap().contains("\nrdkafka");
            assert!(!rdkafka || one == "lib/kafka", "{one} names rdkafka");
        }
    }
    let members = read("Cargo.toml");
    let members = members.split_once("members = [").unwrap().1.split(']').next().unwrap();
    assert_eq!(seen, literals(members).len(), "a crate is missing in the map");
}

#[test]
fn files_and_tests_that_the_documents_name_are_there() {
    let mut pages = vec!["README.md".to_owned(), "CHANGELOG.md".to_owned()];
    walk(Path::new("docs"), ".md", &mut pages);
    let mut rust = Vec::new();
    walk(Path::new(""), ".rs", &mut rust);
    let code: String = rust.iter().map(|path| read(path)).collect();
    for page in pages {
        let text = read(&page);
        for quoted in text.split('`').skip(1).step_by(2) {
            let path = quoted.split([' ', ':', '#']).next().unwrap();
            let inside = path.contains('/') && !path.starts_with('/') && !path.contains(['<', '{', '*', '…', '=']);
            let of_source = [".rs", ".avsc", ".yaml", ".sql", ".md"].iter().any(|ending| path.ends_with(ending));
            if inside && of_source && !path.starts_with("overlays/") {
                assert!(root().join(path).exists(), "{page} names {path}, which is not there");
            }
            let test = quoted.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_');
            if let Some(metric) = quoted.strip_prefix("hirewire_") {
                // Services name their metrics with or without the prefix that all of theirs have.
                let own = metric.split_once('_').map_or(metric, |(_, own)| own);
                let known = [format!("\"{own}\""), format!("\"{quoted}\"")];
                assert!(
                    known.iter().any(|name| code.contains(name)),
                    "{page} names the metric {quoted}, which is not there"
                );
            } else if test && quoted.matches('_').count() >= 4 {
                assert!(code.contains(&format!("fn {quoted}(")), "{page} names the test {quoted}, which is not there");
            }
        }
        for target in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let path = target.split('#').next().unwrap();
            if !path.is_empty() && !path.contains("://") {
                let beside = root().join(&page).parent().unwrap().join(path);
                assert!(beside.exists(), "{page} links to {path}, which is not there");
            }
        }
    }
}
