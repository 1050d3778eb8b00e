//! Due deliveries go out, outcomes are recorded: one worker for the broker, one for each webhook, none waiting for another.
//!
//! Invariant: [`record`] is the only way by which something counts as delivered, and it is called only with what the peer
//! itself has said. The workers know no link: they meet in the store.

pub mod broker;
pub mod webhook;

use crate::platform::Platform;
use crate::store::{AttemptNote, DestinationId, Record, Store};
use gateway_core::delivery::Reason;
use gateway_core::event::Seq;
use gateway_core::time::Now;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

/// Between two tries to write an outcome down.
const RECORD_RETRY_SECONDS: u64 = 1;

/// The newest event that any destination was shown: a corrected clock leaves the times up to here as they were told.
#[derive(Debug, Clone, Default)]
pub struct Shown(Arc<AtomicI64>);

impl Shown {
    pub fn raise(&self, seq: Seq) {
        self.0.fetch_max(seq.0, Ordering::Relaxed);
    }

    pub fn newest(&self) -> Seq {
        Seq(self.0.load(Ordering::Relaxed))
    }
}

/// Writes outcomes down, however long the disk refuses: until then nothing further is sent to this destination, and a
/// restart repeats what was not written, with the same ids.
async fn record(platform: &Platform, store: &Store, destination: &DestinationId, record: Record) {
    while let Err(error) = store.record(destination, record.clone()).await {
        tracing::error!(destination = %destination.0, %error, "the outcome cannot be written down, trying again");
        let due = platform.clock.now().mono.after(Duration::from_secs(RECORD_RETRY_SECONDS));
        platform.clock.sleep_until(due).await;
    }
}

/// An attempt without an HTTP status, for the books.
fn attempt_note(now: Now, seq: Seq, number: u32, reason: Option<&Reason>) -> AttemptNote {
    let answer = String::new();
    AttemptNote { seq, number, at: now.wall, duration_ms: 0, status: None, reason: reason.cloned(), answer }
}
