//! The context store: the newest record of each followed entity, on disk, with what it belongs to.
//!
//! In: decoded canonical records, in order per key. Out: records by id or by owner. A cache: it is thrown away and
//! read again when its layout changes or it is damaged; the topics are the truth. Positions commit with the records.
//! A record whose owner changed stands in two partitions, deleted in the old one; partitions have no order among each
//! other, so a row is kept for each, and what is not deleted counts, the newest of it.
//! Size: about 1.2 kB an application with its candidate and offer and 2 kB a candidate, as JSON text.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::{Mutex, PoisonError, RwLock};

use hirewire_schemas::Entity;
use rusqlite::{Connection, OptionalExtension, params};
use serde_json::Value;
use tokio::sync::watch;

use super::{Earlier, JoinError};
use crate::created::{CreatedKey, Known};
use crate::event::Event;
use crate::request::condition::Condition;

/// How the name of the ledger's topic ends, behind the deployment's prefix.
const LEDGER: &str = "ats.stage-change.v1";

/// Another number throws the file away.
const LAYOUT: i64 = 5;

const SCHEMA: &str = "
CREATE TABLE record (
    entity TEXT NOT NULL, id TEXT NOT NULL, part INTEGER NOT NULL, rank INTEGER NOT NULL, application_id TEXT,
    candidate_id TEXT, tree TEXT NOT NULL, PRIMARY KEY (entity, id, part)
);
CREATE INDEX record_of_application ON record (application_id, entity) WHERE application_id IS NOT NULL;
CREATE INDEX record_of_candidate ON record (candidate_id, entity) WHERE candidate_id IS NOT NULL;
CREATE TABLE position (topic TEXT NOT NULL, part INTEGER NOT NULL, next INTEGER NOT NULL, PRIMARY KEY (topic, part));
CREATE TABLE ledger (application_id TEXT PRIMARY KEY, last_sequence_no INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE kept_change (
    application_id TEXT NOT NULL, sequence_no INTEGER NOT NULL, tree TEXT NOT NULL,
    PRIMARY KEY (application_id, sequence_no)
);
CREATE TABLE kept_condition (text TEXT PRIMARY KEY) WITHOUT ROWID;
CREATE TABLE created (key TEXT PRIMARY KEY, id TEXT NOT NULL, event_id TEXT NOT NULL) WITHOUT ROWID;
";

/// A record as the follower hands it in.
#[derive(Debug)]
pub(crate) struct Seen {
    /// `None`: what a sink has told of what it created, by the key of that.
    pub(crate) entity: Option<Entity>,
    pub(crate) id: String,
    /// `None`: erased.
    pub(crate) tree: Option<Value>,
    pub(crate) topic: String,
    pub(crate) partition: i32,
    pub(crate) next_offset: i64,
}

/// One connection writes, one reads: a write never waits for a join.
pub(crate) struct Store {
    writer: Mutex<Connection>,
    reader: Mutex<Connection>,
    /// Changes that a later one may take back, and those that take back.
    kept: RwLock<Vec<Condition>>,
    batches: watch::Sender<u64>,
}

impl Store {
    /// Opens or makes the store at `path`.
    ///
    /// # Errors
    /// When the folder cannot be written.
    pub(crate) fn open(path: &Path, kept: Vec<Condition>) -> Result<Self, rusqlite::Error> {
        let writer = match open_writer(path) {
            Ok(writer) => writer,
            Err(error) => {
                tracing::warn!(%error, "the context store is made anew: it was damaged or of another version");
                remove(path);
                open_writer(path)?
            }
        };
        let reader = Connection::open(path)?;
        reader.pragma_update(None, "query_only", true)?;
        reader.busy_timeout(std::time::Duration::from_secs(5))?;
        let (writer, reader) = (Mutex::new(writer), Mutex::new(reader));
        let store = Self { writer, reader, kept: RwLock::default(), batches: watch::Sender::new(0) };
        store.keep(kept)?;
        Ok(store)
    }

    /// From now on changes of these conditions are kept, and of no others: what a condition that is gone would have kept from
    /// now on is missing if it comes back. True if there is a new one: those that were read before are not kept, so that all
    /// must be read once more; their topic's positions are forgotten.
    ///
    /// # Errors
    /// When the disk does not take it.
    pub(crate) fn keep(&self, kept: Vec<Condition>) -> Result<bool, rusqlite::Error> {
        let mut writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        let transaction = writer.transaction()?;
        let texts: BTreeSet<String> = kept.iter().map(Condition::to_string).collect();
        let before: BTreeSet<String> = {
            let mut query = transaction.prepare_cached("SELECT text FROM kept_condition")?;
            query.query_map([], |row| row.get(0))?.collect::<Result<_, _>>()?
        };
        for gone in before.difference(&texts) {
            transaction.execute("DELETE FROM kept_condition WHERE text = ?1", params![gone])?;
        }
        let mut fresh = 0;
        for new in texts.difference(&before) {
            fresh += transaction.execute("INSERT INTO kept_condition VALUES (?1)", params![new])?;
        }
        if fresh > 0 {
            transaction.execute("DELETE FROM position WHERE topic LIKE ?1", params![format!("%{LEDGER}")])?;
        }
        transaction.commit()?;
        *self.kept.write().unwrap_or_else(PoisonError::into_inner) = kept;
        Ok(fresh > 0)
    }

    /// Whether changes of all these conditions were kept so far.
    ///
    /// # Errors
    /// When the disk cannot be read.
    pub(crate) fn keeps(&self, kept: &[Condition]) -> Result<bool, rusqlite::Error> {
        let reader = self.reader.lock().unwrap_or_else(PoisonError::into_inner);
        let mut query = reader.prepare_cached("SELECT 1 FROM kept_condition WHERE text = ?1")?;
        for condition in kept {
            if !query.exists(params![condition.to_string()])? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// The store of a service that may run, to read from; `None` when there is none of this layout.
    pub(crate) fn look(path: &Path) -> Option<Self> {
        let flags = rusqlite::OpenFlags::SQLITE_OPEN_READ_ONLY | rusqlite::OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let reader = Connection::open_with_flags(path, flags).ok()?;
        reader.busy_timeout(std::time::Duration::from_secs(5)).ok()?;
        let layout: i64 = reader.pragma_query_value(None, "user_version", |row| row.get(0)).ok()?;
        let writer = Connection::open_in_memory().ok()?;
        (layout == LAYOUT).then(|| Self {
            writer: Mutex::new(writer),
            reader: Mutex::new(reader),
            kept: RwLock::default(),
            batches: watch::Sender::new(0),
        })
    }

    /// Takes a batch in; all of it or nothing.
    ///
    /// # Errors
    /// When the disk does not take it.
    pub(crate) fn put(&self, batch: &[Seen]) -> Result<(), rusqlite::Error> {
        let mut writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        let transaction = writer.transaction()?;
        for seen in batch {
            match seen.entity {
                Some(Entity::StageChange) => self.put_change(&transaction, seen)?,
                Some(entity) => put_record(&transaction, entity, seen)?,
                None => put_created(&transaction, seen)?,
            }
            transaction.prepare_cached("INSERT OR REPLACE INTO position VALUES (?1, ?2, ?3)")?.execute(params![
                seen.topic,
                seen.partition,
                seen.next_offset
            ])?;
        }
        transaction.commit()?;
        self.batches.send_modify(|batches| *batches += 1);
        Ok(())
    }

    pub(super) fn batches(&self) -> watch::Receiver<u64> {
        self.batches.subscribe()
    }

    fn put_change(&self, transaction: &Connection, seen: &Seen) -> Result<(), rusqlite::Error> {
        let Some(tree) = &seen.tree else { return Ok(()) };
        let application_id = tree.get("application_id").and_then(Value::as_str);
        let sequence_no = tree.get("sequence_no").and_then(Value::as_i64);
        let (Some(application_id), Some(sequence_no)) = (application_id, sequence_no) else { return Ok(()) };
        transaction
            .prepare_cached(
                "INSERT INTO ledger VALUES (?1, ?2) ON CONFLICT (application_id)
                 DO UPDATE SET last_sequence_no = max(last_sequence_no, excluded.last_sequence_no)",
            )?
            .execute(params![application_id, sequence_no])?;
        let kept = self.kept.read().unwrap_or_else(PoisonError::into_inner);
        if kept.iter().any(|condition| condition.holds(tree)) {
            transaction.prepare_cached("INSERT OR REPLACE INTO kept_change VALUES (?1, ?2, ?3)")?.execute(params![
                application_id,
                sequence_no,
                tree.to_string()
            ])?;
        }
        Ok(())
    }

    /// Where to read on, by topic and partition.
    ///
    /// # Errors
    /// When the disk cannot be read.
    pub(crate) fn positions(&self) -> Result<BTreeMap<(String, i32), i64>, rusqlite::Error> {
        let reader = self.reader.lock().unwrap_or_else(PoisonError::into_inner);
        let mut query = reader.prepare("SELECT topic, part, next FROM position")?;
        let rows = query.query_map([], |row| Ok(((row.get(0)?, row.get(1)?), row.get(2)?)))?;
        rows.collect()
    }

    /// Where to read on in one partition.
    ///
    /// # Errors
    /// When the disk cannot be read.
    pub(crate) fn position(&self, topic: &str, partition: i32) -> Result<i64, JoinError> {
        let reader = self.reader.lock().unwrap_or_else(PoisonError::into_inner);
        let next = reader
            .prepare_cached("SELECT next FROM position WHERE topic = ?1 AND part = ?2")
            .and_then(|mut query| query.query_row(params![topic, partition], |row| row.get(0)).optional());
        Ok(next.map_err(failed)?.unwrap_or(0))
    }

    /// What a sink has told of what it created.
    ///
    /// # Errors
    /// When the disk cannot be read.
    pub(super) fn created_by(&self, key: &CreatedKey<'_>) -> Result<Option<Known>, JoinError> {
        let reader = self.reader.lock().unwrap_or_else(PoisonError::into_inner);
        reader
            .prepare_cached("SELECT id, event_id FROM created WHERE key = ?1")
            .and_then(|mut query| {
                let row = |row: &rusqlite::Row<'_>| Ok(Known { id: row.get(0)?, event_id: row.get(1)? });
                query.query_row(params![key.to_string()], row).optional()
            })
            .map_err(failed)
    }

    /// A record by its id.
    ///
    /// # Errors
    /// When the disk cannot be read.
    pub(crate) fn record(&self, entity: Entity, id: &str) -> Result<Option<Value>, JoinError> {
        let reader = self.reader.lock().unwrap_or_else(PoisonError::into_inner);
        let found: Option<String> = reader
            .prepare_cached("SELECT tree FROM record WHERE entity = ?1 AND id = ?2 ORDER BY rank DESC LIMIT 1")
            .and_then(|mut query| query.query_row(params![entity.kebab(), id], |row| row.get(0)).optional())
            .map_err(failed)?;
        Ok(found.and_then(|text| serde_json::from_str(&text).ok()))
    }

    /// All records of `entity` that belong to the application (or the candidate), by id.
    ///
    /// # Errors
    /// When the disk cannot be read.
    pub(crate) fn owned(&self, entity: Entity, owner: Owner, id: &str) -> Result<Vec<Value>, JoinError> {
        let query = match owner {
            Owner::Application => OWNED_BY_APPLICATION,
            Owner::Candidate => OWNED_BY_CANDIDATE,
        };
        let reader = self.reader.lock().unwrap_or_else(PoisonError::into_inner);
        let mut query = reader.prepare_cached(query).map_err(failed)?;
        let rows = query.query_map(params![entity.kebab(), id], |row| row.get::<_, String>(0)).map_err(failed)?;
        let texts: Vec<String> = rows.collect::<Result<_, _>>().map_err(failed)?;
        Ok(texts.iter().filter_map(|text| serde_json::from_str(text).ok()).collect())
    }

    /// Whether the application's ledger was read up to `sequence_no`.
    ///
    /// # Errors
    /// When the disk cannot be read.
    pub(crate) fn has_read(&self, application_id: &str, sequence_no: i64) -> Result<bool, JoinError> {
        let reader = self.reader.lock().unwrap_or_else(PoisonError::into_inner);
        let last: Option<i64> = reader
            .prepare_cached("SELECT last_sequence_no FROM ledger WHERE application_id = ?1")
            .and_then(|mut query| query.query_row(params![application_id], |row| row.get(0)).optional())
            .map_err(failed)?;
        Ok(last.is_some_and(|last| last >= sequence_no))
    }

    /// The kept changes of the application before `sequence_no`, if the ledger was read up to it.
    ///
    /// # Errors
    /// When the disk cannot be read.
    pub(crate) fn earlier(&self, application_id: &str, sequence_no: i64) -> Result<Earlier, JoinError> {
        if !self.has_read(application_id, sequence_no)? {
            return Ok(Earlier::Unknown);
        }
        let reader = self.reader.lock().unwrap_or_else(PoisonError::into_inner);
        let mut query = reader
            .prepare_cached(
                "SELECT tree FROM kept_change WHERE application_id = ?1 AND sequence_no < ?2 ORDER BY sequence_no DESC",
            )
            .map_err(failed)?;
        let rows =
            query.query_map(params![application_id, sequence_no], |row| row.get::<_, String>(0)).map_err(failed)?;
        let mut earlier = Vec::new();
        for text in rows {
            let tree: Option<Value> = serde_json::from_str(&text.map_err(failed)?).ok();
            earlier.extend(tree.and_then(|tree| Event::new(Entity::StageChange, tree).ok()));
        }
        Ok(Earlier::Known(earlier))
    }
}

const OWNED_BY_APPLICATION: &str = "SELECT tree FROM record r WHERE application_id = ?2 AND entity = ?1
     AND NOT EXISTS (SELECT 1 FROM record o WHERE o.entity = r.entity AND o.id = r.id AND o.rank > r.rank) ORDER BY id";
const OWNED_BY_CANDIDATE: &str = "SELECT tree FROM record r WHERE candidate_id = ?2 AND entity = ?1
     AND NOT EXISTS (SELECT 1 FROM record o WHERE o.entity = r.entity AND o.id = r.id AND o.rank > r.rank) ORDER BY id";

#[derive(Debug, Clone, Copy)]
pub(crate) enum Owner {
    Application,
    Candidate,
}

fn put_created(transaction: &Connection, seen: &Seen) -> Result<(), rusqlite::Error> {
    let text = |name: &str| seen.tree.as_ref().and_then(|tree| tree.get(name)).and_then(Value::as_str);
    match (text("id"), text("event_id")) {
        (Some(id), Some(event_id)) => {
            let mut insert = transaction.prepare_cached("INSERT OR REPLACE INTO created VALUES (?1, ?2, ?3)")?;
            insert.execute(params![seen.id, id, event_id])?;
        }
        _ => {
            transaction.prepare_cached("DELETE FROM created WHERE key = ?1")?.execute(params![seen.id])?;
        }
    }
    Ok(())
}

fn put_record(transaction: &Connection, entity: Entity, seen: &Seen) -> Result<(), rusqlite::Error> {
    match &seen.tree {
        None => {
            let mut delete = transaction.prepare_cached("DELETE FROM record WHERE entity = ?1 AND id = ?2")?;
            delete.execute(params![entity.kebab(), seen.id])?;
        }
        Some(tree) => {
            let owner = |name: &str| tree.get(name).and_then(Value::as_str);
            let mut insert = transaction.prepare_cached(
                "INSERT INTO record VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7) ON CONFLICT (entity, id, part) DO UPDATE SET
                 rank = excluded.rank, application_id = excluded.application_id, candidate_id = excluded.candidate_id,
                 tree = excluded.tree",
            )?;
            insert.execute(params![
                entity.kebab(),
                seen.id,
                seen.partition,
                rank(tree),
                owner("application_id"),
                owner("candidate_id"),
                tree.to_string()
            ])?;
        }
    }
    Ok(())
}

/// Which of a record's rows counts: the one that is not deleted, of several the newest.
fn rank(tree: &Value) -> i64 {
    let meta = |name: &str| tree.get("meta").and_then(|meta| meta.get(name)).and_then(Value::as_str);
    let seen = meta("observed_at").and_then(|at| at.parse::<jiff::Timestamp>().ok());
    let seen = seen.map_or(0, |at| at.as_microsecond().max(0));
    if meta("op") == Some("DELETE") { seen - i64::MAX } else { seen }
}

fn failed(error: rusqlite::Error) -> JoinError {
    JoinError(error.to_string())
}

fn open_writer(path: &Path) -> Result<Connection, rusqlite::Error> {
    let connection = Connection::open(path)?;
    connection.busy_timeout(std::time::Duration::from_secs(5))?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    // A crash may cost the last batches: they are read again from the positions that went with them.
    connection.pragma_update(None, "synchronous", "NORMAL")?;
    let layout: i64 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    if layout == LAYOUT {
        return Ok(connection);
    }
    if layout != 0 {
        drop(connection);
        tracing::info!("the context store has another layout and is made anew");
        remove(path);
        return open_writer(path);
    }
    connection.execute_batch(SCHEMA)?;
    connection.pragma_update(None, "user_version", LAYOUT)?;
    Ok(connection)
}

/// What is not there need not be removed; what cannot be removed shows when the store is opened.
fn remove(path: &Path) {
    for suffix in ["", "-wal", "-shm"] {
        let mut name = path.as_os_str().to_owned();
        name.push(suffix);
        drop(std::fs::remove_file(name));
    }
}

#[cfg(test)]
mod tests;
