//! What a receiver takes, as `receiver.yaml` says it: lines, headers, and the shape of bodies.
//!
//! In: a request. Out: what is wrong with it. It is written of the system's documentation and never of `sink.yaml`: it is
//! what our requests are held to.

use std::path::Path;

use hirewire_yaml::{Node, Problems, Value as Yaml};
use serde_json::Value;

/// All that one receiver takes.
#[derive(Debug, Clone)]
pub(super) struct Takes(pub(super) Vec<Taken>);

/// One kind of request.
#[derive(Debug, Clone)]
pub(super) struct Taken {
    pub(super) name: String,
    method: String,
    /// Pieces of the path; `*` stands for any.
    path: Vec<String>,
    query: Vec<String>,
    headers: Vec<(String, String)>,
    body: Option<Shape>,
    /// The case of `answers/` that it answers with.
    pub(super) answer: String,
    /// The one for a second request with the same body; `None`: the same.
    pub(super) again: Option<String>,
}

#[derive(Debug, Clone)]
enum Shape {
    Text,
    Number,
    Boolean,
    Date,
    Url,
    Email,
    /// A number with a point, as a text.
    Decimal,
    /// The value of a secret.
    Secret,
    OneOf(Vec<String>),
    List(Box<Shape>),
    /// Names, whether each must be there, and what each is. Nothing else may be there.
    Fields(Vec<(String, bool, Shape)>),
}

/// A request as it came, or as a golden file shows it.
#[derive(Debug, Clone)]
pub(in crate::tests) struct Asked {
    pub(in crate::tests) method: String,
    pub(in crate::tests) path: String,
    pub(in crate::tests) query: Option<String>,
    pub(in crate::tests) headers: Vec<(String, String)>,
    pub(in crate::tests) body: Value,
}

impl Takes {
    /// Of a system's folder; `None`: it has no `receiver.yaml`.
    pub(super) fn of(folder: &Path) -> Option<Self> {
        let path = folder.join("receiver.yaml");
        let text = std::fs::read_to_string(&path).ok()?;
        let shown = path.display().to_string();
        let mut problems = Problems::new();
        let root = hirewire_yaml::parse(&shown, &text).unwrap_or_else(|problems| panic!("{problems}"));
        let taken = Self::read(&root, &mut problems);
        Some(problems.into_result(taken).unwrap_or_else(|problems| panic!("{problems}")))
    }

    fn read(root: &Node, problems: &mut Problems) -> Option<Self> {
        let mut map = root.map(problems)?;
        let read: Vec<Option<Taken>> =
            map.entries().map(|(_, name, value)| Taken::read(name, value, problems)).collect();
        read.into_iter().collect::<Option<Vec<_>>>().map(Self)
    }

    /// The kind of the request; else what is wrong with it.
    pub(super) fn take(&self, asked: &Asked) -> Result<&Taken, String> {
        let line = format!("{} {}", asked.method, asked.path);
        let taken = self.0.iter().find(|taken| taken.is_at(asked)).ok_or_else(|| format!("nothing is at {line}"))?;
        let wrong = taken.wrongs(asked);
        if wrong.is_empty() { Ok(taken) } else { Err(format!("{line}: {}", wrong.join("; "))) }
    }
}

impl Taken {
    fn read(name: &str, node: &Node, problems: &mut Problems) -> Option<Self> {
        let mut map = node.map(problems)?;
        let line = map.require("line", problems).and_then(|node| node.text(problems))?;
        let (method, path) = line.split_once(' ')?;
        let texts = |node: &Node, problems: &mut Problems| {
            node.list(problems)?.iter().map(|item| item.text(problems).map(str::to_owned)).collect::<Option<Vec<_>>>()
        };
        let query = map.get("query").map_or(Some(Vec::new()), |node| texts(node, problems))?;
        let mut headers = Vec::new();
        if let Some(mut given) = map.get("headers").and_then(|node| node.map(problems)) {
            for (_, name, value) in given.entries() {
                headers.push((name.to_owned(), value.text(problems)?.to_owned()));
            }
        }
        let body = map.get("body").map_or(Some(None), |node| Shape::read(node, problems).map(Some))?;
        let answer = map.require("answer", problems).and_then(|node| node.text(problems))?.to_owned();
        let again = map.get("again").and_then(|node| node.text(problems)).map(str::to_owned);
        map.finish(problems);
        let path = path.split('/').map(str::to_owned).collect();
        Some(Self { name: name.to_owned(), method: method.to_owned(), path, query, headers, body, answer, again })
    }

    pub(super) fn is_search(&self) -> bool {
        self.method == "GET"
    }

    fn is_at(&self, asked: &Asked) -> bool {
        let pieces: Vec<&str> = asked.path.split('/').collect();
        self.method == asked.method
            && self.path.len() == pieces.len()
            && self.path.iter().zip(pieces).all(|(own, asked)| own == asked || (own == "*" && !asked.is_empty()))
    }

    fn wrongs(&self, asked: &Asked) -> Vec<String> {
        let mut wrong = Vec::new();
        let query: Vec<&str> =
            asked.query.iter().flat_map(|query| query.split('&')).filter_map(|pair| pair.split('=').next()).collect();
        if query != self.query {
            wrong.push(format!("it is asked with the query {query:?}, and takes {:?}", self.query));
        }
        for (name, value) in &self.headers {
            let given = asked.headers.iter().find(|(given, _)| given == name).map(|(_, given)| given.as_str());
            if given != Some(value) {
                wrong.push(format!("the header {name} is {given:?} and not {value}"));
            }
        }
        if let Some(shape) = &self.body {
            shape.look("body", &asked.body, &mut wrong);
        }
        wrong
    }
}

impl Shape {
    /// A word of the closed list, words with `|` between them, a list of one, or fields; `name?` may be absent.
    fn read(node: &Node, problems: &mut Problems) -> Option<Self> {
        match &node.value {
            Yaml::List(items) => {
                let [item] = items.as_slice() else { panic!("{node:?}: a list of one shape") };
                Self::read(item, problems).map(|item| Self::List(Box::new(item)))
            }
            Yaml::Map(_) => {
                let mut map = node.map(problems)?;
                let fields = map.entries().map(|(_, name, value)| {
                    let must = !name.ends_with('?');
                    Some((name.trim_end_matches('?').to_owned(), must, Self::read(value, problems)?))
                });
                fields.collect::<Vec<_>>().into_iter().collect::<Option<Vec<_>>>().map(Self::Fields)
            }
            _ => Some(match node.text(problems)? {
                "text" => Self::Text,
                "number" => Self::Number,
                "boolean" => Self::Boolean,
                "date" => Self::Date,
                "url" => Self::Url,
                "email" => Self::Email,
                "decimal" => Self::Decimal,
                "secret" => Self::Secret,
                words => Self::OneOf(words.split('|').map(str::to_owned).collect()),
            }),
        }
    }

    fn look(&self, at: &str, value: &Value, wrong: &mut Vec<String>) {
        if let (Self::Fields(fields), Value::Object(given)) = (self, value) {
            for name in given.keys().filter(|name| !fields.iter().any(|(known, _, _)| known == *name)) {
                wrong.push(format!("{at} has {name}, which is not known"));
            }
            for (name, must, shape) in fields {
                match given.get(name) {
                    Some(value) => shape.look(&format!("{at}.{name}"), value, wrong),
                    None if *must => wrong.push(format!("{at} has no {name}")),
                    None => {}
                }
            }
            return;
        }
        if let (Self::List(item), Value::Array(given)) = (self, value) {
            if given.is_empty() {
                wrong.push(format!("{at} is empty"));
            }
            given.iter().for_each(|value| item.look(&format!("{at}[]"), value, wrong));
            return;
        }
        let text = value.as_str().filter(|text| !text.trim().is_empty());
        let fits = match self {
            Self::Number => value.is_number(),
            Self::Boolean => value.is_boolean(),
            Self::Text => text.is_some(),
            Self::Date => text.is_some_and(|text| text.len() == 10 && text.parse::<jiff::civil::Date>().is_ok()),
            Self::Url => text.is_some_and(|text| text.starts_with("https://") && text.parse::<reqwest::Url>().is_ok()),
            Self::Email => text.is_some_and(|text| text.split('@').filter(|part| !part.is_empty()).count() == 2),
            Self::Decimal => text.is_some_and(|text| text.parse::<f64>().is_ok()),
            Self::Secret => text == Some(super::secret()),
            Self::OneOf(words) => text.is_some_and(|text| words.iter().any(|word| word == text)),
            Self::List(_) | Self::Fields(_) => false,
        };
        if !fits {
            wrong.push(format!("{at} is {value}, and takes {self:?}"));
        }
    }
}
