//! The queue of events: what waits is handed out once, in numbered batches, and a batch once more by its number.

use std::collections::{BTreeMap, VecDeque};
use std::fs::File;
use std::io::{self, Read, Write};
use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::body::{at, insert, scalar};
use super::page::Params;
use crate::rules::QueueRules;

/// A queue, whether somebody made it yet or not.
#[derive(Debug, Default)]
pub(super) struct Queue {
    /// The events that it takes; none: nobody made it.
    names: Vec<String>,
    waiting: VecDeque<Value>,
    handed: BTreeMap<u64, Vec<Value>>,
    last: u64,
    /// Answers that held nothing.
    empty: u64,
    serial: u64,
    /// Where each change is kept, one a line; `None`: a restart forgets it.
    file: Option<File>,
}

/// What changes a queue.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Change {
    Made(Vec<String>),
    Put(Value),
    /// The next batch has that many events.
    Handed(usize),
}

/// What is answered.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Answer {
    Body(String),
    Refused(u16),
}

impl Queue {
    /// The queue that a file tells of, which is kept there from now on.
    pub(super) fn kept_in(path: &Path) -> io::Result<Self> {
        let mut file = File::options().read(true).append(true).create(true).open(path)?;
        let mut kept = Vec::new();
        file.read_to_end(&mut kept)?;
        // Whoever was killed while writing wrote half a line.
        kept.truncate(kept.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1));
        file.set_len(kept.len() as u64)?;
        let mut queue = Self::default();
        for change in serde_json::Deserializer::from_slice(&kept).into_iter() {
            queue.change(change?);
        }
        Ok(Self { file: Some(file), ..queue })
    }

    /// Whether it is there.
    pub(super) fn is_made(&self) -> bool {
        !self.names.is_empty()
    }

    /// Events that nobody has read.
    pub(super) fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// Keeps a change, then does it. `false`: it could not be kept, and is not done.
    fn keep(&mut self, change: Change) -> bool {
        if let Some(file) = &mut self.file {
            let line = serde_json::to_string(&change).map(|text| text + "\n").map_err(io::Error::from);
            if let Err(error) = line.and_then(|line| file.write_all(line.as_bytes())) {
                tracing::error!(error = &error as &dyn std::error::Error, "the simulated queue cannot be kept");
                return false;
            }
        }
        self.change(change);
        true
    }

    fn change(&mut self, change: Change) {
        match change {
            Change::Made(names) => self.names = names,
            Change::Put(event) => {
                self.serial += 1;
                self.waiting.push_back(event);
            }
            Change::Handed(count) => {
                self.last += 1;
                let count = count.min(self.waiting.len());
                self.handed.insert(self.last, self.waiting.drain(..count).collect());
            }
        }
    }

    /// Makes a queue, or leaves the one that is there, which takes these events from now on.
    pub(super) fn make(&mut self, rules: &QueueRules, params: &Params) -> Answer {
        if !rules.required.iter().all(|name| value(params, name).is_some_and(|text| !text.is_empty())) {
            return Answer::Refused(400);
        }
        let names = value(params, &rules.names).unwrap_or_default().split(',').map(str::to_owned).collect();
        if !self.keep(Change::Made(names)) {
            return Answer::Refused(503);
        }
        let mut body = json!({});
        insert(&mut body, &rules.made, self.last.into());
        Answer::Body(body.to_string())
    }

    /// An event happened: its text. `None`: it is none of those that the queue takes.
    pub(super) fn put(&mut self, rules: &QueueRules, mut event: Value) -> Option<String> {
        let name = at(&event, &rules.name).and_then(scalar)?;
        if !self.names.contains(&name) {
            return None;
        }
        insert(&mut event, &rules.id, format!("event-{}", self.serial + 1).into());
        let text = event.to_string();
        self.keep(Change::Put(event)).then_some(text)
    }

    pub(super) fn told_last(&self, rules: &QueueRules) -> Answer {
        let mut body = json!({});
        insert(&mut body, &rules.last_field, self.last.into());
        Answer::Body(body.to_string())
    }

    /// The next batch of at most `rows` events; or one that was handed out before.
    pub(super) fn hand_out(&mut self, rules: &QueueRules, params: &Params, rows: u64) -> Answer {
        let number = match value(params, &rules.again) {
            Some(again) => again.parse().unwrap_or(0),
            None => {
                let Some(most) = value(params, &rules.size).and_then(|size| size.parse().ok()) else {
                    return Answer::Refused(400);
                };
                if !(1..=rules.most).contains(&most) {
                    return Answer::Refused(400);
                }
                let take = usize::try_from(most.min(rows)).unwrap_or(usize::MAX).min(self.waiting.len());
                if take == 0 {
                    return Answer::Body(self.nothing(rules));
                }
                if !self.keep(Change::Handed(take)) {
                    return Answer::Refused(503);
                }
                self.last
            }
        };
        let Some(events) = self.handed.get(&number) else { return Answer::Refused(404) };
        let mut body = json!({});
        insert(&mut body, &rules.number, number.into());
        insert(&mut body, &rules.events_field, events.clone().into());
        Answer::Body(body.to_string())
    }

    /// What an empty queue answers is told by no source: each of three ways in turn.
    fn nothing(&mut self, rules: &QueueRules) -> String {
        self.empty += 1;
        match self.empty % 3 {
            0 => String::new(),
            1 => "{}".to_owned(),
            _ => json!({rules.events_field.as_str(): []}).to_string(),
        }
    }
}

fn value<'p>(params: &'p Params, name: &str) -> Option<&'p str> {
    params.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_queue_that_is_kept_is_what_it_was_and_half_a_line_is_none() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("queue");
        let names = || vec!["Job".to_owned()];
        let mut queue = Queue::kept_in(&path).unwrap();
        assert!(!queue.is_made());
        for change in
            [Change::Made(names()), Change::Put(json!({"n": 1})), Change::Put(json!({"n": 2})), Change::Handed(1)]
        {
            assert!(queue.keep(change));
        }
        drop(queue);
        File::options().append(true).open(&path).unwrap().write_all(b"{\"put\":\"\xc3").unwrap();
        let mut queue = Queue::kept_in(&path).unwrap();
        assert_eq!((queue.names.clone(), queue.last, queue.serial, queue.waiting()), (names(), 1, 2, 1));
        assert_eq!(queue.handed.get(&1), Some(&vec![json!({"n": 1})]));
        assert!(queue.keep(Change::Handed(1)));
        assert_eq!(Queue::kept_in(&path).unwrap().handed.get(&2), Some(&vec![json!({"n": 2})]));
    }
}
