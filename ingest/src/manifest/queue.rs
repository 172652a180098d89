//! The `queue:` part of a manifest: events that wait at the vendor until they are read.

use hirewire_yaml::{Node, Problems};

use super::values::{list_path, pairs, required_path, required_text};
use super::{DeliveryId, EventName, Events, Place};
use crate::json::Path;

/// The part of a path that stands for the queue's name.
pub(crate) const QUEUE: &str = "queue";

/// How the vendor's queue is read.
#[derive(Debug)]
pub struct Queue {
    pub(crate) batches: Batches,
    pub events: Events,
}

/// A queue that hands its events out in numbered batches. What was handed out is gone from it, and can be had once more by
/// the batch's number.
#[derive(Debug)]
pub(crate) struct Batches {
    /// Behind the base URL; a part of it is `{queue}`.
    pub(crate) path: String,
    /// Of a request for the next batch.
    pub(crate) params: Vec<(String, String)>,
    /// Where an answer holds its events. Without any there, nothing waits.
    pub(crate) events: Path,
    /// Where an answer holds the batch's number, and the parameter that asks for a batch by its number.
    pub(crate) number: Path,
    pub(crate) param: String,
    /// Which batch was handed out last.
    pub(crate) last: Last,
    pub(crate) make: Make,
}

/// The path that tells a number, and where its answer holds it.
#[derive(Debug)]
pub(crate) struct Last {
    pub(crate) path: String,
    pub(crate) number: Path,
}

/// How a queue is made: PUT at the queue's path. The answer holds the number that the last batch before the first one has.
#[derive(Debug)]
pub(crate) struct Make {
    pub(crate) params: Vec<(String, String)>,
    pub(crate) number: Path,
}

impl Queue {
    pub(super) fn read(node: &Node, problems: &mut Problems) -> Option<Self> {
        let mut map = node.map(problems)?;
        let batches = map.require("batches", problems).and_then(|node| Batches::read(node, problems));
        let events = Events::read(&mut map, problems);
        for (key, is) in [
            ("event", events.as_ref().is_some_and(|events| matches!(events.event, EventName::At(Place::Header(_))))),
            ("delivery_id", events.as_ref().is_some_and(|events| matches!(events.delivery_id, DeliveryId::Header(_)))),
        ] {
            if let (true, Some(node)) = (is, node.peek(key)) {
                problems.add(node, "an event of a queue has no headers", "name a path of the event");
            }
        }
        map.finish(problems);
        Some(Self { batches: batches?, events: events? })
    }
}

impl Batches {
    fn read(node: &Node, problems: &mut Problems) -> Option<Self> {
        let mut map = node.map(problems)?;
        let path = map.require("path", problems).and_then(|node| queue_path(node, problems));
        let params = pairs(map.get("params"), problems);
        let events = required_path(&mut map, "events", problems);
        let number = required_path(&mut map, "number", problems);
        let param = required_text(&mut map, "param", problems);
        let last = map.require("last", problems).and_then(|node| Last::read(node, problems));
        let make = map.require("make", problems).and_then(|node| Make::read(node, problems));
        map.finish(problems);
        Some(Self {
            path: path?,
            params: params?,
            events: events?,
            number: number?,
            param: param?,
            last: last?,
            make: make?,
        })
    }
}

impl Last {
    fn read(node: &Node, problems: &mut Problems) -> Option<Self> {
        let mut map = node.map(problems)?;
        let path = map.require("path", problems).and_then(|node| queue_path(node, problems));
        let number = required_path(&mut map, "number", problems);
        map.finish(problems);
        Some(Self { path: path?, number: number? })
    }
}

impl Make {
    fn read(node: &Node, problems: &mut Problems) -> Option<Self> {
        let mut map = node.map(problems)?;
        let params = pairs(map.get("params"), problems);
        let number = required_path(&mut map, "number", problems);
        map.finish(problems);
        Some(Self { params: params?, number: number? })
    }
}

fn queue_path(node: &Node, problems: &mut Problems) -> Option<String> {
    let text = list_path(node, &[QUEUE], problems)?;
    if !text.split('/').any(|part| part == "{queue}") {
        problems.add(node, "the queue's name stands nowhere", "write {queue} as a part of the path");
        return None;
    }
    Some(text.to_owned())
}
