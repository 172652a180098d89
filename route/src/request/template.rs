//! The body of a request as data: canonical records in, JSON out.
//!
//! The words are those of the vendors' mapping files, turned round: a scalar is a path; `{const: …}`,
//! `{fields: {…}}`, `{from: path, fields: {…}}`, `{each: path, fields: {…}}`, `{each: path, value: …}`,
//! `{first: […]}`, `{join: […], sep: " "}`, `{table: {A: a}, of: path}`, `{escaped: …}` for receivers that read `&`, `<`
//! and `>` as their own, `{in_url: …}` for a value inside a URL; a list is a list. What is absent, or not in its table, becomes null: that nothing needed is so is the
//! business of `requires`.

use hirewire_yaml::{Map, Node, Problems, Value as Yaml};
use serde_json::Value;

use super::condition::read_path;
use super::path::{Path, Scope, text_of};
use super::url_path::in_url;

#[derive(Debug, Clone)]
pub(crate) enum Template {
    Path(Path),
    Const(Value),
    Object(Vec<(String, Template)>),
    From(Path, Box<Template>),
    Each(Path, Box<Template>),
    List(Vec<Template>),
    First(Vec<Template>),
    /// The receiver's words for ours.
    Table(Vec<(String, Value)>, Path),
    /// Text in which `&`, `<` and `>` are written as entities.
    Escaped(Box<Template>),
    /// Text of which nothing has a meaning in a URL.
    InUrl(Box<Template>),
    Join {
        parts: Vec<Template>,
        sep: String,
    },
}

impl Template {
    pub(crate) fn read(node: &Node, problems: &mut Problems) -> Option<Self> {
        if node.scalar().is_some() {
            return read_path(node, problems).map(Self::Path);
        }
        if let Yaml::List(_) = &node.value {
            return Self::read_list(node, problems).map(Self::List);
        }
        let mut map = node.map(problems)?;
        let template = Self::read_map(node, &mut map, problems);
        map.finish(problems);
        template
    }

    fn read_map(node: &Node, map: &mut Map<'_>, problems: &mut Problems) -> Option<Self> {
        if let Some(value) = map.get("const") {
            return constant(value, problems).map(Self::Const);
        }
        if let Some(list) = map.get("first") {
            return Self::read_list(list, problems).map(Self::First);
        }
        if let Some(inside) = map.get("escaped") {
            return Self::read(inside, problems).map(|inside| Self::Escaped(Box::new(inside)));
        }
        if let Some(inside) = map.get("in_url") {
            return Self::read(inside, problems).map(|inside| Self::InUrl(Box::new(inside)));
        }
        if let Some(words) = map.get("table") {
            let of = map.require("of", problems).and_then(|of| read_path(of, problems));
            let mut words = words.map(problems)?;
            let read: Vec<Option<(String, Value)>> = words
                .entries()
                .map(|(_, word, theirs)| constant(theirs, problems).map(|theirs| (word.to_owned(), theirs)))
                .collect();
            return read.into_iter().collect::<Option<_>>().zip(of).map(|(words, of)| Self::Table(words, of));
        }
        if let Some(list) = map.get("join") {
            let sep = map.get("sep").map_or(Some(" "), |sep| sep.text(problems))?.to_owned();
            return Self::read_list(list, problems).map(|parts| Self::Join { parts, sep });
        }
        let inside = match (map.get("fields"), map.get("value")) {
            (Some(fields), None) => Self::read_fields(fields, problems)?,
            (None, Some(value)) => Self::read(value, problems)?,
            _ => {
                problems.add(
                    node,
                    "expected one of: const, escaped, first, in_url, join, table, or `fields` (also with `from` or `each`)",
                    "a scalar is a path; an object is written as {fields: {…}}",
                );
                return None;
            }
        };
        match (map.get("from"), map.get("each")) {
            (Some(path), None) => Some(Self::From(read_path(path, problems)?, Box::new(inside))),
            (None, Some(path)) => Some(Self::Each(read_path(path, problems)?, Box::new(inside))),
            (None, None) => Some(inside),
            (Some(from), Some(_)) => {
                problems.add(from, "`from` and `each` together", "keep one of them");
                None
            }
        }
    }

    fn read_list(list: &Node, problems: &mut Problems) -> Option<Vec<Self>> {
        let read: Vec<Option<Self>> = list.list(problems)?.iter().map(|item| Self::read(item, problems)).collect();
        read.into_iter().collect()
    }

    pub(super) fn read_fields(fields: &Node, problems: &mut Problems) -> Option<Self> {
        let mut map = fields.map(problems)?;
        let read: Vec<Option<(String, Self)>> = map
            .entries()
            .map(|(_, name, value)| Self::read(value, problems).map(|template| (name.to_owned(), template)))
            .collect();
        read.into_iter().collect::<Option<_>>().map(Self::Object)
    }

    pub(crate) fn render(&self, scope: Scope<'_>) -> Value {
        match self {
            Self::Path(path) => path.find(scope).cloned().unwrap_or(Value::Null),
            Self::Const(value) => value.clone(),
            Self::Object(fields) => {
                Value::Object(fields.iter().map(|(name, template)| (name.clone(), template.render(scope))).collect())
            }
            Self::From(path, inside) => path.find(scope).map_or(Value::Null, |here| inside.render(scope.at(here))),
            Self::Each(path, inside) => {
                Value::Array(path.elements(scope).map(|element| inside.render(scope.at(element))).collect())
            }
            Self::List(items) => Value::Array(items.iter().map(|item| item.render(scope)).collect()),
            Self::Escaped(inside) => match text_of(&inside.render(scope)) {
                Some(text) => text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").into(),
                None => Value::Null,
            },
            Self::InUrl(inside) => text_of(&inside.render(scope)).map_or(Value::Null, |text| in_url(&text).into()),
            Self::Table(words, of) => {
                let ours = of.find(scope).and_then(text_of);
                let theirs = words.iter().find(|(word, _)| ours.as_ref() == Some(word));
                theirs.map_or(Value::Null, |(_, theirs)| theirs.clone())
            }
            Self::First(choices) => {
                choices.iter().map(|choice| choice.render(scope)).find(|value| !value.is_null()).unwrap_or(Value::Null)
            }
            Self::Join { parts, sep } => {
                let texts: Vec<String> = parts.iter().filter_map(|part| text_of(&part.render(scope))).collect();
                if texts.is_empty() { Value::Null } else { Value::String(texts.join(sep)) }
            }
        }
    }

    /// Every path that begins at the root, so that one knows which parts must be joined.
    pub(crate) fn root_paths<'a>(&'a self, nested: bool, found: &mut Vec<&'a Path>) {
        let mut see = |path: &'a Path| {
            if !nested || path.is_absolute() {
                found.push(path);
            }
        };
        match self {
            Self::Path(path) | Self::Table(_, path) => see(path),
            Self::Const(_) => {}
            Self::Object(fields) => fields.iter().for_each(|(_, template)| template.root_paths(nested, found)),
            Self::From(path, inside) | Self::Each(path, inside) => {
                see(path);
                inside.root_paths(true, found);
            }
            Self::List(parts) | Self::First(parts) | Self::Join { parts, .. } => {
                parts.iter().for_each(|part| part.root_paths(nested, found));
            }
            Self::Escaped(inside) | Self::InUrl(inside) => inside.root_paths(nested, found),
        }
    }

    /// Those of an object, in their order; of anything else none.
    pub(super) fn fields(&self) -> &[(String, Self)] {
        match self {
            Self::Object(fields) => fields,
            _ => &[],
        }
    }

    /// The names of all fields in it.
    pub(super) fn names<'a>(&'a self, found: &mut Vec<&'a str>) {
        match self {
            Self::Object(fields) => {
                for (name, inside) in fields {
                    found.push(name);
                    inside.names(found);
                }
            }
            Self::From(_, inside) | Self::Each(_, inside) => inside.names(found),
            Self::List(parts) | Self::First(parts) => parts.iter().for_each(|part| part.names(found)),
            Self::Path(_)
            | Self::Const(_)
            | Self::Escaped(_)
            | Self::InUrl(_)
            | Self::Join { .. }
            | Self::Table(..) => {}
        }
    }
}

fn constant(node: &Node, problems: &mut Problems) -> Option<Value> {
    match &node.value {
        Yaml::Quoted(text) => Some(Value::String(text.clone())),
        Yaml::Plain(text) => Some(match text.as_str() {
            "true" => Value::Bool(true),
            "false" => Value::Bool(false),
            _ => text.parse::<i64>().map_or_else(|_| Value::String(text.clone()), Value::from),
        }),
        Yaml::Null | Yaml::List(_) | Yaml::Map(_) => {
            problems.add(node, format!("a constant is a text, a number or true/false, not {}", node.kind()), "");
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn render(text: &str, root: &Value) -> Value {
        let mut problems = Problems::new();
        let template = Template::read(&hirewire_yaml::parse("t.yaml", text).unwrap(), &mut problems);
        let template = problems.into_result(template).unwrap();
        template.render(Scope::whole(root))
    }

    #[test]
    fn a_body_is_made_of_paths_constants_objects_and_lists() {
        let root = json!({"a": {"name": "Ada", "rest": null, "list": [{"n": "1"}, {"n": "2"}]}, "k": "key"});
        let body = render(
            "fields:
  type: {const: hire}
  name: {join: [a.name, a.rest, k], sep: '-'}
  start: {first: [a.rest, a.name]}
  inner: {from: a, fields: {name: name, key: /k}}
  none: {from: a.rest, fields: {x: y}}
  items: {each: a.list, fields: {n: n, key: /k}}
  plain: {each: a.list, value: n}
  absent: a.b.c
  mixed: [a.name, {const: 1}, {fields: {n: 'a.list[1].n'}}]
  word: {table: {Bob: 1, Ada: one}, of: a.name}
  wordless: {first: [{table: {Bob: 1}, of: a.name}, k]}
  safe: {escaped: {join: [{const: '<!here> &'}, a.name]}}
  link: {join: [{const: 'https://x.example/?a='}, {in_url: {join: [a.name, {const: '&b=c d/é'}]}}], sep: ''}
",
            &root,
        );
        let expected = json!({"type": "hire", "name": "Ada-key", "start": "Ada", "inner": {"name": "Ada", "key": "key"},
            "none": null, "items": [{"n": "1", "key": "key"}, {"n": "2", "key": "key"}], "plain": ["1", "2"],
            "absent": null, "mixed": ["Ada", 1, {"n": "2"}], "word": "one", "wordless": "key", "safe": "&lt;!here&gt; &amp; Ada", "link": "https://x.example/?a=Ada%20%26b%3Dc%20d%2F%C3%A9"});
        assert_eq!(body, expected);
    }

    #[test]
    fn mistakes_come_at_once_with_their_lines() {
        let mut problems = Problems::new();
        let text = "fields:\n  a: {cnst: x}\n  b: {from: q}\n  c: 'a b'\n  d: {each: x, from: y, fields: {z: z}}\n  e: {table: {A: []}, of: x}\n  f: {table: {}}\n";
        assert!(Template::read(&hirewire_yaml::parse("t.yaml", text).unwrap(), &mut problems).is_none());
        let lines: Vec<usize> = problems.iter().map(|problem| problem.line).collect();
        assert!([2, 3, 4, 5, 6, 7].iter().all(|line| lines.contains(line)), "{problems}");
    }
}
