//! One port: opens it, feeds its bytes to the analyzer's session, performs what the session asks, and opens it again.
//!
//! Absence is a state, not an error: the link waits for its analyzer for ever. Invariant: bytes that arrive while a commit
//! is on its way wait here, and the session hears nothing but the commit's end; so what a session sends after `Committed`
//! is sent after the commit. The link knows no destination: it meets the dispatcher only in the store.

mod companion;
mod conversation;

use crate::board::Board;
use crate::platform::{Platform, Stream};
use crate::pulse::{BEAT_SECONDS, Pulse, Stop};
use crate::store::{NewEntry, Store};
use conversation::Conversation;
use gateway_core::config::{Analyzer, Port};
use gateway_core::drivers::{against_noise, converse};
use gateway_core::event::{Alarm, AnalyzerId, EventId, EventKind, EventName, Id, Rejection};
use gateway_core::health::Fact;
use gateway_core::identity::{Heard, Identities};
use gateway_core::session::{Commit, Driver, DriverOptions};
use gateway_core::time::{Mono, Now};
use std::future::Future;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Between two attempts to open a port. Looking into /sys once a second costs next to nothing, and an adapter that is plugged
/// in takes about as long until udev has given it its names; so nothing watches /dev.
const REOPEN_SECONDS: u64 = 1;
/// An analyzer that cannot be reached is called again after twice as long each time, up to this.
const CALL_SECONDS_MAX: u64 = 30;
/// Between two alarms about the same thing.
const ALARM_QUIET: Duration = Duration::from_secs(3600);

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
        let mut reopen_seconds = REOPEN_SECONDS;
        let mut quiet_until = Mono(0);
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
                    match self.converse(stream, stop.clone(), &mut quiet_until).await {
                        End::Stopped => return,
                        End::Gone(reason) => {
                            tracing::warn!(analyzer = %id, %reason, "port lost, waiting for it to come back");
                            self.note(EventName::AnalyzerDisconnected, Some(&reason)).await;
                            self.tell_gone(reason);
                            self.identities().closed(id);
                            // One that called and hung up may call again at once; one that does so all the time waits.
                            let stayed = self.platform.clock.now().mono.since(opened_at).as_secs() >= REOPEN_SECONDS;
                            if stayed && self.is_called() {
                                continue;
                            }
                            reopen_seconds = self.pause_after(reopen_seconds, stayed);
                        }
                    }
                }
                Err(error) => {
                    if error.0 != absent_because {
                        tracing::warn!(analyzer = %id, reason = %error, "port does not open, trying again and again");
                        let fact = Fact::LinkAbsent { analyzer: id.clone(), reason: error.0.clone() };
                        self.board.tell(self.platform.clock.now(), fact);
                        absent_because = error.0;
                    }
                    reopen_seconds = self.pause_after(reopen_seconds, false);
                }
            }
            let pause = self.platform.clock.sleep_until(self.in_seconds(reopen_seconds));
            tokio::select! {
                biased;
                () = stop.asked() => return,
                () = self.beating(pause) => {}
            }
        }
    }

    /// Whether the analyzer calls us, so that hanging up is its way to end a conversation.
    fn is_called(&self) -> bool {
        matches!(self.analyzer.port, Port::TcpListen(_))
    }

    /// How long to wait before the next attempt. Only where we call: a port of this box costs nothing to look at.
    fn pause_after(&self, seconds: u64, stayed: bool) -> u64 {
        match self.analyzer.port {
            Port::TcpConnect(_) if !stayed => (seconds * 2).min(CALL_SECONDS_MAX),
            _ => REOPEN_SECONDS,
        }
    }

    fn tell_gone(&self, reason: String) {
        let analyzer = self.analyzer.id.clone();
        let fact = match self.is_called() {
            true => Fact::LinkAbsent { analyzer, reason: "waits for the analyzer to call".to_owned() },
            false => Fact::LinkLost { analyzer, reason },
        };
        self.board.tell(self.platform.clock.now(), fact);
    }

    async fn converse(&self, stream: Box<dyn Stream>, stop: Stop, quiet_until: &mut Mono) -> End {
        let session = match converse(self.driver, &self.options) {
            // The driver exec refuses by itself: its program waits for what is true.
            Ok(session) if !self.options.command.is_empty() => session,
            Ok(session) => against_noise(session),
            Err(error) => return End::Gone(error.to_string()),
        };
        Conversation::new(self, stream, session, quiet_until).run(stop).await
    }

    /// Stores a fact about the port itself. What is unfinished stays unfinished.
    async fn note(&self, name: EventName, reason: Option<&str>) {
        let details = reason.map(|reason| serde_json::json!({ "reason": reason }));
        self.state(EventKind { details, ..EventKind::bare(name) }).await;
    }

    async fn state(&self, kind: EventKind) {
        let name = kind.name;
        if !self.beating(self.store_fact(kind)).await {
            tracing::error!(analyzer = %self.analyzer.id, event = %name, "not stored");
        }
    }

    /// The commit: one transaction, and whether it happened. If another analyzer speaks here than the settings or its past
    /// tell, that is stored first.
    fn store(&self, commit: Commit) -> impl Future<Output = bool> + Send + use<'_> {
        let Heard { whose, alarm, learnt } = self.who_speaks(&commit);
        let alarm = alarm.map(|alarm| EventKind::alarm(&alarm.code, alarm.reason));
        let number = commit.events.iter().find_map(serial_number).filter(|_| learnt).map(str::to_owned);
        async move {
            if let Some(alarm) = alarm
                && !self.store_fact(alarm).await
            {
                self.identities().untold(&self.analyzer.id);
                return false;
            }
            let stored = self.store_as(whose, commit).await;
            if let (true, Some(number)) = (stored, number) {
                self.identities().learn(&self.analyzer.id, number.clone());
                if let Err(error) = self.store.learn_identity(self.analyzer.id.clone(), number).await {
                    tracing::warn!(analyzer = %self.analyzer.id, %error, "the serial number is learnt again next time");
                }
            }
            stored
        }
    }

    fn who_speaks(&self, commit: &Commit) -> Heard {
        let port = &self.analyzer.id;
        match commit.events.iter().find_map(serial_number) {
            Some(number) if is_our_own(commit) => self.identities().mention(port, number),
            Some(number) => self.identities().hear(port, number),
            None => Heard { whose: port.clone(), alarm: None, learnt: false },
        }
    }

    fn identities(&self) -> MutexGuard<'_, Identities> {
        self.identities.lock().unwrap_or_else(PoisonError::into_inner)
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
        let traced: Vec<_> = events.iter().map(|(id, kind)| (*id, kind.name)).collect();
        let news: Vec<_> = events
            .iter()
            .filter(|(_, kind)| kind.rejection.is_some() || kind.alarm.is_some())
            .map(|(id, kind)| (*id, kind.rejection.clone(), kind.alarm.clone()))
            .collect();
        let entry =
            NewEntry { analyzer: analyzer.clone(), at, capture: commit.capture, events, complete: commit.complete };
        let (store, board, port) = (self.store.clone(), self.board.clone(), self.analyzer.id.clone());
        let clock = self.platform.clock.clone();
        async move {
            let committed = store.commit_heard_at(port, entry).await;
            let done = clock.now();
            board.tally.committed(done.mono.since(at.mono), committed.is_ok());
            match committed {
                Ok(committed) => {
                    for (event, name) in traced {
                        board.spans.committed(event, &analyzer.0, name, at, done);
                    }
                    tracing::debug!(%analyzer, stored = committed.stored, repeated = committed.repeated, "committed");
                    for fact in facts {
                        board.tell(at, fact);
                    }
                    for (event, rejection, alarm) in news {
                        if let Some(rejection) = &rejection {
                            board.tally.rejected(&analyzer, &rejection.code);
                        }
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

/// Whether it states what came of silence: the analyzer has said nothing in it.
fn is_our_own(commit: &Commit) -> bool {
    let ours = [EventName::Gap, EventName::AnalyzerAlarm, EventName::MessageRejected];
    commit.capture.is_empty() && commit.events.iter().all(|event| ours.contains(&event.name))
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
