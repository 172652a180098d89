//! Recent entries, bounded by bytes: two generations, of which the older is dropped when the younger is full.

use std::collections::HashMap;

use bytes::Bytes;

use crate::claim::Id;

/// Counted for each entry beside its bytes.
const ENTRY_BYTES: usize = 96;

#[derive(Clone)]
struct Entry {
    /// None: known to be absent.
    state: Option<Bytes>,
    waits_for_disk: bool,
}

pub(super) struct Memory {
    young: HashMap<Id, Entry>,
    old: HashMap<Id, Entry>,
    young_bytes: usize,
    old_bytes: usize,
    waiting_bytes: usize,
    capacity: usize,
}

fn size(state: Option<&Bytes>) -> usize {
    ENTRY_BYTES + state.map_or(0, Bytes::len)
}

impl Memory {
    pub(super) fn new(capacity: usize) -> Self {
        Self { young: HashMap::new(), old: HashMap::new(), young_bytes: 0, old_bytes: 0, waiting_bytes: 0, capacity }
    }

    /// Outer `None`: not here.
    pub(super) fn get(&mut self, id: &Id) -> Option<Option<Bytes>> {
        if let Some(entry) = self.young.get(id) {
            return Some(entry.state.clone());
        }
        let entry = self.old.remove(id)?;
        let bytes = size(entry.state.as_ref());
        self.old_bytes -= bytes;
        self.young_bytes += bytes;
        let state = entry.state.clone();
        self.young.insert(*id, entry);
        Some(state)
    }

    pub(super) fn put(&mut self, id: Id, state: Option<Bytes>, waits_for_disk: bool) {
        if let Some(entry) = self.old.remove(&id) {
            self.old_bytes -= size(entry.state.as_ref());
            self.forget_waiting(&entry);
        }
        let bytes = size(state.as_ref());
        self.young_bytes += bytes;
        if waits_for_disk {
            self.waiting_bytes += bytes;
        }
        if let Some(entry) = self.young.insert(id, Entry { state, waits_for_disk }) {
            self.young_bytes -= size(entry.state.as_ref());
            self.forget_waiting(&entry);
        }
    }

    fn forget_waiting(&mut self, entry: &Entry) {
        if entry.waits_for_disk {
            self.waiting_bytes -= size(entry.state.as_ref());
        }
    }

    pub(super) fn waiting_bytes(&self) -> usize {
        self.waiting_bytes
    }

    pub(super) fn waiting(&self) -> impl Iterator<Item = (&Id, Option<&Bytes>)> {
        let all = self.young.iter().chain(&self.old);
        all.filter(|(_, entry)| entry.waits_for_disk).map(|(id, entry)| (id, entry.state.as_ref()))
    }

    /// All that waited is on disk.
    pub(super) fn written(&mut self) {
        for entry in self.young.values_mut().chain(self.old.values_mut()) {
            entry.waits_for_disk = false;
        }
        self.waiting_bytes = 0;
    }

    pub(super) fn is_full(&self) -> bool {
        self.young_bytes * 2 > self.capacity
    }

    /// Drops the older generation if the younger is full. Nothing may wait for the disk.
    pub(super) fn rotate(&mut self) {
        if self.is_full() {
            self.old = std::mem::take(&mut self.young);
            self.old_bytes = std::mem::take(&mut self.young_bytes);
        }
    }

    pub(super) fn clear(&mut self) {
        *self = Self::new(self.capacity);
    }

    #[cfg(test)]
    pub(super) fn bytes(&self) -> usize {
        self.young_bytes + self.old_bytes
    }
}
