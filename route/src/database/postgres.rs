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
use crate::http::guard::{Guard, Refusal, refusal_in};
use crate::row::{Row, read_identifier};
use crate::settings::read_allow;
use crate::system::System;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// The checked settings of a `postgres` sink.
#[derive(Clone)]
pub(crate) struct PostgresSettings {
    url: Url,
    password: Option<Secret>,
    guard: Guard,
    /// No host is listed, and the URL, a secret, may name any.
    any_host: bool,
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
        let url_node = map.require("url", problems);
        let url = url_node.and_then(|node| read_url(node, problems));
        let password = map.get("password").map_or(Some(None), |node| Secret::read(node, problems).map(Some));
        let schema = map.get("schema").map_or(Some("hirewire".to_owned()), |node| read_identifier(node, problems));
        let ca = map.get("ca").map_or(Some(None), |node| hirewire_service::settings::ca(node, problems).map(Some));
        let (hosts, networks) = read_allow(&mut map, problems);
        map.finish(problems);
        let (url, mut hosts) = (url?, hosts?);
        let own = match &url {
            Url::Text(text) => host_of(&text.parse::<Config>().ok()?),
            // It may change; it is checked whenever a connection is made.
            Url::Secret(_) => None,
        };
        let any_host = hosts.is_empty() && own.is_none();
        if hosts.is_empty() {
            hosts.extend(own.clone());
        }
        let guard = Guard::new(hosts, networks?);
        if own.is_some_and(|host| !guard.lists(&host)) {
            problems.add(url_node?, Refusal::Host.to_string(), "add the host to `allow.hosts`");
            return None;
        }
        Some(Self { url, password: password?, guard, any_host, ca: ca?, schema: schema? })
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
        Ok(config) if config.get_hosts().len() == 1 && config.get_ports() != [0] => Some(Url::Text(text.to_owned())),
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

/// Connects and changes nothing.
pub(crate) async fn probe(settings: &PostgresSettings) -> Attempt {
    match within(CONNECT_TIMEOUT, Box::pin(open(settings))).await {
        Ok(_) => Attempt::Stored,
        Err(error) => error.attempt(),
    }
}

async fn connect(settings: &PostgresSettings, system: &System) -> Result<Client, WriteError> {
    let mut client = open(settings).await?;
    migrate(&mut client, &settings.schema, system).await.map_err(|error| reason(&error))?;
    Ok(client)
}

async fn open(settings: &PostgresSettings) -> Result<Client, WriteError> {
    let mut config = settings.config()?;
    guard(settings, &mut config).await?;
    let mut tls = native_tls::TlsConnector::builder();
    if let Some(pem) = &settings.ca {
        tls.add_root_certificate(native_tls::Certificate::from_pem(pem).map_err(|_| WriteError::Refused)?);
    }
    let tls = postgres_native_tls::MakeTlsConnector::new(tls.build().map_err(|_| WriteError::Refused)?);
    let (client, connection) = config.connect(tls).await.map_err(|error| reason(&error))?;
    tokio::spawn(async move {
        if let Err(error) = connection.await {
            tracing::debug!(%error, "the connection to PostgreSQL ended");
        }
    });
    Ok(client)
}

/// The host of a URL that goes over a network; it has one.
fn host_of(config: &Config) -> Option<String> {
    match config.get_hosts().first() {
        Some(Host::Tcp(host)) => Some(host.clone()),
        _ => None,
    }
}

/// Pins the connection to an address that the guard lets through. A Unix socket is this machine's own.
async fn guard(settings: &PostgresSettings, config: &mut Config) -> Result<(), WriteError> {
    let Some(host) = host_of(config) else { return Ok(()) };
    if !settings.any_host && !settings.guard.lists(&host) {
        tracing::warn!(refusal = %Refusal::Host, "the database's host is refused: mend `allow.hosts` of the sink");
        return Err(WriteError::Refused);
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<PostgresSettings, Problems> {
        let mut problems = Problems::new();
        let settings = PostgresSettings::read(&hirewire_yaml::parse("p.yaml", text).unwrap(), &mut problems);
        problems.into_result(settings)
    }

    #[tokio::test]
    async fn hosts_that_are_not_listed_are_refused_at_start_and_those_of_a_secret_url_at_the_connection() {
        let text =
            |hosts: &str| format!("url: 'postgres://u@127.0.0.1:1/d'\nallow: {{networks: ['127.0.0.0/8']{hosts}}}");
        assert!(read(&text("")).is_ok());
        assert!(read(&text(", hosts: [127.0.0.1]")).is_ok());
        let refused = read(&text(", hosts: [db.example.com]")).err().unwrap().to_string();
        assert_eq!(refused, "p.yaml:1: the host is not in the allow-list (add the host to `allow.hosts`)");

        let folder = tempfile::tempdir().unwrap();
        let url = folder.path().join("url");
        std::fs::write(&url, "postgres://u:p@127.0.0.1:1/d").unwrap();
        let text = |hosts: &str| {
            let file = url.display();
            format!("url: {{file: {file}}}\nallow: {{networks: ['127.0.0.0/8']{hosts}}}")
        };
        let outcome = async |hosts: &str| {
            let settings = read(&text(hosts)).unwrap();
            let mut config = settings.config().unwrap();
            guard(&settings, &mut config).await
        };
        assert_eq!(outcome("").await, Ok(()));
        assert_eq!(outcome(", hosts: [127.0.0.1]").await, Ok(()));
        assert_eq!(outcome(", hosts: [db.example.com]").await, Err(WriteError::Refused));
    }
}
