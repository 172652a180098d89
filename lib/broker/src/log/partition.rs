//! One partition: where its log stands, what can be read of it, who writes to it and who waits for more.
//!
//! In: checked batches; out: their place in the log and the file. Invariants: `start <= high_watermark <= end`;
//! what is below the high watermark is durable; a batch is in `recent` until it is in its segment file;
//! a transaction is in `open` until its marker is durable.

use std::collections::{BTreeMap, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

use bytes::Bytes;
use tokio::sync::Notify;
use uuid::Uuid;

use super::batch::{self, Header};
use super::codec::{Decoder, Encoder, Malformed};
use super::producers::Producers;
use super::segment::{Segment, segment_path};
use crate::sync::lock;

/// Segment files are closed at this size or at the topic's `segment.bytes`, whichever is smaller.
pub(crate) const MAX_SEGMENT_BYTES: u64 = 64 * 1024 * 1024;
/// Batches that are already in their file stay in memory up to so many bytes, for readers at the end of the log.
const RECENT_BYTES: usize = 256 * 1024;

pub(crate) struct Partition {
    pub(crate) topic_id: Uuid,
    pub(crate) index: i32,
    pub(crate) dir: PathBuf,
    log: Mutex<Log>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Aborted {
    pub(crate) producer_id: i64,
    pub(crate) first_offset: i64,
    pub(crate) marker_offset: i64,
}

#[derive(Debug, Clone)]
pub(crate) struct Recent {
    pub(crate) base_offset: i64,
    pub(crate) last_offset: i64,
    pub(crate) bytes: Bytes,
}

pub(crate) struct Log {
    pub(crate) start: i64,
    /// Offset of the next batch.
    pub(crate) end: i64,
    /// All before it is durable.
    pub(crate) high_watermark: i64,
    /// All before it is in the segment files.
    pub(crate) written: i64,
    pub(crate) segments: VecDeque<Segment>,
    pub(crate) recent: VecDeque<Recent>,
    recent_bytes: usize,
    pub(crate) producers: Producers,
    open: BTreeMap<i64, i64>,
    pub(crate) aborted: Vec<Aborted>,
    waiters: Vec<Arc<Notify>>,
    pub(crate) deleted: bool,
    /// Offset up to which compaction has looked.
    pub(crate) compacted_to: i64,
}

/// Where an appended batch goes, and what its durability ends.
pub(crate) struct Placed {
    pub(crate) segment: i64,
    pub(crate) generation: u32,
    pub(crate) position: u64,
    pub(crate) end: i64,
    /// First offset of the transaction that this marker ends.
    pub(crate) closes: Option<i64>,
}

impl Partition {
    pub(crate) fn new(topic_id: Uuid, index: i32, root: &Path) -> Self {
        let dir = root.join(topic_id.simple().to_string()).join(index.to_string());
        Self { topic_id, index, dir, log: Mutex::new(Log::from(PartitionState::default())) }
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, Log> {
        lock(&self.log)
    }

    pub(crate) fn segment_path(&self, base_offset: i64, generation: u32) -> PathBuf {
        segment_path(&self.dir, base_offset, generation)
    }

    /// The journal holds everything below `end` (and the marker that closes a transaction).
    pub(crate) fn durable(&self, end: i64, closes: Option<i64>) {
        let mut log = self.lock();
        log.high_watermark = log.high_watermark.max(end);
        if let Some(first) = closes {
            log.open.remove(&first);
        }
        log.wake();
    }

    /// The segment files hold everything below `end`.
    pub(crate) fn written(&self, end: i64) {
        let mut log = self.lock();
        log.written = log.written.max(end);
        log.trim_recent(RECENT_BYTES);
    }
}

impl Log {
    /// Places a batch (its base offset is `end`) in the newest segment.
    pub(crate) fn append(&mut self, header: &Header, bytes: &Bytes, segment_limit: u64, now_ms: i64) -> Placed {
        let full = self.segments.back().is_none_or(|last| {
            last.bytes > 0 && last.bytes + header.size as u64 > segment_limit.min(MAX_SEGMENT_BYTES)
        });
        if full {
            self.roll();
        }
        let mut placed =
            Placed { segment: self.end, generation: 0, position: 0, end: header.last_offset() + 1, closes: None };
        if let Some(segment) = self.segments.back_mut() {
            placed.segment = segment.base_offset;
            placed.generation = segment.generation;
            placed.position = segment.append(header);
        }
        self.end = placed.end;
        if header.is_control() {
            placed.closes = self.producers.end_transaction(header, now_ms);
            if let (Some(first_offset), Some(false)) = (placed.closes, batch::marker_commits(bytes)) {
                let marker_offset = header.base_offset;
                self.aborted.push(Aborted { producer_id: header.producer_id, first_offset, marker_offset });
            }
        } else if header.has_producer() {
            let was_open = self.producers.get(header.producer_id).is_some_and(|state| state.open_since.is_some());
            self.producers.record(header, now_ms);
            if header.is_transactional() && !was_open {
                self.open.insert(header.base_offset, header.producer_id);
            }
        }
        let last_offset = header.last_offset();
        self.recent.push_back(Recent { base_offset: header.base_offset, last_offset, bytes: bytes.clone() });
        self.recent_bytes += bytes.len();
        placed
    }

    /// Starts a new segment, unless the newest is empty.
    pub(crate) fn roll(&mut self) {
        if self.segments.back().is_none_or(|last| last.bytes > 0) {
            self.segments.push_back(Segment::new(self.end, 0));
        }
    }

    /// What a reader of committed data may see: nothing at or behind the first open transaction.
    pub(crate) fn last_stable_offset(&self) -> i64 {
        self.open.first_key_value().map_or(self.high_watermark, |(first, _)| self.high_watermark.min(*first))
    }

    /// The aborted transactions that touch `from..below`.
    pub(crate) fn aborted_between(&self, from: i64, below: i64) -> Vec<Aborted> {
        let touches = |aborted: &&Aborted| aborted.marker_offset >= from && aborted.first_offset < below;
        let mut found: Vec<Aborted> = self.aborted.iter().filter(touches).copied().collect();
        found.sort_by_key(|aborted| aborted.first_offset);
        found
    }

    pub(crate) fn wait(&mut self, waiter: &Arc<Notify>) {
        self.waiters.push(waiter.clone());
    }

    pub(crate) fn stop_waiting(&mut self, waiter: &Arc<Notify>) {
        self.waiters.retain(|other| !Arc::ptr_eq(other, waiter));
    }

    pub(crate) fn wake(&mut self) {
        for waiter in &self.waiters {
            waiter.notify_one();
        }
    }

    /// Lets go of batches that are in their file, oldest first, down to `keep_bytes`.
    pub(crate) fn trim_recent(&mut self, keep_bytes: usize) {
        while self.recent_bytes > keep_bytes {
            let Some(oldest) = self.recent.front() else { break };
            if oldest.last_offset >= self.written {
                break;
            }
            self.recent_bytes -= oldest.bytes.len();
            self.recent.pop_front();
        }
    }

    /// Raises the start; whole segments below it are given back, to be removed.
    pub(crate) fn set_start(&mut self, offset: i64) -> Vec<Segment> {
        self.start = self.start.max(offset.min(self.end));
        let mut gone = Vec::new();
        while self.segments.get(1).is_some_and(|second| second.base_offset <= self.start) {
            gone.extend(self.segments.pop_front());
        }
        self.aborted.retain(|aborted| aborted.marker_offset >= self.start);
        gone
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.segments.iter().map(|segment| segment.bytes).sum()
    }

    /// In recovery: the last batch is in its file.
    pub(crate) fn replayed(&mut self) {
        self.written = self.end;
        self.trim_recent(0);
    }

    /// After recovery all that was read back is durable and written, and its markers are.
    pub(crate) fn settle(&mut self) {
        self.high_watermark = self.end;
        self.replayed();
        let producers = &self.producers;
        self.open.retain(|first, id| producers.get(*id).is_some_and(|state| state.open_since == Some(*first)));
    }

    pub(crate) fn state(&self) -> PartitionState {
        PartitionState {
            start: self.start,
            end: self.end,
            compacted_to: self.compacted_to,
            segments: self.segments.iter().cloned().collect(),
            producers: self.producers.clone(),
            aborted: self.aborted.clone(),
        }
    }
}

/// A partition as a checkpoint keeps it.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct PartitionState {
    pub(crate) start: i64,
    pub(crate) end: i64,
    pub(crate) compacted_to: i64,
    pub(crate) segments: Vec<Segment>,
    pub(crate) producers: Producers,
    pub(crate) aborted: Vec<Aborted>,
}

impl From<PartitionState> for Log {
    fn from(state: PartitionState) -> Self {
        let open = state.producers.open_transactions();
        Self {
            start: state.start,
            end: state.end,
            high_watermark: state.end,
            written: state.end,
            segments: state.segments.into(),
            recent: VecDeque::new(),
            recent_bytes: 0,
            producers: state.producers,
            open,
            aborted: state.aborted,
            waiters: Vec::new(),
            deleted: false,
            compacted_to: state.compacted_to,
        }
    }
}

impl PartitionState {
    pub(crate) fn encode(&self, to: &mut Encoder) {
        to.i64(self.start);
        to.i64(self.end);
        to.i64(self.compacted_to);
        to.len(self.segments.len());
        for segment in &self.segments {
            segment.encode(to);
        }
        self.producers.encode(to);
        to.len(self.aborted.len());
        for aborted in &self.aborted {
            to.i64(aborted.producer_id);
            to.i64(aborted.first_offset);
            to.i64(aborted.marker_offset);
        }
    }

    pub(crate) fn decode(from: &mut Decoder) -> Result<Self, Malformed> {
        Ok(Self {
            start: from.i64()?,
            end: from.i64()?,
            compacted_to: from.i64()?,
            segments: from.list(Segment::decode)?,
            producers: Producers::decode(from)?,
            aborted: from.list(|from| {
                Ok(Aborted { producer_id: from.i64()?, first_offset: from.i64()?, marker_offset: from.i64()? })
            })?,
        })
    }
}
