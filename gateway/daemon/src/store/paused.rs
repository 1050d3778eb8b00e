//! The endpoints that a person has paused, in the table `meta`: `paused:` and the endpoint's id, since when.
//!
//! Invariant: an endpoint stays paused over restarts and changed settings until a person resumes or forgets it.

use super::Store;
use super::error::StoreError;
use gateway_core::time::Timestamp;
use rusqlite::{Connection, params};
use std::collections::BTreeMap;
use std::time::Duration;

impl Store {
    /// Each by its id, and since when.
    pub async fn paused(&self) -> Result<BTreeMap<String, Timestamp>, StoreError> {
        self.read(all).await
    }

    /// Pauses an endpoint since then, or resumes it (`None`). `false`: it was so already.
    pub async fn set_paused(&self, endpoint: &str, since: Option<Timestamp>) -> Result<bool, StoreError> {
        let key = format!("paused:{endpoint}");
        let work = move |writer: &mut super::hand::Writer| {
            let changed = match since {
                Some(since) => writer
                    .connection
                    .prepare_cached("INSERT INTO meta (key, value) VALUES (?1, ?2) ON CONFLICT DO NOTHING")?
                    .execute(params![key, since.0])?,
                None => writer.connection.prepare_cached("DELETE FROM meta WHERE key = ?1")?.execute([&key])?,
            };
            Ok(changed > 0)
        };
        self.shared.write(Duration::ZERO, work).await
    }
}

fn all(connection: &Connection) -> Result<BTreeMap<String, Timestamp>, StoreError> {
    let mut select = connection.prepare_cached("SELECT substr(key, 8), value FROM meta WHERE key GLOB 'paused:*'")?;
    let rows = select.query_map([], |row| Ok((row.get(0)?, Timestamp(row.get(1)?))))?;
    Ok(rows.collect::<Result<_, _>>()?)
}
