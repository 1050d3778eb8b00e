//! What may go, and in which order: by age what the settings say, by size what can be spared.
//!
//! Invariants: an undone event stays, and with it its capture; by size, results stay too; whatever is evicted by size is
//! named in a `DATA_EVICTED` event of the same transaction. Each transaction is small, so that commits get in between.
//!
//! Age is read off the log: an event is old if one at or behind it, with a clock that can be trusted, is old. A box that
//! wakes up in 1970 therefore deletes nothing by age.

use super::done::{Done, Known, STEP_ROWS_MAX, Step, Swept};
use super::error::StoreError;
use super::evict::{self, Stage};
use super::{Store, asked, audit, captures, deletion_requests, events, facts, manifests, registrations};
use gateway_core::config::{Limits, Retention};
use gateway_core::event::{AnalyzerId, EventId, EventKind, EventName, Id, Seq};
use gateway_core::time::{ClockQuality, Now};
use rusqlite::{Connection, OptionalExtension, params};
use serde_json::json;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// Events without a trusted clock that are skipped when looking for the age of one.
const UNSURE_ROWS_MAX: i64 = 1_000;
const MS_A_DAY: i64 = 86_400_000;

impl Store {
    /// Deletes what is older than `retention` says (0 days: nothing) and, above `limits.store_bytes_max`, evicts in the fixed order. `at` and
    /// `id` make the `DATA_EVICTED` event; further ones of the same sweep have ids derived from `id`. On a slow card all of
    /// this takes minutes, so `go_on` is asked between its small transactions: whoever answers `false` ends the sweep there,
    /// and the next one does the rest.
    pub async fn sweep(
        &self,
        limits: &Limits,
        retention: &Retention,
        at: Now,
        id: EventId,
        go_on: impl Fn() -> bool + Sync,
    ) -> Result<Swept, StoreError> {
        let mut swept = Swept::default();
        if matches!(at.quality, ClockQuality::Synchronized | ClockQuality::Corrected) {
            // 0 days keep for ever.
            let before = |days: u32| (days > 0).then(|| at.wall.0.saturating_sub(i64::from(days) * MS_A_DAY));
            if let Some(before) = before(retention.attempts_kept_days) {
                swept += self.steps(move |connection, _| old_attempts(connection, before), &go_on).await?;
            }
            if let Some(before) = before(retention.captures_kept_days) {
                swept += self.steps(move |connection, after| old_captures(connection, before, after), &go_on).await?;
            }
            if let Some(before) = before(retention.events_kept_days) {
                swept += self.steps(move |connection, after| old_events(connection, before, after), &go_on).await?;
            }
        }
        if let Some(bytes_max) = limits.store_bytes_max {
            swept += self.evict(bytes_max, at, id, &go_on).await?;
        }
        self.forget(retention, at).await?;
        let unwiped = self.shared.unwiped.load(Ordering::Acquire);
        if (swept != Swept::default() || unwiped) && go_on() && self.checkpoint().await? {
            self.shared.unwiped.store(false, Ordering::Release);
        }
        Ok(swept)
    }

    /// What goes by age beside the log, and what nobody has to hear any more. Small enough for one transaction.
    async fn forget(&self, retention: &Retention, at: Now) -> Result<(), StoreError> {
        let trusted = matches!(at.quality, ClockQuality::Synchronized | ClockQuality::Corrected);
        let kept_days = retention.events_kept_days;
        let work = move |writer: &mut super::hand::Writer| {
            let done = Done::load(&writer.connection)?;
            let forgotten = deletion_requests::forget_requests(writer, at.wall, |connection, seq, _| {
                done.is_heard(connection, seq, gateway_core::erasure::DELETION_REQUEST)
            })?;
            let connection = &writer.connection;
            if trusted {
                // 0 days keep for ever.
                let before = (kept_days > 0).then(|| at.wall.shifted(-(i64::from(kept_days) * MS_A_DAY)));
                facts::forget_sessions(connection, before, at.wall)?;
                if let Some(before) = before {
                    manifests::forget(connection, before)?;
                    registrations::forget(connection, before)?;
                    audit::forget(connection, before)?;
                    asked::forget(connection, before)?;
                }
            }
            Ok(forgotten)
        };
        if self.shared.write(Duration::ZERO, work).await? > 0 {
            self.shared.erasures.fetch_add(1, Ordering::AcqRel);
            // Until the WAL is emptied, the file holds what was overwritten.
            self.shared.unwiped.store(true, Ordering::Release);
        }
        Ok(())
    }

    async fn steps(
        &self,
        step: impl Fn(&Connection, i64) -> Result<Step, StoreError> + Clone + Send + 'static,
        go_on: &(impl Fn() -> bool + Sync),
    ) -> Result<Swept, StoreError> {
        let (mut swept, mut after) = (Swept::default(), 0);
        while go_on() {
            let step = step.clone();
            let (done, next) = self.shared.write(Duration::ZERO, move |writer| step(&writer.connection, after)).await?;
            swept += done;
            match next {
                Some(next) => after = next,
                None => break,
            }
        }
        Ok(swept)
    }

    async fn evict(
        &self,
        bytes_max: u64,
        at: Now,
        id: EventId,
        go_on: &(impl Fn() -> bool + Sync),
    ) -> Result<Swept, StoreError> {
        let boot = self.shared.clock.boot();
        let (mut swept, mut events_made) = (Swept::default(), 0_u64);
        for stage in Stage::ORDER {
            let mut after = 0;
            while go_on() {
                let event = if events_made == 0 { id } else { Id::derived(&[&id.0, &events_made.to_be_bytes()]) };
                let work = move |writer: &mut super::hand::Writer| {
                    let connection = &writer.connection;
                    if bytes_used(connection)? <= bytes_max {
                        return Ok(None);
                    }
                    let (done, next) = evict::step(connection, *stage, after)?;
                    if done.is_to_be_said() {
                        say_what_was_evicted(connection, done, at, event, boot)?;
                    }
                    Ok(Some((done, next)))
                };
                let Some((done, next)) = self.shared.write(Duration::ZERO, work).await? else { return Ok(swept) };
                events_made += u64::from(done.is_to_be_said());
                swept += done;
                match next {
                    Some(next) => after = next,
                    None => break,
                }
            }
        }
        Ok(swept)
    }
}

/// Bytes of the file that hold something. Pages freed by deletions are used again before the file grows.
fn bytes_used(connection: &Connection) -> Result<u64, StoreError> {
    let pragma = |name: &str| connection.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
    let pages = pragma("page_count")? - pragma("freelist_count")?;
    Ok((pages * pragma("page_size")?).cast_unsigned())
}

fn say_what_was_evicted(
    connection: &Connection,
    done: Swept,
    at: Now,
    id: EventId,
    boot: Id,
) -> Result<(), StoreError> {
    let details = json!({
        "reason": "store_bytes_max",
        "captures": done.captures,
        "samples": done.stripped,
        "events": done.events,
        "dead": done.dead,
    });
    let kind = EventKind { details: Some(details), ..EventKind::bare(EventName::DataEvicted) };
    events::insert(connection, id, &AnalyzerId(events::GATEWAY.to_owned()), at, boot, None, &kind)?;
    Ok(())
}

fn old_attempts(connection: &Connection, before: i64) -> Result<Step, StoreError> {
    let deleted = connection
        .prepare_cached(
            "DELETE FROM attempts WHERE id IN (SELECT id FROM attempts WHERE reason_code IS NULL AND at < ?1 LIMIT ?2)",
        )?
        .execute(params![before, STEP_ROWS_MAX as i64])?;
    let swept = Swept { attempts: deleted as u64, ..Swept::default() };
    Ok((swept, (deleted == STEP_ROWS_MAX).then_some(0)))
}

fn old_captures(connection: &Connection, before: i64, after: i64) -> Result<Step, StoreError> {
    let old = old_through(connection, before)?;
    let through: Option<i64> = connection
        .prepare_cached("SELECT capture FROM events WHERE seq <= ?1 AND capture IS NOT NULL ORDER BY seq DESC LIMIT 1")?
        .query_row([old.0], |row| row.get(0))
        .optional()?;
    let Some(through) = through else { return Ok((Swept::default(), None)) };
    let done = Done::load(connection)?;
    let messages = evict::messages(connection, after, through)?;
    let mut going = Vec::new();
    for message in &messages {
        let parts = evict::parts(connection, *message)?;
        if evict::all_events(connection, &parts, |event| done.is_done(connection, event.seq, &event.name))? {
            going.extend(parts.iter().map(|part| part.id));
        }
    }
    let swept = Swept { captures: captures::delete(connection, &going)? as u64, ..Swept::default() };
    Ok((swept, evict::go_on(&messages)))
}

fn old_events(connection: &Connection, before: i64, after: i64) -> Result<Step, StoreError> {
    let old = old_through(connection, before)?;
    let mut done = Done::load(connection)?;
    let mut select = connection
        .prepare_cached("SELECT seq, name, test_id FROM events WHERE seq > ?1 AND seq <= ?2 ORDER BY seq LIMIT ?3")?;
    let rows =
        select.query_map(params![after, old.0, STEP_ROWS_MAX as i64], Known::read)?.collect::<Result<Vec<_>, _>>()?;
    let mut swept = Swept::default();
    for event in &rows {
        if done.with_its_test(connection, event)? {
            connection.prepare_cached("DELETE FROM events WHERE seq = ?1")?.execute([event.seq.0])?;
            swept.events += 1;
        }
    }
    let last = rows.last().map(|event| event.seq.0);
    Ok((swept, last.filter(|_| rows.len() == STEP_ROWS_MAX)))
}

/// The newest seq that is surely older than `before`: found by halving, because trusted times rise with the log but for small
/// steps of the clock.
fn old_through(connection: &Connection, before: i64) -> Result<Seq, StoreError> {
    let first: Option<i64> = connection.query_row("SELECT min(seq) FROM events", [], |row| row.get(0))?;
    let Some(first) = first else { return Ok(Seq(0)) };
    let mut trusted = connection.prepare_cached(
        "SELECT seq, received_at FROM events WHERE seq >= ?1 AND seq < ?1 + ?2 AND clock IN ('synchronized', 'corrected')
         ORDER BY seq LIMIT 1",
    )?;
    // Invariant: everything up to `old` is old; nothing from `young` on is known to be.
    let (mut old, mut young) = (first - 1, events::head(connection)?.0 + 1);
    while old + 1 < young {
        let middle = old + (young - old) / 2;
        let found: Option<(i64, i64)> =
            trusted.query_row(params![middle, UNSURE_ROWS_MAX], |row| Ok((row.get(0)?, row.get(1)?))).optional()?;
        match found {
            Some((seq, at)) if at < before => old = seq,
            _ => young = middle,
        }
    }
    Ok(Seq(old))
}
