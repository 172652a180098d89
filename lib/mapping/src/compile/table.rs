//! Tables: source words → symbols or texts. An overlay's words stand in front of the mapping's.

use std::collections::BTreeMap;

use hirewire_yaml::{Node, Problems, did_you_mean};

use crate::plan::{Symbol, SymbolTable};
use crate::shape::EnumShape;
use crate::table::{Pattern, Table, fold};

/// One line of a table.
#[derive(Debug, Clone)]
struct Line {
    at: Node,
    word: String,
    value: Node,
    rule: String,
}

#[derive(Debug)]
struct Source {
    at: Node,
    lines: Vec<Line>,
    used: bool,
    /// Only an overlay has it so far.
    overlay_only: bool,
}

#[derive(Debug, Default)]
pub(super) struct Tables(BTreeMap<String, Source>);

impl Tables {
    /// Adds `name: {word: value}` lines. Those of an overlay come first.
    pub(super) fn add(&mut self, node: &Node, overlay: Option<&str>, problems: &mut Problems) {
        let Some(mut tables) = node.map(problems) else { return };
        for (key, name, table) in tables.entries() {
            let lines = lines(table, name, overlay, problems);
            match self.0.get_mut(name) {
                Some(known) => {
                    let earlier = known.lines.iter().map(|line| line.word.clone()).collect::<Vec<_>>();
                    known.lines.extend(lines.into_iter().filter(|line| !earlier.contains(&line.word)));
                    known.overlay_only = false;
                }
                None => {
                    let source = Source { at: key.clone(), lines, used: false, overlay_only: overlay.is_some() };
                    self.0.insert(name.to_owned(), source);
                }
            }
        }
    }

    pub(super) fn report_unused(&self, problems: &mut Problems) {
        let known: Vec<&str> =
            self.0.iter().filter(|(_, source)| !source.overlay_only).map(|(name, _)| name.as_str()).collect();
        for (name, source) in &self.0 {
            if source.overlay_only {
                let hint = did_you_mean(name, known.iter().copied());
                problems.add(&source.at, format!("the mapping has no table \"{name}\""), hint);
            } else if !source.used {
                problems.add(&source.at, format!("no rule uses the table \"{name}\""), "remove it, or use it as $name");
            }
        }
    }

    /// The lines that `node` names (`$name`) or holds.
    fn resolve(&mut self, node: &Node, inline_name: &str, problems: &mut Problems) -> Option<Vec<Line>> {
        if let Some(reference) = node.scalar() {
            let Some(name) = reference.strip_prefix('$') else {
                problems.add(node, format!("expected a table, found \"{reference}\""), "write $name or {word: VALUE}");
                return None;
            };
            let known: Vec<String> = self.0.keys().cloned().collect();
            return match self.0.get_mut(name) {
                Some(source) => {
                    source.used = true;
                    Some(source.lines.clone())
                }
                None => {
                    let hint = did_you_mean(name, known.iter().map(String::as_str));
                    problems.add(node, format!("there is no table \"{name}\""), hint);
                    None
                }
            };
        }
        Some(lines(node, inline_name, None, problems))
    }

    pub(super) fn symbols(
        &mut self,
        node: &Node,
        inline_name: &str,
        target: &str,
        shape: &EnumShape,
        problems: &mut Problems,
    ) -> Option<SymbolTable> {
        let (mut words, mut patterns) = (Vec::new(), Vec::new());
        for line in self.resolve(node, inline_name, problems)? {
            let Some(word) = line.value.scalar() else {
                let hint = format!("one of: {}", shape.symbols.join(", "));
                problems.add(&line.at, format!("{target}: expected a symbol of {}", shape.name), hint);
                continue;
            };
            let Some(index) = shape.symbols.iter().position(|symbol| symbol == word) else {
                let known = shape.symbols.iter().skip(2).map(String::as_str);
                let hint = did_you_mean(word, known);
                problems.add(&line.at, format!("{target}: the enum {} has no symbol \"{word}\"", shape.name), hint);
                continue;
            };
            if index < 2 {
                let hint = "leave the line out: a word without a rule is UNMAPPED by itself";
                problems.add(&line.at, format!("{target}: a table must not choose {word}"), hint);
                continue;
            }
            let symbol = Symbol { index: i64::try_from(index).unwrap_or(0), rule: line.rule.clone() };
            match pattern(&line.word) {
                Some(pattern) => patterns.push((pattern, symbol)),
                None => words.push((line.word, symbol)),
            }
        }
        Some(SymbolTable { lines: Table::new(words, patterns), skip_others: false })
    }

    pub(super) fn texts(&mut self, node: &Node, inline_name: &str, problems: &mut Problems) -> Option<Table<String>> {
        let (mut words, mut patterns) = (Vec::new(), Vec::new());
        for line in self.resolve(node, inline_name, problems)? {
            let Some(text) = line.value.text(problems) else { continue };
            match pattern(&line.word) {
                Some(pattern) => patterns.push((pattern, text.to_owned())),
                None => words.push((line.word, text.to_owned())),
            }
        }
        Some(Table::new(words, patterns))
    }
}

fn lines(node: &Node, name: &str, overlay: Option<&str>, problems: &mut Problems) -> Vec<Line> {
    let mut found: Vec<Line> = Vec::new();
    let Some(mut map) = node.map(problems) else { return found };
    for (key, word, value) in map.entries() {
        let mut folded = String::new();
        fold(word, &mut folded);
        if found.iter().any(|line| line.word == folded) {
            problems.add(
                key,
                format!("the word \"{word}\" stands twice in this table"),
                "case does not count: remove one",
            );
            continue;
        }
        let inner = folded.trim_matches('*');
        if inner.is_empty() || inner.contains('*') {
            problems.add(
                key,
                format!("\"{word}\" matches everything or has a star inside"),
                "write word*, *word or *word*",
            );
            continue;
        }
        let rule = match overlay {
            Some(version) => format!("overlay:{version}/{name}/{folded}"),
            None => format!("{name}/{folded}"),
        };
        found.push(Line { at: key.clone(), word: folded, value: value.clone(), rule });
    }
    if found.is_empty() {
        problems.add(node, "an empty table", "write {word: VALUE}");
    }
    found
}

fn pattern(word: &str) -> Option<Pattern> {
    let (open_front, open_back) = (word.starts_with('*'), word.ends_with('*'));
    (open_front || open_back).then(|| Pattern { word: word.trim_matches('*').to_owned(), open_front, open_back })
}
