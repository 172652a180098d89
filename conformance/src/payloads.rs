//! What the fixtures of a folder hold, as JSON, by the event or the list that they are of.

use std::collections::BTreeMap;

use hirewire_mapping::xml::{self, Forms};
use serde_json::Value;

use crate::fixture::{Fixture, Kind};
use crate::places::at;
use crate::rules::Rules;

/// Payloads that can be read. What is no JSON and no XML is for `test` to tell.
#[derive(Debug, Default)]
pub(crate) struct Payloads {
    /// Bodies of deliveries, or events of a queue, by the event that they say they are.
    pub(crate) events: BTreeMap<String, Vec<Value>>,
    /// Bodies that do not say which event they are.
    pub(crate) nameless: Vec<Value>,
    pub(crate) lists: BTreeMap<String, List>,
}

/// The fixtures of one list.
#[derive(Debug, Default)]
pub(crate) struct List {
    pub(crate) rows: Vec<Value>,
    /// Answers as they come, with what stands around their rows.
    pub(crate) answers: Vec<Value>,
    /// Objects with nothing where the manifest says that rows are: each a row alone, or an answer with its rows elsewhere.
    pub(crate) alone: Vec<Value>,
}

impl Payloads {
    pub(crate) fn of(rules: &Rules, fixtures: &[Fixture]) -> Self {
        let soap = rules.manifest.api.as_ref().and_then(|api| api.soap.as_ref());
        let forms = &soap.map(|soap| soap.forms.clone()).unwrap_or_default();
        let mut found = Self::default();
        for fixture in fixtures {
            let Ok(body) = std::fs::read(&fixture.path) else { continue };
            match &fixture.kind {
                Kind::Webhook => match fixture.event(rules, &body).filter(|event| !event.is_empty()) {
                    Some(event) => found.events.entry(event).or_default().extend(json(&body, forms)),
                    None => found.nameless.extend(json(&body, forms)),
                },
                Kind::Poll(stream) => {
                    let list = found.lists.entry(stream.clone()).or_default();
                    let rows = fixture.payloads(rules, &body).unwrap_or_default();
                    let rows: Vec<Value> = rows.iter().filter_map(|row| json(row, forms)).collect();
                    list.take(rows, &body, &rules.manifest.rows_of(stream).unwrap_or_default());
                }
            }
        }
        found
    }
}

impl List {
    /// `place`: where rows stand in an answer, as it is written; nothing: the answer is the list, or the row.
    fn take(&mut self, rows: Vec<Value>, body: &[u8], place: &str) {
        let front = place.trim_end_matches('*').trim_end_matches('.');
        if xml::is_xml(body) {
            let place: Vec<&str> = front.split('.').collect();
            let Ok(page) = xml::split(body, &place, &[]) else { return };
            let around = serde_json::from_str(&page.rest).ok();
            match place.last() == Some(&page.name.as_str()) {
                true => {}
                false if rows.is_empty() => self.alone.extend(around),
                false => self.answers.extend(around),
            }
        } else if let Some(answer) = serde_json::from_slice::<Value>(body).ok().filter(Value::is_object)
            && place != "*"
        {
            if front.is_empty() || !at(&answer, front).is_some_and(|rows| rows.is_array() || rows.is_object()) {
                return self.alone.push(answer);
            }
            self.answers.push(answer);
        }
        self.rows.extend(rows);
    }
}

fn json(payload: &[u8], forms: &Forms) -> Option<Value> {
    if !xml::is_xml(payload) {
        return serde_json::from_slice(payload).ok();
    }
    let mut text = String::new();
    xml::to_json(payload, forms, &mut text).ok()?;
    serde_json::from_str(&text).ok()
}
