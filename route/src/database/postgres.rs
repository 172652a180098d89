//! The PostgreSQL writer: schema created and migrated, rows upserted in batches.
//!
//! A batch is one JSON text per table that PostgreSQL itself turns into rows of the table's types: decimals,
//! `timestamptz`, arrays. The connection goes through the guard: what is not TLS must be in an allowed network.

use std::sync::Arc;
use std::time::Duration;

use hirewire_service::Secret;
use hirewire_yaml::{Node, Problems};
use serde_json::Value;
use tokio::sync::mpsc;
use tokio_postgres::config::{Host, SslMode};
use tokio_postgres::{Client, Config};

use super::writer::{WriteError, answer, column_lists, gather, groups};
use super::{BATCH_TIMEOUT, Job};
use crate::deliver::outcome::Attempt;
use crate::http::guard::{Guard, refusal_in};
use crate::row::{Row, read_identifier};
use crate::settings::{read_allow, read_ca};
use crate::system::System;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// The checked settings of a `postgres` sink.
#[derive(Clone)]
pub(crate) struct PostgresSettings {
    url: Url,
    password: Option<Secret>,
    guard: Guard,
    /// Trusted beside the system's authorities; PEM.
    ca: Option<Vec<u8>>,
    /// The schema that holds the tables.
    schema: String,
}

#[derive(Clone)]
enum Url {
    Text(String),
    /// A URL that holds its password.
    Secret(Secret),
}

impl PostgresSettings {
    pub(crate) fn read(node: &Node, problems: &mut Problems) -> Option<Self> {
        let mut map = node.map(problems)?;
        let url = map.require("url", problems).and_then(|node| read_url(node, problems));
        let password = map.get("password").map_or(Some(None), |node| Secret::read(node, problems).map(Some));
        let schema = map.get("schema").map_or(Some("hirewire".to_owned()), |node| read_identifier(node, problems));
        let ca = map.get("ca").map_or(Some(None), |node| read_ca(node, problems).map(Some));
        let (hosts, networks) = read_allow(&mut map, problems);
        map.finish(problems);
        let guard = Guard::new(hosts?, networks?);
        Some(Self { url: url?, password: password?, guard, ca: ca?, schema: schema? })
    }

    /// Secrets are read anew for each connection.
    fn config(&self) -> Result<Config, WriteError> {
        let missing = |error: hirewire_service::SecretError| {
            tracing::warn!(%error, "the database's secret cannot be read");
            WriteError::Refused
        };
        let text = match &self.url {
            Url::Text(text) => text.clone(),
            Url::Secret(secret) => secret.text().map_err(missing)?,
        };
        let mut config: Config = text.parse().map_err(|_| WriteError::Refused)?;
        if let Some(password) = &self.password {
            config.password(password.bytes().map_err(missing)?);
        }
        config.connect_timeout(CONNECT_TIMEOUT).application_name("hirewire-route");
        Ok(config)
    }

    /// Changes when a secret of the sink changes.
    pub(crate) fn fingerprint(&self) -> u64 {
        use std::hash::{DefaultHasher, Hash, Hasher};
        let mut hasher = DefaultHasher::new();
        if let Url::Secret(secret) = &self.url {
            secret.bytes().ok().hash(&mut hasher);
        }
        self.password.as_ref().and_then(|password| password.bytes().ok()).hash(&mut hasher);
        hasher.finish()
    }
}

/// A text without a password, or a secret.
fn read_url(node: &Node, problems: &mut Problems) -> Option<Url> {
    let Some(text) = node.scalar() else { return Secret::read(node, problems).map(Url::Secret) };
    match text.parse::<Config>() {
        Ok(config) if config.get_password().is_some() => {
            problems.add(
                node,
                "the URL holds a password",
                "write `password: {file: PATH}`, or the URL as {file: PATH}",
            );
            None
        }
        Ok(config) if config.get_hosts().len() == 1 => Some(Url::Text(text.to_owned())),
        _ => {
            problems.add(node, "this is no URL of a PostgreSQL database", "write postgres://USER@HOST:PORT/DATABASE");
            None
        }
    }
}

/// Writes until the queue is closed.
pub(crate) async fn run(settings: PostgresSettings, system: Arc<System>, mut jobs: mpsc::Receiver<Job>) {
    let mut client: Option<Client> = None;
    while let Some(first) = jobs.recv().await {
        let batch = gather(first, &mut jobs);
        let connected = match client.take().filter(|client| !client.is_closed()) {
            Some(client) => Ok(client),
            None => within(CONNECT_TIMEOUT * 2, Box::pin(connect(&settings, &system))).await,
        };
        match connected {
            Ok(mut connected) => {
                if Box::pin(write_batch(&mut connected, batch)).await {
                    client = Some(connected);
                }
            }
            Err(error) => answer(batch, &error.attempt()),
        }
    }
}

async fn within<T>(limit: Duration, work: impl Future<Output = Result<T, WriteError>>) -> Result<T, WriteError> {
    tokio::time::timeout(limit, work).await.unwrap_or(Err(WriteError::Away))
}

async fn connect(settings: &PostgresSettings, system: &System) -> Result<Client, WriteError> {
    let mut config = settings.config()?;
    guard(settings, &mut config).await?;
    let mut tls = native_tls::TlsConnector::builder();
    if let Some(pem) = &settings.ca {
        tls.add_root_certificate(native_tls::Certificate::from_pem(pem).map_err(|_| WriteError::Refused)?);
    }
    let tls = postgres_native_tls::MakeTlsConnector::new(tls.build().map_err(|_| WriteError::Refused)?);
    let (mut client, connection) = config.connect(tls).await.map_err(|error| reason(&error))?;
    tokio::spawn(async move {
        if let Err(error) = connection.await {
            tracing::debug!(%error, "the connection to PostgreSQL ended");
        }
    });
    migrate(&mut client, &settings.schema, system).await.map_err(|error| reason(&error))?;
    Ok(client)
}

/// Pins the connection to an address that the guard lets through. A Unix socket is this machine's own.
async fn guard(settings: &PostgresSettings, config: &mut Config) -> Result<(), WriteError> {
    let Some(Host::Tcp(host)) = config.get_hosts().first().cloned() else { return Ok(()) };
    let plain = config.get_ssl_mode() != SslMode::Require;
    match settings.guard.resolve(&host, plain).await {
        Ok(addresses) => {
            config.hostaddr(*addresses.first().ok_or(WriteError::Away)?);
            Ok(())
        }
        Err(error) => match refusal_in(&error) {
            Some(refusal) => {
                tracing::warn!(%refusal, "the database's address is refused: mend `allow` or `sslmode` of the sink");
                Err(WriteError::Refused)
            }
            None => Err(WriteError::Away),
        },
    }
}

async fn migrate(client: &mut Client, schema: &str, system: &System) -> Result<(), tokio_postgres::Error> {
    let transaction = client.transaction().await?;
    // Replicas that start together migrate one after the other. The number is arbitrary and fixed.
    transaction.batch_execute("SELECT pg_advisory_xact_lock(7312905513)").await?;
    transaction
        .batch_execute(&format!(
            "CREATE SCHEMA IF NOT EXISTS {schema}; SET search_path TO {schema};
             CREATE TABLE IF NOT EXISTS schema_migration (
                 name text PRIMARY KEY, applied_at timestamptz NOT NULL DEFAULT now())"
        ))
        .await?;
    for migration in system.migrations("postgres") {
        let known = "SELECT 1 FROM schema_migration WHERE name = $1";
        if transaction.query_opt(known, &[&migration.name]).await?.is_none() {
            transaction.batch_execute(&migration.sql).await?;
            transaction.execute("INSERT INTO schema_migration (name) VALUES ($1)", &[&migration.name]).await?;
            tracing::info!(migration = migration.name, "the database was migrated");
        }
    }
    transaction.commit().await
}

/// False when the connection is of no use any more.
async fn write_batch(client: &mut Client, batch: Vec<Job>) -> bool {
    let rows: Vec<Row> = batch.iter().map(|job| job.row.clone()).collect();
    match within(BATCH_TIMEOUT, write(client, &rows)).await {
        Ok(()) => {
            answer(batch, &Attempt::Stored);
            true
        }
        Err(WriteError::Data) if batch.len() > 1 => {
            let mut usable = true;
            for job in batch {
                let written = within(BATCH_TIMEOUT, write(client, std::slice::from_ref(&job.row))).await;
                usable &= !matches!(written, Err(WriteError::Away));
                answer(vec![job], &written.map_or_else(WriteError::attempt, |()| Attempt::Stored));
            }
            usable
        }
        Err(error) => {
            answer(batch, &error.attempt());
            error == WriteError::Data
        }
    }
}

async fn write(client: &mut Client, rows: &[Row]) -> Result<(), WriteError> {
    try_write(client, rows).await.map_err(|error| reason(&error))
}

async fn try_write(client: &mut Client, rows: &[Row]) -> Result<(), tokio_postgres::Error> {
    let transaction = client.transaction().await?;
    for group in groups(rows) {
        let (columns, updates) = column_lists(group.plan);
        let (table, key) = (&group.plan.table, &group.plan.key);
        let statement = format!(
            "INSERT INTO {table} ({columns}) SELECT {columns} FROM json_populate_recordset(NULL::{table}, $1::text::json)
             ON CONFLICT ({key}) DO UPDATE SET {updates}"
        );
        let values: Vec<Value> = group.rows.iter().map(|row| Value::Object(row.values.clone())).collect();
        transaction.execute(&statement, &[&Value::Array(values).to_string()]).await?;
    }
    transaction.commit().await
}

/// By the class of the SQLSTATE (PostgreSQL manual, appendix A).
fn reason(error: &tokio_postgres::Error) -> WriteError {
    let Some(state) = error.code() else {
        tracing::warn!(%error, "the database cannot be reached");
        return WriteError::Away;
    };
    match state.code().get(..2) {
        // Data exception; integrity constraint violation.
        Some("22" | "23") => WriteError::Data,
        // Authorization; no such database or schema; access rule violation, unknown table.
        Some("28" | "3D" | "3F" | "42" | "25") => {
            tracing::warn!(sqlstate = state.code(), "the database refuses us");
            WriteError::Refused
        }
        _ => {
            tracing::warn!(sqlstate = state.code(), "the database failed");
            WriteError::Away
        }
    }
}
