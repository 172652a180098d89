//! What stands at a place of a row or an event: a fact of the story, a text made of facts, or a constant.

use std::collections::BTreeMap;

use hirewire_yaml::{Map, Node, Problems, did_you_mean};
use serde_json::Value;

/// All facts. Which of them there are depends on what is told: a job has no person.
pub(super) const FACTS: [&str; 44] = [
    "application.id",
    "application.created",
    "application.changed",
    "application.status",
    "application.phase",
    "application.entered",
    "application.ended",
    "person.id",
    "person.first",
    "person.last",
    "person.name",
    "person.email",
    "person.created",
    "person.changed",
    "job.id",
    "job.name",
    "job.created",
    "job.changed",
    "stage.id",
    "stage.name",
    "stage.word",
    "stage.index",
    "before.stage.id",
    "before.stage.name",
    "before.stage.word",
    "reason.id",
    "reason.name",
    "reason.by",
    "visit.id",
    "visit.entered",
    "visit.left",
    "visit.changed",
    "visit.stage.id",
    "visit.stage.name",
    "visit.stage.word",
    "offer.id",
    "offer.word",
    "offer.created",
    "offer.changed",
    "offer.starts_on",
    "offer.starts_at",
    "offer.salary",
    "event.id",
    "now",
];

#[derive(Debug, Clone, PartialEq)]
pub enum Said {
    Fact(&'static str),
    /// Texts and facts in turn, beginning with a text.
    Joined(Vec<String>),
    Constant(Value),
}

impl Said {
    pub(super) fn read(node: &Node, problems: &mut Problems) -> Option<Self> {
        let text = node.text(problems)?;
        if let Some(fact) = fact(text) {
            return Some(Self::Fact(fact));
        }
        let subject = |text: &str| FACTS.iter().any(|fact| fact.split('.').next() == text.split('.').next());
        if text.contains('.') && !text.contains(' ') && subject(text) {
            unknown(node, text, problems);
            return None;
        }
        if let Ok(value) = serde_json::from_str(text) {
            return Some(Self::Constant(value));
        }
        let parts: Vec<String> = text.split(['{', '}']).map(str::to_owned).collect();
        if parts.len() == 1 {
            return Some(Self::Constant(text.into()));
        }
        let wrong = parts.iter().skip(1).step_by(2).find(|name| fact(name).is_none());
        if let Some(wrong) = wrong {
            unknown(node, wrong, problems);
            return None;
        }
        Some(Self::Joined(parts))
    }
}

fn fact(text: &str) -> Option<&'static str> {
    FACTS.into_iter().find(|known| *known == text)
}

fn unknown(node: &Node, text: &str, problems: &mut Problems) {
    problems.add(node, format!("\"{text}\" is no fact of the story"), did_you_mean(text, FACTS));
}

/// The name of a fact, as a key.
pub(super) fn known_fact(key: &Node, name: &str, problems: &mut Problems) -> Option<&'static str> {
    let found = fact(name);
    if found.is_none() {
        unknown(key, name, problems);
    }
    found
}

/// Place → what stands there, of a mapping that may be absent.
pub(super) fn puts(map: &mut Map<'_>, key: &'static str, problems: &mut Problems) -> Option<BTreeMap<String, Said>> {
    map.get(key).map_or(Some(BTreeMap::new()), |node| all(node, problems))
}

/// Each entry of a mapping.
pub(super) fn all(node: &Node, problems: &mut Problems) -> Option<BTreeMap<String, Said>> {
    let mut map = node.map(problems)?;
    map.entries().map(|(_, place, said)| Some((place.to_owned(), Said::read(said, problems)?))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(text: &str) -> Result<Said, String> {
        let node = hirewire_yaml::parse("api.yaml", text).unwrap();
        let mut problems = Problems::new();
        let said = Said::read(&node, &mut problems);
        problems.into_result(said).map_err(|problems| problems.to_string())
    }

    #[test]
    fn a_fact_a_text_of_facts_and_a_constant_are_told_apart() {
        assert_eq!(said("stage.id"), Ok(Said::Fact("stage.id")));
        let joined = ["", "person.id", "/", "job.id", ""].map(str::to_owned).to_vec();
        assert_eq!(said("'{person.id}/{job.id}'"), Ok(Said::Joined(joined)));
        assert_eq!(said("'{\"a\": 1}'"), Ok(Said::Constant(serde_json::json!({"a": 1}))));
        assert_eq!(said("'null'"), Ok(Said::Constant(Value::Null)));
        assert_eq!(said("Hired"), Ok(Said::Constant("Hired".into())));
    }

    #[test]
    fn a_misspelt_fact_is_no_text() {
        for wrong in ["stage.nmae", "'{person.idd}/x'"] {
            assert!(said(wrong).unwrap_err().contains("is no fact of the story"), "{wrong}");
        }
    }
}
