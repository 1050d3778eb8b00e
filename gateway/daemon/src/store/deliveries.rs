//! The table `deliveries`: the undone events that a destination's cursor has passed.
//!
//! Invariants: a row is written in the transaction that moves the cursor past its event, never later, except when a person
//! sends a done event off again; a delivered row is deleted; a row's ordinal and lane never change.

use super::error::StoreError;
use super::{DestinationId, Row};
use gateway_core::delivery::{DeliveryState, Reason, ReasonCode};
use gateway_core::event::{Id, Lane, Seq};
use gateway_core::mutants::{Mutant, planted};
use gateway_core::time::{Mono, Now};
use rusqlite::{Connection, OptionalExtension, params};
use std::time::Duration;

/// Columns of [`read`].
const COLUMNS: &str =
    "seq, ordinal, lane, state, attempts, reason_code, reason_detail, redriven, due_boot, due_mono, due_left_ms,
    historical";

/// Writes one row, or deletes it if it is delivered. `passed`: the destination had come past the event before this record.
pub(super) fn put(
    connection: &Connection,
    now: Now,
    boot: Id,
    destination: &DestinationId,
    row: &Row,
    passed: bool,
) -> Result<(), StoreError> {
    let (word, reason, due) = match &row.state {
        DeliveryState::Delivered { .. } => return remove(connection, destination, row.seq),
        DeliveryState::Queued { .. } => ("queued", None, None),
        DeliveryState::Waiting { reason, due, .. } => ("waiting", Some(reason), Some(*due)),
        DeliveryState::Held { reason, .. } => ("held", Some(reason), None),
        DeliveryState::Dead { reason, .. } => ("dead", Some(reason), None),
    };
    if passed && !row.redriven && !exists(connection, destination, row.seq)? {
        if planted(Mutant::CursorWithoutRows) {
            return Ok(());
        }
        let what = format!("refused for destination {}: event {} is done already", destination.0, row.seq.0);
        return Err(StoreError::refused(what));
    }
    connection
        .prepare_cached(
            "INSERT INTO deliveries (destination, seq, ordinal, lane, state, attempts, reason_code, reason_detail, redriven,
                                     due_boot, due_mono, due_left_ms, historical)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)
             ON CONFLICT (destination, seq) DO UPDATE SET
                 state = excluded.state, attempts = excluded.attempts, reason_code = excluded.reason_code,
                 reason_detail = excluded.reason_detail, redriven = excluded.redriven, due_boot = excluded.due_boot,
                 due_mono = excluded.due_mono, due_left_ms = excluded.due_left_ms, historical = excluded.historical",
        )?
        .execute(params![
            destination.0,
            row.seq.0,
            row.ordinal.cast_signed(),
            row.lane.0,
            word,
            row.state.attempts(),
            reason.map(|reason| reason.code.as_str()),
            reason.map(|reason| &reason.detail),
            row.redriven,
            due.map(|_| boot.0),
            due.map(|due| due.0.cast_signed()),
            due.map(|due| i64::try_from(due.since(now.mono).as_millis()).unwrap_or(i64::MAX)),
            row.historical,
        ])?;
    Ok(())
}

fn remove(connection: &Connection, destination: &DestinationId, seq: Seq) -> Result<(), StoreError> {
    connection
        .prepare_cached("DELETE FROM deliveries WHERE destination = ?1 AND seq = ?2")?
        .execute(params![destination.0, seq.0])?;
    Ok(())
}

pub(super) fn exists(connection: &Connection, destination: &DestinationId, seq: Seq) -> Result<bool, StoreError> {
    let mut select = connection.prepare_cached("SELECT 1 FROM deliveries WHERE destination = ?1 AND seq = ?2")?;
    Ok(select.exists(params![destination.0, seq.0])?)
}

/// A destination's rows in the order of the log, as this boot sees them.
pub(super) fn rows(
    connection: &Connection,
    now: Now,
    boot: Id,
    destination: &DestinationId,
) -> Result<Vec<Row>, StoreError> {
    let mut select =
        connection.prepare_cached(&format!("SELECT {COLUMNS} FROM deliveries WHERE destination = ?1 ORDER BY seq"))?;
    let rows = select.query_map([&destination.0], |row| read(row, now, boot))?.collect::<Result<_, _>>()?;
    Ok(rows)
}

/// One row, as this boot sees it.
pub(super) fn get(
    connection: &Connection,
    now: Now,
    boot: Id,
    destination: &DestinationId,
    seq: Seq,
) -> Result<Option<Row>, StoreError> {
    let mut select =
        connection.prepare_cached(&format!("SELECT {COLUMNS} FROM deliveries WHERE destination = ?1 AND seq = ?2"))?;
    Ok(select.query_row(params![destination.0, seq.0], |row| read(row, now, boot)).optional()?)
}

/// Makes an existing row one that is to be sent again at once, with its whole table before it.
pub(super) fn requeue(connection: &Connection, destination: &DestinationId, seq: Seq) -> Result<(), StoreError> {
    connection
        .prepare_cached(
            "UPDATE deliveries SET state = 'queued', attempts = 0, reason_code = NULL, reason_detail = NULL, redriven = 1,
                                   due_boot = NULL, due_mono = NULL, due_left_ms = NULL
             WHERE destination = ?1 AND seq = ?2",
        )?
        .execute(params![destination.0, seq.0])?;
    Ok(())
}

fn read(row: &rusqlite::Row<'_>, now: Now, boot: Id) -> Result<Row, rusqlite::Error> {
    let attempts: u32 = row.get(4)?;
    let code: Option<String> = row.get(5)?;
    let detail: Option<String> = row.get(6)?;
    // A code of a newer version: the sentence says what it was.
    let code = code.and_then(|code| ReasonCode::from_word(&code)).unwrap_or(ReasonCode::ServerError);
    let reason = Reason::new(code, detail.unwrap_or_default());
    let state: String = row.get(3)?;
    let state = match state.as_str() {
        "waiting" => DeliveryState::Waiting { attempts, due: due(row, now, boot)?, reason },
        "held" => DeliveryState::Held { attempts, reason },
        "dead" => DeliveryState::Dead { attempts, reason },
        _ => DeliveryState::Queued { attempts },
    };
    Ok(Row {
        seq: Seq(row.get(0)?),
        ordinal: row.get::<_, i64>(1)?.cast_unsigned(),
        lane: Lane(row.get(2)?),
        state,
        redriven: row.get(7)?,
        historical: row.get(11)?,
    })
}

/// When a waiting row is due: the monotonic time means something only in the boot in which it was written; in another one the
/// time that was left then starts anew, because nobody knows how long the power was off.
fn due(row: &rusqlite::Row<'_>, now: Now, boot: Id) -> Result<Mono, rusqlite::Error> {
    let written_in: Option<[u8; 16]> = row.get(8)?;
    if written_in == Some(boot.0) {
        return Ok(Mono(row.get::<_, Option<i64>>(9)?.unwrap_or_default().cast_unsigned()));
    }
    let left_ms = row.get::<_, Option<i64>>(10)?.unwrap_or_default();
    Ok(now.mono.after(Duration::from_millis(u64::try_from(left_ms).unwrap_or(0))))
}
