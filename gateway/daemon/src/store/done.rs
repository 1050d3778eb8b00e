//! Which events nobody waits for any more, and what a sweep counts while it lets them go.
//!
//! Invariant: a test is let go as a whole. Bodies of some dialects are laid together from a test's earlier events, so as long
//! as one event of it is undone anywhere, the ones before it are still needed.

use super::destinations::{self, Epochs, Position};
use super::error::StoreError;
use gateway_core::event::Seq;
use rusqlite::Connection;
use std::collections::HashMap;
use std::ops::AddAssign;

/// Rows that one transaction looks at.
pub(super) const STEP_ROWS_MAX: usize = 500;

/// What a sweep has done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Swept {
    /// Notes of successful attempts deleted.
    pub attempts: u64,
    pub captures: u64,
    pub events: u64,
    /// `DATA_EVICTED` events deleted; not counted with the others, and no new one says so.
    pub notices: u64,
    /// Events whose raw samples were given up.
    pub stripped: u64,
    /// Deliveries that became dead because of that.
    pub dead: u64,
}

impl Swept {
    /// Whether a `DATA_EVICTED` is due. Not for older ones of these alone: else each sweep would delete the one before and
    /// write the next, for ever.
    pub(super) fn is_to_be_said(self) -> bool {
        Swept { notices: 0, ..self } != Swept::default()
    }
}

impl AddAssign for Swept {
    fn add_assign(&mut self, other: Swept) {
        self.attempts += other.attempts;
        self.captures += other.captures;
        self.events += other.events;
        self.notices += other.notices;
        self.stripped += other.stripped;
        self.dead += other.dead;
    }
}

/// One step of a sweep: what it did, and the key to go on behind; `None` when there is nothing further.
pub(super) type Step = (Swept, Option<i64>);

/// What has to be known of an event to let it go.
pub(super) struct Known {
    pub seq: Seq,
    pub name: String,
    pub test: Option<[u8; 16]>,
}

impl Known {
    /// Reads the first columns of a row: `seq, name, test_id`.
    pub(super) fn read(row: &rusqlite::Row<'_>) -> Result<Known, rusqlite::Error> {
        Ok(Known { seq: Seq(row.get(0)?), name: row.get(1)?, test: row.get(2)? })
    }
}

/// Where every destination stood when a step began.
pub(super) struct Done {
    destinations: Vec<(Position, Epochs)>,
    /// What was found out about whole tests.
    tests: HashMap<[u8; 16], bool>,
}

impl Done {
    pub(super) fn load(connection: &Connection) -> Result<Done, StoreError> {
        let mut all = Vec::new();
        for (destination, _) in destinations::all(connection)? {
            let position = destinations::position(connection, &destination)?;
            all.push((position, Epochs::load(connection, &destination)?));
        }
        Ok(Done { destinations: all, tests: HashMap::new() })
    }

    /// Whether nobody will hear the event any more: it is delivered or dead everywhere.
    pub(super) fn is_heard(&self, connection: &Connection, seq: Seq, name: &str) -> Result<bool, StoreError> {
        let mut waits = connection.prepare_cached("SELECT 1 FROM deliveries WHERE seq = ?1 AND state <> 'dead'")?;
        Ok(self.has_passed(connection, seq, name)? && !waits.exists([seq.0])?)
    }

    /// Whether the event is delivered everywhere: no destination has yet to come to it, and none has a row, not even a dead one.
    pub(super) fn is_done(&self, connection: &Connection, seq: Seq, name: &str) -> Result<bool, StoreError> {
        let mut row = connection.prepare_cached("SELECT 1 FROM deliveries WHERE seq = ?1")?;
        Ok(self.has_passed(connection, seq, name)? && !row.exists([seq.0])?)
    }

    /// Whether every destination to which the event belongs has come past it.
    fn has_passed(&self, connection: &Connection, seq: Seq, name: &str) -> Result<bool, StoreError> {
        for (position, epochs) in &self.destinations {
            if !position.has_passed(seq) && epochs.may_admit(seq, name) && epochs.admit_stored(connection, seq)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// The same for every event of a test.
    pub(super) fn is_test_done(&mut self, connection: &Connection, test: [u8; 16]) -> Result<bool, StoreError> {
        if let Some(known) = self.tests.get(&test) {
            return Ok(*known);
        }
        let mut select = connection.prepare_cached("SELECT seq, name, test_id FROM events WHERE test_id = ?1")?;
        let mut done = true;
        for event in select.query_map([test], Known::read)? {
            let event = event?;
            if !self.is_done(connection, event.seq, &event.name)? {
                done = false;
                break;
            }
        }
        self.tests.insert(test, done);
        Ok(done)
    }

    /// Whether the event is done, and its whole test with it if it is about one.
    pub(super) fn with_its_test(&mut self, connection: &Connection, event: &Known) -> Result<bool, StoreError> {
        match event.test {
            Some(test) => self.is_test_done(connection, test),
            None => self.is_done(connection, event.seq, &event.name),
        }
    }
}
