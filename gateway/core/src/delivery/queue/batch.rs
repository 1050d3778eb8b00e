//! How many events go into one request, and which.
//!
//! Invariant: a request holds events in the order of the log, of each lane the oldest undone ones without a hole; and what it is
//! marked with (sent again, historical) holds for each of them.

use super::super::DeliveryState;
use super::super::plan::Start;
use super::{Flight, Queue};
use crate::event::{Lane, Seq};
use crate::time::Now;
use std::collections::BTreeMap;
use std::time::Duration;

/// After so many requests that were taken, twice as many events may go into one.
const GROWS_AFTER: u32 = 8;

/// How many events may go into one request now: fewer after a refusal, since it says nothing about a single one.
#[derive(Debug, Clone, Copy)]
pub(super) struct BatchSize {
    max: usize,
    now: usize,
    delivered: u32,
}

impl BatchSize {
    pub(super) fn new(max: usize) -> BatchSize {
        BatchSize { max: max.max(1), now: max.max(1), delivered: 0 }
    }

    pub(super) fn halve(&mut self, events: usize) {
        *self = BatchSize { now: (events / 2).max(1), delivered: 0, ..*self };
    }

    pub(super) fn delivered(&mut self) {
        self.delivered += 1;
        if self.delivered >= GROWS_AFTER {
            *self = BatchSize { now: (self.now * 2).min(self.max), delivered: 0, ..*self };
        }
    }
}

impl Queue {
    /// Begins the attempts that go into the same request as the one that [`Queue::next`] has just given: the following ones of
    /// its lane, and the ready ones of lanes that are free. Empty where events go singly. A probe goes alone.
    pub fn company(&mut self, leader: Seq, now: Now) -> Vec<Start> {
        let Some(first) = self.undone.get(&leader) else { return Vec::new() };
        let alone = self.breaker.probe_at().is_some() || self.offline.is_some();
        let mut room = self.batch.now - 1;
        if let Some(per_second) = self.limits.backfill_per_second_max.filter(|_| first.entry.historical) {
            room = room.min((per_second as usize).saturating_sub(1));
        }
        if alone || room == 0 {
            return Vec::new();
        }
        let marks = (first.entry.redriven, first.entry.historical);
        // Whether a lane's next event may come along: not if one of the lane is under way in another request.
        let under_way = self.undone.iter().filter(|(seq, slot)| slot.flight.is_some() && **seq != leader);
        let mut open: BTreeMap<&Lane, bool> = under_way.map(|(_, slot)| (&slot.entry.lane, false)).collect();
        let mut chosen = Vec::new();
        for (seq, slot) in self.undone.iter().filter(|(seq, _)| **seq != leader) {
            let lane_open = open.entry(&slot.entry.lane).or_insert(true);
            let fits = *lane_open && (slot.entry.redriven, slot.entry.historical) == marks && self.is_ready(slot, now);
            *lane_open &= fits;
            if fits {
                chosen.push(*seq);
            }
            if chosen.len() == room {
                break;
            }
        }
        chosen.into_iter().filter_map(|seq| self.take_off(leader, seq, false, now)).collect()
    }

    /// Whether this event could be sent now, as far as it alone is concerned.
    fn is_ready(&self, slot: &super::Slot, now: Now) -> bool {
        let due = match &slot.entry.state {
            DeliveryState::Queued { .. } => slot.not_before,
            DeliveryState::Waiting { due, .. } => *due,
            _ => return false,
        };
        due <= now.mono && !self.is_behind_backlog(slot)
    }

    /// Begins an attempt in the request of `leader`.
    pub(super) fn take_off(&mut self, leader: Seq, seq: Seq, probe: bool, now: Now) -> Option<Start> {
        let slot = self.undone.get_mut(&seq)?;
        slot.flight = Some(Flight { probe, opening: self.breaker.openings });
        let members = self.flights.entry(leader).or_default();
        members.insert(members.partition_point(|member| *member < seq), seq);
        let entry = &slot.entry;
        if let Some(per_second) = self.limits.backfill_per_second_max.filter(|_| entry.historical) {
            let pause = Duration::from_secs(1) / per_second.max(1);
            self.backfill_at = self.backfill_at.max(now.mono).after(pause);
        }
        let attempt = entry.state.attempts().saturating_add(1);
        let (ordinal, redriven, historical) = (entry.ordinal, entry.redriven, entry.historical);
        Some(Start { seq, ordinal, attempt, redriven, historical })
    }
}
