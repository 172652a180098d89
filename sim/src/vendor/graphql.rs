//! Requests by GraphQL, and answers to them: as much of the language as a list needs, and nothing that is wrong passes.
//!
//! A document is one query with one field. The field stands for a list's path, or with the argument `id` for that of a row;
//! its arguments are parameters, by their place: `filter.since`. What is not selected around the rows is not answered. A
//! row that is selected is answered whole, for the kit tells its states apart by a field that nobody knows; what is
//! selected of it must be there.

use std::collections::BTreeMap;
use std::iter::Peekable;
use std::vec::IntoIter;

use serde_json::Value;

use super::body::scalar;
use super::page::Params;

/// What a request asks for.
#[derive(Debug, PartialEq)]
pub(super) struct Request {
    /// As a path behind the base path: `applications`, `application/7`.
    pub(super) path: String,
    pub(super) params: Params,
    /// The name that the answer has.
    name: String,
    selected: Vec<Field>,
}

/// A field of a selection.
#[derive(Debug, PartialEq)]
struct Field {
    alias: Option<String>,
    name: String,
    arguments: Vec<(String, Argument)>,
    selected: Vec<Field>,
}

#[derive(Debug, PartialEq)]
enum Argument {
    Variable(String),
    Text(String),
    Null,
    List(Vec<Argument>),
    Object(Vec<(String, Argument)>),
}

/// The codes of what is no query.
const NOT_READ: &str = "GRAPHQL_PARSE_FAILED";
pub(super) const NOT_VALID: &str = "GRAPHQL_VALIDATION_FAILED";

impl Request {
    /// # Errors
    /// The code of the vendor's error.
    pub(super) fn read(body: &[u8]) -> Result<Self, &'static str> {
        let body: Value = serde_json::from_slice(body).map_err(|_| NOT_READ)?;
        let query = body.get("query").and_then(Value::as_str).ok_or(NOT_READ)?;
        let mut tokens = Tokens { left: tokens(query).ok_or(NOT_READ)?.into_iter().peekable() };
        let (declared, fields) = tokens.document().ok_or(NOT_READ)?;
        let given = body.get("variables").and_then(Value::as_object).cloned().unwrap_or_default();
        let given: BTreeMap<String, Value> = given.into_iter().filter(|(_, value)| !value.is_null()).collect();
        let mut used = Vec::new();
        fields.iter().for_each(|field| field.variables(&mut used));
        let known = used.iter().all(|name| declared.iter().any(|(declared, _)| declared == name));
        let all_used = declared.iter().all(|(name, _)| used.contains(name));
        let all_there = declared.iter().all(|(name, must)| !must || given.contains_key(name));
        let Ok([field]) = <[Field; 1]>::try_from(fields) else { return Err(NOT_VALID) };
        if !(known && all_used && all_there) || field.selected.is_empty() {
            return Err(NOT_VALID);
        }
        let mut params = Params::new();
        for (name, argument) in &field.arguments {
            argument.flatten(name, &given, &mut params);
        }
        let id = params.iter().position(|(name, _)| name == "id").map(|at| params.remove(at).1);
        let path = id.map_or(field.name.clone(), |id| format!("{}/{id}", field.name));
        Ok(Self { path, params, name: field.alias.unwrap_or(field.name), selected: field.selected })
    }

    /// The answer: what was selected of `body`, whose rows stand at `rows` and are like `examples`.
    ///
    /// # Errors
    /// When something was selected that is not there.
    pub(super) fn answer(&self, body: &Value, rows: Option<&str>, examples: &[&Value]) -> Result<String, &'static str> {
        let keys: Vec<&str> = rows.map_or(Vec::new(), |rows| rows.split('.').collect());
        let told = match body {
            // A row that is asked for by its id, and is not there.
            Value::Null => Value::Null,
            body => project(body, &self.selected, &keys, examples)?,
        };
        Ok(serde_json::json!({"data": {self.name.as_str(): told}}).to_string())
    }
}

/// A refusal: an error under 200.
pub(super) fn refused(code: &str) -> String {
    serde_json::json!({"data": null, "errors": [{"message": "refused", "extensions": {"code": code}}]}).to_string()
}

/// What was selected of what stands around the rows, and the rows.
fn project(body: &Value, selected: &[Field], rows: &[&str], examples: &[&Value]) -> Result<Value, &'static str> {
    let Some((next, rest)) = rows.split_first() else {
        let all = !selected.is_empty() && are_there(examples, selected);
        return if all { Ok(body.clone()) } else { Err(NOT_VALID) };
    };
    let of_field = |field: &Field| {
        let value = body.get(&field.name).ok_or(NOT_VALID)?;
        let told = match field.name == *next {
            true => project(value, &field.selected, rest, examples),
            false => picked(value, &field.selected),
        };
        Ok((field.told_as().to_owned(), told?))
    };
    selected.iter().map(of_field).collect()
}

/// What was selected of a value.
fn picked(value: &Value, selected: &[Field]) -> Result<Value, &'static str> {
    match value {
        Value::Object(_) if selected.is_empty() => Err(NOT_VALID),
        Value::Object(members) => {
            let of_field = |field: &Field| {
                let value = members.get(&field.name).ok_or(NOT_VALID)?;
                Ok((field.told_as().to_owned(), picked(value, &field.selected)?))
            };
            selected.iter().map(of_field).collect()
        }
        other if selected.is_empty() => Ok(other.clone()),
        _ => Err(NOT_VALID),
    }
}

/// Whether each field is one that some of these values have.
fn are_there(values: &[&Value], selected: &[Field]) -> bool {
    selected.iter().all(|field| {
        let inner = values.iter().filter_map(|value| value.get(&field.name));
        let inner: Vec<&Value> = inner
            .flat_map(|value| match value {
                Value::Array(items) => items.iter().collect(),
                other => vec![other],
            })
            .collect();
        let is_object = inner.iter().any(|value| value.is_object());
        !inner.is_empty() && is_object != field.selected.is_empty() && are_there(&inner, &field.selected)
    })
}

impl Field {
    fn told_as(&self) -> &str {
        self.alias.as_deref().unwrap_or(&self.name)
    }

    /// The names of all variables in it.
    fn variables(&self, found: &mut Vec<String>) {
        self.arguments.iter().for_each(|(_, argument)| argument.variables(found));
        self.selected.iter().for_each(|field| field.variables(found));
    }
}

impl Argument {
    fn variables(&self, found: &mut Vec<String>) {
        match self {
            Self::Variable(name) => found.push(name.clone()),
            Self::List(items) => items.iter().for_each(|item| item.variables(found)),
            Self::Object(members) => members.iter().for_each(|(_, value)| value.variables(found)),
            Self::Text(_) | Self::Null => {}
        }
    }

    /// As parameters: a variable that is not given is none, nor is null.
    fn flatten(&self, place: &str, given: &BTreeMap<String, Value>, params: &mut Params) {
        match self {
            Self::Null => {}
            Self::Text(text) => params.push((place.to_owned(), text.clone())),
            Self::Variable(name) => {
                let value = given.get(name).map(|value| scalar(value).unwrap_or_else(|| value.to_string()));
                params.extend(value.map(|value| (place.to_owned(), value)));
            }
            Self::List(items) => {
                let mut own = Params::new();
                items.iter().for_each(|item| item.flatten(place, given, &mut own));
                let texts: Vec<String> = own.into_iter().map(|(_, text)| text).collect();
                params.push((place.to_owned(), texts.join(",")));
            }
            Self::Object(members) => {
                members.iter().for_each(|(name, value)| value.flatten(&format!("{place}.{name}"), given, params));
            }
        }
    }
}

#[derive(Debug, Clone, PartialEq)]
enum Token {
    Name(String),
    /// A number or a string.
    Text(String),
    Sign(char),
}

/// `None`: a letter or a string that is none.
fn tokens(document: &str) -> Option<Vec<Token>> {
    let mut letters = document.chars().peekable();
    let mut found = Vec::new();
    while let Some(letter) = letters.next() {
        match letter {
            ' ' | '\t' | '\n' | '\r' | ',' => {}
            '#' => while letters.next_if(|letter| *letter != '\n').is_some() {},
            '{' | '}' | '(' | ')' | '[' | ']' | ':' | '$' | '!' | '=' => found.push(Token::Sign(letter)),
            '"' => {
                let mut text = String::from('"');
                loop {
                    match letters.next()? {
                        '"' => break,
                        '\\' => text.extend(['\\', letters.next()?]),
                        letter => text.push(letter),
                    }
                }
                text.push('"');
                found.push(Token::Text(serde_json::from_str(&text).ok()?));
            }
            _ if letter.is_ascii_digit() || letter == '-' => {
                let mut text = String::from(letter);
                while let Some(more) = letters.next_if(|more| more.is_ascii_alphanumeric() || "+-.".contains(*more)) {
                    text.push(more);
                }
                found.push(Token::Text(text));
            }
            _ if letter.is_ascii_alphabetic() || letter == '_' => {
                let mut name = String::from(letter);
                while let Some(more) = letters.next_if(|more| more.is_ascii_alphanumeric() || *more == '_') {
                    name.push(more);
                }
                found.push(Token::Name(name));
            }
            _ => return None,
        }
    }
    Some(found)
}

/// Variables, each with whether it must be given.
type Declared = Vec<(String, bool)>;

struct Tokens {
    left: Peekable<IntoIter<Token>>,
}

impl Tokens {
    fn take(&mut self, sign: char) -> bool {
        self.left.next_if_eq(&Token::Sign(sign)).is_some()
    }

    fn must(&mut self, sign: char) -> Option<()> {
        self.take(sign).then_some(())
    }

    fn name(&mut self) -> Option<String> {
        match self.left.next()? {
            Token::Name(name) => Some(name),
            Token::Text(_) | Token::Sign(_) => None,
        }
    }

    /// The variables that one query declares, each with whether it must be given, and its fields.
    fn document(&mut self) -> Option<(Declared, Vec<Field>)> {
        let mut declared = Vec::new();
        if self.left.next_if_eq(&Token::Name("query".to_owned())).is_some() {
            self.left.next_if(|token| matches!(token, Token::Name(_)));
            if self.take('(') {
                while !self.take(')') {
                    self.must('$')?;
                    let name = self.name()?;
                    self.must(':')?;
                    let must = self.kind()?;
                    let usual = self.take('=');
                    if usual {
                        self.argument()?;
                    }
                    declared.push((name, must && !usual));
                }
            }
        }
        let fields = self.selection()?;
        self.left.peek().is_none().then_some((declared, fields))
    }

    /// `[ID!]!`: whether it must be given.
    fn kind(&mut self) -> Option<bool> {
        if self.take('[') {
            self.kind()?;
            self.must(']')?;
        } else {
            self.name()?;
        }
        Some(self.take('!'))
    }

    fn selection(&mut self) -> Option<Vec<Field>> {
        self.must('{')?;
        let mut fields = vec![self.field()?];
        while !self.take('}') {
            fields.push(self.field()?);
        }
        Some(fields)
    }

    fn field(&mut self) -> Option<Field> {
        let first = self.name()?;
        let (alias, name) = if self.take(':') { (Some(first), self.name()?) } else { (None, first) };
        let mut arguments = Vec::new();
        if self.take('(') {
            while !self.take(')') {
                arguments.push(self.member()?);
            }
        }
        let selected = if self.left.peek() == Some(&Token::Sign('{')) { self.selection()? } else { Vec::new() };
        Some(Field { alias, name, arguments, selected })
    }

    fn member(&mut self) -> Option<(String, Argument)> {
        let name = self.name()?;
        self.must(':')?;
        Some((name, self.argument()?))
    }

    fn argument(&mut self) -> Option<Argument> {
        Some(match self.left.next()? {
            Token::Text(text) => Argument::Text(text),
            Token::Name(name) if name == "null" => Argument::Null,
            Token::Name(name) => Argument::Text(name),
            Token::Sign('$') => Argument::Variable(self.name()?),
            Token::Sign('[') => {
                let mut items = Vec::new();
                while !self.take(']') {
                    items.push(self.argument()?);
                }
                Argument::List(items)
            }
            Token::Sign('{') => {
                let mut members = Vec::new();
                while !self.take('}') {
                    members.push(self.member()?);
                }
                Argument::Object(members)
            }
            Token::Sign(_) => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(query: &str, variables: Value) -> Result<Request, &'static str> {
        Request::read(serde_json::json!({"query": query, "variables": variables}).to_string().as_bytes())
    }

    #[test]
    fn arguments_are_parameters_by_their_places_and_what_is_not_given_is_none() {
        let query = "query List($after: String, $since: DateTime, $first: Int = 20) { # a list\n  list: jobs(after: $after, first: $first, \
                     filter: {updated: {gt: $since}, states: [OPEN, \"CLO\\\"SED\"], none: null}) { nodes { id } pageInfo { endCursor } } }";
        let params = |variables| read(query, variables).unwrap().params;
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert_eq!(params(serde_json::json!({})), [pair("filter.states", "OPEN,CLO\"SED")]);
        assert_eq!(
            params(serde_json::json!({"after": "x", "first": 2, "since": null})),
            [pair("after", "x"), pair("first", "2"), pair("filter.states", "OPEN,CLO\"SED")]
        );
        let one = read("query($id: ID!) { job(id: $id) { id } }", serde_json::json!({"id": "7"})).unwrap();
        assert_eq!((one.path.as_str(), one.name.as_str(), one.params.len()), ("job/7", "job", 0));
    }

    #[test]
    fn what_is_wrong_is_refused() {
        for wrong in [
            "",
            "query { jobs { id }",
            "query { jobs }",
            "mutation { a { b } }",
            "{ a { b } } }",
            "{ a(b: ) { c } }",
            "{ a { ...b } }",
        ] {
            assert!(read(wrong, Value::Null).is_err(), "{wrong}");
        }
        for invalid in [
            "{ jobs { id } people { id } }",
            "query($a: Int) { jobs { id } }",
            "query { jobs(a: $a) { id } }",
            "query($a: Int!) { jobs(a: $a) { id } }",
        ] {
            assert_eq!(read(invalid, Value::Null), Err(NOT_VALID), "{invalid}");
        }
    }

    #[test]
    fn what_is_selected_is_told_and_must_be_there() {
        let body = serde_json::json!({"nodes": [{"id": 1, "job": {"id": 2}, "mark": 3}], "pageInfo": {"endCursor": null, "more": true}});
        let example = serde_json::json!({"id": 1, "job": {"id": 2, "name": "x"}});
        let told = |selected: &str| {
            let request = read(&format!("{{ list: jobs {{ {selected} }} }}"), Value::Null).unwrap();
            request.answer(&body, Some("nodes"), &[&example]).map(|text| serde_json::from_str::<Value>(&text).unwrap())
        };
        let all = told("nodes { id job { name } } page: pageInfo { endCursor }").unwrap();
        assert_eq!(
            all,
            serde_json::json!({"data": {"list": {"nodes": [{"id": 1, "job": {"id": 2}, "mark": 3}], "page": {"endCursor": null}}}})
        );
        for wrong in
            ["nodes { key }", "nodes { job }", "nodes { id { a } }", "nodes", "pageInfo", "pageInfo { next }", "total"]
        {
            assert_eq!(told(wrong), Err(NOT_VALID), "{wrong}");
        }
        let one = read("{ job(id: 7) { id } }", Value::Null).unwrap();
        assert_eq!(one.answer(&Value::Null, None, &[]).unwrap(), "{\"data\":{\"job\":null}}");
    }
}
