//! An overlay: what one customer adds to a mapping, ever since or from a moment on.
//!
//! It has `version`, `tables` (whose words win over the mapping's), `fields` (record → field → value, in place of what the
//! mapping says) and `changes`, a list of `{from, tables, fields}` by time: each adds to what is said before it.

use std::collections::{BTreeMap, BTreeSet};

use hirewire_yaml::{Node, did_you_mean};

use super::table::Layer;
use super::{Compiler, content_hash, rule};
use crate::plan::Rule;
use crate::time::{Format, instant};

/// Per record, the fields that a part sets: (field, value).
pub(super) type Fields<'n> = BTreeMap<String, Vec<(&'n Node, &'n str, &'n Node)>>;

/// What it says beside its words, which the tables have.
pub(super) struct Overlay<'n> {
    pub(super) version: String,
    /// From when on each part but the first holds, ascending.
    pub(super) turns: Vec<i64>,
    /// Of each part; the first holds ever since.
    pub(super) fields: Vec<Fields<'n>>,
}

impl Default for Overlay<'_> {
    fn default() -> Self {
        Self { version: String::new(), turns: Vec::new(), fields: vec![Fields::new()] }
    }
}

impl Compiler<'_> {
    pub(super) fn overlay<'n>(&mut self, overlay: &'n Node) -> Overlay<'n> {
        let mut found = Overlay::default();
        let Some(mut map) = overlay.map(&mut self.problems) else { return found };
        let version = map.require("version", &mut self.problems).and_then(|node| node.text(&mut self.problems));
        let version = version.unwrap_or_default();
        found.version = format!("{version}-{:08x}", content_hash(overlay));
        let mut tables = vec![(version.to_owned(), map.get("tables"))];
        found.fields = vec![self.set_fields(map.get("fields"))];
        let changes = map.get("changes");
        map.finish(&mut self.problems);
        let items = changes.and_then(|node| node.list(&mut self.problems));
        if let (Some(node), Some([])) = (changes, items) {
            self.problems.add(
                node,
                "no changes",
                "remove `changes`, or add `- from: 2026-09-01` and what holds from then",
            );
        }
        let mut last = None;
        for item in items.unwrap_or_default() {
            let Some(mut map) = item.map(&mut self.problems) else { continue };
            let from = map.require("from", &mut self.problems).and_then(|node| self.moment(node, &mut last));
            let (words, fields) = (map.get("tables"), map.get("fields"));
            if words.or(fields).is_none() {
                self.problems.add(item, "a change that changes nothing", "add `tables: …` or `fields: …`");
            }
            map.finish(&mut self.problems);
            let (text, at) = from.unwrap_or_default();
            tables.push((format!("{version}@{text}"), words));
            found.turns.push(at);
            found.fields.push(self.set_fields(fields));
        }
        // What stands in front wins: the latest that holds.
        for (part, (version, node)) in tables.iter().enumerate().rev() {
            if let Some(node) = node {
                self.tables.add(node, Some(Layer { version, part }), &mut self.problems);
            }
        }
        found
    }

    fn set_fields<'n>(&mut self, node: Option<&'n Node>) -> Fields<'n> {
        let mut fields = Fields::new();
        if let Some(mut records) = node.and_then(|node| node.map(&mut self.problems)) {
            for (_, record, node) in records.entries() {
                let Some(mut entries) = node.map(&mut self.problems) else { continue };
                fields.entry(record.to_owned()).or_default().extend(entries.entries());
            }
        }
        fields
    }

    /// From when on a change holds, as it is written and in microseconds. It must be later than `last`.
    fn moment<'n>(&mut self, node: &'n Node, last: &mut Option<(&'n str, i64)>) -> Option<(&'n str, i64)> {
        let text = node.text(&mut self.problems)?;
        // A day's own zone would change nothing, so that none is taken.
        let format = if text.len() == "2026-09-01".len() { Format::Date } else { Format::Rfc3339 };
        let Some(at) = instant(text, format) else {
            let what = format!("\"{text}\" is neither a day nor a time with its zone");
            let hint = "write 2026-09-01, which begins at midnight UTC, or 2026-09-01T00:00:00+02:00";
            self.problems.add(node, what, hint);
            return None;
        };
        match *last {
            Some((before, then)) if at == then => {
                let what = format!("two changes from the same moment, {before} and {text}");
                self.problems.add(node, what, "make one of them");
            }
            Some((before, then)) if at < then => {
                let what = format!("a change from {text} stands behind one from {before}");
                self.problems.add(node, what, "sort the changes by time");
            }
            _ => *last = Some((text, at)),
        }
        Some((text, at))
    }

    pub(super) fn check_overlay_used(&mut self, overlay: &Overlay<'_>, rules: &[(Rule, rule::Triggers)]) {
        let known: BTreeSet<&str> = rules.iter().map(|(rule, _)| rule.record.as_str()).collect();
        for (record, entries) in overlay.fields.iter().flatten().filter(|(record, _)| !known.contains(record.as_str()))
        {
            if let Some((key, _, _)) = entries.first() {
                let what = format!("no rule of the mapping makes the record \"{record}\"");
                self.problems.add(key, what, did_you_mean(record, known.iter().copied()));
            }
        }
    }
}
