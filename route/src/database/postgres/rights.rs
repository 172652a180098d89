//! What the user of a `postgres` sink must still be given, as SQL.
//!
//! Asked when the database has refused something, and by the probe; nothing depends on the answer but what people are told.

use tokio_postgres::{Client, Error};

use crate::system::{System, Takes};

const OF_SCHEMA: &str = "SELECT quote_ident(current_user), quote_ident(current_database()),
    has_database_privilege(current_database(), 'CREATE'),
    has_schema_privilege(schema, 'USAGE'), has_schema_privilege(schema, 'CREATE')
    FROM (SELECT to_regnamespace($1)::oid AS schema) AS one";

/// Of the rights on tables those that are missing; of a table that is not there, all.
const OF_TABLES: &str = "SELECT wanted.name, wanted.what, found.oid IS NOT NULL
    FROM unnest($2::text[], $3::text[]) WITH ORDINALITY AS wanted (name, what, place)
    LEFT JOIN pg_class AS found ON found.relname = wanted.name AND found.relnamespace = to_regnamespace($1)
    WHERE found.oid IS NULL OR NOT has_any_column_privilege(found.oid, wanted.what)
    ORDER BY wanted.place";

/// Who made the tables has all rights on them; who did not needs these.
fn wanted(system: &System) -> Vec<(&str, &'static str)> {
    let rows = ["SELECT", "INSERT", "UPDATE"];
    let mut wanted = vec![("schema_migration", "SELECT")];
    wanted.extend(rows.map(|right| ("sink_position", right)));
    if let Takes::Everything(tables) = &system.takes {
        wanted.extend(tables.iter().flat_map(|table| rows.map(|right| (table.table.as_str(), right))));
    }
    wanted
}

/// Statements for who owns the schema; of the database, where there is no schema.
///
/// # Errors
/// When the database does not answer.
pub(super) async fn missing(client: &Client, schema: &str, system: &System) -> Result<Vec<String>, Error> {
    let row = client.query_one(OF_SCHEMA, &[&schema]).await?;
    let (user, database): (&str, &str) = (row.try_get(0)?, row.try_get(1)?);
    let Some(may_use) = row.try_get::<_, Option<bool>>(3)? else {
        let give = format!("GRANT CREATE ON DATABASE {database} TO {user}");
        return Ok(if row.try_get(2)? { Vec::new() } else { vec![give] });
    };
    let may_create = row.try_get::<_, Option<bool>>(4)?.unwrap_or_default();
    let mut give = Vec::new();
    if !may_use {
        give.push(format!("GRANT USAGE ON SCHEMA {schema} TO {user}"));
    }
    let (tables, rights): (Vec<&str>, Vec<&str>) = wanted(system).into_iter().unzip();
    for row in client.query(OF_TABLES, &[&schema, &tables, &rights]).await? {
        let (table, right, is_there): (&str, &str, bool) = (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?);
        if is_there {
            give.push(format!("GRANT {right} ON {schema}.{table} TO {user}"));
        } else if !may_create {
            give.push(format!("GRANT CREATE ON SCHEMA {schema} TO {user}"));
        }
    }
    give.dedup();
    Ok(give)
}
