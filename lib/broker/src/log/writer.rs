//! Brings what the journal holds into the segment files, behind the acknowledgements.
//!
//! In: batches with their file and position, in the journal's order; out: bytes in the page cache (a checkpoint syncs
//! them). Files are opened when first written and a bounded number stays open.

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError, mpsc};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::OwnedSemaphorePermit;
use tracing::{error, info};

use super::journal::Lsn;
use super::partition::Partition;
use crate::sync::lock;

const OPEN_FILES: usize = 128;
const RETRY_AFTER: Duration = Duration::from_millis(500);

/// One batch and its place in the partition's files.
pub(crate) struct SegmentWrite {
    pub(crate) path: PathBuf,
    pub(crate) position: u64,
    pub(crate) bytes: Bytes,
    /// Log end behind it.
    pub(crate) end: i64,
}

type Write = (Arc<Partition>, SegmentWrite, Option<OwnedSemaphorePermit>);

#[derive(Default)]
struct Progress {
    written: Lsn,
    ended: bool,
    /// Files written since the last checkpoint took this list.
    dirty: HashSet<PathBuf>,
}

#[derive(Default)]
struct Shared {
    progress: Mutex<Progress>,
    moved: Condvar,
    /// The broker closes: what the disk refuses now is not tried again.
    closing: AtomicBool,
}

/// Where the journal sends what is durable.
pub(crate) struct ToWriter {
    sender: mpsc::Sender<(Lsn, Vec<Write>)>,
}

impl ToWriter {
    pub(crate) fn send(&self, lsn: Lsn, writes: Vec<Write>) {
        // The thread ends only after this sender is gone.
        self.sender.send((lsn, writes)).ok();
    }
}

#[derive(Clone)]
pub(crate) struct Writer {
    shared: Arc<Shared>,
}

impl Writer {
    pub(crate) fn start() -> io::Result<(Self, ToWriter, std::thread::JoinHandle<()>)> {
        let (sender, receiver) = mpsc::channel();
        let shared = Arc::new(Shared::default());
        let mut thread = Thread { shared: shared.clone(), files: Files::default() };
        let handle =
            std::thread::Builder::new().name("broker-segments".to_owned()).spawn(move || thread.run(&receiver))?;
        Ok((Self { shared }, ToWriter { sender }, handle))
    }

    /// Waits until all of the journal up to `lsn` is in the segment files; false if the thread ended before.
    pub(crate) fn wait_written(&self, lsn: Lsn) -> bool {
        let mut progress = lock(&self.shared.progress);
        while progress.written < lsn && !progress.ended {
            progress = self.shared.moved.wait(progress).unwrap_or_else(PoisonError::into_inner);
        }
        progress.written >= lsn
    }

    /// From now on what the disk refuses is given up: the journal has it.
    pub(crate) fn stop_retrying(&self) {
        self.shared.closing.store(true, Ordering::Relaxed);
    }

    pub(crate) fn take_dirty(&self) -> HashSet<PathBuf> {
        std::mem::take(&mut lock(&self.shared.progress).dirty)
    }

    /// Files written by others, or taken by a checkpoint that failed to sync them.
    pub(crate) fn put_back_dirty(&self, files: HashSet<PathBuf>) {
        lock(&self.shared.progress).dirty.extend(files);
    }
}

/// A bounded set of files open for writing.
#[derive(Default)]
pub(crate) struct Files {
    open: HashMap<PathBuf, File>,
}

impl Files {
    pub(crate) fn write(&mut self, path: &PathBuf, position: u64, bytes: &[u8]) -> io::Result<()> {
        if !self.open.contains_key(path) {
            if self.open.len() >= OPEN_FILES {
                self.open.clear();
            }
            self.open.insert(path.clone(), open(path)?);
        }
        match self.open.get(path) {
            Some(file) => file.write_all_at(bytes, position),
            None => Ok(()),
        }
    }
}

fn open(path: &PathBuf) -> io::Result<File> {
    let options = || File::options().write(true).create(true).truncate(false).open(path);
    match options() {
        Err(problem) if problem.kind() == io::ErrorKind::NotFound => {
            if let Some(dir) = path.parent() {
                std::fs::create_dir_all(dir)?;
            }
            options()
        }
        other => other,
    }
}

struct Thread {
    shared: Arc<Shared>,
    files: Files,
}

impl Thread {
    fn run(&mut self, receiver: &mpsc::Receiver<(Lsn, Vec<Write>)>) {
        while let Ok((lsn, writes)) = receiver.recv() {
            if !self.take(lsn, writes) {
                break;
            }
        }
        lock(&self.shared.progress).ended = true;
        self.shared.moved.notify_all();
    }

    fn take(&mut self, lsn: Lsn, writes: Vec<Write>) -> bool {
        let mut dirty = HashSet::new();
        for (partition, write, permit) in writes {
            if !partition.lock().deleted {
                if !self.write(&partition, &write) {
                    return false;
                }
                dirty.insert(write.path);
            }
            partition.written(write.end);
            drop(permit);
        }
        let mut progress = lock(&self.shared.progress);
        progress.written = lsn;
        progress.dirty.extend(dirty);
        self.shared.moved.notify_all();
        true
    }

    /// Tries until it is written: the journal holds it, readers have it from memory, and writers run out of room. False
    /// if the broker closes before.
    fn write(&mut self, partition: &Partition, write: &SegmentWrite) -> bool {
        let mut failing = false;
        while let Err(problem) = self.files.write(&write.path, write.position, &write.bytes) {
            if !failing {
                error!(error = %problem, file = %write.path.display(), "a segment cannot be written");
                failing = true;
            }
            if partition.lock().deleted {
                return true;
            }
            if self.shared.closing.load(Ordering::Relaxed) {
                return false;
            }
            std::thread::sleep(RETRY_AFTER);
        }
        if failing {
            info!(file = %write.path.display(), "the segment can be written again");
        }
        true
    }
}
