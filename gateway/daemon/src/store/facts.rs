//! The tables `facts` and `sessions`: what is remarkable about an event, and how far each session has counted.
//!
//! Invariant: the numbers of a session are 0, 1, 2 ... in the order of the log, each given out once, in the transaction that
//! stores its event. Retention and eviction take events, never the count of a session that may still be alive.

use super::done::STEP_ROWS_MAX;
use super::error::StoreError;
use gateway_core::dialects::session_of;
use gateway_core::event::{EventKind, Seq};
use gateway_core::time::{ClockQuality, Now, Timestamp};
use rusqlite::{Connection, OptionalExtension, params};

/// Notes what is remarkable about an event that was just stored: nothing about most of them. `registration` is the number of
/// the one that it belongs to.
pub(super) fn note(
    connection: &Connection,
    seq: Seq,
    kind: &EventKind,
    registration: Option<i64>,
    at: Now,
) -> Result<(), StoreError> {
    let session = session_of(kind);
    let sequence = session.as_deref().map(|session| next_of(connection, session, at)).transpose()?;
    note_as(connection, seq.0, kind, session.as_deref(), sequence, registration).map(|_| ())
}

/// The same with a number that is known. Returns whether there was anything to note.
pub(super) fn note_as(
    connection: &Connection,
    seq: i64,
    kind: &EventKind,
    session: Option<&str>,
    sequence: Option<i64>,
    registration: Option<i64>,
) -> Result<bool, StoreError> {
    let qc = kind.test.as_ref().is_some_and(|test| test.qc || test.calibration);
    let posted = kind.posted.as_ref().map(|posted| posted.dialect.as_str());
    if !qc && posted.is_none() && session.is_none() && registration.is_none() {
        return Ok(false);
    }
    connection
        .prepare_cached(
            "INSERT INTO facts (seq, qc, posted, session, sequence, registration) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        )?
        .execute(params![seq, qc, posted, session, sequence, registration])?;
    Ok(true)
}

/// The next number of a session, taken.
fn next_of(connection: &Connection, session: &str, at: Now) -> Result<i64, StoreError> {
    let trusted = matches!(at.quality, ClockQuality::Synchronized | ClockQuality::Corrected);
    let next = connection
        .prepare_cached(
            "INSERT INTO sessions (session, next, last_at) VALUES (?1, 1, ?2)
             ON CONFLICT (session) DO UPDATE SET next = next + 1, last_at = excluded.last_at RETURNING next - 1",
        )?
        .query_row(params![session, trusted.then_some(at.wall.0)], |row| row.get(0))?;
    Ok(next)
}

/// The place of an event in its session.
pub(super) fn sequence_of(connection: &Connection, seq: Seq) -> Result<Option<u64>, StoreError> {
    let mut select = connection.prepare_cached("SELECT sequence FROM facts WHERE seq = ?1")?;
    let found: Option<Option<i64>> = select.query_row([seq.0], |row| row.get(0)).optional()?;
    Ok(found.flatten().map(i64::cast_unsigned))
}

/// A session that nobody has heard of for this long is over, however short events are kept.
const SILENT_MS_MIN: i64 = 30 * 86_400_000;

/// Forgets the counts of sessions whose events are gone by age (`before`; `None`: events are kept for ever) and which have been
/// silent for 30 days. Silence whose beginning no clock has told begins now.
pub(super) fn forget_sessions(
    connection: &Connection,
    before: Option<Timestamp>,
    now: Timestamp,
) -> Result<(), StoreError> {
    connection.prepare_cached("UPDATE sessions SET last_at = ?1 WHERE last_at IS NULL")?.execute([now.0])?;
    let Some(before) = before else { return Ok(()) };
    connection
        .prepare_cached(
            "DELETE FROM sessions WHERE session IN (SELECT session FROM sessions WHERE last_at < ?1 LIMIT ?2)
             AND NOT EXISTS (SELECT 1 FROM facts WHERE facts.session = sessions.session)",
        )?
        .execute(params![before.0.min(now.shifted(-SILENT_MS_MIN).0), STEP_ROWS_MAX as i64])?;
    Ok(())
}
