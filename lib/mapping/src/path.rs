//! Where a value stands in a payload: `application.jobs[0].id`, `/payload.id`, `"odd.key"`, `fields[name=Pay].value`.
//!
//! Relative to the rule's record (or the item of an `each`) unless it begins with `/`; `.` is the record itself.
//! `[]` (every item) is for places that take many values: the root of a rule and what is ignored; `*` for the latter.

use std::fmt;

/// One move down the tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Step {
    Key(Key),
    Index(usize),
    /// The first item whose member (or member of a member) has this text.
    Where {
        keys: Vec<Key>,
        equals: String,
    },
    /// Every item of an array.
    Each,
    /// Every member or item.
    Any,
}

/// The name of a member, and the slot that objects at this path keep for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Key {
    pub(crate) text: String,
    /// No object stands there until the layout says so.
    pub(crate) place: u32,
    pub(crate) slot: u32,
}

impl Key {
    pub(crate) fn new(text: &str) -> Self {
        Self { text: text.to_owned(), place: u32::MAX, slot: 0 }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Path {
    pub(crate) absolute: bool,
    pub(crate) steps: Vec<Step>,
    /// As it stands in the file, for messages.
    text: String,
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Path {
    /// # Errors
    /// What is wrong with the text, and what to do.
    pub(crate) fn parse(text: &str) -> Result<Self, (String, &'static str)> {
        let (absolute, rest) = match text.strip_prefix('/') {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        let mut steps = Vec::new();
        let whole = rest == "." || (absolute && rest.is_empty());
        if !whole {
            let mut reader = Reader { rest, text };
            loop {
                reader.segment(&mut steps)?;
                if reader.rest.is_empty() {
                    break;
                }
                reader.rest = reader.rest.strip_prefix('.').ok_or_else(|| {
                    (
                        format!("the path \"{text}\" has a stray character"),
                        "separate keys with a dot, and quote a key that has a slash",
                    )
                })?;
            }
        }
        Ok(Self { absolute, steps, text: text.to_owned() })
    }

    pub(crate) fn is_single(&self) -> bool {
        !self.steps.iter().any(|step| matches!(step, Step::Each | Step::Any))
    }
}

struct Reader<'a> {
    rest: &'a str,
    text: &'a str,
}

impl Reader<'_> {
    fn error<T>(&self, what: &str, hint: &'static str) -> Result<T, (String, &'static str)> {
        Err((format!("the path \"{}\" {what}", self.text), hint))
    }

    fn segment(&mut self, steps: &mut Vec<Step>) -> Result<(), (String, &'static str)> {
        let brackets_only = self.rest.starts_with('[') && steps.is_empty();
        if !brackets_only {
            let key = self.word(&['.', '[', ']', '"', '/'])?;
            match key.as_str() {
                "" => return self.error("has an empty key", "remove the extra dot, or quote the key"),
                "*" => steps.push(Step::Any),
                key => steps.push(Step::Key(Key::new(key))),
            }
        }
        while let Some(rest) = self.rest.strip_prefix('[') {
            self.rest = rest;
            steps.push(self.bracket()?);
        }
        Ok(())
    }

    /// A bare word up to one of `ends`, or a quoted one.
    fn word(&mut self, ends: &[char]) -> Result<String, (String, &'static str)> {
        if let Some(quoted) = self.rest.strip_prefix('"') {
            let Some((word, rest)) = quoted.split_once('"') else {
                return self.error("has a quote that does not end", "close the quote");
            };
            self.rest = rest;
            return Ok(word.to_owned());
        }
        let end = self.rest.find(ends).unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at(end);
        self.rest = rest;
        Ok(word.to_owned())
    }

    fn bracket(&mut self) -> Result<Step, (String, &'static str)> {
        let hint = "write [0], [], or [key=value]";
        if let Some(rest) = self.rest.strip_prefix(']') {
            self.rest = rest;
            return Ok(Step::Each);
        }
        let mut keys = vec![self.word(&['.', '=', ']'])?];
        while let Some(rest) = self.rest.strip_prefix('.') {
            self.rest = rest;
            keys.push(self.word(&['.', '=', ']'])?);
        }
        let step = if let Some(rest) = self.rest.strip_prefix('=') {
            self.rest = rest;
            Step::Where { keys: keys.iter().map(|key| Key::new(key)).collect(), equals: self.word(&[']'])? }
        } else {
            match keys.as_slice() {
                [number] if number.parse::<usize>().is_ok() => Step::Index(number.parse().unwrap_or_default()),
                _ => return self.error("has brackets that are neither a position nor a filter", hint),
            }
        };
        let Some(rest) = self.rest.strip_prefix(']') else {
            return self.error("has a bracket that does not end", "close the bracket");
        };
        self.rest = rest;
        Ok(step)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn steps(text: &str) -> Vec<Step> {
        Path::parse(text).unwrap().steps
    }

    fn key(word: &str) -> Step {
        Step::Key(Key::new(word))
    }

    #[test]
    fn all_forms_are_read() {
        assert_eq!(steps("a.b[0].c"), [key("a"), key("b"), Step::Index(0), key("c")]);
        assert_eq!(steps("\"a.b\".c"), [key("a.b"), key("c")]);
        assert_eq!(steps("jobs[].x"), [key("jobs"), Step::Each, key("x")]);
        assert_eq!(steps("[].x"), [Step::Each, key("x")]);
        assert_eq!(
            steps("f[n.m=Pay]"),
            [key("f"), Step::Where { keys: vec![Key::new("n"), Key::new("m")], equals: "Pay".into() }]
        );
        assert_eq!(
            steps("f[name=\"a]b\"].v"),
            [key("f"), Step::Where { keys: vec![Key::new("name")], equals: "a]b".into() }, key("v")]
        );
        assert_eq!(steps("."), []);
        let root = Path::parse("/").unwrap();
        assert!(root.absolute && root.steps.is_empty());
        assert!(Path::parse("/payload.id").unwrap().absolute);
    }

    #[test]
    fn broken_paths_say_what_is_wrong() {
        for text in ["", "a..b", "a.", ".a", "a[", "a[x]", "a[0", "\"a", "a\"b\"", "a[]]", "a[0]b"] {
            assert!(Path::parse(text).is_err(), "{text}");
        }
    }
}
