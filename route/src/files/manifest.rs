//! Where a folder stands: `manifest.json`, the offset behind the last record of each partition that is in its files, and
//! what the kind of files has to remember beside it.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Write as _};
use std::path::Path;

use serde_json::{Map, Value, json};

use super::Pending;
use crate::source::{Slot, Staged};

const FILE: &str = "manifest.json";

/// A partition that is not known stands at 0.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Positions(BTreeMap<Slot, i64>);

impl Positions {
    /// With what was written beside them; `None` for a folder that is new.
    ///
    /// # Errors
    /// When the file cannot be read, or is none of ours.
    pub(crate) fn read(folder: &Path) -> io::Result<Option<(Self, Map<String, Value>)>> {
        let text = match std::fs::read(folder.join(FILE)) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let read = (|| {
            let Value::Object(mut whole) = serde_json::from_slice(&text).ok()? else { return None };
            let mut positions = Self::default();
            for (topic, partitions) in whole.remove("positions")?.as_object()? {
                for (partition, next) in partitions.as_object()? {
                    let slot = Slot { topic: topic.as_str().into(), partition: partition.parse().ok()? };
                    positions.0.insert(slot, next.as_i64()?);
                }
            }
            Some((positions, whole))
        })();
        let damaged = || io::Error::other(format!("{FILE} is damaged: move the folder away"));
        read.map(Some).ok_or_else(damaged)
    }

    /// In the place of what was there; on the disk when it returns.
    ///
    /// # Errors
    /// When it is not.
    pub(crate) fn write(&self, folder: &Path, mut beside: Map<String, Value>) -> io::Result<()> {
        let mut topics: BTreeMap<&str, Map<String, Value>> = BTreeMap::new();
        for (slot, next) in &self.0 {
            topics.entry(&slot.topic).or_default().insert(slot.partition.to_string(), json!(next));
        }
        beside.insert("positions".to_owned(), json!(topics));
        let (fresh, whole) = (folder.join(format!("{FILE}.new")), Value::Object(beside));
        let mut file = File::create(&fresh)?;
        file.write_all(format!("{whole:#}\n").as_bytes())?;
        file.sync_all()?;
        std::fs::rename(fresh, folder.join(FILE))?;
        sync(folder)
    }

    /// Where the partitions stand when all that waits is written.
    pub(crate) fn after(&self, pending: &Pending) -> Self {
        let mut after = self.clone();
        for (slot, next) in pending.heads.next() {
            let position = after.0.entry(slot.clone()).or_default();
            *position = next.max(*position);
        }
        after
    }

    /// Of what waits, what is not written yet.
    pub(crate) fn new_of<'a>(&'a self, pending: &'a Pending) -> impl Iterator<Item = &'a Staged> {
        let is_new = |(slot, staged): &&(Slot, Staged)| staged.offset >= self.0.get(slot).copied().unwrap_or_default();
        pending.staged.iter().filter(is_new).map(|(_, staged)| staged)
    }

    pub(super) fn all(&self) -> impl Iterator<Item = (&Slot, i64)> {
        self.0.iter().map(|(slot, next)| (slot, *next))
    }
}

/// The names in a folder are on the disk when it returns.
pub(crate) fn sync(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

/// One process writes to a folder, for as long as it keeps the file.
///
/// # Errors
/// When another one does.
pub(crate) fn lock(folder: &Path) -> io::Result<File> {
    let file = File::create(folder.join("lock"))?;
    let taken = |error| io::Error::other(format!("another process writes to {}: {error}", folder.display()));
    file.try_lock().map_err(taken)?;
    Ok(file)
}

/// Makes a folder whose parent is there.
pub(crate) fn make(folder: &Path) -> io::Result<()> {
    match std::fs::create_dir(folder) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        _ => Ok(()),
    }
}
