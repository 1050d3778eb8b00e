//! The table `attempts`: the books of what was tried. Failures stay as long as their event, successes for a while.

use super::error::StoreError;
use super::{AttemptNote, DestinationId};
use gateway_core::delivery::{Reason, ReasonCode};
use gateway_core::event::Seq;
use gateway_core::time::Timestamp;
use rusqlite::{Connection, OptionalExtension, params};

/// How many attempts at a destination went the same way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AttemptReasons {
    pub destination: DestinationId,
    /// `None`: delivered.
    pub reason: Option<ReasonCode>,
    /// The HTTP status, if there was an answer.
    pub status: Option<u16>,
    pub attempts: u64,
    pub first_at: Timestamp,
    pub last_at: Timestamp,
    pub longest_ms: u64,
}

/// Attempts of one event at one destination that are read at once.
const READ_ROWS_MAX: i64 = 1_000;
/// Events that one range of ordinals may lead to.
const FOUND_ROWS_MAX: i64 = 100_000;
/// How much of an answer is kept.
const ANSWER_CHARS_MAX: usize = 2_000;

/// Notes one attempt.
pub(super) fn add(connection: &Connection, destination: &DestinationId, note: &AttemptNote) -> Result<(), StoreError> {
    let answer: String = note.answer.chars().take(ANSWER_CHARS_MAX).collect();
    connection
        .prepare_cached(
            "INSERT INTO attempts (destination, seq, number, at, duration_ms, status, reason_code, reason_detail, answer,
                                   ordinal)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
        )?
        .execute(params![
            destination.0,
            note.seq.0,
            note.number,
            note.at.0,
            i64::try_from(note.duration_ms).unwrap_or(i64::MAX),
            note.status,
            note.reason.as_ref().map(|reason| reason.code.as_str()),
            note.reason.as_ref().map(|reason| &reason.detail),
            answer,
            note.ordinal.map(u64::cast_signed),
        ])?;
    Ok(())
}

/// The last ordinal under which an event was tried at a destination.
pub(super) fn ordinal_of(
    connection: &Connection,
    destination: &DestinationId,
    seq: Seq,
) -> Result<Option<u64>, StoreError> {
    let mut select = connection.prepare_cached(
        "SELECT ordinal FROM attempts WHERE seq = ?1 AND destination = ?2 AND ordinal IS NOT NULL ORDER BY id DESC LIMIT 1",
    )?;
    let found: Option<i64> = select.query_row(params![seq.0, destination.0], |row| row.get(0)).optional()?;
    Ok(found.map(i64::cast_unsigned))
}

/// The events that were tried at a destination under these ordinals, both ends included.
pub(super) fn of_ordinals(
    connection: &Connection,
    destination: &DestinationId,
    (first, last): (u64, u64),
) -> Result<Vec<Seq>, StoreError> {
    let mut select = connection.prepare_cached(
        "SELECT DISTINCT seq FROM attempts WHERE destination = ?1 AND ordinal BETWEEN ?2 AND ?3 ORDER BY seq LIMIT ?4",
    )?;
    let bound = |ordinal: u64| i64::try_from(ordinal).unwrap_or(i64::MAX);
    let rows = select
        .query_map(params![destination.0, bound(first), bound(last), FOUND_ROWS_MAX], |row| Ok(Seq(row.get(0)?)))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// How the attempts in the books went.
pub(super) fn reasons(connection: &Connection) -> Result<Vec<AttemptReasons>, StoreError> {
    let mut select = connection.prepare_cached(
        "SELECT destination, reason_code, status, count(*), min(at), max(at), max(duration_ms) FROM attempts
         GROUP BY destination, reason_code, status ORDER BY destination, reason_code, status LIMIT ?1",
    )?;
    let rows = select.query_map([READ_ROWS_MAX], |row| {
        let code: Option<String> = row.get(1)?;
        Ok(AttemptReasons {
            destination: DestinationId(row.get(0)?),
            reason: code.map(|code| ReasonCode::from_word(&code).unwrap_or(ReasonCode::ServerError)),
            status: row.get(2)?,
            attempts: row.get::<_, i64>(3)?.cast_unsigned(),
            first_at: Timestamp(row.get(4)?),
            last_at: Timestamp(row.get(5)?),
            longest_ms: row.get::<_, i64>(6)?.cast_unsigned(),
        })
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// The attempts of one event at one destination, oldest first.
pub(super) fn of_event(
    connection: &Connection,
    destination: &DestinationId,
    seq: Seq,
) -> Result<Vec<AttemptNote>, StoreError> {
    let mut select = connection.prepare_cached(
        "SELECT number, at, duration_ms, status, reason_code, reason_detail, answer, ordinal FROM attempts
         WHERE seq = ?1 AND destination = ?2 ORDER BY id LIMIT ?3",
    )?;
    let rows = select.query_map(params![seq.0, destination.0, READ_ROWS_MAX], |row| {
        let code: Option<String> = row.get(4)?;
        let detail: Option<String> = row.get(5)?;
        let reason = code.map(|code| {
            Reason::new(ReasonCode::from_word(&code).unwrap_or(ReasonCode::ServerError), detail.unwrap_or_default())
        });
        Ok(AttemptNote {
            seq,
            ordinal: row.get::<_, Option<i64>>(7)?.map(i64::cast_unsigned),
            number: row.get(0)?,
            at: Timestamp(row.get(1)?),
            duration_ms: row.get::<_, i64>(2)?.cast_unsigned(),
            status: row.get(3)?,
            reason,
            answer: row.get(6)?,
        })
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}
