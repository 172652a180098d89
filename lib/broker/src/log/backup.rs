//! A copy of a data directory while a broker works in it.
//!
//! In: the directory; out: another one with the state at one moment that is not before the call. Nothing is asked of the broker: the
//! files themselves allow it. A checkpoint names the journal file to begin with and how much of each segment counts; journals
//! only grow, segments are never changed below that length, and neither is removed before another checkpoint is in place. So
//! what was copied while the checkpoint stayed the same belongs together, and where it did not, the copy begins again with the new
//! one and keeps the segments that it has.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use super::checkpoint::{self, Checkpoint};
use super::journal::journal_path;
use super::op::Op;
use super::partition::Partition;
use super::recovery::journals;
use super::segment::Segment;
use crate::broker::existing_format;
use crate::settings::{BackupError, OpenError};

/// Checkpoints come at most every few seconds, and each round has less to copy: this many are not outrun by chance.
const ROUNDS: usize = 50;

/// Copies the data of a broker, running or not, to `to`, which is made or empty. Blocks while it copies.
///
/// What the broker has acknowledged before the call is in the copy; of a transaction, all or nothing.
///
/// # Errors
/// `data_dir` holds no broker's data, `to` is not empty, a file cannot be read or written, or the broker writes faster than the copy is made.
pub fn backup(data_dir: &Path, to: &Path) -> Result<(), BackupError> {
    existing_format(data_dir)?;
    make_empty(to)?;
    for _ in 0..ROUNDS {
        if round(data_dir, to)? {
            return sync_dirs(to).map_err(|source| io_error("cannot write", to)(source));
        }
    }
    Err(BackupError::Outrun { dir: data_dir.to_owned() })
}

fn io_error(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> BackupError + use<> {
    let path = path.to_owned();
    move |source| BackupError::Open(OpenError::Io { what, path, source })
}

fn make_empty(to: &Path) -> Result<(), BackupError> {
    std::fs::create_dir_all(to).map_err(io_error("cannot make", to))?;
    match std::fs::read_dir(to).map_err(io_error("cannot list", to))?.next() {
        None => Ok(()),
        Some(_) => Err(BackupError::NotEmpty { dir: to.to_owned() }),
    }
}

/// One try; false if the broker removed something that was still to be copied.
fn round(from: &Path, to: &Path) -> Result<bool, BackupError> {
    let path = checkpoint::path(from);
    let before = read_if_there(&path).map_err(io_error("cannot read", &path))?;
    let Checkpoint { journal_from, ops } = match &before {
        Some(bytes) => checkpoint::parse(&path, bytes.clone())?,
        None => Checkpoint::default(),
    };
    let journal = to.join("journal");
    if journal.exists() {
        std::fs::remove_dir_all(&journal).map_err(io_error("cannot remove", &journal))?;
    }
    let copied = copy_journals(from, to, journal_from)?;
    // Where it is the same as before, all the journals that belong to it were there.
    let same = before == read_if_there(&path).map_err(io_error("cannot read", &path))?;
    if !copied || !same || !copy_segments(from, to, &ops)? {
        return Ok(false);
    }
    let write = |name: &str, bytes: &[u8]| {
        let path = to.join(name);
        let written = std::fs::write(&path, bytes).and_then(|()| File::open(&path)?.sync_all());
        written.map_err(io_error("cannot write", &path))
    };
    if let Some(bytes) = before {
        write("checkpoint", &bytes)?;
    }
    let path = from.join("format");
    write("format", &std::fs::read(&path).map_err(io_error("cannot read", &path))?)?;
    Ok(true)
}

fn read_if_there(path: &Path) -> io::Result<Option<Vec<u8>>> {
    match std::fs::read(path) {
        Err(problem) if problem.kind() == io::ErrorKind::NotFound => Ok(None),
        other => other.map(Some),
    }
}

/// All journal files from a number on, each as long as it was when they were listed.
fn copy_journals(from: &Path, to: &Path, first: u64) -> Result<bool, BackupError> {
    let folder = to.join("journal");
    std::fs::create_dir_all(&folder).map_err(io_error("cannot make", &folder))?;
    let all = journals(&from.join("journal"))?;
    let mut wanted = Vec::new();
    for (sequence, path) in all.into_iter().filter(|(sequence, _)| *sequence >= first) {
        match std::fs::metadata(&path) {
            Err(problem) if problem.kind() == io::ErrorKind::NotFound => return Ok(false),
            other => wanted.push((sequence, other.map_err(io_error("cannot read", &path))?.len(), path)),
        }
    }
    for (sequence, bytes, path) in wanted {
        // Shorter by now: its end was refused by the disk and stands in the next file. Nobody was told of it.
        if copy_file(&path, &journal_path(&folder, sequence), bytes)?.is_none() {
            return Ok(false);
        }
    }
    Ok(true)
}

/// The segments and indexes that a checkpoint names, as long as it says.
fn copy_segments(from: &Path, to: &Path, ops: &[Op]) -> Result<bool, BackupError> {
    let (from, to) = (from.join("topics"), to.join("topics"));
    for op in ops {
        let Op::PutPartition { topic, partition, state } = op else { continue };
        let place = |root: &Path| Partition::new(*topic, *partition, root).dir;
        let (from, to) = (place(&from), place(&to));
        if !state.segments.is_empty() {
            std::fs::create_dir_all(&to).map_err(io_error("cannot make", &to))?;
        }
        for segment in &state.segments {
            if !copy_segment(segment, &from, &to)? {
                return Ok(false);
            }
        }
    }
    Ok(true)
}

fn copy_segment(segment: &Segment, from: &Path, to: &Path) -> Result<bool, BackupError> {
    let parts = [
        (segment.data_path(from), segment.data_path(to), segment.bytes),
        (segment.index_path(from), segment.index_path(to), segment.index_bytes()),
    ];
    for (from, to, bytes) in parts {
        if bytes == 0 || std::fs::metadata(&to).is_ok_and(|found| found.len() == bytes) {
            continue;
        }
        match copy_file(&from, &to, bytes)? {
            None => return Ok(false),
            Some(copied) if copied < bytes => return Err(OpenError::Damaged { file: from, position: copied }.into()),
            Some(_) => {}
        }
    }
    Ok(true)
}

/// The first bytes of a file, at most so many: how many; `None` if it is not there any more.
fn copy_file(from: &Path, to: &Path, bytes: u64) -> Result<Option<u64>, BackupError> {
    let source = match File::open(from) {
        Err(problem) if problem.kind() == io::ErrorKind::NotFound => return Ok(None),
        other => other.map_err(io_error("cannot read", from))?,
    };
    let mut target = File::create(to).map_err(io_error("cannot write", to))?;
    let copied = io::copy(&mut source.take(bytes), &mut target).map_err(io_error("cannot copy", from))?;
    target.sync_all().map_err(io_error("cannot write", to))?;
    Ok(Some(copied))
}

/// The folder and all in it, so that the files' names last too.
fn sync_dirs(dir: &Path) -> io::Result<()> {
    for entry in std::fs::read_dir(dir)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            sync_dirs(&entry.path())?;
        }
    }
    File::open(dir)?.sync_all()
}
