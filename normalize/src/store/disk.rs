//! SQLite under the store: one table of states, one row about the file. Never synced: the topic is the truth.

use std::path::{Path, PathBuf};

use bytes::Bytes;
use rusqlite::{Connection, OptionalExtension, params};

use crate::claim::Id;
use crate::reconcile::FORMAT;

/// The local store cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("the local store {} cannot be used: {what}; check that its folder can be written and has space", path.display())]
pub struct DiskError {
    path: PathBuf,
    what: String,
}

pub(super) struct Disk {
    path: PathBuf,
    connection: Connection,
}

impl Disk {
    /// Opens, or throws away what cannot be used and begins anew.
    pub(super) fn open(path: &Path) -> Result<Self, DiskError> {
        let failed = |error: &rusqlite::Error| DiskError { path: path.to_owned(), what: error.to_string() };
        let unusable = match connect(path) {
            Ok((connection, FORMAT)) => return Ok(Self { path: path.to_owned(), connection }),
            Ok((_, format)) => format!("it is of version {format}"),
            Err(error) => error.to_string(),
        };
        tracing::warn!(path = %path.display(), reason = unusable, "local store thrown away, state is read from Kafka again");
        for suffix in ["", "-wal", "-shm"] {
            let mut name = path.as_os_str().to_owned();
            name.push(suffix);
            if let Err(error) = std::fs::remove_file(&name)
                && error.kind() != std::io::ErrorKind::NotFound
            {
                return Err(DiskError { path: path.to_owned(), what: error.to_string() });
            }
        }
        let (connection, _) = connect(path).map_err(|error| failed(&error))?;
        Ok(Self { path: path.to_owned(), connection })
    }

    pub(super) fn next_offset(&self) -> Result<i64, DiskError> {
        self.connection
            .query_row("SELECT next_offset FROM about", (), |row| row.get(0))
            .map_err(|error| self.failed(&error))
    }

    pub(super) fn get(&self, id: &Id) -> Result<Option<Bytes>, DiskError> {
        let mut find = self
            .connection
            .prepare_cached("SELECT state FROM states WHERE id = ?")
            .map_err(|error| self.failed(&error))?;
        find.query_row([&id[..]], |row| row.get::<_, Vec<u8>>(0))
            .optional()
            .map(|found| found.map(Bytes::from))
            .map_err(|error| self.failed(&error))
    }

    pub(super) fn write<'a>(
        &mut self,
        states: impl Iterator<Item = (&'a Id, Option<&'a Bytes>)>,
        next_offset: i64,
    ) -> Result<(), DiskError> {
        let path = self.path.clone();
        let all = || -> rusqlite::Result<()> {
            let transaction = self.connection.transaction()?;
            {
                let mut put = transaction.prepare_cached(
                    "INSERT INTO states (id, state) VALUES (?, ?) ON CONFLICT (id) DO UPDATE SET state = excluded.state",
                )?;
                let mut forget = transaction.prepare_cached("DELETE FROM states WHERE id = ?")?;
                // In the order of the index: neighbours share its pages.
                let mut states: Vec<_> = states.collect();
                states.sort_unstable_by_key(|(id, _)| *id);
                for (id, state) in states {
                    match state {
                        Some(state) => put.execute(params![&id[..], &state[..]])?,
                        None => forget.execute([&id[..]])?,
                    };
                }
            }
            transaction.execute("UPDATE about SET next_offset = ?", [next_offset])?;
            transaction.commit()
        };
        all().map_err(|error| DiskError { path, what: error.to_string() })
    }

    pub(super) fn clear(&mut self) -> Result<(), DiskError> {
        self.connection
            .execute_batch("DELETE FROM states; UPDATE about SET next_offset = 0;")
            .map_err(|error| self.failed(&error))
    }

    fn failed(&self, error: &rusqlite::Error) -> DiskError {
        DiskError { path: self.path.clone(), what: error.to_string() }
    }
}

fn connect(path: &Path) -> rusqlite::Result<(Connection, i32)> {
    let connection = Connection::open(path)?;
    connection.execute_batch(
        "PRAGMA journal_mode = WAL; PRAGMA synchronous = OFF; PRAGMA cache_size = -2048; PRAGMA mmap_size = 0;
         PRAGMA locking_mode = NORMAL;
         CREATE TABLE IF NOT EXISTS states (id BLOB PRIMARY KEY, state BLOB NOT NULL);
         CREATE TABLE IF NOT EXISTS about (format INTEGER NOT NULL, next_offset INTEGER NOT NULL);",
    )?;
    let known: Option<i32> = connection.query_row("SELECT format FROM about", (), |row| row.get(0)).optional()?;
    let format = match known {
        Some(format) => format,
        None => {
            connection.execute("INSERT INTO about (format, next_offset) VALUES (?, 0)", [FORMAT])?;
            FORMAT
        }
    };
    Ok((connection, format))
}
