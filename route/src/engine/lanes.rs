//! One lane a key: what is under way has the lane, the rest waits in order.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use bytes::Bytes;

use crate::source::Arrival;

#[derive(Debug, Clone)]
pub(super) struct Work {
    pub(super) arrival: Arc<Arrival>,
    /// The ownership of the partition under which it was taken in.
    pub(super) epoch: u64,
}

impl Work {
    /// Records of one key share a lane, whatever their topic. A record without a key has one of its own.
    pub(super) fn lane(&self) -> Bytes {
        let arrival = &self.arrival;
        arrival.key.clone().unwrap_or_else(|| {
            Bytes::from(format!("{}/{}/{}", arrival.slot.topic, arrival.slot.partition, arrival.offset))
        })
    }
}

/// A lane exists while a record of its key is under way.
#[derive(Debug, Default)]
pub(super) struct Lanes {
    waiting: HashMap<Bytes, VecDeque<Work>>,
}

impl Lanes {
    /// Gives the work back when it may start now.
    pub(super) fn enter(&mut self, work: Work) -> Option<Work> {
        match self.waiting.entry(work.lane()) {
            std::collections::hash_map::Entry::Occupied(mut lane) => {
                lane.get_mut().push_back(work);
                None
            }
            std::collections::hash_map::Entry::Vacant(lane) => {
                lane.insert(VecDeque::new());
                Some(work)
            }
        }
    }

    /// The record under way has ended: the next one of the key, or the lane closes.
    pub(super) fn leave(&mut self, lane: &Bytes) -> Option<Work> {
        let next = self.waiting.get_mut(lane)?.pop_front();
        if next.is_none() {
            self.waiting.remove(lane);
        }
        next
    }

    /// Drops waiting work; what is under way keeps its lane.
    pub(super) fn forget(&mut self, which: impl Fn(&Work) -> bool) {
        for queue in self.waiting.values_mut() {
            queue.retain(|work| !which(work));
        }
    }

    pub(super) fn running(&self) -> usize {
        self.waiting.len()
    }
}
