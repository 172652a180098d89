//! The queue of events: what waits is handed out once, in numbered batches, and a batch once more by its number.

use std::collections::{BTreeMap, VecDeque};

use serde_json::{Value, json};

use super::body::{at, insert, scalar};
use super::page::Params;
use crate::rules::QueueRules;

/// A queue that somebody made.
#[derive(Debug, Default)]
pub(super) struct Queue {
    /// The events that it takes.
    names: Vec<String>,
    waiting: VecDeque<Value>,
    handed: BTreeMap<u64, Vec<Value>>,
    last: u64,
    /// Answers that held nothing.
    empty: u64,
    serial: u64,
}

/// What is answered.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Answer {
    Body(String),
    Refused(u16),
}

impl Queue {
    /// Makes a queue, or leaves the one that is there, which takes these events from now on.
    pub(super) fn make(queue: &mut Option<Self>, rules: &QueueRules, params: &Params) -> Answer {
        if !rules.required.iter().all(|name| value(params, name).is_some_and(|text| !text.is_empty())) {
            return Answer::Refused(400);
        }
        let queue = queue.get_or_insert_default();
        queue.names = value(params, &rules.names).unwrap_or_default().split(',').map(str::to_owned).collect();
        let mut body = json!({});
        insert(&mut body, &rules.made, queue.last.into());
        Answer::Body(body.to_string())
    }

    /// An event happened: its text. `None`: it is none of those that the queue takes.
    pub(super) fn put(&mut self, rules: &QueueRules, mut event: Value) -> Option<String> {
        let name = at(&event, &rules.name).and_then(scalar)?;
        self.names.contains(&name).then(|| {
            self.serial += 1;
            insert(&mut event, &rules.id, format!("event-{}", self.serial).into());
            let text = event.to_string();
            self.waiting.push_back(event);
            text
        })
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
                self.last += 1;
                self.handed.insert(self.last, self.waiting.drain(..take).collect());
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
