//! Events that wait at the vendor until somebody reads them, in numbered batches.

use hirewire_yaml::{Map, Problems};

use super::event::Event;
use super::read::{section, text, texts};

/// A queue, which hands out what waits and can hand a batch out once more by its number.
#[derive(Debug, Clone)]
pub(crate) struct QueueRules {
    /// Behind the base path; a part of it is `{queue}`, the name that the reader chose.
    pub(crate) path: String,
    /// Of the path that tells which batch was handed out last, and the field of its answer.
    pub(crate) last_path: String,
    pub(crate) last_field: String,
    /// Parameters without which a queue is not made, the one of them that names the events that it takes, and the field of
    /// the answer that holds the number before that of the first batch.
    pub(crate) required: Vec<String>,
    pub(crate) names: String,
    pub(crate) made: String,
    /// The parameter that says how many events are asked for, and the most that it takes.
    pub(crate) size: String,
    pub(crate) most: u64,
    /// Fields of a batch: its number, and its events; and the parameter that asks for a number once more.
    pub(crate) number: String,
    pub(crate) events_field: String,
    pub(crate) again: String,
    /// Places in an event: its name, and its own id.
    pub(crate) name: String,
    pub(crate) id: String,
    pub(crate) events: Vec<Event>,
}

impl QueueRules {
    pub(super) fn read(map: &mut Map<'_>, problems: &mut Problems) -> Option<Self> {
        let path = map.require("path", problems)?;
        if !path.scalar().unwrap_or_default().contains("{queue}") {
            problems.add(path, "the queue's name stands nowhere", "{queue} in `path`");
        }
        let path = path.text(problems)?.to_owned();
        let last = section(map, "last", problems, |m, p| Some((text(m, "path", p)?, text(m, "field", p)?)));
        let make = section(map, "make", problems, |m, p| {
            Some((texts(m, "required", p)?, text(m, "names", p)?, text(m, "number", p)?))
        });
        let size =
            section(map, "size", problems, |m, p| Some((text(m, "param", p)?, m.require("max", p)?.whole(1, p)?)));
        let batch = section(map, "batch", problems, |m, p| {
            Some((text(m, "number", p)?, text(m, "events", p)?, text(m, "again", p)?))
        });
        let event = section(map, "event", problems, |m, p| Some((text(m, "name", p)?, text(m, "id", p)?)));
        let events = Event::read_all(map, problems);
        let ((last_path, last_field), (required, names, made), (size, most)) = (last?, make?, size?);
        let ((number, events_field, again), (name, id)) = (batch?, event?);
        let events = events?;
        Some(Self {
            path,
            last_path,
            last_field,
            required,
            names,
            made,
            size,
            most,
            number,
            events_field,
            again,
            name,
            id,
            events,
        })
    }
}
