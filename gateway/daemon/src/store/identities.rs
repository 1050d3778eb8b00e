//! The table `identities`: the serial number that each analyzer is known by.

use super::Store;
use super::error::StoreError;
use gateway_core::event::AnalyzerId;
use rusqlite::params;
use std::collections::BTreeMap;
use std::time::Duration;

impl Store {
    /// Every number that was learnt.
    pub async fn identities(&self) -> Result<BTreeMap<AnalyzerId, String>, StoreError> {
        self.read(|connection| {
            let mut select = connection.prepare_cached("SELECT analyzer, serial_number FROM identities")?;
            let rows = select.query_map([], |row| Ok((AnalyzerId(row.get(0)?), row.get(1)?)))?;
            Ok(rows.collect::<Result<_, _>>()?)
        })
        .await
    }

    /// From now on the analyzer is known by this number.
    pub async fn learn_identity(&self, analyzer: AnalyzerId, serial_number: String) -> Result<(), StoreError> {
        let work = move |writer: &mut super::hand::Writer| {
            writer
                .connection
                .prepare_cached("INSERT OR REPLACE INTO identities (analyzer, serial_number) VALUES (?1, ?2)")?
                .execute(params![analyzer.0, serial_number])?;
            Ok(())
        };
        self.shared.write_when(super::writer::Urgency::Soon, Duration::ZERO, work).await
    }
}
