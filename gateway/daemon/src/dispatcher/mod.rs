//! Due deliveries go out, outcomes are recorded: one worker for the broker, one for each webhook, none waiting for another.
//!
//! Invariant: [`Recorder`] is the only way by which something counts as delivered, and it is given only what the peer itself
//! has said. The workers know no link: they meet in the store.

pub mod broker;
pub mod monitor;
mod namesake;
mod outlet;
mod properties;
mod requests;
pub mod sparkplug;
mod telling;
pub mod webhook;

use crate::platform::{BoxFuture, Platform};
use crate::store::{AttemptNote, DestinationId, LiveMove, Record, Row, Store, StoreError};
use gateway_core::delivery::Reason;
use gateway_core::event::Seq;
use gateway_core::time::Now;
use std::collections::BTreeMap;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

/// Between two tries to write an outcome down.
const RECORD_RETRY_SECONDS: u64 = 1;
/// So many outcomes may wait for the disk; then nothing further is sent to this destination.
const UNWRITTEN_MAX: usize = 256;

/// The newest event that any destination was shown, or that a worker has read to show it: a corrected clock leaves the times up
/// to here as they were told.
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

/// Outcomes of one destination on their way to the disk: one transaction at a time, and what comes meanwhile goes together
/// into the next. Sending does not wait for it: a crash before the write repeats what was sent, with the same ids.
struct Recorder {
    platform: Platform,
    store: Store,
    destination: DestinationId,
    /// The newest state of each row.
    rows: BTreeMap<Seq, Row>,
    attempts: Vec<AttemptNote>,
    cursor: Option<(Seq, u64)>,
    live: Option<LiveMove>,
    /// How many outcomes wait.
    unwritten: usize,
    writing: Option<BoxFuture<'static, Result<(), StoreError>>>,
}

impl Recorder {
    fn new(platform: &Platform, store: &Store, destination: &DestinationId) -> Recorder {
        Recorder {
            platform: platform.clone(),
            store: store.clone(),
            destination: destination.clone(),
            rows: BTreeMap::new(),
            attempts: Vec::new(),
            cursor: None,
            live: None,
            unwritten: 0,
            writing: None,
        }
    }

    /// Takes outcomes in, in the order in which they came.
    fn add(&mut self, record: Record, outcomes: usize) {
        self.rows.extend(record.rows.into_iter().map(|row| (row.seq, row)));
        self.attempts.extend(record.attempts);
        self.cursor = record.cursor.or(self.cursor);
        self.live = record.live.or(self.live);
        self.unwritten += outcomes.max(1);
        self.begin();
    }

    /// Whether the disk keeps up, so that more may be sent.
    fn keeps_up(&self) -> bool {
        self.unwritten < UNWRITTEN_MAX
    }

    fn begin(&mut self) {
        if self.writing.is_none() && self.unwritten > 0 {
            self.unwritten = 0;
            let rows = std::mem::take(&mut self.rows).into_values().collect();
            let attempts = std::mem::take(&mut self.attempts);
            let record = Record { rows, attempts, cursor: self.cursor.take(), live: self.live.take() };
            let (platform, store) = (self.platform.clone(), self.store.clone());
            let destination = self.destination.clone();
            self.writing = Some(Box::pin(async move { write(&platform, &store, &destination, record).await }));
        }
    }

    /// Drives the write that is on its way to its end; waits for ever if there is none. May be dropped and called again.
    /// An error says that the store refuses what this worker believes: it must start again from what the store knows.
    async fn written(&mut self) -> Result<(), StoreError> {
        let written = match &mut self.writing {
            Some(writing) => writing.await,
            None => std::future::pending().await,
        };
        self.writing = None;
        self.begin();
        written
    }

    /// Writes everything down.
    async fn flush(&mut self) -> Result<(), StoreError> {
        while self.writing.is_some() {
            self.written().await?;
        }
        Ok(())
    }

    /// Does something that takes a while, and goes on writing meanwhile.
    async fn beside<T>(&mut self, work: impl Future<Output = T>) -> Result<T, StoreError> {
        let mut work = pin!(work);
        loop {
            tokio::select! {
                biased;
                done = &mut work => return Ok(done),
                written = self.written() => written?,
            }
        }
    }
}

/// Writes outcomes down, however long the disk refuses.
async fn write(
    platform: &Platform,
    store: &Store,
    destination: &DestinationId,
    record: Record,
) -> Result<(), StoreError> {
    loop {
        match store.record(destination, record.clone()).await {
            Ok(()) => return Ok(()),
            Err(error) if error.is_refusal() => return Err(error),
            Err(error) => {
                tracing::error!(destination = %destination.0, %error, "the outcome cannot be written down, trying again");
            }
        }
        let due = platform.clock.now().mono.after(Duration::from_secs(RECORD_RETRY_SECONDS));
        platform.clock.sleep_until(due).await;
    }
}

/// An attempt without an HTTP status, for the books.
fn attempt_note(now: Now, seq: Seq, number: u32, reason: Option<&Reason>) -> AttemptNote {
    let answer = String::new();
    AttemptNote {
        seq,
        ordinal: None,
        number,
        at: now.wall,
        duration_ms: 0,
        status: None,
        reason: reason.cloned(),
        answer,
    }
}
