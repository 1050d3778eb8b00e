//! Stored messages: the captures of one message together, with the events that were read from them. What `redecode` and
//! `captures` go through, one message at a time.
//!
//! Invariant: only messages that are closed are given out; a message is known by the id of its last capture.

use super::error::StoreError;
use super::events::{self, Origin};
use super::hand::Writer;
use super::{AuditEntry, Store, audit, captures, registrations, versions};
use gateway_core::event::{AnalyzerId, Event, EventId, EventKind, TestId};
use gateway_core::time::{Now, Timestamp};
use rusqlite::{Connection, OptionalExtension, params};
use std::time::Duration;

/// Captures that one look passes over at most.
const STRETCH_CAPTURES: i64 = 20_000;

/// Which messages.
#[derive(Debug, Clone, Default)]
pub struct Which {
    /// Behind the message of that id.
    pub after: i64,
    pub analyzer: Option<AnalyzerId>,
    /// Ended at or after that moment.
    pub since: Option<Timestamp>,
}

/// One commit's bytes of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Part {
    pub received_at: Timestamp,
    pub bytes: usize,
}

/// A message without its bytes.
#[derive(Debug, Clone, PartialEq)]
pub struct MessageHead {
    pub id: i64,
    pub analyzer: AnalyzerId,
    /// In the order in which they were received.
    pub parts: Vec<Part>,
    /// Everything read from it was known already.
    pub repeated: bool,
    /// What was stored with it, in the order of the log.
    pub events: Vec<Event>,
}

/// What is left of a message's bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    Whole(Vec<u8>),
    /// A person's data was erased.
    Erased,
    /// The database is damaged there.
    Unreadable,
}

/// A test as it is read today.
#[derive(Debug, Clone)]
pub struct Statement {
    /// Derived from what it says, so that it is stored once.
    pub id: EventId,
    /// Whose test it is: another one's than the port's, where cables were swapped.
    pub analyzer: AnalyzerId,
    pub kind: EventKind,
    /// The newest version of the test when it was looked at; `None`: there was none.
    pub follows: Option<EventId>,
}

impl Store {
    /// The next messages, oldest first, at most `limit`.
    pub async fn messages(&self, which: Which, limit: usize) -> Result<Vec<MessageHead>, StoreError> {
        let mut which = which;
        loop {
            let wanted = which.clone();
            let (found, next) = self.read(move |connection| page(connection, &wanted, limit)).await?;
            match next {
                Some(next) if found.is_empty() => which.after = next,
                _ => return Ok(found),
            }
        }
    }

    /// The newest messages of an analyzer, newest first, at most `limit`.
    pub async fn newest_messages(&self, analyzer: &AnalyzerId, limit: usize) -> Result<Vec<MessageHead>, StoreError> {
        let analyzer = analyzer.clone();
        self.show(move |connection| {
            let mut select = connection.prepare_cached(
                "SELECT id FROM captures WHERE analyzer = ?1 AND message = id ORDER BY id DESC LIMIT ?2",
            )?;
            let limit = i64::try_from(limit).unwrap_or(i64::MAX);
            let ids = select.query_map(params![analyzer.0, limit], |row| row.get(0))?;
            let ids = ids.collect::<Result<Vec<i64>, _>>()?;
            ids.into_iter().filter_map(|id| head(connection, id).transpose()).collect()
        })
        .await
    }

    /// The message of that id.
    pub async fn message(&self, id: i64) -> Result<Option<MessageHead>, StoreError> {
        self.read(move |connection| head(connection, id)).await
    }

    /// Its bytes as they were received.
    pub async fn content(&self, message: i64) -> Result<Content, StoreError> {
        self.read(move |connection| {
            // A patch that does not fit is this message's trouble, and none of the others'.
            Ok(match captures::of_message(connection, message) {
                Ok(bytes) if bytes.is_empty() => Content::Erased,
                Ok(bytes) => Content::Whole(bytes),
                Err(_) => Content::Unreadable,
            })
        })
        .await
    }

    /// The message that an event stems from, if it is still there.
    pub async fn message_of(&self, event: EventId) -> Result<Option<i64>, StoreError> {
        self.read(move |connection| {
            let sql = "SELECT captures.message FROM events JOIN captures ON captures.id = events.capture WHERE events.id = ?1";
            let found: Option<Option<i64>> =
                connection.prepare_cached(sql)?.query_row([event.0], |row| row.get(0)).optional()?;
            Ok(found.flatten())
        })
        .await
    }

    /// Finished tests whose received bytes were given up.
    pub async fn tests_without_bytes(&self, which: Which) -> Result<u64, StoreError> {
        self.read(move |connection| {
            let sql = "SELECT count(*) FROM events WHERE name = 'TEST_FINISHED' AND capture IS NOT NULL
                           AND (?1 IS NULL OR analyzer = ?1) AND received_at >= ?2
                           AND NOT EXISTS (SELECT 1 FROM captures WHERE captures.id = events.capture)";
            let parameters = params![which.analyzer.as_ref().map(|id| id.0.as_str()), since(&which)];
            let count: i64 = connection.prepare_cached(sql)?.query_row(parameters, |row| row.get(0))?;
            Ok(count.cast_unsigned())
        })
        .await
    }

    /// Stores what is read today of a message: each statement whose test has neither been stated again nor erased meanwhile,
    /// with whatever follows from it, and a line of the audit log for `client`. Returns how many were stored.
    pub async fn restate(
        &self,
        message: i64,
        statements: Vec<Statement>,
        at: Now,
        client: &str,
    ) -> Result<usize, StoreError> {
        let boot = self.shared.clock.boot();
        let entry = AuditEntry {
            at: at.wall,
            client: client.to_owned(),
            action: "redecode".to_owned(),
            object: format!("capture/{message}"),
            outcome: "ok".to_owned(),
        };
        let work = move |writer: &mut Writer| {
            let connection = &writer.connection;
            let mut stored = 0;
            // What was read of bytes that are gone by now may be a person's who was erased in between.
            if !connection
                .prepare_cached("SELECT 1 FROM captures WHERE message = ?1 AND bytes > 0")?
                .exists([message])?
            {
                return Ok(0);
            }
            for Statement { id, analyzer, kind, follows } in &statements {
                let newest = |test: TestId| versions::newest(connection, test);
                let newest = kind.test.as_ref().map_or(Ok(None), |test| newest(test.id))?;
                if newest.as_ref().is_some_and(|newest| newest.erased) {
                    continue;
                }
                if newest.map(|newest| newest.id) == *follows && events::seq_of(connection, *id)?.is_none() {
                    let origin = Origin { at, boot, capture: Some(message) };
                    registrations::store(connection, *id, analyzer, origin, kind)?;
                    stored += 1;
                }
            }
            if stored > 0 {
                audit::add(connection, &entry)?;
            }
            Ok(stored)
        };
        let stored = self.shared.write(Duration::ZERO, work).await?;
        self.shared.registered.step();
        Ok(stored)
    }
}

fn since(which: &Which) -> i64 {
    which.since.map_or(i64::MIN, |since| since.0)
}

/// The messages of one stretch, and where the next one begins, if there is one.
fn page(connection: &Connection, which: &Which, limit: usize) -> Result<(Vec<MessageHead>, Option<i64>), StoreError> {
    let end = which.after.saturating_add(STRETCH_CAPTURES);
    let mut select = connection.prepare_cached(
        "SELECT id FROM captures WHERE id > ?1 AND id <= ?2 AND message = id
             AND (?3 IS NULL OR analyzer = ?3) AND received_at >= ?4 ORDER BY id LIMIT ?5",
    )?;
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let parameters = params![which.after, end, which.analyzer.as_ref().map(|id| id.0.as_str()), since(which), limit];
    let ids = select.query_map(parameters, |row| row.get(0))?.collect::<Result<Vec<i64>, _>>()?;
    let heads = ids.into_iter().filter_map(|id| head(connection, id).transpose()).collect::<Result<_, _>>()?;
    let more = connection.prepare_cached("SELECT 1 FROM captures WHERE id > ?1")?.exists([end])?;
    Ok((heads, more.then_some(end)))
}

fn head(connection: &Connection, id: i64) -> Result<Option<MessageHead>, StoreError> {
    let mut select = connection.prepare_cached(
        "SELECT id, analyzer, received_at, bytes, repeated, first_seq, last_seq FROM captures WHERE message = ?1 ORDER BY id",
    )?;
    let sql =
        format!("SELECT {} FROM events WHERE seq BETWEEN ?1 AND ?2 AND capture = ?3 ORDER BY seq", events::COLUMNS);
    let mut of_capture = connection.prepare_cached(&sql)?;
    let mut rows = select.query([id])?;
    let mut head: Option<MessageHead> = None;
    while let Some(row) = rows.next()? {
        let analyzer: String = row.get(1)?;
        let head = head.get_or_insert_with(|| MessageHead {
            id,
            analyzer: AnalyzerId(analyzer),
            parts: Vec::new(),
            repeated: false,
            events: Vec::new(),
        });
        let bytes = usize::try_from(row.get::<_, i64>(3)?).unwrap_or(0);
        head.parts.push(Part { received_at: Timestamp(row.get(2)?), bytes });
        head.repeated |= row.get::<_, bool>(4)?;
        let range: (Option<i64>, Option<i64>) = (row.get(5)?, row.get(6)?);
        if let (Some(first), Some(last)) = range {
            let found = of_capture.query_map(params![first, last, row.get::<_, i64>(0)?], events::read)?;
            head.events.extend(found.collect::<Result<Vec<_>, _>>()?);
        }
    }
    Ok(head)
}
