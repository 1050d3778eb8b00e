//! The store as an outsider reads it: with SQL written here, read-only, while the gateway runs.

use rusqlite::{Connection, OpenFlags};
use serde_json::Value;
use std::path::Path;

pub struct Database(Connection);

/// One row of the log.
pub struct Stored {
    pub seq: i64,
    /// As receivers see it.
    pub id: String,
    pub analyzer: String,
    pub name: String,
    pub test: Option<String>,
    pub body: Value,
}

impl Database {
    pub fn open(state_dir: &Path) -> Database {
        let connection = Connection::open_with_flags(state_dir.join("events.db"), OpenFlags::SQLITE_OPEN_READ_ONLY);
        let connection = connection.expect("a store");
        connection.busy_timeout(std::time::Duration::from_secs(10)).expect("a setting");
        Database(connection)
    }

    pub fn events(&self) -> Vec<Stored> {
        let sql = "SELECT seq, hex(id), analyzer, name, hex(test_id), body FROM events ORDER BY seq";
        let mut statement = self.0.prepare(sql).expect("the documented schema");
        let rows = statement.query_map([], |row| {
            let body: String = row.get(5)?;
            let test: Option<String> = row.get(4)?;
            Ok(Stored {
                seq: row.get(0)?,
                id: uuid(&row.get::<_, String>(1)?),
                analyzer: row.get(2)?,
                name: row.get(3)?,
                test: test.filter(|hex| !hex.is_empty()).map(|hex| uuid(&hex)),
                body: serde_json::from_str(&body).expect("bodies are JSON"),
            })
        });
        rows.expect("the documented schema").map(|row| row.expect("a row")).collect()
    }

    /// Names of this analyzer's events, in order.
    pub fn names(&self, analyzer: &str) -> Vec<String> {
        self.events().into_iter().filter(|event| event.analyzer == analyzer).map(|event| event.name).collect()
    }

    pub fn count(&self, name: &str) -> usize {
        self.events().iter().filter(|event| event.name == name).count()
    }

    /// How many events wait for this destination: those behind its cursor and its rows that are not dead.
    pub fn undone(&self, destination: &str) -> i64 {
        let sql = "SELECT (SELECT count(*) FROM events WHERE seq > (SELECT cursor FROM destinations WHERE id = ?1))
                        + (SELECT count(*) FROM deliveries WHERE destination = ?1 AND state <> 'dead')";
        self.0.query_row(sql, [destination], |row| row.get(0)).expect("the documented schema")
    }

    /// The same for a destination that is told of this event alone: its cursor stays before others until there is one to send.
    pub fn undone_of(&self, destination: &str, event: &str) -> i64 {
        let sql = "SELECT (SELECT count(*) FROM events WHERE name = ?2 AND seq > (SELECT cursor FROM destinations WHERE id = ?1))
                        + (SELECT count(*) FROM deliveries WHERE destination = ?1 AND state <> 'dead')";
        self.0.query_row(sql, [destination, event], |row| row.get(0)).expect("the documented schema")
    }

    /// Reason codes of this destination's dead events.
    pub fn dead(&self, destination: &str) -> Vec<String> {
        let sql = "SELECT reason_code FROM deliveries WHERE destination = ?1 AND state = 'dead' ORDER BY seq";
        let mut statement = self.0.prepare(sql).expect("the documented schema");
        let rows = statement.query_map([destination], |row| row.get(0)).expect("the documented schema");
        rows.map(|row| row.expect("a row")).collect()
    }

    pub fn check(&self) {
        let told: String = self.0.query_row("PRAGMA integrity_check", [], |row| row.get(0)).expect("a verdict");
        assert_eq!(told, "ok");
    }
}

fn uuid(hex: &str) -> String {
    let hex = hex.to_ascii_lowercase();
    [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]].join("-")
}
