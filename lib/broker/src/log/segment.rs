//! One segment of a partition's log: its file's name, its size, and a sparse index from offset and time to position.
//!
//! In: the headers of appended batches; out: where to start to read. The newest segment keeps its index in memory;
//! older ones have it in a file beside the data, so memory does not grow with the log.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use super::batch::Header;
use super::codec::{Decoder, Encoder, Malformed};

/// An index entry for every so many bytes of log.
pub(crate) const INDEX_SPACING_BYTES: u64 = 32 * 1024;
const ENTRY_BYTES: usize = 24;

/// The batch at `position` starts at `offset`; no record before it in this segment is younger than `time_before`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct IndexEntry {
    pub(crate) offset: i64,
    pub(crate) position: u64,
    pub(crate) time_before: i64,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Segment {
    pub(crate) base_offset: i64,
    /// Rises when compaction writes the segment anew.
    pub(crate) generation: u32,
    pub(crate) bytes: u64,
    /// Time of the first batch and the largest of all, in ms; -1 while empty.
    pub(crate) first_timestamp: i64,
    pub(crate) max_timestamp: i64,
    /// `None` once it is only in the index file.
    pub(crate) index: Option<Vec<IndexEntry>>,
    /// Entries that are in the index file.
    pub(crate) saved_entries: usize,
    last_indexed: u64,
}

impl Segment {
    pub(crate) fn new(base_offset: i64, generation: u32) -> Self {
        Self {
            base_offset,
            generation,
            bytes: 0,
            first_timestamp: -1,
            max_timestamp: -1,
            index: Some(Vec::new()),
            saved_entries: 0,
            last_indexed: 0,
        }
    }

    /// Accounts for a batch at the end of the segment; gives its position.
    pub(crate) fn append(&mut self, header: &Header) -> u64 {
        let position = self.bytes;
        if position == 0 || position - self.last_indexed >= INDEX_SPACING_BYTES {
            let entry = IndexEntry { offset: header.base_offset, position, time_before: self.max_timestamp };
            self.index.get_or_insert_default().push(entry);
            self.last_indexed = position;
        }
        if position == 0 {
            self.first_timestamp = header.max_timestamp;
        }
        self.max_timestamp = self.max_timestamp.max(header.max_timestamp);
        self.bytes += header.size as u64;
        position
    }

    pub(crate) fn data_path(&self, dir: &Path) -> PathBuf {
        segment_path(dir, self.base_offset, self.generation)
    }

    pub(crate) fn index_path(&self, dir: &Path) -> PathBuf {
        dir.join(format!("{:020}-{}.index", self.base_offset, self.generation))
    }

    /// Entries not yet in the index file, and the position in the file where they belong.
    pub(crate) fn unsaved_index(&self) -> Option<(u64, Vec<u8>)> {
        let unsaved = self.index.as_ref()?.get(self.saved_entries..)?;
        if unsaved.is_empty() {
            return None;
        }
        let mut bytes = Vec::with_capacity(unsaved.len() * ENTRY_BYTES);
        for entry in unsaved {
            bytes.extend_from_slice(&entry.offset.to_be_bytes());
            bytes.extend_from_slice(&entry.position.to_be_bytes());
            bytes.extend_from_slice(&entry.time_before.to_be_bytes());
        }
        Some(((self.saved_entries * ENTRY_BYTES) as u64, bytes))
    }

    pub(crate) fn encode(&self, to: &mut Encoder) {
        to.i64(self.base_offset);
        to.i32(i32::try_from(self.generation).unwrap_or(i32::MAX));
        to.u64(self.bytes);
        to.i64(self.first_timestamp);
        to.i64(self.max_timestamp);
        to.u64(self.last_indexed);
        to.len(self.index.as_ref().map_or(self.saved_entries, Vec::len));
    }

    /// Back from a checkpoint, with the index on disk.
    pub(crate) fn decode(from: &mut Decoder) -> Result<Self, Malformed> {
        Ok(Self {
            base_offset: from.i64()?,
            generation: u32::try_from(from.i32()?).map_err(|_| Malformed)?,
            bytes: from.u64()?,
            first_timestamp: from.i64()?,
            max_timestamp: from.i64()?,
            last_indexed: from.u64()?,
            index: None,
            saved_entries: from.len()?,
        })
    }

    /// Of the index file, as long as the checkpoint that this came from says.
    pub(crate) fn index_bytes(&self) -> u64 {
        (self.saved_entries * ENTRY_BYTES) as u64
    }

    /// Brings the index back into memory: the newest segment goes on growing it.
    pub(crate) fn load_index(&mut self, dir: &Path) -> io::Result<()> {
        if self.index.is_none() {
            self.index = Some(read_index(&self.index_path(dir), self.saved_entries)?);
        }
        Ok(())
    }
}

pub(crate) fn segment_path(dir: &Path, base_offset: i64, generation: u32) -> PathBuf {
    dir.join(format!("{base_offset:020}-{generation}.log"))
}

/// The last entry at or before an offset.
pub(crate) fn position_of_offset(index: &[IndexEntry], offset: i64) -> u64 {
    let after = index.partition_point(|entry| entry.offset <= offset);
    after.checked_sub(1).and_then(|at| index.get(at)).map_or(0, |entry| entry.position)
}

/// The last entry before which everything is older than `time`.
pub(crate) fn position_of_time(index: &[IndexEntry], time: i64) -> u64 {
    let after = index.partition_point(|entry| entry.time_before < time);
    after.checked_sub(1).and_then(|at| index.get(at)).map_or(0, |entry| entry.position)
}

/// Reads `entries` entries of an index file.
pub(crate) fn read_index(path: &Path, entries: usize) -> io::Result<Vec<IndexEntry>> {
    if entries == 0 {
        return Ok(Vec::new());
    }
    let (file, wanted) = (File::open(path)?, entries.saturating_mul(ENTRY_BYTES));
    if file.metadata()?.len() < wanted as u64 {
        return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the index is cut short"));
    }
    let mut bytes = vec![0; wanted];
    file.read_exact_at(&mut bytes, 0)?;
    let field = |chunk: &[u8], at: usize| {
        let mut field = [0; 8];
        field.copy_from_slice(&chunk[at..at + 8]);
        i64::from_be_bytes(field)
    };
    Ok(bytes
        .chunks_exact(ENTRY_BYTES)
        .map(|chunk| IndexEntry {
            offset: field(chunk, 0),
            position: field(chunk, 8).cast_unsigned(),
            time_before: field(chunk, 16),
        })
        .collect())
}
