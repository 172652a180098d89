//! Where something stands: in a delivery, or in an answer.

use axum::http::HeaderMap;
use hirewire_yaml::{Node, Problems, Value};

use super::values::{header, path};
use crate::json::{self, Path};

/// Where a delivery says something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// In lower case.
    Header(String),
    /// A text or number of the body.
    Field(Path),
}

impl Place {
    /// Reads a path of the body, or `{header: Name}`.
    pub(super) fn read(node: &Node, problems: &mut Problems) -> Option<Self> {
        if !matches!(node.value, Value::Map(_)) {
            return path(node, problems).map(Self::Field);
        }
        let (_, value) = node.tagged(&["header"], problems)?;
        header(value, problems).map(Self::Header)
    }

    /// What stands there; `None`: nothing, or no text.
    pub(crate) fn text(&self, headers: &HeaderMap, body: &[u8]) -> Option<String> {
        match self {
            Self::Header(name) => Some(headers.get(name)?.to_str().ok()?.to_owned()),
            Self::Field(path) => json::scalar(body, path),
        }
    }
}

/// What an answer holds, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rows {
    /// A list of rows.
    List(Path),
    /// An object of rows, each under a key of its own.
    Members(Path),
    /// One row, at the first of these places that holds an object.
    One(Vec<Path>),
}

impl Rows {
    /// Reads the path of a list; `.` is the answer itself, and a last part `*` stands for each member of an object.
    pub(super) fn read(node: &Node, problems: &mut Problems) -> Option<Self> {
        let text = node.text(problems)?;
        match text.strip_suffix('*').filter(|front| front.is_empty() || front.ends_with('.')) {
            None => Self::place(node, problems).map(Self::List),
            Some("") => Some(Self::Members(Path::default())),
            Some(front) => {
                let object = front.strip_suffix('.').and_then(Path::parse);
                if object.is_none() {
                    problems.add(node, "a path with an empty key", "write data.* for each member of data");
                }
                object.map(Self::Members)
            }
        }
    }

    /// Reads the path of one row, or several; `.` is the answer itself.
    pub(super) fn read_one(node: &Node, problems: &mut Problems) -> Option<Self> {
        let places = if let Value::List(items) = &node.value { items.as_slice() } else { std::slice::from_ref(node) };
        if places.is_empty() {
            problems.add(node, "no place of a row", "write its path, or . for the answer itself");
        }
        places.iter().map(|place| Self::place(place, problems)).collect::<Option<_>>().map(Self::One)
    }

    fn place(node: &Node, problems: &mut Problems) -> Option<Path> {
        if node.scalar() == Some(".") { Some(Path::default()) } else { path(node, problems) }
    }

    /// As it is written; `None`: the answer itself.
    pub(super) fn written(&self) -> Option<String> {
        let (place, end) = match self {
            Self::List(place) => (place, ""),
            Self::One(places) => (places.first()?, ""),
            Self::Members(place) => (place, "*"),
        };
        let parts = [place.to_string(), end.to_owned()];
        Some(parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(".")).filter(|t| !t.is_empty())
    }
}
