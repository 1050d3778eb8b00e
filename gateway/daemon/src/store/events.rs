//! The table `events`: the log.
//!
//! Invariant: an id is stored once and a seq is used once; the order of seq is the order of commit.

use super::error::StoreError;
use super::hand::Writer;
use super::{Committed, NewEntry, captures, facts, registrations, versions};
use gateway_core::delivery::{Reason, ReasonCode};
use gateway_core::event::{AnalyzerId, Event, EventId, EventKind, EventName, Gap, Id, Seq, TestId, TestState};
use gateway_core::session::RunningTest;
use gateway_core::time::{ClockQuality, Mono, Now, Timestamp};
use rusqlite::{Connection, OptionalExtension, Row, params};
use serde_json::{Value, json};

/// A slice of the log ends behind the event that fills it.
const SLICE_BYTES_MAX: i64 = 2 << 20;
/// The analyzer of events that the gateway states about itself (`GAP`, `DATA_EVICTED`, `CLOCK_CORRECTED`).
pub const GATEWAY: &str = "gateway";

/// Times that are off by less are left as they are: not worth an event.
const CORRECTION_MS_MIN: i64 = 1_000;
/// Events of one test that are read at once at most; a run of an hour has a few hundred.
const HISTORY_EVENTS_MAX: i64 = 20_000;
/// Columns of [`read`].
pub(super) const COLUMNS: &str = "seq, id, analyzer, received_at, clock, boot, mono, evicted, body,
     (SELECT sequence FROM facts WHERE facts.seq = events.seq),
     EXISTS (SELECT 1 FROM facts WHERE facts.seq = events.seq AND facts.erased_at IS NOT NULL)";
const EVICTED: &str = "data_evicted";
const UNREADABLE: &str = "unreadable";

/// Stores an entry: its capture, its events, and the end of its message. The bytes are those of `port`, whoever has spoken
/// there.
pub(super) fn commit(
    writer: &mut Writer,
    port: &AnalyzerId,
    entry: &NewEntry,
    boot: Id,
) -> Result<Committed, StoreError> {
    let capture = captures::append(writer, port, entry.at.wall, &entry.capture, entry.complete)?;
    let mut committed = Committed::default();
    let mut stored: Option<(Seq, Seq)> = None;
    for (id, kind) in &entry.events {
        if let Some(known) = seq_of(&writer.connection, *id)? {
            committed.repeated += 1;
            committed.last = committed.last.max(known);
            continue;
        }
        let origin = Origin { at: entry.at, boot, capture };
        let corrected = versions::correction(&writer.connection, &entry.analyzer, kind, entry.at)?;
        let kind = corrected.as_ref().unwrap_or(kind);
        let seq = registrations::store(&writer.connection, *id, &entry.analyzer, origin, kind)?;
        committed.stored += 1;
        committed.last = seq;
        stored = Some((stored.map_or(seq, |(first, _)| first), seq));
    }
    committed.sequence = facts::sequence_of(&writer.connection, committed.last)?;
    if let Some(capture) = capture {
        captures::note_events(&writer.connection, capture, stored, committed.repeated > 0)?;
    }
    Ok(committed)
}

/// Closes the analyzer's open message unread and says so with a `GAP`. Nothing is open: nothing is done.
pub(super) fn abandon_unfinished(
    writer: &mut Writer,
    analyzer: &AnalyzerId,
    at: Now,
    boot: Id,
    id: EventId,
) -> Result<(), StoreError> {
    let Some(last) = captures::abandon(writer, analyzer, at.wall)? else { return Ok(()) };
    let connection = &writer.connection;
    if seq_of(connection, id)?.is_some() {
        return Ok(());
    }
    let from: i64 = connection
        .prepare_cached("SELECT min(received_at) FROM captures WHERE message = ?1")?
        .query_row([last], |row| row.get(0))?;
    let reason = "The bytes of a message that never became complete cannot be read back from the database.".to_owned();
    let gap = Gap { reason, from: Some(Timestamp(from)), to: Some(at.wall) };
    let kind = EventKind { gap: Some(gap), ..EventKind::bare(EventName::Gap) };
    let seq = insert(connection, id, analyzer, at, boot, Some(last), &kind)?;
    captures::note_events(connection, last, Some((seq, seq)), false)
}

/// Where and when an event comes from.
#[derive(Debug, Clone, Copy)]
pub(super) struct Origin {
    pub at: Now,
    pub boot: Id,
    pub capture: Option<i64>,
}

/// Appends one event of no registration.
pub(super) fn insert(
    connection: &Connection,
    id: EventId,
    analyzer: &AnalyzerId,
    at: Now,
    boot: Id,
    capture: Option<i64>,
    kind: &EventKind,
) -> Result<Seq, StoreError> {
    append(connection, id, analyzer, Origin { at, boot, capture }, kind, None)
}

/// Appends one event and what is remarkable about it; `registration` is the number of the one that it belongs to.
pub(super) fn append(
    connection: &Connection,
    id: EventId,
    analyzer: &AnalyzerId,
    origin: Origin,
    kind: &EventKind,
    registration: Option<i64>,
) -> Result<Seq, StoreError> {
    let Origin { at, boot, capture } = origin;
    let body = json(kind)?;
    let test = kind.test.as_ref();
    connection
        .prepare_cached(
            "INSERT INTO events (id, analyzer, name, received_at, clock, boot, mono, test_id, state, has_device, capture, body)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)",
        )?
        .execute(params![
            id.0,
            analyzer.0,
            kind.word(),
            at.wall.0,
            at.quality.as_str(),
            boot.0,
            at.mono.0.cast_signed(),
            test.map(|test| test.id.0),
            test.map(|test| test.state.as_str()),
            kind.device.is_some(),
            capture,
            body,
        ])?;
    let seq = Seq(connection.last_insert_rowid());
    facts::note(connection, seq, kind, registration, at)?;
    Ok(seq)
}

/// The body of a row.
pub(super) fn json(kind: &EventKind) -> Result<String, StoreError> {
    serde_json::to_string(kind).map_err(|_| StoreError::new("an event cannot be written as JSON"))
}

pub(super) fn seq_of(connection: &Connection, id: EventId) -> Result<Option<Seq>, StoreError> {
    let mut select = connection.prepare_cached("SELECT seq FROM events WHERE id = ?1")?;
    Ok(select.query_row([id.0], |row| row.get(0)).optional()?.map(Seq))
}

/// The newest seq ever given out.
pub(super) fn head(connection: &Connection) -> Result<Seq, StoreError> {
    let mut select = connection.prepare_cached("SELECT seq FROM sqlite_sequence WHERE name = 'events'")?;
    Ok(Seq(select.query_row([], |row| row.get(0)).optional()?.unwrap_or(0)))
}

/// Reads the [`COLUMNS`] of a row. A body that this version cannot read (a newer one wrote it, or it is damaged) becomes a
/// rejection that [`unsendable`] knows, so that it holds up nothing behind it.
pub(super) fn read(row: &Row<'_>) -> Result<Event, rusqlite::Error> {
    let body: String = row.get(8)?;
    let mut kind: EventKind = serde_json::from_str(&body).unwrap_or_else(|_| {
        EventKind::rejected(UNREADABLE, "This event was stored by another version of the gateway.", body.len())
    });
    if row.get(7)? {
        kind.details = Some(json!({ EVICTED: true }));
    }
    let clock: String = row.get(4)?;
    Ok(Event {
        seq: Seq(row.get(0)?),
        id: Id(row.get(1)?),
        analyzer: AnalyzerId(row.get(2)?),
        received_at: Timestamp(row.get(3)?),
        clock: ClockQuality::from_word(&clock),
        boot: Id(row.get(5)?),
        mono: Mono(row.get::<_, i64>(6)?.cast_unsigned()),
        sequence: row.get::<_, Option<i64>>(9)?.map(i64::cast_unsigned),
        erased: row.get(10)?,
        kind,
    })
}

/// Why an event of the log cannot be sent any more, if so: its samples were evicted, or this version cannot read it. The same
/// of an event in `history`, the earlier ones that its body is rendered from (none, if the dialect needs none): with one of
/// them missing the body would be another than the one promised, and nothing in it would say so.
pub fn unsendable(event: &Event, history: &[Event]) -> Option<Reason> {
    std::iter::once(event).chain(history).find_map(spoilt)
}

fn spoilt(event: &Event) -> Option<Reason> {
    let evicted = event.kind.details.as_ref().and_then(|details| details.get(EVICTED));
    if evicted == Some(&Value::Bool(true)) {
        return Some(Reason::new(ReasonCode::DataEvicted, "its samples were given up to free space"));
    }
    let unreadable = event.kind.rejection.as_ref().is_some_and(|rejection| rejection.code == UNREADABLE);
    unreadable.then(|| Reason::new(ReasonCode::CannotRender, "another version of the gateway stored it"))
}

/// One event of the log.
pub(super) fn get(connection: &Connection, seq: Seq) -> Result<Option<Event>, StoreError> {
    let mut select = connection.prepare_cached(&format!("SELECT {COLUMNS} FROM events WHERE seq = ?1"))?;
    Ok(select.query_row([seq.0], read).optional()?)
}

/// The event of that id.
pub(super) fn by_id(connection: &Connection, id: EventId) -> Result<Option<Event>, StoreError> {
    let mut select = connection.prepare_cached(&format!("SELECT {COLUMNS} FROM events WHERE id = ?1"))?;
    Ok(select.query_row([id.0], read).optional()?)
}

/// The next events of the log, whoever they are for: at least one if there is one, and no further behind [`SLICE_BYTES_MAX`].
pub(super) fn after(connection: &Connection, after: Seq, limit: usize) -> Result<Vec<Event>, StoreError> {
    let sql = format!("SELECT {COLUMNS}, length(body) AS bytes FROM events WHERE seq > ?1 ORDER BY seq LIMIT ?2");
    let mut select = connection.prepare_cached(&sql)?;
    let mut rows = select.query([after.0, i64::try_from(limit).unwrap_or(i64::MAX)])?;
    let (mut events, mut bytes) = (Vec::new(), 0);
    while bytes < SLICE_BYTES_MAX
        && let Some(row) = rows.next()?
    {
        bytes += row.get::<_, i64>("bytes")?;
        events.push(read(row)?);
    }
    Ok(events)
}

/// The next events of these names, and the seq up to which the log was looked through.
pub(super) fn named(
    connection: &Connection,
    names: &[EventName],
    after: Seq,
    limit: usize,
) -> Result<(Vec<Event>, Seq), StoreError> {
    let head = head(connection)?;
    let words: Vec<String> = names.iter().map(|name| format!("'{}'", name.as_str())).collect();
    let sql = format!(
        "SELECT {COLUMNS} FROM events WHERE seq > ?1 AND seq <= ?2 AND name IN ({}) ORDER BY seq LIMIT ?3",
        words.join(", ")
    );
    let mut select = connection.prepare_cached(&sql)?;
    let limit_rows = i64::try_from(limit).unwrap_or(i64::MAX);
    let events: Vec<Event> = select.query_map(params![after.0, head.0, limit_rows], read)?.collect::<Result<_, _>>()?;
    let looked_to = if events.len() < limit { head } else { events.last().map_or(head, |event| event.seq) };
    Ok((events, looked_to))
}

/// The events of one test up to `through`, oldest first.
pub(super) fn of_test(connection: &Connection, test: TestId, through: Seq) -> Result<Vec<Event>, StoreError> {
    let sql = format!("SELECT {COLUMNS} FROM events WHERE test_id = ?1 AND seq <= ?2 ORDER BY seq LIMIT ?3");
    let mut select = connection.prepare_cached(&sql)?;
    let events = select.query_map(params![test.0, through.0, HISTORY_EVENTS_MAX], read)?.collect::<Result<_, _>>()?;
    Ok(events)
}

/// The analyzer's newest test, if nothing has ended it.
pub(super) fn running_test(connection: &Connection, analyzer: &AnalyzerId) -> Result<Option<RunningTest>, StoreError> {
    let newest: Option<([u8; 16], String, Option<String>)> = connection
        .prepare_cached(
            "SELECT test_id, name, state FROM events WHERE analyzer = ?1 AND test_id IS NOT NULL
             AND name IN ('TEST_STARTED', 'CONTINUE_TEST', 'NEW_DATA', 'TEST_FINISHED') ORDER BY seq DESC LIMIT 1",
        )?
        .query_row([&analyzer.0], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
        .optional()?;
    let Some((test, name, state)) = newest else { return Ok(None) };
    if name == EventName::TestFinished.as_str() || state.as_deref() != Some(TestState::Testing.as_str()) {
        return Ok(None);
    }
    let mut running = RunningTest { id: Id(test), device: None, temperatures: 0, samples: 0 };
    let of_test = |condition: &str| {
        format!("SELECT {COLUMNS} FROM events WHERE test_id = ?1 {condition} ORDER BY seq DESC LIMIT ?2")
    };
    let mut with_device = connection.prepare_cached(&of_test("AND has_device = 1"))?;
    let device = with_device.query_row(params![test, 1], read).optional()?;
    running.device = device.and_then(|event| event.kind.device);
    let mut newest_first = connection.prepare_cached(&of_test(""))?;
    for event in newest_first.query_map(params![test, HISTORY_EVENTS_MAX], read)? {
        if let Some(data) = event?.kind.test.and_then(|test| test.data) {
            running.temperatures = data.temperatures_from + data.temperatures.len();
            running.samples = data.samples_from + data.samples.len();
            break;
        }
    }
    Ok(Some(running))
}

/// When anything that the analyzer said was last stored, and when a test of it that had ended.
pub(super) fn last_heard(
    connection: &Connection,
    analyzer: &AnalyzerId,
) -> Result<(Option<Timestamp>, Option<Timestamp>), StoreError> {
    let newest = |sql: &str| -> Result<Option<Timestamp>, StoreError> {
        Ok(connection.prepare_cached(sql)?.query_row([&analyzer.0], |row| row.get(0).map(Timestamp)).optional()?)
    };
    let capture = newest("SELECT received_at FROM captures WHERE analyzer = ?1 ORDER BY id DESC LIMIT 1")?;
    let of_test = |condition: &str| {
        format!(
            "SELECT received_at FROM events WHERE analyzer = ?1 AND test_id IS NOT NULL {condition} ORDER BY seq DESC LIMIT 1"
        )
    };
    let (event, test) = (newest(&of_test(""))?, newest(&of_test("AND name = 'TEST_FINISHED'"))?);
    Ok((capture.max(event), test))
}

/// Mends the times of this boot's events behind `beyond`, each by its own distance from `now` on the clock that never jumps,
/// and says so in the log. `None`, and nothing is changed, if no time is off by [`CORRECTION_MS_MIN`].
pub(super) fn correct_clock(
    connection: &Connection,
    boot: Id,
    beyond: Seq,
    now: Now,
    id: EventId,
) -> Result<Option<Seq>, StoreError> {
    let right = "?3 - (?4 - mono) / 1000000";
    let unsure = "boot = ?1 AND clock IN ('unset', 'unsynchronized') AND seq > ?2";
    let parameters = params![boot.0, beyond.0, now.wall.0, now.mono.0.cast_signed()];
    let (events, back, forth): (i64, i64, i64) = connection
        .prepare_cached(&format!(
            "SELECT count(*), ifnull(min({right} - received_at), 0), ifnull(max({right} - received_at), 0)
             FROM events WHERE {unsure}"
        ))?
        .query_row(parameters, |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
    let offset_ms = if back.saturating_abs() > forth.saturating_abs() { back } else { forth };
    if offset_ms.saturating_abs() < CORRECTION_MS_MIN {
        return Ok(None);
    }
    connection
        .prepare_cached(&format!("UPDATE events SET received_at = {right}, clock = 'corrected' WHERE {unsure}"))?
        .execute(parameters)?;
    let details = json!({ "boot": boot, "offset_ms": offset_ms, "events": events });
    let kind = EventKind { details: Some(details), ..EventKind::bare(EventName::ClockCorrected) };
    insert(connection, id, &AnalyzerId(GATEWAY.to_owned()), now, boot, None, &kind).map(Some)
}
