//! The table `erasures`: whose data is to be taken out, until all of it is.
//!
//! Invariants: an erasure that was asked for is on disk before the one who asked has an answer, and stays asked for until it
//! is done, whatever is cut off in between; whose data it was goes with the transaction that ends it.

use super::error::StoreError;
use super::hand::Writer;
use super::{Committed, Erased, NewEntry, Store, Subject, events};
use gateway_core::event::{EventId, Id, TestId};
use gateway_core::time::Timestamp;
use rusqlite::{Connection, OptionalExtension, Row, params};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use std::collections::BTreeSet;
use std::time::Duration;

/// An erasure that was asked for. `id` is that of its `DATA_ERASED`, `client` who asked.
#[derive(Clone)]
pub struct Asked {
    pub id: EventId,
    pub subject: Subject,
    pub client: String,
}

/// The tests that were found to be the person's and the sample ids that these had. Once their events are changed, nothing leads
/// to them any more.
#[derive(Clone, Default, Serialize, Deserialize)]
pub(super) struct Found {
    pub tests: BTreeSet<TestId>,
    pub samples: BTreeSet<String>,
}

/// How far an erasure is.
pub(super) enum State {
    Undone(Asked, Found),
    Done(Erased),
}

impl Store {
    /// Stores an entry, and the erasure that its event asks for, in one transaction. For a repeated event nothing is asked
    /// again. See [`Store::commit`] and [`Store::finish_erasures`].
    pub async fn commit_and_ask(&self, entry: NewEntry, asked: Asked) -> Result<Committed, StoreError> {
        let boot = self.shared.clock.boot();
        let work = move |writer: &mut Writer| {
            let committed = events::commit(writer, &entry.analyzer, &entry, boot)?;
            if committed.stored > 0 {
                ask(&writer.connection, &asked, entry.at.wall)?;
            }
            Ok(committed)
        };
        self.shared.write(Duration::ZERO, work).await
    }

    /// Notes that somebody's data is to be erased; [`Store::finish_erasure`] does it, now or after the next start. An id that
    /// is known already is the same request.
    pub async fn ask_to_erase(&self, asked: Asked, at: Timestamp) -> Result<(), StoreError> {
        self.shared.write(Duration::ZERO, move |writer| ask(&writer.connection, &asked, at)).await
    }

    /// Does what was asked for and is not done yet, one after the other. The first error, if there was one.
    pub async fn finish_erasures(&self) -> Result<(), StoreError> {
        let mut outcome = Ok(());
        for id in self.read(undone).await? {
            // One that cannot be done keeps no other from being done.
            outcome = outcome.and(self.finish_erasure(id).await.map(|_| ()));
        }
        outcome
    }
}

fn ask(connection: &Connection, asked: &Asked, at: Timestamp) -> Result<(), StoreError> {
    connection
        .prepare_cached("INSERT OR IGNORE INTO erasures (id, asked_at, client, subject) VALUES (?1, ?2, ?3, ?4)")?
        .execute(params![asked.id.0, at.0, asked.client, json(&asked.subject)])?;
    Ok(())
}

fn undone(connection: &Connection) -> Result<Vec<EventId>, StoreError> {
    let mut select = connection.prepare_cached("SELECT id FROM erasures WHERE subject IS NOT NULL ORDER BY number")?;
    let ids = select.query_map([], |row| Ok(Id(row.get(0)?)))?;
    Ok(ids.collect::<Result<_, _>>()?)
}

/// `None`: nobody has asked for it, or it was done so long ago that it is forgotten.
pub(super) fn by_id(connection: &Connection, id: EventId) -> Result<Option<State>, StoreError> {
    let mut select = connection.prepare_cached("SELECT client, subject, found, outcome FROM erasures WHERE id = ?1")?;
    let read = |row: &Row<'_>| {
        let texts: [Option<String>; 3] = [row.get(1)?, row.get(2)?, row.get(3)?];
        Ok((row.get::<_, String>(0)?, texts))
    };
    let Some((client, [subject, found, outcome])) = select.query_row([id.0], read).optional()? else { return Ok(None) };
    Ok(Some(match subject {
        Some(subject) => {
            let found = found.map_or_else(|| Ok(Found::default()), |found| parsed(&found))?;
            State::Undone(Asked { id, subject: parsed(&subject)?, client }, found)
        }
        None => State::Done(outcome.map_or_else(|| Ok(Erased::default()), |outcome| parsed(&outcome))?),
    }))
}

/// Keeps what leads to the rest of the person's events.
pub(super) fn note_found(connection: &Connection, id: EventId, found: &Found) -> Result<(), StoreError> {
    connection.prepare_cached("UPDATE erasures SET found = ?2 WHERE id = ?1")?.execute(params![id.0, json(found)])?;
    Ok(())
}

/// Counts what a transaction has changed; the sum survives a power cut.
pub(super) fn count(connection: &Connection, id: EventId, events: u64, captures: u64) -> Result<(), StoreError> {
    connection
        .prepare_cached("UPDATE erasures SET events = events + ?2, captures = captures + ?3 WHERE id = ?1")?
        .execute(params![id.0, events.cast_signed(), captures.cast_signed()])?;
    Ok(())
}

/// Events and messages changed so far.
pub(super) fn counted(connection: &Connection, id: EventId) -> Result<(u64, u64), StoreError> {
    let mut select = connection.prepare_cached("SELECT events, captures FROM erasures WHERE id = ?1")?;
    let (events, captures): (i64, i64) = select.query_row([id.0], |row| Ok((row.get(0)?, row.get(1)?)))?;
    Ok((events.cast_unsigned(), captures.cast_unsigned()))
}

/// It is done: whose data it was is forgotten.
pub(super) fn end(connection: &Connection, id: EventId, erased: &Erased) -> Result<(), StoreError> {
    connection
        .prepare_cached("UPDATE erasures SET subject = NULL, found = NULL, outcome = ?2 WHERE id = ?1")?
        .execute(params![id.0, json(erased)])?;
    Ok(())
}

/// Forgets the outcomes of before then.
pub(super) fn forget(connection: &Connection, before: Timestamp) -> Result<(), StoreError> {
    connection.prepare_cached("DELETE FROM erasures WHERE subject IS NULL AND asked_at < ?1")?.execute([before.0])?;
    Ok(())
}

fn json<T: Serialize>(value: &T) -> String {
    serde_json::to_string(value).expect("these types have only string keys")
}

/// The parser's own words could quote the person.
fn parsed<T: DeserializeOwned>(text: &str) -> Result<T, StoreError> {
    serde_json::from_str(text).map_err(|_| {
        StoreError::new("an erasure that was asked for cannot be read back from the database; ask for it again")
    })
}
