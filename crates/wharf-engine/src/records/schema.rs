//! The tables, and how records of earlier versions become those of this one.
//!
//! `PRAGMA user_version` counts the migrations that have been applied; each is applied once, in a
//! transaction, in order, and is never changed once it has been published.

use rusqlite::{Connection, Row};

use super::{Contents, RecordsError};

/// Migration n makes version n + 1.
const MIGRATIONS: [&str; 1] = ["
    CREATE TABLE containers (
        id TEXT PRIMARY KEY,
        definition TEXT NOT NULL,
        status TEXT NOT NULL
    ) STRICT;
    CREATE TABLE image_names (
        name TEXT PRIMARY KEY,
        value TEXT NOT NULL
    ) STRICT;
    CREATE TABLE volumes (
        name TEXT PRIMARY KEY,
        value TEXT NOT NULL
    ) STRICT;
    CREATE TABLE settings (
        key TEXT PRIMARY KEY,
        value TEXT NOT NULL
    ) STRICT;
"];

pub(super) fn migrate(connection: &mut Connection) -> Result<(), RecordsError> {
    let known = u32::try_from(MIGRATIONS.len()).unwrap_or(u32::MAX);
    let found: u32 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    if found > known {
        return Err(RecordsError::Newer { found, known });
    }
    for (version, migration) in (1_u32..).zip(MIGRATIONS).skip(found as usize) {
        let transaction = connection.transaction()?;
        transaction.execute_batch(migration)?;
        transaction.pragma_update(None, "user_version", version)?;
        transaction.commit()?;
    }
    Ok(())
}

pub(super) fn read(connection: &Connection) -> Result<Contents, RecordsError> {
    let pairs = |sql: &str| -> rusqlite::Result<Vec<(String, String)>> {
        let pair = |row: &Row<'_>| Ok((row.get(0)?, row.get(1)?));
        connection.prepare(sql)?.query_map([], pair)?.collect()
    };
    Ok(Contents {
        containers: pairs("SELECT definition, status FROM containers ORDER BY rowid")?,
        image_names: pairs("SELECT name, value FROM image_names ORDER BY name")?,
        volumes: pairs("SELECT name, value FROM volumes ORDER BY name")?,
        settings: pairs("SELECT key, value FROM settings")?,
    })
}
