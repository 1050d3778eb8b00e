//! The state of everything: a fold over facts. What it has learnt is read as an [`Overview`].
//!
//! Invariant: no patient data can get in. Facts carry names, states and reasons, and reasons never quote received bytes.

mod analyzer;
mod destination;
mod fact;
mod names;
mod notices;

pub use fact::Fact;

use crate::appliance::Appliance;
use crate::delivery::{Reason, ReasonCode};
use crate::event::{AnalyzerId, EventName, TestState};
use crate::monitoring::{NoticeCode, Outbox};
use crate::overview::{Cause, Configuration, DeviceState, Overview, SCHEMA, StoreOverview, Vitals};
use crate::time::{ClockQuality, Now, Timestamp};
use crate::trouble::{Trouble, Urgency};
use crate::vitals;
use analyzer::{ANALYZER_LOST, AnalyzerHealth};
use destination::DestinationHealth;

use std::collections::BTreeMap;

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
    appliance: Appliance,
    store: StoreOverview,
    analyzers: BTreeMap<AnalyzerId, AnalyzerHealth>,
    destinations: BTreeMap<String, DestinationHealth>,
    /// Not in the settings any more, and so many events wait for each.
    left_behind: Vec<(String, u64)>,
    config_refused: Option<String>,
    config_tried: Option<Timestamp>,
    store_failed: Option<String>,
    lab_ids: Option<String>,
    door_trouble: Option<String>,
    cause: Cause,
    /// Present if the settings name a second broker.
    monitoring: Option<notices::Monitoring>,
    names: names::Names,
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
            appliance: Appliance::default(),
            store: StoreOverview::default(),
            analyzers: BTreeMap::new(),
            destinations: BTreeMap::new(),
            left_behind: Vec::new(),
            config_refused: None,
            config_tried: None,
            store_failed: None,
            lab_ids: None,
            door_trouble: None,
            cause: Cause::Started,
            monitoring: None,
            names: names::Names::default(),
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
        self.names = names::Names::default();
        if self.config_hash != hash {
            // Other settings may be the very remedy.
            self.analyzers.values_mut().for_each(|known| known.misunderstood = None);
        }
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
            Fact::LinkOpened { analyzer } => {
                // Plugged in again, or another connection: what it says is not understood any better.
                let misunderstood = self.analyzers.get(&analyzer).and_then(|known| known.misunderstood.clone());
                let state = misunderstood.as_ref().map_or(DeviceState::Ready, |_| DeviceState::Alert);
                self.analyzer(&analyzer, state, &misunderstood.unwrap_or_default(), now)
            }
            Fact::Remembered { analyzer, last_event_at, last_test_at } => {
                if let Some(known) = self.analyzers.get_mut(&analyzer) {
                    known.last_event_at = known.last_event_at.or(last_event_at);
                    known.last_test_at = known.last_test_at.or(last_test_at);
                }
                false
            }
            Fact::LinkLost { analyzer, reason } => self.analyzer(&analyzer, DeviceState::Lost, &reason, now),
            Fact::LinkAbsent { analyzer, reason } => self.analyzer(&analyzer, DeviceState::Disconnected, &reason, now),
            Fact::ProgramDown { analyzer, reason } => {
                let reason = format!("its program {reason}; it is started again");
                self.analyzer(&analyzer, DeviceState::Alert, &reason, now)
            }
            Fact::Stored {
                analyzer,
                name,
                test_state,
                alarm,
                rejected,
                is_stranger,
                about_identity,
                model,
                serial_number,
            } => {
                let mut changed = self.store_failed.take().is_some();
                if changed {
                    self.note_own(NoticeCode::StoreRecovered, NoticeCode::StoreRecovered.about(), now);
                }
                if let Some(known) = self.analyzers.get_mut(&analyzer) {
                    if !matches!(name, EventName::AnalyzerConnected | EventName::AnalyzerDisconnected) {
                        known.last_event_at = Some(now.wall);
                    }
                    if is_stranger {
                        known.misunderstood.clone_from(&rejected);
                    }
                    if about_identity {
                        known.mistaken = alarm.clone().map(|reason| (now.wall, reason));
                    }
                    known.events += 1;
                    known.rejected += u64::from(name == EventName::MessageRejected);
                    if name == EventName::TestFinished {
                        known.last_test_at = Some(now.wall);
                    }
                    changed |= model.is_some_and(|model| replace(&mut known.model, Some(model)));
                    changed |= serial_number.is_some_and(|number| replace(&mut known.serial_number, Some(number)));
                }
                self.stored(&analyzer, name, test_state, alarm.or(rejected), now) || changed
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
            Fact::PlantReached { trouble } => self.names.plant_reached(trouble, now),
            Fact::NameTaken { broker, taken } => self.names.take(broker, taken, now),
            Fact::LabIds { trouble } => replace(&mut self.lab_ids, trouble),
            Fact::ConfigTried { confirm_by } => replace(&mut self.config_tried, confirm_by),
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
                let (held, older_key) = (view.held, view.older_key);
                let was = known.held_for();
                let buried = known.bury(view.dead, now);
                let new = DestinationHealth { trouble, since, held, older_key, ..known.clone() };
                let changed = replace(known, new) || buried;
                self.note_destination(&destination, was, now);
                changed
            }
            Fact::Counted { destination, standing } => {
                let Some(known) = self.destinations.get_mut(&destination) else { return false };
                replace(&mut known.standing, standing)
            }
            Fact::LeftBehind { waiting } => replace(&mut self.left_behind, waiting),
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
            Fact::BoxSeen { appliance } => replace(&mut self.appliance, appliance),
            Fact::DeadLetters { destination, dead } => {
                self.destinations.get_mut(&destination).is_some_and(|known| known.bury(dead, now))
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
            None if test_state.is_some() || matches!(name, EventName::QueryReceived | EventName::SampleScanned) => {
                if let Some(known) = self.analyzers.get_mut(id) {
                    known.misunderstood = None;
                }
                self.analyzer(id, DeviceState::Ready, "", now)
            }
            None => false,
        };
        told || changed
    }

    /// Everything at a glance. `said`: `lost` for the last will, `disconnected` after a stop.
    pub fn overview(&self, now: Now, said: Option<(DeviceState, &str)>) -> Overview {
        let troubles = self.troubles(now);
        // An analyzer that is switched off for the night is worth a line, and no alert.
        let alarming = troubles.iter().find(|trouble| trouble.code != ANALYZER_LOST);
        let (state, reason) = match (alarming, said) {
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
            configuration: Configuration {
                hash: self.config_hash.clone(),
                refused: self.config_refused.clone(),
                confirm_by: self.config_tried,
            },
            troubles,
            analyzers: self.analyzers.values().map(AnalyzerHealth::overview).collect(),
            destinations: self.destinations.iter().map(|(id, known)| known.overview(id, now)).collect(),
            store: self.store,
            machine: self.vitals.clone(),
            monitoring: self.monitoring.as_ref().map(notices::Monitoring::overview),
            appliance: self.appliance.clone(),
            notices_dropped: self.outbox.dropped(),
        }
    }

    /// What stands in the way of this destination, if anything does.
    pub fn destination_trouble(&self, id: &str) -> Option<&Reason> {
        self.destinations.get(id).and_then(|known| known.trouble.as_ref())
    }

    /// What is not as it should be, the most urgent first.
    fn troubles(&self, now: Now) -> Vec<Trouble> {
        let mut troubles = self.own_troubles();
        troubles.extend(self.appliance.troubles());
        troubles.extend(self.analyzers.iter().flat_map(|(id, known)| known.troubles(id, now)));
        for (id, known) in &self.destinations {
            troubles.extend(known.troubles(id));
        }
        troubles.extend(self.left_behind.iter().map(|(id, waiting)| destination::left_behind(id, *waiting)));
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
        if let Some(notices::Monitoring { trouble: Some(reason), since }) = &self.monitoring
            && reason.code != ReasonCode::SameIdTwice
        {
            let urgency = if reason.code.needs_a_person() { Urgency::Today } else { Urgency::Watch };
            let code = reason.code.as_str();
            let trouble = Trouble::new(code, urgency, "monitoring", &reason.to_string(), reason.code.next_step());
            troubles.push(Trouble { since: *since, ..trouble });
        }
        if let Some(reason) = &self.lab_ids {
            let next = "Check registrations.lab_id_url and that it answers.";
            troubles.push(gateway("lab_ids", Urgency::Watch, format!("lab ids: {reason}"), next));
        }
        troubles.extend(self.names.troubles(&self.gateway));
        troubles.extend(vitals::troubles(&self.vitals, self.clock));
        troubles
    }

    /// One line for systemd: `2 of 3 analyzers ready; webhook:lims: connection_refused: ...`.
    pub fn line(&self, now: Now) -> String {
        let ready = self.analyzers.values().filter(|known| known.state == DeviceState::Ready).count();
        let line = format!("{ready} of {} analyzers ready", self.analyzers.len());
        match self.troubles(now).first() {
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
        assert!(health.line(Now::default()).contains("mqtt: connection_refused"));
        health.learn(Now::default(), fact(None));
        assert_eq!(health.overview(Now::default(), None).state, DeviceState::Ready);
    }
}
