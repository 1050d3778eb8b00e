//! The values that go into the store and come out of it.

use gateway_core::config::{Qc, Scope};
use gateway_core::delivery::{DeliveryState, Reason, ReasonCode};
pub use gateway_core::delivery::{LiveMove, LivePart};
use gateway_core::event::{AnalyzerId, EventId, EventKind, Lane, Seq, TestId};
use gateway_core::time::{Now, Timestamp};
use serde::{Deserialize, Serialize};

/// How one destination is called: `mqtt`, or `webhook:<id>`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DestinationId(pub String);

const WEBHOOK: &str = "webhook:";

impl DestinationId {
    /// The endpoint of this id.
    pub fn webhook(id: &str) -> DestinationId {
        DestinationId(format!("{WEBHOOK}{id}"))
    }

    /// The endpoint's id, if it is one.
    pub fn endpoint(&self) -> Option<&str> {
        self.0.strip_prefix(WEBHOOK)
    }
}

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
    /// The newest of the stored events, else of the repeated ones; 0 if the entry had no events. Events that followed from
    /// these are not counted.
    pub last: Seq,
    /// The place of that event in its session, if it belongs to one.
    pub sequence: Option<u64>,
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

/// Whose data is to be erased.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Subject {
    /// The clinic's id of a patient, as analyzers and registrations have it.
    Patient(String),
    /// A sample's id.
    Sample(String),
    /// A registration's id; its retests, and what it is a retest of, are the same person's.
    Registration(String),
    /// A partner's user (seed 001, `dataDeletionRequest`): whoever has this integer id, this e-mail address or this telephone
    /// number.
    User { id: Option<i64>, email: Option<String>, phone: Option<String> },
}

/// Only which kind it is: the words are about a person.
impl std::fmt::Debug for Subject {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Subject::Patient(_) => "Patient",
            Subject::Sample(_) => "Sample",
            Subject::Registration(_) => "Registration",
            Subject::User { .. } => "User",
        })
    }
}

/// What an erasure has done.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Erased {
    /// Events that had something of the person in them.
    pub events: u64,
    /// Messages whose received bytes are gone.
    pub captures: u64,
    /// The registrations that are left as tombstones.
    pub registrations: Vec<String>,
    /// The tests whose results stay without a person.
    pub tests: Vec<TestId>,
    /// Whether the bytes are gone from the database's files too. If not, a reader was in the way, and the next sweep of the
    /// store does it.
    pub wiped: bool,
    /// Damaged databases that were set aside beside this one, from which nothing is erased: a person should delete them.
    pub set_aside: Vec<String>,
}

/// One line of the audit log: who read or did what. Ids only, never what was read, and never a sample's id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditEntry {
    pub at: Timestamp,
    /// A token's id, `socket`, `mqtt`, `source:<id>`, `analyzer:<id>` or `gateway`.
    pub client: String,
    /// `read`, `orders`, `redrive`, `erase` ...
    pub action: String,
    /// `registration/1234-5678`, `webhook/lims` ...
    pub object: String,
    /// `ok`, or why it was refused.
    pub outcome: String,
}

/// A client that `token add` has made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredToken {
    pub id: String,
    /// SHA-256 of the token in hexadecimal.
    pub hash: String,
    pub scope: Scope,
    pub added_at: Timestamp,
}
