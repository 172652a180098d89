//! Checkpoints: all state in one file, so that the journal before it can go.
//!
//! In: the running broker; out: `checkpoint` in the data directory. Order: a new journal file begins; state is copied
//! object by object (each under its own lock: entries are such that applying the new journal file on top is right);
//! everything copied becomes durable in journal, segments and indexes; then the checkpoint replaces the last one by a
//! rename; only then are old journal files and files that no checkpoint names removed.

use std::collections::HashSet;
use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;

use super::codec::{Decoder, Encoder};
use super::op::Op;
use super::partition::Partition;
use crate::core::Core;
use crate::settings::OpenError;
use crate::topics::Topics;

const MAGIC: &[u8; 8] = b"HWCHECK\x01";
const HEADER_BYTES: usize = 20;

#[derive(Default)]
pub(crate) struct Checkpoint {
    /// First journal file that is to be applied on top.
    pub(crate) journal_from: u64,
    pub(crate) ops: Vec<Op>,
}

pub(crate) fn path(data_dir: &Path) -> PathBuf {
    data_dir.join("checkpoint")
}

/// Reads a checkpoint; an empty one if there is none yet.
pub(crate) fn load(path: &Path) -> Result<Checkpoint, OpenError> {
    match std::fs::read(path) {
        Err(problem) if problem.kind() == io::ErrorKind::NotFound => Ok(Checkpoint::default()),
        Err(source) => Err(OpenError::Io { what: "cannot read", path: path.to_owned(), source }),
        Ok(bytes) => parse(path, bytes),
    }
}

/// A checkpoint's bytes; `path` is for what is said of damage.
pub(crate) fn parse(path: &Path, bytes: Vec<u8>) -> Result<Checkpoint, OpenError> {
    let damaged = |position: usize| OpenError::Damaged { file: path.to_owned(), position: position as u64 };
    let bytes = Bytes::from(bytes);
    if bytes.len() < HEADER_BYTES || &bytes[..8] != MAGIC {
        return Err(damaged(0));
    }
    let crc = u32::from_be_bytes([bytes[16], bytes[17], bytes[18], bytes[19]]);
    if crc32c::crc32c(&bytes[HEADER_BYTES..]) != crc {
        return Err(damaged(HEADER_BYTES));
    }
    let mut sequence = Decoder::new(bytes.slice(8..16));
    let journal_from = sequence.u64().map_err(|_| damaged(8))?;
    let mut from = Decoder::new(bytes.slice(HEADER_BYTES..));
    let mut ops = Vec::new();
    while !from.is_empty() {
        ops.push(Op::decode(&mut from).map_err(|_| damaged(HEADER_BYTES))?);
    }
    Ok(Checkpoint { journal_from, ops })
}

/// An index that grew since it was last saved.
struct IndexPart {
    partition: Arc<Partition>,
    base_offset: i64,
    generation: u32,
    path: PathBuf,
    position: u64,
    bytes: Vec<u8>,
    entries: usize,
}

/// Writes a checkpoint. Blocks for as long as the disk takes; for a thread of its own. `garbage` are files that were
/// taken out of use before the call.
pub(crate) fn write(core: &Core, garbage: &mut Vec<PathBuf>) -> io::Result<()> {
    let closing = || io::Error::other("the broker is closing");
    let removable = std::mem::take(garbage);
    let journal_from = core.journal.rotate().ok_or_else(closing)?;
    let (ops, indexes) = copy_state(core);
    let copied = core.journal.submitted();
    if !core.journal.wait_durable(copied) || !core.writer.wait_written(copied) {
        return Err(closing());
    }
    let dirty = core.writer.take_dirty();
    if let Err(problem) = save_files(&dirty, &indexes).and_then(|()| save(core, journal_from, &ops)) {
        core.writer.put_back_dirty(dirty);
        garbage.extend(removable);
        return Err(problem);
    }
    for part in indexes {
        let mut log = part.partition.lock();
        let newest = log.segments.back().map(|last| last.base_offset);
        let same = |base: i64, generation: u32| base == part.base_offset && generation == part.generation;
        if let Some(segment) = log.segments.iter_mut().find(|it| same(it.base_offset, it.generation)) {
            segment.saved_entries = part.entries;
            if newest != Some(part.base_offset) {
                segment.index = None;
            }
        }
    }
    remove(core, journal_from, removable)?;
    core.metrics.checkpoints.inc();
    Ok(())
}

fn copy_state(core: &Core) -> (Vec<Op>, Vec<IndexPart>) {
    let mut ops = vec![core.producer_ids.op()];
    let mut indexes = Vec::new();
    for topic in core.topics.all() {
        ops.push(topic.op());
        for partition in &topic.partitions {
            let log = partition.lock();
            ops.push(Op::PutPartition { topic: topic.id, partition: partition.index, state: log.state() });
            for segment in &log.segments {
                if let Some((position, bytes)) = segment.unsaved_index() {
                    indexes.push(IndexPart {
                        partition: partition.clone(),
                        base_offset: segment.base_offset,
                        generation: segment.generation,
                        path: segment.index_path(&partition.dir),
                        position,
                        bytes,
                        entries: segment.index.as_ref().map_or(0, Vec::len),
                    });
                }
            }
        }
    }
    ops.extend(core.groups.ops());
    ops.extend(core.transactions.ops());
    (ops, indexes)
}

fn save_files(dirty: &HashSet<PathBuf>, indexes: &[IndexPart]) -> io::Result<()> {
    let mut dirs = HashSet::new();
    let gone = |problem: &io::Error| problem.kind() == io::ErrorKind::NotFound;
    for path in dirty {
        match File::options().write(true).open(path).and_then(|file| file.sync_data()) {
            // Its topic was deleted in the meantime.
            Err(problem) if gone(&problem) => {}
            other => other?,
        }
        dirs.extend(path.parent());
    }
    for part in indexes {
        match File::options().write(true).create(true).truncate(false).open(&part.path) {
            Err(problem) if gone(&problem) => {}
            other => {
                let file = other?;
                file.write_all_at(&part.bytes, part.position)?;
                file.sync_data()?;
            }
        }
        dirs.extend(part.path.parent());
    }
    let parents: HashSet<&Path> = dirs.iter().filter_map(|dir| dir.parent()).collect();
    let roots: HashSet<&Path> = parents.iter().filter_map(|dir| dir.parent()).collect();
    for dir in dirs.into_iter().chain(parents).chain(roots) {
        match File::open(dir).and_then(|dir| dir.sync_all()) {
            Err(problem) if gone(&problem) => {}
            other => other?,
        }
    }
    Ok(())
}

fn save(core: &Core, journal_from: u64, ops: &[Op]) -> io::Result<()> {
    let path = path(&core.settings.data_dir);
    let temporary = path.with_extension("new");
    let mut payload = Vec::new();
    for piece in ops.iter().flat_map(Op::encode) {
        payload.extend_from_slice(&piece);
    }
    let mut sequence = Encoder::default();
    sequence.u64(journal_from);
    let mut file = File::create(&temporary)?;
    file.write_all(MAGIC)?;
    file.write_all(&sequence.finish())?;
    file.write_all(&crc32c::crc32c(&payload).to_be_bytes())?;
    file.write_all(&payload)?;
    file.sync_all()?;
    std::fs::rename(&temporary, &path)?;
    File::open(&core.settings.data_dir)?.sync_all()
}

fn remove(core: &Core, journal_from: u64, removable: Vec<PathBuf>) -> io::Result<()> {
    for entry in std::fs::read_dir(core.settings.data_dir.join("journal"))? {
        let path = entry?.path();
        let sequence: Option<u64> = path.file_stem().and_then(|stem| stem.to_str()).and_then(|stem| stem.parse().ok());
        if sequence.is_some_and(|sequence| sequence < journal_from) {
            std::fs::remove_file(&path)?;
        }
    }
    for path in removable {
        let removed = if path.is_dir() { std::fs::remove_dir_all(&path) } else { std::fs::remove_file(&path) };
        match removed {
            Err(problem) if problem.kind() == io::ErrorKind::NotFound => {}
            other => other?,
        }
    }
    Ok(())
}

/// The directory of a deleted topic, to be removed after the next checkpoint.
pub(crate) fn topic_dir(topics: &Topics, id: uuid::Uuid) -> PathBuf {
    topics.root.join(id.simple().to_string())
}
