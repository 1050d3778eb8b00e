//! Sending again what is dead, and what a receiver says that it lacks.
//!
//! Invariants: an event keeps its id and its ordinal and is marked; whatever is sent again is on disk as an undone row before
//! its worker hears of it, so a crash in between loses nothing; one that is undone already is not sent twice.

use super::destinations::{self, Epochs};
use super::error::StoreError;
use super::{
    DeadLetter, Delivery, DestinationId, Missing, Page, ReadStore, Row, Selection, Store, attempts, deliveries, events,
};
use gateway_core::delivery::{DeliveryState, Reason, ReasonCode};
use gateway_core::event::{AnalyzerId, EventId, Id, Seq};
use gateway_core::time::Timestamp;
use rusqlite::{Connection, OptionalExtension, params};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;

/// Deliveries that one call sends again at most; the next call takes the rest.
const REDRIVEN_ROWS_MAX: usize = 10_000;
/// Dead letters that one page holds at most.
const PAGE_ROWS_MAX: usize = 1_000;

impl Store {
    /// Sends the selected deliveries of a destination again: at once, marked, with the whole table before each. Returns them in
    /// the order of the log, at most 10,000. With `dry_run` nothing changes. An unknown destination is refused.
    pub async fn redrive(
        &self,
        destination: &DestinationId,
        selection: &Selection,
        dry_run: bool,
    ) -> Result<Vec<(Seq, EventId)>, StoreError> {
        let (id, wanted) = (destination.clone(), selection.clone());
        if dry_run {
            return self.show(move |connection| selected(connection, &id, &wanted)).await;
        }
        let work = move |writer: &mut super::hand::Writer| {
            let found = selected(&writer.connection, &id, &wanted)?;
            for (seq, _) in &found {
                deliveries::requeue(&writer.connection, &id, *seq)?;
            }
            Ok(found)
        };
        let found = self.shared.write(Duration::ZERO, work).await?;
        self.shared.redrives.ask(destination, found.iter().map(|(seq, _)| *seq));
        Ok(found)
    }

    /// Sends again what a receiver lacks, each event once: delivered ones get a row of their own, dead ones are redriven, undone
    /// ones are left alone since they come anyway. Found by the books of the attempts (`attempts_kept_days`); what they do not
    /// know is not in the answer. With `dry_run` nothing changes.
    pub async fn resend(
        &self,
        destination: &DestinationId,
        missing: &Missing,
        dry_run: bool,
    ) -> Result<Vec<(Seq, EventId)>, StoreError> {
        let (id, wanted) = (destination.clone(), missing.clone());
        if dry_run {
            return self.show(move |connection| lacking(connection, &id, &wanted).map(Lacking::answer)).await;
        }
        let (now, boot) = (self.shared.clock.now(), self.shared.clock.boot());
        let work = move |writer: &mut super::hand::Writer| {
            let lacking = lacking(&writer.connection, &id, &wanted)?;
            for row in &lacking.rows {
                deliveries::put(&writer.connection, now, boot, &id, row, true)?;
            }
            for (seq, _) in &lacking.dead {
                deliveries::requeue(&writer.connection, &id, *seq)?;
            }
            Ok(lacking.answer())
        };
        let found = self.shared.write(Duration::ZERO, work).await?;
        self.shared.redrives.ask(destination, found.iter().map(|(seq, _)| *seq));
        Ok(found)
    }

    /// The dead deliveries of a destination, or of all (`None`), in the order of destination and log. `ids` in the selection
    /// narrow it down; only dead ones are shown.
    pub async fn dead(
        &self,
        destination: Option<&DestinationId>,
        selection: &Selection,
        page: &Page,
    ) -> Result<Vec<DeadLetter>, StoreError> {
        let (id, wanted, page) = (destination.cloned(), selection.clone(), page.clone());
        self.show(move |connection| dead(connection, id.as_ref(), &wanted, &page)).await
    }

    /// What has become of an event at every destination that it belongs to, with all attempts that are kept; empty if there is
    /// no such event.
    pub async fn deliveries_of(&self, event: EventId) -> Result<Vec<Delivery>, StoreError> {
        let (now, boot) = (self.shared.clock.now(), self.shared.clock.boot());
        self.show(move |connection| deliveries_of(connection, now, boot, event)).await
    }

    /// What a worker takes into its queue: the deliveries of this destination that were sent again from now on.
    pub fn redrives(&self, destination: &DestinationId) -> RedriveWatch {
        self.shared.redrives.watch(destination)
    }

    /// One undone or dead delivery.
    pub async fn delivery(&self, destination: &DestinationId, seq: Seq) -> Result<Option<Row>, StoreError> {
        let destination = destination.clone();
        let (now, boot) = (self.shared.clock.now(), self.shared.clock.boot());
        self.read(move |connection| deliveries::get(connection, now, boot, &destination, seq)).await
    }
}

impl ReadStore {
    /// As [`Store::dead`].
    pub fn dead(
        &self,
        destination: Option<&DestinationId>,
        selection: &Selection,
        page: &Page,
    ) -> Result<Vec<DeadLetter>, StoreError> {
        dead(self.connection(), destination, selection, page)
    }

    /// As [`Store::deliveries_of`].
    pub fn deliveries_of(&self, event: EventId) -> Result<Vec<Delivery>, StoreError> {
        // Nothing is due without a clock: the remaining times are shown as they were written.
        deliveries_of(self.connection(), gateway_core::time::Now::default(), Id([0; 16]), event)
    }
}

/// Who has asked for what, until its worker takes it.
#[derive(Default)]
pub(super) struct Redrives {
    asked: Arc<Mutex<BTreeMap<DestinationId, Vec<Seq>>>>,
    moved: Arc<Notify>,
}

impl Redrives {
    fn ask(&self, destination: &DestinationId, seqs: impl Iterator<Item = Seq>) {
        let mut asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        asked.entry(destination.clone()).or_default().extend(seqs);
        drop(asked);
        self.moved.notify_waiters();
    }

    fn watch(&self, destination: &DestinationId) -> RedriveWatch {
        // What was asked for before is in the rows, which the worker reads after this.
        self.asked.lock().unwrap_or_else(PoisonError::into_inner).remove(destination);
        RedriveWatch {
            destination: destination.clone(),
            asked: Arc::clone(&self.asked),
            moved: Arc::clone(&self.moved),
        }
    }
}

/// See [`Store::redrives`].
pub struct RedriveWatch {
    destination: DestinationId,
    asked: Arc<Mutex<BTreeMap<DestinationId, Vec<Seq>>>>,
    moved: Arc<Notify>,
}

impl RedriveWatch {
    /// Takes what was asked for since the last call.
    pub fn take(&self) -> Vec<Seq> {
        let mut asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        asked.remove(&self.destination).unwrap_or_default()
    }

    /// Returns once [`RedriveWatch::take`] has something.
    pub async fn asked(&self) {
        loop {
            let moved = self.moved.notified();
            tokio::pin!(moved);
            // Registered before the look, so that nothing falls in between.
            moved.as_mut().enable();
            if self.asked.lock().unwrap_or_else(PoisonError::into_inner).contains_key(&self.destination) {
                return;
            }
            moved.await;
        }
    }
}

/// What a selection means in SQL: the same parameters in every statement, from number 2 on.
const SELECTED: &str =
    "(?2 IS NULL OR reason_code = ?2) AND (?3 IS NULL OR received_at >= ?3) AND (?4 IS NULL OR received_at < ?4)";

fn selected(
    connection: &Connection,
    destination: &DestinationId,
    selection: &Selection,
) -> Result<Vec<(Seq, EventId)>, StoreError> {
    destinations::position(connection, destination)?;
    let (reason, from, to) = columns(selection);
    let mut found = Vec::new();
    if selection.ids.is_empty() {
        let mut select = connection.prepare_cached(&format!(
            "SELECT events.seq, id FROM deliveries JOIN events USING (seq)
             WHERE destination = ?1 AND deliveries.state = 'dead' AND {SELECTED} ORDER BY events.seq LIMIT ?5"
        ))?;
        let rows = select.query_map(params![destination.0, reason, from, to, REDRIVEN_ROWS_MAX as i64], pair)?;
        return Ok(rows.collect::<Result<_, _>>()?);
    }
    let mut select = connection.prepare_cached(&format!(
        "SELECT events.seq, id FROM events JOIN deliveries USING (seq) WHERE destination = ?1 AND id = ?5 AND {SELECTED}"
    ))?;
    for id in selection.ids.iter().take(REDRIVEN_ROWS_MAX) {
        found.extend(select.query_row(params![destination.0, reason, from, to, id.0], pair).optional()?);
    }
    found.sort_unstable();
    found.dedup();
    Ok(found)
}

fn columns(selection: &Selection) -> (Option<&'static str>, Option<i64>, Option<i64>) {
    (selection.reason.map(ReasonCode::as_str), selection.from.map(|at| at.0), selection.to.map(|at| at.0))
}

fn pair(row: &rusqlite::Row<'_>) -> Result<(Seq, EventId), rusqlite::Error> {
    Ok((Seq(row.get(0)?), Id(row.get(1)?)))
}

fn dead(
    connection: &Connection,
    destination: Option<&DestinationId>,
    selection: &Selection,
    page: &Page,
) -> Result<Vec<DeadLetter>, StoreError> {
    let (reason, from, to) = columns(selection);
    let mut select = connection.prepare_cached(&format!(
        "SELECT destination, events.seq, id, name, analyzer, received_at, ordinal, attempts, reason_code, reason_detail,
                redriven, (SELECT max(at) FROM attempts AS tried
                           WHERE tried.seq = events.seq AND tried.destination = deliveries.destination)
         FROM deliveries JOIN events USING (seq)
         WHERE (?1 IS NULL OR destination = ?1) AND deliveries.state = 'dead' AND {SELECTED}
               AND (?5 IS NULL OR (destination, events.seq) > (?5, ?6))
         ORDER BY destination, events.seq"
    ))?;
    let after = page.after.as_ref().map(|(id, seq)| (&id.0, seq.0));
    let parameters =
        params![destination.map(|id| &id.0), reason, from, to, after.map(|(id, _)| id), after.map(|(_, seq)| seq)];
    let mut found = Vec::new();
    for letter in select.query_map(parameters, dead_letter)? {
        let letter = letter?;
        if selection.ids.is_empty() || selection.ids.contains(&letter.id) {
            found.push(letter);
        }
        if found.len() >= page.limit.min(PAGE_ROWS_MAX) {
            break;
        }
    }
    Ok(found)
}

fn dead_letter(row: &rusqlite::Row<'_>) -> Result<DeadLetter, rusqlite::Error> {
    let code: Option<String> = row.get(8)?;
    // A code of a newer version: the sentence says what it was.
    let code = code.and_then(|code| ReasonCode::from_word(&code)).unwrap_or(ReasonCode::ServerError);
    let detail: Option<String> = row.get(9)?;
    Ok(DeadLetter {
        destination: DestinationId(row.get(0)?),
        seq: Seq(row.get(1)?),
        id: Id(row.get(2)?),
        name: row.get(3)?,
        analyzer: AnalyzerId(row.get(4)?),
        at: Timestamp(row.get(5)?),
        ordinal: row.get::<_, i64>(6)?.cast_unsigned(),
        attempts: row.get(7)?,
        reason: Reason::new(code, detail.unwrap_or_default()),
        redriven: row.get(10)?,
        dead_at: row.get::<_, Option<i64>>(11)?.map(Timestamp),
    })
}

/// What is to be sent again.
#[derive(Default)]
struct Lacking {
    /// Delivered: these rows are new.
    rows: Vec<Row>,
    delivered: Vec<(Seq, EventId)>,
    dead: Vec<(Seq, EventId)>,
}

impl Lacking {
    fn answer(self) -> Vec<(Seq, EventId)> {
        let mut all = self.delivered;
        all.extend(self.dead);
        all.sort_unstable();
        all
    }
}

fn lacking(connection: &Connection, destination: &DestinationId, missing: &Missing) -> Result<Lacking, StoreError> {
    let position = destinations::position(connection, destination)?;
    let mut wanted = Vec::new();
    for range in &missing.ordinals {
        wanted.extend(attempts::of_ordinals(connection, destination, *range)?);
    }
    for id in &missing.ids {
        wanted.extend(events::seq_of(connection, *id)?);
    }
    wanted.sort_unstable();
    wanted.dedup();
    wanted.truncate(REDRIVEN_ROWS_MAX);
    let mut lacking = Lacking::default();
    for seq in wanted {
        let Some(event) = events::get(connection, seq)? else { continue };
        let state: Option<String> = connection
            .prepare_cached("SELECT state FROM deliveries WHERE destination = ?1 AND seq = ?2")?
            .query_row(params![destination.0, seq.0], |row| row.get(0))
            .optional()?;
        match state.as_deref() {
            Some("dead") => lacking.dead.push((seq, event.id)),
            Some(_) => {}
            None if !position.has_passed(seq) => {}
            None => {
                let Some(ordinal) = attempts::ordinal_of(connection, destination, seq)? else { continue };
                let state = DeliveryState::Queued { attempts: 0 };
                let lane = event.lane();
                lacking.rows.push(Row { seq, ordinal, lane, state, redriven: true, historical: false });
                lacking.delivered.push((seq, event.id));
            }
        }
    }
    Ok(lacking)
}

fn deliveries_of(
    connection: &Connection,
    now: gateway_core::time::Now,
    boot: Id,
    event: EventId,
) -> Result<Vec<Delivery>, StoreError> {
    let Some(seq) = events::seq_of(connection, event)? else { return Ok(Vec::new()) };
    let mut found = Vec::new();
    for (destination, _) in destinations::all(connection)? {
        let row = deliveries::get(connection, now, boot, &destination, seq)?;
        if row.is_none() && !Epochs::load(connection, &destination)?.admit_stored(connection, seq)? {
            continue;
        }
        let attempts = attempts::of_event(connection, &destination, seq)?;
        let passed = destinations::position(connection, &destination)?.has_passed(seq);
        let made = u32::try_from(attempts.len()).unwrap_or(u32::MAX);
        let redriven = row.as_ref().is_some_and(|row| row.redriven);
        let state = match row {
            Some(row) => row.state,
            None if passed => DeliveryState::Delivered { attempts: made },
            None => DeliveryState::Queued { attempts: 0 },
        };
        found.push(Delivery { destination, seq, state, redriven, attempts });
    }
    Ok(found)
}
