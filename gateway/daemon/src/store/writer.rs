//! Group commit: whatever is ready when the disk is ready goes into one transaction.
//!
//! Requests wait in a queue. Whoever puts one there and finds the [`Baton`] free hands a drain to `Disk::run`: it takes
//! everything queued into one transaction, answers, and goes on until the queue is empty. There is no thread and no task of
//! our own. What makes this safe:
//! - Once handed over, the drain needs nobody's polling: followers are answered even if the leader is dropped or stuck.
//! - A leader dropped before that (while it lingers, or by a `Disk` that never ran the work) drops the baton; the drop wakes
//!   the followers, and one of them takes over. Its own request stays queued: a commit is never cancelled.
//! - A request that fails is undone alone (a savepoint); if SQLite threw the whole transaction away, each is run again by
//!   itself, so a full disk refuses what does not fit and nothing else.
//! - An error of `at_commit(After)` is a crash of the simulation: what was committed is never answered, and the store answers
//!   nothing any more. A panic inside a transaction likewise leaves its requests without an answer, because whether they are
//!   on disk is not known.

use super::error::StoreError;
use super::hand::Writer;
use super::{Shared, events};
use crate::platform::{CommitMoment, Disk};
use gateway_core::event::AnalyzerId;
use gateway_core::time::Mono;
use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{Notify, oneshot};

/// Most requests in one transaction; bounds how much a rollback throws away.
const BATCH_REQUESTS_MAX: usize = 512;
/// An analyzer that committed this recently counts as active for the linger.
const ACTIVE_FOR: Duration = Duration::from_secs(1);

/// Something to be done inside a transaction. It may be run twice, each time in a fresh one.
trait Request: Send {
    fn urgency(&self) -> Urgency;
    fn apply(&mut self, writer: &mut Writer) -> Result<(), StoreError>;
    fn answer(self: Box<Self>, outcome: Result<(), StoreError>);
}

/// When a transaction has to be on the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Urgency {
    /// Before it is answered.
    Durable,
    /// With the next durable one at the latest. A power cut before takes it back whole, never in part: the log is a prefix.
    /// For outcomes of deliveries, whose loss is a repeat that receivers know (docs/decisions/0003).
    Soon,
}

struct Asked<T, F> {
    work: F,
    urgency: Urgency,
    value: Option<T>,
    answer: oneshot::Sender<Result<T, StoreError>>,
}

impl<T: Send, F: FnMut(&mut Writer) -> Result<T, StoreError> + Send> Request for Asked<T, F> {
    fn urgency(&self) -> Urgency {
        self.urgency
    }

    fn apply(&mut self, writer: &mut Writer) -> Result<(), StoreError> {
        self.value = Some((self.work)(writer)?);
        Ok(())
    }

    fn answer(self: Box<Self>, outcome: Result<(), StoreError>) {
        let Asked { value, answer, .. } = *self;
        let value = outcome.map(|()| value.expect("a request that was applied has a value"));
        // Nobody waits any more: the transaction stands all the same.
        let _ = answer.send(value);
    }
}

/// What waits for the writer.
#[derive(Default)]
pub(super) struct Queue {
    state: Mutex<QueueState>,
    freed: Notify,
}

#[derive(Default)]
struct QueueState {
    waiting: VecDeque<Box<dyn Request>>,
    /// Whether somebody holds the baton.
    taken: bool,
    /// A simulated crash has happened: nothing is answered any more.
    crashed: bool,
    linger: Duration,
    active: HashMap<AnalyzerId, Mono>,
}

impl Queue {
    fn state(&self) -> MutexGuard<'_, QueueState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn set_linger(&self, linger: Duration) {
        self.state().linger = linger;
    }

    /// How long a commit of this analyzer waits for company: nothing, unless another analyzer is active.
    pub(super) fn linger_for(&self, analyzer: &AnalyzerId, now: Mono) -> Duration {
        let mut state = self.state();
        if state.linger.is_zero() {
            return Duration::ZERO;
        }
        state.active.retain(|_, last| now.since(*last) < ACTIVE_FOR);
        state.active.insert(analyzer.clone(), now);
        if state.active.len() > 1 { state.linger } else { Duration::ZERO }
    }
}

/// The right to drain the queue; there is one. Dropping it lets somebody else take over.
struct Baton {
    shared: Arc<Shared>,
    ran: Arc<AtomicBool>,
    laid_down: bool,
}

impl Drop for Baton {
    fn drop(&mut self) {
        if !self.laid_down {
            self.shared.queue.state().taken = false;
            self.shared.queue.freed.notify_waiters();
        }
    }
}

impl Baton {
    /// `None` if another has it, or there is nothing to do.
    fn take(shared: &Arc<Shared>) -> Option<Baton> {
        let mut state = shared.queue.state();
        if state.taken || state.waiting.is_empty() {
            return None;
        }
        state.taken = true;
        Some(Baton { shared: Arc::clone(shared), ran: Arc::default(), laid_down: false })
    }

    fn drain(mut self) {
        self.ran.store(true, Ordering::Release);
        let shared = Arc::clone(&self.shared);
        let mut writer = shared.writer.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            let batch: Vec<_> = {
                let mut state = shared.queue.state();
                if state.waiting.is_empty() {
                    state.taken = false;
                    self.laid_down = true;
                    return;
                }
                let many = state.waiting.len().min(BATCH_REQUESTS_MAX);
                state.waiting.drain(..many).collect()
            };
            if !run_batch(&mut writer, &shared, batch) {
                // Dropping a request unanswered makes its future wait for ever, as a crash does.
                let mut state = shared.queue.state();
                state.crashed = true;
                state.waiting.clear();
                state.taken = false;
                self.laid_down = true;
                return;
            }
        }
    }
}

impl Shared {
    /// Runs `work` inside a transaction and answers once it is on disk, after `linger` at the earliest.
    pub(super) async fn write<T, F>(self: &Arc<Self>, linger: Duration, work: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnMut(&mut Writer) -> Result<T, StoreError> + Send + 'static,
    {
        self.write_when(Urgency::Durable, linger, work).await
    }

    /// The same, answered when the transaction is as safe as its urgency asks.
    pub(super) async fn write_when<T, F>(
        self: &Arc<Self>,
        urgency: Urgency,
        linger: Duration,
        work: F,
    ) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnMut(&mut Writer) -> Result<T, StoreError> + Send + 'static,
    {
        let (answer, mut answered) = oneshot::channel();
        {
            let mut state = self.queue.state();
            if !state.crashed {
                state.waiting.push_back(Box::new(Asked { work, urgency, value: None, answer }));
            }
        }
        loop {
            let freed = self.queue.freed.notified();
            tokio::pin!(freed);
            // Registered before the look at the baton, so that no wake-up falls in between.
            freed.as_mut().enable();
            if let Some(baton) = Baton::take(self) {
                if !linger.is_zero() {
                    self.clock.sleep_until(self.clock.now().mono.after(linger)).await;
                }
                let ran = Arc::clone(&baton.ran);
                let run = self.disk.run(Box::new(move || baton.drain()));
                tokio::select! {
                    biased;
                    answer = &mut answered => return settled(answer).await,
                    () = run => {}
                }
                if !ran.load(Ordering::Acquire) {
                    // The runtime is shutting down and takes no work any more.
                    return std::future::pending().await;
                }
            }
            tokio::select! {
                biased;
                answer = &mut answered => return settled(answer).await,
                () = freed => {}
            }
        }
    }
}

/// A request dropped without an answer may or may not be on disk: its future never resolves, as after a crash.
async fn settled<T>(answer: Result<Result<T, StoreError>, oneshot::error::RecvError>) -> Result<T, StoreError> {
    match answer {
        Ok(answer) => answer,
        Err(_) => std::future::pending().await,
    }
}

/// How a transaction ended.
enum Ended {
    /// On disk, but for the requests that failed alone.
    Committed(Vec<Result<(), StoreError>>),
    /// Nothing of it happened.
    Failed(StoreError),
    /// Nothing of it happened, perhaps because of one request: try each alone.
    Apart,
    /// On disk, and nobody may hear of it.
    Crashed,
}

/// Runs and answers a batch; `false` after a simulated crash.
fn run_batch(writer: &mut Writer, shared: &Shared, mut batch: Vec<Box<dyn Request>>) -> bool {
    let ended = transaction(writer, &*shared.disk, &mut batch);
    let results = match ended {
        Ended::Committed(results) => results,
        Ended::Failed(error) => vec![Err(error); batch.len()],
        Ended::Apart => {
            return batch.into_iter().all(|request| run_batch(writer, shared, vec![request]));
        }
        Ended::Crashed => return false,
    };
    if results.iter().any(Result::is_ok)
        && let Ok(head) = events::head(&writer.connection)
    {
        shared.head.raise(head);
    }
    // Here and not by the one who asked: whose future may be dropped, and what is on disk is changed all the same.
    if std::mem::take(&mut writer.erased) {
        shared.erasures.fetch_add(1, Ordering::AcqRel);
    }
    for (request, result) in batch.into_iter().zip(results) {
        request.answer(result);
    }
    true
}

fn transaction(writer: &mut Writer, disk: &dyn Disk, batch: &mut [Box<dyn Request>]) -> Ended {
    let alone = batch.len() == 1;
    if !writer.connection.is_autocommit() {
        // A request before this one panicked.
        writer.roll_back();
    }
    let durable = batch.iter().any(|request| request.urgency() == Urgency::Durable);
    if let Err(error) = writer.wait_for_disk(durable).and_then(|()| writer.connection.execute_batch("BEGIN IMMEDIATE"))
    {
        return writer.failed(error.into());
    }
    let mut results = Vec::with_capacity(batch.len());
    for request in batch.iter_mut() {
        let result = if alone { request.apply(writer) } else { writer.in_savepoint(&mut **request) };
        if writer.connection.is_autocommit() {
            // A full disk and the like: SQLite has rolled back the whole transaction by itself.
            let error = result.err().unwrap_or_else(|| StoreError::new("the database gave up the transaction"));
            return if alone { writer.failed(error) } else { writer.apart() };
        }
        if result.is_err() {
            writer.forget();
        }
        results.push(result);
    }
    if results.iter().all(Result::is_err) {
        writer.roll_back();
        return Ended::Committed(results);
    }
    if let Err(text) = disk.at_commit(CommitMoment::Before) {
        writer.roll_back();
        return writer.failed(StoreError::new(text));
    }
    if let Err(error) = writer.connection.execute_batch("COMMIT") {
        writer.roll_back();
        return if alone { writer.failed(error.into()) } else { writer.apart() };
    }
    match disk.at_commit(CommitMoment::After) {
        Ok(()) => Ended::Committed(results),
        Err(_) => Ended::Crashed,
    }
}

impl Writer {
    /// Whether the next COMMIT waits for the disk.
    fn wait_for_disk(&mut self, wait: bool) -> rusqlite::Result<()> {
        if self.waits_for_disk != wait {
            self.connection.pragma_update(None, "synchronous", if wait { "FULL" } else { "NORMAL" })?;
            self.waits_for_disk = wait;
        }
        Ok(())
    }

    fn in_savepoint(&mut self, request: &mut dyn Request) -> Result<(), StoreError> {
        self.connection.execute_batch("SAVEPOINT request")?;
        let result = request.apply(self);
        if self.connection.is_autocommit() {
            return result;
        }
        let end = if result.is_ok() { "RELEASE request" } else { "ROLLBACK TO request; RELEASE request" };
        self.connection.execute_batch(end)?;
        result
    }

    /// What is remembered beside the file may stem from rows that are gone again.
    fn forget(&mut self) {
        self.faults += 1;
        self.last_captures.clear();
    }

    fn failed(&mut self, error: StoreError) -> Ended {
        self.forget();
        Ended::Failed(error)
    }

    fn apart(&mut self) -> Ended {
        self.forget();
        Ended::Apart
    }

    fn roll_back(&mut self) {
        self.forget();
        if !self.connection.is_autocommit() {
            // If even this fails the connection is unusable, and the next BEGIN says so.
            let _ = self.connection.execute_batch("ROLLBACK");
        }
    }
}
