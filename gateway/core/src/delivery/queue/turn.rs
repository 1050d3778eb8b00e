//! Whose turn it is: what could be started, and when.

use super::super::{DeliveryState, Reason};
use super::Queue;
use crate::event::{Lane, Seq};
use crate::mutants::{Mutant, planted};
use crate::time::Mono;
use std::collections::BTreeSet;

/// An event that could be started, and from when on.
#[derive(Debug, Clone, Copy)]
pub(super) struct Candidate {
    pub(super) seq: Seq,
    pub(super) at: Mono,
    pub(super) retry: bool,
    pub(super) probe: bool,
    historical: bool,
}

impl Candidate {
    /// What is least is first.
    pub(super) fn order(&self) -> (bool, bool, Mono, Seq) {
        (self.historical, !self.retry, if self.retry { self.at } else { Mono(0) }, self.seq)
    }
}

/// Since when there is no network.
#[derive(Debug, Clone)]
pub(super) struct Offline {
    pub(super) since: Mono,
    pub(super) try_at: Mono,
    pub(super) reason: Reason,
}

impl Queue {
    /// What could be started, each with its moment: the first undone event of each lane that has nothing under way.
    pub(super) fn candidates(&self) -> Vec<Candidate> {
        let busy_max = if self.offline.is_some() { 1 } else { self.limits.concurrency.max(1) };
        if self.flights.len() >= busy_max {
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
            if !first || self.is_behind_backlog(slot) {
                continue;
            }
            let redriven = slot.entry.redriven && matches!(slot.entry.state, DeliveryState::Queued { .. });
            let (at, probe) = match &slot.entry.state {
                DeliveryState::Waiting { due, .. } => (*due, false),
                DeliveryState::Held { reason, .. } if super::is_settings(reason) => continue,
                _ if closed || redriven => (slot.not_before, false),
                // One probe at a time, and the oldest.
                _ => match probe_at.take() {
                    Some(at) => (at.max(slot.not_before), true),
                    None => continue,
                },
            };
            let historical = slot.entry.historical;
            let at = if historical { at.max(self.backfill_at) } else { at };
            candidates.push(Candidate { seq: *seq, at, retry: waiting, probe, historical });
        }
        match &self.offline {
            Some(offline) => offline.thinned(candidates),
            None => candidates,
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
