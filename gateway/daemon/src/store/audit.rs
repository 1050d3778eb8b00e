//! The table `audit`: who read or did what.
//!
//! Invariant: an entry is on disk before the one who asked has an answer.

use super::done::STEP_ROWS_MAX;
use super::error::StoreError;
use super::{AuditEntry, Store};
use gateway_core::time::Timestamp;
use rusqlite::{Connection, params};
use std::time::Duration;

impl Store {
    /// Notes who read or did what.
    pub async fn audit(&self, entry: AuditEntry) -> Result<(), StoreError> {
        self.shared.write(Duration::ZERO, move |writer| add(&writer.connection, &entry)).await
    }

    /// The entries behind number `after`, oldest first, at most `limit`, each with its number. They go by age with the events.
    pub async fn audit_entries(&self, after: i64, limit: usize) -> Result<Vec<(i64, AuditEntry)>, StoreError> {
        let sql = "SELECT id, at, client, action, object, outcome FROM audit WHERE id > ?1 ORDER BY id LIMIT ?2";
        self.show(move |connection| entries(connection, sql, after, limit)).await
    }
}

pub(super) fn add(connection: &Connection, entry: &AuditEntry) -> Result<(), StoreError> {
    connection
        .prepare_cached("INSERT INTO audit (at, client, action, object, outcome) VALUES (?1, ?2, ?3, ?4, ?5)")?
        .execute(params![entry.at.0, entry.client, entry.action, entry.object, entry.outcome])?;
    Ok(())
}

/// `sql` selects the columns in the order of the table, from a number on, so many.
pub(super) fn entries(
    connection: &Connection,
    sql: &str,
    from: i64,
    limit: usize,
) -> Result<Vec<(i64, AuditEntry)>, StoreError> {
    let mut select = connection.prepare_cached(sql)?;
    let rows = select.query_map(params![from, i64::try_from(limit).unwrap_or(i64::MAX)], |row| {
        let entry = AuditEntry {
            at: Timestamp(row.get(1)?),
            client: row.get(2)?,
            action: row.get(3)?,
            object: row.get(4)?,
            outcome: row.get(5)?,
        };
        Ok((row.get(0)?, entry))
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// Deletes a bounded number of the entries of before then.
pub(super) fn forget(connection: &Connection, before: Timestamp) -> Result<(), StoreError> {
    connection
        .prepare_cached("DELETE FROM audit WHERE id IN (SELECT id FROM audit WHERE at < ?1 ORDER BY id LIMIT ?2)")?
        .execute(params![before.0, STEP_ROWS_MAX as i64])?;
    Ok(())
}
