//! Tables: source words → symbols or texts. An overlay's words stand in front of the mapping's.

use std::collections::{BTreeMap, BTreeSet};

use hirewire_yaml::{Node, Problems, did_you_mean};

use crate::dated::DatedTable;
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
    /// The first part of the overlay in which it holds.
    part: usize,
}

#[derive(Debug)]
struct Source {
    /// Where it stands, once for each that adds to it.
    at: Vec<Node>,
    /// What wins stands in front.
    lines: Vec<Line>,
    used: bool,
    /// Only an overlay has it so far.
    overlay_only: bool,
}

/// Whose lines are added: a part of an overlay.
#[derive(Clone, Copy)]
pub(super) struct Layer<'v> {
    pub(super) version: &'v str,
    pub(super) part: usize,
}

#[derive(Debug, Default)]
pub(super) struct Tables {
    known: BTreeMap<String, Source>,
    /// Whose rules are compiled: later lines do not hold yet.
    pub(super) part: usize,
    /// What was made of tables that change with time.
    pub(super) dated: Vec<DatedTable>,
}

impl Tables {
    /// Adds `name: {word: value}` lines. Those of an overlay come first, of its parts the latest.
    pub(super) fn add(&mut self, node: &Node, overlay: Option<Layer<'_>>, problems: &mut Problems) {
        let Some(mut tables) = node.map(problems) else { return };
        for (key, name, table) in tables.entries() {
            let lines = lines(table, name, overlay, problems);
            let empty = || Source { at: Vec::new(), lines: Vec::new(), used: false, overlay_only: true };
            let known = self.known.entry(name.to_owned()).or_insert_with(empty);
            known.at.push(key.clone());
            known.overlay_only &= overlay.is_some();
            for line in lines.iter().filter(|_| overlay.is_some()) {
                known.check_news(line, problems);
            }
            known.lines.extend(lines);
        }
    }

    pub(super) fn report_unused(&self, problems: &mut Problems) {
        let known: Vec<&str> =
            self.known.iter().filter(|(_, source)| !source.overlay_only).map(|(name, _)| name.as_str()).collect();
        for (name, source) in &self.known {
            if source.overlay_only {
                for at in &source.at {
                    let hint = did_you_mean(name, known.iter().copied());
                    problems.add(at, format!("the mapping has no table \"{name}\""), hint);
                }
            } else if let (false, Some(at)) = (source.used, source.at.first()) {
                problems.add(at, format!("no rule uses the table \"{name}\""), "remove it, or use it as $name");
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
            let known: Vec<String> = self.known.keys().cloned().collect();
            return match self.known.get_mut(name) {
                Some(source) => {
                    source.used = true;
                    Some(source.lines_of(self.part))
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
        let name = node.scalar().and_then(|text| text.strip_prefix('$'));
        if let Some(name) = name.filter(|name| self.known.get(*name).is_some_and(Source::is_dated)) {
            self.note_dated(name, &shape.name, Table::new(words.clone(), patterns.clone()));
        }
        Some(SymbolTable { lines: Table::new(words, patterns), skip_others: false })
    }

    fn note_dated(&mut self, name: &str, symbols: &str, table: Table<Symbol>) {
        let known = self.dated.iter().position(|table| table.name == name && table.symbols == symbols);
        let place = known.unwrap_or_else(|| {
            let (name, symbols) = (name.to_owned(), symbols.to_owned());
            self.dated.push(DatedTable { name, symbols, parts: BTreeMap::new() });
            self.dated.len() - 1
        });
        self.dated[place].parts.entry(self.part).or_insert(table);
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

impl Source {
    /// What holds in a part of the overlay.
    fn lines_of(&self, part: usize) -> Vec<Line> {
        let mut words = BTreeSet::new();
        let hold = self.lines.iter().filter(|line| line.part <= part);
        hold.filter(|line| words.insert(line.word.as_str())).cloned().collect()
    }

    fn is_dated(&self) -> bool {
        self.lines.iter().any(|line| line.part > 0)
    }

    /// Of the next later line of the same word: it must say something else than `earlier`, which is not added yet.
    fn check_news(&self, earlier: &Line, problems: &mut Problems) {
        let later = self.lines.iter().rev().find(|line| line.word == earlier.word);
        let Some((later, value)) = later.and_then(|line| Some((line, line.value.scalar()?))) else { return };
        if Some(value) != earlier.value.scalar() {
            return;
        }
        let word = &later.word;
        let what = format!("\"{word}\" is {value} before this already");
        problems.add(&later.at, what, "remove the line: what is said once holds on");
    }
}

fn lines(node: &Node, name: &str, overlay: Option<Layer<'_>>, problems: &mut Problems) -> Vec<Line> {
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
            Some(layer) => format!("overlay:{}/{name}/{folded}", layer.version),
            None => format!("{name}/{folded}"),
        };
        let part = overlay.map_or(0, |layer| layer.part);
        found.push(Line { at: key.clone(), word: folded, value: value.clone(), rule, part });
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
