//! Stored requests of a partner to erase somebody (`dataDeletionRequest`): marked once they are done, and emptied of whom they mean
//! once everybody has heard them.

use super::StoreError;
use super::erase::{PAGE_EVENTS_MAX, empty_messages, rewrite};
use super::hand::Writer;
use gateway_core::erasure::{DELETION_REQUEST, Person};
use gateway_core::event::{EventKind, Payload, Posted, Seq};
use gateway_core::time::Timestamp;
use rusqlite::{Connection, OptionalExtension, params};

/// Marks the stored requests to erase this person: they are done, whoever has asked.
pub(super) fn heed_requests(connection: &Connection, person: &Person) -> Result<(), StoreError> {
    let mut after = 0;
    loop {
        let requests = requests(connection, "heeded = 0", after)?;
        for (seq, kind) in &requests {
            if person.is_asked_for(kind) {
                connection.prepare_cached("UPDATE facts SET heeded = 1 WHERE seq = ?1")?.execute([seq])?;
            }
        }
        match requests.last() {
            Some((seq, _)) => after = *seq,
            None => return Ok(()),
        }
    }
}

/// A page of the stored requests to erase somebody, behind `after`.
fn requests(connection: &Connection, which: &str, after: i64) -> Result<Vec<(i64, EventKind)>, StoreError> {
    let mut select = connection.prepare_cached(&format!(
        "SELECT events.seq, body FROM facts JOIN events USING (seq)
         WHERE posted IS NOT NULL AND erased_at IS NULL AND {which} AND name = ?1 AND events.seq > ?2
         ORDER BY events.seq LIMIT ?3",
    ))?;
    let rows = select
        .query_map(params![DELETION_REQUEST, after, PAGE_EVENTS_MAX], |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect::<Result<Vec<(i64, String)>, _>>()?;
    let read = |(seq, body): (i64, String)| Some((seq, serde_json::from_str(&body).ok()?));
    Ok(rows.into_iter().filter_map(read).collect())
}

/// Requests to erase somebody that are done and that everybody has heard are not needed any more: what says who it was goes, from
/// the event, its bytes and the answers to it. `may_go` tells of an event whether it is such a one. Returns how many went.
pub(super) fn forget_requests(
    writer: &mut Writer,
    at: Timestamp,
    may_go: impl Fn(&Connection, Seq, &EventKind) -> Result<bool, StoreError>,
) -> Result<u64, StoreError> {
    let connection = &writer.connection;
    let (mut gone, mut messages) = (0, Vec::new());
    for (seq, mut kind) in requests(connection, "heeded = 1", 0)? {
        if !may_go(connection, Seq(seq), &kind)? {
            continue;
        }
        kind.posted = kind.posted.map(|posted| Posted { payload: Payload::default(), ..posted });
        rewrite(connection, seq, &kind, at)?;
        connection.prepare_cached("UPDATE attempts SET answer = '' WHERE seq = ?1 AND answer <> ''")?.execute([seq])?;
        let mut message = connection.prepare_cached(
            "SELECT message FROM captures WHERE id = (SELECT capture FROM events WHERE seq = ?1) AND message IS NOT NULL",
        )?;
        messages.extend(message.query_row([seq], |row| row.get::<_, i64>(0)).optional()?);
        gone += 1;
    }
    empty_messages(writer, &messages)?;
    Ok(gone)
}
