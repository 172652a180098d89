//! The runbooks against the alerts and the code: every alert has a page and every page an alert, each page answers the
//! same five questions, and what it names is there: metrics, codes, words in a label, settings, values of the chart,
//! subcommands and their options.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use hirewire_e2e::hirewire;

use crate::scan::{literals, read, sources, walk};

const QUESTIONS: [&str; 5] = ["What it means", "What others see", "Find the cause", "Mend it", "It is over when"];

/// Alerts of the rules: name, and the text of each.
fn alerts() -> BTreeMap<String, String> {
    let rules = read("helm/rules/hirewire.yaml");
    let alerts = rules.split("\n      - alert: ").skip(1).map(|rule| rule.split_once('\n').unwrap());
    alerts.map(|(name, text)| (name.to_owned(), text.to_owned())).collect()
}

/// Pages by the name of their alert, the index apart.
fn pages() -> BTreeMap<String, String> {
    let mut paths = Vec::new();
    walk(Path::new("docs/runbooks"), ".md", &mut paths);
    let name = |path: &str| Path::new(path).file_stem().unwrap().to_str().unwrap().to_owned();
    let pages = paths.iter().map(|path| (name(path), read(path)));
    pages.filter(|(name, _)| name != "README").collect()
}

/// Everything that stands as code: what is in backticks, and lines that are indented by four.
fn code(page: &str) -> Vec<String> {
    let indented = page.lines().filter_map(|line| line.strip_prefix("    ")).map(|line| line.trim().to_owned());
    let prose: Vec<&str> = page.lines().filter(|line| !line.starts_with("    ")).collect();
    let quoted: Vec<String> = prose.join("\n").split('`').skip(1).step_by(2).map(str::to_owned).collect();
    indented.chain(quoted).collect()
}

/// Words of a text that begin with `start` and go on as a name.
pub(crate) fn names<'a>(text: &'a str, start: &str) -> Vec<&'a str> {
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let begins = text.match_indices(start).map(|(at, _)| at);
    let whole = begins.filter(|at| !text.get(..*at).unwrap().ends_with(is_name));
    whole.map(|at| text.get(at..).unwrap().split(|c| !is_name(c)).next().unwrap()).collect()
}

#[test]
fn every_alert_has_a_runbook_and_every_runbook_an_alert() {
    let (alerts, pages) = (alerts(), pages());
    assert!(alerts.len() >= 17, "the collection itself is broken: {:?}", alerts.keys());
    let missing: Vec<_> = alerts.keys().filter(|name| !pages.contains_key(*name)).collect();
    assert!(missing.is_empty(), "alerts without a page in docs/runbooks: {missing:?}");
    let left_over: Vec<_> = pages.keys().filter(|name| !alerts.contains_key(*name)).collect();
    assert!(left_over.is_empty(), "pages of docs/runbooks without an alert: {left_over:?}");
    let index = read("docs/runbooks/README.md");
    for (name, rule) in &alerts {
        let url = format!("\n          runbook_url: docs/runbooks/{name}.md");
        assert!(rule.contains(&url), "{name}: its annotation must be{url}");
        let severity = rule.split_once("severity: ").unwrap().1.split('}').next().unwrap();
        let row = format!("\n| [{name}]({name}.md) | {severity} | ");
        assert_eq!(index.matches(&row).count(), 1, "docs/runbooks/README.md lacks the row{row}");
    }
    assert_eq!(index.matches("\n| [Hirewire").count(), alerts.len(), "the index has more rows than there are alerts");
}

#[test]
fn every_runbook_answers_the_five_questions_with_something_to_run() {
    for (name, page) in pages() {
        let sections: Vec<&str> = page.split("\n## ").collect();
        assert_eq!(sections[0].trim(), format!("# {name}"));
        let titles: Vec<&str> = sections[1..].iter().map(|section| section.lines().next().unwrap()).collect();
        assert_eq!(titles, QUESTIONS, "{name}");
        for section in &sections[1..] {
            assert!(section.len() > 50, "{name}: too little in “{section}”");
        }
        let runs = sections[3].lines().filter(|line| line.starts_with("    ")).count();
        assert!(runs >= 2, "{name}: nothing to run under “Find the cause”");
        assert!(sections[5].contains('`'), "{name}: by what does one see that it is over?");
    }
}

#[test]
fn what_runbooks_and_alerts_measure_is_measured() {
    let known = crate::metrics::defined();
    let mut texts = pages();
    texts.extend(alerts().into_iter().map(|(name, rule)| (format!("alert {name}"), rule)));
    texts.insert("README".to_owned(), read("docs/runbooks/README.md"));
    for (name, text) in &texts {
        for metric in ["hirewire_", "broker_", "registry_"].iter().flat_map(|start| names(text, start)) {
            // Modules in a filter of logs.
            if !metric.trim_start_matches("hirewire_").contains('_') || metric == "broker_" {
                continue;
            }
            assert!(known.has_series(metric), "{name}: nothing measures {metric}");
        }
    }
}

/// A label's value in a query is a word that the sources write.
#[test]
fn words_that_a_query_asks_for_are_written_by_the_code() {
    let words: BTreeSet<String> =
        sources().iter().flat_map(|(_, text)| literals(text).into_iter().map(|l| l.1).collect::<Vec<_>>()).collect();
    let mut texts = pages();
    texts.extend(alerts().into_iter().map(|(name, rule)| (format!("alert {name}"), rule)));
    let mut seen = 0;
    for (name, text) in &texts {
        for label in ["outcome", "reason", "code", "revision", "state", "origin"] {
            for operator in ["=\"", "=~\"", "!=\"", "!~\""] {
                for rest in text.split(&format!("{label}{operator}")).skip(1) {
                    for word in rest.split('"').next().unwrap().split('|') {
                        assert!(words.contains(word), "{name}: nothing writes {label}=\"{word}\"");
                        seen += 1;
                    }
                }
            }
        }
    }
    assert!(seen > 20, "the collection itself is broken: {seen}");
}

/// The anchors of a page as its host makes them: in small letters, the second of equal ones with `-1`.
fn anchors(page: &str) -> BTreeSet<String> {
    let mut anchors = BTreeSet::new();
    for title in page.lines().filter(|line| line.starts_with('#')) {
        let text = title.trim_start_matches('#').trim().to_lowercase();
        let kept: String = text.chars().filter(|c| c.is_alphanumeric() || "-_ ".contains(*c)).collect();
        let anchor = kept.replace(' ', "-");
        let mut own = anchor.clone();
        for number in 1.. {
            if anchors.insert(own.clone()) {
                break;
            }
            own = format!("{anchor}-{number}");
        }
    }
    anchors
}

#[test]
fn codes_in_runbooks_lead_to_their_entries() {
    let anchors = anchors(&read("docs/errors.md"));
    let mut seen = 0;
    for (name, page) in pages() {
        for (before, after) in page.match_indices("](../errors.md#").map(|(at, _)| page.split_at(at)) {
            let anchor = after.split_once('#').unwrap().1.split(')').next().unwrap();
            assert!(anchors.contains(anchor), "{name}: docs/errors.md has no #{anchor}");
            let shown = before.rsplit('[').next().unwrap().trim_matches('`').to_lowercase();
            assert!(anchor == shown || anchor == format!("{shown}-1"), "{name}: `{shown}` leads to #{anchor}");
            seen += 1;
        }
    }
    assert!(seen > 50, "the collection itself is broken: {seen}");
}

/// Paths in the first column of a table, without the names that an operator gives.
fn rows(page: &str) -> BTreeSet<String> {
    page.lines().filter_map(|line| Some(line.strip_prefix("| `")?.split_once('`')?.0.to_owned())).collect()
}

#[test]
fn settings_and_values_that_a_runbook_names_are_there() {
    let settings = rows(&read("docs/configuration.md"));
    let values = rows(&read("helm/README.md"));
    // A role takes every key of `defaults` too.
    let of_role = |path: &str| {
        path.split_once('.')
            .is_some_and(|(role, key)| values.contains(role) && values.contains(&format!("defaults.{key}")))
    };
    let first = |paths: &BTreeSet<String>| -> BTreeSet<String> {
        paths.iter().filter_map(|path| Some(path.split_once('.')?.0.to_owned())).collect()
    };
    let begins: BTreeSet<String> = first(&settings).union(&first(&values)).cloned().collect();
    let mut seen = 0;
    let mut texts = pages();
    texts.insert("README".to_owned(), read("docs/runbooks/README.md"));
    for (name, page) in texts {
        for text in code(&page) {
            let is_path = text.chars().all(|c| c.is_ascii_alphanumeric() || "._<>-".contains(c));
            if !is_path || !text.split_once('.').is_some_and(|(first, _)| begins.contains(first)) {
                continue;
            }
            let of_file = [".yaml", ".md", ".rs"].iter().any(|end| text.ends_with(end));
            assert!(
                of_file || settings.contains(&text) || values.contains(&text) || of_role(&text),
                "{name}: no setting `{text}`"
            );
            seen += 1;
        }
    }
    assert!(seen > 20, "the collection itself is broken: {seen}");
}

/// What `hirewire … --help` says, by its words before the first option or argument.
fn help(words: &[&str]) -> String {
    let output = hirewire(&[words, &["--help"]].concat()).unwrap().output().unwrap();
    assert!(output.status.success(), "`hirewire {}` is no command", words.join(" "));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn commands_that_a_runbook_tells_to_run_exist_with_their_options() {
    let mut seen = 0;
    let mut texts = pages();
    texts.insert("README".to_owned(), read("docs/runbooks/README.md"));
    for (name, page) in texts {
        for command in code(&page).iter().filter_map(|text| text.strip_prefix("hirewire ")) {
            let words: Vec<&str> = command.split(' ').collect();
            // A sub-subcommand where there is one: `topics apply`.
            let depth = if ["topics", "sim", "dlq"].contains(&words[0]) { 2 } else { 1 };
            let help = help(&words[..depth.min(words.len())]);
            for option in words.iter().filter(|word| word.starts_with("--")) {
                assert!(help.contains(option), "{name}: `hirewire {command}` has no option {option}");
            }
            seen += 1;
        }
    }
    assert!(seen > 4, "the collection itself is broken: {seen}");
}
