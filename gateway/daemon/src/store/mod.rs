//! The store: the log of events, the bytes they came from, and how far each destination has come.
//!
//! Invariants, each kept by one place:
//! 1. A capture, the events read from it and the end of their message are one transaction ([`Store::commit`]). It is answered
//!    only once it is on disk (`synchronous=FULL`).
//! 2. An event's id is stored once. An event whose id is known is a repeat: counted, not stored; its bytes are kept.
//! 3. A seq is given out once, in the order of commit, and never again, not even after deletions or damage.
//! 4. Everything that belongs to a destination at or below its cursor and has no row is done. Only [`Store::record`] moves a
//!    cursor, never backwards, and writes the rows of what it passes in the same transaction.
//! 5. What belongs to a destination is fixed by the epoch in force at the event's seq ([`Store::configure`]).
//! 6. An undone event is never deleted (a foreign key), a result never evicted; what is evicted is an event of the log.
//! 7. A damaged file never stops a start: it is set aside and what can be read of it goes on (salvage.rs). A full or read-only
//!    disk does stop it, with a sentence that says what to do.
//!
//! Writes are queued and grouped (writer.rs); reads have their own read-only connections. All of it runs through the `Disk`
//! port, so a simulation runs it inline. Only this folder contains SQL; the tables are explained in schema.sql.
//!
//! Dropping the last handle is like pulling the plug: what was answered is on disk. [`Store::close`] is the orderly stop, after
//! which the next start need not check the file.

mod asked;
mod attempts;
mod audit;
pub mod backup;
mod captures;
mod connect;
mod deletion_requests;
mod deliveries;
mod destinations;
mod done;
mod erase;
mod error;
mod events;
mod evict;
mod facts;
mod files;
mod graft;
mod hand;
mod head;
mod identities;
mod lanes;
mod listing;
mod looks;
mod manifests;
mod messages;
mod migrate;
mod newest;
mod open;
pub mod patch;
mod paused;
pub mod people;
mod read_store;
mod redrive;
mod registrations;
mod requests;
mod retained;
mod retention;
mod salvage;
mod tokens;
mod types;
mod versions;
mod writer;

pub use asked::Asked;
pub use attempts::AttemptReasons;
pub use done::Swept;
pub use error::StoreError;
pub use events::{GATEWAY, unsendable};
pub use head::HeadWatch;
pub use listing::{ExportedTo, ListedTest, WhichResults, WhichTests};
pub use looks::{Queued, Sought};
pub use messages::{Content, MessageHead, Part, Statement, Which};
pub use people::{Changed, Person};
pub use read_store::{Counts, DestinationCounts, ReadStore, Standings};
pub use redrive::RedriveWatch;
pub use registrations::Worklist;
pub use requests::Cause;
pub use types::{
    AttemptNote, AuditEntry, Backlog, Committed, DeadLetter, Delivery, DestinationId, Erased, Filter, LiveMove,
    LivePart, Missing, NewEntry, Page, PostedFilter, Record, Row, Selection, StoredToken, Subject,
};

use crate::platform::disk::aside;
use crate::platform::{Clock, Disk};
use gateway_core::event::{AnalyzerId, Event, EventId, EventName, Seq, TestId};
use gateway_core::session::RunningTest;
use gateway_core::time::{Mono, Now, Timestamp};
use rusqlite::Connection;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// Connections kept for the next reader.
const IDLE_READERS_MAX: usize = 4;
/// How long a checkpoint waits for readers.
const CHECKPOINT_TIMEOUT: Duration = Duration::from_millis(250);

/// A handle to the store; clones share it.
#[derive(Clone)]
pub struct Store {
    shared: Arc<Shared>,
}

struct Shared {
    path: PathBuf,
    clock: Arc<dyn Clock>,
    disk: Arc<dyn Disk>,
    queue: writer::Queue,
    writer: Mutex<hand::Writer>,
    readers: Mutex<Vec<open::Reader>>,
    head: head::Head,
    redrives: redrive::Redrives,
    /// Counts the writes that may have changed a registration.
    registered: head::Head,
    /// A read has failed: an orderly stop is then not marked clean, so that the next start checks the file.
    suspect: Arc<AtomicBool>,
    /// How often a person's data was erased since the start.
    erasures: AtomicU64,
    /// Held by the one erasure that goes on.
    erasing: tokio::sync::Mutex<()>,
    /// Something erased may still be in the WAL.
    unwiped: AtomicBool,
    /// When this process began to open it.
    opened: Mono,
    /// Released last, after the connections are closed.
    _lock: std::fs::File,
}

impl Store {
    /// Opens the database file at `path` (its folder is made if it is missing), or starts a new one.
    pub async fn open(path: &Path, clock: Arc<dyn Clock>, disk: Arc<dyn Disk>) -> Result<Store, StoreError> {
        let (path, ports) = (path.to_owned(), (clock, Arc::clone(&disk)));
        let opened = ports.0.now().mono;
        let shared = on_disk(&*disk, move || {
            let lock = open::lock(&path)?;
            let connection = open::writer(&path, &*ports.0)?;
            let head = events::head(&connection)?;
            let last_captures = hand::LastCaptures::new();
            let writer = hand::Writer { connection, last_captures, waits_for_disk: true, faults: 0, erased: false };
            let (clock, disk) = ports;
            Ok(Shared {
                path,
                clock,
                disk,
                queue: writer::Queue::default(),
                writer: Mutex::new(writer),
                readers: Mutex::default(),
                head: head::Head::new(head),
                redrives: redrive::Redrives::default(),
                registered: head::Head::new(Seq(0)),
                suspect: Arc::default(),
                erasures: AtomicU64::new(0),
                erasing: Default::default(),
                // An earlier process may have left it there.
                unwiped: AtomicBool::new(true),
                opened,
                _lock: lock,
            })
        });
        Ok(Store { shared: Arc::new(shared.await?) })
    }

    /// The log's head; changes after each commit that stored events.
    pub fn head(&self) -> HeadWatch {
        self.shared.head.watch()
    }

    /// When this process began to open the store.
    pub fn opened(&self) -> Mono {
        self.shared.opened
    }

    /// How long a commit may wait for company while more than one analyzer is active. Zero, the default: not at all.
    pub fn set_linger(&self, linger: Duration) {
        self.shared.queue.set_linger(linger);
    }

    /// Stores a capture and its events. An error says that nothing of it is stored. Dropping the future does not take the
    /// commit back: it may still happen, and its repetition is then a known one.
    pub async fn commit(&self, entry: NewEntry) -> Result<Committed, StoreError> {
        self.commit_heard_at(entry.analyzer.clone(), entry).await
    }

    /// The same for an analyzer that speaks at another one's port: the capture is that port's, the events are its own.
    pub async fn commit_heard_at(&self, port: AnalyzerId, entry: NewEntry) -> Result<Committed, StoreError> {
        let boot = self.shared.clock.boot();
        let linger = self.shared.queue.linger_for(&entry.analyzer, entry.at.mono);
        let may_register = entry.events.iter().any(|(_, kind)| kind.name == EventName::TestFinished);
        let committed = self.shared.write(linger, move |writer| events::commit(writer, &port, &entry, boot)).await?;
        if may_register {
            self.shared.registered.step();
        }
        Ok(committed)
    }

    /// Gives up the analyzer's unfinished message without reading it, for when [`Store::unfinished`] cannot: its captures are
    /// closed and a `GAP` of that analyzer with the id `id` says so, in one transaction. Nothing is done if nothing is open.
    pub async fn abandon_unfinished(&self, analyzer: &AnalyzerId, at: Now, id: EventId) -> Result<(), StoreError> {
        let boot = self.shared.clock.boot();
        let analyzer = analyzer.clone();
        let work = move |writer: &mut hand::Writer| events::abandon_unfinished(writer, &analyzer, at, boot, id);
        self.shared.write(Duration::ZERO, work).await
    }

    /// Writes what became of deliveries; on disk with the next commit at the latest. Refused if it would move the cursor backwards or leave a hole in the ordinals.
    pub async fn record(&self, destination: &DestinationId, record: Record) -> Result<(), StoreError> {
        let destination = destination.clone();
        let clock = Arc::clone(&self.shared.clock);
        let work = move |writer: &mut hand::Writer| {
            destinations::record(&writer.connection, clock.now(), clock.boot(), &destination, &record)
        };
        self.shared.write_when(writer::Urgency::Soon, Duration::ZERO, work).await
    }

    /// Makes the destinations known: a new one starts at the log's end; a changed filter closes an epoch and opens the next;
    /// ones not named get no further event and keep their backlog.
    pub async fn configure(&self, destinations: &[(DestinationId, Filter)]) -> Result<(), StoreError> {
        let wanted = destinations.to_vec();
        self.shared.write(Duration::ZERO, move |writer| destinations::configure(&writer.connection, &wanted)).await
    }

    /// Every destination that has not been dropped, and whether it is in the settings.
    pub async fn destinations(&self) -> Result<Vec<(DestinationId, bool)>, StoreError> {
        self.read(destinations::all).await
    }

    /// Forgets a destination with all of its backlog; `false` if there was none. Only a person may ask for this.
    pub async fn drop_destination(&self, destination: &DestinationId) -> Result<bool, StoreError> {
        let id = destination.clone();
        self.shared.write(Duration::ZERO, move |writer| destinations::drop_destination(&writer.connection, &id)).await
    }

    /// The destination's cursor and its undone rows in the order of the log.
    pub async fn backlog(&self, destination: &DestinationId) -> Result<Backlog, StoreError> {
        let destination = destination.clone();
        let (now, boot) = (self.shared.clock.now(), self.shared.clock.boot());
        self.read(move |connection| destinations::backlog(connection, now, boot, &destination)).await
    }

    /// The next events after `after` that belong to the destination by the epochs, at most `limit`, and the seq up to which
    /// the log was looked through. It may be fewer although more follow; nothing follows once that seq is the head.
    pub async fn next_events(
        &self,
        destination: &DestinationId,
        after: Seq,
        limit: usize,
    ) -> Result<(Vec<Event>, Seq), StoreError> {
        let id = destination.clone();
        self.read(move |connection| destinations::next_events(connection, &id, after, limit)).await
    }

    /// The next events of the log, whoever they are for, at most `limit`.
    pub async fn events_after(&self, after: Seq, limit: usize) -> Result<Vec<Event>, StoreError> {
        self.show(move |connection| events::after(connection, after, limit)).await
    }

    /// The next events of these names, at most `limit`, and the seq up to which the log was looked through.
    pub async fn events_named(
        &self,
        names: &'static [EventName],
        after: Seq,
        limit: usize,
    ) -> Result<(Vec<Event>, Seq), StoreError> {
        self.read(move |connection| events::named(connection, names, after, limit)).await
    }

    /// One event.
    pub async fn event(&self, seq: Seq) -> Result<Option<Event>, StoreError> {
        self.read(move |connection| events::get(connection, seq)).await
    }

    /// The event of that id.
    pub async fn event_by_id(&self, id: EventId) -> Result<Option<Event>, StoreError> {
        self.read(move |connection| events::by_id(connection, id)).await
    }

    /// The exact bytes of the message that an event was read from; `None` if it came from silence or they are gone.
    pub async fn capture(&self, seq: Seq) -> Result<Option<Vec<u8>>, StoreError> {
        self.show(move |connection| captures::of_event(connection, seq)).await
    }

    /// The attempts made for an event at a destination, oldest first.
    pub async fn attempts(&self, destination: &DestinationId, seq: Seq) -> Result<Vec<AttemptNote>, StoreError> {
        let destination = destination.clone();
        self.show(move |connection| attempts::of_event(connection, &destination, seq)).await
    }

    /// How the attempts in the books went, by destination, reason and status.
    pub async fn attempt_reasons(&self) -> Result<Vec<AttemptReasons>, StoreError> {
        self.show(attempts::reasons).await
    }

    /// The events of one test up to `through`, oldest first.
    pub async fn test_history(&self, test: TestId, through: Seq) -> Result<Vec<Event>, StoreError> {
        self.read(move |connection| events::of_test(connection, test, through)).await
    }

    /// The bytes of the analyzer's message that never became complete, empty if there is none.
    pub async fn unfinished(&self, analyzer: &AnalyzerId) -> Result<Vec<u8>, StoreError> {
        let analyzer = analyzer.clone();
        self.read(move |connection| captures::unfinished(connection, &analyzer)).await
    }

    /// The analyzer's newest test, if nothing has ended it.
    pub async fn running_test(&self, analyzer: &AnalyzerId) -> Result<Option<RunningTest>, StoreError> {
        let analyzer = analyzer.clone();
        self.read(move |connection| events::running_test(connection, &analyzer)).await
    }

    /// When anything that the analyzer said was last stored, and when a test of it that had ended.
    pub async fn last_heard(
        &self,
        analyzer: &AnalyzerId,
    ) -> Result<(Option<Timestamp>, Option<Timestamp>), StoreError> {
        let analyzer = analyzer.clone();
        self.read(move |connection| events::last_heard(connection, &analyzer)).await
    }

    /// Gives the events of this boot after `beyond` (the newest one shown anywhere) whose clock was not synchronized the time
    /// that `now`, which is, puts them at, and appends `CLOCK_CORRECTED` with the id `id`. Returns that event's seq; `None` if
    /// there was nothing to correct.
    pub async fn correct_clock(&self, beyond: Seq, now: Now, id: EventId) -> Result<Option<Seq>, StoreError> {
        let boot = self.shared.clock.boot();
        let work = move |writer: &mut hand::Writer| events::correct_clock(&writer.connection, boot, beyond, now, id);
        self.shared.write(Duration::ZERO, work).await
    }

    /// The newest event that any destination has come to, as far as the store knows.
    pub async fn furthest_cursor(&self) -> Result<Seq, StoreError> {
        self.read(destinations::furthest_cursor).await
    }

    /// Every analyzer whose bytes are in the store, configured or not.
    pub async fn analyzers_seen(&self) -> Result<Vec<AnalyzerId>, StoreError> {
        self.read(captures::analyzers).await
    }

    /// What commands and the status page show.
    pub async fn counts(&self) -> Result<Counts, StoreError> {
        self.show(read_store::counts).await
    }

    /// The log's size, and how much there is to do for each destination. Cheap enough to be asked often.
    pub async fn standings(&self) -> Result<Standings, StoreError> {
        self.show(read_store::standings).await
    }

    /// The size of the journal beside the database, in bytes.
    pub fn wal_bytes(&self) -> u64 {
        files::wal_bytes(&self.shared.path)
    }

    /// The orderly stop: empties the WAL into the file and marks it as checked. Nothing may be written afterwards.
    pub async fn close(self) -> Result<(), StoreError> {
        // Not the whole of `Shared`: a request that is never run would keep its own queue alive, and with it the lock.
        let suspect = Arc::clone(&self.shared.suspect);
        let work = move |writer: &mut hand::Writer| {
            if writer.faults == 0 && !suspect.load(Ordering::Relaxed) {
                writer.connection.execute("UPDATE meta SET value = 1 WHERE key = 'clean'", [])?;
            }
            Ok(())
        };
        self.shared.write(Duration::ZERO, work).await?;
        self.checkpoint().await.map(|_| ())
    }

    /// Moves the WAL into the file and truncates it, so that deleted data is gone from the disk. Returns whether that is done;
    /// it is not while a reader is in the way.
    async fn checkpoint(&self) -> Result<bool, StoreError> {
        let shared = Arc::clone(&self.shared);
        on_disk(&*self.shared.disk, move || {
            let writer = shared.writer.lock().unwrap_or_else(PoisonError::into_inner);
            // A reader in the way is not waited for long: commits wait meanwhile, and the next checkpoint does the same.
            writer.connection.busy_timeout(CHECKPOINT_TIMEOUT)?;
            let done = writer
                .connection
                .query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| Ok(row.get::<_, i64>(0)? == 0));
            writer.connection.busy_timeout(connect::BUSY_TIMEOUT)?;
            Ok(done?)
        })
        .await
    }

    /// Reads what the gateway itself needs.
    async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Connection) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.view(open::WORK_TIME_MAX, read).await
    }

    /// Reads what is shown to a person, who can ask again.
    async fn show<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Connection) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.view(open::SHOWN_TIME_MAX, read).await
    }

    async fn view<T: Send + 'static>(
        &self,
        statement_time_max: Duration,
        read: impl FnOnce(&Connection) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let shared = Arc::clone(&self.shared);
        on_disk(&*self.shared.disk, move || {
            let idle = shared.readers.lock().unwrap_or_else(PoisonError::into_inner).pop();
            let reader = match idle {
                Some(reader) => reader,
                None => open::Reader::open(&shared.path, Arc::clone(&shared.clock))?,
            };
            let result = reader.view(statement_time_max, read);
            let is_trouble = result.as_ref().err().is_some_and(|error| !error.is_refusal());
            shared.suspect.fetch_or(is_trouble, Ordering::Relaxed);
            let mut readers = shared.readers.lock().unwrap_or_else(PoisonError::into_inner);
            if readers.len() < IDLE_READERS_MAX {
                readers.push(reader);
            }
            result
        })
        .await
    }
}

/// Runs work on the disk port and hands its result back.
async fn on_disk<T: Send + 'static>(
    disk: &dyn Disk,
    work: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
) -> Result<T, StoreError> {
    let stopping = || Err(StoreError::new("the gateway is stopping: the database was not asked"));
    aside(disk, work).await.unwrap_or_else(stopping)
}
