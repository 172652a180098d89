//! Mapping file + overlay + target schemas → plan, with every mistake of the files at once.
//!
//! A mapping has `source`, `version`, `lists` and `shapes` (named parts), `defaults`, `xml`, `tables`, `ignore` and `rules`;
//! what an overlay has: `overlay.rs`.

mod constant;
mod named;
mod overlay;
mod rule;
mod source;
mod table;
mod value;

use std::collections::{BTreeMap, BTreeSet, HashMap};

use apache_avro::Schema;
use hirewire_yaml::{Node, Problems, Value};

use crate::plan::{Ignored, Plan, Rule};
use crate::shape::{RecordShape, Shape};
use crate::xml::Forms;
use named::Named;
use overlay::Overlay;
use table::Tables;

impl Plan {
    /// Compiles a mapping. `schema_of` gives the self-contained schema of a record by its short name.
    ///
    /// # Errors
    /// All mistakes of both files, each with file, line, target and what to do.
    pub fn compile<'s>(
        mapping: &Node,
        overlay: Option<&Node>,
        schema_of: &'s dyn Fn(&str) -> Option<&'s Schema>,
    ) -> Result<Self, Problems> {
        let mut compiler = Compiler {
            problems: Problems::new(),
            schema_of,
            shapes: BTreeMap::new(),
            tables: Tables::default(),
            lists: Named::default(),
            shape_fields: Named::default(),
            defaults: None,
            xml: None,
            rule: String::new(),
            paths_read: BTreeSet::new(),
        };
        let plan = compiler.plan(mapping, overlay);
        // An overlay's lines are compiled for every rule of their record: a mistake in them is told once.
        let mut problems = Problems::new();
        for problem in compiler.problems.iter() {
            if !problems.iter().any(|known| known == problem) {
                problems.push(problem.clone());
            }
        }
        problems.into_result(plan)
    }
}

struct Compiler<'s> {
    problems: Problems,
    schema_of: &'s dyn Fn(&str) -> Option<&'s Schema>,
    /// Shapes made so far, by record name; `None`: there is no such schema.
    shapes: BTreeMap<String, Option<std::sync::Arc<RecordShape>>>,
    tables: Tables,
    /// Lists of events or streams, used as `$name`.
    lists: Named,
    /// Field lists of records, used as `fields: $name`.
    shape_fields: Named,
    /// What rules of events or streams say unless they say something else.
    defaults: Option<Node>,
    /// Of a mapping that reads XML.
    xml: Option<Forms>,
    /// The rule that is being compiled: part of rule ids.
    rule: String,
    /// Relative paths that the rule reads: what is read must not be ignored too.
    paths_read: BTreeSet<String>,
}

impl Compiler<'_> {
    fn plan(&mut self, mapping: &Node, overlay: Option<&Node>) -> Option<Plan> {
        let mut map = mapping.map(&mut self.problems)?;
        // Names the source for readers of the file.
        map.get("source");
        let version = map.require("version", &mut self.problems).and_then(|node| node.text(&mut self.problems));
        let mut version = format!("{}-{:08x}", version.unwrap_or_default(), content_hash(mapping));
        let tables = map.get("tables");
        self.lists = Named::read(map.get("lists"), "list", &mut self.problems);
        self.shape_fields = Named::read(map.get("shapes"), "shape", &mut self.problems);
        self.defaults = map.get("defaults").cloned();
        self.check_defaults();
        self.xml = map.get("xml").map(|node| self.xml_forms(node));
        let ignore = map.get("ignore");
        let rules = map.require("rules", &mut self.problems);
        map.finish(&mut self.problems);
        let mut added = Overlay::default();
        if let Some(overlay) = overlay {
            added = self.overlay(overlay);
            version = format!("{version}+{}", added.version);
        }
        if let Some(tables) = tables {
            self.tables.add(tables, None, &mut self.problems);
        }
        let mut reasons = Vec::new();
        let mut ignored = ignore.map(|node| self.ignored(node, "", &mut reasons)).unwrap_or_default();
        let mut compiled = Vec::new();
        let parts = added.fields.len();
        for part in 0..parts {
            self.tables.part = part;
            if let Some(mut rules) = rules.and_then(|node| node.map(&mut self.problems)) {
                // What is left out is the same at all times.
                reasons.retain(|reason: &Ignored| reason.rule.is_empty());
                for (key, name, node) in rules.entries() {
                    compiled.extend(self.rule(key, name, node, &added.fields[..=part], &mut reasons));
                }
            }
        }
        self.check_overlay_used(&added, &compiled);
        self.tables.report_unused(&mut self.problems);
        self.lists.report_unused(&mut self.problems);
        self.shape_fields.report_unused(&mut self.problems);
        let first = compiled.get(..compiled.len() / parts).unwrap_or_default();
        let by_event = index(first, |rule| &rule.1.events);
        let by_stream = index(first, |rule| &rule.1.streams);
        let mut rules: Vec<Rule> = compiled.into_iter().map(|(rule, _)| rule).collect();
        let layout = crate::layout::build(&mut rules, &mut ignored);
        let absent = self.absent(&rules);
        let (xml, turns) = (self.xml.take(), added.turns);
        let dated = std::mem::take(&mut self.tables.dated);
        Some(Plan { version, layout, rules, by_event, by_stream, ignored, absent, reasons, xml, turns, dated })
    }

    /// `{lists: [Site], keyed: {ID: type}}`
    fn xml_forms(&mut self, node: &Node) -> Forms {
        let mut forms = Forms::default();
        let Some(mut map) = node.map(&mut self.problems) else { return forms };
        let hint = "each once, by its name without a prefix: ID";
        let wrong = |name: &str| format!("\"{name}\" is no name of an element, or stands there twice");
        let items = map.require("lists", &mut self.problems).and_then(|node| node.list(&mut self.problems));
        for item in items.unwrap_or_default() {
            let Some(name) = item.name(&mut self.problems) else { continue };
            if name.contains([':', '.', '@']) || !forms.lists.insert(name.to_owned()) {
                self.problems.add(item, wrong(name), hint);
            }
        }
        if let Some(mut keyed) = map.get("keyed").and_then(|node| node.map(&mut self.problems)) {
            for (key, name, attribute) in keyed.entries() {
                let Some(attribute) = attribute.name(&mut self.problems) else { continue };
                if name.contains([':', '.', '@']) || forms.lists.contains(name) {
                    self.problems.add(key, wrong(name), hint);
                }
                forms.keyed.insert(name.to_owned(), attribute.to_owned());
            }
        }
        map.finish(&mut self.problems);
        forms
    }

    fn check_defaults(&mut self) {
        let Some(defaults) = self.defaults.clone() else { return };
        let Some(mut map) = defaults.map(&mut self.problems) else { return };
        for group in [map.get("events"), map.get("streams")].into_iter().flatten() {
            if let Some(mut lines) = group.map(&mut self.problems) {
                for key in rule::DEFAULT_KEYS {
                    lines.get(key);
                }
                lines.finish(&mut self.problems);
            }
        }
        map.finish(&mut self.problems);
    }

    /// The shape of a record; a mistake at `node` if there is no such schema.
    fn record_shape(&mut self, node: &Node, name: &str) -> Option<std::sync::Arc<RecordShape>> {
        if !self.shapes.contains_key(name) {
            let shape = (self.schema_of)(name).map(Shape::of).and_then(|shape| match shape {
                Shape::Record(record) => Some(record),
                _ => None,
            });
            self.shapes.insert(name.to_owned(), shape);
        }
        let found = self.shapes.get(name).cloned().flatten();
        if found.is_none() {
            let known: Vec<&str> =
                self.shapes.iter().filter(|(_, shape)| shape.is_some()).map(|(name, _)| name.as_str()).collect();
            let hint = hirewire_yaml::did_you_mean(name, known);
            self.problems.add(node, format!("there is no record \"{name}\" in the schemas"), hint);
        }
        found
    }

    fn absent(&self, rules: &[Rule]) -> BTreeMap<String, Vec<String>> {
        let mut mapped: BTreeMap<&str, BTreeSet<usize>> = BTreeMap::new();
        for rule in rules {
            let fields = mapped.entry(&rule.record).or_default();
            fields.extend(rule.fields.iter().map(|(index, _)| *index));
            fields.extend(rule.element.iter().map(|element| element.field));
        }
        let mut absent = BTreeMap::new();
        for (record, fields) in mapped {
            let Some(Some(shape)) = self.shapes.get(record) else { continue };
            let missing = shape.fields.iter().enumerate().skip(1).filter(|(index, _)| !fields.contains(index));
            absent.insert(record.to_owned(), missing.map(|(_, field)| field.name.clone()).collect());
        }
        absent
    }

    /// `path: reason` lines.
    fn ignored(&mut self, node: &Node, rule: &str, reasons: &mut Vec<Ignored>) -> Vec<crate::path::Path> {
        let mut paths = Vec::new();
        let Some(mut entries) = node.map(&mut self.problems) else { return paths };
        for (key, path, reason) in entries.entries() {
            let Some(parsed) = self.path(key, path) else { continue };
            if !rule.is_empty() && self.paths_read.contains(path) {
                self.problems.add(
                    key,
                    format!("\"{path}\" is read and ignored by the same rule"),
                    "remove one of them",
                );
            }
            match reason.scalar() {
                Some(text) if text.trim().len() >= 8 => {
                    reasons.push(Ignored { rule: rule.to_owned(), path: path.to_owned(), reason: text.to_owned() });
                }
                _ => self.problems.add(
                    key,
                    format!("\"{path}\" is ignored without a reason"),
                    "write why nobody needs it, after the colon",
                ),
            }
            paths.push(parsed);
        }
        paths
    }
}

fn index(
    rules: &[(Rule, rule::Triggers)],
    names: impl Fn(&(Rule, rule::Triggers)) -> &Vec<String>,
) -> HashMap<String, Vec<usize>> {
    let mut found: HashMap<String, Vec<usize>> = HashMap::new();
    for (position, rule) in rules.iter().enumerate() {
        for name in names(rule) {
            found.entry(name.clone()).or_default().push(position);
        }
    }
    found
}

/// FNV over the tree: a change of meaning changes the version, a change of comments does not.
fn content_hash(node: &Node) -> u32 {
    fn mix(state: &mut u64, bytes: &[u8]) {
        for byte in bytes.iter().chain([&0xff]) {
            *state = (*state ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
    fn walk(node: &Node, state: &mut u64) {
        match &node.value {
            Value::Null => mix(state, b"null"),
            Value::Plain(text) | Value::Quoted(text) => mix(state, text.as_bytes()),
            Value::List(items) => {
                mix(state, b"[");
                items.iter().for_each(|item| walk(item, state));
                mix(state, b"]");
            }
            Value::Map(entries) => {
                mix(state, b"{");
                for (key, value) in entries {
                    walk(key, state);
                    walk(value, state);
                }
                mix(state, b"}");
            }
        }
    }
    let mut state = 0xcbf2_9ce4_8422_2325;
    walk(node, &mut state);
    (state ^ (state >> 32)) as u32
}
