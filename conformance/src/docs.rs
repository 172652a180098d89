//! The reference page of a vendor, made of its folder: what is received and read, what becomes of it, and what is known
//! not to work.
//!
//! Everything on it stands in the folder's files; nothing is written by hand, so that it cannot say something else.

use hirewire_yaml::{Node, Page, Problems, Value, code};

use crate::check::files;
use crate::folder::Folder;
use crate::test::test;

/// Words that mark a sentence of a README as something that does not work or is not sure.
const LIMITS: [&str; 5] = ["UNVERIFIED", "UNMAPPED", "**Not polled", "kept raw", "not supported"];

/// The page, as Markdown.
///
/// # Errors
/// All mistakes of manifest and mapping.
pub fn docs(folder: &Folder) -> Result<String, Problems> {
    folder.rules(None)?;
    let mut problems = Problems::new();
    let manifest = folder.yaml("manifest.yaml", "", &mut problems);
    let mapping = folder.yaml("mapping.yaml", "", &mut problems);
    let readme = folder.text("README.md", "", &mut problems);
    let read = manifest.zip(mapping).zip(readme);
    let ((manifest, mapping), readme) = problems.into_result(read)?;
    let mut page = Page::default();
    let name = folder.name();
    page.line(&format!("# {name}"));
    page.line("");
    page.line(&format!(
        "Made by `hirewire vendor docs` of `vendors/{name}/`; what is odd about the vendor, with sources: \
         [README.md](../../../vendors/{name}/README.md)."
    ));
    let lines = |file| std::fs::read_to_string(folder.path().join(file)).unwrap_or_default().lines().count();
    let (of_manifest, of_mapping) = (lines("manifest.yaml"), lines("mapping.yaml"));
    page.line("");
    page.line(&format!(
        "{} lines of YAML: {of_manifest} of the manifest, {of_mapping} of the mapping.",
        of_manifest + of_mapping
    ));
    lifted(&mut page, "API", manifest.peek("lifecycle"), &[]);
    lifted(&mut page, "Webhooks", manifest.peek("webhook"), &["subjects", "fetch"]);
    events(&mut page, manifest.peek("webhook"), &mapping);
    if let Some(queue) = manifest.peek("queue") {
        lifted(&mut page, "Queue", Some(queue), &["subjects", "fetch"]);
        events(&mut page, Some(queue), &mapping);
    }
    lifted(&mut page, "Polling", manifest.peek("api"), &["streams"]);
    streams(&mut page, &manifest, &mapping);
    rules(&mut page, &mapping);
    coverage(&mut page, folder)?;
    limits(&mut page, folder, &readme);
    Ok(page.into_text())
}

/// The keys of a part of the manifest as they stand there, but those that have a table of their own.
fn lifted(page: &mut Page, title: &str, part: Option<&Node>, but: &[&str]) {
    page.head(title);
    let Some(part) = part else { return page.line("None.") };
    let keys = part.entries().filter(|(key, _)| !but.contains(key));
    page.table(&["key", "value"], keys.map(|(key, value)| vec![code(key), code(&value.flow())]).collect());
}

/// `way` is how they come.
fn events(page: &mut Page, way: Option<&Node>, mapping: &Node) {
    let Some(way) = way else { return };
    let fetch = |event: &str| way.peek("fetch").and_then(|fetch| fetch.peek(event));
    let rows = way.peek("subjects").into_iter().flat_map(Node::entries).map(|(event, subject)| {
        let fetched = fetch(event).map(|lists| code(&lists.flow())).unwrap_or_default();
        vec![code(event), code(&subject.flow()), fetched, becomes(mapping, "events", event)]
    });
    page.line("");
    page.table(&["event", "is about", "read at once", "becomes"], rows.collect());
}

fn streams(page: &mut Page, manifest: &Node, mapping: &Node) {
    let Some(api) = manifest.peek("api") else { return };
    let shared = if api.peek("sync").is_some() { "`api.sync`" } else { "`api.window`" };
    let rows = api.peek("streams").into_iter().flat_map(Node::entries).map(|(name, list)| {
        let at = list.peek("path").map_or_else(|| name.to_owned(), Node::flow);
        let whole = list.peek("whole").and_then(Node::scalar) == Some("true");
        let own = ["per", "window", "sync"].into_iter().find_map(|key| Some((key, list.peek(key)?)));
        let changes = match own {
            Some((key, value)) => code(&format!("{key}: {}", value.flow())),
            None if whole => "read whole each time".to_owned(),
            None => shared.to_owned(),
        };
        let more =
            list.entries().filter(|(key, _)| !["path", "whole", "per", "window", "sync", "subject"].contains(key));
        let more: Vec<String> = more.map(|(key, value)| code(&format!("{key}: {}", value.flow()))).collect();
        vec![code(name), code(&at), changes, more.join(", "), becomes(mapping, "streams", name)]
    });
    page.line("");
    page.table(&["list", "path", "what changed", "also", "becomes"], rows.collect());
}

fn rules(page: &mut Page, mapping: &Node) {
    page.head("Mapping");
    page.line("One table for each rule: a field of the record, where it comes from, and what is made of it.");
    for (name, rule) in mapping.peek("rules").into_iter().flat_map(Node::entries) {
        let record = rule.peek("record").map(Node::flow).unwrap_or_default();
        let started = ["events", "streams"].into_iter().filter_map(|kind| Some((kind, rule.peek(kind)?)));
        let started: Vec<String> = started.map(|(kind, list)| format!("{kind} {}", code(&list.flow()))).collect();
        page.line(&format!("\n### {name}: {record}"));
        page.line(&format!("From {}.", started.join(" and ")));
        page.line("");
        let parts = ["root", "when", "id", "owner", "version", "deleted_at", "element"];
        let envelope = parts.into_iter().filter_map(|key| Some((key, rule.peek(key)?)));
        let fields = rule.peek("fields").into_iter().flat_map(Node::entries);
        let rows = envelope.chain(fields).map(|(key, value)| vec![code(key), code(&value.flow())]);
        page.table(&["field", "from"], rows.collect());
    }
    page.line("\n### Tables");
    page.line("Words of the vendor, and what they become. A word that no line covers is UNMAPPED.");
    page.line("");
    let tables = mapping.peek("tables").into_iter().flat_map(Node::entries);
    let rows = tables.map(|(name, table)| vec![code(name), code(&table.flow())]);
    page.table(&["table", "words"], rows.collect());
}

fn coverage(page: &mut Page, folder: &Folder) -> Result<(), Problems> {
    page.head("Coverage");
    page.line(
        "Leaves of each fixture: read by a rule, ignored with a reason, or carried in `custom_fields`. None is lost.",
    );
    page.line("");
    let outcome = test(folder, false)?;
    let rows = outcome.coverage.iter().map(|(fixture, leaves)| {
        let numbers = [leaves.read, leaves.ignored, leaves.carried].map(|number| number.to_string());
        [vec![code(fixture)], numbers.to_vec()].concat()
    });
    page.table(&["fixture", "read", "ignored", "carried"], rows.collect());
    Ok(())
}

fn limits(page: &mut Page, folder: &Folder, readme: &str) {
    page.head("Known limits");
    page.line("What `hirewire vendor check` warns of, and what the README says is not there or not sure.");
    page.line("");
    for warning in files(folder).warnings.iter() {
        page.line(&format!("- {}", warning.what));
    }
    for item in items(readme).iter().filter(|item| LIMITS.iter().any(|word| item.contains(word))) {
        page.line(&format!("- {item}"));
    }
}

/// The records that rules make of an event or stream.
fn becomes(mapping: &Node, kind: &str, name: &str) -> String {
    let list = |node: &Node| match &node.value {
        Value::List(items) => items.clone(),
        _ => Vec::new(),
    };
    let lists = mapping.peek("lists");
    let names = |node: &Node| -> Vec<String> {
        let items = list(node);
        let of = |item: &Node| match item.scalar().and_then(|text| text.strip_prefix('$')) {
            Some(named) => lists.and_then(|lists| lists.peek(named)).map(&list).unwrap_or_default(),
            None => vec![item.clone()],
        };
        items.iter().flat_map(of).filter_map(|item| item.scalar().map(str::to_owned)).collect()
    };
    let mut records: Vec<String> = Vec::new();
    for (_, rule) in mapping.peek("rules").into_iter().flat_map(Node::entries) {
        let started = rule.peek(kind).is_some_and(|node| names(node).iter().any(|known| known == name));
        let record = rule.peek("record").map(Node::flow).unwrap_or_default();
        if started && !records.contains(&record) {
            records.push(record);
        }
    }
    if records.is_empty() { "kept raw".to_owned() } else { records.join(", ") }
}

/// The items of a page's lists, each in one line.
fn items(text: &str) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    let mut open = false;
    for line in text.lines() {
        if let Some(first) = line.strip_prefix("- ") {
            found.push(first.to_owned());
            open = true;
        } else if let (true, Some(rest), Some(item)) = (open, line.strip_prefix("  "), found.last_mut()) {
            item.push(' ');
            item.push_str(rest.trim());
        } else {
            open = false;
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_item_ends_with_its_list() {
        let text = "# x\n- one\n  goes on\n- two\n\nno item\n  neither\n";
        assert_eq!(items(text), ["one goes on", "two"]);
    }

    #[test]
    fn what_a_name_becomes_is_found_through_lists() {
        let mapping =
            "lists: {all: [a, b]}\nrules:\n  x: {record: Job, events: [$all, c]}\n  y: {record: Offer, events: [a]}\n";
        let mapping = hirewire_yaml::parse("m.yaml", mapping).unwrap();
        let of = |name| becomes(&mapping, "events", name);
        assert_eq!(
            (of("a"), of("b"), of("c"), of("d")),
            ("Job, Offer".into(), "Job".into(), "Job".into(), "kept raw".into())
        );
    }
}
