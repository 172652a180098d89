//! From schema files that name each other to self-contained texts: file texts in, one JSON text a record out.
//!
//! A file refers to a type of another file by its full name (`"ats.Meta"`). Avro wants each named type defined once, at
//! its first use in reading order; [`Sources::expand`] puts the definition there and leaves the name everywhere else.
//! The text is otherwise unchanged, without the white space between tokens, so that docs and order survive.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::SchemaError;

/// One file: where it stands under `avro/`, and its text.
pub(crate) struct SourceFile {
    pub(crate) path: String,
    pub(crate) text: String,
}

/// All files by the full name of what they define.
pub(crate) struct Sources(BTreeMap<String, SourceFile>);

impl Sources {
    /// Files that do not parse, or are not named after what they define, are refused.
    pub(crate) fn new(files: Vec<SourceFile>) -> Result<Self, SchemaError> {
        let mut by_name = BTreeMap::new();
        for file in files {
            let full_name = full_name(&file)?;
            if let Some(other) = by_name.insert(full_name.clone(), file) {
                return Err(SchemaError::File { path: other.path, what: format!("{full_name} is defined twice") });
            }
        }
        Ok(Self(by_name))
    }

    /// Full names and paths of what the files define, ordered by name.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, file)| (name.as_str(), file.path.as_str()))
    }

    /// The self-contained text of `full_name`; `None` if no file defines it.
    pub(crate) fn expand(&self, full_name: &str) -> Option<String> {
        let mut defined = BTreeSet::from([full_name]);
        let mut out = String::new();
        self.append(full_name, &mut defined, &mut out)?;
        Some(out)
    }

    fn append<'a>(&'a self, full_name: &str, defined: &mut BTreeSet<&'a str>, out: &mut String) -> Option<()> {
        let mut chars = self.0.get(full_name)?.text.chars();
        while let Some(char) = chars.next() {
            if char == '"' {
                let token = string_token(&mut chars);
                match self.0.get_key_value(token.as_str()) {
                    Some((name, _)) if defined.insert(name) => self.append(name, defined, out)?,
                    _ => {
                        out.push('"');
                        out.push_str(&token);
                        out.push('"');
                    }
                }
            } else if !char.is_ascii_whitespace() {
                out.push(char);
            }
        }
        Some(())
    }
}

/// The text of a JSON string up to its closing quote, escapes as they stand.
fn string_token(chars: &mut std::str::Chars<'_>) -> String {
    let mut token = String::new();
    while let Some(char) = chars.next() {
        match char {
            '"' => break,
            '\\' => {
                token.push(char);
                token.extend(chars.next());
            }
            _ => token.push(char),
        }
    }
    token
}

fn full_name(file: &SourceFile) -> Result<String, SchemaError> {
    let wrong = |what: String| SchemaError::File { path: file.path.clone(), what };
    let json: Value = serde_json::from_str(&file.text).map_err(|error| wrong(format!("not valid JSON: {error}")))?;
    let text = |key: &str| json.get(key).and_then(Value::as_str);
    let (Some(namespace), Some(name)) = (text("namespace"), text("name")) else {
        return Err(wrong("`namespace` and `name` are needed".to_owned()));
    };
    let stem = file.path.rsplit('/').next().and_then(|last| last.strip_suffix(".avsc"));
    if stem != Some(name) {
        return Err(wrong(format!("the file defines {name} and must be named after it")));
    }
    Ok(format!("{namespace}.{name}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &str, text: &str) -> SourceFile {
        SourceFile { path: path.to_owned(), text: text.to_owned() }
    }

    #[test]
    fn a_named_type_is_defined_at_its_first_use_only() {
        let sources = Sources::new(vec![
            file("A.avsc", r#"{"namespace": "n", "name": "A", "doc": "a \"b\" c", "fields": ["n.B", "n.C", "n.B"]}"#),
            file("B.avsc", r#"{"namespace": "n", "name": "B", "fields": ["n.C"]}"#),
            file("C.avsc", r#"{"namespace": "n", "name": "C"}"#),
        ])
        .unwrap();
        assert_eq!(
            sources.expand("n.A").unwrap(),
            r#"{"namespace":"n","name":"A","doc":"a \"b\" c","fields":[{"namespace":"n","name":"B","fields":[{"namespace":"n","name":"C"}]},"n.C","n.B"]}"#
        );
        assert!(sources.expand("n.D").is_none());
    }

    #[test]
    fn a_file_is_named_after_what_it_defines() {
        let wrong = Sources::new(vec![file("x/B.avsc", r#"{"namespace": "n", "name": "A"}"#)]);
        assert_eq!(
            wrong.err().unwrap().to_string(),
            "schema file x/B.avsc: the file defines A and must be named after it"
        );
    }
}
