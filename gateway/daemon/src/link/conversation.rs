//! An open port and what is being said on it: one session from the port's opening to its end.
//!
//! Invariant: while a commit is on its way the session hears nothing but its end; the port is read on meanwhile, the driver's
//! program is not.

use super::companion::{Companion, Turn};
use super::{ALARM_QUIET, End, Link, REOPEN_SECONDS};
use crate::platform::Stream;
use crate::pulse::{BEAT_SECONDS, Stop};
use crate::store::{StoreError, Worklist};
use gateway_core::event::{EventKind, EventName};
use gateway_core::health::Fact;
use gateway_core::session::{Action, Input, Resume, Session};
use gateway_core::time::{Mono, Now};
use gateway_core::worklist::{Question, WorkOrder};
use std::collections::VecDeque;
use std::future::Future;
use std::pin::pin;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// Bytes that may wait here during one commit; beyond it they wait in the kernel.
const HELD_BYTES_MAX: usize = 1 << 20;
/// After so many failures to read an unfinished message back it is given up.
const RESUME_FAILURES_MAX: u32 = 5;
/// How long a closed port's session may try to store what it owes.
const CLOSE_SECONDS_MAX: u64 = 4;
/// A port that takes no byte for this long is gone.
const SEND_SECONDS_MAX: u64 = 10;
/// How long a program may go on after its port is gone, to have something stored.
const PROGRAM_END_SECONDS_MAX: u64 = 2;

/// An open port and what is being said on it.
pub(super) struct Conversation<'a> {
    link: &'a Link,
    stream: Box<dyn Stream>,
    session: Box<dyn Session>,
    /// The driver's child process, if it has one.
    companion: Option<Companion>,
    program_down: bool,
    /// No second alarm about who is turned away before then.
    quiet_until: &'a mut Mono,
    actions: VecDeque<Action>,
    /// Received while a commit was on its way.
    held: Vec<u8>,
    gone: Option<String>,
    /// Whether the last commit failed.
    owes: bool,
    /// The registrations that the last question was answered from.
    asked: Vec<i64>,
}

impl<'a> Conversation<'a> {
    pub fn new(
        link: &'a Link,
        stream: Box<dyn Stream>,
        session: Box<dyn Session>,
        quiet_until: &'a mut Mono,
    ) -> Conversation<'a> {
        let command = &link.options.command;
        let (programs, clock) = (link.platform.programs.clone(), link.platform.clock.clone());
        Conversation {
            link,
            stream,
            session,
            companion: (!command.is_empty()).then(|| Companion::new(programs, clock, command.clone())),
            program_down: false,
            quiet_until,
            actions: VecDeque::new(),
            held: Vec::new(),
            gone: None,
            owes: false,
            asked: Vec::new(),
        }
    }

    pub async fn run(mut self, mut stop: Stop) -> End {
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
            self.alarm_of_who_is_turned_away().await;
            let beat = self.link.in_seconds(BEAT_SECONDS);
            let wake = deadline.map_or(beat, |due| due.min(beat));
            tokio::select! {
                biased;
                () = stop.asked() => {
                    self.close().await;
                    return End::Stopped;
                }
                turn = turn(&mut self.companion) => self.take_turn(turn),
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
        self.end_program().await;
        let patience = self.link.in_seconds(CLOSE_SECONDS_MAX);
        while let Some(due) = self.session.deadline().filter(|due| self.owes && *due <= patience) {
            self.link.beating(self.link.platform.clock.sleep_until(due)).await;
            self.tell(Input::DeadlineReached);
            self.perform().await;
        }
    }

    /// What the driver's program has said or come to.
    fn take_turn(&mut self, turn: Turn) {
        let analyzer = &self.link.analyzer.id;
        match turn {
            Turn::Said(bytes) => {
                if std::mem::take(&mut self.program_down) {
                    self.link.board.tell(self.now(), Fact::LinkOpened { analyzer: analyzer.clone() });
                }
                self.tell(Input::Told(&bytes));
            }
            Turn::Ended(reason, seconds) => {
                self.program_is_down(reason, seconds);
                self.tell(Input::ChildEnded);
            }
            Turn::Absent(reason, seconds) => self.program_is_down(reason, seconds),
            Turn::Nothing => {}
        }
    }

    fn program_is_down(&mut self, reason: String, seconds: u64) {
        // One that ends with its port does as it should.
        if self.gone.is_some() {
            return;
        }
        let analyzer = &self.link.analyzer.id;
        tracing::warn!(%analyzer, %reason, seconds, "the analyzer's program is started again");
        self.program_down = true;
        self.link.board.tell(self.now(), Fact::ProgramDown { analyzer: analyzer.clone(), reason });
    }

    /// The program hears that the port is gone, may have something stored, and is ended.
    async fn end_program(&mut self) {
        let patience = self.link.in_seconds(PROGRAM_END_SECONDS_MAX);
        while self.companion.as_ref().is_some_and(Companion::is_running) {
            let turn = tokio::select! {
                biased;
                turn = turn(&mut self.companion) => turn,
                () = self.link.platform.clock.sleep_until(patience) => break,
            };
            self.take_turn(turn);
            self.perform().await;
        }
        if self.companion.take().is_some_and(|companion| companion.is_running()) {
            self.tell(Input::ChildEnded);
            self.perform().await;
        }
    }

    /// Somebody else calls while the analyzer is connected: two of them may have the same settings.
    async fn alarm_of_who_is_turned_away(&mut self) {
        let Some(address) = self.link.platform.serial.turned_away(&self.link.analyzer.port) else { return };
        let now = self.now();
        if now.mono < *self.quiet_until {
            return;
        }
        *self.quiet_until = now.mono.after(ALARM_QUIET);
        let reason = format!(
            "another machine ({address}) calls on this analyzer's port while the analyzer is connected; it is turned away"
        );
        self.link.state(EventKind::alarm("turned_away", reason)).await;
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
                Action::Tell(line) => {
                    if let Some(companion) = &mut self.companion {
                        companion.tell(&line);
                    }
                }
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

/// The program's next turn; never, where there is none.
async fn turn(companion: &mut Option<Companion>) -> Turn {
    match companion {
        Some(companion) => companion.turn().await,
        None => std::future::pending().await,
    }
}
