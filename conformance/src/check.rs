//! `check`: do the files of a folder fit together?
//!
//! Manifest and mapping are compiled as the services compile them. Beyond that: what one file names, the other knows;
//! each event and stream has a fixture; each path of the manifest is in one ([`paths`]); each fixture has a source; the
//! vendor's API is answered yet ([`lifecycle`]). All mistakes at once.

use std::collections::BTreeSet;

use hirewire_ingest::manifest::{Manifest, Signature, Signed};
use hirewire_yaml::{Node, Problems, Value, did_you_mean};
use jiff::civil::Date;

use crate::fixture::Fixture;
use crate::folder::Folder;
use crate::lifecycle;
use crate::paths;
use crate::payloads::Payloads;
use crate::rules::Rules;
use crate::vectors;

/// What was found.
#[derive(Debug, Default)]
pub struct Checked {
    /// What must be mended.
    pub mistakes: Problems,
    /// What works, and somebody should know.
    pub warnings: Problems,
    /// What the folder holds, in a few words; empty when manifest or mapping cannot be read.
    pub summary: String,
}

/// Checks a folder. `today` decides whether the vendor's API is answered yet, and nothing else: a caller who must find the
/// same tomorrow names a day.
#[must_use]
pub fn check(folder: &Folder, today: Date) -> Checked {
    let mut checked = files(folder);
    // Its mistakes were told.
    if let Some(manifest) = folder.manifest(&mut Problems::new()) {
        lifecycle::hold(folder, &manifest, today, &mut checked.mistakes, &mut checked.warnings);
    }
    checked
}

/// What is so on any day.
pub(crate) fn files(folder: &Folder) -> Checked {
    let mut checked = Checked::default();
    let mistakes = &mut checked.mistakes;
    let manifest = folder.manifest(mistakes);
    let (mapping, plan) = folder.plan(None, mistakes);
    if plan.is_some() && folder.path().join("overlay.example.yaml").is_file() {
        folder.plan(Some("overlay.example.yaml"), mistakes);
    }
    vendor_is_named(folder, "manifest.yaml", "vendor", mistakes);
    vendor_is_named(folder, "mapping.yaml", "source", mistakes);
    let fixtures = folder.fixtures("fixtures", mistakes);
    let invalid = folder.fixtures("fixtures/invalid", mistakes);
    documents(folder, &fixtures, &invalid, mistakes);
    let vectors = manifest.as_deref().map_or(0, |manifest| signatures(folder, manifest, mistakes));
    if manifest.as_ref().is_some_and(|manifest| manifest.lifecycle.is_none()) {
        let hint =
            "add `lifecycle: {version: v1, source: URL}`, with `sunset: 2027-03-31` if the vendor announced a day";
        let what = "nothing says which version of the vendor's API this is, and how long it will be answered";
        folder.problem("manifest.yaml", 0, what, hint, &mut checked.warnings);
    }
    if let Some(Signature::Hmac(hmac)) = manifest.as_ref().and_then(|m| m.webhook.as_ref()).map(|w| &w.signature)
        && let Signed::Fields(_) = hmac.signed
    {
        let what = "the vendor's signature does not cover the whole body: who saw one delivery can write another";
        let hint = "say in README.md how a customer is protected, and give `sent_at` if a time is signed";
        folder.problem("manifest.yaml", 0, what, hint, &mut checked.warnings);
    }
    if let (Some(manifest), Some(plan), Some(mapping)) = (manifest, plan, mapping) {
        let rules = Rules { manifest, plan };
        let (events, streams) = (events(&rules.manifest), streams(&rules.manifest));
        checked.summary = format!(
            "{} events, {} streams, {} fixtures, {} invalid ones, {vectors} signature vectors",
            events.len(),
            streams.len(),
            fixtures.len(),
            invalid.len()
        );
        let told = Told { folder, mapping: &mapping, rules: &rules };
        let thin_event = |event: &str| rules.manifest.events().any(|events| events.is_thin(event));
        let thin_stream = |stream: &str| rules.manifest.api.as_ref().is_some_and(|api| api.is_thin(stream));
        let of_events = if rules.manifest.webhook.is_some() { "webhook.subjects" } else { "queue.subjects" };
        told.names("event", of_events, rules.plan.events(), &events, &thin_event, &mut checked);
        told.names("stream", "api.streams", rules.plan.streams(), &streams, &thin_stream, &mut checked);
        // Its mistakes would have been told.
        if let Some(node) = folder.yaml("manifest.yaml", "", &mut Problems::new()) {
            let payloads = Payloads::of(&rules, &fixtures);
            told.covered(&payloads, &mut checked.mistakes);
            paths::hold(&node, &rules, &payloads, &mut checked.mistakes, &mut checked.warnings);
        }
    }
    checked
}

/// Both files name the vendor by its folder: topics, headers and the configuration do.
fn vendor_is_named(folder: &Folder, file: &str, key: &str, mistakes: &mut Problems) {
    // What is wrong with the file itself was told.
    let Some(node) = folder.yaml(file, "", &mut Problems::new()) else { return };
    let name = folder.name();
    match node.peek(key) {
        Some(value) if value.scalar() == Some(&name) => {}
        Some(value) => {
            let found = value.scalar().unwrap_or_default();
            mistakes.add(value, format!("`{key}` is \"{found}\" in the folder {name}"), "name it as its folder");
        }
        // A manifest without it was refused.
        None if key == "vendor" => {}
        None => mistakes.add(&node, format!("`{key}` is missing"), format!("add `{key}: {name}`")),
    }
}

/// Files that people read, and fixtures.
fn documents(folder: &Folder, fixtures: &[Fixture], invalid: &[Fixture], mistakes: &mut Problems) {
    let readme = folder.text("README.md", "oddities of the vendor, each with its source", mistakes);
    if readme.is_some_and(|text| text.trim().is_empty()) {
        folder.problem(
            "README.md",
            0,
            "the file is empty",
            "write what is odd about the vendor, with sources",
            mistakes,
        );
    }
    if fixtures.is_empty() {
        folder.problem(
            "fixtures",
            0,
            "no fixture",
            "add documented payloads: webhook__<case>.json, poll__<stream>.json",
            mistakes,
        );
    }
    if invalid.is_empty() {
        let hint = "add a payload that must become a dead letter: webhook__<case>__REQUIRED_MISSING.json";
        folder.problem("fixtures/invalid", 0, "no invalid fixture", hint, mistakes);
    }
    let Some(sources) = folder.text("fixtures/SOURCES.md", "where each fixture comes from", mistakes) else { return };
    // Names stand in backticks.
    let named: BTreeSet<&str> = sources.split('`').skip(1).step_by(2).collect();
    let there: BTreeSet<&str> = fixtures.iter().map(|fixture| fixture.name.as_str()).collect();
    for name in there.difference(&named) {
        let hint = "add a row that names the file and where it comes from";
        folder.problem("fixtures/SOURCES.md", 0, format!("no source for `{name}`"), hint, mistakes);
    }
    for name in named
        .difference(&there)
        .filter(|name| (name.ends_with(".json") || name.ends_with(".xml")) && !name.contains(['/', ':', '*']))
    {
        let what = format!("`{name}` is named, and is not there");
        folder.problem("fixtures/SOURCES.md", 0, what, "remove the row, or add the fixture", mistakes);
    }
}

/// Vectors, if the vendor signs. Gives their number.
fn signatures(folder: &Folder, manifest: &Manifest, mistakes: &mut Problems) -> usize {
    let signed = manifest.webhook.as_ref().is_some_and(|webhook| !matches!(webhook.signature, Signature::None));
    if !signed {
        return 0;
    }
    let why = "deliveries, and whether their signature proves them";
    folder.yaml("signature_vectors.yaml", why, mistakes).map_or(0, |node| vectors::read(&node, mistakes).len())
}

fn events(manifest: &Manifest) -> Vec<&str> {
    manifest.events().flat_map(|events| events.subjects.keys().map(String::as_str)).collect()
}

fn streams(manifest: &Manifest) -> Vec<&str> {
    manifest.api.iter().flat_map(|api| api.streams.iter().map(|stream| stream.name.as_str())).collect()
}

/// What mapping, manifest and fixtures say of each other.
struct Told<'a> {
    folder: &'a Folder,
    mapping: &'a Node,
    rules: &'a Rules,
}

impl Told<'_> {
    /// Each name that the mapping has is in the manifest, and the other way round, but for what is `thin`: something else
    /// is read in its place.
    fn names<'n>(
        &self,
        kind: &str,
        place: &str,
        mapped: impl Iterator<Item = &'n str>,
        known: &[&str],
        thin: &dyn Fn(&str) -> bool,
        checked: &mut Checked,
    ) {
        let mapped: BTreeSet<&str> = mapped.collect();
        for name in mapped.iter().filter(|name| !known.contains(name)) {
            let at = find(self.mapping, name).unwrap_or(self.mapping);
            let hint = match did_you_mean(name, known.iter().copied()) {
                hint if hint.is_empty() => format!("add it to `{place}` of manifest.yaml"),
                hint => format!("add it to `{place}` of manifest.yaml; {hint}"),
            };
            checked.mistakes.add(at, format!("the manifest does not know the {kind} \"{name}\""), hint);
        }
        for name in known.iter().filter(|name| !mapped.contains(*name) && !thin(name)) {
            let what = format!("no rule makes anything of the {kind} \"{name}\" ({place}): it is kept raw");
            self.folder.problem("manifest.yaml", 0, what, "add a rule to mapping.yaml", &mut checked.warnings);
        }
    }

    /// Each event and stream that has a rule has a fixture. Where no fixture says which event it is, that is told instead.
    fn covered(&self, payloads: &Payloads, mistakes: &mut Problems) {
        let seen: BTreeSet<&str> = payloads.events.keys().chain(payloads.lists.keys()).map(String::as_str).collect();
        let plan = &self.rules.plan;
        let says_none = payloads.events.is_empty() && !payloads.nameless.is_empty();
        let events = plan.events().filter(|_| !says_none).map(|event| ("event", event));
        let wanted = events.chain(plan.streams().map(|stream| ("stream", stream)));
        for (kind, name) in wanted.collect::<BTreeSet<_>>() {
            if !seen.contains(name) {
                let at = find(self.mapping, name).unwrap_or(self.mapping);
                let file =
                    if kind == "event" { "webhook__<case>.json".to_owned() } else { format!("poll__{name}.json") };
                let hint =
                    format!("add fixtures/{file}: a documented payload, or one made by what the vendor documents");
                mistakes.add(at, format!("no fixture of the {kind} \"{name}\""), hint);
            }
        }
    }
}

/// Where a name stands in the lists and rules of a mapping.
fn find<'n>(mapping: &'n Node, name: &str) -> Option<&'n Node> {
    fn items(node: &Node) -> &[Node] {
        match &node.value {
            Value::List(items) => items,
            _ => &[],
        }
    }
    fn entries(node: Option<&Node>) -> &[(Node, Node)] {
        match node.map(|node| &node.value) {
            Some(Value::Map(entries)) => entries,
            _ => &[],
        }
    }
    let lists = entries(mapping.peek("lists")).iter().flat_map(|(_, list)| items(list));
    let of_rule = |rule: &'n Node| [rule.peek("events"), rule.peek("streams")].into_iter().flatten().flat_map(items);
    let rules = entries(mapping.peek("rules")).iter().flat_map(|(_, rule)| of_rule(rule));
    lists.chain(rules).find(|node| node.scalar() == Some(name))
}
