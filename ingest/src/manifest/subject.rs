//! What a payload is about.

use hirewire_yaml::{Node, Problems, Value, did_you_mean};

use super::values::path;
use crate::json::Path;

/// Records that a raw event can be about: the ones that own a partition, and those of which an event may name nothing else.
const SUBJECTS: &[&str] = &[
    "Application",
    "Candidate",
    "Job",
    "Opening",
    "JobPosting",
    "Department",
    "Office",
    "User",
    "Stage",
    "Source",
    "Reason",
    "Label",
    "Interview",
    "Scorecard",
    "Offer",
    "Attachment",
    "Activity",
    "AssessmentOrder",
    "AssessmentResult",
    "BackgroundCheck",
    "SignatureEnvelope",
];

/// Where the remote id of the thing that a payload is about stands: the first place that has one counts.
#[derive(Debug, Clone)]
pub struct Subject(Vec<(&'static str, Vec<Path>)>);

impl Subject {
    /// The record, if the remote id is looked for at `path` first.
    pub(crate) fn at(&self, path: &Path) -> Option<&'static str> {
        self.0.first().filter(|(_, places)| places.first() == Some(path)).map(|(record, _)| *record)
    }

    /// Reads `{Application: payload.application.id, Candidate: [a.id, b.id]}`, looked up in the order written.
    pub(super) fn read(node: &Node, problems: &mut Problems) -> Option<Self> {
        let entries: Vec<_> = node.map(problems)?.entries().collect();
        if entries.is_empty() {
            problems.add(node, "no place of a remote id", "write for example {Application: payload.application.id}");
        }
        let mut places = Vec::new();
        for (key, record, at) in entries {
            match SUBJECTS.iter().find(|known| **known == record) {
                None => problems.add(
                    key,
                    format!("\"{record}\" is no record that an event can be about"),
                    did_you_mean(record, SUBJECTS.iter().copied()),
                ),
                Some(record) => {
                    let list =
                        if let Value::List(items) = &at.value { items.as_slice() } else { std::slice::from_ref(at) };
                    let found = list.iter().map(|place| path(place, problems)).collect::<Option<Vec<_>>>();
                    places.extend(found.map(|found| (*record, found)));
                }
            }
        }
        Some(Self(places))
    }

    /// The record's name and the remote id, if `body` holds one.
    #[must_use]
    pub fn find(&self, body: &[u8]) -> Option<(&'static str, String)> {
        let at = |places: &[Path]| places.iter().find_map(|place| crate::json::scalar(body, place));
        self.0.iter().find_map(|(record, places)| Some((*record, at(places)?)))
    }
}
