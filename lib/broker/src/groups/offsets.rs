//! The committed offsets of one group, and those that wait for a transaction to commit.

use std::collections::{BTreeMap, HashMap};

use crate::log::op::{CommittedOffset, Op};

pub(crate) type Place = (String, i32);

#[derive(Default)]
pub(crate) struct Offsets {
    committed: BTreeMap<Place, CommittedOffset>,
    pending: HashMap<i64, BTreeMap<Place, CommittedOffset>>,
}

impl Offsets {
    pub(crate) fn get(&self, topic: &str, partition: i32) -> Option<&CommittedOffset> {
        self.committed.get(&(topic.to_owned(), partition))
    }

    pub(crate) fn all(&self) -> impl Iterator<Item = (&Place, &CommittedOffset)> {
        self.committed.iter()
    }

    pub(crate) fn has_pending(&self, topic: &str, partition: i32) -> bool {
        let place = (topic.to_owned(), partition);
        self.pending.values().any(|offsets| offsets.contains_key(&place))
    }

    pub(crate) fn put(&mut self, place: Place, committed: CommittedOffset) {
        self.committed.insert(place, committed);
    }

    pub(crate) fn remove(&mut self, place: &Place) -> bool {
        self.committed.remove(place).is_some()
    }

    pub(crate) fn put_pending(&mut self, producer_id: i64, place: Place, committed: CommittedOffset) {
        self.pending.entry(producer_id).or_default().insert(place, committed);
    }

    pub(crate) fn end_pending(&mut self, producer_id: i64, commit: bool) {
        let ended = self.pending.remove(&producer_id).unwrap_or_default();
        if commit {
            self.committed.extend(ended);
        }
    }

    /// Removes all of a topic; the places that had something.
    pub(crate) fn remove_topic(&mut self, topic: &str) -> Vec<Place> {
        for offsets in self.pending.values_mut() {
            offsets.retain(|(name, _), _| name != topic);
        }
        let places: Vec<Place> = self.committed.keys().filter(|(name, _)| name == topic).cloned().collect();
        for place in &places {
            self.committed.remove(place);
        }
        places
    }

    /// When the group last committed, in ms.
    pub(crate) fn last_commit_ms(&self) -> Option<i64> {
        self.committed.values().map(|committed| committed.committed_ms).max()
    }

    /// The entries that make this state again.
    pub(crate) fn ops(&self, group: &str) -> Vec<Op> {
        let group = || group.to_owned();
        let committed = self.committed.iter().map(|((topic, partition), committed)| Op::PutOffset {
            group: group(),
            topic: topic.clone(),
            partition: *partition,
            committed: committed.clone(),
        });
        let pending = self.pending.iter().flat_map(|(producer_id, offsets)| {
            offsets.iter().map(|((topic, partition), committed)| Op::PutPending {
                group: group(),
                producer_id: *producer_id,
                topic: topic.clone(),
                partition: *partition,
                committed: committed.clone(),
            })
        });
        committed.chain(pending).collect()
    }
}
