//! Versions of a test: a result that an analyzer corrects is stated again under the test that it was reported in.
//!
//! Invariant: the version of a stored test is one more than that of the newest one stored before it, in the transaction that
//! stores it.

use super::error::StoreError;
use super::{events, registrations};
use gateway_core::event::{AnalyzerId, Event, EventKind, Personal, Seq, Test, TestId};
use gateway_core::time::{ClockQuality, Now, Timestamp};
use gateway_core::versions::{corrects, is_correction, laid_over, same_patient};
use rusqlite::{Connection, OptionalExtension, params};
use serde_json::{Value, json};

/// Finished tests of one sample that are looked at, the newest first.
const TESTS_READ_MAX: i64 = 200;
/// A test that is older is not corrected any more: analyzers that count their samples begin at 1 again.
const CORRECTED_MS_MAX: i64 = 30 * 86_400_000;

/// The event as the next version of the test that it corrects; `None`: it corrects nothing that is known, or nothing that is
/// certainly of the same patient.
pub(super) fn correction(
    connection: &Connection,
    analyzer: &AnalyzerId,
    kind: &EventKind,
    at: Now,
) -> Result<Option<EventKind>, StoreError> {
    let Some(test) = kind.test.as_ref().filter(|test| is_correction(test)) else { return Ok(None) };
    let Some(sample_id) = &test.sample_id else { return Ok(None) };
    let sql = format!(
        "SELECT {} FROM events WHERE name = 'TEST_FINISHED' AND analyzer = ?1
             AND CASE WHEN json_valid(body) THEN body ->> '$.test.sample_id' END = ?2
         ORDER BY seq DESC LIMIT ?3",
        events::COLUMNS
    );
    let mut select = connection.prepare_cached(&sql)?;
    let mut rows = select.query(params![analyzer.0, sample_id.expose(), TESTS_READ_MAX])?;
    while let Some(row) = rows.next()? {
        let earlier = events::read(row)?;
        let known = earlier.kind.test.as_ref().filter(|known| known.id != test.id && corrects(test, known));
        if let Some(known) = known {
            if is_too_old(&earlier, at) {
                return Ok(None);
            }
            if !same_patient(test, known) && is_anothers_now(connection, sample_id, &earlier)? {
                continue;
            }
            // Another message may have corrected it since.
            let Some(newest) = newest(connection, known.id)? else { return Ok(None) };
            let Some(before) = &newest.kind.test else { return Ok(None) };
            let details = with(kind.details.clone(), "corrects", json!(newest.id));
            return Ok(Some(EventKind { test: Some(laid_over(before, test)), details, ..kind.clone() }));
        }
    }
    Ok(None)
}

/// The newest version of a finished test.
pub(super) fn newest(connection: &Connection, test: TestId) -> Result<Option<Event>, StoreError> {
    let sql = format!(
        "SELECT {} FROM events WHERE test_id = ?1 AND name = 'TEST_FINISHED' ORDER BY seq DESC LIMIT 1",
        events::COLUMNS
    );
    Ok(connection.prepare_cached(&sql)?.query_row([test.0], events::read).optional()?)
}

/// The version before this one, if it is a correction: the newest that is stored, and the number of the registration that it
/// belongs to, unless it is read as another sample's now.
pub(super) fn before(connection: &Connection, test: &Test) -> Result<Option<(Test, Option<i64>)>, StoreError> {
    if test.version < 2 {
        return Ok(None);
    }
    let Some(Event { seq, kind, .. }) = newest(connection, test.id)? else { return Ok(None) };
    let registration = registration_of(connection, seq)?;
    let Some(before) = kind.test else { return Ok(None) };
    let registration = registration.filter(|_| before.sample_id == test.sample_id);
    Ok(Some((before, registration)))
}

fn registration_of(connection: &Connection, seq: Seq) -> Result<Option<i64>, StoreError> {
    let registration: Option<Option<i64>> = connection
        .prepare_cached("SELECT registration FROM facts WHERE seq = ?1")?
        .query_row([seq.0], |row| row.get(0))
        .optional()?;
    Ok(registration.flatten())
}

/// Whether the sample's id leads to a registration of another patient than it did when that test finished.
fn is_anothers_now(connection: &Connection, sample_id: &Personal, earlier: &Event) -> Result<bool, StoreError> {
    let then = registration_of(connection, earlier.seq)?;
    let now = registrations::newest_of(connection, sample_id)?;
    let Some(now) = now.filter(|now| Some(now.number) != then) else { return Ok(false) };
    match then.map_or(Ok(None), |then| registrations::by_number(connection, then))? {
        Some(then) => Ok(now.is_of_another(&then)),
        // Nobody had registered it; who did since may mean another tube. Control material is nobody's.
        None => {
            Ok(now.patient.is_some() && earlier.kind.test.as_ref().is_some_and(|test| !test.qc && !test.calibration))
        }
    }
}

/// Only where both times are true: a clock that was never set tells nothing.
fn is_too_old(earlier: &Event, at: Now) -> bool {
    let is_true = |clock: ClockQuality| matches!(clock, ClockQuality::Synchronized | ClockQuality::Corrected);
    let Timestamp(age) = at.wall.shifted(-earlier.received_at.0);
    is_true(earlier.clock) && is_true(at.quality) && age > CORRECTED_MS_MAX
}

/// The details with one more of them.
pub(super) fn with(details: Option<Value>, key: &str, value: Value) -> Option<Value> {
    let mut details = details.filter(Value::is_object).unwrap_or_else(|| json!({}));
    details[key] = value;
    Some(details)
}
