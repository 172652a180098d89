//! JSON lines: a file that is written, `0000000007.jsonl.open`, and finished ones, `0000000006.jsonl`, that never change
//! again.
//!
//! A crash leaves no line twice and none in part: `manifest.json` names the file that is written and how long it is.
//! Lines are synced first, then the position, then the offset is committed. What stands behind that length after a crash
//! is cut off and comes again; what stands before it and comes again is left out.

use std::fs::File;
use std::io::{self, Seek as _, SeekFrom, Write as _};
use std::path::PathBuf;
use std::time::Duration;

use hirewire_yaml::{Node, Problems};
use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::manifest::{Positions, lock, make, sync};
use super::{Folder, Pending};
use crate::deliver::Content;
use crate::settings::read_duration;

/// The checked settings of a `file` sink.
#[derive(Debug, Clone)]
pub(crate) struct LinesSettings {
    /// The folder.
    pub(crate) path: PathBuf,
    rotate_bytes: u64,
    rotate_after: Duration,
}

impl LinesSettings {
    pub(crate) fn read(node: &Node, problems: &mut Problems) -> Option<Self> {
        let mut map = node.map(problems)?;
        let path = map.require("path", problems).and_then(|node| node.path(problems));
        let rotate_bytes = map.get("rotate_bytes").map_or(Some(64 << 20), |node| node.whole(1024, problems));
        let mut rotate_after = Duration::from_secs(60 * 60);
        read_duration(&mut map, "rotate_after", &mut rotate_after, problems);
        map.finish(problems);
        Some(Self { path: path?, rotate_bytes: rotate_bytes?, rotate_after })
    }
}

pub(crate) struct Lines {
    settings: LinesSettings,
    /// `None`: not open yet, or something failed and nobody knows what the disk has.
    open: Option<Open>,
}

struct Open {
    positions: Positions,
    number: u64,
    file: File,
    bytes: u64,
    begun: Timestamp,
    _lock: File,
}

impl Lines {
    pub(crate) fn new(settings: LinesSettings) -> Self {
        Self { settings, open: None }
    }

    fn name(&self, number: u64) -> PathBuf {
        self.settings.path.join(format!("{number:010}.jsonl"))
    }

    fn open_name(&self, number: u64) -> PathBuf {
        self.settings.path.join(format!("{number:010}.jsonl.open"))
    }

    /// As it was when the position was written last.
    fn opened(&self) -> io::Result<Open> {
        let folder = &self.settings.path;
        make(folder)?;
        let _lock = lock(folder)?;
        let (positions, beside) = Positions::read(folder)?.unwrap_or_default();
        let recorded = |key: &str| beside.get(key);
        let whole = |key: &str| recorded(key).and_then(Value::as_u64).unwrap_or_default();
        let (mut number, mut bytes) = (whole("file"), whole("bytes"));
        let begun = recorded("begun").and_then(|at| at.as_str()?.parse().ok());
        let mut begun = begun.unwrap_or_else(Timestamp::now);
        if self.name(number).exists() {
            // It was finished, and the position of the next one was not written any more.
            (number, bytes, begun) = (number + 1, 0, Timestamp::now());
        }
        let file = File::options().create(true).truncate(false).write(true).open(self.open_name(number))?;
        let found = file.metadata()?.len();
        if found < bytes {
            let what = format!("{:010}.jsonl.open has {found} of {bytes} bytes: somebody changed it", number);
            return Err(io::Error::other(what));
        }
        file.set_len(bytes)?;
        (&file).seek(SeekFrom::End(0))?;
        sync(folder)?;
        Ok(Open { positions, number, file, bytes, begun, _lock })
    }

    fn append(&self, open: &mut Open, pending: &Pending) -> io::Result<()> {
        let mut lines = Vec::new();
        for staged in open.positions.new_of(pending) {
            match &staged.delivery.content {
                Content::Request(request) => lines.extend_from_slice(request.body.shown()),
                Content::Copy(copied) => write!(lines, "{}", copied.event.tree)?,
                Content::Row(row) => serde_json::to_writer(&mut lines, &row.values)?,
            }
            lines.push(b'\n');
        }
        open.file.write_all(&lines)?;
        open.file.sync_data()?;
        if open.bytes == 0 {
            open.begun = Timestamp::now();
        }
        open.bytes += lines.len() as u64;
        open.positions = open.positions.after(pending);
        self.record(open)
    }

    fn record(&self, open: &Open) -> io::Result<()> {
        let mut beside = Map::new();
        beside.insert("file".to_owned(), json!(open.number));
        beside.insert("bytes".to_owned(), json!(open.bytes));
        beside.insert("begun".to_owned(), json!(open.begun.to_string()));
        open.positions.write(&self.settings.path, beside)
    }

    fn is_full(&self, open: &Open) -> bool {
        let age = Duration::try_from(Timestamp::now().duration_since(open.begun)).unwrap_or_default();
        open.bytes >= self.settings.rotate_bytes || (open.bytes > 0 && age >= self.settings.rotate_after)
    }

    /// The file gets its name, which nobody writes to any more, and the next one begins.
    fn rotate(&self, mut open: Open) -> io::Result<Open> {
        std::fs::rename(self.open_name(open.number), self.name(open.number))?;
        (open.number, open.bytes) = (open.number + 1, 0);
        open.file = File::create(self.open_name(open.number))?;
        sync(&self.settings.path)?;
        self.record(&open)?;
        Ok(open)
    }
}

impl Folder for Lines {
    fn is_due(&self, pending: &Pending) -> bool {
        !pending.heads.is_empty()
    }

    fn write(&mut self, pending: &Pending) -> io::Result<()> {
        let mut open = match self.open.take() {
            Some(open) => open,
            None => self.opened()?,
        };
        self.append(&mut open, pending)?;
        self.open = Some(open);
        Ok(())
    }

    fn tend(&mut self) -> io::Result<()> {
        let Some(open) = self.open.take() else { return Ok(()) };
        self.open = Some(if self.is_full(&open) { self.rotate(open)? } else { open });
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::tests::{moves, pending};
    use super::*;

    fn lines(folder: &Path, rotate_bytes: u64) -> Lines {
        let rotate_after = Duration::from_secs(60 * 60);
        Lines::new(LinesSettings { path: folder.join("out"), rotate_bytes, rotate_after })
    }

    /// The numbers in all files, finished ones first, and the files' names.
    fn read(folder: &Path) -> (Vec<i64>, Vec<String>) {
        let mut files: Vec<PathBuf> =
            std::fs::read_dir(folder.join("out")).unwrap().map(|entry| entry.unwrap().path()).collect();
        files.retain(|path| path.to_str().unwrap().contains(".jsonl"));
        files.sort();
        let texts = files.iter().map(|path| std::fs::read_to_string(path).unwrap());
        let numbers = texts.collect::<String>();
        let number = |line: &str| serde_json::from_str::<Value>(line).unwrap()["sequence_no"].as_i64().unwrap();
        let name = |path: &PathBuf| path.file_name().unwrap().to_str().unwrap().to_owned();
        (numbers.lines().map(number).collect(), files.iter().map(name).collect())
    }

    #[test]
    fn a_crash_leaves_no_line_twice_and_none_in_part() {
        let folder = tempfile::tempdir().unwrap();
        let mut sink = lines(folder.path(), 1 << 20);
        sink.write(&pending(0, moves(0..10))).unwrap();
        sink.write(&pending(1, moves(0..5))).unwrap();
        drop(sink);

        // Killed after the lines were written, before the position was: they are cut off and come again.
        let path = folder.path().join("out/0000000000.jsonl.open");
        let mut file = File::options().append(true).open(&path).unwrap();
        file.write_all(b"{\"sequence_no\": 10}\n{\"sequence_no\": 11}\n{\"sequence").unwrap();
        let mut sink = lines(folder.path(), 1 << 20);
        // Killed after the position was written, before the offset was committed: 7 to 9 come again.
        sink.write(&pending(0, moves(7..13))).unwrap();
        sink.write(&pending(1, moves(0..6))).unwrap();
        let expected: Vec<i64> = (0..10).chain(0..5).chain(10..13).chain([5]).collect();
        assert_eq!(read(folder.path()).0, expected);
    }

    #[test]
    fn a_full_file_gets_its_name_and_never_changes_again() {
        let folder = tempfile::tempdir().unwrap();
        let mut sink = lines(folder.path(), 1024);
        for from in 0..4 {
            sink.write(&pending(0, moves(from * 10..from * 10 + 10))).unwrap();
            sink.tend().unwrap();
        }
        drop(sink);
        let (numbers, files) = read(folder.path());
        assert_eq!(numbers, (0..40).collect::<Vec<_>>());
        assert!(files.len() > 2 && files.iter().rev().skip(1).all(|name| name.ends_with(".jsonl")), "{files:?}");
        assert_eq!(files.last().unwrap(), &format!("{:010}.jsonl.open", files.len() - 1));

        // Killed between the renaming and the position: the next file begins, empty.
        let open = folder.path().join("out").join(files.last().unwrap());
        let mut sink = lines(folder.path(), 1 << 20);
        sink.write(&pending(0, moves(40..41))).unwrap();
        drop(sink);
        std::fs::rename(&open, open.with_extension("")).unwrap();
        let mut sink = lines(folder.path(), 1 << 20);
        sink.write(&pending(0, moves(40..43))).unwrap();
        assert_eq!(read(folder.path()).0, (0..43).collect::<Vec<_>>());
    }

    #[test]
    fn an_old_file_is_finished_whatever_its_size() {
        let folder = tempfile::tempdir().unwrap();
        let mut sink = lines(folder.path(), 1 << 20);
        sink.write(&pending(0, moves(0..1))).unwrap();
        sink.tend().unwrap();
        assert_eq!(read(folder.path()).1, ["0000000000.jsonl.open"]);
        sink.settings.rotate_after = Duration::ZERO;
        sink.tend().unwrap();
        sink.tend().unwrap();
        assert_eq!(read(folder.path()).1, ["0000000000.jsonl", "0000000001.jsonl.open"]);
    }

    #[test]
    fn a_folder_has_one_writer_and_what_was_changed_by_hand_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let mut first = lines(folder.path(), 1 << 20);
        first.write(&pending(0, moves(0..5))).unwrap();
        let mut second = lines(folder.path(), 1 << 20);
        let refused = second.write(&pending(0, moves(5..6))).unwrap_err().to_string();
        assert!(refused.contains("another process writes to"), "{refused}");
        drop(first);
        File::create(folder.path().join("out/0000000000.jsonl.open")).unwrap();
        let refused = second.write(&pending(0, moves(5..6))).unwrap_err().to_string();
        assert!(refused.contains("somebody changed it"), "{refused}");
        std::fs::write(folder.path().join("out/manifest.json"), "{").unwrap();
        let refused = second.write(&pending(0, moves(5..6))).unwrap_err().to_string();
        assert!(refused.contains("manifest.json is damaged"), "{refused}");
    }
}
