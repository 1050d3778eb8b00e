//! placeholder for the store's API
use crate::platform::{Clock, Disk};
use gateway_core::delivery::{DeliveryState, Reason};
use gateway_core::event::*;
use gateway_core::session::RunningTest;
use gateway_core::time::{Now, Timestamp};
use std::path::Path;
use std::sync::Arc;
use tokio::sync::watch;

/// A handle to the store; clones share it.
#[derive(Clone)]
pub struct Store {
    _todo: Arc<()>,
}

/// How one destination is called: `mqtt`, or `webhook:<id>`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DestinationId(pub String);

/// Which events of the log a destination gets. Members of an epoch's filter.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Filter {
    pub names: Option<Vec<EventName>>,
}

/// What the link wants stored.
pub struct NewEntry {
    pub analyzer: AnalyzerId,
    pub at: Now,
    pub capture: Vec<u8>,
    pub events: Vec<(EventId, EventKind)>,
    pub complete: bool,
}

/// What was stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Committed {
    pub stored: usize,
    pub repeated: usize,
    pub last: Seq,
}

/// SQLite's own error: the transaction did not happen and never will.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct StoreError(pub String);

/// An undone delivery that the cursor has passed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    pub seq: Seq,
    pub ordinal: u64,
    pub lane: Lane,
    pub state: DeliveryState,
    pub redriven: bool,
}

/// A destination as the store remembers it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Backlog {
    pub cursor: Seq,
    /** ordinals given out up to the cursor */
    pub ordinal: u64,
    pub rows: Vec<Row>,
}

/// One attempt, for the books.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AttemptNote {
    pub seq: Seq,
    pub number: u32,
    pub at: Timestamp,
    pub duration_ms: u64,
    pub status: Option<u16>,
    pub reason: Option<Reason>,
    pub answer: String,
}

/// What `record` writes for one destination, in one transaction: rows put or (Delivered) removed, attempts noted, cursor and ordinal moved.
#[derive(Debug, Clone, Default)]
pub struct Record {
    pub rows: Vec<Row>,
    pub attempts: Vec<AttemptNote>,
    pub cursor: Option<(Seq, u64)>,
}

impl Store {
    pub async fn open(path: &Path, clock: Arc<dyn Clock>, disk: Arc<dyn Disk>) -> Result<Store, StoreError> {
        unimplemented!()
    }
    /// The log's head; changes after each commit that stored events.
    pub fn head(&self) -> watch::Receiver<Seq> {
        unimplemented!()
    }
    pub async fn commit(&self, entry: NewEntry) -> Result<Committed, StoreError> {
        unimplemented!()
    }
    pub async fn record(&self, destination: &DestinationId, record: Record) -> Result<(), StoreError> {
        unimplemented!()
    }
    /// Makes the destinations known: a new one starts at the log's end; a changed filter closes an epoch and opens the next; ones not named keep their backlog.
    pub async fn configure(&self, destinations: &[(DestinationId, Filter)]) -> Result<(), StoreError> {
        unimplemented!()
    }
    pub async fn backlog(&self, destination: &DestinationId) -> Result<Backlog, StoreError> {
        unimplemented!()
    }
    /// The next events after `after` that belong to the destination by the epochs, at most `limit`, and the seq up to which the log was looked through.
    pub async fn next_events(
        &self,
        destination: &DestinationId,
        after: Seq,
        limit: usize,
    ) -> Result<(Vec<Event>, Seq), StoreError> {
        unimplemented!()
    }
    pub async fn event(&self, seq: Seq) -> Result<Option<Event>, StoreError> {
        unimplemented!()
    }
    /// The events of one test up to `through`, oldest first.
    pub async fn test_history(&self, test: TestId, through: Seq) -> Result<Vec<Event>, StoreError> {
        unimplemented!()
    }
    pub async fn unfinished(&self, analyzer: &AnalyzerId) -> Result<Vec<u8>, StoreError> {
        unimplemented!()
    }
    pub async fn running_test(&self, analyzer: &AnalyzerId) -> Result<Option<RunningTest>, StoreError> {
        unimplemented!()
    }
}
