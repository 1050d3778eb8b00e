//! The table `manifests`: what each endpoint was sent, a row a day.
//!
//! Invariant: the rows of a destination cover the log without a hole from where they begin, and their ordinals are the ones
//! that its events are sent with. They begin where the destination does, or, if that part of the log is gone already, at its
//! cursor. Events are counted before a sweep may take them.

use super::destinations::{self, Position};
use super::error::StoreError;
use super::{DestinationId, Store, events};
use gateway_core::event::{Event, Seq};
use gateway_core::manifest::{Chain, Manifest};
use gateway_core::time::{ClockQuality, Now, Timestamp};
use rusqlite::{Connection, OptionalExtension, params};
use std::time::Duration;

/// Events counted in one transaction.
const STEP_EVENTS_MAX: usize = 500;
/// How much of the log is read again to find where the first manifest of a destination begins.
const START_EVENTS_MAX: i64 = 5_000;
/// Days without an event that get a row of their own, at most.
const EMPTY_DAYS_MAX: u32 = 400;

impl Store {
    /// Brings the manifests of an endpoint up to the log's head: what was committed since is added to the row of its day.
    /// `has_form` says which of its events it is sent (`Dialect::has_form`). Nothing is counted before the clock is set for
    /// the first time.
    pub async fn count_manifests(
        &self,
        destination: &DestinationId,
        at: Now,
        has_form: impl Fn(&Event) -> bool + Clone + Send + 'static,
    ) -> Result<(), StoreError> {
        loop {
            let (id, has_form) = (destination.clone(), has_form.clone());
            let looking = destination.clone();
            if !self.read(move |connection| is_behind(connection, &looking, at)).await? {
                return Ok(());
            }
            let work = move |writer: &mut super::hand::Writer| step(&writer.connection, &id, at, &has_form);
            if !self.shared.write(Duration::ZERO, work).await? {
                return Ok(());
            }
        }
    }

    /// The manifests of an endpoint from that day on (`2026-11-21`; `None`: all), oldest first. The last one is of the day that
    /// is not over; [`Store::count_manifests`] brings it up to date.
    pub async fn manifests(
        &self,
        destination: &DestinationId,
        since: Option<&str>,
    ) -> Result<Vec<Manifest>, StoreError> {
        let (destination, since) = (destination.clone(), since.unwrap_or_default().to_owned());
        self.show(move |connection| list(connection, &destination, &since)).await
    }
}

/// One row.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Row {
    day: String,
    first_seq: i64,
    last_seq: i64,
    first_ordinal: u64,
    last_ordinal: u64,
    count: u64,
    chain: Chain,
}

impl Row {
    /// A row of `day` that begins behind what is counted already.
    fn behind(day: String, seq: i64, ordinal: u64, chain: Chain) -> Row {
        let first_ordinal = ordinal + 1;
        Row { day, first_seq: seq + 1, last_seq: seq, first_ordinal, last_ordinal: ordinal, count: 0, chain }
    }

    fn read(row: &rusqlite::Row<'_>) -> Result<Row, rusqlite::Error> {
        Ok(Row {
            day: row.get(0)?,
            first_seq: row.get(1)?,
            last_seq: row.get(2)?,
            first_ordinal: row.get::<_, i64>(3)?.cast_unsigned(),
            last_ordinal: row.get::<_, i64>(4)?.cast_unsigned(),
            count: row.get::<_, i64>(5)?.cast_unsigned(),
            chain: Chain(row.get(6)?),
        })
    }

    fn save(&self, connection: &Connection, destination: &DestinationId) -> Result<(), StoreError> {
        connection
            .prepare_cached(
                "INSERT OR REPLACE INTO manifests (destination, day, first_seq, last_seq, first_ordinal, last_ordinal, count, hash)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
            )?
            .execute(params![
                destination.0,
                self.day,
                self.first_seq,
                self.last_seq,
                self.first_ordinal.cast_signed(),
                self.last_ordinal.cast_signed(),
                self.count.cast_signed(),
                self.chain.0,
            ])?;
        Ok(())
    }

    fn go_on_from(&mut self, ordinal: u64) {
        self.last_ordinal = ordinal;
        if self.count == 0 {
            self.first_ordinal = ordinal + 1;
        }
    }

    /// Saves this one and the empty ones of the days up to `day`, of which it becomes the row.
    fn turn_to(&mut self, connection: &Connection, destination: &DestinationId, day: &str) -> Result<(), StoreError> {
        for _ in 0..EMPTY_DAYS_MAX {
            if self.day.as_str() >= day {
                return Ok(());
            }
            self.save(connection, destination)?;
            let next = next_day(&self.day).unwrap_or_else(|| day.to_owned());
            *self = Row::behind(next, self.last_seq, self.last_ordinal, self.chain);
        }
        self.day = self.day.clone().max(day.to_owned());
        Ok(())
    }
}

const COLUMNS: &str = "day, first_seq, last_seq, first_ordinal, last_ordinal, count, hash";

fn newest(connection: &Connection, destination: &DestinationId) -> Result<Option<Row>, StoreError> {
    let sql = format!("SELECT {COLUMNS} FROM manifests WHERE destination = ?1 ORDER BY day DESC LIMIT 1");
    Ok(connection.prepare_cached(&sql)?.query_row([&destination.0], Row::read).optional()?)
}

fn is_behind(connection: &Connection, destination: &DestinationId, at: Now) -> Result<bool, StoreError> {
    let head = events::head(connection)?;
    Ok(match newest(connection, destination)? {
        Some(row) => row.last_seq < head.0 || today(at).is_some_and(|today| row.day < today),
        None => today(at).is_some(),
    })
}

/// Counts some more of the log. Returns whether there may be more.
fn step(
    connection: &Connection,
    destination: &DestinationId,
    at: Now,
    has_form: &impl Fn(&Event) -> bool,
) -> Result<bool, StoreError> {
    let position = destinations::position(connection, destination)?;
    let today = today(at);
    let mut row = match (newest(connection, destination)?, &today) {
        (Some(row), _) => row,
        (None, Some(today)) => start(connection, destination, &position, today, has_form)?,
        (None, None) => return Ok(false),
    };
    let from = Seq(row.last_seq);
    let (events, through) = destinations::next_events(connection, destination, from, STEP_EVENTS_MAX)?;
    let mut is_ahead = from >= position.cursor;
    for event in events.iter().filter(|event| has_form(event)) {
        if !is_ahead && event.seq > position.cursor {
            // Other settings may have counted otherwise up to here; what was given out stands.
            row.go_on_from(position.ordinal);
            is_ahead = true;
        }
        let day = day_of(event, &row.day, today.as_deref());
        row.last_seq = row.last_seq.max(event.seq.0 - 1);
        row.turn_to(connection, destination, &day)?;
        row.last_seq = event.seq.0;
        row.last_ordinal += 1;
        row.count += 1;
        row.chain = row.chain.with(row.last_ordinal, event.id);
    }
    row.last_seq = row.last_seq.max(through.0);
    if !is_ahead && through >= position.cursor {
        row.go_on_from(position.ordinal);
    }
    let done = through >= events::head(connection)?;
    if let Some(today) = today.filter(|_| done) {
        row.turn_to(connection, destination, &today)?;
    }
    row.save(connection, destination)?;
    Ok(!done)
}

/// Where the first row begins: with the destination's first event, if all of them are still there, else at its cursor.
fn start(
    connection: &Connection,
    destination: &DestinationId,
    position: &Position,
    today: &str,
    has_form: &impl Fn(&Event) -> bool,
) -> Result<Row, StoreError> {
    let at_cursor = Row::behind(today.to_owned(), position.cursor.0, position.ordinal, Chain::default());
    let first: Option<i64> = connection
        .prepare_cached("SELECT min(from_seq) FROM epochs WHERE destination = ?1")?
        .query_row([&destination.0], |row| row.get(0))?;
    let Some(before) = first.map(|first| first - 1) else { return Ok(at_cursor) };
    if position.cursor.0 - before > START_EVENTS_MAX {
        return Ok(at_cursor);
    }
    let (mut through, mut members, mut day) = (Seq(before), 0, None);
    while through < position.cursor {
        let (events, looked) = destinations::next_events(connection, destination, through, STEP_EVENTS_MAX)?;
        for event in events.iter().filter(|event| event.seq <= position.cursor && has_form(event)) {
            members += 1;
            day = day.or_else(|| Some(day_of(event, "", Some(today))));
        }
        if looked <= through {
            break;
        }
        through = looked;
    }
    if members != position.ordinal {
        return Ok(at_cursor);
    }
    let day = day.filter(|day| !day.is_empty()).unwrap_or_else(|| today.to_owned());
    Ok(Row::behind(day, before, 0, Chain::default()))
}

/// The day of an event: its own, but never before that of the event before it and never in the future.
fn day_of(event: &Event, row: &str, today: Option<&str>) -> String {
    let own = (event.clock != ClockQuality::Unset).then(|| day(event.received_at));
    let own = match (own, today) {
        (Some(own), Some(today)) => own.min(today.to_owned()),
        (Some(own), None) => own,
        (None, _) => String::new(),
    };
    own.max(row.to_owned())
}

fn today(at: Now) -> Option<String> {
    (at.quality != ClockQuality::Unset).then(|| day(at.wall))
}

/// `2026-11-21`
fn day(at: Timestamp) -> String {
    at.to_string().chars().take(10).collect()
}

fn next_day(day: &str) -> Option<String> {
    let date: jiff::civil::Date = day.parse().ok()?;
    Some(date.tomorrow().ok()?.to_string())
}

fn list(connection: &Connection, destination: &DestinationId, since: &str) -> Result<Vec<Manifest>, StoreError> {
    let webhook = destination.endpoint().unwrap_or(&destination.0);
    let mut chain: Chain = connection
        .prepare_cached("SELECT hash FROM manifests WHERE destination = ?1 AND day < ?2 ORDER BY day DESC LIMIT 1")?
        .query_row(params![destination.0, since], |row| row.get(0))
        .optional()?
        .map_or_else(Chain::default, Chain);
    let sql = format!("SELECT {COLUMNS} FROM manifests WHERE destination = ?1 AND day >= ?2 ORDER BY day");
    let mut select = connection.prepare_cached(&sql)?;
    let rows = select.query_map(params![destination.0, since], Row::read)?.collect::<Result<Vec<_>, _>>()?;
    let newest = rows.len().saturating_sub(1);
    let mut manifests = Vec::with_capacity(rows.len());
    for (index, row) in rows.into_iter().enumerate() {
        manifests.push(Manifest {
            webhook: webhook.to_owned(),
            day: row.day,
            closed: index < newest,
            first_seq: row.first_seq,
            last_seq: row.last_seq,
            first_ordinal: row.first_ordinal,
            last_ordinal: row.last_ordinal,
            count: row.count,
            previous: chain.to_hex(),
            hash: row.chain.to_hex(),
        });
        chain = row.chain;
    }
    Ok(manifests)
}

/// Deletes the manifests of days before that one, but never the newest of a destination, which the next one goes on from.
pub(super) fn forget(connection: &Connection, before: Timestamp) -> Result<(), StoreError> {
    connection
        .prepare_cached(
            "DELETE FROM manifests WHERE day < ?1
             AND day < (SELECT max(day) FROM manifests AS newest WHERE newest.destination = manifests.destination)",
        )?
        .execute([day(before)])?;
    Ok(())
}
