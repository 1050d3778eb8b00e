//! The table `captures`: bytes as they were received, one row a commit.
//!
//! Invariants: the rows of an analyzer with `message` null are its one unfinished message, in order of id; `content` gives
//! back exactly the received bytes; a chain of patches ends in a whole capture after at most [`DEPTH_MAX`] steps.

use super::error::StoreError;
use super::hand::{LastCapture, Writer};
use super::patch;
use gateway_core::event::{AnalyzerId, Seq};
use gateway_core::time::Timestamp;
use rusqlite::{Connection, OptionalExtension, params};
use std::collections::HashSet;

/// Every capture behind so many patches is stored whole.
const DEPTH_MAX: i64 = 64;

/// Stores the bytes of one commit, and closes the message if it is complete. Returns the capture that events of this commit
/// stem from: none if there are no bytes and no open message that this closes.
pub(super) fn append(
    writer: &mut Writer,
    analyzer: &AnalyzerId,
    at: Timestamp,
    bytes: &[u8],
    complete: bool,
) -> Result<Option<i64>, StoreError> {
    let mut capture = None;
    if !bytes.is_empty() {
        capture = Some(insert(writer, analyzer, at, bytes)?);
    }
    if complete {
        let connection = &writer.connection;
        if capture.is_none() {
            capture = connection
                .prepare_cached("SELECT max(id) FROM captures WHERE analyzer = ?1 AND message IS NULL")?
                .query_row([&analyzer.0], |row| row.get(0))?;
        }
        if let Some(last) = capture {
            connection
                .prepare_cached("UPDATE captures SET message = ?1 WHERE analyzer = ?2 AND message IS NULL")?
                .execute(params![last, analyzer.0])?;
        }
    }
    Ok(capture)
}

fn insert(writer: &mut Writer, analyzer: &AnalyzerId, at: Timestamp, bytes: &[u8]) -> Result<i64, StoreError> {
    let patchable = (patch::PATCHED_BYTES_MIN..=patch::PATCHED_BYTES_MAX).contains(&bytes.len());
    let base = if patchable { last_capture(writer, analyzer)? } else { None };
    let patch = base.and_then(|base| Some((base.id, base.depth + 1, patch::make(&base.bytes, bytes)?)));
    let (base, depth, content) = match &patch {
        Some((base, depth, patch)) => (Some(*base), *depth, patch.as_slice()),
        None => (None, 0, bytes),
    };
    let connection = &writer.connection;
    connection
        .prepare_cached(
            "INSERT INTO captures (analyzer, received_at, base, depth, bytes, content) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        )?
        .execute(params![analyzer.0, at.0, base, depth, length(bytes), content])?;
    let id = connection.last_insert_rowid();
    if patchable {
        writer.last_captures.insert(analyzer.clone(), LastCapture { id, depth, bytes: bytes.to_vec() });
    } else {
        writer.last_captures.remove(analyzer);
    }
    Ok(id)
}

/// The capture to patch against: the analyzer's newest, if its chain may grow.
fn last_capture<'w>(writer: &'w mut Writer, analyzer: &AnalyzerId) -> Result<Option<&'w LastCapture>, StoreError> {
    let newest: Option<(i64, i64, i64)> = writer
        .connection
        .prepare_cached("SELECT id, depth, bytes FROM captures WHERE analyzer = ?1 ORDER BY id DESC LIMIT 1")?
        .query_row([&analyzer.0], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
        .optional()?;
    let Some((id, depth, bytes)) = newest else { return Ok(None) };
    if depth + 1 >= DEPTH_MAX || usize::try_from(bytes).is_ok_and(|bytes| bytes > patch::PATCHED_BYTES_MAX) {
        return Ok(None);
    }
    if writer.last_captures.get(analyzer).is_none_or(|last| last.id != id) {
        // A capture that cannot be read any more is no reason to refuse the next one: it is just no base.
        let Ok(bytes) = content(&writer.connection, id) else { return Ok(None) };
        writer.last_captures.insert(analyzer.clone(), LastCapture { id, depth, bytes });
    }
    Ok(writer.last_captures.get(analyzer))
}

/// Notes which events were stored with a capture, or that all of them were known already.
pub(super) fn note_events(
    connection: &Connection,
    capture: i64,
    stored: Option<(Seq, Seq)>,
    repeated: bool,
) -> Result<(), StoreError> {
    if let Some((first, last)) = stored {
        connection
            .prepare_cached("UPDATE captures SET first_seq = coalesce(first_seq, ?2), last_seq = ?3 WHERE id = ?1")?
            .execute(params![capture, first.0, last.0])?;
    } else if repeated {
        connection.prepare_cached("UPDATE captures SET repeated = 1 WHERE id = ?1")?.execute([capture])?;
    }
    Ok(())
}

/// The received bytes of one capture.
pub(super) fn content(connection: &Connection, id: i64) -> Result<Vec<u8>, StoreError> {
    let unreadable = || StoreError::new(format!("capture {id} cannot be put together again: a patch does not fit"));
    assembled(connection, id)?.ok_or_else(unreadable)
}

/// The same; `None` if the patches do not give the bytes that were received.
fn assembled(connection: &Connection, id: i64) -> Result<Option<Vec<u8>>, StoreError> {
    let mut select = connection.prepare_cached("SELECT base, bytes, content FROM captures WHERE id = ?1")?;
    let mut patches: Vec<(i64, Vec<u8>)> = Vec::new();
    let mut next = id;
    loop {
        let (base, length, content): (Option<i64>, i64, Vec<u8>) =
            select.query_row([next], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
        let Some(base) = base else {
            let mut bytes = Some(content).filter(|bytes| bytes.len() as i64 == length);
            for (length, patch) in patches.iter().rev() {
                let bytes_max = usize::try_from(*length).unwrap_or(0);
                let whole = |bytes: &Vec<u8>| bytes.len() == bytes_max;
                bytes = bytes.and_then(|bytes| patch::apply(&bytes, patch, bytes_max)).filter(whole);
            }
            return Ok(bytes);
        };
        patches.push((length, content));
        if patches.len() as i64 > 2 * DEPTH_MAX {
            // A chain without an end.
            return Ok(None);
        }
        next = base;
    }
}

/// The bytes of the message that an event stems from; `None` if the event came from silence or the capture is gone.
pub(super) fn of_event(connection: &Connection, seq: Seq) -> Result<Option<Vec<u8>>, StoreError> {
    let found: Option<(String, Option<i64>)> = connection
        .prepare_cached(
            "SELECT captures.analyzer, captures.message FROM events JOIN captures ON captures.id = events.capture
             WHERE seq = ?1",
        )?
        .query_row([seq.0], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    match found {
        None => Ok(None),
        Some((_, Some(message))) => {
            // Bytes that were erased are as good as none.
            Ok(Some(of_message(connection, message)?).filter(|bytes| !bytes.is_empty()))
        }
        Some((analyzer, None)) => unfinished(connection, &AnalyzerId(analyzer)).map(Some),
    }
}

/// The bytes of a closed message, by the id of its last capture; empty if they were erased.
pub(super) fn of_message(connection: &Connection, message: i64) -> Result<Vec<u8>, StoreError> {
    joined(connection, ids(connection, "SELECT id FROM captures WHERE message = ?1 ORDER BY id", message)?)
}

/// The bytes of the analyzer's open message, empty if there is none.
pub(super) fn unfinished(connection: &Connection, analyzer: &AnalyzerId) -> Result<Vec<u8>, StoreError> {
    let open = "SELECT id FROM captures WHERE analyzer = ?1 AND message IS NULL ORDER BY id";
    joined(connection, ids(connection, open, &analyzer.0)?)
}

fn ids(connection: &Connection, sql: &str, key: impl rusqlite::ToSql) -> Result<Vec<i64>, StoreError> {
    let mut select = connection.prepare_cached(sql)?;
    let ids = select.query_map([key], |row| row.get(0))?.collect::<Result<_, _>>()?;
    Ok(ids)
}

fn joined(connection: &Connection, ids: Vec<i64>) -> Result<Vec<u8>, StoreError> {
    let mut bytes = Vec::new();
    for id in ids {
        bytes.extend(content(connection, id)?);
    }
    Ok(bytes)
}

/// Closes the analyzer's open message without reading a byte of it. Returns its last capture; `None` if nothing was open.
pub(super) fn abandon(writer: &mut Writer, analyzer: &AnalyzerId, at: Timestamp) -> Result<Option<i64>, StoreError> {
    writer.last_captures.remove(analyzer);
    append(writer, analyzer, at, &[], true)
}

/// Deletes captures. One that stays and was a patch against a deleted one is stored whole first; if it cannot be read, it
/// stays as it is without its base, and its length goes on telling that these are not the received bytes.
pub(super) fn delete(connection: &Connection, ids: &[i64]) -> Result<usize, StoreError> {
    let going = free_dependents(connection, ids)?;
    // Newest first: a row that is still the base of another cannot be deleted.
    let mut sorted: Vec<i64> = going.into_iter().collect();
    sorted.sort_unstable_by(|a, b| b.cmp(a));
    let mut delete = connection.prepare_cached("DELETE FROM captures WHERE id = ?1")?;
    let mut deleted = 0;
    for id in sorted {
        deleted += delete.execute([id])?;
    }
    Ok(deleted)
}

/// Empties captures: their rows stay, their bytes are gone. Those that stay and were patches against them are stored whole.
pub(super) fn empty(writer: &mut Writer, ids: &[i64]) -> Result<(), StoreError> {
    // The bytes remembered for the next patch are theirs too.
    writer.last_captures.clear();
    let going = free_dependents(&writer.connection, ids)?;
    let mut empty = writer
        .connection
        .prepare_cached("UPDATE captures SET base = NULL, depth = 0, bytes = 0, content = x'' WHERE id = ?1")?;
    for id in going {
        empty.execute([id])?;
    }
    Ok(())
}

/// Makes whole what stays and is a patch against one of these. Returns these, each once.
fn free_dependents(connection: &Connection, ids: &[i64]) -> Result<HashSet<i64>, StoreError> {
    let going: HashSet<i64> = ids.iter().copied().collect();
    let mut dependents = connection.prepare_cached("SELECT id FROM captures WHERE base = ?1")?;
    for id in ids {
        let staying: Vec<i64> = dependents.query_map([id], |row| row.get(0))?.collect::<Result<_, _>>()?;
        for id in staying.into_iter().filter(|id| !going.contains(id)) {
            let bytes = assembled(connection, id)?;
            connection
                .prepare_cached(
                    "UPDATE captures SET base = NULL, depth = 0, content = coalesce(?2, content) WHERE id = ?1",
                )?
                .execute(params![id, bytes])?;
        }
    }
    Ok(going)
}

fn length(bytes: &[u8]) -> i64 {
    i64::try_from(bytes.len()).unwrap_or(i64::MAX)
}

/// Every analyzer that has sent bytes, found by hopping along the index instead of reading the table.
pub(super) fn analyzers(connection: &Connection) -> Result<Vec<AnalyzerId>, StoreError> {
    let next = "SELECT analyzer FROM captures WHERE analyzer > ?1 ORDER BY analyzer LIMIT 1";
    let mut statement = connection.prepare_cached(next)?;
    let mut found: Vec<AnalyzerId> = Vec::new();
    let mut last = String::new();
    while let Some(analyzer) = statement.query_row([&last], |row| row.get::<_, String>(0)).optional()? {
        last.clone_from(&analyzer);
        found.push(AnalyzerId(analyzer));
    }
    Ok(found)
}
