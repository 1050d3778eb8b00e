//! The values that go into the store and come out of it.

use gateway_core::config::Qc;
use gateway_core::delivery::{DeliveryState, Reason, ReasonCode};
use gateway_core::event::{AnalyzerId, EventId, EventKind, Lane, Seq};
use gateway_core::time::{Now, Timestamp};

/// How one destination is called: `mqtt`, or `webhook:<id>`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DestinationId(pub String);

/// Which events of the log a destination gets. Every part must admit an event.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Filter {
    /// [`EventKind::word`]s; `None`: all of them.
    pub names: Option<Vec<String>>,
    /// `None`: of all analyzers.
    pub analyzers: Option<Vec<AnalyzerId>>,
    pub qc: Qc,
    pub posted: PostedFilter,
}

/// Which events of other programs belong.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum PostedFilter {
    #[default]
    All,
    /// Those of these dialects; empty: none.
    Of(Vec<String>),
}

/// What the link wants stored.
pub struct NewEntry {
    pub analyzer: AnalyzerId,
    pub at: Now,
    /// The bytes as received; empty if the events come from silence.
    pub capture: Vec<u8>,
    pub events: Vec<(EventId, EventKind)>,
    /// Whether the analyzer's message ends here; with an empty capture it closes the captures that are open.
    pub complete: bool,
}

/// What was stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Committed {
    pub stored: usize,
    /// Events whose id was known already.
    pub repeated: usize,
    /// The newest of the stored events, else of the repeated ones; 0 if the entry had no events.
    pub last: Seq,
}

/// An undone delivery that the cursor has passed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    pub seq: Seq,
    pub ordinal: u64,
    pub lane: Lane,
    pub state: DeliveryState,
    pub redriven: bool,
    /// It is sent later than newer events, out of a backlog.
    pub historical: bool,
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

/// A destination as the store remembers it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Backlog {
    pub cursor: Seq,
    /// Ordinals given out up to the cursor.
    pub ordinal: u64,
    pub live: Option<LivePart>,
    /// In the order of the log.
    pub rows: Vec<Row>,
}

/// One attempt, for the books.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AttemptNote {
    pub seq: Seq,
    /// The event's place in the destination's count; `None`: unknown.
    pub ordinal: Option<u64>,
    /// 1 is the first.
    pub number: u32,
    pub at: Timestamp,
    pub duration_ms: u64,
    pub status: Option<u16>,
    /// `None`: delivered.
    pub reason: Option<Reason>,
    /// The beginning of the answer's body.
    pub answer: String,
}

/// What `record` writes for one destination, in one transaction: rows put or (Delivered) removed, attempts noted, cursor and
/// ordinal moved.
#[derive(Debug, Clone, Default)]
pub struct Record {
    pub rows: Vec<Row>,
    pub attempts: Vec<AttemptNote>,
    pub cursor: Option<(Seq, u64)>,
    pub live: Option<LiveMove>,
}

/// What becomes of the live part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LiveMove {
    /// It begins, or moves on.
    At(LivePart),
    /// The backlog has reached it: the one cursor goes on from where it stands.
    Merged,
}

/// Which deliveries of a destination a person means. Every part that is given must hold.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Selection {
    /// These events, dead, held or waiting. Empty: every dead one.
    pub ids: Vec<EventId>,
    /// The reason of the last failure.
    pub reason: Option<ReasonCode>,
    /// Received at or after that moment.
    pub from: Option<Timestamp>,
    /// Received before that moment.
    pub to: Option<Timestamp>,
}

/// A piece of a longer list: what follows `after`, at most `limit` of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    pub after: Option<(DestinationId, Seq)>,
    pub limit: usize,
}

/// A dead delivery.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadLetter {
    pub destination: DestinationId,
    pub seq: Seq,
    pub id: EventId,
    /// [`EventKind::word`].
    pub name: String,
    pub analyzer: AnalyzerId,
    /// When the event was received.
    pub at: Timestamp,
    pub ordinal: u64,
    pub attempts: u32,
    pub reason: Reason,
    /// When the last attempt was made, if the books have it.
    pub dead_at: Option<Timestamp>,
    /// Whether a person had sent it again before.
    pub redriven: bool,
}

/// What has become of an event at one destination.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivery {
    pub destination: DestinationId,
    pub seq: Seq,
    /// `Delivered` with no attempt: it was published, has no form in the destination's dialect, or its attempts are no longer kept.
    pub state: DeliveryState,
    pub redriven: bool,
    /// Oldest first.
    pub attempts: Vec<AttemptNote>,
}

/// What a receiver says that it lacks.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Missing {
    /// Ordinals, both ends included.
    pub ordinals: Vec<(u64, u64)>,
    pub ids: Vec<EventId>,
}
