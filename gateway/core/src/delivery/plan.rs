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
}

/// One event on its way to this destination, as its row says it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The dense count of this destination's events, from 1.
    pub ordinal: u64,
    pub lane: Lane,
    pub state: DeliveryState,
    pub redriven: bool,
}

/// An attempt to begin now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Start {
    pub seq: Seq,
    pub ordinal: u64,
    /// 1 for the first. Repeated after an attempt that did not count.
    pub attempt: u32,
    pub redriven: bool,
}

/// What to write in one transaction.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Changes {
    /// Rows to put; one whose state is `Delivered` is to be removed. Of two with the same seq the later one counts.
    pub rows: Vec<(Seq, Entry)>,
    /// The new cursor, and how many ordinals are given out up to it.
    pub cursor: Option<(Seq, u64)>,
    /// Whether an attempt was counted. A failed probe and a missing network are not.
    pub counted: bool,
}

impl Changes {
    /// Whether there is nothing to write.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty() && self.cursor.is_none()
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
    pub oldest_undone: Option<Seq>,
}
