//! The simulation on disk: one SQLite file that holds the vendor's rows, its outbox, the truth, and what receivers got.
//!
//! Everything is committed before anyone outside sees it, so that a killed simulation goes on where it was.

use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, OptionalExtension, Transaction, TransactionBehavior, params};

use crate::effects::{RowWrite, TrueChange};
use crate::settings::Scenario;

#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error("cannot use the simulation's file {path}")]
    Open { path: PathBuf, source: rusqlite::Error },
    #[error("reading or writing the simulation's file failed")]
    Sql(#[from] rusqlite::Error),
    #[error("a stored value of the simulation does not read: delete its folder to start anew")]
    Stored(#[from] serde_json::Error),
    #[error("cannot make or clear the simulation's folder")]
    Folder(#[source] std::io::Error),
}

/// What waits in the vendor's queue, and what was handed out of it.
pub(crate) const QUEUE: &str = "queue.jsonl";

const SCHEMA: &str = "
CREATE TABLE IF NOT EXISTS meta (key TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS row (stream TEXT NOT NULL, id INTEGER NOT NULL, version INTEGER NOT NULL,
  created_at INTEGER NOT NULL, updated_at INTEGER NOT NULL, visible_at INTEGER NOT NULL, hidden INTEGER NOT NULL,
  body TEXT, PRIMARY KEY (stream, id, version)) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS row_updated ON row (stream, updated_at);
CREATE TABLE IF NOT EXISTS played (ord INTEGER PRIMARY KEY, step INTEGER NOT NULL UNIQUE, at INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS outbox (id INTEGER PRIMARY KEY, event_id TEXT NOT NULL, action TEXT NOT NULL,
  application TEXT, step INTEGER NOT NULL, copy INTEGER NOT NULL, body BLOB NOT NULL, happened_at INTEGER NOT NULL,
  due_at INTEGER NOT NULL, attempts INTEGER NOT NULL DEFAULT 0, state TEXT NOT NULL,
  first_sent_at INTEGER, acked_at INTEGER);
CREATE INDEX IF NOT EXISTS outbox_due ON outbox (state, due_at);
CREATE TABLE IF NOT EXISTS truth (id INTEGER PRIMARY KEY, application TEXT NOT NULL, body TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS received (id INTEGER PRIMARY KEY, sink TEXT NOT NULL, webhook_id TEXT NOT NULL,
  at INTEGER NOT NULL, status INTEGER NOT NULL, note TEXT NOT NULL, headers TEXT NOT NULL, body BLOB NOT NULL);
CREATE INDEX IF NOT EXISTS received_id ON received (sink, webhook_id);
";

/// The file of a simulation in its folder.
#[must_use]
pub(crate) fn file(data_dir: &Path) -> PathBuf {
    data_dir.join("sim.sqlite")
}

/// Another connection to the same file. Every part of the simulator has its own.
pub(crate) fn connect(path: &Path) -> Result<Connection, StoreError> {
    let open = || -> Result<Connection, rusqlite::Error> {
        let connection = Connection::open(path)?;
        connection.busy_timeout(Duration::from_secs(20))?;
        connection.pragma_update(None, "journal_mode", "WAL")?;
        connection.pragma_update(None, "synchronous", "FULL")?;
        connection.execute_batch(SCHEMA)?;
        Ok(connection)
    };
    open().map_err(|source| StoreError::Open { path: path.to_owned(), source })
}

/// A transaction that holds the write lock from the start: one that reads first could find its snapshot outdated.
pub(crate) fn begin(connection: &mut Connection) -> Result<Transaction<'_>, rusqlite::Error> {
    connection.transaction_with_behavior(TransactionBehavior::Immediate)
}

/// Removes a half-made or unwanted simulation.
pub(crate) fn clear(data_dir: &Path) -> Result<(), StoreError> {
    for name in ["sim.sqlite", "sim.sqlite-wal", "sim.sqlite-shm", "truth.jsonl", QUEUE] {
        match std::fs::remove_file(data_dir.join(name)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(StoreError::Folder(error)),
            _ => {}
        }
    }
    Ok(())
}

pub(crate) fn meta(connection: &Connection, key: &str) -> Result<Option<String>, StoreError> {
    Ok(connection.query_row("SELECT value FROM meta WHERE key = ?1", [key], |row| row.get(0)).optional()?)
}

pub(crate) fn meta_number(connection: &Connection, key: &str) -> Result<Option<i64>, StoreError> {
    Ok(meta(connection, key)?.and_then(|text| text.parse().ok()))
}

pub(crate) fn set_meta(connection: &Connection, key: &str, value: &str) -> Result<(), StoreError> {
    connection.execute("INSERT INTO meta VALUES (?1, ?2) ON CONFLICT (key) DO UPDATE SET value = ?2", [key, value])?;
    Ok(())
}

pub(crate) fn add_to_meta(connection: &Connection, key: &str, more: u64) -> Result<(), StoreError> {
    let sql = "INSERT INTO meta VALUES (?1, ?2) ON CONFLICT (key) DO UPDATE SET value = CAST(value AS INTEGER) + ?2";
    connection.execute(sql, params![key, i64::try_from(more).unwrap_or(i64::MAX)])?;
    Ok(())
}

/// The scenario of a simulation that was made completely.
pub(crate) fn scenario(connection: &Connection) -> Result<Option<Scenario>, StoreError> {
    let Some(text) = meta(connection, "scenario")? else { return Ok(None) };
    // A scenario of another version of the program cannot be played on.
    Ok(serde_json::from_str(&text).ok())
}

pub(crate) fn write_row(
    tx: &Transaction<'_>,
    row: &RowWrite,
    visible_at: i64,
    escaped: &[char],
) -> Result<(), StoreError> {
    let body = row.body.as_ref().map(|body| escape(&body.to_string(), escaped));
    let mut statement = tx.prepare_cached(
        "INSERT INTO row SELECT ?1, ?2, COALESCE(MAX(version), 0) + 1, ?3, ?4, ?5, ?6, ?7 FROM row WHERE stream = ?1 AND id = ?2",
    )?;
    statement.execute(params![row.stream, row.id, row.created_at, row.updated_at, visible_at, row.hidden, body])?;
    Ok(())
}

pub(crate) fn write_truth(tx: &Transaction<'_>, change: &TrueChange) -> Result<(), StoreError> {
    let body = serde_json::to_string(change)?;
    let mut statement = tx.prepare_cached("INSERT INTO truth (application, body) VALUES (?1, ?2)")?;
    statement.execute(params![change.application, body])?;
    Ok(())
}

/// All true changes in the order in which they happened.
pub(crate) fn truth(connection: &Connection) -> Result<Vec<TrueChange>, StoreError> {
    let mut statement = connection.prepare_cached("SELECT body FROM truth ORDER BY id")?;
    let texts = statement.query_map([], |row| row.get::<_, String>(0))?;
    texts.map(|text| Ok(serde_json::from_str(&text?)?)).collect()
}

/// The vendor escapes some characters inside JSON texts; they occur nowhere else in JSON.
pub(crate) fn escape(json: &str, escaped: &[char]) -> String {
    let mut text = String::with_capacity(json.len() + json.len() / 16);
    for letter in json.chars() {
        if escaped.contains(&letter) || matches!(letter, '\u{2028}' | '\u{2029}') {
            text.push_str(&format!("\\u{:04x}", u32::from(letter)));
        } else {
            text.push(letter);
        }
    }
    text
}

/// How one webhook fared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WebhookLog {
    pub event_id: String,
    pub action: String,
    /// The vendor's id of the application it is about, if it is about one.
    pub application: Option<String>,
    /// Of the step that it tells of: grows with the plan, not with time.
    pub step: i64,
    /// 0 for the first of several identical ones.
    pub copy: i64,
    pub happened_at: i64,
    /// `pending`, `acked`, `dropped` (never sent) or `exhausted` (no 200 in all attempts).
    pub state: String,
    pub attempts: i64,
    pub first_sent_at: Option<i64>,
    pub acked_at: Option<i64>,
}

pub(crate) fn webhooks(connection: &Connection) -> Result<Vec<WebhookLog>, StoreError> {
    let mut statement = connection.prepare_cached(
        "SELECT event_id, action, application, step, copy, happened_at, state, attempts, first_sent_at, acked_at FROM outbox ORDER BY id",
    )?;
    let logs = statement.query_map([], |row| {
        Ok(WebhookLog {
            event_id: row.get(0)?,
            action: row.get(1)?,
            application: row.get(2)?,
            step: row.get(3)?,
            copy: row.get(4)?,
            happened_at: row.get(5)?,
            state: row.get(6)?,
            attempts: row.get(7)?,
            first_sent_at: row.get(8)?,
            acked_at: row.get(9)?,
        })
    })?;
    logs.map(|log| Ok(log?)).collect()
}

/// The bodies of all webhooks, in the order of [`webhooks`].
pub(crate) fn bodies(connection: &Connection) -> Result<Vec<Vec<u8>>, StoreError> {
    let mut statement = connection.prepare_cached("SELECT body FROM outbox ORDER BY id")?;
    let bodies = statement.query_map([], |row| row.get(0))?;
    bodies.map(|body| Ok(body?)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markup_is_escaped_inside_texts() {
        assert_eq!(escape(r#"{"a":"<p>&"}"#, &['<', '>', '&']), r#"{"a":"\u003cp\u003e\u0026"}"#);
    }
}
