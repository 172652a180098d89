//! The local store of one partition number: a cache of `hirewire.internal.state.v1` with the offset up to which it holds all.
//!
//! In: state records' values (without frame) by entity id. Out: the same. [`Store`] keeps recent ones in memory, bounded by
//! bytes; what falls out is read from SQLite again. The topic is the truth: a store that is damaged or of another version is
//! thrown away and read anew.

mod disk;
mod memory;

use std::path::Path;

use bytes::Bytes;

use crate::claim::Id;
use disk::Disk;
use memory::Memory;

pub use disk::DiskError;

/// Changed entries that wait for the disk, at most.
const MOST_WAITING_BYTES: usize = 8 << 20;

pub struct Store {
    memory: Memory,
    disk: Disk,
    /// Next offset of the state topic that is not in here.
    next_offset: i64,
    /// The same of what is on disk.
    disk_offset: i64,
}

impl Store {
    /// Opens or makes the store of one partition. `capacity_bytes` bounds its memory.
    ///
    /// # Errors
    /// [`DiskError`] when even a new one cannot be made.
    pub fn open(path: &Path, capacity_bytes: usize) -> Result<Self, DiskError> {
        let disk = Disk::open(path)?;
        let next_offset = disk.next_offset()?;
        Ok(Self { memory: Memory::new(capacity_bytes), disk, next_offset, disk_offset: next_offset })
    }

    /// From where on the state topic has to be read.
    #[must_use]
    pub fn next_offset(&self) -> i64 {
        self.next_offset
    }

    /// # Errors
    /// [`DiskError`] when the disk cannot be read.
    pub fn get(&mut self, id: &Id) -> Result<Option<Bytes>, DiskError> {
        if let Some(found) = self.memory.get(id) {
            return Ok(found);
        }
        let found = self.disk.get(id)?;
        self.memory.put(*id, found.clone(), false);
        self.relieve()?;
        Ok(found)
    }

    /// Puts a committed state; `None` forgets it.
    ///
    /// # Errors
    /// [`DiskError`] when waiting changes cannot be written.
    pub fn put(&mut self, id: Id, state: Option<Bytes>) -> Result<(), DiskError> {
        self.memory.put(id, state, true);
        self.relieve()
    }

    /// Everything before `next` has been put.
    pub fn advance(&mut self, next: i64) {
        self.next_offset = self.next_offset.max(next);
    }

    /// Writes what waits, and how far it goes.
    ///
    /// # Errors
    /// [`DiskError`].
    pub fn flush(&mut self) -> Result<(), DiskError> {
        if self.memory.waiting_bytes() == 0 && self.next_offset == self.disk_offset {
            return Ok(());
        }
        self.disk.write(self.memory.waiting(), self.next_offset)?;
        self.memory.written();
        self.disk_offset = self.next_offset;
        Ok(())
    }

    /// The topic is shorter than the store believes: it is another topic.
    ///
    /// # Errors
    /// [`DiskError`].
    pub fn clear(&mut self) -> Result<(), DiskError> {
        self.memory.clear();
        self.disk.clear()?;
        (self.next_offset, self.disk_offset) = (0, 0);
        Ok(())
    }

    fn relieve(&mut self) -> Result<(), DiskError> {
        if self.memory.waiting_bytes() > MOST_WAITING_BYTES || self.memory.is_full() {
            self.flush_partly()?;
            self.memory.rotate();
        }
        Ok(())
    }

    /// Entries may be ahead of the offset on disk, never behind it.
    fn flush_partly(&mut self) -> Result<(), DiskError> {
        self.disk.write(self.memory.waiting(), self.disk_offset)?;
        self.memory.written();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(n: u8) -> Id {
        [n; 36]
    }

    #[test]
    fn what_was_put_is_found_again_after_reopening() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("p0.sqlite");
        let mut store = Store::open(&path, 1 << 20).unwrap();
        store.put(id(1), Some(Bytes::from_static(b"one"))).unwrap();
        store.put(id(2), Some(Bytes::from_static(b"two"))).unwrap();
        store.put(id(2), None).unwrap();
        store.advance(7);
        store.flush().unwrap();
        drop(store);
        let mut store = Store::open(&path, 1 << 20).unwrap();
        assert_eq!(store.next_offset(), 7);
        assert_eq!(store.get(&id(1)).unwrap().as_deref(), Some(&b"one"[..]));
        assert_eq!(store.get(&id(2)).unwrap(), None);
    }

    #[test]
    fn memory_is_bounded_and_what_falls_out_is_still_there() {
        let dir = tempfile::tempdir().unwrap();
        let mut store = Store::open(&dir.path().join("p0.sqlite"), 4096).unwrap();
        for n in 0..200 {
            store.put(id(n), Some(Bytes::from(vec![n; 100]))).unwrap();
        }
        assert!(store.memory.bytes() <= 4096 + 200, "{}", store.memory.bytes());
        for n in 0..200 {
            assert_eq!(store.get(&id(n)).unwrap().unwrap()[0], n);
        }
    }

    #[test]
    fn a_damaged_store_and_one_of_another_version_are_begun_anew() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("p0.sqlite");
        std::fs::write(&path, b"no database at all, but long enough to be taken for one by a careless reader").unwrap();
        let mut store = Store::open(&path, 4096).unwrap();
        assert_eq!(store.next_offset(), 0);
        store.put(id(1), Some(Bytes::from_static(b"one"))).unwrap();
        store.advance(3);
        store.flush().unwrap();
        drop(store);
        rusqlite::Connection::open(&path).unwrap().execute("UPDATE about SET format = 999", ()).unwrap();
        let mut store = Store::open(&path, 4096).unwrap();
        assert_eq!(store.next_offset(), 0);
        assert_eq!(store.get(&id(1)).unwrap(), None);
    }
}
