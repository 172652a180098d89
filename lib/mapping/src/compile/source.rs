//! Sources, conditions, paths and formats of a mapping file.

use hirewire_yaml::{Map, Node, Value, did_you_mean};

use super::Compiler;
use crate::path::{Path, Step};
use crate::plan::{Condition, Instant, Source};
use crate::time::{FORMATS, Format};
use crate::xml::Forms;

/// Keys that each give a text on their own.
pub(super) const SOURCE_KEYS: [&str; 10] =
    ["from", "const", "first", "join", "event", "stream", "header", "param", "key", "received"];

impl Compiler<'_> {
    pub(super) fn path(&mut self, node: &Node, text: &str) -> Option<Path> {
        match Path::parse(text) {
            Ok(path) => {
                self.check_lists(node, &path);
                Some(path)
            }
            Err((what, hint)) => {
                self.problems.add(node, what, hint);
                None
            }
        }
    }

    /// Of a mapping that reads XML: what a path takes for a list must be one however many there are, and the other way
    /// round.
    fn check_lists(&mut self, node: &Node, path: &Path) {
        for pair in path.steps.windows(2) {
            let [Step::Key(key), next] = pair else { continue };
            match next {
                Step::Key(_) => self.check_list(node, &key.text, false),
                Step::Index(_) | Step::Where { .. } | Step::Each => self.check_list(node, &key.text, true),
                Step::Any => {}
            }
        }
    }

    fn check_list(&mut self, node: &Node, name: &str, read_as_list: bool) {
        let Some(Forms { lists, .. }) = &self.xml else { return };
        // No element has such a name.
        if lists.contains(name) == read_as_list || name.starts_with(['@', '#']) {
            return;
        }
        let (what, hint) = match read_as_list {
            true => ("is read as a list, and is none when there is one of it", "add it to `xml.lists`"),
            false => ("is a list by `xml.lists`, and is read as one of it", "write [0], [key=value] or `each`"),
        };
        self.problems.add(node, format!("the element \"{name}\" {what}"), hint);
    }

    /// A path to a list, of which each item is read.
    pub(super) fn list_path(&mut self, node: &Node) -> Option<Path> {
        let path = self.single_path(node)?;
        if let Some(Step::Key(key)) = path.steps.last() {
            self.check_list(node, &key.text, true);
        }
        Some(path)
    }

    /// A path that names one value, and is read.
    pub(super) fn single_path(&mut self, node: &Node) -> Option<Path> {
        let text = node.text(&mut self.problems)?;
        let path = self.path(node, text)?;
        if !path.is_single() {
            let hint = "use `each:` for an array, or [0] for the first item";
            self.problems.add(node, format!("the path \"{text}\" names many values where one is expected"), hint);
            return None;
        }
        self.paths_read.insert(text.to_owned());
        Some(path)
    }

    /// A source: a path, or a mapping with exactly one of the source keys.
    pub(super) fn source(&mut self, node: &Node, target: &str) -> Option<Source> {
        match &node.value {
            Value::Plain(_) | Value::Quoted(_) => self.single_path(node).map(Source::Path),
            Value::Map(_) => {
                let mut map = node.map(&mut self.problems)?;
                let source = self.source_of(&mut map, target);
                map.finish(&mut self.problems);
                source
            }
            Value::Null | Value::List(_) => {
                let what = format!("{target}: expected a path or a source, found {}", node.kind());
                self.problems.add(node, what, "write a path, or {const: …}, {first: […]}, {join: […]}");
                None
            }
        }
    }

    /// The source in a mapping that may have other keys too.
    pub(super) fn source_of(&mut self, map: &mut Map<'_>, target: &str) -> Option<Source> {
        let node = map.node();
        let found: Vec<(&'static str, Option<&Node>)> = SOURCE_KEYS
            .into_iter()
            .map(|key| (key, map.get(key)))
            .filter(|(key, _)| node.peek(key).is_some())
            .collect();
        let (key, value) = match found.as_slice() {
            [one] => *one,
            [] => {
                let hint = format!("one of: {}", SOURCE_KEYS.join(", "));
                self.problems.add(node, format!("{target}: nothing says where the value comes from"), hint);
                return None;
            }
            many => {
                let names: Vec<&str> = many.iter().map(|(key, _)| *key).collect();
                self.problems.add(node, format!("{target}: several sources at once: {}", names.join(", ")), "keep one");
                return None;
            }
        };
        let Some(value) = value else {
            self.problems.add(node, format!("{target}: `{key}` has no value"), "write a value behind the colon");
            return None;
        };
        let source = match key {
            "from" => self.source(value, target)?,
            "const" => Source::Const(value.text(&mut self.problems)?.to_owned()),
            "first" => Source::First(self.sources(value, target)?),
            "join" => {
                let parts = self.sources(value, target)?;
                let separator = map.get("sep").and_then(|node| node.text(&mut self.problems)).unwrap_or(" ");
                Source::Join { parts, separator: separator.to_owned() }
            }
            "header" => Source::Header(value.text(&mut self.problems)?.to_lowercase()),
            "param" => Source::Param(value.text(&mut self.problems)?.to_owned()),
            flag => {
                if value.boolean(&mut self.problems) != Some(true) {
                    self.problems.add(
                        value,
                        format!("{target}: `{flag}` is a switch"),
                        format!("write `{flag}: true`"),
                    );
                }
                match flag {
                    "event" => Source::Event,
                    "stream" => Source::Stream,
                    "key" => Source::Key,
                    _ => Source::Received,
                }
            }
        };
        match map.get("table") {
            Some(table) => {
                let name = self.inline_name(target);
                let table = self.tables.texts(table, &name, &mut self.problems)?;
                Some(Source::Table { of: Box::new(source), table })
            }
            None => Some(source),
        }
    }

    /// Name of a table that stands inside a rule: part of rule ids.
    pub(super) fn inline_name(&self, target: &str) -> String {
        format!("{}.{}", self.rule, target.split_once('.').map_or(target, |(_, field)| field))
    }

    fn sources(&mut self, node: &Node, target: &str) -> Option<Vec<Source>> {
        let items = node.list(&mut self.problems)?;
        if items.is_empty() {
            self.problems.add(node, format!("{target}: an empty list of sources"), "name at least one path");
        }
        let sources: Vec<Option<Source>> = items.iter().map(|item| self.source(item, target)).collect();
        sources.into_iter().collect()
    }

    pub(super) fn condition(&mut self, node: &Node, target: &str) -> Option<Condition> {
        let mut map = node.map(&mut self.problems)?;
        let mut branches = ["exists", "not", "all", "any"].into_iter().filter(|key| node.peek(key).is_some());
        let branch = branches.next();
        if branch.is_some() && branches.next().is_some() {
            self.problems.add(
                node,
                format!("{target}: several conditions at once"),
                "join them with all: […] or any: […]",
            );
            return None;
        }
        let condition = match branch {
            Some("exists") => map.get("exists").and_then(|value| self.single_path(value)).map(Condition::Exists),
            Some("not") => map
                .get("not")
                .and_then(|value| self.condition(value, target))
                .map(|inner| Condition::Not(Box::new(inner))),
            Some(_) => {
                let all = map.get("all");
                let list = all.or_else(|| map.get("any"))?.list(&mut self.problems)?;
                let inner: Vec<Option<Condition>> = list.iter().map(|item| self.condition(item, target)).collect();
                let inner: Option<Vec<Condition>> = inner.into_iter().collect();
                inner.map(if all.is_some() { Condition::All } else { Condition::Any })
            }
            None => self.comparison(&mut map, target),
        };
        map.finish(&mut self.problems);
        condition
    }

    fn comparison(&mut self, map: &mut Map<'_>, target: &str) -> Option<Condition> {
        let (is, any_of, contains) = (map.get("is"), map.get("in"), map.get("contains"));
        if let Some(text) = contains {
            let path = map.require("from", &mut self.problems).and_then(|node| self.single_path(node))?;
            return Some(Condition::Contains { path, text: text.text(&mut self.problems)?.to_owned() });
        }
        let source = self.source_of(map, target)?;
        let words = match (is, any_of) {
            (Some(word), None) => vec![word.text(&mut self.problems)?.to_owned()],
            (None, Some(list)) => {
                let items = list.list(&mut self.problems)?;
                items.iter().filter_map(|item| item.text(&mut self.problems).map(str::to_owned)).collect()
            }
            _ => {
                let what = format!("{target}: a condition without a comparison");
                self.problems.add(map.node(), what, "one of: exists, is, in, contains, not, all, any");
                return None;
            }
        };
        Some(Condition::Is { source, any_of: words })
    }

    pub(super) fn instant(&mut self, node: &Node, what: &'static str) -> Option<Instant> {
        let (source, formats) = match &node.value {
            Value::Map(_) => {
                let mut map = node.map(&mut self.problems)?;
                let formats = map.get("format").map(|value| self.formats(value, what));
                let source = self.source_of(&mut map, what);
                map.finish(&mut self.problems);
                (source?, formats.unwrap_or_else(|| vec![Format::Rfc3339]))
            }
            _ => (self.source(node, what)?, vec![Format::Rfc3339]),
        };
        Some(Instant { what, source, formats })
    }

    /// One format, or several to try in order.
    pub(super) fn formats(&mut self, node: &Node, target: &str) -> Vec<Format> {
        let items = match &node.value {
            Value::List(items) => items.iter().collect(),
            _ => vec![node],
        };
        let mut formats = Vec::new();
        for item in items {
            let Some(word) = item.text(&mut self.problems) else { continue };
            match FORMATS.iter().find(|(name, _)| *name == word) {
                Some((_, format)) => formats.push(*format),
                None => {
                    let hint = did_you_mean(word, FORMATS.iter().map(|(name, _)| *name));
                    self.problems.add(item, format!("{target}: there is no format \"{word}\""), hint);
                }
            }
        }
        formats
    }
}
