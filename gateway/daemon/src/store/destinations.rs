//! The tables `destinations`, `live_parts` and `epochs`: how far each destination has come, and what belongs to it.
//!
//! Invariants: a cursor never moves backwards and never beyond the log; ordinals are given out one by one, never more of them
//! than events that belong; an event's membership is the epoch in force at its seq and never changes afterwards.

use super::error::StoreError;
use super::{
    AttemptNote, Backlog, DestinationId, Filter, LiveMove, LivePart, PostedFilter, Record, attempts, deliveries, events,
};
use gateway_core::config::Qc;
use gateway_core::event::{Event, Id, Seq};
use gateway_core::mutants::{Mutant, planted};
use gateway_core::time::Now;
use rusqlite::{Connection, OptionalExtension, params};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// Rows of the log that one call of [`next_events`] looks through.
const LOOKED_ROWS_MAX: i64 = 4_096;
/// Bytes of bodies after which [`next_events`] stops early.
const ANSWER_BYTES_MAX: i64 = 8 << 20;

/// A filter as the column holds it. The words are kept as they are, so that those of a newer version survive; keys of a newer
/// version are ignored, and one that is missing admits everything.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
struct Words {
    names: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    analyzers: Option<Vec<String>>,
    #[serde(skip_serializing_if = "is_default")]
    qc: Qc,
    /// Dialects of posted events; null: all.
    #[serde(skip_serializing_if = "Option::is_none")]
    posted: Option<Vec<String>>,
}

fn is_default(qc: &Qc) -> bool {
    *qc == Qc::default()
}

/// What a filter looks at, besides the place in the log.
pub(super) struct Member<'a> {
    name: &'a str,
    analyzer: &'a str,
    qc: bool,
    posted: Option<&'a str>,
}

/// The columns of [`Member::read`] and where they stand. An event without a row in `facts` is no quality control run and was
/// not posted.
const MEMBER: &str = "events.seq, name, analyzer, ifnull(qc, 0), posted";
const MEMBERS: &str = "events LEFT JOIN facts ON facts.seq = events.seq";

impl<'a> Member<'a> {
    fn read(row: &'a rusqlite::Row<'_>) -> Result<(Seq, Member<'a>), rusqlite::Error> {
        let text = |column: usize| row.get_ref(column).map(|value| value.as_str_or_null().unwrap_or_default());
        let member = Member {
            name: text(1)?.unwrap_or_default(),
            analyzer: text(2)?.unwrap_or_default(),
            qc: row.get(3)?,
            posted: text(4)?,
        };
        Ok((Seq(row.get(0)?), member))
    }
}

impl Words {
    fn nothing() -> Words {
        Words { names: Some(Vec::new()), ..Words::default() }
    }

    fn of(filter: &Filter) -> Words {
        let sorted = |words: Vec<String>| words.into_iter().collect::<BTreeSet<String>>().into_iter().collect();
        let analyzers = filter.analyzers.as_ref().map(|list| list.iter().map(|id| id.0.clone()).collect());
        let posted = match &filter.posted {
            PostedFilter::All => None,
            PostedFilter::Of(dialects) => Some(dialects.clone()),
        };
        Words {
            names: filter.names.clone().map(sorted),
            analyzers: analyzers.map(sorted),
            qc: filter.qc,
            posted: posted.map(sorted),
        }
    }

    fn json(&self) -> String {
        serde_json::to_string(self).expect("strings only")
    }

    fn admits(&self, member: &Member<'_>) -> bool {
        let has = |list: &Option<Vec<String>>, word: &str| {
            list.as_ref().is_none_or(|words| words.iter().any(|known| known == word))
        };
        let qc = match self.qc {
            Qc::Include => true,
            Qc::Exclude => !member.qc,
            Qc::Only => member.qc,
        };
        qc && has(&self.names, member.name)
            && has(&self.analyzers, member.analyzer)
            && member.posted.is_none_or(|dialect| has(&self.posted, dialect))
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
            let words = serde_json::from_str(&filter).unwrap_or_default();
            epochs.push((Seq(from), words));
        }
        Ok(Epochs(epochs))
    }

    fn at(&self, seq: Seq) -> Option<&Words> {
        let later = self.0.partition_point(|(from, _)| *from <= seq);
        later.checked_sub(1).and_then(|index| self.0.get(index)).map(|(_, words)| words)
    }

    /// Whether the event at that place belongs.
    fn admit(&self, seq: Seq, member: &Member<'_>) -> bool {
        self.at(seq).is_some_and(|words| words.admits(member))
    }

    /// Whether an event of that name at that place may belong, as far as the name goes.
    pub(super) fn may_admit(&self, seq: Seq, name: &str) -> bool {
        let named = |words: &Words| words.names.as_ref().is_none_or(|names| names.iter().any(|word| word == name));
        self.at(seq).is_some_and(named)
    }

    /// Whether the stored event belongs; `false` if there is none.
    pub(super) fn admit_stored(&self, connection: &Connection, seq: Seq) -> Result<bool, StoreError> {
        let mut select = connection.prepare_cached(&format!("SELECT {MEMBER} FROM {MEMBERS} WHERE events.seq = ?1"))?;
        let admits = |row: &rusqlite::Row<'_>| Member::read(row).map(|(seq, member)| self.admit(seq, &member));
        Ok(select.query_row([seq.0], admits).optional()?.unwrap_or(false))
    }
}

/// How many events after `after` and up to `through` belong.
pub(super) fn members(
    connection: &Connection,
    destination: &DestinationId,
    after: Seq,
    through: Seq,
) -> Result<u64, StoreError> {
    let epochs = Epochs::load(connection, destination)?;
    let mut select = connection
        .prepare_cached(&format!("SELECT {MEMBER} FROM {MEMBERS} WHERE events.seq > ?1 AND events.seq <= ?2"))?;
    let mut rows = select.query([after.0, through.0])?;
    let mut members = 0;
    while let Some(row) = rows.next()? {
        let (seq, member) = Member::read(row)?;
        members += u64::from(epochs.admit(seq, &member));
    }
    Ok(members)
}

/// One row of `destinations`, with its row of `live_parts`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Position {
    pub cursor: Seq,
    pub ordinal: u64,
    pub live: Option<LivePart>,
}

impl Position {
    /// Whether the destination has come past that place: without a row it is done.
    pub(super) fn has_passed(&self, seq: Seq) -> bool {
        seq <= self.cursor || self.live.is_some_and(|live| seq > live.split && seq <= live.cursor)
    }

    /// The same, as it will stand after a record.
    fn moved(&self, record: &Record) -> Position {
        let mut to = self.clone();
        if let Some((cursor, ordinal)) = record.cursor {
            (to.cursor, to.ordinal) = (cursor, ordinal);
        }
        match record.live {
            Some(LiveMove::At(live)) => to.live = Some(live),
            Some(LiveMove::Merged) => to.live = None,
            None => {}
        }
        to
    }
}

/// How far a destination has come; an error if nobody has configured it.
pub(super) fn position(connection: &Connection, destination: &DestinationId) -> Result<Position, StoreError> {
    let mut select = connection.prepare_cached(
        "SELECT destinations.cursor, destinations.ordinal, split, live_parts.cursor, live_parts.ordinal
         FROM destinations LEFT JOIN live_parts ON destination = id WHERE id = ?1",
    )?;
    let found = select
        .query_row([&destination.0], |row| {
            let live = match row.get::<_, Option<i64>>(2)? {
                Some(split) => Some(LivePart {
                    split: Seq(split),
                    cursor: Seq(row.get(3)?),
                    ordinal: row.get::<_, i64>(4)?.cast_unsigned(),
                }),
                None => None,
            };
            Ok(Position { cursor: Seq(row.get(0)?), ordinal: row.get::<_, i64>(1)?.cast_unsigned(), live })
        })
        .optional()?;
    found.ok_or_else(|| StoreError::refused(format!("destination {} is not known to the store", destination.0)))
}

/// A version before `live_parts` takes the cursor past the split: what both it and the live part have come past is done or has
/// a row, so the parts are one, up to the further of the two cursors.
pub(super) fn join_passed_parts(connection: &Connection) -> Result<(), rusqlite::Error> {
    connection.execute_batch(
        "BEGIN IMMEDIATE;
         UPDATE destinations SET cursor = max(destinations.cursor, live.cursor),
                                 ordinal = max(destinations.ordinal, live.ordinal)
         FROM live_parts AS live WHERE live.destination = id AND destinations.cursor > split;
         DELETE FROM live_parts
         WHERE split < (SELECT destinations.cursor FROM destinations WHERE id = live_parts.destination);
         COMMIT;",
    )
}

/// How far a destination has come, and its undone rows.
pub(super) fn backlog(
    connection: &Connection,
    now: Now,
    boot: Id,
    destination: &DestinationId,
) -> Result<Backlog, StoreError> {
    let Position { cursor, ordinal, live } = position(connection, destination)?;
    Ok(Backlog { cursor, ordinal, live, rows: deliveries::rows(connection, now, boot, destination)? })
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
        "SELECT max(ifnull((SELECT max(cursor) FROM destinations), 0), ifnull((SELECT max(cursor) FROM live_parts), 0),
                               ifnull((SELECT max(seq) FROM deliveries), 0))";
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
            open_epoch(connection, &destination, Seq(head.0 + 1), &Words::nothing())?;
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
    let to = from.moved(record);
    check_move(connection, destination, &from, &to)?;
    check_rows(destination, &from, &to, record)?;
    for row in &record.rows {
        let passed = from.has_passed(row.seq);
        if planted(Mutant::CursorWithoutRows) && !passed {
            continue;
        }
        deliveries::put(connection, now, boot, destination, row, passed)?;
    }
    if (to.cursor, to.ordinal) != (from.cursor, from.ordinal) {
        connection
            .prepare_cached("UPDATE destinations SET cursor = ?2, ordinal = ?3 WHERE id = ?1")?
            .execute(params![destination.0, to.cursor.0, to.ordinal.cast_signed()])?;
    }
    write_live(connection, destination, &from, &to)?;
    record.attempts.iter().try_for_each(|note: &AttemptNote| attempts::add(connection, destination, note))
}

fn write_live(
    connection: &Connection,
    destination: &DestinationId,
    from: &Position,
    to: &Position,
) -> Result<(), StoreError> {
    if to.live == from.live {
        return Ok(());
    }
    match to.live {
        Some(live) => connection
            .prepare_cached(
                "INSERT INTO live_parts (destination, split, ordinal, cursor) VALUES (?1, ?2, ?3, ?4)
                 ON CONFLICT (destination) DO UPDATE SET ordinal = excluded.ordinal, cursor = excluded.cursor",
            )?
            .execute(params![destination.0, live.split.0, live.ordinal.cast_signed(), live.cursor.0])?,
        None => {
            connection.prepare_cached("DELETE FROM live_parts WHERE destination = ?1")?.execute([&destination.0])?
        }
    };
    Ok(())
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
    let head = events::head(connection)?;
    if to.cursor < from.cursor || to.ordinal < from.ordinal {
        return Err(broken(destination, "the cursor would move backwards"));
    }
    if to.cursor > head || to.live.is_some_and(|live| live.cursor > head) {
        return Err(broken(destination, "the cursor would move beyond the log"));
    }
    match (from.live, to.live) {
        (Some(live), None) if to.cursor < live.cursor => {
            return Err(broken(destination, "the live part would be forgotten before the backlog has reached it"));
        }
        (Some(one), Some(two)) if two.split != one.split || two.cursor < one.cursor || two.ordinal < one.ordinal => {
            return Err(broken(destination, "the live part would move backwards"));
        }
        (_, Some(live)) if to.cursor > live.split || live.cursor < live.split || live.ordinal < to.ordinal => {
            return Err(broken(destination, "the backlog would reach into the live part"));
        }
        _ => {}
    }
    let few_enough = |ordinals: u64, after: Seq, through: Seq| {
        Ok::<_, StoreError>(ordinals == 0 || ordinals <= members(connection, destination, after, through)?)
    };
    let back = few_enough(to.ordinal - from.ordinal, from.cursor, to.cursor)?;
    let ahead = match (from.live, to.live) {
        (Some(one), Some(two)) => few_enough(two.ordinal - one.ordinal, one.cursor, two.cursor)?,
        (None, Some(live)) => few_enough(live.ordinal.saturating_sub(from.ordinal), from.cursor, live.cursor)?,
        _ => true,
    };
    if !back || !ahead {
        return Err(broken(destination, "more ordinals than events were passed"));
    }
    Ok(())
}

fn check_rows(destination: &DestinationId, from: &Position, to: &Position, record: &Record) -> Result<(), StoreError> {
    let mut passed: Vec<_> = record.rows.iter().filter(|row| !from.has_passed(row.seq)).collect();
    passed.sort_unstable_by_key(|row| row.seq);
    let mut last = from.ordinal;
    for row in passed {
        if !to.has_passed(row.seq) {
            return Err(broken(destination, "a row lies beyond the cursor"));
        }
        let most = to.live.filter(|live| row.seq > live.split).map_or(to.ordinal, |live| live.ordinal);
        if row.ordinal <= last || row.ordinal > most {
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
    let mut select = connection.prepare_cached(&format!(
        "SELECT {MEMBER}, length(body) FROM {MEMBERS} WHERE events.seq > ?1 ORDER BY events.seq LIMIT ?2"
    ))?;
    let mut rows = select.query([after.0, LOOKED_ROWS_MAX])?;
    let (mut members, mut looked, mut seen, mut bytes) = (Vec::new(), after, 0, 0);
    while members.len() < limit && bytes < ANSWER_BYTES_MAX {
        let Some(row) = rows.next()? else {
            // The log's end is reached unless the page was full; what is missing between was deleted long ago.
            looked = if seen < LOOKED_ROWS_MAX { looked.max(head) } else { looked };
            break;
        };
        seen += 1;
        let (seq, member) = Member::read(row)?;
        looked = seq;
        if epochs.admit(seq, &member) {
            members.push(seq);
            bytes += row.get::<_, i64>(5)?;
        }
    }
    let mut events = Vec::with_capacity(members.len());
    for seq in members {
        events.extend(events::get(connection, seq)?);
    }
    Ok((events, looked))
}
