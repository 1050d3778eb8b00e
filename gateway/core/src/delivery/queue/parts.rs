//! The one or two parts of the log that a destination has before it, and their cursors.
//!
//! After an outage a long backlog is set apart: what is newer than the split is the live part, with a cursor of its own, and goes
//! first. Each part keeps the queue's first rule by itself. When the backlog's cursor has reached the split, the parts are one
//! again. Ordinals are those of the log's order all along: the backlog's events are counted once, when it is set apart.
//!
//! Invariants: a live event waits until every earlier one of its lane is known here, so that the lanes' own order holds it back;
//! neither part can take the other's room.

use super::super::DeliveryState;
use super::super::plan::{Changes, LiveMove, LivePart};
use super::{Queue, Slot};
use crate::event::Seq;
use crate::mutants::{Mutant, planted};
use std::ops::Bound::{Excluded, Included, Unbounded};

/// So many events that are none of ours may be looked through before it is worth a write.
const SKIPPED_SEQS_MAX: i64 = 1024;

/// A stretch of the log and how far it was worked through.
#[derive(Debug, Clone, Copy)]
pub(super) struct Part {
    /// As written.
    pub(super) cursor: Seq,
    /// Ordinals given out up to the cursor.
    pub(super) at_cursor: u64,
    /// Up to here the log was looked through; every member between the cursor and this is in `undone`.
    pub(super) looked: Seq,
    /// The last ordinal given out, to the newest event offered.
    pub(super) ordinal: u64,
}

impl Part {
    pub(super) fn at(cursor: Seq, ordinal: u64) -> Part {
        Part { cursor, at_cursor: ordinal, looked: cursor, ordinal }
    }
}

/// The newer part, while there are two.
#[derive(Debug, Clone, Copy)]
pub(super) struct Live {
    /// The last seq of the older part.
    pub(super) split: Seq,
    pub(super) part: Part,
}

impl Queue {
    /// How many further events of the log it would like to be offered, from [`Queue::looked`] on; `None` if none. With an
    /// open breaker or without network one event is enough to try with, and there usually is one.
    pub fn wants_events(&self) -> Option<usize> {
        let ahead_max = self.limits.ahead_events_max.max(1);
        let mut room = ahead_max.saturating_sub(self.undone.len());
        if let Some(live) = &self.live {
            let known = self.undone.range((Excluded(live.split), Unbounded)).count();
            room = room.min((ahead_max - self.backlog_max()).saturating_sub(known));
        }
        (room > 0 && !self.stands_still()).then_some(room)
    }

    /// The same for the backlog, from [`Queue::looked_in_backlog`] on; `None` while there is no backlog set apart.
    pub fn wants_backlog(&self) -> Option<usize> {
        let live = self.live.as_ref().filter(|live| self.back.looked < live.split)?;
        let known = self.undone.range(..=live.split).count();
        let room = self.limits.ahead_events_max.max(1).saturating_sub(self.undone.len());
        let room = room.min(self.backlog_max().saturating_sub(known));
        (room > 0 && !self.stands_still()).then_some(room)
    }

    /// Up to here the log was looked through: where to read on.
    pub fn looked(&self) -> Seq {
        self.live.map_or(self.back.looked, |live| live.part.looked)
    }

    /// Where to read on in the backlog.
    pub fn looked_in_backlog(&self) -> Seq {
        self.back.looked
    }

    /// The last ordinal given out, at [`Queue::looked`].
    pub fn ordinal(&self) -> u64 {
        self.live.map_or(self.back.ordinal, |live| live.part.ordinal)
    }

    /// Where the live part begins, while there is one.
    pub fn split(&self) -> Option<Seq> {
        self.live.map(|live| live.split)
    }

    /// The log was looked through to `seq` (in the backlog: to the split at most) and everything offered that belongs here. A
    /// write is asked for only once a thousand events of others were passed, so that a restart does not read them all again.
    pub fn skip_to(&mut self, seq: Seq) -> Changes {
        let mut changes = Changes::default();
        let part = self.part_mut(seq);
        part.looked = part.looked.max(seq);
        let part = *part;
        let ahead = self.undone.range((Excluded(part.cursor), self.end_of(seq))).next();
        if ahead.is_none() && part.looked.0 - part.cursor.0 >= SKIPPED_SEQS_MAX {
            self.move_cursor(part.cursor, seq, &mut changes);
        }
        self.merge(&mut changes);
        changes
    }

    /// Whether now is the time to look if a backlog is to be set apart ([`Queue::set_apart`], else [`Queue::stay_whole`]): the
    /// endpoint has become well, or the gateway has started.
    pub fn may_set_apart(&self) -> bool {
        let well = self.breaker.probe_at().is_none() && self.offline.is_none();
        self.recovered && well && self.live.is_none() && self.limits.ahead_events_max >= 2
    }

    /// There is no backlog to speak of.
    pub fn stay_whole(&mut self) {
        self.recovered = false;
    }

    /// Sets apart everything up to `split`, the log's head, as a backlog; `ordinal` is the count of this destination's events up to
    /// there. What comes after goes first.
    pub fn set_apart(&mut self, split: Seq, ordinal: u64) -> Changes {
        self.recovered = false;
        // Untouched events are forgotten again as far as they would take the live ones' room.
        while self.undone.len() > self.backlog_max()
            && let Some(last) = self.undone.last_entry()
            && *last.key() > self.back.cursor
            && last.get().flight.is_none()
            && last.get().entry.state == (DeliveryState::Queued { attempts: 0 })
        {
            let (seq, slot) = last.remove_entry();
            self.back.looked = Seq(seq.0 - 1);
            self.back.ordinal = slot.entry.ordinal - 1;
        }
        for slot in self.undone.values_mut() {
            slot.entry.historical = true;
        }
        self.live = Some(Live { split, part: Part::at(split, ordinal) });
        Changes { live: Some(LiveMove::At(LivePart { split, cursor: split, ordinal })), ..Changes::default() }
    }

    /// A live event has an earlier one of its lane at `earlier`, in the backlog.
    pub fn wait_for(&mut self, seq: Seq, earlier: Seq) {
        if let Some(slot) = self.undone.get_mut(&seq) {
            slot.waits_for = Some(earlier);
        }
    }

    /// The live events known here that have yet to be told what they wait for, after a restart.
    pub fn live_events(&self) -> Vec<Seq> {
        let Some(live) = &self.live else { return Vec::new() };
        self.undone.range((Excluded(live.split), Unbounded)).map(|(seq, _)| *seq).collect()
    }

    /// Whether an earlier event of this one's lane is not even known here yet.
    pub(super) fn is_behind_backlog(&self, slot: &Slot) -> bool {
        self.live.is_some()
            && slot.waits_for.is_some_and(|earlier| earlier > self.back.looked)
            && !planted(Mutant::LiveOvertakesBacklog)
    }

    pub(super) fn is_live(&self, seq: Seq) -> bool {
        self.live.is_some_and(|live| seq > live.split)
    }

    pub(super) fn has_passed(&self, seq: Seq) -> bool {
        seq <= self.back.cursor || self.live.is_some_and(|live| seq > live.split && seq <= live.part.cursor)
    }

    pub(super) fn part_mut(&mut self, seq: Seq) -> &mut Part {
        match &mut self.live {
            Some(live) if seq > live.split => &mut live.part,
            _ => &mut self.back,
        }
    }

    /// Gives an undone event its new state, and moves the cursor to it if it stood before it.
    pub(super) fn settle(&mut self, seq: Seq, state: DeliveryState, changes: &mut Changes) {
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
        let passed = self.has_passed(seq);
        if passed || !delivered {
            changes.rows.push((seq, entry));
        }
        if !passed {
            self.move_cursor(seq, seq, changes);
        }
        self.merge(changes);
    }

    /// How many events of the backlog may be known at once, so that neither part takes the other's room.
    fn backlog_max(&self) -> usize {
        (self.limits.ahead_events_max / 2).max(1)
    }

    fn stands_still(&self) -> bool {
        if self.breaker.probe_at().is_none() && self.offline.is_none() {
            return false;
        }
        !self.flights.is_empty() || self.candidates().iter().any(|candidate| candidate.probe || !candidate.retry)
    }

    /// Where the part that holds `seq` ends.
    fn end_of(&self, seq: Seq) -> std::ops::Bound<Seq> {
        match &self.live {
            Some(live) if seq <= live.split => Included(live.split),
            _ => Unbounded,
        }
    }

    /// Moves the cursor of the part that holds `place` over `through` and what follows it that is none of ours, with a row for
    /// each undone event passed.
    fn move_cursor(&mut self, through: Seq, place: Seq, changes: &mut Changes) {
        let part = *self.part_mut(place);
        for (seq, slot) in self.undone.range((Excluded(part.cursor), Excluded(Seq(through.0.saturating_add(1))))) {
            if !changes.rows.iter().any(|(known, _)| known == seq) {
                changes.rows.push((*seq, slot.entry.clone()));
            }
        }
        let next = self.undone.range((Excluded(through), self.end_of(place))).next();
        let (cursor, ordinal) = match next {
            Some((seq, slot)) => (Seq(seq.0 - 1), slot.entry.ordinal - 1),
            None => (part.looked, part.ordinal),
        };
        let is_live = self.is_live(place);
        let part = self.part_mut(place);
        (part.cursor, part.at_cursor) = (cursor, ordinal);
        match &self.live {
            Some(live) if is_live => {
                changes.live = Some(LiveMove::At(LivePart { split: live.split, cursor, ordinal }));
            }
            _ => changes.cursor = Some((cursor, ordinal)),
        }
    }

    /// Makes one of the two parts, if everything of the backlog is done or has a row.
    fn merge(&mut self, changes: &mut Changes) {
        let Some(Live { split, part: live }) = self.live else { return };
        let ahead = self.undone.range(..=split).next_back().is_some_and(|(last, _)| *last > self.back.cursor);
        if ahead || (self.back.looked < split && !planted(Mutant::BacklogForgotten)) {
            return;
        }
        // The mark of those that still wait outlives the split.
        for (seq, slot) in self.undone.range(..=split) {
            if !changes.rows.iter().any(|(known, _)| known == seq) {
                changes.rows.push((*seq, slot.entry.clone()));
            }
        }
        // Other settings may count the backlog otherwise than when it was set apart: the count goes on from the larger one.
        let (ordinal, at_cursor) = (live.ordinal.max(self.back.ordinal), live.at_cursor.max(self.back.at_cursor));
        self.back = Part { ordinal, at_cursor, ..live };
        self.live = None;
        changes.cursor = Some((self.back.cursor, self.back.at_cursor));
        changes.live = Some(LiveMove::Merged);
    }
}
