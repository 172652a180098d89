//! Reading a partition: the end of the log from memory, the rest from segment files.
//!
//! In: an offset, a bound below which may be read, a byte limit; out: whole batches, the first of them holding the offset
//! or the first record behind it. File reads block: run [`DiskRead::run`] off the async threads.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

use bytes::{Bytes, BytesMut};

use super::batch::{HEADER_BYTES, Header};
use super::partition::{Log, Partition};
use super::segment::{INDEX_SPACING_BYTES, position_of_offset, position_of_time, read_index};

const REPLANS: usize = 3;

/// What to read of one partition.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wanted {
    pub(crate) offset: i64,
    /// Nothing at or behind this offset.
    pub(crate) below: i64,
    pub(crate) max_bytes: usize,
    /// The first batch comes whole, however large.
    pub(crate) at_least_one: bool,
}

pub(crate) enum Read {
    Ready(Bytes),
    Disk(DiskRead),
}

#[derive(Debug)]
enum Start {
    Position(u64),
    Index { path: PathBuf, entries: usize },
}

#[derive(Debug)]
pub(crate) struct DiskRead {
    path: PathBuf,
    start: Start,
    bytes: u64,
    wanted: Wanted,
}

impl Partition {
    /// Plans a read of batches; never blocks.
    pub(crate) fn plan(&self, log: &Log, wanted: Wanted) -> Read {
        if wanted.offset >= wanted.below {
            return Read::Ready(Bytes::new());
        }
        if log.recent.front().is_some_and(|oldest| oldest.base_offset <= wanted.offset) {
            return Read::Ready(from_memory(log, wanted));
        }
        let after = log.segments.partition_point(|segment| segment.base_offset <= wanted.offset);
        let Some(segment) = log.segments.get(after.saturating_sub(1)) else { return Read::Ready(Bytes::new()) };
        let start = match &segment.index {
            Some(index) => Start::Position(position_of_offset(index, wanted.offset)),
            None => Start::Index { path: segment.index_path(&self.dir), entries: segment.saved_entries },
        };
        let below = wanted.below.min(log.written);
        Read::Disk(DiskRead {
            path: segment.data_path(&self.dir),
            start,
            bytes: segment.bytes,
            wanted: Wanted { below, ..wanted },
        })
    }

    /// Reads whatever the offset needs, through as many segments as it takes to find a batch. Blocks.
    pub(crate) fn read_blocking(&self, mut wanted: Wanted) -> io::Result<Bytes> {
        let mut attempts = 0;
        loop {
            let plan = self.plan(&self.lock(), wanted);
            let found = match plan {
                Read::Ready(bytes) => return Ok(bytes),
                Read::Disk(read) => match read.run() {
                    // Compaction or retention removed the file between plan and read: plan again.
                    Err(problem) if problem.kind() == io::ErrorKind::NotFound && attempts < REPLANS => {
                        attempts += 1;
                        continue;
                    }
                    other => other?,
                },
            };
            if !found.is_empty() {
                return Ok(found);
            }
            let next =
                self.lock().segments.iter().map(|segment| segment.base_offset).find(|base| *base > wanted.offset);
            match next {
                Some(base) if base < wanted.below => wanted.offset = base,
                _ => return Ok(Bytes::new()),
            }
        }
    }

    /// The first batch with a record at or after `time`. Blocks.
    pub(crate) fn batches_since(&self, time: i64, below: i64) -> io::Result<Option<Bytes>> {
        let mut attempts = 0;
        loop {
            match self.batches_since_once(time, below) {
                // As in `read_blocking`.
                Err(problem) if problem.kind() == io::ErrorKind::NotFound && attempts < REPLANS => attempts += 1,
                other => return other,
            }
        }
    }

    fn batches_since_once(&self, time: i64, below: i64) -> io::Result<Option<Bytes>> {
        let (path, start, end, next, written) = {
            let log = self.lock();
            let Some(at) = log.segments.iter().position(|segment| segment.max_timestamp >= time) else {
                return Ok(None);
            };
            let Some(segment) = log.segments.get(at) else { return Ok(None) };
            let start = match &segment.index {
                Some(index) => Start::Position(position_of_time(index, time)),
                None => Start::Index { path: segment.index_path(&self.dir), entries: segment.saved_entries },
            };
            let next = log.segments.get(at + 1).map(|next| next.base_offset);
            // Written behind the acknowledgements: a new segment may have no file yet.
            let written = Some(log.written).filter(|written| *written > segment.base_offset);
            (segment.data_path(&self.dir), start, segment.bytes, next, written)
        };
        if let Some(written) = written {
            let from = match start {
                Start::Position(position) => position,
                Start::Index { path, entries } => position_of_time(&read_index(&path, entries)?, time),
            };
            if let Some(found) = scan(&path, from, end, below.min(written), |header| header.max_timestamp >= time)? {
                return Ok(Some(found));
            }
        }
        // Not in the file: among the batches that are still only in memory.
        let log = self.lock();
        let in_segment = |base: i64| next.is_none_or(|next| base < next);
        Ok(log.recent.iter().filter(|recent| recent.base_offset < below && in_segment(recent.base_offset)).find_map(
            |recent| {
                Header::parse(&recent.bytes)
                    .ok()
                    .filter(|header| header.max_timestamp >= time)
                    .map(|_| recent.bytes.clone())
            },
        ))
    }
}

fn from_memory(log: &Log, wanted: Wanted) -> Bytes {
    let first = log.recent.partition_point(|recent| recent.last_offset < wanted.offset);
    let mut taken = Vec::new();
    let mut bytes = 0;
    for recent in log.recent.iter().skip(first) {
        if recent.base_offset >= wanted.below {
            break;
        }
        let too_much = bytes + recent.bytes.len() > wanted.max_bytes;
        let first = taken.is_empty() && wanted.at_least_one;
        if too_much && !first {
            break;
        }
        bytes += recent.bytes.len();
        taken.push(recent.bytes.clone());
    }
    if taken.len() == 1 {
        return taken.pop().unwrap_or_default();
    }
    let mut joined = BytesMut::with_capacity(bytes);
    for piece in taken {
        joined.extend_from_slice(&piece);
    }
    joined.freeze()
}

impl DiskRead {
    fn run(self) -> io::Result<Bytes> {
        let wanted = self.wanted;
        let start = match self.start {
            Start::Position(position) => position,
            Start::Index { path, entries } => position_of_offset(&read_index(&path, entries)?, wanted.offset),
        };
        let file = File::open(&self.path)?;
        let left = usize::try_from(self.bytes.saturating_sub(start)).unwrap_or(usize::MAX);
        let spacing = usize::try_from(INDEX_SPACING_BYTES).unwrap_or(0);
        let mut buffer =
            read_up_to(&file, start, left.min(wanted.max_bytes.max(HEADER_BYTES).saturating_add(spacing)))?;
        let mut at = 0;
        let mut taken: Option<(usize, usize)> = None;
        while let Some(header) = buffer.get(at..).and_then(|rest| Header::parse(rest).ok()) {
            if header.base_offset >= wanted.below {
                break;
            }
            let end = at + header.size;
            if header.last_offset() >= wanted.offset {
                let from = taken.map_or(at, |(from, _)| from);
                let fits = end - from <= wanted.max_bytes;
                if !fits && (taken.is_some() || !wanted.at_least_one) {
                    break;
                }
                if end > buffer.len() {
                    if taken.is_some() || !wanted.at_least_one {
                        break;
                    }
                    let position = start + at as u64;
                    check_size(&header, position, self.bytes)?;
                    buffer = read_up_to(&file, position, header.size)?;
                    return Ok(if buffer.len() == header.size { Bytes::from(buffer) } else { Bytes::new() });
                }
                taken = Some((from, end));
            }
            at = end;
        }
        let bytes = Bytes::from(buffer);
        Ok(taken.map_or_else(Bytes::new, |(from, to)| bytes.slice(from..to)))
    }
}

/// The first batch of a file from `position` on whose header is wanted.
pub(crate) fn scan(
    path: &PathBuf,
    mut position: u64,
    end: u64,
    below: i64,
    wanted: impl Fn(&Header) -> bool,
) -> io::Result<Option<Bytes>> {
    let file = File::open(path)?;
    while position < end {
        let head = read_up_to(&file, position, HEADER_BYTES)?;
        let Ok(header) = Header::parse(&head) else { return Ok(None) };
        if header.base_offset >= below {
            return Ok(None);
        }
        check_size(&header, position, end)?;
        if wanted(&header) {
            return read_up_to(&file, position, header.size).map(|bytes| Some(Bytes::from(bytes)));
        }
        position += header.size as u64;
    }
    Ok(None)
}

/// A damaged header must not decide how much memory is taken.
fn check_size(header: &Header, position: u64, end: u64) -> io::Result<()> {
    if header.size as u64 > end.saturating_sub(position) {
        return Err(io::Error::new(io::ErrorKind::InvalidData, format!("a batch at byte {position} is damaged")));
    }
    Ok(())
}

/// Fills a buffer from a position, or to the end of the file.
fn read_up_to(file: &File, position: u64, len: usize) -> io::Result<Vec<u8>> {
    let mut buffer = vec![0; len];
    let mut filled = 0;
    while let Some(rest) = buffer.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match file.read_at(rest, position + filled as u64) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(problem) if problem.kind() == io::ErrorKind::Interrupted => {}
            Err(problem) => return Err(problem),
        }
    }
    buffer.truncate(filled);
    Ok(buffer)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::batch;

    #[test]
    fn a_batch_whose_segment_has_no_file_yet_is_found_by_its_time() {
        let dir = tempfile::tempdir().unwrap();
        let partition = Partition::new(uuid::Uuid::nil(), 0, dir.path());
        let bytes = batch::marker(0, 1, 0, true, 1000);
        let header = Header::parse(&bytes).unwrap();
        partition.lock().append(&header, &bytes, u64::MAX, 0);
        partition.durable(1, None);
        assert_eq!(partition.batches_since(1000, 1).unwrap(), Some(bytes));
        assert_eq!(partition.batches_since(1001, 1).unwrap(), None);
    }
}
