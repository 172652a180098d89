//! The tree: a value with the file and line it stands at.

use std::sync::Arc;

/// A value of a YAML document and where it stands.
#[derive(Debug, Clone)]
pub struct Node {
    pub file: Arc<str>,
    /// Counted from 1.
    pub line: usize,
    /// Counted from 1, in characters.
    pub column: usize,
    pub value: Value,
}

/// Scalars keep their text; `Plain` ones are read by what the reader asks for, so that `no`, `1e3` or `0x10` are
/// never turned into something that the writer of the file did not mean.
#[derive(Debug, Clone)]
pub enum Value {
    /// Nothing, `~` or `null`.
    Null,
    /// A scalar without quotes.
    Plain(String),
    /// A quoted or block scalar: always text.
    Quoted(String),
    List(Vec<Node>),
    /// Keys in the order of the file, each key once.
    Map(Vec<(Node, Node)>),
}

impl Node {
    /// `file:line`, as messages show it.
    #[must_use]
    pub fn location(&self) -> String {
        format!("{}:{}", self.file, self.line)
    }

    #[must_use]
    pub fn is_null(&self) -> bool {
        matches!(self.value, Value::Null)
    }

    /// The text of a scalar, quoted or not.
    #[must_use]
    pub fn scalar(&self) -> Option<&str> {
        match &self.value {
            Value::Plain(text) | Value::Quoted(text) => Some(text),
            Value::Null | Value::List(_) | Value::Map(_) => None,
        }
    }

    /// The value of `key`, if this is a mapping that has it. Records nothing: for a look ahead.
    #[must_use]
    pub fn peek(&self, key: &str) -> Option<&Self> {
        match &self.value {
            Value::Map(entries) => entries.iter().find(|(k, _)| k.scalar() == Some(key)).map(|(_, value)| value),
            _ => None,
        }
    }

    /// The entries of a mapping, in the order of the file; none of anything else. Records nothing: for a look.
    pub fn entries(&self) -> impl Iterator<Item = (&str, &Self)> {
        let all: &[(Self, Self)] = match &self.value {
            Value::Map(entries) => entries,
            Value::Null | Value::Plain(_) | Value::Quoted(_) | Value::List(_) => &[],
        };
        all.iter().filter_map(|(key, value)| Some((key.scalar()?, value)))
    }

    /// This in one line, for people: quotes stand only where blanks at the ends would be lost.
    #[must_use]
    pub fn flow(&self) -> String {
        match &self.value {
            Value::Null => "null".to_owned(),
            Value::Plain(text) => text.clone(),
            Value::Quoted(text) if text.is_empty() || text.trim() != text => format!("\"{text}\""),
            Value::Quoted(text) => text.clone(),
            Value::List(items) => format!("[{}]", items.iter().map(Self::flow).collect::<Vec<_>>().join(", ")),
            Value::Map(entries) => {
                let pairs = entries.iter().map(|(key, value)| format!("{}: {}", key.flow(), value.flow()));
                format!("{{{}}}", pairs.collect::<Vec<_>>().join(", "))
            }
        }
    }

    /// What this is, for messages.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match &self.value {
            Value::Null => "nothing",
            Value::Plain(_) => "a plain value",
            Value::Quoted(_) => "a text",
            Value::List(_) => "a list",
            Value::Map(_) => "a mapping",
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::parse;

    #[test]
    fn a_value_stands_in_one_line_and_blanks_at_its_ends_show() {
        let node = parse("m.yaml", "a: [x, {b: \"c \"}]\nd: \"e\"\nf:\n").unwrap();
        assert_eq!(node.flow(), "{a: [x, {b: \"c \"}], d: e, f: null}");
        assert_eq!(node.entries().map(|(key, _)| key).collect::<Vec<_>>(), ["a", "d", "f"]);
    }
}
