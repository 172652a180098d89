//! What changes in a row when an application moves from one stage to another, and where the vendor tells of it.

use std::collections::BTreeMap;

use hirewire_yaml::{Map, Node, Problems};
use serde_json::Value;

use super::read::{optional, pairs, text, texts};

/// A move of the first row of a list.
#[derive(Debug, Clone)]
pub struct Moves {
    /// What the ledger must tell of it: `STAGE`, `HIRE`, `REJECTION`, `WITHDRAWAL`, each once.
    pub changes: Vec<&'static str>,
    /// Place → value, before and after.
    pub from: BTreeMap<String, Value>,
    pub to: BTreeMap<String, Value>,
    /// Further fields that hold when it moved.
    pub at: Vec<String>,
    /// A list in the row that gets an entry.
    pub appends: Option<Appends>,
    /// `None`: no list holds former stages.
    pub history: Option<History>,
    /// The event that tells it; `None`: none does.
    pub event: Option<String>,
}

/// A list in the row itself: its entries, by field of an entry and place in the row.
#[derive(Debug, Clone)]
pub struct Appends {
    pub place: String,
    pub row: BTreeMap<String, String>,
    /// The field of an entry that holds when it moved.
    pub at: String,
}

/// A list of stages that were entered: what a row of it has of the application, and where its times stand.
#[derive(Debug, Clone)]
pub struct History {
    pub stream: String,
    pub row: BTreeMap<String, String>,
    pub entered: String,
    /// `None`: rows do not tell.
    pub left: Option<String>,
    /// Which is true of the row of the present stage alone.
    pub current: Option<String>,
}

impl Moves {
    /// Each of the ways that a row moves; none, if the key is absent.
    pub(super) fn read_all(node: Option<&Node>, problems: &mut Problems) -> Option<Vec<Self>> {
        let Some(node) = node else { return Some(Vec::new()) };
        let mut found = Vec::new();
        for item in node.list(problems)? {
            let mut map = item.map(problems)?;
            let moves = Self::read(&mut map, problems);
            map.finish(problems);
            found.push(moves?);
        }
        Some(found)
    }

    fn read(map: &mut Map<'_>, problems: &mut Problems) -> Option<Self> {
        let (from, to) = (values(map, "from", problems)?, values(map, "to", problems)?);
        let appends = optional(map, "appends", problems, |m, p| {
            Some(Appends { place: text(m, "place", p)?, row: pairs(m, "row", p)?, at: text(m, "at", p)? })
        });
        let history = optional(map, "history", problems, |m, p| {
            let mut word = |key| m.get(key).map_or(Some(None), |node| node.text(p).map(|text| Some(text.to_owned())));
            let (left, current) = (word("left")?, word("current")?);
            let (stream, row, entered) = (text(m, "stream", p)?, pairs(m, "row", p)?, text(m, "entered", p)?);
            Some(History { stream, row, entered, left, current })
        });
        let event = map.get("event").map_or(Some(None), |node| node.text(problems).map(|name| Some(name.to_owned())));
        let changes = ["STAGE", "HIRE", "REJECTION", "WITHDRAWAL"].map(|change| (change, change));
        let changes = match map.get("changes") {
            None => Some(vec!["STAGE"]),
            Some(node) => node.list(problems)?.iter().map(|item| item.choice(&changes, problems)).collect(),
        };
        Some(Self {
            changes: changes?,
            from,
            to,
            at: texts(map, "at", problems)?,
            appends: appends?,
            history: history?,
            event: event?,
        })
    }
}

/// Values as JSON; what is none is a text.
fn values(map: &mut Map<'_>, key: &'static str, problems: &mut Problems) -> Option<BTreeMap<String, Value>> {
    let value = |text: String| serde_json::from_str(&text).unwrap_or(Value::String(text));
    Some(pairs(map, key, problems)?.into_iter().map(|(place, text)| (place, value(text))).collect())
}
