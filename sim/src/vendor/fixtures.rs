//! Example rows of each list, from the fixtures of the vendor's folder.

use std::collections::BTreeMap;
use std::path::Path;

use hirewire_yaml::{Problem, Problems};
use serde_json::Value;

use super::body::{at, scalar};
use super::event::event_of;
use super::xml;
use crate::rules::{Rules, Stream};

/// Rows by the name of their list; none of one that nobody asks for.
pub type Examples = BTreeMap<String, Vec<Value>>;

/// Reads `poll__<list>.json` and `poll__<list>__<case>.json` (or `.xml`) of `folder`, whose rows stand where `rules` say.
///
/// # Errors
/// Rows without an id or a place that `rules` name, files that are no such answer. `file` is the name of the rules in messages.
pub fn examples(rules: &Rules, file: &str, folder: &Path) -> Result<Examples, Problems> {
    let mut problems = Problems::new();
    let mut found = Examples::new();
    for stream in &rules.streams {
        let mut add = |file: String, line, what: &str, hint: String| {
            problems.push(Problem { file, line, what: what.to_owned(), hint });
        };
        let mut rows = Vec::new();
        for path in files(folder, &stream.name) {
            match rows_of(rules, stream, &path) {
                Some(more) => rows.extend(more),
                None => add(path.display().to_string(), 0, "holds no list of rows", format!("where {file} says")),
            }
        }
        if let Some(example) = &stream.example {
            match serde_json::from_str(example) {
                Ok(Value::Array(more)) => rows.extend(more),
                Ok(row) => rows.push(row),
                Err(error) => add(file.to_owned(), stream.line, "the example is no JSON", error.to_string()),
            }
        }
        let unnamed = stream.id.as_ref().filter(|id| !rows.iter().all(|row| at(row, id).and_then(scalar).is_some()));
        if let Some(id) = unnamed {
            let hint = "`id` names the field of a row's id; `nameless: true` if they have none".to_owned();
            add(file.to_owned(), stream.line, &format!("rows have no `{id}`"), hint);
        } else if let Some(wrong) = missing_place(stream, &rows) {
            let hint = "name the field as the fixtures have it".to_owned();
            add(file.to_owned(), stream.line, &format!("no row has `{wrong}`"), hint);
        }
        found.insert(stream.name.clone(), rows);
    }
    problems.into_result(Some(found))
}

/// A place that the rules name and no row has.
fn missing_place<'s>(stream: &'s Stream, rows: &[Value]) -> Option<&'s str> {
    let named = stream.stage.iter().chain(&stream.status);
    let absent = |path: &&String| !rows.iter().any(|row| at(row, path).is_some());
    named.into_iter().find(absent).filter(|_| !rows.is_empty()).map(String::as_str)
}

fn files(folder: &Path, stream: &str) -> Vec<std::path::PathBuf> {
    let (exact, case) = (format!("poll__{stream}"), format!("poll__{stream}__"));
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let mut found: Vec<_> = entries
        .filter(|entry| {
            let name = entry.file_name().to_string_lossy().into_owned();
            [".json", ".xml"]
                .iter()
                .any(|end| name == format!("{exact}{end}") || (name.starts_with(&case) && name.ends_with(end)))
        })
        .map(|entry| entry.path())
        .collect();
    found.sort();
    found
}

/// A row that is given by its id stands alone, as the answer does, or in a list like the others.
fn rows_of(rules: &Rules, stream: &Stream, path: &Path) -> Option<Vec<Value>> {
    let answer = std::fs::read(path).ok()?;
    if stream.operation.is_some() {
        return xml::rows(&answer, stream.place(rules).as_deref()?);
    }
    let mut answer: Value = serde_json::from_slice(&answer).ok()?;
    if rules.graphql.is_some() {
        answer = answer.get("data")?.as_object()?.values().next()?.clone();
    }
    if stream.single || !stream.listed {
        let place = if stream.single { &stream.rows } else { &stream.by_id.as_ref()?.row };
        return Some(vec![place.as_ref().and_then(|place| at(&answer, place)).unwrap_or(&answer).clone()]);
    }
    let rows = stream.place(rules).as_ref().map_or(Some(&answer), |place| at(&answer, place))?;
    match rows {
        Value::Object(members) if stream.keyed => Some(members.values().cloned().collect()),
        other => other.as_array().cloned(),
    }
}

/// A body of each event that has one: of its first fixture, else the example of the rules.
#[must_use]
pub fn bodies(rules: &Rules, folder: &Path) -> BTreeMap<String, Value> {
    let examples = rules
        .events()
        .filter_map(|event| Some((event.name.clone(), serde_json::from_str(event.example.as_ref()?).ok()?)));
    let mut bodies: BTreeMap<String, Value> = examples.collect();
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let mut names: Vec<String> = entries.filter_map(|entry| entry.file_name().into_string().ok()).collect();
    names.sort();
    for name in names.iter().rev() {
        let Some(case) = name.strip_prefix("webhook__").and_then(|name| name.strip_suffix(".json")) else { continue };
        let body = std::fs::read(folder.join(name)).ok().and_then(|body| serde_json::from_slice(&body).ok());
        let Some(body) = body else { continue };
        let case = case.split("__").next().unwrap_or(case);
        if let Some(event) = event_of(rules, case, &body) {
            bodies.insert(event, body);
        }
    }
    bodies
}
