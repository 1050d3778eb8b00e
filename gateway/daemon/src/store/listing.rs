//! Tests as they are listed and exported: read page by page, so that neither a long log nor a rare test makes one read long.
//!
//! Invariants: a page looks at [`LOOKED_AT_MAX`] events of an analyzer at most; a test stands in a list once, at its newest event;
//! an export goes by (received_at, seq), so that no result is in it twice.

use super::error::StoreError;
use super::events::COLUMNS;
use super::{Seq, Store, events, registrations};
use gateway_core::event::{AnalyzerId, Event};
use gateway_core::registration::Registration;
use gateway_core::time::Timestamp;
use rusqlite::{Connection, OptionalExtension, params};

/// Events of one analyzer that are looked at for one page.
const LOOKED_AT_MAX: usize = 20_000;
/// A slice of an export ends behind the result that fills it.
const SLICE_BYTES_MAX: usize = 512 << 10;
/// Results that are looked at for one slice.
const SLICE_RESULTS_MAX: usize = 500;
/// Events between the first and the last of a test among which gaps are looked for.
const GAP_EVENTS_MAX: i64 = 20_000;
const GAPS_MAX: i64 = 1_000;

/// Which tests are listed.
#[derive(Debug, Clone, Default)]
pub struct WhichTests {
    pub analyzer: Option<AnalyzerId>,
    /// The state of the test's newest event: `DONE`.
    pub state: Option<&'static str>,
    /// Quality control and calibration, or neither.
    pub qc: Option<bool>,
    /// Only tests whose newest event lies before this one.
    pub before: Option<Seq>,
}

/// A test's newest event, and whether there are samples of it.
#[derive(Debug, Clone)]
pub struct ListedTest {
    pub newest: Event,
    pub has_curve: bool,
}

/// Which results are exported.
#[derive(Debug, Clone, Default)]
pub struct WhichResults {
    pub analyzer: Option<AnalyzerId>,
    /// Received at or after this moment.
    pub since: Option<Timestamp>,
    /// Received before this moment.
    pub until: Option<Timestamp>,
    pub qc: Option<bool>,
    /// Also those that a newer version has replaced.
    pub all_versions: bool,
}

/// How far an export has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ExportedTo {
    received_at: i64,
    seq: i64,
}

impl Store {
    /// A page of tests, newest first, at most `limit`, and the `before` of the next page if there may be one. It may be shorter,
    /// even empty, although more follow.
    pub async fn tests(&self, which: WhichTests, limit: usize) -> Result<(Vec<ListedTest>, Option<Seq>), StoreError> {
        self.show(move |connection| list(connection, &which, limit)).await
    }

    /// The next results of an export, oldest first, and how far it has come; `None`: that was all. A slice may be empty although
    /// more follow.
    pub async fn exported_results(
        &self,
        which: WhichResults,
        after: Option<ExportedTo>,
    ) -> Result<(Vec<Event>, Option<ExportedTo>), StoreError> {
        self.show(move |connection| slice(connection, &which, after)).await
    }

    /// The `GAP` events of an analyzer between two events, oldest first.
    pub async fn gaps_between(&self, analyzer: AnalyzerId, from: Seq, to: Seq) -> Result<Vec<Event>, StoreError> {
        self.show(move |connection| {
            let upto = to.0.min(from.0.saturating_add(GAP_EVENTS_MAX));
            let sql = format!(
                "SELECT {COLUMNS} FROM events WHERE seq BETWEEN ?1 AND ?2 AND name = 'GAP' AND analyzer = ?3
                 ORDER BY seq LIMIT ?4"
            );
            let mut select = connection.prepare_cached(&sql)?;
            let gaps = select.query_map(params![from.0, upto, analyzer.0, GAPS_MAX], events::read)?;
            Ok(gaps.collect::<Result<_, _>>()?)
        })
        .await
    }

    /// The registration that an event belongs to.
    pub async fn registration_of(&self, seq: Seq) -> Result<Option<Registration>, StoreError> {
        self.show(move |connection| {
            let mut select = connection.prepare_cached("SELECT registration FROM facts WHERE seq = ?1")?;
            let number: Option<Option<i64>> = select.query_row([seq.0], |row| row.get(0)).optional()?;
            number.flatten().map_or(Ok(None), |number| registrations::by_number(connection, number))
        })
        .await
    }
}

fn list(
    connection: &Connection,
    which: &WhichTests,
    limit: usize,
) -> Result<(Vec<ListedTest>, Option<Seq>), StoreError> {
    let before = which.before.map_or(i64::MAX, |before| before.0);
    let analyzers = match &which.analyzer {
        Some(analyzer) => vec![analyzer.0.clone()],
        None => analyzers(connection)?,
    };
    let (mut found, mut horizon) = (Vec::new(), None);
    for analyzer in analyzers {
        let (tests, looked_to) = newest_of(connection, which, &analyzer, before, limit)?;
        found.extend(tests);
        horizon = horizon.max(looked_to);
    }
    // Of what lies before the horizon not everything was looked at.
    found.retain(|(seq, _)| horizon.is_none_or(|horizon| *seq >= horizon));
    found.sort_unstable_by_key(|(seq, _)| std::cmp::Reverse(*seq));
    let next = if found.len() > limit { found.get(limit - 1).map(|(seq, _)| *seq) } else { horizon };
    found.truncate(limit);
    let mut tests = Vec::new();
    for (seq, test) in found {
        if let Some(newest) = events::get(connection, Seq(seq))? {
            tests.push(ListedTest { has_curve: has_curve(connection, &newest, test)?, newest });
        }
    }
    Ok((tests, next.map(Seq)))
}

/// Every analyzer that has tests: one step in the index each, however many events there are.
fn analyzers(connection: &Connection) -> Result<Vec<String>, StoreError> {
    let mut select = connection.prepare_cached(
        "SELECT analyzer FROM events WHERE test_id IS NOT NULL AND analyzer > ?1 ORDER BY analyzer LIMIT 1",
    )?;
    let mut found: Vec<String> = Vec::new();
    while let Some(next) =
        select.query_row([found.last().map_or("", String::as_str)], |row| row.get::<_, String>(0)).optional()?
    {
        found.push(next);
    }
    Ok(found)
}

/// An analyzer's tests by their newest event; and, if that was not all of them, the event down to which they were looked at.
#[expect(clippy::type_complexity, reason = "a seq with its test, and a seq")]
fn newest_of(
    connection: &Connection,
    which: &WhichTests,
    analyzer: &str,
    before: i64,
    limit: usize,
) -> Result<(Vec<(i64, [u8; 16])>, Option<i64>), StoreError> {
    let mut select = connection.prepare_cached(
        "SELECT seq, test_id, state,
                EXISTS (SELECT 1 FROM events AS newer WHERE newer.test_id = events.test_id AND newer.seq > events.seq),
                EXISTS (SELECT 1 FROM facts WHERE facts.seq = events.seq AND qc = 1)
         FROM events WHERE test_id IS NOT NULL AND analyzer = ?1 AND seq < ?2 ORDER BY seq DESC",
    )?;
    let mut rows = select.query(params![analyzer, before])?;
    let (mut found, mut looked_at) = (Vec::new(), 0);
    while let Some(row) = rows.next()? {
        let (seq, is_old, is_qc): (i64, bool, bool) = (row.get(0)?, row.get(3)?, row.get(4)?);
        let state: Option<String> = row.get(2)?;
        let is_wanted = which.state.is_none_or(|wanted| state.as_deref() == Some(wanted))
            && which.qc.is_none_or(|wanted| is_qc == wanted);
        if !is_old && is_wanted {
            found.push((seq, row.get(1)?));
        }
        looked_at += 1;
        if found.len() == limit || looked_at == LOOKED_AT_MAX {
            return Ok((found, Some(seq)));
        }
    }
    Ok((found, None))
}

fn has_curve(connection: &Connection, newest: &Event, test: [u8; 16]) -> Result<bool, StoreError> {
    if newest.kind.test.as_ref().is_some_and(|test| test.data.is_some()) {
        return Ok(true);
    }
    let mut select = connection
        .prepare_cached("SELECT 1 FROM events WHERE test_id = ?1 AND name = 'NEW_DATA' AND evicted = 0 LIMIT 1")?;
    Ok(select.exists([test])?)
}

fn slice(
    connection: &Connection,
    which: &WhichResults,
    after: Option<ExportedTo>,
) -> Result<(Vec<Event>, Option<ExportedTo>), StoreError> {
    let since = which.since.map_or(i64::MIN, |since| since.0);
    let (since, behind) = after.map_or((since, i64::MIN), |after| (after.received_at, after.seq));
    let until = which.until.map_or(i64::MAX, |until| until.0);
    let mut select = connection.prepare_cached(
        "SELECT seq, received_at, analyzer, test_id, length(body),
                EXISTS (SELECT 1 FROM facts WHERE facts.seq = events.seq AND qc = 1)
         FROM events
         WHERE name = 'TEST_FINISHED' AND (received_at, seq) > (?1, ?2) AND received_at < ?3
         ORDER BY received_at, seq",
    )?;
    let mut rows = select.query(params![since, behind, until])?;
    let (mut found, mut bytes, mut looked_at) = (Vec::new(), 0, 0);
    while let Some(row) = rows.next()? {
        let to = ExportedTo { seq: row.get(0)?, received_at: row.get(1)? };
        let (analyzer, test): (String, Option<[u8; 16]>) = (row.get(2)?, row.get(3)?);
        let is_wanted = which.analyzer.as_ref().is_none_or(|wanted| wanted.0 == analyzer)
            && which.qc.is_none_or(|wanted| row.get(5).is_ok_and(|is_qc: bool| is_qc == wanted));
        if let Some(test) = test.filter(|_| is_wanted)
            && (which.all_versions || !is_replaced(connection, test, to.seq)?)
        {
            found.extend(events::get(connection, Seq(to.seq))?);
            bytes += row.get::<_, i64>(4)?.unsigned_abs() as usize;
        }
        looked_at += 1;
        if bytes >= SLICE_BYTES_MAX || looked_at == SLICE_RESULTS_MAX {
            return Ok((found, Some(to)));
        }
    }
    Ok((found, None))
}

fn is_replaced(connection: &Connection, test: [u8; 16], seq: i64) -> Result<bool, StoreError> {
    let mut select = connection
        .prepare_cached("SELECT 1 FROM events WHERE test_id = ?1 AND seq > ?2 AND name = 'TEST_FINISHED' LIMIT 1")?;
    Ok(select.exists(params![test, seq])?)
}
