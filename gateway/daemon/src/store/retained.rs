//! In `meta`: the retained topics that a broker was given, so that they can be cleared once their subject is gone from the
//! settings, also if that happened while the gateway was off.

use super::Store;
use super::error::StoreError;
use rusqlite::Connection;
use std::time::Duration;

/// The beginning of their keys; the broker's name and the topic follow.
const KEY: &str = "retained";

impl Store {
    /// The retained topics that this broker was given.
    pub async fn retained_topics(&self, broker: &'static str) -> Result<Vec<String>, StoreError> {
        self.read(move |connection| topics(connection, &key(broker, ""))).await
    }

    /// Notes that this broker is about to be given these.
    pub async fn note_retained(&self, broker: &'static str, topics: Vec<String>) -> Result<(), StoreError> {
        let work = move |writer: &mut super::hand::Writer| {
            let mut insert =
                writer.connection.prepare_cached("INSERT OR REPLACE INTO meta (key, value) VALUES (?1, 1)")?;
            topics.iter().try_for_each(|topic| insert.execute([key(broker, topic)]).map(|_| ()))?;
            Ok(())
        };
        self.shared.write(Duration::ZERO, work).await
    }

    /// Forgets one that this broker has cleared.
    pub async fn forget_retained(&self, broker: &'static str, topic: &str) -> Result<(), StoreError> {
        let key = key(broker, topic);
        let work = move |writer: &mut super::hand::Writer| {
            writer.connection.prepare_cached("DELETE FROM meta WHERE key = ?1")?.execute([&key])?;
            Ok(())
        };
        self.shared.write(Duration::ZERO, work).await
    }
}

fn key(broker: &str, topic: &str) -> String {
    format!("{KEY}:{broker}:{topic}")
}

fn topics(connection: &Connection, prefix: &str) -> Result<Vec<String>, StoreError> {
    let mut select = connection
        .prepare_cached("SELECT substr(key, length(?1) + 1) FROM meta WHERE substr(key, 1, length(?1)) = ?1")?;
    let topics = select.query_map([prefix], |row| row.get(0))?.collect::<Result<_, _>>()?;
    Ok(topics)
}
