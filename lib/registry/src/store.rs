//! The registry's file: a SQLite database with the ids, versions, levels and modes.
//!
//! A commit is on disk before it returns (`synchronous = FULL`), so that an id that was answered stays. One process
//! holds the folder by the file `lock`; a second one is refused. SQLite's own locks let others read: [`backup`] does.

use std::collections::BTreeSet;
use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, OpenFlags, OptionalExtension, params};

const FILE: &str = "registry.sqlite";
const FORMAT: i64 = 1;
/// How long a copy that is being made may hold up the registry, or the registry a copy. In fact they do not wait for each other.
const PATIENCE: Duration = Duration::from_secs(5);

const TABLES: &str = "
CREATE TABLE IF NOT EXISTS schemas (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    identity TEXT NOT NULL,
    refs TEXT NOT NULL,
    text TEXT NOT NULL,
    UNIQUE (identity, refs)
);
CREATE TABLE IF NOT EXISTS versions (
    subject TEXT NOT NULL,
    version INTEGER NOT NULL,
    schema_id INTEGER NOT NULL REFERENCES schemas (id),
    deleted INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (subject, version)
);
CREATE INDEX IF NOT EXISTS versions_by_id ON versions (schema_id);
-- The subject '' stands for all that have none of their own.
CREATE TABLE IF NOT EXISTS levels (subject TEXT PRIMARY KEY, level TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS modes (subject TEXT PRIMARY KEY, mode TEXT NOT NULL);
";

/// Why the registry's file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("cannot make the folder {}", path.display())]
    Folder { path: PathBuf, source: std::io::Error },
    #[error("another process holds {}: stop it, or give this one a folder of its own", path.display())]
    Held { path: PathBuf },
    #[error("{} was written by a newer release (format {found}): use that release", path.display())]
    Newer { path: PathBuf, found: i64 },
    #[error("cannot open {}", path.display())]
    Sqlite { path: PathBuf, source: rusqlite::Error },
    #[error("cannot lock {}", path.display())]
    Lock { path: PathBuf, source: std::io::Error },
    #[error("{} is damaged: {what}; take another copy", path.display())]
    Damaged { path: PathBuf, what: String },
}

/// Opens or makes the file in `dir`. Who holds the second holds the folder.
pub(crate) fn open(dir: &Path) -> Result<(Connection, File), OpenError> {
    std::fs::create_dir_all(dir).map_err(|source| OpenError::Folder { path: dir.to_owned(), source })?;
    let path = dir.join(FILE);
    let lock = hold(&dir.join("lock"), &path)?;
    let wrong = |error: rusqlite::Error| match error.sqlite_error_code() {
        Some(rusqlite::ErrorCode::DatabaseBusy | rusqlite::ErrorCode::DatabaseLocked) => {
            OpenError::Held { path: path.clone() }
        }
        _ => OpenError::Sqlite { path: path.clone(), source: error },
    };
    let db = Connection::open(&path).map_err(wrong)?;
    db.busy_timeout(PATIENCE).map_err(wrong)?;
    db.pragma_update(None, "journal_mode", "WAL").map_err(wrong)?;
    db.pragma_update(None, "synchronous", "FULL").map_err(wrong)?;
    let found: i64 = db.query_row("PRAGMA user_version", [], |row| row.get(0)).map_err(wrong)?;
    if found > FORMAT {
        return Err(OpenError::Newer { path, found });
    }
    db.execute_batch(TABLES).map_err(wrong)?;
    db.pragma_update(None, "user_version", FORMAT).map_err(wrong)?;
    Ok((db, lock))
}

fn hold(path: &Path, held: &Path) -> Result<File, OpenError> {
    let wrong = |source| OpenError::Lock { path: path.to_owned(), source };
    let file = File::options().write(true).create(true).truncate(false).open(path).map_err(wrong)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(OpenError::Held { path: held.to_owned() }),
        Err(TryLockError::Error(source)) => Err(wrong(source)),
    }
}

/// Opens the file in `dir` to read it only, whoever else has it open.
fn open_to_read(dir: &Path) -> Result<(Connection, PathBuf), OpenError> {
    let path = dir.join(FILE);
    let wrong = |source| OpenError::Sqlite { path: path.clone(), source };
    let db = Connection::open_with_flags(&path, OpenFlags::SQLITE_OPEN_READ_ONLY).map_err(wrong)?;
    db.busy_timeout(PATIENCE).map_err(wrong)?;
    Ok((db, path))
}

/// Copies the registry of `dir`, in use or not, to the folder `to`, which is made: all that was answered before the call.
///
/// # Errors
/// `dir` holds no registry, or `to` cannot be written or has one.
pub fn backup(dir: &Path, to: &Path) -> Result<(), OpenError> {
    let (db, _) = open_to_read(dir)?;
    std::fs::create_dir_all(to).map_err(|source| OpenError::Folder { path: to.to_owned(), source })?;
    let path = to.join(FILE);
    // Read in one transaction of SQLite's, beside a registry that goes on writing.
    db.execute("VACUUM INTO ?", [path.display().to_string()])
        .map_err(|source| OpenError::Sqlite { path: path.clone(), source })?;
    let synced = File::open(&path).and_then(|file| file.sync_all()).and_then(|()| File::open(to)?.sync_all());
    synced.map_err(|source| OpenError::Folder { path: to.to_owned(), source })
}

/// What a registry's folder holds, deleted versions left out of the count.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Contents {
    pub subjects: Vec<String>,
    pub versions: u32,
    /// Of all schemas, also of those that no version has any more.
    pub ids: BTreeSet<u32>,
}

/// Reads a registry's folder from end to end and changes nothing.
///
/// # Errors
/// There is no registry, or its file is damaged.
pub fn inspect(dir: &Path) -> Result<Contents, OpenError> {
    let (db, path) = open_to_read(dir)?;
    let read = || -> rusqlite::Result<(String, Contents)> {
        let verdict = db.query_row("PRAGMA integrity_check(1)", [], |row| row.get(0))?;
        let versions = db.query_row("SELECT count(*) FROM versions WHERE NOT deleted", [], |row| row.get(0))?;
        let ids = db.prepare("SELECT id FROM schemas")?.query_map([], |row| row.get(0))?.collect::<Result<_, _>>()?;
        Ok((verdict, Contents { subjects: subjects(&db, false)?, versions, ids }))
    };
    match read() {
        Ok((verdict, contents)) if verdict == "ok" => Ok(contents),
        Ok((verdict, _)) => Err(OpenError::Damaged { path, what: verdict }),
        Err(source) => Err(OpenError::Sqlite { path, source }),
    }
}

/// A version of a subject.
#[derive(Debug, Clone)]
pub(crate) struct Version {
    pub(crate) version: i64,
    pub(crate) id: i64,
    pub(crate) deleted: bool,
}

/// A stored schema.
#[derive(Debug, Clone)]
pub(crate) struct Stored {
    pub(crate) id: i64,
    pub(crate) text: String,
    /// JSON of its references, `[]` if it has none.
    pub(crate) refs: String,
}

pub(crate) fn versions(db: &Connection, subject: &str) -> rusqlite::Result<Vec<Version>> {
    db.prepare_cached("SELECT version, schema_id, deleted FROM versions WHERE subject = ? ORDER BY version")?
        .query_map([subject], |row| Ok(Version { version: row.get(0)?, id: row.get(1)?, deleted: row.get(2)? }))?
        .collect()
}

/// Subjects that have a version; with `deleted`, those too whose versions are all soft-deleted.
pub(crate) fn subjects(db: &Connection, deleted: bool) -> rusqlite::Result<Vec<String>> {
    db.prepare_cached("SELECT DISTINCT subject FROM versions WHERE ?1 OR NOT deleted ORDER BY subject")?
        .query_map([deleted], |row| row.get(0))?
        .collect()
}

/// The schema of an id that some version has.
pub(crate) fn schema(db: &Connection, id: i64) -> rusqlite::Result<Option<Stored>> {
    db.prepare_cached(
        "SELECT id, text, refs FROM schemas WHERE id = ?1 AND EXISTS (SELECT 1 FROM versions WHERE schema_id = ?1)",
    )?
    .query_row([id], |row| Ok(Stored { id: row.get(0)?, text: row.get(1)?, refs: row.get(2)? }))
    .optional()
}

pub(crate) fn find_id(db: &Connection, identity: &str, refs: &str) -> rusqlite::Result<Option<i64>> {
    db.prepare_cached("SELECT id FROM schemas WHERE identity = ? AND refs = ?")?
        .query_row([identity, refs], |row| row.get(0))
        .optional()
}

/// The id of the schema, made if it is new. `id` asks for a certain one.
pub(crate) fn insert_schema(
    db: &Connection,
    id: Option<i64>,
    identity: &str,
    refs: &str,
    text: &str,
) -> rusqlite::Result<i64> {
    if let Some(found) = find_id(db, identity, refs)? {
        return Ok(found);
    }
    db.prepare_cached("INSERT INTO schemas (id, identity, refs, text) VALUES (?, ?, ?, ?)")?
        .insert(params![id, identity, refs, text])
}

pub(crate) fn insert_version(db: &Connection, subject: &str, version: i64, id: i64) -> rusqlite::Result<()> {
    db.prepare_cached("INSERT INTO versions (subject, version, schema_id) VALUES (?, ?, ?)")?
        .execute(params![subject, version, id])?;
    Ok(())
}

/// Soft or hard deletion of one version.
pub(crate) fn delete_version(db: &Connection, subject: &str, version: i64, hard: bool) -> rusqlite::Result<()> {
    let statement = if hard {
        "DELETE FROM versions WHERE subject = ? AND version = ?"
    } else {
        "UPDATE versions SET deleted = 1 WHERE subject = ? AND version = ?"
    };
    db.prepare_cached(statement)?.execute(params![subject, version])?;
    Ok(())
}

/// Subject and version of every live version with this schema.
pub(crate) fn uses(db: &Connection, id: i64, deleted: bool) -> rusqlite::Result<Vec<(String, i64)>> {
    db.prepare_cached(
        "SELECT subject, version FROM versions WHERE schema_id = ? AND (?2 OR NOT deleted) ORDER BY 1, 2",
    )?
    .query_map(params![id, deleted], |row| Ok((row.get(0)?, row.get(1)?)))?
    .collect()
}

/// Ids of schemas of live versions that refer to this version.
pub(crate) fn referenced_by(db: &Connection, subject: &str, version: i64) -> rusqlite::Result<Vec<i64>> {
    db.prepare_cached(
        "SELECT DISTINCT schemas.id FROM schemas
         JOIN versions ON versions.schema_id = schemas.id AND NOT versions.deleted, json_each(schemas.refs) AS ref
         WHERE ref.value ->> 'subject' = ? AND ref.value ->> 'version' = ? ORDER BY schemas.id",
    )?
    .query_map(params![subject, version], |row| row.get(0))?
    .collect()
}

/// A table of settings by subject: `levels` or `modes`.
#[derive(Clone, Copy)]
pub(crate) enum Setting {
    Level,
    Mode,
}

pub(crate) fn setting(db: &Connection, setting: Setting, subject: &str) -> rusqlite::Result<Option<String>> {
    let statement = match setting {
        Setting::Level => "SELECT level FROM levels WHERE subject = ?",
        Setting::Mode => "SELECT mode FROM modes WHERE subject = ?",
    };
    db.prepare_cached(statement)?.query_row([subject], |row| row.get(0)).optional()
}

pub(crate) fn set_setting(
    db: &Connection,
    setting: Setting,
    subject: &str,
    value: Option<&str>,
) -> rusqlite::Result<()> {
    let (insert, delete) = match setting {
        Setting::Level => {
            ("INSERT OR REPLACE INTO levels (subject, level) VALUES (?, ?)", "DELETE FROM levels WHERE subject = ?")
        }
        Setting::Mode => {
            ("INSERT OR REPLACE INTO modes (subject, mode) VALUES (?, ?)", "DELETE FROM modes WHERE subject = ?")
        }
    };
    match value {
        Some(value) => db.prepare_cached(insert)?.execute([subject, value])?,
        None => db.prepare_cached(delete)?.execute([subject])?,
    };
    Ok(())
}
