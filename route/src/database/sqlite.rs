//! The SQLite writer, for evaluation without a server: the same tables and views as PostgreSQL's.
//!
//! Lists become JSON text. A thread of its own writes; it ends when its sink ends.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rusqlite::types::Value as Sql;
use rusqlite::{Connection, ErrorCode, TransactionBehavior, params, params_from_iter};
use serde_json::Value;
use tokio::sync::mpsc;

use super::Job;
use super::writer::{WriteError, answer, column_lists, gather, groups};
use crate::deliver::outcome::Attempt;
use crate::row::Row;
use crate::system::System;

/// Writes until the queue is closed.
pub(crate) fn start(path: PathBuf, system: Arc<System>, jobs: mpsc::Receiver<Job>) -> std::io::Result<()> {
    std::thread::Builder::new().name("sqlite-sink".to_owned()).spawn(move || run(&path, &system, jobs)).map(drop)
}

fn run(path: &Path, system: &System, mut jobs: mpsc::Receiver<Job>) {
    let mut connection = None;
    while let Some(first) = jobs.blocking_recv() {
        let batch = gather(first, &mut jobs);
        let open = match connection.take() {
            Some(open) => Ok(open),
            None => open(path, system),
        };
        match open {
            Ok(mut open) => {
                write_batch(&mut open, batch);
                connection = Some(open);
            }
            Err(error) => {
                tracing::warn!(%error, path = %path.display(), "the SQLite file cannot be opened");
                answer(batch, &reason(&error).attempt());
            }
        }
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
        "CREATE TABLE IF NOT EXISTS schema_migration (name TEXT PRIMARY KEY, applied_at TEXT NOT NULL)",
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

fn write_batch(connection: &mut Connection, batch: Vec<Job>) {
    let rows: Vec<Row> = batch.iter().map(|job| job.row.clone()).collect();
    match write(connection, &rows) {
        Ok(()) => answer(batch, &Attempt::Stored),
        Err(WriteError::Data) if batch.len() > 1 => {
            for job in batch {
                let written = write(connection, std::slice::from_ref(&job.row));
                let attempt = written.map_or_else(WriteError::attempt, |()| Attempt::Stored);
                answer(vec![job], &attempt);
            }
        }
        Err(error) => answer(batch, &error.attempt()),
    }
}

fn write(connection: &mut Connection, rows: &[Row]) -> Result<(), WriteError> {
    try_write(connection, rows).map_err(|error| reason(&error))
}

fn try_write(connection: &mut Connection, rows: &[Row]) -> Result<(), rusqlite::Error> {
    let transaction = connection.transaction()?;
    for group in groups(rows) {
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
    transaction.commit()
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
