//! When one endpoint as a whole is to be left alone, because lane after lane learns the same.
//!
//! Closed, it only counts. Open, it says why, and when the next probe may be made. It knows nothing of rows and cursors:
//! the queue asks it and draws the consequences.
//!
//! Invariant: only an attempt that began after the breaker opened can close it. An answer to an older one says how the
//! endpoint was, and would let the event that opened the breaker run against the same wall at every such answer.

use super::{Reason, ReasonCode};
use crate::event::Lane;
use crate::time::{Mono, Now};
use std::collections::BTreeSet;
use std::time::Duration;

/// So many different lanes that fail with no success between them are the endpoint's failure, not theirs.
pub(super) const LANES_FAILED_MAX: usize = 5;
/// So many refused events in a row may be those events' fault; what is refused after them is kept.
const REFUSED_IN_A_ROW_MAX: u32 = 20;
/// The refusals must come from so many lanes: one test with a strange sample has many events.
const REFUSED_LANES_MIN: usize = 5;
/// The pause before the first probe; it doubles up to [`PROBE_PAUSE_MAX`].
const PROBE_PAUSE_FIRST: Duration = Duration::from_secs(30);
const PROBE_PAUSE_MAX: Duration = Duration::from_secs(600);

/// Counts while closed, waits while open.
#[derive(Debug, Clone, Default)]
pub(super) struct Breaker {
    failed: BTreeSet<Lane>,
    refused: u32,
    refused_lanes: BTreeSet<Lane>,
    open: Option<Open>,
    /// How often it has opened: what tells an attempt's age.
    pub(super) openings: u64,
}

#[derive(Debug, Clone)]
struct Open {
    /// Whether refusals opened it: then one more refusal is no sign of health.
    refusing: bool,
    reason: Reason,
    probe_at: Mono,
    pause: Duration,
}

impl Breaker {
    /// Why it is open, if it is.
    pub(super) fn reason(&self) -> Option<&Reason> {
        self.open.as_ref().map(|open| &open.reason)
    }

    /// When the next probe may be made, if it is open.
    pub(super) fn probe_at(&self) -> Option<Mono> {
        self.open.as_ref().map(|open| open.probe_at)
    }

    /// Opens it as it was before a restart, with a probe at once: nobody knows what happened meanwhile.
    pub(super) fn reopen(&mut self, reason: &Reason, now: Mono) {
        let refusing = matches!(reason.code, ReasonCode::Refused | ReasonCode::TooLarge);
        self.open(refusing, reason, now);
        if let Some(open) = &mut self.open {
            open.probe_at = now;
        }
    }

    /// Forgets everything: the settings have changed.
    pub(super) fn reset(&mut self) {
        *self = Breaker { openings: self.openings, ..Breaker::default() };
    }

    /// An attempt failed in a way that may pass.
    pub(super) fn failed(&mut self, lane: &Lane, reason: &Reason, now: Now) {
        if let Some(open) = &mut self.open {
            open.reason = reason.clone();
            return;
        }
        self.failed.insert(lane.clone());
        if self.failed.len() >= LANES_FAILED_MAX {
            self.open(false, reason, now.mono);
        }
    }

    /// An attempt met a fault of configuration, which is the endpoint's by its nature.
    pub(super) fn held(&mut self, reason: &Reason, now: Now) {
        match &mut self.open {
            Some(open) => open.reason = reason.clone(),
            None => self.open(false, reason, now.mono),
        }
    }

    /// A probe found nothing better. `asked` is the pause that the receiver asks for, already capped.
    pub(super) fn probe_failed(&mut self, reason: &Reason, asked: Duration, now: Now) {
        if let Some(open) = &mut self.open {
            open.pause = (open.pause * 2).min(PROBE_PAUSE_MAX);
            open.probe_at = now.mono.after(open.pause.max(asked));
            open.reason = reason.clone();
        }
    }

    /// An attempt that began at opening number `opening` was delivered. Returns whether this closed the breaker.
    pub(super) fn delivered(&mut self, opening: u64) -> bool {
        self.refused = 0;
        self.refused_lanes.clear();
        self.answered(opening)
    }

    /// An event was refused. Returns the reason to hold it instead of giving it up, and whether this closed the breaker.
    pub(super) fn refused(&mut self, lane: &Lane, reason: &Reason, opening: u64, now: Now) -> (Option<Reason>, bool) {
        self.refused = self.refused.saturating_add(1);
        if self.refused_lanes.len() < REFUSED_LANES_MIN {
            self.refused_lanes.insert(lane.clone());
        }
        let refusing = self.open.as_ref().is_some_and(|open| open.refusing);
        let too_many = self.refused > REFUSED_IN_A_ROW_MAX && self.refused_lanes.len() >= REFUSED_LANES_MIN;
        if !refusing && !too_many {
            return (None, self.answered(opening));
        }
        let detail =
            format!("kept, since the endpoint refuses one event after the other; its last answer: {}", reason.detail);
        let reason = Reason::new(reason.code, detail);
        if !refusing {
            self.open(true, &reason, now.mono);
        }
        (Some(reason), false)
    }

    fn answered(&mut self, opening: u64) -> bool {
        if self.open.is_some() && opening != self.openings {
            return false;
        }
        self.failed.clear();
        self.open.take().is_some()
    }

    fn open(&mut self, refusing: bool, reason: &Reason, now: Mono) {
        self.openings += 1;
        self.failed.clear();
        let probe_at = now.after(PROBE_PAUSE_FIRST);
        self.open = Some(Open { refusing, reason: reason.clone(), probe_at, pause: PROBE_PAUSE_FIRST });
    }
}
