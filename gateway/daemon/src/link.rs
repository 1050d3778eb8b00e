//! One port: opens it, feeds its bytes to the analyzer's session, performs what the session asks, and opens it again.
//!
//! Absence is a state, not an error: the link waits for its analyzer for ever. Invariant: bytes that arrive while a commit
//! is on its way wait here, and the session hears nothing but the commit's end; so what a session sends after `Committed`
//! is sent after the commit. The link knows no destination: it meets the dispatcher only in the store.

use crate::board::Board;
use crate::platform::{Platform, Stream};
use crate::pulse::{BEAT_SECONDS, Pulse, Stop};
use crate::store::{NewEntry, Store, StoreError, Worklist};
use gateway_core::config::{Analyzer, Port};
use gateway_core::drivers::converse;
use gateway_core::event::{Alarm, AnalyzerId, EventId, EventKind, EventName, Id, Rejection};
use gateway_core::health::Fact;
use gateway_core::identity::{Heard, Identities};
use gateway_core::session::{Action, Commit, Driver, DriverOptions, Input, Resume, Session};
use gateway_core::time::{Mono, Now};
use gateway_core::worklist::{Question, WorkOrder};
use std::collections::VecDeque;
use std::future::Future;
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// Bytes that may wait here during one commit; beyond it they wait in the kernel.
const HELD_BYTES_MAX: usize = 1 << 20;
/// Between two attempts to open a port.
const REOPEN_SECONDS: u64 = 1;
/// After so many failures to read an unfinished message back it is given up.
const RESUME_FAILURES_MAX: u32 = 5;
/// How long a closed port's session may try to store what it owes.
const CLOSE_SECONDS_MAX: u64 = 4;
/// A port that takes no byte for this long is gone.
const SEND_SECONDS_MAX: u64 = 10;

/// One analyzer's port.
pub struct Link {
    pub analyzer: Analyzer,
    pub driver: &'static dyn Driver,
    pub options: DriverOptions,
    pub platform: Platform,
    pub store: Store,
    pub board: Arc<Board>,
    pub identities: Arc<Mutex<Identities>>,
    pub pulse: Pulse,
}

/// Why a conversation ended.
enum End {
    Gone(String),
    Stopped,
}

impl Link {
    /// Runs until it is asked to stop.
    pub async fn run(self, stop: Stop) {
        self.keep_open(stop).await;
        self.platform.serial.forget(&self.analyzer.port);
    }

    async fn keep_open(&self, mut stop: Stop) {
        let id = &self.analyzer.id;
        let mut absent_because = String::new();
        if self.is_called() {
            self.tell_gone(String::new());
        }
        while !stop.is_asked() {
            let opening = self.platform.serial.open(&self.analyzer.port, &self.analyzer.line);
            let opened = tokio::select! {
                biased;
                () = stop.asked() => return,
                opened = self.beating(opening) => opened,
            };
            match opened {
                Ok(stream) => {
                    let opened_at = self.platform.clock.now().mono;
                    absent_because.clear();
                    tracing::info!(analyzer = %id, "port open");
                    self.board.tell(self.platform.clock.now(), Fact::LinkOpened { analyzer: id.clone() });
                    self.note(EventName::AnalyzerConnected, None).await;
                    match self.converse(stream, stop.clone()).await {
                        End::Stopped => return,
                        End::Gone(reason) => {
                            tracing::warn!(analyzer = %id, %reason, "port lost, waiting for it to come back");
                            self.note(EventName::AnalyzerDisconnected, Some(&reason)).await;
                            self.tell_gone(reason);
                            self.identities.lock().unwrap_or_else(PoisonError::into_inner).closed(id);
                            // One that called and hung up may call again at once; one that does so all the time waits.
                            let stayed = self.platform.clock.now().mono.since(opened_at).as_secs() >= REOPEN_SECONDS;
                            if stayed && self.is_called() {
                                continue;
                            }
                        }
                    }
                }
                Err(error) => {
                    if error.0 != absent_because {
                        tracing::warn!(analyzer = %id, reason = %error, "port does not open, trying every second");
                        let fact = Fact::LinkAbsent { analyzer: id.clone(), reason: error.0.clone() };
                        self.board.tell(self.platform.clock.now(), fact);
                        absent_because = error.0;
                    }
                }
            }
            let pause = self.in_seconds(REOPEN_SECONDS);
            tokio::select! {
                biased;
                () = stop.asked() => return,
                () = self.platform.clock.sleep_until(pause) => {}
            }
        }
    }

    /// Whether the analyzer calls us, so that hanging up is its way to end a conversation.
    fn is_called(&self) -> bool {
        matches!(self.analyzer.port, Port::TcpListen(_))
    }

    fn tell_gone(&self, reason: String) {
        let analyzer = self.analyzer.id.clone();
        let fact = match self.is_called() {
            true => Fact::LinkAbsent { analyzer, reason: "waits for the analyzer to call".to_owned() },
            false => Fact::LinkLost { analyzer, reason },
        };
        self.board.tell(self.platform.clock.now(), fact);
    }

    async fn converse(&self, stream: Box<dyn Stream>, stop: Stop) -> End {
        let session = match converse(self.driver, &self.options) {
            Ok(session) => session,
            Err(error) => return End::Gone(error.to_string()),
        };
        let conversation = Conversation {
            link: self,
            stream,
            session,
            actions: VecDeque::new(),
            held: Vec::new(),
            gone: None,
            owes: false,
            asked: Vec::new(),
        };
        conversation.run(stop).await
    }

    /// Stores a fact about the port itself. What is unfinished stays unfinished.
    async fn note(&self, name: EventName, reason: Option<&str>) {
        let details = reason.map(|reason| serde_json::json!({ "reason": reason }));
        let kind = EventKind { details, ..EventKind::bare(name) };
        if !self.beating(self.store_fact(kind)).await {
            tracing::error!(analyzer = %self.analyzer.id, event = %name, "not stored");
        }
    }

    /// The commit: one transaction, and whether it happened. If another analyzer speaks here than the settings or its past
    /// tell, that is stored first.
    fn store(&self, commit: Commit) -> impl Future<Output = bool> + Send + use<'_> {
        let Heard { whose, alarm, learnt } = self.who_speaks(&commit.events);
        let alarm = alarm.map(|alarm| EventKind::alarm(&alarm.code, alarm.reason));
        let number = commit.events.iter().find_map(serial_number).filter(|_| learnt).map(str::to_owned);
        async move {
            if let Some(alarm) = alarm
                && !self.store_fact(alarm).await
            {
                return false;
            }
            let stored = self.store_as(whose, commit).await;
            if let (true, Some(number)) = (stored, number)
                && let Err(error) = self.store.learn_identity(self.analyzer.id.clone(), number).await
            {
                tracing::warn!(analyzer = %self.analyzer.id, %error, "the serial number is learnt again next time");
            }
            stored
        }
    }

    fn who_speaks(&self, events: &[EventKind]) -> Heard {
        let port = &self.analyzer.id;
        match events.iter().find_map(serial_number) {
            Some(number) => self.identities.lock().unwrap_or_else(PoisonError::into_inner).hear(port, number),
            None => Heard { whose: port.clone(), alarm: None, learnt: false },
        }
    }

    /// Stores a fact of the gateway's own about this port.
    fn store_fact(&self, kind: EventKind) -> impl Future<Output = bool> + Send + use<> {
        self.store_as(self.analyzer.id.clone(), Commit { events: vec![kind], ..Commit::default() })
    }

    fn store_as(&self, analyzer: AnalyzerId, commit: Commit) -> impl Future<Output = bool> + Send + use<> {
        let at = self.platform.clock.now();
        let events: Vec<(EventId, EventKind)> =
            commit.events.into_iter().map(|kind| (self.event_id(&analyzer, &kind, at), kind)).collect();
        let facts: Vec<Fact> = events.iter().map(|(_, kind)| Fact::event(&analyzer, kind)).collect();
        let news: Vec<_> = events
            .iter()
            .filter(|(_, kind)| kind.rejection.is_some() || kind.alarm.is_some())
            .map(|(id, kind)| (*id, kind.rejection.clone(), kind.alarm.clone()))
            .collect();
        let entry =
            NewEntry { analyzer: analyzer.clone(), at, capture: commit.capture, events, complete: commit.complete };
        let (store, board, port) = (self.store.clone(), self.board.clone(), self.analyzer.id.clone());
        async move {
            match store.commit_heard_at(port, entry).await {
                Ok(committed) => {
                    tracing::debug!(%analyzer, stored = committed.stored, repeated = committed.repeated, "committed");
                    for fact in facts {
                        board.tell(at, fact);
                    }
                    for (event, rejection, alarm) in news {
                        say(&analyzer, event, rejection, alarm);
                    }
                    true
                }
                Err(error) => {
                    tracing::error!(%analyzer, %error, "not stored; the analyzer is told to keep its result");
                    board.tell(at, Fact::StoreFailed { reason: error.to_string() });
                    false
                }
            }
        }
    }

    fn event_id(&self, analyzer: &AnalyzerId, kind: &EventKind, at: Now) -> EventId {
        kind.derived_id(analyzer).unwrap_or_else(|| {
            let mut random = [0; 10];
            self.platform.entropy.fill(&mut random);
            Id::timed(at.wall, random)
        })
    }

    /// Waits and shows that it is alive meanwhile.
    async fn beating<T>(&self, work: impl Future<Output = T>) -> T {
        let mut work = pin!(work);
        loop {
            self.pulse.beat(self.platform.clock.now().mono);
            tokio::select! {
                biased;
                done = &mut work => return done,
                () = self.platform.clock.sleep_until(self.in_seconds(BEAT_SECONDS)) => {}
            }
        }
    }

    fn in_seconds(&self, seconds: u64) -> Mono {
        self.platform.clock.now().mono.after(Duration::from_secs(seconds))
    }
}

fn serial_number(event: &EventKind) -> Option<&str> {
    event.device.as_ref()?.sn.as_deref()
}

/// What a person may want to look at, now that it is stored.
fn say(analyzer: &AnalyzerId, event: EventId, rejection: Option<Rejection>, alarm: Option<Alarm>) {
    if let Some(Rejection { code, reason, bytes }) = rejection {
        tracing::warn!(%analyzer, %event, %code, %reason, bytes, "message rejected; what was received of it is kept");
    }
    if let Some(Alarm { code, reason }) = alarm {
        tracing::warn!(%analyzer, %event, %code, %reason, "alarm");
    }
}

/// An open port and what is being said on it.
struct Conversation<'a> {
    link: &'a Link,
    stream: Box<dyn Stream>,
    session: Box<dyn Session>,
    actions: VecDeque<Action>,
    /// Received while a commit was on its way.
    held: Vec<u8>,
    gone: Option<String>,
    /// Whether the last commit failed.
    owes: bool,
    /// The registrations that the last question was answered from.
    asked: Vec<i64>,
}

impl Conversation<'_> {
    async fn run(mut self, mut stop: Stop) -> End {
        tokio::select! {
            biased;
            () = stop.asked() => return End::Stopped,
            () = self.resume() => {}
        }
        let mut buffer = vec![0; 4096];
        loop {
            self.perform().await;
            self.link.pulse.beat(self.now().mono);
            if !self.held.is_empty() {
                let bytes = std::mem::take(&mut self.held);
                self.tell(Input::Received(&bytes));
                continue;
            }
            if let Some(reason) = self.gone.take() {
                self.close().await;
                return End::Gone(reason);
            }
            let deadline = self.session.deadline();
            if deadline.is_some_and(|due| due <= self.now().mono) {
                self.tell(Input::DeadlineReached);
                continue;
            }
            let beat = self.link.in_seconds(BEAT_SECONDS);
            let wake = deadline.map_or(beat, |due| due.min(beat));
            tokio::select! {
                biased;
                () = stop.asked() => {
                    self.close().await;
                    return End::Stopped;
                }
                read = self.stream.read(&mut buffer) => match read {
                    Ok(0) => self.gone = Some("unplugged or closed by the other side".to_owned()),
                    Ok(count) => self.tell(Input::Received(&buffer[..count])),
                    Err(error) => self.gone = Some(error.to_string()),
                },
                () = self.link.platform.clock.sleep_until(wake) => {}
            }
        }
    }

    /// The session hears what the store remembers of an earlier conversation. A store that cannot be read just now is waited
    /// for: a session without its memory would take a repeat for news. Bytes that cannot be read at all are given up, with a
    /// `GAP` that says so.
    async fn resume(&mut self) {
        let link = self.link;
        let id = &link.analyzer.id;
        let mut failures = 0;
        let (unfinished, running) = loop {
            let memory =
                async { Ok::<_, StoreError>((link.store.unfinished(id).await?, link.store.running_test(id).await?)) };
            let error = match link.beating(memory).await {
                Ok(memory) => break memory,
                Err(error) => error,
            };
            failures += 1;
            tracing::error!(analyzer = %id, %error, "the unfinished message cannot be read back");
            if failures >= RESUME_FAILURES_MAX {
                let now = link.platform.clock.now();
                let gap = EventKind::bare(EventName::Gap);
                if link.beating(link.store.abandon_unfinished(id, now, link.event_id(id, &gap, now))).await.is_ok() {
                    break (Vec::new(), None);
                }
            }
            link.beating(link.platform.clock.sleep_until(link.in_seconds(REOPEN_SECONDS))).await;
        };
        self.tell(Input::Opened(Resume { unfinished: &unfinished, running: running.as_ref() }));
    }

    /// What the session still owes the store it may commit now, for as long as a stop may take.
    async fn close(&mut self) {
        self.tell(Input::Closed);
        self.gone.get_or_insert_default();
        self.perform().await;
        let patience = self.link.in_seconds(CLOSE_SECONDS_MAX);
        while let Some(due) = self.session.deadline().filter(|due| self.owes && *due <= patience) {
            self.link.beating(self.link.platform.clock.sleep_until(due)).await;
            self.tell(Input::DeadlineReached);
            self.perform().await;
        }
    }

    fn tell(&mut self, input: Input<'_>) {
        let mut actions = Vec::new();
        self.session.handle(self.link.platform.clock.now(), input, &mut actions);
        self.actions.extend(actions);
    }

    async fn perform(&mut self) {
        while let Some(action) = self.actions.pop_front() {
            match action {
                Action::Send(bytes) => self.send(&bytes).await,
                Action::Ask(question) => {
                    let orders = self.look_up(question).await;
                    self.tell(Input::Answered(&orders));
                }
                Action::Taken => self.orders_taken().await,
                Action::Tell(_) => {}
                Action::Commit(commit) => {
                    let storing = self.link.store(commit);
                    let stored = self.listening(storing).await;
                    self.owes = !stored;
                    self.tell(if stored { Input::Committed } else { Input::CommitFailed });
                }
            }
        }
    }

    async fn send(&mut self, bytes: &[u8]) {
        if self.gone.is_some() {
            return;
        }
        let patience = self.link.in_seconds(SEND_SECONDS_MAX);
        let writing = async {
            self.stream.write_all(bytes).await?;
            self.stream.flush().await
        };
        tokio::select! {
            biased;
            written = writing => if let Err(error) = written {
                self.gone = Some(error.to_string());
            },
            () = self.link.platform.clock.sleep_until(patience) => {
                self.gone = Some("takes no bytes (flow control, or a dead adapter)".to_owned());
            }
        }
    }

    /// What the registrations say. An analyzer whose question cannot be looked up is told that there is no information: it asks
    /// again with the next tube.
    async fn look_up(&mut self, question: Question) -> Vec<WorkOrder> {
        let (store, analyzer, at) = (self.link.store.clone(), &self.link.analyzer.id, self.now());
        let found = self.listening(async move { store.worklist(analyzer, question, at).await }).await;
        match found {
            Ok(Worklist { orders, registrations }) => {
                tracing::info!(%analyzer, orders = orders.len(), "the analyzer asked what to do");
                self.asked = registrations;
                orders
            }
            Err(error) => {
                tracing::error!(%analyzer, %error, "the worklist cannot be read; the analyzer is told that there are no orders");
                self.asked.clear();
                Vec::new()
            }
        }
    }

    async fn orders_taken(&mut self) {
        let (store, analyzer, at) = (self.link.store.clone(), &self.link.analyzer.id, self.now());
        let registrations = std::mem::take(&mut self.asked);
        if registrations.is_empty() {
            return;
        }
        if let Err(error) = self.listening(async move { store.orders_taken(registrations, at).await }).await {
            tracing::warn!(%analyzer, %error, "it is not stored that the analyzer has its orders; it may be given them again");
        }
    }

    /// Waits for the store and keeps reading meanwhile: a serial adapter's own buffer is small.
    async fn listening<T>(&mut self, work: impl Future<Output = T>) -> T {
        let mut work = pin!(work);
        let mut buffer = [0; 4096];
        loop {
            let may_read = self.gone.is_none() && self.held.len() < HELD_BYTES_MAX;
            tokio::select! {
                biased;
                done = &mut work => return done,
                read = self.stream.read(&mut buffer), if may_read => match read {
                    Ok(0) => self.gone = Some("unplugged or closed by the other side".to_owned()),
                    Ok(count) => self.held.extend_from_slice(&buffer[..count]),
                    Err(error) => self.gone = Some(error.to_string()),
                },
            }
        }
    }

    fn now(&self) -> Now {
        self.link.platform.clock.now()
    }
}
