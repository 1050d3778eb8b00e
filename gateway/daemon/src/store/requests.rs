//! The table `requests`: which request with a key of its own (`Idempotency-Key`) has changed which registration.
//!
//! Invariant: a row is of the same transaction as the change. Of the body only a hash is kept, and it goes with the person's
//! data: what is left of an erased registration can be compared with nothing.

use super::error::StoreError;
use gateway_core::event::Id;
use rusqlite::{Connection, OptionalExtension, params};
use sha2::{Digest, Sha256};

/// What causes a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cause {
    /// Drawn, or derived where a repeat has to be known again.
    pub id: Id,
    /// The hash of the request; `None`: nobody will repeat it.
    body: Option<[u8; 32]>,
}

impl From<Id> for Cause {
    fn from(id: Id) -> Cause {
        Cause { id, body: None }
    }
}

impl Cause {
    /// A request that may be repeated under this id, with what it asks for. The same body under another id has another hash.
    pub fn repeatable(id: Id, body: &[u8]) -> Cause {
        Cause { id, body: Some(Sha256::new().chain_update(id.0).chain_update(body).finalize().into()) }
    }
}

/// What is known of a cause.
pub(super) enum Known {
    Nothing,
    /// The same request has changed the registration of this number.
    Same(i64),
    /// Another request had this id.
    Other,
}

pub(super) fn known(connection: &Connection, cause: Cause) -> Result<Known, StoreError> {
    let Some(body) = cause.body else { return Ok(Known::Nothing) };
    let found: Option<(Vec<u8>, i64)> = connection
        .prepare_cached("SELECT body, registration FROM requests WHERE id = ?1")?
        .query_row([cause.id.0], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    Ok(match found {
        None => Known::Nothing,
        Some((known, number)) if known == body => Known::Same(number),
        Some(_) => Known::Other,
    })
}

pub(super) fn note(connection: &Connection, cause: Cause, registration: i64) -> Result<(), StoreError> {
    let Some(body) = cause.body else { return Ok(()) };
    connection
        .prepare_cached("INSERT OR IGNORE INTO requests (id, body, registration) VALUES (?1, ?2, ?3)")?
        .execute(params![cause.id.0, body, registration])?;
    Ok(())
}

/// Forgets what was asked about a registration.
pub(super) fn forget(connection: &Connection, registration: i64) -> Result<(), StoreError> {
    connection.prepare_cached("DELETE FROM requests WHERE registration = ?1")?.execute([registration])?;
    Ok(())
}
