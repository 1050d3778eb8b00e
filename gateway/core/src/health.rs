//! The state of everything: a fold over facts. What it has learnt is read as an [`Overview`].
//!
//! Invariant: no patient data can get in. Facts carry names, states and reasons, and reasons never quote received bytes.

mod notices;

use crate::delivery::{DestinationView, Reason, ReasonCode};
use crate::event::{AnalyzerId, EventId, EventKind, EventName, TestState};
use crate::monitoring::{Notice, NoticeCode, Outbox};
use crate::overview::{
    AnalyzerOverview, Cause, Configuration, DestinationOverview, Overview, SCHEMA, StoreOverview, Trouble, Urgency,
    Vitals,
};
use crate::time::{ClockQuality, Now, Timestamp};
use crate::vitals;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A device's state in the words of the Homie convention.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum DeviceState {
    /// Being set up: the port has not been tried.
    Init,
    Ready,
    Disconnected,
    Sleeping,
    /// Gone without a good-bye: unplugged, or the gateway itself vanished.
    Lost,
    /// A person should look.
    Alert,
}

impl DeviceState {
    /// The word in the JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            DeviceState::Init => "init",
            DeviceState::Ready => "ready",
            DeviceState::Disconnected => "disconnected",
            DeviceState::Sleeping => "sleeping",
            DeviceState::Lost => "lost",
            DeviceState::Alert => "alert",
        }
    }
}

/// What the settings say of an analyzer before it has said anything.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfiguredAnalyzer {
    pub id: AnalyzerId,
    /// The port, in the settings' words.
    pub port: String,
    /// Its profile's maker and model.
    pub model: Option<String>,
}

/// How much there is to do for a destination.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Standing {
    /// Neither delivered nor dead.
    pub waiting: u64,
    pub held: u64,
    pub dead: u64,
    /// When the oldest of `waiting` was received.
    pub oldest: Option<Timestamp>,
}

/// Something that has just become known.
#[derive(Debug, Clone, PartialEq)]
pub enum Fact {
    LinkOpened {
        analyzer: AnalyzerId,
    },
    /// The port was open and has gone.
    LinkLost {
        analyzer: AnalyzerId,
        reason: String,
    },
    /// The port does not open.
    LinkAbsent {
        analyzer: AnalyzerId,
        reason: String,
    },
    /// The driver's program has ended, or does not start.
    ProgramDown {
        analyzer: AnalyzerId,
        reason: String,
    },
    /// An event of this analyzer was stored.
    Stored {
        analyzer: AnalyzerId,
        name: EventName,
        test_state: Option<TestState>,
        alarm: Option<String>,
        /// The model and the serial number, where the event says them.
        model: Option<String>,
        serial_number: Option<String>,
    },
    /// A commit failed.
    StoreFailed {
        reason: String,
    },
    /// A webhook's queue, as it stands.
    DestinationChanged {
        destination: String,
        view: DestinationView,
    },
    /// The broker was reached, or why not.
    DestinationReached {
        destination: String,
        trouble: Option<Reason>,
    },
    /// So many events of this destination are dead.
    DeadLetters {
        destination: String,
        dead: usize,
    },
    /// A destination's place in the log, counted.
    Counted {
        destination: String,
        standing: Standing,
    },
    /// An attempt was answered as delivered.
    Delivered {
        destination: String,
    },
    /// A delivery of this event has ended dead.
    Buried {
        destination: String,
        event: EventId,
        reason: Reason,
    },
    /// The log has an event that others are told of.
    Noted {
        notice: Notice,
    },
    /// The second broker was reached, or why not.
    MonitoringReached {
        trouble: Option<Reason>,
    },
    /// The machine and the log were looked at.
    Measured {
        vitals: Vitals,
        store: StoreOverview,
    },
    /// The laboratory was asked for an id, or why it gave none.
    LabIds {
        trouble: Option<String>,
    },
    ConfigAccepted,
    ConfigRefused {
        reason: String,
    },
    /// `http.listen` is served, or why not.
    DoorTried {
        trouble: Option<String>,
    },
}

impl Fact {
    /// That this event of this analyzer was stored.
    pub fn event(analyzer: &AnalyzerId, kind: &EventKind) -> Fact {
        let ready = kind.name == EventName::DeviceReady;
        Fact::Stored {
            analyzer: analyzer.clone(),
            name: kind.name,
            test_state: kind.test.as_ref().map(|test| test.state).or(ready.then_some(TestState::Idle)),
            alarm: kind.alarm.as_ref().map(|alarm| alarm.reason.clone()),
            model: kind.device.as_ref().and_then(|device| device.model.clone()),
            serial_number: kind.device.as_ref().and_then(|device| device.sn.clone()),
        }
    }
}

/// One analyzer.
#[derive(Debug, Clone, PartialEq, Eq)]
struct AnalyzerHealth {
    state: DeviceState,
    since: Timestamp,
    reason: String,
    test_state: TestState,
    configured: ConfiguredAnalyzer,
    model: Option<String>,
    serial_number: Option<String>,
    last_event_at: Option<Timestamp>,
    last_test_at: Option<Timestamp>,
    events: u64,
    rejected: u64,
}

impl AnalyzerHealth {
    fn new(configured: ConfiguredAnalyzer, now: Now) -> AnalyzerHealth {
        AnalyzerHealth {
            state: DeviceState::Init,
            since: now.wall,
            reason: String::new(),
            test_state: TestState::Uninitialized,
            configured,
            model: None,
            serial_number: None,
            last_event_at: None,
            last_test_at: None,
            events: 0,
            rejected: 0,
        }
    }

    fn overview(&self) -> AnalyzerOverview {
        AnalyzerOverview {
            id: self.configured.id.0.clone(),
            state: self.state,
            since: self.since,
            reason: self.reason.clone(),
            test_state: self.test_state,
            model: self.model.clone().or_else(|| self.configured.model.clone()),
            serial_number: self.serial_number.clone(),
            port: self.configured.port.clone(),
            last_event_at: self.last_event_at,
            last_test_at: self.last_test_at,
            events: self.events,
            rejected: self.rejected,
        }
    }
}

/// One destination.
#[derive(Debug, Clone, PartialEq, Default)]
struct DestinationHealth {
    trouble: Option<Reason>,
    /// Since when there has been trouble without a break.
    since: Option<Timestamp>,
    dead: usize,
    held: usize,
    older_key: bool,
    /// As last counted.
    standing: Standing,
    last_delivered_at: Option<Timestamp>,
}

impl DestinationHealth {
    fn overview(&self, id: &str, now: Now) -> DestinationOverview {
        let paused = self.trouble.as_ref().is_some_and(|reason| reason.code == ReasonCode::Paused);
        let state = match &self.trouble {
            Some(_) if paused => "paused",
            Some(_) => "trouble",
            None => "ready",
        };
        let age_ms = self.standing.oldest.map_or(0, |oldest| now.wall.0.saturating_sub(oldest.0));
        DestinationOverview {
            id: id.to_owned(),
            state: state.to_owned(),
            code: self.trouble.as_ref().map(|reason| reason.code.as_str().to_owned()),
            reason: self.trouble.as_ref().map(|reason| reason.detail.clone()),
            since: self.since,
            waiting: self.standing.waiting,
            held: self.held as u64,
            dead: self.dead as u64,
            oldest_unacked_seconds: u64::try_from(age_ms / 1000).unwrap_or(0),
            last_delivered_at: self.last_delivered_at,
        }
    }

    fn troubles(&self, id: &str) -> Vec<Trouble> {
        let mut troubles = Vec::new();
        if let Some(reason) = &self.trouble {
            let held = self.held > 0 || reason.code.needs_a_person();
            let urgency = if held { Urgency::Today } else { Urgency::Watch };
            let trouble = Trouble::new(reason.code.as_str(), urgency, id, &reason.to_string(), reason.code.next_step());
            troubles.push(Trouble { since: self.since, ..trouble });
        }
        if self.dead > 0 {
            let reason = format!("{} dead letters", self.dead);
            let next = "Look at them (`analyzer-gateway dead list`), mend the cause, and redrive them.";
            troubles.push(Trouble::new("dead_letters", Urgency::Today, id, &reason, next));
        }
        if self.older_key {
            let reason = "the receiver still accepts only the older key";
            let next = "Give the receiver the new key before the old one runs out.";
            troubles.push(Trouble::new("older_key", Urgency::Watch, id, reason, next));
        }
        troubles
    }

    fn since_with(&self, trouble: Option<&Reason>, now: Now) -> Option<Timestamp> {
        trouble.map(|_| self.since.unwrap_or(now.wall))
    }
}

/// Everything at a glance.
#[derive(Debug, Clone, PartialEq)]
pub struct Health {
    gateway: String,
    version: String,
    boot: String,
    since: Timestamp,
    clock: ClockQuality,
    config_hash: String,
    vitals: Vitals,
    store: StoreOverview,
    analyzers: BTreeMap<AnalyzerId, AnalyzerHealth>,
    destinations: BTreeMap<String, DestinationHealth>,
    config_refused: Option<String>,
    store_failed: Option<String>,
    lab_ids: Option<String>,
    door_trouble: Option<String>,
    cause: Cause,
    /// Present if the settings name a second broker.
    monitoring: Option<notices::Monitoring>,
    outbox: Outbox,
}

impl Health {
    /// Nothing is known yet.
    pub fn new(gateway: &str, version: &str, boot: String, now: Now) -> Health {
        Health {
            gateway: gateway.to_owned(),
            version: version.to_owned(),
            boot,
            since: now.wall,
            clock: now.quality,
            config_hash: String::new(),
            vitals: Vitals::default(),
            store: StoreOverview::default(),
            analyzers: BTreeMap::new(),
            destinations: BTreeMap::new(),
            config_refused: None,
            store_failed: None,
            lab_ids: None,
            door_trouble: None,
            cause: Cause::Started,
            monitoring: None,
            outbox: Outbox::default(),
        }
    }

    /// These analyzers and destinations are configured; others are forgotten. `hash` is that of the settings.
    pub fn configure(
        &mut self,
        gateway: &str,
        hash: &str,
        analyzers: Vec<ConfiguredAnalyzer>,
        destinations: &[String],
        now: Now,
    ) {
        gateway.clone_into(&mut self.gateway);
        hash.clone_into(&mut self.config_hash);
        self.analyzers.retain(|id, _| analyzers.iter().any(|one| one.id == *id));
        self.destinations.retain(|id, _| destinations.contains(id));
        for one in analyzers {
            match self.analyzers.get_mut(&one.id) {
                Some(known) => known.configured = one,
                None => {
                    self.analyzers.insert(one.id.clone(), AnalyzerHealth::new(one, now));
                }
            }
        }
        for id in destinations {
            self.destinations.entry(id.clone()).or_default();
        }
    }

    /// Takes in a fact. Returns whether anything has changed that is shown at once: what only counts or dates the usual course
    /// of things is seen when somebody looks.
    pub fn learn(&mut self, now: Now, fact: Fact) -> bool {
        let clock_changed = replace(&mut self.clock, now.quality);
        self.take(now, fact) || clock_changed
    }

    fn take(&mut self, now: Now, fact: Fact) -> bool {
        match fact {
            Fact::LinkOpened { analyzer } => self.analyzer(&analyzer, DeviceState::Ready, "", now),
            Fact::LinkLost { analyzer, reason } => self.analyzer(&analyzer, DeviceState::Lost, &reason, now),
            Fact::LinkAbsent { analyzer, reason } => self.analyzer(&analyzer, DeviceState::Disconnected, &reason, now),
            Fact::ProgramDown { analyzer, reason } => {
                let reason = format!("its program {reason}; it is started again");
                self.analyzer(&analyzer, DeviceState::Alert, &reason, now)
            }
            Fact::Stored { analyzer, name, test_state, alarm, model, serial_number } => {
                let mut changed = self.store_failed.take().is_some();
                if changed {
                    self.note_own(NoticeCode::StoreRecovered, NoticeCode::StoreRecovered.about(), now);
                }
                if let Some(known) = self.analyzers.get_mut(&analyzer) {
                    known.last_event_at = Some(now.wall);
                    known.events += 1;
                    known.rejected += u64::from(name == EventName::MessageRejected);
                    if name == EventName::TestFinished {
                        known.last_test_at = Some(now.wall);
                    }
                    changed |= model.is_some_and(|model| replace(&mut known.model, Some(model)));
                    changed |= serial_number.is_some_and(|number| replace(&mut known.serial_number, Some(number)));
                }
                self.stored(&analyzer, name, test_state, alarm, now) || changed
            }
            Fact::StoreFailed { reason } => {
                if self.store_failed.is_none() {
                    self.note_own(NoticeCode::StoreFailed, &reason, now);
                }
                replace(&mut self.store_failed, Some(reason))
            }
            Fact::Buried { destination, event, reason } => self.note_dead(&destination, event, &reason, now),
            Fact::Noted { notice } => self.note(notice),
            Fact::MonitoringReached { trouble } => self.monitoring_reached(trouble, now),
            Fact::LabIds { trouble } => replace(&mut self.lab_ids, trouble),
            Fact::ConfigAccepted => {
                self.config_refused = None;
                self.cause = Cause::Reloaded;
                self.note_own(NoticeCode::ConfigAccepted, NoticeCode::ConfigAccepted.about(), now);
                true
            }
            Fact::ConfigRefused { reason } => {
                self.note_own(NoticeCode::ConfigRefused, &reason, now);
                replace(&mut self.config_refused, Some(reason));
                true
            }
            Fact::DoorTried { trouble } => replace(&mut self.door_trouble, trouble),
            Fact::DestinationChanged { destination, view } => {
                let Some(known) = self.destinations.get_mut(&destination) else { return false };
                let trouble = view.breaker.or(view.held_for);
                let since = known.since_with(trouble.as_ref(), now);
                let (dead, held, older_key) = (view.dead, view.held, view.older_key);
                let was = known.held_for();
                let new = DestinationHealth { trouble, since, dead, held, older_key, ..known.clone() };
                let changed = replace(known, new);
                self.note_destination(&destination, was, now);
                changed
            }
            Fact::Counted { destination, standing } => {
                let Some(known) = self.destinations.get_mut(&destination) else { return false };
                replace(&mut known.standing, standing)
            }
            Fact::Delivered { destination } => {
                if let Some(known) = self.destinations.get_mut(&destination) {
                    known.last_delivered_at = Some(now.wall);
                }
                false
            }
            Fact::Measured { vitals, store } => {
                let changed = replace(&mut self.vitals, vitals);
                replace(&mut self.store, store) || changed
            }
            Fact::DeadLetters { destination, dead } => {
                self.destinations.get_mut(&destination).is_some_and(|known| replace(&mut known.dead, dead))
            }
            Fact::DestinationReached { destination, trouble } => {
                let Some(known) = self.destinations.get_mut(&destination) else { return false };
                let was = known.held_for();
                known.since = known.since_with(trouble.as_ref(), now);
                let changed = replace(&mut known.trouble, trouble);
                self.note_destination(&destination, was, now);
                changed
            }
        }
    }

    fn analyzer(&mut self, id: &AnalyzerId, state: DeviceState, reason: &str, now: Now) -> bool {
        let Some(known) = self.analyzers.get_mut(id) else { return false };
        if known.state == state && known.reason == reason {
            return false;
        }
        let was = std::mem::replace(&mut known.state, state);
        if was != state {
            known.since = now.wall;
        }
        reason.clone_into(&mut known.reason);
        if was != state {
            self.note_analyzer(id, was, state, reason, now);
        }
        true
    }

    fn stored(
        &mut self,
        id: &AnalyzerId,
        name: EventName,
        test_state: Option<TestState>,
        alarm: Option<String>,
        now: Now,
    ) -> bool {
        let mut changed = false;
        if let Some(test_state) = test_state
            && let Some(known) = self.analyzers.get_mut(id)
        {
            changed |= replace(&mut known.test_state, test_state);
        }
        let told = match alarm {
            Some(reason) => self.analyzer(id, DeviceState::Alert, &reason, now),
            // Whatever is understood again ends an alarm; the port's own coming and going is told by its own facts.
            None if name == EventName::MessageRejected => {
                self.analyzer(id, DeviceState::Alert, "a message could not be understood; its bytes are kept", now)
            }
            None if test_state.is_some() || name == EventName::QueryReceived => {
                self.analyzer(id, DeviceState::Ready, "", now)
            }
            None => false,
        };
        told || changed
    }

    /// Everything at a glance. `said`: `lost` for the last will, `disconnected` after a stop.
    pub fn overview(&self, now: Now, said: Option<(DeviceState, &str)>) -> Overview {
        let troubles = self.troubles();
        let (state, reason) = match (troubles.first(), said) {
            (_, Some((state, reason))) => (state, reason.to_owned()),
            (Some(first), None) => (DeviceState::Alert, first.sentence()),
            (None, None) => (DeviceState::Ready, String::new()),
        };
        let cause = match said {
            Some((DeviceState::Lost, _)) => Cause::Vanished,
            Some(_) => Cause::Stopped,
            None => self.cause,
        };
        Overview {
            schema: SCHEMA,
            gateway: self.gateway.clone(),
            version: self.version.clone(),
            boot: self.boot.clone(),
            state,
            reason,
            cause,
            since: self.since,
            at: now.wall,
            clock: self.clock,
            configuration: Configuration { hash: self.config_hash.clone(), refused: self.config_refused.clone() },
            troubles,
            analyzers: self.analyzers.values().map(AnalyzerHealth::overview).collect(),
            destinations: self.destinations.iter().map(|(id, known)| known.overview(id, now)).collect(),
            store: self.store,
            machine: self.vitals.clone(),
            monitoring: self.monitoring.as_ref().map(notices::Monitoring::overview),
            notices_dropped: self.outbox.dropped(),
        }
    }

    /// What stands in the way of this destination, if anything does.
    pub fn destination_trouble(&self, id: &str) -> Option<&Reason> {
        self.destinations.get(id).and_then(|known| known.trouble.as_ref())
    }

    /// What is not as it should be, the most urgent first.
    fn troubles(&self) -> Vec<Trouble> {
        let mut troubles = self.own_troubles();
        for (id, known) in &self.analyzers {
            let (code, urgency, next_step) = match known.state {
                DeviceState::Alert => ("analyzer_alert", Urgency::Today, "Look at the analyzer and its last messages."),
                DeviceState::Lost => ("analyzer_lost", Urgency::Watch, "Check its cable and that it is switched on."),
                _ => continue,
            };
            let trouble = Trouble::new(code, urgency, &id.0, &known.reason, next_step);
            troubles.push(Trouble { since: Some(known.since), ..trouble });
        }
        for (id, known) in &self.destinations {
            troubles.extend(known.troubles(id));
        }
        troubles.sort_by_key(|trouble| trouble.urgency);
        troubles
    }

    /// Those of the gateway itself.
    fn own_troubles(&self) -> Vec<Trouble> {
        let gateway = |code, urgency, reason: String, next| Trouble::new(code, urgency, "gateway", &reason, next);
        let mut troubles = Vec::new();
        if let Some(reason) = &self.store_failed {
            let next =
                "Free some disk space, or replace the card: until then analyzers get no answer and keep results.";
            troubles.push(gateway("store_failed", Urgency::Now, format!("events cannot be stored: {reason}"), next));
        }
        if let Some(reason) = &self.config_refused {
            let next = "Mend the file; `analyzer-gateway check` names every mistake. The old settings stay in force.";
            let reason = format!("the settings file is refused: {reason}");
            troubles.push(gateway("config_refused", Urgency::Today, reason, next));
        }
        if let Some(reason) = &self.door_trouble {
            let next = "Mend http.listen.";
            let reason = format!("the API is not served: {reason}");
            troubles.push(gateway("api_not_served", Urgency::Today, reason, next));
        }
        if let Some(notices::Monitoring { trouble: Some(reason), since }) = &self.monitoring {
            let urgency = if reason.code.needs_a_person() { Urgency::Today } else { Urgency::Watch };
            let code = reason.code.as_str();
            let trouble = Trouble::new(code, urgency, "monitoring", &reason.to_string(), reason.code.next_step());
            troubles.push(Trouble { since: *since, ..trouble });
        }
        if let Some(reason) = &self.lab_ids {
            let next = "Check registrations.lab_id_url and that it answers.";
            troubles.push(gateway("lab_ids", Urgency::Watch, format!("lab ids: {reason}"), next));
        }
        troubles.extend(vitals::troubles(&self.vitals, self.clock));
        troubles
    }

    /// One line for systemd: `2 of 3 analyzers ready; webhook:lims: connection_refused: ...`.
    pub fn line(&self) -> String {
        let ready = self.analyzers.values().filter(|known| known.state == DeviceState::Ready).count();
        let line = format!("{ready} of {} analyzers ready", self.analyzers.len());
        match self.troubles().first() {
            Some(trouble) => format!("{line}; {}", trouble.sentence()),
            None => line,
        }
    }
}

fn replace<T: PartialEq>(place: &mut T, value: T) -> bool {
    let changed = *place != value;
    *place = value;
    changed
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::monitoring::AnalyzerState;

    fn health() -> (Health, AnalyzerId) {
        let mut health = Health::new("clinic-7", "1.2.3", "boot".to_owned(), Now::default());
        let id = AnalyzerId("hematology".to_owned());
        let configured = ConfiguredAnalyzer { id: id.clone(), port: "/dev/ttyUSB0".to_owned(), model: None };
        health.configure("clinic-7", "", vec![configured], &["mqtt".to_owned()], Now::default());
        (health, id)
    }

    #[test]
    fn an_analyzer_is_told_in_homies_words() {
        let (mut health, analyzer) = health();
        assert!(health.learn(Now::default(), Fact::LinkOpened { analyzer: analyzer.clone() }));
        assert!(!health.learn(Now::default(), Fact::LinkOpened { analyzer: analyzer.clone() }), "no news");
        let overview = health.overview(Now::default(), None);
        let state = serde_json::to_string(&AnalyzerState::from(&overview.analyzers[0])).expect("plain fields");
        let expected =
            r#"{"state":"ready","since":"1970-01-01T00:00:00.000Z","reason":"","test_state":"UNINITIALIZED","#;
        assert!(state.starts_with(expected), "{state}");
        let later = Now { wall: Timestamp(60_000), ..Now::default() };
        health.learn(later, Fact::LinkLost { analyzer, reason: "unplugged".to_owned() });
        let lost = &health.overview(later, None).analyzers[0];
        assert_eq!((lost.state, lost.since, lost.reason.as_str()), (DeviceState::Lost, later.wall, "unplugged"));
    }

    #[test]
    fn trouble_is_told_until_it_is_over() {
        let (mut health, _) = health();
        let refused = Reason::new(ReasonCode::ConnectionRefused, "the connection was refused");
        let fact = |trouble| Fact::DestinationReached { destination: "mqtt".to_owned(), trouble };
        health.learn(Now::default(), fact(Some(refused)));
        assert_eq!(health.overview(Now::default(), None).state, DeviceState::Alert);
        assert!(health.line().contains("mqtt: connection_refused"));
        health.learn(Now::default(), fact(None));
        assert_eq!(health.overview(Now::default(), None).state, DeviceState::Ready);
    }
}
