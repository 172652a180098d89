//! What an event tells, however it comes: which row it is about, and what of it stands in the body.

use std::collections::BTreeMap;

use hirewire_yaml::{Map, Problems};

use super::read::{flag, pairs, text};

/// An event, and the row that it is about.
#[derive(Debug, Clone)]
pub struct Event {
    /// What the file calls it.
    pub key: String,
    /// What a delivery says it is: the same, unless several are told apart by more than that.
    pub name: String,
    /// The list of that row.
    pub of: String,
    /// Place in the body → field of the row that stands there.
    pub body: BTreeMap<String, String>,
    /// A path behind the base path, with fields of the row in braces: the header `Link` leads there.
    pub link: Option<String>,
    /// It names what happened and does not hold it.
    pub thin: bool,
    /// The row is gone.
    pub deletes: bool,
    /// A body as JSON, of an event of which there is no fixture.
    pub example: Option<String>,
    /// Where it stands in the file.
    pub line: usize,
}

impl Event {
    pub(super) fn read_all(map: &mut Map<'_>, problems: &mut Problems) -> Option<Vec<Self>> {
        let Some(node) = map.get("events") else { return Some(Vec::new()) };
        let mut events = Vec::new();
        for (at, key, body) in node.map(problems)?.entries() {
            let Some(mut map) = body.map(problems) else { continue };
            let event = Self::read(key, at.line, &mut map, problems);
            map.finish(problems);
            events.extend(event);
        }
        Some(events)
    }

    fn read(key: &str, line: usize, map: &mut Map<'_>, problems: &mut Problems) -> Option<Self> {
        let of = text(map, "of", problems);
        let mut word = |key: &'static str| {
            map.get(key).map_or(Some(None), |node| node.text(problems).map(|text| Some(text.to_owned())))
        };
        let (said, link, example) = (word("name")?, word("link")?, word("example")?);
        Some(Self {
            key: key.to_owned(),
            name: said.unwrap_or_else(|| key.to_owned()),
            of: of?,
            body: pairs(map, "body", problems)?,
            link,
            thin: flag(map, "thin", problems)?,
            deletes: flag(map, "deletes", problems)?,
            example,
            line,
        })
    }
}
