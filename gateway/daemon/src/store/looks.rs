//! What a person looks for in the log: events of one kind, events by the beginning of an id, what waits at a destination.
//!
//! Invariant: each look is bounded in rows, so that none takes longer on a log of millions than on one of thousands.

use super::error::StoreError;
use super::{DestinationId, Row, Seq, Store, deliveries, events};
use gateway_core::event::{AnalyzerId, Event, EventId, Id, TestId};
use gateway_core::time::Timestamp;
use rusqlite::{Connection, params};

/// Places of the log that one look passes over at most.
const STRETCH_SEQS: i64 = 20_000;
/// A page ends behind the event that fills it.
const PAGE_BYTES_MAX: i64 = 2 << 20;
/// Rows of one destination that are shown at once.
const QUEUED_ROWS_MAX: usize = 1_000;

/// Which events; what is absent admits all.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Sought {
    pub analyzer: Option<AnalyzerId>,
    /// `EventName`'s word.
    pub name: Option<String>,
    /// Received at or after that moment.
    pub since: Option<Timestamp>,
}

/// An undone delivery with the event that it is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Queued {
    pub row: Row,
    pub id: EventId,
    /// `EventName`'s word.
    pub name: String,
    pub received_at: Timestamp,
}

impl Store {
    /// The next events after `after` that are sought, at most `limit`, and the seq up to which the log was looked through. There
    /// may be more behind it, unless it is the head.
    pub async fn events_sought(
        &self,
        after: Seq,
        sought: &Sought,
        limit: usize,
    ) -> Result<(Vec<Event>, Seq), StoreError> {
        let sought = sought.clone();
        self.show(move |connection| stretch(connection, after, &sought, limit)).await
    }

    /// Ids of events that begin with these hexadecimal digits, at most `limit`.
    pub async fn events_beginning(&self, digits: &str, limit: usize) -> Result<Vec<EventId>, StoreError> {
        let sql = "SELECT id FROM events WHERE id BETWEEN ?1 AND ?2 ORDER BY id LIMIT ?3";
        self.beginning(digits, sql, limit).await
    }

    /// Ids of tests that begin so.
    pub async fn tests_beginning(&self, digits: &str, limit: usize) -> Result<Vec<TestId>, StoreError> {
        let sql = "SELECT DISTINCT test_id FROM events WHERE test_id BETWEEN ?1 AND ?2 ORDER BY test_id LIMIT ?3";
        self.beginning(digits, sql, limit).await
    }

    async fn beginning(&self, digits: &str, sql: &'static str, limit: usize) -> Result<Vec<Id>, StoreError> {
        let Some((first, last)) = bounds(digits) else { return Ok(Vec::new()) };
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let look = move |connection: &Connection| {
            let mut select = connection.prepare_cached(sql)?;
            let ids = select.query_map(params![first, last, limit], |row| Ok(Id(row.get(0)?)))?;
            Ok(ids.collect::<Result<_, _>>()?)
        };
        self.show(look).await
    }

    /// What of a destination has a row and is not dead, in the order of the log, at most 1,000.
    pub async fn queued(&self, destination: &DestinationId) -> Result<Vec<Queued>, StoreError> {
        let (now, boot) = (self.shared.clock.now(), self.shared.clock.boot());
        let id = destination.clone();
        let look = move |connection: &Connection| {
            let rows = deliveries::rows(connection, now, boot, &id)?;
            let mut select = connection.prepare_cached("SELECT id, name, received_at FROM events WHERE seq = ?1")?;
            let undone = rows.into_iter().filter(|row| !row.state.is_settled()).take(QUEUED_ROWS_MAX);
            let queued = undone.map(|row| {
                let (id, name, at) =
                    select.query_row([row.seq.0], |event| Ok((event.get(0)?, event.get(1)?, event.get(2)?)))?;
                Ok(Queued { row, id: Id(id), name, received_at: Timestamp(at) })
            });
            queued.collect()
        };
        self.show(look).await
    }
}

fn stretch(
    connection: &Connection,
    after: Seq,
    sought: &Sought,
    limit: usize,
) -> Result<(Vec<Event>, Seq), StoreError> {
    let head = events::head(connection)?;
    let end = Seq(after.0.saturating_add(STRETCH_SEQS).min(head.0).max(after.0));
    let sql = format!(
        "SELECT {}, length(body) AS bytes FROM events WHERE seq > ?1 AND seq <= ?2 AND (?3 IS NULL OR analyzer = ?3)
             AND (?4 IS NULL OR name = ?4) AND received_at >= ?5 ORDER BY seq LIMIT ?6",
        events::COLUMNS
    );
    let mut select = connection.prepare_cached(&sql)?;
    let (analyzer, since) = (sought.analyzer.as_ref().map(|id| &id.0), sought.since.map_or(i64::MIN, |since| since.0));
    let limit_rows = i64::try_from(limit).unwrap_or(i64::MAX);
    let mut rows = select.query(params![after.0, end.0, analyzer, sought.name, since, limit_rows])?;
    let (mut found, mut bytes): (Vec<Event>, i64) = (Vec::new(), 0);
    while let Some(row) = rows.next()? {
        bytes += row.get::<_, i64>("bytes")?;
        found.push(events::read(row)?);
        if bytes >= PAGE_BYTES_MAX || found.len() >= limit {
            let last = found.last().map_or(end, |event| event.seq);
            return Ok((found, last));
        }
    }
    Ok((found, end))
}

/// The first and the last id that begin with these digits; `None` if they are none or too many.
fn bounds(digits: &str) -> Option<([u8; 16], [u8; 16])> {
    let digits: Vec<u8> =
        digits.chars().filter(|c| *c != '-').map(|c| c.to_digit(16)).map(digit).collect::<Option<_>>()?;
    if digits.is_empty() || digits.len() > 32 {
        return None;
    }
    let filled = |fill: u8| {
        let mut id = [0; 16];
        for (place, byte) in id.iter_mut().enumerate() {
            let half = |at: usize| digits.get(at).copied().unwrap_or(fill);
            *byte = (half(2 * place) << 4) | half(2 * place + 1);
        }
        id
    };
    Some((filled(0), filled(0xf)))
}

fn digit(digit: Option<u32>) -> Option<u8> {
    digit.and_then(|digit| u8::try_from(digit).ok())
}
