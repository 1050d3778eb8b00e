//! The fixed order in which data is given up when the database is too large.
//!
//! 1. The raw bytes of tests that are finished and delivered everywhere, and of repeats.
//! 2. The raw samples of finished tests: first of those of which every event is delivered everywhere, then of those still
//!    undone, whose `NEW_DATA` deliveries become dead (`data_evicted`); the event itself stays and says so. What else of such a
//!    test is rendered from its samples is refused when its turn comes (`unsendable`); what needs none of them is still sent.
//! 3. Delivered events that are no results, of tests that are delivered whole, with the bytes that nothing else stems from.
//!
//! Results (`TEST_FINISHED`) and undone events never go, nor does anything of a test that is still running.

use super::captures;
use super::done::{Done, Known, STEP_ROWS_MAX, Step, Swept};
use super::error::StoreError;
use gateway_core::delivery::ReasonCode;
use gateway_core::event::{EventKind, EventName};
use rusqlite::{Connection, params};

/// The stages in their order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    Captures,
    DeliveredSamples,
    UndoneSamples,
    Events,
}

impl Stage {
    pub(super) const ORDER: &'static [Stage] =
        &[Stage::Captures, Stage::DeliveredSamples, Stage::UndoneSamples, Stage::Events];
}

/// One step of one stage, from the oldest on.
pub(super) fn step(connection: &Connection, stage: Stage, after: i64) -> Result<Step, StoreError> {
    match stage {
        Stage::Captures => captures_step(connection, after),
        Stage::DeliveredSamples => samples_step(connection, after, false),
        Stage::UndoneSamples => samples_step(connection, after, true),
        Stage::Events => events_step(connection, after),
    }
}

/// One capture of a message and the events stored with it.
pub(super) struct Part {
    pub id: i64,
    events: Option<(i64, i64)>,
}

/// Closed messages behind `after` and up to `through`, by their last capture.
pub(super) fn messages(connection: &Connection, after: i64, through: i64) -> Result<Vec<i64>, StoreError> {
    let mut select = connection
        .prepare_cached("SELECT id FROM captures WHERE id > ?1 AND id <= ?2 AND message = id ORDER BY id LIMIT ?3")?;
    let ids = select.query_map(params![after, through, STEP_ROWS_MAX as i64], |row| row.get(0))?;
    Ok(ids.collect::<Result<_, _>>()?)
}

/// The key to go on behind, if this page was full.
pub(super) fn go_on(page: &[i64]) -> Option<i64> {
    page.last().copied().filter(|_| page.len() == STEP_ROWS_MAX)
}

/// The captures of a message.
pub(super) fn parts(connection: &Connection, message: i64) -> Result<Vec<Part>, StoreError> {
    let mut select = connection.prepare_cached("SELECT id, first_seq, last_seq FROM captures WHERE message = ?1")?;
    let parts = select.query_map([message], |row| {
        let (first, last): (Option<i64>, Option<i64>) = (row.get(1)?, row.get(2)?);
        Ok(Part { id: row.get(0)?, events: first.zip(last) })
    })?;
    Ok(parts.collect::<Result<_, _>>()?)
}

/// Whether something holds for every event that stems from these captures.
pub(super) fn all_events(
    connection: &Connection,
    parts: &[Part],
    mut holds: impl FnMut(&Known) -> Result<bool, StoreError>,
) -> Result<bool, StoreError> {
    let mut select = connection
        .prepare_cached("SELECT seq, name, test_id FROM events WHERE seq BETWEEN ?1 AND ?2 AND capture = ?3")?;
    for part in parts {
        let Some((first, last)) = part.events else { continue };
        let mut rows = select.query([first, last, part.id])?;
        while let Some(row) = rows.next()? {
            if !holds(&Known::read(row)?)? {
                return Ok(false);
            }
        }
    }
    Ok(true)
}

fn is_finished(connection: &Connection, test: [u8; 16]) -> Result<bool, StoreError> {
    let mut select = connection.prepare_cached("SELECT 1 FROM events WHERE test_id = ?1 AND name = 'TEST_FINISHED'")?;
    Ok(select.exists([test])?)
}

fn captures_step(connection: &Connection, after: i64) -> Result<Step, StoreError> {
    let done = Done::load(connection)?;
    let messages = messages(connection, after, i64::MAX)?;
    let mut going = Vec::new();
    for message in &messages {
        let parts = parts(connection, *message)?;
        let spare = all_events(connection, &parts, |event| {
            // The bytes of a rejection are all that there is of it: they go with the event, not before.
            let decoded = event.name != EventName::MessageRejected.as_str();
            let finished = event.test.map_or(Ok(true), |test| is_finished(connection, test))?;
            Ok(decoded && finished && done.is_done(connection, event.seq, &event.name)?)
        })?;
        if spare {
            going.extend(parts.iter().map(|part| part.id));
        }
    }
    let swept = Swept { captures: captures::delete(connection, &going)? as u64, ..Swept::default() };
    Ok((swept, go_on(&messages)))
}

fn samples_step(connection: &Connection, after: i64, undone: bool) -> Result<Step, StoreError> {
    let mut done = Done::load(connection)?;
    let mut select = connection.prepare_cached(
        "SELECT seq, test_id, body FROM events WHERE seq > ?1 AND name = 'NEW_DATA' AND evicted = 0 AND EXISTS
             (SELECT 1 FROM events AS finish WHERE finish.test_id = events.test_id AND finish.name = 'TEST_FINISHED')
         ORDER BY seq LIMIT ?2",
    )?;
    let page: Vec<(i64, [u8; 16], String)> = select
        .query_map(params![after, STEP_ROWS_MAX as i64], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?
        .collect::<Result<_, _>>()?;
    let mut swept = Swept::default();
    for (seq, test, body) in &page {
        if !undone && !done.is_test_done(connection, *test)? {
            continue;
        }
        // A body that this version cannot read is not its to change.
        let Ok(mut kind) = serde_json::from_str::<EventKind>(body) else { continue };
        let Some(test) = kind.test.as_mut().filter(|test| test.data.is_some()) else { continue };
        test.data = None;
        let body = serde_json::to_string(&kind).map_err(|_| StoreError::new("an event cannot be written as JSON"))?;
        connection
            .prepare_cached("UPDATE events SET body = ?2, evicted = 1 WHERE seq = ?1")?
            .execute(params![seq, body])?;
        swept.stripped += 1;
        swept.dead += connection
            .prepare_cached(
                "UPDATE deliveries SET state = 'dead', reason_code = ?2, reason_detail = ?3, due_boot = NULL, due_mono = NULL,
                                       due_left_ms = NULL WHERE seq = ?1 AND state <> 'dead'",
            )?
            .execute(params![seq, ReasonCode::DataEvicted.as_str(), ReasonCode::DataEvicted.next_step()])?
            as u64;
    }
    let last = page.last().map(|(seq, ..)| *seq);
    Ok((swept, last.filter(|_| page.len() == STEP_ROWS_MAX)))
}

fn events_step(connection: &Connection, after: i64) -> Result<Step, StoreError> {
    let mut done = Done::load(connection)?;
    let mut select = connection.prepare_cached(
        "SELECT seq, name, test_id, capture FROM events WHERE seq > ?1 AND name <> 'TEST_FINISHED' ORDER BY seq LIMIT ?2",
    )?;
    let page: Vec<(Known, Option<i64>)> = select
        .query_map(params![after, STEP_ROWS_MAX as i64], |row| Ok((Known::read(row)?, row.get(3)?)))?
        .collect::<Result<_, _>>()?;
    let mut swept = Swept::default();
    let mut touched = Vec::new();
    for (event, capture) in &page {
        let finished = event.test.map_or(Ok(true), |test| is_finished(connection, test))?;
        if finished && done.with_its_test(connection, event)? {
            connection.prepare_cached("DELETE FROM events WHERE seq = ?1")?.execute([event.seq.0])?;
            *(if event.name == EventName::DataEvicted.as_str() { &mut swept.notices } else { &mut swept.events }) += 1;
            touched.extend(capture);
        }
    }
    touched.dedup();
    swept.captures = orphans(connection, &touched)?;
    let last = page.last().map(|(event, _)| event.seq.0);
    Ok((swept, last.filter(|_| page.len() == STEP_ROWS_MAX)))
}

/// Deletes the messages of these captures from which no event stems any more.
fn orphans(connection: &Connection, touched: &[i64]) -> Result<u64, StoreError> {
    let mut message_of =
        connection.prepare_cached("SELECT message FROM captures WHERE id = ?1 AND message IS NOT NULL")?;
    let mut going = Vec::new();
    for capture in touched {
        for message in message_of.query_map([capture], |row| row.get::<_, i64>(0))? {
            let parts = parts(connection, message?)?;
            if all_events(connection, &parts, |_| Ok(false))? {
                going.extend(parts.iter().map(|part| part.id));
            }
        }
    }
    Ok(captures::delete(connection, &going)? as u64)
}
