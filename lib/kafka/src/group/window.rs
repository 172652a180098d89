//! How much of a partition is in hand: what was handed out and is not committed, in records and in bytes.
//!
//! A partition that is full is paused until half of it was committed. The bytes are those of all partitions together, in
//! equal shares: none can take another's. One record is always handed out, whatever its size.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use crate::Inbound;

/// Those of all partitions of a member.
#[derive(Default)]
pub(super) struct Windows {
    by_partition: BTreeMap<(Arc<str>, i32), Window>,
    limits: Limits,
}

/// Of one partition.
#[derive(Default, Clone, Copy)]
struct Limits {
    records: usize,
    bytes: usize,
}

#[derive(Default)]
struct Window {
    /// Oldest first.
    open: VecDeque<Open>,
    /// Of all that are open.
    bytes: usize,
    paused: bool,
    /// The newest offset that was asked to be committed.
    head: Option<i64>,
}

struct Open {
    offset: i64,
    timestamp_ms: i64,
    bytes: usize,
}

/// What a commit came to.
pub(super) struct Committed {
    /// The time of the newest record that it covers; 0 if it covers none.
    pub(super) timestamp_ms: i64,
    /// The partition was paused and need not be any more.
    pub(super) has_room: bool,
}

impl Windows {
    /// Of these partitions, with nothing in hand. `records`: of each; `bytes`: of all.
    pub(super) fn new(partitions: &[(Arc<str>, i32)], records: usize, bytes: usize) -> Self {
        let by_partition = partitions.iter().map(|partition| (partition.clone(), Window::default())).collect();
        Self { by_partition, limits: Limits { records, bytes: bytes / partitions.len().max(1) } }
    }

    /// Takes a record in: whether its partition is to be paused now. `None`: the partition is not ours.
    pub(super) fn hand_out(&mut self, record: &Inbound) -> Option<bool> {
        let limits = self.limits;
        let window = self.by_partition.get_mut(&(record.topic.clone(), record.partition))?;
        let (bytes, timestamp_ms) = (record.bytes(), record.timestamp_ms);
        window.open.push_back(Open { offset: record.offset, timestamp_ms, bytes });
        window.bytes += bytes;
        let is_full = window.open.len() >= limits.records || window.bytes >= limits.bytes;
        let pauses = is_full && !window.paused;
        window.paused |= is_full;
        Some(pauses)
    }

    /// Everything before `next` is committed. `None`: the partition is not ours.
    pub(super) fn commit(&mut self, partition: &(Arc<str>, i32), next: i64) -> Option<Committed> {
        let limits = self.limits;
        let window = self.by_partition.get_mut(partition)?;
        let mut timestamp_ms = 0;
        while let Some(done) = window.open.pop_front_if(|open| open.offset < next) {
            timestamp_ms = done.timestamp_ms;
            window.bytes -= done.bytes;
        }
        window.head = Some(next);
        let has_room = window.paused && window.open.len() <= limits.records / 2 && window.bytes <= limits.bytes / 2;
        window.paused &= !has_room;
        Some(Committed { timestamp_ms, has_room })
    }

    /// The newest head of each partition that has one.
    pub(super) fn heads(&self) -> impl Iterator<Item = (&(Arc<str>, i32), i64)> {
        self.by_partition.iter().filter_map(|(partition, window)| Some((partition, window.head?)))
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn record(partition: i32, offset: i64, bytes: usize) -> Inbound {
        let (topic, value) = ("t".into(), Some(Bytes::from(vec![0; bytes])));
        Inbound { topic, partition, offset, timestamp_ms: offset, key: None, value, headers: Vec::new() }
    }

    #[test]
    fn a_partition_is_full_by_records_or_by_its_share_of_the_bytes() {
        let of = |partition| (Arc::from("t"), partition);
        let mut windows = Windows::new(&[of(0), of(1)], 4, 2_000);
        assert_eq!(windows.hand_out(&record(2, 0, 1)), None, "not ours");
        // By records.
        let paused: Vec<_> = (0..5).map(|offset| windows.hand_out(&record(0, offset, 1)).unwrap()).collect();
        assert_eq!(paused, [false, false, false, true, false], "told once");
        assert!(!windows.commit(&of(0), 2).unwrap().has_room);
        let committed = windows.commit(&of(0), 3).unwrap();
        assert_eq!((committed.has_room, committed.timestamp_ms), (true, 2), "half of it is there again");
        // By bytes: a share of 1,000.
        assert_eq!(windows.hand_out(&record(1, 0, 700)), Some(false));
        assert_eq!(windows.hand_out(&record(1, 1, 700)), Some(true));
        assert!(!windows.commit(&of(1), 1).unwrap().has_room, "one of 700 is more than half of 1,000");
        assert!(windows.commit(&of(1), 2).unwrap().has_room);
        // One that is larger than all: alone.
        assert_eq!(windows.hand_out(&record(1, 2, 5_000)), Some(true));
        assert!(windows.commit(&of(1), 3).unwrap().has_room);
        assert_eq!(windows.heads().map(|(_, next)| next).collect::<Vec<_>>(), [3, 3]);
    }
}
