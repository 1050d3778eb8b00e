//! The hand that writes: the one connection for it, and what is known beside the file.

use gateway_core::event::AnalyzerId;
use rusqlite::Connection;
use std::collections::HashMap;

/// The one connection that writes, and what it knows beside the file.
pub(super) struct Writer {
    pub(super) connection: Connection,
    pub(super) last_captures: LastCaptures,
    /// Whether the connection waits for the disk at COMMIT (`synchronous=FULL`) or not (`NORMAL`).
    pub(super) waits_for_disk: bool,
    /// Errors seen since the start. With any, an orderly stop is not marked clean, so the next start checks the pages.
    pub(super) faults: u64,
    /// Something was erased since the last commit.
    pub(super) erased: bool,
}

/// The newest capture of each analyzer, so that making a patch does not walk the chain. Forgotten on every rollback.
pub(super) type LastCaptures = HashMap<AnalyzerId, LastCapture>;

/// See [`LastCaptures`].
pub(super) struct LastCapture {
    pub(super) id: i64,
    pub(super) depth: i64,
    pub(super) bytes: Vec<u8>,
}
