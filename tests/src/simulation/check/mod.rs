//! Judges a run by what the peers wrote down and by statements of our own on the database. The gateway's opinion of itself
//! is never asked.

mod analyzers;
mod deliveries;
mod schedule;

use super::run::Outcome;
use super::scenario::{Says, Scenario};
use gateway_core::event::Id;
use gateway_daemon::store::patch;
use rusqlite::{Connection, OpenFlags, OptionalExtension};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

/// A promise that was broken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// The check that noticed it.
    pub check: &'static str,
    pub what: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[{}] {}", self.check, self.what)
    }
}

/// An event of the log.
pub struct Stored {
    pub seq: i64,
    pub id: String,
    pub analyzer: String,
    pub name: String,
    /// Test or analyzer: what order is kept in.
    pub lane: String,
    pub body: Value,
}

/// A row of `deliveries`.
pub struct Undone {
    pub ordinal: i64,
    pub state: String,
    pub attempts: i64,
    pub reason: Option<String>,
    pub redriven: bool,
}

/// A destination as the database has it.
pub struct Destination {
    pub cursor: i64,
    pub ordinal: i64,
    /// Split, cursor and ordinal of the live part, while there is one.
    pub live: Option<(i64, i64, i64)>,
    pub rows: BTreeMap<i64, Undone>,
}

impl Destination {
    /// Whether an event without a row counts as delivered.
    fn has_passed(&self, seq: i64) -> bool {
        seq <= self.cursor || self.live.is_some_and(|(split, cursor, _)| seq > split && seq <= cursor)
    }
}

/// The database after a run.
pub struct Database {
    pub events: Vec<Stored>,
    pub destinations: BTreeMap<String, Destination>,
    pub open_captures: BTreeMap<String, i64>,
    pub connection: Connection,
}

/// Everything that is wrong with a run.
pub fn faults(outcome: &Outcome) -> Vec<Fault> {
    let mut faults = Faults::default();
    if !outcome.finished {
        faults.add("progress", format!("not everything is done after {:?}", outcome.scenario.limit));
    }
    for complaint in &outcome.complaints {
        faults.add("progress", complaint.clone());
    }
    match Database::read(&outcome.database()) {
        Ok(database) => {
            analyzers::check(outcome, &database, &mut faults);
            deliveries::check(outcome, &database, &mut faults);
            schedule::check(outcome, &mut faults);
        }
        Err(error) => faults.add("database", error.to_string()),
    }
    faults.0
}

#[derive(Default)]
struct Faults(Vec<Fault>);

impl Faults {
    fn add(&mut self, check: &'static str, what: impl Into<String>) {
        self.0.push(Fault { check, what: what.into() });
    }
}

impl Scenario {
    /// Whether an event belongs to a destination, by the manual's rules.
    fn belongs(&self, destination: &str, event: &Stored) -> bool {
        let Some(id) = destination.strip_prefix("webhook:") else { return true };
        let webhook = self.webhooks.iter().find(|webhook| webhook.id == id);
        if webhook.is_none_or(|webhook| webhook.dialect != "test-v0") {
            return true;
        }
        let talker = self.analyzers.iter().find(|analyzer| analyzer.id == event.analyzer);
        let is_run = talker.is_some_and(|analyzer| matches!(analyzer.says, Says::Run { .. }));
        let triggers =
            ["TEST_STARTED", "CONTINUE_TEST", "TEST_FINISHED", "NEW_DATA", "DEVICE_READY", "ALREADY_TESTING"];
        is_run && triggers.contains(&event.name.as_str())
    }
}

/// A connection that only looks.
pub fn read_only(database: &Path) -> Connection {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    Connection::open_with_flags(database, flags).expect("the gateway has made its database")
}

/// Whether an analyzer's captures hold these bytes in one piece.
pub fn captures_hold(connection: &Connection, analyzer: &str, bytes: &[u8]) -> bool {
    let sql = "SELECT id FROM captures WHERE analyzer = ?1 ORDER BY id DESC";
    let mut select = connection.prepare_cached(sql).expect("the schema has captures");
    let mut rows = select.query([analyzer]).expect("a readable table");
    while let Some(row) = rows.next().expect("a readable row") {
        let content = capture(connection, row.get(0).expect("an id"));
        if content.windows(bytes.len()).any(|window| window == bytes) {
            return true;
        }
    }
    false
}

/// The bytes of one capture: whole, or a patch against an older one.
fn capture(connection: &Connection, id: i64) -> Vec<u8> {
    let sql = "SELECT base, bytes, content FROM captures WHERE id = ?1";
    let mut select = connection.prepare_cached(sql).expect("the schema has captures");
    let row: (Option<i64>, i64, Vec<u8>) = select
        .query_row([id], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
        .expect("a capture that another one names is there");
    match row {
        (None, _, content) => content,
        (Some(base), length, content) => {
            let length = usize::try_from(length).expect("a length");
            patch::apply(&capture(connection, base), &content, length).expect("a patch fits its base")
        }
    }
}

/// How much is left to do.
#[derive(Debug, Default)]
pub struct Rest {
    /// Events beyond a cursor, and rows that are not dead.
    pub undone: i64,
    /// Most rows that are not dead at one destination.
    pub rows_max: i64,
}

/// What is left to do now, by a look into the database; `None` while there is nothing to look at.
pub fn rest(connection: &Connection, scenario: &Scenario) -> Option<Rest> {
    let mut rest = Rest::default();
    let mut wanted = vec!["mqtt".to_owned()];
    wanted.extend(scenario.webhooks.iter().map(|webhook| format!("webhook:{}", webhook.id)));
    for destination in wanted {
        let number = |sql| -> Option<i64> {
            let mut select = connection.prepare_cached(sql).ok()?;
            select.query_row([&destination], |row| row.get(0)).optional().ok()?
        };
        let cursor = number("SELECT cursor FROM destinations WHERE id = ?1")?;
        let rows = number("SELECT count(*) FROM deliveries WHERE destination = ?1 AND state <> 'dead'")?;
        let beyond = events(connection, cursor).ok()?;
        let live = live_part(connection, &destination).ok()?;
        let done = |seq: i64| live.is_some_and(|(split, cursor, _)| seq > split && seq <= cursor);
        let beyond = beyond.iter().filter(|event| scenario.belongs(&destination, event) && !done(event.seq)).count();
        rest.undone += rows + i64::try_from(beyond).unwrap_or(i64::MAX);
        rest.rows_max = rest.rows_max.max(rows);
    }
    Some(rest)
}

/// Split, cursor and ordinal.
fn live_part(connection: &Connection, destination: &str) -> Result<Option<(i64, i64, i64)>, rusqlite::Error> {
    let sql = "SELECT split, cursor, ordinal FROM live_parts WHERE destination = ?1";
    let mut select = connection.prepare_cached(sql)?;
    select.query_row([destination], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?))).optional()
}

fn events(connection: &Connection, after: i64) -> Result<Vec<Stored>, rusqlite::Error> {
    let sql = "SELECT seq, id, analyzer, name, test_id, body FROM events WHERE seq > ?1 ORDER BY seq";
    let mut select = connection.prepare_cached(sql)?;
    let read = |row: &rusqlite::Row<'_>| {
        let analyzer: String = row.get(2)?;
        let test: Option<[u8; 16]> = row.get(4)?;
        let lane = test.map_or_else(|| format!("a:{analyzer}"), |test| format!("t:{}", Id(test)));
        let body: String = row.get(5)?;
        Ok(Stored {
            seq: row.get(0)?,
            id: Id(row.get(1)?).to_string(),
            analyzer,
            name: row.get(3)?,
            lane,
            body: serde_json::from_str(&body).unwrap_or(Value::Null),
        })
    };
    select.query_map([after], read)?.collect()
}

impl Database {
    fn read(path: &Path) -> Result<Database, rusqlite::Error> {
        let connection = read_only(path);
        let events = events(&connection, 0)?;
        let mut destinations = BTreeMap::new();
        let mut select = connection.prepare("SELECT id, cursor, ordinal FROM destinations")?;
        let mut found = select.query([])?;
        while let Some(row) = found.next()? {
            let id: String = row.get(0)?;
            let rows = rows(&connection, &id)?;
            let live = live_part(&connection, &id)?;
            destinations.insert(id, Destination { cursor: row.get(1)?, ordinal: row.get(2)?, live, rows });
        }
        drop(found);
        drop(select);
        let mut select =
            connection.prepare("SELECT analyzer, count(*) FROM captures WHERE message IS NULL GROUP BY analyzer")?;
        let open_captures = select.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?.collect::<Result<_, _>>()?;
        drop(select);
        Ok(Database { events, destinations, open_captures, connection })
    }
}

fn rows(connection: &Connection, destination: &str) -> Result<BTreeMap<i64, Undone>, rusqlite::Error> {
    let sql = "SELECT seq, ordinal, state, attempts, reason_code, redriven FROM deliveries WHERE destination = ?1";
    let mut select = connection.prepare_cached(sql)?;
    let read = |row: &rusqlite::Row<'_>| {
        let undone = Undone {
            ordinal: row.get(1)?,
            state: row.get(2)?,
            attempts: row.get(3)?,
            reason: row.get(4)?,
            redriven: row.get(5)?,
        };
        Ok((row.get(0)?, undone))
    };
    select.query_map([destination], read)?.collect()
}
