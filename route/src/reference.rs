//! The reference pages of systems: what each takes, what it must be told, which requests or rows it makes, what becomes of its
//! answers, and what is not sure.
//!
//! Systems' folders in, Markdown out. Everything on a page stands in the folder's files; nothing is written by hand, so that
//! it cannot say something else.

use std::path::{Path, PathBuf};

use hirewire_yaml::{self as yaml, Node, Problems, code};
use serde_json::Value;

use crate::settings::{KindName, misfit};
use crate::system::{Files, System, Systems, Takes};

/// Marks a paragraph of a README as something that is not sure.
const UNSURE: &str = "UNVERIFIED";
/// Keys of a request that its steps have too: what is sent, and what is awaited.
const OF_STEPS: [&str; 7] = ["method", "path", "query", "headers", "format", "creates", "answers"];

/// A page and the name of its file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    pub file: String,
    pub text: String,
}

/// A page for each system of a folder like `route/sinks/`, and `README.md`, which leads to them; `None`: of those that are
/// carried in the binary.
///
/// # Errors
/// All mistakes of all files.
pub fn pages(folder: Option<&Path>) -> Result<Vec<Page>, Problems> {
    let files = match folder {
        Some(folder) => Files::of_folder(folder, &["yaml", "sql", "md", "json"])?,
        None => Files::carried(),
    };
    let systems = Systems::read(&files)?;
    let mut all = vec![index(&systems, &files)?];
    for system in systems.iter() {
        let mut page = yaml::Page::default();
        body(&mut page, system, &files)?;
        all.push(Page { file: format!("{}.md", system.name), text: page.into_text() });
    }
    Ok(all)
}

/// The kinds of sinks that a system can be behind.
fn kinds(system: &System) -> Vec<&'static str> {
    let fits = |kind: &KindName| misfit(&system.takes, *kind).is_none();
    KindName::ALL.into_iter().filter(fits).map(KindName::key).collect()
}

fn index(systems: &Systems, files: &Files) -> Result<Page, Problems> {
    let mut page = yaml::Page::default();
    page.line("# Systems that receive");
    page.line("");
    page.line(
        "Made by `hirewire route docs` of `route/sinks/`. What a sink of each kind is told beside its system's settings: \
         [configuration.md](../../configuration.md#sinks); how a system is written: [route/sinks](../../../route/sinks/README.md).",
    );
    page.line("");
    let mut rows = Vec::new();
    for system in systems.iter() {
        let settings: Vec<String> = system.settings.iter().map(|setting| code(&setting.name)).collect();
        let link = format!("[{0}]({0}.md)", system.name);
        rows.push(vec![link, summary(&root(system, files)?), codes(&kinds(system)), settings.join(", ")]);
    }
    page.table(&["system", "what it does", "kinds of sinks", "settings"], rows);
    page.head("Kinds of sinks");
    let rows = KindName::ALL.into_iter().map(|kind| {
        let of_kind = systems.iter().filter(|system| misfit(&system.takes, kind).is_none());
        let links: Vec<String> = of_kind.map(|system| format!("[{0}]({0}.md)", system.name)).collect();
        vec![code(kind.key()), links.join(", ")]
    });
    page.table(&["kind", "systems"], rows.collect());
    Ok(Page { file: "README.md".to_owned(), text: page.into_text() })
}

/// The folder of a system among all files.
fn folder(system: &System, files: &Files) -> PathBuf {
    let of_system = |path: &&PathBuf| path.ends_with("sink.yaml") && path.starts_with(&system.name);
    let found = files.texts.iter().map(|(path, _)| path).find(of_system).and_then(|path| path.parent());
    found.map_or_else(|| PathBuf::from(&system.name), Path::to_path_buf)
}

fn root(system: &System, files: &Files) -> Result<Node, Problems> {
    let path = folder(system, files).join("sink.yaml");
    let text = files.texts.iter().find(|(found, _)| *found == path).map(|(_, text)| text.as_str());
    files.parse(&path, text.unwrap_or_default())
}

fn summary(root: &Node) -> String {
    root.peek("summary").map(Node::flow).unwrap_or_default()
}

fn body(page: &mut yaml::Page, system: &System, files: &Files) -> Result<(), Problems> {
    let (name, root) = (&system.name, root(system, files)?);
    page.line(&format!("# {name}"));
    page.line("");
    page.line(&format!(
        "Made by `hirewire route docs` of `route/sinks/{name}/`; how it is set up and what is odd about it, with sources: \
         [README.md](../../../route/sinks/{name}/README.md)."
    ));
    page.line("");
    page.line(&summary(&root));
    page.line("");
    let entities: Vec<&str> = system.entities().iter().map(|entity| entity.kebab()).collect();
    let rows = [("takes", codes(&entities)), ("by sinks of the kind", codes(&kinds(system)))];
    page.table(&["", ""], rows.into_iter().map(|(what, which)| vec![what.to_owned(), which]).collect());
    settings(page, &root);
    match &system.takes {
        Takes::WhatActs(_) => requests(page, &root),
        Takes::Everything(_) => tables(page, &root),
        Takes::Copies(_) => {
            page.head("Records");
            page.line("Handed on as they are; a route names their entity.");
        }
    }
    answers(page, "\n## Answers\n\nThe first line that holds; else the status decides.\n", root.peek("answers"));
    if let Some(batch) = root.peek("batch") {
        page.head("Batch");
        page.table(&["key", "value"], batch.entries().map(|(key, value)| vec![code(key), inline(value)]).collect());
    }
    let folder = folder(system, files);
    examples(page, &folder, files);
    answered(page, &folder, files);
    limits(page, &folder, files);
    Ok(())
}

fn settings(page: &mut yaml::Page, root: &Node) {
    page.head("Settings");
    let Some(settings) = root.peek("settings") else { return page.line("None.") };
    page.line("`sinks.<name>.settings`; each must be there.");
    page.line("");
    let rows = settings.entries().map(|(name, value)| match value.peek("secret") {
        Some(what) => vec![code(name), "secret".to_owned(), what.flow()],
        None => vec![code(name), "text".to_owned(), value.flow()],
    });
    page.table(&["setting", "type", "what"], rows.collect());
}

fn requests(page: &mut yaml::Page, root: &Node) {
    page.head("Requests");
    page.line("The first whose condition holds is made.");
    for (name, request) in root.peek("requests").into_iter().flat_map(Node::entries) {
        let entity = request.peek("entity").map(Node::flow).unwrap_or_default();
        page.line(&format!("\n### {name}: {entity}\n"));
        let own = request.entries().filter(|(key, _)| !OF_STEPS.contains(key));
        let own = own.filter(|(key, _)| !["entity", "body", "steps"].contains(key));
        let rows: Vec<Vec<String>> = own.map(|(key, value)| vec![code(key), inline(value)]).collect();
        if !rows.is_empty() {
            page.table(&["key", "value"], rows);
            page.line("");
        }
        match request.peek("steps") {
            None => exchange(page, request),
            Some(steps) => {
                for (at, (name, step)) in steps.entries().enumerate() {
                    page.line(&format!("{}Step **{name}**:\n", if at == 0 { "" } else { "\n" }));
                    exchange(page, step);
                }
            }
        }
    }
}

/// What is sent in one exchange.
fn exchange(page: &mut yaml::Page, step: &Node) {
    let text = |key: &str| step.peek(key).map(Node::flow);
    let (method, path) = (text("method").unwrap_or_else(|| "POST".to_owned()), text("path").unwrap_or_default());
    let format = text("format").unwrap_or_else(|| "json".to_owned());
    page.line(&format!("{}, as `{format}`.\n", code(format!("{method} {path}").trim_end())));
    let more = ["query", "headers", "creates"].into_iter().filter_map(|key| Some((key, step.peek(key)?)));
    let mut rows: Vec<Vec<String>> = more.map(|(key, value)| vec![format!("*{key}*"), inline(value)]).collect();
    if let Some(body) = step.peek("body") {
        fields("", body, &mut rows);
    }
    page.table(&["field", "from"], rows);
    answers(page, "\nAnswers to it, before those to all:\n", step.peek("answers"));
}

fn answers(page: &mut yaml::Page, title: &str, answers: Option<&Node>) {
    let Some(answers) = answers else { return };
    page.line(title);
    let cell = |rule: &Node, key: &str| rule.peek(key).map(Node::flow).unwrap_or_default();
    let rules = answers.list(&mut Problems::new()).unwrap_or_default();
    let rows = rules.iter().map(|rule| vec![code(&cell(rule, "when")), cell(rule, "means"), cell(rule, "says")]);
    page.table(&["when", "means", "says"], rows.collect());
}

fn tables(page: &mut yaml::Page, root: &Node) {
    page.head("Tables");
    page.line("In a database a row replaces an older one of the same key; in Parquet it stands beside it.");
    for (entity, table) in root.peek("records").into_iter().flat_map(Node::entries) {
        let text = |key: &str| table.peek(key).map(Node::flow).unwrap_or_default();
        page.line(&format!("\n### {}: {entity}\n\nBy `{}`.\n", text("table"), text("key")));
        let mut rows = Vec::new();
        if let Some(row) = table.peek("row") {
            fields("", row, &mut rows);
        }
        page.table(&["column", "from"], rows);
    }
}

/// What the fixtures make, by their golden files.
fn examples(page: &mut yaml::Page, folder: &Path, files: &Files) {
    let rows: Vec<Vec<String>> = cases(&folder.join("golden"), files)
        .map(|(case, golden)| {
            let steps = golden.get("steps").and_then(Value::as_array).cloned();
            let made: Vec<String> = steps.unwrap_or_else(|| vec![golden.clone()]).iter().filter_map(made).collect();
            let why = golden.get("not_sent").and_then(Value::as_str).map(|why| format!("nothing: {why}"));
            vec![code(case), why.unwrap_or_else(|| made.join(", "))]
        })
        .collect();
    if !rows.is_empty() {
        page.head("Examples");
        page.line("What is made of each case of `fixtures/`; `golden/` has it whole.");
        page.line("");
        page.table(&["case", "what is made"], rows);
    }
}

/// What answers become, by their cases.
fn answered(page: &mut yaml::Page, folder: &Path, files: &Files) {
    let rows: Vec<Vec<String>> = cases(&folder.join("answers"), files)
        .map(|(case, answer)| {
            let text = |pointer: &str| answer.pointer(pointer).map(shown).unwrap_or_default();
            let to = [text("/request"), text("/step")].into_iter().filter(|part| !part.is_empty());
            vec![code(case), to.collect::<Vec<_>>().join(", "), text("/answer/status"), text("/becomes/verdict")]
        })
        .collect();
    if !rows.is_empty() {
        page.head("What answers become");
        page.line("Cases of `answers/`; codes are those of [errors.md](../../errors.md).");
        page.line("");
        page.table(&["case", "to the request", "status", "becomes"], rows);
    }
}

fn limits(page: &mut yaml::Page, folder: &Path, files: &Files) {
    let readme = files.texts.iter().find(|(path, _)| *path == folder.join("README.md"));
    let paragraphs = readme.into_iter().flat_map(|(_, text)| text.split("\n\n"));
    let unsure: Vec<&str> = paragraphs.filter(|paragraph| paragraph.contains(UNSURE)).collect();
    if !unsure.is_empty() {
        page.head("Not sure");
        page.line("What the README says of it.");
        for paragraph in unsure {
            page.line("");
            // Links stand in another folder.
            page.line(&unlinked(&paragraph.split_whitespace().collect::<Vec<_>>().join(" ")));
        }
    }
}

/// `[text](place)` as its text.
fn unlinked(text: &str) -> String {
    let mut pieces = text.split("](");
    let mut out = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        match (out.rfind('['), piece.split_once(')')) {
            (Some(at), Some((_, rest))) => {
                out.remove(at);
                out.push_str(rest);
            }
            _ => {
                out.push_str("](");
                out.push_str(piece);
            }
        }
    }
    out
}

/// The fields of a body or row, those inside of others by their whole name.
fn fields(name: &str, node: &Node, rows: &mut Vec<Vec<String>>) {
    let Some(inside) = node.peek("fields") else {
        rows.push(vec![if name.is_empty() { "*all of it*".to_owned() } else { code(name) }, inline(node)]);
        return;
    };
    let (from, each) = (node.peek("from"), node.peek("each"));
    let shown = |what: &str, path: &Node| format!("{what} {}, with paths from there:", code(&path.flow()));
    let whence = from.map(|path| shown("of", path)).or_else(|| each.map(|path| shown("one for each of", path)));
    if let Some(whence) = whence {
        rows.push(vec![if name.is_empty() { "*all of it*".to_owned() } else { code(name) }, whence]);
    }
    for (field, value) in inside.entries() {
        let list = if each.is_some() { "[]" } else { "" };
        let dot = if name.is_empty() { "" } else { "." };
        fields(&format!("{name}{list}{dot}{field}"), value, rows);
    }
}

/// The cases of a folder, by name, with what they hold.
fn cases<'a>(folder: &'a Path, files: &'a Files) -> impl Iterator<Item = (&'a str, Value)> {
    let inside = files.texts.iter().filter(move |(path, _)| path.parent() == Some(folder));
    inside.filter_map(|(path, text)| Some((path.file_stem()?.to_str()?, serde_json::from_str(text).ok()?)))
}

/// Method and path of a golden request.
fn made(request: &Value) -> Option<String> {
    let url = request.get("url")?.as_str()?;
    let path = url.split_once("://").and_then(|(_, rest)| rest.find('/').and_then(|at| rest.get(at..))).unwrap_or("/");
    Some(code(&format!("{} {path}", request.get("method")?.as_str()?)))
}

fn shown(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn codes(texts: &[&str]) -> String {
    texts.iter().map(|text| code(text)).collect::<Vec<_>>().join(", ")
}

fn inline(node: &Node) -> String {
    code(&node.flow())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_inside_of_others_have_their_whole_name() {
        let body = "{fields: {a: x, b: {fields: {c: y}}, d: {each: l, fields: {e: z}}, f: {from: o, fields: {g: {const: 1}}}}}";
        let mut rows = Vec::new();
        fields("", &hirewire_yaml::parse("b.yaml", body).unwrap(), &mut rows);
        let rows: Vec<String> = rows.iter().map(|row| row.join(" ")).collect();
        let expected = [
            "`a` `x`",
            "`b.c` `y`",
            "`d` one for each of `l`, with paths from there:",
            "`d[].e` `z`",
            "`f` of `o`, with paths from there:",
            "`f.g` `{const: 1}`",
        ];
        assert_eq!(rows, expected);
    }

    #[test]
    fn links_become_their_text() {
        assert_eq!(unlinked("as [vendors/x](../x/README.md) says, [1] (2)"), "as vendors/x says, [1] (2)");
    }

    #[test]
    fn the_reference_page_of_every_system_is_as_its_folder_is() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let pages = pages(Some(&root.join("sinks"))).unwrap_or_else(|problems| panic!("{problems}"));
        let folder = root.join("../docs/reference/systems");
        for page in &pages {
            let path = folder.join(&page.file);
            let written = std::fs::read_to_string(&path).unwrap_or_default();
            let shown = path.display();
            assert!(written == page.text, "{shown} is old: run `hirewire route docs --out docs/reference/systems`");
        }
        let there = std::fs::read_dir(&folder).unwrap().count();
        assert_eq!(there, pages.len(), "a page of no system");
        assert_eq!(super::pages(None).unwrap(), pages, "those of the binary are the same");
    }
}
