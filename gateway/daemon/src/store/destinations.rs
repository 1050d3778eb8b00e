//! The tables `destinations` and `epochs`: how far each destination has come, and what belongs to it.
//!
//! Invariants: a cursor never moves backwards and never beyond the log; ordinals are given out one by one, never more of them
//! than events that belong; an event's membership is the epoch in force at its seq and never changes afterwards.

use super::error::StoreError;
use super::{AttemptNote, Backlog, DestinationId, Filter, Record, attempts, deliveries, events};
use gateway_core::event::{Event, Id, Seq};
use gateway_core::mutants::{Mutant, planted};
use gateway_core::time::Now;
use rusqlite::{Connection, OptionalExtension, params};
use serde::{Deserialize, Serialize};

/// Rows of the log that one call of [`next_events`] looks through.
const LOOKED_ROWS_MAX: i64 = 4_096;
/// Bytes of bodies after which [`next_events`] stops early.
const ANSWER_BYTES_MAX: i64 = 8 << 20;

/// A filter as the column holds it. The words are kept as they are, so that those of a newer version survive.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Words {
    names: Option<Vec<String>>,
}

impl Words {
    const NOTHING: Words = Words { names: Some(Vec::new()) };

    fn of(filter: &Filter) -> Words {
        let names = filter.names.as_ref().map(|names| {
            let mut words: Vec<String> = names.clone();
            words.sort_unstable();
            words.dedup();
            words
        });
        Words { names }
    }

    fn json(&self) -> String {
        serde_json::to_string(self).expect("strings only")
    }

    fn admits(&self, name: &str) -> bool {
        self.names.as_ref().is_none_or(|names| names.iter().any(|word| word == name))
    }
}

/// A destination's epochs, oldest first.
pub(super) struct Epochs(Vec<(Seq, Words)>);

impl Epochs {
    pub(super) fn load(connection: &Connection, destination: &DestinationId) -> Result<Epochs, StoreError> {
        let mut select = connection
            .prepare_cached("SELECT from_seq, filter FROM epochs WHERE destination = ?1 ORDER BY from_seq")?;
        let rows = select.query_map([&destination.0], |row| Ok((row.get::<_, i64>(0)?, row.get::<_, String>(1)?)))?;
        let mut epochs = Vec::new();
        for row in rows {
            let (from, filter) = row?;
            // Too much is repaired by the receiver, too little by nobody: an unreadable filter admits everything.
            let words = serde_json::from_str(&filter).unwrap_or(Words { names: None });
            epochs.push((Seq(from), words));
        }
        Ok(Epochs(epochs))
    }

    /// Whether the event of that name at that place belongs.
    pub(super) fn admit(&self, seq: Seq, name: &str) -> bool {
        let later = self.0.partition_point(|(from, _)| *from <= seq);
        later.checked_sub(1).and_then(|index| self.0.get(index)).is_some_and(|(_, words)| words.admits(name))
    }
}

/// One row of `destinations`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Position {
    pub cursor: Seq,
    pub ordinal: u64,
}

/// How far a destination has come; an error if nobody has configured it.
pub(super) fn position(connection: &Connection, destination: &DestinationId) -> Result<Position, StoreError> {
    let mut select = connection.prepare_cached("SELECT cursor, ordinal FROM destinations WHERE id = ?1")?;
    let found = select
        .query_row([&destination.0], |row| {
            Ok(Position { cursor: Seq(row.get(0)?), ordinal: row.get::<_, i64>(1)?.cast_unsigned() })
        })
        .optional()?;
    found.ok_or_else(|| StoreError::refused(format!("destination {} is not known to the store", destination.0)))
}

/// How far a destination has come, and its undone rows.
pub(super) fn backlog(
    connection: &Connection,
    now: Now,
    boot: Id,
    destination: &DestinationId,
) -> Result<Backlog, StoreError> {
    let Position { cursor, ordinal } = position(connection, destination)?;
    Ok(Backlog { cursor, ordinal, rows: deliveries::rows(connection, now, boot, destination)? })
}

/// All destinations ever configured and not dropped, with whether they still are in the settings.
pub(super) fn all(connection: &Connection) -> Result<Vec<(DestinationId, bool)>, StoreError> {
    let mut select = connection.prepare_cached("SELECT id, configured FROM destinations ORDER BY id")?;
    let rows = select.query_map([], |row| Ok((DestinationId(row.get(0)?), row.get(1)?)))?.collect::<Result<_, _>>()?;
    Ok(rows)
}

/// The newest event that a destination has come to, by its cursor or its rows.
pub(super) fn furthest_cursor(connection: &Connection) -> Result<Seq, StoreError> {
    let furthest =
        "SELECT max(ifnull((SELECT max(cursor) FROM destinations), 0), ifnull((SELECT max(seq) FROM deliveries), 0))";
    Ok(Seq(connection.query_row(furthest, [], |row| row.get(0))?))
}

/// See [`super::Store::configure`].
pub(super) fn configure(connection: &Connection, wanted: &[(DestinationId, Filter)]) -> Result<(), StoreError> {
    let head = events::head(connection)?;
    let start = new_start(connection, head)?;
    for (destination, filter) in wanted {
        let words = Words::of(filter);
        connection
            .prepare_cached(
                "INSERT INTO destinations (id, cursor, ordinal, configured) VALUES (?1, ?2, 0, 1)
                 ON CONFLICT (id) DO UPDATE SET configured = 1",
            )?
            .execute(params![destination.0, start.0])?;
        let from = if Epochs::load(connection, destination)?.0.is_empty() { start } else { head };
        open_epoch(connection, destination, Seq(from.0 + 1), &words)?;
    }
    for (destination, configured) in all(connection)? {
        if configured && !wanted.iter().any(|(id, _)| *id == destination) {
            open_epoch(connection, &destination, Seq(head.0 + 1), &Words::NOTHING)?;
            connection
                .prepare_cached("UPDATE destinations SET configured = 0 WHERE id = ?1")?
                .execute([&destination.0])?;
        }
    }
    connection.prepare_cached("DELETE FROM meta WHERE key = 'cursors_lost'")?.execute([])?;
    Ok(())
}

/// Where a new destination's cursor starts: at the log's end. After a salvage that lost the cursors it starts before the
/// first event instead: a repeat can be dropped by its id, a loss cannot be repaired.
fn new_start(connection: &Connection, head: Seq) -> Result<Seq, StoreError> {
    let lost: Option<i64> =
        connection.query_row("SELECT value FROM meta WHERE key = 'cursors_lost'", [], |row| row.get(0)).optional()?;
    Ok(if lost.is_some() { Seq(0) } else { head })
}

fn open_epoch(
    connection: &Connection,
    destination: &DestinationId,
    from: Seq,
    words: &Words,
) -> Result<(), StoreError> {
    let epochs = Epochs::load(connection, destination)?;
    if epochs.0.last().is_some_and(|(_, last)| last == words) {
        return Ok(());
    }
    connection
        .prepare_cached(
            "INSERT INTO epochs (destination, from_seq, filter) VALUES (?1, ?2, ?3)
             ON CONFLICT (destination, from_seq) DO UPDATE SET filter = excluded.filter",
        )?
        .execute(params![destination.0, from.0, words.json()])?;
    Ok(())
}

/// Forgets a destination with its backlog, its rows and its attempts. Only a person asks for this.
pub(super) fn drop_destination(connection: &Connection, destination: &DestinationId) -> Result<bool, StoreError> {
    let changed = connection.execute("DELETE FROM destinations WHERE id = ?1", [&destination.0])?;
    Ok(changed > 0)
}

/// See [`super::Store::record`].
pub(super) fn record(
    connection: &Connection,
    now: Now,
    boot: Id,
    destination: &DestinationId,
    record: &Record,
) -> Result<(), StoreError> {
    let from = position(connection, destination)?;
    let to = match record.cursor {
        Some((cursor, ordinal)) => Position { cursor, ordinal },
        None => from.clone(),
    };
    check_move(connection, destination, &from, &to)?;
    check_rows(destination, &from, &to, record)?;
    for row in &record.rows {
        if planted(Mutant::CursorWithoutRows) && row.seq > from.cursor {
            continue;
        }
        deliveries::put(connection, now, boot, destination, row, from.cursor)?;
    }
    if to != from {
        connection
            .prepare_cached("UPDATE destinations SET cursor = ?2, ordinal = ?3 WHERE id = ?1")?
            .execute(params![destination.0, to.cursor.0, to.ordinal.cast_signed()])?;
    }
    record.attempts.iter().try_for_each(|note: &AttemptNote| attempts::add(connection, destination, note))
}

fn broken(destination: &DestinationId, what: &str) -> StoreError {
    StoreError::refused(format!("refused for destination {}: {what}", destination.0))
}

fn check_move(
    connection: &Connection,
    destination: &DestinationId,
    from: &Position,
    to: &Position,
) -> Result<(), StoreError> {
    if to == from {
        return Ok(());
    }
    if to.cursor < from.cursor || to.ordinal < from.ordinal {
        return Err(broken(destination, "the cursor would move backwards"));
    }
    if to.cursor > events::head(connection)? {
        return Err(broken(destination, "the cursor would move beyond the log"));
    }
    let epochs = Epochs::load(connection, destination)?;
    let mut select = connection.prepare_cached("SELECT seq, name FROM events WHERE seq > ?1 AND seq <= ?2")?;
    let mut rows = select.query([from.cursor.0, to.cursor.0])?;
    let mut members = 0;
    while let Some(row) = rows.next()? {
        members += u64::from(epochs.admit(Seq(row.get(0)?), row.get_ref(1)?.as_str().unwrap_or_default()));
    }
    if to.ordinal - from.ordinal > members {
        return Err(broken(destination, "more ordinals than events were passed"));
    }
    Ok(())
}

fn check_rows(destination: &DestinationId, from: &Position, to: &Position, record: &Record) -> Result<(), StoreError> {
    let mut passed: Vec<_> = record.rows.iter().filter(|row| row.seq > from.cursor).collect();
    passed.sort_unstable_by_key(|row| row.seq);
    let mut last = from.ordinal;
    for row in passed {
        if row.seq > to.cursor {
            return Err(broken(destination, "a row lies beyond the cursor"));
        }
        if row.ordinal <= last || row.ordinal > to.ordinal {
            return Err(broken(destination, "the ordinals are not in the order of the log"));
        }
        last = row.ordinal;
    }
    Ok(())
}

/// See [`super::Store::next_events`].
pub(super) fn next_events(
    connection: &Connection,
    destination: &DestinationId,
    after: Seq,
    limit: usize,
) -> Result<(Vec<Event>, Seq), StoreError> {
    let epochs = Epochs::load(connection, destination)?;
    let head = events::head(connection)?;
    let mut select =
        connection.prepare_cached("SELECT seq, name, length(body) FROM events WHERE seq > ?1 ORDER BY seq LIMIT ?2")?;
    let mut rows = select.query([after.0, LOOKED_ROWS_MAX])?;
    let (mut members, mut looked, mut seen, mut bytes) = (Vec::new(), after, 0, 0);
    while members.len() < limit && bytes < ANSWER_BYTES_MAX {
        let Some(row) = rows.next()? else {
            // The log's end is reached unless the page was full; what is missing between was deleted long ago.
            looked = if seen < LOOKED_ROWS_MAX { looked.max(head) } else { looked };
            break;
        };
        seen += 1;
        looked = Seq(row.get(0)?);
        if epochs.admit(looked, row.get_ref(1)?.as_str().unwrap_or_default()) {
            members.push(looked);
            bytes += row.get::<_, i64>(2)?;
        }
    }
    let mut events = Vec::with_capacity(members.len());
    for seq in members {
        events.extend(events::get(connection, seq)?);
    }
    Ok((events, looked))
}
