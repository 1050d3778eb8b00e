//! Where the earlier events of a lane stand in the log, for a destination whose backlog is sent beside its live events.
//!
//! Invariant: an answer may name a later event than the lane's newest (then somebody waits longer than he must), never an earlier
//! one.

use super::Store;
use super::error::StoreError;
use gateway_core::config::Order;
use gateway_core::event::{Event, Seq};
use rusqlite::{Connection, OptionalExtension, params};

impl Store {
    /// The newest event up to `through` that `event` must not overtake where `order` is kept; `None`: there is none.
    pub async fn earlier_in_lane(&self, event: &Event, order: Order, through: Seq) -> Result<Option<Seq>, StoreError> {
        let event = event.clone();
        self.read(move |connection| earlier(connection, &event, order, through)).await
    }
}

fn earlier(connection: &Connection, event: &Event, order: Order, through: Seq) -> Result<Option<Seq>, StoreError> {
    let newest = |sql: &str, key: &dyn rusqlite::ToSql| -> Result<Option<Seq>, StoreError> {
        let mut select = connection.prepare_cached(&format!("{sql} ORDER BY seq DESC LIMIT 1"))?;
        Ok(select.query_row(params![key, through.0], |row| row.get(0)).optional()?.map(Seq))
    };
    let kind = &event.kind;
    match order {
        Order::None => Ok(None),
        Order::Analyzer => newest("SELECT seq FROM events WHERE analyzer = ?1 AND seq <= ?2", &event.analyzer.0),
        Order::Test => match (&kind.test, &kind.registration) {
            (Some(test), _) => newest("SELECT seq FROM events WHERE test_id = ?1 AND seq <= ?2", &test.id.0),
            (_, Some(registration)) => {
                newest("SELECT seq FROM facts WHERE registration = ?1 AND seq <= ?2", &registration.number)
            }
            _ => newest(
                "SELECT seq FROM events WHERE analyzer = ?1 AND seq <= ?2 AND test_id IS NULL",
                &event.analyzer.0,
            ),
        },
    }
}
