//! The one journal: every change of state is appended here, and is durable once its group is synced.
//!
//! In: [`Frame`]s, under the lock of what they change, so that the journal's order is the order of the changes; out: a
//! number to wait for. A thread writes all frames that wait in one go, syncs once, then tells partitions and waiters.
//! A frame is atomic: recovery takes it whole or not at all. When the disk refuses, frames are kept and tried again, and
//! [`Journal::check`] refuses new work; a file whose sync failed is never synced again (its pages may be lost): the same
//! frames go to a new file.

use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError, mpsc};
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, oneshot};
use tracing::{error, info};

use super::op::Op;
use super::partition::Partition;
use super::writer::{SegmentWrite, ToWriter};
use crate::metrics::Metrics;
use crate::sync::lock;

pub(crate) const FRAME_HEADER_BYTES: usize = 8;
/// Written at the front of every journal file; the last byte is the format's version.
pub(crate) const MAGIC: &[u8; 8] = b"HWJOURN\x01";
const RETRY_AFTER: Duration = Duration::from_millis(500);

/// Changes that become durable together.
#[derive(Default)]
pub(crate) struct Frame {
    pieces: Vec<Bytes>,
    appends: Vec<Appended>,
    permit: Option<OwnedSemaphorePermit>,
}

pub(crate) struct Appended {
    pub(crate) partition: Arc<Partition>,
    pub(crate) closes: Option<i64>,
    pub(crate) write: SegmentWrite,
}

impl Frame {
    pub(crate) fn of(op: &Op) -> Self {
        let mut frame = Self::default();
        frame.push(op);
        frame
    }

    pub(crate) fn push(&mut self, op: &Op) {
        self.pieces.extend(op.encode());
    }

    pub(crate) fn push_append(&mut self, op: &Op, appended: Appended) {
        self.push(op);
        self.appends.push(appended);
    }

    /// Room taken by an append, given back when it is in its segment file.
    pub(crate) fn hold(&mut self, permit: OwnedSemaphorePermit) {
        self.permit = Some(permit);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.pieces.is_empty()
    }

    fn write_to(&self, buffer: &mut Vec<u8>) {
        let len: usize = self.pieces.iter().map(Bytes::len).sum();
        let crc = self.pieces.iter().fold(0, |crc, piece| crc32c::crc32c_append(crc, piece));
        buffer.extend_from_slice(&u32::try_from(len).unwrap_or(u32::MAX).to_be_bytes());
        buffer.extend_from_slice(&crc.to_be_bytes());
        for piece in &self.pieces {
            buffer.extend_from_slice(piece);
        }
    }
}

/// Position in the sequence of frames since this process started.
pub(crate) type Lsn = u64;

enum Item {
    Frame(Frame),
    /// Start a new file; the answer is its number. All frames before are durable by then.
    Rotate(mpsc::Sender<u64>),
}

#[derive(Default)]
struct Queue {
    items: Vec<Item>,
    submitted: Lsn,
    durable: Lsn,
    waiters: VecDeque<(Lsn, oneshot::Sender<()>)>,
    /// The thread ends once all frames are written.
    closed: bool,
    /// The thread has ended: nothing becomes durable any more.
    ended: bool,
}

impl Queue {
    /// Something that resolves when the frame is durable, or fails if it will not be; `None` if it is already.
    fn wait(&mut self, lsn: Lsn) -> Option<oneshot::Receiver<()>> {
        if self.durable >= lsn {
            return None;
        }
        let (sender, receiver) = oneshot::channel();
        if !self.ended {
            // Nearly always at the back: waiters come in the order of their frames.
            let at = self.waiters.iter().rposition(|(other, _)| *other <= lsn).map_or(0, |at| at + 1);
            self.waiters.insert(at, (lsn, sender));
        }
        Some(receiver)
    }
}

struct Shared {
    queue: Mutex<Queue>,
    work: Condvar,
    failing: AtomicBool,
    /// The broker closes: what the disk refuses now is not tried again.
    closing: AtomicBool,
    file_bytes: AtomicU64,
}

#[derive(Clone)]
pub(crate) struct Journal {
    shared: Arc<Shared>,
}

/// The disk does not take writes at present.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("the log cannot be written at present")]
pub(crate) struct StorageFailing;

impl Journal {
    /// Starts the thread, on a new file with number `sequence`.
    pub(crate) fn start(
        dir: &Path,
        sequence: u64,
        sync: bool,
        writer: ToWriter,
        metrics: Metrics,
    ) -> io::Result<(Self, std::thread::JoinHandle<()>)> {
        let shared = Arc::new(Shared {
            queue: Mutex::default(),
            work: Condvar::new(),
            failing: AtomicBool::new(false),
            closing: AtomicBool::new(false),
            file_bytes: AtomicU64::new(0),
        });
        let mut thread = Thread {
            shared: shared.clone(),
            file: OpenFile::create(dir, sequence)?,
            dir: dir.to_owned(),
            sync,
            writer,
            metrics,
        };
        let handle = std::thread::Builder::new().name("broker-journal".to_owned()).spawn(move || thread.run())?;
        Ok((Self { shared }, handle))
    }

    /// Takes a frame. Call it while holding the lock of what the frame changes; it does not block on I/O.
    pub(crate) fn submit(&self, frame: Frame) -> Lsn {
        let mut queue = lock(&self.shared.queue);
        queue.items.push(Item::Frame(frame));
        queue.submitted += 1;
        self.shared.work.notify_one();
        queue.submitted
    }

    /// The number of the last frame taken: what it and all before it change can be seen by now.
    pub(crate) fn submitted(&self) -> Lsn {
        lock(&self.shared.queue).submitted
    }

    /// Resolves when the frame and all before it are durable.
    pub(crate) async fn durable(&self, lsn: Lsn) {
        let waiter = lock(&self.shared.queue).wait(lsn);
        if let Some(waiter) = waiter
            && waiter.await.is_err()
        {
            // The journal has closed: this frame will not be confirmed, so neither may the caller confirm it.
            std::future::pending::<()>().await;
        }
    }

    pub(crate) async fn durable_now(&self) {
        let lsn = self.submitted();
        self.durable(lsn).await;
    }

    /// As [`Self::durable`], for threads; false if the journal closed before.
    pub(crate) fn wait_durable(&self, lsn: Lsn) -> bool {
        let waiter = lock(&self.shared.queue).wait(lsn);
        waiter.is_none_or(|waiter| waiter.blocking_recv().is_ok())
    }

    pub(crate) fn check(&self) -> Result<(), StorageFailing> {
        if self.shared.failing.load(Ordering::Relaxed) { Err(StorageFailing) } else { Ok(()) }
    }

    pub(crate) fn file_bytes(&self) -> u64 {
        self.shared.file_bytes.load(Ordering::Relaxed)
    }

    /// Closes the present file; the number of the new one, which holds all frames submitted from now on.
    pub(crate) fn rotate(&self) -> Option<u64> {
        let (sender, receiver) = mpsc::channel();
        {
            let mut queue = lock(&self.shared.queue);
            if queue.ended {
                return None;
            }
            queue.items.push(Item::Rotate(sender));
            self.shared.work.notify_one();
        }
        receiver.recv().ok()
    }

    /// From now on what the disk refuses is given up.
    pub(crate) fn stop_retrying(&self) {
        self.shared.closing.store(true, Ordering::Relaxed);
    }

    /// Lets the thread end once all frames are written.
    pub(crate) fn close(&self) {
        lock(&self.shared.queue).closed = true;
        self.shared.work.notify_one();
    }

    /// After the thread has ended: whether all frames that it was given are durable.
    pub(crate) fn is_complete(&self) -> bool {
        let queue = lock(&self.shared.queue);
        queue.durable == queue.submitted
    }
}

struct OpenFile {
    file: File,
    sequence: u64,
    end: u64,
    /// Its sync failed: nothing more is written to it.
    failed: bool,
}

impl OpenFile {
    fn create(dir: &Path, sequence: u64) -> io::Result<Self> {
        let file = File::options().write(true).create(true).truncate(true).open(journal_path(dir, sequence))?;
        file.write_all_at(MAGIC, 0)?;
        file.sync_all()?;
        File::open(dir)?.sync_all()?;
        Ok(Self { file, sequence, end: MAGIC.len() as u64, failed: false })
    }
}

pub(crate) fn journal_path(dir: &Path, sequence: u64) -> PathBuf {
    dir.join(format!("{sequence:012}.journal"))
}

struct Thread {
    shared: Arc<Shared>,
    dir: PathBuf,
    file: OpenFile,
    sync: bool,
    writer: ToWriter,
    metrics: Metrics,
}

impl Thread {
    fn run(&mut self) {
        let mut buffer = Vec::new();
        while let Some(items) = self.next_items() {
            if self.take(items, &mut buffer).is_err() {
                error!("the journal closes without the last changes: they were not confirmed to anybody");
                break;
            }
            if buffer.capacity() > 4 * 1024 * 1024 {
                buffer = Vec::new();
            }
        }
        let mut queue = lock(&self.shared.queue);
        queue.ended = true;
        // Both tell those who wait that nothing more will come.
        queue.items.clear();
        queue.waiters.clear();
    }

    fn take(&mut self, items: Vec<Item>, buffer: &mut Vec<u8>) -> Result<(), StorageFailing> {
        let mut group = Vec::new();
        for item in items {
            match item {
                Item::Frame(frame) => group.push(frame),
                Item::Rotate(answer) => {
                    self.commit(std::mem::take(&mut group), buffer)?;
                    self.retry(Self::rotate)?;
                    // Nobody waits for the number any more: the checkpoint was given up.
                    answer.send(self.file.sequence).ok();
                }
            }
        }
        self.commit(group, buffer)
    }

    fn next_items(&self) -> Option<Vec<Item>> {
        let mut queue = lock(&self.shared.queue);
        while queue.items.is_empty() {
            if queue.closed {
                return None;
            }
            queue = self.shared.work.wait(queue).unwrap_or_else(PoisonError::into_inner);
        }
        Some(std::mem::take(&mut queue.items))
    }

    fn commit(&mut self, group: Vec<Frame>, buffer: &mut Vec<u8>) -> Result<(), StorageFailing> {
        if group.is_empty() {
            return Ok(());
        }
        buffer.clear();
        for frame in &group {
            frame.write_to(buffer);
        }
        self.retry(|thread| thread.write(buffer))?;
        let count = group.len() as u64;
        let mut writes = Vec::new();
        for frame in group {
            let mut permit = frame.permit;
            for appended in frame.appends {
                appended.partition.durable(appended.write.end, appended.closes);
                writes.push((appended.partition, appended.write, permit.take()));
            }
        }
        let mut queue = lock(&self.shared.queue);
        queue.durable += count;
        let durable = queue.durable;
        while queue.waiters.front().is_some_and(|(lsn, _)| *lsn <= durable) {
            if let Some((_, waiter)) = queue.waiters.pop_front() {
                // A waiter that is gone has a closed connection.
                waiter.send(()).ok();
            }
        }
        drop(queue);
        self.writer.send(durable, writes);
        Ok(())
    }

    /// Does it until the disk lets it, or until the broker closes.
    fn retry(&mut self, mut step: impl FnMut(&mut Self) -> io::Result<()>) -> Result<(), StorageFailing> {
        while let Err(problem) = step(self) {
            if !self.shared.failing.swap(true, Ordering::Relaxed) {
                error!(error = %problem, "the journal cannot be written: writes are refused until it can");
            }
            if self.shared.closing.load(Ordering::Relaxed) {
                return Err(StorageFailing);
            }
            std::thread::sleep(RETRY_AFTER);
        }
        if self.shared.failing.swap(false, Ordering::Relaxed) {
            info!("the journal can be written again");
        }
        Ok(())
    }

    fn write(&mut self, buffer: &[u8]) -> io::Result<()> {
        if self.file.failed {
            self.abandon_tail()?;
        }
        self.file.file.write_all_at(buffer, self.file.end)?;
        if self.sync {
            let started = Instant::now();
            if let Err(problem) = self.file.file.sync_data() {
                self.file.failed = true;
                self.abandon_tail()?;
                return Err(problem);
            }
            self.metrics.sync_seconds.observe(started.elapsed().as_secs_f64());
        }
        self.file.end += buffer.len() as u64;
        self.shared.file_bytes.store(self.file.end, Ordering::Relaxed);
        Ok(())
    }

    /// After a failed sync: cut what may be half there, and go on in a new file.
    fn abandon_tail(&mut self) -> io::Result<()> {
        self.file.file.set_len(self.file.end)?;
        self.file = OpenFile::create(&self.dir, self.file.sequence + 1)?;
        Ok(())
    }

    fn rotate(&mut self) -> io::Result<()> {
        self.file = OpenFile::create(&self.dir, self.file.sequence + 1)?;
        self.shared.file_bytes.store(self.file.end, Ordering::Relaxed);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::writer::Writer;

    #[test]
    fn while_the_disk_refuses_work_is_refused_and_what_was_taken_is_kept() {
        let dir = tempfile::tempdir().unwrap();
        let (_writer, to_writer, _) = Writer::start().unwrap();
        let metrics = Metrics::register(&prometheus::Registry::new()).unwrap();
        let (journal, thread) = Journal::start(dir.path(), 1, true, to_writer, metrics).unwrap();
        let submit = || journal.submit(Frame::of(&Op::ReserveProducerIds { next: 1 }));
        assert!(journal.wait_durable(submit()));
        // The next file is a device that is always full.
        std::os::unix::fs::symlink("/dev/full", journal_path(dir.path(), 2)).unwrap();
        let rotating = std::thread::spawn({
            let journal = journal.clone();
            move || journal.rotate()
        });
        while journal.check().is_ok() {
            std::thread::sleep(Duration::from_millis(5));
        }
        let kept = submit();
        std::fs::remove_file(journal_path(dir.path(), 2)).unwrap();
        assert_eq!(rotating.join().unwrap(), Some(2));
        assert!(journal.check().is_ok());
        assert!(journal.wait_durable(kept));
        journal.close();
        thread.join().unwrap();
        assert!(std::fs::metadata(journal_path(dir.path(), 2)).unwrap().len() > MAGIC.len() as u64);
    }
}
