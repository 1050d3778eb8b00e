//! The versions of the schema, forward only.
//!
//! Invariant: version N can be read and written by version N-1, because a version only adds. So a file that is newer than
//! this program is used as it is, and its version number is left alone.

use rusqlite::Connection;

/// Each entry leads from the version that is its index to the next one.
const MIGRATIONS: &[&str] = &[
    include_str!("schema.sql"),
    include_str!("schema_2.sql"),
    include_str!("schema_3.sql"),
    include_str!("schema_5.sql"),
];

/// The newest version that this program knows.
pub(super) const NEWEST: usize = MIGRATIONS.len();

/// Brings the file up to this program's version, one transaction a version. Returns the version it has now.
pub(super) fn migrate(connection: &Connection) -> Result<usize, rusqlite::Error> {
    migrate_to(connection, NEWEST)
}

/// The same, up to an older version.
pub(super) fn migrate_to(connection: &Connection, wanted: usize) -> Result<usize, rusqlite::Error> {
    let mut version = user_version(connection)?;
    while let Some(statements) = MIGRATIONS.get(version).filter(|_| version < wanted) {
        connection.execute_batch("BEGIN IMMEDIATE")?;
        let step = connection
            .execute_batch(statements)
            .and_then(|()| {
                connection.pragma_update(None, "user_version", i64::try_from(version + 1).unwrap_or(i64::MAX))
            })
            .and_then(|()| connection.execute_batch("COMMIT"));
        if let Err(error) = step {
            // The first error is the one to tell; SQLite may have rolled back by itself.
            let _ = connection.execute_batch("ROLLBACK");
            return Err(error);
        }
        version += 1;
    }
    Ok(version)
}

/// The file's version; 0 for a new file.
pub(super) fn user_version(connection: &Connection) -> Result<usize, rusqlite::Error> {
    let version: i64 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    Ok(usize::try_from(version).unwrap_or(0))
}
