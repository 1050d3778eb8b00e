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
//! - One attempt of a lane at a time, and a lane's later event only after the earlier one is delivered or dead, or with it in
//!   one request.
//! - No more than `ahead_events_max` undone events are known here, so no more than that many rows exist besides the dead.
//! - A first-try success in order costs a cursor move and no row. While the breaker is open the cursor stands still.
//! - An attempt that says nothing about its event is none: a failed probe and a missing network leave event, count and
//!   table untouched. So an endpoint may be wrong for a week without using up the attempts of what waits for it.
//! - Without network the due times are moved once, when it is back; writing them every five seconds would wear the disk.
//!   So a crash during that time may cost one early retry, never a lost one.
//! - After an outage the log has two parts ([`parts`]), each with a cursor that keeps the first rule; live events go first.

mod batch;
mod parts;
mod turn;

use super::breaker::{Breaker, LANES_FAILED_MAX};
use super::plan::{Changes, DestinationView, Entry, Limits, LivePart, Start};
use super::{DeliveryState, Jitter, Outcome, Reason, ReasonCode, RetrySchedule, advance};
use crate::event::{Lane, Seq};
use crate::time::{Mono, Now};
use batch::BatchSize;
use parts::{Live, Part};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use turn::Offline;

/// The pause between two tries while there is no network.
const NO_NETWORK_PAUSE: Duration = Duration::from_secs(5);

/// See the module.
#[derive(Debug, Clone)]
pub struct Queue {
    schedule: RetrySchedule,
    limits: Limits,
    /// The log, or its older part while there are two.
    back: Part,
    live: Option<Live>,
    undone: BTreeMap<Seq, Slot>,
    dead: BTreeMap<Seq, Entry>,
    /// Requests under way: the events of each, by the one that was chosen first.
    flights: BTreeMap<Seq, Vec<Seq>>,
    batch: BatchSize,
    /// The backlog's next event is not due before.
    backfill_at: Mono,
    breaker: Breaker,
    offline: Option<Offline>,
    /// The endpoint has just become well, or nobody has looked yet: a backlog may be set apart.
    recovered: bool,
}

#[derive(Debug, Clone)]
struct Slot {
    entry: Entry,
    /// The first delay of the table, where it is not zero.
    not_before: Mono,
    /// A live event: the newest earlier one of its lane in the backlog, which has to be known here first.
    waits_for: Option<Seq>,
    flight: Option<Flight>,
}

impl Slot {
    fn new(entry: Entry, not_before: Mono) -> Slot {
        Slot { entry, not_before, waits_for: None, flight: None }
    }
}

/// An attempt under way.
#[derive(Debug, Clone, Copy)]
struct Flight {
    /// Whether it asks for the endpoint's health rather than for its event's turn.
    probe: bool,
    /// How often the breaker had opened when it began.
    opening: u64,
}

impl Queue {
    /// A destination as the store remembers it: `ordinal` is the count at the cursor, `rows` are the undone events that were
    /// passed. An attempt that was under way at a crash is simply made again; what the settings held is tried with the present ones.
    pub fn new(
        schedule: RetrySchedule,
        limits: Limits,
        (cursor, ordinal): (Seq, u64),
        live: Option<LivePart>,
        rows: impl IntoIterator<Item = (Seq, Entry)>,
        now: Now,
    ) -> Queue {
        let mut queue = Queue {
            schedule,
            limits,
            back: Part::at(cursor, ordinal),
            live: live.map(|live| Live { split: live.split, part: Part::at(live.cursor, live.ordinal) }),
            undone: BTreeMap::new(),
            dead: BTreeMap::new(),
            flights: BTreeMap::new(),
            batch: BatchSize::new(limits.batch),
            backfill_at: Mono(0),
            breaker: Breaker::default(),
            offline: None,
            recovered: true,
        };
        for (seq, mut entry) in rows {
            entry.historical |= live.is_some_and(|live| seq <= live.split);
            match entry.state {
                DeliveryState::Delivered { .. } => continue,
                DeliveryState::Dead { .. } => {
                    queue.dead.insert(seq, entry);
                    continue;
                }
                DeliveryState::Held { attempts, ref reason } if is_settings(reason) => {
                    entry.state = DeliveryState::Queued { attempts };
                }
                _ => {}
            }
            queue.undone.insert(seq, Slot::new(entry, now.mono));
        }
        queue.reopen_breaker(now);
        queue
    }

    /// Takes the next member event of the log, or of the backlog, and gives it the next ordinal. In the order of seq; one that was
    /// offered before is ignored.
    pub fn offer(&mut self, seq: Seq, lane: Lane, now: Now) {
        let historical = self.live.is_some() && !self.is_live(seq);
        let part = self.part_mut(seq);
        if seq <= part.looked {
            return;
        }
        part.looked = seq;
        part.ordinal += 1;
        let (ordinal, state) = (part.ordinal, DeliveryState::Queued { attempts: 0 });
        let entry = Entry { ordinal, lane, state, redriven: false, historical };
        let not_before = now.mono.after(self.schedule.delay_after(0).unwrap_or_default());
        self.undone.insert(seq, Slot::new(entry, not_before));
    }

    /// The next attempt to begin now: live events before the backlog, retries by their due time first, then the oldest of the
    /// others. Call it until it gives none; [`Queue::company`] says what else goes into the same request.
    pub fn next(&mut self, now: Now) -> Option<Start> {
        let ready = self.candidates().into_iter().filter(|candidate| candidate.at <= now.mono);
        let chosen = ready.min_by_key(turn::Candidate::order)?;
        self.flights.insert(chosen.seq, Vec::new());
        self.take_off(chosen.seq, chosen.seq, chosen.probe, now)
    }

    /// When [`Queue::next`] should be asked again if nothing else happens; `None` if only an answer or an offer can help.
    pub fn deadline(&self, now: Now) -> Option<Mono> {
        self.candidates().iter().map(|candidate| candidate.at.max(now.mono)).min()
    }

    /// The request that began with `leader` has ended: so has the attempt of every event in it.
    pub fn finish(&mut self, leader: Seq, outcome: &Outcome, now: Now, jitter: Jitter) -> Changes {
        let mut changes = Changes::default();
        let members = self.flights.remove(&leader).unwrap_or_default();
        let flights: Vec<Flight> = members.iter().filter_map(|seq| self.undone.get_mut(seq)?.flight.take()).collect();
        let (Some(first), Some(flight)) = (members.first(), flights.first().copied()) else { return changes };
        if let Outcome::NoNetwork { reason } = outcome {
            let since = self.offline.as_ref().map_or(now.mono, |offline| offline.since);
            let try_at = now.mono.after(NO_NETWORK_PAUSE);
            self.offline = Some(Offline { since, try_at, reason: reason.clone() });
            return changes;
        }
        let ours = is_ours(outcome);
        if !ours {
            self.back_online(now, &mut changes);
        }
        if members.len() > 1 && (ours || matches!(outcome, Outcome::Rejected { .. })) {
            // One of them is at fault, or only their number: nobody knows which. Fewer go at once.
            self.batch.halve(members.len());
            return changes;
        }
        let mut closed = false;
        let mut outcome = outcome.clone();
        if !ours {
            let Some(lane) = self.undone.get(first).map(|slot| slot.entry.lane.clone()) else { return changes };
            match &outcome {
                Outcome::Delivered => {
                    self.batch.delivered();
                    closed = self.breaker.delivered(flight.opening);
                }
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
        }
        changes.counted = true;
        for seq in members {
            let Some(slot) = self.undone.get(&seq) else { continue };
            let after = advance(&slot.entry.state, &outcome, &self.schedule, now, jitter);
            self.settle(seq, after, &mut changes);
        }
        if closed {
            self.recovered = true;
            self.release_held(false, now, &mut changes);
        }
        changes
    }

    /// The event turned out to have no form in this destination's dialect: it is done, without an attempt.
    pub fn pass(&mut self, seq: Seq) -> Changes {
        let mut changes = Changes::default();
        if let Some(slot) = self.undone.get_mut(&seq) {
            slot.flight = None;
            let attempts = slot.entry.state.attempts();
            for members in self.flights.values_mut() {
                members.retain(|member| *member != seq);
            }
            self.flights.retain(|_, members| !members.is_empty());
            self.settle(seq, DeliveryState::Delivered { attempts }, &mut changes);
        }
        changes
    }

    /// A person sends an event again that is dead, held or waiting: at once, marked, with the whole table before it. One that is
    /// under way is marked, and its table begins anew with this attempt. `None`: the event is not known here.
    pub fn redrive(&mut self, seq: Seq) -> Option<Changes> {
        if let Some(entry) = self.dead.remove(&seq) {
            self.undone.insert(seq, Slot::new(entry, Mono(0)));
        }
        let passed = self.has_passed(seq);
        let slot = self.undone.get_mut(&seq)?;
        let mut changes = Changes::default();
        if passed {
            slot.entry.state = DeliveryState::Queued { attempts: 0 };
            slot.entry.redriven = true;
            slot.not_before = Mono(0);
            changes.rows.push((seq, slot.entry.clone()));
        }
        Some(changes)
    }

    /// Takes in an undone row that the store has got beside this queue: a delivered event that is to be sent again.
    pub fn adopt(&mut self, seq: Seq, entry: Entry) {
        let known = self.undone.contains_key(&seq) || self.dead.contains_key(&seq);
        if !known && !entry.state.is_settled() && self.has_passed(seq) {
            self.undone.insert(seq, Slot::new(entry, Mono(0)));
        }
    }

    /// How many undone events are known here.
    pub fn undone(&self) -> usize {
        self.undone.len()
    }

    /// The settings of this destination have changed: whatever was held may go now.
    pub fn settings_changed(&mut self, schedule: RetrySchedule, now: Now) -> Changes {
        let mut changes = Changes::default();
        self.schedule = schedule;
        self.breaker.reset();
        self.release_held(true, now, &mut changes);
        changes
    }

    /// The state at a glance.
    pub fn view(&self) -> DestinationView {
        let reason = |slot: &'_ Slot| match &slot.entry.state {
            DeliveryState::Held { reason, .. } => Some(reason.clone()),
            _ => None,
        };
        let held: Vec<Reason> = self.undone.values().filter_map(reason).collect();
        let offline = self.offline.as_ref().map(|offline| &offline.reason);
        DestinationView {
            undone: self.undone.len(),
            dead: self.dead.len(),
            held: held.len(),
            breaker: offline.or(self.breaker.reason()).cloned(),
            held_for: held.into_iter().find(is_settings),
            oldest_undone: self.undone.keys().next().copied(),
            older_key: false,
        }
    }

    /// Makes every held event due; those that the settings hold only if the settings are others now.
    fn release_held(&mut self, settings_too: bool, now: Now, changes: &mut Changes) {
        for (seq, slot) in &mut self.undone {
            if let DeliveryState::Held { attempts, reason } = &slot.entry.state
                && slot.flight.is_none()
                && (settings_too || !is_settings(reason))
            {
                let (attempts, reason) = (*attempts, reason.clone());
                slot.entry.state = DeliveryState::Waiting { attempts, due: now.mono, reason };
                // An earlier row of the same event in these changes is older than this one.
                changes.rows.push((*seq, slot.entry.clone()));
            }
        }
    }

    /// An answer of whatever kind came: the schedule goes on where it stood when the network was lost.
    fn back_online(&mut self, now: Now, changes: &mut Changes) {
        let Some(offline) = self.offline.take() else { return };
        self.recovered = true;
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

/// Whether the outcome is the gateway's own doing, so that no request was made.
fn is_ours(outcome: &Outcome) -> bool {
    match outcome {
        Outcome::Rejected { reason } => matches!(reason.code, ReasonCode::CannotRender | ReasonCode::DataEvicted),
        Outcome::Held { reason } => is_settings(reason),
        _ => false,
    }
}

/// Whether this holds one event, and not the endpoint.
fn is_settings(reason: &Reason) -> bool {
    reason.code == ReasonCode::BadSettings
}

/// Why the endpoint is not well, and how long it asks to be left alone.
fn failure(outcome: &Outcome) -> Option<(&Reason, Duration)> {
    match outcome {
        Outcome::Retryable { reason, retry_after } => Some((reason, retry_after.unwrap_or_default())),
        Outcome::Held { reason } => Some((reason, Duration::ZERO)),
        _ => None,
    }
}
