//! A copy of the database for a person to keep, and a kept copy made fit to go on.
//!
//! Invariants: a copy is one moment of the log, taken beside the gateway that writes it, and nobody waits for it; what a restored
//! log gives out next was never given out before the copy or in the time after it that is lost.

use super::error::{StoreError, cannot_open};
use super::{GATEWAY, connect, events, migrate, open};
use gateway_core::event::{AnalyzerId, EventKind, EventName, Gap, Id, Seq};
use gateway_core::time::{Now, Timestamp};
use rusqlite::Connection;
use std::fs::File;
use std::path::Path;

/// How far a restored log and its registrations leap: more than any box stores between two backups.
const LEAP: i64 = 1_000_000;
/// Tables whose numbers outsiders know.
const LEAPING: [&str; 2] = ["events", "registrations"];

/// What a copy holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Copied {
    /// The schema's version.
    pub version: usize,
    pub head: Seq,
    pub events: u64,
    /// Of these: from an analyzer's message, not the gateway's own.
    pub heard: u64,
}

/// Copies the database at `from` into the new file `to`, compacted; a gateway may write meanwhile. The copy is checked.
pub fn copy(from: &Path, to: &Path) -> Result<Copied, StoreError> {
    let connection = connect::read_only(from).map_err(|error| cannot_open(from, &error))?;
    let target = to.to_str().ok_or_else(|| StoreError::refused("the copy's name is not UTF-8: give it another one"))?;
    connection.execute("VACUUM INTO ?1", [target])?;
    check(to)
}

/// Reads a copy through, page by page. Damage is an error.
pub fn check(path: &Path) -> Result<Copied, StoreError> {
    let connection = connect::read_only(path).map_err(|error| cannot_open(path, &error))?;
    let verdict: String = connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
    if verdict != "ok" {
        return Err(StoreError::new(format!("{} is damaged: {verdict}", path.display())));
    }
    let events: i64 = connection.query_row("SELECT count(*) FROM events", [], |row| row.get(0))?;
    let sql =
        "SELECT count(*) FROM events WHERE name IN ('TEST_FINISHED', 'MESSAGE_REJECTED', 'CONTINUE_TEST', 'NEW_DATA')";
    let heard: i64 = connection.query_row(sql, [], |row| row.get(0))?;
    let (version, head) = (migrate::user_version(&connection)?, events::head(&connection)?);
    Ok(Copied { version, head, events: events.cast_unsigned(), heard: heard.cast_unsigned() })
}

/// Holds the database at `path` against any gateway, until the file is dropped. Refused while one runs.
pub fn hold(path: &Path) -> Result<File, StoreError> {
    open::lock(path)
}

/// Makes a copy that was taken at `made_at` go on as a gateway's log: numbers leap over whatever was given out since, and a
/// `GAP` says what may be missing. `as_another`: this is a second box beside the one that was copied, which goes on delivering
/// its own backlog. So destinations with what waits for them and the API's clients are forgotten.
pub fn settle(path: &Path, made_at: Timestamp, as_another: bool, now: Now, boot: Id, id: Id) -> Result<(), StoreError> {
    let connection = connect::prepared(path).map_err(|error| cannot_open(path, &error))?;
    migrate::migrate(&connection)?;
    connection.execute_batch("BEGIN IMMEDIATE")?;
    let settled = changes(&connection, made_at, as_another, now, boot, id);
    let ended = settled.and_then(|()| Ok(connection.execute_batch("COMMIT")?));
    if ended.is_err() {
        // The first error is the one to tell; SQLite may have rolled back by itself.
        let _ = connection.execute_batch("ROLLBACK");
        return ended;
    }
    // All of it in the one file that is moved into its place.
    connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))?;
    connection.pragma_update_and_check(None, "journal_mode", "DELETE", |_| Ok(()))?;
    Ok(())
}

fn changes(
    connection: &Connection,
    made_at: Timestamp,
    as_another: bool,
    now: Now,
    boot: Id,
    id: Id,
) -> Result<(), StoreError> {
    if as_another {
        // Epochs, rows, attempts, live parts and manifests go with them.
        connection.execute("DELETE FROM destinations", [])?;
        connection.execute("DELETE FROM tokens", [])?;
    }
    let head = events::head(connection)?;
    for table in LEAPING {
        let leapt = connection.execute("UPDATE sqlite_sequence SET seq = seq + ?1 WHERE name = ?2", (LEAP, table))?;
        if leapt == 0 {
            let from = if table == "events" { head.0 } else { 0 };
            connection.execute("INSERT INTO sqlite_sequence (name, seq) VALUES (?1, ?2)", (table, from + LEAP))?;
        }
    }
    let reason =
        "The log was restored from a backup: what was stored after the backup was made is not in it.".to_owned();
    let gap = Gap { reason, from: Some(made_at), to: Some(now.wall) };
    let kind = EventKind { gap: Some(gap), ..EventKind::bare(EventName::Gap) };
    events::insert(connection, id, &AnalyzerId(GATEWAY.to_owned()), now, boot, None, &kind)?;
    connection.execute("INSERT OR REPLACE INTO meta (key, value) VALUES ('clean', 1)", [])?;
    Ok(())
}
