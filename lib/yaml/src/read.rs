//! Typed getters: each records its mistake and answers `None`, so that a reader goes on to the next.

use std::path::{Path, PathBuf};

use crate::{Node, Problems, Value, did_you_mean};

impl Node {
    /// This as a mapping whose keys are counted as read when asked for.
    pub fn map<'a>(&'a self, problems: &mut Problems) -> Option<Map<'a>> {
        match &self.value {
            Value::Map(entries) => {
                Some(Map { node: self, entries, read: vec![false; entries.len()], asked: Vec::new() })
            }
            _ => {
                problems.add(self, format!("expected a mapping, found {}", self.kind()), "write `key: value` lines");
                None
            }
        }
    }

    pub fn list<'a>(&'a self, problems: &mut Problems) -> Option<&'a [Self]> {
        match &self.value {
            Value::List(items) => Some(items),
            _ => {
                problems.add(
                    self,
                    format!("expected a list, found {}", self.kind()),
                    "write it as `[a, b]` or `- a` lines",
                );
                None
            }
        }
    }

    /// A scalar as text, quoted or not.
    pub fn text<'a>(&'a self, problems: &mut Problems) -> Option<&'a str> {
        let text = self.scalar();
        if text.is_none() {
            problems.add(self, format!("expected a text, found {}", self.kind()), "");
        }
        text
    }

    /// As [`Self::text`], and not empty.
    pub fn name<'a>(&'a self, problems: &mut Problems) -> Option<&'a str> {
        let text = self.text(problems)?;
        if text.trim().is_empty() {
            problems.add(self, "expected a text, found an empty one", "write it, or leave the key out");
            return None;
        }
        Some(text)
    }

    /// A path. A relative one stands beside the file that names it, wherever the process was started.
    pub fn path(&self, problems: &mut Problems) -> Option<PathBuf> {
        let text = self.name(problems)?;
        let folder = Path::new(&*self.file).parent().unwrap_or_else(|| Path::new(""));
        // By its components: `folder/.` is the folder.
        Some(folder.join(text).components().collect())
    }

    /// `true` or `false`, without quotes.
    pub fn boolean(&self, problems: &mut Problems) -> Option<bool> {
        match &self.value {
            Value::Plain(text) if text == "true" => Some(true),
            Value::Plain(text) if text == "false" => Some(false),
            _ => {
                problems.add(self, format!("expected true or false, found {}", self.shown()), "");
                None
            }
        }
    }

    /// A whole number of at least `least`, without quotes. `_` may separate digits.
    pub fn whole(&self, least: u64, problems: &mut Problems) -> Option<u64> {
        let number = match &self.value {
            Value::Plain(text) => text.replace('_', "").parse::<u64>().ok(),
            _ => None,
        };
        match number {
            Some(number) if number >= least => Some(number),
            Some(number) => {
                problems.add(self, format!("{number} is too small"), format!("at least {least}"));
                None
            }
            None => {
                problems.add(self, format!("expected a whole number, found {}", self.shown()), "");
                None
            }
        }
    }

    /// One of `known`, each with the value it stands for.
    pub fn choice<T: Clone>(&self, known: &[(&str, T)], problems: &mut Problems) -> Option<T> {
        let text = self.text(problems)?;
        let found = known.iter().find(|(word, _)| *word == text).map(|(_, value)| value.clone());
        if found.is_none() {
            problems.add(
                self,
                format!("\"{text}\" is not known here"),
                did_you_mean(text, known.iter().map(|(word, _)| *word)),
            );
        }
        found
    }

    /// The single `kind: {…}` entry of an externally tagged choice.
    pub fn tagged<'a>(&'a self, known: &[&str], problems: &mut Problems) -> Option<(&'a str, &'a Self)> {
        let hint = format!("one of: {}", known.join(", "));
        match &self.value {
            Value::Map(entries) if entries.len() == 1 => {
                let (key, value) = entries.first()?;
                let word = key.scalar()?;
                if known.contains(&word) {
                    return Some((word, value));
                }
                problems.add(key, format!("\"{word}\" is not known here"), did_you_mean(word, known.iter().copied()));
                None
            }
            Value::Map(_) => {
                problems.add(self, "expected exactly one kind", hint);
                None
            }
            _ => {
                problems.add(self, format!("expected `kind: {{…}}`, found {}", self.kind()), hint);
                None
            }
        }
    }

    fn shown(&self) -> String {
        match &self.value {
            Value::Plain(text) => format!("`{text}`"),
            Value::Quoted(text) => format!("the text \"{text}\""),
            _ => self.kind().to_owned(),
        }
    }
}

/// A mapping that remembers what was read of it.
pub struct Map<'a> {
    node: &'a Node,
    entries: &'a [(Node, Node)],
    read: Vec<bool>,
    /// What a reader asked for: the words that an unknown key is compared with.
    asked: Vec<&'static str>,
}

impl<'a> Map<'a> {
    /// Where the mapping stands.
    #[must_use]
    pub fn node(&self) -> &'a Node {
        self.node
    }

    /// The value of `key`; `None` when it is absent or null.
    pub fn get(&mut self, key: &'static str) -> Option<&'a Node> {
        if !self.asked.contains(&key) {
            self.asked.push(key);
        }
        let index = self.entries.iter().position(|(k, _)| k.scalar() == Some(key))?;
        self.read[index] = true;
        let value = &self.entries[index].1;
        (!value.is_null()).then_some(value)
    }

    /// Counts `key` as read: somebody else reads it.
    pub fn skip(&mut self, key: &'static str) {
        let _theirs = self.get(key);
    }

    /// The value of `key`, whose absence is a mistake.
    pub fn require(&mut self, key: &'static str, problems: &mut Problems) -> Option<&'a Node> {
        let value = self.get(key);
        if value.is_none() {
            problems.add(self.node, format!("`{key}` is missing"), format!("add `{key}: …` here"));
        }
        value
    }

    /// All entries, for mappings whose keys are names that the writer chose. Counts every key as read.
    pub fn entries(&mut self) -> impl Iterator<Item = (&'a Node, &'a str, &'a Node)> + use<'a> {
        self.read.fill(true);
        self.entries.iter().filter_map(|(key, value)| Some((key, key.scalar()?, value)))
    }

    /// Reports every key that nobody asked for.
    pub fn finish(self, problems: &mut Problems) {
        for ((key, _), read) in self.entries.iter().zip(&self.read) {
            if !read {
                let word = key.scalar().unwrap_or("?");
                problems.add(key, format!("unknown key \"{word}\""), did_you_mean(word, self.asked.iter().copied()));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parse;

    #[test]
    fn all_mistakes_come_at_once_each_with_its_line() {
        let root = parse("s.yaml", "listn: a\nworkers: many\ntls: \"true\"\nmode: fats\n").unwrap();
        let mut problems = Problems::new();
        let mut map = root.map(&mut problems).unwrap();
        assert!(map.require("listen", &mut problems).is_none());
        assert!(map.get("workers").unwrap().whole(1, &mut problems).is_none());
        assert!(map.get("tls").unwrap().boolean(&mut problems).is_none());
        assert!(map.get("mode").unwrap().choice(&[("fast", 1), ("slow", 2)], &mut problems).is_none());
        map.finish(&mut problems);
        assert_eq!(
            problems.to_string(),
            "s.yaml:1: `listen` is missing (add `listen: …` here)\n\
             s.yaml:2: expected a whole number, found `many`\n\
             s.yaml:3: expected true or false, found the text \"true\"\n\
             s.yaml:4: \"fats\" is not known here (did you mean \"fast\"?)\n\
             s.yaml:1: unknown key \"listn\" (did you mean \"listen\"?)"
        );
    }

    #[test]
    fn relative_paths_stand_beside_their_file_and_nothing_is_empty() {
        let path = |file: &str, text: &str| {
            let mut problems = Problems::new();
            let path = parse(file, text).unwrap().path(&mut problems);
            path.map(|path| path.display().to_string()).ok_or(problems.to_string())
        };
        assert_eq!(path("/etc/hw/h.yaml", "secrets/a").unwrap(), "/etc/hw/secrets/a");
        assert_eq!(path("conf/h.yaml", "a").unwrap(), "conf/a");
        assert_eq!(path("h.yaml", "a").unwrap(), "a");
        assert_eq!(path("/etc/hw/h.yaml", "/run/a").unwrap(), "/run/a");
        assert_eq!(path("/data/h.yaml", ".").unwrap(), "/data");
        for empty in ["''", "' '"] {
            assert_eq!(
                path("h.yaml", empty).unwrap_err(),
                "h.yaml:1: expected a text, found an empty one (write it, or leave the key out)"
            );
        }
    }

    #[test]
    fn a_tagged_choice_is_one_known_kind() {
        let mut problems = Problems::new();
        let root = parse("s.yaml", "{http: {url: x}}").unwrap();
        assert_eq!(root.tagged(&["http", "postgres"], &mut problems).unwrap().0, "http");
        let root = parse("s.yaml", "{htp: {}}").unwrap();
        assert!(root.tagged(&["http", "postgres"], &mut problems).is_none());
        assert_eq!(problems.to_string(), "s.yaml:1: \"htp\" is not known here (did you mean \"http\"?)");
    }
}
