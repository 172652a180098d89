//! The PostgreSQL writer: schema created and migrated, rows upserted in batches.
//!
//! A batch is one JSON text per table that PostgreSQL itself turns into rows of the table's types: decimals,
//! `timestamptz`, arrays. The rows of `sink_position` are locked first, in one order, so that of two owners of a partition
//! the later one sees what the earlier one wrote. The connection goes through the guard: what is not TLS must be in an
//! allowed network.

mod rights;
mod settings;

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tokio_postgres::config::{Host, SslMode};
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, Config, Transaction};

use super::position::{Position, Positions, slots};
use super::writer::{Batch, Owner, Store, WriteError, column_lists, groups};
use crate::deliver::outcome::Attempt;
use crate::http::guard::{Refusal, refusal_in};
use crate::source::Slot;
use crate::system::System;
pub(crate) use settings::PostgresSettings;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a batch may take before it counts as failed.
const BATCH_TIMEOUT: Duration = Duration::from_secs(30);

pub(crate) struct Postgres {
    settings: PostgresSettings,
    system: Arc<System>,
    client: Option<Client>,
}

impl Postgres {
    pub(crate) fn new(settings: PostgresSettings, system: Arc<System>) -> Self {
        Self { settings, system, client: None }
    }

    /// What failed otherwise than by its data leaves a connection of no use.
    async fn ask<T>(
        &mut self,
        work: impl AsyncFnOnce(&mut Client) -> Result<T, tokio_postgres::Error>,
    ) -> Result<T, WriteError> {
        let Self { settings, system, client } = self;
        let client = client.as_mut().ok_or(WriteError::Away)?;
        let done = within(BATCH_TIMEOUT, async {
            match work(client).await {
                Ok(done) => Ok(done),
                Err(error) => Err(told(client, settings, system, &error).await),
            }
        })
        .await;
        if matches!(done, Err(WriteError::Refused | WriteError::Away)) {
            self.client = None;
        }
        done
    }
}

impl Store for Postgres {
    async fn open(&mut self) -> Result<(), WriteError> {
        let client = within(CONNECT_TIMEOUT * 2, Box::pin(connect(&self.settings, &self.system))).await?;
        self.client = Some(client);
        Ok(())
    }

    fn is_open(&self) -> bool {
        self.client.as_ref().is_some_and(|client| !client.is_closed())
    }

    async fn positions(&mut self, owner: &Owner) -> Result<Vec<(Slot, i64)>, WriteError> {
        Box::pin(self.ask(async |client| positions(client, owner).await)).await
    }

    async fn write(&mut self, batch: &Arc<Batch>) -> Result<Vec<bool>, WriteError> {
        Box::pin(self.ask(async |client| write(client, batch).await)).await
    }
}

async fn within<T>(limit: Duration, work: impl Future<Output = Result<T, WriteError>>) -> Result<T, WriteError> {
    tokio::time::timeout(limit, work).await.unwrap_or(Err(WriteError::Away))
}

/// Connects, and changes nothing. The statements that would give the sink's user what it lacks; none: it lacks nothing.
///
/// # Errors
/// As an attempt to store would fail.
pub(crate) async fn probe(settings: &PostgresSettings, system: &System) -> Result<Vec<String>, Attempt> {
    let asking = async {
        let client = open(settings).await?;
        rights::missing(&client, &settings.schema, system).await.map_err(|error| reason(&error))
    };
    within(CONNECT_TIMEOUT, Box::pin(asking)).await.map_err(WriteError::attempt)
}

async fn connect(settings: &PostgresSettings, system: &System) -> Result<Client, WriteError> {
    let mut client = open(settings).await?;
    match migrate(&mut client, &settings.schema, system).await {
        Ok(()) => Ok(client),
        Err(error) => Err(told(&client, settings, system, &error).await),
    }
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
    // `IF NOT EXISTS` asks for the right to create even where there is nothing to create.
    let has_schema: bool =
        transaction.query_one("SELECT to_regnamespace($1) IS NOT NULL", &[&schema]).await?.try_get(0)?;
    if !has_schema {
        transaction.batch_execute(&format!("CREATE SCHEMA {schema}")).await?;
    }
    transaction.batch_execute(&format!("SET search_path TO {schema}")).await?;
    for (table, make) in [("schema_migration", MAKE_MIGRATIONS), ("sink_position", MAKE_POSITIONS)] {
        let has_table = "SELECT 1 FROM pg_class WHERE relname = $1 AND relnamespace = to_regnamespace($2)";
        if transaction.query_opt(has_table, &[&table, &schema]).await?.is_none() {
            transaction.batch_execute(make).await?;
        }
    }
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

const MAKE_MIGRATIONS: &str = "CREATE TABLE schema_migration (
    name text PRIMARY KEY, applied_at timestamptz NOT NULL DEFAULT now())";

const MAKE_POSITIONS: &str = "CREATE TABLE sink_position (
    sink text NOT NULL, cluster text NOT NULL, topic text NOT NULL, partition integer NOT NULL,
    next_offset bigint NOT NULL, ahead text NOT NULL, written_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (sink, cluster, topic, partition))";

const ALL_POSITIONS: &str = "SELECT topic, partition, next_offset FROM sink_position WHERE sink = $1 AND cluster = $2";

const LOCK_POSITIONS: &str = "SELECT topic, partition, next_offset, ahead FROM sink_position
    WHERE sink = $1 AND cluster = $2 AND (topic, partition) IN (SELECT * FROM unnest($3::text[], $4::integer[]))
    ORDER BY topic, partition FOR UPDATE";

const ADD_POSITIONS: &str = "INSERT INTO sink_position (sink, cluster, topic, partition, next_offset, ahead)
    SELECT $1::text, $2::text, topic, partition, 0, '[]'
    FROM unnest($3::text[], $4::integer[]) AS new (topic, partition) ON CONFLICT DO NOTHING";

const PUT_POSITIONS: &str = "UPDATE sink_position AS old
    SET next_offset = new.next_offset, ahead = new.ahead, written_at = now()
    FROM unnest($3::text[], $4::integer[], $5::bigint[], $6::text[]) AS new (topic, partition, next_offset, ahead)
    WHERE sink = $1 AND cluster = $2 AND old.topic = new.topic AND old.partition = new.partition";

async fn positions(client: &Client, owner: &Owner) -> Result<Vec<(Slot, i64)>, tokio_postgres::Error> {
    let rows = client.query(ALL_POSITIONS, &[&&*owner.sink, &&*owner.cluster]).await?;
    let position = |row: &tokio_postgres::Row| Ok((slot(row)?, row.try_get(2)?));
    rows.iter().map(position).collect()
}

fn slot(row: &tokio_postgres::Row) -> Result<Slot, tokio_postgres::Error> {
    Ok(Slot { topic: row.try_get::<_, &str>(0)?.into(), partition: row.try_get(1)? })
}

async fn write(client: &mut Client, batch: &Batch) -> Result<Vec<bool>, tokio_postgres::Error> {
    let transaction = client.transaction().await?;
    let mut positions = lock(&transaction, batch).await?;
    let is_new = positions.take(batch);
    for group in groups(batch, &is_new) {
        let (columns, updates) = column_lists(group.plan);
        let (table, key) = (&group.plan.table, &group.plan.key);
        let statement = format!(
            "INSERT INTO {table} ({columns}) SELECT {columns} FROM json_populate_recordset(NULL::{table}, $1::text::json)
             ON CONFLICT ({key}) DO UPDATE SET {updates}"
        );
        let values: Vec<Value> = group.rows.iter().map(|row| Value::Object(row.values.clone())).collect();
        transaction.execute(&statement, &[&Value::Array(values).to_string()]).await?;
    }
    put(&transaction, &batch.owner, &positions).await?;
    transaction.commit().await?;
    Ok(is_new)
}

/// The positions of the batch's partitions, which nobody else moves before this transaction ends.
async fn lock(transaction: &Transaction<'_>, batch: &Batch) -> Result<Positions, tokio_postgres::Error> {
    let slots = slots(batch);
    let topics: Vec<&str> = slots.iter().map(|slot| &*slot.topic).collect();
    let partitions: Vec<i32> = slots.iter().map(|slot| slot.partition).collect();
    let (sink, cluster) = (&*batch.owner.sink, &*batch.owner.cluster);
    let parameters: [&(dyn ToSql + Sync); 4] = [&sink, &cluster, &topics, &partitions];
    let mut rows = transaction.query(LOCK_POSITIONS, &parameters).await?;
    if rows.len() < slots.len() {
        transaction.execute(ADD_POSITIONS, &parameters).await?;
        rows = transaction.query(LOCK_POSITIONS, &parameters).await?;
    }
    let position = |row: &tokio_postgres::Row| Ok((slot(row)?, Position::read(row.try_get(2)?, row.try_get(3)?)));
    rows.iter().map(position).collect::<Result<_, _>>().map(Positions)
}

async fn put(
    transaction: &Transaction<'_>,
    owner: &Owner,
    Positions(positions): &Positions,
) -> Result<(), tokio_postgres::Error> {
    let topics: Vec<&str> = positions.keys().map(|slot| &*slot.topic).collect();
    let partitions: Vec<i32> = positions.keys().map(|slot| slot.partition).collect();
    let next: Vec<i64> = positions.values().map(|position| position.next).collect();
    let ahead: Vec<String> = positions.values().map(Position::ahead).collect();
    let parameters: [&(dyn ToSql + Sync); 6] = [&&*owner.sink, &&*owner.cluster, &topics, &partitions, &next, &ahead];
    transaction.execute(PUT_POSITIONS, &parameters).await.map(drop)
}

/// Why it failed; and of what the database refuses, what its user would have to be given.
async fn told(
    client: &Client,
    settings: &PostgresSettings,
    system: &System,
    error: &tokio_postgres::Error,
) -> WriteError {
    let reason = reason(error);
    if reason == WriteError::Refused
        && let Ok(give) = rights::missing(client, &settings.schema, system).await
        && !give.is_empty()
    {
        let give = give.join("; ");
        tracing::warn!(give, "the sink's user lacks rights: let the owner of the schema run what `give` says");
    }
    reason
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
            // Of these classes it names roles, tables and columns, never a value.
            let said = error.as_db_error().map(tokio_postgres::error::DbError::message);
            tracing::warn!(sqlstate = state.code(), said, "the database refuses us");
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
    use hirewire_yaml::Problems;

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
