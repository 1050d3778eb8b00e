//! The files that belong to a database file.

use std::fs;
use std::path::{Path, PathBuf};

/// The path with something appended to its last part.
pub(super) fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

/// How long SQLite's journal beside that file is, in bytes.
pub(super) fn wal_bytes(path: &Path) -> u64 {
    fs::metadata(beside(path, "-wal")).map_or(0, |file| file.len())
}

/// Removes a database file and what SQLite keeps beside it.
pub(super) fn remove(file: &Path) {
    for suffix in ["", "-wal", "-shm", "-journal"] {
        // Mostly there is nothing to remove; what cannot be removed shows when the file is built.
        let _ = fs::remove_file(beside(file, suffix));
    }
}
