//! Opening a data directory: the last checkpoint, then the journal behind it.
//!
//! In: the directory; out: the state as of the last durable frame, and the number for the next journal file. A torn tail
//! of the newest journal file is cut off (nobody was told of it); damage anywhere else is an error, never skipped.
//! [`Recovery::looking`] goes the same way and leaves the directory as it is.

use std::collections::{BTreeMap, HashSet};
use std::fs::File;
use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use tracing::{info, warn};
use uuid::Uuid;

use super::batch::Header;
use super::checkpoint::{self, Checkpoint};
use super::codec::Decoder;
use super::inspect;
use super::journal::{FRAME_HEADER_BYTES, MAGIC};
use super::op::Op;
use super::partition::{Log, Partition};
use super::writer::Files;
use crate::core::State;
use crate::settings::OpenError;
use crate::sync::now_ms;
use crate::topic_settings::TopicSettings;

/// A frame cannot be larger: requests are limited far below.
const MAX_FRAME_BYTES: usize = 1 << 30;

/// What recovery needs while it applies entries.
pub(crate) struct Recovery<'a> {
    state: &'a State,
    files: Files,
    dirty: HashSet<PathBuf>,
    dir: &'a Path,
    /// Is shown the batches of the journal, which then go into no file.
    look: Option<&'a mut Look<'a>>,
}

pub(crate) type Look<'a> = dyn FnMut(&Partition, &Bytes) + 'a;

/// Where the log goes on.
pub(crate) struct Recovered {
    pub(crate) next_journal: u64,
    /// Segment files that were written from the journal, for the next checkpoint to sync.
    pub(crate) dirty: HashSet<PathBuf>,
    /// There was a journal to apply: the next start is spared that by a checkpoint.
    pub(crate) replayed: bool,
}

fn io(what: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> OpenError {
    move |source| OpenError::Io { what, path: path.to_owned(), source }
}

impl<'a> Recovery<'a> {
    pub(crate) fn new(state: &'a State, dir: &'a Path) -> Self {
        Self { state, files: Files::default(), dirty: HashSet::new(), dir, look: None }
    }

    pub(crate) fn looking(state: &'a State, dir: &'a Path, look: &'a mut Look<'a>) -> Self {
        Self { look: Some(look), ..Self::new(state, dir) }
    }

    pub(crate) fn run(mut self) -> Result<Recovered, OpenError> {
        let path = checkpoint::path(self.dir);
        let Checkpoint { journal_from, ops } = checkpoint::load(&path)?;
        for op in ops {
            self.apply(op)?;
        }
        match self.look.as_deref_mut() {
            Some(look) => inspect::read_segments(self.state, look)?,
            None => self.cut_segments()?,
        }
        let journals = journals(&self.dir.join("journal"))?;
        let last = journals.last_key_value().map(|(sequence, _)| *sequence);
        for (sequence, path) in &journals {
            if *sequence >= journal_from {
                self.replay(path, Some(*sequence) == last)?;
            }
        }
        for topic in self.state.topics.all() {
            for partition in &topic.partitions {
                partition.lock().settle();
            }
        }
        Ok(Recovered {
            next_journal: last.map_or(journal_from, |last| last.max(journal_from) + 1),
            dirty: self.dirty,
            replayed: last.is_some_and(|last| last >= journal_from),
        })
    }

    /// Segment files as the checkpoint says: what is behind is in the journal, what is not named is left over.
    fn cut_segments(&self) -> Result<(), OpenError> {
        let mut known = HashSet::new();
        for topic in self.state.topics.all() {
            for partition in &topic.partitions {
                let mut log = partition.lock();
                let last = log.segments.len().saturating_sub(1);
                for (at, segment) in log.segments.iter_mut().enumerate() {
                    let path = segment.data_path(&partition.dir);
                    known.insert(segment.index_path(&partition.dir));
                    if at == last {
                        segment.load_index(&partition.dir).map_err(io("cannot read the index of", &path))?;
                        cut(&path, segment.bytes)?;
                    } else if std::fs::metadata(&path).map_err(io("cannot read", &path))?.len() < segment.bytes {
                        return Err(OpenError::Damaged { file: path, position: segment.bytes });
                    }
                    known.insert(path);
                }
            }
        }
        remove_unknown(&self.state.topics.root, &known)
    }

    fn replay(&mut self, path: &Path, is_last: bool) -> Result<(), OpenError> {
        let mut reader = BufReader::with_capacity(256 * 1024, File::open(path).map_err(io("cannot open", path))?);
        let mut magic = [0; MAGIC.len()];
        let mut position = 0;
        if reader.read_exact(&mut magic).is_err() || &magic != MAGIC {
            if is_last {
                // The process ended while it made the file: nothing in it was confirmed.
                return self.cut_tail(path, 0);
            }
            return Err(OpenError::Damaged { file: path.to_owned(), position });
        }
        position += MAGIC.len() as u64;
        let mut frames = 0u64;
        loop {
            match read_frame(&mut reader).map_err(io("cannot read", path))? {
                Next::Frame(payload) => {
                    let size = payload.len() as u64;
                    let mut from = Decoder::new(payload);
                    while !from.is_empty() {
                        let op = Op::decode(&mut from)
                            .map_err(|_| OpenError::Damaged { file: path.to_owned(), position })?;
                        self.apply(op)?;
                    }
                    position += FRAME_HEADER_BYTES as u64 + size;
                    frames += 1;
                }
                Next::End => break,
                Next::Torn if is_last => {
                    self.cut_tail(path, position)?;
                    break;
                }
                Next::Torn => return Err(OpenError::Damaged { file: path.to_owned(), position }),
            }
        }
        info!(file = %path.display(), frames, "journal replayed");
        Ok(())
    }

    fn cut_tail(&self, path: &Path, position: u64) -> Result<(), OpenError> {
        if self.look.is_some() {
            return Ok(());
        }
        warn!(file = %path.display(), position, "the journal's tail is torn: what was never confirmed is cut off");
        // Really cut: after the next crash this file is not the newest any more.
        cut(path, position)
    }

    fn apply(&mut self, op: Op) -> Result<(), OpenError> {
        let state = self.state;
        let group = |id: &str| state.groups.get_or_create(id);
        match op {
            Op::PutTopic { id, name, partitions, settings } => self.put_topic(id, name, partitions, settings),
            Op::DeleteTopic { id } => {
                if let Some(topic) = state.topics.change(|map| map.remove(id)) {
                    for partition in &topic.partitions {
                        partition.lock().deleted = true;
                    }
                }
            }
            Op::Append { topic, partition, batch } => {
                if let Some(partition) = state.topics.partition_by_id(topic, partition) {
                    self.append(&partition, &batch)?;
                }
            }
            Op::SetLogStart { topic, partition, offset } => {
                if let Some(partition) = state.topics.partition_by_id(topic, partition) {
                    // Their files are not named by the next checkpoint, and go with it.
                    partition.lock().set_start(offset);
                }
            }
            Op::PutOffset { group: id, topic, partition, committed } => {
                if let Some(group) = group(&id) {
                    group.lock().offsets.put((topic, partition), committed);
                }
            }
            Op::DeleteOffset { group: id, topic, partition } => {
                if let Some(group) = state.groups.get(&id) {
                    group.lock().offsets.remove(&(topic, partition));
                }
            }
            Op::PutPending { group: id, producer_id, topic, partition, committed } => {
                if let Some(group) = group(&id) {
                    group.lock().offsets.put_pending(producer_id, (topic, partition), committed);
                }
            }
            Op::EndPending { group: id, producer_id, commit } => {
                if let Some(group) = state.groups.get(&id) {
                    group.lock().offsets.end_pending(producer_id, commit);
                }
            }
            Op::PutGroup { group, generation, protocol_type } => {
                state.groups.restore(&group, generation, protocol_type)
            }
            Op::DeleteGroup { group } => state.groups.forget(&group),
            Op::PutTransaction(entry) => state.transactions.restore(entry),
            Op::DeleteTransaction { id } => state.transactions.remove(&id),
            Op::ReserveProducerIds { next } => state.producer_ids.restore(next),
            Op::PutPartition { topic, partition, state: saved } => {
                if let Some(partition) = state.topics.partition_by_id(topic, partition) {
                    *partition.lock() = Log::from(saved);
                }
            }
        }
        Ok(())
    }

    fn put_topic(&self, id: Uuid, name: String, partitions: i32, settings: Vec<(String, String)>) {
        // Settings were checked when they were set, but perhaps by another version.
        let (settings, refused) = TopicSettings::recovered(settings.into_iter().collect());
        for problem in refused {
            warn!(topic = name, error = %problem, "a setting of the topic is not understood: its default is used");
        }
        let topics = &self.state.topics;
        let old = topics.by_id(id);
        let topic = topics.build(id, name.into(), settings, partitions, old.as_deref());
        topics.change(|map| map.put(Arc::new(topic)));
    }

    fn append(&mut self, partition: &Arc<Partition>, batch: &Bytes) -> Result<(), OpenError> {
        let Ok(header) = Header::parse(batch) else { return Ok(()) };
        let mut log = partition.lock();
        if header.base_offset < log.end {
            return Ok(());
        }
        let placed = log.append(&header, batch, u64::MAX, now_ms());
        if let Some(look) = self.look.as_deref_mut() {
            log.replayed();
            drop(log);
            look(partition, batch);
            return Ok(());
        }
        let path = partition.segment_path(placed.segment, placed.generation);
        self.files.write(&path, placed.position, batch).map_err(io("cannot write", &path))?;
        log.replayed();
        drop(log);
        self.dirty.insert(path);
        Ok(())
    }
}

/// The journal files in a folder, by number.
pub(crate) fn journals(dir: &Path) -> Result<BTreeMap<u64, PathBuf>, OpenError> {
    let mut journals = BTreeMap::new();
    for entry in std::fs::read_dir(dir).map_err(io("cannot list", dir))? {
        let path = entry.map_err(io("cannot list", dir))?.path();
        let sequence = path.file_stem().and_then(|stem| stem.to_str()).and_then(|stem| stem.parse().ok());
        if let (Some(sequence), Some("journal")) = (sequence, path.extension().and_then(|it| it.to_str())) {
            journals.insert(sequence, path);
        }
    }
    Ok(journals)
}

pub(crate) enum Next {
    Frame(Bytes),
    End,
    /// Cut short, or its checksum is wrong.
    Torn,
}

pub(crate) fn read_frame(reader: &mut impl Read) -> std::io::Result<Next> {
    let mut header = [0; FRAME_HEADER_BYTES];
    match read_fully(reader, &mut header)? {
        0 => return Ok(Next::End),
        FRAME_HEADER_BYTES => {}
        _ => return Ok(Next::Torn),
    }
    let word = |at: usize| u32::from_be_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]);
    let len = word(0) as usize;
    if len == 0 || len > MAX_FRAME_BYTES {
        return Ok(Next::Torn);
    }
    let mut payload = Vec::new();
    reader.take(len as u64).read_to_end(&mut payload)?;
    if payload.len() < len || crc32c::crc32c(&payload) != word(4) {
        return Ok(Next::Torn);
    }
    Ok(Next::Frame(Bytes::from(payload)))
}

fn read_fully(reader: &mut impl Read, buffer: &mut [u8]) -> std::io::Result<usize> {
    let mut filled = 0;
    while let Some(rest) = buffer.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match reader.read(rest) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(problem) if problem.kind() == std::io::ErrorKind::Interrupted => {}
            Err(problem) => return Err(problem),
        }
    }
    Ok(filled)
}

fn cut(path: &Path, bytes: u64) -> Result<(), OpenError> {
    if bytes == 0 {
        return match std::fs::remove_file(path) {
            Err(problem) if problem.kind() != std::io::ErrorKind::NotFound => Err(io("cannot remove", path)(problem)),
            _ => Ok(()),
        };
    }
    let file = File::options().write(true).open(path).map_err(io("cannot open", path))?;
    let len = file.metadata().map_err(io("cannot read", path))?.len();
    if len < bytes {
        return Err(OpenError::Damaged { file: path.to_owned(), position: len });
    }
    file.set_len(bytes).and_then(|()| file.sync_all()).map_err(io("cannot cut", path))
}

fn remove_unknown(root: &Path, known: &HashSet<PathBuf>) -> Result<(), OpenError> {
    let list = |dir: &Path| -> Result<Vec<PathBuf>, OpenError> {
        let entries = std::fs::read_dir(dir).map_err(io("cannot list", dir))?;
        entries.map(|entry| entry.map(|entry| entry.path()).map_err(io("cannot list", dir))).collect()
    };
    for topic in list(root)? {
        let mut in_use = false;
        for partition in list(&topic)? {
            for file in list(&partition)? {
                if known.contains(&file) {
                    in_use = true;
                } else {
                    std::fs::remove_file(&file).map_err(io("cannot remove", &file))?;
                }
            }
        }
        if !in_use {
            std::fs::remove_dir_all(&topic).map_err(io("cannot remove", &topic))?;
        }
    }
    Ok(())
}
