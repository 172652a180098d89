//! The documentation against the code.
//!
//! Every code and start message that an operator can see has an entry in `docs/errors.md`, and every entry is of this
//! code base; every setting stands in `docs/configuration.md`, every key of a
//! manifest in `docs/manifest.md` and every key of an `api.yaml` in `docs/vendor-api.md`; the complete examples there pass `hirewire check`;
//! the files and tests that the documents name are there.
#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "docs/dashboards.rs"]
mod dashboards;
#[path = "docs/metrics.rs"]
mod metrics;
#[path = "docs/runbooks.rs"]
mod runbooks;
#[path = "docs/scan.rs"]
mod scan;

use std::collections::BTreeSet;
use std::path::Path;

use hirewire_e2e::hirewire;
use scan::{api_keys, codes, literals, manifest_keys, messages, read, root, settings, shown, sources, walk};

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

/// Each key has a row in the page, and each row is of a key.
fn documented(read_keys: &BTreeSet<String>, page: &str) {
    let text = read(page);
    let rows = text.lines().filter_map(|line| line.strip_prefix("| `")?.split_once('`').map(|(path, _)| path));
    let settings = rows.filter(|path| !path.starts_with("--"));
    let named: BTreeSet<String> =
        settings.flat_map(|path| path.split('.')).filter(|key| !key.starts_with('<')).map(str::to_owned).collect();
    let missing: Vec<_> = read_keys.difference(&named).collect();
    assert!(missing.is_empty(), "keys without a row in {page}: {missing:?}");
    let left_over: Vec<_> = named.difference(read_keys).collect();
    assert!(left_over.is_empty(), "rows of {page} that nothing reads: {left_over:?}");
}

#[test]
fn every_setting_is_documented_and_nothing_else_is() {
    documented(&settings(), "docs/configuration.md");
}

#[test]
fn every_key_of_a_manifest_is_documented_and_nothing_else_is() {
    let keys = manifest_keys();
    assert!(keys.len() > 25, "the collection itself is broken: {keys:?}");
    documented(&keys, "docs/manifest.md");
}

#[test]
fn every_key_of_an_api_file_is_documented_and_nothing_else_is() {
    let keys = api_keys();
    assert!(keys.len() > 40, "the collection itself is broken: {keys:?}");
    documented(&keys, "docs/vendor-api.md");
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

/// Two modules have unsafe code, and their crate every other lint of the workspace.
#[test]
fn unsafe_code_is_in_two_modules_alone() {
    const MODULES: [&str; 2] = ["lib/kafka/src/guard.rs", "lib/kafka/src/waits.rs"];
    let mut rust = Vec::new();
    walk(Path::new(""), ".rs", &mut rust);
    let word = ["unsafe", "_code"].concat();
    rust.retain(|path| read(path).contains(&word) && path != "e2e/tests/docs.rs");
    rust.sort();
    assert_eq!(rust, MODULES);
    let lints = |manifest: &str, prefix: &str| -> BTreeSet<String> {
        let text = read(manifest);
        let sections = text.split("\n[").filter(|section| section.starts_with(prefix));
        let lines = sections.flat_map(|section| section.lines().skip(1).filter(|line| line.contains('=')));
        lines.map(str::to_owned).collect()
    };
    let strict = format!("{word} = \"forbid\"");
    let mut expected = lints("Cargo.toml", "workspace.lints.");
    assert!(expected.remove(&strict) && expected.insert(strict.replace("forbid", "deny")), "{expected:?}");
    assert_eq!(lints("lib/kafka/Cargo.toml", "lints."), expected);
    let members = read("Cargo.toml");
    for member in literals(members.split_once("members = [").unwrap().1.split(']').next().unwrap()) {
        let inherits = read(&format!("{}/Cargo.toml", member.1)).contains("[lints]\nworkspace = true\n");
        assert!(inherits || member.1 == "lib/kafka", "{}", member.1);
    }
}

#[test]
fn files_and_tests_that_the_documents_name_are_there() {
    let mut pages = Vec::new();
    walk(Path::new(""), ".md", &mut pages);
    let mut rust = Vec::new();
    walk(Path::new(""), ".rs", &mut rust);
    let code: String = rust.iter().map(|path| read(path)).collect();
    for page in pages {
        let text = read(&page);
        for quoted in text.split('`').skip(1).step_by(2) {
            let path = quoted.split([' ', ':', '#']).next().unwrap();
            let inside = path.contains('/') && !path.starts_with('/') && !path.contains(['<', '{', '*', '…', '=']);
            let of_source = [".rs", ".avsc", ".yaml", ".sql", ".md"].iter().any(|ending| path.ends_with(ending));
            if inside && of_source {
                // Other projects' files are cited too: what begins like a folder of ours is ours.
                let beside = root().join(&page).parent().unwrap().to_owned();
                let first = path.split('/').next().unwrap();
                let ours: Vec<_> = [root(), beside].into_iter().filter(|folder| folder.join(first).exists()).collect();
                let there = ours.is_empty() || ours.iter().any(|folder| folder.join(path).exists());
                assert!(there, "{page} names {path}, which is not there");
            }
            // Of a metric, without its labels.
            let quoted = quoted.split('{').next().unwrap();
            let name = quoted.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_');
            if let Some(metric) = quoted.strip_prefix("hirewire_").filter(|rest| name && rest.contains('_')) {
                // Services name their metrics with or without the prefix that all of theirs have.
                let own = metric.split_once('_').map_or(metric, |(_, own)| own);
                let known = [format!("\"{own}\""), format!("\"{quoted}\"")];
                assert!(
                    known.iter().any(|name| code.contains(name)),
                    "{page} names the metric {quoted}, which is not there"
                );
            } else if name && quoted.matches('_').count() >= 4 && !page.starts_with("docs/reference/") {
                // What is made of data names columns too, and has tests of its own.
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
