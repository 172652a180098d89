//! The path of a request's URL, with values filled in: `/employees/{change.application_id}`.
//!
//! Values are percent-encoded as one segment each: nothing that a source sends can lead to another path or host.

use hirewire_yaml::{Node, Problems};

use super::path::{Path, Scope, text_of};

#[derive(Debug, Clone, Default)]
pub(crate) struct UrlPath {
    pieces: Vec<Piece>,
}

#[derive(Debug, Clone)]
enum Piece {
    Text(String),
    Value(Path),
}

impl UrlPath {
    pub(crate) fn read(node: &Node, problems: &mut Problems) -> Option<Self> {
        let text = node.text(problems)?;
        let parsed = Self::parse(text);
        if parsed.is_none() {
            problems.add(
                node,
                format!("\"{text}\" is not a path of a URL"),
                "begin with / and put values in braces, as in /hires/{change.application_id}",
            );
        }
        parsed
    }

    fn parse(text: &str) -> Option<Self> {
        let mut pieces = Vec::new();
        let mut rest = text.starts_with('/').then_some(text)?;
        while let Some((before, after)) = rest.split_once('{') {
            let (inside, after) = after.split_once('}')?;
            pieces.push(Piece::Text(plain(before)?));
            pieces.push(Piece::Value(Path::parse(inside)?));
            rest = after;
        }
        pieces.push(Piece::Text(plain(rest)?));
        Some(Self { pieces })
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.pieces.is_empty()
    }

    pub(crate) fn paths(&self) -> impl Iterator<Item = &Path> {
        self.pieces.iter().filter_map(|piece| match piece {
            Piece::Text(_) => None,
            Piece::Value(path) => Some(path),
        })
    }

    /// # Errors
    /// The paths that lead to nothing.
    pub(crate) fn render(&self, scope: Scope<'_>) -> Result<String, Vec<String>> {
        let mut url_path = String::new();
        let mut missing = Vec::new();
        for piece in &self.pieces {
            match piece {
                Piece::Text(text) => url_path.push_str(text),
                // Parsers of URLs read an encoded `..` as `..`: as a value it is as good as none.
                Piece::Value(path) => match path.find(scope).and_then(text_of) {
                    Some(text) if !matches!(text.as_str(), "" | "." | "..") => url_path.push_str(&in_url(&text)),
                    _ => missing.push(path.to_string()),
                },
            }
        }
        if missing.is_empty() { Ok(url_path) } else { Err(missing) }
    }
}

fn plain(text: &str) -> Option<String> {
    let fine = text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._~/".contains(&b));
    (fine && !text.contains("/../") && !text.contains("//")).then(|| text.to_owned())
}

/// Percent-encodes all but unreserved characters; a dot too, so that no segment can be `.` or `..`.
pub(super) fn in_url(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_~".contains(&byte) {
            escaped.push(char::from(byte));
        } else {
            escaped.push_str(&format!("%{byte:02X}"));
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn values_cannot_leave_their_segment() {
        let path = UrlPath::parse("/hires/{id}/lines").unwrap();
        let render = |id: &str| path.render(Scope::whole(&json!({"id": id})));
        assert_eq!(render("a-1").unwrap(), "/hires/a-1/lines");
        assert_eq!(render("../x?y#z@h").unwrap(), "/hires/%2E%2E%2Fx%3Fy%23z%40h/lines");
        for hole in ["", ".", ".."] {
            assert_eq!(render(hole).unwrap_err(), ["id"]);
        }
        for wrong in ["hires", "/a b", "/a/{", "/a?x=1", "//host/x", "/../x/../", "/{a b}"] {
            assert!(UrlPath::parse(wrong).is_none(), "{wrong}");
        }
    }
}
