//! The store for commands while the daemon is down: read-only, no lock, nothing is repaired.

use super::destinations::{self, Position, members};
use super::error::{StoreError, cannot_open};
use super::{DestinationId, Seq, connect, events};
use gateway_core::event::Event;
use gateway_core::health::Standing;
use gateway_core::overview::StoreOverview;
use rusqlite::Connection;
use std::path::Path;

/// A database opened for reading only.
pub struct ReadStore {
    connection: Connection,
}

/// The log's size, and how much there is to do for each destination.
#[derive(Debug, Clone, PartialEq)]
pub struct Standings {
    pub store: StoreOverview,
    pub configured: Vec<(DestinationId, Standing)>,
    /// Destinations that are not in the settings any more and have events that nobody else sends: their ids, and how many.
    pub left_behind: Vec<(String, u64)>,
}

/// How much there is of everything.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Counts {
    pub events: u64,
    /// The newest seq given out.
    pub head: Seq,
    pub captures: u64,
    pub attempts: u64,
    pub destinations: Vec<DestinationCounts>,
}

/// How far one destination has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DestinationCounts {
    pub id: DestinationId,
    /// Whether it is in the settings.
    pub configured: bool,
    pub cursor: Seq,
    pub ordinal: u64,
    /// Events that belong to it and are neither delivered nor dead, beyond the cursor ones included.
    pub undone: u64,
    /// Rows that wait for a person or a configuration; part of `undone`.
    pub held: u64,
    pub dead: u64,
    /// Attempts in the books.
    pub attempts: u64,
}

impl ReadStore {
    /// Opens the file as it is.
    pub fn open(path: &Path) -> Result<ReadStore, StoreError> {
        let connection = connect::read_only(path).map_err(|error| cannot_open(path, &error))?;
        Ok(ReadStore { connection })
    }

    pub(super) fn connection(&self) -> &Connection {
        &self.connection
    }

    /// How much there is of everything.
    pub fn counts(&self) -> Result<Counts, StoreError> {
        let view = self.connection.unchecked_transaction()?;
        counts(&view)
    }

    /// The next events of the log, at most `limit`.
    pub fn events_after(&self, after: Seq, limit: usize) -> Result<Vec<Event>, StoreError> {
        events::after(&self.connection, after, limit)
    }
}

pub(super) fn counts(connection: &Connection) -> Result<Counts, StoreError> {
    let mut counts = Counts {
        events: count(connection, "SELECT count(*) FROM events")?,
        head: events::head(connection)?,
        captures: count(connection, "SELECT count(*) FROM captures")?,
        attempts: count(connection, "SELECT count(*) FROM attempts")?,
        destinations: Vec::new(),
    };
    for (id, configured) in destinations::all(connection)? {
        let position = destinations::position(connection, &id)?;
        let (rows, held, dead): (i64, i64, i64) = connection.query_row(
            "SELECT count(*), count(*) FILTER (WHERE state = 'held'), count(*) FILTER (WHERE state = 'dead')
             FROM deliveries WHERE destination = ?1",
            [&id.0],
            |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)),
        )?;
        let attempts: i64 =
            connection.query_row("SELECT count(*) FROM attempts WHERE destination = ?1", [&id.0], |row| row.get(0))?;
        counts.destinations.push(DestinationCounts {
            configured,
            cursor: position.cursor,
            ordinal: position.ordinal,
            undone: (rows - dead).cast_unsigned() + beyond(connection, &id, &position)?,
            held: held.cast_unsigned(),
            dead: dead.cast_unsigned(),
            attempts: attempts.cast_unsigned(),
            id,
        });
    }
    Ok(counts)
}

pub(super) fn standings(connection: &Connection) -> Result<Standings, StoreError> {
    let bytes = connection.query_row(
        "SELECT (SELECT page_count FROM pragma_page_count) * (SELECT page_size FROM pragma_page_size)",
        [],
        |row| row.get::<_, i64>(0),
    )?;
    let store = StoreOverview { head: events::head(connection)?.0, bytes: bytes.cast_unsigned() };
    let mut standings = Standings { store, configured: Vec::new(), left_behind: Vec::new() };
    for (id, configured) in destinations::all(connection)? {
        let standing = standing(connection, &id)?;
        if configured {
            standings.configured.push((id, standing));
        } else if standing.waiting > 0 {
            standings.left_behind.push((id.0, standing.waiting));
        }
    }
    Ok(standings)
}

fn standing(connection: &Connection, id: &DestinationId) -> Result<Standing, StoreError> {
    let position = destinations::position(connection, id)?;
    let (rows, held, dead, oldest): (i64, i64, i64, Option<i64>) = connection
        .prepare_cached(
            "SELECT count(*), count(*) FILTER (WHERE state = 'held'), count(*) FILTER (WHERE state = 'dead'),
                    min(seq) FILTER (WHERE state != 'dead')
             FROM deliveries WHERE destination = ?1",
        )?
        .query_row([&id.0], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?)))?;
    let beyond = beyond(connection, id, &position)?;
    let next = match beyond {
        0 => None,
        _ => destinations::next_events(connection, id, position.cursor, 1)?.0.first().map(|event| event.seq.0),
    };
    let oldest = match oldest.into_iter().chain(next).min() {
        Some(seq) => events::get(connection, Seq(seq))?.map(|event| event.received_at),
        None => None,
    };
    let waiting = (rows - dead).cast_unsigned() + beyond;
    Ok(Standing { waiting, held: held.cast_unsigned(), dead: dead.cast_unsigned(), oldest })
}

/// How many events that belong are yet to be come to.
fn beyond(connection: &Connection, id: &DestinationId, position: &Position) -> Result<u64, StoreError> {
    match position.live {
        None => members(connection, id, position.cursor, Seq(i64::MAX)),
        Some(live) => Ok(members(connection, id, position.cursor, live.split)?
            + members(connection, id, live.cursor, Seq(i64::MAX))?),
    }
}

fn count(connection: &Connection, sql: &str) -> Result<u64, StoreError> {
    Ok(connection.query_row(sql, [], |row| row.get::<_, i64>(0))?.cast_unsigned())
}
