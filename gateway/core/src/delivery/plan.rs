//! What the queue is told and what it tells: plain values between it and whoever performs its decisions.

use super::{DeliveryState, Reason};
use crate::event::{Lane, Seq};

/// What the settings bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Attempts under way at once, at least 1.
    pub concurrency: usize,
    /// Undone events known at once, at least 1.
    pub ahead_events_max: usize,
    /// Events in one request, at least 1.
    pub batch: usize,
    /// Events a second out of a backlog, while live ones go first; `None`: no bound.
    pub backfill_per_second_max: Option<u32>,
}

/// The live part of the log while a backlog is sent beside it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LivePart {
    /// The backlog's last seq.
    pub split: Seq,
    pub cursor: Seq,
    /// Ordinals given out up to the cursor.
    pub ordinal: u64,
}

/// What becomes of the live part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LiveMove {
    /// It begins, or moves on.
    At(LivePart),
    /// The backlog has reached it: the one cursor goes on from where it stands.
    Merged,
}

/// One event on its way to this destination, as its row says it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The dense count of this destination's events, from 1.
    pub ordinal: u64,
    pub lane: Lane,
    pub state: DeliveryState,
    pub redriven: bool,
    /// It is sent later than newer events, out of a backlog.
    pub historical: bool,
}

/// An attempt to begin now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Start {
    pub seq: Seq,
    pub ordinal: u64,
    /// 1 for the first. Repeated after an attempt that did not count.
    pub attempt: u32,
    pub redriven: bool,
    pub historical: bool,
}

/// What to write in one transaction.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Changes {
    /// Rows to put; one whose state is `Delivered` is to be removed. Of two with the same seq the later one counts.
    pub rows: Vec<(Seq, Entry)>,
    /// The new cursor, and how many ordinals are given out up to it.
    pub cursor: Option<(Seq, u64)>,
    pub live: Option<LiveMove>,
    /// Whether an attempt was counted. A failed probe and a missing network are not.
    pub counted: bool,
}

impl Changes {
    /// Whether there is nothing to write.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty() && self.cursor.is_none() && self.live.is_none()
    }
}

/// A destination at a glance.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DestinationView {
    /// Events known here and neither delivered nor dead, held ones included. What the log holds beyond is not counted.
    pub undone: usize,
    pub dead: usize,
    pub held: usize,
    /// Why the endpoint as a whole is left alone, if it is.
    pub breaker: Option<Reason>,
    /// Why single events are held while the others go on, if some are.
    pub held_for: Option<Reason>,
    pub oldest_undone: Option<Seq>,
    /// The receiver has been seen to accept only an older one of its secrets.
    pub older_key: bool,
}
