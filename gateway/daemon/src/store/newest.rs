//! What a person looks at first: the newest end of the tables that are otherwise read from their beginning.
//!
//! Invariant: every answer is bounded by its `limit` and read from the end of an index.

use super::error::StoreError;
use super::{AuditEntry, Store, audit, registrations};
use gateway_core::event::{EventId, Id, TestId};
use gateway_core::registration::Registration;
use rusqlite::{OptionalExtension, params};

impl Store {
    /// The registrations below that number, newest first, at most `limit`.
    pub async fn newest_registrations(&self, before: i64, limit: usize) -> Result<Vec<Registration>, StoreError> {
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let sql = "SELECT body FROM registrations WHERE number < ?1 ORDER BY number DESC LIMIT ?2";
        self.show(move |connection| registrations::many(connection, sql, params![before, limit])).await
    }

    /// The entries of the audit log below that number, newest first, at most `limit`, each with its number.
    pub async fn newest_audit_entries(&self, before: i64, limit: usize) -> Result<Vec<(i64, AuditEntry)>, StoreError> {
        let sql = "SELECT id, at, client, action, object, outcome FROM audit WHERE id < ?1 ORDER BY id DESC LIMIT ?2";
        self.show(move |connection| audit::entries(connection, sql, before, limit)).await
    }

    /// The event with the newest results of a test; `None` while it has none.
    pub async fn results_event(&self, test: TestId) -> Result<Option<EventId>, StoreError> {
        let sql = "SELECT id FROM events WHERE test_id = ?1 AND name = 'TEST_FINISHED' ORDER BY seq DESC LIMIT 1";
        self.show(move |connection| {
            let mut select = connection.prepare_cached(sql)?;
            Ok(select.query_row([test.0], |row| Ok(Id(row.get(0)?))).optional()?)
        })
        .await
    }

    /// Whether anything of that test is in the log.
    pub async fn has_test(&self, test: TestId) -> Result<bool, StoreError> {
        let sql = "SELECT 1 FROM events WHERE test_id = ?1 LIMIT 1";
        self.show(move |connection| Ok(connection.prepare_cached(sql)?.exists([test.0])?)).await
    }
}
