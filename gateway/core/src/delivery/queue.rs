//! The pure scheduling of one destination: which event is tried when, and what has to be written about it.
//!
//! The dispatcher performs what this decides: it offers events from the log, starts what [`Queue::next`] gives, writes
//! the [`Changes`] of [`Queue::finish`] in one transaction before it does anything else with them, and asks again at
//! [`Queue::deadline`].
//!
//! Constraints, in the order of their weight:
//! - Everything at or below the cursor without a row is done. Only a finished attempt moves the cursor past a member, with
//!   a row for every undone event that it passes, in the same [`Changes`].
//! - A lost [`Changes`] (a crash, a failed write) costs at most a repeated attempt: build the queue anew from the store.
//! - One attempt of a lane at a time, and a lane's later event only after the earlier one is delivered or dead.
//! - No more than `ahead_events_max` undone events are known here, so no more than that many rows exist besides the dead.
//! - A first-try success in order costs a cursor move and no row. While the breaker is open the cursor stands still.
//! - An attempt that says nothing about its event is none: a failed probe and a missing network leave event, count and
//!   table untouched. So an endpoint may be wrong for a week without using up the attempts of what waits for it.
//! - Without network the due times are moved once, when it is back; writing them every five seconds would wear the disk.
//!   So a crash during that time may cost one early retry, never a lost one.

use super::breaker::{Breaker, LANES_FAILED_MAX};
use super::plan::{Changes, DestinationView, Entry, Limits, Start};
use super::{DeliveryState, Jitter, Outcome, Reason, ReasonCode, RetrySchedule, advance};
use crate::event::{Lane, Seq};
use crate::mutants::{Mutant, planted};
use crate::time::{Mono, Now};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound::{Excluded, Unbounded};
use std::time::Duration;

/// The pause between two tries while there is no network.
const NO_NETWORK_PAUSE: Duration = Duration::from_secs(5);
/// So many events that are none of ours may be looked through before it is worth a write.
const SKIPPED_SEQS_MAX: i64 = 1024;

/// See the module.
#[derive(Debug, Clone)]
pub struct Queue {
    schedule: RetrySchedule,
    limits: Limits,
    /// As written.
    cursor: Seq,
    /// The last ordinal given out, to the newest event offered.
    ordinal: u64,
    /// Up to here the log was looked through; every member between the cursor and this is in `undone`.
    looked: Seq,
    undone: BTreeMap<Seq, Slot>,
    dead: BTreeMap<Seq, Entry>,
    in_flight: usize,
    breaker: Breaker,
    offline: Option<Offline>,
}

#[derive(Debug, Clone)]
struct Slot {
    entry: Entry,
    /// The first delay of the table, where it is not zero.
    not_before: Mono,
    flight: Option<Flight>,
}

/// An attempt under way.
#[derive(Debug, Clone, Copy)]
struct Flight {
    /// Whether it asks for the endpoint's health rather than for its event's turn.
    probe: bool,
    /// How often the breaker had opened when it began.
    opening: u64,
}

#[derive(Debug, Clone)]
struct Offline {
    since: Mono,
    try_at: Mono,
    reason: Reason,
}

/// An event that could be started, and from when on.
#[derive(Debug, Clone, Copy)]
struct Candidate {
    seq: Seq,
    at: Mono,
    retry: bool,
    probe: bool,
}

impl Queue {
    /// A destination as the store remembers it: `ordinal` is the count at the cursor, `rows` are the undone events up to
    /// it. An attempt that was under way at a crash is simply made again.
    pub fn new(
        schedule: RetrySchedule,
        limits: Limits,
        cursor: Seq,
        ordinal: u64,
        rows: impl IntoIterator<Item = (Seq, Entry)>,
        now: Now,
    ) -> Queue {
        let mut queue = Queue {
            schedule,
            limits,
            cursor,
            ordinal,
            looked: cursor,
            undone: BTreeMap::new(),
            dead: BTreeMap::new(),
            in_flight: 0,
            breaker: Breaker::default(),
            offline: None,
        };
        for (seq, entry) in rows {
            match entry.state {
                DeliveryState::Delivered { .. } => {}
                DeliveryState::Dead { .. } => drop(queue.dead.insert(seq, entry)),
                _ => drop(queue.undone.insert(seq, Slot { entry, not_before: now.mono, flight: None })),
            }
        }
        queue.reopen_breaker(now);
        queue
    }

    /// How many further events of the log it would like to be offered, from [`Queue::looked`] on; `None` if none. With an
    /// open breaker or without network one event is enough to try with, and there usually is one.
    pub fn wants_events(&self) -> Option<usize> {
        let room = self.limits.ahead_events_max.max(1).saturating_sub(self.undone.len());
        let stands_still = self.breaker.probe_at().is_some() || self.offline.is_some();
        let has_trial = || {
            let idle = |candidate: &Candidate| candidate.probe || !candidate.retry;
            self.in_flight > 0 || self.candidates().iter().any(idle)
        };
        (room > 0 && !(stands_still && has_trial())).then_some(room)
    }

    /// Up to here the log was looked through: where to read on.
    pub fn looked(&self) -> Seq {
        self.looked
    }

    /// Takes the next member event of the log and gives it the next ordinal. In the order of seq; one that was offered
    /// before is ignored.
    pub fn offer(&mut self, seq: Seq, lane: Lane, now: Now) {
        if seq <= self.looked {
            return;
        }
        self.looked = seq;
        self.ordinal += 1;
        let state = DeliveryState::Queued { attempts: 0 };
        let entry = Entry { ordinal: self.ordinal, lane, state, redriven: false };
        let not_before = now.mono.after(self.schedule.delay_after(0).unwrap_or_default());
        self.undone.insert(seq, Slot { entry, not_before, flight: None });
    }

    /// The log was looked through to `seq` and everything offered that belongs here. A write is asked for only once a
    /// thousand events of others were passed, so that a restart does not read them all again.
    pub fn skip_to(&mut self, seq: Seq) -> Changes {
        self.looked = self.looked.max(seq);
        let mut changes = Changes::default();
        let nothing_ahead = self.undone.range((Excluded(self.cursor), Unbounded)).next().is_none();
        if nothing_ahead && self.looked.0 - self.cursor.0 >= SKIPPED_SEQS_MAX {
            self.move_cursor(self.cursor, &mut changes);
        }
        changes
    }

    /// The next attempt to begin now: retries by their due time first, then the oldest of the others. Call it until it
    /// gives none.
    pub fn next(&mut self, now: Now) -> Option<Start> {
        let order = |candidate: &Candidate| match candidate.retry {
            true => (0, candidate.at, candidate.seq),
            false => (1, Mono(0), candidate.seq),
        };
        let ready = self.candidates().into_iter().filter(|candidate| candidate.at <= now.mono);
        let chosen = ready.min_by_key(order)?;
        let slot = self.undone.get_mut(&chosen.seq)?;
        slot.flight = Some(Flight { probe: chosen.probe, opening: self.breaker.openings });
        self.in_flight += 1;
        let entry = &slot.entry;
        let attempt = entry.state.attempts().saturating_add(1);
        Some(Start { seq: chosen.seq, ordinal: entry.ordinal, attempt, redriven: entry.redriven })
    }

    /// When [`Queue::next`] should be asked again if nothing else happens; `None` if only an answer or an offer can help.
    pub fn deadline(&self, now: Now) -> Option<Mono> {
        self.candidates().iter().map(|candidate| candidate.at.max(now.mono)).min()
    }

    /// An attempt has ended.
    pub fn finish(&mut self, seq: Seq, outcome: &Outcome, now: Now, jitter: Jitter) -> Changes {
        let mut changes = Changes::default();
        let Some(slot) = self.undone.get_mut(&seq) else { return changes };
        let Some(flight) = slot.flight.take() else { return changes };
        let (lane, before) = (slot.entry.lane.clone(), slot.entry.state.clone());
        self.in_flight -= 1;
        if let Outcome::NoNetwork { reason } = outcome {
            let since = self.offline.as_ref().map_or(now.mono, |offline| offline.since);
            let try_at = now.mono.after(NO_NETWORK_PAUSE);
            self.offline = Some(Offline { since, try_at, reason: reason.clone() });
            return changes;
        }
        if is_ours(outcome) {
            // The request was never made, so it says nothing about the endpoint.
            changes.counted = true;
            self.settle(seq, advance(&before, outcome, &self.schedule, now, jitter), &mut changes);
            return changes;
        }
        self.back_online(now, &mut changes);
        let mut closed = false;
        let mut outcome = outcome.clone();
        match &outcome {
            Outcome::Delivered => closed = self.breaker.delivered(flight.opening),
            Outcome::Rejected { reason } => {
                let (hold, closes) = self.breaker.refused(&lane, reason, flight.opening, now);
                closed = closes;
                if let Some(reason) = hold {
                    outcome = Outcome::Held { reason };
                }
            }
            Outcome::Retryable { reason, .. } => self.breaker.failed(&lane, reason, now),
            Outcome::Held { reason } => self.breaker.held(reason, now),
            Outcome::NoNetwork { .. } => {}
        }
        if flight.probe
            && let Some((reason, asked)) = failure(&outcome)
        {
            self.breaker.probe_failed(reason, asked.min(self.schedule.retry_after_max), now);
            return changes;
        }
        changes.counted = true;
        self.settle(seq, advance(&before, &outcome, &self.schedule, now, jitter), &mut changes);
        if closed {
            self.release_held(now, &mut changes);
        }
        changes
    }

    /// The event turned out to have no form in this destination's dialect: it is done, without an attempt.
    pub fn pass(&mut self, seq: Seq) -> Changes {
        let mut changes = Changes::default();
        if let Some(slot) = self.undone.get_mut(&seq) {
            self.in_flight -= usize::from(slot.flight.take().is_some());
            let attempts = slot.entry.state.attempts();
            self.settle(seq, DeliveryState::Delivered { attempts }, &mut changes);
        }
        changes
    }

    /// A person sends an event again that is dead, held or waiting: at once, marked, with the whole table before it.
    pub fn redrive(&mut self, seq: Seq) -> Changes {
        let mut changes = Changes::default();
        if let Some(entry) = self.dead.remove(&seq) {
            self.undone.insert(seq, Slot { entry, not_before: Mono(0), flight: None });
        }
        if let Some(slot) = self.undone.get_mut(&seq)
            && slot.flight.is_none()
            && seq <= self.cursor
        {
            slot.entry.state = DeliveryState::Queued { attempts: 0 };
            slot.entry.redriven = true;
            slot.not_before = Mono(0);
            changes.rows.push((seq, slot.entry.clone()));
        }
        changes
    }

    /// The settings of this destination have changed: whatever was held may go now.
    pub fn settings_changed(&mut self, schedule: RetrySchedule, now: Now) -> Changes {
        let mut changes = Changes::default();
        self.schedule = schedule;
        self.breaker.reset();
        self.release_held(now, &mut changes);
        changes
    }

    /// The state at a glance.
    pub fn view(&self) -> DestinationView {
        let held = |slot: &&Slot| matches!(slot.entry.state, DeliveryState::Held { .. });
        let offline = self.offline.as_ref().map(|offline| &offline.reason);
        DestinationView {
            undone: self.undone.len(),
            dead: self.dead.len(),
            held: self.undone.values().filter(held).count(),
            breaker: offline.or(self.breaker.reason()).cloned(),
            oldest_undone: self.undone.keys().next().copied(),
        }
    }

    /// What could be started, each with its moment: the first undone event of each lane that has nothing under way.
    fn candidates(&self) -> Vec<Candidate> {
        let busy_max = if self.offline.is_some() { 1 } else { self.limits.concurrency.max(1) };
        if self.in_flight >= busy_max {
            return Vec::new();
        }
        let mut probe_at = self.breaker.probe_at();
        let closed = probe_at.is_none();
        if self.undone.values().any(|slot| slot.flight.is_some_and(|flight| flight.probe)) {
            probe_at = None;
        }
        // A redriven event may stand before one that is already under way.
        let under_way = self.undone.values().filter(|slot| slot.flight.is_some());
        let mut lanes: BTreeSet<&Lane> = under_way.map(|slot| &slot.entry.lane).collect();
        let mut candidates = Vec::new();
        for (seq, slot) in &self.undone {
            let waiting = matches!(slot.entry.state, DeliveryState::Waiting { .. });
            let first = !lanes.contains(&slot.entry.lane);
            if !(planted(Mutant::LaneOvertakes) && waiting) {
                lanes.insert(&slot.entry.lane);
            }
            if !first {
                continue;
            }
            let redriven = slot.entry.redriven && matches!(slot.entry.state, DeliveryState::Queued { .. });
            let (at, probe) = match &slot.entry.state {
                DeliveryState::Waiting { due, .. } => (*due, false),
                _ if closed || redriven => (slot.not_before, false),
                // One probe at a time, and the oldest.
                _ => match probe_at.take() {
                    Some(at) => (at.max(slot.not_before), true),
                    None => continue,
                },
            };
            candidates.push(Candidate { seq: *seq, at, retry: waiting, probe });
        }
        match &self.offline {
            Some(offline) => offline.thinned(candidates),
            None => candidates,
        }
    }

    /// Gives an undone event its new state, and moves the cursor to it if it stood before it.
    fn settle(&mut self, seq: Seq, state: DeliveryState, changes: &mut Changes) {
        let Some(slot) = self.undone.get_mut(&seq) else { return };
        slot.entry.state = state;
        let entry = slot.entry.clone();
        if entry.state.is_settled() {
            self.undone.remove(&seq);
        }
        if let DeliveryState::Dead { .. } = entry.state {
            self.dead.insert(seq, entry.clone());
        }
        let delivered = matches!(entry.state, DeliveryState::Delivered { .. });
        if seq <= self.cursor || !delivered {
            changes.rows.push((seq, entry));
        }
        if seq > self.cursor {
            self.move_cursor(seq, changes);
        }
    }

    /// Moves the cursor over `through` and what follows it that is none of ours, with a row for each undone event passed.
    fn move_cursor(&mut self, through: Seq, changes: &mut Changes) {
        for (seq, slot) in self.undone.range((Excluded(self.cursor), Excluded(Seq(through.0.saturating_add(1))))) {
            if !changes.rows.iter().any(|(known, _)| known == seq) {
                changes.rows.push((*seq, slot.entry.clone()));
            }
        }
        let next = self.undone.range((Excluded(through), Unbounded)).next();
        let (cursor, ordinal) = match next {
            Some((seq, slot)) => (Seq(seq.0 - 1), slot.entry.ordinal - 1),
            None => (self.looked, self.ordinal),
        };
        self.cursor = cursor;
        changes.cursor = Some((cursor, ordinal));
    }

    /// Makes every held event due.
    fn release_held(&mut self, now: Now, changes: &mut Changes) {
        for (seq, slot) in &mut self.undone {
            if let DeliveryState::Held { attempts, reason } = &slot.entry.state
                && slot.flight.is_none()
            {
                let (attempts, reason) = (*attempts, reason.clone());
                slot.entry.state = DeliveryState::Waiting { attempts, due: now.mono, reason };
                changes.rows.push((*seq, slot.entry.clone()));
            }
        }
    }

    /// An answer of whatever kind came: the schedule goes on where it stood when the network was lost.
    fn back_online(&mut self, now: Now, changes: &mut Changes) {
        let Some(offline) = self.offline.take() else { return };
        let lost = now.mono.since(offline.since);
        for (seq, slot) in &mut self.undone {
            if slot.not_before > offline.since {
                slot.not_before = slot.not_before.after(lost);
            }
            if let DeliveryState::Waiting { due, .. } = &mut slot.entry.state
                && *due > offline.since
            {
                *due = due.after(lost);
                changes.rows.push((*seq, slot.entry.clone()));
            }
        }
    }

    /// After a restart: the rows show whether the endpoint was being left alone.
    fn reopen_breaker(&mut self, now: Now) {
        let (mut held, mut waiting, mut lanes) = (None, None, BTreeSet::new());
        for slot in self.undone.values() {
            match &slot.entry.state {
                DeliveryState::Held { reason, .. } => held = Some(reason),
                DeliveryState::Waiting { reason, .. } => {
                    lanes.insert(&slot.entry.lane);
                    waiting = Some(reason);
                }
                _ => {}
            }
        }
        let waiting = waiting.filter(|_| lanes.len() >= LANES_FAILED_MAX);
        if let Some(reason) = held.or(waiting).cloned() {
            self.breaker.reopen(&reason, now.mono);
        }
    }
}

impl Offline {
    /// Without network one event is tried, the oldest of those whose turn it was. Time stands still for the others.
    fn thinned(&self, candidates: Vec<Candidate>) -> Vec<Candidate> {
        let was_due = candidates.iter().find(|candidate| candidate.at <= self.since).copied();
        let chosen = was_due.or_else(|| candidates.into_iter().min_by_key(|candidate| candidate.at));
        chosen.map(|chosen| Candidate { at: chosen.at.max(self.try_at), ..chosen }).into_iter().collect()
    }
}

/// Whether the outcome is the gateway's own doing, so that no request was made.
fn is_ours(outcome: &Outcome) -> bool {
    let Outcome::Rejected { reason } = outcome else { return false };
    matches!(reason.code, ReasonCode::CannotRender | ReasonCode::DataEvicted)
}

/// Why the endpoint is not well, and how long it asks to be left alone.
fn failure(outcome: &Outcome) -> Option<(&Reason, Duration)> {
    match outcome {
        Outcome::Retryable { reason, retry_after } => Some((reason, retry_after.unwrap_or_default())),
        Outcome::Held { reason } => Some((reason, Duration::ZERO)),
        _ => None,
    }
}
