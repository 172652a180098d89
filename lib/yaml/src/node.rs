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
