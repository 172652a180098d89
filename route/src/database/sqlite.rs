//! The SQLite writer, for evaluation without a server: the same tables and views as PostgreSQL's.
//!
//! Lists become JSON text. It writes on the runtime's threads for what blocks.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rusqlite::types::Value as Sql;
use rusqlite::{Connection, ErrorCode, Transaction, TransactionBehavior, params, params_from_iter};
use serde_json::Value;

use super::position::{Position, Positions, slots};
use super::writer::{Batch, Owner, Store, WriteError, column_lists, groups};
use crate::source::Slot;
use crate::system::System;

pub(crate) struct Sqlite {
    path: PathBuf,
    system: Arc<System>,
    connection: Option<Connection>,
}

impl Sqlite {
    pub(crate) fn new(path: PathBuf, system: Arc<System>) -> Self {
        Self { path, system, connection: None }
    }

    /// What failed otherwise than by its data closes the file.
    async fn ask<T: Send + 'static>(
        &mut self,
        work: impl FnOnce(&mut Connection) -> Result<T, rusqlite::Error> + Send + 'static,
    ) -> Result<T, WriteError> {
        let mut connection = self.connection.take().ok_or(WriteError::Away)?;
        let working = tokio::task::spawn_blocking(move || (work(&mut connection), connection));
        let (done, connection) = working.await.map_err(|_panicked| WriteError::Away)?;
        let done = done.map_err(|error| reason(&error));
        self.connection = matches!(done, Ok(_) | Err(WriteError::Data)).then_some(connection);
        done
    }
}

impl Store for Sqlite {
    async fn open(&mut self) -> Result<(), WriteError> {
        let (path, system) = (self.path.clone(), Arc::clone(&self.system));
        let opening = tokio::task::spawn_blocking(move || open(&path, &system));
        self.connection = match opening.await.map_err(|_panicked| WriteError::Away)? {
            Ok(connection) => Some(connection),
            Err(error) => {
                tracing::warn!(%error, path = %self.path.display(), "the SQLite file cannot be opened");
                return Err(reason(&error));
            }
        };
        Ok(())
    }

    fn is_open(&self) -> bool {
        self.connection.is_some()
    }

    async fn positions(&mut self, owner: &Owner) -> Result<Vec<(Slot, i64)>, WriteError> {
        let owner = owner.clone();
        self.ask(move |connection| positions(connection, &owner)).await
    }

    async fn write(&mut self, batch: &Arc<Batch>) -> Result<Vec<bool>, WriteError> {
        let batch = Arc::clone(batch);
        self.ask(move |connection| write(connection, &batch)).await
    }
}

fn open(path: &Path, system: &System) -> Result<Connection, rusqlite::Error> {
    let mut connection = Connection::open(path)?;
    connection.busy_timeout(std::time::Duration::from_secs(10))?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    // An offset is committed after the row: the row must be on the disk by then.
    connection.pragma_update(None, "synchronous", "FULL")?;
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    transaction.execute_batch(
        "CREATE TABLE IF NOT EXISTS schema_migration (name TEXT PRIMARY KEY, applied_at TEXT NOT NULL);
         CREATE TABLE IF NOT EXISTS sink_position (
             sink TEXT NOT NULL, cluster TEXT NOT NULL, topic TEXT NOT NULL, partition INTEGER NOT NULL,
             next_offset INTEGER NOT NULL, ahead TEXT NOT NULL, written_at TEXT NOT NULL,
             PRIMARY KEY (sink, cluster, topic, partition))",
    )?;
    for migration in system.migrations("sqlite") {
        let known = transaction
            .prepare_cached("SELECT 1 FROM schema_migration WHERE name = ?1")?
            .exists(params![migration.name])?;
        if !known {
            transaction.execute_batch(&migration.sql)?;
            let now = jiff::Timestamp::now().to_string();
            transaction.execute("INSERT INTO schema_migration VALUES (?1, ?2)", params![migration.name, now])?;
        }
    }
    transaction.commit()?;
    Ok(connection)
}

fn positions(connection: &Connection, owner: &Owner) -> Result<Vec<(Slot, i64)>, rusqlite::Error> {
    let all = "SELECT topic, partition, next_offset FROM sink_position WHERE sink = ?1 AND cluster = ?2";
    let mut query = connection.prepare_cached(all)?;
    let position = |row: &rusqlite::Row<'_>| {
        let topic: String = row.get(0)?;
        Ok((Slot { topic: topic.into(), partition: row.get(1)? }, row.get(2)?))
    };
    query.query_map(params![&*owner.sink, &*owner.cluster], position)?.collect()
}

fn write(connection: &mut Connection, batch: &Batch) -> Result<Vec<bool>, rusqlite::Error> {
    // Nobody else moves the positions before it ends.
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let mut positions = read(&transaction, batch)?;
    let is_new = positions.take(batch);
    for group in groups(batch, &is_new) {
        let (columns, updates) = column_lists(group.plan);
        let places = vec!["?"; group.plan.columns.len()].join(", ");
        let (table, key) = (&group.plan.table, &group.plan.key);
        let statement =
            format!("INSERT INTO {table} ({columns}) VALUES ({places}) ON CONFLICT ({key}) DO UPDATE SET {updates}");
        let mut insert = transaction.prepare_cached(&statement)?;
        for row in group.rows {
            let values = group.plan.columns.iter().map(|column| sql(row.values.get(column)));
            insert.execute(params_from_iter(values))?;
        }
    }
    put(&transaction, &batch.owner, &positions)?;
    transaction.commit()?;
    Ok(is_new)
}

fn read(transaction: &Transaction<'_>, batch: &Batch) -> Result<Positions, rusqlite::Error> {
    let Owner { sink, cluster } = &batch.owner;
    let one = "SELECT next_offset, ahead FROM sink_position
               WHERE sink = ?1 AND cluster = ?2 AND topic = ?3 AND partition = ?4";
    let mut query = transaction.prepare_cached(one)?;
    let mut positions = Positions::default();
    for slot in slots(batch) {
        let mut found = query.query(params![&**sink, &**cluster, &*slot.topic, slot.partition])?;
        if let Some(row) = found.next()? {
            let position = Position::read(row.get(0)?, row.get_ref(1)?.as_str()?);
            positions.0.insert(slot.clone(), position);
        }
    }
    Ok(positions)
}

fn put(transaction: &Transaction<'_>, owner: &Owner, positions: &Positions) -> Result<(), rusqlite::Error> {
    let (sink, cluster, now) = (&*owner.sink, &*owner.cluster, jiff::Timestamp::now().to_string());
    let mut put =
        transaction.prepare_cached("INSERT OR REPLACE INTO sink_position VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)")?;
    for (slot, position) in &positions.0 {
        put.execute(params![sink, cluster, &*slot.topic, slot.partition, position.next, position.ahead(), now])?;
    }
    Ok(())
}

fn sql(value: Option<&Value>) -> Sql {
    match value {
        None | Some(Value::Null) => Sql::Null,
        Some(Value::Bool(flag)) => Sql::Integer(i64::from(*flag)),
        Some(Value::Number(number)) => number.as_i64().map_or_else(|| Sql::Text(number.to_string()), Sql::Integer),
        Some(Value::String(text)) => Sql::Text(text.clone()),
        Some(list @ (Value::Array(_) | Value::Object(_))) => Sql::Text(list.to_string()),
    }
}

fn reason(error: &rusqlite::Error) -> WriteError {
    match error.sqlite_error_code() {
        Some(ErrorCode::ConstraintViolation | ErrorCode::TypeMismatch | ErrorCode::TooBig) => WriteError::Data,
        Some(
            ErrorCode::NotADatabase
            | ErrorCode::PermissionDenied
            | ErrorCode::ReadOnly
            | ErrorCode::CannotOpen
            | ErrorCode::DatabaseCorrupt
            | ErrorCode::AuthorizationForStatementDenied,
        ) => WriteError::Refused,
        _ => WriteError::Away,
    }
}
