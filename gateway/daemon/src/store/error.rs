//! Why the store could not do something, in words for the clinic and without any of the data.

use std::path::Path;

/// SQLite's own error, or a request that would break an invariant: the transaction did not happen and never will.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct StoreError(pub String, Class);

/// What a caller can do about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Class {
    /// The disk, the file or SQLite: the same request may succeed later.
    Trouble,
    /// The request itself: it is refused again however often it is repeated.
    Refusal,
}

impl StoreError {
    pub(super) fn new(text: impl Into<String>) -> StoreError {
        StoreError(text.into(), Class::Trouble)
    }

    pub(super) fn refused(text: impl Into<String>) -> StoreError {
        StoreError(text.into(), Class::Refusal)
    }

    /// Whether the request itself breaks an invariant of the store (a cursor that moves backwards, a destination that nobody
    /// has configured, an event that is done already), so that repeating it is of no use.
    pub fn is_refusal(&self) -> bool {
        self.1 == Class::Refusal
    }
}

impl From<rusqlite::Error> for StoreError {
    /// SQLite's messages name tables and columns, never values; a failed conversion could, so it is named only by column.
    fn from(error: rusqlite::Error) -> StoreError {
        match error {
            rusqlite::Error::SqliteFailure(failure, text)
                if failure.code == rusqlite::ErrorCode::ConstraintViolation =>
            {
                let text = text.unwrap_or_else(|| failure.to_string());
                StoreError::refused(format!("refused by a rule of the tables: {text} (code {})", failure.extended_code))
            }
            rusqlite::Error::SqliteFailure(failure, _) if failure.code == rusqlite::ErrorCode::DiskFull => {
                StoreError::new("the disk is full: free some space on the disk of gateway.state_dir")
            }
            rusqlite::Error::SqliteFailure(failure, text) => {
                let text = text.unwrap_or_else(|| failure.to_string());
                StoreError::new(format!("the database says: {text} (code {})", failure.extended_code))
            }
            rusqlite::Error::FromSqlConversionFailure(column, kind, _) => {
                StoreError::new(format!("the database holds an unreadable value of type {kind} in column {column}"))
            }
            rusqlite::Error::QueryReturnedNoRows => StoreError::new("the database lacks a row that must be there"),
            other => StoreError::new(format!("the database says: {other}")),
        }
    }
}

/// Whether the file itself is damaged, so that it should be set aside and read row by row: SQLite cannot make sense of it, or
/// the disk cannot read a part of it back.
pub(super) fn is_damage(error: &rusqlite::Error) -> bool {
    use rusqlite::ErrorCode::{DatabaseCorrupt, NotADatabase};
    use rusqlite::ffi::{SQLITE_IOERR_CORRUPTFS, SQLITE_IOERR_READ, SQLITE_IOERR_SHORT_READ};
    let unreadable = [SQLITE_IOERR_READ, SQLITE_IOERR_SHORT_READ, SQLITE_IOERR_CORRUPTFS];
    matches!(error.sqlite_error_code(), Some(DatabaseCorrupt | NotADatabase))
        || error.sqlite_error().is_some_and(|error| unreadable.contains(&error.extended_code))
}

/// A sentence for an error while opening: which file, what is wrong, what to do.
pub(super) fn cannot_open(path: &Path, error: &rusqlite::Error) -> StoreError {
    use rusqlite::ErrorCode as Code;
    let path = path.display();
    StoreError::new(match error.sqlite_error_code() {
        Some(Code::DiskFull) => {
            format!("cannot open {path}: the disk is full. Free some space on that disk, then start again.")
        }
        Some(Code::ReadOnly | Code::PermissionDenied) => format!(
            "cannot write {path}: the file or its folder is read-only. Mount it writable or give it to the service's user, \
             then start again."
        ),
        Some(Code::CannotOpen) => format!(
            "cannot open {path}: the folder is missing or not accessible. Create it and give it to the service's user, then \
             start again."
        ),
        Some(Code::DatabaseBusy | Code::DatabaseLocked) => {
            format!("cannot open {path}: another program has locked it. Close that program, then start again.")
        }
        _ => format!("cannot open {path}: {}", StoreError::from_ref(error)),
    })
}

impl StoreError {
    fn from_ref(error: &rusqlite::Error) -> StoreError {
        StoreError::new(error.to_string())
    }
}
