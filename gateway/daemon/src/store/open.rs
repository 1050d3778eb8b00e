//! Opening the database: one daemon a file, the settings of the connection, the check after an unclean stop.

use super::connect::{prepared, read_only};
use super::error::{StoreError, cannot_open, is_damage};
use super::files::beside;
use super::{destinations, migrate, salvage};
use crate::platform::Clock;
use rusqlite::trace::{TraceEvent, TraceEventCodes};
use rusqlite::{Connection, OptionalExtension};
use rustix::fs::{FlockOperation, flock};
use std::fs::File;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// How long one statement may take that shows something to a person. No such reader may pin the WAL for longer.
pub(super) const SHOWN_TIME_MAX: Duration = Duration::from_secs(2);
/// How long one statement may take that the gateway itself needs: on a card that is busy with writing, seconds pass.
pub(super) const WORK_TIME_MAX: Duration = Duration::from_secs(10);
/// Virtual machine steps between two looks at the clock.
const STEPS_A_LOOK: i32 = 20_000;

/// `<name>.lock`, held for as long as the store is open.
pub(super) fn lock(path: &Path) -> Result<File, StoreError> {
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        std::fs::create_dir_all(folder).map_err(|error| {
            StoreError::new(format!(
                "cannot create the folder {}: {error}. Create it and give it to the service's user, then start again.",
                folder.display()
            ))
        })?;
    }
    let lock_path = beside(path, ".lock");
    let file = File::options().create(true).truncate(false).write(true).open(&lock_path).map_err(|error| {
        StoreError::new(format!(
            "cannot write {}: {error}. Make the folder writable for the service's user and see that the disk is not full, \
             then start again.",
            lock_path.display()
        ))
    })?;
    // Made by root (a restore), it is the service's all the same.
    if let (Ok(own), Some(folder)) = (file.metadata(), path.parent().and_then(|folder| std::fs::metadata(folder).ok()))
        && own.uid() != folder.uid()
    {
        let _ = std::os::unix::fs::fchown(&file, Some(folder.uid()), Some(folder.gid()));
    }
    flock(&file, FlockOperation::NonBlockingLockExclusive).map_err(|error| {
        if error == rustix::io::Errno::WOULDBLOCK {
            StoreError::new(format!(
                "another analyzer-gateway is using {}. Stop it first (systemctl stop analyzer-gateway), or give this one \
                 another gateway.state_dir.",
                path.display()
            ))
        } else {
            StoreError::new(format!("cannot lock {}: {error}", lock_path.display()))
        }
    })?;
    Ok(file)
}

/// The writer's connection. A damaged file is set aside and read row by row; only a disk that cannot be used is an error.
pub(super) fn writer(path: &Path, clock: &dyn Clock) -> Result<Connection, StoreError> {
    salvage::finish(path).map_err(|error| {
        StoreError::new(format!("cannot put the salvaged database in its place at {}: {error}", path.display()))
    })?;
    match try_writer(path) {
        Ok(connection) => Ok(connection),
        Err(Trouble::Damaged(what)) => {
            tracing::error!(what, "the database is damaged: it is set aside and read row by row into a new one");
            salvage::salvage(path, clock)
        }
        Err(Trouble::Other(error)) => Err(cannot_open(path, &error)),
    }
}

/// Why a file cannot be used as it is.
enum Trouble {
    Damaged(String),
    Other(rusqlite::Error),
}

impl From<rusqlite::Error> for Trouble {
    fn from(error: rusqlite::Error) -> Trouble {
        if is_damage(&error) { Trouble::Damaged(error.to_string()) } else { Trouble::Other(error) }
    }
}

fn try_writer(path: &Path) -> Result<Connection, Trouble> {
    let connection = prepared(path)?;
    if !was_clean(&connection)? {
        let verdict: String = connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
        if verdict != "ok" {
            return Err(Trouble::Damaged(verdict));
        }
    }
    migrate::migrate(&connection)?;
    destinations::join_passed_parts(&connection)?;
    connection.execute("INSERT OR REPLACE INTO meta (key, value) VALUES ('clean', 0)", [])?;
    Ok(connection)
}

/// Whether the last user stopped in an orderly way. A new file is clean.
fn was_clean(connection: &Connection) -> Result<bool, rusqlite::Error> {
    if migrate::user_version(connection)? == 0 {
        return Ok(true);
    }
    let clean: Option<i64> =
        connection.query_row("SELECT value FROM meta WHERE key = 'clean'", [], |row| row.get(0)).optional()?;
    Ok(clean == Some(1))
}

/// A connection that cannot write, and on which no statement takes longer than it may.
pub(super) struct Reader {
    pub connection: Connection,
    /// Nanoseconds that each statement of the present view may take.
    allowed: Arc<AtomicU64>,
}

impl Reader {
    pub(super) fn open(path: &Path, clock: Arc<dyn Clock>) -> Result<Reader, StoreError> {
        let mut connection = read_only(path).map_err(|error| cannot_open(path, &error))?;
        let (allowed, began) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
        let (time, since) = (Arc::clone(&clock), Arc::clone(&began));
        let note_beginning = move |_: TraceEvent<'_>| since.store(time.now().mono.0, Ordering::Relaxed);
        connection.trace_v2(TraceEventCodes::SQLITE_TRACE_STMT, Some(note_beginning))?;
        let limit = Arc::clone(&allowed);
        let is_too_long = move || {
            let spent = clock.now().mono.0.saturating_sub(began.load(Ordering::Relaxed));
            spent > limit.load(Ordering::Relaxed)
        };
        connection.progress_handler(STEPS_A_LOOK, Some(is_too_long))?;
        Ok(Reader { connection, allowed })
    }

    /// One consistent view of the database for the length of `read`, whose statements may take `statement_time_max` each.
    pub(super) fn view<T>(
        &self,
        statement_time_max: Duration,
        read: impl FnOnce(&Connection) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let nanoseconds = u64::try_from(statement_time_max.as_nanos()).unwrap_or(u64::MAX);
        self.allowed.store(nanoseconds, Ordering::Relaxed);
        let view = self.connection.unchecked_transaction()?;
        read(&view)
    }
}
